//! A table made of a whole set of prefixes at once.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;

use super::address::{Address, Prefix};
use super::arena::{MOST_PLACES, Space, zeroed};
use super::block::MOST_ORDER;
use super::change::Change;
use super::chunk::{Chunk, LIST_ORDER, STRIDE};
use super::codes::Codes;
use super::control::PrefixControl;
use super::form::{Entry, Form, InsertError, LEVELS, MOST_VALUE, UpdateError, least_lines, levels};
use super::own::Own;
use super::read::PrefixRead;
use super::refresh::Growth;
use super::simd::Machine;
use super::zone::Zone;
use crate::epoch::Epochs;

/// Whole ways down that the smallest table can replace while readers see the old ones.
const SPARE_WAYS: usize = 4;
/// Room to spare, in units and in words of lists, where nobody says how much.
const UNSAID: (usize, usize) = (2048, 1024);

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
    // Most tables are like a part of them. Where one is not, what it needs is known once it
    // is made, and it is made again.
    let (mut room, mut known) = (16, None);
    loop {
        match build(&sorted, form, skip, bits, known, room) {
            None => room += room / 4,
            Some((mut read, mut control, true)) => {
                control.flatten(&mut read, &sorted);
                control.grow(&mut read, &sorted);
                return (read, control);
            }
            Some((_, control, false)) => {
                (room, known) = (16, Some((control.units.used(), control.lists.used())));
            }
        }
    }
}

/// One of so many groups of prefixes is looked at to see what memory all need.
const SAMPLED: usize = 16;

