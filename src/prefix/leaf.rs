//! Where an address's way ends in a large table of wide addresses: a line of bounds, each the
//! first address of a range, which one comparison finds all of a key's at once.
//!
//! ```text
//! short     octets 0..4 the frame, 4..42 up to 19 bounds of 16 bits, 42..62 an octet for each range
//! long      octets 0..4 the frame, 4..48 up to 11 bounds of 32 bits, 48..60 an octet for each range
//! wide      octets 4..64 up to 15 bounds of 32 bits, and a second line of a value for each range
//! deep      four lines: a word for each range, and from octet 64 on up to 12 bounds of 128 bits
//! ```
//!
//! Bounds are the bits of an address from the leaf's own first bit on, within the first 64, or for a
//! deep leaf all of it. An octet is 0 where there is nothing, or what the value exceeds the frame by.
//! Places that no bound needs have the highest there is, and the last range's value.
//!
//! B. Lampson, V. Srinivasan, G. Varghese, "IP Lookups Using Multiway and Multicolumn Search",
//! INFOCOM 1998: prefixes as ranges, as many bounds compared as a cache line has.

use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use super::chunk::CHILD;
use super::flat::{Line, WORDS};

/// A range: its first address, at the top of the word, and what stands for it up to the next.
pub(super) type Run = (u128, u32);

/// The answer is in the trie.
pub(super) const BELOW: u32 = CHILD;
/// The greatest octet.
const MOST: u32 = 255;

/// What a leaf is, in the place of an entry above [`FORM`].
pub(super) const SHORT: u32 = 17;
pub(super) const LONG: u32 = 18;
pub(super) const WIDE: u32 = 19;
pub(super) const DEEP: u32 = 20;
/// An entry's form stands from this bit on; below it is the unit at which the memory begins.
pub(super) const FORM: u32 = 27;
pub(super) const UNIT: u32 = (1 << FORM) - 1;
/// Words of a unit, half a line.
pub(super) const UNIT_WORDS: usize = 8;

/// Bounds of a leaf of each form.
pub(super) const SHORT_BOUNDS: usize = 19;
pub(super) const LONG_BOUNDS: usize = 11;
const WIDE_BOUNDS: usize = 15;
const DEEP_BOUNDS: usize = 12;
/// The most lines of a leaf.
const MOST_LINES: usize = 4;
/// The octets at which their values begin.
pub(super) const SHORT_OCTETS: usize = 42;
pub(super) const LONG_OCTETS: usize = 48;

/// A leaf in memory.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'a> {
    line: &'a Line,
    /// Those after it.
    more: &'a [Line],
    form: u32,
}

impl<'a> Leaf<'a> {
    /// What an entry leads to. An index that no writer made finds nothing.
    #[inline(always)]
    pub(super) fn of(lines: &'a [Line], entry: u32) -> Option<Self> {
        let (form, at) = (entry >> FORM, (entry & UNIT) as usize * UNIT_WORDS / WORDS);
        let (line, more) = lines.get(at..)?.split_first()?;
        Some(Self { line, more, form })
    }

    /// What it has for a key, whose bits from the leaf's first on are `rest`.
    #[inline(always)]
    pub(super) fn find(self, key: u128, rest: u64) -> u32 {
        let (short, long) = ((rest >> 48) as u32, (rest >> 32) as u32);
        let nth = match self.form {
            SHORT => (0..SHORT_BOUNDS).fold(0, |count, nth| count + usize::from(self.short(nth) <= short)),
            LONG => (0..LONG_BOUNDS).fold(0, |count, nth| count + usize::from(self.long(nth) <= long)),
            WIDE => (0..WIDE_BOUNDS).fold(0, |count, nth| count + usize::from(self.long(nth) <= long)),
            // Few keys come here, and most of them from few places.
            _ => (0..DEEP_BOUNDS).take_while(|nth| self.deep(*nth) <= key).count(),
        };
        self.value(nth)
    }

    #[inline(always)]
    fn word(line: &Line, nth: usize) -> u32 {
        // Relaxed: who has the entry got it by an Acquire load of what published it.
        line.0.get(nth).map_or(0, |word| word.load(Relaxed))
    }

    /// A word of the lines after the first.
    #[inline(always)]
    fn further(self, nth: usize) -> u32 {
        self.more.get(nth / WORDS).map_or(0, |line| Self::word(line, nth % WORDS))
    }

    #[inline(always)]
    fn short(self, nth: usize) -> u32 {
        Self::word(self.line, 1 + nth / 2) >> (nth % 2 * 16) & 0xffff
    }

    #[inline(always)]
    fn long(self, nth: usize) -> u32 {
        Self::word(self.line, 1 + nth)
    }

