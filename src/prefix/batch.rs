//! The read side: many keys at once, so that their cache lines are fetched together.

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

use super::PrefixTable;
use super::address::{Address, FIRST};
use super::chunk::{CHILD, STRIDE};
use super::ranges::{Ends, Ranges};
use super::read::{PrefixRead, slot};
use super::simd::Isa;

/// Keys that are looked up together.
pub(super) const GROUP: usize = 2 * HALF;
/// Keys that instructions take at once, where there are such.
pub(super) const HALF: usize = 16;
/// So many keys and fewer go on one by one.
pub(super) const FEW: u32 = 4;

/// What is known of some keys: a value or a chunk each, or 0.
pub(super) type Half = [u32; HALF];

impl<A: Address> PrefixRead<A> {
    /// Looks up the address of each key; `put` is told where its answer belongs, and the answer.
    #[inline(always)]
    pub(super) fn look_up_all<I: Isa, K, F>(
        &self, isa: I, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        let len = keys.len().min(found.len());
        let (Some(keys), Some(found)) = (keys.get(..len), found.get_mut(..len)) else { return };
        let (groups, keys) = keys.as_chunks::<GROUP>();
        let (answers, found) = found.as_chunks_mut::<GROUP>();
        for (group, answers) in groups.iter().zip(answers) {
            let addresses = group.each_ref().map(address);
            put_all(answers, self.look_up_group(isa, &addresses, GROUP), put);
        }
        // Half a group costs half where codes answer it.
        let halves = if self.flat.is_some() { keys.len() / HALF * HALF } else { 0 };
        let (Some((half, keys)), Some((answers, found))) =
            (keys.split_at_checked(halves), found.split_at_mut_checked(halves))
        else {
            return;
        };
        if let (Ok(half), Ok(answers)) = (<&[K; HALF]>::try_from(half), <&mut [F; HALF]>::try_from(answers)) {
            let addresses = half.each_ref().map(address);
            put_all(answers, self.look_up_group(isa, &addresses, HALF), put);
        }
        if keys.len() <= FEW as usize {
            keys.iter().zip(found).for_each(|(key, found)| put(found, self.lookup(address(key))));
        } else {
            let mut some = [A::default(); GROUP];
            some.iter_mut().zip(keys).for_each(|(to, key)| *to = address(key));
            put_all(found, self.look_up_group(isa, &some, keys.len()), put);
        }
    }

    /// What stands for the keys, of which the first `len` are asked for.
    #[inline(always)]
    fn look_up_group<I: Isa, const N: usize>(&self, isa: I, keys: &[A; N], len: usize) -> [u32; N] {
        // Acquire: all of a change that is done is seen.
        let done = self.done.load(Acquire);
        let (mut found, mut below) = ([0; N], u32::MAX);
        if let (Some(ranges), Ok(keys)) = (self.ranges_of(), <&[A; GROUP]>::try_from(&keys[..])) {
            let mut answers = [None; GROUP];
            self.find_group(isa, ranges, keys, len, &mut answers);
            let each = found.iter_mut().zip(answers);
            each.for_each(|(to, answer)| *to = number(answer));
            return found;
        }
        if let Some(flat) = &self.flat {
            let tops = keys.map(|key| (key.high() >> 32) as u32);
            let covered;
            (below, covered) = isa.decode(flat, &tops, &mut found);
            below &= u32::MAX >> ((GROUP - len) & 31);
            // No change of short prefixes had begun that was not done at the start?
            fence(Acquire);
            if self.begun.load(Relaxed) != done {
                self.look_again(keys, covered, &mut found);
            }
        }
        if below != 0 {
            self.look_below(isa, keys, Asked { len, some: below, done }, &mut found);
        }
        found
    }

