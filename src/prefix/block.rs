//! How a chunk stands in memory: so that a lookup touches one cache line of it.
//!
//! ```text
//! octets 0..8   a bit for each slot that differs from the slot before it: a run begins
//! octets 8..    a leaf for each run
//! ```
//!
//! Of addresses up to 32 bits few chunks have children, and a leaf has 16 bits: 0, a value
//! below 2^15, or [`WIDE`] and the number of a word of 32 bits in the same block, which
//! holds a child or a larger value. Such words stand at the block's end, from the last
//! downwards. Where that is more than a line, the block is *dense*: a leaf for each slot,
//! of which a lookup takes the line that has its slot, and wide words after them.
//!
//! Of longer addresses most chunks are on the way to others and have few runs. Their leaves
//! have 32 bits: 14 runs fit into a line, and larger blocks, some of a hundred, take two.
//!
//! Runs counted with a bitmap: A. Eatherton, G. Varghese, Z. Dittia, "Tree bitmap", CCR
//! 34(2), 2004; H. Asai, Y. Ohara, "Poptrie", SIGCOMM 2015, whose chunks have 64 slots too.

use core::hint::select_unpredictable;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arena::word;
use super::chunk::{CHILD, Slots};

/// Marks a dense block; the rest of an entry is the word at which the block begins.
const DENSE: u32 = 1 << 30;
const AT: u32 = DENSE - 1;
/// Marks a leaf of 16 bits that stands for a wide word of its block.
const WIDE: u16 = 1 << 15;
/// Words of a unit: blocks of one unit stand anywhere, others begin with a line.
pub(super) const UNIT_WORDS: usize = 4;
/// The most units of a block: 64 leaves and 64 wide words.
pub(super) const MOST_UNITS: usize = 12;

/// A block's content, before it has a place.
#[derive(Debug)]
pub(super) struct Encoded {
    words: [u64; MOST_UNITS * UNIT_WORDS],
    pub(super) units: usize,
    dense: bool,
}

/// The word at which the block of a chunk begins.
#[inline(always)]
pub(super) fn begin(entry: u32) -> usize {
    (entry & AT) as usize
}

/// A word of the line that a lookup of the slot at the top of `window` reads first. Of what
/// is no chunk any word, or none.
#[inline(always)]
pub(super) fn first<const LONG: bool>(entry: u32, window: u64) -> usize {
    // Not a branch, nor are those below: the form of a chunk nobody could predict.
    let half = select_unpredictable(entry & DENSE != 0, (window >> 63) as usize * 8, 0);
    if LONG { begin(entry) } else { begin(entry) + half }
}

/// What a chunk has for the slot at the top of `window`. `LONG` says which leaves it has.
#[inline(always)]
pub(super) fn step<const LONG: bool>(words: &[AtomicU64], entry: u32, window: u64) -> u32 {
    let slot = (window >> 58) as usize;
    let begins = word(words, first::<LONG>(entry, window));
    // Bit 0 is always set: with the bits above the slot shifted out, 1 to 64 are left.
    let nth = (begins << (!slot & 63)).count_ones() as usize;
    if LONG {
        return half(words, entry, nth + 1);
    }
    let at = select_unpredictable(entry & DENSE != 0, slot, nth + 3);
    let leaf = (word(words, begin(entry) + at / 4) >> (at % 4 * 16)) as u16;
    // Predicted: chunks of short addresses mostly hold values.
    if leaf & WIDE == 0 { u32::from(leaf) } else { half(words, entry, usize::from(leaf & !WIDE)) }
}

/// A number of 32 bits of a block.
#[inline(always)]
fn half(words: &[AtomicU64], entry: u32, nth: usize) -> u32 {
    (word(words, begin(entry) + nth / 2) >> (nth % 2 * 32)) as u32
}

/// All slots of a chunk.
pub(super) fn slots<const LONG: bool>(words: &[AtomicU64], entry: u32) -> Slots {
    let mut slots = [0; 64];
    let leaf = |nth: usize| {
        if LONG {
            return half(words, entry, nth);
        }
        match (word(words, begin(entry) + nth / 4) >> (nth % 4 * 16)) as u16 {
            leaf if leaf & WIDE == 0 => u32::from(leaf),
            leaf => half(words, entry, usize::from(leaf & !WIDE)),
        }
    };
    if entry & DENSE != 0 {
        for (slot, nth) in slots.iter_mut().zip(0..) {
            *slot = leaf(nth);
        }
        return slots;
    }
    let (mut left, mut nth, mut from) = (word(words, begin(entry)), if LONG { 2 } else { 4 }, 0);
    while left != 0 {
        left &= left - 1;
        let to = left.trailing_zeros() as usize;
        if let Some(run) = slots.get_mut(from..to) {
            run.fill(leaf(nth));
        }
        (nth, from) = (nth + 1, to);
    }
    slots
}

