//! Insert, replace and remove under readers.
//!
//! A changed leaf is a new one, published by one store of the slot that led to the old;
//! what that was is free when all readers have left it. Insert takes, of the trees in
//! which the filter falls into few leaves, that in which the fewest overflow. Where a leaf
//! overflows, a small tree above it is planned anew, or the leaf is cut or grows. Remove
//! copies the leaves without the filter. The best ranks of slots only ever sink until the
//! next build: one that is too good costs a visit, not an answer.
//!
//! An update changes one tree, and of it one leaf for any key, so that a lookup meets all
//! of it or nothing.

use alloc::vec::Vec;

use super::block::{Block, WIDE};
use super::control::{ForestControl, NoRoom, deepest, distinct, gather};
use super::node::SLOTS;
use super::plan::{split, subsets};
use super::read::{EMPTY, ForestRead, Kind, TREES, bound, kind, node_lines};
use super::row::{Row, number};
use super::rule::Rule;
use crate::epoch::Epochs;

/// Most leaves that a filter is inserted into.
const SPREAD: usize = 16;
/// Most blocks of a leaf that updates make; beyond, a rebuild is due.
const BLOCKS: usize = 4;
/// What a later tree costs, in leaves: keys would have to go on to it; and a new one.
const LATER: usize = 4;
const NEW: usize = 8;
/// Nodes above a leaf that are looked at.
const NEAR: usize = 4;
/// Most filters below a node that is planned anew because a leaf of it overflows.
const REPLAN: usize = 96;
/// So many filters stay a list where there is nothing else.
const LIST: usize = 2 * WIDE;

/// What became of an insertion. Nothing is changed unless it is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Inserted {
    /// It is in; the value that was there.
    Done(Option<u32>),
    /// The forest has no place for the filter within the bound, or no memory: a
    /// [rebuilt](ForestControl::rebuilt) one may.
    RebuildDue,
    /// The memory for it waits for readers.
    Deferred,
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Root(usize),
    Node(usize),
}

impl At {
    fn slot(self, read: &ForestRead) -> u64 {
        match self {
            Self::Root(tree) => read.root(tree),
            Self::Node(at) => read.word(at),
        }
    }

    /// The one store that publishes a new node or leaf.
    fn publish(self, read: &ForestRead, slot: u64) {
        match self {
            Self::Node(at) => read.set_word(at, slot),
            Self::Root(tree) => {
                // A root bears the best rank of its tree and of all behind it.
                let best = (slot & EMPTY).min(read.root(tree + 1) & EMPTY);
                read.set_root(tree, best | slot & !EMPTY);
                Self::Root(tree).sink(read, best);
            }
        }
    }

    /// A filter of the rank in `best` is below.
    fn sink(self, read: &ForestRead, best: u64) {
        match self {
            Self::Node(at) => {
                let slot = read.word(at);
                if slot & EMPTY > best {
                    read.set_word(at, best | slot & !EMPTY);
                }
            }
            Self::Root(tree) => {
                for tree in (0..=tree).rev() {
                    let slot = read.root(tree);
                    if slot & EMPTY > best {
                        read.set_root(tree, best | slot & !EMPTY);
                    }
                }
            }
        }
    }
}

/// The leaves that a filter falls into, in one tree, and the nodes on the way.
#[derive(Debug, Default)]
pub(super) struct Walk {
    nodes: Vec<Step>,
    leaves: Vec<Step>,
}

/// A slot that a walk came to.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: At,
    slot: u64,
    /// The node above, by its number in the walk.
    parent: usize,
    /// Lines of the nodes above.
    above: u32,
}

/// A slot to be published.
#[derive(Clone, Copy, Debug)]
struct Change {
    step: Step,
    new: u64,
}

/// What takes the place of what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    /// A leaf, by its number in the walk.
    Leaf(usize),
    /// A small tree, by the number of its top node.
    Node(usize),
}

impl Walk {
    /// False, and not at the end, if there are more leaves than `most`.
    fn run(&mut self, read: &ForestRead, tree: usize, rule: &Rule, most: usize) -> bool {
        self.nodes.clear();
        self.leaves.clear();
        let at = At::Root(tree);
        let root = Step { at, slot: at.slot(read), parent: usize::MAX, above: 0 };
        self.visit(read, root, rule.cut(), most)
    }

    fn visit(&mut self, read: &ForestRead, step: Step, cut: (u128, u128), most: usize) -> bool {
        let Kind::Node { at, high } = kind(step.slot) else {
            self.leaves.push(step);
            return self.leaves.len() <= most;
        };
        let parent = self.nodes.len();
        self.nodes.push(step);
        let shift = if high { 64 } else { 0 };
        let (value, known) = ((cut.0 >> shift) as u64, (cut.1 >> shift) as u64);
        let (mask, machine) = (read.mask(at), read.machine());
        let first = machine.gather(value & known, mask);
        let above = step.above + node_lines(mask.count_ones());
        subsets(machine.gather(!known & mask, mask)).all(|open| {
            let at = At::Node(at + SLOTS + (first | open));
            self.visit(read, Step { at, slot: at.slot(read), parent, above }, cut, most)
        })
    }