    /// Looks up addresses where there are ranges.
    #[inline(always)]
    pub(super) fn find_each<I: Isa>(
        &self, isa: I, ranges: &Ranges, keys: &[A], found: &mut [Option<NonZeroU32>],
    ) {
        let len = keys.len().min(found.len());
        let (Some(keys), Some(found)) = (keys.get(..len), found.get_mut(..len)) else { return };
        let (groups, keys) = keys.as_chunks::<GROUP>();
        let (answers, found) = found.as_chunks_mut::<GROUP>();
        // Keys are read where they stand, and answers put where they belong: a copy is stores that
        // vector loads wait for.
        for (group, answers) in groups.iter().zip(answers) {
            self.find_group(isa, ranges, group, GROUP, answers);
        }
        if keys.len() <= FEW as usize {
            keys.iter().zip(found).for_each(|(key, found)| *found = self.lookup(*key));
        } else {
            let (mut some, mut answers) = ([A::default(); GROUP], [None; GROUP]);
            some.iter_mut().zip(keys).for_each(|(to, key)| *to = *key);
            self.find_group(isa, ranges, &some, keys.len(), &mut answers);
            found.iter_mut().zip(answers).for_each(|(to, answer)| *to = answer);
        }
    }

    /// The first `len` of a group.
    #[inline(always)]
    fn find_group<I: Isa>(
        &self, isa: I, ranges: &Ranges, keys: &[A; GROUP], len: usize,
        found: &mut [Option<NonZeroU32>; GROUP],
    ) {
        // Acquire: all of a change that is done is seen.
        let done = self.done.load(Acquire);
        let Ends { below, nothing } = isa.find(ranges, keys, found);
        let asked = u32::MAX >> ((GROUP - len) & 31);
        if (below | nothing) & asked != 0 {
            let mut next = [0; GROUP];
            next.iter_mut().zip(&*found).for_each(|(to, found)| *to = number(*found));
            isa.go_all(self, keys, Asked { len, some: below & asked, done }, &mut next);
            found.iter_mut().zip(next).for_each(|(to, next)| *to = NonZeroU32::new(next));
        }
    }

    /// The whole way for some of the keys.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below N: `some` has no more bits, or all are asked for")]
    fn look_below<I: Isa, const N: usize>(&self, isa: I, keys: &[A; N], asked: Asked, found: &mut [u32; N]) {
        if asked.some.count_ones() <= FEW {
            for nth in bits(asked.some) {
                found[nth] = self.lookup_below(keys[nth]);
            }
        } else if let (Ok(keys), Ok(found)) = ((&keys[..]).try_into(), (&mut found[..]).try_into()) {
            isa.go_all(self, keys, asked, found);
        } else {
            let (mut all, mut answers) = ([A::default(); GROUP], [0; GROUP]);
            all.iter_mut().zip(keys).for_each(|(to, key)| *to = *key);
            answers.iter_mut().zip(&*found).for_each(|(to, found)| *to = *found);
            isa.go_all(self, &all, asked, &mut answers);
            found.iter_mut().zip(answers).for_each(|(to, answer)| *to = answer);
        }
    }

