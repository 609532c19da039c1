//! Single lookups in a forest: trees in the order of their best ranks, or a list.

use core::hint::select_unpredictable;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::group::{Group, WIDE};
use super::read::{
    EMPTY, ForestRead, GROUP_LINES, Kind, LAST, NONE, bound, is_node, kind, leaf_of, leaf_slot, limit,
    node_lines, payload,
};
use super::rule::Rule;
use super::simd::{Isa, Portable};
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::{Hit, Place, Word};

/// Most groups of a list.
const LIST: usize = 8;

/// What a lookup touches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touched {
    pub(super) nodes: u32,
    pub(super) groups: u32,
    pub(super) lines: u32,
}

impl ForestRead {
    /// The best match, or [`NONE`].
    #[inline(always)]
    pub(super) fn search<I: Isa>(&self, isa: I, key: u128) -> u64 {
        if let Some(list) = self.list() {
            return self.search_list(isa, list, key);
        }
        let words = [key as u64, (key >> 64) as u64];
        // The second tree's first step, while the first one's lines come in.
        let ahead = self.root(1);
        if is_node(ahead) {
            let child = self.step(isa, ahead, &words).unwrap_or(EMPTY);
            if is_node(child) { self.prefetch_node(child) } else { self.prefetch_leaf(child) }
        }
        let mut best = NONE;
        for root in &self.roots {
            let mut slot = root.load(Acquire);
            if slot > limit(best) {
                break;
            }
            while is_node(slot) {
                slot = self.step(isa, slot, &words).unwrap_or(EMPTY);
            }
            if slot <= limit(best) {
                best = self.scan_leaf(isa, slot, &words, best);
            }
        }
        best
    }

    /// The better of `best` and the best match in a leaf.
    #[inline(always)]
    pub(super) fn scan_leaf<I: Isa>(&self, isa: I, slot: u64, key: &[u64; 2], best: u64) -> u64 {
        let (at, count) = leaf_of(slot);
        for (group, at) in self.groups.get(at..at + count).unwrap_or_default().iter().zip(at..) {
            let bits = isa.scan(group, key);
            if bits != 0 {
                let better = self.better(at, group, bits, best);
                // Those that match here may all have been taken out.
                if better != best {
                    return better;
                }
            }
        }
        best
    }

    /// The better of `best` and the first entry of `bits`, which are not none.
    #[inline(always)]
    pub(super) fn better(&self, at: usize, group: &Group, bits: u32, best: u64) -> u64 {
        let entry = bits.trailing_zeros() as usize % WIDE;
        let rank = group.rank(entry);
        // Of equal ranks the order decides; and who was taken out bears the last rank.
        if rank == (best >> 32) as u32 || rank >= LAST {
            return self.settle(at, bits, best);
        }
        let found = u64::from(rank) << 32 | (at * WIDE + entry) as u64;
        select_unpredictable(found < best, found, best)
    }

