//! The crate's schedulers.

use std::ops::Range;

use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedHierarchy, BoxedWdrr, Departure, Paced, Quantum, QueueConfig, QueueManager, Rate,
    Scheduled, TailDrop, WdrrScheduler,
};
use fastpath::time::Nanos;

use crate::side::{BATCH, Side};
use crate::trace::{LONGEST, Trace};

const QUANTUM: Quantum = Quantum::of_longest(LONGEST);
/// What may be caught up on at a rate, and the time from a packet to the next: longer than it
/// takes at the highest rate, so that the rate never holds one back.
const BURST: Nanos = Nanos(100_000);
const STEP: u64 = 16;
/// Slices of the scheduler of two levels.
const SLICES: usize = 16;
/// Schedulers side by side.
const SCHEDULERS: usize = 10;

type Flat = BoxedWdrr<u32>;

/// A scheduler and its packets: queue and octets.
struct Ours<S> {
    name: String,
    scheduler: S,
    packets: Vec<(QueueId, u32)>,
    now: Nanos,
}

/// All that the trace can be given to.
pub fn all(trace: &Trace) -> Vec<Box<dyn Side>> {
    let mut sides: Vec<Box<dyn Side>> =
        vec![Box::new(flat(trace)), Box::new(levels(trace)), Box::new(paced(trace))];
    if trace.queues >= SCHEDULERS {
        sides.push(Box::new(ten(trace)));
    }
    sides
}

/// One level.
pub fn flat(trace: &Trace) -> impl Side + use<> {
    Ours::new("fastpath", wdrr(trace.queues, trace.room()), trace, |queue| (QueueId(queue), SliceId(1)))
}

/// Two levels: queues of 16 slices.
fn levels(trace: &Trace) -> impl Side + use<> {
    let slices = SLICES.min(trace.queues);
    let mut link = BoxedHierarchy::boxed(trace.queues, trace.room(), slices, TailDrop, [QUANTUM; 2]).unwrap();
    for slice in 0..slices {
        link.set_share(SliceId(slice as u16), 1 + slice as u32 % 4).unwrap();
    }
    let of = |queue: u32| (QueueId(queue), SliceId((queue as usize % slices) as u16));
    Ours::new("fastpath, two levels", link, trace, of)
}

/// One level, held to a rate.
fn paced(trace: &Trace) -> impl Side + use<> {
    let paced = Paced::new(wdrr(trace.queues, trace.room()), Rate::MAX, 0, BURST);
    Ours::new("fastpath, paced", paced, trace, |queue| (QueueId(queue), SliceId(1)))
}

/// Ten schedulers, each held to a rate, queues spread over them.
pub fn ten(trace: &Trace) -> impl Side + use<> {
    let each = trace.queues.div_ceil(SCHEDULERS);
    let one = || Scheduled::new(Paced::new(wdrr(each, trace.room()), Rate::MAX, 0, BURST));
    let schedulers: Box<[_]> = (0..SCHEDULERS).map(|_| one()).collect();
    let bits = each.next_power_of_two().trailing_zeros();
    let manager = QueueManager::new(schedulers, bits);
    let of = |queue: u32| {
        let (scheduler, local) = (queue % SCHEDULERS as u32, queue / SCHEDULERS as u32);
        (QueueId(scheduler << bits | local), SliceId(1))
    };
    Ours::new("fastpath, ten paced", manager, trace, of)
}

fn wdrr(queues: usize, packets: usize) -> Flat {
    Flat::boxed(queues, packets, 0, TailDrop, QUANTUM).unwrap()
}

impl<S: WdrrScheduler<Handle = u32>> Ours<S> {
    fn new(name: &str, scheduler: S, trace: &Trace, of: impl Fn(u32) -> (QueueId, SliceId)) -> Self {
        let mut scheduler = scheduler;
        for queue in 0..trace.queues as u32 {
            let (id, owner) = of(queue);
            let config = QueueConfig { weight: trace.weight(queue), ..QueueConfig::new(owner) };
            scheduler.configure(id, config).unwrap();
        }
        let packets = trace.packets.iter().map(|packet| (of(packet.queue).0, packet.octets)).collect();
        Self { name: name.into(), scheduler, packets, now: Nanos(BURST.0) }
    }

    #[inline(always)]
    fn enqueue(&mut self, at: usize) {
        let (queue, octets) = self.packets[at];
        let taken = self.scheduler.enqueue(self.now, queue, at as u32, Arrival::new(octets));
        assert!(taken.is_ok(), "there is room for all");
    }

    /// Hands what leaves to `sent`.
    #[inline(always)]
    fn pass(&mut self, packets: Range<usize>, batch: usize, mut sent: impl FnMut(Departure<u32>)) {
        if batch == 1 {
            for at in packets {
                self.now.0 += STEP;
                self.enqueue(at);
                sent(self.scheduler.dequeue(self.now).expect("it waits for nothing"));
            }
            return;
        }
        let mut departures = [const { None }; BATCH];
        for at in packets.step_by(BATCH) {
            self.now.0 += STEP * BATCH as u64;
            let batch = &self.packets[at..at + BATCH];
            batch.iter().for_each(|(queue, _)| self.scheduler.prefetch(*queue));
            batch.iter().for_each(|(queue, _)| self.scheduler.prefetch_deeper(*queue));
            (at..at + BATCH).for_each(|at| self.enqueue(at));
            let count = self.scheduler.dequeue_batch(self.now, &mut departures);
            assert_eq!(count, BATCH, "it waits for nothing");
            departures.iter_mut().filter_map(Option::take).for_each(&mut sent);
        }
    }
}

impl<S: WdrrScheduler<Handle = u32>> Side for Ours<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(&mut self, packets: Range<usize>) {
        packets.for_each(|at| self.enqueue(at));
    }

    #[inline(never)]
    fn run(&mut self, packets: Range<usize>, batch: usize) {
        let mut sum = 0;
        self.pass(packets, batch, |departure| {
            sum += u64::from(departure.handle) + u64::from(departure.octets)
        });
        std::hint::black_box(sum);
    }

    fn leave(&mut self, packets: Range<usize>, batch: usize) -> Option<Vec<u32>> {
        let mut left = Vec::new();
        self.pass(packets, batch, |departure| left.push(departure.handle));
        loop {
            self.now.0 += STEP;
            let Some(departure) = self.scheduler.dequeue(self.now) else { break };
            left.push(departure.handle);
        }
        Some(left)
    }
}
