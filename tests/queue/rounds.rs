//! Whatever the quanta: each round sends what the rounds of the published algorithm send.

use fastpath::conformance::Rng;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{BoxedWdrr, ConfigError, QueueConfig, WdrrScheduler};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::drr::{Drr, Lane, Sent};
use crate::ledger::{Ledger, wdrr};
use crate::weights::{quantum, weight};

const QUEUES: usize = 6;
const PACKETS: usize = 96;

/// What is done between two rounds. Octets are in 65,536ths of the longest packet.
#[derive(Clone, Debug)]
enum Op {
    Enqueue {
        queue: usize,
        octets: u32,
    },
    Configure {
        queue: usize,
        weight: u32,
        limit_packets: u32,
        limit_octets: u64,
    },
    /// All packets of the queue.
    Flush {
        queue: usize,
    },
    Remove {
        queue: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let limits =
        (prop_oneof![3 => Just(u32::MAX), 1 => 0..8u32], prop_oneof![3 => Just(u64::MAX), 1 => 0..9000u64]);
    prop_oneof![
        12 => (0..QUEUES, 1..=65_536u32).prop_map(|(queue, octets)| Op::Enqueue { queue, octets }),
        2 => (0..QUEUES, weight(), limits).prop_map(|(queue, weight, (limit_packets, limit_octets))| {
            Op::Configure { queue, weight, limit_packets, limit_octets }
        }),
        1 => (0..QUEUES).prop_map(|queue| Op::Flush { queue }),
        1 => (0..QUEUES).prop_map(|queue| Op::Remove { queue }),
    ]
}

struct Pair {
    ledger: Ledger<BoxedWdrr<u32>>,
    model: Drr,
    unit: u32,
    owners: Vec<u16>,
    /// Packets that may wait in all queues.
    packets: usize,
}

impl Pair {
    fn new(packets: usize, unit: u32, longest: u32, weights: &[u32]) -> Self {
        let queues = weights.len();
        let ledger = Ledger::new(wdrr(queues, packets, unit, longest), queues, 0);
        let model = Drr::new(queues, longest.into());
        let mut pair = Self { ledger, model, unit, owners: vec![0; queues], packets };
        for (queue, weight) in weights.iter().enumerate() {
            pair.configure(queue, *weight, u32::MAX, u64::MAX);
        }
        pair
    }

    fn configure(&mut self, queue: usize, weight: u32, limit_packets: u32, limit_octets: u64) {
        let lane = &mut self.model.lanes[queue];
        // Another owner for each life of a queue.
        self.owners[queue] += u16::from(lane.quantum == 0);
        lane.quantum = u128::from(weight) * u128::from(self.unit);
        (lane.limit_packets, lane.limit_octets) = (limit_packets.into(), limit_octets.into());
        let owner = SliceId(self.owners[queue]);
        let config = QueueConfig { owner, weight, limit_packets, limit_octets };
        self.ledger.scheduler.configure(QueueId(queue as u32), config).unwrap();
        assert_eq!(self.ledger.quantum(queue) as u128, self.model.lanes[queue].quantum);
    }

    fn remove(&mut self, queue: usize) {
        let id = QueueId(queue as u32);
        let lane = &mut self.model.lanes[queue];
        let expected = match lane.waiting.len() as u32 {
            _ if lane.quantum == 0 => Err(ConfigError::UnknownQueue { queue: id, queues: self.owners.len() }),
            0 => Ok(()),
            packets => Err(ConfigError::NotEmpty { queue: id, packets }),
        };
        assert_eq!(self.ledger.scheduler.remove(id), expected);
        if expected.is_ok() {
            *lane = Lane::default();
            self.ledger.removed(queue);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Enqueue { queue, octets } => {
                let longest = self.model.longest;
                let octets = (u128::from(octets) * longest).div_ceil(65_536).max(1);
                let room =
                    self.model.lanes.iter().map(|lane| lane.waiting.len()).sum::<usize>() < self.packets;
                if room {
                    let taken = self.ledger.offer(Nanos::ZERO, queue, octets as u32);
                    let expected = self.model.enqueue(queue, taken.unwrap_or_default(), octets);
                    assert_eq!(taken.err(), expected.err());
                }
            }
            Op::Configure { queue, weight, limit_packets, limit_octets } => {
                self.configure(queue, weight, limit_packets, limit_octets);
            }
            Op::Flush { queue } => {
                while let Some(handle) = self.ledger.flush(queue) {
                    assert_eq!(self.model.flush(queue), Some(handle));
                }
                assert_eq!(self.model.flush(queue), None);
            }
            Op::Remove { queue } => self.remove(queue),
        }
    }

    /// The next round in which something is sent.
    fn round(&mut self) {
        let mut expected: Vec<Sent> = Vec::new();
        while expected.is_empty() && !self.model.is_empty() {
            expected = self.model.round();
        }
        let sent = expected.iter().map(|_| self.ledger.take(Nanos::ZERO).unwrap());
        let mut sent: Vec<Sent> = sent.map(|sent| (sent.queue.0 as usize, sent.handle)).collect();
        // In a round, who comes first is the scheduler's to say.
        sent.sort_by_key(|sent| sent.0);
        expected.sort_by_key(|sent| sent.0);
        assert_eq!(sent, expected, "in order within each queue");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn each_round_sends_what_the_published_rounds_send(
        (unit, longest) in quantum(),
        weights in prop::collection::vec(weight(), QUEUES),
        rounds in prop::collection::vec(prop::collection::vec(op(), 0..12), 1..24),
    ) {
        let mut pair = Pair::new(PACKETS, unit, longest, &weights);
        for ops in &rounds {
            ops.iter().for_each(|op| pair.apply(op));
            pair.round();
        }
        while !pair.model.is_empty() {
            pair.round();
        }
        prop_assert_eq!(pair.ledger.take(Nanos::ZERO), None);
    }
}

/// Hundreds of queues in few lists, which are taken out and changed in the midst of them all the
/// time: no list is ever torn, and none of their memory is lost.
#[test]
fn lists_of_hundreds_of_queues_stay_whole() {
    const MANY: usize = 300;
    for (unit, seed) in [(1500, 1), (700, 2), (100, 3)] {
        let mut rng = Rng::new(seed);
        let mut pair = Pair::new(2 * MANY, unit, 1500, &[1; MANY]);
        for _ in 0..700 {
            for _ in 0..400 {
                let queue = rng.below(MANY as u64) as usize;
                let (limit_packets, limit_octets) = (u32::MAX, u64::MAX);
                pair.apply(&match rng.below(16) {
                    0..3 => Op::Flush { queue },
                    3 => Op::Remove { queue },
                    4 => {
                        let weight = 1 + rng.below(2) as u32;
                        Op::Configure { queue, weight, limit_packets, limit_octets }
                    }
                    _ => Op::Enqueue { queue, octets: 1 + rng.below(65_536) as u32 },
                });
            }
            pair.round();
        }
        while !pair.model.is_empty() {
            pair.round();
        }
        assert_eq!(pair.ledger.take(Nanos::ZERO), None);
    }
}
