use super::*;
use crate::conformance::{QueueSet, wdrr_scheduler};
use std::vec::Vec;

const QUANTUM: Quantum = Quantum::of_longest(1500);

fn hierarchy(slices: usize, quanta: [Quantum; 2]) -> BoxedHierarchy<u32> {
    BoxedHierarchy::boxed(4, 160, slices, TailDrop, quanta).unwrap()
}

/// Queues that the kit gives to slices of its choice, as queues of others: of two slices, or of
/// one each with the queue's weight.
struct Owned {
    inner: BoxedHierarchy<u32>,
    owners: [SliceId; 4],
    alone: bool,
}

impl Owned {
    fn slice(&self, id: QueueId) -> SliceId {
        SliceId(if self.alone { 10 + (id.0 % 8) as u16 } else { 10 + (id.0 % 8) as u16 / 2 })
    }

    fn outward(&self, departure: Departure<u32>) -> Departure<u32> {
        Departure { owner: self.owners[departure.queue.0 as usize], ..departure }
    }
}

impl WdrrScheduler for Owned {
    type Handle = u32;

    fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let owner = self.slice(id);
        let weight = if self.alone { 1 } else { config.weight };
        if self.alone && id.0 < 4 {
            self.inner.set_share(owner, config.weight)?;
        } else if id.0 < 4 {
            self.inner.set_share(owner, 1 + u32::from(owner.0) % 2)?;
        }
        let unknown = ConfigError::UnknownQueue { queue: id, queues: 4 };
        let known = self.owners.get_mut(id.0 as usize).ok_or(unknown)?;
        self.inner.configure(id, QueueConfig { owner, weight, ..config })?;
        *known = config.owner;
        Ok(())
    }
    fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        self.inner.remove(id)
    }
    fn flush(&mut self, id: QueueId) -> Option<Departure<u32>> {
        let departure = self.inner.flush(id)?;
        Some(self.outward(departure))
    }
    fn enqueue(
        &mut self, now: Nanos, id: QueueId, handle: u32, arrival: Arrival,
    ) -> Result<(), Rejected<u32>> {
        self.inner.enqueue(now, id, handle, arrival)
    }
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<u32>> {
        let departure = self.inner.dequeue(now)?;
        Some(self.outward(departure))
    }
    fn backlog(&self, id: QueueId) -> u32 {
        self.inner.backlog(id)
    }
    fn quantum(&self, id: QueueId) -> u64 {
        let configured = self.inner.quantum(id);
        if self.alone && configured > 0 { self.inner.share(self.slice(id)) } else { configured }
    }
    fn stats(&self, id: QueueId) -> QueueStats {
        self.inner.stats(id)
    }
    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.inner.next_due(now)
    }
}

#[test]
fn queues_of_a_slice_and_slices_share_as_queues_of_a_scheduler_do() {
    let ids = [QueueId(0), QueueId(1), QueueId(2), QueueId(3)];
    let set = QueueSet { schedulers: &[&ids], weight: 1, longest: 1500, overhead: 0, room: 40 };
    for unit in [1500, 1499, 400, 1] {
        let fine = Quantum { unit, longest: 1500 };
        let new = |alone, quanta| {
            move || Owned {
                inner: hierarchy(if alone { 4 } else { 2 }, quanta),
                owners: [SliceId(0); 4],
                alone,
            }
        };
        wdrr_scheduler(new(true, [fine, QUANTUM]), set, 2, 1);
        wdrr_scheduler(
            new(false, [QUANTUM, fine]),
            QueueSet { schedulers: &[&ids[..2], &ids[2..]], ..set },
            2,
            2,
        );
        wdrr_scheduler(
            new(false, [fine, fine]),
            QueueSet { schedulers: &[&ids[..2], &ids[2..]], ..set },
            2,
            3,
        );
    }
}

#[test]
fn what_a_slice_leaves_the_others_have_by_weight() {
    let mut link =
        BoxedHierarchy::<u32>::boxed(6, 6000, 3, TailDrop, [Quantum { unit: 10, longest: 1500 }; 2]).unwrap();
    for (slice, weight) in [(1, 1), (2, 2), (3, 5)] {
        link.set_share(SliceId(slice), weight).unwrap();
    }
    for queue in 0..6 {
        let config =
            QueueConfig { weight: 1 + queue % 2 * 2, ..QueueConfig::new(SliceId(1 + queue as u16 / 2)) };
        link.configure(QueueId(queue), config).unwrap();
    }
    // The third slice has nothing to send for a while.
    let mut run = |queues: core::ops::Range<u32>| -> Vec<u64> {
        for queue in queues {
            for nth in 0..1000 {
                link.enqueue(Nanos::ZERO, QueueId(queue), nth, Arrival::new(100 + nth * 7 % 1400)).unwrap();
            }
        }
        let before: Vec<u64> = (0..6).map(|queue| link.stats(QueueId(queue)).out_octets).collect();
        for _ in 0..600 {
            link.dequeue(Nanos::ZERO).unwrap();
        }
        (0..6).map(|queue| link.stats(QueueId(queue)).out_octets - before[queue as usize]).collect()
    };
    let close = |octets: u64, expected: u64| octets.abs_diff(expected) < 3 * 1500;
    let sent = run(0..4);
    let all: u64 = sent.iter().sum();
    for (queue, share) in [(0, 1), (1, 3), (2, 2), (3, 6)] {
        assert!(close(sent[queue], all * share / 12), "{sent:?}");
    }
    let sent = run(4..6);
    let all: u64 = sent.iter().sum();
    for (queue, share) in [(0, 1), (1, 3), (2, 2), (3, 6), (4, 5), (5, 15)] {
        assert!(close(sent[queue], all * share / 32), "{sent:?}");
    }
}

#[test]
fn bad_configurations_change_nothing() {
    let mut link = hierarchy(2, [QUANTUM; 2]);
    let config = QueueConfig::new(SliceId(1));
    assert_eq!(link.configure(QueueId(0), config), Err(ConfigError::NoShare(SliceId(1))));
    assert_eq!(link.set_share(SliceId(1), 0), Err(ConfigError::Weight(0)));
    assert_eq!(link.share(SliceId(1)), 0);
    for slice in [1, 2, 1] {
        link.set_share(SliceId(slice), 3).unwrap();
    }
    assert_eq!(link.set_share(SliceId(3), 1), Err(ConfigError::Slices(2)));
    link.configure(QueueId(0), config).unwrap();
    assert_eq!((link.share(SliceId(1)), link.quantum(QueueId(0))), (4500, 1500));
    let others = Quantum { unit: 1500, longest: 1400 };
    assert!(BoxedHierarchy::<u8>::boxed(1, 1, 1, TailDrop, [QUANTUM, others]).is_err());
    let memory = Memory::boxed(4, 1, 3, 1);
    let few = BoxedHierarchy::<u8>::with(memory, [Class::NEW].into(), TailDrop, [QUANTUM; 2]);
    assert!(matches!(few, Err(ConfigError::Lines { has: 3, .. })));
}
