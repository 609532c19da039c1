//! The forest against the linear scan, alone and under readers.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use alloc::vec::Vec;
use std::vec;

use proptest::prelude::*;

use super::*;

pub(super) const SLICE: SliceId = SliceId(5);

/// A scan of filters in order of precedence: `LinearTcam`, with ranges compared as such
/// (that they are what they expand to is `RangedFilter`'s to show).
pub(super) struct Model(Vec<(Rank, RangedFilter, u32)>);

impl Model {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    fn position(&self, rank: Rank, filter: &RangedFilter) -> Option<usize> {
        self.0.iter().position(|row| (row.0, row.1) == (rank, *filter))
    }

    pub(super) fn insert(&mut self, rank: Rank, filter: &RangedFilter, value: u32) -> Option<u32> {
        if let Some(at) = self.position(rank, filter) {
            return Some(core::mem::replace(&mut self.0[at].2, value));
        }
        let at = self.0.partition_point(|row| row.0 <= rank);
        self.0.insert(at, (rank, *filter, value));
        None
    }

    pub(super) fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        Some(self.0.remove(self.position(rank, filter)?).2)
    }

    fn matches(&self, key: TableKey) -> impl Iterator<Item = (Rank, u32)> {
        self.0.iter().filter(move |row| row.1.matches(key)).map(|row| (row.0, row.2))
    }
}

/// Numbers from a seed (SplitMix64).
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }
}

/// Filters of few bits, so that they overlap: some of them drawn at `spots` of the key.
pub(super) struct Pool {
    pub(super) rng: Rng,
    spots: Vec<u32>,
    ranks: u64,
    ranges: bool,
}

impl Pool {
    pub(super) fn new(seed: u64, spots: u64, ranks: u64, ranges: bool) -> Self {
        let mut rng = Rng(seed);
        let spots = (0..spots).map(|_| rng.below(112) as u32).collect();
        Self { rng, spots, ranks, ranges }
    }

    /// Some of the spots: each `of` 4 times.
    pub(super) fn some(&mut self, of: u64) -> u128 {
        let Self { rng, spots, .. } = self;
        spots.iter().fold(0, |bits, &at| bits | u128::from(rng.below(4) < of) << at)
    }

    pub(super) fn filter(&mut self) -> (Rank, RangedFilter) {
        let of = 1 + self.rng.below(3);
        let (value, mut mask) = (self.some(2), self.some(of));
        let mut ranges = [0..=u16::MAX, 0..=u16::MAX];
        for (range, at) in ranges.iter_mut().zip(RangedFilter::FIELDS) {
            if self.ranges && self.rng.below(4) == 0 {
                mask &= !(0xffff << at);
                let (a, b) = (self.rng.below(16) as u16 * 0x1111, self.rng.below(16) as u16 * 0x1111);
                *range = a.min(b)..=a.max(b);
            }
        }
        let [low, high] = ranges;
        let filter = Filter::new(SLICE, LookupKey::new(value), LookupKey::new(mask));
        let rank = match self.rng.below(8) {
            0 => u32::MAX - self.rng.below(2) as u32,
            _ => self.rng.below(self.ranks) as u32,
        };
        (Rank(rank), RangedFilter::new(filter, low, high).unwrap())
    }

    pub(super) fn key(&mut self) -> TableKey {
        let mut bits = self.some(2);
        if self.ranges && self.rng.below(2) == 0 {
            for at in RangedFilter::FIELDS {
                let port = (self.rng.below(16) * 0x1111) as u16;
                let port = port.wrapping_add(self.rng.below(3) as u16).wrapping_sub(1);
                bits = bits & !(0xffff << at) | u128::from(port) << at;
            }
        }
        TableKey::new(SLICE, LookupKey::new(bits))
    }
}

pub(super) fn agree(forest: &Forest<u32>, model: &Model, keys: &[TableKey]) {
    let mut found = vec![Some(7); keys.len()];
    forest.lookup_batch(keys, &mut found);
    for (key, found) in keys.iter().zip(found) {
        let expected = model.matches(*key).next().map(|(_, value)| value);
        assert_eq!((forest.lookup(*key), found), (expected, expected), "{key:x?}");
        let hits: Vec<_> = forest.matches(*key).map(|hit| (hit.place.rank(), hit.value)).collect();
        assert!(model.matches(*key).eq(hits), "{key:x?}");
        assert!(forest.cost_of(key.key()) <= forest.cost());
    }
}

