//! Schedulers.

use std::collections::VecDeque;

use fastpath::conformance::{QueueSet, wdrr_scheduler};
use fastpath::exit::DropReason;
use fastpath::id::QueueId;
use fastpath::queue::{
    Arrival, BoxedWdrr, ConfigError, Departure, Paced, Quantum, QueueConfig, QueueManager, QueueStats, Rate,
    Rejected, Scheduled, TailDrop, Verdict, WdrrScheduler,
};
use fastpath::time::Nanos;

const QUEUES: [QueueId; 4] = [QueueId(0), QueueId(1), QueueId(2), QueueId(3)];
const SET: QueueSet<'_> =
    QueueSet { schedulers: &[&QUEUES], weight: 1, longest: 1500, overhead: 0, room: 40 };

type FourQueues = BoxedWdrr<u32>;

fn wdrr(unit: u32, longest: u32) -> FourQueues {
    BoxedWdrr::boxed(4, 160, 0, TailDrop, Quantum { unit, longest }).unwrap()
}

#[test]
fn wdrr_is_a_scheduler() {
    wdrr_scheduler(|| wdrr(1500, 1500), SET, 4, 1);
    // Quanta far below the longest packet.
    for unit in [1, 7, 100, 400, 1499] {
        wdrr_scheduler(|| wdrr(unit, 1500), SET, 4, u64::from(unit));
    }
    // Finer weights, other sizes.
    wdrr_scheduler(|| wdrr(10, 1500), QueueSet { weight: 150, ..SET }, 2, 2);
    wdrr_scheduler(|| wdrr(9000, 9000), QueueSet { longest: 9000, ..SET }, 2, 3);
    wdrr_scheduler(|| wdrr(1, 1), QueueSet { longest: 1, ..SET }, 2, 4);
    wdrr_scheduler(|| wdrr(1500, 1500), QueueSet { schedulers: &[&QUEUES[..1]], ..SET }, 2, 5);
}

#[test]
fn a_paced_scheduler_is_a_scheduler() {
    for (rate, overhead, burst) in
        [(1_000_000_000, 24, 0), (7_777_777, 0, 3_000_000), (400_000_000_000, 24, 20)]
    {
        let rate = Rate::bits_per_second(rate).unwrap();
        let new = || Paced::new(wdrr(1524, 1524), rate, overhead, Nanos(burst));
        wdrr_scheduler(new, QueueSet { longest: 1524 - overhead, overhead, ..SET }, 2, 1);
    }
}

#[test]
fn a_queue_manager_is_a_scheduler() {
    let queues: Vec<[QueueId; 3]> = (0..4).map(|n| [0, 1, 3].map(|queue| QueueId(n << 2 | queue))).collect();
    let schedulers: Vec<&[QueueId]> = queues.iter().map(|queues| &queues[..]).collect();
    let new = || {
        let schedulers: [_; 4] = std::array::from_fn(|n| {
            let rate = Rate::bits_per_second(1_000_000_000 / (n as u64 + 1)).unwrap();
            Paced::new(wdrr(1524, 1524), rate, 24, Nanos(n as u64 * 1000))
        });
        QueueManager::new(schedulers.map(Scheduled::new), 2)
    };
    let set = QueueSet { schedulers: &schedulers, overhead: 24, ..SET };
    wdrr_scheduler(new, set, 2, 1);
    let new = || {
        let schedulers = [wdrr(1500, 1500), wdrr(3000, 1500), wdrr(1500, 1500), wdrr(1500, 1500)];
        QueueManager::new(schedulers.map(Scheduled::new), 2)
    };
    wdrr_scheduler(new, QueueSet { schedulers: &schedulers, ..SET }, 2, 2);
}

/// The algorithm of the paper over lists, with a fault.
struct Faulty {
    fault: Fault,
    queues: [Waiting; 4],
    turn: usize,
    credited: bool,
    calls: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    RoundRobin,
    Unweighted,
    Lifo,
    SavesCredit,
    LosesOne,
    SwapsRefused,
    Waits,
    NoLimitInOctets,
    ForgetsTheLast,
    ReconfigureEmpties,
    ReconfigureReverses,
    TakesWeightZero,
    RefusedWeightSticks,
    BacklogStays,
    OctetsAreRounded,
    SaysDueTooLate,
}

