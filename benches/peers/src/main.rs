//! The path beside the same work fused by hand in C (`fused.c`), in one process, round
//! by round in turn. Figures and what they mean: docs/benchmarks.md.
//!
//! `cargo run --release [-- --csv FILE] [--rounds N]`. With `--count SIDE VECTORS` it runs
//! one side (`c`, `ahead`, `same`, `ours` or `none`) once, for a program that counts instructions.
//! The sides take turns in six orders, so that `N` is best a multiple of 6.

mod check;
mod compare;
mod fused;
mod ours;
mod same;
mod times;
#[path = "../../world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::io::{BufReader, Read as _};

use fastpath::key::LookupKey;
use fastpath::workloads::routes;

use compare::{CIRCLES, SIDES};
use fused::Fused;
use ours::Ours;
use same::Same;
use times::Times;
use world::{Buffer, HEADER, QUEUES, Route, SMALLEST, Source, VECTOR};

/// The last route of the file that is used.
const ROUTES: usize = 900_000;
const PREFIXES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/fib/internet-prefixes.txt.gz");

/// Writes the next frame and tells its length. One function for all sides, never inlined, so
/// that it takes each of them as many instructions as it takes `none`.
#[inline(never)]
fn write(source: &mut Source, buffer: &mut Buffer) -> usize {
    source.write(buffer);
    HEADER + SMALLEST
}

/// The routing table of the Internet, or one of its shape; and where it is from.
fn internet() -> (Vec<Route>, String) {
    let mut text = String::new();
    let file = std::fs::File::open(PREFIXES);
    let read = file.and_then(|file| flate2::read::GzDecoder::new(file).read_to_string(&mut text));
    if let Err(error) = read {
        return (generated(), format!("generated, as the table of the Internet cannot be read: {error}"));
    }
    let all = routes::read(BufReader::new(text.as_bytes())).unwrap();
    let prefixes = all.iter().filter_map(|route| route.prefix.v4()).take(ROUTES);
    let prefixes: Vec<_> = prefixes.filter(|prefix| (8..=24).contains(&prefix.len())).collect();
    let routes = prefixes.iter().zip(0..).map(|(prefix, n)| (prefix.address(), prefix.len(), way_out(n)));
    let routes: Vec<_> = routes.collect();
    let source =
        format!("internet-prefixes.txt.gz, the {} of its first {ROUTES} with 8 to 24 bits", routes.len());
    (routes, source)
}

/// Six in ten /24, the rest spread over /16 to /23, none twice.
fn generated() -> Vec<Route> {
    let mut known = std::collections::HashSet::new();
    let mut state = 7u64;
    let drawn = std::iter::from_fn(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, address) = ((state >> 33) % 20, (state >> 32) as u32);
        let len = if kind < 12 { 24 } else { 4 + kind as u8 };
        let first = 1 + (address >> 24) % 126;
        Some(((first << 24 | address & 0xff_ffff) & u32::MAX << (32 - len), len))
    });
    let routes =
        drawn.filter(|&(network, len)| len >= 16 && network >> 24 != 10 && known.insert((network, len)));
    routes.take(ROUTES).zip(0..).map(|((network, len), n)| (network, len, way_out(n))).collect()
}

/// Neighbours lead to different ways out.
fn way_out(n: u32) -> u32 {
    (n.wrapping_mul(0x9e37_79b9) >> 8) % QUEUES as u32
}

fn count(side: &str, vectors: usize) {
    let routes = world::five_routes();
    let mut source = Source::new(world::SMALLEST, world::destinations(&routes, 1 << 12));
    let octets = source.octets();
    let (mut c, mut ours) = (Fused::new(VECTOR, &routes, side == "ahead"), Ours::new(VECTOR, &routes));
    let mut same = Same::new(VECTOR, &routes);
    for _ in 0..vectors {
        match side {
            "c" | "ahead" => {
                c.fill(&mut source);
                c.run(octets);
            }
            "same" => {
                same.fill(&mut source);
                same.run();
            }
            "ours" => {
                ours.fill(&mut source);
                ours.run();
            }
            _ => {
                ours.fill(&mut source);
                ours.take_back();
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    if let [flag, side, vectors] = &arguments[..]
        && flag == "--count"
    {
        return count(side, vectors.parse().unwrap());
    }
    let rounds = value("--rounds").map_or(18, |rounds| rounds.parse().unwrap());
    let (table, from) = internet();
    println!("table of the Internet: {from}");
    println!(
        "ns a packet, frames of 70 octets, vectors of {VECTOR}, least (median) of {rounds} rounds in turn"
    );
    println!(
        "| routes | pool | C loop | C, headers ahead | C, same work | fastpath | ours / C | ours / C, headers ahead | ours / C, same work |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut csv =
        "routes,buffers,side,least_ns,median_ns,rounds,ours_to_it_least,ours_to_it_median,order\n".to_owned();
    for routes in [&world::five_routes(), &table] {
        for buffers in [1024, 30_720] {
            let all = compare::compare(routes, buffers, rounds);
            let ratio = |[.., ours]: [Times; 4], to: Times| (ours.least / to.least, ours.median / to.median);
            // All rounds, and those of each order.
            let circles = CIRCLES
                .iter()
                .enumerate()
                .map(|(at, sides)| (all.times(Some(at)), sides.map(|side| SIDES[side]).join(" > ")));
            for (of, order) in std::iter::once((all.times(None), "all".to_owned())).chain(circles) {
                let Some((times, rounds)) = of else { continue };
                for (side, to) in SIDES.iter().zip(times) {
                    let (Times { least, median }, (one, other)) = (to, ratio(times, to));
                    let routes = routes.len();
                    writeln!(
                        csv,
                        "{routes},{buffers},\"{side}\",{least:.2},{median:.2},{rounds},{one:.3},{other:.3},\"{order}\""
                    )
                    .unwrap();
                }
            }
            let Some((times, _)) = all.times(None) else { continue };
            let [c, ahead, same, ours] = times;
            let megabytes = (buffers * world::BUFFER) >> 20;
            let [one, two, three] = [c, ahead, same].map(|to| {
                let (least, median) = ratio(times, to);
                format!("{least:.2} ({median:.2})")
            });
            println!(
                "| {} | {megabytes} MB | {c:.2} | {ahead:.2} | {same:.2} | {ours:.2} | {one} | {two} | {three} |",
                routes.len()
            );
        }
    }
    println!("all sides sent the same frames to the same queues");
    let (frames, sent, reasons) = check::same_work();
    println!(
        "of {frames} frames of all kinds C, same work, and fastpath sent the same {sent} and refused the rest for the same {reasons} reasons"
    );
    let frames = check::same_keys();
    println!(
        "by each of the {} bits of their keys both sent the same of {frames} frames the same way",
        LookupKey::BITS
    );
    for routes in [&world::five_routes(), &table] {
        let (frames, routes) = (check::same_trace(routes), routes.len());
        println!(
            "the {frames} frames of the trace for {routes} routes have the keys they should, on both sides"
        );
    }
    if let Some(file) = value("--csv") {
        std::fs::write(file, csv).unwrap();
    }
}
