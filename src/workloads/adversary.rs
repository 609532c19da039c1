//! Adversaries: filters and keys that are chosen to be slow, or to take much room.
//!
//! | attack | what it is aimed at |
//! |---|---|
//! | [`distinct_masks`] | tuple space search: a hash table for each mask |
//! | [`scattered_masks`] | whatever relies on masks being prefixes of fields |
//! | [`nested_wildcards`] | backtracking, chains of filters of one bucket, all matches |
//! | [`crossed_wildcards`] | decision trees and cross products: filters copied to many leaves |
//! | [`tuple_space_explosion`] | caches of wildcarded flows: few filters, many masks |
//! | [`wide_ranges`] | the capacity of ternary memory |
//! | [`colliding_keys`] | hash tables whose hash has no secret |
//!
//! An adversary is a tenant who installs filters and sends packets, or somebody who
//! only sends packets through a tenant who does. All of it is well formed: what a table
//! does with it is either fast enough or refused with an error. Keys have class 0 and,
//! unless said otherwise, protocol UDP.
//!
//! ```
//! use fastpath::key::TableKey;
//! use fastpath::lookup::{LinearTcam, Rank, TernaryTable, TernaryUpdate};
//! use fastpath::{id::SliceId, workloads::adversary};
//!
//! let (slice, attack) = (SliceId(1), adversary::nested_wildcards(64, 1));
//! let mut table = LinearTcam::new([None; 64]);
//! for (rank, pattern) in attack.patterns.iter().enumerate() {
//!     table.insert(Rank(rank as u32), pattern.filter(slice), rank)?;
//! }
//! for &key in &attack.keys {
//!     let slow = attack.patterns.iter().position(|pattern| pattern.matches(key));
//!     assert_eq!(table.lookup(TableKey::new(slice, key)), slow);
//! }
//! # Ok::<(), fastpath::lookup::TableErrorKind>(())
//! ```

use std::collections::HashSet;
use std::vec::Vec;

use rand::{Rng, RngExt};

use crate::key::LookupKey;
use crate::wire::ipv4::UDP;
use crate::workloads::classbench::{Protocol, Rule};
use crate::workloads::{Flow, Pattern, Prefix, Random, random};

/// A filter set and the keys that hurt with it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attack {
    /// The filters, the first of the lowest rank: of those that match, the first wins.
    pub patterns: Vec<Pattern>,
    /// What is looked up.
    pub keys: Vec<LookupKey>,
}

/// The most filters that [`distinct_masks`] can make: each combination of prefix
/// lengths of the five fields, but not that of zeroes only.
pub const DISTINCT_MASKS: usize = 33 * 33 * 17 * 17 * 9 - 1;

/// `filters` filters, no two with the same mask, and one key that matches none.
///
/// Aimed at tuple space search (V. Srinivasan, S. Suri, G. Varghese, SIGCOMM 1999),
/// which keeps a hash table for each mask and for this key asks each of them. Masks are
/// prefixes of each field, as rules have them. Every filter misses the key in its last
/// bit only, so a table that merges masks by leaving out last bits (J. Daly et al.,
/// "TupleMerge", 2019) has those it merged in one bucket, which is the key's.
///
/// At most [`DISTINCT_MASKS`] filters are made.
pub fn distinct_masks(filters: usize, seed: u64) -> Attack {
    let mut random = random(seed);
    let base = udp_flow(&mut random).key();
    // A prime, and none of the primes of the number of combinations: every step up to
    // that number leads to another combination, and near steps to far ones.
    const STEP: u64 = 1_299_709;
    let combinations = DISTINCT_MASKS as u64 + 1;
    let start = random.random_range(0..combinations);
    let patterns = (0..combinations)
        .map(|i| (start + i * STEP) % combinations)
        .filter(|&combination| combination != 0)
        .take(filters)
        .map(|combination| near_miss(base, prefix_mask(combination)))
        .collect();
    Attack { patterns, keys: [base].into() }
}

