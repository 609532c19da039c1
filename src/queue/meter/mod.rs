//! Meters: whether a stream keeps to its rate, packet by packet.
//!
//! [`SingleRate`] is the single rate three color marker of RFC 2697, [`TwoRate`] the two
//! rate one of RFC 2698, and a [`Policer`] holds a slice or a link to what its meter says,
//! on the way in. A colour is a drop precedence of RFC 2597, as
//! [`Arrival::precedence`](crate::queue::Arrival::precedence) has it.
//!
//! Tokens flow in, where the RFCs add an octet `CIR` times a second: between two such ticks
//! these meters know the part of an octet, too. What is green in any span of `t` is so at most
//! `CBS + CIR * t`, and not an octet more for the tick. With an octet in a whole number of
//! nanoseconds and packets at the ticks, colours are those of the RFC's procedure.
//!
//! ```
//! use fastpath::queue::Rate;
//! use fastpath::queue::meter::{Colour, Meter, Mode, SingleRate, SingleRateConfig};
//! use fastpath::time::Nanos;
//!
//! // 1 octet a microsecond; 1,500 at once, and 1,000 more now and then.
//! let cir = Rate::bits_per_second(8_000_000)?;
//! let mut meter = SingleRate::new(SingleRateConfig { cir, cbs: 1500, ebs: 1000, mode: Mode::ColourBlind })?;
//! let colours = [1500, 1000, 1].map(|octets| meter.meter(Nanos::ZERO, octets, Colour::Green));
//! assert_eq!(colours, [Colour::Green, Colour::Yellow, Colour::Red]);
//! assert_eq!(meter.meter(Nanos::from_micros(1), 1, Colour::Green), Colour::Green);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod policer;
mod single_rate;
#[cfg(test)]
mod tests;
mod two_rate;

pub use policer::{Action, Done, Policed, Policer, Tally, UnknownMeter};
pub use single_rate::{SingleRate, SingleRateConfig};
pub use two_rate::{TwoRate, TwoRateConfig};

use crate::queue::{BurstError, Rate};
use crate::time::Nanos;

/// What a meter says of a packet; the better the lesser.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Colour {
    /// Within the committed rate and burst.
    #[default]
    Green,
    /// Beyond it, within the excess burst or the peak rate.
    Yellow,
    /// Beyond that.
    Red,
}

impl Colour {
    /// All of them, in the order of their precedences.
    pub const ALL: [Self; 3] = [Self::Green, Self::Yellow, Self::Red];

    /// Its drop precedence: 0, 1 or 2 (RFC 2597: low, medium, high).
    #[inline(always)]
    pub const fn precedence(self) -> u8 {
        self as u8
    }

    /// The colour of a drop precedence; above 2 it is red.
    #[inline(always)]
    pub const fn from_precedence(precedence: u8) -> Self {
        match precedence {
            0 => Self::Green,
            1 => Self::Yellow,
            _ => Self::Red,
        }
    }
}

/// Whether a meter looks at the colour that a packet comes with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// It does not: every packet counts as green.
    #[default]
    ColourBlind,
    /// It does: no packet becomes better than it was, and none takes tokens that are
    /// for better ones.
    ColourAware,
}

impl Mode {
    #[inline(always)]
    const fn seen(self, colour: Colour) -> Colour {
        match self {
            Self::ColourBlind => Colour::Green,
            Self::ColourAware => colour,
        }
    }
}

/// Colours packets by how a stream keeps to its rates.
///
/// # Contract
///
/// - Time comes in as an argument. Where it runs back, no tokens come until it has
///   caught up.
/// - A packet that is red takes no tokens.
/// - No method allocates, panics or divides; a packet costs the same whatever the time
///   since the last one.
pub trait Meter {
    /// The colour of a packet of `octets` that comes at `now` with `colour`.
    ///
    /// `octets` is the length of the IP packet, its header included and the link's not
    /// (RFC 2697, 2). A meter that is blind does not look at `colour`.
    fn meter(&mut self, now: Nanos, octets: u32, colour: Colour) -> Colour;
}

impl<T: Meter + ?Sized> Meter for &mut T {
    #[inline(always)]
    fn meter(&mut self, now: Nanos, octets: u32, colour: Colour) -> Colour {
        (**self).meter(now, octets, colour)
    }
}

/// Either meter, where some of a set are of the one kind and some of the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marker {
    /// RFC 2697.
    SingleRate(SingleRate),
    /// RFC 2698.
    TwoRate(TwoRate),
}

impl Meter for Marker {
    #[inline(always)]
    fn meter(&mut self, now: Nanos, octets: u32, colour: Colour) -> Colour {
        match self {
            Self::SingleRate(meter) => meter.meter(now, octets, colour),
            Self::TwoRate(meter) => meter.meter(now, octets, colour),
        }
    }
}

impl From<SingleRate> for Marker {
    fn from(meter: SingleRate) -> Self {
        Self::SingleRate(meter)
    }
}

impl From<TwoRate> for Marker {
    fn from(meter: TwoRate) -> Self {
        Self::TwoRate(meter)
    }
}

/// Why a meter was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// Committed and excess burst are both 0 (RFC 2697, 2).
    #[error("committed and excess burst are both 0: every packet would be red")]
    NoBurst,
    /// The committed burst is 0 (RFC 2698, 2).
    #[error("the committed burst is 0: no packet would be green")]
    NoCommittedBurst,
    /// The peak burst is 0 (RFC 2698, 2).
    #[error("the peak burst is 0: every packet would be red")]
    NoPeakBurst,
    /// The peak rate is below the committed one (RFC 2698, 2).
    #[error("the peak rate of {} bit/s is below the committed rate of {}", peak.get(), committed.get())]
    PeakBelowCommitted {
        /// The peak rate asked for.
        peak: Rate,
        /// The committed rate asked for.
        committed: Rate,
    },
    /// A burst is longer than a bucket holds.
    #[error(transparent)]
    Burst(#[from] BurstError),
}
