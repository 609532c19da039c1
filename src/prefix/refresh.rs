//! The ranges of a table, made from its trie and kept as that is.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::address::{Address, Prefix};
use super::arena::{Block, Space};
use super::chunk::CHILD;
use super::leaf::{BELOW, Encoded, FORM, Leaf, Run, UNIT, order};
use super::ranges::{BRANCH, LAST, LEAST, MOST, Ranges, STEPS, bits, is_branch, is_leaf, whole};
use super::read::PrefixRead;
use super::survey::{Survey, push};

/// A branch is as wide as its entries have so many ranges each.
const FILL: usize = 6;
/// The logarithm of the units of the widest branch.
const MOST_ORDER: u32 = MOST - LEAST;
/// The most ranges that an update surveys for a leaf.
const MOST_RUNS: usize = 256;
/// Units that an entry can name.
const MOST_UNITS: usize = 1 << FORM;
/// Units to spare, besides an eighth.
const SPARE: usize = 4096;

/// Addresses that have their first `len` bits in common, `low`'s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) low: u128,
    pub(super) len: u32,
}

impl Part {
    /// Those of a prefix.
    pub(super) fn of<A: Address>(prefix: Prefix<A>) -> Self {
        Self { low: whole(prefix.bits()), len: prefix.len() }
    }

    fn last(self) -> u128 {
        self.low | u128::MAX.checked_shr(self.len).unwrap_or(0)
    }

    /// The n-th of the parts that it has by `bits` more bits.
    fn nth(self, bits: u32, nth: usize) -> Self {
        Self { low: self.low | (nth as u128) << (u128::BITS - bits) >> self.len, len: self.len + bits }
    }
}

/// What the owner of a table keeps of its [`Ranges`].
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) units: Space,
    /// Units that are kept for nobody.
    first: usize,
    /// Blocks that nothing leads to any more.
    pub(super) replaced: Vec<Block>,
    /// Octets that the last update wrote.
    pub(super) copied: usize,
    runs: Vec<Run>,
    changed: Vec<Run>,
}

impl Growth {
    fn new(units: usize) -> Self {
        let mut units = Space::new(units, MOST_ORDER);
        // The first line is of no block: who has no leaf reads it.
        let first = units.take(0).map_or(0, Block::places);
        Self { units, first, replaced: Vec::new(), copied: 0, runs: Vec::new(), changed: Vec::new() }
    }

    /// Units of branches and leaves.
    pub(super) fn used(&self) -> usize {
        self.units.used() - self.first
    }

    /// The ranges of a table that has none yet, and room for so many octets that wait for readers.
    pub(super) fn of<A: Address>(
        read: &PrefixRead<A>, prefixes: usize, spare: usize, waiting: usize,
    ) -> (Ranges, Self) {
        // Made without memory to write to, to see how much there must be.
        let bits = read.inside.bits;
        let mut growth = Self::new((16 * prefixes).clamp(1 << 16, MOST_UNITS));
        growth.grow_all(read, &Ranges::new(bits, 0));
        let used = growth.used();
        let units = used + used / 8 + SPARE + 4 * spare + waiting / 32;
        let units = units.next_multiple_of(1 << MOST_ORDER).min(MOST_UNITS);
        let (ranges, mut growth) = (Ranges::new(bits, units), Self::new(units));
        growth.grow_all(read, &ranges);
        (ranges, growth)
    }

    fn grow_all<A: Address>(&mut self, read: &PrefixRead<A>, ranges: &Ranges) {
        for index in 0..1usize << ranges.bits {
            let all = entry_of(ranges, index);
            let entry = read.inside.entry(index);
            let mut runs = core::mem::take(&mut self.runs);
            Survey::new(read, &mut runs, usize::MAX).of(entry, all.low, all.len);
            let made = self.make(ranges, &runs, all, 0);
            self.runs = runs;
            if let Some(direct) = ranges.direct.get(index) {
                direct.store(made, Release);
            }
        }
        // As much as updates need, which is not what the whole table did.
        (self.copied, self.runs) = (0, Vec::with_capacity(MOST_RUNS + 1));
    }

