//! Why a key finds what it finds.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use fastpath::id::SliceId;
use fastpath::workloads::Flow;
use fastpath::workloads::classbench::Rule;
use fastpath::workloads::routes::Route;
use serde::Serialize;

use super::files::{Rules, Set};
use super::table::{Tables, table_key};
use super::trace::Key;
use super::wide::Wide;

/// Rules that do not match are shown one by one where there are no more of them.
const FEW: usize = 16;

/// Sets of more rules are not searched for rules that never win.
const SEARCHED: usize = 2000;

const MISSES: &str = "does not match";

/// What became of a key.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    slice: u16,
    key: String,
    answer: Option<u32>,
    /// Cache lines that its lookup touches.
    lines: u32,
    rules: Vec<Outcome>,
    /// Rules that do not match, where they are too many to show.
    rest: Option<Rest>,
}

/// What became of a rule.
#[derive(Debug, Serialize)]
struct Outcome {
    number: u32,
    rule: String,
    outcome: &'static str,
    why: String,
}

/// How many rules each field rules out, of those that the fields before it do not.
#[derive(Debug, Default, Serialize)]
struct Rest {
    source: usize,
    destination: usize,
    source_port: usize,
    destination_port: usize,
    protocol: usize,
    /// Prefixes.
    prefix: usize,
}

/// What the rules of its slice make of `key`.
pub(crate) fn explain(sets: &[Set], tables: &Tables, key: Key) -> Explained {
    let (slice, set) = (tables.kept()[key.slice()].slice, &sets[key.slice()]);
    let (matches, lines) = match (key, table_key(key)) {
        (_, Some(table_key)) => {
            let explanation = tables.tcam.explain(table_key);
            let matches = explanation.matches.iter();
            (matches.map(|found| (found.entry.value, found.wins)).collect(), explanation.lines)
        }
        (Key::V6(slice, address), _) => {
            let wide = tables.wide[slice].as_ref();
            let matches = wide.into_iter().flat_map(|wide| wide.matches(address)).zip(0..);
            (matches.map(|((_len, number), at)| (number, at == 0)).collect(), wide.map_or(0, Wide::lines))
        }
        (_, None) => (Vec::new(), 0),
    };
    let matches: Vec<(u32, bool)> = matches;
    let answer = matches.iter().find(|(_, wins)| *wins).map(|(number, _)| *number);
    let mut rules: Vec<_> = matches.iter().map(|&(number, wins)| found(set, number, wins, answer)).collect();
    let rest = match &set.rules {
        Rules::None => None,
        Rules::Filters(filters) => others(filters, key, &matches, &mut rules),
        Rules::Routes(routes) => {
            let same = |route: &&Route| route.prefix.v4().is_some() == matches!(key, Key::V4(..));
            let prefix = routes.iter().filter(same).count() - matches.len();
            (prefix > 0).then(|| Rest { prefix, ..Rest::default() })
        }
    };
    Explained { slice, key: key.to_string(), answer, lines, rules, rest }
}

/// A rule that matches.
fn found(set: &Set, number: u32, wins: bool, answer: Option<u32>) -> Outcome {
    let (rule, order) = match &set.rules {
        Rules::None => (String::new(), ""),
        Rules::Filters(rules) => {
            (rules.get(number as usize).map_or_else(String::new, shown), "stands before it")
        }
        Rules::Routes(routes) => {
            let at = routes.binary_search_by_key(&(number as usize + 1), |route| route.line);
            (at.map_or_else(|_| String::new(), |at| routes[at].prefix.to_string()), "is longer")
        }
    };
    match answer {
        Some(first) if !wins => Outcome { number, rule, outcome: "loses", why: format!("{first} {order}") },
        _ => Outcome {
            number,
            rule,
            outcome: "wins",
            why: match &set.rules {
                Rules::Routes(_) => "the longest that matches".into(),
                _ => "the first that matches".into(),
            },
        },
    }
}

/// The rules that do not match: a few are shown, many are counted.
fn others(
    filters: &[Rule], key: Key, matches: &[(u32, bool)], shown_rules: &mut Vec<Outcome>,
) -> Option<Rest> {
    let Key::Flow(_, flow) = key else { return None };
    let mut rest = Rest::default();
    for (rule, number) in filters.iter().zip(0..) {
        if matches.iter().any(|(found, _)| *found == number) {
            continue;
        }
        let misses = misses(rule, &flow);
        if filters.len() <= FEW {
            let why = misses.iter().map(|(_, why)| why.clone()).collect::<Vec<_>>().join(", ");
            shown_rules.push(Outcome { number, rule: shown(rule), outcome: MISSES, why });
        } else if let Some((field, _)) = misses.first() {
            *field.count(&mut rest) += 1;
        }
    }
    (filters.len() > FEW).then_some(rest)
}

