//! One of the files that need `unsafe`: 16 keys through branches at once, and a leaf's bounds.

use core::arch::x86_64::*;
use core::num::NonZeroU32;
use core::sync::atomic::{Ordering::Acquire, fence};

use super::super::flat::{Line, WORDS};
use super::super::leaf::{
    BELOW, FORM, LONG, LONG_BOUNDS, LONG_OCTETS, SHORT, SHORT_BOUNDS, SHORT_OCTETS, UNIT, UNIT_WORDS, WIDE,
};
use super::super::ranges::{BRANCH, LEAST, STEPS};
use super::x86::{all, gather};
use super::{Address, Ends, GROUP, HALF, Half, Ranges, lanes, prefetch_line};

/// Keys on their way: the 64 bits after those that they have used up, and where they are.
struct Way {
    high: __m512i,
    low: __m512i,
    entry: __m512i,
}

impl Way {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    fn new<A: Address>(ranges: &Ranges, keys: &[A; HALF]) -> Self {
        let (high, low) = halves(keys);
        let index = _mm512_srl_epi32(high, _mm_cvtsi32_si128((32 - ranges.bits).cast_signed()));
        let index = _mm512_min_epu32(index, all((ranges.direct.len() - 1) as u32));
        // SAFETY: below the table's end, which has an entry.
        let entry = unsafe { gather(ranges.direct.as_ptr().cast(), index, 0xffff) };
        let bits = all(ranges.bits);
        Self { high: _mm512_shldv_epi32(high, low, bits), low: _mm512_sllv_epi32(low, bits), entry }
    }

    /// A step of those at branches; which these were.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    fn step(&mut self, ranges: &Ranges, end: __m512i) -> __mmask16 {
        let on = _mm512_cmpge_epu32_mask(self.entry, all((BRANCH + LEAST) << FORM));
        let bits = _mm512_sub_epi32(_mm512_srli_epi32::<FORM>(self.entry), all(BRANCH));
        let nth = _mm512_srlv_epi32(self.high, _mm512_sub_epi32(all(32), bits));
        let first = _mm512_slli_epi32::<3>(_mm512_and_si512(self.entry, all(UNIT)));
        let at = _mm512_min_epu32(_mm512_add_epi32(first, nth), end);
        // SAFETY: at the last word at most.
        let found = unsafe { gather(ranges.lines.as_ptr().cast(), at, on) };
        self.entry = _mm512_mask_mov_epi32(self.entry, on, found);
        self.high = _mm512_mask_shldv_epi32(self.high, on, self.low, bits);
        self.low = _mm512_mask_sllv_epi32(self.low, on, self.low, bits);
        on
    }
}

/// The first 32 bits of keys, and the next 32.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves<A: Address>(keys: &[A; HALF]) -> (__m512i, __m512i) {
    const { assert!(A::BITS == 64 || A::BITS == 128 || A::BITS == 32) };
    // Of four vectors of four keys, or two of eight.
    let vectors = size_of::<[A; HALF]>() / 64;
    // SAFETY: keys are words of as many octets as vectors are taken of, and may be read as such.
    let load = |nth: usize| unsafe { _mm512_loadu_si512(keys.as_ptr().cast::<__m512i>().add(nth)) };
    if A::BITS == 128 && vectors == 4 {
        let part = |word: i32, a: __m512i, b: __m512i| {
            let (b0, c0) = (word + 16, word);
            let at = _mm512_setr_epi32(
                c0,
                c0 + 4,
                c0 + 8,
                c0 + 12,
                b0,
                b0 + 4,
                b0 + 8,
                b0 + 12,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            );
            _mm512_castsi512_si256(_mm512_permutex2var_epi32(a, at, b))
        };
        let (a, b, c, d) = (load(0), load(1), load(2), load(3));
        let of = |word| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(part(word, a, b)), part(word, c, d));
        (of(3), of(2))
    } else if A::BITS == 64 && vectors == 2 {
        let of = |first: i32| {
            let at = _mm512_add_epi32(_mm512_set1_epi32(first), {
                _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
            });
            _mm512_permutex2var_epi32(load(0), at, load(1))
        };
        (of(1), of(0))
    } else {
        (_mm512_setzero_si512(), _mm512_setzero_si512())
    }
}

