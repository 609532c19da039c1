//! What a slice can do to the others by changing its queues: weights, limits, flushes,
//! removals, at any time and as often as it likes.

use fastpath::id::QueueId;
use fastpath::queue::{BoxedWdrr, QueueConfig, WdrrScheduler};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::ledger::{Ledger, config, wdrr};
use crate::race::{Race, refill};
use crate::weights::weight;

const NOW: Nanos = Nanos::ZERO;
const LONGEST: u32 = 1500;

/// What it does between two departures, to the first or to the second of its queues. It has never
/// more weight on one than it may have, the highest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trick {
    Nothing,
    Highest(usize),
    Weight(usize, u32),
    Limit(usize, u32),
    Flush(usize),
    /// Flushes and removes it, and configures it anew.
    Renew(usize),
    /// Packets of so many 256ths of the longest.
    Refill(usize, u32),
}

/// Its two queues, and two that do nothing but send.
struct Contest {
    ledger: Ledger<BoxedWdrr<u32>>,
    highest: u32,
    configs: [QueueConfig; 2],
    /// Quanta, of its own queues at the highest weight.
    quanta: [i128; 4],
    /// For each queue, how far it got ahead of each of the last two.
    races: [[Race; 2]; 4],
}

impl Contest {
    fn new(unit: u32, highest: u32, others: [u32; 2]) -> Self {
        let weights = [highest, highest, others[0], others[1]];
        let ledger = Ledger::weighted(wdrr(4, 64, unit, LONGEST), &weights, 0);
        let (configs, quanta) = ([0, 1].map(|queue| config(queue, highest)), [0, 1, 2, 3]);
        let quanta = quanta.map(|queue| ledger.quantum(queue));
        Self { ledger, highest, configs, quanta, races: [[Race::default(); 2]; 4] }
    }

    fn play(&mut self, trick: Trick) {
        let id = |queue: usize| QueueId(queue as u32);
        let (ledger, configs) = (&mut self.ledger, &mut self.configs);
        let changed = match trick {
            Trick::Nothing => return,
            Trick::Flush(queue) => {
                ledger.flush(queue);
                return;
            }
            Trick::Refill(queue, size) => {
                let octets = (size * LONGEST / 256).max(1);
                while ledger.pages[queue].waiting.len() < 8 && ledger.offer(NOW, queue, octets).is_ok() {}
                return;
            }
            Trick::Highest(queue) => {
                configs[queue].weight = self.highest;
                queue
            }
            Trick::Weight(queue, weight) => {
                configs[queue].weight = weight.min(self.highest);
                queue
            }
            Trick::Limit(queue, packets) => {
                configs[queue].limit_packets = if packets == 0 { u32::MAX } else { packets };
                queue
            }
            Trick::Renew(queue) => {
                while ledger.flush(queue).is_some() {}
                ledger.scheduler.remove(id(queue)).unwrap();
                ledger.removed(queue);
                queue
            }
        };
        ledger.scheduler.configure(id(changed), configs[changed]).unwrap();
    }

    /// A packet leaves; whose. The others always have some.
    fn depart(&mut self) -> usize {
        (2..4).for_each(|queue| refill(&mut self.ledger, queue, || LONGEST));
        let sent = self.ledger.take(NOW).unwrap();
        let (at, octets) = (sent.queue.0 as usize, i128::from(sent.octets));
        for other in 0..2 {
            self.races[at][other].add(octets * self.quanta[other + 2]);
        }
        if at >= 2 {
            let quanta = self.quanta;
            self.races.iter_mut().zip(quanta).for_each(|(races, ours)| races[at - 2].add(-octets * ours));
        }
        at
    }

    /// Whether no queue ever got ahead by more than the bound of the contract.
    fn fair(&self) -> bool {
        let quanta = self.quanta;
        let fair =
            |at: usize, other: usize| self.races[at][other].below(quanta[at], quanta[other + 2], LONGEST, 2);
        (0..4).all(|at| (0..2).all(|other| at == other + 2 || fair(at, other)))
    }
}

fn trick() -> impl Strategy<Value = Trick> {
    let queue = 0..2usize;
    prop_oneof![
        3 => queue.clone().prop_map(Trick::Highest),
        3 => (queue.clone(), weight()).prop_map(|(queue, weight)| Trick::Weight(queue, weight)),
        1 => queue.clone().prop_map(Trick::Flush),
        1 => queue.clone().prop_map(Trick::Renew),
        4 => (queue.clone(), 1..=256u32).prop_map(|(queue, size)| Trick::Refill(queue, size)),
        1 => (queue, 0..4u32).prop_map(|(queue, packets)| Trick::Limit(queue, packets)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However it changes its queues, none of them gets ahead of one that does nothing but send by
    /// more than the bound of the contract at the highest weight it ever had, and those who do
    /// nothing keep to it among themselves: what a change gains, a thousand changes do not add up.
    #[test]
    fn changes_of_any_kind_gain_nothing(
        highest in 1..200u32, others in [1..200u32, 1..200u32], unit in 1..3000u32,
        tricks in prop::collection::vec((prop::collection::vec(trick(), 0..4), 0..3u32), 100..400),
    ) {
        let mut contest = Contest::new(unit, highest, others);
        for (tricks, departures) in tricks {
            tricks.into_iter().for_each(|trick| contest.play(trick));
            for _ in 0..departures {
                contest.depart();
            }
        }
        prop_assert!(contest.fair(), "{:?}", contest.races);
    }
}

/// The same with a plan: one trick whenever a packet of its own has left, another whenever one of
/// the others' has, in all pairs, before and after its queues are filled up.
#[test]
fn no_plan_of_changes_gains_anything() {
    let tricks = |queue: usize| {
        let weights = [1, 2, 50].map(|weight| Trick::Weight(queue, weight));
        let tricks = [Trick::Nothing, Trick::Highest(queue), Trick::Flush(queue), Trick::Renew(queue)];
        [&tricks[..], &weights].concat()
    };
    for (ours, theirs) in
        tricks(0).into_iter().flat_map(|ours| tricks(0).into_iter().map(move |theirs| (ours, theirs)))
    {
        for (unit, highest, size) in
            [(1, 7, 256), (10, 100, 40), (100, 3, 256), (1500, 4, 100), (700, 100, 256)]
        {
            let mut contest = Contest::new(unit, highest, [highest, 2]);
            for n in 0..600 {
                let trick = if contest.depart() < 2 { ours } else { theirs };
                let (before, after) =
                    if n & 64 == 0 { (trick, Trick::Nothing) } else { (Trick::Nothing, trick) };
                contest.play(before);
                (0..2).for_each(|queue| contest.play(Trick::Refill(queue, size)));
                contest.play(after);
            }
            assert!(contest.fair(), "{ours:?} {theirs:?} {unit} {highest}: {:?}", contest.races);
        }
    }
}
