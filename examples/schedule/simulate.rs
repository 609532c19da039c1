//! Packets through a scheduler onto a link, in simulated time.

use std::num::NonZeroU64;

use fastpath::exit::DropReason;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedWdrr, ConfigError, Departure, Quantum, QueueConfig, TailDrop, WdrrScheduler,
};
use fastpath::time::Nanos;

use super::files::{Packet, Queue};
use super::link::Link;

/// What became of the packets.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Each packet that was sent, by its place among the arrivals, and when that began.
    pub(crate) departures: Vec<(u64, usize)>,
    /// Those that found their queue full.
    pub(crate) drops: Vec<usize>,
    /// Octets that each queue earned a round.
    pub(crate) quanta: Vec<u64>,
    /// When the last packet was sent.
    pub(crate) end_ns: u64,
}

/// Why there is no schedule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("the scheduler refuses a queue: {0}")]
    Queue(#[from] ConfigError),
    #[error("line {line}: a packet of {octets} octets is refused: {reason:?}")]
    Refused {
        /// Of the arrivals, from 1.
        line: usize,
        octets: u32,
        reason: DropReason,
    },
    #[error("line {line}: at {rate} bit/s the packet is sent after 2^64 ns")]
    Time {
        /// Of the arrivals, from 1.
        line: usize,
        rate: NonZeroU64,
    },
}

type Scheduler = BoxedWdrr<usize>;

/// Rounds that the scheduler can tell apart.
const ROUNDS: u32 = 4095;

/// The weights in lowest terms, and what a weight of 1 earns a round.
///
/// That is as little as the scheduler takes, so that a round is short: a queue's turn comes
/// when it has earned its first packet, and a turn longer than a packet is left to queues
/// whose weight is that much higher than another's. It costs nothing that rounds are many.
fn shares(queues: &[Queue], packets: &[Packet]) -> (Vec<u32>, Quantum) {
    let common = queues.iter().fold(0, |common, queue| gcd(common, queue.weight)).max(1);
    let weights = queues.iter().map(|queue| queue.weight / common).collect();
    let longest = packets.iter().map(|packet| packet.octets).max().unwrap_or(1);
    (weights, Quantum { unit: longest.div_ceil(ROUNDS), longest })
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn scheduler(queues: &[Queue], packets: &[Packet]) -> Result<Scheduler, ConfigError> {
    let (weights, quantum) = shares(queues, packets);
    // As many as can wait at once.
    let mut arrivals = vec![0u32; queues.len()];
    packets.iter().for_each(|packet| arrivals[packet.queue] += 1);
    let waiting = queues.iter().zip(&arrivals).map(|(queue, &arrivals)| queue.limit_packets.min(arrivals));
    let room = waiting.map(|packets| packets as usize).sum();
    let mut scheduler = Scheduler::boxed(queues.len(), room, 0, TailDrop, quantum)?;
    for ((id, queue), weight) in (0..).map(QueueId).zip(queues).zip(weights) {
        let config = QueueConfig::new(SliceId(1));
        scheduler.configure(id, QueueConfig { weight, limit_packets: queue.limit_packets, ..config })?;
    }
    Ok(scheduler)
}

/// Sends all packets that find room.
///
/// A packet that arrives at a time is there for a departure at that time, and leaves its queue
/// when it begins to be sent.
///
/// # Errors
///
/// [`ScheduleError`].
pub(crate) fn run(queues: &[Queue], packets: &[Packet], rate: NonZeroU64) -> Result<Schedule, ScheduleError> {
    let mut scheduler = scheduler(queues, packets)?;
    let quanta = (0..).map(QueueId).take(queues.len()).map(|id| scheduler.quantum(id)).collect();
    let (mut link, mut departures, mut drops) = (Link::new(rate), Vec::new(), Vec::new());
    let mut coming = packets.iter().enumerate().peekable();
    loop {
        if scheduler.waiting() == 0 {
            let Some((_, packet)) = coming.peek() else { break };
            link.idle_until(packet.time_ns);
        }
        let now = link.free_ns();
        while let Some((at, packet)) = coming.next_if(|(_, packet)| packet.time_ns <= now) {
            if !enqueue(&mut scheduler, queues, at, packet)? {
                drops.push(at);
            }
        }
        if let Some(Departure { handle, octets, .. }) = scheduler.dequeue(Nanos(now)) {
            departures.push((now, handle));
            let line = packets[handle].line + 1;
            link.send(octets).ok_or(ScheduleError::Time { line, rate })?;
        }
    }
    Ok(Schedule { departures, drops, quanta, end_ns: link.free_ns() })
}

/// Whether there is room for a packet.
fn enqueue(
    scheduler: &mut Scheduler, queues: &[Queue], at: usize, packet: &Packet,
) -> Result<bool, ScheduleError> {
    let &Packet { line, time_ns, queue, octets } = packet;
    let (id, limit) = (QueueId(queue as u32), queues[queue].limit_packets);
    match scheduler.enqueue(Nanos(time_ns), id, at, Arrival::new(octets)) {
        Ok(()) => Ok(true),
        Err(_) if scheduler.backlog(id) >= limit => Ok(false),
        // Packets of 4 GB wait there, and its limit would have let it in.
        Err(refused) => Err(ScheduleError::Refused { line: line + 1, octets, reason: refused.reason }),
    }
}
