//! What the first worker changes, for the others to do as it did.
//!
//! The first worker decides: it checks, picks numbers, and does each change itself. Then the
//! change goes into a ring for each other worker, in one order for all. So their ports,
//! records and queues are the same after the same number of changes, and nothing that was
//! decided can be refused there. A worker says how many changes it has done; a command's
//! answer waits for the last of them.

use alloc::collections::VecDeque;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::gates::Gate;
use super::*;
use crate::queue::policy::Choice;

/// A change, as each worker does it: nothing in it is left to be decided.
#[derive(Debug)]
pub(super) enum Change<B> {
    Admit(Box<Admitted<B>>),
    Withdraw {
        slice: SliceId,
        ports: Box<[(IpAddr, TunnelKind)]>,
        results: core::ops::Range<u32>,
    },
    Open {
        address: IpAddr,
        kind: TunnelKind,
        config: TunnelConfig,
    },
    Close {
        address: IpAddr,
        kind: TunnelKind,
    },
    Result(EgressId, Box<Record>),
    Results(Box<[(EgressId, Record)]>),
    Configure(Box<QueueSetting>),
    /// Nothing leads to the queue any more: it goes when it is empty.
    Leave(Leaving),
    Share {
        number: usize,
        slice: SliceId,
        weight: u32,
    },
    Police {
        slice: SliceId,
        link: Option<u16>,
        gate: Option<Box<Gate>>,
    },
    Schedule {
        number: usize,
        scheduler: Box<Scheduler<B>>,
    },
    Rate {
        number: usize,
        rate: Rate,
        burst: Nanos,
    },
}

/// What a queue is, beside whose packets lead there.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueSetting {
    pub(super) queue: QueueId,
    pub(super) config: QueueConfig,
    /// Its owner's share of the interface, where slices have shares and it is another one.
    pub(super) share: Option<u32>,
    /// Its policy, if it is another one.
    pub(super) policy: Option<Choice>,
}

/// A queue that its slice has no more, until it is empty.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub(super) slice: SliceId,
    pub(super) queue: QueueId,
    /// Whether what waits is dropped.
    pub(super) drops: bool,
    /// Counted until it is, or the worker is gone.
    pub(super) _holder: Holder,
}

/// One of those who count: dropped, it counts no more.
#[derive(Debug)]
pub(super) struct Holder(Arc<AtomicUsize>);

impl Holder {
    /// The first one; `count` is 0 when there is none any more.
    pub(super) fn first(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Clone for Holder {
    fn clone(&self) -> Self {
        Self::first(&self.0)
    }
}

impl Drop for Holder {
    /// What was done before comes before whatever follows its being let go.
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

/// A slice that was admitted.
#[derive(Debug)]
pub(super) struct Admitted<B> {
    pub(super) seat: Seat<B>,
    pub(super) ports: Vec<(IpAddr, TunnelKind, TunnelConfig)>,
    pub(super) queues: Vec<QueueSetting>,
}

/// Changes that a worker may leave undone before slices' commands wait for it.
const CHANGES: usize = 256;

/// A worker's end.
#[derive(Debug)]
pub(super) struct Orders<B> {
    changes: Consumer<Change<B>>,
    done: Arc<AtomicU64>,
}

impl<B> Orders<B> {
    /// The next change.
    pub(super) fn next(&mut self) -> Option<Change<B>> {
        self.changes.pop().ok()
    }

    /// One more is done: what follows it may be relied on.
    pub(super) fn done(&self) {
        self.done.store(self.done.load(Relaxed) + 1, Release);
    }
}

impl<B> Drop for Orders<B> {
    /// Nobody waits for a worker that is gone.
    fn drop(&mut self) {
        self.done.store(u64::MAX, Release);
    }
}

/// The first worker's ends of the others.
#[derive(Debug)]
pub(super) struct Crew<B> {
    members: Vec<Member<B>>,
    /// How many changes there were.
    changes: u64,
}

#[derive(Debug)]
struct Member<B> {
    ring: Producer<Change<B>>,
    /// What found no room in the ring, for the node's owner does not wait.
    behind: VecDeque<Change<B>>,
    done: Arc<AtomicU64>,
    stats: SharedCounters,
}

impl<B> Crew<B> {
    pub(super) const fn new() -> Self {
        Self { members: Vec::new(), changes: 0 }
    }

    /// Takes a worker on that counts in `stats`.
    pub(super) fn join(&mut self, stats: SharedCounters) -> Orders<B> {
        let (ring, changes) = RingBuffer::new(CHANGES);
        let done = Arc::new(AtomicU64::new(self.changes));
        self.members.push(Member { ring, behind: VecDeque::new(), done: done.clone(), stats });
        Orders { changes, done }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.members.len()
    }

    /// How many changes were made.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Where each says how many changes it has done.
    pub(super) fn done(&self) -> Box<[Arc<AtomicU64>]> {
        self.members.iter().map(|member| member.done.clone()).collect()
    }

    /// The counters of those who are gone: nobody else writes them.
    pub(super) fn orphans(&mut self) -> impl Iterator<Item = &mut SharedCounters> {
        self.members.iter_mut().filter(|member| member.is_gone()).map(|member| &mut member.stats)
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = &SharedCounters> {
        self.members.iter().map(|member| &member.stats)
    }

    /// Whether the next change finds room with all of them.
    pub(super) fn has_room(&self) -> bool {
        self.members
            .iter()
            .all(|member| member.behind.is_empty() && (!member.ring.is_full() || member.is_gone()))
    }

    /// Passes on what had to wait.
    pub(super) fn flush(&mut self) {
        self.members.iter_mut().for_each(Member::flush);
    }

    /// Has all of them do what `change` makes.
    pub(super) fn order(&mut self, mut change: impl FnMut() -> Change<B>) {
        self.order_each(|| Some(change()));
    }

    /// Has each of them do what the next call of `change` makes.
    pub(super) fn order_each(&mut self, mut change: impl FnMut() -> Option<Change<B>>) {
        if self.members.is_empty() {
            return;
        }
        self.changes += 1;
        for member in &mut self.members {
            if let Some(change) = change() {
                member.put(change);
            }
        }
    }
}

impl<B> Member<B> {
    fn is_gone(&self) -> bool {
        self.ring.is_abandoned()
    }

    fn put(&mut self, change: Change<B>) {
        if !self.is_gone() {
            self.behind.push_back(change);
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.is_gone() {
            self.behind.clear();
            // What it never read is dropped with the ring, and counts no more.
            if self.ring.buffer().capacity() > 0 {
                (self.ring, _) = RingBuffer::new(0);
            }
        }
        while let Some(change) = self.behind.pop_front() {
            if let Err(PushError::Full(change)) = self.ring.push(change) {
                self.behind.push_front(change);
                break;
            }
        }
    }
}
