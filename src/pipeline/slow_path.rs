//! Where exceptions go.

use crate::exit::{DropReason, Exception};
use crate::packet::Window;
use crate::slot::{Admission, Endpoint, Slot};
use crate::time::Nanos;

/// What the fast path knows of a packet that it hands to the slow path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exceptional {
    /// Slice, link and code option.
    pub admission: Admission,
    /// Why the fast path did not go on.
    pub exception: Exception,
    /// The slice's packet in the frame, which is as it came.
    pub inner: Window,
    /// Who sent the outer header.
    pub source: Endpoint,
    /// DSCP and ECN of the outer header.
    pub outer_class: u8,
    /// Whether the slice's own manager had sent it.
    pub injected: bool,
}

/// Takes packets to slice managers.
///
/// # Contract
///
/// - Bounded for each slice: what one slice's exceptions fill, no other misses.
/// - Refuses rather than waits. No method allocates or panics.
pub trait SlowPath<B> {
    /// Takes the packet out of `slot`, or leaves it there for the caller of
    /// `process` to fetch. Either way it is counted as handed over.
    ///
    /// # Errors
    ///
    /// Why it was refused; the packet is still in its slot, and is counted as dropped
    /// for that reason.
    fn hand_over(
        &mut self, now: Nanos, exceptional: &Exceptional, slot: &mut Slot<B>,
    ) -> Result<(), DropReason>;
}

impl<B, X: SlowPath<B> + ?Sized> SlowPath<B> for &mut X {
    fn hand_over(
        &mut self, now: Nanos, exceptional: &Exceptional, slot: &mut Slot<B>,
    ) -> Result<(), DropReason> {
        (**self).hand_over(now, exceptional, slot)
    }
}

/// No slow path: every exception is dropped, as [`DropReason::NoSlowPath`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSlowPath;

impl<B> SlowPath<B> for NoSlowPath {
    fn hand_over(&mut self, _: Nanos, _: &Exceptional, _: &mut Slot<B>) -> Result<(), DropReason> {
        Err(DropReason::NoSlowPath)
    }
}

/// Leaves every exception in its slot, with its exit beside it, for the caller of
/// `process` to take.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepInSlot;

impl<B> SlowPath<B> for KeepInSlot {
    fn hand_over(&mut self, _: Nanos, _: &Exceptional, _: &mut Slot<B>) -> Result<(), DropReason> {
        Ok(())
    }
}
