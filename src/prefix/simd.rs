//! One of the files that need `unsafe`: which instructions look 16 keys up at once.
//!
//! The choice is made when a table is built, by what the machine can do, or by what the
//! compiler may assume where there is no `std` to ask the machine. A batch takes one branch;
//! inside, everything is one function for one kind of machine.

#![allow(unsafe_code)]

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

use super::address::Address;
use super::arena::Line;
use super::batch::{Asked, FEW, GROUP, HALF, Half};
use super::block::{line, walk};
use super::chunk::STRIDE;
use super::flat::{BELOW, Flat, NOTHING};
use super::ranges::{Ends, Ranges};
use super::read::PrefixRead;
use crate::arch::prefetch_line;

/// What a batch is generic over.
pub(super) trait Isa: Copy {
    /// One level of chunks: puts what the chunks have for the slots in the place of those
    /// that are chunks among `next`. Where that is another chunk, `best` becomes what covers
    /// all of the first, if anything does; where it is not, `best` may become that.
    fn pass(self, memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half);

    /// Chunks on the ways of keys, on `levels` levels and one more, of which some are open: puts
    /// what the last of them has for a key in the place of those that are chunks among `next`, and
    /// in that of `at`, which is the same for all before, the bit from which the way goes on. A few
    /// keys may stay at a chunk before that. What covers chunks is left out.
    fn pass_open(
        self, memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP],
        at: &mut [u32; GROUP],
    );

    /// The entries at `index`; of what is beyond the end the last. Relaxed loads.
    fn fetch(self, entries: &[AtomicU32], index: &Half) -> Half;

    /// What the codes of slots stand for, which are the first of so many 32 bits; for which of
    /// them that is a chunk, and for which what their short cells have.
    fn decode<const N: usize>(self, flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32);

    /// What ranges have for keys.
    fn find<A: Address>(
        self, ranges: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
    ) -> Ends;

    /// See [`PrefixRead::go_all`]: one function for all that look up in this way.
    fn go_all<A: Address>(
        self, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
    );

    /// Puts the low half of the cell at `index`, if there is one, in the place of what is 0
    /// among `found`. Acquire loads.
    fn fetch_missing(self, cells: &[AtomicU64], index: &Half, found: &mut Half);
}

/// Any machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below 16 by a remainder: nothing is checked")]
    fn pass(self, memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half) {
        // A bit for each key that is at a chunk. Not a list of them: where a list's next
        // element goes depends on the line that is waited for, and loads wait for that.
        let active = next.iter().zip(0..).fold(0, |bits, (next, nth)| bits | (next >> 31) << nth);
        for nth in lanes(active) {
            prefetch_line(memory, line(next[nth], slots[nth] as usize).0, 0);
        }
        for nth in lanes(active) {
            let (found, above) = walk(memory, next[nth], slots[nth] as usize);
            best[nth] = if above == 0 { best[nth] } else { above };
            next[nth] = found;
        }
    }
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `lanes`")]
    fn pass_open(
        self, memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP],
        at: &mut [u32; GROUP],
    ) {
        for _ in 0..=levels {
            let active = next.iter().zip(0..).fold(0u32, |bits, (next, nth)| bits | (next >> 31) << nth);
            let slot = |nth: usize, at: u32| (high[nth] << (at & 63) >> 58) as usize;
            for nth in lanes(active) {
                prefetch_line(memory, line(next[nth], slot(nth, at[nth])).0, 0);
            }
            for nth in lanes(active) {
                next[nth] = walk(memory, next[nth], slot(nth, at[nth])).0;
                at[nth] += STRIDE;
            }
        }
    }
    #[inline(always)]
    fn fetch(self, entries: &[AtomicU32], index: &Half) -> Half {
        let Some(last) = entries.len().checked_sub(1) else { return [0; HALF] };
        index.map(|at| entries.get(last.min(at as usize)).map_or(0, |entry| entry.load(Relaxed)))
    }
    #[inline(always)]
    fn decode<const N: usize>(self, flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32) {
        let slots = tops.map(|top| top >> flat.rest());
        let codes = slots.map(|slot| flat.code(slot as usize));
        // The values were written before the codes were.
        fence(Acquire);
        let each = found.iter_mut().zip(&codes).zip(&slots);
        each.for_each(|((found, code), slot)| *found = flat.meaning(*code, *slot as usize));
        codes.iter().zip(0..).fold((0, 0), |(below, covered), (code, nth)| {
            (below | u32::from(*code == BELOW) << nth, covered | u32::from(*code == NOTHING) << nth)
        })
    }
    #[inline(always)]
    fn find<A: Address>(
        self, ranges: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
    ) -> Ends {
        ranges.find_all(keys, found)
    }
    #[inline(always)]
    fn go_all<A: Address>(
        self, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
    ) {
        read.go_all(self, keys, asked, found);
    }
    #[inline(always)]
    fn fetch_missing(self, cells: &[AtomicU64], index: &Half, found: &mut Half) {
        for (found, &at) in found.iter_mut().zip(index).filter(|(found, _)| **found == 0) {
            *found = cells.get(at as usize).map_or(0, |cell| cell.load(Acquire) as u32);
        }
    }
}

