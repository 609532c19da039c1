//! How figures grow with filters, and with slices.
//!
//! Rule sets of ClassBench have 10,000 rules at most. A larger one is made of copies: in
//! each, all source addresses are joined by XOR with one number and all destinations with
//! another, as far as prefixes go, so that prefix lengths, ports and which rule covers which
//! are those of the set. Copies of a rule stand together; a copy that is there already, as
//! those without addresses are, is left out. A smaller set is every so-many-th rule. A
//! smaller routing table is drawn from that of the Internet.

use std::collections::HashSet;
use std::fmt::Write as _;

use fastpath::conformance::Rng;
use fastpath::lookup::TcamConfig;
use fastpath::workloads::Prefix;
use fastpath::workloads::classbench::{Rule, first_match};

use crate::cases::{ADDRESSES, PACKETS, SETS, internet, rules};
use crate::crates::{Bitmap, Map};
use crate::draw::{Album, Colour};
use crate::ours::{self, TableUpdates, Trie, TrieUpdates};
use crate::side::{BATCH, Built, Changing, Identifier, Packet, Route, Side};
use crate::{dpdk, rounds, traces, updates};

/// Filters of the points of a curve.
const SIZES: [usize; 7] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];
/// The most slices, and the filters of all of them together at most.
const SLICES: usize = 4_096;
const SHARED: usize = 131_072;
/// A peer may not build for longer, as far as the point before tells.
const PATIENCE_MS: f64 = 60_000.0;
/// Lines that lookups may touch: more than these sets ask for.
const LINES: u32 = 1_000;

/// How the curves are drawn.
pub const ALBUM: Album = Album {
    prefix: "lookup",
    figures: &[
        ("rules", "rules", "Rule sets of ClassBench, one slice"),
        ("routes", "routes", "IPv4 routes of the Internet"),
        ("identifiers", "identifiers", "Exact match of 112-bit identifiers"),
        ("slices", "slices", "Slices of up to 1,000 rules, up to 131,072 filters in all, keys mixed"),
    ],
    panels: [
        "ns a lookup, batches of 32",
        "ns a lookup, one by one",
        "octets a filter",
        "build, ms",
        "one update, µs (median)",
    ],
    colour: Colour::Set,
};

/// What is measured of a side at a size, as the panels show it.
const VALUES: [&str; 5] = ["batch_ns", "single_ns", "octets_per_filter", "build_ms", "update_median_us"];

/// All curves, in the file's form: figure, set, size, side and [`VALUES`], where NaN stands
/// for what a side does not do. The file is written after each point.
pub struct Growth<'a> {
    rounds: usize,
    file: &'a str,
    csv: String,
}

/// A side at a size.
struct Point(String, [f64; 5]);

impl<'a> Growth<'a> {
    pub fn measure(rounds: usize, file: &'a str) {
        let csv = format!("figure,set,size,side,{}\n", VALUES.join(","));
        let mut growth = Self { rounds, file, csv };
        for name in ["acl1", "fw1", "ipc1"] {
            let Some(rules) = rules(&format!("{name}_10k")) else { continue };
            let mut expected = 0.0;
            for size in SIZES {
                let rules = grown(&rules, size);
                expected = 5.0 * growth.rules(&format!("rules,{name},{}", rules.len()), &[rules], expected);
            }
        }
        if let Some((routes, _)) = internet() {
            SIZES.iter().for_each(|size| growth.routes(&sample(&routes, *size)));
        }
        SIZES.iter().for_each(|size| growth.identifiers(*size));
        let sets = SETS.map(|name| rules(&format!("{name}_1k")));
        if let Some(sets) = sets.into_iter().collect::<Option<Vec<_>>>() {
            let (mut expected, mut slices) = (0.0, 1);
            while slices <= SLICES {
                let of = |slice: usize| {
                    let rules = every(&sets[slice % sets.len()], SHARED / slices);
                    shifted(&rules, slice / sets.len()).collect()
                };
                let sets: Vec<Vec<Rule>> = (0..slices).map(of).collect();
                expected = 2.5 * growth.rules(&format!("slices,mixed,{slices}"), &sets, expected);
                slices *= 2;
            }
        }
    }

