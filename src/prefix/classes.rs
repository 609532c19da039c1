//! Classes: a few bits that say of an address under which of a set of prefixes it falls.
//!
//! A ternary table of 112-bit keys has no room for two IPv6 addresses. A code option looks
//! each of them up in a set of prefixes, those that its filters name, and puts the class
//! found into the key. A filter over a prefix then is one value and mask of class bits,
//! whatever other prefixes are nested in it or around it.
//!
//! # How nested prefixes are numbered
//!
//! Each prefix gets a block of `2^h` class numbers, of which the block of a prefix nested
//! in it is a part. The lowest number of a block is the class of the addresses whose longest
//! prefix it is. An address' class then has the top bits of the block of each prefix that
//! covers it, and of no other:
//!
//! ```text
//! prefix                 block          value / mask of 3 bits    an address in no longer one
//! (none)                 000 .. 111     *** *                     000
//! 2001:db8::/32          100 .. 111     100 / 100                 100
//! 2001:db8:1::/48        111            111 / 111                 111
//! 2001:db8:2::/48        110            110 / 111                 110
//! fd00::/8               011            011 / 111                 011
//! ```
//!
//! A block is the smallest that has room for one number and the blocks directly below it,
//! `h = ceil(log2(1 + sum of 2^h below))`. Blocks are powers of two, so the largest first
//! they fit without gaps, and no numbering of this kind needs fewer bits: `ceil(log2(n + 1))`
//! for n prefixes side by side, at most one more for each level of nesting.
//!
//! The idea of classes is that of cross-producting (V. Srinivasan et al., "Fast and Scalable
//! Layer Four Switching", SIGCOMM 1998), of numbers whose bits nest that of SRGE and of
//! prefix codes. Cost: a lookup of a [`PrefixTrie`]. A set is made as a whole: where a
//! filter names a new prefix, make a new set and change all filters over the old one.

use alloc::vec;
use alloc::vec::Vec;

use super::address::{Address, Prefix};
use super::form::{Form, MOST_VALUE};
use super::trie::PrefixTrie;

/// A small number for each address, from which one value and mask tells whether the address
/// falls under a prefix of the set.
///
/// Nested prefixes have nested blocks of `2^h` numbers; the lowest of a block is the class of
/// the addresses that are in no longer prefix. Class 0 is that of addresses in none. A set of
/// n prefixes needs `ceil(log2(n + 1))` bits, and at most one more for each level of nesting.
///
/// ```
/// use fastpath::prefix::{Classes, Prefix, PrefixTable};
///
/// let prefix = |a: u128, len| Prefix::new(a << 96, len).unwrap();
/// let (site, part) = (prefix(0x2001_0db8, 32), prefix(0x2001_0db8, 48));
/// let classes = Classes::of([site, part], 2)?;
/// let (of_site, of_part) = (classes.pattern(site).unwrap(), classes.pattern(part).unwrap());
///
/// let inner = classes.class(0x2001_0db8 << 96 | 7);
/// assert!(of_site.matches(inner) && of_part.matches(inner));
/// let outer = classes.class(0x2001_0db8 << 96 | 1 << 95);
/// assert!(of_site.matches(outer) && !of_part.matches(outer));
/// assert_eq!(classes.class(0), 0);
/// # Ok::<(), fastpath::prefix::ClassesError>(())
/// ```
#[derive(Debug)]
pub struct Classes<A> {
    trie: PrefixTrie<A>,
    /// Sorted by prefix.
    patterns: Vec<(Prefix<A>, Pattern)>,
    needed: u32,
}

/// The class bits of all addresses under a prefix.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pattern {
    /// The bits that such a class has where `mask` is 1; elsewhere 0.
    pub value: u32,
    /// The bits that say so: some from the top.
    pub mask: u32,
}

impl Pattern {
    /// Whether an address of this class falls under the prefix.
    #[inline(always)]
    pub fn matches(self, class: u32) -> bool {
        class & self.mask == self.value
    }
}

/// Why there are no such classes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassesError {
    /// The set needs more bits, or more than 31 were asked for.
    #[error("the prefixes need {needed} class bits, {bits} are given (at most 31)")]
    Bits {
        /// What the set needs.
        needed: u32,
        /// What was given.
        bits: u32,
    },
}