    /// The same, of as many keys as go together.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    pub(super) fn go_all<I: Isa>(&self, isa: I, keys: &[A; GROUP], asked: Asked, next: &mut [u32; GROUP]) {
        let Asked { len, some, done } = asked;
        let index = self.index_all(keys);
        if A::BITS > 32 && some.count_ones() <= FEW {
            for nth in bits(some) {
                next[nth] = self.lookup_below(keys[nth]);
            }
        } else {
            self.enter(isa, some, &index, next);
            // The words of a chunk were written before its index was.
            fence(Acquire);
            if A::BITS > 32 && self.open > 0 {
                self.go_down_open(isa, keys, next);
            } else {
                self.go_down(isa, keys, next);
            }
        }
        if next.iter().fold(false, |missed, next| missed | (*next == 0)) {
            self.fall_back(isa, keys, &index, next, len, done);
        }
    }

    /// One by one, those that short prefixes cover or nothing does.
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    #[inline(never)]
    fn look_again<const N: usize>(&self, keys: &[A; N], some: u32, found: &mut [u32; N]) {
        for nth in bits(some) {
            found[nth] = self.lookup_covering(keys[nth]).map_or(0, NonZeroU32::get);
        }
    }

    /// Where keys stand in the direct table.
    #[inline(always)]
    fn index_all(&self, keys: &[A; GROUP]) -> [u32; GROUP] {
        let mut index = [0; GROUP];
        let each = index.iter_mut().zip(keys);
        // A loop each, since most tables have one zone and need not look for another.
        if self.outside.is_some() {
            each.for_each(|(to, key)| *to = self.inside.index(key.high()) as u32);
        } else {
            let bits = self.inside.base();
            each.for_each(|(to, key)| *to = first_bits(*key, bits));
        }
        index
    }

    /// Puts their entries of the direct table in the place of some keys.
    #[inline(always)]
    fn enter<I: Isa>(&self, isa: I, some: u32, index: &[u32; GROUP], next: &mut [u32; GROUP]) {
        if some == u32::MAX {
            *next = fetch(isa, &self.inside.direct, index);
        } else {
            let entries = fetch(isa, &self.inside.direct, index);
            let each = next.iter_mut().zip(&entries).zip(0..);
            each.for_each(|((next, entry), nth)| *next = if some >> nth & 1 == 0 { *next } else { *entry });
        }
    }

    /// Puts what stands for the keys at the end of their ways in the place of what is a chunk
    /// of the first level: a pass over the keys for each level.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    fn go_down<I: Isa>(&self, isa: I, keys: &[A; GROUP], next: &mut [u32; GROUP]) {
        let (mut slots, mut best, mut at) = ([0; GROUP], [0; GROUP], self.inside.base());
        loop {
            let on = chunks(next);
            if at >= A::BITS || on.count_ones() <= FEW {
                for nth in bits(on) {
                    next[nth] = self.descend(next[nth], best[nth], keys[nth], at);
                }
                break;
            }
            let each = slots.iter_mut().zip(keys);
            if at <= FIRST || A::BITS <= 64 {
                each.for_each(|(to, key)| *to = (key.high() << (at & 63) >> 58) as u32);
            } else {
                each.for_each(|(to, key)| *to = slot(*key, at) as u32);
            }
            let halves = next.as_chunks_mut().0.iter_mut().zip(best.as_chunks_mut().0);
            for ((next, best), slots) in halves.zip(slots.as_chunks().0) {
                isa.pass(&self.lines, slots, next, best);
            }
            at += STRIDE;
        }
        let each = next.iter_mut().zip(&best);
        each.for_each(|(next, best)| *next = if *next == 0 { *best } else { *next });
    }

    /// The same where there are open chunks: through these at once, to one of another kind, which
    /// is the last for most keys.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    fn go_down_open<I: Isa>(&self, isa: I, keys: &[A; GROUP], next: &mut [u32; GROUP]) {
        let (first, mut at) = (*next, [self.inside.base(); GROUP]);
        let on = chunks(next);
        if on.count_ones() > FEW {
            let high = core::array::from_fn(|nth| keys[nth].high());
            isa.pass_open(&self.lines, self.open, &high, next, &mut at);
        }
        for nth in bits(chunks(next)) {
            next[nth] = self.descend(next[nth], 0, keys[nth], at[nth]);
        }
        let missed = next.iter().zip(0..).fold(0u32, |bits, (next, nth)| bits | u32::from(*next == 0) << nth);
        if missed & on != 0 {
            self.cover(keys, missed & on, &first, next);
        }
    }

    /// One by one, those for which the last chunk has nothing: what covers open chunks on their
    /// way was left out.
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    #[inline(never)]
    fn cover(&self, keys: &[A; GROUP], some: u32, first: &[u32; GROUP], found: &mut [u32; GROUP]) {
        for nth in bits(some) {
            found[nth] = self.descend_covered(first[nth], keys[nth], self.inside.base());
        }
    }

    /// Answers for the keys that found nothing at the end of their way: `index` is where they
    /// stand in the direct table.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below GROUP: see `bits`")]
    fn fall_back<I: Isa>(
        &self, isa: I, keys: &[A; GROUP], index: &[u32; GROUP], found: &mut [u32; GROUP], len: usize,
        done: u32,
    ) {
        let each = found.iter().zip(0..).take(len);
        let missed = each.fold(0u32, |bits, (found, nth)| bits | u32::from(*found == 0) << nth);
        let mut cells = *index;
        cells.iter_mut().for_each(|cell| *cell >>= (self.inside.bits - self.inside.short) & 31);
        fetch_missing(isa, &self.inside.short_values, &cells, found);
        // Those that are at a chunk of the other zone.
        let mut deep = 0;
        if let Some(zone) = &self.outside {
            let index: [u32; GROUP] = core::array::from_fn(|nth| {
                let there = zone.index(keys[nth].high()) as u32;
                if self.inside.has(index[nth] as usize) { 1 << (zone.bits & 31) } else { there }
            });
            let mut entries = fetch(isa, &zone.direct, &index);
            found.iter_mut().zip(&entries).for_each(|(found, entry)| *found |= *entry);
            entries
                .iter_mut()
                .zip(index)
                .for_each(|(cell, at)| *cell = at >> ((zone.bits - zone.short) & 31));
            fetch_missing(isa, &zone.short_values, &entries, found);
            deep = chunks(found) & missed;
        }
        // No change of short prefixes had begun that was not done at the start?
        if self.begun.load(Relaxed) != done {
            deep = missed;
        }
        self.look_again(keys, deep, found);
    }
}

