//! One of the files that need `unsafe`: the instructions that compare sixteen signatures
//! at once, or all lanes of a filter, and gather bits; and the choice of them.
//!
//! The choice is made when a forest is built, by what the machine can do, or by what the
//! compiler may assume where there is no `std` to ask the machine. Per lookup or batch
//! there is one branch; inside, everything is one function for one kind of machine.

#![allow(unsafe_code)]

use super::block::{Block, WIDE};
#[cfg(target_arch = "x86_64")]
use super::mixed;
use super::read::ForestRead;
use super::row::{GONE, Row};
use super::search::List;
use super::waves::{self, Each, Forests, One, Source};
#[cfg(target_arch = "x86_64")]
use super::wide::{self, Wide};
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;

/// What the inner loops are generic over.
pub(super) trait Isa: Copy {
    /// Bit 2 i: whether the key may match entry i of the block.
    fn candidates(self, block: Block<'_>, key: &u128) -> u32;

    /// The number of the row of an entry; any number if there is no such entry.
    fn row(self, block: Block<'_>, entry: usize) -> usize;

    /// The place of a row if the key matches, else [`GONE`](super::row::GONE).
    fn place(self, row: &Row, key: &u128) -> u64;

    /// Gathers the bits of `word` under `mask` at the low end.
    fn gather(self, word: u64, mask: u64) -> usize;

    /// [`ForestRead::scan_rest`], as a call.
    fn scan_rest(self, forest: &ForestRead, at: usize, bits: u32, key: &u128) -> u64;

    /// The low word of a key, 0, or the high one, 1.
    fn word(self, key: &u128, side: usize) -> u64;

    /// The same bits, of which the compiler does not know how they came about: it would make
    /// branches of what nobody could guess.
    #[inline(always)]
    fn hide(self, bits: u64) -> u64 {
        bits
    }
}

/// Any machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn candidates(self, block: Block<'_>, key: &u128) -> u32 {
        block.candidates(*key)
    }
    #[inline(always)]
    fn row(self, block: Block<'_>, entry: usize) -> usize {
        block.row(entry)
    }
    #[inline(always)]
    fn place(self, row: &Row, key: &u128) -> u64 {
        if row.matches(*key) { row.place() } else { GONE }
    }
    #[inline(always)]
    fn gather(self, word: u64, mut mask: u64) -> usize {
        // Run by run: bits that are chosen often stand side by side.
        let (mut bits, mut at) = (0, 0);
        while mask != 0 {
            let first = mask.trailing_zeros();
            let beyond = mask.wrapping_add(1 << first);
            bits |= ((word & mask & !beyond) >> first) << at;
            at += (!(mask >> first)).trailing_zeros();
            mask &= beyond;
        }
        bits as usize
    }
    #[inline(never)]
    fn scan_rest(self, forest: &ForestRead, at: usize, bits: u32, key: &u128) -> u64 {
        forest.scan_rest(self, at, bits, key)
    }
    #[inline(always)]
    fn word(self, key: &u128, side: usize) -> u64 {
        if side == 0 { *key as u64 } else { (*key >> 64) as u64 }
    }
}

/// Which instructions compare filters and gather bits of keys. All give the same answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Simd {
    /// The best that the machine has: AVX-512 for many keys, AVX2 and BMI2, or those
    /// of any machine. Without `std`, the best that the program is compiled for.
    #[default]
    Detect,
    /// Those of any machine, whatever it has: to compare, or to have the same everywhere.
    Portable,
}

/// The instructions that a forest uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Machine {
    /// Those of any machine.
    Portable,
    /// AVX2 and BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// AVX-512 for many keys; AVX2 and BMI2 for one.
    #[cfg(target_arch = "x86_64")]
    Wide(Wide),
}

