//! Lookups of many keys at once, in any forests: waves of nodes and of leaves.
//!
//! Each key has a lane. A wave takes one step in each lane that waits at a node, or scans
//! the leaf in each that waits at one, and starts fetching what the lane reads next; so
//! each line has the time of a wave to come in. Who is done with a tree goes on to the
//! next in the same wave, or drops out.

use core::hint::select_unpredictable;

use super::group::WIDE;
use super::read::{EMPTY, ForestRead, LAST, NONE, is_node, leaf_of, limit};
use super::simd::Isa;
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;

/// Keys in flight.
const BATCH: usize = 32;

/// Which forest a key is looked up in.
pub(super) trait Source<'a>: Copy {
    /// What a lane keeps of it.
    type Seen: Copy;

    fn of(self, key: TableKey) -> Option<Self::Seen>;

    fn forest(self, seen: Self::Seen) -> &'a ForestRead;

    /// Whether each of those forests was one table since `of`.
    fn saw_one_table(self, seen: &[Self::Seen]) -> bool;
}

/// The forest of one slice: lanes need not remember it.
#[derive(Clone, Copy)]
pub(super) struct One<'a> {
    forest: &'a ForestRead,
    slice: SliceId,
    version: u64,
}

impl<'a> One<'a> {
    #[inline(always)]
    pub(super) fn new(forest: &'a ForestRead, slice: SliceId) -> Self {
        Self { forest, slice, version: forest.version() }
    }
}

impl<'a> Source<'a> for One<'a> {
    type Seen = ();

    #[inline(always)]
    fn of(self, key: TableKey) -> Option<()> {
        (key.slice() == self.slice).then_some(())
    }
    #[inline(always)]
    fn forest(self, (): ()) -> &'a ForestRead {
        self.forest
    }
    #[inline(always)]
    fn saw_one_table(self, _: &[()]) -> bool {
        self.forest.saw_one_table(self.version)
    }
}

/// The forest that a function says.
#[derive(Clone, Copy)]
pub(super) struct Each<F>(pub(super) F);

impl<'a, F: Fn(TableKey) -> Option<&'a ForestRead> + Copy> Source<'a> for Each<F> {
    type Seen = (&'a ForestRead, u64);

    #[inline(always)]
    fn of(self, key: TableKey) -> Option<Self::Seen> {
        let forest = self.0(key)?;
        Some((forest, forest.version()))
    }
    #[inline(always)]
    fn forest(self, (forest, _): Self::Seen) -> &'a ForestRead {
        forest
    }
    #[inline(always)]
    fn saw_one_table(self, seen: &[Self::Seen]) -> bool {
        seen.iter().all(|(forest, version)| forest.saw_one_table(*version))
    }
}

/// Keys under way, each with the best match so far, the slot that it is at, and the number
/// of the tree.
struct Lanes<S> {
    keys: [[u64; 2]; BATCH],
    best: [u64; BATCH],
    slots: [u64; BATCH],
    trees: [u32; BATCH],
    seen: [S; BATCH],
}

/// Which lanes wait at a node, and which at a leaf: a bit each, in a register. With queues
/// in memory each step waited for the store before it.
#[derive(Clone, Copy, Default)]
struct Waiting {
    nodes: u64,
    leaves: u64,
    /// At a leaf, where an entry's rank does not say whether it is better.
    doubts: u64,
}

impl Waiting {
    /// To the end of one queue, or of none.
    #[inline(always)]
    fn push(&mut self, at: usize, slot: u64, limit: u64) {
        let live = u64::from(slot <= limit);
        let node = slot >> 31 & live;
        self.nodes |= node << at;
        self.leaves |= (live ^ node) << at;
    }
}

/// The set bits, from the lowest.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let at = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(at)
    }
}

/// The values of keys, as many as there is room for.
#[inline(always)]
pub(super) fn lookup_batch<'a, I: Isa, S: Source<'a>, V: Word>(
    isa: I, source: S, keys: &[TableKey], found: &mut [Option<V>],
) {
    for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        waves(isa, source, keys.get(..found.len()).unwrap_or(keys), found);
    }
}

