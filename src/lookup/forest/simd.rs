//! One of the files that need `unsafe`: the instructions that compare eight filters at
//! once and gather bits, and the choice of them.
//!
//! The choice is made when a forest is built, by what the machine can do, or by what the
//! compiler may assume where there is no `std` to ask the machine. Per lookup or batch
//! there is one branch; inside, everything is one function for one kind of machine.

#![allow(unsafe_code)]

use super::group::Group;
use super::read::ForestRead;
use super::waves::{self, Source};
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;

/// What the inner loops are generic over.
pub(super) trait Isa: Copy {
    /// Bit i: whether the key matches entry i of the group.
    fn scan(self, group: &Group, key: &[u64; 2]) -> u32;

    /// Gathers the bits of `word` under `mask` at the low end.
    fn gather(self, word: u64, mask: u64) -> usize;
}

/// Any machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn scan(self, group: &Group, key: &[u64; 2]) -> u32 {
        group.scan(key)
    }
    #[inline(always)]
    fn gather(self, word: u64, mut mask: u64) -> usize {
        let (mut bits, mut at) = (0, 0);
        while mask != 0 {
            bits |= ((word >> mask.trailing_zeros() & 1) as usize) << at;
            at += 1;
            mask &= mask - 1;
        }
        bits
    }
}

/// The instructions that a forest uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Machine {
    /// Those of any machine.
    #[cfg_attr(all(target_feature = "avx2", target_feature = "bmi2", not(test)), allow(dead_code))]
    Portable,
    /// AVX2 and BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
}

impl Machine {
    /// The best there is.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = x86::Avx2::detect() {
            return Self::Avx2(isa);
        }
        Self::Portable
    }

    /// The best match in one forest, see [`ForestRead::search`].
    #[inline(always)]
    pub(super) fn search(self, forest: &ForestRead, key: u128) -> u64 {
        match self {
            Self::Portable => forest.search(Portable, key),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::search(isa, forest, key) },
        }
    }

    /// Many keys, see [`waves::lookup_batch`].
    #[inline(always)]
    pub(super) fn lookup_batch<'a, V: Word>(
        self, source: impl Source<'a>, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        match self {
            Self::Portable => waves::lookup_batch(Portable, source, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::lookup_batch(isa, source, keys, found) },
        }
    }

    /// Many keys in a list, see [`ForestRead::lookup_list`].
    #[inline(always)]
    pub(super) fn lookup_list<V: Word>(
        self, forest: &ForestRead, list: (usize, &[Group]), slice: SliceId, keys: &[TableKey],
        found: &mut [Option<V>],
    ) {
        match self {
            Self::Portable => forest.lookup_list(Portable, list, slice, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` says that the machine has the features.
            Self::Avx2(isa) => unsafe { x86::lookup_list(isa, forest, list, slice, keys, found) },
        }
    }

    /// [`Isa::scan`], one by one.
    #[cfg(test)]
    pub(super) fn scan_one(self, group: &Group, key: &[u64; 2]) -> u32 {
        match self {
            Self::Portable => Portable.scan(group, key),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.scan(group, key),
        }
    }

    /// [`Isa::gather`], one by one.
    #[inline(always)]
    pub(super) fn gather(self, word: u64, mask: u64) -> usize {
        match self {
            Self::Portable => Portable.gather(word, mask),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.gather(word, mask),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{ForestRead, Group, Isa, SliceId, Source, TableKey, Word, waves};

    /// Says that the machine has AVX2, BMI1, BMI2, LZCNT and POPCNT.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        pub(super) fn detect() -> Option<Self> {
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

    /// A scan reads `fields` as plain memory. Nobody writes it meanwhile: a writer fills a
    /// group before it stores, with release, the first slot that leads to it; readers come
    /// to it by slots only, loaded with acquire; and it is filled anew after all readers
    /// have passed an epoch that began when no slot led to it any more, or under
    /// `&mut Forest`. x86 is little-endian: lane i of a field is bits 32 i or 16 i on of its
    /// words in a row.
    impl Isa for Avx2 {
        #[inline(always)]
        fn scan(self, group: &Group, key: &[u64; 2]) -> u32 {
            // SAFETY: `self` says that the machine has AVX2. The loads are of 16 and 32
            // octets from words 0, 2, .. 30 of 32 words on, within `fields`, which is aligned
            // to 64 and which nobody writes (see above); those of the key are of 2 and 4
            // octets within its 16, aligned.
            unsafe {
                let fields = group.fields.as_ptr().cast::<u64>();
                // Macros: a closure has no target features, and would be a call.
                macro_rules! wide {
                    ($at:literal) => {
                        _mm256_load_si256(fields.add($at).cast())
                    };
                }
                macro_rules! half {
                    ($at:literal) => {
                        _mm_load_si128(fields.add($at).cast())
                    };
                }
                let key = key.as_ptr().cast::<u16>();
                // Straight from memory into all lanes.
                let low = _mm256_set1_epi32(key.cast::<i32>().read());
                let high = _mm256_set1_epi32(key.cast::<i32>().add(1).read());
                let low = _mm256_cmpeq_epi32(_mm256_and_si256(low, wide!(4)), wide!(0));
                let high = _mm256_cmpeq_epi32(_mm256_and_si256(high, wide!(12)), wide!(8));
                let first = _mm_and_si128(_mm_set1_epi16(key.add(4).read().cast_signed()), half!(20));
                let first = _mm_subs_epu16(_mm_sub_epi16(first, half!(22)), half!(24));
                let second = _mm_and_si128(_mm_set1_epi16(key.add(5).read().cast_signed()), half!(26));
                let second = _mm_subs_epu16(_mm_sub_epi16(second, half!(28)), half!(30));
                let top = _mm_and_si128(_mm_set1_epi16(key.add(6).read().cast_signed()), half!(18));
                let top = _mm_xor_si128(top, half!(16));
                let miss = _mm_or_si128(_mm_or_si128(first, second), top);
                let rest = _mm256_cvtepi16_epi32(_mm_cmpeq_epi16(miss, _mm_setzero_si128()));
                let all = _mm256_and_si256(_mm256_and_si256(low, high), rest);
                _mm256_movemask_ps(_mm256_castsi256_ps(all)) as u32
            }
        }
        #[inline(always)]
        fn gather(self, word: u64, mask: u64) -> usize {
            // SAFETY: `self` says that the machine has BMI2.
            unsafe { _pext_u64(word, mask) as usize }
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn search(isa: Avx2, forest: &ForestRead, key: u128) -> u64 {
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
        isa: Avx2, forest: &ForestRead, list: (usize, &[Group]), slice: SliceId, keys: &[TableKey],
        found: &mut [Option<V>],
    ) {
        forest.lookup_list(isa, list, slice, keys, found);
    }
}
