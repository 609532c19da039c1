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

pub use crate::words::Words;
pub use bank::{AssignError, Region, SramBank};

use crate::id::SliceId;

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
