//! Rounds of all ways in turn.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::Fault;
use crate::ends::{Round, Seen, round};
use crate::figures::{Found, HEAD, HEADINGS};
use crate::net::Net;
use crate::ours::{Router, thread_name};
use crate::traffic::{SIZES, Size, Source, Table};
use crate::ways::{Kind, Way};

/// The router on each kind of port, beside the kernel.
#[derive(Debug, Parser)]
#[command(name = "router")]
pub(crate) struct Arguments {
    /// Said by `cargo bench`.
    #[arg(long = "bench", hide = true)]
    _bench: bool,

    /// Rounds of each way, without rest and at a moderate rate.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Seconds of a round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,

    /// Kinds of ports: kernel, packet, udp, "udp joined", tun, memory. The kernel is always there.
    #[arg(long, value_delimiter = ',')]
    ports: Vec<String>,

    /// Writes the figures as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// A part of the least rate of all ways at which times are taken.
const MODERATE: f64 = 0.2;

/// Measures all cases.
pub(crate) fn run(arguments: &Arguments, net: &Net) -> Result<(), Fault> {
    // Namespaces are deleted by who returns.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let mut csv = HEADINGS.to_owned();
    let mut ways: Vec<Way> = Vec::new();
    for table in [Ok(Table::five()), Table::internet()] {
        let table = match table {
            Ok(table) => table,
            Err(reason) => {
                println!("\nskipped: the table of the Internet: {reason}");
                continue;
            }
        };
        renew(&mut ways, arguments, net, &table)?;
        for size in &SIZES {
            println!("\n{} routes, {} octets\n\n{HEAD}", table.prefixes.len(), size.name);
            let found = measure(&mut ways, arguments, &table, size, &ended)?;
            let kernel = found.first().map_or(f64::NAN, Found::rate);
            for (way, found) in ways.iter().zip(found) {
                println!("{}", found.row(way.kind.name(), kernel));
                csv += &found.csv(table.prefixes.len(), size.name, way.kind.name(), kernel);
            }
        }
    }
    ways.into_iter().for_each(end);
    if let Some(file) = &arguments.csv {
        std::fs::write(file, csv)?;
    }
    Ok(())
}

/// Ends `ways`, and opens them with another table. What cannot be opened is told and left out.
fn renew(ways: &mut Vec<Way>, arguments: &Arguments, net: &Net, table: &Table) -> Result<(), Fault> {
    let again = !ways.is_empty();
    ways.drain(..).for_each(end);
    let asked = |kind: &Kind| {
        *kind == Kind::Kernel
            || arguments.ports.is_empty()
            || arguments.ports.iter().any(|port| port == kind.name())
    };
    for kind in Kind::ALL.into_iter().filter(asked) {
        let way = Way::open(net, kind, again, table);
        match way.and_then(|mut way| proof(&mut way, table).map(|()| way)) {
            Ok(way) => ways.push(way),
            Err(reason) if kind == Kind::Kernel => return Err(reason),
            Err(reason) => println!("\nskipped: {}: {reason}", kind.name()),
        }
    }
    Ok(())
}

/// That packets arrive at all.
fn proof(way: &mut Way, table: &Table) -> Result<(), Fault> {
    let (since, gap) = (Instant::now(), Some(100_000));
    while since.elapsed() < Duration::from_secs(3) {
        if one(way, table, &SIZES[0], Duration::from_millis(100), gap).received > 0 {
            return Ok(());
        }
    }
    Err("no packet arrives".into())
}

/// A round of one way.
fn one(way: &mut Way, table: &Table, size: &Size, window: Duration, gap: Option<u64>) -> Seen {
    let mark = way.mark();
    let front = way.front;
    let mut source = Source::new(size, table, &|inner| front.frame(inner), mark);
    let worker = thread_name(front.way);
    round(&mut way.near, &mut way.far, &mut source, window, &worker, &Round::new(mark, gap))
}

/// What is found of each way: first how much arrives of what is sent without rest, then how
/// long it takes at the same moderate rate on all.
fn measure(
    ways: &mut [Way], arguments: &Arguments, table: &Table, size: &Size, ended: &AtomicBool,
) -> Result<Vec<Found>, Fault> {
    let mut found: Vec<Found> = ways.iter().map(|_| Found::default()).collect();
    let window = Duration::from_secs_f64(arguments.seconds);
    for _ in 0..arguments.rounds {
        if ended.load(Relaxed) {
            return Err("interrupted".into());
        }
        for (way, found) in ways.iter_mut().zip(&mut found) {
            found.add(&one(way, table, size, window, None));
        }
    }
    let least = found.iter().map(Found::rate).fold(f64::INFINITY, f64::min);
    let gap = Some((1e9 / (MODERATE * least.max(1.0))) as u64);
    for _ in 0..arguments.rounds {
        if ended.load(Relaxed) {
            return Err("interrupted".into());
        }
        for (way, found) in ways.iter_mut().zip(&mut found) {
            found.add_times(one(way, table, size, window / 2, gap));
        }
    }
    Ok(found)
}

/// Ends a way.
fn end(way: Way) {
    let name = way.kind.name();
    match way.router.map(Router::stop) {
        Some(Some((true, ports))) => println!("\n{name}: every packet is accounted for; ports: {ports}"),
        Some(Some((false, ports))) => println!("\n{name}: PACKETS ARE NOT ACCOUNTED FOR; ports: {ports}"),
        Some(None) => println!("\n{name}: the router does not end"),
        None => {}
    }
}
