//! Single lookups in a forest: trees in the order of their best ranks, or a list.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::block::{self, Block, WIDE, WORDS};
use super::read::{EMPTY, ForestRead, Kind, NONE, bound, is_node, kind, limit, node_lines, payload};
use super::row::{self, GONE};
use super::rule::Rule;
use super::simd::{Isa, Portable};
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::{Hit, Place, Word};

/// Most blocks of a list.
const LIST: usize = 4;

/// The only leaf of a forest.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a>([Option<Block<'a>>; LIST]);

/// What a lookup touches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touched {
    pub(super) nodes: u32,
    pub(super) blocks: u32,
    pub(super) rows: u32,
    pub(super) lines: u32,
}

impl ForestRead {
    /// The place of the best match, or [`NONE`].
    #[inline(always)]
    pub(super) fn search<I: Isa>(&self, isa: I, key: &u128) -> u64 {
        // The second tree's first step, while the first one's lines come in.
        let ahead = self.root(1);
        if is_node(ahead) {
            self.prefetch_slot(self.step(isa, ahead, key).unwrap_or(EMPTY));
        }
        let mut best = NONE;
        for root in &self.roots {
            let mut slot = root.load(Acquire);
            if slot > limit(best) {
                break;
            }
            while is_node(slot) {
                slot = self.step(isa, slot, key).unwrap_or(EMPTY);
            }
            if slot <= limit(best) {
                // Branches: what they lead to need not wait for what is compared.
                let at = payload(slot);
                let bits = self.block(at).map_or(0, |block| isa.candidates(block, key));
                best = best.min(self.scan_rest(isa, at, bits, key));
            }
        }
        best
    }

    /// The place of the best match in the leaf at a word, or [`NONE`].
    #[inline(always)]
    pub(super) fn scan_leaf<I: Isa>(&self, isa: I, at: usize, key: &u128) -> u64 {
        let Some(block) = self.block(at) else { return NONE };
        let bits = isa.candidates(block, key);
        // Most often the first candidate is the match, or there is none: no branch, as nobody
        // could guess which.
        let first = (bits | 1 << (2 * WIDE)).trailing_zeros() as usize / 2;
        let Some(row) = self.rows.get(isa.row(block, first)) else { return NONE };
        let place = isa.place(row, key);
        let rest = bits & bits.wrapping_sub(1);
        let unsure = isa.hide((u64::from(rest) | block.more() as u64) & row::is_gone(place));
        if unsure != 0 { isa.scan_rest(self, at, rest, key) } else { place }
    }

    /// As [`scan_leaf`](Self::scan_leaf), of some candidates of its first block and of the
    /// blocks that follow.
    #[inline(always)]
    pub(super) fn scan_rest<I: Isa>(&self, isa: I, mut at: usize, mut bits: u32, key: &u128) -> u64 {
        while let Some(block) = self.block(at) {
            while bits != 0 {
                let entry = bits.trailing_zeros() as usize / 2;
                bits &= bits - 1;
                let Some(row) = self.rows.get(isa.row(block, entry)) else { continue };
                let place = isa.place(row, key);
                if place != GONE {
                    // Those that follow are worse.
                    return place;
                }
            }
            if block.more() == 0 {
                break;
            }
            at += WORDS;
            bits = self.block(at).map_or(0, |block| isa.candidates(block, key));
        }
        NONE
    }

    /// The leaf of a forest that has no other, and few blocks: a list.
    #[inline(always)]
    pub(super) fn list(&self) -> Option<List<'_>> {
        let (root, next) = (self.root(0), self.root(1));
        let Kind::Leaf { at } = kind(root) else { return None };
        let blocks = self.block(at)?.more() + 1;
        if next != EMPTY || blocks > LIST {
            return None;
        }
        let mut list = [None; LIST];
        for (block, number) in list.iter_mut().zip(0..blocks) {
            *block = self.block(at + number * WORDS);
        }
        Some(List(list))
    }

    /// Whether all filters are scanned.
    pub(crate) fn is_list(&self) -> bool {
        self.list().is_some()
    }

    /// The place of the best match in a list, or [`NONE`]. Its filters are in order: the
    /// first match is the best.
    #[inline(always)]
    fn search_list<I: Isa>(&self, isa: I, list: List<'_>, key: &u128) -> u64 {
        let mut bits = 0;
        for (block, number) in list.0.iter().zip(0..) {
            let Some(block) = block else { break };
            bits |= (isa.gather(isa.candidates(*block, key).into(), 0x5555_5555) as u64) << (16 * number);
        }
        while bits != 0 {
            let first = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(Some(block)) = list.0.get(first / 16) else { break };
            let Some(row) = self.rows.get(isa.row(*block, first % 16)) else { break };
            let place = isa.place(row, key);
            if place != GONE {
                return place;
            }
        }
        NONE
    }

    /// The values of keys of `slice`, in a list: there is nothing to wait for.
    #[inline(always)]
    pub(super) fn lookup_list<I: Isa, V: Word>(
        &self, isa: I, list: List<'_>, slice: SliceId, keys: &[TableKey], found: &mut [Option<V>],
    ) {
        for (key, found) in keys.iter().zip(found) {
            let best = self.search_list(isa, list, key.as_bits());
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
            let rows = self.rows_of(self.descend(slot, key)).filter_map(|row| self.rows.get(row));
            let mut rules = rows.filter(|row| row.matches(key)).filter_map(|row| row.rule());
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
        let mut sum = Touched { lines: 2, ..Touched::default() };
        let mut best = NONE;
        for root in &self.roots {
            let mut slot = root.load(Relaxed);
            if slot > limit(best) {
                break;
            }
            while is_node(slot) && slot <= limit(best) {
                sum.nodes += 1;
                sum.lines += node_lines(self.mask(payload(slot)).count_ones());
                slot = self.step(Portable, slot, &key).unwrap_or(EMPTY);
            }
            if slot <= limit(best) && !is_node(slot) {
                for block in self.leaf(slot) {
                    let candidates = block.candidates(key);
                    sum.blocks += 1;
                    sum.rows += candidates.count_ones();
                    sum.lines += block::LINES + candidates.count_ones();
                }
                best = best.min(self.scan_leaf(Portable, payload(slot), &key));
            }
        }
        sum
    }

    /// Lines that a lookup of `key` reads at most.
    pub(crate) fn cost_of(&self, key: u128) -> u32 {
        self.touched(key).lines
    }
}
