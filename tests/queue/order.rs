//! Where the order of departures is defined, it is that of the published algorithms, whatever
//! comes between two departures.

use fastpath::exit::DropReason;
use fastpath::id::QueueId;
use fastpath::queue::{BoxedWdrr, QueueConfig, WdrrScheduler};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::drr::{Aliquem, Drr, Lane, Sent};
use crate::ledger::{Ledger, config, wdrr};
use crate::weights::{quantum, weight};

const QUEUES: usize = 5;
const PACKETS: usize = 64;

/// Octets are in 65,536ths of the longest packet and a little more.
#[derive(Clone, Copy, Debug)]
enum Op {
    Enqueue {
        queue: usize,
        octets: u32,
    },
    Dequeue,
    Limits {
        queue: usize,
        packets: u32,
        octets: u64,
    },
    /// One packet, if it is not the last.
    Flush {
        queue: usize,
    },
    /// If it is empty: another weight, after a removal or not.
    Renew {
        queue: usize,
        weight: u32,
        remove: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    prop_oneof![
        12 => (queue.clone(), 0..66_000u32).prop_map(|(queue, octets)| Op::Enqueue { queue, octets }),
        10 => Just(Op::Dequeue),
        1 => (queue.clone(), 0..6u32, 0..9000u64)
            .prop_map(|(queue, packets, octets)| Op::Limits { queue, packets, octets }),
        1 => queue.clone().prop_map(|queue| Op::Limits { queue, packets: u32::MAX, octets: u64::MAX }),
        1 => queue.clone().prop_map(|queue| Op::Flush { queue }),
        2 => (queue, weight(), any::<bool>())
            .prop_map(|(queue, weight, remove)| Op::Renew { queue, weight, remove }),
    ]
}

/// What both models can do.
trait Model {
    fn lanes(&mut self) -> &mut [Lane];
    fn enqueue(&mut self, lane: usize, handle: u32, octets: u128) -> Result<(), DropReason>;
    fn dequeue(&mut self) -> Option<Sent>;
    /// Whether it defines what a flush does to the order.
    fn flush(&mut self, lane: usize) -> Option<u32>;
}

impl Model for Drr {
    fn lanes(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }
    fn enqueue(&mut self, lane: usize, handle: u32, octets: u128) -> Result<(), DropReason> {
        self.enqueue(lane, handle, octets)
    }
    fn dequeue(&mut self) -> Option<Sent> {
        self.dequeue()
    }
    fn flush(&mut self, lane: usize) -> Option<u32> {
        let waits = self.lanes[lane].waiting.len() > 1;
        if waits { self.flush(lane) } else { None }
    }
}

impl Model for Aliquem {
    fn lanes(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }
    fn enqueue(&mut self, lane: usize, handle: u32, octets: u128) -> Result<(), DropReason> {
        self.enqueue(lane, handle, octets)
    }
    fn dequeue(&mut self) -> Option<Sent> {
        self.dequeue()
    }
    fn flush(&mut self, _: usize) -> Option<u32> {
        None
    }
}

/// A scheduler and a model of the same history.
struct Pair<M> {
    ledger: Ledger<BoxedWdrr<u32>>,
    model: M,
    unit: u32,
    weights: Vec<u32>,
}

impl<M: Model> Pair<M> {
    fn new(model: M, unit: u32, longest: u32, weights: &[u32]) -> Self {
        let ledger = Ledger::new(wdrr(QUEUES, PACKETS, unit, longest), QUEUES, 0);
        let mut pair = Self { ledger, model, unit, weights: weights.to_vec() };
        (0..QUEUES).for_each(|queue| pair.configure(queue, u32::MAX, u64::MAX));
        pair
    }

    fn configure(&mut self, queue: usize, limit_packets: u32, limit_octets: u64) {
        let weight = self.weights[queue];
        let config = QueueConfig { limit_packets, limit_octets, ..config(queue, weight) };
        self.ledger.scheduler.configure(QueueId(queue as u32), config).unwrap();
        let lane = &mut self.model.lanes()[queue];
        lane.quantum = u128::from(weight) * u128::from(self.unit);
        (lane.limit_packets, lane.limit_octets) = (limit_packets.into(), limit_octets.into());
    }

    fn apply(&mut self, op: Op, longest: u32) {
        let lanes = self.model.lanes();
        let waiting = lanes.iter().map(|lane| lane.waiting.len()).sum::<usize>();
        match op {
            Op::Enqueue { queue, octets } if waiting < PACKETS => {
                let octets = (u64::from(octets) * u64::from(longest)).div_ceil(65_536) as u32;
                let taken = self.ledger.offer(Nanos::ZERO, queue, octets);
                let expected = self.model.enqueue(queue, taken.unwrap_or_default(), octets.into());
                assert_eq!(taken.err(), expected.err());
            }
            Op::Enqueue { .. } | Op::Dequeue => assert_eq!(self.take(), self.model.dequeue()),
            Op::Limits { queue, packets, octets } => self.configure(queue, packets, octets),
            Op::Flush { queue } => {
                if let Some(handle) = self.model.flush(queue) {
                    assert_eq!(self.ledger.flush(queue), Some(handle));
                }
            }
            Op::Renew { queue, weight, remove } if lanes[queue].waiting.is_empty() => {
                self.weights[queue] = weight;
                if remove {
                    self.ledger.scheduler.remove(QueueId(queue as u32)).unwrap();
                    self.ledger.removed(queue);
                }
                self.configure(queue, u32::MAX, u64::MAX);
            }
            Op::Renew { .. } => {}
        }
    }

    fn take(&mut self) -> Option<Sent> {
        let departure = self.ledger.take(Nanos::ZERO)?;
        Some((departure.queue.0 as usize, departure.handle))
    }

    fn run(mut self, longest: u32, history: &[Op]) {
        history.iter().for_each(|op| self.apply(*op, longest));
        while let Some(sent) = self.model.dequeue() {
            assert_eq!(self.take(), Some(sent));
        }
        assert_eq!(self.take(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn with_quanta_of_a_packet_the_order_is_that_of_deficit_round_robin(
        longest in 1..9019u32,
        more in 0..9000u32,
        weights in prop::collection::vec(weight(), QUEUES),
        history in prop::collection::vec(op(), 1..300),
    ) {
        let model = Drr::new(QUEUES, longest.into());
        Pair::new(model, longest + more, longest, &weights).run(longest, &history);
    }

    #[test]
    fn with_any_quanta_the_order_is_that_of_a_list_for_each_round(
        (unit, longest) in quantum(),
        weights in prop::collection::vec(weight(), QUEUES),
        history in prop::collection::vec(op(), 1..300),
    ) {
        let model = Aliquem::new(QUEUES, longest.into());
        Pair::new(model, unit, longest, &weights).run(longest, &history);
    }
}
