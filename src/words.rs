//! A slice's memory as its code option and its manager see it.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::arch::prefetch;

/// The words of one slice, and of no other.
///
/// Atomic: control reads and writes them while packets pass, as the paper's generic
/// memory commands do, and cores may share them. `get` and `set` are relaxed, which on
/// x86 and Arm is a plain load or store; [`acquire`](Self::acquire) and
/// [`publish`](Self::publish) are for a word that says that others are written;
/// [`fetch_add`](Self::fetch_add) is for words that several writers share, and costs
/// 8 to 20 cycles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a>(&'a [AtomicU32]);

impl<'a> Words<'a> {
    /// No memory.
    pub const NONE: Self = Self(&[]);

    /// A view of `words`.
    pub const fn new(words: &'a [AtomicU32]) -> Self {
        Self(words)
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The word at `at`, or `None` outside the slice's memory.
    #[inline(always)]
    pub fn get(self, at: usize) -> Option<u32> {
        Some(self.0.get(at)?.load(Relaxed))
    }

    /// Writes the word at `at`; `None`, and nothing written, outside.
    #[inline(always)]
    pub fn set(self, at: usize, word: u32) -> Option<()> {
        self.0.get(at)?.store(word, Relaxed);
        Some(())
    }

    /// The word at `at`, and with it all that its writer wrote before
    /// [`publish`](Self::publish).
    #[inline(always)]
    pub fn acquire(self, at: usize) -> Option<u32> {
        Some(self.0.get(at)?.load(Acquire))
    }

    /// Writes the word at `at` after all that was written before.
    #[inline(always)]
    pub fn publish(self, at: usize, word: u32) -> Option<()> {
        self.0.get(at)?.store(word, Release);
        Some(())
    }

    /// Adds to the word at `at` and returns what it was; wraps.
    #[inline(always)]
    pub fn fetch_add(self, at: usize, n: u32) -> Option<u32> {
        Some(self.0.get(at)?.fetch_add(n, Relaxed))
    }

    /// Starts fetching the line of the word at `at`.
    #[inline(always)]
    pub fn prefetch(self, at: usize) {
        if let Some(word) = self.0.get(at) {
            prefetch(word);
        }
    }
}