    /// Brings up to date what changed below an entry of the direct table: all of it, or a part, and what
    /// stands for that now, if it is known.
    pub(super) fn refresh<A: Address>(
        &mut self, read: &PrefixRead<A>, ranges: &Ranges, index: usize, part: Option<(Part, Option<u32>)>,
    ) {
        let (all, entry) = (entry_of(ranges, index), read.inside.entry(index));
        let (part, known) = part.unwrap_or((all, None));
        let value = known.or_else(|| {
            let same = Survey::new(read, &mut self.runs, 1).of(entry, part.low, part.len);
            self.runs.first().filter(|_| same).map(|run| run.1)
        });
        let update = Update { read, ranges, entry, part, value };
        if let Some(direct) = ranges.direct.get(index) {
            let old = direct.load(Relaxed);
            let new = self.renew(&update, old, all, 0);
            if new != old {
                direct.store(new, Release);
            }
        }
    }

    /// What an entry becomes.
    fn renew<A: Address>(&mut self, update: &Update<'_, A>, old: u32, all: Part, steps: usize) -> u32 {
        let inside = update.part.len > all.len;
        if let (false, Some(value)) = (inside, update.value) {
            self.drop(update.ranges, old);
            return value;
        }
        if is_branch(old) {
            return self.renew_branch(update, old, all, steps);
        }
        let mut runs = core::mem::take(&mut self.changed);
        runs.clear();
        let fits = match update.value {
            Some(value) if old != BELOW => {
                self.overlay(update, old, all, value, &mut runs);
                true
            }
            _ => Survey::new(update.read, &mut runs, MOST_RUNS).of(update.entry, all.low, all.len),
        };
        let made = if fits { self.make(update.ranges, &runs, all, steps) } else { BELOW };
        self.changed = runs;
        self.drop(update.ranges, old);
        made
    }

    /// A branch stays where it is and its entries change, unless all become the same.
    fn renew_branch<A: Address>(
        &mut self, update: &Update<'_, A>, branch: u32, all: Part, steps: usize,
    ) -> u32 {
        let (bits, part) = (bits(branch), update.part);
        let first = ((part.low.max(all.low) << all.len) >> (u128::BITS - bits)) as usize;
        let last = ((part.last().min(all.last()) << all.len) >> (u128::BITS - bits)) as usize;
        let mut now = BELOW;
        for nth in first..=last {
            let old = update.ranges.entry(branch, nth);
            now = self.renew(update, old, all.nth(bits, nth), steps + 1);
            if let Some(place) = update.ranges.place(branch, nth).filter(|_| now != old) {
                place.store(now, Release);
            }
        }
        if now & CHILD == 0 && (0..1 << bits).all(|nth| update.ranges.entry(branch, nth) == now) {
            self.drop(update.ranges, branch);
            return now;
        }
        branch
    }

    /// The ranges of a leaf or of one value, with another value in a part.
    fn overlay<A: Address>(
        &mut self, update: &Update<'_, A>, old: u32, all: Part, value: u32, runs: &mut Vec<Run>,
    ) {
        let (low, last) = (update.part.low, update.part.last());
        self.runs.clear();
        match Leaf::of(&update.ranges.lines, old).filter(|_| is_leaf(old)) {
            Some(leaf) => leaf.runs(all.low, all.len, &mut |run: Run| push(&mut self.runs, run.0, run.1)),
            None => self.runs.push((all.low, old)),
        }
        self.runs.iter().filter(|run| run.0 < low).for_each(|run| push(runs, run.0, run.1));
        push(runs, low, value);
        if last < all.last() {
            let behind = self.runs.iter().rfind(|run| run.0 <= last + 1).map_or(0, |run| run.1);
            push(runs, last + 1, behind);
            self.runs.iter().filter(|run| run.0 > last + 1).for_each(|run| push(runs, run.0, run.1));
        }
    }

    /// The entry for ranges; `BELOW` if they need too many steps, or there is no room.
    fn make(&mut self, ranges: &Ranges, runs: &[Run], all: Part, steps: usize) -> u32 {
        let value = runs.first().map_or(0, |run| run.1);
        if runs.len() <= 1 {
            return value;
        }
        if let Some(leaf) = Encoded::new(runs, all.len) {
            let Some(block) = self.take(leaf.order) else { return BELOW };
            return leaf.write(&ranges.lines, block.at);
        }
        let most = MOST.min(LAST.saturating_sub(all.len));
        if steps >= STEPS || most < LEAST {
            return BELOW;
        }
        let bits = (LEAST..most).find(|bits| runs.len() >> bits <= FILL).unwrap_or(most);
        let Some(block) = self.take(bits - LEAST) else { return BELOW };
        let branch = (BRANCH + bits) << FORM | block.at;
        let mut from = 0;
        for nth in 0..1 << bits {
            let part = all.nth(bits, nth);
            let starts = |run: &&Run| run.0 <= part.low;
            from += runs.get(from + 1..).map_or(0, |runs| runs.iter().take_while(starts).count());
            let inside = |run: &&Run| run.0 <= part.last();
            let count = runs.get(from + 1..).map_or(0, |runs| runs.iter().take_while(inside).count());
            let entry = self.make(ranges, runs.get(from..=from + count).unwrap_or(&[]), part, steps + 1);
            if let Some(place) = ranges.place(branch, nth) {
                // Nobody can reach it yet.
                place.store(entry, Relaxed);
            }
        }
        branch
    }