/// Inserts, replaces and removes, and compares with the scan now and then.
fn history(machine: Machine, pool: &mut Pool, updates: usize) {
    let mut forest = Forest::<u32>::on(machine, SLICE, 10_000, 4000);
    let mut model = Model::new();
    let mut known: Vec<(Rank, RangedFilter)> = Vec::new();
    for value in 0..updates as u32 {
        let (rank, filter) = match known.get(pool.rng.below(2 * known.len() as u64 + 1) as usize) {
            Some(&known) if pool.rng.below(3) == 0 => known,
            _ => pool.filter(),
        };
        if pool.rng.below(4) == 0 {
            assert_eq!(forest.remove_ranged(rank, &filter), model.remove(rank, &filter));
            known.retain(|known| *known != (rank, filter));
        } else {
            let old = forest.insert_ranged(rank, filter, value);
            assert_eq!(old, Ok(model.insert(rank, &filter, value)));
            if old == Ok(None) {
                known.push((rank, filter));
            }
        }
        assert_eq!(forest.len(), known.len());
        if value % 32 == 31 {
            let keys: Vec<_> = (0..40).map(|_| pool.key()).collect();
            agree(&forest, &model, &keys);
            check_books(&forest);
        }
    }
    let mut all: Vec<_> = forest.iter().map(|(rank, filter, _)| (rank, filter)).collect();
    assert!(all.is_sorted_by_key(|(rank, _)| *rank));
    let order = |(rank, filter): &(Rank, RangedFilter)| {
        (*rank, filter.filter().value(), filter.filter().mask(), filter.ranges())
    };
    all.sort_by_key(order);
    known.sort_by_key(order);
    assert_eq!(all, known);
    for (rank, filter) in known {
        assert_eq!(forest.remove_ranged(rank, &filter), model.remove(rank, &filter));
    }
    assert!(forest.is_empty() && forest.iter().next().is_none());
    assert_eq!(forest.lookup(pool.key()), None);
}

/// What is counted step by step is what a count of all would be.
pub(super) fn check_books(forest: &Forest<u32>) {
    let ways = (0..read::TREES).map(|tree| control::deepest(&forest.read, forest.read.root(tree), 0));
    assert_eq!(forest.cost(), 2 + ways.sum::<u32>());
}

fn machines() -> Vec<Machine> {
    Machine::all()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the history, the forest answers as the linear scan does.
    #[test]
    fn a_forest_is_a_linear_scan(
        seed: u64, spots in 3u64..24, ranks in 1u64..200, ranges: bool, updates in 1usize..500,
    ) {
        for machine in machines() {
            history(machine, &mut Pool::new(seed, spots, ranks, ranges), updates);
        }
    }

    /// Bits gathered by runs, or by an instruction, are those of one after the other.
    #[test]
    fn bits_are_gathered_in_order(word: u64, mask: u64, more: u64, all: bool) {
        for mask in [mask & more, mask | more, if all { u64::MAX } else { 0 }, !more] {
            let set = (0..64).filter(|bit| mask >> bit & 1 != 0).zip(0..);
            let expected = set.fold(0, |bits, (bit, at)| bits | (word >> bit & 1) << at);
            for machine in machines() {
                prop_assert_eq!(machine.gather(word, mask) as u64, expected);
            }
        }
    }

    /// Built at once or one by one: the same answers.
    #[test]
    fn a_forest_built_at_once_answers_as_the_scan(
        seed: u64, spots in 3u64..24, ranks in 1u64..200, ranges: bool, filters in 0usize..700,
    ) {
        let mut pool = Pool::new(seed, spots, ranks, ranges);
        let all: Vec<_> = (0..filters as u32).map(|value| { let (r, f) = pool.filter(); (r, f, value) }).collect();
        let mut model = Model::new();
        for (rank, filter, value) in &all {
            model.insert(*rank, filter, *value);
        }
        let keys: Vec<_> = (0..200).map(|_| pool.key()).collect();
        for machine in machines() {
            let forest = Forest::build_on(machine, SLICE, 10_000, 4000, all.iter().copied()).unwrap();
            agree(&forest, &model, &keys);
            check_books(&forest);
        }
    }
}

