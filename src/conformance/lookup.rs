//! The kits of [`TernaryTable`](crate::lookup::TernaryTable) with its write side, and
//! of [`AllMatches`].

use alloc::vec;
use alloc::vec::Vec;

use crate::id::{EgressId, SliceId};
use crate::key::{LookupKey, TableKey};
use crate::lookup::{AllMatches, Filter, Rank, TableError, TableErrorKind, TernaryUpdate};

use super::Rng;

/// Filters that a table under test must have room for, of all slices together.
pub const TABLE_ROOM: usize = 32;

/// A filter of the naive model: rows in the order of precedence.
struct Row {
    rank: Rank,
    filter: Filter,
    value: EgressId,
}

/// Checks that a table answers as a scan of its filters in order does, whatever was
/// inserted, replaced and removed:
///
/// - the lowest rank wins, and the first inserted among equal ranks; a filter whose
///   value is replaced keeps its place, one that is removed and comes back is the last;
/// - `insert` and `remove` return what was stored, and what is refused changes nothing;
/// - filters of one slice match no key of another, of `slices` or not;
/// - `lookup_batch` is `lookup` of each key, for any number of keys, stops at the
///   shorter of its two slices and leaves the rest as it is.
///
/// `new` makes an empty table with room for [`TABLE_ROOM`] filters of `slices`, in any
/// distribution; `pattern` draws the rank, value and mask of a filter that it can hold.
/// Few ranks and few bits are best, so that filters overlap and collide. A table may
/// refuse some as [`Unsupported`](TableErrorKind::Unsupported), but not most.
///
/// # Panics
///
/// At the first breach.
pub fn ternary_table<T: TernaryUpdate<Value = EgressId>>(
    new: impl FnMut() -> T, pattern: impl Fn(&mut Rng) -> (Rank, LookupKey, LookupKey), slices: &[SliceId],
    rounds: u32, seed: u64,
) {
    history("ternary_table", new, pattern, slices, rounds, seed, |table, rng, rows, keys| {
        let sentinel = EgressId::new(u32::MAX - 1);
        for key in keys {
            table.prefetch(*key);
            assert_eq!(table.lookup(*key), scan(rows, *key), "ternary_table: lookup of {key:x?}");
        }
        let len = match rng.below(4) {
            0 => keys.len().saturating_sub(1),
            1 => keys.len() + 3,
            _ => keys.len(),
        };
        let mut found = vec![sentinel; len];
        table.prefetch_deeper(keys);
        table.lookup_batch(keys, &mut found);
        for (at, found) in found.iter().enumerate() {
            match keys.get(at) {
                Some(key) => assert_eq!(
                    *found,
                    scan(rows, *key),
                    "ternary_table: lookup_batch of {} keys into {len}, key {at}: {key:x?}",
                    keys.len()
                ),
                None => assert_eq!(*found, sentinel, "ternary_table: lookup_batch wrote past its keys"),
            }
        }
        if rng.one_in(4) {
            table.quiescent();
        }
    });
}

/// Checks that `matches` yields all matches of a key, best first, each with its value,
/// its rank and a place of its own; that `next_match` goes on after any of them; and
/// that the first of them is what `lookup` answers.
///
/// Arguments as for [`ternary_table`].
///
/// # Panics
///
/// At the first breach.
pub fn all_matches<T: AllMatches + TernaryUpdate<Value = EgressId>>(
    new: impl FnMut() -> T, pattern: impl Fn(&mut Rng) -> (Rank, LookupKey, LookupKey), slices: &[SliceId],
    rounds: u32, seed: u64,
) {
    history("all_matches", new, pattern, slices, rounds, seed, |table, _, rows, keys| {
        for &key in keys {
            let expected = || rows.iter().filter(|row| row.filter.matches(key));
            // One more than there are: a table that goes round would not end.
            let hits: Vec<_> = table.matches(key).take(rows.len() + 1).collect();
            assert!(
                hits.iter()
                    .map(|hit| (hit.place.rank(), hit.value))
                    .eq(expected().map(|r| (r.rank, r.value))),
                "all_matches: matches of {key:x?} are {hits:?}"
            );
            let ordered = hits.windows(2).all(|pair| pair[0].place < pair[1].place);
            assert!(ordered, "all_matches: the places of {key:x?} do not ascend: {hits:?}");
            for (at, hit) in hits.iter().enumerate() {
                let next = table.next_match(key, Some(hit.place));
                assert_eq!(
                    next,
                    hits.get(at + 1).copied(),
                    "all_matches: the match of {key:x?} after {hit:?}"
                );
            }
            let first = hits.first().map(|hit| hit.value);
            assert_eq!(table.lookup(key), first, "all_matches: lookup is not the first match of {key:x?}");
        }
    });
}

