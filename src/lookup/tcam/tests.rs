//! The table against the linear scan, through all engines and changes of engine.

use super::*;
use crate::code_option::ipv4::Ipv4Key;
use crate::conformance::{self, Rng};
use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::{
    AllMatches, Filter, LinearTcam, RangedFilter, Rank, Simd, TableError, TableErrorKind, TernaryTable,
    TernaryUpdate,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

const SLICES: [SliceId; 3] = [SliceId(1), SliceId(2), SliceId(40)];

fn config(filters: usize) -> TcamConfig {
    TcamConfig { filters, ..TcamConfig::default() }
}

/// Routes with a few policy filters and other masks among them.
fn patterns(rng: &mut Rng) -> (Rank, LookupKey, LookupKey) {
    match rng.below(4) {
        0 => {
            let mut bits = |n| LookupKey::new(u128::from(rng.below(n)) | u128::from(rng.below(n)) << 108);
            let (value, mask) = (bits(8), bits(8));
            (Rank(rng.below(4) as u32), value, mask)
        }
        _ => {
            let len = rng.pick(&[0, 9, 16, 23, 24, 25, 30, 32]);
            let address = 0x0a00_0000
                | (rng.below(4) << 22 | rng.below(2) << 8 | rng.below(4) << 6 | rng.below(4)) as u32;
            let (value, mask) = Ipv4Key::route(address, len);
            (Rank::longest_prefix(32, len), value, mask)
        }
    }
}

#[test]
fn it_is_a_table() {
    conformance::ternary_table(|| Tcam::new(config(90)), patterns, &SLICES, 40, 1);
    conformance::all_matches(|| Tcam::new(config(90)), patterns, &SLICES, 40, 2);
    // No room for all of it.
    conformance::ternary_table(|| Tcam::new(config(30)), patterns, &SLICES, 40, 3);
}

/// What may happen to a slice.
#[derive(Clone, Debug)]
enum Op {
    Route(u32, u8, u32),
    Policy(u32, u32, u16, u16, u32),
    Exact(u32, u32),
    Remove(usize),
    Replace(usize, u32),
    Load(Vec<(u32, u8)>),
    Burst(u32, u32),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![Just(0u8), Just(8), Just(20), Just(24), Just(28), Just(32)];
    prop_oneof![
        6 => (0u32..32, len.clone(), any::<u32>()).prop_map(|(n, len, v)| Op::Route(n << 4, len, v >> 2)),
        6 => (0u32..6, 0u32..64, 0u16..9, 0u16..9, any::<u32>()).prop_map(|(r, d, a, b, v)| Op::Policy(r, d, a, b, v)),
        2 => (0u32..300, any::<u32>()).prop_map(|(n, v)| Op::Exact(n, v)),
        4 => any::<usize>().prop_map(Op::Remove),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(n, v)| Op::Replace(n, v)),
        1 => prop::collection::vec((0u32..4096, len), 0..150).prop_map(Op::Load),
        1 => (0u32..4, 60u32..150).prop_map(|(kind, n)| Op::Burst(kind, n)),
        1 => Just(Op::Clear),
    ]
}

const SLICE: SliceId = SliceId(7);

fn route(to: u32, len: u8) -> (Rank, RangedFilter) {
    let (value, mask) = Ipv4Key::route(to, len);
    (Rank::longest_prefix(32, len), Filter::new(SLICE, value, mask).into())
}

fn policy(rank: u32, to: u32, from: u16, ports: u16) -> (Rank, RangedFilter) {
    // Of the destination some low bits, and a range of ports.
    let mask = LookupKey::new(u128::from(to >> 3 & 7));
    let filter = Filter::new(SLICE, LookupKey::new(u128::from(to & 7)), mask);
    (Rank(rank), RangedFilter::new(filter, from..=from + ports, 0..=u16::MAX).unwrap())
}

fn exact(number: u32) -> (Rank, RangedFilter) {
    let value = LookupKey::new(u128::from(number) << 96);
    (Rank(9), Filter::new(SLICE, value, LookupKey::new(0xffff << 96)).into())
}

/// Rows as they should be: identity to order and value.
#[derive(Default)]
struct Model {
    rows: Vec<(Rank, RangedFilter, u32)>,
}

