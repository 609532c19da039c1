//! Figure 4, "Queue Manager": weighted fair queues behind rate-controlled schedulers.
//!
//! [`Wdrr`] schedules queues, [`Priority`] puts a class of them first, [`Paced`] holds a scheduler
//! to a rate, and [`QueueManager`] joins several of them, ten by default, into one. What queues
//! refuse and drop is the [`policy`]'s to say.
//!
//! ```
//! use fastpath::id::{QueueId, SliceId};
//! use fastpath::queue::{self, Arrival, Descriptor, Line, Quantum, Queue, QueueConfig, Wdrr, WdrrScheduler};
//! use fastpath::time::Nanos;
//!
//! // Four queues, sixteen waiting packets; a weight of 1 earns 1,500 octets a round.
//! const QUANTUM: Quantum = Quantum::of_longest(1500);
//! let lines = [Line::NEW; queue::lines(4, QUANTUM)];
//! let mut wdrr = Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 16], lines, QUANTUM)?;
//! let (now, heavy, light) = (Nanos::ZERO, QueueId(0), QueueId(1));
//! wdrr.configure(heavy, QueueConfig { weight: 3, ..QueueConfig::new(SliceId(1)) })?;
//! wdrr.configure(light, QueueConfig::new(SliceId(2)))?;
//! for packet in ["a", "b", "c", "d"] {
//!     wdrr.enqueue(now, heavy, packet, Arrival::new(1500)).unwrap();
//!     wdrr.enqueue(now, light, packet, Arrival::new(1500)).unwrap();
//! }
//! let sent: Vec<_> = std::iter::from_fn(|| wdrr.dequeue(now)).map(|d| (d.queue.0, d.handle)).collect();
//! assert_eq!(sent[..5], [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (0, "d")]);
//! # Ok::<(), fastpath::queue::ConfigError>(())
//! ```

mod allotment;
mod bucket;
pub mod exchange;
mod fifos;
mod hierarchy;
mod manager;
pub mod meter;
mod outlet;
mod paced;
pub mod policy;
mod priority;
mod rounds;
mod turns;
mod wdrr;
mod wheel;

pub use allotment::{Allotments, Oversubscribed};
pub use bucket::{BurstError, TokenBucket};
pub use fifos::{Descriptor, Queue, Reserve};
#[cfg(feature = "alloc")]
pub use hierarchy::BoxedHierarchy;
pub use hierarchy::{Class, Hierarchy, hierarchy_lines};
pub use manager::{QueueManager, Scheduled};
pub use paced::{Paced, Rate, RateError};
pub use policy::{Depth, DropPolicy, TailDrop};
pub use priority::{Priority, PriorityError};
pub use rounds::Line;
#[cfg(feature = "alloc")]
pub use wdrr::BoxedWdrr;
pub use wdrr::{Memory, Quantum, Wdrr, lines};

use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::time::Nanos;

/// A queue's owner, share and limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueConfig {
    /// The slice whose packets wait here.
    pub owner: SliceId,
    /// Its share of the scheduler, relative to the other queues' weights: 1 to 65,536.
    pub weight: u32,
    /// Packets the queue may hold.
    pub limit_packets: u32,
    /// Octets the queue may hold; no queue holds more than 2^32 - 2^28.
    pub limit_octets: u64,
}

impl QueueConfig {
    /// The highest weight.
    pub const MAX_WEIGHT: u32 = 1 << 16;

    /// Weight 1 and no limit but the memory of the scheduler.
    pub const fn new(owner: SliceId) -> Self {
        Self { owner, weight: 1, limit_packets: u32::MAX, limit_octets: u64::MAX }
    }
}

