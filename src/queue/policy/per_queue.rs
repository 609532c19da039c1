//! A policy for each queue.

use super::{CoDel, Depth, DropPolicy, Random, Red, TailDrop};
use crate::id::QueueId;
use crate::queue::{Arrival, ConfigError, Verdict};
use crate::store::Store;
use crate::time::Nanos;

/// The policy of one queue: parameters, and what it keeps of the traffic.
///
/// The contract is that of [`DropPolicy`].
pub trait QueuePolicy {
    /// What becomes of a packet that arrives where `depth` waits.
    fn arriving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, random: &mut Random) -> Verdict;

    /// What becomes of a packet that leaves after it `waited`, and leaves `depth` behind.
    fn leaving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict;

    /// What is kept of the traffic is void: the queue was emptied at once, or has another
    /// owner. Parameters stay.
    fn reset(&mut self);
}

impl QueuePolicy for TailDrop {
    #[inline(always)]
    fn arriving(&mut self, _: Nanos, _: Depth, _: Arrival, _: &mut Random) -> Verdict {
        Verdict::Send
    }
    #[inline(always)]
    fn leaving(&mut self, _: Nanos, _: Depth, _: Arrival, _: Nanos) -> Verdict {
        Verdict::Send
    }
    fn reset(&mut self) {}
}

/// One of the policies that there are.
#[derive(Clone, Copy, Debug, Default)]
pub enum Choice {
    /// Limits, and nothing else.
    #[default]
    TailDrop,
    /// Random early detection.
    Red(Red),
    /// Controlled delay.
    CoDel(CoDel),
}

impl QueuePolicy for Choice {
    #[inline(always)]
    fn arriving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, random: &mut Random) -> Verdict {
        match self {
            Self::Red(red) => red.arriving(now, depth, arrival, random),
            Self::TailDrop | Self::CoDel(_) => Verdict::Send,
        }
    }
    #[inline(always)]
    fn leaving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict {
        match self {
            Self::TailDrop => Verdict::Send,
            Self::Red(red) => red.leaving(now, depth, arrival, waited),
            Self::CoDel(codel) => codel.leaving(now, depth, arrival, waited),
        }
    }
    fn reset(&mut self) {
        match self {
            Self::TailDrop => {}
            Self::Red(red) => red.reset(),
            Self::CoDel(codel) => codel.reset(),
        }
    }
}

/// A policy of its own for each queue of a scheduler: `S` holds [`Red`]s, [`CoDel`]s or
/// [`Choice`]s, in an array, a lent slice or a boxed slice. A queue beyond its end has limits
/// only.
///
/// What is random follows from one seed and the order of the calls.
#[derive(Clone, Debug)]
pub struct PerQueue<S> {
    queues: S,
    random: Random,
}

impl<S: Store<Item: QueuePolicy>> PerQueue<S> {
    /// The policies of the queues, from number 0 on.
    pub const fn new(queues: S, seed: u64) -> Self {
        Self { queues, random: Random::new(seed) }
    }

    /// Gives a queue another policy, which begins anew. Packets that wait stay.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownQueue`] beyond the end of the store.
    pub fn set(&mut self, queue: QueueId, policy: S::Item) -> Result<(), ConfigError> {
        let queues = self.queues.items().len();
        *self.get_mut(queue).ok_or(ConfigError::UnknownQueue { queue, queues })? = policy;
        Ok(())
    }

    /// The policy of a queue.
    pub fn get(&self, queue: QueueId) -> Option<&S::Item> {
        self.queues.items().get(queue.0 as usize)
    }

    /// The policy of a queue, to change its parameters and keep its state.
    pub fn get_mut(&mut self, queue: QueueId) -> Option<&mut S::Item> {
        self.queues.items_mut().get_mut(queue.0 as usize)
    }
}

impl<S: Store<Item: QueuePolicy>> DropPolicy for PerQueue<S> {
    #[inline(always)]
    fn arriving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival) -> Verdict {
        match self.queues.items_mut().get_mut(queue as usize) {
            Some(policy) => policy.arriving(now, depth, arrival, &mut self.random),
            None => Verdict::Send,
        }
    }
    #[inline(always)]
    fn leaving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict {
        match self.queues.items_mut().get_mut(queue as usize) {
            Some(policy) => policy.leaving(now, depth, arrival, waited),
            None => Verdict::Send,
        }
    }
    fn flushed(&mut self, queue: u32, depth: Depth, _: u32) {
        if depth.packets == 0 {
            self.reset(queue);
        }
    }
    fn reset(&mut self, queue: u32) {
        if let Some(policy) = self.get_mut(QueueId(queue)) {
            policy.reset();
        }
    }
}

#[cfg(test)]
mod tests;
