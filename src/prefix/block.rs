//! How a chunk stands in memory: so that a lookup touches one cache line of it.
//!
//! ```text
//! wide line                                       narrow line
//! octets 0..8   a bit for each slot that differs  the same
//!               from the slot before it: a run
//! 8..12         leaf 0, 32 bits: what covers all  the frame, 32 bits
//!               of the chunk in the level above
//! then          a leaf of 32 bits for each run    leaf 0 and those of runs, 16 bits each
//! ```
//!
//! A wide line has room for 13 runs, a narrow one for 25. A chunk of more runs is 2, 4 or 8
//! such lines, each of which has all there is for its part of the 64 slots. A chunk whose runs
//! fit into half a line has half a line. A lookup knows from the entry which line has its slot.
//!
//! A leaf of 16 bits is 0 where there is nothing, or what a value exceeds the frame by: the
//! values of a chunk are narrow where they lie within 2^16 of each other, and no child is
//! among them. So next hops are that are few, and numbers of lines of a sorted table.
//!
//! Where a table has more levels than memory to save, chunks of the first ones that lead to
//! others are open: 64 slots of 32 bits in four lines, and nothing to count. What covers such a
//! chunk stands beside its head, since few keys need it.
//!
//! Runs counted with a bitmap: W. Eatherton, G. Varghese, Z. Dittia, "Tree bitmap", CCR 34(2),
//! 2004; H. Asai, Y. Ohara, "Poptrie", SIGCOMM 2015, whose chunks have 64 slots too. Frames: J.
//! Goldstein, R. Ramakrishnan, U. Shaft, "Compressing Relations and Indexes", ICDE 1998.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arena::{Line, place, word};
use super::chunk::{CHILD, Slots};

/// Marks a block of narrow lines.
pub(super) const NARROW: u32 = 1 << 30;
/// Two bits above it are the logarithm of the lines, taken from 3.
pub(super) const LINES: u32 = 28;
/// The rest of an entry is the unit at which the block begins.
pub(super) const UNIT: u32 = (1 << LINES) - 1;
/// Words of a unit, half a line.
pub(super) const UNIT_WORDS: usize = 4;
/// The logarithm of the most units of a block: 8 lines.
pub(super) const MOST_ORDER: u32 = 4;

/// The logarithm of the units of an open block: four lines.
pub(super) const OPEN_ORDER: u32 = 3;
/// What marks an open block, under a mask: narrow runs never need eight lines.
pub(super) const OPEN: u32 = NARROW;
pub(super) const OPEN_MASK: u32 = NARROW | 3 << LINES;

/// Whether a block is open.
#[inline(always)]
pub(super) fn is_open(entry: u32) -> bool {
    entry & OPEN_MASK == OPEN
}

/// A block's content, before it has a place.
#[derive(Debug)]
pub(super) struct Encoded {
    words: [u64; UNIT_WORDS << MOST_ORDER],
    /// The logarithm of its units.
    pub(super) order: u32,
    /// What an entry says besides the unit.
    form: u32,
}

/// The unit at which the block of a chunk begins.
#[inline(always)]
pub(super) fn unit(entry: u32) -> usize {
    (entry & UNIT) as usize
}

/// The line that has a slot, and the word of it at which a block of half a line begins.
#[inline(always)]
pub(super) fn line(entry: u32, slot: usize) -> (usize, usize) {
    let lines = if is_open(entry) { slot >> 4 } else { slot >> 3 >> (entry >> LINES & 3) };
    (unit(entry) / 2 + lines, unit(entry) % 2 * UNIT_WORDS)
}

/// A line of a block.
#[derive(Clone, Copy)]
struct Runs<'a> {
    line: &'a [AtomicU64; 8],
    first: usize,
}

