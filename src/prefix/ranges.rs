//! A large table of wide addresses once more, made to be looked up: few steps, few lines.
//!
//! A direct table, as many bits as the trie's; below it branches of 8 to 256 entries, each as wide
//! as the ranges there are many; and leaves, a line of up to 19 ranges each. On the Internet's
//! routes of IPv6 a key takes 4.2 steps and not 5.4, and what lookups read is half as large.
//!
//! It says nothing that the trie does not say, without the short prefixes. A key goes there for what
//! only these cover, and where it finds [`BELOW`](super::leaf::BELOW): where ranges are too many for so few
//! steps, or there was no room. What is in the trie changes first, then an
//! entry here, so that an update takes place for a key where its entry, or if that is `BELOW`
//! before and after its entry of the direct table, is stored.
//!
//! S. Nilsson, G. Karlsson, "IP-Address Lookup Using LC-Tries", JSAC 17(6), 1999: branches as wide
//! as what is below them. The leaves: see `leaf.rs`.

use alloc::boxed::Box;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering::*};

use super::address::Address;
use super::arena::zeroed;
use super::batch::GROUP;
use super::flat::{Line, WORDS};
use super::leaf::{DEEP, FORM, Leaf, SHORT, UNIT, UNIT_WORDS};
use crate::arch::prefetch_line;

/// Forms above this one are branches: of so many bits as they are above it.
pub(super) const BRANCH: u32 = 18;
/// Bits of a branch.
pub(super) const LEAST: u32 = 3;
pub(super) const MOST: u32 = 8;
/// The most branches on a way.
pub(super) const STEPS: usize = 8;
/// The last bit from which a leaf may begin.
pub(super) const LAST: u32 = 64;
/// Lines that a lookup touches before it goes to the trie.
pub(super) const LINES: u32 = 1 + STEPS as u32 + 4;

/// Whether an entry leads to a branch.
#[inline(always)]
pub(super) fn is_branch(entry: u32) -> bool {
    entry >> FORM >= BRANCH + LEAST
}

/// Whether an entry leads to a leaf.
#[inline(always)]
pub(super) fn is_leaf(entry: u32) -> bool {
    (SHORT..=DEEP).contains(&(entry >> FORM))
}

/// The bits of a branch.
#[inline(always)]
pub(super) fn bits(branch: u32) -> u32 {
    (branch >> FORM).wrapping_sub(BRANCH).clamp(LEAST, MOST)
}

/// An address at the top of a word of 128 bits.
#[inline(always)]
pub(super) fn whole<A: Address>(key: A) -> u128 {
    u128::from(key.high()) << 64 | u128::from(key.low())
}

/// A bit for each of a group's keys that goes the whole way, and for each that finds nothing here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) below: u32,
    pub(super) nothing: u32,
}

impl Ends {
    /// What the n-th key finds.
    #[inline(always)]
    pub(super) fn put(&mut self, found: u32, nth: u32) -> Option<NonZeroU32> {
        self.below |= (found >> 31) << nth;
        self.nothing |= u32::from(found == 0) << nth;
        NonZeroU32::new(found)
    }
}

#[derive(Debug)]
pub(super) struct Ranges {
    /// Bits of the direct table.
    pub(super) bits: u32,
    /// 0, a value, [`BELOW`](super::leaf::BELOW), a branch or a leaf.
    pub(super) direct: Box<[AtomicU32]>,
    /// Branches and leaves. A line more, so that what is beyond the end is cut off at a line.
    pub(super) lines: Box<[Line]>,
}

impl Ranges {
    pub(super) fn new(bits: u32, units: usize) -> Self {
        Self { bits, direct: zeroed(1 << bits), lines: zeroed(units * UNIT_WORDS / WORDS + 1) }
    }

    /// Where a key's way begins.
    #[inline(always)]
    pub(super) fn index(&self, high: u64) -> usize {
        (high >> ((64 - self.bits) & 63)) as usize
    }

    /// An entry of a branch.
    #[inline(always)]
    pub(super) fn place(&self, branch: u32, nth: usize) -> Option<&AtomicU32> {
        let at = (branch & UNIT) as usize * UNIT_WORDS + nth;
        self.lines.get(at / WORDS)?.0.get(at % WORDS)
    }

    #[inline(always)]
    pub(super) fn entry(&self, branch: u32, nth: usize) -> u32 {
        // Acquire: what it leads to was written before it was.
        self.place(branch, nth).map_or(0, |entry| entry.load(Acquire))
    }

    /// What stands for a key: 0, a value or [`BELOW`](super::leaf::BELOW).
    #[inline(always)]
    pub(super) fn find<A: Address>(&self, key: A) -> u32 {
        let (entry, rest) = self.way(key.high());
        self.end(entry, key, rest)
    }

    /// Through the branches to where a key's way ends, and its bits from there on.
    #[inline(always)]
    pub(super) fn way(&self, high: u64) -> (u32, u64) {
        let mut at = self.first(high);
        for _ in 0..=STEPS {
            if !is_branch(at.0) {
                break;
            }
            at = self.next(at.0, at.1);
        }
        at
    }

    /// The first entry on a key's way, and the bits behind it.
    #[inline(always)]
    pub(super) fn first(&self, high: u64) -> (u32, u64) {
        (self.direct.get(self.index(high)).map_or(0, |entry| entry.load(Acquire)), high << self.bits)
    }

    /// That behind a branch.
    #[inline(always)]
    pub(super) fn next(&self, branch: u32, rest: u64) -> (u32, u64) {
        let bits = bits(branch);
        (self.entry(branch, (rest >> (64 - bits)) as usize), rest << bits)
    }

    /// Starts fetching what an entry leads to.
    #[inline(always)]
    pub(super) fn prefetch(&self, entry: u32) {
        prefetch_line(&self.lines, (entry & UNIT) as usize * UNIT_WORDS / WORDS, 0);
    }

    /// What stands for a key where its way ends, the bits from there on being `rest`.
    #[inline(always)]
    pub(super) fn end<A: Address>(&self, entry: u32, key: A, rest: u64) -> u32 {
        if !is_leaf(entry) {
            return entry;
        }
        Leaf::of(&self.lines, entry).map_or(0, |leaf| leaf.find(whole(key), rest))
    }

    /// What stands for a key at a leaf of which it is not said where it begins: from its first bits on.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(super) fn other<A: Address>(&self, entry: u32, key: A) -> u32 {
        if entry >> FORM == DEEP { self.end(entry, key, 0) } else { self.find(key) }
    }

    /// What stands for many keys.
    #[inline(always)]
    pub(super) fn find_all<A: Address>(
        &self, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
    ) -> Ends {
        let mut ways = keys.map(|key| self.first(key.high()));
        for _ in 0..=STEPS {
            let mut on = false;
            for way in ways.iter_mut().filter(|way| is_branch(way.0)) {
                *way = self.next(way.0, way.1);
                on |= is_branch(way.0);
                self.prefetch(way.0);
            }
            if !on {
                break;
            }
        }
        let mut ends = Ends::default();
        for ((((entry, rest), key), found), nth) in ways.into_iter().zip(keys).zip(found).zip(0..) {
            *found = ends.put(self.end(entry, *key, rest), nth);
        }
        ends
    }

    /// Octets that are there whether lookups need them or not.
    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.direct) + size_of_val(&*self.lines)
    }
}