/// Which of a group's keys are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The first so many; others are of no meaning.
    pub(super) len: usize,
    /// A bit for each of them that is not answered yet.
    pub(super) some: u32,
    /// The changes of short prefixes that were done at the start.
    pub(super) done: u32,
}

#[inline(always)]
fn put_all<F, const N: usize>(to: &mut [F], answers: [u32; N], put: impl Fn(&mut F, Option<NonZeroU32>)) {
    to.iter_mut().zip(answers).for_each(|(to, answer)| put(to, NonZeroU32::new(answer)));
}

/// 0 for nothing.
#[inline(always)]
pub(super) fn number(found: Option<NonZeroU32>) -> u32 {
    match found {
        Some(found) => found.get(),
        None => 0,
    }
}

/// So many of the top bits of a key, at most 32.
#[inline(always)]
fn first_bits<A: Address>(key: A, count: u32) -> u32 {
    // Narrow keys stay narrow: twice as many are in a register.
    if A::BITS == 32 { key.top(count) as u32 } else { (key.high() >> ((64 - count) & 63)) as u32 }
}

/// A bit for each that is a chunk.
#[inline(always)]
fn chunks(next: &[u32; GROUP]) -> u32 {
    const { assert!(CHILD == 1 << 31) };
    next.iter().zip(0..).fold(0, |bits, (next, nth)| bits | (next >> 31) << nth)
}

#[inline(always)]
fn fetch<I: Isa>(isa: I, entries: &[AtomicU32], index: &[u32; GROUP]) -> [u32; GROUP] {
    let mut found = [0; GROUP];
    for (found, index) in found.as_chunks_mut().0.iter_mut().zip(index.as_chunks().0) {
        *found = isa.fetch(entries, index);
    }
    found
}

#[inline(always)]
fn fetch_missing<I: Isa>(isa: I, cells: &[AtomicU64], index: &[u32; GROUP], found: &mut [u32; GROUP]) {
    for (found, index) in found.as_chunks_mut().0.iter_mut().zip(index.as_chunks().0) {
        isa.fetch_missing(cells, index, found);
    }
}