#[test]
fn both_scans_find_the_same() {
    let mut pool = Pool::new(1, 40, 9, true);
    for round in 0..200 {
        let (read, mut control) = ForestControl::empty(Machine::detect());
        let mut place = |word| {
            let (rank, filter) = pool.filter();
            control.place(&read, &Rule::new(rank, &filter, word)).unwrap()
        };
        let rules: Vec<_> = (0..1 + round % 40).map(&mut place).collect();
        let slot = control.leaf(&read, &rules, read::EMPTY).unwrap();
        assert!(read.rows_of(slot).eq(rules.iter().map(|rule| rule.order as usize)));
        for (block, rules) in read.leaf(slot).zip(rules.chunks(block::WIDE)) {
            let mut most = 0;
            for _ in 0..50 {
                let key = pool.key().bits();
                let matches = |at: &usize| rules[*at].filter(SLICE).matches(pool_key(key));
                let expected: Vec<_> = (0..rules.len()).filter(matches).collect();
                assert_eq!(Machine::Portable.scan_one(block, &read.rows, &key), expected);
                assert_eq!(read.machine().scan_one(block, &read.rows, &key), expected);
                most = most.max(block.candidates(key).count_ones());
            }
            assert!(most <= block.most_candidates());
        }
    }
}

fn pool_key(bits: u128) -> TableKey {
    TableKey::new(SLICE, LookupKey::new(bits))
}

