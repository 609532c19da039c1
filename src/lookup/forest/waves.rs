//! Lookups of many keys at once, in any forests: tree by tree, in waves.
//!
//! Each key has a lane. In each tree a wave takes a step in each lane that is at a node, and
//! the last compares each lane that came to a leaf with it; each step starts fetching what
//! the lane reads next, so that each line has the time of a wave to come in. Lanes take part
//! in a tree only if something better may be there than they have found.

use super::read::{ForestRead, NONE, TREES, is_node, limit, payload};
use super::simd::Isa;
use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;

/// Keys in flight.
pub(super) const BATCH: usize = 32;

/// Which forest a key is looked up in.
pub(super) trait Source<'a>: Copy {
    /// What a lane keeps of it.
    type Seen: Copy;

    /// Of the key of a lane.
    fn of(self, at: usize, key: TableKey) -> Option<Self::Seen>;

    fn forest(self, seen: Self::Seen) -> &'a ForestRead;

    /// Whether each of those forests was one table since `of`.
    fn saw_one_table(self, seen: &[Self::Seen]) -> bool;
}

/// The forest of one slice: lanes need not remember it.
#[derive(Clone, Copy)]
pub(super) struct One<'a> {
    pub(super) forest: &'a ForestRead,
    pub(super) slice: SliceId,
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
    fn of(self, _: usize, key: TableKey) -> Option<()> {
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

/// A forest for each lane, or none.
pub(super) type Forests<'a> = [Option<&'a ForestRead>; BATCH];

/// The forest of each lane.
#[derive(Clone, Copy)]
pub(super) struct Each<'l, 'a>(pub(super) &'l Forests<'a>);

