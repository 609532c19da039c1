//! One of the files that need `unsafe`: waves in one forest with AVX-512, eight lanes a register.
//!
//! As in [`waves`](super::waves), and with the same answers. Eight lanes take a step together,
//! by gathers; the bits that a node asks for are picked by their numbers. All lanes go on from
//! the same root, and do so for the next tree before leaves are compared: while one comes in,
//! there is something to do.

#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::*;
use core::hint::select_unpredictable;
use core::sync::atomic::{AtomicU64, Ordering::Acquire, fence};

use super::block::{WIDE, WORDS};
use super::node::{MORE, SLOTS};
use super::read::{ForestRead, NONE, TREES, is_node, payload, side};
use super::row::{self, GONE, NUMBER, Row, VALUE};
use super::simd::{Isa, x86::Avx2};
use super::waves::{BATCH, One, Source, again, padded};
use crate::key::TableKey;
use crate::lookup::Word;

/// Says that the machine has AVX-512 F, BW, DQ, VL and VBMI, and what `Avx2` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide(Avx2);

impl Wide {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512vbmi");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512dq",
            target_feature = "avx512vl",
            target_feature = "avx512vbmi"
        ));
        if has { Avx2::detect().map(Self) } else { None }
    }

    /// For what is done key by key.
    pub(super) fn narrow(self) -> Avx2 {
        self.0
    }
}

/// Lanes of a register, and registers of a batch.
const EIGHT: usize = 8;
pub(super) const GROUPS: usize = BATCH / EIGHT;

/// A word of each lane.
pub(super) type All = [__m512i; GROUPS];

/// Lanes, a bit each.
pub(super) type Mask = [u8; GROUPS];

/// Parts of a slot, see [`read`](super::read).
pub(super) const PAYLOAD: u64 = 0x3fff_ffff;
const HIGH: u64 = 1 << 30;
pub(super) const NODE: u64 = 1 << 31;

/// A block for each of the groups, one after the other: registers have no numbers.
macro_rules! groups {
    ($group:ident => $block:block) => {
        const { assert!(GROUPS == 4) };
        {
            const $group: usize = 0;
            $block
        }
        {
            const $group: usize = 1;
            $block
        }
        {
            const $group: usize = 2;
            $block
        }
        {
            const $group: usize = 3;
            $block
        }
    };
}
pub(super) use groups;

/// The values of keys, as many as there is room for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn lookup_batch<V: Word>(isa: Wide, one: One<'_>, keys: &[TableKey], found: &mut [Option<V>]) {
    for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        let count = keys.len().min(found.len());
        let found = found.get_mut(..count).unwrap_or_default();
        let some;
        let keys = match keys.first_chunk() {
            Some(keys) => keys,
            None => {
                some = padded(keys);
                &some
            }
        };
        batch(isa, one, keys, found);
    }
}

