//! Traces: flows that match a rule set, addresses that match a routing table.
//!
//! Draws are independent of each other. For a trace in which a few flows carry most
//! packets, draw some flows here and choose among them by
//! [`Zipf`].
//!
//! ```
//! use fastpath::workloads::classbench::{Rule, first_match};
//! use fastpath::workloads::trace::Trace;
//!
//! let rules = [Rule { source_ports: 80..=80, ..Rule::any() }];
//! assert!(Trace::uniform(&rules, 1)?.take(100).all(|flow| first_match(&rules, &flow) == Some(0)));
//! assert!(Trace::space(1).take(100).any(|flow| first_match(&rules, &flow).is_none()));
//! # Ok::<(), fastpath::workloads::traffic::TrafficError>(())
//! ```

use core::ops::RangeInclusive;
use std::vec::Vec;

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::workloads::classbench::Rule;
use crate::workloads::traffic::{TrafficError, Uniform, Zipf};
use crate::workloads::{Address, Flow, Prefix, Random, random};

/// Flows drawn for a rule set: an endless iterator.
///
/// A flow is a random point of the box that a rule describes, so it matches that rule,
/// and may match one of higher precedence too:
/// [`first_match`](crate::workloads::classbench::first_match) tells. Ports are drawn for every
/// protocol, as rules state them; packets of a protocol without ports have 0 there.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    rules: &'a [Rule],
    choice: Choice,
    random: Random,
}

#[derive(Clone, Debug)]
enum Choice {
    Uniform(Uniform),
    /// The rules by popularity.
    Zipf(Zipf, Vec<usize>),
    /// No rule.
    Space,
}

impl<'a> Trace<'a> {
    /// Each rule as often as any other.
    ///
    /// # Errors
    ///
    /// [`TrafficError::Empty`] if there are no rules.
    pub fn uniform(rules: &'a [Rule], seed: u64) -> Result<Self, TrafficError> {
        let mut random = random(seed);
        let choice = Choice::Uniform(Uniform::new(rules.len(), random.random())?);
        Ok(Self { rules, choice, random })
    }

    /// The k-th most popular rule in proportion to 1 / k^s. Which rules are popular has
    /// nothing to do with their precedence: it is drawn.
    ///
    /// # Errors
    ///
    /// As [`Zipf::new`].
    pub fn zipf(rules: &'a [Rule], s: f64, seed: u64) -> Result<Self, TrafficError> {
        let mut random = random(seed);
        let zipf = Zipf::new(rules.len(), s, random.random())?;
        let mut order: Vec<usize> = (0..rules.len()).collect();
        order.shuffle(&mut random);
        Ok(Self { rules, choice: Choice::Zipf(zipf, order), random })
    }

    /// Any 5-tuple as often as any other, whatever the rules: most match few of them.
    pub fn space(seed: u64) -> Trace<'static> {
        Trace { rules: &[], choice: Choice::Space, random: random(seed) }
    }
}

impl Iterator for Trace<'_> {
    type Item = Flow;

    fn next(&mut self) -> Option<Flow> {
        let index = match &mut self.choice {
            Choice::Uniform(uniform) => uniform.next()?,
            Choice::Zipf(zipf, order) => *order.get(zipf.next()?)?,
            Choice::Space => return Some(within(&Rule::any(), &mut self.random)),
        };
        self.rules.get(index).map(|rule| within(rule, &mut self.random))
    }
}

/// A random point of the box of `rule`.
fn within(rule: &Rule, random: &mut Random) -> Flow {
    let protocol = rule.protocol.value() | random.random::<u8>() & !rule.protocol.mask();
    Flow {
        source: rule.source.with_host_bits(random.random()),
        destination: rule.destination.with_host_bits(random.random()),
        source_port: port(&rule.source_ports, random),
        destination_port: port(&rule.destination_ports, random),
        protocol,
    }
}

/// A port of the range, its start if it is empty.
fn port(ports: &RangeInclusive<u16>, random: &mut Random) -> u16 {
    if ports.is_empty() { *ports.start() } else { random.random_range(ports.clone()) }
}

/// Addresses drawn for a routing table: an endless iterator.
#[derive(Clone, Debug)]
pub struct Addresses<'a, A = u32> {
    /// `None`: any unicast address.
    prefixes: Option<&'a [Prefix<A>]>,
    random: Random,
}

impl<'a, A: Address> Addresses<'a, A> {
    /// A random address of a random prefix, each prefix as often as any other: all
    /// match.
    ///
    /// # Errors
    ///
    /// [`TrafficError::Empty`] if there are no prefixes.
    pub fn within(prefixes: &'a [Prefix<A>], seed: u64) -> Result<Self, TrafficError> {
        if prefixes.is_empty() {
            return Err(TrafficError::Empty);
        }
        Ok(Self { prefixes: Some(prefixes), random: random(seed) })
    }
}

