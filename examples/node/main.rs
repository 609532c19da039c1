//! A node with several slices: over traffic made in memory, or over captures.
//!
//! ```text
//! cargo run --release --example node
//! cargo run --release --example node -- --write-demo out
//! cargo run --release --example node -- --config node.toml --in LINK=FILE.pcap --out DIR
//! ```

pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod feed;
pub(crate) mod label;
pub(crate) mod manager;
#[path = "../support/program.rs"]
pub(crate) mod program;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;

use std::error::Error;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use config::{EMBEDDED, Plan};
use demo::Demo;
use feed::Source;
use replay::{Captures, Replay};
use report::{Report, Written};
use run::{Nowhere, Sink, Wishes};

/// A node with several slices, over traffic made in memory or over captures.
///
/// Without arguments three slices share two interfaces: two IPv4 routers with the same
/// addresses and different ways, one of them with packet filters, and a label switch.
/// Traffic is made in memory, some of it bad, and more than one of the interfaces can
/// send. Closing tables say what became of every packet.
///
/// With --in, frames come from captures (pcap or pcapng), and time is that of their
/// timestamps: a run over the same files gives the same figures and files. Frames are
/// taken in vectors of 32, each processed when its last frame has arrived.
///
/// The exit status is 0 if every packet is accounted for, 1 if not, and 2 if the
/// arguments, the configuration or an input file are wrong.
#[derive(Debug, Parser)]
#[command(name = "node", version)]
struct Arguments {
    /// The configuration, as docs/node_config.md describes it. With no --in it is
    /// checked, and nothing is run.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A capture of frames that arrive at a link; may be given several times, for the
    /// same link or others.
    #[arg(long = "in", value_name = "LINK=FILE", value_parser = input)]
    inputs: Vec<(String, PathBuf)>,

    /// The captures hold slices' own packets, without outer headers: each is put behind
    /// the outer header of its link's far end first. Ethernet headers are taken off.
    #[arg(long, requires = "inputs")]
    inner: bool,

    /// Writes what leaves by each link to DIR/LINK.pcap (Ethernet or raw IP, with
    /// nanoseconds). What waits when the input ends is sent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Writes the figures of the tables as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Prints the way of packet N through the blocks, counted from 1 as they arrive.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    trace: Option<u64>,

    /// Writes the traffic that is made in memory as captures, one for each link, and its
    /// configuration, to be run with --config and --in. Nothing is run.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "inputs", "out", "json", "trace"])]
    write_demo: Option<PathBuf>,

    /// Packets to make in memory [default: 1500000, and 100000 with --write-demo].
    #[arg(long, value_name = "N", conflicts_with = "inputs")]
    packets: Option<u64>,

    /// What the traffic made in memory is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "inputs")]
    seed: u64,
}

fn input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((link, file)) if !link.is_empty() && !file.is_empty() => Ok((link.into(), file.into())),
        _ => Err("allowed is LINK=FILE, a link of the configuration and a capture".into()),
    }
}

fn main() -> ExitCode {
    program::exit("node", run(std::env::args_os(), &mut std::io::stdout().lock()))
}

/// The program: what `main` does with its arguments and its output. Returns the exit
/// status.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = OsString>, out: &mut impl Write,
) -> Result<u8, Box<dyn Error>> {
    let arguments = match program::arguments::<Arguments>(arguments)? {
        Ok(arguments) => arguments,
        Err(status) => return Ok(status),
    };
    let plan = match &arguments.config {
        None => Plan::read("node.toml", EMBEDDED)?,
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Plan::read(&file.display().to_string(), &text)?
        }
    };
    if let Some(dir) = &arguments.write_demo {
        let mut demo = Demo::new(&plan, arguments.packets.unwrap_or(100_000), arguments.seed)?;
        let mut again = format!("node --config {}", dir.join("node.toml").display());
        for (link, file, frames) in replay::write_demo(&plan, &mut demo, dir)? {
            writeln!(out, "{}: {frames} frames", file.display())?;
            again += &format!(" --in {link}={}", file.display());
        }
        writeln!(out, "\nTo run it:\n{again}")?;
        return Ok(0);
    }
    if let (Some(file), true) = (&arguments.config, arguments.inputs.is_empty()) {
        let (slices, links) = (plan.slices.len(), plan.links().count());
        let filters: usize = plan.slices.iter().map(|slice| slice.filters.len()).sum();
        let file = file.display();
        writeln!(
            out,
            "{file} is sound: {slices} slices, {links} links, {filters} filters; nothing was run (no --in)"
        )?;
        return Ok(0);
    }
    let mut source: Box<dyn Source> = match arguments.inputs.is_empty() {
        true => Box::new(Demo::new(&plan, arguments.packets.unwrap_or(1_500_000), arguments.seed)?),
        false => Box::new(Replay::open(&plan, &arguments.inputs, arguments.inner)?),
    };
    for (dir, (_, file)) in
        arguments.out.iter().flat_map(|dir| arguments.inputs.iter().map(move |it| (dir, it)))
    {
        let same = |link: &str| {
            let written = dir.join(format!("{link}.pcap")).canonicalize();
            written.is_ok_and(|written| file.canonicalize().is_ok_and(|file| file == written))
        };
        if plan.links().any(|(_, _, link, _)| same(link)) {
            return Err(format!(
                "--out {}: {} is read and would be overwritten",
                dir.display(),
                file.display()
            )
            .into());
        }
    }
    let mut captures = arguments.out.as_ref().map(|dir| Captures::create(&plan, dir)).transpose()?;
    let bar = progress(source.expected());
    let wishes = Wishes {
        drain: captures.is_some() || !arguments.inputs.is_empty(),
        trace: arguments.trace,
        progress: &|frames| bar.set_position(frames),
    };
    let sink: &mut dyn Sink = match &mut captures {
        Some(captures) => captures,
        None => &mut Nowhere,
    };
    let finished = run::run(&plan, source.as_mut(), sink, &wishes)?;
    bar.finish_and_clear();

    let counted = source.counted();
    let mut report = Report::new(&plan, &finished, &counted);
    for (file, frames) in captures.map(Captures::finish).transpose()?.unwrap_or_default() {
        report.files.push(Written { file: file.display().to_string(), frames });
    }
    if let Some(number) = arguments.trace {
        match &finished.trace {
            Some(lines) => writeln!(out, "{}\n", lines.join("\n  "))?,
            None => report.notes.push(format!("there is no packet {number}: {} arrived", counted.frames)),
        }
    }
    write!(out, "{}", report.tables())?;
    if let Some(file) = &arguments.json {
        program::write_json(file, &report)?;
    }
    Ok(match (report.exact, counted.failed) {
        (false, _) => 1,
        (true, true) => 2,
        (true, false) => 0,
    })
}

/// A bar on a terminal, nothing elsewhere.
fn progress(frames: Option<u64>) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:40} {human_pos} packets, {per_sec}");
    let bar = ProgressBar::with_draw_target(frames, target);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
