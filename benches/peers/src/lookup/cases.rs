//! What is compared over which rules, and what comes of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read};

use fastpath::workloads::classbench::{self, Rule, first_match};
use fastpath::workloads::ranges::expansion;
use fastpath::workloads::routes;

use crate::crates::{self, Address};
use crate::neighbours::{self, Beside};
use crate::ours::{self, TableUpdates, Trie, TrieUpdates};
use crate::side::{BATCH, Both, Built, Changing, Identifier, Packet, Route, Side};
use crate::times::Times;
use crate::{dpdk, rounds, traces, updates};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

pub const SETS: [&str; 10] = ["acl1", "acl2", "acl3", "acl5", "fw1", "fw2", "fw4", "fw5", "ipc1", "ipc2"];

/// So many filters are scanned, too.
const FEW: usize = 64;

/// Keys of a trace.
pub const PACKETS: usize = 1 << 16;
pub const ADDRESSES: usize = 1 << 20;

/// The whole run.
pub struct Run {
    rounds: usize,
    only: String,
    /// Written after each case.
    file: Option<String>,
    csv: String,
}

impl Run {
    pub fn new(rounds: usize, only: String, file: Option<String>) -> Self {
        let csv = "case,trace,how,side,least_ns,median_ns,p999_ns,rounds,ours_to_it_least,ours_to_it_median,octets,build_ms\n";
        Self { rounds, only, file, csv: csv.into() }
    }

    /// All cases.
    pub fn all(&mut self) {
        let large = SETS.map(|name| (name, rules(&format!("{name}_10k"))));
        let named =
            |name: &str| large.iter().find(|(it, _)| *it == name).and_then(|(_, rules)| rules.clone());
        if let Some(all) = large.iter().map(|(_, rules)| rules.as_deref()).collect::<Option<Vec<_>>>() {
            self.rules("10 slices 10K", &all);
        }
        for name in ["acl1", "fw1", "ipc1"] {
            if let Some(rules) = named(name) {
                self.rules(&format!("{name} 10K"), &[&rules]);
            }
        }
        for name in ["acl1", "fw1", "ipc1"] {
            if let Some(rules) = rules(&format!("{name}_1k")) {
                self.rules(&format!("{name} 1K"), &[&rules]);
                for filters in [8, FEW] {
                    let few = few(&rules, filters);
                    self.rules(&format!("{name}, {filters} filters"), &[few]);
                }
            }
        }
        for entries in [1_000, 100_000, 1_000_000] {
            self.identifiers(entries);
        }
        let beside = [("acl1 1K", rules("acl1_1k")), ("acl1 10K", named("acl1"))];
        for (name, rules) in beside {
            if let Some(rules) = rules {
                self.beside(name, &rules);
            }
        }
        if let Some((v4, v6)) = internet() {
            self.routes4("Internet IPv4", &v4);
            self.routes6("Internet IPv6", &v6);
        }
    }

    /// Rule sets, a slice each.
    fn rules(&mut self, case: &str, sets: &[&[Rule]]) {
        if !case.contains(&self.only) {
            return;
        }
        let slices = ours::rules(sets);
        let (tcam, mut table) = ours::tcam(&slices);
        let (_written, mut portable) = ours::portable(&slices);
        let (engines, lines) = ours::plans(&tcam, sets.len());
        let traces = traces::packets(sets, &tcam, PACKETS);
        let filters: usize = sets.iter().flat_map(|rules| rules.iter()).map(expansion).sum();
        let mut scan = (sets.len() == 1 && filters <= FEW).then(|| ours::scan(&slices));
        let mut others: Vec<_> = dpdk::acl(sets, false).into_iter().collect();
        if sets.len() > 1 {
            others.extend(dpdk::acl(sets, true));
        }
        let mut sides: Vec<&mut dyn Side<Packet>> = vec![&mut table, &mut portable];
        sides.extend(scan.iter_mut().map(|scan| scan as &mut dyn Side<Packet>));
        sides.extend(others.iter_mut().map(|side| &mut **side as &mut dyn Side<Packet>));
        let count: usize = sets.iter().map(|rules| rules.len()).sum();
        self.head(case, &format!("{count} rules, {engines}, {lines} lines at most"), &sides);
        let check = |what: &str, keys: &[Packet], answers: &[u32]| {
            for ((slice, flow), answer) in keys.iter().zip(answers).step_by(37) {
                let expected =
                    first_match(sets[usize::from(*slice)], flow).map_or(0, |number| number as u32 + 1);
                assert_eq!(*answer, expected, "{what}: {flow:?} of slice {slice}, by a scan");
            }
        };
        self.lookups(case, &mut sides, &traces, check);
        drop(others);
        let mut read = TableUpdates::new(&slices, Some(&traces[0].1));
        let mut alone = TableUpdates::new::<Packet>(&slices, None);
        self.updates(case, &mut [&mut read, &mut alone]);
    }

