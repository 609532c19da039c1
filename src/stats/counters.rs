//! The default statistics: an array of counters for each kind of event.

use crate::exit::Exit;
use crate::id::SliceId;
use crate::stats::{Cells, Count, Event, StatsBlock};

/// Counters of one slice: one for each exit, and one for what was injected.
pub const ROW: usize = Exit::COUNT + 1;

const INJECTED: usize = Exit::COUNT;

/// A counter for each egress, each queue, and each exit of each slice.
///
/// 16 octets a counter. Counting is an index, two loads and two stores. The fields
/// are the memory: how many egresses, queues and slices it has counters for is how
/// long they are ([`ROW`] cells a slice).
#[derive(Clone, Debug)]
pub struct Counters<E, Q, S> {
    /// By [`EgressId`](crate::id::EgressId): what was queued.
    pub egresses: E,
    /// By [`QueueId`](crate::id::QueueId): what left the queue to be sent.
    pub queues: Q,
    /// By slice: what was injected, what left early.
    pub slices: S,
}

impl<E: Cells, Q: Cells, S: Cells> StatsBlock for Counters<E, Q, S> {
    #[inline(always)]
    fn record(&mut self, event: Event, octets: u32) {
        match event {
            Event::Queued(egress) => self.egresses.add(egress.index(), octets),
            Event::Sent(queue) => self.queues.add(queue.0 as usize, octets),
            Event::Left(slice, exit) => self.slices.add(cell(slice, exit.index()), octets),
            Event::Injected(slice) => self.slices.add(cell(slice, INJECTED), octets),
        }
    }

    fn read(&self, event: Event) -> Count {
        match event {
            Event::Queued(egress) => self.egresses.get(egress.index()),
            Event::Sent(queue) => self.queues.get(queue.0 as usize),
            Event::Left(slice, exit) => self.slices.get(cell(slice, exit.index())),
            Event::Injected(slice) => self.slices.get(cell(slice, INJECTED)),
        }
    }
}

impl<E: Cells, Q: Cells, S: Cells> Counters<E, Q, S> {
    /// Sets all counters of `slice`'s exits to 0, for a new owner of its number.
    pub fn clear_slice(&mut self, slice: SliceId) {
        (0..ROW).for_each(|at| self.slices.clear(cell(slice, at)));
    }
}

#[inline(always)]
fn cell(slice: SliceId, at: usize) -> usize {
    usize::from(slice.0) * ROW + at
}

/// The early exits of one slice, added up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SliceAccount {
    /// What its slice manager sent into the path.
    pub injected: Count,
    /// What was dropped, for whatever reason.
    pub dropped: Count,
    /// What went to its slow path.
    pub slow_path: Count,
}

impl SliceAccount {
    /// Adds up what `stats` counted for `slice`.
    pub fn read(stats: &(impl StatsBlock + ?Sized), slice: SliceId) -> Self {
        let mut account = Self { injected: stats.read(Event::Injected(slice)), ..Self::default() };
        for exit in Exit::all() {
            let sum = match exit {
                Exit::Drop(_) => &mut account.dropped,
                Exit::SlowPath(_) => &mut account.slow_path,
            };
            *sum += stats.read(Event::Left(slice, exit));
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{DropReason, Exception};
    use crate::id::{EgressId, QueueId};
    use crate::stats::AtomicCount;

    #[test]
    fn another_thread_reads_while_the_writer_counts() {
        let egresses = [const { AtomicCount::ZERO }; 2];
        let queues = [const { AtomicCount::ZERO }; 2];
        let slices = [const { AtomicCount::ZERO }; 2 * ROW];
        let handle = || Counters { egresses: &egresses[..], queues: &queues[..], slices: &slices[..] };
        let event = Event::Queued(EgressId::new(1).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = handle();
                (0..1000).for_each(|_| writer.record(event, 100));
            });
            let reader = handle();
            let mut last = 0;
            while last < 1000 {
                let now = reader.read(event).packets;
                assert!(now >= last, "counts only grow");
                last = now;
            }
        });
        assert_eq!(handle().read(event), Count { packets: 1000, octets: 100_000 });
    }

    #[test]
    fn what_was_counted_is_given_to_another_counter() {
        fn check(mut cells: impl Cells) {
            [(0, 5), (0, 6), (1, 7)].into_iter().for_each(|(at, octets)| cells.add(at, octets));
            cells.give(0, 1);
            assert_eq!((cells.get(0), cells.get(1)), (Count::ZERO, Count { packets: 3, octets: 18 }));
            // Nothing is lost to nowhere, or to itself.
            [(1, 2), (2, 1), (1, 1)].into_iter().for_each(|(from, to)| cells.give(from, to));
            assert_eq!(cells.get(1), Count { packets: 3, octets: 18 });
        }
        check([Count::ZERO; 2]);
        check(&[const { AtomicCount::ZERO }; 2][..]);
    }

    #[test]
    fn an_account_adds_up_all_exits() {
        let slices = [Count::ZERO; 3 * ROW];
        let mut stats = Counters { egresses: [Count::ZERO; 1], queues: [Count::ZERO; 1], slices };
        for (octets, exit) in (1..).zip(Exit::all()) {
            stats.record(Event::Left(SliceId(2), exit), octets);
        }
        stats.record(Event::Injected(SliceId(2)), 7);
        stats.record(Event::Sent(QueueId(9)), 1);
        let drops = DropReason::ALL.len() as u64;
        let all = Exit::COUNT as u64;
        let account = SliceAccount::read(&stats, SliceId(2));
        assert_eq!(account.injected, Count { packets: 1, octets: 7 });
        assert_eq!(account.dropped, Count { packets: drops, octets: drops * (drops + 1) / 2 });
        assert_eq!(account.slow_path.packets, Exception::ALL.len() as u64);
        assert_eq!(account.slow_path.octets, all * (all + 1) / 2 - account.dropped.octets);
        assert_eq!(SliceAccount::read(&stats, SliceId(1)), SliceAccount::default());
        assert_eq!(stats.read(Event::Sent(QueueId(9))), Count::ZERO, "no counter, no count");
    }
}
