//! What a slice can do to the others by what it sends: flap, tiny packets, huge ones.

use fastpath::exit::DropReason;
use fastpath::id::QueueId;
use fastpath::queue::{Descriptor, Line, Quantum, Queue, Wdrr, WdrrScheduler, lines};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::ledger::{Ledger, config, wdrr};
use crate::race::{Race, refill};
use crate::weights::{quantum, weight};

const NOW: Nanos = Nanos::ZERO;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The bound of the contract, to the octet: weights of all orders, packets of all sizes, each
    /// queue with sizes of its own, all of them backlogged.
    #[test]
    fn no_two_queues_are_farther_apart_than_the_contract_says(
        (unit, longest) in quantum(),
        weights in prop::collection::vec(weight(), 4),
        sizes in prop::collection::vec((1..=256u32, 1..=256u32), 4),
    ) {
        let mut ledger = Ledger::weighted(wdrr(4, 64, unit, longest), &weights, 0);
        let quanta = [0, 1, 2, 3].map(|queue| ledger.quantum(queue));
        let mut races = [[Race::default(); 4]; 4];
        for n in 0..600 {
            for (queue, (one, other)) in sizes.iter().enumerate() {
                let size = if n % 3 == 0 { one } else { other };
                refill(&mut ledger, queue, || (size * longest / 256).max(1));
            }
            let sent = ledger.take(NOW).unwrap();
            let (at, octets) = (sent.queue.0 as usize, i128::from(sent.octets));
            for other in (0..4).filter(|other| *other != at) {
                races[at][other].add(octets * quanta[other]);
                races[other][at].add(-octets * quanta[other]);
            }
        }
        for (at, other) in (0..4).flat_map(|at| (0..4).map(move |other| (at, other))) {
            let (ours, theirs) = (quanta[at], quanta[other]);
            let rounds = if ours.min(theirs) < i128::from(longest) { 2 } else { 1 };
            prop_assert!(races[at][other].below(ours, theirs, longest, rounds), "{races:?}");
        }
    }

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
            prop_assert!(race.below(quantum[0], quantum[other], longest, 2), "{race:?}");
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
        assert!(races.iter().all(|race| race.below(quantum, quantum, 9000, rounds)), "{unit}: {races:?}");
    }
}

/// What a scheduler leaves in its memory, as text: queues, and the lines of its rounds.
fn after(queues: usize, active: &[usize]) -> (Vec<String>, Vec<String>) {
    const QUANTUM: Quantum = Quantum { unit: 100, longest: 1500 };
    let mut memory = vec![Queue::NEW; queues];
    let mut pool: Vec<Descriptor<u32>> = (0..64).map(|_| Descriptor::NEW).collect();
    let mut rounds = vec![Line::NEW; lines(queues, QUANTUM)];
    let mut wdrr = Wdrr::new(&mut memory[..], &mut pool[..], &mut rounds[..], QUANTUM).unwrap();
    for queue in 0..queues {
        wdrr.configure(QueueId(queue as u32), config(queue % 7, 1)).unwrap();
    }
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
    assert_eq!(wdrr.waiting(), 0);
    let rounds = rounds.iter().map(|line| format!("{line:?}")).collect();
    (memory.iter().map(|queue| format!("{queue:?}")).collect(), rounds)
}

fn different(ones: &[String], others: &[String]) -> Vec<usize> {
    (0..ones.len()).filter(|at| ones[*at] != others[*at]).collect()
}

/// Among a hundred thousand queues, ten thousand packets of one write to its line, and to as many
/// lines of the rounds as among ten. What is read is counted by `benches/instructions`.
#[test]
fn one_active_queue_among_many_touches_no_other() {
    let written = |queues: usize, active: usize| {
        let ((idle, unused), (busy, used)) = (after(queues, &[]), after(queues, &[active]));
        assert_eq!(different(&idle, &busy), [active]);
        different(&unused, &used).len()
    };
    let few = written(10, 7);
    assert_eq!((few > 0, written(100_000, 77_777)), (true, few), "lines of the rounds");
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

/// A queue's octets are counted in 32 bits, and what would be more is refused as such.
#[test]
fn a_queue_holds_no_more_than_its_count_of_octets() {
    let longest = 249_000_000;
    let mut ledger = Ledger::weighted(wdrr(1, 64, 61_000, longest), &[1], 0);
    let most = u32::MAX - (1 << 28) + 1;
    for _ in 0..16 {
        ledger.offer(NOW, 0, longest).unwrap();
    }
    assert_eq!(ledger.offer(NOW, 0, longest), Err(DropReason::QueueFull));
    ledger.offer(NOW, 0, most - 16 * longest).unwrap();
    assert_eq!(ledger.offer(NOW, 0, 1), Err(DropReason::QueueFull));
}
