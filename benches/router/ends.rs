//! Who sends and who receives.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastpath::io::{Buffers, MemoryPort, NoBuffers, Pool, Port, Rx, Tx};
use fastpath::packet::Packet;
use fastpath::slot::{RxMeta, Slot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::traffic::{Buffer, HEADROOM, OCTETS, Source, sent_at};

pub(crate) const VECTOR: usize = 32;

/// Where an end has its buffers from.
pub(crate) enum Store {
    Pool(Pool),
    /// Those of packets in memory go all the way, and come back here.
    Back(MemoryPort<Buffer>),
}

impl Store {
    pub(crate) fn pool() -> Self {
        Self::Pool(Pool::new(1024, OCTETS))
    }

    /// Both ends of a store of `buffers` buffers.
    pub(crate) fn circle(buffers: usize) -> (Self, Self) {
        let (near, mut far) = MemoryPort::pair(buffers);
        let empty = || Packet::new(vec![0; OCTETS].into_boxed_slice(), HEADROOM, HEADROOM).ok();
        for _ in 0..buffers {
            let mut slot = [Slot { packet: empty(), ..Slot::EMPTY }];
            far.send(&mut slot, &mut NoBuffers);
        }
        (Self::Back(near), Self::Back(far))
    }

    /// Free buffers into all empty slots, as far as there are any.
    fn fill(&mut self, vector: &mut [Slot<Buffer>]) {
        match self {
            Self::Pool(pool) => {
                for slot in vector.iter_mut() {
                    let Some(buffer) = pool.take() else { return };
                    slot.packet = Packet::new(buffer, HEADROOM, HEADROOM).ok();
                }
            }
            Self::Back(port) => drop(port.receive(vector, &mut NoBuffers)),
        }
    }

    /// Buffers back out of all slots.
    fn empty(&mut self, vector: &mut [Slot<Buffer>]) {
        match self {
            Self::Pool(pool) => {
                let packets = vector.iter_mut().filter_map(|slot| std::mem::take(slot).packet);
                packets.for_each(|packet| pool.give(packet.into_buf()));
            }
            Self::Back(port) => drop(port.send(vector, &mut NoBuffers)),
        }
    }
}

impl Buffers<Buffer> for Store {
    fn take(&mut self) -> Option<Buffer> {
        match self {
            Self::Pool(pool) => pool.take(),
            Self::Back(_) => None,
        }
    }

    fn give(&mut self, buffer: Buffer) {
        match self {
            Self::Pool(pool) => pool.give(buffer),
            Self::Back(_) => drop(buffer),
        }
    }
}

/// A host's port.
pub(crate) struct End {
    pub(crate) port: Box<dyn Port<Buffer> + Send>,
    pub(crate) store: Store,
}

/// What both threads of a round share.
pub(crate) struct Round {
    pub(crate) start: Instant,
    pub(crate) mark: u64,
    /// Nanoseconds from one packet to the next; `None` for as fast as can be.
    pub(crate) gap: Option<u64>,
    pub(crate) end_sending: AtomicBool,
    pub(crate) end_receiving: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

impl Round {
    pub(crate) fn new(mark: u64, gap: Option<u64>) -> Self {
        Self {
            start: Instant::now(),
            mark,
            gap,
            end_sending: AtomicBool::new(false),
            end_receiving: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

impl End {
    /// Sends until told to end.
    pub(crate) fn send(&mut self, source: &mut Source<'_>, round: &Round) {
        let (mut vector, mut left) = ([const { Slot::EMPTY }; VECTOR], usize::MAX);
        let (begun, mut paced) = (round.now(), 0);
        while !round.end_sending.load(Relaxed) {
            if let Some(gap) = round.gap {
                // It sleeps, as the cores are few, and then sends what is due. Who was very late
                // does not catch up.
                let due = (round.now() - begun) / gap;
                paced = paced.max(due.saturating_sub(2 * VECTOR as u64));
                if due <= paced {
                    thread::sleep(Duration::from_micros(20));
                    continue;
                }
                left = usize::try_from(due - paced).unwrap_or(VECTOR);
            }
            if vector.iter().all(|slot| slot.packet.is_none()) {
                self.store.fill(&mut vector[..left.min(VECTOR)]);
                let now = round.now();
                for slot in &mut vector {
                    let Some(packet) = slot.packet.take() else { break };
                    *slot = Slot::new(source.write(packet.into_buf(), now), RxMeta::IP);
                    paced += 1;
                }
            }
            match self.port.send(&mut vector, &mut self.store) {
                0 => thread::yield_now(),
                sent => drop(round.sent.fetch_add(sent as u64, Relaxed)),
            }
        }
        self.store.empty(&mut vector);
    }

    /// Receives until told to end; how long packets were on their way, if `keep`.
    pub(crate) fn receive(&mut self, round: &Round, keep: bool) -> Vec<u64> {
        let (mut vector, mut times) = ([const { Slot::EMPTY }; VECTOR], Vec::new());
        while !round.end_receiving.load(Relaxed) {
            if self.port.receive(&mut vector, &mut self.store) == 0 {
                self.wait();
                continue;
            }
            let (now, mut received) = (round.now(), 0);
            for packet in vector.iter().filter_map(|slot| slot.packet.as_ref()) {
                let Some(sent) = sent_at(packet.bytes(), round.mark) else { continue };
                received += 1;
                if keep {
                    times.push(now.saturating_sub(sent));
                }
            }
            round.received.fetch_add(received, Relaxed);
            self.store.empty(&mut vector);
        }
        times
    }

    fn wait(&self) {
        let Some(readable) = self.port.readable() else { return thread::yield_now() };
        let most = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let _ = poll(&mut [PollFd::from_borrowed_fd(readable, PollFlags::IN)], Some(&most));
    }
}

/// A round: what was sent and received in a window, and how long packets were on their way.
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) seconds: f64,
    pub(crate) times: Vec<u64>,
    /// Nanoseconds of processor time that the thread asked for had in the window.
    pub(crate) spent: Option<u64>,
}

/// Nanoseconds of processor time that this process's thread `name` has had.
fn spent(name: &str) -> Option<u64> {
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        if read("comm")?.trim_end() == name {
            return read("schedstat")?.split(' ').next()?.parse().ok();
        }
    }
    None
}

/// Lets one end send and the other receive for a quarter of `window`, then for `window`, and looks
/// at the thread `worker`.
pub(crate) fn round(
    near: &mut End, far: &mut End, source: &mut Source<'_>, window: Duration, worker: &str, round: &Round,
) -> Seen {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| far.receive(round, round.gap.is_some()));
        let sender = scope.spawn(|| near.send(source, round));
        let counts = || [round.sent.load(Relaxed), round.received.load(Relaxed)];
        thread::sleep(window / 4);
        let (before, had, start) = (counts(), spent(worker), Instant::now());
        thread::sleep(window);
        let (after, has, seconds) = (counts(), spent(worker), start.elapsed().as_secs_f64());
        round.end_sending.store(true, Relaxed);
        sender.join().expect("the sender");
        // What is on its way arrives, or never will.
        thread::sleep(Duration::from_millis(20));
        round.end_receiving.store(true, Relaxed);
        let times = receiver.join().expect("the receiver");
        let [sent, received] = [0, 1].map(|at| after[at] - before[at]);
        let spent = has.zip(had).map(|(has, had)| has - had);
        Seen { sent, received, seconds, times, spent }
    })
}
