//! Which values have codes, and the lines of codes that an update changes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::address::Address;
use super::arena::Line as Memory;
use super::block::{self, walk};
use super::chunk::{CHILD, STRIDE};
use super::flat::{BELOW, CODES, Flat, NOTHING, WORDS};
use super::form::Entry;
use super::read::PrefixRead;
use crate::epoch::{Epoch, Epochs};

/// The first code that stands for a value.
const FIRST: usize = 2;
/// Slots of a line.
pub(super) const SLOTS: usize = 4 * WORDS;
/// So many slots are looked at one by one.
const FEW: usize = 8;
/// Places to look a value up in: half of them stay empty.
const PLACES: usize = 2 * CODES;

/// The codes of values. A value keeps its code as long as a slot has it, and after that until
/// another value needs one and no reader can still look at a line that it stood in.
#[derive(Debug)]
pub(super) struct Codes {
    /// Where a value's code is, or one of the places after: its hash; 0 where none is.
    places: Box<[u8; PLACES]>,
    of: Box<[Code; CODES]>,
    /// Codes without a slot.
    unused: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Code {
    value: u32,
    /// Slots that have it.
    slots: u32,
    /// Since when none has.
    freed: Option<Epoch>,
}

impl Codes {
    pub(super) fn new() -> Self {
        let mut of = Box::new([Code::default(); CODES]);
        if let Some(below) = of.get_mut(usize::from(BELOW)) {
            below.value = CHILD;
        }
        Self { places: Box::new([0; PLACES]), of, unused: CODES - FIRST }
    }

    /// Where the code of a value is, or would be.
    fn place(&self, value: u32) -> (usize, u8) {
        let mut place = value.wrapping_mul(0x9e37_79b1) as usize >> (u32::BITS - PLACES.ilog2());
        loop {
            let code = self.places.get(place).copied().unwrap_or(0);
            if code == 0 || self.of.get(usize::from(code)).is_some_and(|of| of.value == value) {
                return (place, code);
            }
            place = (place + 1) % PLACES;
        }
    }

    /// The code for a slot of a line; `BELOW` if there is none for it.
    fn code(&mut self, flat: &Flat, slot: u32, epochs: &Epochs) -> u8 {
        match slot {
            0 => NOTHING,
            value if value & CHILD != 0 => BELOW,
            value => match self.place(value).1 {
                0 if self.unused > 0 => self.give(flat, value, epochs),
                code => code,
            },
        }
    }

    /// Gives a value a code that no slot has and no reader can still see; `BELOW` if none is.
    fn give(&mut self, flat: &Flat, value: u32, epochs: &Epochs) -> u8 {
        let oldest = epochs.oldest();
        let free = |of: &Code| of.slots == 0 && of.freed.is_none_or(|freed| freed <= oldest);
        let Some((code, of)) = self.of.iter_mut().enumerate().skip(FIRST).find(|(_, of)| free(of)) else {
            return BELOW;
        };
        let had = core::mem::replace(of, Code { value, slots: 0, freed: None }).value;
        // Relaxed: who finds the code has it from a line that is stored later.
        if let Some(meaning) = flat.values.get(code) {
            meaning.store(value, Relaxed);
        }
        if had == 0 {
            self.put(code)
        } else {
            self.put_all()
        }
        code as u8
    }

    fn put(&mut self, code: usize) {
        let value = self.of.get(code).map_or(0, |of| of.value);
        let (place, _) = self.place(value);
        if let Some(place) = self.places.get_mut(place) {
            *place = code as u8;
        }
    }

    fn put_all(&mut self) {
        self.places.fill(0);
        for code in FIRST..CODES {
            if self.of.get(code).is_some_and(|of| of.value != 0) {
                self.put(code);
            }
        }
    }

    /// `by` slots more or less have a code.
    fn count(&mut self, code: u8, by: i32, epochs: &Epochs) {
        if usize::from(code) < FIRST || by == 0 {
            return;
        }
        let Some(of) = self.of.get_mut(usize::from(code)) else { return };
        let was = of.slots;
        of.slots = was.wrapping_add_signed(by);
        if was == 0 {
            self.unused -= 1;
        } else if of.slots == 0 {
            self.unused += 1;
            of.freed = Some(epochs.advance());
        }
    }

    /// Stores the codes for some slots of an entry of the direct table, which stands there already.
    pub(super) fn store(
        &mut self, flat: &Flat, memory: &[Memory], index: usize, entry: u32, some: Range<usize>,
        epochs: &Epochs,
    ) {
        let Some(line) = flat.lines.get(index) else { return };
        let mut old = [BELOW; SLOTS];
        for (word, old) in line.0.iter().zip(old.as_chunks_mut().0) {
            *old = word.load(Relaxed).to_le_bytes();
        }
        let mut codes = old;
        let Some(these) = codes.get_mut(some.clone()) else { return };
        self.encode(flat, these, memory, entry, some.start, epochs);
        let words = codes.as_chunks().0.iter().zip(old.as_chunks().0);
        for (word, (codes, old)) in line.0.iter().zip(words) {
            if codes != old {
                // Release: with the code what it stands for is seen, and what is below.
                word.store(u32::from_le_bytes(*codes), Release);
            }
        }
        // No longer counted only now that nobody can find them there.
        let (Some(mut left), Some(old)) = (codes.get(some.clone()), old.get(some)) else { return };
        for run in old.chunk_by(|a, b| a == b) {
            let Some((these, rest)) = left.split_at_checked(run.len()) else { return };
            if let Some(&code) = run.first() {
                let gone = these.iter().filter(|new| **new != code).count();
                self.count(code, -(gone as i32), epochs);
            }
            left = rest;
        }
    }

