//! The path beside the same work fused by hand in C (`fused.c`), in one process, round
//! by round in turn. Figures and what they mean: docs/benchmarks.md.
//!
//! `cargo run --release [-- --csv FILE] [--rounds N]`. With `--count SIDE VECTORS` it runs
//! one side (`c`, `ours` or `none`) once, for a program that counts instructions.

mod fused;
#[path = "../../world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::io::{BufReader, Read as _};
use std::time::Instant;

use fastpath::workloads::routes;
use fused::Fused;
use world::{Buffer, Handle, List, Path, QUEUES, Queues, Route, Source, Stage, VECTOR};

/// Inner destinations.
const DESTINATIONS: usize = 1 << 20;
/// The last route of the file that is used.
const ROUTES: usize = 900_000;
const PREFIXES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/fib/internet-prefixes.txt.gz");

struct Ours {
    path: Box<Path>,
    queues: Queues,
    list: List,
    free: Vec<&'static mut Buffer>,
    ready: Vec<Handle>,
}

impl Ours {
    fn new(buffers: usize, routes: &[Route]) -> Self {
        Self {
            path: Box::new(world::path(routes)),
            queues: world::queues(4096),
            list: List::new(),
            free: world::pool(buffers),
            ready: Vec::with_capacity(buffers),
        }
    }

    fn fill(&mut self, source: &mut Source) {
        self.ready.extend(self.free.drain(..).map(|buffer| source.packet(buffer)));
    }

    #[inline(never)]
    fn run(&mut self) {
        let Self { path, queues, list, free, ready } = self;
        world::run::<_, _, _, _, _, VECTOR>(Stage::Queue, path, queues, list, ready, free);
    }

    fn sent(&self) -> [[u64; 2]; QUEUES] {
        self.path.stats.queues.map(|count| [count.packets, count.octets])
    }
}

/// Least and median, in nanoseconds a packet.
#[derive(Clone, Copy)]
struct Times {
    least: f64,
    median: f64,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2})", self.least, self.median)
    }
}

impl Times {
    fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        Self { least: rounds[0], median: rounds[rounds.len() / 2] }
    }
}

/// What is compared.
const SIDES: [&str; 3] = ["c", "c, headers ahead", "fastpath"];

/// All sides in turn, the packets written while no clock runs.
fn compare(routes: &[Route], buffers: usize, rounds: usize) -> [Times; 3] {
    let destinations = world::destinations(routes, DESTINATIONS);
    let mut sources = [(); 3].map(|()| Source::new(world::SMALLEST, destinations.clone()));
    let octets = sources[0].octets();
    let mut loops = [false, true].map(|ahead| Fused::new(buffers, routes, ahead));
    let mut ours = Ours::new(buffers, routes);
    let passes = (DESTINATIONS / buffers).max(1);
    let packets = (passes * buffers) as f64;
    let mut times = [(); 3].map(|()| Vec::new());
    for round in 0..=rounds {
        let mut sums = [0.0; 3];
        for _ in 0..passes {
            for ((c, source), sum) in loops.iter_mut().zip(&mut sources).zip(&mut sums) {
                c.fill(source);
                let start = Instant::now();
                c.run(octets);
                *sum += start.elapsed().as_nanos() as f64;
            }
            ours.fill(&mut sources[2]);
            let start = Instant::now();
            ours.run();
            sums[2] += start.elapsed().as_nanos() as f64;
        }
        let expected = ((round + 1) as f64 * packets) as u64;
        for c in &loops {
            let (sent, refused) = c.counts();
            assert_eq!(refused, 0, "the C loop refused packets");
            assert_eq!(sent, ours.sent(), "the two sides sent different packets");
            assert_eq!(sent.iter().map(|[packets, _]| packets).sum::<u64>(), expected);
        }
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(sums).for_each(|(times, sum)| times.push(sum / packets));
        }
    }
    loops.iter().for_each(|c| same_frames(c, &ours, octets));
    times.map(Times::of)
}

/// The frames that were sent last are the same, whatever buffers they are in.
fn same_frames(c: &Fused, ours: &Ours, octets: usize) {
    let frame = |buffer: &Buffer| {
        let mut frame = buffer[world::HEADROOM as usize..][..octets].to_vec();
        // 0 and 0xffff are one number: the C loop takes the shorter way and writes either.
        let sum = &mut frame[world::HEADER + 10..][..2];
        if sum == [0xff; 2] {
            sum.fill(0);
        }
        frame
    };
    let mut theirs: Vec<_> = c.pool().iter().map(frame).collect();
    let mut ours: Vec<_> = ours.free.iter().map(|buffer| frame(buffer)).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert!(theirs == ours, "the two sides wrote different frames");
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
    let (mut c, mut ours) = (Fused::new(VECTOR, &routes, false), Ours::new(VECTOR, &routes));
    for _ in 0..vectors {
        match side {
            "c" => {
                c.fill(&mut source);
                c.run(octets);
            }
            "ours" => {
                ours.fill(&mut source);
                ours.run();
            }
            _ => {
                ours.fill(&mut source);
                ours.free.extend(ours.ready.drain(..).map(|packet| packet.into_buf()));
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
    let rounds = value("--rounds").map_or(15, |rounds| rounds.parse().unwrap());
    let (table, from) = internet();
    println!("table of the Internet: {from}");
    println!(
        "ns a packet, frames of 70 octets, vectors of {VECTOR}, least (median) of {rounds} rounds in turn"
    );
    println!(
        "| routes | pool | C loop | C loop, headers ahead | fastpath | ratio to C | to C, headers ahead |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut csv = "routes,buffers,side,least_ns,median_ns,rounds\n".to_owned();
    for routes in [&world::five_routes(), &table] {
        for buffers in [1024, 30_720] {
            let all = compare(routes, buffers, rounds);
            let [c, ahead, ours] = all;
            let ratio = |to: Times| format!("{:.2} ({:.2})", ours.least / to.least, ours.median / to.median);
            let megabytes = (buffers * world::BUFFER) >> 20;
            let [one, two] = [ratio(c), ratio(ahead)];
            println!("| {} | {megabytes} MB | {c} | {ahead} | {ours} | {one} | {two} |", routes.len());
            for (side, Times { least, median }) in SIDES.iter().zip(all) {
                writeln!(csv, "{},{buffers},\"{side}\",{least:.2},{median:.2},{rounds}", routes.len())
                    .unwrap();
            }
        }
    }
    println!("all sides sent the same frames to the same queues");
    if let Some(file) = value("--csv") {
        std::fs::write(file, csv).unwrap();
    }
}
