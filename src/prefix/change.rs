//! An update under way: made in free memory, seen at once or not at all, and the old
//! memory kept until its readers have passed.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::address::Address;
use super::arena::Block;
use super::block::{Encoded, is_open, unit};
use super::chunk::Chunk;
use super::codes::SLOTS;
use super::control::PrefixControl;
use super::own::{Own, count};
use super::read::{Head, PrefixRead};
use super::refresh::Part;
use super::zone::Zone;
use crate::epoch::Epochs;

/// A block in one of the two memories.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// A chunk of this level.
    Chunk(u8, Block),
    /// A list of prefixes.
    List(Block),
    /// A branch or a leaf of the ranges.
    Range(Block),
}

impl Piece {
    fn octets(self) -> usize {
        match self {
            Self::Chunk(_, block) => block.places() * 32,
            Self::List(block) => block.places() * 8,
            Self::Range(block) => block.places() * 32,
        }
    }
}

/// Nothing of it can be seen before `commit`.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) made: Vec<Piece>,
    replaced: Vec<Piece>,
    /// Entries of the direct table to be stored.
    pub(super) entries: Vec<(usize, u32)>,
    /// Slots of those entries that may be others than before, if not all may.
    pub(super) slots: Option<Range<usize>>,
    /// What changed below those entries, if not all of it; and what stands for it now, if that is one value
    /// which is known.
    pub(super) part: Option<(Part, Option<u32>)>,
}

impl<A: Address> PrefixControl<A> {
    /// A copy of the chunk at `at` that has another value for what it does not cover.
    pub(super) fn with_above(
        &mut self, read: &PrefixRead<A>, at: u32, above: u32, level: usize,
    ) -> Option<u32> {
        let mut chunk = read.chunk(at);
        chunk.above = above;
        chunk.repaint(&Own::read(&read.own, chunk.own));
        self.replace(read, at, level);
        self.make(read, &chunk, level)
    }

    /// Writes a chunk that nobody can reach yet. `None` if there is no room.
    pub(super) fn make(&mut self, read: &PrefixRead<A>, chunk: &Chunk, level: usize) -> Option<u32> {
        let open = level < read.open && chunk.has_children();
        let encoded =
            if open { Encoded::open(&chunk.slots) } else { Encoded::new(&chunk.slots, chunk.above) };
        self.write(read, &encoded, chunk.own, chunk.above, level)
    }

    /// A copy of the open chunk at `at` that has another one in a slot.
    pub(super) fn with_child(
        &mut self, read: &PrefixRead<A>, at: u32, slot: usize, child: u32, level: usize,
    ) -> Option<u32> {
        let encoded = Encoded::with_slot(&read.lines, at, slot, child);
        self.replace(read, at, level);
        self.write(read, &encoded, read.head(at).own(), read.above(at), level)
    }

    fn write(
        &mut self, read: &PrefixRead<A>, encoded: &Encoded, own: u32, above: u32, level: usize,
    ) -> Option<u32> {
        let block = self.units.take(encoded.order)?;
        self.change.made.push(Piece::Chunk(level as u8, block));
        self.count(level, true);
        let entry = encoded.write(&read.lines, block.at);
        if let Some(head) = read.heads.get(unit(entry)) {
            head.store(Head::new(own, block.order).0, Relaxed);
        }
        if let Some(cover) = read.heads.get(unit(entry) + 1).filter(|_| is_open(entry)) {
            cover.store(above, Relaxed);
        }
        self.copied += block.places() as u64 * 32;
        Some(entry)
    }

    /// Writes a list of prefixes that nobody can reach yet; 0 if it is empty.
    pub(super) fn make_own(&mut self, read: &PrefixRead<A>, own: &Own) -> Option<u32> {
        if own.len() == 0 {
            return Some(0);
        }
        let block = self.lists.take(order(own.len()))?;
        self.change.made.push(Piece::List(block));
        own.write(&read.own, block.at);
        self.copied += own.len() as u64 * 8;
        Some(block.at)
    }

    /// The chunk at `at` is gone once the change is committed.
    pub(super) fn replace(&mut self, read: &PrefixRead<A>, at: u32, level: usize) {
        let block = Block { at: unit(at) as u32, order: read.head(at).order() };
        self.change.replaced.push(Piece::Chunk(level as u8, block));
    }

    pub(super) fn replace_own(&mut self, read: &PrefixRead<A>, at: u32) {
        if at != 0 {
            let order = order(count(&read.own, at));
            self.change.replaced.push(Piece::List(Block { at, order }));
        }
    }

    /// Publishes what was made: from here on lookups see it.
    pub(super) fn commit(&mut self, read: &PrefixRead<A>, zone: &Zone, epochs: &mut Epochs) {
        let slots = self.change.slots.take().unwrap_or(0..SLOTS);
        let part = self.change.part.take();
        for (index, entry) in self.change.entries.drain(..) {
            if let Some(direct) = zone.direct.get(index) {
                direct.store(entry, Release);
            }
            // Of a table with one zone.
            if let (Some(flat), Some(codes)) = (&read.flat, &mut self.codes) {
                codes.store(flat, &read.lines, index, entry, slots.clone(), epochs);
            }
            if let (Some(ranges), Some(growth)) = (&read.ranges, &mut self.growth) {
                growth.refresh(read, ranges, index, part);
            }
        }
        if let Some(growth) = &mut self.growth {
            self.copied += core::mem::take(&mut growth.copied) as u64;
            self.change.replaced.extend(growth.replaced.drain(..).map(Piece::Range));
        }
        self.change.made.clear();
        if self.change.replaced.is_empty() {
            return;
        }
        let epoch = epochs.advance();
        let at_once = epochs.passed(epoch);
        let mut replaced = core::mem::take(&mut self.change.replaced);
        for piece in replaced.drain(..) {
            if let Piece::Chunk(level, _) = piece {
                self.count(usize::from(level), false);
            }
            if at_once {
                self.give_back(piece);
            } else {
                self.waiting += piece.octets();
                self.deferred.push_back((epoch, piece));
            }
        }
        self.change.replaced = replaced;
    }

    /// Forgets what was made.
    pub(super) fn abort(&mut self) {
        let mut made = core::mem::take(&mut self.change.made);
        for piece in made.drain(..) {
            if let Piece::Chunk(level, _) = piece {
                self.count(usize::from(level), false);
            }
            self.give_back(piece);
        }
        self.change.made = made;
        self.change.replaced.clear();
        self.change.entries.clear();
        (self.change.slots, self.change.part) = (None, None);
    }

    /// Takes back what readers have passed. Each update does so first.
    pub fn reclaim(&mut self, epochs: &Epochs) {
        if self.deferred.is_empty() {
            return;
        }
        let oldest = epochs.oldest();
        while let Some(&(epoch, piece)) = self.deferred.front()
            && epoch <= oldest
        {
            self.deferred.pop_front();
            self.waiting -= piece.octets();
            self.give_back(piece);
        }
    }

    fn give_back(&mut self, piece: Piece) {
        match piece {
            Piece::Chunk(_, block) => self.units.give_back(block),
            Piece::List(block) => self.lists.give_back(block),
            Piece::Range(block) => {
                if let Some(growth) = &mut self.growth {
                    growth.units.give_back(block);
                }
            }
        }
    }

    fn count(&mut self, level: usize, up: bool) {
        if let Some(count) = self.levels.get_mut(level) {
            *count = if up { *count + 1 } else { count.saturating_sub(1) };
        }
    }
}

/// That of a list of so many prefixes.
fn order(len: usize) -> u32 {
    len.next_power_of_two().ilog2()
}
