//! The kit of [`SliceSram`].

use crate::id::SliceId;
use crate::sram::SliceSram;

/// Checks that each of `slices` has the number of words that stands beside it, shared
/// with no other, and that no further slice has any:
///
/// - regions of two slices do not overlap: a word that is written, by whatever method,
///   stays as it is whatever others write;
/// - the region of a slice with no memory is empty;
/// - a region stays where it is while packets pass.
///
/// Overwrites the words of all `slices`.
///
/// # Panics
///
/// At the first breach, or if a slice is named twice.
pub fn slice_sram(sram: impl SliceSram, slices: &[(SliceId, usize)]) {
    for (at, (slice, words)) in slices.iter().enumerate() {
        assert!(slices[..at].iter().all(|(other, _)| other != slice), "slice {slice} is named twice");
        let region = sram.region(*slice);
        assert_eq!(region.len(), *words, "slice_sram: words of slice {slice}");
        assert_eq!(region.is_empty(), *words == 0, "slice_sram: words of slice {slice}");
        assert_eq!(region.get(*words), None, "slice_sram: slice {slice} reads past its words");
        assert_eq!(region.set(*words, 1), None, "slice_sram: slice {slice} writes past its words");
    }
    for slice in (0..=u16::MAX).map(SliceId) {
        if slices.iter().all(|(known, _)| *known != slice) {
            let len = sram.region(slice).len();
            assert_eq!(len, 0, "slice_sram: slice {slice} has no memory, but a region that is not empty");
        }
    }
    // A word's value says whose it is and which.
    let mark = |slice: SliceId, at: usize, salt: u32| (u32::from(slice.0) << 16 | at as u32) ^ salt;
    for (round, salt) in [0, 0x5a5a_5a5a, u32::MAX].into_iter().enumerate() {
        for &(slice, words) in slices {
            let region = sram.region(slice);
            for at in 0..words {
                let word = mark(slice, at, salt);
                let done = match round {
                    0 => region.set(at, word),
                    1 => region.publish(at, word),
                    _ => region.get(at).and_then(|old| {
                        region.fetch_add(at, word.wrapping_sub(old)).map(|was| {
                            assert_eq!(was, old, "slice_sram: what `fetch_add` found");
                        })
                    }),
                };
                assert!(done.is_some(), "slice_sram: slice {slice} cannot write its word {at}");
            }
        }
        for &(slice, words) in slices {
            let region = sram.region(slice);
            assert_eq!(region.len(), words, "slice_sram: writing changed the region of slice {slice}");
            for at in 0..words {
                let word = Some(mark(slice, at, salt));
                let overlap = "slice_sram: regions overlap: another write changed";
                assert_eq!(region.get(at), word, "{overlap} word {at} of slice {slice}");
                assert_eq!(region.acquire(at), word, "{overlap} word {at} of slice {slice}");
            }
        }
    }
}
