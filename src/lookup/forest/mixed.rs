//! One of the files that need `unsafe`: waves in the forests of several slices with AVX-512.
//!
//! As in [`wide`](super::wide), but each lane has a forest of its own: words are gathered by
//! their addresses. The forests of several slices seldom are in the near caches together, so
//! all leaves are compared first, and the rows that are left fetched, before any row is read.
//!
//! A lane is in a step only where the search of its key is, and a group of lanes takes one
//! only if there is such a lane: all keys together take no more steps than each would by
//! itself. So what a slice's filters cost is paid with that slice's keys.

#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::offset_of;
use core::sync::atomic::{Ordering::Acquire, fence};

use super::block::WORDS;
use super::read::{ForestRead, NONE, TREES};
use super::waves::{BATCH, Forests, padded};
use super::wide::{
    All, GROUPS, Mask, NODE, PAYLOAD, Sifted, Wide, Words, all, compare, groups, halves, limit, sift, sort,
    step,
};
use crate::arch::prefetch_line;
use crate::key::TableKey;
use crate::lookup::Word;

/// The values of up to [`BATCH`] keys, each in its forest, as many as there is room for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn lookup_batch<V: Word>(
    isa: Wide, forests: &Forests<'_>, keys: &[TableKey], found: &mut [Option<V>],
) {
    let count = keys.len().min(found.len());
    let some;
    let keys = match keys.first_chunk() {
        Some(keys) => keys,
        None => {
            some = padded(keys);
            &some
        }
    };
    let batch = Batch { isa, keys, forests, grounds: Grounds::of(forests, count) };
    let best = batch.search();
    for (at, found) in (0..count).zip(found) {
        *found = batch.value(at, &best).map(V::of);
    }
}

/// Keys and their forests.
struct Batch<'l, 'a> {
    isa: Wide,
    keys: &'l [TableKey; BATCH],
    forests: &'l Forests<'a>,
    grounds: Grounds,
}

impl Batch<'_, '_> {
    /// The best places.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn search(&self) -> Words {
        let ((low, high), grounds) = (halves(self.keys), &self.grounds);
        let (mut trees, mut best) = (grounds.there, Words([NONE; BATCH]));
        let (mut roots, mut next): (All, All) = ([all(0); GROUPS], [all(0); GROUPS]);
        let mut blocks = Words([0; BATCH]);
        groups!(G => {
            roots[G] = grounds.roots(G, 0, trees[G]);
            next[G] = grounds.lead(G, roots[G], (low[G], high[G]), trees[G]);
        });
        for tree in 1..TREES {
            let mut slots = next;
            let (mut nodes, mut leaves) = ([0; GROUPS], [0; GROUPS]);
            groups!(G => {
                // If nothing better is here, the trees that follow are no better.
                let limit = limit(best.get(G));
                trees[G] = _mm512_mask_cmple_epu64_mask(trees[G], roots[G], limit);
                (nodes[G], leaves[G]) = sort(trees[G], slots[G], limit);
                blocks.set(G, grounds.blocks(G, slots[G]));
            });
            if u32::from_le_bytes(trees) == 0 {
                break;
            }
            self.prefetch(&blocks, u32::from_le_bytes(nodes) | u32::from_le_bytes(leaves));
            groups!(G => {
                if trees[G] != 0 {
                    roots[G] = grounds.roots(G, tree, trees[G]);
                    next[G] = grounds.lead(G, roots[G], (low[G], high[G]), trees[G]);
                }
            });
            while u32::from_le_bytes(nodes) != 0 {
                let mut fresh = nodes;
                groups!(G => {
                    if nodes[G] != 0 {
                        let fetch = |at, lanes| grounds.fetch(G, at, lanes);
                        let child = step(fetch, slots[G], (low[G], high[G]), nodes[G]);
                        slots[G] = _mm512_mask_mov_epi64(slots[G], nodes[G], child);
                        let leaf;
                        (nodes[G], leaf) = sort(nodes[G], child, limit(best.get(G)));
                        leaves[G] |= leaf;
                        fresh[G] = leaf | nodes[G];
                        blocks.set(G, grounds.blocks(G, slots[G]));
                    }
                });
                self.prefetch(&blocks, u32::from_le_bytes(fresh));
            }
            // SAFETY: `Grounds::blocks`, of lanes that have a forest.
            unsafe { self.scan(u32::from_le_bytes(leaves), &blocks, &mut best) };
        }
        best
    }

    /// Compares some lanes with the leaves that begin at these words.
    ///
    /// # Safety
    ///
    /// Each of the lanes has a forest, in the words of which a block begins there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn scan(&self, lanes: u32, blocks: &Words, best: &mut Words) {
        let mut sifted = [Sifted::NOTHING; BATCH];
        for at in Lanes(lanes) {
            let (Some((forest, key)), Some(block)) = (self.lane(at), blocks.0.get(at)) else { break };
            let Some(sifted) = sifted.get_mut(at) else { break };
            // SAFETY: as the caller says.
            *sifted = unsafe { sift(forest.words().as_ptr().add(*block as usize).cast(), key.as_bits()) };
            prefetch_line(&forest.rows, sifted.row as usize, 0);
        }
        for at in Lanes(lanes) {
            let (Some((forest, key)), Some(block)) = (self.lane(at), blocks.0.get(at)) else { break };
            let (Some(sifted), Some(best)) = (sifted.get(at), best.0.get_mut(at)) else { break };
            let Some(row) = forest.rows.get(sifted.row as usize) else { continue };
            let place = compare(self.isa, forest, (*block as usize, *sifted), row, key.as_bits());
            *best = place.min(*best);
        }
    }

    /// Starts fetching what stands at these words, nodes or both lines of a block.
    #[inline(always)]
    fn prefetch(&self, at: &Words, lanes: u32) {
        for lane in Lanes(lanes) {
            let (Some((forest, _)), Some(at)) = (self.lane(lane), at.0.get(lane)) else { break };
            prefetch_line(forest.words(), *at as usize, 0);
            prefetch_line(forest.words(), *at as usize, 1);
        }
    }

    #[inline(always)]
    fn lane(&self, at: usize) -> Option<(&ForestRead, &TableKey)> {
        Some(((*self.forests.get(at)?)?, self.keys.get(at)?))
    }

    /// What a lane found; looked up once more where updates fell into the search.
    #[inline(always)]
    fn value(&self, at: usize, best: &Words) -> Option<u32> {
        let (forest, key) = self.lane(at)?;
        if forest.saw_one_table(*self.grounds.versions.0.get(at)?) {
            forest.value(*best.0.get(at)?)
        } else {
            forest.lookup_again(key.bits())
        }
    }
}

