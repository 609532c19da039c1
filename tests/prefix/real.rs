//! A routing table of the Internet against a hash map for each length.
//!
//! Without the data a test prints that it is skipped; where `FASTPATH_REQUIRE_ORACLES` is
//! 1 it fails. Keys are sampled: the dev profile is slow.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use fastpath::epoch::Epochs;
use fastpath::prefix::*;

/// The lines of the table, or `None` and a word about it.
fn lines() -> Option<String> {
    let file = std::fs::File::open(crate::oracle::data("fib/internet-prefixes.txt.gz")?).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        mix(self.0)
    }
    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize * n) >> 32
    }
    fn bits(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

struct Naive<A>(Vec<HashMap<A, u32>>);

impl<A: Address> Naive<A> {
    fn new(prefixes: &[(Prefix<A>, u32)]) -> Self {
        let mut maps: Vec<_> = (0..=A::BITS).map(|_| HashMap::new()).collect();
        for (prefix, value) in prefixes {
            maps[prefix.len() as usize].insert(prefix.bits(), *value);
        }
        Self(maps)
    }
    fn get(&self, key: A) -> Option<NonZeroU32> {
        let lengths = self.0.iter().enumerate().rev().filter(|(_, map)| !map.is_empty());
        let found = lengths.filter_map(|(len, map)| map.get(&key.masked(len as u32))).next();
        found.and_then(|value| NonZeroU32::new(*value))
    }
}

fn compare<A: Address>(table: &impl PrefixTable<A>, naive: &Naive<A>, keys: &[A]) {
    let mut found = vec![None; keys.len()];
    table.lookup_batch(keys, &mut found);
    for (key, found) in keys.iter().zip(&found) {
        let want = naive.get(*key);
        assert_eq!((*found, table.lookup(*key)), (want, want), "{key:?}");
    }
}

/// `make` takes the top bits of a wide number, `next` adds 1 or subtracts it.
fn prove<A: Address>(
    mut routes: Vec<(Prefix<A>, u32)>, make: fn(u128) -> A, next: fn(A, bool) -> A, octets: [usize; 2],
) {
    let naive = Naive::new(&routes);
    let mut rng = Rng(42);
    let mut keys: Vec<A> = (0..40_000).map(|_| make(rng.bits())).collect();
    keys.extend((0..40_000).map(|_| make(rng.bits() >> 3 | 1 << 125)));
    // Inside and at the borders of prefixes.
    for _ in 0..40_000 {
        let prefix = routes[rng.below(routes.len())].0;
        let (first, within) = (prefix.bits(), make(rng.bits()));
        let last = first.with(make(u128::MAX), prefix.len());
        keys.extend([first.with(within, prefix.len()), first, last, next(first, false), next(last, true)]);
    }
    let table = PrefixTrie::load(routes.iter().copied(), Form::default()).unwrap();
    let size = table.octets();
    println!("{} prefixes, {size:?}, {} lines", table.len(), table.cost());
    assert!(size.read <= octets[0] && size.total <= octets[1], "{size:?}");
    assert_eq!(table.len(), routes.len());
    compare(&table, &naive, &keys);
    let mut listed = 0;
    for (prefix, value) in table.iter() {
        listed += 1;
        assert_eq!(naive.0[prefix.len() as usize].get(&prefix.bits()), Some(&value));
    }
    assert_eq!(listed, routes.len());

    // One by one in random order; then half of it out, then all.
    rng.shuffle(&mut routes);
    let form = Form { direct_bits: Some(18), flat: Some(A::BITS == 32), open: Some(true), ..Form::default() };
    let mut table = PrefixTrie::new(form);
    for (prefix, value) in &routes {
        assert_eq!(table.insert(*prefix, *value), Ok(None));
    }
    compare(&table, &naive, &keys);
    let (gone, kept) = routes.split_at(routes.len() / 2);
    for (prefix, value) in gone {
        assert_eq!(table.remove(*prefix), Some(*value));
    }
    compare(&table, &Naive::new(kept), &keys);
    let (read, mut control) = table.into_halves();
    let mut epochs = Epochs::new(0);
    for (prefix, value) in kept {
        assert_eq!(control.remove(&read, &mut epochs, *prefix), Ok(Some(*value)));
    }
    assert_eq!((control.blocks(), control.len(), read.iter().count()), ((0, 0), 0, 0));
}

fn routes<A: Address>(
    text: &str, parse: impl Fn(&str) -> Option<A>, fold: fn(A) -> u64,
) -> Vec<(Prefix<A>, u32)> {
    let route = |line: &str| {
        let (address, len) = line.split_once('/')?;
        let address = parse(address)?;
        let len: u32 = len.trim().parse().ok()?;
        let value = 1 + (mix(mix(fold(address)) ^ u64::from(len)) % 254) as u32;
        Some((Prefix::new(address, len)?, value))
    };
    text.lines().filter_map(route).collect()
}

#[test]
fn internet_routes_of_ipv4() {
    let Some(text) = lines() else { return };
    let routes = routes(&text, |a| a.parse::<Ipv4Addr>().ok().map(u32::from), |a| a.into());
    assert_eq!(routes.len(), 901_899);
    let next = |a: u32, up| if up { a.wrapping_add(1) } else { a.wrapping_sub(1) };
    prove(routes, |bits| (bits >> 96) as u32, next, [23_000_000, 40_000_000]);
}

#[test]
fn internet_routes_of_ipv6() {
    let Some(text) = lines() else { return };
    let routes = routes(&text, |a| a.parse::<Ipv6Addr>().ok().map(u128::from), |a| (a ^ a >> 64) as u64);
    assert_eq!(routes.len(), 160_147);
    let next = |a: u128, up| if up { a.wrapping_add(1) } else { a.wrapping_sub(1) };
    prove(routes, |bits| bits, next, [11_500_000, 18_500_000]);
}
