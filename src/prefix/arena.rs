//! Memory in cache lines and words, and which places of it are free.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places that can be named: an entry has 28 bits for one.
pub(super) const MOST_PLACES: usize = 1 << 28;

/// Words of a cache line.
const WORDS: usize = 8;

/// A cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [AtomicU64; WORDS]);

/// So many, all zeros.
pub(super) fn zeroed<T: Default>(len: usize) -> Box<[T]> {
    let mut zeroed = Vec::with_capacity(len);
    zeroed.resize_with(len, T::default);
    zeroed.into_boxed_slice()
}

/// A word of the lines, or 0 beyond the end: an index that no writer made finds nothing.
#[inline(always)]
pub(super) fn word(lines: &[Line], at: usize) -> u64 {
    // Relaxed: who has the index got it by an Acquire load of what published it.
    place(lines, at).map_or(0, |word| word.load(Relaxed))
}

#[inline(always)]
pub(super) fn place(lines: &[Line], at: usize) -> Option<&AtomicU64> {
    lines.get(at / WORDS)?.0.get(at % WORDS)
}

/// A block: where it begins, and the logarithm of how many places it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) at: u32,
    pub(super) order: u32,
}

impl Block {
    pub(super) fn places(self) -> usize {
        1 << self.order
    }
}

/// Which places of a memory are free. Place 0 is in no block.
///
/// The buddy system (K. C. Knowlton, "A Fast Storage Allocator", CACM 8(10), 1965): blocks
/// are powers of two and begin at multiples of their size; two free halves of a block are one
/// free block again, so that churn leaves no splinters. What was given back last is in the
/// caches, and taken first.
#[derive(Debug)]
pub(super) struct Space {
    /// For each order which blocks are free.
    free: Vec<Marks>,
    used: usize,
    /// Blocks of the highest order that only removals may use.
    kept: usize,
    keep: bool,
}

impl Space {
    /// So many places, blocks of up to `2^order` of them.
    pub(super) fn new(places: usize, order: u32) -> Self {
        let blocks = (places.min(MOST_PLACES) >> order).max(1);
        let marks = |at: u32| Marks::new(blocks << (order - at));
        let mut space = Self { free: (0..=order).map(marks).collect(), used: 0, kept: 0, keep: false };
        if let Some(free) = space.free.last_mut() {
            (0..blocks).rev().for_each(|block| free.set(block, true));
        }
        space.take(0);
        (space.used, space.kept) = (0, blocks / 32);
        space
    }

    /// Keeps a 32nd of all places, whole blocks of the largest size, for removals, or stops
    /// keeping it.
    pub(super) fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// A block of `2^order` places, with what was in it.
    pub(super) fn take(&mut self, order: u32) -> Option<Block> {
        let most = self.free.len() as u32 - 1;
        let kept = |at: u32| if at == most && self.keep { self.kept } else { 0 };
        let free = |at: &u32| self.free.get(*at as usize).is_some_and(|free| free.count > kept(*at));
        let from = (order..=most).find(free)?;
        let mut block = self.free.get(from as usize)?.any()?;
        self.mark(from, block, false);
        for half in (order..from).rev() {
            block *= 2;
            self.mark(half, block + 1, true);
        }
        self.used += 1 << order;
        Some(Block { at: (block << order) as u32, order })
    }

    pub(super) fn give_back(&mut self, block: Block) {
        self.used -= block.places();
        let (mut order, mut at) = (block.order, (block.at >> block.order) as usize);
        while order as usize + 1 < self.free.len()
            && self.free.get(order as usize).is_some_and(|free| free.has(at ^ 1))
        {
            self.mark(order, at ^ 1, false);
            (order, at) = (order + 1, at / 2);
        }
        self.mark(order, at, true);
    }

    fn mark(&mut self, order: u32, block: usize, free: bool) {
        if let Some(marks) = self.free.get_mut(order as usize) {
            marks.set(block, free);
        }
    }

