//! What a scheduler cannot be faster than.

use std::hint::black_box;
use std::ops::Range;

use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{Arrival, BoxedWdrr, Descriptor, Quantum, QueueConfig, TailDrop, WdrrScheduler};
use fastpath::time::Nanos;

use crate::side::{BATCH, NEAR, Side, fetch};
use crate::trace::{LONGEST, Packet, Trace};

const NONE: u32 = u32::MAX;

/// One list for all: first in, first out, no queues and no weights.
pub struct Ring {
    packets: Vec<Packet>,
    places: Vec<(u32, u32)>,
    first: usize,
    end: usize,
}

impl Ring {
    pub fn new(trace: &Trace) -> Self {
        let places = vec![(0, 0); trace.room().next_power_of_two()];
        Self { packets: trace.packets.clone(), places, first: 0, end: 0 }
    }

    #[inline(always)]
    fn push(&mut self, at: usize) {
        let mask = self.places.len() - 1;
        self.places[self.end & mask] = (at as u32, self.packets[at].octets);
        self.end += 1;
    }

    #[inline(always)]
    fn pop(&mut self) -> (u32, u32) {
        let mask = self.places.len() - 1;
        let place = self.places[self.first & mask];
        self.first += 1;
        place
    }

    #[inline(always)]
    fn pass(&mut self, packets: Range<usize>, batch: usize, mut sent: impl FnMut((u32, u32))) {
        for at in packets.step_by(batch) {
            (at..at + batch).for_each(|at| self.push(at));
            (0..batch).for_each(|_| sent(self.pop()));
        }
    }
}

impl Side for Ring {
    fn name(&self) -> &str {
        "one list (floor)"
    }

    fn put(&mut self, packets: Range<usize>) {
        packets.for_each(|at| self.push(at));
    }

    #[inline(never)]
    fn run(&mut self, packets: Range<usize>, batch: usize) {
        let mut sum = 0;
        self.pass(packets, batch, |(number, octets)| sum += u64::from(number) + u64::from(octets));
        black_box(sum);
    }

    fn leave(&mut self, packets: Range<usize>, batch: usize) -> Option<Vec<u32>> {
        let mut left = Vec::new();
        self.pass(packets, batch, |(number, _)| left.push(number));
        while self.first < self.end {
            left.push(self.pop().0);
        }
        Some(left)
    }
}

/// What a packet touches on its way in and what one touches on its way out.
#[derive(Clone, Copy)]
struct Touched {
    queue: u32,
    descriptor: u32,
    /// Of the packet before it, if one waits.
    before: u32,
    out_queue: u32,
    out_descriptor: u32,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// As large as a descriptor of the crate's.
type Place = [u32; size_of::<Descriptor<u32>>() / 4];

/// The lines of queues and of descriptors that the crate's scheduler touches, in the same
/// order, fetched ahead as it does, and nothing decided: each is read and written.
pub struct Memory {
    queues: Vec<Line>,
    descriptors: Vec<Place>,
    /// What is touched one by one, and in batches.
    touched: [Vec<Touched>; 2],
    waiting: usize,
}

impl Memory {
    pub fn new(trace: &Trace) -> Self {
        Self {
            queues: vec![Line([1; 8]); trace.queues],
            descriptors: vec![[1; _]; trace.room()],
            touched: [1, BATCH].map(|batch| touched(trace, batch)),
            waiting: trace.waiting,
        }
    }

    #[inline(always)]
    fn enter(&mut self, it: Touched, octets: u64) {
        let Line(queue) = &mut self.queues[it.queue as usize];
        (queue[0], queue[1]) = (queue[0] + 1, queue[1] ^ octets);
        let descriptor = &mut self.descriptors[it.descriptor as usize];
        (descriptor[0], descriptor[1]) = (descriptor[1], it.queue);
        if let Some(before) = self.descriptors.get_mut(it.before as usize) {
            before[2] = it.descriptor;
        }
    }