#[inline(always)]
fn waves<'a, I: Isa, S: Source<'a>, V: Word>(isa: I, source: S, keys: &[TableKey], found: &mut [Option<V>]) {
    let Some(any) = keys.iter().find_map(|&key| source.of(key)) else {
        found.iter_mut().zip(keys).for_each(|(found, _)| *found = None);
        return;
    };
    let mut lanes = Lanes {
        keys: [[0; 2]; BATCH],
        best: [NONE; BATCH],
        slots: [EMPTY; BATCH],
        trees: [0; BATCH],
        seen: [any; BATCH],
    };
    let mut waiting = Waiting::default();
    for (key, at) in keys.iter().zip(0..BATCH) {
        // Who has no forest waits for nothing, and finds nothing.
        let Some(seen) = source.of(*key) else { continue };
        lanes.begin(isa, source, at, key.bits(), seen, &mut waiting);
    }
    while waiting.nodes | waiting.leaves != 0 {
        for at in Bits(core::mem::take(&mut waiting.nodes)) {
            lanes.step(isa, source, at % BATCH, &mut waiting);
        }
        let leaves = core::mem::take(&mut waiting.leaves);
        for at in Bits(leaves) {
            lanes.prefetch(source, at % BATCH);
        }
        for at in Bits(leaves) {
            lanes.scan(isa, source, at % BATCH, &mut waiting);
        }
        if waiting.doubts != 0 {
            for at in Bits(core::mem::take(&mut waiting.doubts)) {
                lanes.settle(isa, source, at % BATCH, &mut waiting);
            }
        }
    }
    if source.saw_one_table(&lanes.seen) {
        for ((found, &best), &seen) in found.iter_mut().zip(&lanes.best).zip(&lanes.seen).take(keys.len()) {
            *found = source.forest(seen).value(best).map(V::of);
        }
    } else {
        for (found, &key) in found.iter_mut().zip(keys) {
            let forest = source.of(key).map(|seen| source.forest(seen));
            *found = forest.and_then(|forest| forest.lookup_again(key.bits())).map(V::of);
        }
    }
}

/// A lane of an array; the number is below [`BATCH`].
macro_rules! lane {
    ($lanes:expr, $at:expr) => {
        match $lanes.get_mut($at) {
            Some(lane) => lane,
            None => return,
        }
    };
}

impl<'a, S: Copy> Lanes<S> {
    /// Goes to the root of the first tree, and down from it.
    #[inline(always)]
    fn begin<I: Isa>(
        &mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, key: u128, seen: S,
        waiting: &mut Waiting,
    ) {
        let slot = source.forest(seen).root(0);
        *lane!(self.keys, at) = [key as u64, (key >> 64) as u64];
        *lane!(self.seen, at) = seen;
        *lane!(self.slots, at) = slot;
        if is_node(slot) {
            self.step(isa, source, at, waiting);
        } else {
            waiting.push(at, slot, limit(NONE));
        }
    }

    /// Goes down from a node, or to the next tree if nothing better is there.
    #[inline(always)]
    fn step<I: Isa>(&mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, waiting: &mut Waiting) {
        let forest = source.forest(*lane!(self.seen, at));
        let (slot, tree) = (lane!(self.slots, at), lane!(self.trees, at));
        let limit = limit(*lane!(self.best, at));
        let Some(child) = forest.step(isa, *slot, lane!(self.keys, at)) else { return };
        let dead = child > limit;
        *tree += u32::from(dead);
        *slot = select_unpredictable(dead, forest.root(*tree as usize), child);
        forest.prefetch_node(*slot);
        waiting.push(at, *slot, limit);
    }

    #[inline(always)]
    fn prefetch(&mut self, source: impl Source<'a, Seen = S>, at: usize) {
        source.forest(*lane!(self.seen, at)).prefetch_leaf(*lane!(self.slots, at));
    }

    /// Is compared with a leaf and goes on to the next tree.
    #[inline(always)]
    fn scan<I: Isa>(&mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, waiting: &mut Waiting) {
        let forest = source.forest(*lane!(self.seen, at));
        let (mut number, count) = leaf_of(*lane!(self.slots, at));
        let (key, mut best, end) = (lane!(self.keys, at), *lane!(self.best, at), number + count);
        while number < end {
            let Some(group) = forest.groups.get(number) else { break };
            let bits = isa.scan(group, key);
            let entry = (bits | 1 << WIDE).trailing_zeros() as usize % WIDE;
            let rank = group.rank(entry);
            let found = u64::from(rank) << 32 | (number * WIDE + entry) as u64;
            // Of equal ranks the order decides; and who was taken out bears the last rank.
            if ((rank == (best >> 32) as u32) | (rank >= LAST)) && bits != 0 {
                waiting.doubts |= 1 << at;
                return;
            }
            // Nothing is all ones: worse than `NONE`.
            let found = found | u64::from(bits == 0).wrapping_neg();
            best = select_unpredictable(found < best, found, best);
            number += 1;
        }
        self.next_tree(forest, at, best, waiting);
    }

    /// As [`scan`](Self::scan), by rank and order.
    #[inline(always)]
    fn settle<I: Isa>(
        &mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, waiting: &mut Waiting,
    ) {
        let forest = source.forest(*lane!(self.seen, at));
        let (slot, key, best) = (*lane!(self.slots, at), *lane!(self.keys, at), *lane!(self.best, at));
        let best = forest.scan_leaf(isa, slot, &key, best);
        self.next_tree(forest, at, best, waiting);
    }

    #[inline(always)]
    fn next_tree(&mut self, forest: &ForestRead, at: usize, best: u64, waiting: &mut Waiting) {
        *lane!(self.best, at) = best;
        let tree = lane!(self.trees, at);
        *tree += 1;
        let slot = forest.root(*tree as usize);
        *lane!(self.slots, at) = slot;
        waiting.push(at, slot, limit(best));
    }
}
