//! One rate, two bursts.

use crate::queue::bucket::Level;
use crate::queue::meter::{Colour, Meter, MeterError, Mode};
use crate::queue::{Rate, TokenBucket};
use crate::time::Nanos;

/// What a [`SingleRate`] meter is told, by the names of RFC 2697.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SingleRateConfig {
    /// Committed information rate: of IP packets, link headers not counted.
    pub cir: Rate,
    /// Committed burst size, in octets. A packet longer than it is never green.
    pub cbs: u32,
    /// Excess burst size, in octets. A packet longer than it is never yellow.
    pub ebs: u32,
    /// Whether it looks at the colours that packets come with.
    pub mode: Mode,
}

/// The single rate three color marker (J. Heinanen, R. Guerin, RFC 2697, 1999): the
/// length of a burst decides, not its peak rate.
///
/// Both buckets are full at first. What is earned goes into the committed bucket; only
/// what no longer fits goes into the excess one.
///
/// Time: a multiplication to earn and one to take; 56 octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SingleRate {
    committed: TokenBucket,
    excess: Level,
    mode: Mode,
}

impl SingleRate {
    /// A meter with full buckets at time 0.
    ///
    /// # Errors
    ///
    /// [`MeterError::NoBurst`] if both bursts are 0, [`MeterError::Burst`] if one is
    /// longer than [`TokenBucket::MAX_BURST`]. One of them should be as long as the
    /// longest packet (RFC 2697, 2).
    pub fn new(config: SingleRateConfig) -> Result<Self, MeterError> {
        let SingleRateConfig { cir, cbs, ebs, mode } = config;
        if cbs == 0 && ebs == 0 {
            return Err(MeterError::NoBurst);
        }
        Ok(Self { committed: TokenBucket::new(cir, cbs)?, excess: Level::full(ebs)?, mode })
    }
}

impl Meter for SingleRate {
    #[inline(always)]
    fn meter(&mut self, now: Nanos, octets: u32, colour: Colour) -> Colour {
        let spilt = self.committed.earn_and_spill(now);
        self.excess.add(spilt);
        let seen = self.mode.seen(colour);
        if seen == Colour::Green && self.committed.take_now(octets) {
            Colour::Green
        } else if seen <= Colour::Yellow && self.excess.take(octets) {
            Colour::Yellow
        } else {
            Colour::Red
        }
    }
}
