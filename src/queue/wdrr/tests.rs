use super::*;
use crate::exit::DropReason;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

const QUANTUM: Quantum = Quantum { unit: 100, longest: 300 };
type Small = Wdrr<[Queue; 4], [Descriptor<u32>; 16], [Line; lines(4, QUANTUM)]>;

fn wdrr() -> Small {
    let lines = [Line::NEW; lines(4, QUANTUM)];
    let mut wdrr = Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 16], lines, QUANTUM).unwrap();
    for (queue, weight) in [3, 6, 9].into_iter().enumerate() {
        let config = QueueConfig { weight, ..QueueConfig::new(SliceId(1)) };
        wdrr.configure(QueueId(queue as u32), config).unwrap();
    }
    wdrr
}

/// The algorithm of the paper, with a list of active queues. No quantum is less than a
/// packet, so that each turn sends one at least.
struct Model {
    queues: [VecDeque<(u32, u32)>; 4],
    quantum: [u32; 4],
    deficit: [u32; 4],
    active: VecDeque<usize>,
    in_turn: bool,
}

impl Model {
    fn enqueue(&mut self, queue: usize, handle: u32, octets: u32) {
        if self.queues[queue].is_empty() {
            self.active.push_back(queue);
        }
        self.queues[queue].push_back((handle, octets));
    }

    fn dequeue(&mut self) -> Option<(usize, u32, u32)> {
        let queue = *self.active.front()?;
        if !self.in_turn {
            self.deficit[queue] += self.quantum[queue];
        }
        let (handle, octets) = self.queues[queue].pop_front()?;
        self.deficit[queue] -= octets;
        self.in_turn = self.queues[queue].front().is_some_and(|next| next.1 <= self.deficit[queue]);
        if self.queues[queue].is_empty() {
            self.deficit[queue] = 0;
            self.active.pop_front();
        } else if !self.in_turn {
            self.active.rotate_left(1);
        }
        Some((queue, handle, octets))
    }
}

proptest! {
    #[test]
    fn departures_are_those_of_the_algorithm_as_published(
        history in prop::collection::vec((any::<bool>(), 0u32..4, 1u32..320), 1..300),
    ) {
        let mut wdrr = wdrr();
        let mut model = Model {
            queues: Default::default(), quantum: [300, 600, 900, 0], deficit: [0; 4],
            active: VecDeque::new(), in_turn: false,
        };
        let mut waiting = 0;
        for (handle, (enqueue, queue, octets)) in (0..).zip(history) {
            if enqueue {
                let refused = wdrr.enqueue(Nanos::ZERO, QueueId(queue), handle, Arrival::new(octets)).err();
                let expected = match queue {
                    3 => Some(DropReason::UnknownQueue),
                    _ if octets > 300 => Some(DropReason::TooLong),
                    _ if waiting == 16 => Some(DropReason::NoBuffer),
                    _ => None,
                };
                prop_assert_eq!(refused, expected.map(|reason| Rejected { handle, reason }));
                if expected.is_none() {
                    model.enqueue(queue as usize, handle, octets);
                    waiting += 1;
                }
            } else {
                let departure = wdrr.dequeue(Nanos::ZERO);
                let expected = model.dequeue();
                waiting -= u32::from(expected.is_some());
                prop_assert_eq!(departure.map(|d| (d.queue.0 as usize, d.handle, d.octets)), expected);
            }
            let backlogs: Vec<u32> = (0..4).map(|queue| wdrr.backlog(QueueId(queue))).collect();
            let expected: Vec<u32> = model.queues.iter().map(|queue| queue.len() as u32).collect();
            prop_assert_eq!(backlogs, expected);
            prop_assert_eq!((wdrr.waiting(), wdrr.next_due(Nanos(7)).is_some()), (waiting.into(), waiting > 0));
        }
    }
}

#[test]
fn limits_count_packets_and_octets() {
    let mut wdrr = wdrr();
    let limited =
        QueueConfig { weight: 3, limit_packets: 2, limit_octets: 350, ..QueueConfig::new(SliceId(1)) };
    wdrr.configure(QueueId(0), limited).unwrap();
    let mut put = |octets| wdrr.enqueue(Nanos::ZERO, QueueId(0), 0, Arrival::new(octets)).is_ok();
    assert_eq!([put(200), put(151), put(150), put(0)], [true, false, true, false]);
    assert_eq!(wdrr.stats(QueueId(0)).octets, 350);
}

#[test]
fn bad_configurations_change_nothing() {
    let mut wdrr = wdrr();
    let config = QueueConfig::new(SliceId(1));
    let with = |weight| QueueConfig { weight, ..config };
    let queue = QueueId(1);
    wdrr.enqueue(Nanos::ZERO, queue, 7, Arrival::new(10)).unwrap();
    assert_eq!(wdrr.configure(queue, with(0)), Err(ConfigError::Weight(0)));
    assert_eq!(wdrr.configure(queue, with(65_537)), Err(ConfigError::Weight(65_537)));
    let unknown = ConfigError::UnknownQueue { queue: QueueId(4), queues: 4 };
    assert_eq!(wdrr.configure(QueueId(4), with(3)), Err(unknown));
    let foreign = QueueConfig { owner: SliceId(2), ..with(3) };
    assert_eq!(wdrr.configure(queue, foreign), Err(ConfigError::Owner(SliceId(1))));
    assert_eq!((wdrr.quantum(queue), wdrr.backlog(queue)), (600, 1));
    let refused = |unit, longest| BoxedWdrr::<u8>::boxed(1, 1, 0, TailDrop, Quantum { unit, longest }).err();
    for (unit, longest) in [(0, 1), (65_535, 65_536), (65_536, 1), (1, 4096), (16, 1 << 28)] {
        assert_eq!(refused(unit, longest), Some(ConfigError::Unit { unit, longest }));
    }
    for (unit, longest) in [(65_535, 65_535), (1, 4095), (3, 9216)] {
        assert_eq!(refused(unit, longest), None);
    }
    let few = Wdrr::new([Queue::NEW; 4], [const { Descriptor::<u8>::NEW }; 1], [Line::NEW; 3], QUANTUM);
    assert!(matches!(few, Err(ConfigError::Lines { needed: 15, has: 3 })));
}
