//! Section 4: ten schedulers, each with a rate of its own and weighted queues; and ten thousand
//! of them. All are backlogged, in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedWdrr, Paced, Quantum, QueueConfig, QueueManager, Rate, Scheduled, TailDrop, WdrrScheduler,
};
use fastpath::time::Nanos;

fn paced(rate: u64, queues: usize, overhead: u32, longest: u32) -> Paced<BoxedWdrr<u32>> {
    let quantum = Quantum::of_longest(longest + overhead);
    let wdrr = BoxedWdrr::boxed(queues, 4 * queues, 0, TailDrop, quantum).unwrap();
    Paced::new(wdrr, Rate::bits_per_second(rate).unwrap(), overhead, Nanos::ZERO)
}

/// Sizes that look random: 64 octets to `longest`.
struct Sizes {
    state: u64,
    longest: u32,
}

impl Sizes {
    fn next(&mut self) -> u32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        64 + (self.state >> 33) as u32 % (self.longest - 63)
    }
}

/// Rates within 1 % over a second and shares within 2 % are asked for; the rate is held to a
/// packet.
#[test]
fn ten_schedulers_hold_their_rates_and_their_shares() {
    const WEIGHTS: [u32; 4] = [1, 2, 3, 10];
    let rates: [u64; 10] = std::array::from_fn(|n| 100_000_000 * (n as u64 + 1) - 7_777 * n as u64);
    let mut manager = QueueManager::new(rates.map(|rate| Scheduled::new(paced(rate, 4, 24, 1500))), 2);
    let mut sizes = Sizes { state: 1, longest: 1500 };
    for scheduler in 0..10 {
        for (queue, weight) in (0..).zip(WEIGHTS) {
            let queue = manager.queue_id(scheduler, queue).unwrap();
            manager.configure(queue, QueueConfig { weight, ..QueueConfig::new(SliceId(1)) }).unwrap();
            (0..3).for_each(|_| manager.enqueue(Nanos::ZERO, queue, 0, Arrival::new(sizes.next())).unwrap());
        }
    }
    let (mut sent, mut now) = ([[0u64; 4]; 10], Nanos::ZERO);
    while now < Nanos::from_secs(1) {
        while let Some(departure) = manager.dequeue(now) {
            let (scheduler, queue) = (manager.scheduler_of(departure.queue), departure.queue.0 & 3);
            sent[scheduler][queue as usize] += u64::from(departure.octets + 24);
            manager.enqueue(now, departure.queue, 0, Arrival::new(sizes.next())).unwrap();
        }
        now = manager.next_due(now).unwrap();
    }
    for (rate, sent) in rates.into_iter().zip(sent) {
        let all: u64 = sent.iter().sum();
        assert!(all.abs_diff(rate / 8) <= 1524, "{all} octets at {rate} bit/s");
        for (sent, weight) in sent.into_iter().zip(WEIGHTS) {
            let share = all as f64 * f64::from(weight) / 16.0;
            assert!((sent as f64 / share - 1.0).abs() < 0.02, "{sent} octets of {share}");
        }
    }
}

/// From 64 kb/s to 3.5 Mb/s, 10 Mb/s in all ten.
const MIXED: [u64; 10] =
    [64_000, 100_000, 256_000, 333_333, 500_000, 777_777, 1_000_000, 1_500_000, 2_000_000, 3_468_890];

/// 10 Gb/s in all, for 10 s: each within a thousandth or one packet.
#[test]
fn ten_thousand_schedulers_hold_their_rates() {
    let (schedulers, longest, queue) = (10_000, 9000, QueueId(0));
    let mut sizes = Sizes { state: 2, longest };
    let mut all = Vec::new();
    let mut due = BinaryHeap::new();
    for n in 0..schedulers {
        let mut paced = paced(MIXED[n % 10], 1, 0, longest);
        paced.configure(queue, QueueConfig::new(SliceId(1))).unwrap();
        // They begin one after the other, within 10 ms.
        let start = Nanos::from_micros(n as u64);
        paced.enqueue(start, queue, 0, Arrival::new(sizes.next())).unwrap();
        due.push(Reverse((start, n)));
        all.push((paced, 0u64));
    }
    assert_eq!(all.iter().map(|(paced, _)| paced.rate().get()).sum::<u64>(), 10_000_000_000);
    while let Some(Reverse((now, n))) = due.pop() {
        let (paced, sent) = &mut all[n];
        paced.enqueue(now, queue, 0, Arrival::new(sizes.next())).unwrap();
        *sent += u64::from(paced.dequeue(now).unwrap().octets);
        let next = paced.next_due(now).unwrap();
        if next < Nanos::from_micros(n as u64) + Nanos::from_secs(10) {
            due.push(Reverse((next, n)));
        }
    }
    for (paced, sent) in &all {
        let owed = paced.rate().get() * 10 / 8;
        let off = sent.abs_diff(owed);
        assert!(off <= (owed / 1000).max(longest.into()), "{sent} octets and not {owed}");
    }
}
