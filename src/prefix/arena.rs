//! Memory in blocks that readers reach by number.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places that can be named: an entry has 30 bits for a word, four times as many.
const MOST_PLACES: usize = 1 << 28;

/// Words up to the first that begins a cache line.
pub(super) fn bias(words: &[AtomicU64]) -> usize {
    (words.as_ptr().addr() / 8).wrapping_neg() % 8
}

/// So many, all zeros.
pub(super) fn zeroed<T: Default>(len: usize) -> Box<[T]> {
    let mut zeroed = Vec::with_capacity(len);
    zeroed.resize_with(len, T::default);
    zeroed.into_boxed_slice()
}

/// A word, or 0 beyond the end: an index that no writer made finds nothing.
#[inline(always)]
pub(super) fn word(words: &[AtomicU64], at: usize) -> u64 {
    match words.get(at) {
        // Relaxed: who has the index got it by an Acquire load of what published it.
        Some(word) => word.load(Relaxed),
        None => 0,
    }
}

/// A block: where it begins and how many places it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) at: u32,
    pub(super) size: u32,
}

/// Which places of a memory are free: a list for each size, and the end that was never
/// used. Place 0 is in no block.
///
/// Free neighbours do not grow together again. What is free in pieces too small to be
/// used makes a rebuild due.
#[derive(Debug)]
pub(super) struct Space {
    free: Vec<Vec<u32>>,
    next: u32,
    end: u32,
    /// Blocks of more than one place begin and end at even places.
    even: bool,
    used: u32,
    /// Never used places that only removals may use.
    kept: u32,
}

impl Space {
    /// All of `places` but the first two are free. Blocks have at most `most` of them.
    pub(super) fn new(places: usize, even: bool, most: usize) -> Self {
        let end = places.min(MOST_PLACES) as u32;
        Self { free: vec![Vec::new(); most + 1], next: 2, end: end.max(2), even, used: 0, kept: 0 }
    }

    /// Keeps a 32nd of all places for removals, or stops keeping it.
    pub(super) fn keep(&mut self, keep: bool) {
        self.kept = if keep { self.end / 32 } else { 0 };
    }

    /// A block of at least `size` places, with what was in it.
    pub(super) fn take(&mut self, size: usize) -> Option<Block> {
        let size = if self.even && size > 1 { size.next_multiple_of(2) as u32 } else { size as u32 };
        let block = |at| Block { at, size };
        let found = match self.free.get_mut(size as usize)?.pop() {
            Some(at) => Some(block(at)),
            None => self.fresh(size).or_else(|| self.split(size)).map(block),
        };
        self.used += found.map_or(0, |found| found.size);
        found
    }

    fn fresh(&mut self, size: u32) -> Option<u32> {
        let skipped = u32::from(self.even && size > 1) & self.next;
        let at = self.next + skipped % 2;
        let next = at.checked_add(size).filter(|next| *next <= self.end - self.kept)?;
        self.give_free(self.next, at - self.next);
        self.next = next;
        Some(at)
    }

    /// The begin of a larger block; the rest of it becomes free.
    fn split(&mut self, size: u32) -> Option<u32> {
        for larger in size + 1..self.free.len() as u32 {
            let Some(at) = self.free.get_mut(larger as usize).and_then(Vec::pop) else { continue };
            let odd = u32::from(self.even) & size;
            self.give_free(at + size, odd);
            self.give_free(at + size + odd, larger - size - odd);
            return Some(at);
        }
        None
    }

    fn give_free(&mut self, at: u32, size: u32) {
        if size > 0
            && let Some(list) = self.free.get_mut(size as usize)
        {
            list.push(at);
        }
    }

    pub(super) fn give_back(&mut self, block: Block) {
        self.used -= block.size;
        self.give_free(block.at, block.size);
    }

    /// Places in blocks.
    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    /// Octets of the lists themselves.
    pub(super) fn list_octets(&self) -> usize {
        self.free.iter().map(|list| list.capacity() * 4 + size_of::<Vec<u32>>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of any history do not overlap, and larger ones begin at even places.
    #[test]
    fn blocks_do_not_overlap() {
        for even in [false, true] {
            let mut space = Space::new(300, even, 12);
            let mut held: Vec<Block> = Vec::new();
            let mut random = 1u32;
            for _ in 0..20_000 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let size = (random >> 16) as usize % 12 + 1;
                if random >> 31 == 0 || held.is_empty() {
                    let Some(new) = space.take(size) else { continue };
                    assert!(new.size as usize >= size && new.at >= 2 && new.at + new.size <= 300);
                    assert!(!even || new.size == 1 || (new.at % 2, new.size % 2) == (0, 0), "{new:?}");
                    let apart = |old: &Block| old.at + old.size <= new.at || new.at + new.size <= old.at;
                    assert!(held.iter().all(apart), "{new:?} in {held:?}");
                    held.push(new);
                } else {
                    space.give_back(held.swap_remove((random >> 8) as usize % held.len()));
                }
                assert_eq!(space.used(), held.iter().map(|block| block.size as usize).sum());
            }
        }
    }
}
