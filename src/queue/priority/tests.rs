use super::*;
use crate::id::SliceId;
use crate::queue::policy::{CoDel, CoDelConfig, PerQueue};
use crate::queue::{BoxedWdrr, Paced, Quantum, Rate, TailDrop};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

type Class = BoxedWdrr<u32>;

const VOICE: QueueId = QueueId(1);
const REST: QueueId = QueueId(3);

fn class(queues: usize) -> Class {
    BoxedWdrr::boxed(queues, 400, 0, TailDrop, Quantum::of_longest(1500)).unwrap()
}

fn bucket(rate: u64, burst: u32) -> TokenBucket {
    TokenBucket::new(Rate::bits_per_second(rate).unwrap(), burst).unwrap()
}

/// Two queues of each class; those of the tests are configured.
fn priority(rate: u64, burst: u32) -> Priority<Class, Class> {
    let mut priority = Priority::new(class(2), 2, class(2), bucket(rate, burst), 1500).unwrap();
    priority.configure(VOICE, QueueConfig::new(SliceId(1))).unwrap();
    priority.configure(REST, QueueConfig::new(SliceId(2))).unwrap();
    priority
}

/// Two lists and a bucket in exact arithmetic, without remembering more than its history.
struct Model {
    high: VecDeque<u32>,
    low: VecDeque<u32>,
    /// In octets by 8 * 10^9.
    level: u128,
    at: u64,
    rate: u64,
    burst: u32,
}

impl Model {
    fn dequeue(&mut self, now: u64) -> Option<(QueueId, u32)> {
        let unit = 8_000_000_000;
        let earned = u128::from(now - self.at) * u128::from(self.rate);
        self.level = (self.level + earned).min(u128::from(self.burst) * unit);
        self.at = now;
        if self.level >= 1500 * unit
            && let Some(octets) = self.high.pop_front()
        {
            self.level -= u128::from(octets) * unit;
            return Some((VOICE, octets));
        }
        let low = self.low.pop_front().map(|octets| (REST, octets));
        low.or_else(|| self.high.pop_front().map(|octets| (VOICE, octets)))
    }
}

proptest! {
    /// Whatever the history, the class that a bucket of exact arithmetic says comes first;
    /// and many at once are as many one by one.
    #[test]
    fn who_comes_first_is_what_the_bucket_says(
        rate in 1_000_000u64..10_000_000_000, burst in 1500u32..9000,
        history in prop::collection::vec((0u64..5000, 0u32..5, 1u32..=1500), 1..300),
    ) {
        let mut one = priority(rate, burst);
        let mut many = one.clone();
        let level = u128::from(burst) * 8_000_000_000;
        let (high, low) = (VecDeque::new(), VecDeque::new());
        let mut model = Model { high, low, level, at: 0, rate, burst };
        let mut now = 0;
        for (span, what, octets) in history {
            now += span;
            match what {
                0..=2 => {
                    let (queue, list) =
                        if what == 0 { (REST, &mut model.low) } else { (VOICE, &mut model.high) };
                    list.push_back(octets);
                    for priority in [&mut one, &mut many] {
                        priority.enqueue(Nanos(now), queue, 0, Arrival::new(octets)).unwrap();
                    }
                }
                _ => {
                    let mut batch = [const { None }; 4];
                    let batch = &mut batch[..octets as usize % 5];
                    let count = many.dequeue_batch(Nanos(now), batch);
                    prop_assert!(batch.iter().enumerate().all(|(at, place)| place.is_some() == (at < count)));
                    for departure in &*batch {
                        let due = one.next_due(Nanos(now));
                        let expected = one.dequeue(Nanos(now));
                        prop_assert_eq!(departure, &expected);
                        let expected = expected.map(|departure| (departure.queue, departure.octets));
                        prop_assert_eq!(model.dequeue(now), expected);
                        prop_assert_eq!(due.is_some(), expected.is_some());
                    }
                }
            }
            for (queue, list) in [(VOICE, &model.high), (REST, &model.low)] {
                prop_assert_eq!(one.backlog(queue), list.len() as u32);
                prop_assert_eq!(one.stats(queue), many.stats(queue));
            }
        }
    }
}

/// A link of 10 Mb/s before which both classes wait, of which the first may have 2 Mb/s and
/// 6,000 octets at once.
fn link() -> Paced<Priority<Class, Class>> {
    Paced::new(priority(2_000_000, 6000), Rate::bits_per_second(10_000_000).unwrap(), 0, Nanos::ZERO)
}

/// Octets that each class was sent in `end`, while packets of 1,000 octets wait in the queues named.
fn sent(waits: &[QueueId], end: Nanos) -> [u64; 2] {
    let mut link = link();
    let mut now = Nanos::ZERO;
    while now < end {
        for queue in waits {
            while link.backlog(*queue) < 3 {
                link.enqueue(now, *queue, 0, Arrival::new(1000)).unwrap();
            }
        }
        link.dequeue(now).unwrap();
        now = link.next_due(now).unwrap();
    }
    [VOICE, REST].map(|queue| link.stats(queue).out_octets)
}

#[test]
fn a_class_that_comes_first_starves_nobody() {
    for millis in [3, 10, 100, 10_000] {
        let [voice, rest] = sent(&[VOICE, REST], Nanos::from_millis(millis));
        let (most, all) = (6000 + 2_000_000 / 8000 * millis, 10_000_000 / 8000 * millis);
        assert!(voice <= most, "{voice} octets of {most} in {millis} ms");
        assert!(voice + 1500 >= most.min(all), "it gets what it is promised: {voice} of {most}");
        assert!((voice + rest).abs_diff(all) <= 1000, "the link is never idle");
    }
}

