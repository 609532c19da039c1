//! The read side: many keys at once, so that their cache lines are fetched together.

use core::num::NonZeroU32;
use core::sync::atomic::{Ordering::*, fence};

use super::address::{Address, FIRST, window};
use super::block::first;
use super::chunk::{CHILD, STRIDE};
use super::read::{PrefixRead, SHORT};
use crate::arch::prefetch;

/// Keys that are looked up together.
const GROUP: usize = 32;
const HALF: usize = GROUP / 2;

impl<A: Address> PrefixRead<A> {
    #[inline]
    pub(super) fn look_up_all(&self, keys: &[A], found: &mut [Option<NonZeroU32>]) {
        let len = keys.len().min(found.len());
        let (Some(keys), Some(found)) = (keys.get(..len), found.get_mut(..len)) else { return };
        let (groups, keys) = keys.as_chunks::<GROUP>();
        let (answers, found) = found.as_chunks_mut::<GROUP>();
        for (group, answers) in groups.iter().zip(answers) {
            self.look_up_group(group, GROUP, answers);
        }
        let (groups, keys) = keys.as_chunks::<HALF>();
        let (answers, found) = found.as_chunks_mut::<HALF>();
        for (group, answers) in groups.iter().zip(answers) {
            self.look_up_group(group, HALF, answers);
        }
        let len = keys.len();
        if len > 0 {
            let (mut some, mut answers) = ([A::default(); HALF], [Some(NonZeroU32::MIN); HALF]);
            some.iter_mut().zip(keys).for_each(|(to, key)| *to = *key);
            self.look_up_group(&some, len, &mut answers);
            found.iter_mut().zip(answers).take(len).for_each(|(to, answer)| *to = answer);
        }
    }

    /// A pass over the keys for each level: the lines of one pass are fetched while the
    /// pass before goes on.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below N by a remainder or a loop's end: nothing is checked")]
    fn look_up_group<const N: usize>(&self, keys: &[A; N], len: usize, found: &mut [Option<NonZeroU32>; N]) {
        // Acquire: all of a change that is done is seen.
        let done = self.done.load(Acquire);
        let base = self.inside.base();
        // Two loops, since most tables have one zone and need not look for another.
        if self.outside.is_none() {
            self.enter(keys, found, len, |high| (high >> ((64 - base) & 63)) as usize);
        } else {
            self.enter(keys, found, len, |high| self.inside.index(high));
        }
        // A bit for each key that is at a chunk. Not a list of them: where a list's next
        // element goes depends on the line that is waited for, and loads wait for that.
        let mut active = at_chunks(found);
        // The words of a chunk were written before its index was.
        fence(Acquire);
        let (mut at, mut deep) = (base, 0u32);
        while active != 0 && at < A::BITS {
            // Two loops, for where the bits stand is the same for all keys.
            if at <= FIRST {
                self.pass(keys, active, found, |key| key.high() << at);
            } else {
                self.pass(keys, active, found, |key| window(key, at));
            }
            active = at_chunks(found);
            // What is missed in the first chunk was not covered above it either.
            deep |= active;
            at += STRIDE;
        }
        if found.iter().fold(false, |missed, found| missed | found.is_none()) {
            self.fall_back(keys, found, len, deep, done);
        }
    }

    /// The direct table, for the first `len` keys.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below N by the loop's end: nothing is checked")]
    fn enter<const N: usize>(
        &self, keys: &[A; N], found: &mut [Option<NonZeroU32>; N], len: usize, index: impl Fn(u64) -> usize,
    ) {
        let (direct, words, base) = (&*self.inside.direct, &*self.words, self.inside.base());
        for nth in 0..len.min(N) {
            let next = direct.get(index(keys[nth].high())).map_or(0, |entry| entry.load(Relaxed));
            found[nth] = NonZeroU32::new(next);
            let window = window(keys[nth], base);
            let at = if A::BITS > SHORT { first::<true>(next, window) } else { first::<false>(next, window) };
            if let Some(word) = words.get(at) {
                prefetch(word);
            }
        }
    }

    /// One level of chunks, for the keys whose bits are set in `active`.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below N by a remainder: nothing is checked")]
    fn pass<const N: usize>(
        &self, keys: &[A; N], mut active: u32, found: &mut [Option<NonZeroU32>; N], window: impl Fn(A) -> u64,
    ) {
        while active != 0 {
            let nth = active.trailing_zeros() as usize % N;
            active &= active - 1;
            let chunk = found[nth].map_or(0, NonZeroU32::get);
            let next = self.step(chunk, window(keys[nth]));
            found[nth] = NonZeroU32::new(next);
            // Of short addresses, chunks below the first are rare.
            if A::BITS > SHORT
                && let Some(word) = self.words.get(first::<true>(next, 0))
            {
                prefetch(word);
            }
        }
    }

    /// Answers for the keys that found nothing at the end of their way. Those in `deep` went
    /// through two chunks or more: there may be something on the way.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below N: see `bits`")]
    fn fall_back<const N: usize>(
        &self, keys: &[A; N], found: &mut [Option<NonZeroU32>; N], len: usize, deep: u32, done: u32,
    ) {
        let bits = |mut bits: u32| {
            core::iter::from_fn(move || {
                let nth = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                (nth < N).then_some(nth)
            })
        };
        let each = found.iter().take(len).enumerate();
        let missed = each.fold(0u32, |missed, (nth, found)| missed | u32::from(found.is_none()) << nth);
        let mut deep = deep & missed;
        for nth in bits(missed & !deep) {
            let mut zone = &self.inside;
            let mut index = zone.index(keys[nth].high());
            if let Some(outside) = &self.outside
                && !zone.has(index)
            {
                zone = outside;
                index = zone.index(keys[nth].high());
                let entry = zone.entry(index);
                if entry != 0 {
                    found[nth] = NonZeroU32::new(entry);
                    deep |= (entry >> 31) << nth;
                    continue;
                }
            }
            found[nth] = NonZeroU32::new(zone.short_value(index) as u32);
        }
        // No change of short prefixes had begun that was not done at the start?
        if self.begun.load(Relaxed) != done {
            deep = missed;
        }
        for nth in bits(deep) {
            found[nth] = self.lookup_covering(keys[nth]);
        }
    }
}

/// A bit for each that is a chunk: its top bit.
#[inline(always)]
fn at_chunks<const N: usize>(found: &[Option<NonZeroU32>; N]) -> u32 {
    const { assert!(CHILD == 1 << 31) };
    let bit = |found: &Option<NonZeroU32>| found.map_or(0, NonZeroU32::get) >> 31;
    found.iter().zip(0..).fold(0, |bits, (found, nth)| bits | bit(found) << nth)
}
