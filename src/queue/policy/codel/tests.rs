use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

use crate::id::{QueueId, SliceId};
use crate::queue::DropPolicy;
use crate::queue::policy::PerQueue;
use crate::queue::{BoxedWdrr, Paced, Quantum, QueueConfig, Rate, TailDrop, WdrrScheduler};

const MILLI: u64 = 1_000_000;
const DROP: Verdict = Verdict::Drop(DropReason::QueueDelay);

const FAST: CoDelConfig =
    CoDelConfig { target: Nanos(500_000), interval: Nanos::from_millis(10), longest: 1500, marks: true };

#[test]
fn the_control_law_is_an_inverse_square_root() {
    let counts =
        (1..5000).chain((12..32).flat_map(|bits| (1 << bits) - 2..(1 << bits) + 2)).chain([u32::MAX]);
    for count in counts {
        for span in [1024, 10 * MILLI as u32, 100 * MILLI as u32, u32::MAX] {
            let (found, exact) = (over_root(span, count) as f64, f64::from(span) / f64::from(count).sqrt());
            assert!((exact - found).abs() < 1.0 + exact * 4e-9, "{span} {count}: {found} {exact}");
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Waiting {
    number: u32,
    since: u64,
    octets: u32,
    ecn_capable: bool,
}

/// What left: a packet's number, and its fate.
type Left = Vec<(u32, Verdict)>;

#[derive(Default)]
struct Fifo {
    packets: VecDeque<Waiting>,
    octets: u32,
}

impl Fifo {
    fn push(&mut self, packet: Waiting) {
        self.octets += packet.octets;
        self.packets.push_back(packet);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let packet = self.packets.pop_front()?;
        self.octets -= packet.octets;
        Some(packet)
    }

    fn depth(&self) -> Depth {
        Depth { packets: self.packets.len() as u32, octets: self.octets }
    }
}

/// RFC 8289, section 5, transcribed; with marks where Linux has them.
struct Rfc {
    config: CoDelConfig,
    queue: Fifo,
    first_above_time: u64,
    drop_next: u64,
    count: u32,
    lastcount: u32,
    dropping: bool,
    left: Left,
}

impl Rfc {
    fn new(config: CoDelConfig) -> Self {
        let (queue, left) = (Fifo::default(), Vec::new());
        let (first_above_time, drop_next, count, lastcount, dropping) = (0, 0, 0, 0, false);
        Self { config, queue, first_above_time, drop_next, count, lastcount, dropping, left }
    }

    fn dodequeue(&mut self, now: u64) -> (Option<Waiting>, bool) {
        let Some(packet) = self.queue.pop() else {
            self.first_above_time = 0;
            return (None, false);
        };
        let mut ok_to_drop = false;
        let sojourn_time = now - packet.since;
        if sojourn_time < self.config.target.0 || self.queue.octets <= self.config.longest {
            self.first_above_time = 0;
        } else if self.first_above_time == 0 {
            self.first_above_time = now + self.config.interval.0;
        } else if now >= self.first_above_time {
            ok_to_drop = true;
        }
        (Some(packet), ok_to_drop)
    }

    fn control_law(&self, time: u64, count: u32) -> u64 {
        time + (self.config.interval.0 as f64 / f64::from(count).sqrt()) as u64
    }

    fn drop(&mut self, packet: Option<Waiting>) {
        self.left.push((packet.unwrap().number, DROP));
    }

    fn marks(&self, packet: Option<Waiting>) -> bool {
        self.config.marks && packet.unwrap().ecn_capable
    }

    fn dequeue(&mut self, now: u64) -> Left {
        let mut verdict = Verdict::Send;
        let (mut packet, mut ok_to_drop) = self.dodequeue(now);
        if self.dropping {
            if !ok_to_drop {
                self.dropping = false;
            }
            while now >= self.drop_next && self.dropping {
                self.count += 1;
                if self.marks(packet) {
                    verdict = Verdict::SendMarked;
                    self.drop_next = self.control_law(self.drop_next, self.count);
                    break;
                }
                self.drop(packet);
                (packet, ok_to_drop) = self.dodequeue(now);
                if ok_to_drop {
                    self.drop_next = self.control_law(self.drop_next, self.count);
                } else {
                    self.dropping = false;
                }
            }
        } else if ok_to_drop {
            if self.marks(packet) {
                verdict = Verdict::SendMarked;
            } else {
                self.drop(packet);
                (packet, _) = self.dodequeue(now);
            }
            self.dropping = true;
            let delta = self.count - self.lastcount;
            self.count = 1;
            let since_drop = now as i64 - self.drop_next as i64;
            if delta > 1 && since_drop < 16 * self.config.interval.0 as i64 {
                self.count = delta;
            }
            self.drop_next = self.control_law(now, self.count);
            self.lastcount = self.count;
        }
        if let Some(packet) = packet {
            self.left.push((packet.number, verdict));
        }
        std::mem::take(&mut self.left)
    }
}

/// Ours, asked until a packet is sent.
struct Ours {
    codel: CoDel,
    queue: Fifo,
}

impl Ours {
    fn dequeue(&mut self, now: u64) -> Left {
        let mut left = Vec::new();
        while let Some(packet) = self.queue.pop() {
            let arrival = Arrival { ecn_capable: packet.ecn_capable, ..Arrival::new(packet.octets) };
            let waited = Nanos(now - packet.since);
            let verdict = self.codel.leaving(Nanos(now), self.queue.depth(), arrival, waited);
            left.push((packet.number, verdict));
            if verdict != DROP {
                break;
            }
        }
        left
    }
}

/// A time of a load: packets that arrive for each that leaves, in eighths; how many turns;
/// how long a turn takes.
type Phase = (u32, u32, u64, bool);

/// Runs both over a history: how many packets were dropped, and the highest count. Where a drop
/// is due within nanoseconds, by which the two roots differ, a history ends.
fn both(config: CoDelConfig, history: &[Phase]) -> (usize, u32) {
    let mut rfc = Rfc::new(config);
    let mut ours = Ours { codel: CoDel::new(config).unwrap(), queue: Fifo::default() };
    let (mut now, mut number, mut due, mut drops, mut highest) = (1, 0, 0, 0, 0);
    for &(load, turns, turn, ecn_capable) in history {
        for _ in 0..turns {
            due += load;
            while due >= 8 {
                due -= 8;
                number += 1;
                let packet = Waiting { number, since: now, octets: 200 + number * 37 % 1300, ecn_capable };
                rfc.queue.push(packet);
                ours.queue.push(packet);
            }
            now += turn;
            let (was_due, count) = (rfc.drop_next, rfc.count);
            let (expected, found) = (rfc.dequeue(now), ours.dequeue(now));
            if expected != found {
                let close =
                    [was_due, rfc.drop_next].iter().any(|due| due.abs_diff(now) <= 4 + u64::from(count));
                assert!(close, "at {now}, a drop due at {was_due}: {found:?}, not {expected:?}");
                return (drops, highest);
            }
            drops += expected.iter().filter(|(_, verdict)| *verdict != Verdict::Send).count();
            highest = highest.max(rfc.count);
            let state = (ours.codel.count, ours.codel.last_count, ours.codel.first_above.0);
            assert_eq!(state, (rfc.count, rfc.lastcount, rfc.first_above_time), "at {now}");
        }
    }
    (drops, highest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever the history, asked as the RFC asks, the same packets are dropped and marked.
    #[test]
    fn verdicts_are_those_of_the_rfc(
        marks in any::<bool>(), target in 1u64..2 * MILLI, interval in 2 * MILLI..20 * MILLI,
        history in prop::collection::vec((0u32..20, 1u32..200, 1u64..MILLI, any::<bool>()), 1..20),
    ) {
        let (target, interval) = (Nanos(target), Nanos(interval));
        both(CoDelConfig { target, interval, marks, ..FAST }, &history);
    }
}

#[test]
fn a_standing_queue_is_dropped_from_ever_faster_as_the_rfc_says() {
    // Overload for two seconds, three times, with pauses short and long; then marks.
    let history = [
        (9, 10_000, MILLI / 5, false),
        (0, 3000, MILLI / 5, false),
        (9, 10_000, MILLI / 5, false),
        (0, 30_000, MILLI / 5, false),
        (24, 100, MILLI, false),
        (7, 2000, MILLI / 7, false),
        (9, 10_000, MILLI / 5, true),
    ];
    let (drops, highest) = both(FAST, &history);
    assert!(drops > 1000 && highest > 100, "{drops} drops, {highest} in one go");
    // Turns so long that more than one drop is overdue at each.
    let (drops, highest) = both(FAST, &[(80, 100, MILLI, false), (80, 100, 20 * MILLI, false)]);
    assert!(drops > 200 && highest > 100, "{drops} drops, {highest} in one go");
}

#[test]
fn nothing_is_dropped_while_no_more_than_the_longest_packet_waits() {
    let mut codel = CoDel::new(FAST).unwrap();
    let judge = |codel: &mut CoDel, now, octets| {
        let depth = Depth { packets: 1, octets };
        codel.leaving(Nanos(now), depth, Arrival::new(1500), Nanos(50 * MILLI))
    };
    for turn in 1..1000 {
        assert_eq!(judge(&mut codel, turn * MILLI, 1500), Verdict::Send);
    }
    let drops = (1000..2000).filter(|turn| judge(&mut codel, turn * MILLI, 1501) == DROP).count();
    assert!(drops > 50, "{drops}");
}

#[test]
fn a_packet_behind_a_drop_is_judged_when_its_turn_comes() {
    let mut codel = CoDel::new(FAST).unwrap();
    let mut judge = |now| {
        let depth = Depth { packets: 9, octets: 9000 };
        codel.leaving(Nanos(now), depth, Arrival::new(1000), Nanos(20 * MILLI))
    };
    assert_eq!(judge(MILLI), Verdict::Send);
    assert_eq!(judge(11 * MILLI - 1), Verdict::Send, "not yet an interval");
    assert_eq!(judge(11 * MILLI), DROP);
    assert_eq!(judge(21 * MILLI - 2), Verdict::Send, "another interval");
    // Another queue had its turn meanwhile: the RFC would have sent this one at 11 ms.
    assert_eq!(judge(21 * MILLI), DROP);
    assert_eq!(judge(21 * MILLI + 10), Verdict::Send, "an interval by the root of 2 from 21 ms");
    assert_eq!(judge(21 * MILLI + 7_071_060), Verdict::Send);
    assert_eq!(judge(21 * MILLI + 7_071_068), DROP);
}

#[test]
fn parameters_change_under_way_and_its_state_stays() {
    let mut codel = CoDel::new(FAST).unwrap();
    let depth = Depth { packets: 9, octets: 9000 };
    for turn in 1..30 {
        codel.leaving(Nanos(turn * MILLI), depth, Arrival::new(1000), Nanos(20 * MILLI));
    }
    assert_eq!((codel.dropping(), codel.config()), (Some(3), FAST));
    codel.set(CoDelConfig::INTERNET).unwrap();
    assert_eq!((codel.dropping(), codel.config()), (Some(3), CoDelConfig::INTERNET));
    codel.reset();
    assert_eq!((codel.dropping(), codel.config()), (None, CoDelConfig::INTERNET));
    let with = |target, interval| {
        CoDel::new(CoDelConfig { target: Nanos(target), interval: Nanos(interval), ..FAST }).err()
    };
    for interval in [0, 1023, 1 << 32] {
        assert_eq!(with(1, interval), Some(CoDelError::Interval(Nanos(interval))));
    }
    for target in [0, 100_001] {
        assert_eq!(with(target, 100_000), Some(CoDelError::Target(Nanos(target))));
    }
    assert_eq!((with(1024, 1024), size_of::<CoDel>()), (None, 40));
}

/// A source that adds a packet to its window each round trip and halves it for each round
/// trip with a loss (TCP Reno without slow start and timeouts).
struct Source {
    window: f64,
    in_flight: u32,
    /// Losses of packets sent before this time have been answered.
    answered: u64,
}

/// What waited how long, in ms and sorted, and how busy the link was: eight sources over 10 Mb/s with
/// a round trip of 100 ms, for 60 s of which the first 20 do not count.
fn responsive<P: DropPolicy>(policy: P) -> (Vec<u64>, f64) {
    const PACKET: u32 = 1250;
    const TRIP: u64 = 100 * MILLI;
    let (begin, end) = (20_000 * MILLI, 60_000 * MILLI);
    let wdrr = BoxedWdrr::<(usize, u64), P>::boxed(1, 1000, 0, policy, Quantum::of_longest(PACKET)).unwrap();
    let mut link = Paced::new(wdrr, Rate::bits_per_second(10_000_000).unwrap(), 0, Nanos::ZERO);
    link.configure(QueueId(0), QueueConfig::new(SliceId(1))).unwrap();
    let mut sources: Vec<_> =
        (0..8).map(|n| Source { window: 4.0 + f64::from(n), in_flight: 0, answered: 0 }).collect();
    // Answers on their way back, in order: when, whose, when it was sent, whether it arrived.
    let mut answers: VecDeque<(u64, usize, u64, bool)> = VecDeque::new();
    let (mut waits, mut sent, mut now) = (Vec::new(), 0_u64, 1);
    while now < end {
        while let Some(&(at, whose, since, arrived)) = answers.front()
            && at <= now
        {
            answers.pop_front();
            let source = &mut sources[whose];
            source.in_flight -= 1;
            if arrived {
                source.window += 1.0 / source.window;
            } else if since >= source.answered {
                (source.window, source.answered) = ((source.window / 2.0).max(1.0), now);
            }
        }
        for (whose, source) in sources.iter_mut().enumerate() {
            while f64::from(source.in_flight + 1) <= source.window {
                source.in_flight += 1;
                let packet = (whose, now);
                if link.enqueue(Nanos(now), QueueId(0), packet, Arrival::new(PACKET)).is_err() {
                    answers.push_back((now + TRIP, whose, now, false));
                }
            }
        }
        while let Some(departure) = link.dequeue(Nanos(now)) {
            let (whose, since) = departure.handle;
            let arrived = departure.verdict == Verdict::Send;
            answers.push_back((now + TRIP, whose, since, arrived));
            if arrived && now >= begin {
                waits.push((now - since) / MILLI);
                sent += u64::from(PACKET);
            }
        }
        let next = answers.front().map(|answer| answer.0);
        let due = link.next_due(Nanos(now)).map(|due| due.0);
        now = [next, due].into_iter().flatten().min().unwrap().max(now + 1);
    }
    waits.sort_unstable();
    (waits, sent as f64 * 8.0 / 10e6 / 40.0)
}

#[test]
fn sources_that_respond_wait_for_about_the_target_and_fill_the_link() {
    let codel = CoDel::new(CoDelConfig::INTERNET).unwrap();
    let (waits, busy) = responsive(PerQueue::new([codel], 0));
    let (median, most) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    assert!((1..=15).contains(&median) && most <= 60, "{median} ms at the median, {most} ms at 99 %");
    assert!(busy > 0.9, "{busy} of the link used");
    // The same sources fill a plain queue, however long it is.
    let (waits, _) = responsive(TailDrop);
    assert!(waits[waits.len() / 2] > 500, "{} ms", waits[waits.len() / 2]);
}
