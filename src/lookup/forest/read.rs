//! What readers see of a forest, and single lookups in it.
//!
//! A *slot* is a word: the best rank below it (32 bits), its kind (2), its payload (30).
//! It is all that a reader follows, so that one store of it publishes a new node or leaf.
//! A *node* is a word, the mask of the bits it asks for, and a slot for each of their
//! values. A *leaf* is 1 to 63 [groups](super::group) of eight filters in a row.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, fence};

use super::arena::Arena;
use super::group::{Group, Orders, WIDE};
use super::rule::Rule;
use super::simd::{Isa, Machine};
use crate::arch::prefetch_line;

/// Roots. The last is always empty, and ends every search.
pub(super) const TREES: usize = 8;

/// A slot that leads nowhere.
pub(super) const EMPTY: u64 = (u32::MAX as u64) << 32;
const LEAF: u64 = 1;
/// A node that asks for bits of the low word; 3: of the high word.
const LOW: u64 = 2;

/// A search's result before there is one: worse than any filter, better than [`EMPTY`].
/// Else the rank, but at most [`LAST`], in the high half, and in the low one the number of
/// the entry, of all groups.
pub(super) const NONE: u64 = EMPTY - 1;

/// The worst rank that slots and results bear; those of worse ones are compared in full.
pub(super) const LAST: u32 = u32::MAX - 2;

/// How often a lookup is done again that two updates fell into.
const TRIES: usize = 8;

/// Lines of a group that a scan reads.
pub(super) const GROUP_LINES: u32 = 5;

/// What a slot leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Nothing,
    Leaf { at: usize, groups: usize },
    Node { at: usize, high: bool },
}

#[inline(always)]
pub(super) fn is_node(slot: u64) -> bool {
    slot >> 31 & 1 != 0
}
#[inline(always)]
pub(super) fn payload(slot: u64) -> usize {
    (slot & 0x3fff_ffff) as usize
}
/// First group and number of groups of a leaf; of nothing no groups.
#[inline(always)]
pub(super) fn leaf_of(slot: u64) -> (usize, usize) {
    (payload(slot) & 0xff_ffff, payload(slot) >> 24)
}
/// Which word of the key a node asks: 0 the low one, 1 the high one.
#[inline(always)]
pub(super) fn side(slot: u64) -> usize {
    (slot >> 30 & 1) as usize
}

pub(super) fn kind(slot: u64) -> Kind {
    if is_node(slot) {
        Kind::Node { at: payload(slot), high: side(slot) == 1 }
    } else if slot >> 30 & 3 == LEAF {
        let (at, groups) = leaf_of(slot);
        Kind::Leaf { at, groups }
    } else {
        Kind::Nothing
    }
}

/// The rank as slots bear it: below that of [`NONE`].
pub(super) fn bound(rank: u32) -> u64 {
    u64::from(rank.min(LAST)) << 32
}
pub(super) fn leaf_slot(rank: u32, at: usize, groups: usize) -> u64 {
    bound(rank) | LEAF << 30 | (groups << 24 | at) as u64
}
pub(super) fn node_slot(best: u64, at: usize, high: bool) -> u64 {
    best & EMPTY | (LOW + u64::from(high)) << 30 | at as u64
}

/// The highest slot below which something may be that is better than `best`, or as good.
#[inline(always)]
pub(super) fn limit(best: u64) -> u64 {
    best | u64::from(u32::MAX)
}

/// The part of a forest that readers share. All methods take `&self`; none allocates,
/// waits or panics, and wherever a slot leads, nothing outside is read.
///
/// Two lines: the roots, and where the rest is.
///
/// Invariant: what a slot leads to is not written while a reader may come to it, but for
/// slots, ranks and values, by single stores. [`ForestControl`](super::ForestControl) is
/// the only writer, and each thread that reads here meanwhile has a seat of the
/// [`Epochs`](crate::epoch::Epochs) that it is given.
#[repr(C, align(64))]
pub(crate) struct ForestRead {
    /// A root bears the best rank of its tree and of all behind it.
    pub(super) roots: [AtomicU64; TREES],
    nodes: Arena<AtomicU64>,
    pub(super) groups: Arena<Group>,
    pub(super) orders: Arena<Orders>,
    /// Updates begun and updates done, together: odd while one is under way.
    version: AtomicU64,
    machine: Machine,
}

