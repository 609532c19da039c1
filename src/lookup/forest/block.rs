//! Leaf blocks: signatures of fifteen filters, and which filters they are, in two cache
//! lines.
//!
//! A signature is sixteen bits of a key, those that tell the filters of the block apart
//! best. One comparison of all fifteen leaves the few filters, most often one, that a key
//! may match; these are compared in full, each in its own [row](super::row).
//!
//! | words | what |
//! |---|---|
//! | 0 to 3 | values of the signatures, 16 bits each |
//! | 4 to 7 | masks of the signatures |
//! | 8 to 13 | numbers of the rows, 24 bits each; the sixteenth is [`NOBODY`](super::row::NOBODY)'s |
//! | 14 | which bits of a key's low word are in signatures |
//! | 15 | 48 bits: the same of the high word; 4: entries; 4: most candidates; 8: how many blocks follow |
//!
//! Words 14 and 15 choose sixteen bits together. Entries stand in order of precedence.
//! All of it is written while no slot leads to the block, and a slot is stored with
//! release after that: readers read it as plain memory.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use super::rule::Rule;
use super::signature::{self, Signature};
use super::simd::Portable;

/// Filters of a block.
pub(super) const WIDE: usize = 15;

/// Words of a block.
pub(super) const WORDS: usize = 16;

/// Lines of a block.
pub(super) const LINES: u32 = 2;

/// A block in the memory of a forest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a>(pub(super) &'a [AtomicU64; WORDS]);

impl Block<'_> {
    /// Writes up to fifteen filters, in order of precedence, before so many blocks more.
    pub(super) fn fill(&self, rules: &[Rule], signature: Signature, more: usize) {
        let mut words = [0u64; WORDS];
        // An entry of value 1 under mask 0 matches nothing.
        words[..4].fill(0x0001_0001_0001_0001);
        let count = rules.len().min(WIDE);
        for (at, rule) in rules.iter().enumerate().take(WIDE) {
            let (value, mask) = rule.cut();
            let (value, mask) = (signature.of(Portable, value & mask), signature.of(Portable, mask));
            let (word, shift) = (at / 4, 16 * (at % 4));
            if let Some(values) = words.get_mut(word) {
                *values = *values & !(0xffff << shift) | u64::from(value) << shift;
            }
            if let Some(masks) = words.get_mut(4 + word) {
                *masks |= u64::from(mask) << shift;
            }
            let (word, shift) = (24 * at / 64, 24 * at % 64);
            let numbers = u128::from(rule.order) << shift;
            for (word, bits) in words.iter_mut().skip(8 + word).zip([numbers as u64, (numbers >> 64) as u64])
            {
                *word |= bits;
            }
        }
        let most = most_together(words.get(..8).unwrap_or_default(), count);
        let [.., low, high] = &mut words;
        *low |= signature.low;
        *high |= signature.high | (count as u64) << 48 | u64::from(most) << 52 | (more as u64) << 56;
        self.0.iter().zip(words).for_each(|(to, word)| to.store(word, Relaxed));
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Relaxed))
    }

    /// Blocks of the same leaf that follow.
    #[inline(always)]
    pub(super) fn more(&self) -> usize {
        (self.word(15) >> 56) as usize
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        (self.word(15) >> 48 & 0xf) as usize
    }

    /// Its signature; what the upper bits of word 15 add to a key's comes out above it.
    #[inline(always)]
    pub(super) fn raw(&self) -> Signature {
        Signature { low: self.word(14), high: self.word(15) }
    }

    pub(super) fn signature(&self) -> Signature {
        Signature { high: self.word(15) & 0xffff_ffff_ffff, ..self.raw() }
    }

    /// The number of an entry's row; of the sixteenth, [`NOBODY`](super::row::NOBODY)'s.
    #[inline(always)]
    pub(super) fn row(&self, entry: usize) -> usize {
        let (word, shift) = (24 * entry / 64, 24 * entry % 64);
        let low = self.word(8 + word) >> shift;
        let high = if shift > 40 { self.word(9 + word) << (64 - shift) } else { 0 };
        ((low | high) & 0xff_ffff) as usize
    }

    /// The numbers of all its rows, in order of precedence.
    pub(super) fn rows(self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(move |entry| self.row(entry))
    }

    /// Bit 2 i: whether the key may match entry i. Plain words, for every machine.
    #[inline(always)]
    pub(super) fn candidates(&self, key: u128) -> u32 {
        let key = u64::from(self.raw().of(Portable, key)) * 0x0001_0001_0001_0001;
        let mut bits = 0;
        for at in 0..4 {
            let miss = key & self.word(4 + at) ^ self.word(at);
            // The top bit of each lane: whether it is 0. No carry leaves a lane.
            let low = 0x7fff_7fff_7fff_7fff;
            let zero = !(((miss & low) + low) | miss | low) >> 15;
            // Those four bits, two apart.
            let four = zero | zero >> 14 | zero >> 28 | zero >> 42;
            bits |= (four as u32 & 0x55) << (8 * at);
        }
        bits
    }

    /// The most entries that one key may have to be compared with.
    pub(super) fn most_candidates(&self) -> u32 {
        (self.word(15) >> 52 & 0xf) as u32
    }
}

/// The most of the first entries that one signature matches at once; words 0 to 7 of a block.
fn most_together(words: &[u64], entries: usize) -> u32 {
    let lane =
        |from: usize, at: usize| words.get(from + at / 4).map_or(0, |word| (word >> (16 * (at % 4))) as u16);
    let mut lanes = [(0, 0); WIDE];
    lanes.iter_mut().zip(0..entries).for_each(|(to, at)| *to = (lane(0, at), lane(4, at)));
    signature::most_together(lanes.get(..entries).unwrap_or(&lanes))
}