    /// Rule sets, a slice each. A peer takes part if its build is expected to be over soon
    /// enough; returns how long it took.
    fn rules(&mut self, point: &str, sets: &[Vec<Rule>], expected_ms: f64) -> f64 {
        let sets: Vec<&[Rule]> = sets.iter().map(Vec::as_slice).collect();
        let slices = ours::rules(&sets);
        let config = TcamConfig { lines: LINES, ..TcamConfig::default() };
        let (tcam, mut table) = match ours::tcam_with("fastpath", &slices, config) {
            Ok(tables) => tables,
            Err(error) => {
                println!("{point} is left out: {error}");
                return f64::INFINITY;
            }
        };
        let filters: usize = slices.iter().map(Vec::len).sum();
        println!("{point}: {filters} filters, {} lines", ours::plans(&tcam, sets.len()).1);
        let mut acl = if expected_ms < PATIENCE_MS { dpdk::acl(&sets, false) } else { None };
        let keys = traces::mixed(&sets, PACKETS);
        let mut sides: Vec<&mut dyn Side<Packet>> = vec![&mut table];
        sides.extend(acl.iter_mut().map(|side| &mut **side as &mut dyn Side<Packet>));
        let (points, answers) = self.look_up(&mut sides, filters, &keys);
        for ((slice, flow), answer) in keys.iter().zip(answers).step_by(PACKETS / 64) {
            let expected = first_match(sets[usize::from(*slice)], flow).map_or(0, |at| at as u32 + 1);
            assert_eq!(answer, expected, "{flow:?} of slice {slice}, by a scan");
        }
        // Memory would wait for a reader that does not read.
        drop(table);
        self.update(point, points, &mut [&mut TableUpdates::of(tcam, &slices, Some(&keys))]);
        acl.map_or(f64::INFINITY, |acl| acl.built().ms)
    }

    fn routes(&mut self, routes: &[Route<u32>]) {
        let point = format!("routes,Internet,{}", routes.len());
        println!("{point}");
        let slices = ours::routes(routes);
        let (tcam, mut table) = ours::tcam(&slices);
        let (mut trie, mut bitmap, mut fib) = (Trie::new(routes), Bitmap::new(routes), dpdk::fib(routes));
        let (_, keys) = traces::addresses(routes, ADDRESSES).swap_remove(0);
        let mut sides: Vec<&mut dyn Side<u32>> = vec![&mut table, &mut trie, &mut bitmap];
        sides.extend(fib.iter_mut().map(|side| &mut **side as &mut dyn Side<u32>));
        let (points, _) = self.look_up(&mut sides, routes.len(), &keys);
        drop(table);
        let mut ours = TableUpdates::of(tcam, &slices, Some(&keys));
        let mut trie = TrieUpdates::new(routes, &keys);
        let mut changing: Vec<&mut dyn Changing> = vec![&mut ours, &mut trie, &mut bitmap];
        changing.extend(fib.iter_mut().map(|side| &mut **side as &mut dyn Changing));
        self.update(&point, points, &mut changing);
    }

    fn identifiers(&mut self, count: usize) {
        let point = format!("identifiers,random,{count}");
        println!("{point}");
        let (entries, mut traces) = traces::identifiers(count, ADDRESSES);
        let slices = ours::identifiers(&entries);
        let (tcam, mut table) = ours::tcam(&slices);
        let (mut map, mut hash) = (Map::new(&entries), dpdk::hash(&entries));
        let (_, keys) = traces.swap_remove(0);
        let mut sides: Vec<&mut dyn Side<Identifier>> = vec![&mut table, &mut map];
        sides.extend(hash.iter_mut().map(|side| &mut **side as &mut dyn Side<Identifier>));
        let (points, _) = self.look_up(&mut sides, count, &keys);
        drop(table);
        self.update(&point, points, &mut [&mut TableUpdates::of(tcam, &slices, Some(&keys)), &mut map]);
    }