    fn take(&mut self, order: u32) -> Option<Block> {
        let block = self.units.take(order)?;
        self.copied += block.places() * 32;
        Some(block)
    }

    /// What an entry leads to is of no use any more.
    fn drop(&mut self, ranges: &Ranges, entry: u32) {
        let order = if is_branch(entry) {
            (0..1 << bits(entry)).for_each(|nth| self.drop(ranges, ranges.entry(entry, nth)));
            bits(entry) - LEAST
        } else if is_leaf(entry) {
            order(entry >> FORM)
        } else {
            return;
        };
        self.replaced.push(Block { at: entry & UNIT, order });
    }
}

/// What an update changed: a part, and what stands for all of it now, if that is one thing.
struct Update<'a, A> {
    read: &'a PrefixRead<A>,
    ranges: &'a Ranges,
    /// Of the direct table of the trie.
    entry: u32,
    part: Part,
    value: Option<u32>,
}

/// The addresses of an entry of the direct table.
fn entry_of(ranges: &Ranges, index: usize) -> Part {
    Part { low: (index as u128) << (u128::BITS - ranges.bits), len: ranges.bits }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;

    use super::super::{Form, PrefixTable, PrefixTrie};
    use super::*;
    use crate::epoch::Epochs;

    /// Whatever the history, ranges with room for few leaves say nothing that the trie does not say.
    #[test]
    fn keys_without_room_go_through_the_trie() {
        let mut random = 5u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u128::from(random >> 24)
        };
        let form = Form { direct_bits: Some(4), skip: Some(0), spare: 2000, ..Form::default() };
        let (mut read, mut control) = PrefixTrie::<u128>::new(form).into_halves();
        let (ranges, mut growth) = (Ranges::new(4, 128), Growth::new(128));
        growth.grow_all(&read, &ranges);
        (read.ranges, control.growth) = (Some(ranges), Some(growth));
        let mut epochs = Epochs::new(0);
        let mut model = alloc::collections::BTreeMap::new();
        let (mut below, mut above) = (0, 0);
        for round in 0..6_000 {
            let len = [3, 7, 20, 33, 48, 64, 90, 128][next() as usize % 8];
            let key = (next() % 5) << 125 | (next() % 7) << 103 | (next() % 9) << 78 | (next() % 3) << 30;
            let prefix = Prefix::new(key, len).unwrap();
            let value = 1 + next() as u32 % [9, 4000][round / 8 % 2];
            // It fills up, and empties again.
            if next() as usize % 4 < [3, 1][round / 1500 % 2] {
                let old = control.insert(&read, &mut epochs, prefix, value).unwrap();
                assert_eq!(old, model.insert(prefix, value));
            } else {
                assert_eq!(control.remove(&read, &mut epochs, prefix).unwrap(), model.remove(&prefix));
            }
            if round % 16 > 0 {
                continue;
            }
            let keys: [u128; 64] = core::array::from_fn(|nth| {
                let some = model.keys().nth(nth * 7 % model.len().max(1)).copied();
                some.map_or(key, |some: Prefix<u128>| some.bits()) | next() << (next() % 90)
            });
            let mut found = [None; 64];
            read.lookup_batch(&keys, &mut found);
            for (key, found) in keys.into_iter().zip(found) {
                let covers = model.iter().filter(|(prefix, _)| prefix.covers(key));
                let best = covers.max_by_key(|(prefix, _)| prefix.len()).map_or(0, |(_, value)| *value);
                assert_eq!((found, read.lookup(key)), (NonZeroU32::new(best), NonZeroU32::new(best)));
                let said = read.ranges.as_ref().unwrap().find(key);
                (below, above) = if said == BELOW { (below + 1, above) } else { (below, above + 1) };
            }
        }
        assert!(below > 1000 && above > 1000, "{below} {above}");
        for prefix in model.into_keys() {
            assert!(control.remove(&read, &mut epochs, prefix).unwrap().is_some());
        }
        assert_eq!(control.blocks(), (0, 0));
    }
}
