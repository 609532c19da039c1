//! What is in the table: one prefix, those of a key, all.

use alloc::vec::Vec;

use super::address::{Address, Prefix};
use super::block::walk;
use super::chunk::{CHILD, STRIDE, covered};
use super::own::Own;
use super::read::{PrefixRead, slot};
use super::zone::Zone;

impl<A: Address> PrefixRead<A> {
    /// The longest prefix of `key` with at most `most` bits: its length and its value.
    pub fn longest(&self, key: A, most: u32) -> Option<(u32, u32)> {
        let zone = self.zone(key);
        let outside = self.outside.as_ref().filter(|outside| !core::ptr::eq(*outside, zone));
        self.longest_in(zone, key, most)
            .or_else(|| self.longest_in(outside?, key, most.min(self.inside.skip)))
    }

    pub(super) fn longest_in(&self, zone: &Zone, key: A, most: u32) -> Option<(u32, u32)> {
        let (mut at, mut len, mut best) = (zone.entry(zone.index(key.high())), zone.base(), None);
        while at & CHILD != 0 && len < most {
            let slot = slot(key, len);
            for (position, value) in Own::read(&self.own, self.head(at).own()).iter() {
                let length = len + position.max(1).ilog2();
                if covered(position).contains(&slot) && length <= most {
                    best = Some((length, value));
                }
            }
            at = walk(&self.lines, at, slot).0;
            len += STRIDE;
        }
        if best.is_some() || most < zone.skip {
            return best;
        }
        let len = zone.bits.min(most - zone.skip);
        let position = 1 << len | key.after(zone.skip).top(len);
        // Of no bits inside: that one stands outside, where it has its length.
        let least = if self.outside.is_some() && zone.skip > 0 { 1 } else { 0 };
        (least..=len).rev().find_map(|bits| match zone.own(position >> (len - bits)) {
            0 => None,
            value => Some((zone.skip + bits, value)),
        })
    }

    /// All prefixes of `key`, longest first: length and value.
    ///
    /// While the table changes each of them was in it at some time.
    pub fn matches(&self, key: A) -> impl Iterator<Item = (u32, u32)> {
        let shorter = move |&(len, _): &(u32, u32)| self.longest(key, len.checked_sub(1)?);
        core::iter::successors(self.longest(key, A::BITS), shorter)
    }

    /// What is stored with `prefix` itself.
    pub fn get(&self, prefix: Prefix<A>) -> Option<u32> {
        let found = self.longest(prefix.bits(), prefix.len());
        found.filter(|&(len, _)| len == prefix.len()).map(|(_, value)| value)
    }

    /// Prefixes and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix<A>, u32)> {
        let zones = core::iter::once(&self.inside).chain(&self.outside);
        zones.flat_map(|zone| self.direct(zone).chain(self.deep(zone)))
    }

    /// The bits all of a zone's keys begin with.
    fn start(&self, zone: &Zone) -> A {
        if zone.skip == 0 { A::default() } else { self.top }
    }

    fn direct(&self, zone: &Zone) -> impl Iterator<Item = (Prefix<A>, u32)> {
        let start = self.start(zone);
        let first = if zone.skip > 0 { 2 } else { 1 };
        (first..2usize << zone.bits).filter_map(move |position| {
            let value = zone.own(position);
            let len = position.ilog2();
            let bits = A::from_top(position ^ 1 << len, len);
            let prefix = Prefix::new(start.with(bits, zone.skip), zone.skip + len)?;
            (value != 0).then_some((prefix, value))
        })
    }

    fn deep(&self, zone: &Zone) -> impl Iterator<Item = (Prefix<A>, u32)> {
        let start = self.start(zone);
        (0..1usize << zone.bits).flat_map(move |index| {
            let mut found = Vec::new();
            let entry = zone.entry(index);
            if entry & CHILD != 0 {
                let bits = start.with(A::from_top(index, zone.bits), zone.skip);
                self.under(entry, bits, zone.base(), &mut found);
            }
            found
        })
    }

    fn under(&self, at: u32, bits: A, len: u32, found: &mut Vec<(Prefix<A>, u32)>) {
        let chunk = self.chunk(at);
        for (position, value) in Own::read(&self.own, chunk.own).iter() {
            let more = position.max(1).ilog2();
            let own = bits.with(A::from_top((position ^ 1 << more) as usize, more), len);
            found.extend(Prefix::new(own, len + more).map(|prefix| (prefix, value)));
        }
        for (slot, &child) in chunk.slots.iter().enumerate() {
            if child & CHILD != 0 {
                self.under(child, bits.with(A::from_top(slot, STRIDE), len), len + STRIDE, found);
            }
        }
    }
}