/// Why a scheduler refused a configuration. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such queue.
    #[error("queue {queue} is out of range: the scheduler has {queues} queues")]
    UnknownQueue {
        /// The queue asked for.
        queue: QueueId,
        /// How many there are.
        queues: usize,
    },
    /// A weight of 0, or above 65,536.
    #[error("weight {0} is out of range: 1 to 65536")]
    Weight(u32),
    /// A weight of 1 would earn nothing, or so little of the longest packet that there would be
    /// too many rounds to tell apart; or a weight of 65,536 more than can be counted.
    #[error(
        "a unit of {unit} octets does not go with packets of {longest}: at least a 4,095th of them, and at \
         most 65,535"
    )]
    Unit {
        /// What a weight of 1 earns a round, in octets.
        unit: u32,
        /// The longest packet that the scheduler takes, in octets.
        longest: u32,
    },
    /// Less memory for lists than the queues need.
    #[error("{has} lines are too few for the rounds of these queues: {needed} are needed")]
    Lines {
        /// What [`lines`] says.
        needed: usize,
        /// How many there are.
        has: usize,
    },
    /// More reserved than there is.
    #[error("{asked} descriptors cannot be reserved: {left} are not promised to others")]
    Reserve {
        /// What was asked for.
        asked: u32,
        /// What is left to promise.
        left: u32,
    },
    /// No room for another slice's reserve.
    #[error("the scheduler keeps accounts of {0} slices, and all are in use")]
    Slices(usize),
    /// Its owner has no share of the link yet.
    #[error("slice {0} has no share of the link: set one first")]
    NoShare(SliceId),
    /// Packets wait in the queue.
    #[error("{packets} packets wait in queue {queue}: flush it first, or wait until they have left")]
    NotEmpty {
        /// The queue.
        queue: QueueId,
        /// Packets that wait.
        packets: u32,
    },
    /// The queue belongs to another slice.
    #[error("the queue belongs to slice {0}")]
    Owner(SliceId),
}

impl ConfigError {
    /// The same of a queue by another name.
    pub(crate) fn of(self, queue: QueueId) -> Self {
        match self {
            Self::UnknownQueue { queues, .. } => Self::UnknownQueue { queue, queues },
            Self::NotEmpty { packets, .. } => Self::NotEmpty { queue, packets },
            error => error,
        }
    }
}

/// What a scheduler is told of a packet: it never looks into one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Arrival {
    /// Length on the wire, outer headers included, so that a share of the scheduler is
    /// a share of the link (section 4).
    pub octets: u32,
    /// Drop precedence (RFC 2597): 0 is dropped last, 2 first.
    pub precedence: u8,
    /// Whether the outer header may be marked in place of a drop (RFC 3168).
    pub ecn_capable: bool,
}

impl Arrival {
    /// A packet of `octets` octets without further qualities.
    #[inline(always)]
    pub const fn new(octets: u32) -> Self {
        Self { octets, precedence: 0, ecn_capable: false }
    }
}

/// A packet that was not queued, given back to its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rejected<H> {
    /// The packet.
    pub handle: H,
    /// Why: [`DropReason::QueueFull`], [`DropReason::NoBuffer`], [`DropReason::UnknownQueue`],
    /// [`DropReason::QueuePolicy`] or [`DropReason::TooLong`].
    pub reason: DropReason,
}

/// A packet that leaves its queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Departure<H> {
    /// The packet.
    pub handle: H,
    /// Its length in octets, as given to `enqueue`.
    pub octets: u32,
    /// The queue it waited in.
    pub queue: QueueId,
    /// The slice that owns the queue.
    pub owner: SliceId,
    /// What is to be done with it.
    pub verdict: Verdict,
}

/// What went through a queue, and what waits in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueStats {
    /// Packets that wait.
    pub packets: u32,
    /// Octets that wait.
    pub octets: u64,
    /// The most packets that waited at once.
    pub most_packets: u32,
    /// Packets that left to be sent, since the queue was given to its owner. With those that
    /// wait and those that a policy dropped they make up all that came in.
    pub out_packets: u64,
    /// Octets that left to be sent.
    pub out_octets: u64,
}

/// What a scheduler decided on a packet that leaves its queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verdict {
    /// To be sent.
    #[default]
    Send,
    /// To be sent with congestion experienced marked in the outer header (RFC 3168).
    SendMarked,
    /// To be dropped, for a reason to be counted under the owner: CoDel drops here.
    Drop(DropReason),
}

