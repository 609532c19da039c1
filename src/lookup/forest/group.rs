//! Leaf blocks: eight filters, field by field, in five cache lines.
//!
//! What all eight have of a field stands together, so that a vector instruction compares
//! eight at once. Rank and value share the fifth line; the order among equal ranks, which
//! is seldom asked for, stands in an array of its own.
//!
//! A reader may read `fields` as plain memory: they are written while no slot leads to the
//! group, and a slot is stored with release after that. Ranks and values may change under
//! readers, by single stores.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64, fence};

use super::rule::Rule;

/// Filters of a group.
pub(super) const WIDE: usize = 8;

/// Words of 64 bits.
pub(super) const WORDS: usize = 32;

/// Where the fields begin, in words, and how many lanes of what width they have:
///
/// | words | lanes | what |
/// |---|---|---|
/// | 0, 4 | 8 of 32 bits | value and mask of bits 0 to 31 |
/// | 8, 12 | 8 of 32 bits | value and mask of bits 32 to 63 |
/// | 16, 18 | 8 of 16 bits | value and mask of bits 96 to 111 |
/// | 20, 22, 24 | 8 of 16 bits | mask, low end and span of bits 64 to 79 |
/// | 26, 28, 30 | 8 of 16 bits | the same of bits 80 to 95 |
///
/// A 16-bit field that may have a range matches if `(key & mask) - low <= span`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Group {
    pub(super) fields: [AtomicU64; WORDS],
    ranks: [AtomicU32; WIDE],
    values: [AtomicU32; WIDE],
}

/// The order of a group's filters among equal ranks; [`GONE`] where none is.
#[derive(Debug)]
#[repr(C, align(32))]
pub(super) struct Orders([AtomicU32; WIDE]);

/// The order of a filter that was taken out, or never was.
pub(super) const GONE: u32 = u32::MAX;

/// A group to be, lane by lane.
struct Image {
    words: [[u32; WIDE]; 4],
    halves: [[u16; WIDE]; 8],
}