impl<A: Address> Addresses<'static, A> {
    /// Any address that may stand in the routing table of the Internet as often as any
    /// other, whether it does or not: 1.0.0.0 to 223.255.255.255, or 2000::/3.
    pub fn unicast(seed: u64) -> Self {
        Self { prefixes: None, random: random(seed) }
    }
}

impl<A: Address> Iterator for Addresses<'_, A> {
    type Item = A;

    fn next(&mut self) -> Option<A> {
        let Some(prefixes) = self.prefixes else {
            return Some(A::unicast(self.random.random()));
        };
        let index = self.random.random_range(0..prefixes.len());
        let bits = self.random.random();
        prefixes.get(index).map(|prefix| prefix.with_host_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::classbench::Protocol;
    use std::vec;

    fn rules(n: u16) -> Vec<Rule> {
        let source = |i| Prefix::new(u32::from(i) << 16, 16).unwrap();
        let protocol = Protocol::new(0x10, 0xf0);
        (0..n).map(|i| Rule { source: source(i), source_ports: i..=2 * i, protocol, ..Rule::any() }).collect()
    }

    /// How often each rule was drawn; no two of these match one flow.
    fn popularity(trace: Trace<'_>, rules: &[Rule], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; rules.len()];
        for flow in trace.take(draws) {
            let matching: Vec<_> = (0..rules.len()).filter(|&i| rules[i].matches(&flow)).collect();
            assert_eq!(matching.len(), 1, "{flow:?}");
            counts[matching[0]] += 1;
        }
        counts
    }

    #[test]
    fn every_flow_lies_in_a_rule_and_every_rule_has_its_share() {
        let rules = rules(10);
        let counts = popularity(Trace::uniform(&rules, 1).unwrap(), &rules, 20_000);
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 250), "{counts:?}");
        let mut ports: Vec<u16> =
            Trace::uniform(&rules[9..], 2).unwrap().take(1000).map(|f| f.source_port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.iter().copied().eq(9..=18), "both ends of a range are drawn");
    }

    #[test]
    fn popular_rules_are_not_the_first_ones() {
        let rules = rules(100);
        let mut counts = popularity(Trace::zipf(&rules, 1.0, 4).unwrap(), &rules, 50_000);
        assert!(counts[0] < 5_000, "the first rule is the most popular once in 100 seeds");
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let total: f64 = (1..=100).map(|k| 1.0 / f64::from(k)).sum();
        for k in [1, 2, 5, 20] {
            let expected = 50_000.0 / total / k as f64;
            let found = counts[k - 1] as f64;
            assert!((found / expected - 1.0).abs() < 0.15, "{k}: {found} {expected}");
        }
    }

    #[test]
    fn a_trace_is_its_seed() {
        let rules = rules(10);
        let draw = |seed| Trace::zipf(&rules, 1.0, seed).unwrap().take(20).collect::<Vec<_>>();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(Trace::uniform(&[], 1).err(), Some(TrafficError::Empty));
        assert_eq!(Trace::zipf(&[], 1.0, 1).err(), Some(TrafficError::Empty));
        assert_eq!(Addresses::<u32>::within(&[], 1).err(), Some(TrafficError::Empty));
    }

    #[test]
    fn the_space_is_filled_evenly() {
        let flows: Vec<_> = Trace::space(5).take(10_000).collect();
        for bit in 0..104 {
            let ones = flows.iter().filter(|flow| flow.key().bits() >> bit & 1 == 1).count();
            assert!(ones.abs_diff(5000) < 300, "bit {bit}: {ones}");
        }
    }

    #[test]
    fn addresses_match_or_are_unicast() {
        let prefixes = [Prefix::new(0x0a00_0000u32, 8).unwrap(), Prefix::new(0xc000_0200, 24).unwrap()];
        let drawn: Vec<_> = Addresses::within(&prefixes, 1).unwrap().take(1000).collect();
        assert!(drawn.iter().all(|&address| prefixes.iter().any(|prefix| prefix.contains(address))));
        let short = drawn.iter().filter(|&&address| prefixes[0].contains(address)).count();
        assert!(short.abs_diff(500) < 80);

        let firsts = Addresses::<u32>::unicast(1).take(20_000).map(|address| address >> 24);
        let mut seen: Vec<_> = firsts.collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.iter().copied().eq(1..=223));
        assert!(Addresses::<u128>::unicast(1).take(1000).all(|address| address >> 125 == 1));
    }
}