/// Up to [`BATCH`] keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
fn batch<V: Word>(isa: Wide, one: One<'_>, keys: &[TableKey; BATCH], found: &mut [Option<V>]) {
    let forest = one.forest;
    let Some(words) = Memory::of(forest) else {
        return found.iter_mut().for_each(|found| *found = None);
    };
    let (low, high) = halves(keys);
    let mut trees = asked(one.slice.0, high, found.len());
    let mut best = Words([NONE; BATCH]);
    let mut blocks = Words([0; BATCH]);
    let mut root = Root::of(forest, 0);
    let mut next = [all(0); GROUPS];
    groups!(G => {
        next[G] = root.lead(words, low[G], high[G]);
    });
    for tree in 1..TREES {
        let mut slots = next;
        let (mut nodes, mut leaves) = ([0; GROUPS], [0; GROUPS]);
        groups!(G => {
            // If nothing better is here, the trees that follow are no better.
            let limit = limit(best.get(G));
            trees[G] = _mm512_mask_cmple_epu64_mask(trees[G], all(root.slot), limit);
            (nodes[G], leaves[G]) = sort(trees[G], slots[G], limit);
        });
        if u32::from_le_bytes(trees) == 0 {
            break;
        }
        root = Root::of(forest, tree);
        groups!(G => {
            next[G] = root.lead(words, low[G], high[G]);
        });
        while u32::from_le_bytes(nodes) != 0 {
            groups!(G => {
                if nodes[G] != 0 {
                    let child = step(|at, lanes| words.fetch(at, lanes), slots[G], (low[G], high[G]), nodes[G]);
                    slots[G] = _mm512_mask_mov_epi64(slots[G], nodes[G], child);
                    let leaf;
                    (nodes[G], leaf) = sort(nodes[G], child, limit(best.get(G)));
                    leaves[G] |= leaf;
                }
            });
        }
        groups!(G => {
            blocks.set(G, _mm512_min_epu64(_mm512_and_si512(slots[G], all(PAYLOAD)), all(words.last(WORDS))));
        });
        let mut left = u32::from_le_bytes(leaves);
        while left != 0 {
            let at = left.trailing_zeros() as usize % BATCH;
            left &= left - 1;
            let (Some(block), Some(key), Some(best)) = (blocks.0.get(at), keys.get(at), best.0.get_mut(at))
            else {
                break;
            };
            // SAFETY: a block begins there: as many words are left.
            let place = unsafe { scan_leaf(isa, forest, words, *block as usize, key.as_bits()) };
            *best = place.min(*best);
        }
    }
    if one.saw_one_table(&[]) { values(&forest.rows, &best, found) } else { again(one, keys, found) }
}

/// The words of a forest, room for a block at least.
#[derive(Clone, Copy)]
struct Memory<'a>(&'a [AtomicU64]);

impl<'a> Memory<'a> {
    /// `None` for a forest without memory, and so without a filter.
    #[inline(always)]
    fn of(forest: &'a ForestRead) -> Option<Self> {
        Some(forest.words()).filter(|words| words.len() >= WORDS).map(Self)
    }

    /// The last word from which on so many are left, up to those of a block.
    #[inline(always)]
    fn last(self, left: usize) -> u64 {
        (self.0.len() - left.min(WORDS)) as u64
    }

    /// Words, for the lanes of a mask; the last one for what would be beyond it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fetch(self, at: __m512i, lanes: u8) -> __m512i {
        // SAFETY: the last word at most.
        unsafe { gather(self.0.as_ptr().cast(), _mm512_min_epu64(at, all(self.last(1))), lanes) }
    }
}

/// The root of a tree, and which bits it asks for.
#[derive(Clone, Copy)]
struct Root {
    slot: u64,
    numbers: u64,
    others: u64,
}

impl Root {
    #[inline(always)]
    fn of(forest: &ForestRead, tree: usize) -> Self {
        let slot = forest.root(tree);
        let (mut numbers, mut others) = (0, 0);
        if is_node(slot) {
            numbers = forest.word(payload(slot));
            if numbers & MORE != 0 {
                others = forest.word(payload(slot).wrapping_sub(1));
            }
        }
        Self { slot, numbers, others }
    }

    /// The slots to which it leads keys.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn lead(self, words: Memory<'_>, low: __m512i, high: __m512i) -> __m512i {
        if !is_node(self.slot) {
            return all(self.slot);
        }
        let word = if side(self.slot) == 0 { low } else { high };
        let mut value = pick(word, all(self.numbers));
        if self.others != 0 {
            value = _mm512_or_si512(value, _mm512_slli_epi64::<8>(pick(word, all(self.others))));
        }
        let slots = words.fetch(_mm512_add_epi64(value, all((payload(self.slot) + SLOTS) as u64)), 0xff);
        fence(Acquire);
        slots
    }
}