    /// What lookups take, and what they find, which must be the same for all sides.
    fn look_up<K>(
        &self, sides: &mut [&mut dyn Side<K>], filters: usize, keys: &[K],
    ) -> (Vec<Point>, Vec<u32>) {
        let answers = rounds::same(sides, keys, "growth");
        let batch = rounds::warm(sides, keys.len(), BATCH, self.rounds);
        let single = rounds::warm(sides, keys.len(), 1, self.rounds);
        let point = |((side, batch), single): ((&&mut dyn Side<K>, _), _)| {
            let Built { octets, ms, .. } = side.built();
            let (batch, single): (crate::times::Times, crate::times::Times) = (batch, single);
            let octets = octets as f64 / filters as f64;
            Point(side.name().into(), [batch.median, single.median, octets, ms, f64::NAN])
        };
        (sides.iter().zip(batch).zip(single).map(point).collect(), answers)
    }

    /// What updates take, and the end of a point.
    fn update(&mut self, point: &str, mut points: Vec<Point>, sides: &mut [&mut dyn Changing]) {
        let all = updates::measure(sides, self.rounds);
        for (side, updates) in sides.iter().zip(all) {
            let name = side.called().split(", ").next();
            let of = points.iter_mut().find(|Point(side, _)| Some(side.as_str()) == name);
            of.into_iter().for_each(|Point(_, values)| values[4] = updates.median);
        }
        for Point(side, values) in points {
            let values = values.map(|value| format!("{value:.3}")).join(",");
            writeln!(self.csv, "{point},{side},{values}").unwrap();
        }
        std::fs::write(self.file, &self.csv).unwrap();
    }
}

/// `count` rules of the shape of `rules`.
fn grown(rules: &[Rule], count: usize) -> Vec<Rule> {
    if count <= rules.len() {
        return every(rules, count);
    }
    // Some copies are left out.
    let copies: Vec<Vec<Rule>> =
        (0..2 * count.div_ceil(rules.len())).map(|copy| shifted(rules, copy).collect()).collect();
    let mut known = HashSet::new();
    let all = (0..rules.len()).flat_map(|at| copies.iter().map(move |copy| &copy[at]));
    let all: Vec<Rule> = all.filter(|rule| known.insert(*rule)).cloned().collect();
    every(&all, count)
}

/// `rules` in other blocks of addresses; copy 0 is where they are.
fn shifted(rules: &[Rule], copy: usize) -> impl Iterator<Item = Rule> {
    let mut rng = Rng::new(copy as u64);
    let block = if copy == 0 { [0; 2] } else { [(); 2].map(|()| rng.bits() as u32) };
    rules.iter().map(move |rule| {
        let [source, destination] =
            [(rule.source, block[0]), (rule.destination, block[1])].map(|(prefix, block)| {
                Prefix::new(prefix.address() ^ block & prefix.mask(), prefix.len()).unwrap()
            });
        Rule { source, destination, ..rule.clone() }
    })
}

/// `count` of the items, or all, as far from each other as can be.
fn every<T: Clone>(items: &[T], count: usize) -> Vec<T> {
    let count = count.min(items.len());
    (0..count).map(|n| items[n * items.len() / count].clone()).collect()
}

/// `count` of the items, or all, drawn at random; in their order.
fn sample<T: Copy>(items: &[T], count: usize) -> Vec<T> {
    let mut rng = Rng::new(4);
    let mut drawn: Vec<(u64, usize)> = (0..items.len()).map(|at| (rng.bits(), at)).collect();
    drawn.sort_unstable();
    drawn.truncate(count);
    drawn.sort_unstable_by_key(|(_, at)| *at);
    drawn.into_iter().map(|(_, at)| items[at]).collect()
}
