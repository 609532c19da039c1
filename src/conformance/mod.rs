//! The checks that every implementation of a trait must pass, ours and yours.
//!
//! A kit for each of the six traits, and one for [`AllMatches`](crate::lookup::AllMatches).
//! Each is a function that is run inside a test, takes the implementation, and panics
//! at the first breach of the trait's written contract, with a message that says which.
//! All that is drawn at random follows from a seed, so that a failure comes back.
//!
//! | trait | kit |
//! |---|---|
//! | [`Decap`](crate::decap::Decap) | [`decap`](decap()) |
//! | [`CodeOption`](crate::code_option::CodeOption) | [`code_option`](code_option()), [`code_option_in`] |
//! | [`TernaryUpdate`](crate::lookup::TernaryUpdate) | [`ternary_table`], [`all_matches`] |
//! | [`WdrrScheduler`](crate::queue::WdrrScheduler) | [`wdrr_scheduler`] |
//! | [`StatsBlock`](crate::stats::StatsBlock) | [`stats_block`] |
//! | [`SliceSram`](crate::sram::SliceSram) | [`slice_sram`] |
//!
//! What a kit cannot see stays with the implementor: that nothing is allocated, what a
//! call costs, and that a loop ends (a test that hangs is a breach, too).
//!
//! ```
//! use fastpath::conformance::{self, Rng};
//! use fastpath::id::SliceId;
//! use fastpath::key::LookupKey;
//! use fastpath::lookup::{LinearTcam, Rank};
//!
//! // A table with room for 64 filters, of any form, of slices 1 and 2.
//! let table = || LinearTcam::new([None; 64]);
//! let pattern = |rng: &mut Rng| {
//!     let (rank, value, mask) = (rng.below(4), rng.below(16), rng.below(16));
//!     (Rank(rank as u32), LookupKey::new(value.into()), LookupKey::new(mask.into()))
//! };
//! conformance::ternary_table(table, pattern, &[SliceId(1), SliceId(2)], 8, 1);
//! conformance::all_matches(table, pattern, &[SliceId(1), SliceId(2)], 8, 1);
//! ```

// A kit reports by panic, and its own mistakes are to be seen at once.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod code_option;
mod decap;
mod lookup;
mod queue;
mod rng;
mod sram;
mod stats;

pub use code_option::{code_option, code_option_in};
pub use decap::decap;
pub use lookup::{TABLE_ROOM, all_matches, ternary_table};
pub use queue::{QueueSet, wdrr_scheduler};
pub use rng::Rng;
pub use sram::slice_sram;
pub use stats::{events, stats_block};

use alloc::vec::Vec;

/// Octet strings near `sample`: itself, every truncation, every single bit flip, the
/// sample with more behind it, `count` times random damage, and noise.
fn near(sample: &[u8], count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..=sample.len()).rev().map(|len| sample[..len].to_vec()).collect();
    for bit in 0..8 * sample.len() {
        let mut octets = sample.to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        all.push(octets);
    }
    for _ in 0..count {
        let mut octets = sample.to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(octets.len() as u64) as usize;
            if let Some(octet) = octets.get_mut(at) {
                *octet = rng.bits() as u8;
            }
        }
        match rng.below(4) {
            0 => octets.truncate(rng.below(octets.len() as u64 + 1) as usize),
            1 => octets.extend((0..rng.below(64)).map(|_| rng.bits() as u8)),
            _ => {}
        }
        all.push(octets);
    }
    for len in 0..sample.len().min(128) {
        all.push((0..len).map(|_| rng.bits() as u8).collect());
    }
    all
}
