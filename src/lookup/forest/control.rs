//! The writer's side of a forest: memory, counts, and building.

use alloc::vec::Vec;

use super::block::{self, WIDE, WORDS};
use super::memory::{MOST_BLOCKS, Memory, Piece};
use super::node::{self, MASK, SLOTS};
use super::plan::Plan;
use super::read::{EMPTY, ForestRead, Kind, TREES, kind, leaf_slot, node_lines, node_slot};
use super::row::Row;
use super::rule::Rule;
use super::signature::Signature;
use super::simd::Machine;
use super::update::Walk;

/// The part of a forest that its one writer has.
///
/// Each method takes the [`ForestRead`] that it belongs to.
pub(crate) struct ForestControl {
    pub(super) memory: Memory,
    pub(super) lines: [Lines; TREES],
    pub(super) rules: usize,
    /// Inserted since the forest was built.
    pub(super) since: usize,
    pub(super) walk: Walk,
    pub(super) other_walk: Walk,
}

impl core::fmt::Debug for ForestControl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ForestControl").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// How many leaves of a tree are how many lines away from its root, themselves included.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Vec<u32>);

impl Lines {
    fn add(&mut self, lines: u32) {
        if self.0.len() <= lines as usize {
            self.0.resize(lines as usize + 1, 0);
        }
        if let Some(count) = self.0.get_mut(lines as usize) {
            *count += 1;
        }
    }