impl Model {
    fn insert(&mut self, rank: Rank, filter: RangedFilter, value: u32) -> Option<u32> {
        match self.rows.iter_mut().find(|row| (row.0, row.1) == (rank, filter)) {
            Some(row) => Some(core::mem::replace(&mut row.2, value)),
            None => {
                let at = self.rows.partition_point(|row| row.0 <= rank);
                self.rows.insert(at, (rank, filter, value));
                None
            }
        }
    }

    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let at = self.rows.iter().position(|row| (row.0, row.1) == (rank, *filter))?;
        Some(self.rows.remove(at).2)
    }

    fn matches(&self, key: TableKey) -> impl Iterator<Item = u32> {
        self.rows.iter().filter(move |row| row.1.matches(key)).map(|row| row.2)
    }
}

fn keys() -> Vec<TableKey> {
    let bits = (0..64u128).flat_map(|low| {
        let wide = [low, low << 4 | 3, low << 6];
        wide.into_iter()
            .flat_map(move |to| [0, 5, 9, 200].map(|rest| to | rest << 64 | (low * 5 % 300) << 96))
    });
    bits.map(|bits| TableKey::new(SLICE, LookupKey::new(bits))).collect()
}

fn check(tcam: &Tcam<u32>, reader: &TcamReader<u32>, model: &Model, keys: &[TableKey]) {
    assert_eq!(tcam.len(SLICE), model.rows.len());
    let mut found = vec![None; keys.len()];
    reader.lookup_batch(keys, &mut found);
    for (&key, found) in keys.iter().zip(found) {
        let expected: Vec<u32> = model.matches(key).collect();
        assert_eq!(found, expected.first().copied(), "batch, {key:x?}");
        assert_eq!(tcam.lookup(key), found, "{key:x?}");
        assert!(tcam.matches(key).map(|hit| hit.value).eq(expected), "all matches of {key:x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the history and the machine, it answers as a scan, to its writer and to a
    /// reader.
    #[test]
    fn it_is_a_scan(history in prop::collection::vec(op(), 1..60), portable: bool) {
        let simd = if portable { Simd::Portable } else { Simd::Detect };
        let mut tcam = Tcam::<u32>::new(TcamConfig { lines: 1000, simd, ..config(100_000) });
        let mut reader = tcam.reader().unwrap();
        let mut model = Model::default();
        let keys = keys();
        for (at, op) in history.into_iter().enumerate() {
            let mut insert = |(rank, filter): (Rank, RangedFilter), value: u32, model: &mut Model| {
                let expected = model.insert(rank, filter, value);
                assert_eq!(tcam.insert_ranged(rank, filter, value), Ok(expected));
            };
            match op {
                Op::Route(to, len, value) => insert(route(to, len), value, &mut model),
                Op::Policy(rank, to, from, ports, value) => insert(policy(rank, to, from, ports), value, &mut model),
                Op::Exact(number, value) => insert(exact(number), value, &mut model),
                Op::Burst(kind, count) => for n in 0..count {
                    match kind {
                        0 => insert(route(n << 7, 25), n, &mut model),
                        1 => insert(exact(n), n, &mut model),
                        2 => insert(policy(n % 7, n, (n % 5) as u16, (n % 4) as u16), n, &mut model),
                        _ => insert(route(n << 8, (n % 33) as u8), n, &mut model),
                    }
                },
                Op::Remove(n) | Op::Replace(n, _) if model.rows.is_empty() => _ = n,
                Op::Remove(n) => {
                    let (rank, filter, _) = model.rows[n % model.rows.len()];
                    let removed = model.remove(rank, &filter);
                    prop_assert_eq!(tcam.remove_ranged(rank, &filter), removed);
                    prop_assert_eq!(tcam.remove_ranged(rank, &filter), None);
                }
                Op::Replace(n, value) => {
                    let (rank, filter, _) = model.rows[n % model.rows.len()];
                    let handle = tcam.find(rank, &filter).unwrap();
                    let old = model.insert(rank, filter, value);
                    prop_assert_eq!(tcam.replace_by(handle, value).ok(), old);
                }
                Op::Load(routes) => {
                    model = Model::default();
                    let all = routes.iter().zip(0..).map(|(&(to, len), n)| {
                        let (rank, filter) = route(to << 4, len);
                        model.insert(rank, filter, n);
                        (rank, filter, n)
                    });
                    prop_assert_eq!(tcam.load(SLICE, all), Ok(()));
                }
                Op::Clear => {
                    model = Model::default();
                    tcam.clear(SLICE);
                }
            }
            reader.quiescent();
            if at % 8 == 0 {
                check(&tcam, &reader, &model, &keys);
            }
        }
        check(&tcam, &reader, &model, &keys);
        let listed: HashMap<_, _> = tcam.iter(SLICE).map(|e| ((e.place.rank(), e.filter), e.value)).collect();
        let expected: HashMap<_, _> = model.rows.iter().map(|row| ((row.0, row.1), row.2)).collect();
        prop_assert_eq!(listed, expected);
        for (rank, filter, value) in model.rows.drain(..) {
            prop_assert_eq!(tcam.remove_ranged(rank, &filter), Some(value));
        }
        check(&tcam, &reader, &model, &keys);
    }
}

#[test]
fn the_engine_follows_the_filters() {
    let mut tcam = Tcam::<u32>::new(TcamConfig::default());
    let plan = |tcam: &Tcam<u32>| tcam.plan(SLICE).map(|plan| (plan.upper, plan.routes)).unwrap();
    assert_eq!(plan(&tcam), (None, false));
    for n in 0..200 {
        let (rank, filter) = exact(n);
        tcam.insert_ranged(rank, filter, n).unwrap();
        assert_eq!(plan(&tcam).0, Some(if n < 130 { plan(&tcam).0.unwrap() } else { "exact match" }), "{n}");
    }
    let (rank, filter) = policy(3, 77, 3, 3);
    tcam.insert_ranged(rank, filter, 5).unwrap();
    assert_eq!(plan(&tcam), (Some("forest"), false), "another mask");
    tcam.load(SLICE, (0..100).map(|n| (route(n << 8, 24).0, route(n << 8, 24).1, n))).unwrap();
    assert_eq!(plan(&tcam), (None, true));
    tcam.insert_ranged(rank, filter, 5).unwrap();
    assert_eq!(plan(&tcam), (Some("scan"), true), "policy above routes");
    assert!(tcam.plan(SLICE).unwrap().lines <= 40);
    tcam.clear(SLICE);
    assert_eq!((plan(&tcam), tcam.len(SLICE), tcam.is_empty()), ((None, false), 0, true));
    for n in 0..5 {
        tcam.insert_ranged(route(n << 8, 24).0, route(n << 8, 24).1, n).unwrap();
        assert_eq!(plan(&tcam), (None, true), "routes alone, however few");
    }
    tcam.insert_ranged(rank, filter, 5).unwrap();
    assert_eq!(plan(&tcam), (Some("scan"), false), "few, and policy above them");
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut tcam = Tcam::<u32>::new(TcamConfig { slices: 8, ..config(10) });
    let at = |slice: u16, n: u32| {
        RangedFilter::from(Filter::new(SliceId(slice), LookupKey::new(n.into()), LookupKey::MAX))
    };
    assert_eq!(tcam.reserve(SliceId(1), 4), Ok(()));
    for n in 0..6 {
        tcam.insert_ranged(Rank(0), at(2, n), n).unwrap();
    }
    assert_eq!(tcam.insert_ranged(Rank(0), at(2, 6), 6), Err(TcamError::Full(SliceId(2))), "4 are promised");
    assert_eq!(tcam.insert_ranged(Rank(0), at(2, 5), 9), Ok(Some(5)), "to replace is no new filter");
    for n in 0..4 {
        tcam.insert_ranged(Rank(0), at(1, n), n).unwrap();
    }
    assert_eq!(tcam.insert_ranged(Rank(0), at(1, 4), 4), Err(TcamError::Full(SliceId(1))));
    assert_eq!(tcam.reserve(SliceId(3), 1), Err(TcamError::Reserve { asked: 1, left: 0 }));
    assert_eq!(tcam.load(SliceId(3), [(Rank(0), at(3, 0), 1)]), Err(TcamError::Full(SliceId(3))));
    let other = TcamError::OtherSlice { slice: SliceId(1), other: SliceId(2) };
    assert_eq!(tcam.load(SliceId(1), [(Rank(0), at(2, 0), 1)]), Err(other));
    let unknown = TcamError::UnknownSlice { slice: SliceId(8), slices: 8 };
    assert_eq!(tcam.insert_ranged(Rank(0), at(8, 0), 1), Err(unknown));
    assert_eq!(tcam.lookup(TableKey::new(SliceId(8), LookupKey::new(0))), None);
    let handle = tcam.find(Rank(0), &at(1, 2)).unwrap();
    assert_eq!(tcam.remove_by(handle), Ok(2));
    assert_eq!(tcam.remove_by(handle), Err(TcamError::UnknownHandle));
    assert_eq!(tcam.replace_by(handle, 1), Err(TcamError::UnknownHandle));
    assert_eq!((tcam.len(SliceId(1)), tcam.len(SliceId(2))), (3, 6));
}

#[test]
fn a_set_beyond_the_bound_is_refused_in_any_order() {
    // All masks differ: nothing to cut on, and nothing to hash.
    let mut rng = Rng::new(5);
    let filters: Vec<_> = (0..600u32)
        .map(|n| {
            let bits =
                |rng: &mut Rng| u128::from(rng.below(u64::MAX)) << 40 | u128::from(rng.below(u64::MAX));
            let filter = Filter::new(
                SLICE,
                LookupKey::new(bits(&mut rng)),
                LookupKey::new(bits(&mut rng) & bits(&mut rng) & bits(&mut rng)),
            );
            (Rank(n), RangedFilter::from(filter))
        })
        .collect();
    let fill = |order: &mut dyn Iterator<Item = &(Rank, RangedFilter)>| {
        let mut tcam = Tcam::<u32>::new(TcamConfig { lines: 40, ..TcamConfig::default() });
        let mut refused = 0;
        for &(rank, filter) in order {
            let before = tcam.len(SLICE);
            match tcam.insert_ranged(rank, filter, rank.0) {
                Ok(_) => {}
                Err(TcamError::Cost { lines, bound: 40, .. }) if lines > 40 => {
                    refused += 1;
                    assert_eq!(tcam.len(SLICE), before);
                }
                Err(error) => panic!("{error}"),
            }
            assert!(tcam.plan(SLICE).unwrap().lines <= 40);
        }
        refused
    };
    assert!(fill(&mut filters.iter()) > 0 && fill(&mut filters.iter().rev()) > 0);
}

#[test]
fn a_stalled_reader_bounds_what_waits() {
    let mut tcam = Tcam::<u32>::new(TcamConfig { deferred: 1 << 20, lines: 500, ..TcamConfig::default() });
    let load = |tcam: &mut Tcam<u32>, n: u32| {
        tcam.load(SLICE, (0..500).map(|at| (Rank(at), policy(at, at, 1, 2).1, n)))
    };
    load(&mut tcam, 0).unwrap();
    let stalled = tcam.reader().unwrap();
    let error = (1..1000).find_map(|n| load(&mut tcam, n).err()).expect("it cannot go on for ever");
    assert!(matches!(error, TcamError::Deferred(octets) if octets > 1 << 20), "{error}");
    assert_eq!(error.kind(), TableErrorKind::Busy);
    let key = TableKey::new(SLICE, LookupKey::new(0));
    assert_eq!(tcam.lookup(key), stalled.lookup(key));
    drop(stalled);
    assert_eq!(load(&mut tcam, 7), Ok(()));
    assert_eq!(tcam.reclaim(), 0);
}

/// While a writer inserts, removes and loads, each answer is one that was right at some time
/// during the lookup: filters come and go in pairs that leave every key with an answer.
#[test]
fn readers_never_see_a_hole() {
    let mut tcam = Tcam::<u32>::new(TcamConfig::default());
    for n in 0..300 {
        let (rank, filter) = route(n << 8, 24);
        tcam.insert_ranged(rank, filter, n).unwrap();
    }
    let (rank, default) = route(0, 0);
    tcam.insert_ranged(rank, default, 1_000_000).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let reader = tcam.reader().unwrap();
    std::thread::scope(|scope| {
        let done = &done;
        let checks = scope.spawn(move || {
            let (mut reader, mut rng, mut checks) = (reader, Rng::new(3), 0u64);
            while !done.load(core::sync::atomic::Ordering::Relaxed) {
                let keys: Vec<_> = (0..64)
                    .map(|_| {
                        let to = rng.below(300 << 8) as u32;
                        TableKey::new(
                            SLICE,
                            LookupKey::from(Ipv4Key { destination: to, ..Ipv4Key::default() }),
                        )
                    })
                    .collect();
                let mut found = vec![None; 64];
                reader.lookup_batch(&keys, &mut found);
                for (key, found) in keys.iter().zip(found) {
                    let net = key.bits() as u32 >> 8;
                    let right = [Some(net), Some(1_000_000), Some(2_000_000 + net % 16)];
                    assert!(right.contains(&found), "{net}: {found:?}");
                }
                reader.quiescent();
                checks += 1;
            }
            checks
        });
        /// Whatever happens to the writer, readers end.
        struct End<'a>(&'a std::sync::atomic::AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, core::sync::atomic::Ordering::Relaxed);
            }
        }
        let end = End(done);
        let mut rng = Rng::new(9);
        for _ in 0..20_000 {
            let n = rng.below(300) as u32;
            let (rank, filter) = route(n << 8, 24);
            match rng.below(4) {
                0 => _ = tcam.remove_ranged(rank, &filter),
                1 => {
                    while let Err(error) = tcam.insert_ranged(rank, filter, n) {
                        assert!(matches!(error, TcamError::Deferred(_)), "{error}");
                        std::thread::yield_now();
                    }
                }
                kind => {
                    // Policy above the routes: of 16 networks each.
                    let filter =
                        Filter::new(SLICE, LookupKey::new(u128::from(n % 16) << 8), LookupKey::new(15 << 8));
                    if kind == 2 {
                        tcam.insert(Rank(5), filter, 2_000_000 + n % 16).unwrap();
                    } else {
                        tcam.remove(Rank(5), &filter).unwrap();
                    }
                }
            }
        }
        drop(end);
        assert!(checks.join().unwrap() > 0);
    });
    let mut scan = LinearTcam::new(vec![None; 400].into_boxed_slice());
    tcam.iter(SLICE)
        .for_each(|entry| _ = scan.insert(entry.place.rank(), *entry.filter.filter(), entry.value).unwrap());
    for n in 0..300u32 {
        let key = TableKey::new(SLICE, LookupKey::new(u128::from(n << 8 | 7)));
        assert_eq!(tcam.lookup(key), scan.lookup(key));
    }
}

