//! The scheduler of an interface, as it was asked for.
//!
//! The plain scheduler is asked first. One that is not plain has no queues there, so that what
//! it is, is only looked at where the plain one refuses a packet or has none: whoever is plain
//! pays nothing for what others are.

use super::*;
use crate::node::scheduling::{ClassError, Levels, PriorityClass};
use crate::queue::policy::{Choice, Counted, PerQueue, QueueCounts};
use crate::queue::{BoxedHierarchy, ConfigError, Priority, QueueStats};

/// What is dropped, for each queue, and what was.
type Policies = Counted<PerQueue<Box<[Choice]>>, Box<[QueueCounts]>>;
type Flat<B> = BoxedWdrr<Packet<B>, Policies>;

/// Invariant: `plain` has no queues if there is another.
#[derive(Debug)]
pub(super) struct Discipline<B> {
    plain: BoxedWdrr<Packet<B>>,
    managed: Option<Box<Managed<B>>>,
    /// Rates of the interface, and of the class that comes first there: it keeps its part of
    /// whatever this worker may send.
    class: Option<(Rate, Rate)>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each interface, boxed as a whole")]
pub(super) enum Managed<B> {
    Ordinary(Ordinary<B>),
    Priority(Priority<Flat<B>, Ordinary<B>>),
}

/// Queues that share by weight.
#[derive(Debug)]
pub(super) enum Ordinary<B> {
    Flat(Flat<B>),
    Slices(BoxedHierarchy<Packet<B>, Policies>),
}

/// What a discipline is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) queues: u32,
    pub(super) descriptors: usize,
    pub(super) slices: usize,
    pub(super) quantum: Quantum,
    pub(super) seed: u64,
    pub(super) workers: usize,
    pub(super) rate: Rate,
}

impl Size {
    fn policies(&self, queues: usize) -> Policies {
        let choices = boxed(queues, || Choice::TailDrop);
        Counted::new(PerQueue::new(choices, self.seed), boxed(queues, || QueueCounts::ZERO))
    }

    fn flat<B>(&self, queues: u32) -> Result<Flat<B>, ConfigError> {
        let queues = queues as usize;
        BoxedWdrr::boxed(queues, self.descriptors, 0, self.policies(queues), self.quantum)
    }

    fn ordinary<B>(&self, levels: Levels, queues: u32) -> Result<Ordinary<B>, ConfigError> {
        Ok(match levels {
            Levels::Queues => Ordinary::Flat(self.flat(queues)?),
            Levels::Slices => {
                let (count, quanta) = (queues as usize, [self.quantum, self.quantum]);
                let policies = self.policies(count);
                let made = BoxedHierarchy::boxed(count, self.descriptors, self.slices, policies, quanta)?;
                Ordinary::Slices(made)
            }
        })
    }

    fn priority<B>(
        &self, levels: Levels, class: PriorityClass,
    ) -> Result<Priority<Flat<B>, Ordinary<B>>, InterfaceError> {
        let (asked, most) = (class.queues, self.queues.saturating_sub(1));
        if asked == 0 || asked > most {
            return Err(ClassError::Queues { asked, most }.into());
        }
        let (high, low) = (self.flat(asked)?, self.ordinary(levels, self.queues - asked)?);
        let bucket = class.bucket(self.workers).map_err(ClassError::from)?;
        let longest = self.quantum.longest;
        Ok(Priority::new(high, asked, low, bucket, longest).map_err(ClassError::from)?)
    }
}

impl<B> Discipline<B> {
    pub(super) fn new(scheduling: Scheduling, size: &Size) -> Result<Self, InterfaceError> {
        let plain =
            |queues: u32, packets| BoxedWdrr::boxed(queues as usize, packets, 0, TailDrop, size.quantum);
        let Scheduling::Managed { levels, priority } = scheduling else {
            return Ok(Self { plain: plain(size.queues, size.descriptors)?, managed: None, class: None });
        };
        let managed = match priority {
            None => Managed::Ordinary(size.ordinary(levels, size.queues)?),
            Some(class) => Managed::Priority(size.priority(levels, class)?),
        };
        let class = priority.map(|class| (size.rate, class.rate));
        Ok(Self { plain: plain(0, 0)?, managed: Some(Box::new(managed)), class })
    }

    /// What stands in the place of an interface that is gone.
    pub(super) fn none() -> Result<Self, InterfaceError> {
        let plain = BoxedWdrr::boxed(1, 1, 0, TailDrop, Quantum::of_longest(1))?;
        Ok(Self { plain, managed: None, class: None })
    }