    /// The nodes above, from the nearest up.
    fn ancestors(&self, step: &Step) -> impl Iterator<Item = usize> {
        let up = |at: usize| (at < self.nodes.len()).then_some(at);
        core::iter::successors(up(step.parent), move |&at| up(self.nodes.get(at)?.parent))
    }

    /// What it takes to insert here, in leaves.
    fn price(&self, read: &ForestRead) -> usize {
        let more = self.leaves.iter().map(|leaf| match entries(read, leaf.slot) {
            full if overflows(full) => 3 + full / WIDE,
            _ => 1,
        });
        more.sum()
    }

    /// What is to be replaced so that a filter gets into all leaves of the walk.
    fn targets(&self, read: &ForestRead) -> Vec<Target> {
        let mut targets = Vec::with_capacity(self.leaves.len());
        let mut rules = Vec::new();
        for (number, leaf) in self.leaves.iter().enumerate() {
            let mut target = Target::Leaf(number);
            if overflows(entries(read, leaf.slot)) {
                // The highest of the nearest nodes that has few filters is planned anew.
                let mut small = |at: &usize| {
                    rules.clear();
                    let slot = self.nodes.get(*at).map_or(EMPTY, |step| step.slot);
                    gather(read, slot, REPLAN, &mut rules)
                };
                // A node has what those below it have: the last of a row of small ones.
                if let Some(top) = self.ancestors(leaf).take(NEAR).take_while(|at| small(at)).last() {
                    target = Target::Node(top);
                }
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let nodes = targets.clone();
        let covered = |target: &Target| {
            let step = match *target {
                Target::Leaf(at) => self.leaves.get(at),
                Target::Node(at) => self.nodes.get(at),
            };
            step.is_some_and(|step| self.ancestors(step).any(|at| nodes.contains(&Target::Node(at))))
        };
        targets.retain(|target| !covered(target));
        targets
    }
}

/// Filters in a leaf.
fn entries(read: &ForestRead, slot: u64) -> usize {
    read.leaf(slot).map(|block| block.len()).sum()
}

/// Whether one more filter needs one more block, and there is one already.
fn overflows(entries: usize) -> bool {
    entries > 0 && entries.is_multiple_of(WIDE)
}

impl ForestControl {
    /// Inserts a filter, or replaces its value.
    #[cfg(test)]
    pub(super) fn insert(
        &mut self, read: &ForestRead, epochs: &mut Epochs, rule: &Rule, bound: u32,
    ) -> Inserted {
        match self.replace(read, rule) {
            Some(old) => Inserted::Done(Some(old)),
            None => self.insert_new(read, epochs, rule, bound),
        }
    }

    /// Inserts a filter that is not there, so that no lookup reads more than `bound` lines.
    pub(crate) fn insert_new(
        &mut self, read: &ForestRead, epochs: &mut Epochs, rule: &Rule, bound: u32,
    ) -> Inserted {
        self.memory.reclaim(epochs);
        let Some(tree) = self.choose(read, rule) else { return Inserted::RebuildDue };
        let walk = core::mem::take(&mut self.walk);
        let inserted = self.insert_into(read, epochs, rule, bound, tree, &walk);
        self.walk = walk;
        inserted
    }

    /// The tree for a filter; the walk through it is left in `walk`.
    fn choose(&mut self, read: &ForestRead, rule: &Rule) -> Option<usize> {
        let mut least: Option<(usize, usize)> = None;
        let mut new = false;
        for tree in 0..TREES - 1 {
            // Of the trees without anything the first will do.
            let empty = matches!(kind(read.root(tree)), Kind::Nothing);
            if empty && core::mem::replace(&mut new, true) {
                continue;
            }
            if !self.other_walk.run(read, tree, rule, SPREAD) {
                continue;
            }
            let new = if empty && self.rules > 0 { NEW } else { 0 };
            let price = self.other_walk.price(read) + LATER * tree + new;
            if least.is_none_or(|least| price < least.0) {
                least = Some((price, tree));
                core::mem::swap(&mut self.walk, &mut self.other_walk);
            }
            if price <= 2 {
                break;
            }
        }
        Some(least?.1)
    }

    fn insert_into(
        &mut self, read: &ForestRead, epochs: &mut Epochs, rule: &Rule, bound: u32, tree: usize, walk: &Walk,
    ) -> Inserted {
        let changes = match self.changes(read, walk, rule) {
            Ok(Some(changes)) => changes,
            Err(NoRoom) if self.memory.waits() => return self.give_up(Inserted::Deferred),
            Ok(None) | Err(NoRoom) => return self.give_up(Inserted::RebuildDue),
        };
        let most = changes.iter().map(|change| deepest(read, change.new, change.step.above)).max();
        if self.cost_with(tree, most.unwrap_or(0)) > bound {
            return self.give_up(Inserted::RebuildDue);
        }
        read.update(|| {
            for change in &changes {
                change.step.at.publish(read, change.new);
            }
            for step in walk.nodes.iter().rev() {
                step.at.sink(read, super::read::bound(rule.rank));
            }
        });
        self.account(read, tree, &changes);
        self.rules += 1;
        self.since += 1;
        self.memory.commit(epochs);
        Inserted::Done(None)
    }

    fn give_up(&mut self, inserted: Inserted) -> Inserted {
        self.memory.abort();
        inserted
    }

    /// What takes the place of what, so that `rule` is in all leaves of the walk. `None` if it
    /// is too much for one of them.
    fn changes(
        &mut self, read: &ForestRead, walk: &Walk, rule: &Rule,
    ) -> Result<Option<Vec<Change>>, NoRoom> {
        // Readers have no rows to give back.
        let Ok(new) = self.place(read, rule) else { return Ok(None) };
        let targets = walk.targets(read);
        targets.into_iter().map(|target| self.change(read, walk, target, &new)).collect::<Result<_, _>>()
    }

    /// What takes the place of a target, with one filter more.
    fn change(
        &mut self, read: &ForestRead, walk: &Walk, target: Target, more: &Rule,
    ) -> Result<Option<Change>, NoRoom> {
        let step = match target {
            Target::Leaf(at) => walk.leaves.get(at),
            Target::Node(at) => walk.nodes.get(at),
        };
        let Some(&step) = step else { return Ok(None) };
        let mut rules = Vec::with_capacity(2 * WIDE);
        gather(read, step.slot, usize::MAX, &mut rules);
        let cut = match target {
            Target::Leaf(_) if rules.len() >= BLOCKS * WIDE => return Ok(None),
            Target::Leaf(_) => {
                let gap = rules.partition_point(|other| other.precedence() < more.precedence());
                rules.insert(gap, *more);
                let list = matches!(step.at, At::Root(_)) && rules.len() <= LIST && rules.len() > self.rules;
                overflows(rules.len() - 1) && !list
            }
            Target::Node(_) => {
                rules.push(*more);
                distinct(&mut rules);
                true
            }
        };
        let new = if cut {
            self.encode(read, &rules, &split(&rules))?
        } else {
            self.leaf(read, &rules, step.slot)?
        };
        Ok(Some(Change { step, new }))
    }

    /// Counts what changes put in place, and retires what they replaced.
    fn account(&mut self, read: &ForestRead, tree: usize, changes: &[Change]) {
        for Change { step, new } in changes {
            self.discard(read, tree, step.slot, step.above);
            self.count(read, tree, *new, step.above);
        }
    }

    /// The tree that a filter is in, and its row.
    fn find<'a>(&self, read: &'a ForestRead, rule: &Rule) -> Option<(usize, &'a Row)> {
        // All keys that it matches lead to leaves that hold it, as a candidate.
        let sample = rule.sample();
        let same = |number: usize| {
            let row = read.rows.get(number)?;
            row.rule().is_some_and(|other| other.same(rule)).then_some(row)
        };
        let found = |block: Block<'_>| {
            let candidates = block.candidates(sample);
            (0..WIDE).filter(|at| candidates >> (2 * at) & 1 != 0).find_map(|at| same(block.row(at)))
        };
        (0..TREES)
            .take_while(|&tree| read.root(tree) & EMPTY <= bound(rule.rank))
            .find_map(|tree| Some((tree, read.leaf(read.descend(read.root(tree), sample)).find_map(found)?)))
    }

