//! The prefixes that end in a chunk. Lookups do not touch them.

use core::sync::atomic::Ordering::Relaxed;

use super::arena::{Line, place, word};
use super::chunk::{MOST_PREFIXES, covered};

/// The prefixes that end in a chunk, by position: a prefix of `l` of the chunk's bits
/// with the number `n` stands at `2^l + n`, so that shorter ones come first.
///
/// In memory a word each: the value, the position above it in 8 bits, and in the first
/// word above that how many there are.
#[derive(Clone, Debug)]
pub(super) struct Own {
    entries: [u64; MOST_PREFIXES],
    len: usize,
}

impl Own {
    pub(super) fn new() -> Self {
        Self { entries: [0; MOST_PREFIXES], len: 0 }
    }

    pub(super) fn read(memory: &[Line], at: u32) -> Self {
        let mut own = Self::new();
        own.len = count(memory, at);
        for (nth, entry) in own.entries.iter_mut().take(own.len).enumerate() {
            *entry = word(memory, at as usize + nth) & 0xff_ffff_ffff;
        }
        own
    }

    pub(super) fn write(&self, memory: &[Line], at: u32) {
        let mut count = (self.len as u64) << 40;
        for (at, entry) in (at as usize..).zip(self.entries.iter().take(self.len)) {
            if let Some(word) = place(memory, at) {
                word.store(entry | count, Relaxed);
            }
            count = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.entries.iter().take(self.len).map(|&entry| ((entry >> 32) as u32, entry as u32))
    }

    /// Where `position` is or would be.
    fn find(&self, position: u32) -> Result<usize, usize> {
        let entries = self.entries.get(..self.len).unwrap_or(&[]);
        entries.binary_search_by_key(&position, |entry| (entry >> 32) as u32)
    }

    pub(super) fn insert(&mut self, position: u32, value: u32) -> Option<u32> {
        let entry = u64::from(position) << 32 | u64::from(value);
        match self.find(position) {
            Ok(at) => self.entries.get_mut(at).map(|old| core::mem::replace(old, entry) as u32),
            Err(at) => {
                self.len = (self.len + 1).min(MOST_PREFIXES);
                if let Some(moved) = self.entries.get_mut(at..self.len) {
                    moved.rotate_right(1);
                }
                if let Some(new) = self.entries.get_mut(at) {
                    *new = entry;
                }
                None
            }
        }
    }

    pub(super) fn remove(&mut self, position: u32) -> Option<u32> {
        let at = self.find(position).ok()?;
        let moved = self.entries.get_mut(at..self.len)?;
        moved.rotate_left(1);
        self.len -= 1;
        self.entries.get(self.len).map(|&entry| entry as u32)
    }

    /// The longest that covers `slot`, or 0.
    pub(super) fn best(&self, slot: usize) -> u32 {
        let covers = |position: u32| covered(position).contains(&slot);
        self.iter().filter(|&(position, _)| covers(position)).last().map_or(0, |(_, value)| value)
    }
}

/// How many prefixes the block at `at` holds.
pub(super) fn count(memory: &[Line], at: u32) -> usize {
    if at == 0 { 0 } else { ((word(memory, at as usize) >> 40) as usize).min(MOST_PREFIXES) }
}
