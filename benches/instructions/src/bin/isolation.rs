//! `isolation N VECTORS`: looks so many vectors of 32 keys up in a slice of a shared table,
//! while another slice holds hostile set number `N`. (A number: an argument of another length
//! would move the stack, and copies cost what their alignment makes them.) The first slice's lookups must
//! take as many instructions whatever that is; `isolation.sh` counts them.

use std::hint::black_box;

use fastpath::lookup::{Tcam, TcamConfig, TcamReader};
use fastpath::prelude::*;
use fastpath::workloads::Pattern;
use fastpath::workloads::adversary::{self, Attack, WeakHash};

const OURS: SliceId = SliceId(1);
const THEIRS: SliceId = SliceId(2);

/// What another slice may try.
fn hostile(name: &str) -> Option<Attack> {
    Some(match name {
        "0" => return None,
        "1" => adversary::distinct_masks(2_000, 1),
        "2" => adversary::scattered_masks(2_000, 2),
        "3" => adversary::nested_wildcards(2_000, 3),
        "4" => adversary::crossed_wildcards(2_000, 4),
        "5" => adversary::tuple_space_explosion(4_096, 5),
        "6" => {
            let keys = adversary::colliding_keys(WeakHash::Fx, 2_000, 6);
            let patterns = keys.iter().map(|key| Pattern::new(*key, fastpath::key::LookupKey::MAX)).collect();
            Attack { patterns, keys }
        }
        _ => panic!("unknown: {name}"),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, vectors) = (arguments.next().unwrap(), arguments.next().unwrap());
    let vectors: usize = vectors.parse().unwrap();
    let mut tcam = Tcam::<u32>::new(TcamConfig::default());
    // Ours: 1,000 filters on addresses and ports, from a fixed seed.
    let mut state = 88_172_645_463_325_252u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut keys = Vec::new();
    let mut filters = Vec::new();
    for rank in 0..1000 {
        let (source, destination) = (8 + noise() % 25, 8 + noise() % 25);
        let prefix = |len: u64| u128::from(u32::MAX << (32 - len));
        let mask = prefix(source) << 32 | prefix(destination) | u128::from(noise() % 2) * (0xffff << 64);
        let value = u128::from(noise()) | u128::from(noise() % 1024) << 64;
        let (value, mask) = (LookupKey::new(value), LookupKey::new(mask));
        filters.push((Rank(rank), Filter::new(OURS, value, mask).into(), rank));
        keys.push(TableKey::new(OURS, value));
    }
    tcam.load(OURS, filters).unwrap();
    let mut taken = 0;
    if let Some(attack) = hostile(&name) {
        // As many as its bound lets it have.
        let filters = |count: usize| {
            let patterns = attack.patterns.iter().take(count).zip(0..);
            patterns.map(|(pattern, rank)| (Rank(rank), pattern.filter(THEIRS).into(), rank))
        };
        taken = attack.patterns.len();
        while taken > 0 && tcam.load(THEIRS, filters(taken)).is_err() {
            taken /= 2;
        }
    }
    look_up(&tcam.reader().unwrap(), &keys, vectors);
    println!("{taken} filters taken");
}

/// What is counted.
#[inline(never)]
fn look_up(reader: &TcamReader<u32>, keys: &[TableKey], vectors: usize) {
    let mut found = [None; 32];
    for vector in keys.as_chunks::<32>().0.iter().cycle().take(vectors) {
        reader.lookup_batch(black_box(vector), &mut found);
        black_box(&found);
    }
}
