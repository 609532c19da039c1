//! What engines that are read while they are updated store with a filter.

use crate::id::EgressId;

/// A value of 32 bits, so that it can be stored and replaced in one piece.
pub trait Word: Copy {
    /// The value as a word.
    fn word(self) -> u32;

    /// The value of a word that [`word`](Self::word) gave.
    fn of(word: u32) -> Self;
}

impl Word for u32 {
    #[inline(always)]
    fn word(self) -> u32 {
        self
    }
    #[inline(always)]
    fn of(word: u32) -> Self {
        word
    }
}

impl Word for EgressId {
    #[inline(always)]
    fn word(self) -> u32 {
        self.index() as u32
    }
    #[inline(always)]
    fn of(word: u32) -> Self {
        // 2^32 - 1 is no index: it does not come from `word`.
        match Self::new(word) {
            Some(id) => id,
            None => Self::FIRST,
        }
    }
}
