//! What a table is made for, and why an update was refused.

use super::address::{Address, FIRST, Prefix};
use super::block::{OPEN_ORDER, UNIT_WORDS};
use super::chunk::STRIDE;
use super::{flat, ranges};

/// Values are 1 to 2^31 - 1. They take two octets a run where those of 64 neighbours are
/// within 2^16 of each other, else four.
pub const MOST_VALUE: u32 = u32::MAX >> 1;

/// The most bits that a direct table stands for: 4 MiB for lookups, 8 for updates.
pub(super) const MOST_BITS: u32 = 20;

/// A table that is not told so has codes for its first two levels if it has at least so many
/// prefixes, and no more bits than these: 16 MiB. With fewer, what lookups read is mostly in
/// the near caches anyway.
const FLAT_FROM: usize = 1 << 17;
const FLAT_BITS: u32 = 18;

/// A table that is not told so has open chunks if it has at least so many prefixes; octets of
/// them a prefix; and on the last level that has them a chunk for so many prefixes.
const OPEN_FROM: usize = 1 << 14;
const OPEN_OCTETS: usize = 32;
const OPEN_LAST: usize = 256;

/// A table that is not told so has ranges if it has at least so many prefixes.
const RANGES_FROM: usize = 1 << 14;

/// The most levels of chunks: 128 bits, 6 at a time.
pub(super) const LEVELS: usize = 22;

/// Form, size and limits of a table. What is left out follows from the prefixes it is
/// made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Form {
    /// Bits of an address that the direct table stands for, 2 to 20: 12 octets for each
    /// value of them.
    pub direct_bits: Option<u32>,
    /// Top bits of an address that prefixes have in common; 0 to 40. Prefixes without
    /// them are slower to look up.
    pub skip: Option<u32>,
    /// Whether most lookups shall find their answer in one line: 64 octets more for each entry
    /// of the direct table. That is for prefixes of up to six bits more than the direct
    /// table's, most of which have one of 254 values; other lookups touch two lines more. Not
    /// where `skip` is above 0, or where `bound` has no room for those two. Left out, it is
    /// so for 131,072 prefixes and more, of which seven eighths are such, unless
    /// `direct_bits` is said.
    pub flat: Option<bool>,
    /// Whether chunks that lead to others shall have a word for each of their slots, down to the
    /// bit 58 of an address: lookups of many levels take a sixth to a third less time, and such a chunk
    /// 256 octets instead of 32 to 512. A lookup of what nothing longer covers touches one line more
    /// for each. Not for addresses of 32 bits, or where `bound` has no room for those lines. Left out, it is so for
    /// 16,384 prefixes and more, on as many levels as take no more than 32 octets a prefix.
    pub open: Option<bool>,
    /// Whether what lookups read shall stand a second time as ranges: little more than half the time of a lookup in
    /// an Internet table of IPv6, for 4 octets more for each value of the direct bits and 25 a prefix. An update
    /// takes longer the more lines of ranges its prefix covers, some 0.1 us each. A lookup touches 13 lines of them at
    /// most, and the others besides if it must. Not for addresses of 32 bits, where `skip` is above 0 or codes
    /// are, or where `bound` has no room for those 13. Left out, it is so for 16,384 prefixes and more.
    pub ranges: Option<bool>,
    /// Prefixes to reserve memory for, beyond those that the table is made of: 64 octets of
    /// chunks each for addresses of 32 bits, 160 for those of 128. What comes after as much
    /// has gone needs no room to spare. 0 is for who cannot say: some 80 KB are reserved.
    pub spare: usize,
    /// Octets of removed memory that may wait for readers; by default a 16th of the whole.
    pub waiting: Option<usize>,
    /// The most prefixes that are accepted.
    pub most: usize,
    /// The most cache lines that a lookup may touch: prefixes of up to
    /// 20 + 6 * n bits fit within 2 + n lines.
    pub bound: u32,
}

