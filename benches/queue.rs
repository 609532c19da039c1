//! Time a packet for enqueue and dequeue, scheduler by scheduler. One of your own is one
//! more line at the foot: what makes it, from numbers of queues and of packets.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastpath::prelude::*;
use fastpath::queue::{BoxedHierarchy, BoxedWdrr};
use fastpath::workloads::traffic::{Uniform, Zipf};

/// Packets for each queue that wait all the time.
const BACKLOG: usize = 4;
const PACKETS: usize = 1 << 14;
const LONGEST: u32 = 1500;
const QUANTUM: Quantum = Quantum::of_longest(LONGEST);
const BATCH: usize = 32;
/// From a packet to the next: longer than one takes at the highest rate.
const STEP: u64 = 16;
/// Slices of a scheduler of two levels.
const SLICES: usize = 16;

/// Which queues packets are for, and what queues weigh.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    zipf: bool,
    weights: &'static [u32],
}

const CASES: [Case; 4] = [
    Case { name: "uniform, equal weights", zipf: false, weights: &[1] },
    Case { name: "uniform", zipf: false, weights: &[1, 2, 3, 4, 5, 6] },
    Case { name: "zipf, equal weights", zipf: true, weights: &[1] },
    Case { name: "zipf", zipf: true, weights: &[1, 2, 3, 4, 5, 6] },
];

/// A scheduler with packets in all its queues, and those that come.
struct Bench<S> {
    scheduler: S,
    packets: Vec<(QueueId, u32)>,
    now: Nanos,
}

impl<S: WdrrScheduler<Handle = u32>> Bench<S> {
    fn new(mut scheduler: S, queues: usize, case: Case) -> Self {
        for (queue, weight) in (0..queues as u32).zip(case.weights.iter().cycle()) {
            let config = QueueConfig { weight: *weight, ..QueueConfig::new(owner(queue)) };
            scheduler.configure(QueueId(queue), config).unwrap();
        }
        let drawn: Vec<usize> = match case.zipf {
            false => Uniform::new(queues, 7).unwrap().take(PACKETS).collect(),
            true => Zipf::new(queues, 1.1, 7).unwrap().take(PACKETS).collect(),
        };
        let packet = |queue: usize| (QueueId(queue as u32), 64 + queue as u32 % 7 * 200);
        let mut bench =
            Self { scheduler, packets: drawn.into_iter().map(packet).collect(), now: Nanos::ZERO };
        for packet in (0..BACKLOG).flat_map(|_| 0..queues).map(packet) {
            bench.put(packet);
        }
        bench
    }

    #[inline(always)]
    fn put(&mut self, (queue, octets): (QueueId, u32)) {
        assert!(self.scheduler.enqueue(self.now, queue, queue.0, Arrival::new(octets)).is_ok());
    }

    /// One in, one out.
    fn single(&mut self) {
        for at in 0..self.packets.len() {
            self.now.0 += STEP;
            self.put(self.packets[at]);
            assert!(self.scheduler.dequeue(self.now).is_some());
        }
    }

    /// 32 in, 32 out, each fetched ahead.
    fn batches(&mut self) {
        let mut departures = [const { None }; BATCH];
        for at in (0..self.packets.len()).step_by(BATCH) {
            self.now.0 += STEP * BATCH as u64;
            let batch = &self.packets[at..at + BATCH];
            batch.iter().for_each(|(queue, _)| self.scheduler.prefetch(*queue));
            batch.iter().for_each(|(queue, _)| self.scheduler.prefetch_deeper(*queue));
            (at..at + BATCH).for_each(|at| self.put(self.packets[at]));
            assert_eq!(self.scheduler.dequeue_batch(self.now, &mut departures), BATCH);
        }
    }
}

/// The slice of a queue.
fn owner(queue: u32) -> SliceId {
    SliceId((queue % SLICES as u32) as u16)
}

fn bench_scheduler<S: WdrrScheduler<Handle = u32>>(
    c: &mut Criterion, name: &str, most: usize, make: impl Fn(usize, usize) -> S,
) {
    let mut group = c.benchmark_group("queue");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for case in CASES {
        for queues in [5, 10, 1000, 65_536].into_iter().filter(|queues| *queues <= most) {
            let mut bench = Bench::new(make(queues, queues * BACKLOG + BATCH), queues, case);
            let id = |how: &str| BenchmarkId::new(format!("{name}, {}, {how}", case.name), queues);
            group.bench_function(id("single"), |b| b.iter(|| bench.single()));
            group.bench_function(id("batches"), |b| b.iter(|| bench.batches()));
        }
    }
}

fn wdrr(queues: usize, packets: usize) -> BoxedWdrr<u32> {
    BoxedWdrr::boxed(queues, packets, 0, TailDrop, QUANTUM).unwrap()
}

fn queue(c: &mut Criterion) {
    bench_scheduler(c, "wdrr", 65_536, wdrr);
    bench_scheduler(c, "hierarchy", 65_536, |queues, packets| {
        let mut link = BoxedHierarchy::boxed(queues, packets, SLICES, TailDrop, [QUANTUM; 2]).unwrap();
        (0..SLICES as u32).for_each(|slice| link.set_share(owner(slice), 1 + slice % 4).unwrap());
        link
    });
    // At 1 Tb/s, which never holds a packet back here.
    bench_scheduler(c, "paced", 65_536, |queues, packets| {
        Paced::new(wdrr(queues, packets), Rate::MAX, 0, Nanos::from_micros(100))
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(500));
    targets = queue
}
criterion_main!(benches);
