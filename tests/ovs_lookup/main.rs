//! Open vSwitch as the oracle of lookup: filters with overlapping masks, and for each of
//! many keys the filter that its classifier finds must be the one that [`Tcam`] and
//! [`LinearTcam`] find.
//!
//! A key's 128 bits, slice and all, are a packet's IPv6 destination, and a filter is a flow
//! that matches it under a mask. Flows have 16 bits of priority, the highest wins, and of
//! two with the same priority it is not said which: so ranks are 0 to 65,535, none twice,
//! and the priority is 65,535 less the rank.
//!
//! Needs ovsdb-server, ovs-vswitchd and their tools, and no kernel module: the datapath is
//! a dummy. All of it runs in a directory of its own. Skipped without, unless
//! `FASTPATH_REQUIRE_ORACLES` is 1.

#![cfg(target_os = "linux")]

#[path = "../support/oracle.rs"]
mod oracle;
#[path = "../support/ovs.rs"]
mod ovs;
mod switch;

use std::collections::BTreeSet;

use fastpath::id::SliceId;
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{Filter, LinearTcam, Rank, Row, Tcam, TcamConfig, TernaryTable, TernaryUpdate};
use fastpath::workloads::adversary::{self, Attack};
use fastpath::workloads::{Pattern, traffic::Uniform};

use switch::Switch;

#[test]
fn keys_find_the_filter_that_open_vswitch_finds() {
    let mut switch = match Switch::start() {
        Ok(switch) => switch,
        Err(reason) => {
            oracle::skip(&format!("ovs_lookup: {reason}"));
            return;
        }
    };
    let Workload { filters, keys } = Workload::new();
    let mut tables = Tables::new(filters.len());
    filters.iter().for_each(|filter| tables.insert(filter));
    switch.replace_flows(&filters);
    let all = compare(&mut switch, &tables, &keys);

    // Without every other filter, most of the keys find another or none.
    let (kept, gone): (Vec<_>, Vec<_>) = filters.iter().partition(|(rank, _)| rank.0.count_ones() % 2 == 0);
    gone.iter().for_each(|filter| tables.remove(filter));
    switch.replace_flows(&kept);
    let fewer = compare(&mut switch, &tables, &keys);

    // And back again.
    gone.iter().for_each(|filter| tables.insert(filter));
    switch.replace_flows(&filters);
    assert!(compare(&mut switch, &tables, &keys) == all);

    let changed = all.iter().zip(&fewer).filter(|(before, after)| before != after).count();
    let found: BTreeSet<_> = all.iter().flatten().collect();
    let missed = all.iter().filter(|answer| answer.is_none()).count();
    println!(
        "{} keys over {} filters: {} filters found, {missed} keys find none, {changed} change their answer",
        keys.len(),
        filters.len(),
        found.len()
    );
    assert!(keys.len() >= 500 && filters.len() >= 300, "{} keys, {} filters", keys.len(), filters.len());
    assert!(found.len() > 150 && missed > 50 && changed > 100, "the keys ask too little");
}

/// The rank that each key finds, on all sides the same.
fn compare(switch: &mut Switch, tables: &Tables, keys: &[TableKey]) -> Vec<Option<u32>> {
    let theirs = switch.lookup(keys);
    let mut batch = vec![None; keys.len()];
    tables.tcam.lookup_batch(keys, &mut batch);
    for ((&key, theirs), batch) in keys.iter().zip(&theirs).zip(batch) {
        assert_eq!(tables.scan.lookup(key), *theirs, "the scan, {key:x?}");
        assert_eq!(tables.tcam.lookup(key), *theirs, "the table, {key:x?}");
        assert_eq!(batch, *theirs, "the table, in a batch, {key:x?}");
    }
    theirs
}

/// Ours, each filter with its rank as value.
struct Tables {
    tcam: Tcam<u32>,
    scan: LinearTcam<Box<[Option<Row<u32>>]>>,
}