impl Form {
    /// The fewest lines a lookup: nothing is there a second time.
    pub fn plain() -> Self {
        Self { flat: Some(false), open: Some(false), ranges: Some(false), ..Self::default() }
    }
}

impl Default for Form {
    fn default() -> Self {
        Self {
            direct_bits: None,
            skip: None,
            flat: None,
            open: None,
            ranges: None,
            spare: 0,
            waiting: None,
            most: usize::MAX,
            bound: u32::MAX,
        }
    }
}

/// Why a prefix was not inserted. The table is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// Values are 1 to [`MOST_VALUE`].
    #[error("{0} is no value: 1 to 2^31 - 1 are")]
    Value(u32),
    /// As many prefixes as it may hold.
    #[error("the table holds the {0} prefixes it may hold")]
    Full(usize),
    /// Lookups would touch more cache lines than they may, whatever form the table had.
    #[error("lookups would touch {needed} cache lines, {bound} are allowed")]
    Cost {
        /// Lines that a lookup of this prefix needs at least.
        needed: u32,
        /// Lines that it may touch.
        bound: u32,
    },
    /// See [`UpdateError`]; not of a table with a single owner.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

/// Why an update of a table that has readers was put off. The table is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// Readers still look at as much removed memory as may wait for them.
    #[error("readers have not passed earlier updates yet")]
    Busy,
    /// The memory is used up, or its form does not fit any more: the owner must put a
    /// [rebuilt](super::PrefixControl::rebuilt) table in the place of this one. Free memory
    /// grows together again, so this says that the prefixes are more, or need larger chunks,
    /// than what the table was made of and [`Form::spare`], not that many came and went; or
    /// that one update copies more at once than there is room: see [`Form::waiting`].
    #[error("the table must be rebuilt with more room")]
    RebuildDue,
    /// The two halves are not of the same table.
    #[error("read side and control are not of the same table")]
    NotPaired,
}

/// Cache lines that a lookup touches at most where there are so many levels of chunks: the
/// `firsts` before them, a line of each chunk, and the cell of the short prefixes. The first
/// are the direct entry, one more where there is another zone, and those of the codes.
pub(super) fn lines(levels: u32, firsts: u32) -> u32 {
    1 + firsts + levels
}

/// Levels of chunks for a prefix of `len` bits where `base` bits stand above them.
pub(super) fn levels(len: u32, base: u32) -> u32 {
    len.saturating_sub(base).div_ceil(STRIDE)
}

/// What a lookup of a prefix costs in the form that suits prefixes of any kind best.
pub(super) fn least_lines<A: Address>(len: u32) -> u32 {
    lines(levels(len, MOST_BITS.min(A::BITS - 1)), 1)
}

pub(super) type Entry<A> = (Prefix<A>, u32);

impl Form {
    /// The top bits that all longer prefixes have in common, if that saves a level or more.
    pub(super) fn skip<A: Address>(&self, sorted: &[Entry<A>]) -> u32 {
        let long = || sorted.iter().map(|entry| entry.0).filter(|prefix| prefix.len() > 8);
        let common = match (long().next(), long().next_back()) {
            (Some(first), Some(last)) => first.bits().common(last.bits()),
            _ => 0,
        };
        let shortest = long().map(Prefix::len).min().unwrap_or(1);
        let common = common.min(shortest - 1);
        let skip = self.skip.unwrap_or(if common < 8 { 0 } else { common });
        skip.min(A::BITS - 8).min(40)
    }