impl<A: Address> Classes<A> {
    /// Classes of `bits` bits for a set of prefixes, in any order. O(n log n).
    ///
    /// # Errors
    ///
    /// [`ClassesError::Bits`] if the bits do not suffice.
    pub fn of(prefixes: impl IntoIterator<Item = Prefix<A>>, bits: u32) -> Result<Self, ClassesError> {
        let mut sorted: Vec<Prefix<A>> = prefixes.into_iter().collect();
        // The root stands for all addresses, in the set or not.
        let root = Prefix::everything();
        let root_asked = sorted.contains(&root);
        sorted.push(root);
        // Each before those nested in it.
        sorted.sort_unstable();
        sorted.dedup();

        let parents = parents(&sorted);
        let heights = heights(&parents);
        let needed = heights.first().copied().unwrap_or(0);
        if needed > bits || bits > MOST_VALUE.count_ones() {
            return Err(ClassesError::Bits { needed, bits });
        }
        let starts = starts(&parents, &heights);
        let all = MOST_VALUE >> (MOST_VALUE.count_ones() - bits);
        let blocks = sorted.iter().zip(&starts).zip(&heights);
        let pattern = |start: u32, height: u32| Pattern { value: start, mask: all >> height << height };
        let mut patterns: Vec<_> = blocks.map(|((&p, &start), &h)| (p, pattern(start, h))).collect();
        // The root's own number is 0: what the trie does not find.
        let others = patterns.iter().skip(1).map(|&(prefix, pattern)| (prefix, pattern.value));
        let Ok(trie) = PrefixTrie::load(others, Form::default()) else {
            // Numbers are 1 to 2^31 - 1, and nothing bounds the default form.
            return Err(ClassesError::Bits { needed, bits });
        };
        if !root_asked {
            patterns.remove(0);
        }
        Ok(Self { trie, patterns, needed })
    }

    /// The class of an address; 0 if it is under no prefix of the set.
    #[inline(always)]
    pub fn class(&self, address: A) -> u32 {
        use super::PrefixTable;
        self.trie.lookup(address).map_or(0, |class| class.get())
    }

    /// The table from addresses to classes, for lookups of many at once: `None` is class 0.
    pub fn trie(&self) -> &PrefixTrie<A> {
        &self.trie
    }

    /// What the classes of all addresses under a prefix of the set have in common.
    pub fn pattern(&self, prefix: Prefix<A>) -> Option<Pattern> {
        let at = self.patterns.binary_search_by_key(&prefix, |(prefix, _)| *prefix).ok()?;
        self.patterns.get(at).map(|(_, pattern)| *pattern)
    }

    /// All prefixes of the set with their patterns, in order.
    pub fn patterns(&self) -> impl Iterator<Item = (Prefix<A>, Pattern)> {
        self.patterns.iter().copied()
    }

    /// The fewest bits that this set could have been given.
    pub fn needed(&self) -> u32 {
        self.needed
    }
}

/// For each prefix the longest other that it is nested in; for the first, the root, itself.
fn parents<A: Address>(sorted: &[Prefix<A>]) -> Vec<usize> {
    let mut path: Vec<(usize, Prefix<A>)> = Vec::new();
    let mut parents = Vec::with_capacity(sorted.len());
    for (at, &prefix) in sorted.iter().enumerate() {
        while path.last().is_some_and(|(_, above)| !above.covers(prefix.bits())) {
            path.pop();
        }
        parents.push(path.last().map_or(0, |&(above, _)| above));
        path.push((at, prefix));
    }
    parents
}

/// The bits that the numbers of each block need.
fn heights(parents: &[usize]) -> Vec<u32> {
    // Numbers in the block: its own, and the blocks below.
    let mut sizes = vec![1u64; parents.len()];
    let mut heights = vec![0; parents.len()];
    for at in (0..parents.len()).rev() {
        let size = sizes.get(at).copied().unwrap_or(1);
        let block = size.checked_next_power_of_two().unwrap_or(1 << 63);
        if let Some(height) = heights.get_mut(at) {
            *height = block.trailing_zeros();
        }
        let above = parents.get(at).copied().unwrap_or(0);
        if let Some(sum) = sizes.get_mut(above).filter(|_| above != at) {
            *sum = sum.saturating_add(block);
        }
    }
    heights
}

/// The lowest number of each block: in the block around it, from the top, the largest first.
fn starts(parents: &[usize], heights: &[u32]) -> Vec<u32> {
    let block = |at: usize| 1u32 << heights.get(at).copied().unwrap_or(0);
    let mut order: Vec<usize> = (1..parents.len()).collect();
    // A block's place is known before those below it are placed: it comes before them.
    order.sort_by_key(|&at| (parents.get(at).copied(), core::cmp::Reverse(block(at))));
    let mut starts = vec![0; parents.len()];
    // Where the free part of each block ends.
    let mut ends = vec![block(0); parents.len()];
    for at in order {
        let above = parents.get(at).copied().unwrap_or(0);
        let Some(end) = ends.get_mut(above) else { continue };
        *end -= block(at);
        let start = *end;
        if let (Some(own), Some(end)) = (starts.get_mut(at), ends.get_mut(at)) {
            (*own, *end) = (start, start + block(at));
        }
    }
    starts
}