    /// Exact match: triggers, flows, host routes.
    fn identifiers(&mut self, count: usize) {
        let case = format!("{count} identifiers");
        if !case.contains(&self.only) {
            return;
        }
        let (entries, traces) = traces::identifiers(count, ADDRESSES);
        let slices = ours::identifiers(&entries);
        let (tcam, mut table) = ours::tcam(&slices);
        let (engines, lines) = ours::plans(&tcam, 1);
        let (mut map, mut hash) = (crates::Map::new(&entries), dpdk::hash(&entries));
        {
            let mut sides: Vec<&mut dyn Side<Identifier>> = vec![&mut table, &mut map];
            sides.extend(hash.iter_mut().map(|side| &mut **side as &mut dyn Side<Identifier>));
            self.head(&case, &format!("{engines}, {lines} lines at most"), &sides);
            self.lookups(&case, &mut sides, &traces, |_, _, _| ());
        }
        let mut read = TableUpdates::new(&slices, Some(&traces[0].1));
        let mut alone = TableUpdates::new::<Identifier>(&slices, None);
        self.updates(&case, &mut [&mut read, &mut alone, &mut map]);
    }

    /// Lookups of a slice in turn with those of another one.
    fn beside(&mut self, name: &str, rules: &[Rule]) {
        let case = format!("{name} beside another slice");
        if !case.contains(&self.only) {
            return;
        }
        println!("\n## {case}\n\nBatches of 32; ns a key of the first slice.\n");
        println!("| the other slice | its batches to one | filters | MB | ns | alone to it |");
        println!("|---|---|---|---|---|---|");
        let all = neighbours::measure(rules, self.rounds);
        let alone = all[0].times;
        for Beside { name, between, filters, octets, times } in all {
            let (one, other) = (alone.least / times.least, alone.median / times.median);
            let mb = octets as f64 / 1e6;
            println!("| {name} | {between} | {filters} | {mb:.2} | {times} | {other:.2} |");
            let (Times { least, median }, rounds) = (times, self.rounds);
            writeln!(
                self.csv,
                "\"{case}\",\"{between} batches to one\",\"batch\",\"{name}\",{least:.2},{median:.2},,{rounds},{one:.3},{other:.3},{octets},"
            )
            .unwrap();
        }
        self.save();
    }

    fn routes4(&mut self, case: &str, routes: &[Route<u32>]) {
        if !case.contains(&self.only) {
            return;
        }
        let slices = ours::routes(routes);
        let (tcam, mut table) = ours::tcam(&slices);
        let (engines, lines) = ours::plans(&tcam, 1);
        let about = format!("{engines}, {lines} lines at most");
        let others = [dpdk::fib(routes), dpdk::lpm(routes)].into_iter().flatten().collect();
        let changing = |keys: &[u32]| -> Vec<Box<dyn Changing>> {
            let (read, alone) =
                (TableUpdates::new(&slices, Some(keys)), TableUpdates::new::<u32>(&slices, None));
            vec![Box::new(read), Box::new(alone)]
        };
        self.routes(case, routes, &about, vec![&mut table], changing, others);
    }

