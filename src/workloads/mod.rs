//! Workloads: rule sets, routing tables, traffic and adversaries for benchmarks and
//! tests.
//!
//! | module | what |
//! |---|---|
//! | [`classbench`] | rules as ClassBench writes them |
//! | [`routes`] | routing tables, IPv4 and IPv6 |
//! | [`ranges`] | port ranges as prefixes, rules as ternary filters |
//! | [`trace`] | flows that match a rule set, addresses that match a routing table |
//! | [`traffic`] | which item, how long, and when: Zipf, IMIX, arrival processes |
//! | [`packets`] | IPv4 packets with UDP in a caller's buffer, and damage to them |
//! | [`adversary`] | filters and keys chosen to be slow |
//!
//! Whatever is random comes from a seed: the same arguments yield the same sequence,
//! run after run. (Zipf and the exponential distribution compute with `f64`; across
//! platforms whose mathematical functions round differently a draw may differ.)
//!
//! A rule set of two rules becomes a table, and a trace is looked up in it:
//!
//! ```
//! use fastpath::id::SliceId;
//! use fastpath::key::TableKey;
//! use fastpath::lookup::{LinearTcam, TernaryTable, TernaryUpdate};
//! use fastpath::workloads::{classbench, ranges, trace::Trace};
//!
//! let text = "\
//! @10.0.0.0/8\t192.0.2.1/32\t1024 : 65535\t53 : 53\t0x11/0xFF\t0x0000/0x0000
//! @0.0.0.0/0\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00\t0x0000/0x0000
//! ";
//! let rules = classbench::read(text.as_bytes())?;
//! let slice = SliceId(1);
//! let mut table = LinearTcam::new([None; 16]);
//! for (rank, filter) in ranges::filters(slice, &rules) {
//!     table.insert(rank, filter, rank.0)?;
//! }
//! for flow in Trace::uniform(&rules, 7)?.take(1000) {
//!     let found = table.lookup(TableKey::new(slice, flow.key()));
//!     assert_eq!(found, classbench::first_match(&rules, &flow).map(|index| index as u32));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Rules and routes.
pub mod classbench;
mod flow;
mod prefix;
pub mod ranges;
pub mod routes;
mod text;

// What is sent.
pub mod packets;
pub mod trace;
pub mod traffic;

// What is sent by those who mean harm.
pub mod adversary;

pub use flow::{Flow, Pattern};
pub use prefix::{Address, Prefix};
pub use text::{Problem, ReadError};

use rand::SeedableRng;

/// A generator with a name, so that its sequence does not change with a version.
type Random = rand::rngs::Xoshiro256PlusPlus;

fn random(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}