/// The numbers of the bits that are set.
#[inline(always)]
fn lanes(mut bits: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let nth = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (nth < GROUP).then_some(nth)
    })
}

/// The instructions that batches use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Machine {
    /// Those of any machine.
    #[cfg_attr(all(target_feature = "popcnt", target_feature = "bmi2", not(test)), allow(dead_code))]
    Portable,
    /// The same, where POPCNT and BMI2 are instructions.
    #[cfg(target_arch = "x86_64")]
    Counting(x86::Counting),
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Wide(x86::Wide),
}

impl Machine {
    /// The best there is.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(isa) = x86::Wide::detect() {
                return Self::Wide(isa);
            }
            if let Some(isa) = x86::Counting::detect() {
                return Self::Counting(isa);
            }
        }
        Self::Portable
    }

    /// Many keys, see [`PrefixRead::look_up_all`].
    #[inline(always)]
    pub(super) fn lookup_each<A: Address, K, F>(
        self, read: &PrefixRead<A>, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        match self {
            Self::Portable => read.look_up_all(Portable, keys, found, address, put),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Counting` says that the machine has the features.
            Self::Counting(_) => unsafe { x86::count(read, keys, found, address, put) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { x86::wide(isa, read, keys, found, address, put) },
        }
    }

    /// Addresses where there are ranges, see [`PrefixRead::find_each`].
    #[inline(always)]
    pub(super) fn find_each<A: Address>(
        self, read: &PrefixRead<A>, ranges: &Ranges, keys: &[A], found: &mut [Option<NonZeroU32>],
    ) {
        match self {
            Self::Portable => read.find_each(Portable, ranges, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Counting` says that the machine has the features.
            Self::Counting(_) => unsafe { x86::count_ranges(read, ranges, keys, found) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { x86::wide_ranges(isa, read, ranges, keys, found) },
        }
    }

    /// One address where there are ranges, see [`Ranges::find`].
    #[inline(always)]
    pub(super) fn find<A: Address>(self, ranges: &Ranges, key: A) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(_) => unsafe { ranges::find_one(ranges, key) },
            _ => ranges.find(key),
        }
    }

    /// One key below an entry of the direct table, see [`PrefixRead::descend`].
    #[inline(always)]
    pub(super) fn descend<A: Address>(self, read: &PrefixRead<A>, entry: u32, key: A) -> u32 {
        match self {
            #[cfg(all(target_arch = "x86_64", not(target_feature = "popcnt")))]
            // SAFETY: both say that the machine has the features.
            Self::Counting(_) | Self::Wide(_) => unsafe { x86::descend(read, entry, key) },
            _ => read.descend(entry, 0, key, read.inside.base()),
        }
    }

    /// All that this machine has.
    #[cfg(test)]
    pub(super) fn all() -> alloc::vec::Vec<Self> {
        let mut all = alloc::vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Counting::detect().map(Self::Counting));
            all.extend(x86::Wide::detect().map(Self::Wide));
        }
        all
    }
}

#[cfg(target_arch = "x86_64")]
mod ranges;

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