/// The mask of the `combination`th choice of five prefix lengths.
fn prefix_mask(combination: u64) -> LookupKey {
    let mut left = combination;
    let mut ones = |width: u32| {
        let lengths = u64::from(width) + 1;
        let len = (left % lengths) as u32;
        left /= lengths;
        // `len` ones on top of `width` bits.
        (((1u64 << len) - 1) << (width - len)) as u32
    };
    let mask = Flow {
        source: ones(32),
        destination: ones(32),
        source_port: ones(16) as u16,
        destination_port: ones(16) as u16,
        protocol: ones(8) as u8,
    };
    mask.key()
}

/// The pattern of `mask` that `key` misses in the last bit of the mask.
fn near_miss(key: LookupKey, mask: LookupKey) -> Pattern {
    let last_bit = mask.bits() & mask.bits().wrapping_neg();
    Pattern::new(LookupKey::new(key.bits() ^ last_bit), mask)
}

/// `filters` filters whose masks are random bits of the whole key, class included, no
/// two the same, and one key that matches none.
///
/// Aimed at whatever relies on masks being prefixes: tries, cuts, relaxed tuples. About
/// half of the bits count in each mask, and each filter misses the key in one bit. A
/// table with a bound on the cost of a lookup cannot but refuse some of them, or scan
/// them all.
pub fn scattered_masks(filters: usize, seed: u64) -> Attack {
    let mut random = random(seed);
    let base = udp_flow(&mut random).key();
    let mut seen = HashSet::new();
    let mut patterns = Vec::new();
    while patterns.len() < filters {
        let mask = LookupKey::new(random.random());
        if mask.bits() != 0 && seen.insert(mask) {
            patterns.push(near_miss(base, mask));
        }
    }
    Attack { patterns, keys: [base].into() }
}

/// Chains of filters, each of which contains the one before it; 113 to a chain, from
/// the exact key to the one that matches all. Narrow filters come first.
///
/// A key for each filter: it matches this one and all wider ones of the chain. A search
/// that tries wide filters first finds a better one each time; one that backtracks from
/// long prefixes to short ones goes all the way; asking for all matches yields up to
/// 113 and one for each other chain.
pub fn nested_wildcards(filters: usize, seed: u64) -> Attack {
    let mut random = random(seed);
    let mut attack = Attack::default();
    let mut base = LookupKey::default();
    for i in 0..filters {
        let wild_bits = (i % (LookupKey::BITS as usize + 1)) as u32;
        if wild_bits == 0 {
            base = udp_flow(&mut random).key();
        }
        attack.patterns.push(Pattern::new(base, LookupKey::new(u128::MAX << wild_bits)));
        // The top wild bit flipped: the narrower filters of the chain miss.
        attack.keys.push(LookupKey::new(base.bits() ^ (1 << wild_bits) >> 1));
    }
    // The widest filters last, for any of them hides what follows.
    attack.patterns.sort_by_key(|pattern| core::cmp::Reverse(pattern.mask().bits().count_ones()));
    attack
}

