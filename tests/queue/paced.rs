//! A paced scheduler beside the fluid of its link: service, delay, the link's time.
//!
//! Let q be a queue's quantum, F the sum of all, L the longest packet on the wire, C the rate,
//! and r = 1 if no quantum is below L, else 2. Within any time a queue i that is backlogged has
//! earned m rounds, and sent `m q_i` but for less than L; another queue j has earned `m + r` at
//! most, and sent less than `(m + r) q_j + L`. So
//!
//! ```text
//! W_j < q_j (W_i / q_i + r + L / q_i + L / q_j)                          for each j
//! C t < W_i F / q_i + B_i,   B_i = sum of q_j (r + L / q_i + L / q_j) + L    over j, not i
//! ```
//!
//! That is a latency of `B_i / C` behind the share `q_i / F` of the link: with r = 1 it is that
//! of L. Lenzini, E. Mingozzi, G. Stea, "Tradeoffs between low complexity, low latency, and
//! fairness with deficit round-robin schedulers", IEEE/ACM Trans. Networking 12(4), 2004, and
//! for quanta of a packet no more than the `(3 F - 2 q_i) / C` of D. Stiliadis, A. Varma,
//! "Latency-Rate Servers", IEEE/ACM Trans. Networking 6(5), 1998, whose theorem 1 bounds the
//! delay behind a token bucket of depth s and rate `q_i C / F`: `s / rate + latency`.

use fastpath::queue::{BoxedWdrr, Paced, Rate, WdrrScheduler};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::gps::Gps;
use crate::ledger::{Ledger, wdrr};

const OVERHEAD: u32 = 24;

/// A packet that comes: when, for whom, of how many octets.
#[derive(Clone, Copy, Debug)]
struct Coming {
    at: u64,
    queue: usize,
    octets: u32,
}

/// A packet on the link: counted octets, when it came, began and was through.
#[derive(Clone, Copy, Debug)]
struct Sending {
    queue: usize,
    octets: u32,
    came: u64,
    start: u64,
    end: f64,
}

/// A link with queues, and how its shares are cut.
#[derive(Clone, Debug)]
struct Link {
    rate: u64,
    longest: u32,
    unit: u32,
    weights: Vec<u32>,
}

impl Link {
    fn ledger(&self) -> Ledger<Paced<BoxedWdrr<u32>>> {
        let inner = wdrr(self.weights.len(), 1 << 14, self.unit, self.longest + OVERHEAD);
        let paced = Paced::new(inner, Rate::bits_per_second(self.rate).unwrap(), OVERHEAD, Nanos::ZERO);
        Ledger::weighted(paced, &self.weights, OVERHEAD)
    }

    fn quantum(&self, queue: usize) -> f64 {
        f64::from(self.weights[queue] * self.unit)
    }

    /// B_i, in octets.
    fn bound(&self, queue: usize) -> f64 {
        let longest = f64::from(self.longest + OVERHEAD);
        let quanta: Vec<_> = (0..self.weights.len()).map(|queue| self.quantum(queue)).collect();
        let rounds = if quanta.iter().any(|quantum| *quantum < longest) { 2.0 } else { 1.0 };
        let others = quanta.iter().enumerate().filter(|(other, _)| *other != queue);
        let part = |(_, quantum): (_, &f64)| quantum * (rounds + longest / quanta[queue]) + longest;
        others.map(part).sum::<f64>() + longest
    }

    /// The share of the link that is a queue's whatever the others do, in octets a nanosecond.
    fn share(&self, queue: usize) -> f64 {
        let all: f64 = (0..self.weights.len()).map(|queue| self.quantum(queue)).sum();
        self.rate as f64 / 8e9 * self.quantum(queue) / all
    }

