//! The parts a multi-tenant router is built from.
//!
//! **fastpath** is the fast path of "Supercharging PlanetLab" (Turner et al., SIGCOMM
//! 2007) as a library. Many tenants, *slices*, share it; each has a protocol, filters,
//! queues and memory of its own, and none can reach another's. What it cannot do goes
//! to the slice's slow path.
//!
//! ```text
//!  Rx -> Substrate Decap -> Parse -> Lookup -> Header Format -> Queue Manager -> Tx
//!  io    decap              code_option  lookup  code_option    queue            io
//!                                 |         |         |
//!                                 |       egress      +--> stats (off the main path)
//!                                 +------ sram -------+
//! ```
//!
//! | block of Figure 4 | module | trait | default |
//! |---|---|---|---|
//! | Rx, Tx | [`io`] | [`Rx`](io::Rx), [`Tx`](io::Tx) | [`Ring`](io::Ring) |
//! | Substrate Decap | [`decap`] | [`Decap`](decap::Decap) | [`UdpPorts`](decap::UdpPorts) |
//! | Parse, Header Format | [`code_option`] | [`CodeOption`](code_option::CodeOption) | [`Ipv4`](code_option::ipv4::Ipv4) |
//! | Lookup | [`lookup`] | [`TernaryTable`](lookup::TernaryTable) | `Tcam`; [`LinearTcam`](lookup::LinearTcam) |
//! | Queue Manager | [`queue`] | [`WdrrScheduler`](queue::WdrrScheduler) | [`QueueManager`](queue::QueueManager) |
//! | Statistics | [`stats`] | [`StatsBlock`](stats::StatsBlock) | [`Counters`](stats::Counters) |
//! | slice memory | [`sram`] | [`SliceSram`](sram::SliceSram) | [`SramBank`](sram::SramBank) |
//! | the way out | [`egress`] | [`EgressTable`](egress::EgressTable) | `[Egress; N]` |
//! | all of them, joined | [`pipeline`] | | [`FastPath`](pipeline::FastPath) |
//!
//! Bytes come in, a verdict goes out: no I/O, no clock, no lock, no allocation and no
//! panic on the way. [`pipeline`] shows the wiring in 20 lines.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | none | the core: works on arrays and on memory that the caller lends |
//! | `alloc` | tables that grow, boxed memory, the node with its slices and their control |
//! | `std` (default) | `alloc`, and what needs an operating system |
//! | `runtime` | threads that forward: the loop of a worker, and several workers for one node (Unix) |
//! | `pcap` | reading and writing capture files |
//! | `net` | ports of the operating system (Linux): UDP sockets, TUN devices, packet sockets |
//! | `netlink` | `net`, and next hops from the kernel's routes and neighbours (Linux) |
//! | `conformance` | a check kit for each trait, to be run by whoever implements it |
//! | `workloads` | rule sets, traffic and adversaries for tests and benchmarks |

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;
// What tests share with those outside is written as if it stood outside.
#[cfg(test)]
extern crate self as fastpath;

// The words that all blocks share.
pub mod arch;
#[cfg(feature = "alloc")]
pub mod epoch;
pub mod exit;
pub mod id;
pub mod key;
pub mod packet;
#[cfg(feature = "alloc")]
pub mod prefix;
pub mod slot;
pub mod store;
pub mod time;
pub mod wire;
pub mod words;

// The blocks, in the order in which a packet meets them.
pub mod io;
// Whose packet is it?
pub mod decap;
// What does it ask for, and how is it rewritten?
pub mod code_option;
// Which filter answers?
pub mod lookup;
// Where does that lead?
pub mod egress;
// When is it sent?
pub mod queue;
// What happened?
pub mod stats;
// What does the slice remember?
pub mod sram;

// The blocks joined.
pub mod pipeline;

// The checks of each block, for whoever writes one.
#[cfg(feature = "conformance")]
pub mod conformance;

// Slices, their resources and their control.
#[cfg(feature = "alloc")]
pub mod node;

// What the fast path leaves to each slice.
#[cfg(feature = "alloc")]
pub mod manager;

// The threads that forward; the model checker knows no operating system.
#[cfg(all(feature = "runtime", unix, not(loom)))]
pub mod runtime;

// What benchmarks and tests feed on.
#[cfg(feature = "workloads")]
pub mod workloads;

/// What a program that wires a pipeline uses: `use fastpath::prelude::*`.
pub mod prelude {
    pub use crate::code_option::ipv4::{Ipv4, Ipv4Key};
    pub use crate::code_option::{Answer, CodeOption, Context, Outgoing, Query};
    pub use crate::decap::{
        Access, Decap, PortConfig, PortEntry, TunnelConfig, TunnelEntry, TunnelKind, Tunnels, UdpPorts,
    };
    pub use crate::egress::{Egress, EgressTable, Encapsulation, LinkLayer, Template, Tunnel};
    pub use crate::exit::{DropReason, Exception, Exit};
    pub use crate::id::{EgressId, LinkId, OptionId, QueueId, SliceId};
    pub use crate::io::{Rx, Tx};
    pub use crate::key::{LookupKey, TableKey};
    pub use crate::lookup::{Filter, LinearTcam, Rank, TernaryTable, TernaryUpdate};
    pub use crate::packet::{Packet, PacketMut};
    pub use crate::pipeline::{FastPath, KeepInSlot, NoSlowPath, SlowPath, drain};
    pub use crate::queue::{
        Arrival, Descriptor, Line, Paced, Quantum, Queue, QueueConfig, QueueManager, Rate, Scheduled,
        TailDrop, Wdrr, WdrrScheduler,
    };
    pub use crate::slot::{Admission, Layer, RxMeta, Slot};
    pub use crate::sram::{NoSram, SliceSram, SramBank};
    pub use crate::stats::{Count, Counters, Event, ROW, StatsBlock};
    pub use crate::time::Nanos;
}
