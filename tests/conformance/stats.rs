//! Statistics.

use core::cell::Cell;

use fastpath::conformance::{events, stats_block};
use fastpath::stats::{AtomicCount, Count, Counters, Event, ROW, StatsBlock};

fn check(stats: impl StatsBlock) {
    // Counters of 3 slices, 4 egresses, 2 queues; nothing beyond.
    let mut unknown = events(3..5, 4..6, 2..4);
    unknown.extend(events(u16::MAX..u16::MAX, u32::MAX - 2..u32::MAX, u32::MAX - 1..u32::MAX));
    stats_block(stats, &events(0..3, 0..4, 0..2), &unknown, 1);
}

fn counters() -> Counters<[Count; 4], [Count; 2], [Count; 3 * ROW]> {
    Counters { egresses: [Count::ZERO; 4], queues: [Count::ZERO; 2], slices: [Count::ZERO; 3 * ROW] }
}

#[test]
fn plain_counters_are_statistics() {
    check(counters());
    check(&mut counters());
    let boxed = |len| vec![Count::ZERO; len].into_boxed_slice();
    check(Counters { egresses: boxed(4), queues: boxed(2), slices: boxed(3 * ROW) });
}

#[test]
fn atomic_counters_are_statistics() {
    let cells = |len| (0..len).map(|_| AtomicCount::ZERO).collect::<std::sync::Arc<[AtomicCount]>>();
    let (egresses, queues, slices) = (cells(4), cells(2), cells(3 * ROW));
    check(Counters { egresses: &egresses[..], queues: &queues[..], slices: &slices[..] });
    check(Counters { egresses: cells(4), queues: cells(2), slices: cells(3 * ROW) });
}

/// Our counters behind a change of what is recorded, and of what is read.
struct Wrong<R, F>(Counters<[Count; 4], [Count; 2], [Count; 3 * ROW]>, R, F);

impl<R: Fn(Event, u32) -> (Event, u32), F: Fn(Event, Count) -> Count> StatsBlock for Wrong<R, F> {
    fn record(&mut self, event: Event, octets: u32) {
        let (event, octets) = (self.1)(event, octets);
        self.0.record(event, octets);
    }
    fn read(&self, event: Event) -> Count {
        (self.2)(event, self.0.read(event))
    }
}

#[test]
#[should_panic(expected = "stats_block: octets of")]
fn the_kit_catches_statistics_that_forget_octets() {
    check(Wrong(counters(), |event, _| (event, 0), |_, count| count));
}

#[test]
#[should_panic(expected = "stats_block: octets of")]
fn the_kit_catches_octets_of_32_bits() {
    check(Wrong(
        counters(),
        |event, octets| (event, octets),
        |_, count: Count| Count { octets: u64::from(count.octets as u32), ..count },
    ));
}

#[test]
#[should_panic(expected = "stats_block: packets of")]
fn the_kit_catches_events_that_share_a_counter() {
    let alias = |event| match event {
        Event::Left(slice, exit) if exit.index() == 3 => Event::Injected(slice),
        event => event,
    };
    check(Wrong(counters(), move |event, octets| (alias(event), octets), |_, count| count));
}

#[test]
#[should_panic(expected = "has no counter and must read as 0")]
fn the_kit_catches_events_that_land_on_the_last_counter() {
    let queue = |event| match event {
        Event::Sent(queue) if queue.0 > 1 => Event::Sent(fastpath::id::QueueId(1)),
        event => event,
    };
    struct Clamp<F>(Counters<[Count; 4], [Count; 2], [Count; 3 * ROW]>, F);
    impl<F: Fn(Event) -> Event> StatsBlock for Clamp<F> {
        fn record(&mut self, event: Event, octets: u32) {
            self.0.record((self.1)(event), octets);
        }
        fn read(&self, event: Event) -> Count {
            self.0.read((self.1)(event))
        }
    }
    check(Clamp(counters(), queue));
}

#[test]
#[should_panic(expected = "stats_block: packets of")]
fn the_kit_catches_statistics_that_sample() {
    let seen = Cell::new(0);
    let sampled = move |event, octets| {
        seen.set(seen.get() + 1);
        let nowhere = Event::Sent(fastpath::id::QueueId(99));
        (if seen.get() % 100 == 0 { nowhere } else { event }, octets)
    };
    check(Wrong(counters(), sampled, |_, count| count));
}