#[test]
fn what_nobody_else_wants_costs_no_tokens() {
    let all = 10_000_000 / 8 * 2;
    let [voice, rest] = sent(&[VOICE], Nanos::from_secs(2));
    assert!(rest == 0 && voice >= all, "alone it has the link: {voice}");
    assert!(sent(&[REST], Nanos::from_secs(2))[1] >= all);
    // Its bucket pays first, and then fills up although it sends more than its rate.
    let mut priority = priority(8_000_000_000, 3000);
    for _ in 0..8 {
        priority.enqueue(Nanos::ZERO, VOICE, 0, Arrival::new(1500)).unwrap();
    }
    let left = std::iter::from_fn(|| priority.dequeue(Nanos::ZERO)).count();
    assert_eq!((left, priority.bucket().octets()), (8, 0));
}

#[test]
fn a_packet_within_the_rate_waits_for_one_other_at_most() {
    let mut link = link();
    // A voice packet of 200 octets each 2 ms is 0.8 Mb/s, beside a class that is always there.
    let (mut now, mut next, mut longest, mut voices) = (Nanos::ZERO, Nanos(1), Nanos::ZERO, 0);
    while voices < 2000 {
        while link.backlog(REST) < 20 {
            link.enqueue(now, REST, 0, Arrival::new(1500)).unwrap();
        }
        let departure = link.dequeue(now).unwrap();
        if departure.queue == VOICE {
            longest = longest.max(now - (next - Nanos::from_millis(2)));
            voices += 1;
        }
        let free = link.next_due(now).unwrap();
        if next <= free {
            link.enqueue(next, VOICE, 0, Arrival::new(200)).unwrap();
            next += Nanos::from_millis(2);
        }
        now = free;
    }
    assert!(longest <= Nanos(1_200_000), "{longest}: 1,500 octets take 1.2 ms");
}

#[test]
fn packets_that_are_dropped_cost_no_tokens() {
    let config = CoDelConfig { target: Nanos(1024), interval: Nanos(1024), ..CoDelConfig::INTERNET };
    let policy = PerQueue::new([CoDel::new(config).unwrap()], 0);
    let high = BoxedWdrr::boxed(1, 100, 0, policy, Quantum::of_longest(1500)).unwrap();
    let mut priority = Priority::new(high, 1, class(1), bucket(1000, 100_000), 1500).unwrap();
    priority.configure(QueueId(0), QueueConfig::new(SliceId(1))).unwrap();
    for _ in 0..40 {
        priority.enqueue(Nanos::ZERO, QueueId(0), 0, Arrival::new(1500)).unwrap();
    }
    let (mut sent, mut dropped) = (0, 0);
    for micros in 0..40 {
        match priority.dequeue(Nanos::from_micros(10 * (micros + 1))).unwrap().verdict {
            Verdict::Drop(_) => dropped += 1,
            Verdict::Send | Verdict::SendMarked => sent += 1,
        }
    }
    assert!(dropped > 10, "{dropped}");
    assert_eq!(priority.bucket().octets(), 100_000 - 1500 * sent);
}

#[test]
fn queues_are_numbered_through() {
    let mut priority = priority(1_000_000, 1500);
    for (queue, octets) in [(VOICE, 100), (REST, 200)] {
        priority.enqueue(Nanos::ZERO, queue, 7, Arrival::new(octets)).unwrap();
        assert_eq!((priority.stats(queue).octets, priority.quantum(queue)), (octets.into(), 1500));
        assert_eq!(priority.remove(queue), Err(ConfigError::NotEmpty { queue, packets: 1 }));
        let flushed = priority.flush(queue).unwrap();
        assert_eq!((flushed.queue, flushed.octets), (queue, octets));
        assert_eq!(flushed.verdict, Verdict::Drop(DropReason::QueueDeleted));
        assert_eq!(priority.remove(queue), Ok(()));
        assert_eq!(priority.quantum(queue), 0);
    }
    let unknown = Err(ConfigError::UnknownQueue { queue: QueueId(4), queues: 4 });
    assert_eq!(priority.configure(QueueId(4), QueueConfig::new(SliceId(1))), unknown);
    assert_eq!(priority.remove(QueueId(4)), unknown);
    assert_eq!((priority.low().backlog(QueueId(1)), priority.high().backlog(QueueId(1))), (0, 0));
}

#[test]
fn a_packet_that_no_bucket_covers_is_refused() {
    let refused = Priority::new(class(2), 2, class(2), bucket(1000, 1499), 1500).err();
    assert_eq!(refused, Some(PriorityError { burst: 1499, longest: 1500 }));
    let mut priority = Priority::new(class(2), 2, class(2), bucket(1000, 1000), 1000).unwrap();
    assert_eq!(priority.set_bucket(bucket(1000, 999)), Err(PriorityError { burst: 999, longest: 1000 }));
    priority.configure(VOICE, QueueConfig::new(SliceId(1))).unwrap();
    priority.configure(REST, QueueConfig::new(SliceId(1))).unwrap();
    let mut offer = |queue, octets| {
        let refused = priority.enqueue(Nanos::ZERO, queue, 7, Arrival::new(octets)).err();
        refused.map(|refused| (refused.handle, refused.reason))
    };
    let found: Vec<_> = [(VOICE, 1000), (VOICE, 1001), (REST, 1001), (QueueId(0), 1001)]
        .map(|(queue, octets)| offer(queue, octets))
        .into();
    let refused = |reason| Some((7, reason));
    assert_eq!(found, [None, refused(DropReason::TooLong), None, refused(DropReason::UnknownQueue)]);
}
