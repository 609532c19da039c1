//! The write side.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::PrefixTable;
use super::address::{Address, Prefix};
use super::arena::{Block, Space};
use super::build::load;
use super::change::{Change, Piece};
use super::codes::Codes;
use super::flat::{self, Flat};
use super::form::{Form, InsertError, LEVELS, MOST_BITS, MOST_VALUE, UpdateError};
use super::form::{least_lines, levels, lines};
use super::ranges::{self, Ranges};
use super::read::PrefixRead;
use super::refresh::Growth;
use super::zone::Zone;
use crate::arch::prefetch;
use crate::epoch::{Epoch, Epochs};

/// What the owner of a table changes its [`PrefixRead`] with.
///
/// The two are apart so that the read side can stand where readers find it. Each update is
/// given it and the epochs that its readers pass; with [`Epochs::new(0)`](Epochs::new)
/// there is no reader but the owner, and memory is used again at once.
///
/// Invariant: `units` and `lists` know which blocks of the read side's memory are in use,
/// `deferred` which of these readers may still see; `levels` counts chunks by level.
#[derive(Debug)]
pub struct PrefixControl<A> {
    /// The form that was asked for, and the limits.
    pub(super) form: Form,
    pub(super) units: Space,
    pub(super) lists: Space,
    pub(super) len: usize,
    /// Prefixes that it was made of.
    pub(super) built: usize,
    pub(super) levels: [u32; LEVELS],
    /// Octets that wait for readers, and the most that may.
    pub(super) waiting: usize,
    pub(super) most_waiting: usize,
    pub(super) deferred: VecDeque<(Epoch, Piece)>,
    pub(super) change: Change,
    /// Those of its read side's flat table, if that has one.
    pub(super) codes: Option<Codes>,
    /// That of its read side's ranges, if that has them.
    pub(super) growth: Option<Growth>,
    pub(super) copied: u64,
    /// Where the lines of its read side are.
    pub(super) lines_at: usize,
    pub(super) of: PhantomData<fn(A)>,
}

/// Spare prefixes whose room is enough for any one update: 512 chunks of 16 units.
const ANY_UPDATE: usize = 1 << 14;

/// Where the octets of a table are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Octets {
    /// The direct tables and the chunks in use: what lookups read.
    pub read: usize,
    /// All memory of both halves, the spare included.
    pub total: usize,
    /// Memory that waits for readers.
    pub waiting: usize,
}

impl<A: Address> PrefixControl<A> {
    /// Stores `value` with `prefix`; returns what was stored with it.
    ///
    /// Hitless: each lookup answers as before or as after it. Copies the chunks on the way
    /// to the prefix, and at most 512 of those below it; and where there are [ranges](Form#structfield.ranges), all lines of
    /// ranges that the prefix covers.
    ///
    /// # Errors
    ///
    /// All of [`InsertError`]; the table is unchanged. A prefix that is in the table is
    /// refused for [`UpdateError`] and its value only.
    pub fn insert(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, prefix: Prefix<A>, value: u32,
    ) -> Result<Option<u32>, InsertError> {
        if value == 0 || value > MOST_VALUE {
            return Err(InsertError::Value(value));
        }
        read.expect(prefix);
        self.ready(read, epochs)?;
        if read.get(prefix).is_none() {
            self.admit(read, prefix)?;
        }
        let old = self.set(read, epochs, prefix, value)?;
        self.len += usize::from(old.is_none());
        Ok(old)
    }

    /// Takes `prefix` out; returns what was stored with it. Hitless, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; the table is unchanged. A 32nd of the memory is kept for removals:
    /// it can only be used up by so many of them, and none of a rebuilt table's.
    pub fn remove(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, prefix: Prefix<A>,
    ) -> Result<Option<u32>, UpdateError> {
        read.expect(prefix);
        self.ready(read, epochs)?;
        let old = self.set(read, epochs, prefix, 0)?;
        self.len -= usize::from(old.is_some());
        Ok(old)
    }

    fn ready(&mut self, read: &PrefixRead<A>, epochs: &mut Epochs) -> Result<(), UpdateError> {
        if read.lines.as_ptr().addr() != self.lines_at {
            return Err(UpdateError::NotPaired);
        }
        self.reclaim(epochs);
        if self.waiting > self.most_waiting { Err(UpdateError::Busy) } else { Ok(()) }
    }