#[derive(Default)]
struct Waiting {
    config: Option<QueueConfig>,
    packets: VecDeque<(u32, u32)>,
    deficit: u64,
    /// Packets that were ever lost.
    lost: u32,
}

impl Waiting {
    fn octets(&self) -> u64 {
        self.packets.iter().map(|(_, octets)| u64::from(*octets)).sum()
    }
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { fault, queues: Default::default(), turn: 0, credited: false, calls: 0 }
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.queues.len();
        self.credited = false;
    }
}

impl WdrrScheduler for Faulty {
    type Handle = u32;

    fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let queues = self.queues.len();
        let unknown = ConfigError::UnknownQueue { queue: id, queues };
        let queue = self.queues.get_mut(id.0 as usize).ok_or(unknown)?;
        if config.weight > QueueConfig::MAX_WEIGHT
            || config.weight == 0 && self.fault != Fault::TakesWeightZero
        {
            if self.fault == Fault::RefusedWeightSticks
                && let Some(old) = &mut queue.config
            {
                old.limit_packets = config.limit_packets;
            }
            return Err(ConfigError::Weight(config.weight));
        }
        match self.fault {
            Fault::ReconfigureEmpties => queue.packets.clear(),
            Fault::ReconfigureReverses => queue.packets.make_contiguous().reverse(),
            _ => {}
        }
        queue.config = Some(config);
        queue.deficit = queue.deficit.min(u64::from(config.weight) * 1500);
        Ok(())
    }

    fn enqueue(&mut self, _: Nanos, id: QueueId, handle: u32, arrival: Arrival) -> Result<(), Rejected<u32>> {
        self.calls += 1;
        let (fault, calls) = (self.fault, self.calls);
        let configured =
            self.queues.get_mut(id.0 as usize).and_then(|queue| queue.config.map(|c| (queue, c)));
        let Some((queue, config)) = configured else {
            return Err(Rejected { handle, reason: DropReason::UnknownQueue });
        };
        let filled = queue.octets() + u64::from(arrival.octets);
        let full = queue.packets.len() as u32 >= config.limit_packets
            || filled > config.limit_octets && fault != Fault::NoLimitInOctets;
        if full {
            let handle = if fault == Fault::SwapsRefused {
                queue.packets.pop_back().map_or(handle, |(last, octets)| {
                    queue.packets.push_back((handle, octets));
                    last
                })
            } else {
                handle
            };
            return Err(Rejected { handle, reason: DropReason::QueueFull });
        }
        match fault {
            Fault::Lifo => queue.packets.push_front((handle, arrival.octets)),
            Fault::LosesOne if calls.is_multiple_of(500) => queue.lost += 1,
            Fault::OctetsAreRounded => queue.packets.push_back((handle, arrival.octets.next_multiple_of(4))),
            _ => queue.packets.push_back((handle, arrival.octets)),
        }
        Ok(())
    }

    fn dequeue(&mut self, now: Nanos) -> Option<Departure<u32>> {
        self.calls += 1;
        if self.queues.iter().all(|queue| queue.packets.is_empty()) {
            return None;
        }
        let waiting: usize = self.queues.iter().map(|queue| queue.packets.len()).sum();
        let sulks = match self.fault {
            Fault::Waits => self.calls.is_multiple_of(300),
            Fault::ForgetsTheLast => waiting == 1,
            Fault::SaysDueTooLate => now.0 % 100 == 3,
            _ => false,
        };
        if sulks {
            return None;
        }
        loop {
            let quantum = self.quantum(QueueId(self.turn as u32));
            let fault = self.fault;
            let queue = &mut self.queues[self.turn];
            let Some(config) = queue.config else {
                self.next_turn();
                continue;
            };
            if !std::mem::replace(&mut self.credited, true) {
                let earned = if fault == Fault::Unweighted { 1500 } else { quantum };
                // An idle queue earns as others do.
                if !queue.packets.is_empty() || fault == Fault::SavesCredit {
                    queue.deficit += earned;
                }
            }
            let Some(&(handle, octets)) = queue.packets.front() else {
                if fault != Fault::SavesCredit {
                    queue.deficit = 0;
                }
                self.next_turn();
                continue;
            };
            match queue.deficit.checked_sub(octets.into()) {
                Some(deficit) => queue.deficit = deficit,
                None if fault == Fault::RoundRobin => {}
                None => {
                    self.next_turn();
                    continue;
                }
            }
            queue.packets.pop_front();
            let id = QueueId(self.turn as u32);
            if queue.packets.is_empty() && fault != Fault::SavesCredit {
                queue.deficit = 0;
                self.next_turn();
            } else if fault == Fault::RoundRobin {
                self.next_turn();
            }
            return Some(Departure {
                handle,
                octets,
                queue: id,
                owner: config.owner,
                verdict: Verdict::Send,
            });
        }
    }

    fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        let queues = self.queues.len();
        let queue = self.queues.get_mut(id.0 as usize).filter(|queue| queue.config.is_some());
        let queue = queue.ok_or(ConfigError::UnknownQueue { queue: id, queues })?;
        let packets = queue.packets.len() as u32;
        if packets > 0 {
            return Err(ConfigError::NotEmpty { queue: id, packets });
        }
        *queue = Waiting::default();
        Ok(())
    }

    fn flush(&mut self, id: QueueId) -> Option<Departure<u32>> {
        let queue = self.queues.get_mut(id.0 as usize)?;
        let (handle, octets) = queue.packets.pop_front()?;
        let (owner, verdict) = (queue.config?.owner, Verdict::Drop(DropReason::QueueDeleted));
        Some(Departure { handle, octets, queue: id, owner, verdict })
    }

    fn stats(&self, id: QueueId) -> QueueStats {
        let Some(queue) = self.queues.get(id.0 as usize) else { return QueueStats::default() };
        let packets = queue.packets.len() as u32;
        QueueStats { packets, octets: queue.octets(), ..QueueStats::default() }
    }

    fn backlog(&self, id: QueueId) -> u32 {
        let Some(queue) = self.queues.get(id.0 as usize) else { return 0 };
        let len = queue.packets.len() as u32 + queue.lost;
        if self.fault == Fault::BacklogStays { len.max(u32::from(self.calls > 100)) } else { len }
    }

    fn quantum(&self, id: QueueId) -> u64 {
        let config = self.queues.get(id.0 as usize).and_then(|queue| queue.config);
        config.map_or(0, |config| u64::from(config.weight) * 1500)
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        let waits = self.queues.iter().any(|queue| !queue.packets.is_empty());
        let late = if self.fault == Fault::SaysDueTooLate && now.0 % 100 == 3 { 97 + 3 } else { 0 };
        waits.then_some(now + Nanos(late))
    }
}

