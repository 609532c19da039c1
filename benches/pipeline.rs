//! Time a packet takes on the path: by stage, size of packet and of pool, dispatch,
//! vector, mix of slices, number of records. Packets are written while no clock runs.
//! Beside a loop fused by hand in C: `peers/`.

#[path = "world/mod.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastpath::code_option::CodeOptionSet;
use fastpath::prelude::*;
use world::{List, QUEUES, Route, Source, Stage, VECTOR};

const DESTINATIONS: usize = 1 << 18;
/// What the second-level cache holds, and what it does not.
const POOLS: [(&str, usize); 2] = [("1 MB", 480), ("64 MB", 29_952)];

type Path<C, T, E> = FastPath<world::Ports, C, T, E, NoSram, Counts>;
type Counts = Counters<Box<[Count]>, [Count; QUEUES], Box<[Count]>>;

fn stats(egresses: usize, slices: usize) -> Counts {
    let counters = |count| vec![Count::ZERO; count].into_boxed_slice();
    Counters { egresses: counters(egresses), queues: [Count::ZERO; QUEUES], slices: counters(slices * ROW) }
}

/// One slice, five routes, options of one's choice.
fn plain<C>(options: C) -> Path<C, world::Table, [Egress; QUEUES]> {
    let FastPath { decap, table, egress, sram, .. } = world::path(&world::five_routes());
    FastPath { decap, options, table, egress, sram, stats: stats(QUEUES, 2) }
}

/// Runs `path` over pools full of packets.
fn bench<C, T, E, const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, path: &mut Path<C, T, E>, stage: Stage,
    source: &mut Source, buffers: usize,
) where
    C: CodeOptionSet,
    T: TernaryTable<Value = EgressId>,
    E: EgressTable,
{
    let (mut queues, mut list) = (world::queues(4096), List::new());
    let mut free = world::pool(buffers);
    let mut ready = Vec::with_capacity(buffers);
    group.throughput(Throughput::Elements(buffers as u64));
    group.bench_function(id, |b| {
        b.iter_custom(|passes| {
            let mut time = Duration::ZERO;
            for _ in 0..passes {
                ready.extend(free.drain(..).map(|buffer| source.packet(buffer)));
                let start = Instant::now();
                world::run::<_, _, _, _, _, N>(stage, path, &mut queues, &mut list, &mut ready, &mut free);
                time += start.elapsed();
            }
            assert_eq!(free.len(), buffers, "no packet is lost");
            time
        });
    });
}

fn source(routes: &[Route], inner: usize) -> Source {
    Source::new(inner, world::destinations(routes, DESTINATIONS))
}

fn stages(c: &mut Criterion) {
    let mut path = plain((Ipv4::default(),));
    for (name, stage) in &Stage::ALL[1..] {
        let mut group = c.benchmark_group(format!("pipeline/{name}"));
        for inner in [world::SMALLEST, 400, 1400] {
            for (pool, buffers) in POOLS {
                let mut source = source(&world::five_routes(), inner);
                let id = BenchmarkId::new(pool, inner);
                bench::<_, _, _, VECTOR>(&mut group, id, &mut path, *stage, &mut source, buffers);
            }
        }
    }
}

fn dispatch(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/dispatch");
    let mut source = source(&world::five_routes(), world::SMALLEST);
    let ipv4 = Ipv4::default();
    let (stage, buffers) = (Stage::Queue, POOLS[0].1);
    let mut tuple = plain((ipv4,));
    bench::<_, _, _, VECTOR>(
        &mut group,
        BenchmarkId::from_parameter("tuple of 1"),
        &mut tuple,
        stage,
        &mut source,
        buffers,
    );
    let mut tuple = plain((ipv4, ipv4));
    bench::<_, _, _, VECTOR>(
        &mut group,
        BenchmarkId::from_parameter("tuple of 2"),
        &mut tuple,
        stage,
        &mut source,
        buffers,
    );
    let mut dynamic = plain([&ipv4 as &dyn CodeOption; 2]);
    bench::<_, _, _, VECTOR>(
        &mut group,
        BenchmarkId::from_parameter("dyn"),
        &mut dynamic,
        stage,
        &mut source,
        buffers,
    );
}

fn vectors(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/vector");
    let mut source = source(&world::five_routes(), world::SMALLEST);
    let (mut path, stage) = (plain((Ipv4::default(),)), Stage::Queue);
    for (pool, buffers) in POOLS {
        let id = |n: u32| BenchmarkId::new(pool, n);
        bench::<_, _, _, 1>(&mut group, id(1), &mut path, stage, &mut source, buffers);
        bench::<_, _, _, 8>(&mut group, id(8), &mut path, stage, &mut source, buffers);
        bench::<_, _, _, 16>(&mut group, id(16), &mut path, stage, &mut source, buffers);
        bench::<_, _, _, 32>(&mut group, id(32), &mut path, stage, &mut source, buffers);
        bench::<_, _, _, 64>(&mut group, id(64), &mut path, stage, &mut source, buffers);
    }
}

/// Slices 1 to 5 with one link each and two options; or all links slice 1's.
fn mixed(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/slices");
    let routes = world::five_routes();
    let mut source = source(&routes, world::SMALLEST);
    let ipv4 = Ipv4::default();
    for (name, slices) in [("uniform", 1), ("mixed", 5)] {
        let slice = |link| SliceId(1 + link % slices);
        let option = |link| OptionId((link % slices % 2) as u8);
        let mut path = FastPath {
            decap: world::ports(slice, option),
            options: (ipv4, ipv4),
            table: world::table((1..6).map(SliceId), &routes),
            egress: world::egress(),
            sram: NoSram,
            stats: stats(QUEUES, 6),
        };
        bench::<_, _, _, VECTOR>(
            &mut group,
            BenchmarkId::from_parameter(name),
            &mut path,
            Stage::Queue,
            &mut source,
            POOLS[0].1,
        );
    }
}

/// As many records as routes, all /24.
fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/records");
    for records in [5, 1000, 65_536u32] {
        let routes: Vec<Route> = (0..records).map(|n| (0x0100_0000 + (n << 8), 24, n)).collect();
        let mut source = source(&routes, world::SMALLEST);
        let FastPath { decap, options, sram, .. } = world::path(&world::five_routes());
        let egress: Vec<Egress> = (0..records)
            .map(|n| Egress::forward(&world::tunnel((n % 5) as u8), QueueId(n % 5), 1472).unwrap())
            .collect();
        let table = world::table([world::SLICE], &routes);
        let mut path = FastPath { decap, options, table, egress, sram, stats: stats(records as usize, 2) };
        let id = BenchmarkId::from_parameter(records);
        bench::<_, _, _, VECTOR>(&mut group, id, &mut path, Stage::Queue, &mut source, POOLS[0].1);
    }
}

fn few_rounds() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
}

criterion_group! {
    name = benches;
    config = few_rounds();
    targets = stages, dispatch, vectors, mixed, records
}
criterion_main!(benches);