/// Half of `filters` with one source and any destination, half with any source and one
/// destination, and as many keys, each of which matches one of either.
///
/// Aimed at decision trees (P. Gupta, N. McKeown, "Packet Classification using
/// Hierarchical Intelligent Cuttings", 1999): each cut in one field copies all filters
/// that are wild in it. And at cross products of fields (V. Srinivasan et al., SIGCOMM
/// 1998): n filters have n^2 / 4 combinations.
pub fn crossed_wildcards(filters: usize, seed: u64) -> Attack {
    let mut random = random(seed);
    // Odd steps through all addresses: no two the same.
    let ends: Vec<(u32, u32)> = {
        let (start, step) = (random.random::<(u32, u32)>(), random.random::<(u32, u32)>());
        let at = |i: u32, start: u32, step: u32| start.wrapping_add(i.wrapping_mul(step | 1));
        (0..filters.div_ceil(2) as u32).map(|i| (at(i, start.0, step.0), at(i, start.1, step.1))).collect()
    };
    let any = Flow::default();
    let source = Flow { source: u32::MAX, ..any };
    let destination = Flow { destination: u32::MAX, ..any };
    let pattern = |value: Flow, mask: Flow| Pattern::new(value.key(), mask.key());
    let patterns = ends
        .iter()
        .flat_map(|&(from, to)| {
            let flow = Flow { source: from, destination: to, ..any };
            [pattern(flow, source), pattern(flow, destination)]
        })
        .take(filters)
        .collect();
    let mut keys = Vec::new();
    // Of an odd number of filters the last destination has none.
    let destinations = ends.get(..filters / 2).unwrap_or_default();
    if !destinations.is_empty() {
        keys.extend((0..filters).filter_map(|_| {
            let &(source, _) = ends.get(random.random_range(0..ends.len()))?;
            let &(_, destination) = destinations.get(random.random_range(0..destinations.len()))?;
            Some(Flow { source, destination, ..udp_flow(&mut random) }.key())
        }));
    }
    Attack { patterns, keys }
}

/// The most keys of [`tuple_space_explosion`] that each take a mask of their own.
pub const EXPLOSION_MASKS: usize = 16 * 32 * 16;

/// Four filters, and `keys` keys of which each of the first [`EXPLOSION_MASKS`] needs
/// another mask in a cache of wildcarded flows.
///
/// Aimed at caches in front of a slow classifier, as Open vSwitch has one (L. Csikor et
/// al., "Tuple Space Explosion: A Denial-of-Service Attack Against a Software Packet
/// Classifier", CoNEXT 2019). The filters accept one destination port, one source
/// address, one source port, and else match all. To know that a key is not accepted
/// one bit of each field is enough, the first that differs: which, the sender chooses.
/// 16 * 32 * 16 choices are as many masks. Lookups without such a cache do not mind.
pub fn tuple_space_explosion(keys: usize, seed: u64) -> Attack {
    let mut random = random(seed);
    let accepted = udp_flow(&mut random);
    let any = Flow::default();
    let masks = [
        Flow { destination_port: u16::MAX, ..any },
        Flow { source: u32::MAX, ..any },
        Flow { source_port: u16::MAX, ..any },
        any,
    ];
    let patterns = masks.map(|mask| Pattern::new(accepted.key(), mask.key())).into();
    let keys = (0..keys)
        .map(|i| {
            let (first, second, third) = (i % 16, i / 16 % 32, i / (16 * 32) % 16);
            // The bit that differs, and noise behind it.
            let differ16 = |at: usize, noise: u16| 0x8000u16 >> at | noise & 0x7fff >> at;
            let differ32 = |at: usize, noise: u32| 0x8000_0000u32 >> at | noise & 0x7fff_ffff >> at;
            let flow = Flow {
                source: accepted.source ^ differ32(second, random.random()),
                destination: random.random(),
                source_port: accepted.source_port ^ differ16(third, random.random()),
                destination_port: accepted.destination_port ^ differ16(first, random.random()),
                protocol: UDP,
            };
            flow.key()
        })
        .collect();
    Attack { patterns, keys }
}

/// `rules` rules with a source and a destination of their own and the ports 1 to 65,534
/// both ways: 900 ternary entries each, the most a rule can take.
///
/// Aimed at capacity: 146 of them fill the 131,072 entries of a ternary memory.
pub fn wide_ranges(rules: usize, seed: u64) -> Vec<Rule> {
    let mut random = random(seed);
    let ports = 1..=65534;
    let exact = |address| Prefix::new(address, 32).unwrap_or_default();
    (0..rules)
        .map(|_| Rule {
            source: exact(random.random()),
            destination: exact(random.random()),
            source_ports: ports.clone(),
            destination_ports: ports.clone(),
            protocol: Protocol::exactly(UDP),
        })
        .collect()
}