fn check(fault: Fault) {
    wdrr_scheduler(|| Faulty::new(fault), SET, 2, 1);
}

#[test]
fn the_kit_takes_the_algorithm_of_the_paper() {
    check(Fault::None);
}

macro_rules! caught {
    ($($name:ident: $fault:ident, $expected:literal;)+) => {$(
        #[test]
        #[should_panic(expected = $expected)]
        fn $name() {
            check(Fault::$fault);
        }
    )+};
}

caught! {
    the_kit_catches_plain_round_robin: RoundRobin, "unfair";
    the_kit_catches_weights_that_count_for_nothing: Unweighted, "unfair";
    the_kit_catches_a_stack: Lifo, "not first in, first out";
    the_kit_catches_a_queue_that_saves_credit: SavesCredit, "an idle queue saves no credit: unfair";
    the_kit_catches_a_lost_packet: LosesOne, "was lost";
    the_kit_catches_that_another_packet_is_given_back: SwapsRefused, "gave back another packet";
    the_kit_catches_a_scheduler_that_rests: Waits, "not work conserving";
    the_kit_catches_a_packet_that_stays: ForgetsTheLast, "not work conserving";
    the_kit_catches_a_limit_that_is_not_held: NoLimitInOctets, "took a packet beyond its limits";
    the_kit_catches_that_configuring_empties: ReconfigureEmpties, "backlog of queue";
    the_kit_catches_that_configuring_reverses: ReconfigureReverses, "reconfigured under way: not first in";
    the_kit_catches_a_weight_of_nothing: TakesWeightZero, "weight 0 for queue";
    the_kit_catches_a_refusal_that_takes_effect: RefusedWeightSticks, "refused packet 1 within its limits";
    the_kit_catches_a_wrong_backlog: BacklogStays, "backlog of queue";
    the_kit_catches_wrong_octets: OctetsAreRounded, "octets of a departure";
    the_kit_catches_a_time_that_is_not_kept: SaysDueTooLate, "next_due";
}
