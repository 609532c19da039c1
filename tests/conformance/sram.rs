//! Slice memory.

use core::sync::atomic::AtomicU32;

use fastpath::conformance::slice_sram;
use fastpath::id::SliceId;
use fastpath::sram::{NoSram, Region, SliceSram, SramBank, Words};

#[test]
fn a_bank_is_slice_memory() {
    let words: Box<[AtomicU32]> = (0..300).map(|_| AtomicU32::new(0)).collect();
    let bank = SramBank::new(words, [const { Region::NONE }; 8]);
    let slices = [(SliceId(1), 100), (SliceId(3), 1), (SliceId(4), 150), (SliceId(7), 49), (SliceId(2), 0)];
    for (slice, words) in slices {
        bank.assign(slice, words as u32).unwrap();
    }
    slice_sram(&bank, &slices);
    // In gaps, after changes.
    bank.assign(SliceId(1), 30).unwrap();
    bank.assign(SliceId(5), 60).unwrap();
    slice_sram(
        &bank,
        &[(SliceId(1), 30), (SliceId(3), 1), (SliceId(4), 150), (SliceId(5), 60), (SliceId(7), 49)],
    );
}

#[test]
fn no_memory_is_slice_memory() {
    slice_sram(NoSram, &[]);
}

/// `words` words a slice from `step` times its number on, for slices 0 to 3.
struct Strides {
    all: Vec<AtomicU32>,
    step: usize,
    words: usize,
    slices: u16,
}

impl Strides {
    fn new(step: usize, words: usize, slices: u16) -> Self {
        Self { all: (0..64).map(|_| AtomicU32::new(0)).collect(), step, words, slices }
    }
}

impl SliceSram for Strides {
    fn region(&self, slice: SliceId) -> Words<'_> {
        let start = self.step * usize::from(slice.0 % self.slices);
        if slice.0 < self.slices || self.slices < 4 {
            Words::new(&self.all[start..start + self.words])
        } else {
            Words::NONE
        }
    }
}

const FOUR: [(SliceId, usize); 4] = [(SliceId(0), 8), (SliceId(1), 8), (SliceId(2), 8), (SliceId(3), 8)];

#[test]
fn the_kit_takes_equal_parts() {
    slice_sram(Strides::new(8, 8, 4), &FOUR);
}

#[test]
#[should_panic(expected = "regions overlap")]
fn the_kit_catches_regions_that_overlap() {
    slice_sram(Strides::new(7, 8, 4), &FOUR);
}

#[test]
#[should_panic(expected = "has no memory, but a region that is not empty")]
fn the_kit_catches_numbers_that_wrap() {
    slice_sram(Strides::new(8, 8, 3), &FOUR[..3]);
}

#[test]
#[should_panic(expected = "words of slice 2")]
fn the_kit_catches_a_region_of_another_size() {
    let mut slices = FOUR;
    slices[2].1 = 9;
    slice_sram(Strides::new(8, 8, 4), &slices);
}