    /// As [`better`](Self::better), by rank and order.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&self, at: usize, mut bits: u32, best: u64) -> u64 {
        let old = self.precedence(best as u32 as usize).filter(|_| best != NONE);
        while bits != 0 {
            let entry = at * WIDE + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(new) = self.precedence(entry) else { continue };
            let better = match old {
                Some(old) => new < old,
                // There is none; or it was taken out since it was found, before or after.
                None => bound(new.0) < best,
            };
            return if better { bound(new.0) | entry as u64 } else { best };
        }
        best
    }

    fn precedence(&self, entry: usize) -> Option<(u32, u32)> {
        let (group, orders) = (self.groups.get(entry / WIDE)?, self.orders.get(entry / WIDE)?);
        group.precedence(orders, entry % WIDE)
    }

    /// The leaf of a forest that has no other, and eight groups or less: a list.
    #[inline(always)]
    pub(super) fn list(&self) -> Option<(usize, &[Group])> {
        let (root, next) = (self.root(0), self.root(1));
        let (at, count) = leaf_of(root);
        if is_node(root) || next != EMPTY || count > LIST {
            return None;
        }
        Some((at, self.groups.get(at..at + count)?))
    }

    /// Whether all filters are scanned.
    pub(crate) fn is_list(&self) -> bool {
        self.list().is_some()
    }

    /// The best match in a list. Its filters are in order: the first match is the best.
    #[inline(always)]
    fn search_list<I: Isa>(&self, isa: I, (at, list): (usize, &[Group]), key: u128) -> u64 {
        let words = [key as u64, (key >> 64) as u64];
        let mut bits = 0;
        for (group, number) in list.iter().zip(0..LIST) {
            bits |= u64::from(isa.scan(group, &words)) << (WIDE * number);
        }
        let first = bits.trailing_zeros() as usize;
        let Some(group) = list.get(first / WIDE).filter(|_| bits != 0) else { return NONE };
        let rank = group.rank(first % WIDE);
        // Who was taken out bears the last rank.
        if rank >= LAST {
            self.settle_list(isa, (at, list), &words)
        } else {
            bound(rank) | (at * WIDE + first) as u64
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_list<I: Isa>(&self, isa: I, (at, list): (usize, &[Group]), key: &[u64; 2]) -> u64 {
        self.scan_leaf(isa, leaf_slot(0, at, list.len()), key, NONE)
    }

    /// The values of keys of `slice`, in a list: there is nothing to wait for.
    #[inline(always)]
    pub(super) fn lookup_list<I: Isa, V: Word>(
        &self, isa: I, list: (usize, &[Group]), slice: SliceId, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        for (&key, found) in keys.iter().zip(found) {
            let best = self.search_list(isa, list, key.bits());
            *found = self.value(best).filter(|_| key.slice() == slice).map(V::of);
        }
    }

    /// The best match after `after`, or of all.
    pub(crate) fn next_match(&self, key: u128, after: Option<Place>) -> Option<Hit<u32>> {
        self.steady(|| self.search_after(key, after))
    }

    fn search_after(&self, key: u128, after: Option<Place>) -> Option<Hit<u32>> {
        let mut best: Option<Rule> = None;
        for root in &self.roots {
            let slot = root.load(Acquire);
            if best.is_some_and(|best| slot & EMPTY > bound(best.rank)) {
                break;
            }
            let (at, groups) = leaf_of(self.descend(slot, key));
            let mut rules = self.leaf(at, groups).flat_map(|(group, orders)| {
                let bits = group.scan(&[key as u64, (key >> 64) as u64]);
                group.rules(orders, bits)
            });
            let found = rules.find(|rule| Some(rule.place()) > after);
            if let Some(found) = found
                && best.is_none_or(|best| found.precedence() < best.precedence())
            {
                best = Some(found);
            }
        }
        let best = best?;
        Some(Hit { place: best.place(), value: best.word })
    }

    /// What a lookup of `key` touches.
    pub(super) fn touched(&self, key: u128) -> Touched {
        let words = [key as u64, (key >> 64) as u64];
        let mut sum = Touched { lines: 2, ..Touched::default() };
        let mut best = NONE;
        for root in &self.roots {
            let mut slot = root.load(Relaxed);
            if slot > limit(best) {
                break;
            }
            while is_node(slot) && slot <= limit(best) {
                sum.nodes += 1;
                sum.lines += node_lines(self.word(payload(slot)).count_ones());
                slot = self.step(Portable, slot, &words).unwrap_or(EMPTY);
            }
            if slot <= limit(best) && !is_node(slot) {
                let groups = leaf_of(slot).1 as u32;
                sum.groups += groups;
                sum.lines += groups * GROUP_LINES;
                best = self.scan_leaf(Portable, slot, &words, best);
            }
        }
        sum
    }

    /// Lines that a lookup of `key` reads at most.
    pub(crate) fn cost_of(&self, key: u128) -> u32 {
        let full = |root: &&AtomicU64| !matches!(kind(root.load(Relaxed)), Kind::Nothing);
        let trees = self.roots.iter().filter(full).count() as u32;
        self.touched(key).lines + if trees > 1 { trees } else { 0 }
    }
}
