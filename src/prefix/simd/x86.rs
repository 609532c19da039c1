//! One of the files that need `unsafe`: instructions of AVX-512 that look 16 keys up at once, and
//! functions compiled for machines that count bits.

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
/// At each of `lanes` of `at`, counted in elements from `base`, stands an atomic that may be read.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn gather(base: *const u32, at: __m512i, lanes: __mmask16) -> __m512i {
    let mut found = _mm512_setzero_si512();
    // SAFETY: the caller says that the elements may be read. Each is one load, aligned:
    // what a Relaxed load of an atomic of its size is, so that a writer may be at work.
    unsafe {
        asm!(
            "vpgatherdd {found}{{{lanes}}}, [{base} + 4*{at}]",
            lanes = inout(kreg) lanes => _,
            base = in(reg) base,
            at = in(zmm_reg) at,
            found = inout(zmm_reg) found,
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