    /// Puts the codes of an entry's slots from one on in the place of those that they had, and
    /// counts what is another.
    fn encode(
        &mut self, flat: &Flat, codes: &mut [u8], memory: &[Memory], entry: u32, first: usize,
        epochs: &Epochs,
    ) {
        let mut slots = [entry; SLOTS];
        let Some(some) = slots.get_mut(first..first + codes.len()) else { return };
        if entry & CHILD != 0 && codes.len() <= FEW {
            some.iter_mut().zip(first..).for_each(|(to, slot)| *to = walk(memory, entry, slot).0);
        } else if entry & CHILD != 0 {
            slots = block::slots(memory, entry);
        }
        let Some(mut slots) = slots.get(first..first + codes.len()) else { return };
        let mut left = codes;
        while let Some(run) = slots.chunk_by(|a, b| a == b).next() {
            let value = run.first().map_or(0, |&slot| if slot & CHILD == 0 { slot } else { CHILD });
            let Some((these, rest)) = left.split_at_mut_checked(run.len()) else { return };
            (left, slots) = (rest, slots.get(run.len()..).unwrap_or(&[]));
            // Most are as they were: no need to look for their codes.
            if these.iter().all(|code| self.of.get(usize::from(*code)).is_some_and(|of| of.value == value)) {
                continue;
            }
            let code = self.code(flat, value, epochs);
            let more = these.iter().filter(|old| **old != code).count();
            self.count(code, more as i32, epochs);
            these.fill(code);
        }
    }

    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.places) + size_of_val(&*self.of)
    }

    /// Codes for a new table: the values that most of the prefixes have come first. `None` if
    /// fewer than `enough` prefixes end above what is below, with such values.
    pub(super) fn of<A: Address>(
        read: &PrefixRead<A>, sorted: &[Entry<A>], enough: usize,
    ) -> Option<(Flat, Self)> {
        let counts = frequent(sorted, read.inside.base() + STRIDE);
        if counts.iter().map(|(count, _)| count).sum::<usize>() < enough {
            return None;
        }
        let (flat, mut codes, epochs) = (Flat::new(&read.inside), Self::new(), Epochs::new(0));
        for (_, value) in &counts {
            // Counted once too often meanwhile, so that no other value is given its code.
            let code = codes.give(&flat, *value, &epochs);
            codes.count(code, 1, &epochs);
        }
        for index in 0..flat.lines.len() {
            codes.store(&flat, &read.lines, index, read.inside.entry(index), 0..SLOTS, &epochs);
        }
        for of in codes.of.iter_mut().skip(FIRST).take(counts.len()) {
            of.slots -= 1;
            codes.unused += usize::from(of.slots == 0);
        }
        for (cell, value) in read.inside.short_values.iter().enumerate() {
            flat.store_short(cell, value.load(Relaxed) as u32);
        }
        Some((flat, codes))
    }
}

/// The values that most prefixes of up to `len` bits have, as many as there are codes, and how
/// many have them.
fn frequent<A: Address>(sorted: &[Entry<A>], len: u32) -> Vec<(usize, u32)> {
    let within = sorted.iter().filter(|entry| entry.0.len() <= len);
    let mut values: Vec<u32> = within.map(|entry| entry.1).collect();
    values.sort_unstable();
    let each = values.chunk_by(|a, b| a == b);
    let mut counts: Vec<(usize, u32)> =
        each.filter_map(|same| same.first().map(|value| (same.len(), *value))).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.truncate(CODES - FIRST);
    counts
}

#[cfg(test)]
mod tests {
    use super::super::arena::zeroed;
    use super::super::zone::Zone;
    use super::*;

    fn all(flat: &Flat, index: usize) -> u32 {
        let values: Vec<u32> = (0..64).map(|slot| flat.value(64 * index + slot)).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        values[0]
    }

    /// A value's code is given to another when no slot has it and no reader can look at one
    /// that had it, and not before.
    #[test]
    fn codes_wait_for_readers() {
        let flat = Flat::new(&Zone::new(0u32, 0, 9));
        let (mut codes, memory) = (Codes::new(), zeroed(1));
        let epochs = Epochs::new(1);
        let mut reader = epochs.reader().unwrap();
        let mut store =
            |index: usize, value: u32| codes.store(&flat, &memory, index, value, 0..SLOTS, &epochs);
        let values = CODES - FIRST;
        for index in 0..values {
            store(index, 1000 + index as u32);
        }
        for index in 0..values {
            assert_eq!(all(&flat, index), 1000 + index as u32);
        }
        store(300, 5);
        assert_eq!(all(&flat, 300), CHILD, "all codes are in use");
        store(7, 0);
        let short = all(&flat, 7);
        assert_eq!(short, 0);
        store(300, 5);
        assert_eq!(all(&flat, 300), CHILD, "a reader may look at the slots that had the code");
        store(301, 1007);
        assert_eq!(all(&flat, 301), 1007, "its value may come back");
        store(301, 0);
        reader.quiescent();
        store(300, 5);
        assert_eq!(all(&flat, 300), 5);
        store(302, 1007);
        assert_eq!(all(&flat, 302), CHILD, "the value has none any more");
        for index in (0..values).filter(|index| *index != 7) {
            assert_eq!(all(&flat, index), 1000 + index as u32);
        }
    }
}