/// The slots to which nodes lead keys, in the lanes of a mask; `fetch` gets words by their numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
pub(super) fn step(
    fetch: impl Fn(__m512i, u8) -> __m512i, slot: __m512i, (low, high): (__m512i, __m512i), lanes: u8,
) -> __m512i {
    let at = _mm512_and_si512(slot, all(PAYLOAD));
    let numbers = fetch(at, lanes);
    let word = _mm512_mask_blend_epi64(_mm512_test_epi64_mask(slot, all(HIGH)), low, high);
    let mut value = pick(word, numbers);
    let more = _mm512_mask_test_epi64_mask(lanes, numbers, all(MORE));
    if more != 0 {
        let others = fetch(_mm512_sub_epi64(at, all(1)), more);
        value = _mm512_or_si512(value, _mm512_slli_epi64::<8>(pick(word, others)));
    }
    let child = fetch(_mm512_add_epi64(_mm512_add_epi64(at, value), all(SLOTS as u64)), lanes);
    fence(Acquire);
    child
}

/// Which of some lanes are at nodes, and which at leaves; others are done with the tree, as
/// nothing better may be there.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sort(lanes: u8, slots: __m512i, limit: __m512i) -> (u8, u8) {
    let live = _mm512_mask_cmple_epu64_mask(lanes, slots, limit);
    let nodes = _mm512_mask_test_epi64_mask(live, slots, all(NODE));
    (nodes, live & !nodes)
}

/// [`ForestRead::scan_leaf`], from a block on.
///
/// # Safety
///
/// A block begins at the word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn scan_leaf(isa: Wide, forest: &ForestRead, words: Memory<'_>, at: usize, key: &u128) -> u64 {
    // SAFETY: as the caller says.
    let sifted = unsafe { sift(words.0.as_ptr().add(at).cast(), key) };
    let Some(row) = forest.rows.get(sifted.row as usize) else { return NONE };
    compare(isa, forest, (at, sifted), row, key)
}

/// What the signatures of a leaf's first block leave of its filters.
#[derive(Clone, Copy)]
pub(super) struct Sifted {
    /// How many blocks follow.
    more: u64,
    /// A bit each.
    candidates: u32,
    /// The number of the first one's row, or of [`NOBODY`](super::row::NOBODY)'s.
    pub(super) row: u32,
}

impl Sifted {
    pub(super) const NOTHING: Self = Self { more: 0, candidates: 0, row: 0 };
}

/// Compares the signatures of a block with a key's.
///
/// # Safety
///
/// A block of a forest begins there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn sift(block: *const u64, key: &u128) -> Sifted {
    let halves = (&raw const *key).cast::<u64>();
    // SAFETY: the two words of a key, and the sixteen of a block, which nobody writes, see
    // `Avx2`. There are sixteen numbers of rows in octets 64 to 112, and octets behind them.
    unsafe {
        let (in_low, in_high) = (block.add(14).read(), block.add(15).read());
        let (low, high) = (_pext_u64(halves.read(), in_low), _pext_u64(halves.add(1).read(), in_high));
        let signature = (low | high << in_low.count_ones()) as u16;
        let lanes = block.cast::<__m256i>();
        let masked =
            _mm256_and_si256(_mm256_set1_epi16(signature.cast_signed()), _mm256_loadu_si256(lanes.add(1)));
        let candidates = u32::from(_mm256_cmpeq_epi16_mask(masked, _mm256_loadu_si256(lanes)));
        let first = (candidates | 1 << WIDE).trailing_zeros() as usize;
        let row = block.cast::<u8>().add(64 + 3 * first).cast::<u32>().read_unaligned();
        Sifted { more: in_high >> 56, candidates, row: row & 0xff_ffff }
    }
}

/// The best place among what is left of the leaf at a word, the first candidate's row first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn compare(
    isa: Wide, forest: &ForestRead, (at, sifted): (usize, Sifted), row: &Row, key: &u128,
) -> u64 {
    // SAFETY: a key, and the lanes of a row, which nobody writes, aligned to 64.
    let hit = unsafe {
        let lanes = row.lanes.as_ptr().cast::<__m128i>();
        let masked = _mm_and_si128(_mm_loadu_si128((&raw const *key).cast()), _mm_load_si128(lanes));
        let above = _mm_sub_epi16(masked, _mm_load_si128(lanes.add(1)));
        _mm_cmple_epu16_mask(above, _mm_load_si128(lanes.add(2)))
    };
    let place = select_unpredictable(hit == 0xff, row.place(), GONE);
    let rest = sifted.candidates & sifted.candidates.wrapping_sub(1);
    let unsure = isa.narrow().hide((u64::from(rest) | sifted.more) & row::is_gone(place));
    if unsure == 0 {
        return place;
    }
    isa.narrow().scan_rest(forest, at, _pdep_u32(rest, 0x5555_5555), key)
}

