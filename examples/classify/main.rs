//! Which rule matches: rule sets and routing tables in one table, a slice each, and what it
//! answers to the keys of a trace.
//!
//! ```text
//! cargo run --release --example classify
//! cargo run --release --example classify -- --rules FILE [--rules FILE ...] --trace FILE
//! ```

pub(crate) mod bench;
pub(crate) mod explain;
pub(crate) mod files;
#[path = "../support/program.rs"]
pub(crate) mod program;
pub(crate) mod table;
pub(crate) mod trace;
pub(crate) mod wide;

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use bench::Figures;
use explain::Explained;
use files::Set;
use table::{Kept, Tables};
use trace::Key;

/// Finds for each key of a trace the first rule that matches it.
///
/// Every --rules FILE is a slice, from 0 on in the order given; no slice sees another's
/// rules. Files and traces may be compressed (xz, gzip). Blank lines and what follows `#`
/// are left out everywhere.
///
/// A file whose first line begins with `@` is a rule set as ClassBench writes it; rules are
/// numbered from 0, and the first that matches is the answer. Columns behind the protocol
/// are not looked at, and ports count whatever the protocol:
///
///   @10.0.0.0/8 192.0.2.1/32 1024 : 65535 53 : 53 0x11/0xff
///
/// Any other file is a routing table, IPv4 and IPv6 mixed as they come. The answer is the
/// line of the longest prefix that matches, where the first line of the file is 0, and blank
/// lines and comments count; of equal prefixes the first answers. Values are not looked at:
///
///   2001:db8::/32 7
///
/// A line of the trace asks a rule set by `slice sip dip sport dport proto`, numbers all
/// (addresses may also be written with dots), and a routing table by an address, with the
/// slice before it if there are several routing tables.
///
/// Prints one line for each key: the number of the rule, or `-` if none matches. Without
/// arguments it explains some keys against rules that come with it.
///
/// The exit status is 0, or 2 if the arguments or a file are wrong; nothing is printed then.
#[derive(Debug, Parser)]
#[command(name = "classify", version, verbatim_doc_comment)]
struct Arguments {
    /// Rules of a slice; may be given several times.
    #[arg(long, value_name = "FILE", requires = "trace")]
    rules: Vec<PathBuf>,

    /// The keys.
    #[arg(long, value_name = "FILE", requires = "rules")]
    trace: Option<PathBuf>,

    /// Prints how fast the table is instead, as one JSON object: entries (rules and
    /// prefixes), build_ms, bytes, ns_per_lookup_single, ns_per_lookup_batch (of 32 keys),
    /// update_us_median and update_us_p999 (one rule taken out or put in, while another
    /// thread looks keys up).
    #[arg(long)]
    bench: bool,

    /// Prints for each key why rules match, win, lose or do not match.
    #[arg(long, conflicts_with = "bench")]
    explain: bool,

    /// Writes what is printed as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The number of the first slice in the trace.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_slice: u16,

    /// Cache lines that a lookup may touch; rules that take more are refused.
    #[arg(long, value_name = "N", default_value_t = fastpath::lookup::TcamConfig::default().lines)]
    lines: u32,
}

/// What `--json` writes, but for `--bench`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    slices: &'a [Kept],
    answers: Vec<Option<u32>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explanations: Vec<Explained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bench: Option<Figures>,
}

const DEMO: [(&str, &str); 2] =
    [("filters.rules", include_str!("demo/filters.rules")), ("routes.txt", include_str!("demo/routes.txt"))];

fn main() -> ExitCode {
    program::exit("classify", run(std::env::args_os(), &mut std::io::stdout().lock()))
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
    let demo = arguments.rules.is_empty();
    let sets: Vec<Set> = match demo {
        true => DEMO.iter().map(|(name, text)| Set::read(name, text.as_bytes())).collect::<Result<_, _>>()?,
        false => arguments.rules.iter().map(|file| Set::open(file)).collect::<Result<_, _>>()?,
    };
    let keys: Vec<Key> = match &arguments.trace {
        None => trace::read("keys.txt", include_bytes!("demo/keys.txt"), &sets, arguments.first_slice)?,
        Some(file) => trace::open(file, &sets, arguments.first_slice)?,
    };
    let mut tables = Tables::new(&sets, arguments.first_slice, arguments.lines)?;
    if arguments.bench {
        let figures = bench::measure(&sets, &mut tables, &keys)?;
        writeln!(out, "{}", serde_json::to_string(&figures)?)?;
        return write_json(&arguments, &figures);
    }
    let mut report = Report {
        slices: &tables.kept(),
        answers: tables.answers(&keys),
        explanations: Vec::new(),
        bench: None,
    };
    let mut out = BufWriter::new(out);
    if arguments.explain || demo {
        if demo {
            writeln!(out, "{}\n", overview(report.slices))?;
        }
        for key in &keys {
            let explained = explain::explain(&sets, &tables, *key);
            writeln!(out, "{explained}")?;
            report.explanations.push(explained);
        }
        for line in explain::shadowed(&sets, &tables) {
            writeln!(out, "{line}")?;
        }
    } else {
        for answer in &report.answers {
            match answer {
                Some(number) => writeln!(out, "{number}")?,
                None => writeln!(out, "-")?,
            }
        }
    }
    if demo {
        let figures = bench::measure(&sets, &mut tables, &keys)?;
        writeln!(out, "\n{}", figures.sentence())?;
        report.bench = Some(figures);
    }
    out.flush()?;
    write_json(&arguments, &report)
}

fn write_json(arguments: &Arguments, what: &impl Serialize) -> Result<u8, Box<dyn Error>> {
    if let Some(file) = &arguments.json {
        program::write_json(file, what)?;
    }
    Ok(0)
}

/// What each slice holds and how it is found.
fn overview(slices: &[Kept]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["slice", "rules of", "kind", "entries", "engine", "cache lines", "octets"]);
    for kept in slices {
        let Kept { slice, file, kind, entries, engine, lines, octets } = kept;
        let [slice, entries, lines] =
            [usize::from(*slice), *entries, *lines as usize].map(|number| number.to_string());
        table.add_row([&slice, file, *kind, &entries, engine, &lines, &octets.to_string()]);
    }
    for column in [0, 3, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