    /// Runs `coming`, in order of time, through the scheduler until all queues are empty.
    fn run(&self, coming: &[Coming]) -> Vec<Sending> {
        let mut ledger = self.ledger();
        let mut came = Vec::new();
        let (mut sent, mut now, mut next) = (Vec::new(), 0, 0);
        let mut free = Free { rate: self.rate.into(), at: 0 };
        loop {
            while let Some(packet) = coming.get(next).filter(|packet| packet.at <= now) {
                let handle = ledger.offer(Nanos(now), packet.queue, packet.octets).unwrap();
                came.push(packet.at);
                assert_eq!(handle as usize, came.len() - 1);
                next += 1;
            }
            while let Some(departure) = ledger.take(Nanos(now)) {
                let octets = departure.octets + OVERHEAD;
                free.occupy(now, octets);
                let (queue, came) = (departure.queue.0 as usize, came[departure.handle as usize]);
                sent.push(Sending { queue, octets, came, start: now, end: free.nanos() });
            }
            let due = ledger.scheduler.next_due(Nanos(now));
            if let Some(due) = due {
                assert!(due.0.abs_diff(free.floor()) <= 1, "the link is free at {}, not {due}", free.floor());
            }
            let arrival = coming.get(next).map(|packet| packet.at);
            match due.map(|due| due.0).into_iter().chain(arrival).min() {
                Some(then) => now = then,
                None => break,
            }
        }
        assert_eq!(sent.len(), coming.len(), "nothing is lost");
        sent
    }
}

/// When the link is free, in 1 / rate of a nanosecond: exact.
struct Free {
    rate: u128,
    at: u128,
}

impl Free {
    fn occupy(&mut self, now: u64, octets: u32) {
        self.at = self.at.max(u128::from(now) * self.rate) + u128::from(octets) * 8_000_000_000;
    }
    fn floor(&self) -> u64 {
        (self.at / self.rate) as u64
    }
    fn nanos(&self) -> f64 {
        self.at as f64 / self.rate as f64
    }
}

/// Weights of queues whose quanta are from a tenth of the longest packet to ten packets.
fn link() -> impl Strategy<Value = Link> {
    let weights = prop::collection::vec(1..40u32, 2..7);
    let rate = prop_oneof![Just(1_000_000_000), Just(7_777_777), 1_000_000..10_000_000_000u64];
    let longest = prop_oneof![Just(1494), Just(8994), 64..1500u32];
    (weights, rate, longest, 1..12u32).prop_map(|(weights, rate, longest, part)| {
        let unit = (longest + OVERHEAD).div_ceil(part);
        Link { rate, longest, unit, weights }
    })
}

/// Times in packets of the longest, sizes in 256ths of it: bursts, pauses, and now and then
/// nothing for long.
fn traffic() -> impl Strategy<Value = Vec<(u32, u8, u8)>> {
    let gap = prop_oneof![8 => Just(0u32), 8 => 0..300u32, 1 => 0..20_000u32];
    prop::collection::vec((gap, any::<u8>(), any::<u8>()), 1..500)
}

fn coming(link: &Link, traffic: &[(u32, u8, u8)]) -> Vec<Coming> {
    let packet = u64::from(link.longest + OVERHEAD) * 8_000_000_000 / link.rate;
    let mut at = 0;
    let coming = |(gap, queue, size): &(u32, u8, u8)| {
        at += u64::from(*gap) * packet / 256;
        let octets = (u32::from(*size) + 1) * link.longest / 256;
        Coming { at, queue: usize::from(*queue) % link.weights.len(), octets: octets.max(1) }
    };
    traffic.iter().map(coming).collect()
}