/// What ranges have for keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi2,bmi2,popcnt")]
pub(super) fn find<A: Address>(
    ranges: &Ranges, keys: &[A; GROUP], found: &mut [Option<NonZeroU32>; GROUP],
) -> Ends {
    const { assert!(UNIT_WORDS == 8) };
    let [first, second] = keys.as_chunks().0 else { return Ends::default() };
    let mut ways = [Way::new(ranges, first), Way::new(ranges, second)];
    let end = (ranges.lines.len() * WORDS).min(i32::MAX as usize) as u32 - 1;
    for _ in 0..=STEPS {
        if ways.iter_mut().fold(0, |any, way| any | way.step(ranges, all(end))) == 0 {
            break;
        }
    }
    // What entries lead to was written before they were.
    fence(Acquire);
    let (mut entries, mut rest, mut at) = ([0; GROUP], [0; GROUP], [0; GROUP]);
    let (mut others, mut below) = (0, 0);
    let halves = entries.as_chunks_mut::<HALF>().0.iter_mut().zip(rest.as_chunks_mut::<HALF>().0);
    for ((way, (entries, rest)), at) in ways.iter().zip(halves).zip(at.as_chunks_mut::<HALF>().0) {
        let (entries, rest, at): (&mut Half, &mut Half, &mut Half) = (entries, rest, at);
        let leaves = _mm512_movepi32_mask(way.entry);
        let line = _mm512_srli_epi32::<1>(_mm512_maskz_and_epi32(leaves, way.entry, all(UNIT)));
        let line = _mm512_min_epu32(line, all((ranges.lines.len() - 1) as u32));
        others = others >> HALF | u32::from(_mm512_cmpge_epu32_mask(way.entry, all(WIDE << FORM))) << HALF;
        below = below >> HALF | u32::from(_mm512_cmpeq_epi32_mask(way.entry, all(BELOW))) << HALF;
        // SAFETY: a `Half` is 64 octets that may be written.
        unsafe {
            _mm512_storeu_si512(entries.as_mut_ptr().cast(), way.entry);
            _mm512_storeu_si512(rest.as_mut_ptr().cast(), way.high);
            _mm512_storeu_si512(at.as_mut_ptr().cast(), line);
        }
    }
    at.iter().for_each(|at| prefetch_line(&ranges.lines, *at as usize, 0));
    // Below 0 if one of them is 0.
    let mut any = 0;
    let each = entries.iter().zip(&rest).zip(&at).zip(&mut *found);
    for (((&entry, &rest), &at), found) in each {
        // SAFETY: `at` is below the lines' end.
        let value = unsafe { leaf(ranges.lines.as_ptr().add(at as usize), entry, rest) };
        any |= value.wrapping_sub(1);
        *found = NonZeroU32::new(value);
    }
    if any >> 31 == 0 && others | below == 0 {
        return Ends::default();
    }
    finish(ranges, keys, others, &entries, found)
}

/// What stands for a key at an entry, which leads to the short or long leaf in a line or is the answer.
///
/// # Safety
///
/// The line may be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2,popcnt")]
unsafe fn leaf(line: *const Line, entry: u32, rest: u32) -> u32 {
    // SAFETY: a line is 64 octets, aligned. What a leaf has was written before its entry and is
    // written again only when readers have passed; the first line, read for what is no leaf, never.
    let content = unsafe { _mm512_load_si512(line.cast()) };
    let short = ((1 << SHORT_BOUNDS) - 1) << 2;
    let long = ((1 << LONG_BOUNDS) - 1) << 1;
    let short = _mm512_mask_cmple_epu16_mask(short, content, _mm512_set1_epi16((rest >> 16) as i16));
    let long = _mm512_mask_cmple_epu32_mask(long, content, all(rest));
    let is_short = entry >> FORM == SHORT;
    let (bounds, octets) = if is_short { (short, SHORT_OCTETS) } else { (u32::from(long), LONG_OCTETS) };
    // SAFETY: one of the line's 64, as 42 + 19 and 48 + 11 are below that.
    let octet = unsafe { *line.cast::<u8>().add(octets + bounds.count_ones() as usize) };
    let frame = _mm_cvtsi128_si32(_mm512_castsi512_si128(content)).cast_unsigned();
    let value = if octet == 0 { 0 } else { frame.wrapping_add(octet.into()) };
    if entry < SHORT << FORM { entry } else { value }
}

/// What stands for the keys of a group that are at leaves of other kinds; and which have no answer.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq")]
#[allow(clippy::indexing_slicing, reason = "below GROUP: see `lanes`")]
fn finish<A: Address>(
    ranges: &Ranges, keys: &[A; GROUP], others: u32, entries: &[u32; GROUP],
    found: &mut [Option<NonZeroU32>; GROUP],
) -> Ends {
    for nth in lanes(others) {
        found[nth] = NonZeroU32::new(ranges.other(entries[nth], keys[nth]));
    }
    let mut ends = Ends::default();
    for half in found.as_chunks::<HALF>().0 {
        // SAFETY: a `NonZeroU32` or none is 32 bits, all 0 for none: 64 octets that may be read.
        let half = unsafe { _mm512_loadu_si512(half.as_ptr().cast()) };
        ends.below = ends.below >> HALF | u32::from(_mm512_movepi32_mask(half)) << HALF;
        ends.nothing = ends.nothing >> HALF | u32::from(_mm512_testn_epi32_mask(half, half)) << HALF;
    }
    ends
}

/// What ranges have for one key.
#[target_feature(enable = "avx512f,avx512bw,bmi2,popcnt")]
pub(super) fn find_one<A: Address>(ranges: &Ranges, key: A) -> u32 {
    let (entry, rest) = ranges.way(key.high());
    let at = (entry & UNIT) as usize * UNIT_WORDS / WORDS;
    match ranges.lines.get(at) {
        // SAFETY: a leaf's line, see there.
        Some(line) if matches!(entry >> FORM, SHORT | LONG) => unsafe {
            leaf(line, entry, (rest >> 32) as u32)
        },
        _ => ranges.end(entry, key, rest),
    }
}
