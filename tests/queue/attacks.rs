//! What a slice can do to the others: flap, send tiny or huge packets, change its queues all
//! the time.

use fastpath::exit::DropReason;
use fastpath::id::QueueId;
use fastpath::queue::{BoxedWdrr, Descriptor, Line, Quantum, Queue, QueueConfig, Wdrr, WdrrScheduler, lines};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::ledger::{Ledger, config, wdrr};
use crate::weights::weight;

const NOW: Nanos = Nanos::ZERO;

/// How far one queue got ahead of another in any span of a run, by octets over quanta.
#[derive(Clone, Copy, Debug, Default)]
struct Race {
    gap: i128,
    lowest: i128,
    worst: i128,
}

impl Race {
    /// One sent octets where the other's quantum is so much, or the other way round if negative.
    fn add(&mut self, more: i128) {
        self.gap += more;
        self.lowest = self.lowest.min(self.gap);
        self.worst = self.worst.max(self.gap - self.lowest);
    }

    /// `rounds + longest / a + longest / b` rounds, times both quanta.
    fn within(&self, a: i128, b: i128, longest: u32, rounds: i128) -> bool {
        self.worst <= rounds * a * b + i128::from(longest) * (a + b)
    }
}

fn refill(ledger: &mut Ledger<BoxedWdrr<u32>>, queue: usize, mut octets: impl FnMut() -> u32) {
    while ledger.pages[queue].waiting.len() < 8 {
        ledger.offer(NOW, queue, octets()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Beside two that always have packets, one that has a packet now and then, at the worst of
    /// times: in no span does it get more than its share.
    #[test]
    fn a_queue_that_flaps_gets_no_more_than_its_share(
        weights in [1..50u32, 1..50u32, 1..50u32],
        (unit, longest) in (1..3000u32, prop_oneof![Just(64u32), Just(1500), Just(9000)]),
        flaps in prop::collection::vec((0..6u32, 1..=256u32), 1..400),
    ) {
        let unit = unit.max(longest.div_ceil(4095));
        let mut ledger = Ledger::weighted(wdrr(3, 64, unit, longest), &weights, 0);
        let quantum = [0, 1, 2].map(|queue| ledger.quantum(queue));
        let mut races = [Race::default(); 2];
        for (pause, size) in flaps {
            for _ in 0..=pause {
                (1..3).for_each(|queue| refill(&mut ledger, queue, || longest));
                let sent = ledger.take(NOW).unwrap();
                let octets = i128::from(sent.octets);
                for (other, race) in (1..3).zip(&mut races) {
                    match sent.queue.0 as usize {
                        0 => race.add(octets * quantum[other]),
                        queue if queue == other => race.add(-octets * quantum[0]),
                        _ => {}
                    }
                }
            }
            if ledger.pages[0].waiting.is_empty() {
                ledger.offer(NOW, 0, (size * longest / 256).max(1)).unwrap();
            }
        }
        for (other, race) in (1..3).zip(races) {
            prop_assert!(race.within(quantum[0], quantum[other], longest, 2), "{race:?}");
        }
    }
}

/// What a slice does between two departures to get more than it was promised: it has two
/// queues, and never more weight on one than it may have.
#[derive(Clone, Copy, Debug)]
enum Trick {
    Weight(usize, u32),
    Flush(usize),
    Renew(usize),
    Refill(usize, u32),
    Limit(usize, u32),
}

fn trick() -> impl Strategy<Value = Trick> {
    let queue = 0..2usize;
    prop_oneof![
        6 => (queue.clone(), prop_oneof![Just(u32::MAX), weight()]).prop_map(|(queue, weight)| Trick::Weight(queue, weight)),
        1 => queue.clone().prop_map(Trick::Flush),
        1 => queue.clone().prop_map(Trick::Renew),
        4 => (queue.clone(), 1..=256u32).prop_map(|(queue, size)| Trick::Refill(queue, size)),
        1 => (queue, 0..4u32).prop_map(|(queue, packets)| Trick::Limit(queue, packets)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However it changes them, neither of its queues gets ahead of one that does nothing but
    /// send by more than the bound of the contract at the highest weight it ever had: a change
    /// gains nothing that a thousand changes could add up.
    #[test]
    fn a_slice_that_changes_its_queues_all_the_time_gains_nothing(
        highest in 1..200u32, others in [1..200u32, 1..200u32], unit in 1..3000u32,
        tricks in prop::collection::vec((prop::collection::vec(trick(), 0..4), 0..3u32), 100..400),
    ) {
        let longest = 1500;
        let weights = [highest, highest, others[0], others[1]];
        let mut ledger = Ledger::weighted(wdrr(4, 64, unit, longest), &weights, 0);
        let quantum = [0, 1, 2, 3].map(|queue| ledger.quantum(queue));
        let mut races = [[Race::default(); 4]; 2];
        // The two that do nothing, against each other.
        let mut honest = [Race::default(); 2];
        let mut configs = [0, 1].map(|queue| config(queue, highest));
        for (tricks, departures) in tricks {
            for trick in tricks {
                play(&mut ledger, &mut configs, highest, longest, trick);
            }
            for _ in 0..departures {
                (2..4).for_each(|queue| refill(&mut ledger, queue, || longest));
                let sent = ledger.take(NOW).unwrap();
                let (at, octets) = (sent.queue.0 as usize, i128::from(sent.octets));
                for (us, races) in races.iter_mut().enumerate() {
                    for them in 2..4 {
                        match at {
                            at if at == us => races[them].add(octets * quantum[them]),
                            at if at == them => races[them].add(-octets * quantum[us]),
                            _ => {}
                        }
                    }
                }
                if at >= 2 {
                    let (we, they) = (at - 2, 3 - at);
                    honest[we].add(octets * quantum[they + 2]);
                    honest[they].add(-octets * quantum[they + 2]);
                }
            }
        }
        for us in 0..2 {
            for them in 2..4 {
                let race = races[us][them];
                prop_assert!(race.within(quantum[us], quantum[them], longest, 2), "{us} over {them}: {race:?}");
            }
        }
        for race in honest {
            prop_assert!(race.within(quantum[2], quantum[3], longest, 2), "{race:?}");
        }
    }
}

fn play(
    ledger: &mut Ledger<BoxedWdrr<u32>>, configs: &mut [QueueConfig; 2], highest: u32, longest: u32,
    trick: Trick,
) {
    let id = |queue: usize| QueueId(queue as u32);
    match trick {
        Trick::Weight(queue, weight) => {
            configs[queue].weight = if weight == u32::MAX { highest } else { weight.min(highest) };
            ledger.scheduler.configure(id(queue), configs[queue]).unwrap();
        }
        Trick::Limit(queue, packets) => {
            configs[queue].limit_packets = if packets == 0 { u32::MAX } else { packets };
            ledger.scheduler.configure(id(queue), configs[queue]).unwrap();
        }
        Trick::Flush(queue) => {
            ledger.flush(queue);
        }
        Trick::Renew(queue) => {
            while ledger.flush(queue).is_some() {}
            ledger.scheduler.remove(id(queue)).unwrap();
            ledger.removed(queue);
            ledger.scheduler.configure(id(queue), configs[queue]).unwrap();
        }
        Trick::Refill(queue, size) => {
            while ledger.pages[queue].waiting.len() < 8
                && ledger.offer(NOW, queue, (size * longest / 256).max(1)).is_ok()
            {}
        }
    }
}

/// Between the highest weight and the lowest, to the packet: 65,536 to 1.
#[test]
fn a_weight_of_one_beside_65536_is_exactly_that() {
    let mut ledger = Ledger::weighted(wdrr(2, 64, 1, 64), &[1, 65_536], 0);
    let mut since = Vec::new();
    let mut heavy = 0;
    while since.len() < 9 {
        (0..2).for_each(|queue| refill(&mut ledger, queue, || 64));
        if ledger.take(NOW).unwrap().queue.0 == 0 {
            since.push(std::mem::take(&mut heavy));
        } else {
            heavy += 1;
        }
    }
    // The light one has earned its 64 octets every 64 rounds, in each of which the heavy one
    // sends 1,024 packets. It goes first or last in that round, and does so ever after.
    assert!((63 * 1024..=64 * 1024).contains(&since[0]), "{since:?}");
    assert!(since[1..].iter().all(|since| *since == 65_536), "{since:?}");
}

/// 64-octet packets beside 9,000-octet packets: equal weights are equal octets, with rounds of
/// a third of the small packet as well as with rounds of ten large ones.
#[test]
fn small_packets_get_as_many_octets_as_large_ones() {
    for unit in [21, 64, 65, 1500, 9000, 60_000] {
        let mut ledger = Ledger::weighted(wdrr(2, 64, unit.max(3), 9000), &[1, 1], 0);
        let quantum = ledger.quantum(0);
        let mut races = [Race::default(); 2];
        for _ in 0..100_000 {
            refill(&mut ledger, 0, || 64);
            refill(&mut ledger, 1, || 9000);
            let sent = ledger.take(NOW).unwrap();
            let more = i128::from(sent.octets) * quantum;
            races[0].add(if sent.queue.0 == 0 { more } else { -more });
            races[1].add(if sent.queue.0 == 0 { -more } else { more });
        }
        let rounds = if unit < 9000 { 2 } else { 1 };
        assert!(races.iter().all(|race| race.within(quantum, quantum, 9000, rounds)), "{unit}: {races:?}");
    }
}

/// The memory of a scheduler as text, a line for each queue.
fn after(queues: usize, active: &[usize]) -> (Vec<String>, usize) {
    const QUANTUM: Quantum = Quantum { unit: 100, longest: 1500 };
    let mut memory = vec![Queue::NEW; queues];
    let mut pool: Vec<Descriptor<u32>> = (0..64).map(|_| Descriptor::NEW).collect();
    let mut rounds = vec![Line::NEW; lines(queues, QUANTUM)];
    let fresh: Vec<_> = rounds.iter().map(|line| format!("{line:?}")).collect();
    let mut wdrr = Wdrr::new(&mut memory[..], &mut pool[..], &mut rounds[..], QUANTUM).unwrap();
    for queue in 0..queues {
        wdrr.configure(QueueId(queue as u32), config(queue % 7, 1)).unwrap();
    }
    let begun = format!("{:?}", wdrr.waiting());
    for n in 0..10_000 {
        for active in active {
            let packet = fastpath::queue::Arrival::new(1 + n * 37 % 1500);
            wdrr.enqueue(NOW, QueueId(*active as u32), n, packet).unwrap();
        }
        if n % 3 == 2 {
            while wdrr.dequeue(NOW).is_some() {}
        }
    }
    while wdrr.dequeue(NOW).is_some() {}
    assert_eq!(format!("{:?}", wdrr.waiting()), begun);
    drop(wdrr);
    let changed = rounds.iter().zip(fresh).filter(|(line, fresh)| format!("{line:?}") != *fresh).count();
    (memory.iter().map(|queue| format!("{queue:?}")).collect(), changed)
}

/// Among a hundred thousand queues, ten thousand packets of one write to its line, and to as many
/// lines of the rounds as among ten.
#[test]
fn one_active_queue_among_many_touches_no_other() {
    let (idle, unused) = after(100_000, &[]);
    let (busy, used) = after(100_000, &[77_777]);
    let changed: Vec<_> = (0..100_000).filter(|queue| idle[*queue] != busy[*queue]).collect();
    assert_eq!(changed, [77_777]);
    let (few_unused, few_used) = (after(10, &[]).1, after(10, &[7]).1);
    assert_eq!(used - unused, few_used - few_unused, "lines of the rounds");
}

/// A packet that is longer than the scheduler was made for would have to wait for more rounds
/// than it can tell apart.
#[test]
fn a_packet_beyond_the_longest_is_refused_and_costs_nothing() {
    let mut ledger = Ledger::weighted(wdrr(2, 8, 1, 1500), &[1, 1], 0);
    ledger.offer(NOW, 1, 1500).unwrap();
    for octets in [1501, 9000, u32::MAX] {
        assert_eq!(ledger.offer(NOW, 0, octets), Err(DropReason::TooLong));
    }
    ledger.offer(NOW, 0, 0).unwrap();
    let order = [ledger.take(NOW), ledger.take(NOW)].map(|sent| sent.unwrap().queue.0);
    assert_eq!(order, [0, 1]);
}
