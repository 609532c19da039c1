//! Two rates, each with its burst.

use crate::queue::meter::{Colour, Meter, MeterError, Mode};
use crate::queue::{Rate, TokenBucket};
use crate::time::Nanos;

/// What a [`TwoRate`] meter is told, by the names of RFC 2698.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TwoRateConfig {
    /// Committed information rate: of IP packets, link headers not counted.
    pub cir: Rate,
    /// Committed burst size, in octets. A packet longer than it is never green.
    pub cbs: u32,
    /// Peak information rate, not below `cir`.
    pub pir: Rate,
    /// Peak burst size, in octets. A packet longer than it is always red.
    pub pbs: u32,
    /// Whether it looks at the colours that packets come with.
    pub mode: Mode,
}

/// The two rate three color marker (J. Heinanen, R. Guerin, RFC 2698, 1999): a peak rate
/// is held apart from a committed one.
///
/// Both buckets are full at first, and earn each for itself. What is green takes out of
/// both, what is yellow out of the peak's only.
///
/// Time: two multiplications to earn and one to take; 72 octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TwoRate {
    committed: TokenBucket,
    peak: TokenBucket,
    mode: Mode,
}

impl TwoRate {
    /// A meter with full buckets at time 0.
    ///
    /// # Errors
    ///
    /// [`MeterError::PeakBelowCommitted`], [`MeterError::NoCommittedBurst`] and
    /// [`MeterError::NoPeakBurst`] as RFC 2698, 2 asks, [`MeterError::Burst`] if a burst
    /// is longer than [`TokenBucket::MAX_BURST`]. Both should be as long as the longest
    /// packet (RFC 2698, 2).
    pub fn new(config: TwoRateConfig) -> Result<Self, MeterError> {
        let TwoRateConfig { cir, cbs, pir, pbs, mode } = config;
        if pir < cir {
            return Err(MeterError::PeakBelowCommitted { peak: pir, committed: cir });
        }
        if cbs == 0 {
            return Err(MeterError::NoCommittedBurst);
        }
        if pbs == 0 {
            return Err(MeterError::NoPeakBurst);
        }
        Ok(Self { committed: TokenBucket::new(cir, cbs)?, peak: TokenBucket::new(pir, pbs)?, mode })
    }
}

impl Meter for TwoRate {
    #[inline(always)]
    fn meter(&mut self, now: Nanos, octets: u32, colour: Colour) -> Colour {
        self.committed.earn(now);
        self.peak.earn(now);
        let seen = self.mode.seen(colour);
        // Red takes nothing, so the peak's tokens go whatever the committed ones say.
        if seen == Colour::Red || !self.peak.take_now(octets) {
            Colour::Red
        } else if seen == Colour::Green && self.committed.take_now(octets) {
            Colour::Green
        } else {
            Colour::Yellow
        }
    }
}