impl Machine {
    /// The best there is.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = Wide::detect() {
            return Self::Wide(isa);
        } else if let Some(isa) = x86::Avx2::detect() {
            return Self::Avx2(isa);
        }
        Self::Portable
    }

    /// All that there are here.
    #[cfg(test)]
    pub(super) fn all() -> alloc::vec::Vec<Self> {
        let mut all = alloc::vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx2::detect().map(Self::Avx2));
            all.extend(Wide::detect().map(Self::Wide));
        }
        all
    }

    /// What was asked for.
    pub(crate) fn of(simd: Simd) -> Self {
        match simd {
            Simd::Detect => Self::detect(),
            Simd::Portable => Self::Portable,
        }
    }

    /// The best match in one forest, see [`ForestRead::search`].
    #[inline(always)]
    pub(super) fn search(self, forest: &ForestRead, key: &u128) -> u64 {
        match self {
            Self::Portable => forest.search(Portable, key),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::search(isa, forest, key) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as an `Avx2`, which it has.
            Self::Wide(isa) => unsafe { x86::search(isa.narrow(), forest, key) },
        }
    }

    /// Many keys in one forest, see [`waves::lookup_batch`].
    #[inline(always)]
    pub(super) fn lookup_batch<V: Word>(self, one: One<'_>, keys: &[TableKey], found: &mut [Option<V>]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { wide::lookup_batch(isa, one, keys, found) },
            _ => self.waves(one, keys, found),
        }
    }

    /// Up to [`BATCH`](waves::BATCH) keys, each in its forest.
    #[inline(always)]
    pub(super) fn lookup_each<V: Word>(
        self, forests: &Forests<'_>, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        let keys = keys.get(..waves::BATCH).unwrap_or(keys);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { mixed::lookup_batch(isa, forests, keys, found) },
            _ => self.waves(Each(forests), keys, found),
        }
    }

    /// See [`waves::lookup_batch`].
    #[inline(always)]
    fn waves<'a, V: Word>(self, source: impl Source<'a>, keys: &[TableKey], found: &mut [Option<V>]) {
        match self {
            Self::Portable => waves::lookup_batch(Portable, source, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::lookup_batch(isa, source, keys, found) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as an `Avx2`, which it has.
            Self::Wide(isa) => unsafe { x86::lookup_batch(isa.narrow(), source, keys, found) },
        }
    }

    /// Many keys in a list, see [`ForestRead::lookup_list`].
    #[inline(always)]
    pub(super) fn lookup_list<V: Word>(
        self, forest: &ForestRead, list: List<'_>, slice: SliceId, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        match self {
            Self::Portable => forest.lookup_list(Portable, list, slice, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::lookup_list(isa, forest, list, slice, keys, found) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as an `Avx2`, which it has.
            Self::Wide(isa) => unsafe { x86::lookup_list(isa.narrow(), forest, list, slice, keys, found) },
        }
    }

    /// [`Isa::candidates`] and [`Isa::matches`], one by one: the entries that match.
    #[cfg(test)]
    pub(super) fn scan_one(self, block: Block<'_>, rows: &[Row], key: &u128) -> alloc::vec::Vec<usize> {
        fn scan(isa: impl Isa, block: Block<'_>, rows: &[Row], key: &u128) -> alloc::vec::Vec<usize> {
            let bits = isa.candidates(block, key);
            assert_eq!(bits & !0x5555_5555, 0);
            let candidates = (0..block.len()).filter(|entry| bits >> (2 * entry) & 1 != 0);
            candidates.filter(|entry| isa.place(&rows[isa.row(block, *entry)], key) != GONE).collect()
        }
        match self {
            Self::Portable => scan(Portable, block, rows, key),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => scan(isa, block, rows, key),
            #[cfg(target_arch = "x86_64")]
            Self::Wide(isa) => scan(isa.narrow(), block, rows, key),
        }
    }

    /// [`Isa::gather`], one by one.
    #[inline(always)]
    pub(super) fn gather(self, word: u64, mask: u64) -> usize {
        match self {
            Self::Portable => Portable.gather(word, mask),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.gather(word, mask),
            #[cfg(target_arch = "x86_64")]
            Self::Wide(isa) => isa.narrow().gather(word, mask),
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use core::arch::x86_64::*;

    use super::{Block, ForestRead, Isa, List, Row, SliceId, Source, TableKey, WIDE, Word, waves};

    /// Says that the machine has AVX2, BMI1, BMI2, LZCNT and POPCNT.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        pub(in super::super) fn detect() -> Option<Self> {
            #[cfg(feature = "std")]
            let has = std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("bmi1")
                && std::arch::is_x86_feature_detected!("bmi2")
                && std::arch::is_x86_feature_detected!("lzcnt")
                && std::arch::is_x86_feature_detected!("popcnt");
            #[cfg(not(feature = "std"))]
            let has = cfg!(all(
                target_feature = "avx2",
                target_feature = "bmi1",
                target_feature = "bmi2",
                target_feature = "lzcnt",
                target_feature = "popcnt"
            ));
            has.then_some(Self(()))
        }
    }

    /// Blocks, and lanes of rows, are read as plain memory. Nobody writes them meanwhile: a
    /// writer fills them before it stores, with release, the first slot that leads to them;
    /// readers come to them by slots only, loaded with acquire; and they are filled anew
    /// after all readers have passed an epoch that began when no slot led to them any more,
    /// or under `&mut Forest`. x86 is little-endian: what a word has at bit 8 i is its octet i.
    impl Isa for Avx2 {
        #[inline(always)]
        fn candidates(self, block: Block<'_>, key: &u128) -> u32 {
            let signature = block.raw().of(self, *key);
            // SAFETY: `self` says that the machine has AVX2. The loads are of the 32 octets
            // from words 0 and 4 of a block on, which nobody writes (see above); they need
            // not be aligned.
            unsafe {
                let words = block.0.as_ptr().cast::<__m256i>();
                let key = _mm256_set1_epi16(signature.cast_signed());
                let masked = _mm256_and_si256(key, _mm256_loadu_si256(words.add(1)));
                let equal = _mm256_cmpeq_epi16(masked, _mm256_loadu_si256(words));
                // Both octets of a lane that is equal: the lower one's will do.
                _mm256_movemask_epi8(equal) as u32 & 0x5555_5555
            }
        }
        #[inline(always)]
        fn row(self, block: Block<'_>, entry: usize) -> usize {
            let entry = entry % (WIDE + 1);
            // SAFETY: octets 3 entry to 3 entry + 3 from word 8 on, at most 48 on: within the 64
            // that are left of a block, which nobody writes (see above).
            let number =
                unsafe { block.0.as_ptr().cast::<u8>().add(64 + 3 * entry).cast::<u32>().read_unaligned() };
            (number & 0xff_ffff) as usize
        }
        #[inline(always)]
        fn place(self, row: &Row, key: &u128) -> u64 {
            // SAFETY: `self` says that the machine has AVX2. The loads are of 16 octets each:
            // the key, and the six words of a row's lanes, which nobody writes (see above) and
            // which are aligned to 64.
            let equal = unsafe {
                let lanes = row.lanes.as_ptr().cast::<__m128i>();
                let masked = _mm_and_si128(_mm_loadu_si128((&raw const *key).cast()), _mm_load_si128(lanes));
                let above = _mm_sub_epi16(masked, _mm_load_si128(lanes.add(1)));
                let beyond = _mm_subs_epu16(above, _mm_load_si128(lanes.add(2)));
                _mm_movemask_epi8(_mm_cmpeq_epi16(beyond, _mm_setzero_si128())) as u64
            };
            // Sixteen ones, or fewer: 1 or 0. No comparison, which the compiler might make a
            // branch of, where nobody could guess it.
            let hit = (equal + 1) >> 16;
            row.place() | hit.wrapping_sub(1) >> 1
        }
        #[inline(always)]
        fn gather(self, word: u64, mask: u64) -> usize {
            // SAFETY: `self` says that the machine has BMI2.
            unsafe { _pext_u64(word, mask) as usize }
        }
        #[inline(always)]
        fn scan_rest(self, forest: &ForestRead, at: usize, bits: u32, key: &u128) -> u64 {
            // SAFETY: `self` says that the machine has the features.
            unsafe { scan_rest(self, forest, at, bits, key) }
        }
        #[inline(always)]
        fn word(self, key: &u128, side: usize) -> u64 {
            // SAFETY: one of the two words of a key, aligned to 8 at least.
            unsafe { (&raw const *key).cast::<u64>().add(side & 1).read() }
        }
        #[inline(always)]
        fn hide(self, mut bits: u64) -> u64 {
            // SAFETY: no instruction at all.
            unsafe {
                core::arch::asm!("/* {0} */", inlateout(reg) bits, options(pure, nomem, nostack, preserves_flags));
            }
            bits
        }
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn scan_rest(isa: Avx2, forest: &ForestRead, at: usize, bits: u32, key: &u128) -> u64 {
        forest.scan_rest(isa, at, bits, key)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn search(isa: Avx2, forest: &ForestRead, key: &u128) -> u64 {
        forest.search(isa, key)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn lookup_batch<'a, V: Word>(
        isa: Avx2, source: impl Source<'a>, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        waves::lookup_batch(isa, source, keys, found);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn lookup_list<V: Word>(
        isa: Avx2, forest: &ForestRead, list: List<'_>, slice: SliceId, keys: &[TableKey],
        found: &mut [Option<V>],
    ) {
        forest.lookup_list(isa, list, slice, keys, found);
    }
}
