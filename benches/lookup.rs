//! Time a key, table by table. One of your own is one more line of `main`'s list: what
//! makes it, from a number of filters. Every table must answer as the linear scan does.

#[path = "world/mod.rs"]
mod world;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastpath::lookup::{Row, StrideBlock, StrideTcam, Tcam, TcamConfig};
use fastpath::prelude::*;
use fastpath::workloads::Prefix;
use fastpath::workloads::trace::Addresses;

const SLICE: SliceId = world::SLICE;
const KEYS: usize = 1 << 14;

/// `count` routes, /24 to /20, and keys that match them.
fn routes_and_keys(count: u32) -> (Vec<(u32, u8)>, Vec<TableKey>) {
    let routes: Vec<_> = (0..count)
        .map(|n| {
            let len = 20 + (n % 5) as u8;
            ((0x0100_0000 + (n << 12)) & (u32::MAX << (32 - len)), len)
        })
        .collect();
    let prefixes: Vec<_> = routes.iter().map(|&(network, len)| Prefix::new(network, len).unwrap()).collect();
    let key = |destination| Ipv4Key { protocol: 17, source: 0xc0a8_0001, destination, ..Ipv4Key::default() };
    let keys = Addresses::within(&prefixes, 7).unwrap().take(KEYS);
    (routes, keys.map(|address| TableKey::new(SLICE, key(address).into())).collect())
}

fn bench_table<T: TernaryUpdate<Value = EgressId>>(
    c: &mut Criterion, name: &str, most: u32, make: impl Fn(usize) -> T,
) {
    let mut group = c.benchmark_group("lookup");
    for count in [5u32, 64, 1024, 16_384].into_iter().filter(|count| *count <= most) {
        let (routes, keys) = routes_and_keys(count);
        let (mut table, mut scan) = (make(routes.len()), linear(routes.len()));
        for (&(network, len), n) in routes.iter().zip(0..) {
            let (value, mask) = Ipv4Key::route(network, len);
            let (rank, filter) = (Rank::longest_prefix(32, len), Filter::new(SLICE, value, mask));
            let egress = EgressId::new(n).unwrap();
            assert!(table.insert(rank, filter, egress).is_ok());
            scan.insert(rank, filter, egress).unwrap();
        }
        // The same answers, or no comparison.
        for key in keys.iter().step_by(64) {
            assert_eq!(table.lookup(*key), scan.lookup(*key));
        }
        group.throughput(Throughput::Elements(KEYS as u64));
        group.bench_function(BenchmarkId::new(format!("{name}/batch"), count), |b| {
            b.iter(|| {
                for keys in keys.as_chunks::<32>().0 {
                    let mut found = [None; 32];
                    keys.iter().for_each(|key| table.prefetch(*key));
                    table.lookup_batch(keys, &mut found);
                    black_box(&found);
                }
            });
        });
        group.bench_function(BenchmarkId::new(format!("{name}/single"), count), |b| {
            b.iter(|| keys.iter().for_each(|key| _ = black_box(table.lookup(*key))));
        });
    }
}

fn lookup(c: &mut Criterion) {
    bench_table(c, "linear", 1024, linear);
    bench_table(c, "stride/64", 64, |filters| {
        StrideTcam::new([const { StrideBlock::<1>::NEW }; 1], vec![None; filters].into_boxed_slice())
    });
    bench_table(c, "stride", 1024, |filters| {
        let blocks = vec![StrideBlock::<4>::NEW; filters.div_ceil(StrideBlock::<4>::FILTERS)];
        StrideTcam::new(blocks.into_boxed_slice(), vec![None; filters].into_boxed_slice())
    });
    bench_table(c, "tcam", 16_384, |_| Tcam::new(TcamConfig::default()));
}

fn linear(filters: usize) -> LinearTcam<Box<[Option<Row<EgressId>>]>> {
    LinearTcam::new(vec![None; filters].into_boxed_slice())
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(1));
    targets = lookup
}
criterion_main!(benches);
