//! Which packets a queue does not take, and which it drops or marks when their turn comes.

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