    /// The packets that wait in all queues.
    pub(super) fn waiting(&self) -> u64 {
        match self.managed.as_deref() {
            None => self.plain.waiting(),
            Some(Managed::Ordinary(ordinary)) => ordinary.waiting(),
            Some(Managed::Priority(priority)) => priority.high().waiting() + priority.low().waiting(),
        }
    }

    /// Gives a slice its share, where slices have shares.
    pub(super) fn set_share(&mut self, slice: SliceId, weight: u32) -> Result<(), ConfigError> {
        match self.ordinary_mut() {
            Some(Ordinary::Slices(slices)) => slices.set_share(slice, weight),
            _ => Ok(()),
        }
    }

    /// Gives a queue another policy, which begins anew.
    pub(super) fn set_policy(&mut self, queue: QueueId, policy: Choice) {
        if let Some((policies, local)) = self.policies_mut(queue) {
            // Whoever names a queue has configured it.
            let _ = policies.policy_mut().set(local, policy);
        }
    }

    /// What happened to the packets of a queue, if that is counted.
    pub(super) fn counts(&self, queue: QueueId) -> Option<QueueCounts> {
        let (policies, local) = match self.managed.as_deref()? {
            Managed::Ordinary(ordinary) => (ordinary.policies(), queue),
            Managed::Priority(priority) => match priority.local(queue) {
                Ok(local) => (priority.high().policy(), local),
                Err(local) => (priority.low().policies(), local),
            },
        };
        policies.counts(local).copied()
    }

    /// One of so many workers has its part of the class that comes first.
    pub(super) fn set_workers(&mut self, class: PriorityClass, workers: usize) {
        if let Some(Managed::Priority(priority)) = self.managed.as_deref_mut()
            && let Ok(bucket) = class.bucket(workers)
        {
            // Its burst is what it was.
            let _ = priority.set_bucket(bucket);
        }
    }

    /// The interface has another rate.
    pub(super) const fn set_whole(&mut self, rate: Rate) {
        if let Some((whole, _)) = &mut self.class {
            *whole = rate;
        }
    }

    /// This worker may send at `share` of the interface's rate: the class that comes first has the
    /// part of it that it has of the whole, so that it never has all.
    pub(super) fn follow(&mut self, now: Nanos, share: Rate) {
        if let (Some((whole, class)), Some(Managed::Priority(priority))) =
            (self.class, self.managed.as_deref_mut())
        {
            let part = u128::from(class.get()) * u128::from(share.get()) / u128::from(whole.get());
            let mut bucket = *priority.bucket();
            if let Ok(rate) = Rate::bits_per_second((part as u64).max(1)) {
                bucket.set_rate(now, rate);
                // Its burst is what it was.
                let _ = priority.set_bucket(bucket);
            }
        }
    }

    fn ordinary_mut(&mut self) -> Option<&mut Ordinary<B>> {
        Some(match self.managed.as_deref_mut()? {
            Managed::Ordinary(ordinary) => ordinary,
            Managed::Priority(priority) => priority.low_mut(),
        })
    }

    fn policies_mut(&mut self, queue: QueueId) -> Option<(&mut Policies, QueueId)> {
        Some(match self.managed.as_deref_mut()? {
            Managed::Ordinary(ordinary) => (ordinary.policies_mut(), queue),
            Managed::Priority(priority) => match priority.local(queue) {
                Ok(local) => (priority.high_mut().policy_mut(), local),
                Err(local) => (priority.low_mut().policies_mut(), local),
            },
        })
    }
}

impl<B> Ordinary<B> {
    fn waiting(&self) -> u64 {
        match self {
            Self::Flat(flat) => flat.waiting(),
            Self::Slices(slices) => slices.waiting(),
        }
    }

    fn policies(&self) -> &Policies {
        match self {
            Self::Flat(flat) => flat.policy(),
            Self::Slices(slices) => slices.policy(),
        }
    }

    fn policies_mut(&mut self) -> &mut Policies {
        match self {
            Self::Flat(flat) => flat.policy_mut(),
            Self::Slices(slices) => slices.policy_mut(),
        }
    }
}