/// A hash function without a secret, over the 16 octets of a key.
///
/// As `Hash` feeds them to a hasher on a 64-bit little-endian machine: the low word
/// first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WeakHash {
    /// FxHash of Firefox, rustc-hash 1 and fxhash.
    Fx,
    /// FxHash of rustc-hash 2, without its final rotation, which changes no collision.
    FxPolynomial,
    /// FNV-1a with 64 bits (G. Fowler, L. C. Noll, K.-P. Vo; RFC 9923).
    Fnv1a,
}

impl WeakHash {
    /// Every function there is.
    pub const ALL: [Self; 3] = [Self::Fx, Self::FxPolynomial, Self::Fnv1a];

    const FX: u64 = 0x517c_c1b7_2722_0a95;
    const FX_POLYNOMIAL: u64 = 0xf135_7aea_2e62_a9c5;
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0100_0000_01b3;

    /// The hash of `key`: of a lookup key, or of a table key with its slice on top.
    pub fn hash(self, key: u128) -> u64 {
        let words = [key as u64, (key >> 64) as u64];
        match self {
            Self::Fx => words.iter().fold(0, |h: u64, w| (h.rotate_left(5) ^ w).wrapping_mul(Self::FX)),
            Self::FxPolynomial => {
                words.iter().fold(0, |h: u64, w| h.wrapping_add(*w).wrapping_mul(Self::FX_POLYNOMIAL))
            }
            Self::Fnv1a => fnv(Self::FNV_OFFSET, &key.to_le_bytes()),
        }
    }

    /// How many low bits of the hash [`colliding_keys`] makes equal.
    pub const fn equal_bits(self) -> u32 {
        match self {
            Self::Fx | Self::FxPolynomial => 64,
            Self::Fnv1a => 16,
        }
    }
}

fn fnv(from: u64, octets: &[u8]) -> u64 {
    octets.iter().fold(from, |h, &octet| (h ^ u64::from(octet)).wrapping_mul(WeakHash::FNV_PRIME))
}

