//! What readers see of a forest, and single lookups in it.
//!
//! A *slot* is a word: the best place below it (its upper 32 bits), its kind (2), and
//! which word it leads to (30). It is all that a reader follows, so that one store of it
//! publishes a new node or leaf. A [*node*](super::node) says which bits it asks for, and has a
//! slot for each of their values. A *leaf* is some [blocks](super::block) in a row, each
//! with up to fifteen filters' signatures; the filters themselves are
//! [rows](super::row).

use core::ops::Range;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, fence};

use super::arena::Arena;
use super::block::{self, Block};
use super::node::{MASK, SLOTS};
use super::row::{self, Row};
use super::signature::Signature;
use super::simd::{Isa, Machine};
use crate::arch::prefetch_line;

/// Roots. The last is always empty, and ends every search.
pub(super) const TREES: usize = 8;

/// A slot that leads nowhere.
pub(super) const EMPTY: u64 = (u32::MAX as u64) << 32;
const LEAF: u64 = 1;
/// A node that asks for bits of the low word; 3: of the high word.
const LOW: u64 = 2;

/// The block where slots lead that lead nowhere: it has no entries. A root that leads there
/// may bear a good place, one of the trees behind.
pub(super) const NOTHING: usize = 0;

/// How often a lookup is done again that two updates fell into.
const TRIES: usize = 8;

/// A search's result before there is one: worse than any place, better than [`EMPTY`].
pub(super) const NONE: u64 = row::GONE;

/// What a slot leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Nothing,
    Leaf { at: usize },
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
/// Which word of the key a node asks: 0 the low one, 1 the high one.
#[inline(always)]
pub(super) fn side(slot: u64) -> usize {
    (slot >> 30 & 1) as usize
}

pub(super) fn kind(slot: u64) -> Kind {
    if is_node(slot) {
        Kind::Node { at: payload(slot), high: side(slot) == 1 }
    } else if slot >> 30 & 3 == LEAF {
        Kind::Leaf { at: payload(slot) }
    } else {
        Kind::Nothing
    }
}

/// The rank as slots bear it: two in a row are the same.
pub(super) fn bound(rank: u32) -> u64 {
    row::place(rank, 0) & EMPTY
}
pub(super) fn leaf_slot(rank: u32, at: usize) -> u64 {
    bound(rank) | LEAF << 30 | at as u64
}
pub(super) fn node_slot(best: u64, at: usize, high: bool) -> u64 {
    best & EMPTY | (LOW + u64::from(high)) << 30 | at as u64
}

/// The highest slot below which something may be that is better than `place`.
#[inline(always)]
pub(super) fn limit(place: u64) -> u64 {
    place | u64::from(u32::MAX)
}

/// The part of a forest that readers share. All methods take `&self`; none allocates,
/// waits or panics, and wherever a slot leads, nothing outside is read.
///
/// Two lines: the roots, and where the rest is.
///
/// Invariant: what a slot leads to is not written while a reader may come to it, but for
/// slots, places and values, by single stores. [`ForestControl`](super::ForestControl) is
/// the only writer, and each thread that reads here meanwhile has a seat of the
/// [`Epochs`](crate::epoch::Epochs) that it is given.
#[repr(C, align(64))]
pub(crate) struct ForestRead {
    /// A root bears the best rank of its tree and of all behind it.
    pub(super) roots: [AtomicU64; TREES],
    /// Nodes and leaves.
    words: Arena<AtomicU64>,
    pub(super) rows: Arena<Row>,
    /// Updates begun and updates done, together: odd while one is under way.
    version: AtomicU64,
    machine: Machine,
}