/// Weighted deficit round robin over a set of queues.
///
/// M. Shreedhar and G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin",
/// IEEE/ACM Trans. Networking 4(3), 1996.
///
/// Time comes in as an argument and never runs backwards from call to call.
///
/// # Contract
///
/// - First in, first out within a queue.
/// - What is refused is given back; nothing that was taken is lost.
/// - Work conserving: `dequeue` is `None` only if every queue is empty, or until the
///   time that [`next_due`](Self::next_due) says.
/// - A queue that runs empty loses the credit it had left.
/// - While queues `i` and `j` of one scheduler are both backlogged and none of its queues is
///   configured or flushed, the octets they sent, each divided by the queue's
///   [`quantum`](Self::quantum), differ by less than `1 + longest / quantum_i + longest /
///   quantum_j` rounds, and where one of the quanta is less than `longest` by less than one
///   more.
/// - `enqueue` and `dequeue` cost the same whatever the number of queues, but for
///   what is not in cache. No method but `configure`, `remove` and `flush` may do more.
/// - No method allocates or panics.
///
/// Check an implementation with `conformance::wdrr_scheduler`.
pub trait WdrrScheduler {
    /// What a queue holds: a packet, or a handle to one.
    type Handle;

    /// Sets up `queue`, or changes it while it runs: packets that wait stay, in order.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the queue is unchanged.
    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError>;

    /// Gives an empty queue up: it is not configured any more. [`flush`](Self::flush) empties
    /// one at once.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotEmpty`] while packets wait, [`ConfigError::UnknownQueue`] if it is not
    /// configured; nothing has changed.
    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError>;

    /// Takes the first packet of `queue` out of turn, to be dropped: its verdict is
    /// [`DropReason::QueueDeleted`], and it costs no other queue anything. `None` if nothing
    /// waits there.
    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>>;

    /// Appends a packet to `queue`.
    ///
    /// # Errors
    ///
    /// Gives the packet back, with the reason. The queue is unchanged.
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>>;

    /// The next packet to leave, or `None` if there is none at `now`.
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>>;

    /// The next packets to leave, into the first places of `departures`; how many. As so many
    /// calls of [`dequeue`](Self::dequeue), but what they touch is fetched together.
    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<Self::Handle>>]) -> usize {
        let mut count = 0;
        for place in departures {
            *place = self.dequeue(now);
            if place.is_none() {
                break;
            }
            count += 1;
        }
        count
    }

    /// Gives up to `most` packets that leave next to `each`; how many. As so many calls of
    /// [`dequeue`](Self::dequeue), without a place in memory for each packet.
    #[inline(always)]
    fn dequeue_each(
        &mut self, now: Nanos, most: usize, mut each: impl FnMut(Departure<Self::Handle>),
    ) -> usize
    where
        Self: Sized,
    {
        let mut count = 0;
        while count < most
            && let Some(departure) = self.dequeue(now)
        {
            each(departure);
            count += 1;
        }
        count
    }

    /// Packets waiting in `queue`.
    fn backlog(&self, queue: QueueId) -> u32;

    /// What went through `queue`; all 0 if it is not configured.
    fn stats(&self, queue: QueueId) -> QueueStats;

    /// Octets that `queue` may send in a round, 0 if it is not configured.
    fn quantum(&self, queue: QueueId) -> u64;

    /// When `dequeue` will have something to give, if nothing more arrives: `now` or
    /// before if it has it already, `None` if every queue is empty.
    fn next_due(&self, now: Nanos) -> Option<Nanos>;

    /// Starts fetching the first line that `enqueue` of this queue will touch. A hint.
    #[inline(always)]
    fn prefetch(&self, _queue: QueueId) {}

    /// Starts fetching what that line leads to, which it waits for. A hint.
    #[inline(always)]
    fn prefetch_deeper(&self, _queue: QueueId) {}
}

impl<T: WdrrScheduler + ?Sized> WdrrScheduler for &mut T {
    type Handle = T::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        (**self).configure(queue, config)
    }
    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        (**self).remove(queue)
    }
    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>> {
        (**self).flush(queue)
    }
    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>> {
        (**self).enqueue(now, queue, handle, arrival)
    }
    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>> {
        (**self).dequeue(now)
    }
    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<Self::Handle>>]) -> usize {
        (**self).dequeue_batch(now, departures)
    }
    fn backlog(&self, queue: QueueId) -> u32 {
        (**self).backlog(queue)
    }
    fn stats(&self, queue: QueueId) -> QueueStats {
        (**self).stats(queue)
    }
    fn quantum(&self, queue: QueueId) -> u64 {
        (**self).quantum(queue)
    }
    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        (**self).next_due(now)
    }
    #[inline(always)]
    fn prefetch(&self, queue: QueueId) {
        (**self).prefetch(queue);
    }
    #[inline(always)]
    fn prefetch_deeper(&self, queue: QueueId) {
        (**self).prefetch_deeper(queue);
    }
}