/// The farthest that each queue's service was behind and ahead of the fluid's, in parts of the
/// bound.
fn compare(link: &Link, coming: &[Coming], sent: &[Sending]) -> (f64, f64) {
    let weights: Vec<_> = link.weights.iter().copied().map(f64::from).collect();
    let mut gps = Gps::new(link.rate, &weights);
    let mut service = vec![0.0; weights.len()];
    let (mut behind, mut ahead) = (0.0f64, 0.0f64);
    let mut next = 0;
    for sending in sent {
        // A packet counts when it is through: just before that the scheduler is farthest behind.
        while let Some(packet) = coming.get(next).filter(|packet| packet.at as f64 <= sending.end) {
            gps.arrive(packet.at as f64, packet.queue, f64::from(packet.octets + OVERHEAD));
            next += 1;
        }
        gps.advance(sending.end);
        let off = |queue: usize, service: f64| (gps.sent(queue) - service) / link.bound(queue);
        behind = (0..weights.len()).map(|queue| off(queue, service[queue])).fold(behind, f64::max);
        service[sending.queue] += f64::from(sending.octets);
        ahead = (0..weights.len()).map(|queue| -off(queue, service[queue])).fold(ahead, f64::max);
    }
    (behind, ahead)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn service_is_that_of_the_fluid_within_the_bound(link in link(), traffic in traffic()) {
        let coming = coming(&link, &traffic);
        let sent = link.run(&coming);
        let (behind, ahead) = compare(&link, &coming, &sent);
        prop_assert!(behind <= 1.0, "{behind} of the bound behind the fluid");
        prop_assert!(ahead <= 1.0, "{ahead} of the bound ahead of the fluid");
    }

    /// The link is never idle while a packet waits, and never sends two at once.
    #[test]
    fn the_link_is_busy_while_packets_wait(link in link(), traffic in traffic()) {
        let coming = coming(&link, &traffic);
        let sent = link.run(&coming);
        let mut free = Free { rate: link.rate.into(), at: 0 };
        for (n, sending) in sent.iter().enumerate() {
            // The first to come of those that have not been sent.
            let first = sent[n..].iter().map(|sending| sending.came).min().unwrap();
            let expected = free.floor().max(first);
            prop_assert!(sending.start.abs_diff(expected) <= 1, "{} and not {expected}", sending.start);
            free.occupy(sending.start, sending.octets);
        }
    }

    /// A queue behind a token bucket of its share waits no longer than the bound of deficit round
    /// robin, while all others have more than the link can take.
    #[test]
    fn a_queue_that_keeps_to_its_share_is_not_delayed_beyond_the_bound(
        link in link(), queue in any::<u8>(), burst in 0..20u32, sizes in prop::collection::vec(1..=256u32, 40),
        others in any::<u8>(),
    ) {
        let queue = usize::from(queue) % link.weights.len();
        let longest = link.longest + OVERHEAD;
        let (rate, depth) = (link.share(queue), f64::from(longest * (1 + burst)));
        let mut coming = Vec::new();
        // The bucket is emptied whenever it holds the next packet twice, or at the start.
        let (mut tokens, mut at) = (depth, 0.0f64);
        for size in sizes {
            let octets = (size * link.longest / 256).max(1);
            let counted = f64::from(octets + OVERHEAD);
            let wait = ((counted - tokens) / rate).max(0.0);
            (tokens, at) = ((tokens + wait * rate).min(depth) - counted, at + wait);
            coming.push(Coming { at: at.ceil() as u64, queue, octets });
        }
        let end = at.ceil() as u64;
        // Half of the others send in bursts, the others always.
        for other in (0..link.weights.len()).filter(|other| *other != queue) {
            let share = link.rate as f64 / 8e9;
            let octets = if others >> other & 1 == 0 { link.longest } else { link.longest.div_ceil(7) };
            let count = (end as f64 * share / f64::from(octets + OVERHEAD)).min(1500.0) as u64;
            for n in 0..count {
                let at = if others >> other & 1 == 0 { 0 } else { n * end / count };
                coming.push(Coming { at, queue: other, octets });
            }
        }
        coming.sort_by_key(|packet| packet.at);
        let latency = link.bound(queue) * 8e9 / link.rate as f64;
        for sending in link.run(&coming).iter().filter(|sending| sending.queue == queue) {
            let delay = sending.end - sending.came as f64;
            let bound = depth / rate + latency;
            prop_assert!(delay <= bound + 1.0, "{delay} ns and not {bound}");
        }
    }
}

#[test]
fn with_quanta_of_a_packet_the_latency_is_below_the_classic_one() {
    for weights in [[1, 1, 1], [1, 4, 9], [40, 1, 3]] {
        let link = Link { rate: 1_000_000_000, longest: 1476, unit: 1500, weights: weights.to_vec() };
        let all: f64 = (0..3).map(|queue| link.quantum(queue)).sum();
        for queue in 0..3 {
            assert!(link.bound(queue) <= 3.0 * all - 2.0 * link.quantum(queue));
        }
    }
}