/// `None` if `room` 16ths of the memory that such a table is thought to need are too few, or
/// of what is `known` that it needs. And whether the room to spare is what it should be: no
/// less, and not much more.
fn build<A: Address>(
    sorted: &[Entry<A>], form: Form, skip: u32, bits: u32, known: Option<(usize, usize)>, room: usize,
) -> Option<(PrefixRead<A>, PrefixControl<A>, bool)> {
    let top = sorted.iter().map(|entry| entry.0).rfind(|prefix| prefix.len() > skip);
    let top = top.map_or(A::default(), |prefix| prefix.bits().masked(skip));
    let mut read = PrefixRead {
        inside: Zone::new(top, skip, bits),
        outside: (skip > 0).then(|| Zone::new(A::default(), 0, 8)),
        top,
        flat: None,
        ranges: None,
        open: form.open(skip + bits, sorted),
        lines: zeroed(0),
        heads: zeroed(0),
        own: zeroed(0),
        begun: AtomicU32::new(0),
        done: AtomicU32::new(0),
        machine: Machine::detect(),
    };
    let mut control = PrefixControl {
        form,
        units: Space::new(0, MOST_ORDER),
        lists: Space::new(0, LIST_ORDER),
        len: 0,
        built: sorted.len(),
        levels: [0; LEVELS],
        waiting: 0,
        most_waiting: 0,
        deferred: VecDeque::new(),
        change: Change::default(),
        codes: None,
        growth: None,
        copied: 0,
        lines_at: 0,
        of: PhantomData,
    };
    let (units, lists) = match known {
        Some(known) => known,
        None => control.needed(&read, sorted)?,
    };
    let (units, lists) = (units * room / 16, lists * room / 16);
    // A prefix more is a chunk of the usual size and a longer list, or some small chunks; and
    // while readers see what an update replaced, a few ways down stand twice.
    let chunks = form.spare * (1 + A::BITS as usize / 32);
    let ways = SPARE_WAYS * (A::BITS / STRIDE + 1) as usize;
    let (least_units, least_lists) = if form.spare == 0 { UNSAID } else { (ways << MOST_ORDER, ways << 3) };
    let (more_units, more_lists) = (chunks + least_units, 2 * form.spare + least_lists);
    let octets = (units + more_units) * 32 + (lists + more_lists) * 8;
    control.most_waiting = form.waiting.unwrap_or(octets / 16);
    let more_units = more_units + control.most_waiting / 32;
    let more_lists = more_lists + control.most_waiting / 8;
    let (units, lists) = (units + more_units, lists + more_lists);
    let units = units.next_multiple_of(1 << MOST_ORDER).min(MOST_PLACES);
    let lists = lists.next_multiple_of(1 << LIST_ORDER).min(MOST_PLACES);
    // A line more, so that a gather of what is beyond the end is cut off at a line.
    (read.lines, read.heads, read.own) = (zeroed(units / 2 + 1), zeroed(units), zeroed(lists / 8));
    (control.units, control.lists) = (Space::new(units, MOST_ORDER), Space::new(lists, LIST_ORDER));
    control.lines_at = read.lines.as_ptr().addr();
    control.fill(&read, sorted)?;
    control.copied = 0;
    let fits = |places: usize, used: usize, more: usize| (more..=more + used / 8).contains(&(places - used));
    let right =
        fits(units, control.units.used(), more_units) && fits(lists, control.lists.used(), more_lists);
    Some((read, control, right || known.is_some()))
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
        for (index, longer) in groups(read, sorted) {
            let chunk = self.build_chunk(read, &longer, 0, base, read.inside.entry(index))?;
            self.change.entries.push((index, chunk));
            self.commit(read, &read.inside, &mut epochs);
            self.len += longer.len();
        }
        Some(())
    }

    /// Puts codes for the first two levels above them, where that is worth its memory.
    fn flatten(&mut self, read: &mut PrefixRead<A>, sorted: &[Entry<A>]) {
        if read.outside.is_some() {
            return;
        }
        let enough = self.form.codes(read.inside.bits, sorted);
        if let Some((flat, codes)) = enough.and_then(|enough| Codes::of(read, sorted, enough)) {
            (read.flat, self.codes) = (Some(flat), Some(codes));
        }
    }

    /// Puts ranges above them, where that is worth its memory.
    fn grow(&mut self, read: &mut PrefixRead<A>, sorted: &[Entry<A>]) {
        let one = read.outside.is_none() && read.flat.is_none();
        if one && self.form.ranges(read.inside.base(), sorted, read.open) {
            let (ranges, growth) = Growth::of(read, sorted.len(), self.form.spare, self.most_waiting);
            (read.ranges, self.growth) = (Some(ranges), Some(growth));
        }
    }

    /// The units and the places of lists that the prefixes need, from a sample of them, which
    /// is made without memory to write it to.
    fn needed(&mut self, read: &PrefixRead<A>, sorted: &[Entry<A>]) -> Option<(usize, usize)> {
        let base = read.inside.base();
        let step = if sorted.len() < 1 << 14 { 1 } else { SAMPLED };
        let (mut sampled, mut deep) = (0, 0);
        let (mut units, mut lists) = (0, 0);
        for (nth, (_, longer)) in groups(read, sorted).enumerate() {
            deep += longer.len();
            if nth % step > 0 {
                continue;
            }
            sampled += longer.len();
            self.units = Space::new((count_chunks(&longer, base) + 2) << MOST_ORDER, MOST_ORDER);
            self.lists = Space::new(2 * longer.len() + (2 << LIST_ORDER), LIST_ORDER);
            // What covers them is not known yet: something like the first of them.
            let above = longer.first().map_or(0, |entry| entry.1);
            self.build_chunk(read, &longer, 0, base, above)?;
            self.change.made.clear();
            (units, lists) = (units + self.units.used(), lists + self.lists.used());
        }
        self.levels = [0; LEVELS];
        let all = |part: usize| (part as u64 * deep as u64 / sampled.max(1) as u64) as usize;
        let some = |part: usize| if step == 1 { part } else { all(part) * 33 / 32 };
        Some((some(units), some(lists)))
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

/// The prefixes below each entry of the direct table that has such, which are neighbours.
fn groups<'a, A: Address>(
    read: &'a PrefixRead<A>, sorted: &'a [Entry<A>],
) -> impl Iterator<Item = (usize, Vec<Entry<A>>)> {
    let index = |entry: &Entry<A>| read.inside.index(entry.0.bits().high());
    let inside = |prefix: Prefix<A>| core::ptr::eq(read.zone_of(prefix), &read.inside);
    let deep = move |entry: &&Entry<A>| entry.0.len() > read.inside.base() && inside(entry.0);
    sorted.chunk_by(move |a, b| index(a) == index(b)).filter_map(move |group| {
        let longer: Vec<_> = group.iter().filter(deep).copied().collect();
        longer.first().map(index).map(|index| (index, longer))
    })
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
