//! Lookup tables.

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::conformance::{self, Rng};
use fastpath::id::{EgressId, SliceId};
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{
    AllMatches, Filter, Hit, LinearTcam, Place, Rank, Row, TableErrorKind, Tcam, TcamConfig, TcamWriter,
    TernaryTable, TernaryUpdate,
};

const SLICES: [SliceId; 3] = [SliceId(1), SliceId(2), SliceId(40)];

/// Four ranks, and masks and values of few bits, some at the top of the key.
fn patterns(rng: &mut Rng) -> (Rank, LookupKey, LookupKey) {
    let mut bits = |n| LookupKey::new(u128::from(rng.below(n)) | u128::from(rng.below(n)) << 108);
    let (value, mask) = (bits(8), bits(8));
    (Rank(rng.below(4) as u32), value, mask)
}

/// Routes under a few nested prefixes.
fn routes(rng: &mut Rng) -> (Rank, LookupKey, LookupKey) {
    let len = rng.pick(&[0, 9, 16, 23, 24, 25, 30, 32]);
    let address =
        0x0a00_0000 | (rng.below(4) << 22 | rng.below(2) << 8 | rng.below(4) << 6 | rng.below(4)) as u32;
    let (value, mask) = Ipv4Key::route(address, len);
    (Rank::longest_prefix(32, len), value, mask)
}

fn check<T: AllMatches + TernaryUpdate<Value = EgressId>>(new: impl Fn() -> T, slices: &[SliceId]) {
    conformance::ternary_table(&new, patterns, slices, 40, 1);
    conformance::all_matches(&new, patterns, slices, 40, 2);
}

fn linear() -> LinearTcam<[Option<Row<EgressId>>; 40]> {
    LinearTcam::new([None; 40])
}

#[test]
fn the_linear_scan_is_a_table() {
    check(linear, &SLICES);
    conformance::ternary_table(linear, routes, &SLICES, 40, 3);
}

fn tcam(lines: u32) -> Tcam {
    Tcam::new(TcamConfig { lines, ..TcamConfig::default() })
}

#[test]
fn the_tcam_is_a_table() {
    check(|| tcam(128), &SLICES);
    conformance::all_matches(|| tcam(128), routes, &SLICES, 40, 3);
    // Few lines: some filters are refused, and change nothing.
    check(|| tcam(11), &SLICES);
}

#[test]
fn a_writer_is_a_table_of_its_slice() {
    let writer = || -> TcamWriter { tcam(128).writer(SliceId(2)).unwrap() };
    check(writer, &[SliceId(2)]);
    conformance::all_matches(writer, routes, &[SliceId(2)], 40, 3);
}

/// Rows that a wrong table scans in its own way.
struct Scan<F> {
    rows: Vec<(Rank, Filter, EgressId)>,
    /// Which of the matches wins, by the rows in the order of insertion.
    choose: F,
}

type Rows = [(Rank, Filter, EgressId)];

fn scan<F: Fn(&Rows, TableKey) -> Option<EgressId>>(choose: F) -> Scan<F> {
    Scan { rows: Vec::new(), choose }
}

impl<F: Fn(&Rows, TableKey) -> Option<EgressId>> TernaryTable for Scan<F> {
    type Value = EgressId;

    fn lookup(&self, key: TableKey) -> Option<EgressId> {
        (self.choose)(&self.rows, key)
    }
}

impl<F: Fn(&Rows, TableKey) -> Option<EgressId>> TernaryUpdate for Scan<F> {
    type Error = TableErrorKind;