    /// Whether a new prefix may come in. Which ones may does not depend on their order: see
    /// [`Form::bound`].
    fn admit(&self, read: &PrefixRead<A>, prefix: Prefix<A>) -> Result<(), InsertError> {
        if self.len >= self.form.most {
            return Err(InsertError::Full(self.form.most));
        }
        let (needed, bound) = (least_lines::<A>(prefix.len()), self.form.bound);
        if needed > bound {
            return Err(InsertError::Cost { needed, bound });
        }
        if read.lines_of(levels(prefix.len(), read.zone_of(prefix).base())) > bound {
            return Err(UpdateError::RebuildDue.into());
        }
        Ok(())
    }

    pub(super) fn set(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, prefix: Prefix<A>, value: u32,
    ) -> Result<Option<u32>, UpdateError> {
        self.units.keep(value != 0);
        self.lists.keep(value != 0);
        let zone = read.zone_of(prefix);
        let old = self.set_in(read, epochs, zone, prefix, value)?;
        let skip = read.inside.skip;
        if let Some(outside) = &read.outside
            && prefix.len() <= skip
            && prefix.covers(read.top)
        {
            // For the keys inside it is the shortest prefix of all; position 1 is that of
            // no bits, whose change cannot fail.
            let best = read.longest_in(outside, read.top, skip).map_or(0, |(_, value)| value);
            set_short(read, &read.inside, 1, best);
        }
        Ok(old)
    }

    fn set_in(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, zone: &Zone, prefix: Prefix<A>, value: u32,
    ) -> Result<Option<u32>, UpdateError> {
        if prefix.len() > zone.base() {
            return self.set_deep(read, epochs, zone, prefix, value);
        }
        let len = prefix.len() - zone.skip;
        let position = 1 << len | prefix.bits().after(zone.skip).top(len);
        let old = zone.own(position);
        if old != value {
            if len <= zone.short {
                set_short(read, zone, position, value);
            } else {
                self.set_direct(read, epochs, zone, position, value)?;
            }
        }
        Ok((old != 0).then_some(old))
    }

    /// A prefix of the direct table: at most `2^(bits - short - 1)` entries. For a key, the
    /// one store into its entry is the update.
    fn set_direct(
        &mut self, read: &PrefixRead<A>, epochs: &mut Epochs, zone: &Zone, position: usize, value: u32,
    ) -> Result<(), UpdateError> {
        fn entries(zone: &Zone, position: usize, found: &mut Vec<(usize, u32)>) {
            if position >> zone.bits != 0 {
                found.push((position ^ 1 << zone.bits, 0));
                return;
            }
            for longer in [2 * position, 2 * position + 1] {
                if zone.own(longer) == 0 {
                    entries(zone, longer, found);
                }
            }
        }
        let best = if value == 0 { zone.covering(position >> 1, Some(zone.short)) } else { value };
        let mut changed = core::mem::take(&mut self.change.entries);
        entries(zone, position, &mut changed);
        let mut fits = Ok(());
        for (index, new) in &mut changed {
            let old = zone.entry(*index);
            let made = if old >> 31 == 0 { Some(best) } else { self.with_above(read, old, best, 0) };
            match made {
                Some(made) => *new = made,
                None => {
                    fits = Err(UpdateError::RebuildDue);
                    break;
                }
            }
        }
        self.change.entries = changed;
        if fits.is_err() {
            self.abort();
            return fits;
        }
        if let Some(own) = zone.own.get(position) {
            own.store(value, Relaxed);
        }
        self.commit(read, zone, epochs);
        Ok(())
    }

    /// The same prefixes in new memory, with more room or another form: for the owner to put
    /// in the place of this table. Updates of this one are not seen by that one.
    pub fn rebuilt(&self, read: &PrefixRead<A>, form: Form) -> (PrefixRead<A>, Self) {
        load(read.iter().collect(), form)
    }

    /// The form that a rebuild needs for an update of `prefix` to have room: that of this
    /// table with a quarter more prefixes, or with more if this one's spare room was not for
    /// prefixes, and with more direct bits if the cost bound asks for them.
    ///
    /// Where the update does not fit into the rebuilt table either, ask that one in turn.
    pub fn larger(&self, read: &PrefixRead<A>, prefix: Prefix<A>) -> Form {
        let mut form = self.form;
        let more = if self.len < self.built + form.spare / 2 { 2 * form.spare } else { form.spare };
        form.spare = more.min(self.len.max(ANY_UPDATE)).max(self.len / 4 + 256);
        let needed = read.lines_of(levels(prefix.len(), read.zone_of(prefix).base()));
        if needed > form.bound {
            (form.skip, form.direct_bits) = (Some(0), Some(MOST_BITS));
            (form.flat, form.open, form.ranges) = (Some(false), Some(false), Some(false));
        }
        form
    }

