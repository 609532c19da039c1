//! Time a packet for enqueue and dequeue, scheduler by scheduler. One of your own is one
//! more line of `main`'s list: what makes it, from numbers of queues and of packets.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastpath::prelude::*;
use fastpath::queue::BoxedWdrr;
use fastpath::workloads::traffic::Uniform;

/// Packets that wait all the time.
const BACKLOG: usize = 4;
const PACKETS: usize = 1 << 14;
const LONGEST: u32 = 1500;

fn bench_scheduler<S: WdrrScheduler<Handle = u32>>(
    c: &mut Criterion, name: &str, most: usize, make: impl Fn(usize, usize) -> S,
) {
    let mut group = c.benchmark_group("queue");
    for queues in [5, 10, 1000, 65_536].into_iter().filter(|queues| *queues <= most) {
        let mut scheduler = make(queues, queues * BACKLOG + PACKETS);
        for (queue, weight) in (0..queues as u32).zip((1..=6).cycle()) {
            let config = QueueConfig { weight, ..QueueConfig::new(SliceId(1)) };
            scheduler.configure(QueueId(queue), config).unwrap();
        }
        let drawn: Vec<u32> =
            Uniform::new(queues, 7).unwrap().take(PACKETS).map(|queue| queue as u32).collect();
        let put = |scheduler: &mut S, queue| {
            let arrival = Arrival::new(64 + queue % 7 * 200);
            assert!(scheduler.enqueue(Nanos::ZERO, QueueId(queue), queue, arrival).is_ok());
        };
        for queue in (0..BACKLOG).flat_map(|_| 0..queues as u32) {
            put(&mut scheduler, queue);
        }
        group.throughput(Throughput::Elements(PACKETS as u64));
        group.bench_function(BenchmarkId::new(name, queues), |b| {
            b.iter(|| {
                for queues in drawn.as_chunks::<32>().0 {
                    queues.iter().for_each(|queue| put(&mut scheduler, *queue));
                    queues.iter().for_each(|_| _ = scheduler.dequeue(Nanos::ZERO).unwrap());
                }
            });
        });
    }
}

fn queue(c: &mut Criterion) {
    bench_scheduler(c, "wdrr", 65_536, |queues, packets| {
        BoxedWdrr::boxed(queues, packets, 0, TailDrop, Quantum::of_longest(LONGEST)).unwrap()
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(1));
    targets = queue
}
criterion_main!(benches);
