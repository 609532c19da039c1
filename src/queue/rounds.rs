//! A ring of rounds: who is served in this round, and who in one of the rounds to come.
//!
//! L. Lenzini, E. Mingozzi, G. Stea, "Aliquem: a novel DRR implementation to achieve better
//! latency and fairness at O(1) complexity", IWQoS 2002; "Tradeoffs between low complexity,
//! low latency, and fairness with deficit round-robin schedulers", IEEE/ACM Trans. Networking
//! 12(4), 2004. Who needs the credit of `k` rounds stands in the list of the round that is `k`
//! ahead, and a bitmap says which of the lists are empty: no round is gone through in vain.
//!
//! ```text
//! lines of 16 words:  lists, a first and a last place each
//!                     a bit for each list that is not empty
//!                     blocks: 13 numbers | list | next block | block before
//! ```
//!
//! A list is a chain of blocks and not a chain of queues, so that who comes next can be
//! fetched long before its turn, and so that nobody but who is put in a list is touched.

use crate::arch::prefetch;

const NONE: u32 = u32::MAX;

/// Words of a line.
const WORDS: u32 = 16;
/// Numbers in a block, and what follows them.
const WIDE: u32 = 13;
const LIST: u32 = 13;
const NEXT: u32 = 14;
const BEFORE: u32 = 15;

/// The fewest and the most rounds of a ring.
pub(super) const FEWEST: u32 = 64;
pub(super) const MOST: u32 = 4096;

/// A cache line of a scheduler's lists: see [`lines`](super::lines).
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Line([u32; WORDS as usize]);

impl Line {
    /// In no list.
    pub const NEW: Self = Self([NONE; WORDS as usize]);
}

/// The rounds ahead that a ring must tell apart, if a round may earn as little as `unit` and
/// up to `longest` are needed; `None` if they are too many.
pub(super) const fn rounds(unit: u32, longest: u32) -> Option<u32> {
    if unit == 0 {
        return None;
    }
    let most = longest.div_ceil(unit);
    if most >= MOST {
        return None;
    }
    let rounds = (most + 1).next_power_of_two();
    Some(if rounds < FEWEST { FEWEST } else { rounds })
}

/// Lines of the lists and of the bitmap of a ring.
pub(super) const fn ring_lines(rounds: u32) -> usize {
    (rounds / 8) as usize + rounds.div_ceil(512) as usize
}

/// Lines of the blocks that hold up to `members` of `rings` rings.
///
/// Of a list's first block some places may be used up, in the round that is served only; of
/// its last some may be free.
pub(super) const fn block_lines(members: usize, rings: usize, rounds: u32) -> usize {
    let lists = rings.saturating_mul(rounds as usize);
    let lists = if lists < members { lists } else { members };
    members.div_ceil(WIDE as usize) + lists + rings
}

/// The memory of some rings: their lists and bitmaps, and blocks for all of them.
pub(super) struct Lines<'a> {
    pub(super) lines: &'a mut [Line],
    /// The first block that is free; each leads to another.
    pub(super) free: &'a mut u32,
}

impl Lines<'_> {
    #[inline(always)]
    fn read(&self, place: u32) -> u32 {
        read(self.lines, place)
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "below 16 by a remainder: nothing is checked")]
    fn write(&mut self, place: u32, word: u32) {
        if let Some(line) = self.lines.get_mut((place / WORDS) as usize) {
            line.0[(place % WORDS) as usize] = word;
        }
    }

    /// Makes all lines from `first` on blocks that are free.
    pub(super) fn begin(&mut self, first: usize) {
        self.lines.fill(Line::NEW);
        let last = u32::try_from(self.lines.len()).unwrap_or(NONE).min(NONE / WORDS);
        for line in (first as u32..last).rev() {
            self.give_back(line * WORDS);
        }
    }

    /// The first place of another block of a list, whose last place is the end of a block or
    /// [`NONE`]. There is one: [`block_lines`] are enough.
    #[inline(always)]
    fn extend(&mut self, last: u32, list: u32) -> u32 {
        let next = *self.free;
        *self.free = self.read(next | NEXT);
        self.write(next | LIST, list);
        if last != NONE {
            self.write(block(last) | NEXT, next);
            self.write(next | BEFORE, block(last));
        }
        next
    }

    #[inline(always)]
    fn give_back(&mut self, block: u32) {
        self.write(block | NEXT, *self.free);
        *self.free = block;
    }
}

#[inline(always)]
fn read(lines: &[Line], place: u32) -> u32 {
    word(lines, place).unwrap_or(NONE)
}

#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "below 16 by a remainder: nothing is checked")]
fn word(lines: &[Line], place: u32) -> Option<u32> {
    Some(lines.get((place / WORDS) as usize)?.0[(place % WORDS) as usize])
}

/// The block that a place is in.
#[inline(always)]
const fn block(place: u32) -> u32 {
    place & !(WORDS - 1)
}