/// Vectors of one slice, of several, and with lanes that have no packet, whose keys are the
/// substrate's; with each kind of engine, and of any length.
#[test]
fn a_batch_is_a_lookup_of_each_key() {
    let mut tcam = Tcam::<u32>::new(TcamConfig { lines: 1000, ..TcamConfig::default() });
    let mut rng = Rng::new(21);
    let slices = [SliceId::SUBSTRATE, SliceId(1), SliceId(2), SliceId(3), SliceId(4), SliceId(5), SliceId(6)];
    let fill = |tcam: &mut Tcam<u32>, slice: SliceId, count: u32, kind: u16| {
        let rows = (0..count).map(|n| {
            let (rank, filter) = match kind {
                0 => exact(n),
                1 => route(n << 12, 20),
                2 => policy(n % 9, n, (n % 5) as u16, 3),
                // Both, and a wide field.
                3 if n % 8 == 0 => policy(n % 9, n, (n % 5) as u16, 3),
                3 => route(n << 8, 24),
                _ => {
                    let bits = LookupKey::new(u128::from(n) << 30);
                    (
                        Rank::longest_prefix(64, 34),
                        Filter::new(SLICE, bits, LookupKey::new(u64::MAX as u128 & !0x3fff_ffff)).into(),
                    )
                }
            };
            let own = Filter::new(
                slice,
                LookupKey::new(filter.filter().value()),
                LookupKey::new(filter.filter().mask()),
            );
            let [low, high] = filter.ranges();
            let filter = if filter.is_ternary() {
                own.into()
            } else {
                RangedFilter::new(own, low.0..=low.1, high.0..=high.1).unwrap()
            };
            (rank, filter, n)
        });
        tcam.load(slice, rows).unwrap();
    };
    for (&slice, (count, kind)) in
        slices[1..].iter().zip([(5, 1), (2000, 1), (300, 0), (500, 2), (900, 3), (700, 4)])
    {
        fill(&mut tcam, slice, count, kind);
    }
    for with_substrate in [false, true] {
        if with_substrate {
            fill(&mut tcam, SliceId::SUBSTRATE, 700, 1);
        }
        let reader = tcam.reader().unwrap();
        for round in 0..3000 {
            let some = [rng.pick(&slices), rng.pick(&slices), rng.pick(&slices)];
            let few = 1 + rng.below(3) as usize;
            let keys: Vec<_> = (0..rng.below(70))
                .map(|_| {
                    let bits = rng.below(1 << 24) | rng.below(8) << 30;
                    let ports = u128::from(rng.below(9)) << 64 | u128::from(rng.below(400)) << 96;
                    TableKey::new(rng.pick(&some[..few]), LookupKey::new(u128::from(bits) | ports))
                })
                .collect();
            let mut found = vec![Some(7); keys.len() + 3];
            reader.lookup_batch(&keys, &mut found);
            for (key, found) in keys.iter().zip(&found) {
                assert_eq!(*found, tcam.lookup(*key), "round {round}, {key:x?}");
                assert_eq!(*found, tcam.matches(*key).next().map(|hit| hit.value));
            }
            assert_eq!(found[keys.len()..], [Some(7); 3]);
        }
    }
}
