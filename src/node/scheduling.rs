//! How an interface is shared, what its queues drop, and what may come in: all that goes beyond
//! weights and limits.
//!
//! An interface is [`Plain`](Scheduling::Plain) unless it is said otherwise: one level of
//! weights, and limits. What is here costs packets of other interfaces nothing.

use crate::queue::meter::{
    Action, Colour, Marker, MeterError, Mode, SingleRate, SingleRateConfig, TwoRate, TwoRateConfig,
};
use crate::queue::policy::{Choice, CoDel, CoDelConfig, CoDelError, Red, RedConfig, RedError};
use crate::queue::{BurstError, PriorityError, Rate, TokenBucket};

/// How the queues of an interface share it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scheduling {
    /// All queues by their weights, with limits and nothing else: the cheapest.
    #[default]
    Plain,
    /// Each queue may have a [`Policy`], and what happens to its packets is counted by queue
    /// and reason.
    Managed {
        /// Who shares the interface by weight.
        levels: Levels,
        /// Queues that are served before all others.
        priority: Option<PriorityClass>,
    },
}

impl Scheduling {
    /// One level of weights, with policies.
    pub const POLICIES: Self = Self::Managed { levels: Levels::Queues, priority: None };
    /// Two levels, with policies.
    pub const HIERARCHY: Self = Self::Managed { levels: Levels::Slices, priority: None };

    /// The class that comes first, if there is one.
    pub const fn priority(&self) -> Option<PriorityClass> {
        match self {
            Self::Managed { priority, .. } => *priority,
            Self::Plain => None,
        }
    }

    /// Whether slices have shares, and queues weights within their slice.
    pub const fn is_two_levels(&self) -> bool {
        matches!(self, Self::Managed { levels: Levels::Slices, .. })
    }

    /// Of `queues` queues, the numbers of those that are of the class that comes first, or of
    /// the others.
    pub(super) fn numbers(&self, queues: u32, priority: bool) -> core::ops::Range<u32> {
        let first = self.priority().map_or(0, |class| class.queues.min(queues));
        if priority { 0..first } else { first..queues }
    }
}

/// Who shares an interface by weight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Levels {
    /// Its queues.
    #[default]
    Queues,
    /// Slices, by what they [ask for](ShareRequest), and the queues of each what it gets: what a
    /// queue leaves, the other queues of its slice have first.
    Slices,
}

/// Queues that are served before all others, as long as a token bucket pays for it: see
/// [`Priority`](crate::queue::Priority).
///
/// Where a node has several workers, each lets it have the part of what it may send itself that
/// the class has of the interface, and the whole burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PriorityClass {
    /// How many of the interface's queues.
    pub queues: u32,
    /// What they may be sent first, on the wire; below the rate of the interface, as the other
    /// queues would get nothing.
    pub rate: Rate,
    /// Octets at once: at least the longest frame, overhead included.
    pub burst: u32,
}

impl PriorityClass {
    pub(super) fn bucket(&self, workers: usize) -> Result<TokenBucket, BurstError> {
        TokenBucket::new(part(self.rate, workers), self.burst)
    }
}

/// Why an interface's class that comes first was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassError {
    /// As many queues as the interface has, or none.
    #[error("{asked} queues cannot come before others: 1 to {most}")]
    Queues {
        /// Asked for.
        asked: u32,
        /// The most.
        most: u32,
    },
    /// As fast as the interface, so that the other queues would get nothing.
    #[error("a class of {asked} bit/s leaves nothing of an interface of {interface}")]
    Rate {
        /// Asked for, in bits per second.
        asked: u64,
        /// The interface's rate, in bits per second.
        interface: u64,
    },
    /// The burst does not cover the longest frame.
    #[error(transparent)]
    Priority(#[from] PriorityError),
    /// The burst is more than a bucket holds.
    #[error(transparent)]
    Burst(#[from] BurstError),
}

/// What a slice has of an interface that [slices](Levels::Slices) share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShareRequest {
    /// Where.
    pub interface: crate::id::InterfaceId,
    /// Its share, 1 to 65,536, of [`Limits::weights`](crate::node::Limits::weights). A slice
    /// that has queues there and does not say has 1.
    pub weight: u32,
}

/// What a queue drops or marks beside what its limits do; at interfaces that are not
/// [`Plain`](Scheduling::Plain).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// Nothing.
    #[default]
    TailDrop,
    /// Random early detection; drops as [`QueuePolicy`](crate::exit::DropReason::QueuePolicy).
    Red(RedConfig),
    /// Controlled delay; drops as [`QueueDelay`](crate::exit::DropReason::QueueDelay).
    CoDel(CoDelConfig),
}

impl Policy {
    pub(super) fn choice(self) -> Result<Choice, PolicyError> {
        Ok(match self {
            Self::TailDrop => Choice::TailDrop,
            Self::Red(config) => Choice::Red(Red::new(config)?),
            Self::CoDel(config) => Choice::CoDel(CoDel::new(config)?),
        })
    }
}