/// A ring. Its members are numbers, of queues say, each in one list at most; who puts one in
/// keeps its place, and gives it to nobody else's ring.
///
/// Where a round earns the longest packet nobody is put further than one round ahead. So the list of
/// the round that is served and that of the next are held here, and in memory and in the bitmap
/// these two are empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    now: u32,
    /// The list of the round that is served: no more come into it.
    serving: Serving,
    next: List,
    /// Lists, less one.
    mask: u32,
    /// The word of the first list.
    lists: u32,
    /// A bit for each 64 lists: whether one of them has members.
    some: u64,
}

/// The first and the last place of a list, [`NONE`] if it is empty.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

/// A list from which members are taken.
#[derive(Clone, Copy, Debug)]
struct Serving {
    list: List,
    /// The last place in the block of the first one.
    stop: u32,
}

impl Serving {
    #[inline(always)]
    const fn new(list: List) -> Self {
        let ends = block(list.first) | (WIDE - 1);
        let stop = if block(list.first) == block(list.last) { list.last } else { ends };
        Self { list, stop }
    }
}

impl Ring {
    /// A ring without members, whose lines begin at `line`.
    pub(super) const fn new(rounds: u32, line: usize) -> Self {
        let (serving, next) = (Serving::new(List::EMPTY), List::EMPTY);
        Self { now: 0, serving, next, mask: rounds - 1, lists: line as u32 * WORDS, some: 0 }
    }

    /// Writes the lists and the bitmap of a ring without members.
    pub(super) fn begin(&self, lines: &mut Lines<'_>) {
        for word in 0..2 * (self.mask + 1) {
            lines.write(self.lists + word, NONE);
        }
        for word in 0..(self.mask + 1) / 32 {
            lines.write(self.bits() + word, 0);
        }
    }

    /// The word of the bitmap.
    #[inline(always)]
    const fn bits(&self) -> u32 {
        self.lists + 2 * (self.mask + 1)
    }

    /// How many rounds ahead the list of a place is.
    #[inline(always)]
    pub(super) fn ahead(&self, lines: &Lines<'_>, place: u32) -> u32 {
        lines.read(block(place) | LIST).wrapping_sub(self.now) & self.mask
    }

    /// Puts a member at the end of the list `ahead` rounds ahead, and says where.
    #[inline(always)]
    pub(super) fn put(&mut self, lines: &mut Lines<'_>, ahead: u32, member: u32) -> u32 {
        if ahead != 1 {
            return self.put_far(lines, ahead, member);
        }
        let last = self.next.last;
        let place = if last % WORDS < WIDE - 1 {
            last + 1
        } else {
            let place = lines.extend(last, (self.now + 1) & self.mask);
            if last == NONE {
                self.next.first = place;
            }
            place
        };
        self.next.last = place;
        lines.write(place, member);
        place
    }

    /// [`put`](Self::put) in a list that is in memory.
    #[inline(always)]
    fn put_far(&mut self, lines: &mut Lines<'_>, ahead: u32, member: u32) -> u32 {
        let list = (self.now + ahead) & self.mask;
        let header = self.lists + 2 * list;
        let last = lines.read(header + 1);
        let place = if last % WORDS < WIDE - 1 {
            last + 1
        } else {
            let place = lines.extend(last, list);
            if last == NONE {
                lines.write(header, place);
                self.mark(lines, list);
            }
            place
        };
        lines.write(header + 1, place);
        lines.write(place, member);
        place
    }

    /// Takes the first of this round or, when that is over, of the next that has members.
    #[inline(always)]
    pub(super) fn pop(&mut self, lines: &mut Lines<'_>) -> Option<u32> {
        let first = self.serving.list.first;
        if first < self.serving.stop {
            self.serving.list.first = first + 1;
            return word(lines.lines, first);
        }
        self.pop_last(lines)
    }

    /// [`pop`](Self::pop) where the first of this round is the last of its block, or where there
    /// is none.
    #[inline(always)]
    fn pop_last(&mut self, lines: &mut Lines<'_>) -> Option<u32> {
        if self.serving.list.first == NONE {
            self.advance(lines)?;
        }
        let first = self.serving.list.first;
        let member = word(lines.lines, first)?;
        if first == self.serving.stop {
            let list = &mut self.serving.list;
            list.first = if first == list.last { NONE } else { lines.read(block(first) | NEXT) };
            lines.give_back(block(first));
            self.serving = Serving::new(*list);
        } else {
            self.serving.list.first = first + 1;
        }
        Some(member)
    }

    /// Goes on to the next round that has members.
    #[inline(always)]
    fn advance(&mut self, lines: &mut Lines<'_>) -> Option<()> {
        let list = if self.next.first != NONE {
            self.now = (self.now + 1) & self.mask;
            self.next
        } else {
            self.now = self.after(lines.lines, self.now)?;
            self.take(lines, self.now)
        };
        self.serving = Serving::new(list);
        self.next = if self.some == 0 { List::EMPTY } else { self.take(lines, (self.now + 1) & self.mask) };
        Some(())
    }

