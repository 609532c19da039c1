//! The crate's schedulers beside DPDK's rte_sched, where it is installed, and beside two
//! floors, in one process, round by round in turn: what a packet takes to go in and to come
//! out.
//!
//! `cargo run --release --bin sched -- [--csv FILE] [--rounds N] [--only TEXT]`, where `--only`
//! names part of a case's name. With `--growth FILE` it measures instead how figures grow with
//! queues, writes them to the file and draws `docs/queueing-queues.svg`; with `--draw FILE` it
//! draws what is in the file. Before anything is timed, each side must send all packets that
//! it got, once each and in order within a queue.
//!
//! Four packets wait for each queue at the start, of a million queues two, and as many wait all
//! the time. A round has 65,536 packets, which go one in and one out, or 32 in and
//! 32 out; what is timed is 4,096 of them, and the figures are the least and the median of all such
//! parts. Ticks are those of the processor's clock (rdtsc), counted beside the system's clock at the
//! start: cycles of a constant frequency and not those of the core.

mod cases;
mod dpdk;
#[path = "../draw.rs"]
mod draw;
mod drr;
mod floors;
mod growth;
mod ours;
mod side;
#[path = "../times.rs"]
mod times;
mod trace;

use cases::Run;

/// Where the pictures go.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let rounds = value("--rounds").map_or(9, |rounds| rounds.parse().unwrap());
    let draw =
        |file: &str| draw::draw(&growth::ALBUM, &std::fs::read_to_string(file).unwrap(), DOCS).unwrap();
    if let Some(file) = value("--draw") {
        return draw(file);
    }
    match dpdk::start() {
        Ok(()) => println!("with DPDK's rte_sched"),
        Err(why) => println!("WITHOUT DPDK's rte_sched, its rows are missing: {why}"),
    }
    if let Some(file) = value("--growth") {
        growth::measure(rounds, file);
        return draw(file);
    }
    let ticks = side::ticks();
    println!(
        "ns a packet, least (median) of {rounds} rounds in turn; {ticks:.3} ticks a ns; ours is `fastpath`"
    );
    let run = Run { rounds, only: value("--only").cloned().unwrap_or_default(), ticks };
    let csv = run.all();
    if let Some(file) = value("--csv") {
        std::fs::write(file, csv).unwrap();
    }
}