/// `count` keys, no two the same, whose hashes have their low
/// [`equal_bits`](WeakHash::equal_bits) bits in common, whichever slice is put on top of
/// all of them.
///
/// Aimed at exact matches, flow caches and tuples that hash without a secret (S. A.
/// Crosby, D. S. Wallach, "Denial of Service via Algorithmic Complexity Attacks", USENIX
/// Security 2003): in a table that takes its bucket from the low bits all keys share
/// one, of 65,536 and less for FNV-1a, and of any number for FxHash. The keys are plain
/// UDP flows: of FxHash any two ports have one pair of addresses that collides, of
/// FNV-1a any two addresses have ports.
///
/// At most 2^32 keys are made.
pub fn colliding_keys(hash: WeakHash, count: usize, seed: u64) -> Vec<LookupKey> {
    let mut random = random(seed);
    let goal: u64 = random.random();
    // The high word without class and slice: the protocol above the ports. An odd
    // number times all ports is all ports.
    let ports = (0..=u32::MAX).map(|i| i.wrapping_mul(0x9e37_79b1) ^ goal as u32);
    let high_words = ports.map(|ports| u64::from(UDP) << 32 | u64::from(ports));
    match hash {
        WeakHash::Fx => {
            let inverse = inverse(WeakHash::FX);
            let low = |high: u64| (goal ^ high).rotate_right(5).wrapping_mul(inverse);
            high_words.map(|high| LookupKey::from_words(high, low(high))).take(count).collect()
        }
        WeakHash::FxPolynomial => {
            let inverse = inverse(WeakHash::FX_POLYNOMIAL);
            let low = |high: u64| goal.wrapping_sub(high).wrapping_mul(inverse);
            high_words.map(|high| LookupKey::from_words(high, low(high))).take(count).collect()
        }
        WeakHash::Fnv1a => {
            let start = random.next_u64();
            let addresses =
                (0..1u64 << 32).map(|i| start.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            addresses.filter_map(|addresses| fnv_ports(addresses, goal as u16)).take(count).collect()
        }
    }
}

/// The key with `addresses` and such ports that the low 16 bits of FNV-1a are `goal`
/// behind them. All octets that follow are the same in all keys and keep them equal.
///
/// The last octet sets the low 8 bits of the state, so the one before it has to bring
/// the next 8 about: one of its 256 values does on average, and there are two more
/// octets to vary.
fn fnv_ports(addresses: u64, goal: u16) -> Option<LookupKey> {
    let before = fnv(WeakHash::FNV_OFFSET, &addresses.to_le_bytes());
    // The state in front of the last multiplication, which is modulo 2^16 here.
    let wanted = goal.wrapping_mul(inverse(WeakHash::FNV_PRIME) as u16);
    (0..1u32 << 24).find_map(|octets| {
        let [c, b, a, _] = octets.to_le_bytes();
        let state = fnv(before, &[a, b, c]) as u16 ^ wanted;
        let last = u8::try_from(state).ok()?;
        let high = u64::from(UDP) << 32 | u64::from(u32::from_le_bytes([a, b, c, last]));
        Some(LookupKey::from_words(high, addresses))
    })
}

/// The inverse of an odd number modulo 2^64: each step of Newton's doubles the right
/// bits, of which there are 3 at first.
fn inverse(odd: u64) -> u64 {
    let step = |x: u64, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
    (0..5).fold(odd, step)
}

fn udp_flow(random: &mut Random) -> Flow {
    Flow {
        source: random.random(),
        destination: random.random(),
        source_port: random.random(),
        destination_port: random.random(),
        protocol: UDP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::key::TableKey;
    use crate::workloads::ranges::expansion;
    use proptest::prelude::*;

    fn masks(attack: &Attack) -> HashSet<LookupKey> {
        attack.patterns.iter().map(Pattern::mask).collect()
    }

    fn matching(attack: &Attack, key: LookupKey) -> Vec<usize> {
        (0..attack.patterns.len()).filter(|&i| attack.patterns[i].matches(key)).collect()
    }

    #[test]
    fn each_mask_is_another_and_each_filter_missed_by_a_bit() {
        for attack in [distinct_masks(20_000, 1), scattered_masks(20_000, 1)] {
            assert_eq!((attack.patterns.len(), masks(&attack).len()), (20_000, 20_000));
            for pattern in &attack.patterns {
                let missed = (pattern.value().bits() ^ attack.keys[0].bits()) & pattern.mask().bits();
                assert_eq!(missed.count_ones(), 1);
            }
        }
        let all = distinct_masks(usize::MAX, 1);
        assert_eq!((all.patterns.len(), masks(&all).len()), (DISTINCT_MASKS, DISTINCT_MASKS));
    }

    #[test]
    fn masks_that_differ_are_prefixes_of_each_field() {
        let prefix = |ones: u32, width: u32| {
            ones.leading_zeros() == 32 - width && {
                let top = ones << (32 - width);
                top.leading_ones() == top.count_ones()
            }
        };
        for pattern in distinct_masks(5000, 2).patterns {
            let mask = Flow::of(pattern.mask());
            assert_eq!(mask.key(), pattern.mask(), "the class is free");
            for (ones, width) in [
                (mask.source, 32),
                (mask.destination, 32),
                (mask.source_port.into(), 16),
                (mask.destination_port.into(), 16),
                (mask.protocol.into(), 8),
            ] {
                assert!(ones == 0 || prefix(ones, width), "{mask:x?}");
            }
        }
    }

    #[test]
    fn a_nested_key_matches_its_filter_and_all_wider_ones() {
        let attack = nested_wildcards(113, 1);
        for (i, &key) in attack.keys.iter().enumerate() {
            assert_eq!(matching(&attack, key), (i..113).collect::<Vec<_>>());
        }
        let chains = nested_wildcards(250, 1);
        assert_eq!((chains.patterns.len(), chains.keys.len()), (250, 250));
        assert!(chains.keys.iter().all(|&key| !matching(&chains, key).is_empty()));
        assert!(matching(&chains, chains.keys[0]).len() >= 114, "a chain and what matches all");
    }

    #[test]
    fn a_crossed_key_matches_two() {
        for filters in [2, 3, 100, 101] {
            let attack = crossed_wildcards(filters, 5);
            assert_eq!((attack.patterns.len(), attack.keys.len()), (filters, filters));
            assert_eq!(attack.patterns.iter().collect::<HashSet<_>>().len(), filters);
            assert_eq!(masks(&attack).len(), 2);
            for &key in &attack.keys {
                let [a, b] = matching(&attack, key)[..] else { panic!("{key:x?}") };
                assert!((a + b) % 2 == 1, "one of either kind");
            }
        }
        assert_eq!(crossed_wildcards(0, 1), Attack::default());
        assert_eq!((crossed_wildcards(1, 1).patterns.len(), crossed_wildcards(1, 1).keys.len()), (1, 0));
    }

    #[test]
    fn every_explosive_key_takes_another_mask_of_a_cache() {
        let attack = tuple_space_explosion(EXPLOSION_MASKS, 1);
        let accepted = Flow::of(attack.patterns[0].value()).destination_port;
        let mut masks = HashSet::new();
        for &key in &attack.keys {
            assert_eq!(matching(&attack, key), [3]);
            // What shows for each filter that it is not the one: a first bit that differs.
            let differs = attack.patterns[..3].iter().map(|pattern| {
                let differs = (key.bits() ^ pattern.value().bits()) & pattern.mask().bits();
                differs.leading_zeros()
            });
            masks.insert(differs.collect::<Vec<_>>());
        }
        assert_eq!(masks.len(), EXPLOSION_MASKS);
        assert!(attack.keys.iter().all(|&key| Flow::of(key).destination_port != accepted));
    }

    #[test]
    fn a_wide_rule_takes_900_entries() {
        assert!(wide_ranges(3, 1).iter().all(|rule| expansion(rule) == 900));
    }

    #[test]
    fn weak_hashes_are_those_of_the_crates() {
        use std::hash::{Hash, Hasher};
        /// FNV-1a as a hasher sees a key.
        struct Fnv(u64);
        impl Hasher for Fnv {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, octets: &[u8]) {
                self.0 = fnv(self.0, octets);
            }
        }
        let key = Flow { source: 7, destination_port: 80, ..Flow::default() }.key();
        let mut hasher = Fnv(WeakHash::FNV_OFFSET);
        key.hash(&mut hasher);
        assert_eq!(WeakHash::Fnv1a.hash(key.bits()), hasher.finish());
        // RFC 9923: of no octets, and of "a".
        assert_eq!(fnv(WeakHash::FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(WeakHash::FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(WeakHash::Fx.hash(1 << 64), WeakHash::FX);
        assert_eq!(WeakHash::FxPolynomial.hash(1 << 64), WeakHash::FX_POLYNOMIAL);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn colliding_keys_collide_and_differ(seed: u64, slice: u16) {
            for hash in WeakHash::ALL {
                let keys = colliding_keys(hash, 500, seed);
                prop_assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 500);
                let equal = u64::MAX >> (64 - hash.equal_bits());
                let low = |key: LookupKey| hash.hash(TableKey::new(SliceId(slice), key).bits()) & equal;
                for &key in &keys {
                    prop_assert_eq!(low(key), low(keys[0]), "{:?}", hash);
                    let flow = Flow::of(key);
                    prop_assert_eq!((flow.key(), flow.protocol), (key, UDP), "a plain UDP flow");
                }
            }
        }

        #[test]
        fn an_attack_is_its_seed(seed: u64) {
            for attack in [distinct_masks, scattered_masks, nested_wildcards, crossed_wildcards, tuple_space_explosion] {
                prop_assert_eq!(attack(100, seed), attack(100, seed));
                prop_assert_ne!(attack(100, seed), attack(100, seed ^ 1));
            }
        }

        #[test]
        fn inverses_are_inverse(number: u64) {
            prop_assert_eq!(inverse(number | 1).wrapping_mul(number | 1), 1);
        }
    }
}
