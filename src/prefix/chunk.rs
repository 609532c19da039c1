//! A chunk: six bits of an address, 64 slots, taken apart to be changed.

use core::ops::Range;

use super::own::Own;

/// Marks a chunk among values.
pub(super) const CHILD: u32 = 1 << 31;
/// Bits that a chunk takes off an address.
pub(super) const STRIDE: u32 = 6;
/// The most prefixes that end in one chunk: one to six bits of 64 slots.
pub(super) const MOST_PREFIXES: usize = 126;
/// The logarithm of the places of the longest list of them.
pub(super) const LIST_ORDER: u32 = 7;

/// For each slot 0 (nothing), a value, or a chunk.
pub(super) type Slots = [u32; 64];

/// What stands in memory as a block of lines, a head and a list of prefixes. Once lookups
/// can reach it, it never changes: it is taken apart, changed and written anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// Slots that none of its own prefixes covers hold `above`.
    pub(super) slots: Slots,
    /// Longest prefix of the level above that covers all of it, or 0.
    pub(super) above: u32,
    /// The list of its own prefixes, or 0.
    pub(super) own: u32,
}

impl Chunk {
    pub(super) fn empty(above: u32) -> Self {
        Self { slots: [above; 64], above, own: 0 }
    }

    /// Writes the values of `own` over everything but children, which keep their slots.
    pub(super) fn repaint(&mut self, own: &Own) {
        let old = self.slots;
        self.slots = [self.above; 64];
        for (position, value) in own.iter() {
            if let Some(run) = self.slots.get_mut(covered(position)) {
                run.fill(value);
            }
        }
        for (slot, &was) in self.slots.iter_mut().zip(&old) {
            if was & CHILD != 0 {
                *slot = was;
            }
        }
    }

    /// The value that all of some slots have, or 0, if it is one.
    pub(super) fn same(&self, some: Range<usize>) -> Option<u32> {
        let slots = self.slots.get(some)?;
        let first = slots.first().copied().filter(|first| first & CHILD == 0)?;
        slots.iter().all(|slot| *slot == first).then_some(first)
    }

    pub(super) fn has_children(&self) -> bool {
        self.slots.iter().any(|slot| slot & CHILD != 0)
    }
}

/// The slots under a position: `2^length + number` of a prefix of a chunk's bits.
pub(super) fn covered(position: u32) -> Range<usize> {
    let len = position.max(1).ilog2().min(STRIDE);
    let from = ((position ^ 1 << len) << (STRIDE - len)) as usize;
    from..from + (1 << (STRIDE - len))
}
