//! Figure 4, "Statistics": counters, kept off the path and read from elsewhere.
//!
//! ```
//! use fastpath::exit::DropReason;
//! use fastpath::id::SliceId;
//! use fastpath::stats::{Count, Counters, Event, StatsBlock};
//!
//! let mut counters = Counters {
//!     egresses: [Count::ZERO; 8],
//!     queues: [Count::ZERO; 4],
//!     slices: [Count::ZERO; 2 * fastpath::stats::ROW],
//! };
//! let event = Event::Left(SliceId(1), DropReason::Martian.into());
//! counters.record(event, 70);
//! assert_eq!(counters.read(event), Count { packets: 1, octets: 70 });
//! ```

mod cells;
mod counters;

pub use cells::{AtomicCount, Cells};
pub use counters::{Counters, ROW, SliceAccount};

use core::ops::{Add, AddAssign};

use crate::exit::Exit;
use crate::id::{EgressId, QueueId, SliceId};

/// What is counted. Together: received + injected = sent + slow path + dropped +
/// waiting, for each slice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A slice manager sent a packet into the path.
    Injected(SliceId),
    /// Was queued, by way of this egress: counted before the queue, each record for
    /// itself; a queue's count is the sum over the records that name it.
    Queued(EgressId),
    /// Left this queue, to be sent: counted behind the queue.
    Sent(QueueId),
    /// Left early.
    Left(SliceId, Exit),
}

/// A packet count and an octet count, both wrapping at 2^64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets of those packets as they stood when they were counted: what left early
    /// as it came, what was queued with its new outer header.
    pub octets: u64,
}

impl Count {
    /// Nothing counted.
    pub const ZERO: Self = Self { packets: 0, octets: 0 };
}

impl Add for Count {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            octets: self.octets.wrapping_add(other.octets),
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl core::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::ZERO, Add::add)
    }
}

/// Counters kept on behalf of slices.
///
/// `record` takes `&mut self`, the cheapest form: a worker counts for itself and
/// someone adds up. Who reads from another thread uses [`AtomicCount`] cells.
///
/// # Contract
///
/// - `read(e)` is the number of `record(e, _)` and the sum of their octets, modulo
///   2^64; events do not disturb each other.
/// - An event that has no counter counts nowhere, and reads as 0.
/// - No method allocates or panics. Reading does not slow recording down beyond the
///   cache line it takes.
///
/// Check an implementation with `conformance::stats_block`.
pub trait StatsBlock {
    /// Counts one packet.
    fn record(&mut self, event: Event, octets: u32);

    /// What was counted so far.
    fn read(&self, event: Event) -> Count;
}

impl<T: StatsBlock + ?Sized> StatsBlock for &mut T {
    #[inline(always)]
    fn record(&mut self, event: Event, octets: u32) {
        (**self).record(event, octets);
    }
    fn read(&self, event: Event) -> Count {
        (**self).read(event)
    }
}
