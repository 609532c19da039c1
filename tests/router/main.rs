//! The example program `router` between hosts: two of it in a row, in network namespaces, and
//! the kernel's own VXLAN devices at both ends. Two slices with the same addresses share them.
//!
//! Needs Linux, root and the programs that `net.rs` names; skipped without, unless
//! `FASTPATH_REQUIRE_ORACLES` is 1.

#![cfg(target_os = "linux")]

mod answers;
mod changes;
mod commands;
mod devices;
mod kinds;
mod net;
#[path = "../support/oracle.rs"]
mod oracle;
mod program;
mod refusals;
#[path = "../support/scratch.rs"]
mod scratch;
mod shares;
mod soak;
mod traffic;
mod transfer;
mod world;