/// The values of the rows that have the best places.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn values<V: Word>(rows: &[Row], best: &Words, found: &mut [Option<V>]) {
    let (mut values, mut there) = ([0u32; BATCH], [0; GROUPS]);
    groups!(G => {
        let number = _mm512_and_si512(best.get(G), all(NUMBER));
        there[G] = _mm512_cmplt_epu64_mask(number, all(rows.len() as u64));
        const { assert!(size_of::<Row>() == 64) };
        let at = _mm512_slli_epi64::<3>(number);
        // SAFETY: the lanes of the mask have numbers of rows; 32 octets that may be written.
        unsafe {
            let found = gather_short::<{ VALUE as i32 }>(rows.as_ptr().cast(), at, there[G]);
            _mm256_storeu_si256(values.as_mut_ptr().add(EIGHT * G).cast(), found);
        }
    });
    fence(Acquire);
    let there = u32::from_le_bytes(there);
    for ((found, value), at) in found.iter_mut().zip(values).zip(0..) {
        *found = (there >> at & 1 != 0).then(|| V::of(value));
    }
}

/// Which of the first keys are of a slice.
#[inline]
#[target_feature(enable = "avx512f")]
fn asked(slice: u16, high: All, keys: usize) -> Mask {
    let first = u32::MAX.checked_shr(BATCH.saturating_sub(keys) as u32).unwrap_or(0).to_le_bytes();
    let mut asked = [0; GROUPS];
    groups!(G => {
        asked[G] = _mm512_mask_cmpeq_epi64_mask(first[G], _mm512_srli_epi64::<48>(high[G]), all(slice.into()));
    });
    asked
}

/// The low and the high words of keys.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn halves(keys: &[TableKey; BATCH]) -> (All, All) {
    let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    let (mut low, mut high) = ([all(0); GROUPS], [all(0); GROUPS]);
    groups!(G => {
        // SAFETY: eight of the keys.
        let (first, last) = unsafe {
            let keys = keys.as_ptr().add(EIGHT * G).cast::<__m512i>();
            (_mm512_loadu_si512(keys), _mm512_loadu_si512(keys.add(1)))
        };
        low[G] = _mm512_permutex2var_epi64(first, even, last);
        high[G] = _mm512_permutex2var_epi64(first, odd, last);
    });
    (low, high)
}

/// The bits of each word that have these numbers, see [`node`](super::node).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn pick(word: __m512i, numbers: __m512i) -> __m512i {
    let there = _mm512_movepi8_mask(numbers);
    // In octet i, the bit that is asked for is bit i.
    let octets = _mm512_maskz_multishift_epi64_epi8(there, numbers, word);
    let bits = _mm512_and_si512(octets, all(0x8040_2010_0804_0201));
    _mm512_sad_epu8(bits, all(0))
}