fn scan(rows: &[Row], key: TableKey) -> Option<EgressId> {
    rows.iter().find(|row| row.filter.matches(key)).map(|row| row.value)
}

/// Random updates of table and model, and `check` after each.
fn history<T: TernaryUpdate<Value = EgressId>>(
    kit: &str, mut new: impl FnMut() -> T, pattern: impl Fn(&mut Rng) -> (Rank, LookupKey, LookupKey),
    slices: &[SliceId], rounds: u32, seed: u64, mut check: impl FnMut(&mut T, &mut Rng, &[Row], &[TableKey]),
) {
    assert!(!slices.is_empty() && rounds > 0, "{kit}: nothing to check");
    let mut rng = Rng::new(seed);
    let (mut drawn, mut held, mut hits) = (0, 0, 0);
    for _ in 0..rounds {
        let mut table = new();
        let mut rows: Vec<Row> = Vec::new();
        let mut removed: Vec<(Rank, Filter)> = Vec::new();
        for number in 0..96 {
            let value = EgressId::new(number).expect("below 2^32 - 1");
            let (mut rank, bits, mask) = pattern(&mut rng);
            let mut filter = Filter::new(rng.pick(slices), bits, mask);
            // Known ones come again: to be replaced, removed, or put back.
            if let Some(row) = rows.get(rng.below(2 * rows.len() as u64) as usize) {
                (rank, filter) = (row.rank, row.filter);
            } else if !removed.is_empty() && rng.one_in(4) {
                (rank, filter) = rng.pick(&removed);
            }
            let known = rows.iter().position(|row| (row.rank, row.filter) == (rank, filter));
            if rng.one_in(3) {
                let taken = table.remove(rank, &filter);
                let taken = taken.unwrap_or_else(|error| panic!("{kit}: remove failed: {error}"));
                let expected = known.map(|at| rows.remove(at).value);
                assert_eq!(taken, expected, "{kit}: remove of {filter:x?} at {rank:?}");
                removed.push((rank, filter));
            } else {
                drawn += u32::from(known.is_none());
                match (table.insert(rank, filter, value), known) {
                    (Ok(old), Some(at)) => {
                        assert_eq!(old, Some(rows[at].value), "{kit}: replacing {filter:x?} at {rank:?}");
                        rows[at].value = value;
                    }
                    (Ok(old), None) => {
                        assert_eq!(old, None, "{kit}: inserting {filter:x?} at {rank:?}");
                        let at = rows.partition_point(|row| row.rank <= rank);
                        rows.insert(at, Row { rank, filter, value });
                        held += 1;
                    }
                    (Err(error), Some(_)) => panic!("{kit}: replacing {filter:x?} failed: {error}"),
                    (Err(error), None) => match error.kind() {
                        TableErrorKind::Unsupported => {}
                        TableErrorKind::Full if rows.len() >= TABLE_ROOM => drawn -= 1,
                        _ => panic!("{kit}: no room for filter {} of {TABLE_ROOM}: {error}", rows.len() + 1),
                    },
                }
            }
            let count = [0, 1, 2, 3, 5, 7, 31, 33][rng.below(8) as usize];
            let keys: Vec<_> = (0..count).map(|_| key(&mut rng, &rows, &removed, slices)).collect();
            hits += keys.iter().filter(|key| scan(&rows, **key).is_some()).count();
            check(&mut table, &mut rng, &rows, &keys);
        }
    }
    assert!(2 * held >= drawn, "{kit}: most of the patterns were refused: draw what the table can hold");
    assert!(hits > 0, "{kit}: no key matched a filter");
}

/// A key that falls under some filter or just misses it, or one of another slice.
fn key(rng: &mut Rng, rows: &[Row], removed: &[(Rank, Filter)], slices: &[SliceId]) -> TableKey {
    let filter = match (rows.len() as u64, removed.len() as u64) {
        (0, 0) => Filter::new(slices[0], LookupKey::default(), LookupKey::default()),
        (0, n) => removed[rng.below(n) as usize].1,
        (_, n) if n > 0 && rng.one_in(4) => removed[rng.below(n) as usize].1,
        (n, _) => rows[rng.below(n) as usize].filter,
    };
    let noise = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
    let mut bits = filter.value();
    if rng.one_in(2) {
        bits |= noise & !filter.mask();
    }
    if rng.one_in(3) {
        bits ^= 1 << rng.below(u64::from(LookupKey::BITS));
    }
    if rng.one_in(3) {
        bits ^= 1 << rng.below(8);
    }
    let slice = match rng.below(8) {
        0 => rng.pick(slices),
        1 => SliceId(filter.slice().0 ^ 1 << rng.below(16)),
        _ => filter.slice(),
    };
    TableKey::new(slice, LookupKey::new(bits))
}
