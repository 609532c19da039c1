//! From filters to trees: which filters share one, and which bits cut.
//!
//! A node asks for some bits of one word of the key, chosen one by one for the most
//! separation. A filter that leaves a chosen bit open goes to both sides, or, where that
//! costs more, is expelled to the next tree; the last tree takes all. What few filters
//! are left is a list. Cutting is HiCuts' (P. Gupta, N. McKeown, Hot Interconnects 1999),
//! on bits rather than ranges; that filters which would be copied too often need trees of
//! their own is EffiCuts' (B. Vamanan et al., SIGCOMM 2010); that the cuts of a tree
//! should be of few selective bits, and lists the rest, CutSplit's (W. Li et al., INFOCOM
//! 2018).
//!
//! A pure function of the filters in order of precedence. Each cut lowers the sum of
//! n (1 + log2(n / 16)) over the leaves, so there are never more copies than that of all.

use alloc::vec;
use alloc::vec::Vec;

use super::block::{WIDE, WORDS};
use super::read::TREES;
use super::rule::Rule;
use super::simd::{Isa, Portable};

/// What the planner weighs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    /// Most bits of a root, and of a node.
    pub(super) root_bits: u32,
    pub(super) node_bits: u32,
    /// What a filter's expulsion to the next tree costs, at the root and below, in
    /// bits of separation.
    pub(super) eject_root: f32,
    pub(super) eject_deep: f32,
    /// What a copy costs.
    pub(super) copy: f32,
    /// log2 of the most leaves a filter may be in.
    pub(super) spread: u8,
    /// So few are scanned, not cut.
    pub(super) list: usize,
}

impl Config {
    pub(super) const DEFAULT: Self = Self {
        root_bits: 10,
        node_bits: 5,
        eject_root: 3.0,
        eject_deep: 6.0,
        copy: 0.1,
        spread: 5,
        list: 40,
    };
}

/// Most bits of any node.
pub(super) const MOST_BITS: u32 = 10;

/// A tree to be.
#[derive(Debug)]
pub(super) enum Plan {
    /// Which filters, in order of precedence.
    Leaf(Vec<u32>),
    /// Bits of the low or the high word of the key, and what each of their values leads to.
    Node { high: bool, mask: u64, children: Vec<Plan> },
}

impl Plan {
    /// Whether no filter is in it.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(list) => list.is_empty(),
            Self::Node { children, .. } => children.iter().all(Self::is_empty),
        }
    }

    /// Words, at most, and blocks of the longest leaf.
    pub(super) fn size(&self) -> (usize, usize) {
        match self {
            Self::Leaf(list) if list.is_empty() => (0, 0),
            // It begins at a line.
            Self::Leaf(list) => (list.len().div_ceil(WIDE) * WORDS + 7, list.len().div_ceil(WIDE)),
            Self::Node { children, .. } => {
                let sizes = children.iter().map(Self::size);
                let own = if children.len() < 8 { 8 } else { children.len() + 10 };
                sizes.fold((own, 0), |sum, size| (sum.0 + size.0, sum.1.max(size.1)))
            }
        }
    }

    /// Takes expelled filters out of leaves that they got into before.
    fn strip(&mut self, ejected: &[bool]) {
        match self {
            Self::Leaf(rules) => rules.retain(|&rule| !is(ejected, rule)),
            Self::Node { children, .. } => children.iter_mut().for_each(|child| child.strip(ejected)),
        }
    }
}

/// A forest: a plan for each tree.
pub(super) fn forest(config: Config, rules: &[Rule]) -> Vec<Plan> {
    let cuts: Vec<_> = rules.iter().map(Rule::cut).collect();
    let mut left: Vec<u32> = (0..rules.len() as u32).collect();
    let mut trees = Vec::new();
    while !left.is_empty() {
        if left.len() <= config.list {
            trees.push(Plan::Leaf(left));
            break;
        }
        let last = trees.len() + 2 == TREES || left.len() <= WIDE;
        let cost = (0..left.len() * 2 + 2).map(separation).collect();
        let eject = log2(left.len() as f32 / WIDE as f32).max(0.0);
        let mut planner =
            Planner { config, cuts: &cuts, ejected: vec![false; rules.len()], last, cost, eject };
        let copies = left.iter().map(|&rule| planner.copy(rule, config.spread, 0)).collect();
        let mut plan = planner.node(copies, true);
        let ejected = planner.ejected;
        plan.strip(&ejected);
        trees.push(plan);
        left.retain(|&rule| is(&ejected, rule));
    }
    trees
}

