//! One of the files that need `unsafe`: instructions that look 16 keys up at once, and the
//! choice of them.
//!
//! The choice is made when a table is built, by what the machine can do, or by what the
//! compiler may assume where there is no `std` to ask the machine. A batch takes one branch;
//! inside, everything is one function for one kind of machine.

#![allow(unsafe_code)]

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

use super::address::Address;
use super::arena::Line;
use super::batch::{Asked, FEW, GROUP, HALF, Half};
use super::block::{line, walk};
use super::chunk::STRIDE;
use super::flat::{BELOW, Flat, NOTHING};
use super::ranges::{Ends, Ranges};
use super::read::PrefixRead;
use crate::arch::prefetch_line;

/// What a batch is generic over.
pub(super) trait Isa: Copy {
    /// One level of chunks: puts what the chunks have for the slots in the place of those
    /// that are chunks among `next`. Where that is another chunk, `best` becomes what covers
    /// all of the first, if anything does; where it is not, `best` may become that.
    fn pass(self, memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half);

    /// Chunks on the ways of keys, on `levels` levels and one more, of which some are open: puts
    /// what the last of them has for a key in the place of those that are chunks among `next`, and
    /// in that of `at`, which is the same for all before, the bit from which the way goes on. A few
    /// keys may stay at a chunk before that. What covers chunks is left out.
    fn pass_open(
        self, memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP],
        at: &mut [u32; GROUP],
    );

    /// The entries at `index`; of what is beyond the end the last. Relaxed loads.
    fn fetch(self, entries: &[AtomicU32], index: &Half) -> Half;

    /// What the codes of slots stand for, which are the first of so many 32 bits; for which of
    /// them that is a chunk, and for which what their short cells have.
    fn decode<const N: usize>(self, flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32);

    /// What ranges have for keys.
    fn find<A: Address>(
        self, ranges: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
    ) -> Ends;

    /// See [`PrefixRead::go_all`]: one function for all that look up in this way.
    fn go_all<A: Address>(
        self, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
    );

    /// Puts the low half of the cell at `index`, if there is one, in the place of what is 0
    /// among `found`. Acquire loads.
    fn fetch_missing(self, cells: &[AtomicU64], index: &Half, found: &mut Half);
}

/// Any machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below 16 by a remainder: nothing is checked")]
    fn pass(self, memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half) {
        // A bit for each key that is at a chunk. Not a list of them: where a list's next
        // element goes depends on the line that is waited for, and loads wait for that.
        let active = next.iter().zip(0..).fold(0, |bits, (next, nth)| bits | (next >> 31) << nth);
        for nth in lanes(active) {
            prefetch_line(memory, line(next[nth], slots[nth] as usize).0, 0);
        }
        for nth in lanes(active) {
            let (found, above) = walk(memory, next[nth], slots[nth] as usize);
            best[nth] = if above == 0 { best[nth] } else { above };
            next[nth] = found;
        }
    }
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `lanes`")]
    fn pass_open(
        self, memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP],
        at: &mut [u32; GROUP],
    ) {
        for _ in 0..=levels {
            let active = next.iter().zip(0..).fold(0u32, |bits, (next, nth)| bits | (next >> 31) << nth);
            let slot = |nth: usize, at: u32| (high[nth] << (at & 63) >> 58) as usize;
            for nth in lanes(active) {
                prefetch_line(memory, line(next[nth], slot(nth, at[nth])).0, 0);
            }
            for nth in lanes(active) {
                next[nth] = walk(memory, next[nth], slot(nth, at[nth])).0;
                at[nth] += STRIDE;
            }
        }
    }
    #[inline(always)]
    fn fetch(self, entries: &[AtomicU32], index: &Half) -> Half {
        let Some(last) = entries.len().checked_sub(1) else { return [0; HALF] };
        index.map(|at| entries.get(last.min(at as usize)).map_or(0, |entry| entry.load(Relaxed)))
    }
    #[inline(always)]
    fn decode<const N: usize>(self, flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32) {
        let slots = tops.map(|top| top >> flat.rest());
        let codes = slots.map(|slot| flat.code(slot as usize));
        // The values were written before the codes were.
        fence(Acquire);
        let each = found.iter_mut().zip(&codes).zip(&slots);
        each.for_each(|((found, code), slot)| *found = flat.meaning(*code, *slot as usize));
        codes.iter().zip(0..).fold((0, 0), |(below, covered), (code, nth)| {
            (below | u32::from(*code == BELOW) << nth, covered | u32::from(*code == NOTHING) << nth)
        })
    }
    #[inline(always)]
    fn find<A: Address>(
        self, ranges: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
    ) -> Ends {
        ranges.find_all(keys, found)
    }
    #[inline(always)]
    fn go_all<A: Address>(
        self, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
    ) {
        read.go_all(self, keys, asked, found);
    }
    #[inline(always)]
    fn fetch_missing(self, cells: &[AtomicU64], index: &Half, found: &mut Half) {
        for (found, &at) in found.iter_mut().zip(index).filter(|(found, _)| **found == 0) {
            *found = cells.get(at as usize).map_or(0, |cell| cell.load(Acquire) as u32);
        }
    }
}