#[derive(Clone, Copy)]
enum Field {
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    Protocol,
}

impl Field {
    fn count(self, rest: &mut Rest) -> &mut usize {
        match self {
            Self::Source => &mut rest.source,
            Self::Destination => &mut rest.destination,
            Self::SourcePort => &mut rest.source_port,
            Self::DestinationPort => &mut rest.destination_port,
            Self::Protocol => &mut rest.protocol,
        }
    }
}

/// The fields of `flow` that are not as `rule` says.
fn misses(rule: &Rule, flow: &Flow) -> Vec<(Field, String)> {
    let mut misses = Vec::new();
    let addresses = [
        (Field::Source, "source", rule.source, flow.source),
        (Field::Destination, "destination", rule.destination, flow.destination),
    ];
    for (field, name, prefix, address) in addresses {
        if !prefix.contains(address) {
            misses.push((field, format!("{name} {} is not in {prefix}", Ipv4Addr::from_bits(address))));
        }
    }
    let ports = [
        (Field::SourcePort, "source port", &rule.source_ports, flow.source_port),
        (Field::DestinationPort, "destination port", &rule.destination_ports, flow.destination_port),
    ];
    for (field, name, range, port) in ports {
        if !range.contains(&port) {
            misses.push((field, format!("{name} {port} is not {}", shown_ports(range))));
        }
    }
    if !rule.protocol.matches(flow.protocol) {
        misses.push((Field::Protocol, format!("protocol {} is not {}", flow.protocol, shown_protocol(rule))));
    }
    misses
}

/// Filters that no key can find, where the sets are small enough to look for them.
pub(crate) fn shadowed(sets: &[Set], tables: &Tables) -> Vec<String> {
    let mut lines = Vec::new();
    for ((set, slice), kept) in sets.iter().zip(0..).zip(tables.kept()) {
        let Rules::Filters(rules) = &set.rules else { continue };
        if rules.len() > SEARCHED {
            continue;
        }
        for shadowed in tables.tcam.shadowed(SliceId(slice)) {
            let (rule, by) = (shadowed.entry.value, shadowed.by.value);
            lines.push(format!(
                "slice {}: rule {rule} never wins: rule {by} stands before it and matches all that it matches",
                kept.slice
            ));
        }
    }
    lines
}

/// A rule as a reader of headers would write it.
fn shown(rule: &Rule) -> String {
    let Rule { source, destination, source_ports, destination_ports, .. } = rule;
    let ports = format!("{} > {}", shown_ports(source_ports), shown_ports(destination_ports));
    format!("{source} > {destination}, ports {ports}, protocol {}", shown_protocol(rule))
}

fn shown_ports(ports: &RangeInclusive<u16>) -> String {
    match (*ports.start(), *ports.end()) {
        (0, u16::MAX) => "any".into(),
        (low, high) if low == high => low.to_string(),
        (low, high) => format!("{low}-{high}"),
    }
}

fn shown_protocol(rule: &Rule) -> String {
    match (rule.protocol.number(), rule.protocol.mask()) {
        (Some(number), _) => number.to_string(),
        (None, 0) => "any".into(),
        (None, mask) => format!("{:#04x}/{mask:#04x}", rule.protocol.value()),
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slice, key, answer, lines, rules, rest } = self;
        let answer = answer.map_or_else(|| "-".into(), |number| number.to_string());
        writeln!(f, "{answer}: {key} in slice {slice}, {lines} cache lines")?;
        for Outcome { number, rule, outcome, why } in rules {
            match *outcome {
                MISSES => writeln!(f, "  {number} {MISSES}: {why}")?,
                outcome => writeln!(f, "  {number} {outcome}: {why}: {rule}")?,
            }
        }
        let Some(rest) = rest else { return Ok(()) };
        let Rest { source, destination, source_port, destination_port, protocol, prefix } = *rest;
        let counts = [
            (source, "by source"),
            (destination, "by destination"),
            (source_port, "by source port"),
            (destination_port, "by destination port"),
            (protocol, "by protocol"),
            (prefix, "by prefix"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        if counts.is_empty() { Ok(()) } else { writeln!(f, "  ruled out: {}", counts.join(", ")) }
    }
}