impl<'a> Source<'a> for Each<'_, 'a> {
    type Seen = (&'a ForestRead, u64);

    #[inline(always)]
    fn of(self, at: usize, _: TableKey) -> Option<Self::Seen> {
        let forest = (*self.0.get(at)?)?;
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

/// Keys under way, each with the place of the best match so far and the slot that it is at.
struct Lanes<'k, S> {
    keys: &'k [TableKey; BATCH],
    best: [u64; BATCH],
    slots: [u64; BATCH],
    seen: [S; BATCH],
}

/// Lanes, a bit each, in registers: in memory each step would wait for the store before it.
#[derive(Clone, Copy, Default)]
struct Waiting {
    /// For this tree, and then for the next.
    trees: u64,
    nodes: u64,
    leaves: u64,
}

impl Waiting {
    /// A lane is at a slot; it is done with the tree if nothing better may be there.
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
        if let Some(keys) = keys.first_chunk()
            && found.len() == BATCH
        {
            waves(isa, source, keys, found);
        } else {
            let count = keys.len().min(found.len());
            waves(isa, source, &padded(keys), found.get_mut(..count).unwrap_or_default());
        }
    }
}

/// So many keys, others behind them.
#[inline(always)]
pub(super) fn padded(keys: &[TableKey]) -> [TableKey; BATCH] {
    let mut some = [TableKey::default(); BATCH];
    some.iter_mut().zip(keys).for_each(|(to, key)| *to = *key);
    some
}

/// Up to [`BATCH`] keys.
#[inline(always)]
fn waves<'a, I: Isa, S: Source<'a>, V: Word>(
    isa: I, source: S, keys: &[TableKey; BATCH], found: &mut [Option<V>],
) {
    let Some(any) = keys.iter().take(found.len()).zip(0..).find_map(|(&key, at)| source.of(at, key)) else {
        found.iter_mut().for_each(|found| *found = None);
        return;
    };
    let mut lanes = Lanes { keys, best: [NONE; BATCH], slots: [0; BATCH], seen: [any; BATCH] };
    let mut waiting = Waiting::default();
    for (key, at) in keys.iter().zip(0..found.len()) {
        // Who has no forest waits for nothing, and finds nothing.
        if let Some(seen) = source.of(at, *key) {
            lanes.begin(isa, source, at % BATCH, seen, &mut waiting);
        }
    }
    for tree in 1..TREES {
        while waiting.nodes != 0 {
            for at in Bits(core::mem::take(&mut waiting.nodes)) {
                lanes.step(isa, source, at % BATCH, &mut waiting);
            }
        }
        for at in Bits(core::mem::take(&mut waiting.leaves)) {
            lanes.scan(isa, source, at % BATCH);
        }
        for at in Bits(core::mem::take(&mut waiting.trees)) {
            lanes.next_tree(source, at % BATCH, tree, &mut waiting);
        }
        if waiting.trees == 0 {
            break;
        }
    }
    if source.saw_one_table(&lanes.seen) {
        for ((found, &best), &seen) in found.iter_mut().zip(&lanes.best).zip(&lanes.seen) {
            *found = source.forest(seen).value(best).map(V::of);
        }
    } else {
        again(source, keys, found);
    }
}

/// Up to [`BATCH`] keys, one by one, where updates fell into the search.
#[cold]
#[inline(never)]
pub(super) fn again<'a, S: Source<'a>, V: Word>(
    source: S, keys: &[TableKey; BATCH], found: &mut [Option<V>],
) {
    for ((found, &key), at) in found.iter_mut().zip(keys).zip(0..) {
        let forest = source.of(at, key).map(|seen| source.forest(seen));
        *found = forest.and_then(|forest| forest.lookup_again(key.bits())).map(V::of);
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

impl<'a, S: Copy> Lanes<'_, S> {
    /// Goes to the root of the first tree, and down from it.
    #[inline(always)]
    fn begin<I: Isa>(
        &mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, seen: S, waiting: &mut Waiting,
    ) {
        *lane!(self.seen, at) = seen;
        waiting.trees |= 1 << at;
        let root = source.forest(seen).root(0);
        if is_node(root) {
            self.descend(isa, source, at, (root, limit(NONE)), waiting);
        } else {
            *lane!(self.slots, at) = root;
            waiting.push(at, root, limit(NONE));
        }
    }

    /// Goes to the root of a tree, if something better may be there.
    #[inline(always)]
    fn next_tree(
        &mut self, source: impl Source<'a, Seen = S>, at: usize, tree: usize, waiting: &mut Waiting,
    ) {
        let limit = limit(*lane!(self.best, at));
        let root = source.forest(*lane!(self.seen, at)).root(tree);
        // If not, the roots that follow are no better.
        waiting.trees |= u64::from(root <= limit) << at;
        *lane!(self.slots, at) = root;
        waiting.push(at, root, limit);
    }

    /// Goes down from a node.
    #[inline(always)]
    fn step<I: Isa>(&mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, waiting: &mut Waiting) {
        let node = (*lane!(self.slots, at), limit(*lane!(self.best, at)));
        self.descend(isa, source, at, node, waiting);
    }

    /// Goes down from the node of a slot, unless what is there is beyond a limit.
    #[inline(always)]
    fn descend<I: Isa>(
        &mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize, (slot, limit): (u64, u64),
        waiting: &mut Waiting,
    ) {
        let Some(key) = self.keys.get(at) else { return };
        let forest = source.forest(*lane!(self.seen, at));
        let Some(child) = forest.step(isa, slot, key.as_bits()) else { return };
        *lane!(self.slots, at) = child;
        forest.prefetch_slot(child);
        waiting.push(at, child, limit);
    }

    /// Is compared with a leaf.
    #[inline(always)]
    fn scan<I: Isa>(&mut self, isa: I, source: impl Source<'a, Seen = S>, at: usize) {
        let Some(key) = self.keys.get(at) else { return };
        let forest = source.forest(*lane!(self.seen, at));
        let found = forest.scan_leaf(isa, payload(*lane!(self.slots, at)), key.as_bits());
        let best = lane!(self.best, at);
        *best = found.min(*best);
    }
}