    fn insert(
        &mut self, rank: Rank, filter: Filter, value: EgressId,
    ) -> Result<Option<EgressId>, TableErrorKind> {
        if let Some(row) = self.rows.iter_mut().find(|row| (row.0, row.1) == (rank, filter)) {
            return Ok(Some(std::mem::replace(&mut row.2, value)));
        }
        self.rows.push((rank, filter, value));
        Ok(None)
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<EgressId>, TableErrorKind> {
        let at = self.rows.iter().position(|row| (row.0, row.1) == (rank, *filter));
        Ok(at.map(|at| self.rows.remove(at).2))
    }
}

fn right(rows: &Rows, key: TableKey) -> Option<EgressId> {
    Some(rows.iter().filter(|row| row.1.matches(key)).min_by_key(|row| row.0)?.2)
}

#[test]
fn the_kit_takes_a_plain_scan() {
    conformance::ternary_table(|| scan(right), patterns, &SLICES, 40, 1);
}

#[test]
#[should_panic(expected = "ternary_table: lookup of")]
fn the_kit_catches_a_table_that_ignores_the_order_among_equal_ranks() {
    let last = |rows: &Rows, key| {
        Some(rows.iter().rev().filter(|row| row.1.matches(key)).min_by_key(|row| row.0)?.2)
    };
    conformance::ternary_table(|| scan(last), patterns, &SLICES, 40, 1);
}

#[test]
#[should_panic(expected = "ternary_table: lookup of")]
fn the_kit_catches_a_table_that_ignores_ranks() {
    let first = |rows: &Rows, key| Some(rows.iter().find(|row| row.1.matches(key))?.2);
    conformance::ternary_table(|| scan(first), patterns, &SLICES, 40, 1);
}

#[test]
#[should_panic(expected = "ternary_table: lookup of")]
fn the_kit_catches_a_table_that_leaks_across_slices() {
    let leaky = |rows: &Rows, key: TableKey| {
        let matches =
            |filter: &Filter| (filter.value() ^ key.bits()) & filter.mask() & LookupKey::MAX.bits() == 0;
        Some(rows.iter().filter(|row| matches(&row.1)).min_by_key(|row| row.0)?.2)
    };
    conformance::ternary_table(|| scan(leaky), patterns, &SLICES[..1], 40, 1);
}

/// A right table but for what `LinearTcam` is asked to do in its place.
struct Wrong<T>(T, Fault);

#[derive(Clone, Copy, Eq, PartialEq)]
enum Fault {
    ReplacementMoves,
    HalfOfABatch,
    BatchClears,
    RemoveForgetsRank,
    RefusalTakesEffect,
    NextRepeats,
}

impl<T: TernaryTable<Value = EgressId>> TernaryTable for Wrong<T> {
    type Value = EgressId;

    fn lookup(&self, key: TableKey) -> Option<EgressId> {
        self.0.lookup(key)
    }
    fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<EgressId>]) {
        match self.1 {
            Fault::BatchClears => found.fill(None),
            Fault::HalfOfABatch => {
                // Two at a time: the last of an odd number is left out.
                for (keys, found) in keys.chunks_exact(2).zip(found.chunks_exact_mut(2)) {
                    self.0.lookup_batch(keys, found);
                }
                return;
            }
            _ => {}
        }
        self.0.lookup_batch(keys, found);
    }
}

impl<T: TernaryUpdate<Value = EgressId, Error = TableErrorKind>> TernaryUpdate for Wrong<T> {
    type Error = TableErrorKind;

    fn insert(
        &mut self, rank: Rank, filter: Filter, value: EgressId,
    ) -> Result<Option<EgressId>, TableErrorKind> {
        match self.1 {
            Fault::ReplacementMoves => {
                let old = self.0.remove(rank, &filter)?;
                self.0.insert(rank, filter, value)?;
                return Ok(old);
            }
            Fault::RefusalTakesEffect
                if filter.value() % 8 == 3 && self.0.remove(rank, &filter)?.is_none() =>
            {
                self.0.insert(rank, filter, value)?;
                return Err(TableErrorKind::Unsupported);
            }
            _ => {}
        }
        self.0.insert(rank, filter, value)
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<EgressId>, TableErrorKind> {
        if self.1 == Fault::RemoveForgetsRank {
            for rank in (0..4).map(Rank) {
                if let Some(old) = self.0.remove(rank, filter)? {
                    return Ok(Some(old));
                }
            }
            return Ok(None);
        }
        self.0.remove(rank, filter)
    }
}

impl<T: AllMatches<Value = EgressId>> AllMatches for Wrong<T> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<EgressId>> {
        match after {
            Some(_) if self.1 == Fault::NextRepeats => self.0.next_match(key, None),
            after => self.0.next_match(key, after),
        }
    }
}

fn check_wrong(fault: Fault) {
    check(|| Wrong(linear(), fault), &SLICES);
}

#[test]
#[should_panic(expected = "ternary_table: lookup of")]
fn the_kit_catches_a_replacement_that_moves() {
    check_wrong(Fault::ReplacementMoves);
}

#[test]
#[should_panic(expected = "ternary_table: lookup_batch of")]
fn the_kit_catches_a_batch_of_pairs() {
    check_wrong(Fault::HalfOfABatch);
}

#[test]
#[should_panic(expected = "lookup_batch wrote past its keys")]
fn the_kit_catches_a_batch_that_writes_past_its_keys() {
    check_wrong(Fault::BatchClears);
}

#[test]
#[should_panic(expected = "ternary_table: remove of")]
fn the_kit_catches_a_removal_of_another_rank() {
    check_wrong(Fault::RemoveForgetsRank);
}

#[test]
#[should_panic(expected = "ternary_table: ")]
fn the_kit_catches_a_refusal_that_takes_effect() {
    check_wrong(Fault::RefusalTakesEffect);
}

#[test]
#[should_panic(expected = "all_matches: matches of")]
fn the_kit_catches_matches_that_repeat() {
    check_wrong(Fault::NextRepeats);
}

#[test]
#[should_panic(expected = "most of the patterns were refused")]
fn the_kit_asks_for_patterns_that_the_table_holds() {
    conformance::ternary_table(|| tcam(5), patterns, &SLICES[..1], 2, 1);
}
