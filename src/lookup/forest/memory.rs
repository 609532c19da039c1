//! Which groups and nodes are free, and which will be when readers have left them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::plan::MOST_BITS;
use crate::epoch::{Epoch, Epochs};

/// Most groups of a leaf: what a slot can say.
pub(super) const MOST_GROUPS: usize = 63;

/// Groups in a row, or a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Block {
    Groups { at: u32, count: u32 },
    Node { at: u32, bits: u32 },
}

/// The book of two arenas.
///
/// What an update takes is `fresh` until it [commits](Self::commit) or
/// [gives up](Self::abort); what it replaces is `stale` until the commit, and deferred
/// from then until every reader has passed the epoch that begins there.
#[derive(Debug)]
pub(super) struct Memory {
    /// By groups in a row.
    free_groups: Vec<Vec<u32>>,
    /// By bits.
    free_nodes: [Vec<u32>; MOST_BITS as usize + 1],
    /// Groups and words that were never taken begin here, and end there.
    groups: (usize, usize),
    words: (usize, usize),
    fresh: Vec<Block>,
    stale: Vec<Block>,
    /// The oldest first.
    deferred: VecDeque<(Epoch, Block)>,
}

impl Memory {
    pub(super) fn new(words: usize, groups: usize) -> Self {
        let mut free_groups = Vec::new();
        free_groups.resize_with(MOST_GROUPS + 1, Vec::new);
        Self {
            free_groups,
            free_nodes: Default::default(),
            groups: (0, groups),
            words: (0, words),
            fresh: Vec::new(),
            stale: Vec::new(),
            deferred: VecDeque::new(),
        }
    }

    /// Groups and words that were taken at some time.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.groups.0, self.words.0)
    }

    /// Whether memory waits for readers.
    pub(super) fn waits(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Takes groups in a row.
    pub(super) fn groups(&mut self, count: usize) -> Option<usize> {
        let at = self.find_groups(count)?;
        self.fresh.push(Block::Groups { at: at as u32, count: count as u32 });
        Some(at)
    }

    fn find_groups(&mut self, count: usize) -> Option<usize> {
        if let Some(at) = self.free_groups.get_mut(count)?.pop() {
            return Some(at as usize);
        }
        let (next, end) = self.groups;
        if next + count <= end {
            self.groups.0 += count;
            return Some(next);
        }
        // The rest of a longer row.
        let (at, longer) = (count + 1..=MOST_GROUPS)
            .find_map(|longer| Some((self.free_groups.get_mut(longer)?.pop()?, longer)))?;
        self.free(Block::Groups { at: at + count as u32, count: (longer - count) as u32 });
        Some(at as usize)
    }

    /// Takes a node that asks for so many bits.
    pub(super) fn node(&mut self, bits: u32) -> Option<usize> {
        let at = self.find_node(bits)?;
        self.fresh.push(Block::Node { at: at as u32, bits });
        Some(at)
    }

    fn find_node(&mut self, bits: u32) -> Option<usize> {
        if let Some(at) = self.free_nodes.get_mut(bits as usize)?.pop() {
            return Some(at as usize);
        }
        let (next, end) = self.words;
        let size = (1 << bits) + 1;
        // A small node is within a line; the mask of a large one ends a line, so that its
        // slots fill lines.
        let room = 8 - next % 8;
        let at = next
            + if size > 8 {
                room - 1
            } else if size > room {
                room
            } else {
                0
            };
        if at + size > end {
            return None;
        }
        self.words.0 = at + size;
        Some(at)
    }

    fn free(&mut self, block: Block) {
        let (list, at) = match block {
            Block::Groups { at, count } => (self.free_groups.get_mut(count as usize), at),
            Block::Node { at, bits } => (self.free_nodes.get_mut(bits as usize), at),
        };
        if let Some(list) = list {
            list.push(at);
        }
    }

    /// What no slot leads to any more when the update commits.
    pub(super) fn retire(&mut self, block: Block) {
        self.stale.push(block);
    }

    /// Gives back what was taken since the last commit: no slot leads to it.
    pub(super) fn abort(&mut self) {
        while let Some(block) = self.fresh.pop() {
            self.free(block);
        }
    }

    /// What was built is published, and nothing was there before.
    pub(super) fn commit_first(&mut self) {
        self.fresh.clear();
    }

    /// The update is published: no slot leads to what it replaced.
    pub(super) fn commit(&mut self, epochs: &mut Epochs) {
        self.fresh.clear();
        if !self.stale.is_empty() {
            let epoch = epochs.advance();
            self.deferred.extend(self.stale.drain(..).map(|block| (epoch, block)));
            self.reclaim(epochs);
        }
    }

    /// Frees what nobody sees any more.
    pub(super) fn reclaim(&mut self, epochs: &Epochs) {
        if self.deferred.is_empty() {
            return;
        }
        let oldest = epochs.oldest();
        while let Some(&(epoch, block)) = self.deferred.front()
            && epoch <= oldest
        {
            self.deferred.pop_front();
            self.free(block);
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
        let mut memory = Memory::new(32, 4);
        assert_eq!((memory.groups(3), memory.groups(2), memory.groups(1)), (Some(0), None, Some(3)));
        memory.commit(&mut epochs);
        memory.retire(Block::Groups { at: 0, count: 3 });
        memory.commit(&mut epochs);
        assert!(memory.waits() && memory.groups(1).is_none());
        reader.quiescent();
        memory.reclaim(&epochs);
        assert_eq!((memory.groups(1), memory.groups(2)), (Some(0), Some(1)));
        memory.abort();
        assert_eq!(memory.groups(2), Some(1));
        // Small nodes are within a line, the mask of a large one ends one.
        assert_eq!(
            (memory.node(2), memory.node(1), memory.node(1), memory.node(3)),
            (Some(0), Some(5), Some(8), Some(15))
        );
        assert_eq!(memory.node(3), None);
    }
}