    #[inline(always)]
    fn leave(&mut self, it: Touched) -> u64 {
        let Line(queue) = &mut self.queues[it.out_queue as usize];
        (queue[0], queue[6]) = (queue[0] - 1, queue[6] + queue[1]);
        let sum = queue[6];
        let descriptor = &mut self.descriptors[it.out_descriptor as usize];
        descriptor[2] = descriptor[0];
        sum + u64::from(descriptor[1])
    }

    #[inline(always)]
    fn batch(&mut self, touched: &[Touched]) -> u64 {
        touched.iter().for_each(|it| fetch(&self.queues[it.queue as usize]));
        for it in touched {
            if let Some(before) = self.descriptors.get(it.before as usize) {
                fetch(before);
            }
        }
        touched.iter().for_each(|it| self.enter(*it, 64));
        if self.queues.len() > NEAR {
            touched.iter().for_each(|it| fetch(&self.queues[it.out_queue as usize]));
            touched.iter().for_each(|it| fetch(&self.descriptors[it.out_descriptor as usize]));
        }
        touched.iter().map(|it| self.leave(*it)).fold(0, u64::wrapping_add)
    }
}

impl Side for Memory {
    fn name(&self) -> &str {
        "same memory (floor)"
    }

    fn put(&mut self, _: Range<usize>) {}

    #[inline(never)]
    fn run(&mut self, packets: Range<usize>, batch: usize) {
        let packets = packets.start - self.waiting..packets.end - self.waiting;
        let [single, batches] = std::mem::take(&mut self.touched);
        let mut sum = 0u64;
        if batch == 1 {
            for it in &single[packets] {
                self.enter(*it, 64);
                sum = sum.wrapping_add(self.leave(*it));
            }
        } else {
            for touched in batches[packets].chunks_exact(BATCH) {
                sum = sum.wrapping_add(self.batch(touched));
            }
        }
        self.touched = [single, batches];
        black_box(sum);
    }

    fn leave(&mut self, _: Range<usize>, _: usize) -> Option<Vec<u32>> {
        None
    }
}

/// What the crate's scheduler touches when the whole trace goes through it: its own order of
/// departures, and descriptors taken from a stack, as it does.
fn touched(trace: &Trace, batch: usize) -> Vec<Touched> {
    let quantum = Quantum::of_longest(LONGEST);
    let room = trace.room();
    let mut scheduler = BoxedWdrr::<u32>::boxed(trace.queues, room, 0, TailDrop, quantum).unwrap();
    for queue in 0..trace.queues as u32 {
        let config = QueueConfig { weight: trace.weight(queue), ..QueueConfig::new(SliceId(1)) };
        scheduler.configure(QueueId(queue), config).unwrap();
    }
    let mut free: Vec<u32> = (0..room as u32).rev().collect();
    let mut tails = vec![NONE; trace.queues];
    let mut all = Vec::with_capacity(trace.coming());
    for (at, packets) in (0..).step_by(batch).zip(trace.packets.chunks(batch)) {
        let start = all.len();
        for &Packet { queue, octets } in packets {
            let descriptor = free.pop().unwrap();
            let id = QueueId(queue);
            let before = if scheduler.backlog(id) == 0 { NONE } else { tails[queue as usize] };
            tails[queue as usize] = descriptor;
            scheduler.enqueue(Nanos::ZERO, id, descriptor, Arrival::new(octets)).unwrap();
            all.push(Touched { queue, descriptor, before, out_queue: 0, out_descriptor: 0 });
        }
        if at < trace.waiting {
            all.truncate(start);
            continue;
        }
        for it in &mut all[start..] {
            let departure = scheduler.dequeue(Nanos::ZERO).unwrap();
            (it.out_queue, it.out_descriptor) = (departure.queue.0, departure.handle);
            free.push(departure.handle);
        }
    }
    all
}
