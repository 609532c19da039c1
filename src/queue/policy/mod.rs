//! Which packets a queue does not take, and which it drops or marks when their turn comes.
//!
//! A scheduler has one [`DropPolicy`] for all its queues. [`TailDrop`] leaves it to limits;
//! [`PerQueue`] gives each queue a policy of its own, [`Red`], [`CoDel`] or a [`Choice`] of
//! both; [`Counted`] counts what another policy does.
//!
//! ```
//! use fastpath::id::{QueueId, SliceId};
//! use fastpath::queue::policy::{Choice, CoDel, CoDelConfig, Counted, PerQueue, QueueCounts, Red, RedConfig};
//! use fastpath::queue::policy::RedUnit;
//! use fastpath::queue::{self, Arrival, Descriptor, Line, Memory, Quantum, Queue, QueueConfig, Wdrr};
//! use fastpath::queue::WdrrScheduler;
//! use fastpath::time::Nanos;
//!
//! const QUANTUM: Quantum = Quantum::of_longest(1500);
//! let memory = Memory {
//!     queues: [Queue::NEW; 4],
//!     descriptors: [const { Descriptor::NEW }; 64],
//!     lines: [Line::NEW; queue::lines(4, QUANTUM)],
//!     reserves: [],
//! };
//! // Tail drop in all queues at first; 1 is the seed of what is random in RED.
//! let policy = Counted::new(PerQueue::new([Choice::TailDrop; 4], 1), [QueueCounts::ZERO; 4]);
//! let mut wdrr = Wdrr::with(memory, policy, QUANTUM)?;
//! wdrr.configure(QueueId(0), QueueConfig::new(SliceId(1)))?;
//! wdrr.configure(QueueId(1), QueueConfig::new(SliceId(2)))?;
//! // Under traffic, too: CoDel in one queue, RED in another, whose packets take 12 us each.
//! let red = RedConfig::recommended(RedUnit::Packets, 5, Nanos::from_micros(12));
//! let queues = wdrr.policy_mut().policy_mut();
//! queues.set(QueueId(0), Choice::CoDel(CoDel::new(CoDelConfig::INTERNET)?))?;
//! queues.set(QueueId(1), Choice::Red(Red::new(red)?))?;
//!
//! wdrr.enqueue(Nanos::ZERO, QueueId(0), "packet", Arrival::new(1500)).unwrap();
//! wdrr.dequeue(Nanos::from_micros(12)).unwrap();
//! assert_eq!(wdrr.policy().counts(QueueId(0)).map(|counts| counts.sent.packets), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codel;
mod counted;
mod histogram;
mod per_queue;
mod random;
mod red;

pub use codel::{CoDel, CoDelConfig, CoDelError};
pub use counted::{Counted, QueueCounts, QueueRecord, Tally, TimedCounts};
pub use histogram::Histogram;
pub use per_queue::{Choice, PerQueue, QueuePolicy};
pub use random::Random;
pub use red::{Red, RedConfig, RedCurve, RedError, RedUnit};

use crate::exit::DropReason;
use crate::queue::{Arrival, Verdict};
use crate::time::Nanos;

/// What waits in a queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Depth {
    /// Packets.
    pub packets: u32,
    /// Octets.
    pub octets: u32,
}

/// A drop policy of all queues of a scheduler, with what it keeps of each.
///
/// Limits come first: a policy is asked only of packets that the queue has room for, and what
/// it lets pass is in the queue.
///
/// # Contract
///
/// - Time is an argument, and so is all randomness: the same calls have the same verdicts.
/// - A packet that is not [`ecn_capable`](Arrival::ecn_capable) is never marked.
/// - Both verdicts cost the same whatever the queue holds; none allocates or panics.
/// - Each packet that was let in is told of once more: to [`leaving`](Self::leaving) or to
///   [`flushed`](Self::flushed).
pub trait DropPolicy {
    /// What becomes of a packet that arrives at queue `queue`, where `depth` waits.
    fn arriving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival) -> Verdict;

    /// What becomes of a packet that leaves it, after it `waited`; `depth` is what it leaves
    /// behind.
    fn leaving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict;

    /// A packet was refused, for this or another reason.
    #[inline(always)]
    fn refused(&mut self, _queue: u32, _reason: DropReason, _octets: u32) {}

    /// A packet of `octets` was taken out of turn, to be dropped; `depth` is what it leaves
    /// behind.
    #[inline(always)]
    fn flushed(&mut self, _queue: u32, _depth: Depth, _octets: u32) {}

    /// The queue, which is empty, begins anew, for another owner: what is kept of its traffic
    /// is void. Parameters stay: who gives the queue away sets those, too.
    fn reset(&mut self, _queue: u32) {}
}

/// A queue takes what it has room for: limits in packets and in octets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TailDrop;

impl DropPolicy for TailDrop {
    #[inline(always)]
    fn arriving(&mut self, _: Nanos, _: u32, _: Depth, _: Arrival) -> Verdict {
        Verdict::Send
    }
    #[inline(always)]
    fn leaving(&mut self, _: Nanos, _: u32, _: Depth, _: Arrival, _: Nanos) -> Verdict {
        Verdict::Send
    }
}
