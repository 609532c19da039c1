//! What links bring, held to rates before anything is spent on it.

use crate::exit::DropReason;
use crate::slot::Admission;
use crate::time::Nanos;

/// Decides on packets as links bring them: admitted to their slice, and not looked into yet.
///
/// # Contract
///
/// - The answer depends on the arguments and on what was asked of the same slice before: no
///   slice's packets change what another's are told.
/// - The cost of a packet does not depend on the number of slices or links.
/// - No method allocates or panics.
pub trait Police {
    /// Whether there is anything to ask.
    const ACTIVE: bool = true;

    /// The drop precedence of a packet of `octets` that comes at `now`: 0 is dropped last, 2
    /// first. `octets` is the length of the slice's own packet, outer header not counted.
    ///
    /// # Errors
    ///
    /// The reason to drop it for, counted for its slice: [`DropReason::Policed`].
    fn police(&mut self, now: Nanos, admission: Admission, octets: u32) -> Result<u8, DropReason>;
}

/// Lets everything pass, with precedence 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoPolice;

impl Police for NoPolice {
    const ACTIVE: bool = false;

    #[inline(always)]
    fn police(&mut self, _: Nanos, _: Admission, _: u32) -> Result<u8, DropReason> {
        Ok(0)
    }
}
