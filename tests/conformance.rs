//! The kits on all of the crate's own implementations, and beside each kit wrong
//! implementations that it must catch.
#![cfg(feature = "conformance")]

#[path = "conformance/code_option.rs"]
mod code_option;
#[path = "conformance/decap.rs"]
mod decap;
#[path = "conformance/lookup.rs"]
mod lookup;
#[path = "conformance/queue.rs"]
mod queue;
#[path = "conformance/sram.rs"]
mod sram;
#[path = "conformance/stats.rs"]
mod stats;
