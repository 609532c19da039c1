//! The algorithm of the paper over lists, and what can be wrong with it.

use std::collections::VecDeque;

use fastpath::exit::DropReason;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, Verdict, WdrrScheduler,
};
use fastpath::time::Nanos;

/// The algorithm of the paper over lists, with a fault.
pub(crate) struct Faulty {
    fault: Fault,
    queues: [Waiting; 4],
    turn: usize,
    credited: bool,
    calls: u32,
    /// A flush has put the next departure off.
    put_off: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
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
    ForgetsTheMost,
    CountsOctetsThatLeft,
    CountsFlushed,
    CountsNoOctetsSent,
    RemovesPackets,
    RemovesUnknown,
    RemovesNothing,
    RefusedRemovalEmpties,
    StatsOutliveRemoval,
    OwnerOutlivesRemoval,
    FlushesTheLast,
    FlushSends,
    FlushGivesUp,
    FlushesAnother,
    FlushTakesTime,
    FlushCostsOthers,
    BatchOfOneQueue,
    BatchStopsShort,
    BatchMiscounts,
}

#[derive(Default)]
struct Waiting {
    config: Option<QueueConfig>,
    packets: VecDeque<(u32, u32)>,
    deficit: u64,
    stats: QueueStats,
    /// Packets that were ever lost.
    lost: u32,
    /// Who had it before it was removed.
    before: Option<SliceId>,
}

impl Waiting {
    fn take(&mut self, sent: bool) -> Option<(u32, u32)> {
        let (handle, octets) = self.packets.pop_front()?;
        self.stats.packets -= 1;
        self.stats.octets -= u64::from(octets);
        if sent {
            self.stats.out_packets += 1;
            self.stats.out_octets += u64::from(octets);
        }
        Some((handle, octets))
    }
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, queues: Default::default(), turn: 0, credited: false, calls: 0, put_off: false }
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
        queue.config = Some(QueueConfig { owner: queue.before.unwrap_or(config.owner), ..config });
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
        let filled = queue.stats.octets + u64::from(arrival.octets);
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
            _ => queue.packets.push_back((handle, arrival.octets)),
        }
        queue.stats.packets += 1;
        queue.stats.octets = filled;
        queue.stats.most_packets = queue.stats.most_packets.max(queue.stats.packets);
        Ok(())
    }

    fn dequeue(&mut self, now: Nanos) -> Option<Departure<u32>> {
        self.calls += 1;
        self.put_off = false;
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
            queue.take(true);
            let octets = if fault == Fault::OctetsAreRounded { octets.next_multiple_of(4) } else { octets };
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

    fn dequeue_batch(&mut self, now: Nanos, places: &mut [Option<Departure<u32>>]) -> usize {
        let mut count = 0;
        for place in &mut *places {
            if self.fault == Fault::BatchStopsShort && count == 5 {
                break;
            }
            *place = self.dequeue(now);
            if place.is_none() {
                break;
            }
            if self.fault == Fault::BatchOfOneQueue {
                self.next_turn();
            }
            count += 1;
        }
        if self.fault == Fault::BatchMiscounts { count.max(1) } else { count }
    }

    fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        let (queues, fault) = (self.queues.len(), self.fault);
        let queue = self.queues.get_mut(id.0 as usize).filter(|queue| queue.config.is_some());
        let Some(queue) = queue else {
            return match fault {
                Fault::RemovesUnknown => Ok(()),
                _ => Err(ConfigError::UnknownQueue { queue: id, queues }),
            };
        };
        let packets = queue.packets.len() as u32;
        if packets > 0 && fault != Fault::RemovesPackets {
            if fault == Fault::RefusedRemovalEmpties {
                while queue.take(false).is_some() {}
            }
            return Err(ConfigError::NotEmpty { queue: id, packets });
        }
        let (old, before) = (queue.stats, queue.config.map(|config| config.owner));
        match fault {
            Fault::RemovesNothing => {}
            Fault::StatsOutliveRemoval => *queue = Waiting { stats: old, ..Waiting::default() },
            Fault::OwnerOutlivesRemoval => *queue = Waiting { before, ..Waiting::default() },
            _ => *queue = Waiting::default(),
        }
        Ok(())
    }

    fn flush(&mut self, id: QueueId) -> Option<Departure<u32>> {
        let fault = self.fault;
        if fault == Fault::FlushCostsOthers {
            self.queues.iter_mut().for_each(|queue| queue.deficit = 0);
        }
        let from = if fault == Fault::FlushesAnother && id.0 < 4 { QueueId((id.0 + 1) % 4) } else { id };
        let queue = self.queues.get_mut(from.0 as usize)?;
        match fault {
            Fault::FlushesTheLast => queue.packets.rotate_right(1.min(queue.packets.len())),
            Fault::FlushGivesUp if queue.packets.len() == 1 => return None,
            _ => {}
        }
        let (handle, octets) = queue.take(fault == Fault::CountsFlushed)?;
        self.put_off = fault == Fault::FlushTakesTime;
        let owner = queue.config?.owner;
        let verdict = match fault {
            Fault::FlushSends => Verdict::Send,
            _ => Verdict::Drop(DropReason::QueueDeleted),
        };
        Some(Departure { handle, octets, queue: from, owner, verdict })
    }

    fn stats(&self, id: QueueId) -> QueueStats {
        let Some(queue) = self.queues.get(id.0 as usize) else { return QueueStats::default() };
        let configured = queue.config.is_some();
        let mut stats = queue.stats;
        match self.fault {
            Fault::ForgetsTheMost => stats.most_packets = stats.packets,
            Fault::CountsOctetsThatLeft => stats.octets += stats.out_octets,
            Fault::CountsNoOctetsSent => stats.out_octets = 0,
            Fault::StatsOutliveRemoval if !configured => stats = QueueStats::default(),
            _ => {}
        }
        stats
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
        waits.then_some(now + Nanos(late + u64::from(self.put_off)))
    }
}
