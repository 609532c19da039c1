//! The crate's tables beside those of others, in one process, round by round in turn:
//! DPDK's rte_acl, rte_fib, rte_lpm, rte_fib6 and rte_hash where it is installed, the crates
//! prefix-trie and treebitmap, hashbrown as the standard library has it, a linear scan for
//! few filters, and the same table without vector instructions; then lookups of one slice
//! beside those of another.
//!
//! `cargo run --release --bin lookup -- [--csv FILE] [--rounds N] [--only TEXT]`, where
//! `--only` names part of a case's name. With `--growth FILE` it measures instead how figures
//! grow with filters and slices, writes them to the file and draws `docs/lookup-*.svg`; with
//! `--draw FILE` it draws what is in the file. Before anything is timed, all sides must give the
//! same answers to the whole trace, one by one and in batches of 32.
//!
//! | trace | keys |
//! |---|---|
//! | uniform | of each rule or prefix as many as of any other |
//! | zipf | the same, some much more often than others: exponent 1.1 |
//! | space | of all 5-tuples, or all unicast addresses, whatever the rules |
//! | costly | those of a sample that touch the most cache lines here; in routing tables of the longest prefixes |
//!
//! What is timed is 1,024 keys at a time, over the whole trace in each round; of each such
//! part the least and the median of all rounds count, so that what an interruption adds
//! does not. Cold is a batch of 32 after 64 MB of other memory were touched.

mod cases;
mod crates;
mod dpdk;
#[path = "../draw.rs"]
mod draw;
mod growth;
mod memory;
mod neighbours;
mod ours;
mod rounds;
mod side;
#[path = "../times.rs"]
mod times;
mod traces;
mod updates;

use cases::Run;
use growth::Growth;

/// Where the pictures go.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let rounds = value("--rounds").map_or(9, |rounds| rounds.parse().unwrap());
    if let Some(file) = value("--draw") {
        return draw::draw(&growth::ALBUM, &std::fs::read_to_string(file).unwrap(), DOCS).unwrap();
    }
    let mut run = Run::new(rounds, value("--only").cloned().unwrap_or_default(), value("--csv").cloned());
    match dpdk::start() {
        Ok(()) => println!("with the tables of DPDK"),
        Err(why) => println!("WITHOUT the tables of DPDK, rows of rte_ are missing: {why}"),
    }
    if let Some(file) = value("--growth") {
        Growth::measure(rounds, file);
        return draw::draw(&growth::ALBUM, &std::fs::read_to_string(file).unwrap(), DOCS).unwrap();
    }
    println!("ns a key, least (median) of {rounds} rounds in turn; ours is `fastpath` of the same rows");
    run.all();
}