#[cfg(feature = "conformance")]
#[test]
fn the_kit_takes_it() {
    use crate::conformance::{Rng, all_matches, ternary_table};
    use crate::id::EgressId;
    let patterns = |rng: &mut Rng| {
        let mut bits = |n| LookupKey::new(u128::from(rng.below(n)) | u128::from(rng.below(n)) << 108);
        let (value, mask) = (bits(8), bits(8));
        (Rank(rng.below(4) as u32), value, mask)
    };
    for machine in machines() {
        let new = || Forest::<EgressId>::on(machine, SLICE, 40, 128);
        ternary_table(new, patterns, &[SLICE], 40, 1);
        all_matches(new, patterns, &[SLICE], 40, 2);
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut pool = Pool::new(3, 24, 50, true);
    let mut forest = Forest::<u32>::new(SLICE, 300, 40);
    let mut model = Model::new();
    let mut refused = 0;
    for value in 0..400 {
        let (rank, filter) = pool.filter();
        match forest.insert_ranged(rank, filter, value) {
            Ok(old) => assert_eq!(old, model.insert(rank, &filter, value)),
            Err(error) => {
                assert!(error == TableErrorKind::Unsupported || forest.len() == 300);
                refused += 1;
            }
        }
        assert!(forest.cost() <= 40);
    }
    assert!(refused > 0);
    let keys: Vec<_> = (0..400).map(|_| pool.key()).collect();
    agree(&forest, &model, &keys);
    let other = Filter::new(SliceId(6), LookupKey::new(0), LookupKey::new(0));
    assert_eq!(forest.insert(Rank(0), other, 1), Err(TableErrorKind::UnknownSlice));
    assert_eq!(forest.remove(Rank(0), &other), Ok(None));
}

/// All rule sets that others made: built at once, as answers of a scan go, and within the
/// bound; half of each set taken out and put back one by one.
#[cfg(feature = "workloads")]
#[test]
fn the_rule_sets_answer_as_the_scan_within_128_lines() {
    use crate::workloads::classbench::read;
    use std::io::BufReader;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/classbench");
    if !folder.exists() {
        let required = std::env::var_os("FASTPATH_REQUIRE_ORACLES").is_some_and(|it| it == "1");
        assert!(!required, "{} is missing", folder.display());
        std::println!("skipped: {} is missing", folder.display());
        return;
    }
    let mut sets = 0;
    for name in ["acl1", "acl2", "acl3", "acl5", "fw1", "fw2", "fw4", "fw5", "ipc1", "ipc2"] {
        for size in ["1k", "10k"] {
            let file = std::fs::File::open(folder.join(std::format!("{name}_{size}.rules.xz"))).unwrap();
            let text = lzma_rust2::XzReader::new(BufReader::new(file), false);
            let any = |value, mask| Filter::new(SLICE, LookupKey::new(value), LookupKey::new(mask));
            let rules: Vec<_> = read(BufReader::new(text))
                .unwrap()
                .iter()
                .zip(0..)
                .map(|(rule, at)| {
                    let bits = |source: u32, destination: u32, protocol: u8| {
                        u128::from(destination) | u128::from(source) << 32 | u128::from(protocol) << 96
                    };
                    let filter = any(
                        bits(rule.source.address(), rule.destination.address(), rule.protocol.value()),
                        bits(rule.source.mask(), rule.destination.mask(), rule.protocol.mask()),
                    );
                    let ports = (rule.destination_ports.clone(), rule.source_ports.clone());
                    (Rank(at), RangedFilter::new(filter, ports.0, ports.1).unwrap(), at)
                })
                .collect();
            let mut forest = Forest::build(SLICE, 10_000, 128, rules.iter().copied()).unwrap();
            assert_eq!(forest.len(), rules.len(), "{name}_{size}");
            let mut rng = Rng(1);
            let keys: Vec<_> = (0..400)
                .map(|at| {
                    let noise = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
                    let (_, filter, _) = rules[rng.below(rules.len() as u64) as usize];
                    let drawn = Rule::new(Rank(0), &filter, 0).drawn(noise);
                    pool_key(if at % 8 == 0 { noise } else { drawn } & ((1 << 104) - 1))
                })
                .collect();
            let check = |forest: &Forest<u32>, there: &dyn Fn(usize) -> bool| {
                let mut found = vec![None; keys.len()];
                forest.lookup_batch(&keys, &mut found);
                for (key, found) in keys.iter().zip(found) {
                    let expected =
                        rules.iter().filter(|rule| there(rule.2 as usize)).find(|rule| rule.1.matches(*key));
                    let expected = expected.map(|rule| rule.2);
                    assert_eq!((found, forest.lookup(*key)), (expected, expected), "{name}_{size}");
                    assert!(forest.cost_of(key.key()) <= forest.cost() && forest.cost() <= 128);
                }
            };
            check(&forest, &|_| true);
            for (rank, filter, value) in rules.iter().step_by(2) {
                assert_eq!(forest.remove_ranged(*rank, filter), Some(*value));
            }
            check(&forest, &|at| at % 2 == 1);
            for (rank, filter, value) in rules.iter().step_by(2) {
                assert_eq!(forest.insert_ranged(*rank, *filter, *value), Ok(None), "{name}_{size}");
            }
            check(&forest, &|_| true);
            sets += 1;
        }
    }
    assert_eq!(sets, 20);
}

/// Keys of several forests, large and small, without memory and of none at all, find together
/// what each finds by itself, whatever is in the lanes beside it.
#[test]
fn keys_of_several_forests_find_what_they_find_alone() {
    for machine in Machine::all() {
        let forests: Vec<_> = [0u64, 1, 15, 90, 600, 2000]
            .into_iter()
            .map(|filters| {
                let mut pool = Pool::new(filters, 24, 50, true);
                let all: Vec<_> = (0..filters as u32)
                    .map(|value| {
                        let (rank, filter) = pool.filter();
                        (rank, filter, value)
                    })
                    .collect();
                let mut forest = Forest::build_on(machine, SLICE, 10_000, 4000, all.iter().copied()).unwrap();
                if filters == 0 {
                    (forest.read, forest.control) = ForestControl::empty(machine);
                    forest.read = ForestRead::none(machine);
                }
                (forest, pool)
            })
            .collect();
        let (forests, mut pools): (Vec<_>, Vec<_>) = forests.into_iter().unzip();
        let (mut rng, mut hits) = (Rng(3), 0);
        for round in 0..400 {
            let count = if round % 2 == 0 { BATCH } else { rng.below(BATCH as u64) as usize };
            let (mut of, mut keys) = ([None; BATCH], Vec::new());
            for forest in of.iter_mut().take(count) {
                let at = rng.below(forests.len() as u64 + 1) as usize;
                *forest = forests.get(at).map(|forest| &forest.read);
                keys.push(pools[at % forests.len()].key());
            }
            let mut found = vec![Some(7); count];
            lookup_each(&of, &keys, &mut found);
            for ((key, forest), found) in keys.iter().zip(of).zip(found) {
                assert_eq!(found, forest.and_then(|forest| forest.lookup(key.bits())), "{machine:?}");
                hits += usize::from(found.is_some());
            }
        }
        assert!(hits > 2000, "{hits}");
    }
}
