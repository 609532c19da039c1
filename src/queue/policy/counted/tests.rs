use super::*;
use crate::id::SliceId;
use crate::queue::policy::{Choice, CoDel, CoDelConfig, PerQueue, Red, RedConfig, RedUnit};
use crate::queue::{BoxedWdrr, Quantum, QueueConfig, TailDrop, WdrrScheduler};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

type Counting = Counted<PerQueue<[Choice; 3]>, Box<[TimedCounts]>>;

/// Three queues, of tail drop, RED and `CoDel`, that share 24 packets; two of them limited.
fn scheduler() -> BoxedWdrr<u32, Counting> {
    let red = RedConfig { weight: 1, ..RedConfig::recommended(RedUnit::Packets, 1, Nanos(1000)) };
    let codel = CoDelConfig { target: Nanos(2048), interval: Nanos(8192), ..CoDelConfig::INTERNET };
    let choices =
        [Choice::TailDrop, Choice::Red(Red::new(red).unwrap()), Choice::CoDel(CoDel::new(codel).unwrap())];
    let records = std::vec![TimedCounts::ZERO; 3].into_boxed_slice();
    let policy = Counted::new(PerQueue::new(choices, 5), records);
    let mut wdrr = BoxedWdrr::boxed(4, 24, 0, policy, Quantum { unit: 300, longest: 1500 }).unwrap();
    for queue in 0..4 {
        let limit_packets = if queue == 0 { 8 } else { u32::MAX };
        let limit_octets = if queue == 3 { 4000 } else { u64::MAX };
        let config = QueueConfig { weight: 1, limit_packets, limit_octets, owner: SliceId(1) };
        wdrr.configure(QueueId(queue), config).unwrap();
    }
    wdrr
}

proptest! {
    /// Whatever happens, what came is what left, what waits and what was dropped.
    #[test]
    fn every_packet_is_accounted_for(
        history in prop::collection::vec((0u32..4, 0u32..12, 1u32..1600, any::<bool>()), 1..600),
    ) {
        let (mut wdrr, mut now) = (scheduler(), Nanos(1));
        let mut expected = [TimedCounts::ZERO; 3];
        // When each packet came, in units of stamps.
        let mut since = Vec::new();
        for (queue, what, octets, ecn_capable) in history {
            now += Nanos(700);
            let unit = |now: Nanos| now.0 >> 10;
            match what {
                0..=5 => {
                    let arrival = Arrival { octets, precedence: (octets % 3) as u8, ecn_capable };
                    let handle = since.len() as u32;
                    let offered = wdrr.enqueue(now, QueueId(queue), handle, arrival);
                    since.push(unit(now));
                    let Some(TimedCounts { counts, .. }) = expected.get_mut(queue as usize) else { continue };
                    match offered.map_err(|refused| refused.reason) {
                        Ok(()) => counts.taken.add(octets),
                        Err(DropReason::QueueFull) => counts.full.add(octets),
                        Err(DropReason::NoBuffer) => counts.no_buffer.add(octets),
                        Err(DropReason::TooLong) => counts.too_long.add(octets),
                        Err(DropReason::QueuePolicy) => counts.policy.add(octets),
                        Err(reason) => prop_assert!(false, "{reason}"),
                    }
                }
                6 => {
                    let Some(flushed) = wdrr.flush(QueueId(queue)) else { continue };
                    if let Some(TimedCounts { counts, .. }) = expected.get_mut(queue as usize) {
                        counts.flushed.add(flushed.octets);
                    }
                }
                _ => {
                    let Some(departure) = wdrr.dequeue(now) else { continue };
                    let Some(record) = expected.get_mut(departure.queue.0 as usize) else { continue };
                    let waited = unit(now) - since[departure.handle as usize];
                    record.times.record(Nanos(waited << 10));
                    let counts = &mut record.counts;
                    match departure.verdict {
                        Verdict::Drop(_) => counts.dropped.add(departure.octets),
                        Verdict::Send | Verdict::SendMarked => counts.sent.add(departure.octets),
                    }
                    if departure.verdict == Verdict::SendMarked && departure.queue == QueueId(2) {
                        counts.marked.add(departure.octets);
                    }
                }
            }
            for (queue, expected) in (0..).map(QueueId).zip(&mut expected) {
                let (record, stats) = (wdrr.policy().record(queue).unwrap(), wdrr.stats(queue));
                if queue == QueueId(1) {
                    // What RED marks it marks as it comes in; that shows as it leaves, or never.
                    prop_assert!(record.counts.marked.packets >= expected.counts.marked.packets);
                    expected.counts.marked = record.counts.marked;
                }
                prop_assert_eq!(record, &*expected);
                let waiting = Tally { packets: stats.packets.into(), octets: stats.octets };
                prop_assert_eq!(record.counts.waiting(), waiting);
                let sent = Tally { packets: stats.out_packets, octets: stats.out_octets };
                prop_assert_eq!(record.counts.sent, sent);
            }
            prop_assert_eq!(wdrr.policy().counts(QueueId(3)), None);
        }
    }
}

#[test]
fn all_reasons_are_told_apart() {
    let mut wdrr = scheduler();
    let mut now = Nanos(1);
    for step in 0..4000_u32 {
        now += Nanos(1100);
        let arrival = Arrival { ecn_capable: step % 2 == 0, ..Arrival::new(100 + step % 1500) };
        let queue = if step < 3000 { step % 3 } else { 2 };
        let _ = wdrr.enqueue(now, QueueId(queue), step, arrival);
        if step % 5 > 1 {
            wdrr.dequeue(now);
        }
    }
    while wdrr.flush(QueueId(2)).is_some() {}
    let counts = [0, 1, 2].map(|queue| *wdrr.policy().counts(QueueId(queue)).unwrap());
    let all = |of: fn(&QueueCounts) -> Tally| counts.map(|counts| of(&counts).packets > 0);
    assert_eq!(all(|counts| counts.sent), [true; 3]);
    assert_eq!(all(|counts| counts.full), [true, false, false]);
    assert_eq!(all(|counts| counts.policy), [false, true, false]);
    assert_eq!(all(|counts| counts.dropped), [false, false, true]);
    assert_eq!(all(|counts| counts.marked), [false, true, true]);
    assert_eq!(all(|counts| counts.too_long), [true; 3]);
    assert_eq!(all(|counts| counts.flushed), [false, false, true]);
    assert!(all(|counts| counts.no_buffer)[2], "{counts:?}");
    let offered = counts.map(|counts| counts.taken.plus(counts.refused()).packets);
    assert_eq!(offered, [1000, 1000, 2000]);
}

#[test]
fn a_new_owner_begins_with_nothing_counted() {
    let policy = Counted::new(TailDrop, [QueueCounts::ZERO; 1]);
    let mut wdrr = BoxedWdrr::boxed(1, 8, 0, policy, Quantum::of_longest(1500)).unwrap();
    let (queue, now) = (QueueId(0), Nanos::ZERO);
    wdrr.configure(queue, QueueConfig::new(SliceId(1))).unwrap();
    wdrr.enqueue(now, queue, 0, Arrival::new(100)).unwrap();
    wdrr.dequeue(now).unwrap();
    wdrr.configure(queue, QueueConfig { weight: 2, ..QueueConfig::new(SliceId(1)) }).unwrap();
    assert_eq!(wdrr.policy().counts(queue).unwrap().sent, Tally { packets: 1, octets: 100 });
    wdrr.configure(queue, QueueConfig::new(SliceId(2))).unwrap();
    assert_eq!(wdrr.policy().counts(queue), Some(&QueueCounts::ZERO));
}
