//! A table made of a whole set of prefixes at once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;

use super::address::{Address, Prefix};
use super::arena::{Space, bias, zeroed};
use super::block::{MOST_UNITS, UNIT_WORDS};
use super::change::Change;
use super::chunk::{Chunk, MOST_PREFIXES, STRIDE};
use super::control::PrefixControl;
use super::form::{Entry, Form, InsertError, LEVELS, MOST_VALUE, UpdateError, least_lines, levels};
use super::own::Own;
use super::read::PrefixRead;
use super::zone::Zone;
use crate::epoch::Epochs;

type Halves<A> = (PrefixRead<A>, PrefixControl<A>);

/// A table without prefixes.
pub(super) fn empty<A: Address>(form: Form) -> Halves<A> {
    load(Vec::new(), form)
}

/// A table of `prefixes`, in any order; of the same prefix the last counts.
///
/// # Errors
///
/// What [`PrefixControl::insert`] refuses one of them for.
pub(super) fn try_load<A: Address>(prefixes: Vec<Entry<A>>, form: Form) -> Result<Halves<A>, InsertError> {
    for &(prefix, value) in &prefixes {
        if value == 0 || value > MOST_VALUE {
            return Err(InsertError::Value(value));
        }
        let needed = least_lines::<A>(prefix.len());
        if needed > form.bound {
            return Err(InsertError::Cost { needed, bound: form.bound });
        }
    }
    let (read, control) = load(prefixes, form);
    if control.len() > form.most { Err(InsertError::Full(form.most)) } else { Ok((read, control)) }
}

/// The same of prefixes and values that are known to be right.
pub(super) fn load<A: Address>(mut sorted: Vec<Entry<A>>, form: Form) -> Halves<A> {
    // Stable: of the same prefix the last comes last.
    sorted.sort_by_key(|entry| entry.0);
    sorted.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
    let skip = form.skip(&sorted);
    let bits = form.bits(skip, &sorted);
    // Enough for most tables; values that are large, or many prefixes in each chunk, need more.
    let mut room = 100;
    loop {
        if let Some(made) = build(&sorted, form, skip, bits, room) {
            return made;
        }
        room += room / 2;
    }
}

/// `None` if `room` percent of the memory that such a table is thought to need is too little.
fn build<A: Address>(
    sorted: &[Entry<A>], form: Form, skip: u32, bits: u32, room: usize,
) -> Option<Halves<A>> {
    let top = sorted.iter().map(|entry| entry.0).rfind(|prefix| prefix.len() > skip);
    let top = top.map_or(A::default(), |prefix| prefix.bits().masked(skip));
    let inside = Zone::new(top, skip, bits);
    let outside = (skip > 0).then(|| Zone::new(A::default(), 0, 8));

    let (deep, chunks) = (sorted.len() + form.spare, count_chunks(sorted, inside.base()) + form.spare);
    let units = (chunks + deep / 14) * room / 100 * 9 / 8 + 2048;
    let lists = deep * 9 / 8 * room / 100 + 1024;
    let most_waiting = form.waiting.unwrap_or((units * 32 + lists * 8) / 16);
    let (units, lists) = (units + most_waiting / 32, lists + most_waiting / 8);
    let read = PrefixRead {
        inside,
        outside,
        top,
        words: zeroed(units * UNIT_WORDS + 8),
        heads: zeroed(units + 2),
        own: zeroed(lists),
        begun: AtomicU32::new(0),
        done: AtomicU32::new(0),
    };
    let mut control = PrefixControl {
        form,
        units: Space::new(units, true, MOST_UNITS),
        lists: Space::new(lists, false, MOST_PREFIXES),
        len: 0,
        built: sorted.len(),
        levels: [0; LEVELS],
        waiting: 0,
        most_waiting,
        deferred: VecDeque::new(),
        change: Change::default(),
        copied: 0,
        words_at: read.words.as_ptr().addr(),
        bias: bias(&read.words),
        of: PhantomData,
    };
    control.fill(&read, sorted)?;
    control.copied = 0;
    Some((read, control))
}

impl<A: Address> PrefixControl<A> {
    fn fill(&mut self, read: &PrefixRead<A>, sorted: &[Entry<A>]) -> Option<()> {
        let mut epochs = Epochs::new(0);
        let inside = |prefix: Prefix<A>| core::ptr::eq(read.zone_of(prefix), &read.inside);
        let base = read.inside.base();
        // First the direct table: chunks begin with what it has for them. Of those that
        // stand outside, the shorter come first by order.
        for &(prefix, value) in sorted.iter().filter(|entry| !inside(entry.0) || entry.0.len() <= base) {
            let old = self.put(read, &mut epochs, prefix, value).ok()?;
            debug_assert!(old.is_none(), "no prefix comes twice");
        }
        // Those inside are neighbours.
        let deep = |entry: &Entry<A>| inside(entry.0) && entry.0.len() > base;
        for group in sorted
            .chunk_by(|a, b| read.inside.index(a.0.bits().high()) == read.inside.index(b.0.bits().high()))
        {
            let longer: Box<[Entry<A>]> = group.iter().copied().filter(deep).collect();
            let Some(&(prefix, _)) = longer.first() else { continue };
            let index = read.inside.index(prefix.bits().high());
            let chunk = self.build_chunk(read, &longer, 0, base, read.inside.entry(index))?;
            self.change.entries.push((index, chunk));
            self.commit(&read.inside, &mut epochs);
            self.len += longer.len();
        }
        Some(())
    }

    fn put(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, prefix: Prefix<A>, value: u32,
    ) -> Result<Option<u32>, UpdateError> {
        let old = self.set(read, epochs, prefix, value)?;
        self.len += usize::from(old.is_none());
        Ok(old)
    }

    /// A chunk of prefixes that have their first `base` bits in common and are longer.
    fn build_chunk(
        &mut self, read: &PrefixRead<A>, sorted: &[Entry<A>], level: usize, base: u32, above: u32,
    ) -> Option<u32> {
        let mut chunk = Chunk::empty(above);
        let mut own = Own::new();
        let slot_of = |entry: &Entry<A>| entry.0.bits().after(base).top(STRIDE);
        for &(prefix, value) in sorted.iter().filter(|entry| entry.0.len() <= base + STRIDE) {
            let len = prefix.len() - base;
            own.insert(1 << len | prefix.bits().after(base).top(len) as u32, value);
        }
        for group in sorted.chunk_by(|a, b| slot_of(a) == slot_of(b)) {
            let short = group.iter().filter(|entry| entry.0.len() <= base + STRIDE).count();
            let Some(longer) = group.get(short..).filter(|longer| !longer.is_empty()) else { continue };
            let slot = group.first().map_or(0, slot_of);
            let child = self.build_chunk(read, longer, level + 1, base + STRIDE, own.best(slot))?;
            if let Some(slot) = chunk.slots.get_mut(slot) {
                *slot = child;
            }
        }
        chunk.repaint(&own);
        chunk.own = self.make_own(read, &own)?;
        self.make(read, &chunk, level)
    }
}

/// How many chunks the prefixes need below the first `base` bits.
fn count_chunks<A: Address>(sorted: &[Entry<A>], base: u32) -> usize {
    let mut chunks = 0;
    let mut before: Option<Prefix<A>> = None;
    for &(prefix, _) in sorted {
        let shared = before.map_or(0, |before| {
            let common = before.bits().common(prefix.bits()).min(before.len().saturating_sub(1));
            if common < base { 0 } else { (common - base) / STRIDE + 1 }
        });
        chunks += levels(prefix.len(), base).saturating_sub(shared) as usize;
        before = Some(prefix);
    }
    chunks
}
