//! The readers and the expansion against rule sets and a routing table made by others,
//! and the counts that were taken of them by other means.
//!
//! Without the data a test prints that it is skipped; where `FASTPATH_REQUIRE_ORACLES` is
//! 1 it fails.
#![cfg(feature = "workloads")]

#[path = "support/oracle.rs"]
mod oracle;

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;

use fastpath::id::SliceId;
use fastpath::workloads::classbench::{self, Protocol, Rule, first_match};
use fastpath::workloads::packets::UNKNOWN_DESTINATION;
use fastpath::workloads::ranges::{expansion, filters};
use fastpath::workloads::routes::{self, Route};
use fastpath::workloads::trace::{Addresses, Trace};

fn rules(name: &str) -> Option<Vec<Rule>> {
    let path = oracle::data(&format!("classbench/{name}.rules.xz"))?;
    let text = lzma_rust2::XzReader::new(BufReader::new(File::open(path).unwrap()), false);
    Some(classbench::read(BufReader::new(text)).unwrap())
}

fn internet() -> Option<Vec<Route>> {
    let path = oracle::data("fib/internet-prefixes.txt.gz")?;
    let text = flate2::read::GzDecoder::new(File::open(path).unwrap());
    Some(routes::read(BufReader::new(text)).unwrap())
}

/// Rules of the 1K set, rules of the 10K set, ternary entries of that and the most for
/// one rule.
const SETS: [(&str, [usize; 4]); 10] = [
    ("acl1", [942, 9774, 13300, 15]),
    ("acl2", [961, 9476, 19083, 15]),
    ("acl3", [990, 9419, 15772, 11]),
    ("acl5", [933, 7298, 9223, 6]),
    ("fw1", [857, 9379, 31654, 36]),
    ("fw2", [971, 9655, 17675, 6]),
    ("fw4", [847, 8775, 53535, 90]),
    ("fw5", [864, 8833, 20653, 36]),
    ("ipc1", [974, 9518, 12738, 12]),
    ("ipc2", [696, 10000, 10000, 1]),
];

#[test]
fn rule_sets_expand_to_the_entries_counted_elsewhere() {
    let mut all = 0;
    for (name, expected) in SETS {
        let (small, large) = (rules(&format!("{name}_1k")), rules(&format!("{name}_10k")));
        let (Some(small), Some(large)) = (small, large) else { return };
        let most = large.iter().map(expansion).max().unwrap_or(0);
        let entries = filters(SliceId(1), &large).count();
        assert_eq!([small.len(), large.len(), entries, most], expected, "{name}");
        assert_eq!(large.iter().map(expansion).sum::<usize>(), entries, "{name}");
        all += entries;
    }
    assert_eq!(all, 203_633);
}

/// Read by the book: split at tabs, trusting the form.
fn naive(line: &str) -> Option<Rule> {
    let columns: Vec<&str> = line.strip_prefix('@')?.split('\t').collect();
    let [source, destination, source_ports, destination_ports, protocol, ..] = columns[..] else {
        return None;
    };
    let prefix = |text: &str| {
        let (address, len) = text.split_once('/')?;
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        fastpath::workloads::Prefix::new(address.into(), len.parse().ok()?)
    };
    let ports = |text: &str| {
        let (low, high) = text.split_once(" : ")?;
        Some(low.parse().ok()?..=high.parse().ok()?)
    };
    let hex = |text: &str| u8::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (value, mask) = protocol.split_once('/')?;
    Some(Rule {
        source: prefix(source)?,
        destination: prefix(destination)?,
        source_ports: ports(source_ports)?,
        destination_ports: ports(destination_ports)?,
        protocol: Protocol::new(hex(value)?, hex(mask)?),
    })
}

#[test]
fn every_rule_is_read_as_it_stands() {
    use std::io::BufRead;
    for (name, _) in SETS {
        let Some(rules) = rules(&format!("{name}_10k")) else { return };
        let path = oracle::data(&format!("classbench/{name}_10k.rules.xz")).unwrap();
        let text = lzma_rust2::XzReader::new(BufReader::new(File::open(path).unwrap()), false);
        let lines = BufReader::new(text).lines().map(|line| naive(&line.unwrap()).unwrap());
        assert!(lines.eq(rules.iter().cloned()), "{name}");
        let protocols: HashSet<_> = rules.iter().map(|rule| rule.protocol.mask()).collect();
        assert!(protocols.is_subset(&[0, 0xff].into()), "{name}: one protocol or all");
    }
}

/// Of all filters of the set those of the lowest rank that match are those of the first
/// rule that matches.
#[test]
fn filters_answer_as_rules_do() {
    for (name, _) in SETS {
        let Some(rules) = rules(&format!("{name}_1k")) else { return };
        let slice = SliceId(3);
        let filters: Vec<_> = filters(slice, &rules).collect();
        let mut hits = 0;
        let uniform = Trace::uniform(&rules, 1).unwrap().take(200);
        let zipf = Trace::zipf(&rules, 1.0, 2).unwrap().take(200);
        for flow in uniform.chain(zipf).chain(Trace::space(3).take(200)) {
            let key = fastpath::key::TableKey::new(slice, flow.key());
            let best = filters.iter().filter(|(_, filter)| filter.matches(key)).map(|(rank, _)| rank.0).min();
            assert_eq!(best.map(|rank| rank as usize), first_match(&rules, &flow), "{name}: {flow:?}");
            hits += u32::from(best.is_some());
        }
        assert!(hits >= 400, "{name}: traffic of the rules matches them");
    }
}

#[test]
fn the_routing_table_of_the_internet_is_read_whole() {
    let Some(table) = internet() else { return };
    let v4: Vec<_> = table.iter().filter_map(|route| route.prefix.v4()).collect();
    let v6: Vec<_> = table.iter().filter_map(|route| route.prefix.v6()).collect();
    assert_eq!((v4.len(), v6.len(), table.len()), (901_899, 160_147, 1_062_046));
    assert!(table.iter().zip(1..).all(|(route, line)| route.line == line && route.value.is_none()));
    let distinct: HashSet<_> = table.iter().map(|route| route.prefix).collect();
    assert_eq!(distinct.len(), table.len(), "no prefix stands there twice");
    assert!(!v4.iter().any(|prefix| prefix.contains(UNKNOWN_DESTINATION)));

    let lengths: HashSet<_> = v4.iter().map(|prefix| (prefix.address(), prefix.len())).collect();
    let covered = |address: u32| {
        (0..=32).any(|len| {
            let prefix = fastpath::workloads::Prefix::new(address, len).unwrap();
            lengths.contains(&(prefix.address(), len))
        })
    };
    assert!(Addresses::within(&v4, 1).unwrap().take(10_000).all(covered));
    let covered = Addresses::<u32>::unicast(1).take(10_000).filter(|&address| covered(address)).count();
    assert!((5_000..10_000).contains(&covered), "{covered} of 10,000 addresses have a route");
}
