//! Which words are free, and which will be when readers have left them; and which rows were
//! never taken: their numbers are the order in which filters came, and none is used twice.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::block::WORDS;
use super::node;
use super::plan::MOST_BITS;
use super::read::NOTHING;
use super::row::NOBODY;
use crate::epoch::{Epoch, Epochs};

/// Most blocks of a leaf.
pub(super) const MOST_BLOCKS: usize = 63;

/// What is taken and freed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// The blocks of a leaf, in a row.
    Leaf {
        at: u32,
        blocks: u32,
    },
    Node {
        at: u32,
        bits: u32,
    },
}

/// The book of two arenas.
///
/// What an update takes is `fresh` until it [commits](Self::commit) or
/// [gives up](Self::abort); what it replaces is `stale` until the commit, and deferred
/// from then until every reader has passed the epoch that begins there.
#[derive(Debug)]
pub(super) struct Memory {
    /// By blocks in a row.
    free_leaves: Vec<Vec<u32>>,
    /// By bits.
    free_nodes: [Vec<u32>; MOST_BITS as usize + 1],
    /// Words and rows that were never taken begin here, and end there.
    words: (usize, usize),
    rows: (usize, usize),
    /// Rows that were taken when the last update committed.
    kept: usize,
    fresh: Vec<Piece>,
    stale: Vec<Piece>,
    /// The oldest first.
    deferred: VecDeque<(Epoch, Piece)>,
}

impl Memory {
    pub(super) fn new(words: usize, rows: usize) -> Self {
        let mut free_leaves = Vec::new();
        free_leaves.resize_with(MOST_BLOCKS + 1, Vec::new);
        Self {
            free_leaves,
            free_nodes: Default::default(),
            // The first block is that of slots which lead nowhere.
            words: (NOTHING + WORDS, words),
            rows: (NOBODY + 1, rows),
            kept: NOBODY + 1,
            fresh: Vec::new(),
            stale: Vec::new(),
            deferred: VecDeque::new(),
        }
    }

    /// Words and rows that were taken at some time.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.words.0, self.rows.0)
    }

    /// Whether memory waits for readers.
    pub(super) fn waits(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Takes a row.
    pub(super) fn row(&mut self) -> Option<u32> {
        let (next, end) = self.rows;
        self.rows.0 = (next + 1).min(end);
        (next < end).then_some(next as u32)
    }

    /// Takes blocks in a row; the first word.
    pub(super) fn leaf(&mut self, blocks: usize) -> Option<usize> {
        let at = self.find_leaf(blocks)?;
        self.fresh.push(Piece::Leaf { at: at as u32, blocks: blocks as u32 });
        Some(at)
    }

    fn find_leaf(&mut self, blocks: usize) -> Option<usize> {
        if let Some(at) = self.free_leaves.get_mut(blocks)?.pop() {
            return Some(at as usize);
        }
        let (next, end) = self.words;
        // A block begins at a line.
        let at = next.next_multiple_of(8);
        if at + blocks * WORDS <= end {
            self.words.0 = at + blocks * WORDS;
            return Some(at);
        }
        // The rest of a longer row.
        let (at, longer) = (blocks + 1..=MOST_BLOCKS)
            .find_map(|longer| Some((self.free_leaves.get_mut(longer)?.pop()?, longer)))?;
        self.free(Piece::Leaf { at: at + (blocks * WORDS) as u32, blocks: (longer - blocks) as u32 });
        Some(at as usize)
    }

    /// Takes a node that asks for so many bits.
    pub(super) fn node(&mut self, bits: u32) -> Option<usize> {
        let at = self.find_node(bits)?;
        self.fresh.push(Piece::Node { at: at as u32, bits });
        Some(at)
    }

    fn find_node(&mut self, bits: u32) -> Option<usize> {
        if let Some(at) = self.free_nodes.get_mut(bits as usize)?.pop() {
            return Some(at as usize);
        }
        let (next, end) = self.words;
        let size = node::size(bits);
        // A small node is within a line; the mask of a large one ends a line, so that its
        // slots fill lines.
        let at = if size > 8 {
            let at = next + node::before(bits);
            at + (14 - at % 8) % 8
        } else if size > 8 - next % 8 {
            next.next_multiple_of(8)
        } else {
            next
        };
        if at + size > end {
            return None;
        }
        self.words.0 = at + size;
        Some(at)
    }

    fn free(&mut self, piece: Piece) {
        let (list, at) = match piece {
            Piece::Leaf { at, blocks } => (self.free_leaves.get_mut(blocks as usize), at),
            Piece::Node { at, bits } => (self.free_nodes.get_mut(bits as usize), at),
        };
        if let Some(list) = list {
            list.push(at);
        }
    }

    /// What no slot leads to any more when the update commits.
    pub(super) fn retire(&mut self, piece: Piece) {
        self.stale.push(piece);
    }

    /// Gives back what was taken since the last commit: no slot leads to it.
    pub(super) fn abort(&mut self) {
        while let Some(piece) = self.fresh.pop() {
            self.free(piece);
        }
        self.rows.0 = self.kept;
    }

    /// What was taken is published, and replaced nothing.
    pub(super) fn commit_first(&mut self) {
        self.fresh.clear();
        self.kept = self.rows.0;
    }

    /// The update is published: no slot leads to what it replaced.
    pub(super) fn commit(&mut self, epochs: &mut Epochs) {
        self.commit_first();
        if !self.stale.is_empty() {
            let epoch = epochs.advance();
            self.deferred.extend(self.stale.drain(..).map(|piece| (epoch, piece)));
            self.reclaim(epochs);
        }
    }

    /// Frees what nobody sees any more.
    pub(super) fn reclaim(&mut self, epochs: &Epochs) {
        if self.deferred.is_empty() {
            return;
        }
        let oldest = epochs.oldest();
        while let Some(&(epoch, piece)) = self.deferred.front()
            && epoch <= oldest
        {
            self.deferred.pop_front();
            self.free(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_may_see_is_not_taken_again() {
        let mut epochs = Epochs::new(1);
        let mut reader = epochs.reader().unwrap();
        let mut memory = Memory::new(5 * WORDS, 3);
        assert_eq!((memory.leaf(3), memory.leaf(2), memory.leaf(1)), (Some(16), None, Some(64)));
        assert_eq!((memory.row(), memory.row(), memory.row()), (Some(1), Some(2), None));
        memory.commit(&mut epochs);
        memory.retire(Piece::Leaf { at: 16, blocks: 3 });
        memory.commit(&mut epochs);
        assert!(memory.waits() && memory.leaf(1).is_none());
        reader.quiescent();
        memory.reclaim(&epochs);
        assert_eq!((memory.leaf(1), memory.leaf(2)), (Some(16), Some(32)));
        memory.abort();
        assert_eq!((memory.leaf(2), memory.row()), (Some(32), None));
        let mut memory = Memory::new(WORDS, 3);
        assert_eq!(memory.row(), Some(1));
        memory.commit(&mut epochs);
        assert_eq!(memory.row(), Some(2));
        memory.abort();
        assert_eq!((memory.row(), memory.row()), (Some(2), None));
    }

    #[test]
    fn small_nodes_are_within_a_line_and_the_mask_of_a_large_one_ends_one() {
        let mut memory = Memory::new(64, 1);
        assert_eq!(
            (memory.node(2), memory.node(1), memory.node(1), memory.node(3)),
            (Some(16), Some(24), Some(28), Some(38))
        );
        assert_eq!((memory.leaf(1), memory.node(3)), (Some(48), None));
        assert_eq!(Memory::new(600, 1).node(9), Some(22));
    }
}
