//! Histories against the scan, and hostile values.

use super::*;
use crate::id::EgressId;
use crate::lookup::LinearTcam;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

pub(super) use crate::conformance::Rng;

pub(super) const SLICE: SliceId = SliceId(9);
/// Bits of both words, and none in a row.
const MASK: LookupKey = LookupKey::new(0x8001_0000_0000_0000_0000_0000_0033);
pub(super) const SEED: u128 = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;

fn filter(value: u128, mask: LookupKey) -> Filter {
    Filter::new(SLICE, LookupKey::new(value), mask)
}

pub(super) fn exact(value: u128) -> Filter {
    filter(value, LookupKey::MAX)
}

pub(super) fn key(value: u128) -> LookupKey {
    LookupKey::new(value)
}

/// `value`, with its bits where those of `mask` are.
fn deposit(value: u128, mask: LookupKey) -> u128 {
    let ones = (0..128).filter(|at| mask.bits() >> at & 1 != 0);
    ones.enumerate().map(|(n, at)| (value >> n & 1) << at).sum()
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u128),
    Remove(u32, u128),
    Rebuild,
}

fn op() -> impl Strategy<Value = Op> {
    let parts = (0u32..2, 0u128..64);
    prop_oneof![
        24 => parts.clone().prop_map(|(rank, value)| Op::Insert(rank, value)),
        8 => parts.prop_map(|(rank, value)| Op::Remove(rank, value)),
        1 => Just(Op::Rebuild),
    ]
}

proptest! {
    /// Whatever the history, the table answers as the scan does.
    #[test]
    fn exact_match_is_a_linear_scan(history in prop::collection::vec(op(), 1..300), seed: u128) {
        let mut fast = ExactTable::new(SLICE, MASK, 40, seed);
        let mut model = LinearTcam::new([None; 40]);
        for (n, op) in (0u32..).zip(history) {
            match op {
                Op::Insert(rank, value) => {
                    let (rank, filter) = (Rank(rank), filter(deposit(value, MASK), MASK));
                    let other = model.iter().any(|row| row.1 == filter && row.0 != rank);
                    let expected =
                        if other { Err(TableErrorKind::Unsupported) } else { model.insert(rank, filter, n) };
                    prop_assert_eq!(fast.insert(rank, filter, n), expected);
                }
                Op::Remove(rank, value) => {
                    let filter = filter(deposit(value, MASK), MASK);
                    prop_assert_eq!(fast.remove(Rank(rank), &filter), model.remove(Rank(rank), &filter));
                }
                Op::Rebuild => fast.rebuild(40).unwrap(),
            }
            prop_assert_eq!(fast.len(), model.len());
            let noise = (u128::from(n) * 0x1234_5678_9abc_def0_1357) & !MASK.bits();
            let keys: Vec<_> = (0..64)
                .map(|value| TableKey::new(SLICE, key(deposit(value, MASK) | noise)))
                .chain([TableKey::new(SliceId(8), key(0))])
                .collect();
            let mut found = vec![Some(u32::MAX); keys.len()];
            fast.lookup_batch(&keys, &mut found);
            for (&key, found) in keys.iter().zip(found) {
                prop_assert_eq!(found, model.lookup(key));
                prop_assert_eq!(fast.lookup(key), found);
                let values = |hit: Hit<u32>| (hit.place.rank(), hit.value);
                prop_assert!(fast.matches(key).map(values).eq(model.matches(key).map(values)));
            }
            // The order of insertion is kept for whoever takes the filters over.
            let mut rows: Vec<_> = fast.iter().collect();
            rows.sort_by_key(|row| row.0);
            let rows = rows.into_iter().map(|(place, filter, value)| (place.rank(), filter, value));
            prop_assert!(rows.eq(model.iter()));
        }
    }
}

#[test]
fn exact_match_is_a_table() {
    use crate::conformance::{all_matches, ternary_table};
    let pattern = |rng: &mut Rng| {
        let value = rng.below(64);
        (Rank(value as u32 % 3), key(deposit(value.into(), MASK)), MASK)
    };
    // One in four is of another mask or rank, and refused.
    let some = |rng: &mut Rng| match (pattern(rng), rng.below(8)) {
        ((rank, value, _), 0) => (rank, value, LookupKey::MAX),
        ((rank, value, mask), 1) => (Rank(rank.0 + 1), value, mask),
        (usual, _) => usual,
    };
    for seed in 0..4 {
        let new = || ExactTable::<EgressId>::new(SLICE, MASK, 40, SEED + seed);
        ternary_table(new, pattern, &[SLICE], 40, 1);
        all_matches(new, pattern, &[SLICE], 40, 2);
        ternary_table(new, some, &[SLICE], 40, 3);
    }
}

#[test]
fn filters_of_another_slice_or_mask_are_refused() {
    let mut table = ExactTable::new(SLICE, MASK, 1, SEED);
    let refused = |result| assert_eq!(result, Err(TableErrorKind::Unsupported));
    refused(table.insert(Rank(0), exact(0), 1));
    refused(table.insert(Rank(0), filter(0, key(0)), 1));
    let elsewhere = Filter::new(SliceId(1), key(0), MASK);
    assert_eq!(table.insert(Rank(0), elsewhere, 1), Err(TableErrorKind::UnknownSlice));
    assert_eq!(table.remove(Rank(0), &elsewhere), Ok(None));
    assert_eq!(table.insert(Rank(0), filter(1, MASK), 1), Ok(None));
    assert_eq!(table.insert(Rank(0), filter(2, MASK), 1), Err(TableErrorKind::Full));
    assert_eq!(table.insert(Rank(0), filter(1, MASK), 2), Ok(Some(1)), "replacing needs no room");
    refused(table.insert(Rank(1), filter(1, MASK), 2));
    assert_eq!(table.remove(Rank(1), &filter(1, MASK)), Ok(None));
    assert_eq!((table.len(), table.cost()), (1, 2));
}

