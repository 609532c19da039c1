//! What comes, and what the queues are.

use fastpath::conformance::Rng;
use fastpath::workloads::traffic::Zipf;

use crate::side::BATCH;

/// Which queues packets come for.
#[derive(Clone, Copy, PartialEq)]
pub enum Traffic {
    /// Once for each queue, in an order drawn at random, and again.
    Uniform,
    /// Zipf's law, exponent 1.1.
    Zipf,
}

impl Traffic {
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Zipf];

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }
}

/// What the queues weigh.
#[derive(Clone, Copy, PartialEq)]
pub enum Weights {
    Equal,
    /// 1 to 4, queue by queue; of rte_sched's queues those of a pipe.
    Mixed,
}

impl Weights {
    pub const ALL: [Self; 2] = [Self::Equal, Self::Mixed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Mixed => "mixed",
        }
    }

    /// What a queue weighs where queues are numbered pipe after pipe, a power of two of them.
    pub fn of(self, queue: u32, pipes: u32) -> u32 {
        match self {
            Self::Equal => 1,
            Self::Mixed => 1 + queue / pipes % 4,
        }
    }
}

/// A packet, as the C side has it, too.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Packet {
    pub queue: u32,
    pub octets: u32,
}

/// Octets of the longest packet.
pub const LONGEST: u32 = 1500;

/// Packets, the first of which wait in the queues all the time.
pub struct Trace {
    pub queues: usize,
    pub weights: Weights,
    pub traffic: Traffic,
    pub packets: Vec<Packet>,
    /// How many wait.
    pub waiting: usize,
}

impl Trace {
    /// At least `least` packets that come, and four that wait for each queue; of a million
    /// queues two.
    pub fn new(queues: usize, weights: Weights, traffic: Traffic, least: usize) -> Self {
        let depth = if queues > 1 << 17 { 2 } else { 4 };
        let waiting = (queues * depth).next_multiple_of(BATCH);
        let coming = least.max(queues.min(1 << 20)).next_power_of_two();
        let drawn: Box<dyn Iterator<Item = usize>> = match traffic {
            Traffic::Uniform => Box::new(rounds(queues)),
            Traffic::Zipf => Box::new(Zipf::new(queues, 1.1, 7).unwrap()),
        };
        // The most popular queues do not stand side by side.
        let spread =
            |queue: usize| if queues.is_power_of_two() { queue * 0x9e37_79b1 % queues } else { queue };
        let all = (0..waiting).map(|at| at % queues).chain(drawn.take(coming).map(spread));
        let packet =
            |(at, queue): (usize, usize)| Packet { queue: queue as u32, octets: 64 + at as u32 % 7 * 200 };
        Self { queues, weights, traffic, packets: all.enumerate().map(packet).collect(), waiting }
    }

    /// Packets that there must be room for.
    pub fn room(&self) -> usize {
        self.waiting + BATCH
    }

    /// Pipes of rte_sched for these queues.
    pub fn pipes(&self) -> u32 {
        (self.queues.div_ceil(4) as u32).next_power_of_two()
    }

    pub fn weight(&self, queue: u32) -> u32 {
        self.weights.of(queue, self.pipes())
    }

    /// Those that come.
    pub fn coming(&self) -> usize {
        self.packets.len() - self.waiting
    }
}

/// All of `count` numbers in an order drawn at random, then all in another, and so on.
fn rounds(count: usize) -> impl Iterator<Item = usize> {
    let (mut rng, mut numbers, mut left) = (Rng::new(7), (0..count).collect::<Vec<_>>(), 0);
    std::iter::from_fn(move || {
        if left == 0 {
            left = count;
        }
        left -= 1;
        numbers.swap(left, rng.below(left as u64 + 1) as usize);
        Some(numbers[left])
    })
}