/// Why a queue's policy was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Interfaces that are plain have queues with limits only.
    #[error("queues of interface {0} have limits only: its scheduling is plain")]
    Plain(u16),
    /// Parameters of RED.
    #[error(transparent)]
    Red(#[from] RedError),
    /// Parameters of `CoDel`.
    #[error(transparent)]
    CoDel(#[from] CoDelError),
}

/// What a slice, or one of its links, may send in.
///
/// Metered are the slice's own packets, without outer headers. Where a node has several workers,
/// each has an even part of the rates and of the bursts, but of no burst less than the node's
/// longest frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policing {
    /// What colours packets.
    pub meter: Metering,
    /// What becomes of those that are green, yellow, red. A colour that they pass with is their
    /// drop precedence, for RED; a slice's meter that is not colour blind is told that of its
    /// link.
    pub actions: [Action; 3],
}

/// A meter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Metering {
    /// RFC 2697.
    SingleRate(SingleRateConfig),
    /// RFC 2698.
    TwoRate(TwoRateConfig),
}

impl Policing {
    /// Drops what is beyond `rate` bits a second and a burst of `octets`, and lets the rest pass
    /// with precedence 0.
    pub const fn limit(rate: Rate, octets: u32) -> Self {
        let meter = SingleRateConfig { cir: rate, cbs: octets, ebs: 0, mode: Mode::ColourBlind };
        Self { meter: Metering::SingleRate(meter), actions: Action::MARK_AND_DROP }
    }

    /// The meter of one of `workers` workers.
    pub(super) fn marker(&self, workers: usize, longest: u32) -> Result<Marker, MeterError> {
        // What is refused as a whole is refused.
        self.meter.marker()?;
        let burst = |octets: u32| {
            let even = octets.div_ceil(u32::try_from(workers.max(1)).unwrap_or(u32::MAX));
            even.max(longest).min(octets)
        };
        match self.meter {
            Metering::SingleRate(it) => Metering::SingleRate(SingleRateConfig {
                cir: part(it.cir, workers),
                cbs: burst(it.cbs),
                ebs: burst(it.ebs),
                ..it
            }),
            Metering::TwoRate(it) => Metering::TwoRate(TwoRateConfig {
                cir: part(it.cir, workers),
                pir: part(it.pir, workers),
                cbs: burst(it.cbs),
                pbs: burst(it.pbs),
                ..it
            }),
        }
        .marker()
    }
}

impl Metering {
    fn marker(self) -> Result<Marker, MeterError> {
        Ok(match self {
            Self::SingleRate(config) => SingleRate::new(config)?.into(),
            Self::TwoRate(config) => TwoRate::new(config)?.into(),
        })
    }
}

/// What a policer did, of all workers together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policed {
    /// Coloured green, yellow, red; octets as they were metered.
    pub coloured: [crate::stats::Count; 3],
    /// Dropped.
    pub dropped: crate::stats::Count,
}

impl Policed {
    /// What was coloured so.
    pub const fn of(&self, colour: Colour) -> crate::stats::Count {
        let [green, yellow, red] = self.coloured;
        match colour {
            Colour::Green => green,
            Colour::Yellow => yellow,
            Colour::Red => red,
        }
    }
}

/// An even part of a rate, of at least 1 kb/s.
fn part(rate: Rate, workers: usize) -> Rate {
    let even = rate.get() / (workers.max(1) as u64);
    Rate::bits_per_second(even.max(1000)).unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Together, workers let in what one alone would, and each the longest frame.
    #[test]
    fn workers_share_a_policer_evenly() {
        let rate = |bits| Rate::bits_per_second(bits).unwrap();
        let alone = |bits, burst| Policing::limit(rate(bits), burst).marker(1, 1500);
        let of_three = |bits, burst| Policing::limit(rate(bits), burst).marker(3, 1500);
        assert_eq!(of_three(9_000_000, 30_000), alone(3_000_000, 10_000));
        assert_eq!(of_three(9_000_000, 3000), alone(3_000_000, 1500), "no less than a frame");
        assert_eq!(of_three(9_000_000, 900), alone(3_000_000, 900), "and no more than was asked for");
        assert_eq!(of_three(1200, 3000), alone(1000, 1500), "no less than the least rate");
        assert!(of_three(9_000_000, 0).is_err(), "what lets nothing in is no policer");
    }

    #[test]
    fn numbers_of_queues_are_of_one_class_each() {
        let class = PriorityClass { queues: 3, rate: Rate::MAX, burst: 2000 };
        let both = Scheduling::Managed { levels: Levels::Slices, priority: Some(class) };
        assert_eq!([both.numbers(8, true), both.numbers(8, false)], [0..3, 3..8]);
        assert_eq!([Scheduling::Plain.numbers(8, true), Scheduling::Plain.numbers(8, false)], [0..0, 0..8]);
        assert_eq!([class.bucket(4).unwrap().burst(), class.bucket(1).unwrap().burst()], [2000; 2]);
    }
}