impl<'a> Runs<'a> {
    /// The line that has a slot. An index that no writer made finds nothing.
    #[inline(always)]
    fn of(memory: &'a [Line], entry: u32, slot: usize) -> Option<Self> {
        let (line, first) = line(entry, slot);
        Some(Self { line: &memory.get(line)?.0, first })
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below 8 by a remainder: nothing is checked")]
    fn word(self, nth: usize) -> u64 {
        // Relaxed: who has the entry got it by an Acquire load of what published it.
        self.line[(self.first + nth) % 8].load(Relaxed)
    }

    /// Which of the runs has a slot.
    #[inline(always)]
    fn rank(self, slot: usize) -> usize {
        // The bit at which the line's slots begin is set: with those above the slot shifted
        // out, 1 or more are left.
        (self.word(0) << (!slot & 63)).count_ones() as usize
    }

    #[inline(always)]
    fn wide(self, nth: usize) -> u32 {
        (self.word(1 + nth / 2) >> (nth % 2 * 32)) as u32
    }

    #[inline(always)]
    fn narrow(self, nth: usize) -> u32 {
        let short = (self.word(1 + (nth + 2) / 4) >> ((nth + 2) % 4 * 16)) as u32 & 0xffff;
        if short == 0 { 0 } else { short.wrapping_add(self.word(1) as u32) }
    }

    #[inline(always)]
    fn leaf(self, entry: u32, nth: usize) -> u32 {
        if entry & NARROW != 0 { self.narrow(nth) } else { self.wide(nth) }
    }
}

/// What an open chunk has for a slot.
#[inline(always)]
fn open(memory: &[Line], entry: u32, slot: usize) -> u32 {
    (word(memory, unit(entry) * UNIT_WORDS + slot / 2) >> (slot % 2 * 32)) as u32
}

/// What a chunk has for a slot; and what covers all of it in the level above, if the chunk has
/// children and is not open, or 0.
#[inline(always)]
pub(super) fn walk(memory: &[Line], entry: u32, slot: usize) -> (u32, u32) {
    if is_open(entry) {
        return (open(memory, entry, slot), 0);
    }
    let Some(runs) = Runs::of(memory, entry, slot) else { return (0, 0) };
    let nth = runs.rank(slot);
    // Predicted: the way goes on below wide chunks only.
    if entry & NARROW != 0 { (runs.narrow(nth), 0) } else { (runs.wide(nth), runs.wide(0)) }
}

/// What covers all of a chunk that is not open in the level above.
pub(super) fn above(memory: &[Line], entry: u32) -> u32 {
    Runs::of(memory, entry, 0).map_or(0, |runs| runs.leaf(entry, 0))
}

/// All slots of a chunk.
pub(super) fn slots(memory: &[Line], entry: u32) -> Slots {
    let mut slots = [0; 64];
    if is_open(entry) {
        slots.iter_mut().zip(0..).for_each(|(to, slot)| *to = open(memory, entry, slot));
        return slots;
    }
    let part = 8 << (entry >> LINES & 3);
    for first in (0..64).step_by(part) {
        let Some(runs) = Runs::of(memory, entry, first) else { continue };
        let (mut left, mut nth, mut from) = (runs.word(0), 0, 0);
        while left != 0 {
            from = if nth == 0 { left.trailing_zeros() as usize } else { from };
            left &= left - 1;
            nth += 1;
            let to = if left == 0 { first + part } else { left.trailing_zeros() as usize };
            if let Some(run) = slots.get_mut(from..to) {
                run.fill(runs.leaf(entry, nth));
            }
            from = to;
        }
    }
    slots
}

impl Encoded {
    /// Of slots with children, in an open block.
    pub(super) fn open(slots: &Slots) -> Self {
        let mut words = [0; UNIT_WORDS << MOST_ORDER];
        for (word, [low, high]) in words.iter_mut().zip(slots.as_chunks().0) {
            *word = u64::from(*high) << 32 | u64::from(*low);
        }
        Self { words, order: OPEN_ORDER, form: CHILD | OPEN }
    }

    /// Of an open chunk with something else in one of its slots.
    pub(super) fn with_slot(memory: &[Line], entry: u32, slot: usize, new: u32) -> Self {
        let mut words = [0; UNIT_WORDS << MOST_ORDER];
        for (to, at) in words.iter_mut().take(UNIT_WORDS << OPEN_ORDER).zip(unit(entry) * UNIT_WORDS..) {
            *to = word(memory, at);
        }
        if let Some(word) = words.get_mut(slot / 2) {
            let up = slot % 2 * 32;
            *word = *word & !(u64::from(u32::MAX) << up) | u64::from(new) << up;
        }
        Self { words, order: OPEN_ORDER, form: CHILD | OPEN }
    }