/// A mask of no bits is a mask: one filter, which matches all.
#[test]
fn a_mask_of_nothing_matches_all() {
    let mut table = ExactTable::new(SLICE, key(0), 8, SEED);
    table.insert(Rank(0), filter(0, key(0)), 5u32).unwrap();
    assert_eq!(table.lookup(TableKey::new(SLICE, LookupKey::MAX)), Some(5));
    assert_eq!(table.lookup(TableKey::new(SliceId(0), key(0))), None);
}

/// The inverse of an odd number modulo 2^64 (Newton).
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))))
}

/// Sets of values that hashes are known to trip over.
fn hostile(name: &str, n: u64) -> u128 {
    let n = u128::from(n);
    match name {
        "in a row" => n,
        "in a row in the upper word" => n << 64,
        "a row that crosses the words" => n << 50,
        "a grid" => n & 0x1ff | (n >> 9) << 80,
        "equal words" => n << 64 | n,
        "bits far apart" => (0..18).map(|bit| (n >> bit & 1) << (bit * 6)).sum::<u128>(),
        // Multiplied by this constant all agree in the upper bits.
        "colliding under a multiplication" => {
            u128::from((n as u64).wrapping_mul(inverse(0x9e37_79b9_7f4a_7c15)))
        }
        "complements" => {
            if n & 1 == 0 {
                n
            } else {
                !n
            }
        }
        "near the ends" => LookupKey::MAX.bits() - n * n,
        _ => {
            let mut rng = Rng::new(n as u64);
            u128::from(rng.bits()) << 48 | u128::from(rng.bits())
        }
    }
}

const HOSTILE: [&str; 10] = [
    "in a row",
    "in a row in the upper word",
    "a row that crosses the words",
    "a grid",
    "equal words",
    "bits far apart",
    "colliding under a multiplication",
    "complements",
    "near the ends",
    "random",
];

#[test]
fn a_table_takes_its_capacity_whatever_the_values_are() {
    const FILTERS: u64 = 200_000;
    for (at, name) in (0u128..).zip(HOSTILE) {
        let mut nobody = Epochs::new(0);
        let (mut control, read) =
            ExactControl::new(SLICE, LookupKey::MAX, FILTERS as usize, SEED.wrapping_mul(2 * at + 1));
        for n in 0..FILTERS {
            let result = control.insert(&read, &mut nobody, Rank(0), &exact(hostile(name, n)), n as u32);
            assert_eq!(result, Ok(None), "{name}: filter {n}");
        }
        let one_more = control.insert(&read, &mut nobody, Rank(0), &exact(1 << 111 | 1 << 90), 0);
        assert_eq!(one_more, Err(ExactError::Full));
        for n in 0..FILTERS {
            assert_eq!(read.lookup(key(hostile(name, n))), Some(n as u32), "{name}: filter {n}");
        }
        let moved = control.moved() as f64 / FILTERS as f64;
        assert!(moved < 0.4, "{name}: {moved} moves a filter");
        assert!(read.octets() <= 41 * FILTERS as usize, "{} octets", read.octets());
        // Filters come and go at capacity.
        for n in 0..FILTERS / 4 {
            let old = exact(hostile(name, n));
            assert_eq!(control.remove(&read, &mut nobody, Rank(0), &old), Some(n as u32));
            let new = exact(hostile("random", u64::MAX - n));
            assert_eq!(control.insert(&read, &mut nobody, Rank(0), &new, n as u32), Ok(None), "{name}");
            assert_eq!(read.lookup(key(old.value())), None);
        }
        assert_eq!((control.len(), control.waiting()), (FILTERS as usize, 0));
    }
}

/// Values that stand in the same two buckets as 0 does, found by who knows the seed.
pub(super) fn colliding(read: &ExactRead, count: usize) -> Vec<u128> {
    let (_, buckets) = read.entry(&exact(0)).unwrap();
    (0..).filter(|value| read.entry(&exact(*value)).unwrap().1 == buckets).take(count).collect()
}

#[test]
fn who_knows_the_seed_causes_a_rebuild_and_no_more() {
    let (mut control, read) = ExactControl::new(SLICE, LookupKey::MAX, 40, SEED);
    let mut nobody = Epochs::new(0);
    let values = colliding(&read, 7);
    for (n, value) in (0..).zip(&values) {
        let result = control.insert(&read, &mut nobody, Rank(0), &exact(*value), n);
        assert_eq!(result, if n < 6 { Ok(None) } else { Err(ExactError::RebuildDue) });
    }
    let found: Vec<_> = values.iter().map(|value| read.lookup(key(*value))).collect();
    assert_eq!(found, [Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), None]);
    let (mut control, read) = control.rebuilt(&read, 40, SEED + 1).unwrap();
    assert_eq!(control.insert(&read, &mut nobody, Rank(0), &exact(values[6]), 6), Ok(None));
    assert!((0..).zip(&values).all(|(n, value)| read.lookup(key(*value)) == Some(n)));
    // The owner of both sides does so unasked.
    let mut table = ExactTable::new(SLICE, LookupKey::MAX, 40, SEED);
    for (n, value) in (0..).zip(&values) {
        assert_eq!(table.insert(Rank(0), exact(*value), n), Ok(None));
    }
    assert!(table.iter().count() == 7 && table.rebuild(6) == Err(ExactError::Full));
}