    /// The value of a filter that is there.
    pub(crate) fn get(&self, read: &ForestRead, rule: &Rule) -> Option<u32> {
        Some(self.find(read, rule)?.1.value())
    }

    /// Replaces the value of a filter that is there, and returns what it was. Never fails.
    pub(crate) fn replace(&mut self, read: &ForestRead, rule: &Rule) -> Option<u32> {
        let (_, row) = self.find(read, rule)?;
        let old = row.value();
        read.update(|| row.replace(rule.word));
        Some(old)
    }

    /// Takes a filter out, if it is there, and returns its value. Never fails: where there
    /// is no memory for leaves without it, it is marked as gone.
    pub(crate) fn remove(&mut self, read: &ForestRead, epochs: &mut Epochs, rule: &Rule) -> Option<u32> {
        let (tree, row) = self.find(read, rule)?;
        let (old, order) = (row.value(), number(row.place()) as u32);
        self.memory.reclaim(epochs);
        let mut walk = core::mem::take(&mut self.walk);
        walk.run(read, tree, rule, usize::MAX);
        let without =
            |step: &Step| Ok(Change { step: *step, new: self.leaf_without(read, step.slot, order)? });
        let changes: Result<Vec<Change>, NoRoom> = walk.leaves.iter().map(without).collect();
        if let Ok(changes) = changes {
            read.update(|| changes.iter().for_each(|change| change.step.at.publish(read, change.new)));
            self.account(read, tree, &changes);
            self.memory.commit(epochs);
        } else {
            self.memory.abort();
            read.update(|| row.bury());
        }
        self.walk = walk;
        self.rules -= 1;
        Some(old)
    }
}