/// Schedules by whichever it is; what is done for each packet is `inline`.
macro_rules! either {
    ($which:ident { $($variant:ident),+ } $inline:ident) => {
        impl<B> WdrrScheduler for $which<B> {
            type Handle = Packet<B>;

            fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
                match self { $(Self::$variant(it) => it.configure(queue, config),)+ }
            }
            fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
                match self { $(Self::$variant(it) => it.remove(queue),)+ }
            }
            fn flush(&mut self, queue: QueueId) -> Option<Departure<Packet<B>>> {
                match self { $(Self::$variant(it) => it.flush(queue),)+ }
            }
            #[inline($inline)]
            fn enqueue(
                &mut self, now: Nanos, queue: QueueId, handle: Packet<B>, arrival: Arrival,
            ) -> Result<(), Rejected<Packet<B>>> {
                match self { $(Self::$variant(it) => it.enqueue(now, queue, handle, arrival),)+ }
            }
            #[inline($inline)]
            fn dequeue(&mut self, now: Nanos) -> Option<Departure<Packet<B>>> {
                match self { $(Self::$variant(it) => it.dequeue(now),)+ }
            }
            fn dequeue_batch(&mut self, now: Nanos, places: &mut [Option<Departure<Packet<B>>>]) -> usize {
                match self { $(Self::$variant(it) => it.dequeue_batch(now, places),)+ }
            }
            fn backlog(&self, queue: QueueId) -> u32 {
                match self { $(Self::$variant(it) => it.backlog(queue),)+ }
            }
            fn stats(&self, queue: QueueId) -> QueueStats {
                match self { $(Self::$variant(it) => it.stats(queue),)+ }
            }
            fn quantum(&self, queue: QueueId) -> u64 {
                match self { $(Self::$variant(it) => it.quantum(queue),)+ }
            }
            #[inline($inline)]
            fn next_due(&self, now: Nanos) -> Option<Nanos> {
                match self { $(Self::$variant(it) => it.next_due(now),)+ }
            }
        }
    };
}

either!(Managed { Ordinary, Priority } never);
either!(Ordinary { Flat, Slices } always);

impl<B> Discipline<B> {
    /// The plain one refused it: it is another one's, or refused.
    #[cold]
    #[inline(never)]
    fn enqueue_managed(
        &mut self, now: Nanos, queue: QueueId, rejected: Rejected<Packet<B>>, arrival: Arrival,
    ) -> Result<(), Rejected<Packet<B>>> {
        match &mut self.managed {
            Some(managed) => managed.enqueue(now, queue, rejected.handle, arrival),
            None => Err(rejected),
        }
    }

    #[cold]
    #[inline(never)]
    fn dequeue_managed(&mut self, now: Nanos) -> Option<Departure<Packet<B>>> {
        self.managed.as_mut()?.dequeue(now)
    }
}

/// What there are of both, by whichever it is.
macro_rules! managed_or_plain {
    ($self:ident, $it:ident => $does:expr) => {
        match &mut $self.managed {
            Some($it) => $does,
            None => {
                let $it = &mut $self.plain;
                $does
            }
        }
    };
}

impl<B> WdrrScheduler for Discipline<B> {
    type Handle = Packet<B>;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        managed_or_plain!(self, it => it.configure(queue, config))
    }
    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        managed_or_plain!(self, it => it.remove(queue))
    }
    fn flush(&mut self, queue: QueueId) -> Option<Departure<Packet<B>>> {
        managed_or_plain!(self, it => it.flush(queue))
    }
    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Packet<B>, arrival: Arrival,
    ) -> Result<(), Rejected<Packet<B>>> {
        match self.plain.enqueue(now, queue, handle, arrival) {
            Ok(()) => Ok(()),
            // By field, here and below: a result that a call writes would stay in memory for all.
            Err(rejected) => match self.enqueue_managed(now, queue, rejected, arrival) {
                Ok(()) => Ok(()),
                Err(Rejected { handle, reason }) => Err(Rejected { handle, reason }),
            },
        }
    }
    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Packet<B>>> {
        match self.plain.dequeue(now) {
            Some(departure) => Some(departure),
            None => {
                let departure = self.dequeue_managed(now)?;
                let Departure { handle, octets, queue, owner, verdict } = departure;
                Some(Departure { handle, octets, queue, owner, verdict })
            }
        }
    }
    fn dequeue_batch(&mut self, now: Nanos, places: &mut [Option<Departure<Packet<B>>>]) -> usize {
        managed_or_plain!(self, it => it.dequeue_batch(now, places))
    }
    fn backlog(&self, queue: QueueId) -> u32 {
        self.managed.as_ref().map_or_else(|| self.plain.backlog(queue), |it| it.backlog(queue))
    }
    fn stats(&self, queue: QueueId) -> QueueStats {
        self.managed.as_ref().map_or_else(|| self.plain.stats(queue), |it| it.stats(queue))
    }
    fn quantum(&self, queue: QueueId) -> u64 {
        self.managed.as_ref().map_or_else(|| self.plain.quantum(queue), |it| it.quantum(queue))
    }
    #[inline(always)]
    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match self.plain.next_due(now) {
            Some(due) => Some(due),
            None => self.managed.as_ref()?.next_due(now),
        }
    }
}