    /// The number of bits from which the prefixes are the fewest chunks away, of those that
    /// need no more than some 32 octets a prefix.
    pub(super) fn bits<A: Address>(&self, skip: u32, sorted: &[Entry<A>]) -> u32 {
        let end = A::BITS - skip - 1;
        let room = (sorted.len() + self.spare).max(32).ilog2();
        let most = (room + if room < 16 { 2 } else { 3 }).min(MOST_BITS).min(end);
        let mut lengths = [0usize; 129];
        for (prefix, _) in sorted {
            if let Some(count) = lengths.get_mut(prefix.len() as usize) {
                *count += 1;
            }
        }
        let cost = |bits: u32| {
            let chunks = |len: usize| levels(len as u32, skip + bits) as usize;
            let away: usize = lengths.iter().enumerate().map(|(len, n)| n * chunks(len)).sum();
            // A bit more is worth a fifth of a chunk once the table leaves the near caches.
            away * 5 + bits.saturating_sub(16) as usize * sorted.len()
        };
        let best = (most.saturating_sub(5).max(2)..=most).min_by_key(|&bits| cost(bits));
        let longest = lengths.iter().rposition(|count| *count > 0).unwrap_or(0) as u32;
        let zones = if skip > 0 { 2 } else { 1 };
        let chosen = self.direct_bits.or(best).unwrap_or(8).clamp(2, MOST_BITS);
        let within = |bits: &u32| lines(levels(longest, skip + bits), zones) <= self.bound;
        (chosen..=MOST_BITS).find(within).unwrap_or(MOST_BITS).min(end)
    }

    /// How many prefixes must have codes for the first two levels of a table to stand in one;
    /// `None` if they must not.
    pub(super) fn codes<A: Address>(&self, bits: u32, sorted: &[Entry<A>]) -> Option<usize> {
        let longest = sorted.iter().map(|entry| entry.0.len()).max().unwrap_or(0);
        let within = lines(levels(longest, bits), 1 + flat::LINES) <= self.bound;
        let worth = self.direct_bits.is_none() && sorted.len() >= FLAT_FROM && bits <= FLAT_BITS;
        match self.flat {
            _ if !within => None,
            Some(flat) => flat.then_some(0),
            None => worth.then_some(sorted.len() - sorted.len() / 8),
        }
    }

    /// Whether a table of one zone has ranges besides.
    pub(super) fn ranges<A: Address>(&self, base: u32, sorted: &[Entry<A>], open: usize) -> bool {
        let longest = sorted.iter().map(|entry| entry.0.len()).max().unwrap_or(0);
        let levels = levels(longest, base);
        let within = lines(levels + levels.min(open as u32), 1 + ranges::LINES) <= self.bound;
        A::BITS > 32 && within && self.ranges.unwrap_or(sorted.len() >= RANGES_FROM)
    }

    /// On how many levels below the first `base` bits chunks that lead to others are open.
    pub(super) fn open<A: Address>(&self, base: u32, sorted: &[Entry<A>]) -> usize {
        let most = (FIRST.saturating_sub(base) / STRIDE) as usize;
        let longest = sorted.iter().map(|entry| entry.0.len()).max().unwrap_or(0);
        let levels = levels(longest, base);
        let within = lines(levels + levels.min(most as u32), 2 + flat::LINES) <= self.bound;
        match self.open {
            _ if A::BITS <= 32 || !within => return 0,
            Some(open) => return if open { most } else { 0 },
            None if sorted.len() < OPEN_FROM => return 0,
            None => (),
        }
        let (mut octets, mut open) = (0, 0);
        for level in 0..most {
            let count = inner(sorted, base + STRIDE * level as u32);
            octets += count * ((UNIT_WORDS * 8) << OPEN_ORDER);
            if octets > OPEN_OCTETS * sorted.len() {
                break;
            }
            open = if count >= sorted.len() / OPEN_LAST { level + 1 } else { open };
        }
        open
    }
}

/// How many chunks from bit `at` on have others below them.
fn inner<A: Address>(sorted: &[Entry<A>], at: u32) -> usize {
    let deeper = sorted.iter().map(|entry| entry.0).filter(|prefix| prefix.len() > at + STRIDE);
    let mut before = None;
    deeper.filter(|prefix| before.replace(prefix.bits().masked(at)) != Some(prefix.bits().masked(at))).count()
}
