//! Per-slice memory beside the pipeline (section 4): lookup tables, counters and
//! state of code options, written by slice managers while packets pass.
//!
//! ```
//! use fastpath::id::SliceId;
//! use fastpath::sram::{Region, SliceSram, SramBank};
//! use core::sync::atomic::AtomicU32;
//!
//! let bank = SramBank::new([const { AtomicU32::new(0) }; 64], [const { Region::NONE }; 4]);
//! bank.assign(SliceId(1), 16)?;
//! bank.assign(SliceId(2), 48)?;
//! bank.region(SliceId(1)).set(3, 7);
//! assert_eq!(bank.region(SliceId(1)).get(3), Some(7));
//! assert_eq!(bank.region(SliceId(1)).get(16), None, "no slice sees past its words");
//! assert_eq!(bank.region(SliceId(2)).get(3), Some(0));
//! # Ok::<(), fastpath::sram::AssignError>(())
//! ```

mod bank;

pub use bank::{AssignError, Region, SramBank};

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::id::SliceId;

/// The words of one slice, and of no other.
///
/// Atomic: control reads and writes them while packets pass, as the paper's generic
/// memory commands do, and cores may share them. `get` and `set` are relaxed, which on
/// x86 and Arm is a plain load or store; [`acquire`](Self::acquire) and
/// [`publish`](Self::publish) are for a word that says that others are written;
/// [`fetch_add`](Self::fetch_add) is for words that several writers share, and costs
/// 8 to 20 cycles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a>(&'a [AtomicU32]);

impl<'a> Words<'a> {
    /// No memory.
    pub const NONE: Self = Self(&[]);

    /// A view of `words`.
    pub const fn new(words: &'a [AtomicU32]) -> Self {
        Self(words)
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The word at `at`, or `None` outside the slice's memory.
    #[inline(always)]
    pub fn get(self, at: usize) -> Option<u32> {
        Some(self.0.get(at)?.load(Relaxed))
    }

    /// Writes the word at `at`; `None`, and nothing written, outside.
    #[inline(always)]
    pub fn set(self, at: usize, word: u32) -> Option<()> {
        self.0.get(at)?.store(word, Relaxed);
        Some(())
    }

    /// The word at `at`, and with it all that its writer wrote before
    /// [`publish`](Self::publish).
    #[inline(always)]
    pub fn acquire(self, at: usize) -> Option<u32> {
        Some(self.0.get(at)?.load(Acquire))
    }

    /// Writes the word at `at` after all that was written before.
    #[inline(always)]
    pub fn publish(self, at: usize, word: u32) -> Option<()> {
        self.0.get(at)?.store(word, Release);
        Some(())
    }

    /// Adds to the word at `at` and returns what it was; wraps.
    #[inline(always)]
    pub fn fetch_add(self, at: usize, n: u32) -> Option<u32> {
        Some(self.0.get(at)?.fetch_add(n, Relaxed))
    }

    /// Starts fetching the line of the word at `at`.
    #[inline(always)]
    pub fn prefetch(self, at: usize) {
        if let Some(word) = self.0.get(at) {
            crate::arch::prefetch(word);
        }
    }
}

/// Memory that each slice sees as its own.
///
/// # Contract
///
/// - Regions of two slices never overlap.
/// - A slice with no memory has an empty region, not an error.
/// - The region of a slice changes by control only, never by what passes.
///
/// Check an implementation with `conformance::slice_sram`.
pub trait SliceSram {
    /// The words of `slice`.
    fn region(&self, slice: SliceId) -> Words<'_>;
}

/// No memory for any slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSram;

impl SliceSram for NoSram {
    #[inline(always)]
    fn region(&self, _: SliceId) -> Words<'_> {
        Words::NONE
    }
}

impl<T: SliceSram + ?Sized> SliceSram for &T {
    #[inline(always)]
    fn region(&self, slice: SliceId) -> Words<'_> {
        (**self).region(slice)
    }
}

impl<T: SliceSram + ?Sized> SliceSram for &mut T {
    #[inline(always)]
    fn region(&self, slice: SliceId) -> Words<'_> {
        (**self).region(slice)
    }
}

#[cfg(feature = "alloc")]
impl<T: SliceSram + ?Sized> SliceSram for alloc::sync::Arc<T> {
    #[inline(always)]
    fn region(&self, slice: SliceId) -> Words<'_> {
        (**self).region(slice)
    }
}