/// The numbers of the bits that are set.
#[inline(always)]
fn lanes(mut bits: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let nth = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (nth < GROUP).then_some(nth)
    })
}

/// The instructions that batches use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Machine {
    /// Those of any machine.
    #[cfg_attr(all(target_feature = "popcnt", target_feature = "bmi2", not(test)), allow(dead_code))]
    Portable,
    /// The same, where POPCNT and BMI2 are instructions.
    #[cfg(target_arch = "x86_64")]
    Counting(x86::Counting),
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Wide(x86::Wide),
}

impl Machine {
    /// The best there is.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(isa) = x86::Wide::detect() {
                return Self::Wide(isa);
            }
            if let Some(isa) = x86::Counting::detect() {
                return Self::Counting(isa);
            }
        }
        Self::Portable
    }

    /// Many keys, see [`PrefixRead::look_up_all`].
    #[inline(always)]
    pub(super) fn lookup_each<A: Address, K, F>(
        self, read: &PrefixRead<A>, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        match self {
            Self::Portable => read.look_up_all(Portable, keys, found, address, put),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Counting` says that the machine has the features.
            Self::Counting(_) => unsafe { x86::count(read, keys, found, address, put) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { x86::wide(isa, read, keys, found, address, put) },
        }
    }

    /// Addresses where there are ranges, see [`PrefixRead::find_each`].
    #[inline(always)]
    pub(super) fn find_each<A: Address>(
        self, read: &PrefixRead<A>, ranges: &Ranges, keys: &[A], found: &mut [Option<NonZeroU32>],
    ) {
        match self {
            Self::Portable => read.find_each(Portable, ranges, keys, found),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Counting` says that the machine has the features.
            Self::Counting(_) => unsafe { x86::count_ranges(read, ranges, keys, found) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(isa) => unsafe { x86::wide_ranges(isa, read, ranges, keys, found) },
        }
    }

    /// One address where there are ranges, see [`Ranges::find`].
    #[inline(always)]
    pub(super) fn find<A: Address>(self, ranges: &Ranges, key: A) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Wide` says that the machine has the features.
            Self::Wide(_) => unsafe { ranges::find_one(ranges, key) },
            _ => ranges.find(key),
        }
    }

    /// One key below an entry of the direct table, see [`PrefixRead::descend`].
    #[inline(always)]
    pub(super) fn descend<A: Address>(self, read: &PrefixRead<A>, entry: u32, key: A) -> u32 {
        match self {
            #[cfg(all(target_arch = "x86_64", not(target_feature = "popcnt")))]
            // SAFETY: both say that the machine has the features.
            Self::Counting(_) | Self::Wide(_) => unsafe { x86::descend(read, entry, key) },
            _ => read.descend(entry, 0, key, read.inside.base()),
        }
    }

    /// All that this machine has.
    #[cfg(test)]
    pub(super) fn all() -> alloc::vec::Vec<Self> {
        let mut all = alloc::vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Counting::detect().map(Self::Counting));
            all.extend(x86::Wide::detect().map(Self::Wide));
        }
        all
    }
}

#[cfg(target_arch = "x86_64")]
mod ranges;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;
    use core::arch::x86_64::*;
    use core::num::NonZeroU32;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, fence};

    use super::super::address::FIRST;
    use super::super::block::{LINES, NARROW, OPEN, OPEN_MASK, UNIT};
    use super::super::flat::{BELOW, CODES, Flat, NOTHING, WORDS};
    use super::{
        Address, Asked, Ends, FEW, GROUP, HALF, Half, Isa, Line, Portable, PrefixRead, Ranges, STRIDE, ranges,
    };

    macro_rules! has {
        ($($feature:tt)*) => {{
            #[cfg(feature = "std")]
            let has = $(std::arch::is_x86_feature_detected!($feature))&&*;
            #[cfg(not(feature = "std"))]
            let has = cfg!(all($(target_feature = $feature),*));
            has
        }};
    }

    /// Says that the machine has BMI1, BMI2, LZCNT and POPCNT.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Counting(());

    impl Counting {
        pub(super) fn detect() -> Option<Self> {
            has!("bmi1" "bmi2" "lzcnt" "popcnt").then_some(Self(()))
        }
    }

    /// Says that the machine has AVX-512 F, BW, DQ, VBMI2 and VPOPCNTDQ, and what `Counting` says.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Wide(());

    impl Wide {
        pub(super) fn detect() -> Option<Self> {
            let wide = has!("avx512f" "avx512bw" "avx512dq" "avx512vbmi2" "avx512vpopcntdq");
            (wide && Counting::detect().is_some()).then_some(Self(()))
        }
    }

    #[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn count<A: Address, K, F>(
        read: &PrefixRead<A>, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        read.look_up_all(Portable, keys, found, address, put);
    }

    #[cfg(not(target_feature = "popcnt"))]
    #[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn descend<A: Address>(read: &PrefixRead<A>, entry: u32, key: A) -> u32 {
        read.descend(entry, 0, key, read.inside.base())
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi2,avx512vpopcntdq,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn wide<A: Address, K, F>(
        isa: Wide, read: &PrefixRead<A>, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        read.look_up_all(isa, keys, found, address, put);
    }

    #[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn count_ranges<A: Address>(
        read: &PrefixRead<A>, ranges: &Ranges, keys: &[A], found: &mut [Option<NonZeroU32>],
    ) {
        read.find_each(Portable, ranges, keys, found);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi2,avx512vpopcntdq,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn wide_ranges<A: Address>(
        isa: Wide, read: &PrefixRead<A>, ranges: &Ranges, keys: &[A], found: &mut [Option<NonZeroU32>],
    ) {
        read.find_each(isa, ranges, keys, found);
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi2,avx512vpopcntdq,bmi1,bmi2,lzcnt,popcnt")]
    fn go_all<A: Address>(
        isa: Wide, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
    ) {
        read.go_all(isa, keys, asked, found);
    }

    impl Isa for Wide {
        #[inline(always)]
        fn pass(self, memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half) {
            // SAFETY: `self` says that the machine has the features.
            unsafe { pass(memory, slots, next, best) }
        }
        #[inline(always)]
        fn pass_open(
            self, memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP],
            at: &mut [u32; GROUP],
        ) {
            // SAFETY: `self` says that the machine has the features.
            unsafe { pass_open(memory, levels, high, next, at) }
        }
        #[inline(always)]
        fn fetch(self, entries: &[AtomicU32], index: &Half) -> Half {
            // SAFETY: `self` says that the machine has the features.
            unsafe { fetch(entries, index) }
        }
        #[inline(always)]
        fn decode<const N: usize>(self, flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32) {
            // SAFETY: `self` says that the machine has the features.
            unsafe { decode(flat, tops, found) }
        }
        #[inline(always)]
        fn find<A: Address>(
            self, of: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
        ) -> Ends {
            // SAFETY: `self` says that the machine has the features.
            unsafe { ranges::find(of, keys, found) }
        }
        #[inline(always)]
        fn go_all<A: Address>(
            self, read: &PrefixRead<A>, keys: &[A; GROUP], asked: Asked, found: &mut [u32; GROUP],
        ) {
            // SAFETY: `self` says that the machine has the features.
            unsafe { go_all(self, read, keys, asked, found) }
        }
        #[inline(always)]
        fn fetch_missing(self, cells: &[AtomicU64], index: &Half, found: &mut Half) {
            // SAFETY: `self` says that the machine has the features.
            unsafe { fetch_missing(cells, index, found) }
        }
    }

    /// Gathers elements of 32 bits for the lanes of a mask; others are 0.
    ///
    /// # Safety
    ///
    /// At each of `lanes` of `at`, counted in elements of 32 bits from `base`, stand as many
    /// octets as the element has, aligned to it, of atomics that may be read.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn gather(base: *const u32, at: __m512i, lanes: __mmask16) -> __m512i {
        let mut found = _mm512_setzero_si512();
        // SAFETY: the caller says that the elements may be read. Each is one load, aligned:
        // what a Relaxed load of an atomic of its size is, so that a writer may be at work.
        unsafe {
            asm!(
                "kmovw k1, {lanes:e}",
                "vpgatherdd {found}{{k1}}, [{base} + 4*{at}]",
                lanes = in(reg) u32::from(lanes),
                base = in(reg) base,
                at = in(zmm_reg) at,
                found = inout(zmm_reg) found,
                out("k1") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        found
    }

    /// Gathers elements of 64 bits; see [`gather`].
    ///
    /// # Safety
    ///
    /// As `gather`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn gather_long(base: *const u32, at: __m256i, lanes: u32) -> __m512i {
        let mut found = _mm512_setzero_si512();
        // SAFETY: see `gather`.
        unsafe {
            asm!(
                "kmovw k1, {lanes:e}",
                "vpgatherdq {found}{{k1}}, [{base} + 4*{at}]",
                lanes = in(reg) lanes,
                base = in(reg) base,
                at = in(ymm_reg) at,
                found = inout(zmm_reg) found,
                out("k1") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        found
    }

    /// The last of so many elements; `None` if there are none. Indices are signed.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn last(len: usize) -> Option<__m512i> {
        let last = len.min(i32::MAX as usize).checked_sub(1)?;
        Some(_mm512_set1_epi32(last as i32))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn fetch(entries: &[AtomicU32], index: &Half) -> Half {
        let mut found = [0; 16];
        if let Some(last) = last(entries.len()) {
            // SAFETY: a `Half` is 64 octets that may be read and written. The elements stand
            // at the last entry at most.
            unsafe {
                let at = _mm512_min_epu32(_mm512_loadu_si512(index.as_ptr().cast()), last);
                let gathered = gather(entries.as_ptr().cast(), at, 0xffff);
                _mm512_storeu_si512(found.as_mut_ptr().cast(), gathered);
            }
        }
        found
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn decode<const N: usize>(flat: &Flat, tops: &[u32; N], found: &mut [u32; N]) -> (u32, u32) {
        const { assert!(CODES == 1 << 8 && BELOW == 0 && N <= 2 * HALF) };
        let (Some(last_code), Some(last_value)) = (last(flat.lines.len() * WORDS), last(flat.values.len()))
        else {
            return (0, 0);
        };
        let all = |number: u32| _mm512_set1_epi32(number.cast_signed());
        let rest = _mm_cvtsi32_si128(flat.rest().cast_signed());
        let cell = _mm_cvtsi32_si128(flat.down.cast_signed());
        // All words are asked for before any is waited for.
        let mut words = [(_mm512_setzero_si512(), _mm512_setzero_si512()); 2];
        for ((slots, word), tops) in words.iter_mut().zip(tops.as_chunks::<HALF>().0) {
            // SAFETY: a `Half` is 64 octets that may be read. The words stand at the last one of
            // the last line at most.
            unsafe {
                *slots = _mm512_srl_epi32(_mm512_loadu_si512(tops.as_ptr().cast()), rest);
                let at = _mm512_min_epu32(_mm512_srli_epi32::<2>(*slots), last_code);
                *word = gather(flat.lines.as_ptr().cast(), at, 0xffff);
            }
        }
        // The values were written before the codes were.
        fence(Acquire);
        let (mut below, mut covered) = (0, 0);
        let halves = words.iter().zip(found.as_chunks_mut::<HALF>().0).zip([0, HALF]);
        for (((slots, word), found), first) in halves {
            let down = _mm512_slli_epi32::<3>(_mm512_and_si512(*slots, all(3)));
            let codes = _mm512_and_si512(_mm512_srlv_epi32(*word, down), all(0xff));
            let short = _mm512_cmpeq_epi32_mask(codes, all(NOTHING.into()));
            let cells = _mm512_add_epi32(_mm512_srl_epi32(*slots, cell), all(CODES as u32));
            let at = _mm512_min_epu32(_mm512_mask_mov_epi32(codes, short, cells), last_value);
            // SAFETY: a `Half` is 64 octets that may be written. The elements stand at the last
            // value at most.
            unsafe {
                let values = gather(flat.values.as_ptr().cast(), at, 0xffff);
                _mm512_storeu_si512(found.as_mut_ptr().cast(), values);
            }
            below |= u32::from(_mm512_testn_epi32_mask(codes, codes)) << first;
            covered |= u32::from(short) << first;
        }
        (below, covered)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn fetch_missing(cells: &[AtomicU64], index: &Half, found: &mut Half) {
        let Some(last) = last(cells.len().min(1 << 30)) else { return };
        let base = cells.as_ptr().cast();
        // SAFETY: a `Half` is 64 octets that may be read and written. The elements stand at the
        // last cell at most: two elements of 32 bits each.
        unsafe {
            let at = _mm512_loadu_si512(index.as_ptr().cast());
            let there = _mm512_cmple_epu32_mask(at, last);
            let at = _mm512_slli_epi32::<1>(at);
            let old = _mm512_loadu_si512(found.as_ptr().cast());
            let missing = there & _mm512_testn_epi32_mask(old, old);
            let low = gather_long(base, _mm512_castsi512_si256(at), u32::from(missing) & 0xff);
            let high = gather_long(base, _mm512_extracti64x4_epi64::<1>(at), u32::from(missing) >> 8);
            let low = _mm512_castsi256_si512(_mm512_cvtepi64_epi32(low));
            let all = _mm512_inserti64x4::<1>(low, _mm512_cvtepi64_epi32(high));
            _mm512_mask_storeu_epi32(found.as_mut_ptr().cast(), missing, all);
        }
        fence(Acquire);
    }

    /// The lines as elements of 32 bits; those from `end` on, of the last line, are of no block.
    #[derive(Clone, Copy)]
    struct Elements {
        base: *const u32,
        end: u32,
    }

    impl Elements {
        fn of(memory: &[Line]) -> Option<Self> {
            let end = (memory.len() * 16).min(i32::MAX as usize) as u32;
            Some(Self { base: memory.as_ptr().cast(), end: end.checked_sub(16)? })
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn all(number: u32) -> __m512i {
        _mm512_set1_epi32(number.cast_signed())
    }

    /// What chunks that are not open have for their slots, of the keys of a mask; and where their
    /// second words are.
    ///
    /// # Safety
    ///
    /// The elements may be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq")]
    unsafe fn runs(of: Elements, entry: __m512i, slot: __m512i, chunks: __mmask16) -> (__m512i, __m512i) {
        let Elements { base, end } = of;
        let narrow = chunks & _mm512_test_epi32_mask(entry, all(NARROW));
        // Where the lines begin that have the slots.
        let part = _mm512_and_si512(_mm512_srli_epi32::<LINES>(entry), all(3));
        let line = _mm512_srlv_epi32(_mm512_srli_epi32::<3>(slot), part);
        let begin = _mm512_slli_epi32::<3>(_mm512_and_si512(entry, all(UNIT)));
        let at = _mm512_add_epi32(begin, _mm512_slli_epi32::<4>(line));
        // Even, as all that was stored is.
        let at = _mm512_and_si512(_mm512_min_epu32(at, all(end)), all(!1));
        // SAFETY: in front of the last line are `end` elements; the two from `end` on are of
        // that line. Indices are even.
        let (low, high) = unsafe {
            (
                gather_long(base, _mm512_castsi512_si256(at), u32::from(chunks) & 0xff),
                gather_long(base, _mm512_extracti64x4_epi64::<1>(at), u32::from(chunks) >> 8),
            )
        };
        let down = _mm512_sub_epi32(all(63), slot);
        let count = |begins: __m512i, down: __m256i| -> __m256i {
            let begins = _mm512_sllv_epi64(begins, _mm512_cvtepu32_epi64(down));
            _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(begins))
        };
        let low = count(low, _mm512_castsi512_si256(down));
        let high = count(high, _mm512_extracti64x4_epi64::<1>(down));
        let nth = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        let second = _mm512_add_epi32(at, all(2));
        let leaf = _mm512_add_epi32(second, nth);
        let leaf = _mm512_mask_add_epi32(leaf, narrow, second, {
            _mm512_srli_epi32::<1>(_mm512_add_epi32(nth, all(2)))
        });
        // SAFETY: below `end` and a line.
        let mut found = unsafe { gather(base, _mm512_min_epu32(leaf, all(end)), chunks) };
        if narrow != 0 {
            // SAFETY: below `end` and three.
            let frame = unsafe { gather(base, second, narrow) };
            let down = _mm512_slli_epi32::<4>(_mm512_and_si512(nth, all(1)));
            let short = _mm512_and_si512(_mm512_srlv_epi32(found, down), all(0xffff));
            let value = _mm512_mask_add_epi32(short, _mm512_test_epi32_mask(short, short), short, frame);
            found = _mm512_mask_mov_epi32(found, narrow, value);
        }
        (found, second)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq")]
    fn pass(memory: &[Line], slots: &Half, next: &mut Half, best: &mut Half) {
        let Some(of) = Elements::of(memory) else { return };
        // SAFETY: a `Half` is 64 octets that may be read.
        let (entry, slot) =
            unsafe { (_mm512_loadu_si512(next.as_ptr().cast()), _mm512_loadu_si512(slots.as_ptr().cast())) };
        let chunks = _mm512_movepi32_mask(entry);
        // SAFETY: they are those of `memory`.
        let (found, second) = unsafe { runs(of, entry, slot, chunks) };
        // SAFETY: a `Half` is 64 octets that may be written.
        unsafe { _mm512_storeu_si512(next.as_mut_ptr().cast(), _mm512_mask_mov_epi32(entry, chunks, found)) };
        let on = chunks & _mm512_movepi32_mask(found);
        if on != 0 {
            // What has a child is wide.
            // SAFETY: below `end` and three.
            let above = unsafe { gather(of.base, second, on) };
            let on = _mm512_test_epi32_mask(above, above);
            // SAFETY: a `Half` is 64 octets that may be written.
            unsafe { _mm512_mask_storeu_epi32(best.as_mut_ptr().cast(), on, above) };
        }
    }

    /// Sixteen keys on their way.
    struct Way {
        high: [__m512i; 2],
        entry: __m512i,
        at: __m512i,
    }

    impl Way {
        /// Those at chunks.
        #[inline]
        #[target_feature(enable = "avx512f,avx512dq")]
        fn on(&self) -> __mmask16 {
            _mm512_movepi32_mask(self.entry) & _mm512_cmple_epu32_mask(self.at, all(FIRST))
        }

        /// The six bits from `at` on.
        #[inline]
        #[target_feature(enable = "avx512f,avx512dq")]
        fn slots(&self) -> __m512i {
            let six = |high, at| {
                let rest = _mm512_sllv_epi64(high, _mm512_cvtepu32_epi64(at));
                _mm512_cvtepi64_epi32(_mm512_srli_epi64::<58>(rest))
            };
            let low = _mm512_castsi256_si512(six(self.high[0], _mm512_castsi512_si256(self.at)));
            _mm512_inserti64x4::<1>(low, six(self.high[1], _mm512_extracti64x4_epi64::<1>(self.at)))
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512dq")]
        fn go(&mut self, some: __mmask16, found: __m512i) {
            self.entry = _mm512_mask_mov_epi32(self.entry, some, found);
            self.at = _mm512_mask_add_epi32(self.at, some, self.at, all(STRIDE));
        }

        /// A step of those at open chunks; which these were.
        ///
        /// # Safety
        ///
        /// The elements may be read.
        #[inline]
        #[target_feature(enable = "avx512f,avx512dq")]
        unsafe fn step(&mut self, of: Elements) -> __mmask16 {
            let open = _mm512_cmpeq_epi32_mask(_mm512_and_si512(self.entry, all(OPEN_MASK)), all(OPEN));
            let open = open & self.on();
            let first = _mm512_slli_epi32::<3>(_mm512_and_si512(self.entry, all(UNIT)));
            let at = _mm512_min_epu32(_mm512_add_epi32(first, self.slots()), all(of.end));
            // SAFETY: at `end` at most.
            let found = unsafe { gather(of.base, at, open) };
            self.go(open, found);
            open
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq")]
    fn pass_open(
        memory: &[Line], levels: usize, high: &[u64; GROUP], next: &mut [u32; GROUP], at: &mut [u32; GROUP],
    ) {
        let (Some(of), Some(&first)) = (Elements::of(memory), at.first()) else { return };
        let (highs, _) = high.as_chunks::<8>();
        let [a, b, c, d] = highs else { return };
        // SAFETY: eight elements of 64 bits or 16 of 32 that may be read.
        let load = |high: &[u64; 8]| unsafe { _mm512_loadu_si512(high.as_ptr().cast()) };
        // SAFETY: the same.
        let way = |high: [&[u64; 8]; 2], entry: &Half| unsafe {
            let entry = _mm512_loadu_si512(entry.as_ptr().cast());
            Way { high: high.map(load), entry, at: all(first) }
        };
        let ([low, high], _) = next.as_chunks() else { return };
        let mut ways = [way([a, b], low), way([c, d], high)];
        for _ in 0..=levels {
            // SAFETY: the elements are those of `memory`.
            while ways.iter_mut().fold(0, |any, way| any | unsafe { way.step(of) }) != 0 {}
            let mut left = 0;
            for way in &mut ways {
                let on = way.on();
                // SAFETY: the elements are those of `memory`.
                let (found, _) = unsafe { runs(of, way.entry, way.slots(), on) };
                way.go(on, found);
                left += way.on().count_ones();
            }
            if left <= FEW {
                break;
            }
        }
        let halves = next.as_chunks_mut().0.iter_mut().zip(at.as_chunks_mut().0);
        for (way, (next, at)) in ways.into_iter().zip(halves) {
            let (next, at): (&mut Half, &mut Half) = (next, at);
            // SAFETY: a `Half` is 64 octets that may be written.
            unsafe {
                _mm512_storeu_si512(next.as_mut_ptr().cast(), way.entry);
                _mm512_storeu_si512(at.as_mut_ptr().cast(), way.at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