    fn routes6(&mut self, case: &str, routes: &[Route<u128>]) {
        if case.contains(&self.only) {
            let others = dpdk::fib6(routes).into_iter().collect();
            self.routes(case, routes, "no other engine", Vec::new(), |_| Vec::new(), others);
        }
    }

    /// Routes in `tables` of ours, a trie, those of `others` and of crates.
    fn routes<A: Address + fastpath::workloads::Address>(
        &mut self, case: &str, routes: &[Route<A>], about: &str, tables: Vec<&mut dyn Side<A>>,
        changing: impl FnOnce(&[A]) -> Vec<Box<dyn Changing>>, mut others: Vec<Box<dyn Both<A>>>,
    ) where
        (A, u8): prefix_trie::Prefix,
    {
        let mut trie = Trie::new(routes);
        others.push(Box::new(crates::Trie::new(routes)));
        others.push(Box::new(crates::Bitmap::new(routes)));
        let traces = traces::addresses(routes, ADDRESSES);
        {
            let mut sides: Vec<&mut dyn Side<A>> = Vec::new();
            sides.extend(tables.into_iter().map(|table| table as &mut dyn Side<A>));
            sides.push(&mut trie);
            sides.extend(others.iter_mut().map(|side| &mut **side as &mut dyn Side<A>));
            self.head(case, &format!("{} routes, {about}", routes.len()), &sides);
            self.lookups(case, &mut sides, &traces, |_, _, _| ());
        }
        let keys = &traces[0].1[..];
        let (mut trie, mut tables) = (TrieUpdates::new(routes, keys), changing(keys));
        let mut sides: Vec<&mut dyn Changing> = Vec::new();
        sides.extend(tables.iter_mut().map(|side| &mut **side as &mut dyn Changing));
        sides.push(&mut trie);
        sides.extend(others.iter_mut().map(|side| &mut **side as &mut dyn Changing));
        self.updates(case, &mut sides);
    }

    fn head<K>(&mut self, case: &str, about: &str, sides: &[&mut dyn Side<K>]) {
        println!("\n## {case}: {about}\n");
        println!("| side | MB | MB by its own word | build ms |\n|---|---|---|---|");
        for side in sides {
            let Built { octets, said, ms } = side.built();
            let said = said.map_or_else(|| "-".into(), |said| format!("{:.2}", said as f64 / 1e6));
            println!("| {} | {:.2} | {said} | {ms:.0} |", side.name(), octets as f64 / 1e6);
        }
    }

