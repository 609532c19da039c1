//! What lookups of one slice take beside those of another: no instruction more, but caches
//! are shared.

use std::hint::black_box;

use fastpath::conformance::Rng;
use fastpath::id::SliceId;
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{Rank, Tcam, TcamConfig, TcamReader, TernaryTable};
use fastpath::workloads::classbench::Rule;
use fastpath::workloads::trace::Trace;
use fastpath::workloads::{Pattern, adversary};

use crate::ours::{self, Key};
use crate::side::{BATCH, time};
use crate::times::Times;

/// Filters of a hostile slice, before its bound.
const FILTERS: usize = 10_000;
/// Batches of the first slice in a round, and those before, which warm up.
const BATCHES: usize = 1024;
const WARM: usize = 256;
/// Batches of the other slice before each of them.
const BETWEEN: [usize; 2] = [1, 32];

/// What the lookups took, a key, beside a slice.
pub struct Beside {
    pub name: &'static str,
    /// Batches of it before each of the first slice's.
    pub between: usize,
    /// Those that its bound let it have.
    pub filters: usize,
    /// Octets of its engine.
    pub octets: usize,
    pub times: Times,
}

/// What another slice may hold: filters and keys that match them.
fn others() -> Vec<(&'static str, Vec<Pattern>)> {
    let identifiers = |count: usize| {
        let mut rng = Rng::new(7);
        let mut word = || u128::from(rng.bits());
        (0..count).map(|_| Pattern::new(LookupKey::new(word() << 48 ^ word()), LookupKey::MAX)).collect()
    };
    vec![
        ("nothing", Vec::new()),
        ("all masks different", adversary::distinct_masks(FILTERS, 1).patterns),
        ("masks all over", adversary::scattered_masks(FILTERS, 2).patterns),
        ("nested wildcards", adversary::nested_wildcards(FILTERS, 3).patterns),
        ("crossed wildcards", adversary::crossed_wildcards(FILTERS, 4).patterns),
        ("100,000 identifiers", identifiers(10 * FILTERS)),
        ("1,000,000 identifiers", identifiers(100 * FILTERS)),
    ]
}

/// A table of two slices.
struct Table {
    name: &'static str,
    tcam: Tcam<u32>,
    reader: TcamReader<u32>,
    filters: usize,
    /// Of the other slice.
    keys: Vec<TableKey>,
}

/// Lookups of `rules` beside each of the others, in turn.
pub fn measure(rules: &[Rule], rounds: usize) -> Vec<Beside> {
    let ours = (SliceId(0), SliceId(1));
    let keys: Vec<TableKey> =
        Trace::uniform(rules, 2).unwrap().take(BATCHES * BATCH).map(|flow| (0, flow).table_key()).collect();
    let table = |(name, patterns): (&'static str, Vec<Pattern>)| {
        let config = TcamConfig { filters: 2_000_000, slices: 2, readers: 1, ..TcamConfig::default() };
        let mut tcam = Tcam::new(config);
        tcam.load(ours.0, ours::rules(&[rules])[0].iter().copied()).unwrap();
        let filters = |count: usize| {
            let one_mask = patterns.iter().all(|pattern| pattern.mask() == LookupKey::MAX);
            let filters = patterns.iter().take(count).zip(0..);
            filters.map(move |(it, rank)| {
                (Rank(if one_mask { 0 } else { rank }), it.filter(ours.1).into(), rank)
            })
        };
        let mut taken = patterns.len();
        while taken > 0 && tcam.load(ours.1, filters(taken)).is_err() {
            taken /= 2;
        }
        // All filters are matched, and with them all memory is touched.
        let mut rng = Rng::new(3);
        let mut key = || {
            let pattern = &patterns[rng.below(taken as u64) as usize];
            let noise = u128::from(rng.bits()) << 48 ^ u128::from(rng.bits());
            TableKey::new(ours.1, LookupKey::new(pattern.value().bits() | noise & !pattern.mask().bits()))
        };
        let keys = if taken == 0 { Vec::new() } else { (0..BATCHES * BATCH).map(|_| key()).collect() };
        let reader = tcam.reader().unwrap();
        Table { name, tcam, reader, filters: taken, keys }
    };
    let tables: Vec<Table> = others().into_iter().map(table).collect();
    let sides = BETWEEN.iter().flat_map(|&between| tables.iter().map(move |table| (table, between)));
    let sides: Vec<_> = sides.filter(|(table, between)| *between == 1 || !table.keys.is_empty()).collect();
    let mut times = vec![vec![Vec::new(); BATCHES - WARM]; sides.len()];
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            let ((table, between), mut found) = (sides[at], [None; BATCH]);
            let mut others = table.keys.chunks(BATCH).cycle();
            for (n, keys) in keys.chunks(BATCH).enumerate() {
                for keys in others.by_ref().take(between) {
                    table.reader.lookup_batch(black_box(keys), &mut found);
                    black_box(&found);
                }
                let took = time(|| table.reader.lookup_batch(black_box(keys), &mut found));
                black_box(&found);
                if round > 0 && n >= WARM {
                    times[at][n - WARM].push(took / BATCH as f64);
                }
            }
        }
    }
    let of = |(&(table, between), times): (&(&Table, usize), Vec<Vec<f64>>)| {
        let batches: Vec<Times> = times.into_iter().map(Times::of).collect();
        let mean = |one: fn(&Times) -> f64| batches.iter().map(one).sum::<f64>() / batches.len() as f64;
        let times = Times { least: mean(|times| times.least), median: mean(|times| times.median) };
        let octets = table.tcam.plan(ours.1).map_or(0, |plan| plan.octets);
        Beside { name: table.name, between, filters: table.filters, octets, times }
    };
    sides.iter().zip(times).map(of).collect()
}