    /// Takes a list out of memory.
    #[inline(always)]
    fn take(&mut self, lines: &mut Lines<'_>, list: u32) -> List {
        let header = self.lists + 2 * list;
        let (first, last) = (lines.read(header), lines.read(header + 1));
        if first != NONE {
            self.clear(lines, list);
        }
        List { first, last }
    }

    /// Takes out whoever is at a place. The last of its list takes the place over: who that
    /// is, if it is another.
    pub(super) fn remove(&mut self, lines: &mut Lines<'_>, place: u32) -> Option<u32> {
        let list = lines.read(block(place) | LIST) & self.mask;
        let (header, ahead) = (self.lists + 2 * list, list.wrapping_sub(self.now) & self.mask);
        let List { first, last } = match ahead {
            0 => self.serving.list,
            1 => self.next,
            _ => List { first: lines.read(header), last: lines.read(header + 1) },
        };
        let member = lines.read(last);
        lines.write(place, member);
        let mut left = List { first, last: last.wrapping_sub(1) };
        if last == first {
            lines.give_back(block(last));
            left = List::EMPTY;
        } else if last.is_multiple_of(WORDS) {
            left.last = lines.read(last | BEFORE) | (WIDE - 1);
            lines.give_back(last);
        }
        match (ahead, left.first) {
            (0, _) => self.serving = Serving::new(left),
            (1, _) => self.next = left,
            (_, NONE) => self.clear(lines, list),
            _ => lines.write(header + 1, left.last),
        }
        (place != last).then_some(member)
    }

    /// Those who come next, in order, beginning with who [`pop`](Self::pop) gives: for hints.
    #[inline(always)]
    pub(super) fn upcoming(self, lines: &[Line]) -> Upcoming<'_> {
        Upcoming { lines, ring: self, list: self.now, at: self.serving.list }
    }

    /// The list after `list`, in the order of rounds, that has members in memory.
    #[inline(always)]
    fn after(&self, lines: &[Line], list: u32) -> Option<u32> {
        let word = list / 64;
        let later = self.word(lines, word) & (u64::MAX - 1) << (list % 64);
        if later != 0 {
            return Some(word * 64 + later.trailing_zeros());
        }
        let words = self.some & (u64::MAX - 1) << word;
        let words = if words != 0 { words } else { self.some };
        if words == 0 {
            return None;
        }
        let word = words.trailing_zeros();
        Some(word * 64 + self.word(lines, word).trailing_zeros() % 64)
    }

    /// 64 bits of the bitmap.
    #[inline(always)]
    fn word(&self, lines: &[Line], word: u32) -> u64 {
        let place = self.bits() + 2 * word;
        u64::from(read(lines, place)) | u64::from(read(lines, place + 1)) << 32
    }

    #[inline(always)]
    fn mark(&mut self, lines: &mut Lines<'_>, list: u32) {
        let place = self.bits() + list / 32;
        lines.write(place, lines.read(place) | 1 << (list % 32));
        self.some |= 1 << (list / 64);
    }

    /// The list has no members any more.
    #[inline(always)]
    fn clear(&mut self, lines: &mut Lines<'_>, list: u32) {
        let header = self.lists + 2 * list;
        lines.write(header, NONE);
        lines.write(header + 1, NONE);
        let place = self.bits() + list / 32;
        lines.write(place, lines.read(place) & !(1 << (list % 32)));
        let left = self.word(lines.lines, list / 64) != 0;
        self.some &= !(u64::from(!left) << (list / 64));
    }
}

/// See [`Ring::upcoming`].
pub(super) struct Upcoming<'a> {
    lines: &'a [Line],
    ring: Ring,
    list: u32,
    at: List,
}

impl Upcoming<'_> {
    /// Starts fetching the block after that of who comes next, or the block of who does.
    #[inline(always)]
    pub(super) fn fetch_block(&self) {
        let List { first, last } = self.at;
        let next = if block(first) == block(last) {
            self.ring.next.first
        } else {
            read(self.lines, block(first) | NEXT)
        };
        if let Some(line) = self.lines.get((next / WORDS) as usize) {
            prefetch(line);
        }
    }
}

impl Iterator for Upcoming<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.at.first == NONE {
            self.at = core::mem::replace(&mut self.ring.next, List::EMPTY);
        }
        if self.at.first == NONE {
            self.list = self.ring.after(self.lines, self.list)?;
            let header = self.ring.lists + 2 * self.list;
            self.at = List { first: read(self.lines, header), last: read(self.lines, header + 1) };
        }
        let at = self.at.first;
        self.at.first = if at == self.at.last {
            NONE
        } else if at % WORDS == WIDE - 1 {
            read(self.lines, block(at) | NEXT)
        } else {
            at + 1
        };
        Some(read(self.lines, at))
    }
}