/// The numbers of the bits that are set.
#[inline(always)]
fn bits(mut bits: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let nth = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (nth < GROUP).then_some(nth)
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::simd::Machine;
    use super::super::{Form, Prefix, PrefixTrie};
    use super::*;

    /// Batches of any length and single lookups of a table with short prefixes, deep ones,
    /// large values, and keys of both zones, on all machines, against a scan.
    fn tried<A: Address>(form: Form, spread: u32, make: impl Fn(u64) -> A) {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 16
        };
        let mut key = |near: u32| {
            // Few different first bits, then any.
            let first = make((next() % 13) << (64 - spread)).masked(near);
            first.with(make(next() << 16), near)
        };
        let mut prefixes = Vec::new();
        for nth in 0..900u32 {
            let len = [3, 9, 14, 18, 21, 24, 24, 29, A::BITS][nth as usize % 9].min(A::BITS);
            let value = 1 + nth * [1, 1, 300_000, 7][nth as usize / 10 % 4];
            prefixes.extend(
                Prefix::new(key([spread, len.saturating_sub(3), A::BITS][nth as usize % 3]), len)
                    .map(|prefix| (prefix, value)),
            );
        }
        prefixes.sort();
        prefixes.dedup_by_key(|entry| entry.0);
        let keys: Vec<A> = (0..700)
            .map(|nth| match prefixes.get(nth) {
                Some((prefix, _)) if nth % 4 > 0 => prefix.bits().with(key(0), prefix.len()),
                _ => key([0, spread][nth % 2]),
            })
            .collect();
        let best = |key: &A| {
            let covers = prefixes.iter().filter(|(prefix, _)| prefix.covers(*key));
            NonZeroU32::new(covers.max_by_key(|(prefix, _)| prefix.len()).map_or(0, |entry| entry.1))
        };
        let expected: Vec<_> = keys.iter().map(best).collect();
        assert!(expected.iter().filter(|found| found.is_none()).count() > 20);
        let (mut read, _) = PrefixTrie::load(prefixes.iter().copied(), form).unwrap().into_halves();
        for machine in Machine::all() {
            read.machine = machine;
            let mut found = vec![None; keys.len()];
            for len in [1, 4, 5, 17, 31, 32, 33, 64, 700] {
                found.fill(NonZeroU32::new(5));
                let each = keys.chunks(len).zip(found.chunks_mut(len));
                each.for_each(|(keys, found)| read.lookup_batch(keys, found));
                assert_eq!(found, expected, "{machine:?}, batches of {len}");
            }
            assert!(keys.iter().map(|key| read.lookup(*key)).eq(expected.iter().copied()), "{machine:?}");
        }
    }

    #[test]
    fn all_machines_find_what_a_scan_finds() {
        let form = |skip, bits| Form { skip, direct_bits: Some(bits), ..Form::default() };
        for (skip, bits) in [(None, 18), (Some(0), 4), (Some(0), 11), (Some(6), 9), (Some(2), 3)] {
            tried::<u32>(form(skip, bits), 12, |bits| (bits >> 32) as u32);
            tried::<u64>(form(skip, bits), 12, |bits| bits);
            tried::<u128>(form(skip, bits), 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 7);
            let open = Form { open: Some(true), ..form(skip, bits) };
            tried::<u64>(open, 12, |bits| bits);
            tried::<u128>(open, 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 7);
            let flat = Form { flat: Some(true), skip: Some(0), ..form(skip, bits) };
            tried::<u32>(flat, 12, |bits| (bits >> 32) as u32);
            tried::<u128>(flat, 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 7);
            let both = Form { open: Some(true), ..flat };
            tried::<u128>(both, 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 7);
            for open in [false, true] {
                let ranges = Form { ranges: Some(true), open: Some(open), skip: Some(0), ..form(skip, bits) };
                tried::<u64>(ranges, 12, |bits| bits);
                tried::<u128>(ranges, 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 7);
                tried::<u128>(ranges, 12, |bits| u128::from(bits) << 64 | u128::from(bits) << 37);
            }
        }
    }
}
