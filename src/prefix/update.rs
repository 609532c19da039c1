//! Changes below the direct table.

use super::address::{Address, Prefix};
use super::block::{is_open, walk};
use super::chunk::{CHILD, Chunk, STRIDE, covered};
use super::control::PrefixControl;
use super::form::{LEVELS, UpdateError};
use super::own::Own;
use super::read::{PrefixRead, slot};
use super::refresh::Part;
use super::zone::Zone;
use crate::epoch::Epochs;

impl<A: Address> PrefixControl<A> {
    /// Writes the chunk in which `prefix` ends anew, and all chunks above it; one store
    /// into the direct table then puts the new path in the place of the old.
    pub(super) fn set_deep(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, zone: &Zone, prefix: Prefix<A>, value: u32,
    ) -> Result<Option<u32>, UpdateError> {
        let done = self.make_path(read, zone, prefix, value);
        match done {
            Some(old) => {
                self.commit(read, zone, epochs);
                Ok(old)
            }
            None => {
                self.abort();
                Err(UpdateError::RebuildDue)
            }
        }
    }

    /// `None` if there is no room.
    fn make_path(
        &mut self, read: &PrefixRead<A>, zone: &Zone, prefix: Prefix<A>, value: u32,
    ) -> Option<Option<u32>> {
        let (base, key) = (zone.base(), prefix.bits());
        let index = zone.index(key.high());
        let bits = |level: usize| key.after(base + STRIDE * level as u32);
        let slot_of = |level: usize| slot(key, base + STRIDE * level as u32);
        let last = ((prefix.len() - base - 1) / STRIDE) as usize;
        // The chunks that are there already.
        let mut path = [0u32; LEVELS];
        let (mut depth, mut below) = (0, zone.entry(index));
        for (level, at) in path.iter_mut().enumerate().take(last + 1) {
            if below & CHILD == 0 {
                break;
            }
            *at = below;
            below = walk(&read.lines, below, slot_of(level)).0;
            depth = level + 1;
        }
        let there = |level: usize| if level < depth { path.get(level).copied() } else { None };
        // The first chunk that is not there yet begins with what covers it in the level above.
        let above = match depth.checked_sub(1) {
            None => below,
            Some(level) => {
                let own = read.head(there(level)?).own();
                Own::read(&read.own, own).best(slot_of(level))
            }
        };
        let empty = |level| Chunk::empty(if level == depth { above } else { 0 });

        let mut chunk = there(last).map_or_else(|| empty(last), |at| read.chunk(at));
        let mut own = Own::read(&read.own, chunk.own);
        let len = prefix.len() - base - STRIDE * last as u32;
        let position = 1 << len | bits(last).top(len) as u32;
        let old = if value == 0 { own.remove(position) } else { own.insert(position, value) };
        if old.unwrap_or(0) == value {
            return Some(old);
        }
        self.replace_own(read, chunk.own);
        chunk.own = self.make_own(read, &own)?;
        for slot in covered(position) {
            let child = chunk.slots.get(slot).copied().unwrap_or(0);
            if child & CHILD == 0 {
                continue;
            }
            let best = own.best(slot);
            if read.above(child) != best {
                let child = self.with_above(read, child, best, last + 1)?;
                if let Some(slot) = chunk.slots.get_mut(slot) {
                    *slot = child;
                }
            }
        }
        chunk.repaint(&own);
        let value = chunk.same(covered(position)).map(|value| {
            let above = path.iter().take(depth.min(last)).rev().map(|at| read.above(*at));
            core::iter::once(value).chain(above).find(|value| *value != 0).unwrap_or(0)
        });
        let mut below = self.make_or_drop(read, &chunk, last)?;
        if let Some(at) = there(last) {
            self.replace(read, at, last);
        }
        for level in (0..last).rev() {
            if let Some(at) = there(level).filter(|at| is_open(*at) && below & CHILD != 0) {
                below = self.with_child(read, at, slot_of(level), below, level)?;
                continue;
            }
            let mut chunk = there(level).map_or_else(|| empty(level), |at| read.chunk(at));
            let below_or_above = if below == 0 { chunk.above } else { below };
            let slot = slot_of(level);
            if let Some(slot) = chunk.slots.get_mut(slot) {
                *slot = below_or_above;
            }
            below = self.make_or_drop(read, &chunk, level)?;
            if let Some(at) = there(level) {
                self.replace(read, at, level);
            }
        }
        let slot = slot_of(0);
        self.change.part = Some((Part::of(prefix), value));
        self.change.slots = Some(if last == 0 { covered(position) } else { slot..slot + 1 });
        self.change.entries.push((index, below));
        Some(old)
    }

    /// The new chunk, or what stands in its place if it has neither prefix nor child.
    fn make_or_drop(&mut self, read: &PrefixRead<A>, chunk: &Chunk, level: usize) -> Option<u32> {
        if chunk.own == 0 && !chunk.has_children() {
            return Some(chunk.above);
        }
        self.make(read, chunk, level)
    }
}