    /// Looks all traces up in all ways.
    fn lookups<K>(
        &mut self, case: &str, sides: &mut [&mut dyn Side<K>], traces: &[(&str, Vec<K>)],
        check: impl Fn(&str, &[K], &[u32]),
    ) {
        let names: Vec<_> = sides.iter().map(|side| side.name().to_owned()).collect();
        println!(
            "\n| trace | how | {} | ours to it |\n|---|---|{}---|",
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for (trace, keys) in traces {
            let answers = rounds::same(sides, keys, &format!("{case}, {trace}"));
            check(case, keys, &answers);
            let found = answers.iter().filter(|answer| **answer != 0).count() as f64 / answers.len() as f64;
            let trace = format!("{trace}, {:.0} % found", found * 100.0);
            let batch = rounds::warm(sides, keys.len(), BATCH, self.rounds);
            self.row(case, &trace, "batch", sides, &batch);
            let single = rounds::warm(sides, keys.len(), 1, self.rounds);
            self.row(case, &trace, "single", sides, &single);
            if trace.starts_with("uniform") {
                let cold = rounds::cold(sides, keys.len(), self.rounds);
                self.row(case, &trace, "batch, cold", sides, &cold);
            }
        }
    }

    fn row<K>(&mut self, case: &str, trace: &str, how: &str, sides: &[&mut dyn Side<K>], times: &[Times]) {
        let ours = times[0];
        let cells: Vec<_> = times.iter().map(Times::to_string).collect();
        let ratios = times.iter().skip(1).map(|it| format!("{:.2}", ours.median / it.median));
        let ratios: Vec<_> = ratios.collect();
        println!("| {trace} | {how} | {} | {} |", cells.join(" | "), ratios.join(", "));
        for (side, times) in sides.iter().zip(times) {
            let (name, Built { octets, ms, .. }, Times { least, median }) =
                (side.name(), side.built(), *times);
            let (one, other) = (ours.least / least, ours.median / median);
            let rounds = self.rounds;
            writeln!(
                self.csv,
                "\"{case}\",\"{trace}\",\"{how}\",\"{name}\",{least:.2},{median:.2},,{rounds},{one:.3},{other:.3},{octets},{ms:.1}"
            )
            .unwrap();
        }
    }

    fn updates(&mut self, case: &str, sides: &mut [&mut dyn Changing]) {
        println!("\n| one update | least us | median | 99.9 % | ours to it |\n|---|---|---|---|---|");
        let all = updates::measure(sides, self.rounds);
        let ours = all[0].median;
        for (side, it) in sides.iter().zip(&all) {
            let (name, ratio, rounds) = (side.called(), ours / it.median, self.rounds);
            println!("| {name} | {:.2} | {:.2} | {:.1} | {ratio:.2} |", it.least, it.median, it.p999);
            let [least, median, p999] = [it.least, it.median, it.p999].map(|us| us * 1e3);
            let one = all[0].least * 1e3 / least;
            writeln!(
                self.csv,
                "\"{case}\",,\"update\",\"{name}\",{least:.0},{median:.0},{p999:.0},{rounds},{one:.3},{ratio:.3},,"
            )
            .unwrap();
        }
        self.save();
    }

    fn save(&self) {
        if let Some(file) = &self.file {
            std::fs::write(file, &self.csv).unwrap();
        }
    }
}

/// The first rules that make up no more than so many ternary filters.
fn few(rules: &[Rule], filters: usize) -> &[Rule] {
    let mut sum = 0;
    let count = rules.iter().take_while(|rule| {
        sum += expansion(rule);
        sum <= filters
    });
    &rules[..count.count()]
}

/// The text of a file of the data, or a word about why not.
fn text(
    path: &str, unpack: impl FnOnce(BufReader<File>, &mut Vec<u8>) -> std::io::Result<usize>,
) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::open(format!("{DATA}/{path}")).and_then(|file| unpack(BufReader::new(file), &mut text));
    if let Err(error) = read {
        println!("left out: {path} cannot be read: {error}");
        return None;
    }
    Some(text)
}

pub fn rules(name: &str) -> Option<Vec<Rule>> {
    let text = text(&format!("classbench/{name}.rules.xz"), |file, text| {
        lzma_rust2::XzReader::new(file, true).read_to_end(text)
    })?;
    Some(classbench::read(&text[..]).unwrap())
}

pub type Routes<A> = Vec<Route<A>>;

/// The routes of both versions, with next hops from 1 to 254.
pub fn internet() -> Option<(Routes<u32>, Routes<u128>)> {
    let text = text("fib/internet-prefixes.txt.gz", |file, text| {
        flate2::read::GzDecoder::new(file).read_to_end(text)
    })?;
    let all = routes::read(&text[..]).unwrap();
    let hop = |line: usize| 1 + ((line as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 % 254;
    let v4 = all.iter().filter_map(|it| it.prefix.v4().map(|to| (to.address(), to.len(), hop(it.line))));
    let v6 = all.iter().filter_map(|it| it.prefix.v6().map(|to| (to.address(), to.len(), hop(it.line))));
    Some((v4.collect(), v6.collect()))
}