    /// The most cache lines that a lookup touches now.
    pub fn cost(&self, read: &PrefixRead<A>) -> u32 {
        let levels = self.levels.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        read.lines_of(levels as u32)
    }

    /// Prefixes in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its form and limits.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Octets copied by all updates so far.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    /// Units of chunks and ranges, and places of lists, in use, without those that wait: nothing where
    /// no prefix is longer than the direct table's.
    pub fn blocks(&self) -> (usize, usize) {
        let ranges = self.growth.as_ref().map_or(0, Growth::used);
        (self.units.used() + ranges, self.lists.used())
    }

    /// Octets, by what they are for.
    pub fn octets(&self, read: &PrefixRead<A>) -> Octets {
        let zones = || core::iter::once(&read.inside).chain(&read.outside).map(Zone::octets);
        let direct: usize = zones().map(|(lookups, _)| lookups).sum();
        let direct = direct + read.flat.as_ref().map_or(0, Flat::octets);
        let codes = self.codes.as_ref().map_or(0, Codes::octets);
        let used = self.growth.as_ref().map_or(0, |growth| growth.used() * 32);
        let used = used + read.ranges.as_ref().map_or(0, |ranges| size_of_val(&*ranges.direct));
        let ranges = read.ranges.as_ref().map_or(0, Ranges::octets);
        let codes = codes + ranges + self.growth.as_ref().map_or(0, |growth| growth.units.octets());
        let own: usize = zones().map(|(_, updates)| updates).sum();
        let lists = self.units.octets()
            + self.lists.octets()
            + self.deferred.capacity() * size_of::<(Epoch, Block)>();
        let blocks = (read.lines.len() + read.own.len()) * 64 + read.heads.len() * 4;
        Octets {
            read: direct + used + self.units.used() * 32,
            total: direct + own + codes + lists + blocks + size_of::<(PrefixRead<A>, Self)>(),
            waiting: self.waiting,
        }
    }
}

impl<A: Address> PrefixRead<A> {
    /// Lines that a key touches at most on so many levels; what covers an open chunk is in a line
    /// of its own.
    fn lines_of(&self, levels: u32) -> u32 {
        lines(levels + levels.min(self.open as u32), self.firsts())
    }

    /// Lines that a key touches at most before it comes to a chunk.
    fn firsts(&self) -> u32 {
        let ranges = if self.ranges.is_some() { ranges::LINES } else { 0 };
        1 + u32::from(self.outside.is_some()) + ranges + if self.flat.is_some() { flat::LINES } else { 0 }
    }

    /// Starts fetching what an update of a prefix reads first and writes last.
    fn expect(&self, prefix: Prefix<A>) {
        self.prefetch(prefix.bits());
        if let Some(ranges) = &self.ranges {
            ranges.prefetch(ranges.way(prefix.bits().high()).0);
        }
        if self.flat.is_some() || self.ranges.is_some() {
            let index = self.inside.index(prefix.bits().high());
            self.inside.direct.get(index).into_iter().for_each(prefetch);
        }
    }

    /// The zone in which a prefix stands.
    pub(super) fn zone_of(&self, prefix: Prefix<A>) -> &Zone {
        let skip = self.inside.skip;
        match &self.outside {
            Some(outside) if prefix.len() <= skip || prefix.bits().masked(skip) != self.top => outside,
            _ => &self.inside,
        }
    }
}

/// A short prefix: stores it in all cells under it that have no longer one.
///
/// A key has one cell, which one store changes.
fn set_short<A>(read: &PrefixRead<A>, zone: &Zone, position: usize, value: u32) {
    fn paint(zone: &Zone, flat: Option<&Flat>, position: usize, value: u32) {
        if position >> zone.short != 0 {
            let at = position ^ 1 << zone.short;
            if let Some(cell) = zone.short_values.get(at) {
                let number = (cell.load(Relaxed) >> 32).wrapping_add(1);
                cell.store(number << 32 | u64::from(value), Release);
            }
            if let Some(flat) = flat {
                flat.store_short(at, value);
            }
            return;
        }
        for longer in [2 * position, 2 * position + 1] {
            if zone.own(longer) == 0 {
                paint(zone, flat, longer, value);
            }
        }
    }
    // Who sees one of the stores below sees this one.
    read.begun.fetch_add(1, Relaxed);
    if let Some(own) = zone.own.get(position) {
        own.store(value, Relaxed);
    }
    paint(zone, read.flat.as_ref(), position, zone.covering(position, None));
    read.done.fetch_add(1, Release);
}