    #[inline(always)]
    fn deep(self, nth: usize) -> u128 {
        let word = |word: usize| u128::from(self.further(4 * nth + word));
        word(0) << 96 | word(1) << 64 | word(2) << 32 | word(3)
    }

    /// That of a range.
    #[inline(always)]
    fn value(self, nth: usize) -> u32 {
        let octet = match self.form {
            SHORT => SHORT_OCTETS + nth,
            LONG => LONG_OCTETS + nth,
            WIDE => return self.further(nth),
            _ => return Self::word(self.line, nth),
        };
        let octet = Self::word(self.line, octet / 4) >> (octet % 4 * 8) & 0xff;
        if octet == 0 { 0 } else { Self::word(self.line, 0).wrapping_add(octet) }
    }

    /// Its ranges, if it begins at the first `at` bits of `low`.
    pub(super) fn runs(self, low: u128, at: u32, found: &mut impl FnMut(Run)) {
        let most = most_bounds(self.form);
        found((low, self.value(0)));
        for nth in 0..most {
            let (start, last) = match self.form {
                SHORT => (low | u128::from(self.short(nth)) << 112 >> at, self.short(nth) == 0xffff),
                DEEP => (self.deep(nth), self.deep(nth) == u128::MAX),
                _ => (low | u128::from(self.long(nth)) << 96 >> at, self.long(nth) == u32::MAX),
            };
            found((start, self.value(nth + 1)));
            // The rest are places that no bound needs.
            if last {
                break;
            }
        }
    }
}

/// The logarithm of the units of a leaf.
pub(super) fn order(form: u32) -> u32 {
    match form {
        WIDE => 2,
        DEEP => 3,
        _ => 1,
    }
}

fn most_bounds(form: u32) -> usize {
    match form {
        SHORT => SHORT_BOUNDS,
        LONG => LONG_BOUNDS,
        WIDE => WIDE_BOUNDS,
        _ => DEEP_BOUNDS,
    }
}

/// A leaf's content, before it has a place.
#[derive(Debug)]
pub(super) struct Encoded {
    words: [u32; MOST_LINES * WORDS],
    /// The logarithm of its units.
    pub(super) order: u32,
    form: u32,
}