impl Tables {
    fn new(filters: usize) -> Self {
        // What others mean by a bound is checked elsewhere: here all filters are taken.
        let config = TcamConfig { filters, slices: 1 << 16, lines: u32::MAX, ..TcamConfig::default() };
        Self { tcam: Tcam::new(config), scan: LinearTcam::new(vec![None; filters].into()) }
    }

    fn insert(&mut self, &(rank, filter): &(Rank, Filter)) {
        assert_eq!(self.tcam.insert(rank, filter, rank.0), Ok(None));
        assert_eq!(self.scan.insert(rank, filter, rank.0), Ok(None));
    }

    fn remove(&mut self, (rank, filter): &(Rank, Filter)) {
        assert_eq!(self.tcam.remove(*rank, filter), Ok(Some(rank.0)));
        assert_eq!(self.scan.remove(*rank, filter), Ok(Some(rank.0)));
    }
}

/// What is installed and what is asked.
struct Workload {
    filters: Vec<(Rank, Filter)>,
    keys: Vec<TableKey>,
}

impl Workload {
    /// Slices of filters that are chosen to be hard, of few bits and of many. The ranks of
    /// all slices are mixed, and say nothing of how wide a filter is.
    fn new() -> Self {
        let attacks = [
            adversary::nested_wildcards(113, 1),
            adversary::crossed_wildcards(80, 2),
            adversary::distinct_masks(80, 3),
            adversary::scattered_masks(60, 4),
            few_bits(120),
        ];
        let (mut filters, mut keys) = (Vec::new(), Vec::new());
        // A number without a common factor with 65,536 mixes them.
        let mut ranks = (0..=u32::from(u16::MAX)).map(|n| Rank(n * 40_503 % 65_536));
        for (Attack { patterns, keys: asked }, slice) in attacks.iter().zip([1, 2, 3, 0x8000, u16::MAX]) {
            let slice = SliceId(slice);
            let mut draw = Draw::new(slice.0.into());
            filters.extend(ranks.by_ref().zip(patterns.iter().map(|pattern| pattern.filter(slice))));
            // The attack's keys, points of its filters, and such a point with a bit changed.
            for &key in asked.iter().take(60) {
                keys.push(TableKey::new(slice, key));
            }
            for _ in 0..250 {
                let pattern = patterns[draw.below(patterns.len())];
                let free = draw.wide() & !pattern.mask().bits();
                let point = pattern.value().bits() | free;
                keys.push(TableKey::new(slice, LookupKey::new(point)));
                keys.push(TableKey::new(slice, LookupKey::new(point ^ 1 << draw.below(112))));
            }
            // Another slice sees nothing of these filters.
            keys.push(TableKey::new(SliceId(slice.0 ^ 4), LookupKey::new(patterns[0].value().bits())));
        }
        Self { filters, keys }
    }
}

/// Values and masks of 8 bits that are spread over the key.
fn few_bits(filters: usize) -> Attack {
    const PLACES: [u32; 8] = [0, 1, 31, 32, 63, 64, 88, 111];
    let mut draw = Draw::new(5);
    let spread = |bits: usize| {
        let bit = |(at, place): (usize, u32)| ((bits >> at & 1) as u128) << place;
        LookupKey::new(PLACES.into_iter().enumerate().map(bit).sum())
    };
    let mut patterns = Vec::new();
    while patterns.len() < filters {
        let pattern = Pattern::new(spread(draw.below(256)), spread(draw.below(256)));
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    let keys = (0..60).map(|_| spread(draw.below(256))).collect();
    Attack { patterns, keys }
}

/// Numbers that look random.
struct Draw(Uniform);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(Uniform::new(1 << 32, seed).expect("there are numbers to draw from"))
    }

    fn wide(&mut self) -> u128 {
        self.0.by_ref().take(4).fold(0, |bits, part| bits << 32 | part as u128)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.next().expect("it does not end") % limit
    }
}