/// What takes the place of a leaf that has outgrown a group: a node if some bits part its
/// filters well, else a longer leaf. Nobody is expelled.
pub(super) fn split(rules: &[Rule]) -> Plan {
    let cuts: Vec<_> = rules.iter().map(Rule::cut).collect();
    let config = Config { copy: 0.5, ..Config::DEFAULT };
    let ejected = vec![false; rules.len()];
    let mut planner = Planner { config, cuts: &cuts, ejected, last: true, cost: Vec::new(), eject: 0.0 };
    let copies = (0..rules.len() as u32).map(|rule| planner.copy(rule, 0, 0)).collect();
    planner.node(copies, false)
}

fn is(flags: &[bool], rule: u32) -> bool {
    flags.get(rule as usize).is_some_and(|flag| *flag)
}

/// What it takes to bring `n` filters down to a leaf, in bits times filters.
fn separation(n: usize) -> f32 {
    if n <= WIDE { 0.0 } else { n as f32 * (1.0 + log2(n as f32 / WIDE as f32)) }
}

/// Near enough, and the same on every machine: `core` has no logarithm.
fn log2(x: f32) -> f32 {
    let exponent = (x.to_bits() >> 23) as f32 - 127.0;
    let fraction = f32::from_bits(x.to_bits() & 0x7f_ffff | 0x3f80_0000) - 1.0;
    exponent + fraction + 0.3437 * fraction * (1.0 - fraction)
}

/// A filter in a cell: one word of what it knows.
#[derive(Clone, Copy)]
struct Copy {
    rule: u32,
    /// log2 of how many copies it may still be split into.
    spread: u8,
    value: u64,
    known: u64,
}

struct Planner<'a> {
    config: Config,
    /// Value and mask to cut on.
    cuts: &'a [(u128, u128)],
    ejected: Vec<bool>,
    /// Nobody is expelled.
    last: bool,
    cost: Vec<f32>,
    /// What it takes to place a filter in another tree.
    eject: f32,
}

/// A choice of bits.
struct Choice {
    gain: f32,
    mask: u64,
    ejected: Vec<u32>,
}