    fn take(&mut self, lines: u32) {
        if let Some(count) = self.0.get_mut(lines as usize) {
            *count -= 1;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Those of the farthest leaf.
    pub(super) fn most(&self) -> u32 {
        self.0.len().saturating_sub(1) as u32
    }
}

/// Room of a forest of nothing.
const FIRST_WORDS: usize = 1024;
const FIRST_ROWS: usize = 64;

/// Too much for what a forest can name, or for the memory that it has.
#[derive(Debug)]
pub(super) struct NoRoom;

/// A forest for plans, with room to grow to twice its size. Their rules are in order of
/// precedence.
pub(super) fn plant(
    machine: Machine, rules: &[Rule], plans: &[Plan],
) -> Result<(ForestRead, ForestControl), NoRoom> {
    let sizes = plans.iter().map(Plan::size);
    let (words, longest) = sizes.fold((0, 0), |a, b| (a.0 + b.0, a.1.max(b.1)));
    let (words, rows) = (2 * words + FIRST_WORDS, 2 * rules.len() + FIRST_ROWS);
    if longest > MOST_BLOCKS || words >= 1 << 30 || rows >= 1 << 24 {
        return Err(NoRoom);
    }
    let read = ForestRead::empty(machine, words, rows).ok_or(NoRoom)?;
    let mut control = ForestControl::new(rules.len(), words, rows);
    let rules = rules.iter().map(|rule| control.place(&read, rule)).collect::<Result<Vec<_>, _>>()?;
    let mut roots = Vec::new();
    for plan in plans.iter().filter(|plan| !plan.is_empty()) {
        roots.push(control.encode(&read, &rules, plan)?);
    }
    if roots.len() >= TREES {
        return Err(NoRoom);
    }
    // Then a root's own best rank is the best of all behind it.
    roots.sort_unstable_by_key(|root| root >> 32);
    for (tree, root) in roots.into_iter().enumerate() {
        read.set_root(tree, root);
        control.count(&read, tree, root, 0);
    }
    control.memory.commit_first();
    Ok((read, control))
}

impl ForestControl {
    /// Of nothing, with room for some filters.
    pub(crate) fn empty(machine: Machine) -> (ForestRead, Self) {
        let (words, rows) = (FIRST_WORDS, FIRST_ROWS);
        // There is always memory for so little, or the allocator ends the program.
        let read = ForestRead::empty(machine, words, rows).unwrap_or_else(|| ForestRead::none(machine));
        (read, Self::new(0, words, rows))
    }

    fn new(rules: usize, words: usize, rows: usize) -> Self {
        Self {
            memory: Memory::new(words, rows),
            lines: Default::default(),
            rules,
            since: 0,
            walk: Walk::default(),
            other_walk: Walk::default(),
        }
    }

    /// Filters in the forest.
    pub(crate) fn len(&self) -> usize {
        self.rules
    }

    /// The same filters, and one more unless it is `None`, in a forest of their own, planned
    /// anew. It should cost at most `bound` lines, but may cost more: the caller looks.
    /// `None` if there can be none.
    pub(crate) fn rebuilt(
        &self, read: &ForestRead, more: Option<&Rule>, bound: u32,
    ) -> Option<(ForestRead, ForestControl)> {
        let mut rules = self.rules(read);
        if let Some(rule) = more {
            let gap = rules.partition_point(|other| other.rank <= rule.rank);
            rules.insert(gap, *rule);
        }
        ForestRead::build(read.machine(), &rules, bound)
    }

    /// Whether so much was inserted that the forest should be planned anew.
    pub(crate) fn is_stale(&self) -> bool {
        self.since >= (self.rules / 2).max(32)
    }

    /// Octets of words and rows that were taken at some time.
    pub(crate) fn bytes(&self) -> usize {
        let (words, rows) = self.memory.used();
        rows * size_of::<Row>() + words * 8
    }

    /// Cache lines that any lookup reads at most: two of the forest itself, and in each
    /// tree the longest way.
    pub(crate) fn cost(&self) -> u32 {
        self.cost_with(TREES, 0)
    }

    /// The cost if the farthest new leaf of a tree were `lines` away.
    pub(super) fn cost_with(&self, tree: usize, lines: u32) -> u32 {
        let ways = self
            .lines
            .iter()
            .zip(0..)
            .map(|(ways, at)| if at == tree { ways.most().max(lines) } else { ways.most() });
        2 + ways.sum::<u32>()
    }

    /// All filters in order of precedence, each once.
    pub(crate) fn rules(&self, read: &ForestRead) -> Vec<Rule> {
        let mut rules = Vec::with_capacity(self.rules);
        for tree in 0..TREES {
            gather(read, read.root(tree), usize::MAX, &mut rules);
        }
        distinct(&mut rules);
        rules
    }

    /// A row for a rule, which no slot leads to yet: the order is the row's.
    pub(super) fn place(&mut self, read: &ForestRead, rule: &Rule) -> Result<Rule, NoRoom> {
        let order = self.memory.row().ok_or(NoRoom)?;
        let rule = Rule { order, ..*rule };
        read.rows.get(order as usize).ok_or(NoRoom)?.set(&rule);
        Ok(rule)
    }

    /// Nodes and leaves of a plan, which no slot leads to yet; the slot that will.
    pub(super) fn encode(&mut self, read: &ForestRead, rules: &[Rule], plan: &Plan) -> Result<u64, NoRoom> {
        match plan {
            _ if plan.is_empty() => Ok(EMPTY),
            Plan::Leaf(list) => {
                let rules: Vec<Rule> =
                    list.iter().filter_map(|&at| rules.get(at as usize)).copied().collect();
                self.leaf(read, &rules, EMPTY)
            }
            Plan::Node { high, mask, children } => {
                let at = self.memory.node(mask.count_ones()).ok_or(NoRoom)?;
                let [first, others] = node::numbers(*mask);
                read.set_word(at, first);
                read.set_word(at + MASK, *mask);
                if others != 0 {
                    read.set_word(at - 1, others);
                }
                let mut best = EMPTY - 1;
                for (child, at) in children.iter().zip(at + SLOTS..) {
                    let slot = self.encode(read, rules, child)?;
                    read.set_word(at, slot);
                    best = best.min(slot);
                }
                Ok(node_slot(best, at, *high))
            }
        }
    }

    /// A leaf of these filters, in order of precedence; nothing if there are none. It takes
    /// signatures of the leaf of slot `like` that will do.
    pub(super) fn leaf(&mut self, read: &ForestRead, rules: &[Rule], like: u64) -> Result<u64, NoRoom> {
        let mut like = read.leaf(like).map(|block| block.signature());
        let chunks = rules.chunks(WIDE).map(|chunk| (chunk, Signature::for_rules(chunk, like.next())));
        self.blocks(read, chunks)
    }

    /// The leaf of a slot without one of its filters: each block keeps its signature and what
    /// else it has, so that it never costs more.
    pub(super) fn leaf_without(&mut self, read: &ForestRead, slot: u64, order: u32) -> Result<u64, NoRoom> {
        let mut rules = Vec::with_capacity(WIDE);
        let mut ends = Vec::new();
        for block in read.leaf(slot) {
            let of = block.rows().filter_map(|row| read.rows.get(row)?.rule());
            rules.extend(of.filter(|rule| rule.order != order));
            ends.push((rules.len(), block.signature()));
        }
        let mut first = 0;
        let chunks = ends.iter().filter_map(|&(end, signature)| {
            let chunk = rules.get(core::mem::replace(&mut first, end)..end)?;
            (!chunk.is_empty()).then_some((chunk, signature))
        });
        self.blocks(read, chunks.collect::<Vec<_>>().into_iter())
    }

    fn blocks<'a>(
        &mut self, read: &ForestRead, chunks: impl ExactSizeIterator<Item = (&'a [Rule], Signature)>,
    ) -> Result<u64, NoRoom> {
        let (blocks, mut slot) = (chunks.len(), EMPTY);
        if blocks == 0 {
            return Ok(EMPTY);
        }
        let at = self.memory.leaf(blocks).ok_or(NoRoom)?;
        for (number, (rules, signature)) in chunks.enumerate() {
            if let (0, Some(first)) = (number, rules.first()) {
                slot = leaf_slot(first.rank, at);
            }
            let block = read.block(at + number * WORDS).ok_or(NoRoom)?;
            block.fill(rules, signature, blocks - 1 - number);
        }
        Ok(slot)
    }

    /// Counts the leaves below a slot that stands `above` lines below its root.
    pub(super) fn count(&mut self, read: &ForestRead, tree: usize, slot: u64, above: u32) {
        let lines = self.lines.get_mut(tree);
        let Some(lines) = lines else { return };
        each_leaf(read, slot, above, &mut |lines_of_leaf| lines.add(lines_of_leaf), &mut |_| ());
    }

    /// Takes the leaves below a slot out of the count, and retires all that is there.
    pub(super) fn discard(&mut self, read: &ForestRead, tree: usize, slot: u64, above: u32) {
        let Self { lines, memory, .. } = self;
        let Some(lines) = lines.get_mut(tree) else { return };
        each_leaf(read, slot, above, &mut |at| lines.take(at), &mut |piece| memory.retire(piece));
    }
}

/// Calls `leaf` with the lines of each leaf below a slot, and `piece` with all that is there.
fn each_leaf(
    read: &ForestRead, slot: u64, above: u32, leaf: &mut impl FnMut(u32), piece: &mut impl FnMut(Piece),
) {
    match kind(slot) {
        // A tree without anything costs nothing: its root says so.
        Kind::Nothing => leaf(above),
        Kind::Leaf { at } => {
            let blocks = read.leaf(slot);
            let lines = blocks.clone().map(|block| block::LINES + block.most_candidates()).sum::<u32>();
            leaf(above + lines);
            piece(Piece::Leaf { at: at as u32, blocks: blocks.count() as u32 });
        }
        Kind::Node { at, .. } => {
            let bits = read.mask(at).count_ones();
            for child in read.slots(at) {
                each_leaf(read, read.word(child), above + node_lines(bits), leaf, piece);
            }
            piece(Piece::Node { at: at as u32, bits });
        }
    }
}

/// Lines of the farthest leaf below a slot that stands `above` lines below its root.
pub(super) fn deepest(read: &ForestRead, slot: u64, above: u32) -> u32 {
    let mut most = 0;
    each_leaf(read, slot, above, &mut |lines| most = most.max(lines), &mut |_| ());
    most
}

/// All filters below a slot, leaf by leaf, copies included. False, and not all of them, if
/// there are more than `limit`.
pub(super) fn gather(read: &ForestRead, slot: u64, limit: usize, to: &mut Vec<Rule>) -> bool {
    match kind(slot) {
        Kind::Nothing => (),
        Kind::Leaf { .. } => {
            to.extend(read.rows_of(slot).filter_map(|row| read.rows.get(row)?.rule()));
        }
        Kind::Node { at, .. } => {
            return read.slots(at).all(|at| gather(read, read.word(at), limit, to));
        }
    }
    to.len() <= limit
}

/// Puts filters in order of precedence, each once.
pub(super) fn distinct(rules: &mut Vec<Rule>) {
    rules.sort_unstable_by_key(Rule::precedence);
    rules.dedup_by_key(|rule| rule.precedence());
}

/// Rules in the order in which they were given, in order of precedence. Of those that are
/// the same the first place and the last value stay.
pub(super) fn in_precedence(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.iter_mut().zip(0..).for_each(|(rule, order)| rule.order = order);
    rules.sort_unstable_by_key(|rule| (rule.rank, rule.value, rule.mask, rule.ranges, rule.order));
    rules.dedup_by(|later, first| {
        let same = later.same(first);
        if same {
            first.word = later.word;
        }
        same
    });
    rules.sort_unstable_by_key(Rule::precedence);
    rules
}
