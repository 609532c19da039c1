//! The first two levels of a large table in one: an octet for each of their slots.
//!
//! An entry of the direct table and the chunk it may lead to have 64 slots; a line has their
//! 64 codes, so that most lookups wait for one line only, and a gather of 16 keys is all there
//! is to do. What a code stands for is in a table that stays in the nearest cache: so values
//! may be any, but only 254 of them have codes at a time.
//!
//! P. Gupta, S. Lin, N. McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
//! INFOCOM 1998: one access for all prefixes of up to 24 bits.
//!
//! It says nothing that the table below it does not say. A key whose code is [`BELOW`] goes
//! the whole way: to a longer prefix, or to a value without a code. What is below changes
//! first, then the code, so that an update takes place for a key where its code, or if
//! that is `BELOW` before and after its entry of the direct table, is stored.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};

use super::arena::zeroed;
use super::chunk::{CHILD, STRIDE};
use super::zone::Zone;

/// The answer is in the table below.
pub(super) const BELOW: u8 = 0;
/// Nothing covers the slot, but for short prefixes, which stand in cells of their own.
pub(super) const NOTHING: u8 = 1;
/// Codes, those two included.
pub(super) const CODES: usize = 256;
/// Words of a line.
pub(super) const WORDS: usize = 16;
/// Lines that a lookup touches besides those of the table below: its code's, its value's.
pub(super) const LINES: u32 = 2;

/// The codes of 64 slots, four in a word, the first in its low octet.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [AtomicU32; WORDS]);

#[derive(Debug)]
pub(super) struct Flat {
    /// Bits of an address that the slots stand for.
    pub(super) bits: u32,
    /// The last of them, which are a slot's and not its short cell's.
    pub(super) down: u32,
    /// One for each entry of the direct table.
    pub(super) lines: Box<[Line]>,
    /// What each code stands for: a value, or for `BELOW` any chunk. Behind them the cells of
    /// the short prefixes once more, for slots of the code `NOTHING`.
    pub(super) values: Box<[AtomicU32]>,
}

impl Flat {
    /// Over a direct table. All codes are `BELOW`, all short cells 0.
    pub(super) fn new(zone: &Zone) -> Self {
        let values: Box<[AtomicU32]> = zeroed(CODES + (1 << zone.short));
        if let Some(below) = values.get(usize::from(BELOW)) {
            below.store(CHILD, Relaxed);
        }
        let bits = zone.bits + STRIDE;
        Self { bits, down: bits - zone.short, lines: zeroed(1 << zone.bits), values }
    }

    /// Bits after those, of the first 32.
    #[inline(always)]
    pub(super) fn rest(&self) -> u32 {
        (u32::BITS - self.bits) & 31
    }

    /// The line of a slot.
    #[inline(always)]
    pub(super) fn line(&self, slot: usize) -> usize {
        slot / (4 * WORDS)
    }

    /// The value of a slot or of its short cell, 0 if there is none, a chunk if the answer is
    /// below.
    #[inline(always)]
    pub(super) fn value(&self, slot: usize) -> u32 {
        let code = self.code(slot);
        // The value was written before the code was, as was what is below.
        fence(Acquire);
        self.meaning(code, slot)
    }

    /// The code of a slot; of those beyond the end, of the last line.
    #[inline(always)]
    pub(super) fn code(&self, slot: usize) -> u8 {
        let line = self.lines.get(self.line(slot)).or(self.lines.last());
        let word = line.and_then(|line| line.0.get(slot / 4 % WORDS));
        (word.map_or(0, |word| word.load(Relaxed)) >> (slot % 4 * 8)) as u8
    }

    /// What a code of a slot stands for.
    #[inline(always)]
    pub(super) fn meaning(&self, code: u8, slot: usize) -> u32 {
        let cell = CODES + (slot >> (self.down & 31));
        let at = if code == NOTHING { cell } else { code.into() };
        self.values.get(at).map_or(0, |value| value.load(Relaxed))
    }

    /// The longest short prefix of a cell.
    pub(super) fn store_short(&self, cell: usize, value: u32) {
        if let Some(short) = self.values.get(CODES + cell) {
            short.store(value, Release);
        }
    }

    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.values)
    }
}