impl Encoded {
    pub(super) fn new<const LONG: bool>(slots: &Slots) -> Self {
        let starts = |slot: usize| slot == 0 || slots.get(slot) != slots.get(slot.wrapping_sub(1));
        let (mut begins, mut runs, mut wides) = (0u64, 0, 0);
        for (slot, &value) in slots.iter().enumerate() {
            if starts(slot) {
                begins |= 1 << slot;
                runs += 1;
                wides += usize::from(value >> 15 != 0 && !LONG);
            }
        }
        let octets = 8 + runs * if LONG { 4 } else { 2 } + wides * 4;
        let dense = octets > 64 && !LONG;
        let units = if dense { 4 + wides.div_ceil(8) } else { octets.div_ceil(32) };
        let mut encoded = Self { words: [0; MOST_UNITS * UNIT_WORDS], units, dense };
        let bits = if LONG { 32 } else { 16 };
        if !dense {
            encoded.put(0, begins, 64);
        }
        let (mut nth, mut leaf, mut used) = (64 / bits - 1, 0, 0);
        for (slot, &value) in slots.iter().enumerate() {
            if starts(slot) {
                nth += 1;
                leaf = u64::from(value);
                if value >> 15 != 0 && !LONG {
                    let at = if dense { 32 + used } else { units * 8 - 1 - used };
                    encoded.put(at, u64::from(value), 32);
                    leaf = u64::from(WIDE) | at as u64;
                    used += 1;
                }
                if !dense {
                    encoded.put(nth, leaf, bits);
                }
            }
            if dense {
                encoded.put(slot, leaf, bits);
            }
        }
        encoded
    }

    /// The `nth` field of `bits` bits, which is still 0.
    fn put(&mut self, nth: usize, content: u64, bits: usize) {
        if let Some(word) = self.words.get_mut(nth * bits / 64) {
            *word |= content << (nth * bits % 64);
        }
    }

    /// Writes it from the word `at` on; returns what stands for it in the level above.
    pub(super) fn write(&self, words: &[AtomicU64], at: usize) -> u32 {
        let block = words.get(at..at + self.units * UNIT_WORDS).unwrap_or(&[]);
        for (word, &content) in block.iter().zip(&self.words) {
            word.store(content, Relaxed);
        }
        CHILD | if self.dense { DENSE } else { 0 } | at as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::zeroed;
    use super::*;

    fn tried<const LONG: bool>() -> [usize; MOST_UNITS + 1] {
        let words = zeroed::<AtomicU64>(128);
        let mut random = 7u32;
        let mut units = [0; MOST_UNITS + 1];
        for round in 0..10_000u32 {
            let mut next = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random >> 8
            };
            let (mut slots, mut value, stay) = ([0; 64], 0, next() % 65);
            for slot in &mut slots {
                if next() % 64 >= stay {
                    let kind = if round % 5 == 4 { 2 } else { next() % (1 + round % 5) };
                    value = match kind {
                        0 => next() % 5,
                        1 => next() & 0x7fff,
                        2 => CHILD | next(),
                        _ => 1 << 15 | next(),
                    };
                }
                *slot = value;
            }
            let encoded = Encoded::new::<LONG>(&slots);
            units[encoded.units] += 1;
            let entry = encoded.write(&words, 16 + (round as usize & 3) * UNIT_WORDS);
            assert_eq!(super::slots::<LONG>(&words, entry), slots);
            for (slot, &value) in slots.iter().enumerate() {
                let window = (slot as u64) << 58 | u64::from(next());
                assert_eq!(step::<LONG>(&words, entry, window), value);
            }
        }
        units
    }

    #[test]
    fn every_form_reads_as_it_was_written() {
        let (short, long) = (tried::<false>(), tried::<true>());
        assert!([1, 2, 4, 12].iter().all(|size| short[*size] > 0), "all sizes were tried: {short:?}");
        assert!([1, 2, 9].iter().all(|size| long[*size] > 0), "all sizes were tried: {long:?}");
    }
}
