//! One block of memory, cut into regions of the sizes that slices ask for.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::id::SliceId;
use crate::sram::{SliceSram, Words};
use crate::store::Store;

/// Where a slice's words lie in a [`SramBank`]: one word, so that it changes at once
/// for readers of any core.
#[derive(Debug, Default)]
pub struct Region(AtomicU64);

impl Region {
    /// No memory.
    #[allow(clippy::declare_interior_mutable_const)]
    pub const NONE: Self = Self(AtomicU64::new(0));

    fn set(&self, start: u32, len: u32) {
        self.0.store(u64::from(start) << 32 | u64::from(len), Release);
    }

    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        let packed = self.0.load(Acquire);
        ((packed >> 32) as usize, packed as u32 as usize)
    }
}

/// Why a slice got no memory. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The bank numbers its slices from 0 and has not that many.
    #[error("slice {slice} is out of range: the bank serves slices below {slices}")]
    UnknownSlice {
        /// The slice asked for.
        slice: SliceId,
        /// How many the bank serves.
        slices: usize,
    },
    /// No gap between the regions is that long.
    #[error("no gap of {asked} words among the bank's {words}: ask for less, or withdraw another region")]
    NoRoom {
        /// Words asked for.
        asked: u32,
        /// Words of the bank.
        words: usize,
    },
}

/// A block of words that slices share, each its own part.
///
/// `M` holds the words and `R` a [`Region`] for each slice number. A lookup of a region
/// costs one load and two comparisons; assigning searches the gaps in
/// O(slices * regions), which is control's time.
#[derive(Debug)]
pub struct SramBank<M, R> {
    words: M,
    regions: R,
}

impl<M: Store<Item = AtomicU32>, R: Store<Item = Region>> SramBank<M, R> {
    /// A bank that no slice has a part of.
    pub fn new(words: M, regions: R) -> Self {
        regions.items().iter().for_each(|region| region.set(0, 0));
        Self { words, regions }
    }

    /// Gives `slice` a region of `words` words, all 0, in place of what it has.
    ///
    /// For one controlling thread; packets may pass meanwhile. A region that is taken
    /// away may still be read by a vector that began before, so the controller waits
    /// for the end of that vector before it assigns the same memory to another slice.
    ///
    /// # Errors
    ///
    /// [`AssignError`]; the slice keeps the region it has.
    pub fn assign(&self, slice: SliceId, words: u32) -> Result<(), AssignError> {
        let regions = self.regions.items();
        let unknown = AssignError::UnknownSlice { slice, slices: regions.len() };
        let region = regions.get(usize::from(slice.0)).ok_or(unknown)?;
        if words == 0 {
            region.set(0, 0);
            return Ok(());
        }
        let all = self.words.items();
        let others = || {
            let others = regions.iter().filter(|other| !core::ptr::eq(*other, region));
            others.map(Region::bounds).filter(|(_, len)| *len > 0)
        };
        // First fit: the bank's start, or the end of another region.
        let starts = core::iter::once(0).chain(others().map(|(start, len)| start + len));
        let fits = |start: &usize| {
            let end = start + words as usize;
            // A region's bounds have 32 bits.
            end <= all.len().min(u32::MAX as usize)
                && others().all(|(other, len)| end <= other || other + len <= *start)
        };
        let no_room = AssignError::NoRoom { asked: words, words: all.len() };
        let start = starts.filter(fits).min().ok_or(no_room)?;
        region.set(0, 0);
        for word in all.iter().skip(start).take(words as usize) {
            word.store(0, Relaxed);
        }
        region.set(start as u32, words);
        Ok(())
    }

    /// Words that no region holds, in gaps of any size.
    pub fn free(&self) -> usize {
        let used: usize = self.regions.items().iter().map(|region| region.bounds().1).sum();
        self.words.items().len() - used
    }
}

impl<M: Store<Item = AtomicU32>, R: Store<Item = Region>> SliceSram for SramBank<M, R> {
    #[inline(always)]
    fn region(&self, slice: SliceId) -> Words<'_> {
        let Some(region) = self.regions.items().get(usize::from(slice.0)) else { return Words::NONE };
        let (start, len) = region.bounds();
        Words::new(self.words.items().get(start..start + len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec;

    proptest! {
        /// Whatever is assigned and taken back, no two regions share a word.
        #[test]
        fn regions_never_overlap(asked in prop::collection::vec((0u16..6, 0u32..40), 1..40)) {
            let words: Box<[AtomicU32]> = (0..100).map(|_| AtomicU32::new(0)).collect();
            let bank = SramBank::new(words, [const { Region::NONE }; 5]);
            for (slice, words) in asked {
                let before: Vec<usize> = (0..5).map(|s| bank.region(SliceId(s)).len()).collect();
                let free = bank.free();
                match bank.assign(SliceId(slice), words) {
                    Ok(()) => prop_assert_eq!(bank.region(SliceId(slice)).len(), words as usize),
                    Err(AssignError::UnknownSlice { .. }) => prop_assert_eq!(slice, 5),
                    Err(AssignError::NoRoom { .. }) => {
                        let after: Vec<usize> = (0..5).map(|s| bank.region(SliceId(s)).len()).collect();
                        prop_assert_eq!((before, free), (after, bank.free()));
                    }
                }
                for owner in 0..5u16 {
                    let region = bank.region(SliceId(owner));
                    (0..region.len()).for_each(|at| region.set(at, u32::from(owner)).unwrap());
                }
                for owner in 0..5u16 {
                    let region = bank.region(SliceId(owner));
                    prop_assert!((0..region.len()).all(|at| region.get(at) == Some(u32::from(owner))));
                    prop_assert_eq!(region.get(region.len()), None);
                }
            }
        }
    }

    #[test]
    fn a_new_region_holds_nothing_of_another() {
        let bank = SramBank::new([const { AtomicU32::new(9) }; 8], [const { Region::NONE }; 3]);
        bank.assign(SliceId(1), 8).unwrap();
        bank.region(SliceId(1)).set(0, 7).unwrap();
        let refused = bank.assign(SliceId(2), 1);
        assert_eq!(refused, Err(AssignError::NoRoom { asked: 1, words: 8 }));
        bank.assign(SliceId(1), 0).unwrap();
        bank.assign(SliceId(2), 8).unwrap();
        assert!((0..8).all(|at| bank.region(SliceId(2)).get(at) == Some(0)));
        assert_eq!(bank.free(), 0);
    }
}
