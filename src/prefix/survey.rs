//! What is in a part of the trie, as ranges.

use alloc::vec::Vec;
use core::ops::Range;

use super::address::Address;
use super::block::{self, walk};
use super::chunk::{CHILD, STRIDE, Slots};
use super::leaf::Run;
use super::read::PrefixRead;

/// So many slots are looked at one by one.
const FEW: usize = 8;

/// The ranges of addresses, without the short prefixes.
pub(super) struct Survey<'a, A> {
    read: &'a PrefixRead<A>,
    runs: &'a mut Vec<Run>,
    most: usize,
}

impl<'a, A: Address> Survey<'a, A> {
    /// At most so many ranges, put in the place of what was in `runs`.
    pub(super) fn new(read: &'a PrefixRead<A>, runs: &'a mut Vec<Run>, most: usize) -> Self {
        runs.clear();
        Self { read, runs, most }
    }

    /// Those of the addresses whose first `len` bits are `low`'s, below their entry of the
    /// direct table. Whether they are no more than there may be.
    pub(super) fn of(&mut self, mut entry: u32, low: u128, len: u32) -> bool {
        let (mut at, mut cover) = (self.read.inside.base(), 0);
        while entry & CHILD != 0 && at + STRIDE <= len {
            cover = self.cover(entry, cover);
            entry = walk(&self.read.lines, entry, slot(low, at)).0;
            at += STRIDE;
        }
        if entry & CHILD == 0 {
            return self.push(low, if entry == 0 { cover } else { entry });
        }
        let first = slot(low, at);
        self.chunk(entry, at, low, first..first + (1 << (at + STRIDE - len)), cover)
    }

    /// Some slots of a chunk, the first of which is `low`'s.
    fn chunk(&mut self, entry: u32, at: u32, mut low: u128, some: Range<usize>, cover: u32) -> bool {
        let slots = self.slots(entry, &some);
        let cover = self.cover(entry, cover);
        // The last chunk has more slots than there are addresses.
        let end = (at + STRIDE).min(u128::BITS);
        for same in slots.get(some).unwrap_or(&[]).chunks(1 << (at + STRIDE - end)) {
            let fits = match same.first().copied().unwrap_or(0) {
                0 => self.push(low, cover),
                child if child & CHILD != 0 => self.chunk(child, end, low, 0..1 << STRIDE, cover),
                value => self.push(low, value),
            };
            if !fits {
                return false;
            }
            low = low.wrapping_add(1u128.checked_shl(u128::BITS - end).unwrap_or(0));
        }
        true
    }

    /// Some slots of a chunk; what others have is of no meaning.
    fn slots(&self, entry: u32, some: &Range<usize>) -> Slots {
        if some.len() > FEW {
            return block::slots(&self.read.lines, entry);
        }
        let mut slots = [0; 1 << STRIDE];
        for (to, slot) in slots.get_mut(some.clone()).unwrap_or(&mut []).iter_mut().zip(some.start..) {
            *to = walk(&self.read.lines, entry, slot).0;
        }
        slots
    }

    /// What covers all of a chunk.
    fn cover(&self, entry: u32, before: u32) -> u32 {
        match self.read.above(entry) {
            0 => before,
            above => above,
        }
    }

    fn push(&mut self, low: u128, value: u32) -> bool {
        push(self.runs, low, value);
        self.runs.len() <= self.most
    }
}

/// Ranges next to each other of the same value are one.
pub(super) fn push(runs: &mut Vec<Run>, low: u128, value: u32) {
    if runs.last().is_none_or(|last| last.1 != value) {
        runs.push((low, value));
    }
}

/// The six bits from `at` on.
fn slot(low: u128, at: u32) -> usize {
    (low << (at & 127) >> (u128::BITS - STRIDE)) as usize
}
