//! When each packet leaves: queues with weights, packets with times, and one link.
//!
//! ```text
//! cargo run --release --example schedule
//! cargo run --release --example schedule -- --queues FILE --arrivals FILE --rate BPS
//! ```

pub(crate) mod files;
pub(crate) mod link;
#[path = "../support/program.rs"]
pub(crate) mod program;
pub(crate) mod report;
pub(crate) mod simulate;

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use report::{Line, Report};

/// Schedules packets onto a link by weighted deficit round robin.
///
/// A line of --queues is `queue weight limit_packets`: a number of your choice, 1 to 65536,
/// and how many packets may wait there. A line of --arrivals is `time_ns queue octets`, in
/// order of time. Blank lines and what follows `#` are left out in both.
///
/// A packet occupies the link for octets * 8 / rate seconds. Octets count as they stand, with
/// no overhead added, and parts of a nanosecond are carried on to the next packet. A packet
/// that arrives in the nanosecond of a departure is there for it; it leaves its queue when it
/// begins to be sent, and is dropped when it finds the queue full.
///
/// Prints a line for each departure:
///
///   time_ns queue octets arrival_index
///
/// where the time is the start of sending, and the index the packet's line in the file, from 0
/// on, blank lines and comments counted. Behind it, on the standard error output, a line for
/// each drop, `drop time_ns queue octets arrival_index`, and a table with the totals of each
/// queue. Without arguments it shows how some queues that come with it share a link.
///
/// Weights are divided by what all of them have in common, and a weight of 1 earns a 4095th of
/// the longest packet a round, rounded up: the least that the scheduler takes. So rounds are
/// short, and a queue is served as soon as it has earned a packet. While two queues have packets,
/// what they have sent, divided by their quanta, differs by less than two rounds and what a
/// longest packet is of either's quantum.
///
/// The exit status is 0, or 2 if the arguments or a file are wrong; nothing is scheduled then.
#[derive(Debug, Parser)]
#[command(name = "schedule", version, verbatim_doc_comment)]
struct Arguments {
    /// The queues.
    #[arg(long, value_name = "FILE", requires_all = ["arrivals", "rate"])]
    queues: Option<PathBuf>,

    /// The packets.
    #[arg(long, value_name = "FILE", requires_all = ["queues", "rate"])]
    arrivals: Option<PathBuf>,

    /// The link's rate in bits a second, from 1 on.
    #[arg(long, value_name = "BPS", requires_all = ["queues", "arrivals"])]
    rate: Option<NonZeroU64>,

    /// Writes what is printed as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const QUEUES: (&str, &str) = ("queues.txt", include_str!("demo/queues.txt"));
const ARRIVALS: (&str, &str) = ("arrivals.txt", include_str!("demo/arrivals.txt"));
/// 10 Mb/s.
const RATE: NonZeroU64 = NonZeroU64::new(10_000_000).unwrap();

fn main() -> ExitCode {
    program::exit(
        "schedule",
        run(std::env::args_os(), &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
    )
}

/// The program: what `main` does with its arguments and its two outputs. Returns the exit
/// status.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = OsString>, out: &mut impl Write, err: &mut impl Write,
) -> Result<u8, Box<dyn Error>> {
    let arguments = match program::arguments::<Arguments>(arguments)? {
        Ok(arguments) => arguments,
        Err(status) => return Ok(status),
    };
    let (queues, packets) = match (&arguments.queues, &arguments.arrivals) {
        (Some(queues), Some(arrivals)) => {
            let queues = files::queues(&queues.display().to_string(), &files::read(queues)?)?;
            let (name, text) = (arrivals.display().to_string(), files::read(arrivals)?);
            let packets = files::arrivals(&name, &text, &queues)?;
            (queues, packets)
        }
        _ => {
            let queues = files::queues(QUEUES.0, QUEUES.1.as_bytes())?;
            let packets = files::arrivals(ARRIVALS.0, ARRIVALS.1.as_bytes(), &queues)?;
            (queues, packets)
        }
    };
    let (name, rate) = (
        arguments.arrivals.as_ref().map_or(ARRIVALS.0.into(), |file| file.display().to_string()),
        arguments.rate.unwrap_or(RATE),
    );
    let schedule = simulate::run(&queues, &packets, rate).map_err(|error| format!("{name}: {error}"))?;
    let report = Report::new(&queues, &packets, &schedule, rate.get());
    if let Some(file) = &arguments.json {
        program::write_json(file, &report)?;
    }
    match arguments.rate {
        Some(_) => print(&report, &mut BufWriter::new(out), &mut BufWriter::new(err))?,
        None => show(&report, &mut BufWriter::new(out))?,
    }
    Ok(0)
}

fn print(report: &Report, out: &mut impl Write, err: &mut impl Write) -> std::io::Result<()> {
    for Line { time_ns, queue, octets, arrival_index } in &report.departures {
        writeln!(out, "{time_ns} {queue} {octets} {arrival_index}")?;
    }
    out.flush()?;
    for Line { time_ns, queue, octets, arrival_index } in &report.drops {
        writeln!(err, "drop {time_ns} {queue} {octets} {arrival_index}")?;
    }
    writeln!(err, "{}", report.totals())?;
    err.flush()
}

/// The packets that come with the program.
fn show(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}\n", QUEUES.1.trim_end())?;
    writeln!(out, "Each queue's part of the link in tenths, a column for every 5 ms (# is all of it):\n")?;
    writeln!(out, "{}\n{}", report.strip(COLUMNS), report.totals())?;
    out.flush()
}

/// Parts of the time that [`show`] tells apart.
const COLUMNS: usize = 32;
