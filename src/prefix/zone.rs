//! The first bits of an address: a direct table, and the short prefixes aside.
//!
//! P. Gupta, S. Lin, N. McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
//! INFOCOM 1998, with fewer bits. A table of all prefixes would write thousands of entries
//! for a short one, so those have cells of their own, which keys that find nothing else
//! look at.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use super::address::Address;
use super::arena::zeroed;

/// Tables over the `bits` bits after the first `skip` of an address.
///
/// A prefix of up to `short` of those bits stands in `short_values` only, one of more in
/// `direct` only (or, where that has a chunk, in the chunk).
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) skip: u32,
    pub(super) bits: u32,
    pub(super) short: u32,
    /// What all keys begin with, in the low `skip` bits, above `bits` bits of 0.
    pub(super) first: u64,
    /// 0, a value or a chunk; one more at the end, always 0, for keys of no entry. A load
    /// of it decides which state of the table a lookup sees.
    pub(super) direct: Box<[AtomicU32]>,
    /// Value below, number of the change above: who finds it unchanged knows that it
    /// did not change in between either.
    pub(super) short_values: Box<[AtomicU64]>,
    /// The value of each prefix of up to `bits` bits at `2^length + number`. Lookups
    /// do not touch it.
    pub(super) own: Box<[AtomicU32]>,
}

impl Zone {
    pub(super) fn new<A: Address>(top: A, skip: u32, bits: u32) -> Self {
        let short = bits / 2;
        Self {
            skip,
            bits,
            short,
            first: top.high() >> (64 - skip - bits),
            direct: zeroed((1 << bits) + 1),
            short_values: zeroed(1 << short),
            own: zeroed(2 << bits),
        }
    }

    /// Where chunks begin.
    pub(super) fn base(&self) -> u32 {
        self.skip + self.bits
    }

    /// Where a key stands in the direct table: at its end if the key does not begin as all
    /// keys of the zone do.
    ///
    /// Not a branch: where half of the keys are of another zone nobody could predict it.
    #[inline(always)]
    pub(super) fn index(&self, high: u64) -> usize {
        let index = (high >> ((64 - self.skip - self.bits) & 63)).wrapping_sub(self.first);
        index.min(1 << (self.bits & 63)) as usize
    }

    /// Whether an index is that of an entry.
    pub(super) fn has(&self, index: usize) -> bool {
        index >> self.bits == 0
    }

    #[inline(always)]
    pub(super) fn entry(&self, index: usize) -> u32 {
        // Acquire: the words of a chunk were written before its index was.
        self.direct.get(index).map_or(0, |entry| entry.load(Acquire))
    }

    /// The longest of the short prefixes, and the number of its last change.
    #[inline(always)]
    pub(super) fn short_value(&self, index: usize) -> u64 {
        self.short_values.get(index >> (self.bits - self.short)).map_or(0, |value| value.load(Acquire))
    }

    /// The value of the prefix at `position` itself, or 0.
    pub(super) fn own(&self, position: usize) -> u32 {
        self.own.get(position).map_or(0, |value| value.load(Relaxed))
    }

    /// The longest prefix at `position` or above that has more than `over` bits.
    pub(super) fn covering(&self, position: usize, over: Option<u32>) -> u32 {
        let first = over.map_or(1, |over| 2usize << over);
        let above = core::iter::successors(Some(position), |position| Some(position >> 1));
        above.take_while(|&position| position >= first).map(|at| self.own(at)).find(|&v| v != 0).unwrap_or(0)
    }

    /// Octets that lookups touch, and those that updates need besides.
    pub(super) fn octets(&self) -> (usize, usize) {
        (self.direct.len() * 4 + self.short_values.len() * 8, self.own.len() * 4)
    }
}