/// Where the forests of lanes are.
///
/// Invariant: each lane that is `there` has a forest, with room for a block at least. Of that
/// there are its address, that of its first word, and the number of its last word.
struct Grounds {
    there: Mask,
    forests: Words,
    words: Words,
    last: Words,
    versions: Words,
}

impl Grounds {
    /// Of the first lanes.
    #[inline(always)]
    fn of(forests: &Forests<'_>, lanes: usize) -> Self {
        let none = || Words([0; BATCH]);
        let (mut at, mut words, mut last, mut versions) = (none(), none(), none(), none());
        let mut there = 0u32;
        let to = at.0.iter_mut().zip(&mut words.0).zip(&mut last.0).zip(&mut versions.0);
        for ((forest, (((at, words), last), version)), lane) in forests.iter().zip(to).zip(0..).take(lanes) {
            let Some(forest) = *forest else { continue };
            *version = forest.version();
            let room = forest.words();
            there |= u32::from(room.len() >= WORDS) << lane;
            *at = core::ptr::from_ref(forest).expose_provenance() as u64;
            *words = room.as_ptr().expose_provenance() as u64;
            *last = (room.len() as u64).saturating_sub(1);
        }
        Self { there: there.to_le_bytes(), forests: at, words, last, versions }
    }

    /// The roots of a tree.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn roots(&self, group: usize, tree: usize, lanes: u8) -> __m512i {
        let root = offset_of!(ForestRead, roots) + size_of::<u64>() * (tree % TREES);
        // SAFETY: a root of a forest, in lanes that have one.
        let roots = unsafe { gather(root, self.forests.get(group), lanes & self.lanes(group)) };
        fence(Acquire);
        roots
    }

    /// Words, for the lanes of a mask; the last one for what would be beyond it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fetch(&self, group: usize, at: __m512i, lanes: u8) -> __m512i {
        let at = _mm512_slli_epi64::<3>(_mm512_min_epu64(at, self.last.get(group)));
        let at = _mm512_add_epi64(self.words.get(group), at);
        // SAFETY: the last word at most, in lanes that have a forest.
        unsafe { gather(0, at, lanes & self.lanes(group)) }
    }

    /// The slots to which slots of any kind lead keys: those that are no nodes to themselves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
    fn lead(&self, group: usize, slots: __m512i, key: (__m512i, __m512i), lanes: u8) -> __m512i {
        let nodes = _mm512_mask_test_epi64_mask(lanes, slots, all(NODE));
        let children = step(|at, lanes| self.fetch(group, at, lanes), slots, key, nodes);
        _mm512_mask_mov_epi64(slots, nodes, children)
    }

    /// The words to which slots lead, or the last ones from which on a block's are left.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn blocks(&self, group: usize, slots: __m512i) -> __m512i {
        let last = _mm512_sub_epi64(self.last.get(group), all(WORDS as u64 - 1));
        _mm512_min_epu64(_mm512_and_si512(slots, all(PAYLOAD)), last)
    }

    /// Lanes of a group that have a forest.
    #[inline(always)]
    fn lanes(&self, group: usize) -> u8 {
        self.there.get(group).copied().unwrap_or(0)
    }
}

/// Lanes, a bit each, from the lowest.
struct Lanes(u32);

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let at = self.0.trailing_zeros() as usize % BATCH;
        self.0 &= self.0 - 1;
        Some(at)
    }
}

/// Gathers words for the lanes of a mask; others are 0.
///
/// # Safety
///
/// `offset` octets behind each address of `lanes` stands an atomic that may be read, and whose
/// provenance is exposed.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather(offset: usize, addresses: __m512i, lanes: u8) -> __m512i {
    let mut found = all(0);
    // SAFETY: the caller says that the words may be read. Each is one load, aligned: what a
    // Relaxed load of an atomic is, so that a writer may be at work.
    unsafe {
        asm!(
            "kmovw k1, {lanes:e}",
            "vpgatherqq {found}{{k1}}, [{offset} + {addresses}]",
            lanes = in(reg) u32::from(lanes),
            offset = in(reg) offset,
            addresses = in(zmm_reg) addresses,
            found = inout(zmm_reg) found,
            out("k1") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    found
}
