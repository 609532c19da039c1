//! The kit of [`StatsBlock`].

use alloc::vec::Vec;
use core::ops::Range;

use crate::exit::Exit;
use crate::id::{EgressId, QueueId, SliceId};
use crate::stats::{Count, Event, StatsBlock};

use super::Rng;

/// All events of `slices`, `egresses` and `queues`, by their numbers.
pub fn events(slices: Range<u16>, egresses: Range<u32>, queues: Range<u32>) -> Vec<Event> {
    let mut events = Vec::new();
    for slice in slices.map(SliceId) {
        events.push(Event::Injected(slice));
        events.extend(Exit::all().map(|exit| Event::Left(slice, exit)));
    }
    events.extend(egresses.filter_map(EgressId::new).map(Event::Queued));
    events.extend(queues.map(QueueId).map(Event::Sent));
    events
}

/// Checks that `stats`, which has counted nothing yet, counts each of `known` and
/// none of `unknown` ([`events`] lists them):
///
/// - a count is the number of packets recorded and the sum of their octets, exactly,
///   past 2^32 octets too;
/// - no event disturbs another;
/// - an event without a counter reads as 0, whatever is recorded for it.
///
/// # Panics
///
/// At the first breach, or if an event is named twice.
pub fn stats_block(mut stats: impl StatsBlock, known: &[Event], unknown: &[Event], seed: u64) {
    assert!(!known.is_empty(), "stats_block: nothing to count");
    for (at, event) in known.iter().enumerate() {
        let twice = known[..at].contains(event) || unknown.contains(event);
        assert!(!twice, "{event:?} is named twice");
    }
    let mut rng = Rng::new(seed);
    let mut model: Vec<(Event, Count)> = known.iter().map(|event| (*event, Count::ZERO)).collect();
    agree(&stats, &model, unknown);
    // Each event alone, and after it all others are as they were.
    for at in 0..model.len() {
        count(&mut stats, &mut model[at], 1 + at as u32);
        agree(&stats, &model, unknown);
    }
    for event in unknown {
        stats.record(*event, 64);
        agree(&stats, &model, unknown);
    }
    // Octets past 32 bits, packets of no octets, and anything.
    for round in 0..8 {
        for _ in 0..512 {
            let octets = match rng.below(8) {
                0 => u32::MAX,
                1 => 0,
                _ => rng.below(1 << (4 + round)) as u32,
            };
            if !unknown.is_empty() && rng.one_in(8) {
                stats.record(rng.pick(unknown), octets);
            } else {
                let at = rng.below(model.len() as u64) as usize;
                count(&mut stats, &mut model[at], octets);
            }
        }
        agree(&stats, &model, unknown);
    }
    let (event, _) = model[0];
    for _ in 0..3 {
        count(&mut stats, &mut model[0], u32::MAX);
    }
    let octets = stats.read(event).octets;
    assert!(octets > u64::from(u32::MAX), "stats_block: {event:?} lost octets past 32 bits: {octets}");
    agree(&stats, &model, unknown);
}

fn count(stats: &mut impl StatsBlock, (event, count): &mut (Event, Count), octets: u32) {
    stats.record(*event, octets);
    *count += Count { packets: 1, octets: octets.into() };
}

fn agree(stats: &impl StatsBlock, model: &[(Event, Count)], unknown: &[Event]) {
    for (event, expected) in model {
        let read = stats.read(*event);
        assert_eq!(read.packets, expected.packets, "stats_block: packets of {event:?}");
        assert_eq!(read.octets, expected.octets, "stats_block: octets of {event:?}");
    }
    for event in unknown {
        let read = stats.read(*event);
        assert_eq!(read, Count::ZERO, "stats_block: {event:?} has no counter and must read as 0");
    }
}