/// Gathers words for the lanes of a mask; others are 0.
///
/// # Safety
///
/// At each of `lanes` of `at`, counted in words from `base`, stands an atomic that may be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather(base: *const u64, at: __m512i, lanes: u8) -> __m512i {
    let mut found = all(0);
    // SAFETY: the caller says that the words may be read. Each is one load, aligned: what a
    // Relaxed load of an atomic is, so that a writer may be at work.
    unsafe {
        asm!(
            "kmovw k1, {lanes:e}",
            "vpgatherqq {found}{{k1}}, [{base} + 8*{at}]",
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

/// Gathers 32 bits, `OFFSET` octets behind words; see [`gather`].
///
/// # Safety
///
/// As `gather`: what stands there is an atomic of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather_short<const OFFSET: i32>(base: *const u64, at: __m512i, lanes: u8) -> __m256i {
    let mut found = _mm256_setzero_si256();
    // SAFETY: see `gather`.
    unsafe {
        asm!(
            "kmovw k1, {lanes:e}",
            "vpgatherqd {found}{{k1}}, [{base} + 8*{at} + {offset}]",
            lanes = in(reg) u32::from(lanes),
            base = in(reg) base,
            at = in(zmm_reg) at,
            offset = const OFFSET,
            found = inout(ymm_reg) found,
            out("k1") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    found
}

/// See [`limit`](super::read::limit).
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn limit(best: __m512i) -> __m512i {
    _mm512_or_si512(best, all(u32::MAX.into()))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn all(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

/// A word of each lane, in memory.
#[repr(C, align(64))]
pub(super) struct Words(pub(super) [u64; BATCH]);

impl Words {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn get(&self, group: usize) -> __m512i {
        // SAFETY: 64 octets of the array, aligned.
        unsafe { _mm512_load_si512(self.0.as_ptr().add(EIGHT * (group % GROUPS)).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn set(&mut self, group: usize, lanes: __m512i) {
        // SAFETY: 64 octets of the array, aligned.
        unsafe { _mm512_store_si512(self.0.as_mut_ptr().add(EIGHT * (group % GROUPS)).cast(), lanes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::lookup::forest::node::{self, MASK};
    use crate::lookup::forest::read::node_slot;
    use crate::lookup::forest::simd::{Machine, Portable};
    use proptest::prelude::*;

    /// Where the root of tree 0, and a node below it, lead keys.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn ways(forest: &ForestRead, slot: u64, keys: &[TableKey; BATCH]) -> [Words; 2] {
        let words = Memory::of(forest).unwrap();
        let (low, high) = halves(keys);
        let (mut from_root, mut below) = (Words([0; BATCH]), Words([0; BATCH]));
        groups!(G => {
            from_root.set(G, Root::of(forest, 0).lead(words, low[G], high[G]));
            below.set(G, step(|at, lanes| words.fetch(at, lanes), all(slot), (low[G], high[G]), 0xff));
        });
        [from_root, below]
    }

    proptest! {
        /// A node of any bits leads as on any machine; and a slot that leads to what is no node,
        /// or beyond the memory, somewhere within it.
        #[test]
        fn nodes_of_all_sizes_lead_as_on_any_machine(
            mask: u64, bits in 1u32..=10, turn in 0u32..64, high: bool, bits_of_keys: [u128; BATCH], anywhere: u64,
        ) {
            let Some(isa) = Wide::detect() else { return Ok(()) };
            let mut mask = mask | 0x3ff;
            while mask.count_ones() > bits {
                mask &= mask - 1;
            }
            let mask = mask.rotate_left(turn);
            let forest = ForestRead::empty(Machine::Wide(isa), 2000, 1).unwrap();
            let (at, [first, others]) = (40, node::numbers(mask));
            forest.set_word(at - 1, others);
            forest.set_word(at, first);
            forest.set_word(at + MASK, mask);
            for slot in forest.slots(at) {
                forest.set_word(slot, 7 * slot as u64);
            }
            let slot = node_slot(0, at, high);
            forest.set_root(0, slot);
            let keys = bits_of_keys.map(|bits| TableKey::new(SliceId(1), crate::key::LookupKey::new(bits)));
            // SAFETY: a `Wide` says that the machine has the features.
            let ways = unsafe { ways(&forest, slot, &keys) };
            for way in ways {
                for (key, slot_of_key) in keys.iter().zip(way.0) {
                    prop_assert_eq!(Some(slot_of_key), forest.step(Portable, slot, key.as_bits()));
                }
            }
            forest.set_root(0, anywhere | NODE);
            // SAFETY: as above.
            _ = unsafe { super::tests::ways(&forest, anywhere | NODE, &keys) };
        }
    }
}