impl Group {
    /// Writes up to eight rules, in order of precedence. No slot may lead here.
    pub(super) fn fill(&self, orders: &Orders, rules: &[Rule]) {
        // An entry of value 1 under mask 0 matches nothing.
        let mut image = Image { words: [[1; WIDE], [0; WIDE], [0; WIDE], [0; WIDE]], halves: [[0; WIDE]; 8] };
        for (at, rule) in rules.iter().enumerate().take(WIDE) {
            image.set(at, rule);
        }
        let wide = image.words.iter().flat_map(|lanes| {
            lanes.as_chunks::<2>().0.iter().map(|[a, b]| u64::from(*a) | u64::from(*b) << 32)
        });
        let half = image.halves.iter().flat_map(|lanes| {
            lanes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|lanes| lanes.iter().rev().fold(0, |word, lane| word << 16 | u64::from(*lane)))
        });
        for (field, word) in self.fields.iter().zip(wide.chain(half)) {
            field.store(word, Relaxed);
        }
        let mut rules = rules.iter();
        for ((rank, value), order) in self.ranks.iter().zip(&self.values).zip(&orders.0) {
            let rule = rules.next();
            rank.store(rule.map_or(u32::MAX, |rule| rule.rank), Relaxed);
            value.store(rule.map_or(0, |rule| rule.word), Relaxed);
            order.store(rule.map_or(GONE, |rule| rule.order), Relaxed);
        }
    }

    /// The rules that are in it and in `bits`, in order of precedence.
    pub(super) fn rules(&self, orders: &Orders, bits: u32) -> impl Iterator<Item = Rule> {
        (0..WIDE).filter(move |at| bits >> at & 1 != 0).filter_map(|at| self.rule(orders, at))
    }

    /// How many rules are in it.
    pub(super) fn len(orders: &Orders) -> usize {
        orders.0.iter().filter(|order| order.load(Relaxed) != GONE).count()
    }

    /// The same filter as `rule`, as it is here.
    pub(super) fn find(&self, orders: &Orders, rule: &Rule) -> Option<Rule> {
        let ranks = self.ranks.iter().enumerate().filter(|(_, rank)| rank.load(Relaxed) == rule.rank);
        ranks.filter_map(|(at, _)| self.rule(orders, at)).find(|other| other.same(rule))
    }

    /// Replaces the value of the rule of that place, in one store.
    pub(super) fn replace(&self, orders: &Orders, order: u32, word: u32) {
        for (value, at) in self.values.iter().zip(&orders.0) {
            if at.load(Relaxed) == order {
                value.store(word, Release);
            }
        }
    }

    /// Takes a rule out where there is no memory for a group without it: a reader that
    /// meets it goes on to the next.
    pub(super) fn bury(&self, orders: &Orders, order: u32) {
        for (rank, at) in self.ranks.iter().zip(&orders.0) {
            if at.load(Relaxed) == order {
                at.store(GONE, Relaxed);
                // Release: who sees the rank sees the order.
                rank.store(u32::MAX, Release);
            }
        }
    }

    /// The rank of an entry.
    #[inline(always)]
    pub(super) fn rank(&self, at: usize) -> u32 {
        self.ranks.get(at).map_or(u32::MAX, |rank| rank.load(Relaxed))
    }

    /// Rank and order of an entry; `None` if it was taken out.
    pub(super) fn precedence(&self, orders: &Orders, at: usize) -> Option<(u32, u32)> {
        let rank = self.rank(at);
        fence(Acquire);
        let order = orders.0.get(at)?.load(Relaxed);
        (order != GONE).then_some((rank, order))
    }

    /// The value of an entry.
    #[inline(always)]
    pub(super) fn value(&self, at: usize) -> u32 {
        self.values.get(at).map_or(0, |value| value.load(Acquire))
    }

    /// The entry as it was set.
    fn rule(&self, orders: &Orders, at: usize) -> Option<Rule> {
        let (rank, order) = self.precedence(orders, at)?;
        let word = |from: usize| (self.field(from + at / 2) >> (32 * (at % 2))) as u32;
        let half = |from: usize| (self.field(from + at / 4) >> (16 * (at % 4))) as u16;
        let join =
            |low: u32, high: u32, top: u16| u128::from(low) | u128::from(high) << 32 | u128::from(top) << 96;
        let mut rule = Rule {
            value: join(word(0), word(8), half(16)),
            mask: join(word(4), word(12), half(18)),
            ranges: [(0, u16::MAX); 2],
            rank,
            order,
            word: self.value(at),
        };
        for (range, (from, shift)) in rule.ranges.iter_mut().zip([(20, 64), (26, 80)]) {
            let (mask, low, span) = (half(from), half(from + 2), half(from + 4));
            if span == 0 {
                rule.value |= u128::from(low) << shift;
                rule.mask |= u128::from(mask) << shift;
            } else {
                *range = (low, low + span);
            }
        }
        Some(rule)
    }

    #[inline(always)]
    fn field(&self, at: usize) -> u64 {
        self.fields.get(at).map_or(0, |field| field.load(Relaxed))
    }

    /// Bit i: whether the key matches entry i. Plain words, for every machine.
    #[inline(always)]
    pub(super) fn scan(&self, key: &[u64; 2]) -> u32 {
        let [low, high] = *key;
        let twice = |half: u64| half << 32 | half;
        let (destination, source) = (twice(low & 0xffff_ffff), twice(low >> 32));
        let top = (high >> 32 & 0xffff) * 0x0001_0001_0001_0001;
        let mut bits = 0;
        for at in 0..WIDE / 2 {
            let miss = (destination & self.field(4 + at) ^ self.field(at))
                | (source & self.field(12 + at) ^ self.field(8 + at));
            bits |= u32::from(miss as u32 == 0) << (2 * at) | u32::from(miss >> 32 == 0) << (2 * at + 1);
        }
        // The rest of those that are left: seldom more than one or two.
        let tops = [top & self.field(18) ^ self.field(16), top & self.field(19) ^ self.field(17)];
        let mut left = bits;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let half = |from: usize| (self.field(from + at / 4) >> (16 * (at % 4))) as u16;
            let within = |from: usize, key: u64| {
                (key as u16 & half(from)).wrapping_sub(half(from + 2)) <= half(from + 4)
            };
            let top = tops.get(at / 4).map_or(0, |tops| (tops >> (16 * (at % 4))) as u16);
            if top != 0 || !within(20, high) || !within(26, high >> 16) {
                bits &= !(1 << at);
            }
        }
        bits
    }
}

impl Image {
    fn set(&mut self, at: usize, rule: &Rule) {
        let [low, low_mask, high, high_mask] = &mut self.words;
        let [top, top_mask, ports @ ..] = &mut self.halves;
        for (lanes, word) in [
            (low, rule.value as u32),
            (low_mask, rule.mask as u32),
            (high, (rule.value >> 32) as u32),
            (high_mask, (rule.mask >> 32) as u32),
        ] {
            if let Some(lane) = lanes.get_mut(at) {
                *lane = word;
            }
        }
        let [first, second] = rule.ranges.map(|(low, high)| (low, high - low));
        let field = |(low, span): (u16, u16), shift: u32| match span {
            u16::MAX => [(rule.mask >> shift) as u16, (rule.value >> shift) as u16, 0],
            span => [u16::MAX, low, span],
        };
        let fields = field(first, 64).into_iter().chain(field(second, 80));
        let tops = [top, top_mask].into_iter().zip([(rule.value >> 96) as u16, (rule.mask >> 96) as u16]);
        for (lanes, half) in tops.chain(ports.iter_mut().zip(fields)) {
            if let Some(lane) = lanes.get_mut(at) {
                *lane = half;
            }
        }
    }
}
