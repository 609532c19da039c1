//! Figure 4, "Queue Manager": weighted fair queues behind rate-controlled schedulers.
//!
//! [`Wdrr`] schedules queues, [`Paced`] holds a scheduler to a rate, and
//! [`QueueManager`] joins several of them, ten by default, into one.
//!
//! ```
//! use fastpath::id::{QueueId, SliceId};
//! use fastpath::queue::{Arrival, Descriptor, Queue, QueueConfig, Wdrr, WdrrScheduler};
//! use fastpath::time::Nanos;
//!
//! // Four queues, sixteen waiting packets; a weight of 1 earns 1,500 octets a round.
//! let mut wdrr = Wdrr::new([const { Queue::NEW }; 4], [const { Descriptor::NEW }; 16], 1500, 1500)?;
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

mod manager;
mod paced;
mod wdrr;

pub use manager::QueueManager;
pub use paced::{Paced, Rate, RateError};
pub use wdrr::{Descriptor, Queue, Wdrr};

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
    /// Octets the queue may hold.
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
    /// So small a share of a round that the scheduler would have to go round for each
    /// packet.
    #[error("weight {weight} earns {quantum} octets a round, less than the longest packet of {longest}")]
    Quantum {
        /// The weight asked for.
        weight: u32,
        /// What it earns a round, in octets.
        quantum: u64,
        /// The longest packet that the scheduler takes, in octets.
        longest: u32,
    },
    /// The queue belongs to another slice.
    #[error("the queue belongs to slice {0}")]
    Owner(SliceId),
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
    /// Why: [`DropReason::QueueFull`], [`DropReason::UnknownQueue`],
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
/// - While queues `i` and `j` of one scheduler are both backlogged, the octets they
///   sent, each divided by the queue's [`quantum`](Self::quantum), differ by less than
///   `1 + longest / quantum_i + longest / quantum_j` rounds.
/// - `enqueue` and `dequeue` cost the same whatever the number of queues, but for
///   what is not in cache. No method but `configure` may do more.
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

    /// Packets waiting in `queue`.
    fn backlog(&self, queue: QueueId) -> u32;

    /// Octets that `queue` may send in a round, 0 if it is not configured.
    fn quantum(&self, queue: QueueId) -> u64;

    /// When `dequeue` will have something to give, if nothing more arrives: `now` or
    /// before if it has it already, `None` if every queue is empty.
    fn next_due(&self, now: Nanos) -> Option<Nanos>;

    /// Starts fetching what `enqueue` of this queue will touch. A hint.
    #[inline(always)]
    fn prefetch(&self, _queue: QueueId) {}
}

impl<T: WdrrScheduler + ?Sized> WdrrScheduler for &mut T {
    type Handle = T::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        (**self).configure(queue, config)
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
    fn backlog(&self, queue: QueueId) -> u32 {
        (**self).backlog(queue)
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
}