impl core::fmt::Debug for ForestRead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let size = (self.nodes.len(), self.groups.len());
        f.debug_struct("ForestRead")
            .field("room", &size)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl ForestRead {
    /// Without a filter, with room for so many words of nodes and groups.
    pub(super) fn empty(machine: Machine, words: usize, groups: usize) -> Option<Self> {
        let (nodes, groups, orders) = (Arena::new(words)?, Arena::new(groups)?, Arena::new(groups)?);
        Some(Self { nodes, groups, orders, ..Self::none(machine) })
    }

    /// Without a filter or room for one.
    pub(super) fn none(machine: Machine) -> Self {
        Self {
            roots: [const { AtomicU64::new(EMPTY) }; TREES],
            nodes: Arena::EMPTY,
            groups: Arena::EMPTY,
            orders: Arena::EMPTY,
            version: AtomicU64::new(0),
            machine,
        }
    }

    #[inline(always)]
    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    #[inline(always)]
    pub(super) fn root(&self, tree: usize) -> u64 {
        // The last root is empty: who goes on from it comes to an empty one again.
        match self.roots.get(tree % TREES) {
            Some(root) => root.load(Acquire),
            None => EMPTY,
        }
    }

    /// A word of the nodes.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u64 {
        match self.nodes.get(at) {
            Some(word) => word.load(Acquire),
            None => EMPTY,
        }
    }

    /// Publishes: what the word leads to was written before.
    pub(super) fn set_word(&self, at: usize, word: u64) {
        if let Some(place) = self.nodes.get(at) {
            place.store(word, Release);
        }
    }

    /// Publishes a root.
    pub(super) fn set_root(&self, tree: usize, slot: u64) {
        if let Some(place) = self.roots.get(tree) {
            place.store(slot, Release);
        }
    }

    /// Groups in a row, with the orders in them.
    pub(super) fn leaf(&self, at: usize, groups: usize) -> impl Iterator<Item = (&Group, &Orders)> {
        let orders = self.orders.get(at..).unwrap_or_default();
        self.groups.get(at..at + groups).unwrap_or_default().iter().zip(orders)
    }

    /// The slot to which `slot`, a node, leads `key`. There always is one.
    #[inline(always)]
    pub(super) fn step<I: Isa>(&self, isa: I, slot: u64, key: &[u64; 2]) -> Option<u64> {
        let (at, nodes) = (payload(slot), &*self.nodes);
        let word = *key.get(side(slot))?;
        // Relaxed: the mask was written before the slot that led here.
        let mask = nodes.get(at)?.load(Relaxed);
        Some(nodes.get(at + 1 + isa.gather(word, mask))?.load(Acquire))
    }

    /// The leaf of `key` in the tree below `slot`.
    pub(super) fn descend(&self, mut slot: u64, key: u128) -> u64 {
        let words = [key as u64, (key >> 64) as u64];
        while is_node(slot) {
            let word = words.get(side(slot)).copied().unwrap_or_default();
            slot = self.word(payload(slot) + 1 + self.machine.gather(word, self.word(payload(slot))));
        }
        slot
    }

    /// The value of the best match.
    #[inline(always)]
    pub(crate) fn lookup(&self, key: u128) -> Option<u32> {
        let version = self.version();
        let found = self.machine.search(self, key);
        if self.saw_one_table(version) { self.value(found) } else { self.lookup_again(key) }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn lookup_again(&self, key: u128) -> Option<u32> {
        self.steady(|| self.value(self.machine.search(self, key)))
    }

    /// Reads until it saw one table, but not for ever.
    pub(super) fn steady<T>(&self, read: impl Fn() -> T) -> T {
        for _ in 0..TRIES {
            let version = self.version();
            let found = read();
            if self.saw_one_table(version) {
                return found;
            }
        }
        read()
    }

    /// To be asked before a lookup, for [`saw_one_table`](Self::saw_one_table) after it.
    #[inline(always)]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// Whether what was read since `version` is of one table, before or after an update.
    ///
    /// An update changes one tree, and of that, for any key, one leaf. So a lookup meets
    /// all or nothing of it; but of two updates it may have missed the first, in a tree
    /// that it had left, and met the second.
    #[inline(always)]
    pub(super) fn saw_one_table(&self, version: u64) -> bool {
        fence(Acquire);
        let begun = self.version.load(Relaxed).div_ceil(2);
        begun - version / 2 <= 1
    }

    /// Around what an update stores.
    pub(super) fn update<T>(&self, stores: impl FnOnce() -> T) -> T {
        // The stores between are releases: who sees one of them sees that it began.
        self.version.store(self.version.load(Relaxed) + 1, Relaxed);
        let done = stores();
        self.version.store(self.version.load(Relaxed) + 1, Release);
        done
    }

    /// The value that a search found.
    #[inline(always)]
    pub(super) fn value(&self, found: u64) -> Option<u32> {
        let entry = found as u32 as usize;
        Some(self.groups.get(entry / WIDE)?.value(entry % WIDE))
    }

    /// Starts fetching what a lookup reads first.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let root = self.root(0);
        if is_node(root) { prefetch_line(&self.nodes, payload(root), 0) } else { self.prefetch_leaf(root) }
    }

    /// Starts fetching the five lines of a leaf's first group.
    #[inline(always)]
    pub(super) fn prefetch_leaf(&self, slot: u64) {
        for line in 0..GROUP_LINES as usize {
            prefetch_line(&self.groups, leaf_of(slot).0, line);
        }
    }

    /// Starts fetching the line of a node.
    #[inline(always)]
    pub(super) fn prefetch_node(&self, slot: u64) {
        prefetch_line(&self.nodes, payload(slot), 0);
    }

    /// Writes a leaf that no slot leads to yet.
    pub(super) fn fill(&self, at: usize, rules: &[Rule]) {
        for (chunk, at) in rules.chunks(WIDE).zip(at..) {
            if let (Some(group), Some(orders)) = (self.groups.get(at), self.orders.get(at)) {
                group.fill(orders, chunk);
            }
        }
    }
}

/// Lines of a node that one lookup reads: a small one is within a line, of a large one
/// those of the mask and of the slot.
pub(super) fn node_lines(bits: u32) -> u32 {
    if bits > 2 { 2 } else { 1 }
}
