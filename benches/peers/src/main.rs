//! The path beside the same work fused by hand in C (`fused.c`), in one process, round
//! by round in turn. Figures and what they mean: docs/benchmarks.md.
//!
//! `cargo run --release [-- --csv FILE] [--rounds N]`. With `--count SIDE VECTORS` it runs
//! one side (`c`, `ahead`, `same`, `ours` or `none`) once, for a program that counts instructions.

mod fused;
mod same;
#[path = "../../world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::io::{BufReader, Read as _};
use std::time::Instant;

use fastpath::stats::ROW;
use fastpath::workloads::routes;
use fused::Fused;
use same::{Counts, Same};
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

    fn counts(&self) -> Counts {
        let pair = |count: &fastpath::stats::Count| [count.packets, count.octets];
        let stats = &self.path.stats;
        Counts {
            sent: self.sent(),
            queued: stats.egresses.each_ref().map(pair),
            left: [0, 1].map(|slice| std::array::from_fn(|at| pair(&stats.slices[slice * ROW + at]))),
        }
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
const SIDES: [&str; 4] = ["c", "c, headers ahead", "c, same work", "fastpath"];

/// All sides in turn, the packets written while no clock runs.
fn compare(routes: &[Route], buffers: usize, rounds: usize) -> [Times; 4] {
    let destinations = world::destinations(routes, DESTINATIONS);
    let mut sources = [(); 4].map(|()| Source::new(world::SMALLEST, destinations.clone()));
    let octets = sources[0].octets();
    let mut loops = [false, true].map(|ahead| Fused::new(buffers, routes, ahead));
    let mut same = Same::new(buffers, routes);
    let mut ours = Ours::new(buffers, routes);
    let passes = (DESTINATIONS / buffers).max(1);
    let packets = (passes * buffers) as f64;
    let mut times = [(); 4].map(|()| Vec::new());
    for round in 0..=rounds {
        let mut sums = [0.0; 4];
        for _ in 0..passes {
            for ((c, source), sum) in loops.iter_mut().zip(&mut sources).zip(&mut sums) {
                c.fill(source);
                let start = Instant::now();
                c.run(octets);
                *sum += start.elapsed().as_nanos() as f64;
            }
            same.fill(&mut sources[2]);
            let start = Instant::now();
            same.run();
            sums[2] += start.elapsed().as_nanos() as f64;
            ours.fill(&mut sources[3]);
            let start = Instant::now();
            ours.run();
            sums[3] += start.elapsed().as_nanos() as f64;
        }
        let expected = ((round + 1) as f64 * packets) as u64;
        for c in &loops {
            let (sent, refused) = c.counts();
            assert_eq!(refused, 0, "the C loop refused packets");
            assert_eq!(sent, ours.sent(), "the two sides sent different packets");
            assert_eq!(sent.iter().map(|[packets, _]| packets).sum::<u64>(), expected);
        }
        assert_eq!(same.counts(), ours.counts(), "the two sides counted differently");
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(sums).for_each(|(times, sum)| times.push(sum / packets));
        }
    }
    loops.iter().for_each(|c| same_frames(c.pool(), &ours, octets));
    same_frames(same.pool(), &ours, octets);
    times.map(Times::of)
}

/// The frames that were sent last are the same, whatever buffers they are in.
fn same_frames<'a>(theirs: impl IntoIterator<Item = &'a Buffer>, ours: &Ours, octets: usize) {
    let frame = |buffer: &Buffer| {
        let mut frame = buffer[world::HEADROOM as usize..][..octets].to_vec();
        // 0 and 0xffff are one number: the C loop takes the shorter way and writes either.
        let sum = &mut frame[world::HEADER + 10..][..2];
        if sum == [0xff; 2] {
            sum.fill(0);
        }
        frame
    };
    let mut theirs: Vec<_> = theirs.into_iter().map(frame).collect();
    let mut ours: Vec<_> = ours.free.iter().map(|buffer| frame(buffer)).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert!(theirs == ours, "the two sides wrote different frames");
}

