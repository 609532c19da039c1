//! Routing tables and a hash table of other crates: one key at a time, one owner.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ip_network_table_deps_treebitmap::{IpLookupTable, address};
use prefix_trie::{Prefix, PrefixMap};

use crate::side::{Built, Changing, Identifier, Route, Side, build, time};

/// An address as both crates take it.
pub trait Address: fastpath::prefix::Address + Hash {
    const WIDTH: u8;
    type Ip: address::Address + Copy + Ord;
    fn ip(self) -> Self::Ip;
}

impl Address for u32 {
    const WIDTH: u8 = 32;
    type Ip = Ipv4Addr;
    fn ip(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self)
    }
}

impl Address for u128 {
    const WIDTH: u8 = 128;
    type Ip = Ipv6Addr;
    fn ip(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self)
    }
}

/// prefix-trie.
pub struct Trie<A: Address>
where
    (A, u8): Prefix,
{
    map: PrefixMap<(A, u8), u32>,
    routes: Vec<Route<A>>,
    built: Built,
    keys: Vec<(A, u8)>,
    found: Vec<u32>,
}

impl<A: Address> Trie<A>
where
    (A, u8): Prefix,
{
    pub fn new(routes: &[Route<A>]) -> Self {
        let make = || routes.iter().map(|&(address, len, hop)| ((address, len), hop)).collect();
        let (map, built) = build(make);
        Self { map, routes: routes.to_vec(), built, keys: Vec::new(), found: Vec::new() }
    }
}

impl<A: Address> Side<A> for Trie<A>
where
    (A, u8): Prefix,
{
    fn name(&self) -> &str {
        "prefix-trie"
    }
    fn built(&self) -> Built {
        self.built
    }
    fn take(&mut self, keys: &[A]) {
        self.keys = keys.iter().map(|&key| (key, A::WIDTH)).collect();
        self.found = vec![0; keys.len()];
    }
    fn run(&mut self, keys: Range<usize>, _: usize) {
        for (key, found) in self.keys[keys.clone()].iter().zip(&mut self.found[keys]) {
            *found = self.map.get_lpm(key).map_or(0, |(_, hop)| *hop);
        }
    }
    fn touch(&self, keys: Range<usize>) {
        black_box(self.keys[keys].iter().max());
    }
    fn answers(&self) -> Vec<u32> {
        self.found.clone()
    }
}

impl<A: Address> Changing for Trie<A>
where
    (A, u8): Prefix,
{
    fn called(&self) -> &str {
        "prefix-trie, no reader"
    }
    fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
        for &at in drawn {
            let (address, len, hop) = self.routes[at % self.routes.len()];
            took.push(time(|| assert!(self.map.remove(&(address, len)).is_some())));
            took.push(time(|| assert!(self.map.insert((address, len), hop).is_none())));
        }
    }
}

/// treebitmap.
pub struct Bitmap<A: Address> {
    table: IpLookupTable<A::Ip, u32>,
    routes: Vec<Route<A>>,
    built: Built,
    keys: Vec<A::Ip>,
    found: Vec<u32>,
}

impl<A: Address> Bitmap<A> {
    pub fn new(routes: &[Route<A>]) -> Self {
        let (table, built) = build(|| {
            let mut table = IpLookupTable::new();
            for &(address, len, hop) in routes {
                table.insert(address.ip(), len.into(), hop);
            }
            table
        });
        Self { table, routes: routes.to_vec(), built, keys: Vec::new(), found: Vec::new() }
    }
}

impl<A: Address> Side<A> for Bitmap<A> {
    fn name(&self) -> &str {
        "treebitmap"
    }
    fn built(&self) -> Built {
        self.built
    }
    fn take(&mut self, keys: &[A]) {
        self.keys = keys.iter().map(|key| key.ip()).collect();
        self.found = vec![0; keys.len()];
    }
    fn run(&mut self, keys: Range<usize>, _: usize) {
        for (&key, found) in self.keys[keys.clone()].iter().zip(&mut self.found[keys]) {
            *found = self.table.longest_match(key).map_or(0, |(_, _, hop)| *hop);
        }
    }
    fn touch(&self, keys: Range<usize>) {
        black_box(self.keys[keys].iter().max());
    }
    fn answers(&self) -> Vec<u32> {
        self.found.clone()
    }
}

impl<A: Address> Changing for Bitmap<A> {
    fn called(&self) -> &str {
        "treebitmap, no reader"
    }
    fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
        for &at in drawn {
            let (address, len, hop) = self.routes[at % self.routes.len()];
            took.push(time(|| assert!(self.table.remove(address.ip(), len.into()).is_some())));
            took.push(time(|| assert!(self.table.insert(address.ip(), len.into(), hop).is_none())));
        }
    }
}

/// hashbrown, which the standard library's map is, with the hash that the crate's exact match
/// has: three multiplications under a key.
pub struct Map {
    map: HashMap<u128, u32, Keyed>,
    entries: Vec<(Identifier, u32)>,
    built: Built,
    keys: Vec<u128>,
    found: Vec<u32>,
}

/// The hash of src/lookup/exact/hash.rs.
#[derive(Clone, Copy)]
struct Keyed([u64; 6]);

struct Hashed(Keyed, u64);

impl BuildHasher for Keyed {
    type Hasher = Hashed;
    #[inline(always)]
    fn build_hasher(&self) -> Hashed {
        Hashed(*self, 0)
    }
}

impl Hasher for Hashed {
    #[inline(always)]
    fn write_u128(&mut self, key: u128) {
        let Self(Keyed(words), hash) = self;
        let (mut low, mut high) = (key as u64, (key >> 64) as u64);
        for words in words.as_chunks::<2>().0 {
            let product = u128::from(low.wrapping_add(words[0])) * u128::from(high.wrapping_add(words[1]));
            (low, high) = (product as u64, (product >> 64) as u64);
        }
        *hash = low ^ high;
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words");
    }
    #[inline(always)]
    fn finish(&self) -> u64 {
        self.1
    }
}

impl Map {
    pub fn new(entries: &[(Identifier, u32)]) -> Self {
        let mut rng = fastpath::conformance::Rng::new(9);
        let keyed = Keyed([(); 6].map(|()| rng.bits()));
        let (map, built) = build(|| {
            let mut map = HashMap::with_capacity_and_hasher(entries.len(), keyed);
            map.extend(entries.iter().map(|(key, value)| (key.0, *value)));
            map
        });
        Self { map, entries: entries.to_vec(), built, keys: Vec::new(), found: Vec::new() }
    }
}

impl Side<Identifier> for Map {
    fn name(&self) -> &str {
        "hashbrown"
    }
    fn built(&self) -> Built {
        self.built
    }
    fn take(&mut self, keys: &[Identifier]) {
        self.keys = keys.iter().map(|key| key.0).collect();
        self.found = vec![0; keys.len()];
    }
    fn run(&mut self, keys: Range<usize>, _: usize) {
        for (key, found) in self.keys[keys.clone()].iter().zip(&mut self.found[keys]) {
            *found = self.map.get(key).copied().unwrap_or(0);
        }
    }
    fn touch(&self, keys: Range<usize>) {
        black_box(self.keys[keys].iter().max());
    }
    fn answers(&self) -> Vec<u32> {
        self.found.clone()
    }
}

impl Changing for Map {
    fn called(&self) -> &str {
        "hashbrown, no reader"
    }
    fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
        for &at in drawn {
            let (key, value) = self.entries[at % self.entries.len()];
            took.push(time(|| assert!(self.map.remove(&key.0).is_some())));
            took.push(time(|| assert!(self.map.insert(key.0, value).is_none())));
        }
    }
}
