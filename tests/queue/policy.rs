//! A drop policy that decides by the throw of dice: every packet is accounted for, what is
//! dropped takes no time of the link and no share of the queue, and the policy is told the truth.

use std::collections::BTreeMap;

use fastpath::conformance::Rng;
use fastpath::exit::DropReason;
use fastpath::queue::{Arrival, BoxedWdrr, Depth, DropPolicy, Paced, Quantum, Rate, Verdict, WdrrScheduler};
use fastpath::time::Nanos;

use crate::ledger::Ledger;

const QUEUES: usize = 3;
const OVERHEAD: u32 = 24;
const LONGEST: u32 = 1500;

/// What a policy was asked, and what it said.
#[derive(Clone, Copy, Debug)]
struct Asked {
    queue: u32,
    depth: Depth,
    arrival: Arrival,
    /// How long the packet waited, if it leaves.
    waited: Option<Nanos>,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
struct Dice {
    rng: Rng,
    /// For each queue: it drops one packet of so many, at either end.
    sides: [u64; QUEUES],
    last: Option<Asked>,
    refused: BTreeMap<(u32, DropReason), u64>,
}

impl Dice {
    fn decide(&mut self, queue: u32, depth: Depth, arrival: Arrival, waited: Option<Nanos>) -> Verdict {
        let verdict = match self.rng.below(self.sides[queue as usize]) {
            0 => Verdict::Drop(DropReason::QueuePolicy),
            1 if arrival.ecn_capable => Verdict::SendMarked,
            _ => Verdict::Send,
        };
        self.last = Some(Asked { queue, depth, arrival, waited, verdict });
        verdict
    }
}

impl DropPolicy for Dice {
    fn arriving(&mut self, _: Nanos, queue: u32, depth: Depth, arrival: Arrival) -> Verdict {
        self.decide(queue, depth, arrival, None)
    }
    fn leaving(&mut self, _: Nanos, queue: u32, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict {
        self.decide(queue, depth, arrival, Some(waited))
    }
    fn refused(&mut self, queue: u32, reason: DropReason, _: u32) {
        *self.refused.entry((queue, reason)).or_default() += 1;
    }
}

type Link = Ledger<Paced<BoxedWdrr<u32, Dice>>>;

fn link(seed: u64, unit: u32, sides: [u64; QUEUES]) -> Link {
    let dice = Dice { rng: Rng::new(seed), sides, last: None, refused: BTreeMap::new() };
    let quantum = Quantum { unit, longest: LONGEST + OVERHEAD };
    let wdrr = BoxedWdrr::boxed(QUEUES, 64, 0, dice, quantum).unwrap();
    let rate = Rate::bits_per_second(1_000_000_000).unwrap();
    Ledger::weighted(Paced::new(wdrr, rate, OVERHEAD, Nanos::ZERO), &[1, 3, 7], OVERHEAD)
}

fn asked(link: &Link) -> Asked {
    link.scheduler.inner().policy().last.unwrap()
}

/// What the ledger says waits.
fn depth(link: &Link, queue: usize) -> Depth {
    let stats = link.pages[queue].stats;
    Depth { packets: stats.packets, octets: stats.octets as u32 }
}

/// Packets that were taken, by handle: what was said of them, when they came, and whether they
/// were marked then.
type Taken = BTreeMap<u32, (Arrival, Nanos, bool)>;

fn arrive(link: &mut Link, taken: &mut Taken, now: Nanos, rng: &mut Rng) {
    let queue = rng.below(QUEUES as u64) as usize;
    let octets = 1 + rng.below(u64::from(LONGEST)) as u32;
    let arrival = Arrival { octets, precedence: rng.below(3) as u8, ecn_capable: rng.one_in(2) };
    let before = depth(link, queue);
    match link.arrive(now, queue, arrival) {
        Err(DropReason::NoBuffer) => {}
        offered => {
            let asked = asked(link);
            let told = Arrival { octets: octets + OVERHEAD, ..arrival };
            assert_eq!((asked.queue, asked.depth, asked.arrival), (queue as u32, before, told));
            let dropped = asked.verdict == Verdict::Drop(DropReason::QueuePolicy);
            assert_eq!(offered.err(), dropped.then_some(DropReason::QueuePolicy));
            let marked = asked.verdict == Verdict::SendMarked;
            taken.extend(offered.ok().map(|handle| (handle, (arrival, now, marked))));
        }
    }
}

fn leave(link: &mut Link, taken: &mut Taken, now: Nanos) -> Option<Verdict> {
    let departure = link.take(now)?;
    let (asked, queue) = (asked(link), departure.queue.0 as usize);
    let (arrival, came, marked) = taken.remove(&departure.handle).unwrap();
    let told = Arrival { octets: arrival.octets + OVERHEAD, ..arrival };
    assert_eq!((asked.queue, asked.depth, asked.arrival), (queue as u32, depth(link, queue), told));
    // It is told in units of 1,024 ns.
    assert!(asked.waited.unwrap().0.abs_diff((now - came).0) <= 1024);
    let expected = match asked.verdict {
        Verdict::Send if marked => Verdict::SendMarked,
        verdict => verdict,
    };
    assert_eq!(departure.verdict, expected);
    Some(expected)
}

#[test]
fn a_policy_is_told_the_truth_and_its_word_is_kept() {
    for (seed, unit) in [(1, 1600), (2, 100), (3, 7)] {
        let (mut link, mut taken, mut rng) = (link(seed, unit, [6; QUEUES]), Taken::new(), Rng::new(seed));
        let mut now = Nanos::ZERO;
        for step in 0..50_000 {
            // Now more comes than the link takes, now less.
            let come = if step / 1000 % 2 == 0 { 3 } else { 1 };
            if rng.below(4) < come || taken.is_empty() {
                arrive(&mut link, &mut taken, now, &mut rng);
                now += Nanos(rng.below(9000));
            } else {
                let due = link.scheduler.next_due(now).unwrap();
                now = now.max(due);
                let verdict = leave(&mut link, &mut taken, now).unwrap();
                // What is dropped takes no time: the next may leave at once.
                let free = link.scheduler.next_due(now).is_none_or(|due| due <= now);
                assert!(free || !matches!(verdict, Verdict::Drop(_)));
            }
        }
        let mut refused = BTreeMap::new();
        for (queue, page) in (0..).zip(&link.pages) {
            refused.extend(page.refused.iter().map(|(reason, count)| ((queue, *reason), *count)));
            assert!(page.dropped > 100 && page.stats.out_packets > 100);
            assert!(page.refused[&DropReason::NoBuffer] > 100);
        }
        assert_eq!(link.scheduler.inner().policy().refused, refused, "each refusal is told once");
    }
}

/// Packets that are dropped when their turn comes are not charged: of what is sent, each queue
/// has its share, though one loses every other packet and another none.
#[test]
fn a_share_is_a_share_of_what_is_sent() {
    for unit in [1600, 100] {
        let mut link = link(4, unit, [1000, 6, 2]);
        let mut now = Nanos::ZERO;
        for _ in 0..60_000 {
            for queue in 0..QUEUES {
                while link.pages[queue].waiting.len() < 8 {
                    let _ = link.offer(now, queue, if queue == 0 { 1500 } else { 300 });
                }
            }
            now = link.scheduler.next_due(now).unwrap();
            link.take(now).unwrap();
        }
        let sent = [0, 1, 2].map(|queue| link.pages[queue].stats.out_octets as f64);
        let all: f64 = sent.iter().sum();
        for (sent, weight) in sent.into_iter().zip([1.0, 3.0, 7.0]) {
            assert!((sent / all * 11.0 / weight - 1.0).abs() < 0.01, "{sent} of {all}");
        }
    }
}