/// Frames of all kinds, most of them wrong somewhere, through the two sides that do the
/// same work: they must count the same, by queue, by record, and by reason of each
/// refusal, and write the same. Returns how many frames, how many were sent, and for
/// how many reasons others were not.
fn same_work() -> (u64, u64, usize) {
    let mut routes = world::five_routes();
    routes.extend([(0x0102_0304, 32, 3), (0x0102_0380, 25, 4), (0x0203_0000, 16, 0), (0x0203_0440, 26, 1)]);
    let mut destinations = world::destinations(&routes, 1 << 10);
    destinations.extend((0..1024).flat_map(|n| [0x0102_0300 | n & 255, 0x0203_0400 | n & 255]));
    destinations.extend([0, 0x7f00_0001, 0xa9fe_0101, 0xa9fd_0101, 0xe000_0016, u32::MAX, 0x0900_0000]);
    let mut sources = [(); 2].map(|()| Source::new(world::SMALLEST, destinations.clone()));
    let mut states = [7u64; 2];
    let (mut same, mut ours) = (Same::new(256, &routes), Ours::new(256, &routes));
    const ROUNDS: u64 = 4000;
    for _ in 0..ROUNDS {
        let [first, second] = &mut sources;
        same.fill_with(|buffer| {
            first.write(buffer);
            spoil(&mut states[0], buffer)
        });
        for buffer in ours.free.drain(..) {
            second.write(buffer);
            let end = world::HEADROOM + spoil(&mut states[1], buffer) as u32;
            ours.ready.push(Handle::new(buffer, world::HEADROOM, end).unwrap());
        }
        same.run();
        ours.run();
        assert_eq!(same.counts(), ours.counts(), "the two sides counted differently");
        same_frames(same.pool(), &ours, 128);
    }
    let counts = ours.counts();
    let sent = counts.sent.iter().map(|count| count[0]).sum();
    let reasons = counts.left.as_flattened().iter().filter(|count| count[0] > 0).count();
    (ROUNDS * 256, sent, reasons)
}

/// Changes up to three octets of the headers, and gives most of them right checksums
/// again. Returns the length, which changes, too.
fn spoil(state: &mut u64, buffer: &mut Buffer) -> usize {
    let mut draw = |below: usize| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % below
    };
    let frame = &mut buffer[world::HEADROOM as usize..];
    let whole = world::HEADER + world::SMALLEST;
    let octets = match draw(8) {
        0 => draw(whole),
        1 => whole + draw(20),
        _ => whole,
    };
    for _ in 0..draw(4) {
        // Lengths, classes, fragments and so on more often than addresses.
        let at = match draw(3) {
            0 => 12 + draw(4),
            1 => 14 + 28 * draw(2) + draw(12),
            _ => 12 + draw(whole - 12),
        };
        frame[at] = match draw(3) {
            0 => draw(256) as u8,
            1 => [0, 1, 2, 3, 6, 17, 0x45, 0x46, 127, 169, 224, 255][draw(12)],
            _ => frame[at] ^ 1 << draw(8),
        };
    }
    // A packet that is shorter than its frame, or has no payload.
    if draw(4) == 0 {
        frame[world::HEADER + 3] = 20 + draw(8) as u8;
    }
    for at in [14, world::HEADER] {
        if draw(8) > 0 {
            frame[at + 10..at + 12].fill(0);
            let sum = fastpath::wire::checksum::of(&frame[at..at + 20]);
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
    }
    octets
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
        "| routes | pool | C loop | C, headers ahead | C, same work | fastpath | ours / C | ours / C, headers ahead | ours / C, same work |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut csv =
        "routes,buffers,side,least_ns,median_ns,rounds,ours_to_it_least,ours_to_it_median\n".to_owned();
    for routes in [&world::five_routes(), &table] {
        for buffers in [1024, 30_720] {
            let all = compare(routes, buffers, rounds);
            let [c, ahead, same, ours] = all;
            let ratio = |to: Times| (ours.least / to.least, ours.median / to.median);
            let megabytes = (buffers * world::BUFFER) >> 20;
            let [one, two, three] = [c, ahead, same].map(|to| {
                let (least, median) = ratio(to);
                format!("{least:.2} ({median:.2})")
            });
            println!(
                "| {} | {megabytes} MB | {c} | {ahead} | {same} | {ours} | {one} | {two} | {three} |",
                routes.len()
            );
            for (side, times) in SIDES.iter().zip(all) {
                let (Times { least, median }, (one, other)) = (times, ratio(times));
                let routes = routes.len();
                writeln!(
                    csv,
                    "{routes},{buffers},\"{side}\",{least:.2},{median:.2},{rounds},{one:.3},{other:.3}"
                )
                .unwrap();
            }
        }
    }
    println!("all sides sent the same frames to the same queues");
    let (frames, sent, reasons) = same_work();
    println!(
        "of {frames} frames of all kinds C, same work, and fastpath sent the same {sent} and refused the rest for the same {reasons} reasons"
    );
    if let Some(file) = value("--csv") {
        std::fs::write(file, csv).unwrap();
    }
}