impl core::fmt::Debug for ForestRead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let size = (self.words.len(), self.rows.len());
        f.debug_struct("ForestRead")
            .field("room", &size)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl ForestRead {
    /// Without a filter, with room for so many words and rows.
    pub(super) fn empty(machine: Machine, words: usize, rows: usize) -> Option<Self> {
        let (words, rows) = (Arena::new(words)?, Arena::<Row>::new(rows)?);
        rows.get(row::NOBODY)?.bury();
        let read = Self { words, rows, ..Self::none(machine) };
        read.block(NOTHING)?.fill(&[], Signature::for_rules(&[], None), 0);
        Some(read)
    }

    /// Without a filter or room for one.
    pub(super) fn none(machine: Machine) -> Self {
        Self {
            roots: [const { AtomicU64::new(EMPTY) }; TREES],
            words: Arena::EMPTY,
            rows: Arena::EMPTY,
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

    /// A word of a node.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u64 {
        match self.words.get(at) {
            Some(word) => word.load(Acquire),
            None => EMPTY,
        }
    }

    /// The mask of a node.
    #[inline(always)]
    pub(super) fn mask(&self, at: usize) -> u64 {
        self.word(at + MASK)
    }

    /// The words of the slots of a node.
    pub(super) fn slots(&self, at: usize) -> Range<usize> {
        let first = at + SLOTS;
        first..first + (1 << self.mask(at).count_ones())
    }

    /// Publishes: what the word leads to was written before.
    pub(super) fn set_word(&self, at: usize, word: u64) {
        if let Some(place) = self.words.get(at) {
            place.store(word, Release);
        }
    }

    /// Publishes a root.
    pub(super) fn set_root(&self, tree: usize, slot: u64) {
        if let Some(place) = self.roots.get(tree) {
            place.store(slot, Release);
        }
    }

    /// Nodes and leaves.
    #[inline(always)]
    pub(super) fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    /// A block of a leaf.
    #[inline(always)]
    pub(super) fn block(&self, at: usize) -> Option<Block<'_>> {
        Some(Block(self.words.get(at..at + block::WORDS)?.first_chunk()?))
    }

    /// The blocks of the leaf that a slot leads to, if it leads to one.
    pub(super) fn leaf(&self, slot: u64) -> impl Iterator<Item = Block<'_>> + Clone {
        let first = match kind(slot) {
            Kind::Leaf { at } => at,
            _ => usize::MAX,
        };
        let blocks =
            self.words.get(first..).and_then(|words| Some(Block(words.first_chunk()?)).map(|b| b.more() + 1));
        let numbers = 0..blocks.unwrap_or(0);
        numbers.filter_map(move |number| self.block(first + number * block::WORDS))
    }

    /// The numbers of the rows of a leaf, in order of precedence.
    pub(super) fn rows_of(&self, slot: u64) -> impl Iterator<Item = usize> {
        self.leaf(slot).flat_map(Block::rows)
    }

    /// The slot to which `slot`, a node, leads `key`. There always is one.
    #[inline(always)]
    pub(super) fn step<I: Isa>(&self, isa: I, slot: u64, key: &u128) -> Option<u64> {
        let (at, words) = (payload(slot), &*self.words);
        let word = isa.word(key, side(slot));
        // Relaxed: the mask was written before the slot that led here.
        let mask = words.get(at + MASK)?.load(Relaxed);
        Some(words.get(at + SLOTS + isa.gather(word, mask))?.load(Acquire))
    }

    /// The slot of the leaf of `key` in the tree below `slot`.
    pub(super) fn descend(&self, mut slot: u64, key: u128) -> u64 {
        while is_node(slot) {
            let (at, word) = (payload(slot), (key >> (64 * side(slot))) as u64);
            slot = self.word(at + SLOTS + self.machine.gather(word, self.mask(at)));
        }
        slot
    }

    /// The value of the best match.
    #[inline(always)]
    pub(crate) fn lookup(&self, key: u128) -> Option<u32> {
        let version = self.version();
        let found = self.machine.search(self, &key);
        if self.saw_one_table(version) { self.value(found) } else { self.lookup_again(key) }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn lookup_again(&self, key: u128) -> Option<u32> {
        self.steady(|| self.value(self.machine.search(self, &key)))
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
    pub(super) fn value(&self, place: u64) -> Option<u32> {
        Some(self.rows.get(row::number(place))?.value())
    }

    /// Starts fetching what a lookup reads first.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        self.prefetch_slot(self.root(0));
    }

    /// Starts fetching what a slot leads to: both lines of a block, or two of a node.
    #[inline(always)]
    pub(super) fn prefetch_slot(&self, slot: u64) {
        prefetch_line(&self.words, payload(slot), 0);
        prefetch_line(&self.words, payload(slot), 1);
    }
}

/// Lines of a node that one lookup reads: a small one is within a line, of a large one
/// those of the mask and of the slot.
pub(super) fn node_lines(bits: u32) -> u32 {
    if bits > 2 { 2 } else { 1 }
}