impl Planner<'_> {
    /// A filter with the word at bit `shift` of what it knows.
    fn copy(&self, rule: u32, spread: u8, shift: u32) -> Copy {
        let (value, known) = self.cuts.get(rule as usize).copied().unwrap_or_default();
        Copy { rule, spread, value: ((value & known) >> shift) as u64, known: (known >> shift) as u64 }
    }

    fn node(&mut self, mut copies: Vec<Copy>, root: bool) -> Plan {
        copies.retain(|copy| !is(&self.ejected, copy.rule));
        let leaf = |copies: Vec<Copy>| Plan::Leaf(copies.iter().map(|copy| copy.rule).collect());
        if copies.len() <= WIDE {
            return leaf(copies);
        }
        let low = self.choose(&copies, 0, root);
        let high = self.choose(&copies, 64, root);
        let (choice, shift) = if high.gain > low.gain { (high, 64) } else { (low, 0) };
        let mask = choice.mask;
        if choice.gain <= 0.0 || mask == 0 {
            return leaf(copies);
        }
        for rule in choice.ejected {
            self.eject(rule);
        }
        let mut lists: Vec<Vec<Copy>> = vec![Vec::new(); 1 << mask.count_ones()];
        for copy in copies {
            if is(&self.ejected, copy.rule) {
                continue;
            }
            let Copy { value, known, .. } = self.copy(copy.rule, 0, shift);
            let open = (mask & !known).count_ones() as u8;
            if open > copy.spread && !self.last {
                self.eject(copy.rule);
                continue;
            }
            let copy = Copy { spread: copy.spread.saturating_sub(open), ..copy };
            let first = Portable.gather(value, mask);
            for at in subsets(Portable.gather(!known & mask, mask)) {
                if let Some(list) = lists.get_mut(first | at) {
                    list.push(copy);
                }
            }
        }
        let children = lists.into_iter().map(|list| self.node(list, false)).collect();
        Plan::Node { high: shift != 0, mask, children }
    }

    fn eject(&mut self, rule: u32) {
        if let Some(ejected) = self.ejected.get_mut(rule as usize) {
            *ejected = true;
        }
    }

    fn cost(&self, n: usize) -> f32 {
        self.cost.get(n).copied().unwrap_or_else(|| separation(n))
    }

    /// The cost behind a cut, and whether open filters are better expelled than copied.
    fn after(&self, ones: usize, zeros: usize, open: usize, eject: f32) -> (f32, bool) {
        let copied = self.cost(ones + open) + self.cost(zeros + open) + self.config.copy * open as f32;
        if self.last {
            return (copied, false);
        }
        let expelled = self.cost(ones) + self.cost(zeros) + eject * open as f32;
        if expelled < copied { (expelled, true) } else { (copied, false) }
    }

    /// Bits of the word at `shift`, chosen one by one for the most separation.
    fn choose(&self, copies: &[Copy], shift: u32, root: bool) -> Choice {
        let eject = self.eject + if root { self.config.eject_root } else { self.config.eject_deep };
        let most = if root { self.config.root_bits } else { self.config.node_bits };
        let most = most.min(copies.len().checked_ilog2().unwrap_or(0)).min(MOST_BITS);
        let cell = copies.iter().map(|copy| self.copy(copy.rule, copy.spread, shift)).collect();
        let mut cells: Vec<Vec<Copy>> = vec![cell];
        let mut choice = Choice { gain: 0.0, mask: 0, ejected: Vec::new() };
        for _ in 0..most {
            let mut gains = [0f32; 64];
            for cell in &cells {
                self.gains(cell, eject, &mut gains);
            }
            let width = if shift == 0 { 64 } else { 48 };
            let gains = (0..width).zip(gains).filter(|(bit, _)| choice.mask >> bit & 1 == 0);
            let Some((bit, gain)) = gains.max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            if gain <= 0.01 * copies.len() as f32 {
                break;
            }
            choice.mask |= 1 << bit;
            choice.gain += gain;
            let parts = cells.into_iter().flat_map(|cell| self.part(cell, bit, eject, &mut choice.ejected));
            cells = parts.filter(|cell| !cell.is_empty()).collect();
        }
        choice
    }

    /// Adds for each bit what it is worth to cut a cell there.
    fn gains(&self, cell: &[Copy], eject: f32, gains: &mut [f32; 64]) {
        let (mut ones, mut knowns, mut dead) = ([0u32; 64], [0u32; 64], [0u32; 64]);
        for copy in cell {
            let spent = u64::from(copy.spread == 0 && !self.last);
            let counts = ones.iter_mut().zip(&mut knowns).zip(&mut dead);
            for (((ones, knowns), dead), bit) in counts.zip(0..64) {
                *ones += (copy.value >> bit & 1) as u32;
                *knowns += (copy.known >> bit & 1) as u32;
                *dead += (!copy.known >> bit & spent) as u32;
            }
        }
        let now = self.cost(cell.len());
        for (((gain, ones), knowns), dead) in gains.iter_mut().zip(ones).zip(knowns).zip(dead) {
            let (ones, zeros) = (ones as usize, (knowns - ones) as usize);
            let open = cell.len() - (knowns + dead) as usize;
            *gain += now - eject * dead as f32 - self.after(ones, zeros, open, eject).0;
        }
    }

    /// The two sides of a cut.
    fn part(&self, cell: Vec<Copy>, bit: u32, eject: f32, ejected: &mut Vec<u32>) -> [Vec<Copy>; 2] {
        let may_copy = |copy: &Copy| copy.spread > 0 || self.last;
        let known = |copy: &Copy| copy.known >> bit & 1 != 0;
        let one = |copy: &Copy| copy.value >> bit & 1 != 0;
        let ones = cell.iter().filter(|copy| one(copy)).count();
        let zeros = cell.iter().filter(|copy| known(copy) && !one(copy)).count();
        let open = cell.iter().filter(|copy| !known(copy) && may_copy(copy)).count();
        let expel = self.after(ones, zeros, open, eject).1;
        let (mut zero_side, mut one_side) = (Vec::new(), Vec::new());
        for copy in cell {
            if known(&copy) {
                if one(&copy) { one_side.push(copy) } else { zero_side.push(copy) }
            } else if !expel && may_copy(&copy) {
                let copy = Copy { spread: copy.spread.saturating_sub(1), ..copy };
                zero_side.push(copy);
                one_side.push(copy);
            } else {
                ejected.push(copy.rule);
            }
        }
        [zero_side, one_side]
    }
}

/// All values of the bits of `mask`, from the highest to 0.
pub(super) fn subsets(mask: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(mask), move |&sub| sub.checked_sub(1).map(|sub| sub & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_enough() {
        for x in 1..100_000 {
            let x = x as f32 / 8.0;
            assert!((log2(x) - x.log2()).abs() < 0.01, "{x}: {}", log2(x));
        }
        assert!(subsets(0b101).eq([0b101, 0b100, 1, 0]) && subsets(0).eq([0]));
    }
}