    /// Places in blocks.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Octets of the marks themselves.
    pub(super) fn octets(&self) -> usize {
        self.free.iter().flat_map(|marks| &marks.levels).map(|level| level.len() * 8).sum()
    }
}

/// A set of numbers that finds one of them, near what came in last or else the lowest: a bit
/// each, above 64 of them a bit whether there is one, and so on.
#[derive(Debug)]
struct Marks {
    levels: Vec<Box<[u64]>>,
    count: usize,
    /// The 64 numbers that the last to come in is one of.
    last: usize,
}

impl Marks {
    /// None of the numbers below `end`.
    fn new(end: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = end.max(1);
        loop {
            words = words.div_ceil(64);
            levels.push(vec![0; words].into_boxed_slice());
            if words == 1 {
                return Self { levels, count: 0, last: 0 };
            }
        }
    }

    fn has(&self, number: usize) -> bool {
        let word = self.levels.first().and_then(|level| level.get(number / 64));
        word.is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// Puts a number in that was out, or the other way round.
    fn set(&mut self, mut number: usize, into: bool) {
        debug_assert!(self.has(number) != into);
        self.count = if into { self.count + 1 } else { self.count - 1 };
        self.last = if into { number / 64 } else { self.last };
        for level in &mut self.levels {
            let Some(word) = level.get_mut(number / 64) else { return };
            let bit = 1 << (number % 64);
            let was = *word;
            *word = if into { was | bit } else { was & !bit };
            if (was == 0) == (*word == 0) {
                return;
            }
            number /= 64;
        }
    }

    fn any(&self) -> Option<usize> {
        let lowest = |at: usize, level: &[u64]| {
            let word = level.get(at).copied().filter(|word| *word != 0)?;
            Some(at * 64 + word.trailing_zeros() as usize)
        };
        let near = self.levels.first().and_then(|level| lowest(self.last, level));
        near.or_else(|| self.levels.iter().rev().try_fold(0, |at, level| lowest(at, level)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of any history do not overlap and begin at multiples of their size; when all
    /// are given back, memory is as it was.
    #[test]
    fn blocks_do_not_overlap() {
        for (places, order) in [(320, 4), (64 * 64 * 3, 5)] {
            let mut space = Space::new(places, order);
            let largest = space.free.last().unwrap().count;
            let mut held: Vec<Block> = Vec::new();
            let (mut random, mut refused) = (1u32, 0);
            for round in 0..20_000 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let size = (random >> 16) % (order + 1);
                space.keep(random >> 8 & 1 == 0);
                let full = round % 4000 < 2000;
                if held.is_empty() || (random >> 31 == 0) == full || random >> 29 == 7 {
                    let Some(new) = space.take(size) else {
                        refused += 1;
                        continue;
                    };
                    assert_eq!((new.order, new.at as usize % new.places()), (size, 0));
                    assert!(new.at > 0 && new.at as usize + new.places() <= places);
                    let end = |block: &Block| block.at as usize + block.places();
                    let apart = |old: &Block| end(old) <= new.at as usize || end(&new) <= old.at as usize;
                    assert!(held.iter().all(apart), "{new:?} in {held:?}");
                    held.push(new);
                } else {
                    space.give_back(held.swap_remove((random >> 8) as usize % held.len()));
                }
                assert_eq!(space.used(), held.iter().map(|block| block.places()).sum::<usize>());
            }
            assert!(refused > 0 || places > 1000);
            held.into_iter().for_each(|block| space.give_back(block));
            assert_eq!((space.used(), space.free.last().unwrap().count), (0, largest));
        }
    }

    /// Of what is kept whole blocks are left for removals, however small the others were.
    #[test]
    fn what_is_kept_is_whole() {
        let mut space = Space::new(64 * 16, 4);
        space.keep(true);
        while space.take(0).is_some() {}
        space.keep(false);
        assert!(space.take(4).is_some() && space.take(4).is_some() && space.take(4).is_none());
    }
}