impl Encoded {
    /// Of ranges that have their first `at` bits in common, at most 64; `None` if they do not fit. The
    /// first of them may begin before that.
    pub(super) fn new(runs: &[Run], at: u32) -> Option<Self> {
        let (first, rest) = runs.split_first()?;
        let bits = rest.iter().fold(0, |all, run| all | run.0);
        let deep = bits as u64 != 0;
        let ends = |from: u32| !deep && bits << at << from == 0;
        let (mut least, mut greatest) = (u32::MAX, 0);
        for value in runs.iter().map(|run| run.1).filter(|value| *value != 0) {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        let frame = if greatest == 0 { 0 } else { least - 1 };
        let narrow = greatest - frame <= MOST;
        let form = match (narrow, rest.len()) {
            (true, ..=SHORT_BOUNDS) if ends(16) => SHORT,
            (true, ..=LONG_BOUNDS) if ends(32) => LONG,
            (false, ..=WIDE_BOUNDS) if ends(32) => WIDE,
            (_, ..=DEEP_BOUNDS) if deep => DEEP,
            _ => return None,
        };
        let mut encoded = Self { words: [0; MOST_LINES * WORDS], order: order(form), form };
        let last = runs.last().unwrap_or(first).1;
        for (nth, run) in rest.iter().enumerate() {
            encoded.put_bound(nth, run.0, at);
        }
        for (nth, run) in runs.iter().enumerate() {
            encoded.put_value(nth, above(form, frame, run.1) ^ above(form, frame, last));
        }
        encoded.fill(above(form, frame, last));
        if form == SHORT || form == LONG {
            encoded.put(0, 0, frame);
        }
        Some(encoded)
    }

    /// The complement of a bound: places that none is put in become the highest.
    fn put_bound(&mut self, nth: usize, bound: u128, at: u32) {
        // Of 64 bits and more in common only deep leaves have bounds, which are whole.
        let rest = !((bound << at >> 64) as u64);
        match self.form {
            SHORT => self.put(1 + nth / 2, nth % 2 * 16, (rest >> 48) as u32 & 0xffff),
            DEEP => (0..4)
                .for_each(|word| self.put(WORDS + 4 * nth + word, 0, (!bound >> (96 - 32 * word)) as u32)),
            _ => self.put(1 + nth, 0, (rest >> 32) as u32),
        }
    }

    /// In what a value differs from the last one: places that none is put in have that.
    fn put_value(&mut self, nth: usize, differs: u32) {
        let octet = match self.form {
            SHORT => SHORT_OCTETS + nth,
            LONG => LONG_OCTETS + nth,
            WIDE => return self.put(WORDS + nth, 0, differs),
            _ => return self.put(nth, 0, differs),
        };
        self.put(octet / 4, octet % 4 * 8, differs);
    }

    /// Makes of complements and differences what they stand for.
    fn fill(&mut self, last: u32) {
        let octets = last.wrapping_mul(0x0101_0101);
        match self.form {
            SHORT => {
                self.turn(1..10, u32::MAX);
                self.turn(10..11, 0xffff | octets << 16);
                self.turn(11..15, octets);
                self.turn(15..16, octets & 0xffff);
            }
            LONG => {
                self.turn(1..12, u32::MAX);
                self.turn(12..15, octets);
            }
            WIDE => {
                self.turn(1..WORDS, u32::MAX);
                self.turn(WORDS..2 * WORDS, last);
            }
            _ => {
                self.turn(0..1 + DEEP_BOUNDS, last);
                self.turn(WORDS..4 * WORDS, u32::MAX);
            }
        }
    }

    fn turn(&mut self, words: Range<usize>, by: u32) {
        self.words.get_mut(words).unwrap_or(&mut []).iter_mut().for_each(|word| *word ^= by);
    }

    /// Bits that are still 0.
    fn put(&mut self, word: usize, up: usize, content: u32) {
        if let Some(word) = self.words.get_mut(word) {
            *word |= content << up;
        }
    }

    /// Writes it from a unit on; returns the entry for it.
    pub(super) fn write(&self, lines: &[Line], unit: u32) -> u32 {
        let lines = lines.iter().skip(unit as usize * UNIT_WORDS / WORDS).take(1 << self.order >> 1);
        for (line, words) in lines.zip(self.words.as_chunks::<WORDS>().0) {
            line.0.iter().zip(words).for_each(|(to, word)| to.store(*word, Relaxed));
        }
        self.form << FORM | unit
    }
}

/// What stands for a value in a leaf.
fn above(form: u32, frame: u32, value: u32) -> u32 {
    if value == 0 || form == WIDE || form == DEEP { value } else { value - frame }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::arena::zeroed;
    use super::*;

    #[test]
    fn every_form_reads_as_it_was_written() {
        let lines = zeroed::<Line>(8);
        let (mut random, mut forms) = (7u64, [0; 5]);
        for round in 0..20_000u64 {
            let mut next = || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u128::from(random >> 20)
            };
            let at = (next() % 65) as u32;
            let low = next() << 84 & !(u128::MAX >> at);
            let bits = [16, 32, 46, 128 - at][round as usize % 4].min(128 - at);
            let inside = low..=low | u128::MAX >> at;
            let mut starts: Vec<u128> = (0..next() % [24, 5][round as usize / 4 % 2])
                .map(|_| low | (next() << 90 | next() << 45 | next()) << (128 - bits) >> at)
                .collect();
            starts.push(*inside.end() & !(u128::MAX.checked_shr(at + bits).unwrap_or(0)));
            starts.sort_unstable();
            starts.dedup();
            let values = [5, 250, 1 << 20][next() as usize % 3];
            let mut runs = vec![(low, next() as u32 % values)];
            for start in starts.into_iter().filter(|start| *start > low) {
                let value = [0, 77 + next() as u32 % values][next() as usize % 2];
                if runs.last().unwrap().1 != value {
                    runs.push((start, value));
                }
            }
            let Some(encoded) = Encoded::new(&runs, at) else {
                assert!(runs.len() > 12 || at + bits > at + 32, "{bits} {at} {runs:x?}");
                forms[0] += 1;
                continue;
            };
            let entry = encoded.write(&lines, 4);
            forms[(entry >> FORM) as usize - 16] += 1;
            let leaf = Leaf::of(&lines, entry).unwrap();
            let mut read = Vec::new();
            leaf.runs(low, at, &mut |run: Run| match read.last() {
                Some(&(_, before)) if before == run.1 => (),
                _ => read.push(run),
            });
            assert_eq!(read, runs);
            let keys = runs.iter().flat_map(|run| [run.0, run.0.wrapping_sub(1), run.0 | 1, next() << 84]);
            for key in keys.chain([*inside.end()]).filter(|key| inside.contains(key)).collect::<Vec<_>>() {
                let expected = runs.iter().rfind(|run| run.0 <= key).unwrap().1;
                let rest = (key << at >> 64) as u64;
                assert_eq!(leaf.find(key, rest), expected, "{key:x} at {at} in {runs:x?}");
            }
        }
        assert!(forms.iter().all(|count| *count > 500), "all forms were tried: {forms:?}");
    }
}
