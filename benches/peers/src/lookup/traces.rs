//! The keys.

use fastpath::conformance::Rng;
use fastpath::lookup::Tcam;
use fastpath::workloads::classbench::Rule;
use fastpath::workloads::trace::{Addresses, Trace};
use fastpath::workloads::traffic::{Uniform, Zipf};
use fastpath::workloads::{Address, Prefix};

use crate::ours::Key;
use crate::side::{Identifier, Packet, Route};

/// Exponent of Zipf's law.
const S: f64 = 1.1;

/// The costliest keys are so many of as large a sample.
const COSTLY: [usize; 2] = [256, 4096];

/// Traces of `count` keys for rule sets, the n-th of which is slice n.
pub fn packets(sets: &[&[Rule]], ours: &Tcam<u32>, count: usize) -> Vec<(&'static str, Vec<Packet>)> {
    let uniform = |seed| sets.iter().map(|rules| Trace::uniform(rules, seed).unwrap()).collect();
    let zipf = sets.iter().map(|rules| Trace::zipf(rules, S, 3).unwrap()).collect();
    let space = |seed| sets.iter().map(|_| Trace::space(seed)).collect();
    let [worst, sample] = COSTLY;
    let mut drawn = mix(uniform(5), sample * 3 / 4);
    drawn.extend(mix(space(6), sample / 4));
    drawn.sort_by_cached_key(|key| std::cmp::Reverse(ours.explain(key.table_key()).lines));
    let costly = repeated(&drawn[..worst], count);
    vec![
        ("uniform", mix(uniform(2), count)),
        ("zipf", mix(zipf, count)),
        ("space", mix(space(4), count)),
        ("costly", costly),
    ]
}

/// The uniform trace alone.
pub fn mixed(sets: &[&[Rule]], count: usize) -> Vec<Packet> {
    mix(sets.iter().map(|rules| Trace::uniform(rules, 2).unwrap()).collect(), count)
}

/// Keys of all slices, of each as many as of any other.
fn mix(mut traces: Vec<Trace<'_>>, count: usize) -> Vec<Packet> {
    let slices = Uniform::new(traces.len(), 1).unwrap().take(count);
    slices.map(|slice| (slice as u16, traces[slice].next().unwrap())).collect()
}

/// Traces of `count` addresses for a routing table.
pub fn addresses<A: Address + 'static>(routes: &[Route<A>], count: usize) -> Vec<(&'static str, Vec<A>)> {
    let prefix = |&(address, len, _): &Route<A>| Prefix::new(address, len).unwrap();
    let prefixes: Vec<_> = routes.iter().map(prefix).collect();
    let within = |prefixes: &[Prefix<A>], seed| -> Vec<A> {
        Addresses::within(prefixes, seed).unwrap().take(count).collect()
    };
    let some: Vec<A> = Addresses::within(&prefixes, 3).unwrap().take(1 << 16).collect();
    let zipf = Zipf::new(some.len(), S, 4).unwrap().take(count).map(|at| some[at]).collect();
    let mut by_length = prefixes.clone();
    by_length.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    vec![
        ("uniform", within(&prefixes, 1)),
        ("zipf", zipf),
        ("space", Addresses::unicast(2).take(count).collect()),
        ("costly", within(&by_length[..prefixes.len().min(COSTLY[1])], 5)),
    ]
}

/// `entries` identifiers drawn at random, each with its number and 1, and traces of `count`.
#[expect(clippy::type_complexity, reason = "entries and traces")]
pub fn identifiers(
    entries: usize, count: usize,
) -> (Vec<(Identifier, u32)>, Vec<(&'static str, Vec<Identifier>)>) {
    let mut rng = Rng::new(8);
    let mut draw = || Identifier((u128::from(rng.bits()) << 64 | u128::from(rng.bits())) >> 16);
    let known: Vec<Identifier> = (0..entries).map(|_| draw()).collect();
    let uniform = repeated(&known, count);
    let half = uniform.iter().map(|known| if known.0 & 1 == 0 { *known } else { draw() }).collect();
    (known.into_iter().zip(1..).collect(), vec![("uniform", uniform), ("half unknown", half)])
}

/// `count` keys, each of `keys` about as often as any other.
fn repeated<K: Copy>(keys: &[K], count: usize) -> Vec<K> {
    Uniform::new(keys.len(), 7).unwrap().take(count).map(|at| keys[at]).collect()
}