    /// Of the slots, and what covers all of them.
    pub(super) fn new(slots: &Slots, above: u32) -> Self {
        let mut begins = 1u64;
        let mut before = slots.first().copied().unwrap_or(0);
        for (nth, &slot) in slots.iter().enumerate() {
            begins |= u64::from(slot != before) << nth;
            before = slot;
        }
        // One less than the least value, and the greatest.
        let (mut frame, mut most) = (above.wrapping_sub(1), above);
        for value in bits(begins).filter_map(|slot| slots.get(slot).copied()) {
            (frame, most) = (frame.min(value.wrapping_sub(1)), most.max(value));
        }
        let frame = if most == 0 { 0 } else { frame };
        let narrow = most < CHILD && most - frame <= 0xffff;
        let (most, few) = if narrow { (25, 9) } else { (13, 5) };
        // The bits of a part of the slots.
        let part = |lines: u32, nth: u32| {
            let size = 64 >> lines;
            (begins | 1 << (nth * size)) & (u64::MAX >> (64 - size)) << (nth * size)
        };
        let fits = |lines: &u32| (0..1 << lines).all(|nth| part(*lines, nth).count_ones() <= most);
        let lines = (0..3).find(fits).unwrap_or(3);
        let order = if begins.count_ones() <= few { 0 } else { lines + 1 };
        let form = CHILD | if narrow { NARROW } else { 0 } | (3 - lines) << LINES;
        let mut encoded = Self { words: [0; UNIT_WORDS << MOST_ORDER], order, form };
        for nth in 0..1 << lines {
            let line = nth as usize * 8;
            let part = part(lines, nth);
            encoded.put(line, 0, 64, part);
            if narrow {
                encoded.put(line, 2, 32, frame.into());
            }
            let mut leaf = 0;
            let mut next = |value: u32| {
                match narrow {
                    true => encoded.put(line, 6 + leaf, 16, value.saturating_sub(frame).into()),
                    false => encoded.put(line, 2 + leaf, 32, value.into()),
                }
                leaf += 1;
            };
            next(above);
            bits(part).filter_map(|slot| slots.get(slot).copied()).for_each(&mut next);
        }
        encoded
    }

    /// The `nth` field of `bits` bits from a word on, which is still 0.
    fn put(&mut self, from: usize, nth: usize, bits: usize, content: u64) {
        if let Some(word) = self.words.get_mut(from + nth * bits / 64) {
            *word |= content << (nth * bits % 64);
        }
    }

    /// Writes it from a unit on; returns what stands for it in the level above.
    pub(super) fn write(&self, memory: &[Line], unit: u32) -> u32 {
        let first = unit as usize * UNIT_WORDS;
        for (at, &content) in (first..).zip(self.words.iter().take(UNIT_WORDS << self.order)) {
            if let Some(word) = place(memory, at) {
                word.store(content, Relaxed);
            }
        }
        self.form | unit
    }
}

/// The numbers of the bits that are set.
fn bits(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        lowest
    })
}

#[cfg(test)]
mod tests {
    use super::super::arena::zeroed;
    use super::*;

    #[test]
    fn every_form_reads_as_it_was_written() {
        let memory = zeroed::<Line>(24);
        let mut random = 7u32;
        let (mut orders, mut narrow) = ([0; MOST_ORDER as usize + 1], 0);
        for round in 0..20_000u32 {
            let mut next = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random >> 8
            };
            let (mut slots, mut value, stay) = ([0; 64], 0, next() % 65);
            let any = |round: u32, next: u32| match round % 6 {
                0 => next % 5,
                1 => 0x1234_5678 + next % 0xffff,
                2 => MOST + next % 2,
                3 if next.is_multiple_of(3) => CHILD | next,
                _ => 1 + next,
            };
            for slot in &mut slots {
                if next() % 64 >= stay {
                    value = if next().is_multiple_of(8) { 0 } else { any(round, next()) };
                }
                *slot = value;
            }
            let over = [0, any(round, next()) & !CHILD][round as usize % 2];
            let encoded = Encoded::new(&slots, over);
            orders[encoded.order as usize] += 1;
            let at = 16 + if encoded.order == 0 { round & 1 } else { 0 };
            let entry = encoded.write(&memory, at);
            narrow += u32::from(entry & NARROW != 0);
            assert!(!is_open(entry));
            assert_eq!(super::slots(&memory, entry), slots);
            for (slot, &value) in slots.iter().enumerate() {
                let (found, above) = walk(&memory, entry, slot);
                assert_eq!((found, super::above(&memory, entry)), (value, over));
                assert!(above == over || entry & NARROW != 0 && above == 0);
            }
        }
        assert!(orders.iter().all(|count| *count > 100), "all sizes were tried: {orders:?}");
        assert!((1000..19_000).contains(&narrow), "{narrow}");
    }

    #[test]
    fn open_blocks_read_as_they_were_written() {
        let memory = zeroed::<Line>(16);
        let mut slots: Slots = core::array::from_fn(|slot| (slot as u32).wrapping_mul(0x9e37_79b1));
        let entry = Encoded::open(&slots).write(&memory, 8);
        assert!(is_open(entry));
        for changed in 0..64 {
            slots[changed] ^= u32::MAX;
            let entry = Encoded::with_slot(&memory, entry, changed, slots[changed]).write(&memory, 16);
            assert_eq!((super::slots(&memory, entry), unit(entry)), (slots, 16));
            for (slot, &value) in slots.iter().enumerate() {
                assert_eq!(walk(&memory, entry, slot), (value, 0));
                let (line, first) = line(entry, slot);
                assert_eq!((line, first), (8 + slot / 16, 0));
            }
            slots[changed] ^= u32::MAX;
        }
    }

    const MOST: u32 = super::super::form::MOST_VALUE - 1;
}
