//! What a table says of its filters, against filters compared pair by pair.

use super::*;
use crate::lookup::Filter;
use crate::lookup::tcam::{Tcam, TcamConfig, TcamError};
use proptest::prelude::*;
use std::vec::Vec;

const SLICE: SliceId = SliceId(3);

fn tcam(lines: u32) -> Tcam<u32> {
    Tcam::new(TcamConfig { lines, ..TcamConfig::default() })
}

/// Filters over few bits and short ranges, and routes, so that many cover each other.
fn filter() -> impl Strategy<Value = (Rank, RangedFilter)> {
    let any = (0u32..4, 0u128..8, 0u128..8, 0u16..6, 0u16..4, 0u16..3).prop_map(
        |(rank, value, mask, low, len, kind)| {
            let bits = |bits: u128| LookupKey::new(bits & 3 | (bits & 4) << 94);
            let of = Filter::new(SLICE, bits(value), bits(mask));
            let ranged = match kind {
                0 => of.into(),
                1 => RangedFilter::new(of, low..=low + len, 0..=u16::MAX).unwrap(),
                _ => RangedFilter::new(of, 0..=u16::MAX, low..=low + len).unwrap(),
            };
            (Rank(rank), ranged)
        },
    );
    let route = (0u32..16, 0u8..5).prop_map(|(to, len)| {
        let mask = LookupKey::new((0xf0 >> len & 0xf) << 28);
        (Rank::longest_prefix(32, len), Filter::new(SLICE, LookupKey::new(u128::from(to) << 28), mask).into())
    });
    prop_oneof![3 => any, 2 => route]
}

/// All pairs.
fn naive(mut entries: Vec<Entry<u32>>) -> Vec<(Entry<u32>, Entry<u32>)> {
    entries.sort_by_key(|entry| entry.place);
    let pairs = entries.iter().enumerate().filter_map(|(at, entry)| {
        let by =
            entries[..at].iter().find(|by| by.place < entry.place && covers(&by.filter, &entry.filter))?;
        Some((*entry, *by))
    });
    pairs.collect()
}

/// The value that a lookup of `key` would give if `entry` were not there.
fn without(entries: &[Entry<u32>], entry: &Entry<u32>, key: TableKey) -> Option<Place> {
    let others = entries.iter().filter(|other| other.place != entry.place && other.filter.matches(key));
    others.map(|other| other.place).min()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Those that are said to be covered are, by the first that covers them, and they never win.
    #[test]
    fn shadowed_is_all_pairs(filters in prop::collection::vec(filter(), 1..120)) {
        let mut tcam = tcam(1000);
        tcam.load(SLICE, filters.iter().zip(0..).map(|(&(rank, filter), n)| (rank, filter, n))).unwrap();
        let entries: Vec<_> = tcam.iter(SLICE).collect();
        let mut shadowed: Vec<_> = tcam.shadowed(SLICE).iter().map(|found| (found.entry, found.by)).collect();
        let mut expected = naive(entries.clone());
        let by = |pair: &(Entry<u32>, Entry<u32>)| (pair.0.place, pair.0.value);
        shadowed.sort_by_key(by);
        expected.sort_by_key(by);
        prop_assert_eq!(&shadowed, &expected);
        for (entry, _) in shadowed {
            let key = lowest_key(&entry.filter);
            prop_assert!(without(&entries, &entry, key).is_some_and(|place| place < entry.place));
        }
    }

    /// Whatever the history: what is refused would be refused if all were loaded at once, and
    /// what would be accepted so is accepted.
    #[test]
    fn what_is_refused_cannot_be_built(
        history in prop::collection::vec((filter(), any::<bool>(), 0u8..4), 1..300), bound in 6u32..30,
    ) {
        let mut tcam = tcam(bound);
        for (n, ((rank, filter), spread, kind)) in (0..).zip(history) {
            // Different masks, which cost the most.
            let of = filter.filter();
            let more = LookupKey::new(if spread { 1 << (n % 28 + 4) } else { 0 });
            let wide = Filter::new(
                SLICE, LookupKey::new(of.value() | more.bits()), LookupKey::new(of.mask() | more.bits()),
            );
            let filter = if filter.is_ternary() && rank.0 < Rank::ROUTES { wide.into() } else { filter };
            if kind == 0 {
                tcam.remove_ranged(rank, &filter);
                continue;
            }
            let known = tcam.get(rank, &filter).is_some();
            let mut rows: Vec<_> = tcam.iter(SLICE).map(|it| (it.place, it.filter, it.value)).collect();
            rows.sort_by_key(|row| row.0);
            let inserted = tcam.insert_ranged(rank, filter, n);
            if let Err(error) = inserted {
                let refused = matches!(error, TcamError::Cost { lines, bound: said, .. } if lines > bound && said == bound);
                prop_assert!(refused && !known, "{}", error);
                let rows = rows.iter().map(|row| (row.0.rank(), row.1, row.2)).chain([(rank, filter, n)]);
                let at_once = Tcam::new(*tcam.config()).load(SLICE, rows);
                prop_assert!(matches!(at_once, Err(TcamError::Cost { .. })), "it would fit");
                // Asked again, it says the same.
                prop_assert_eq!(tcam.insert_ranged(rank, filter, n), Err(error));
            }
            prop_assert!(tcam.plan(SLICE).unwrap().lines <= bound);
        }
    }
}

/// What was refused is tried again after a change.
#[test]
fn what_was_refused_is_forgotten_with_the_reason() {
    let mut tcam = tcam(4);
    let filter =
        |n: u32| RangedFilter::from(Filter::new(SLICE, LookupKey::new(1 << n), LookupKey::new(1 << n)));
    let refused = (0..64).find(|n| tcam.insert_ranged(Rank(*n), filter(*n), 0).is_err()).unwrap();
    for _ in 0..3 {
        let again = tcam.insert_ranged(Rank(refused), filter(refused), 0);
        assert!(matches!(again, Err(TcamError::Cost { bound: 4, .. })));
    }
    if refused > 0 {
        (0..refused).for_each(|n| _ = tcam.remove_ranged(Rank(n), &filter(n)));
        assert_eq!(tcam.insert_ranged(Rank(refused), filter(refused), 0), Ok(None));
        tcam.clear(SLICE);
    }
    tcam.set_bound(SLICE, 100).unwrap();
    (0..40).for_each(|n| assert_eq!(tcam.insert_ranged(Rank(n), filter(n), 0), Ok(None)));
}
