//! Ranges as prefixes, and rules as the ternary filters a table holds.
//!
//! A ternary entry says for each bit 0, 1 or any, so a range of ports takes several:
//! one for each of the fewest prefixes that make it up. That is at most 30 for 16 bits
//! (1 to 65,534), so 900 for a rule with two such ranges (V. Srinivasan, G. Varghese,
//! S. Suri, M. Waldvogel, "Fast and Scalable Layer Four Switching", SIGCOMM 1998).
//!
//! ```
//! use fastpath::workloads::ranges::prefixes;
//!
//! let ephemeral: Vec<_> = prefixes(&(1024..=65535)).map(|p| (p.value, p.mask)).collect();
//! let doubling = [1024, 2048, 4096, 8192, 16384, 32768u16];
//! assert_eq!(ephemeral, doubling.map(|start| (start, !(start - 1))));
//! assert_eq!(prefixes(&(1..=65534)).count(), 30);
//! ```

use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::{Filter, RangedFilter, Rank};

pub use crate::lookup::port_prefixes as prefixes;
use crate::workloads::classbench::Rule;
use crate::workloads::{Flow, Pattern};

/// The patterns a rule takes in a ternary table: source ports outside, destination
/// ports inside. No two of them match one key; the class octet is not looked at.
pub fn expand(rule: &Rule) -> impl Iterator<Item = Pattern> + Clone + use<> {
    let mask_of = |source_port, destination_port| Flow {
        source: rule.source.mask(),
        destination: rule.destination.mask(),
        source_port,
        destination_port,
        protocol: rule.protocol.mask(),
    };
    let value_of = |source_port, destination_port| Flow {
        source: rule.source.address(),
        destination: rule.destination.address(),
        source_port,
        destination_port,
        protocol: rule.protocol.value(),
    };
    // What all patterns of the rule share, and the ports of each above it.
    let (value, mask) = (value_of(0, 0).key().bits(), mask_of(0, 0).key().bits());
    let ports = |source_port, destination_port| {
        Flow { source_port, destination_port, ..Flow::default() }.key().bits()
    };
    let inner = prefixes(&rule.destination_ports);
    prefixes(&rule.source_ports).flat_map(move |s| {
        inner.clone().map(move |d| {
            let value = LookupKey::new(value | ports(s.value, d.value));
            Pattern::new(value, LookupKey::new(mask | ports(s.mask, d.mask)))
        })
    })
}

/// How many patterns [`expand`] yields: 1 to 900.
pub fn expansion(rule: &Rule) -> usize {
    prefixes(&rule.source_ports).count() * prefixes(&rule.destination_ports).count()
}

/// A whole rule set as filters with ranges, one for each rule. The rank of a rule is its
/// index.
pub fn ranged(slice: SliceId, rules: &[Rule]) -> impl Iterator<Item = (Rank, RangedFilter)> {
    let every = || 0..=u16::MAX;
    rules.iter().zip(0..).filter_map(move |(rule, rank)| {
        let (low, high) = (rule.destination_ports.clone(), rule.source_ports.clone());
        // Without its ranges a rule is one pattern. No range of a rule is empty.
        let open = Rule { source_ports: every(), destination_ports: every(), ..rule.clone() };
        let filter = expand(&open).next()?.filter(slice);
        Some((Rank(rank), RangedFilter::new(filter, low, high)?))
    })
}

/// A whole rule set as filters of `slice`. The rank of a rule is its index, so that the
/// first rule wins; all filters of a rule share it.
pub fn filters(slice: SliceId, rules: &[Rule]) -> impl Iterator<Item = (Rank, Filter)> {
    rules
        .iter()
        .zip(0..)
        .flat_map(move |(rule, index)| expand(rule).map(move |pattern| (Rank(index), pattern.filter(slice))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::Prefix;
    use crate::workloads::classbench::Protocol;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Fewest prefixes by the recursion over the binary tree of all numbers.
    fn fewest(low: u32, high: u32, first: u32, size: u32) -> usize {
        let last = first + size - 1;
        if high < first || last < low {
            0
        } else if low <= first && last <= high {
            1
        } else {
            fewest(low, high, first, size / 2) + fewest(low, high, first + size / 2, size / 2)
        }
    }

    fn check(low: u16, high: u16) -> Result<(), TestCaseError> {
        let mut next = u32::from(low);
        for crate::lookup::PortPrefix { value, mask } in prefixes(&(low..=high)) {
            prop_assert_eq!(u32::from(value), next, "no gap and no overlap");
            prop_assert_eq!(mask.count_ones(), mask.leading_ones());
            prop_assert_eq!(value & !mask, 0);
            next += u32::from(!mask) + 1;
        }
        prop_assert_eq!(next, u32::from(high) + 1);
        let count = prefixes(&(low..=high)).count();
        prop_assert_eq!(count, fewest(low.into(), high.into(), 0, 1 << 16));
        prop_assert!(count <= 30);
        Ok(())
    }

    #[test]
    fn known_counts() {
        let cases = [
            (0..=65535, 1),
            (1..=65534, 30),
            (1..=65535, 16),
            (0..=65534, 16),
            (1024..=65535, 6),
            (0..=1023, 1),
            (65535..=65535, 1),
            (0..=0, 1),
            (32767..=32768, 2),
        ];
        for (ports, count) in cases {
            assert_eq!(prefixes(&ports).count(), count, "{ports:?}");
            check(*ports.start(), *ports.end()).unwrap();
        }
        #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
        let backwards = 7..=6;
        assert_eq!(prefixes(&backwards).count(), 0);
        let mut walked = 65535..=65535u16;
        assert_eq!((walked.next(), prefixes(&walked).count()), (Some(65535), 0));
    }

    proptest! {
        #[test]
        fn a_range_is_covered_exactly_and_by_the_fewest(a: u16, b: u16) {
            check(a.min(b), a.max(b))?;
        }

        #[test]
        fn so_are_ranges_near_the_ends(a in 0u16..64, b in 0u16..64) {
            check(a, u16::MAX - b)?;
            check(a.min(b), a.max(b))?;
            check(u16::MAX - a.max(b), u16::MAX - a.min(b))?;
        }

        /// Keys of few bits, so that some match.
        #[test]
        fn a_rule_and_its_patterns_match_the_same(
            source_len in 28u8..=32, destination_len in 28u8..=32, ports: [u16; 4], protocol: (u8, u8),
            flows in prop::collection::vec((0u32..16, 0u32..16, any::<u16>(), any::<u16>(), any::<u8>()), 32),
        ) {
            let [a, b, c, d] = ports;
            let rule = Rule {
                source: Prefix::new(5, source_len).unwrap(),
                destination: Prefix::new(9, destination_len).unwrap(),
                source_ports: a.min(b)..=a.max(b),
                destination_ports: c.min(d)..=c.max(d),
                protocol: Protocol::new(protocol.0, protocol.1),
            };
            let patterns: Vec<_> = expand(&rule).collect();
            prop_assert_eq!(patterns.len(), expansion(&rule));
            let edges = [(5, 9, a, c, protocol.0), (5, 9, b, d, protocol.0), (5, 9, a.wrapping_sub(1), d, 0)];
            for (source, destination, source_port, destination_port, protocol) in flows.into_iter().chain(edges) {
                let flow = Flow { source, destination, source_port, destination_port, protocol };
                let matches = patterns.iter().filter(|pattern| pattern.matches(flow.key())).count();
                prop_assert_eq!(matches, usize::from(rule.matches(&flow)));
            }
        }
    }

    proptest! {
        /// A rule with its ranges matches what its expansion matches.
        #[test]
        fn a_ranged_rule_is_the_rule(
            source_ports: [u16; 2], destination_ports: [u16; 2], flow in any::<[u16; 2]>(), protocol: Option<u8>,
        ) {
            let range = |[a, b]: [u16; 2]| a.min(b)..=a.max(b);
            let protocol = protocol.map_or(Protocol::ANY, Protocol::exactly);
            let ports = (range(source_ports), range(destination_ports));
            let rule = Rule { source_ports: ports.0, destination_ports: ports.1, protocol, ..Rule::any() };
            let [(rank, ranged)] = ranged(SliceId(1), core::slice::from_ref(&rule)).collect::<Vec<_>>()[..] else { panic!() };
            prop_assert_eq!((rank, ranged.expand().count()), (Rank(0), expansion(&rule)));
            let flow = Flow { source_port: flow[0], destination_port: flow[1], ..Flow::default() };
            let key = crate::key::TableKey::new(SliceId(1), flow.key());
            prop_assert_eq!(ranged.matches(key), rule.matches(&flow));
        }
    }

    #[test]
    fn filters_of_a_rule_share_its_index_as_rank() {
        let rules = vec![Rule { source_ports: 1..=2, ..Rule::any() }, Rule::any()];
        let slice = SliceId(9);
        let filters: Vec<_> = filters(slice, &rules).collect();
        assert_eq!(filters.iter().map(|(rank, _)| rank.0).collect::<Vec<_>>(), [0, 0, 1]);
        assert!(filters.iter().all(|(_, filter)| filter.slice() == slice));
    }
}
