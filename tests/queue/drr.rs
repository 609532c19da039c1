//! Deficit round robin as published, packet by packet, and Aliquem as published, with a list
//! for each round. Nothing is skipped and nothing is packed.

use std::collections::{BTreeMap, VecDeque};

use fastpath::exit::DropReason;

/// A queue of the models.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// 0 while it is not configured.
    pub(crate) quantum: u128,
    pub(crate) deficit: u128,
    pub(crate) limit_packets: u128,
    pub(crate) limit_octets: u128,
    pub(crate) waiting: VecDeque<(u32, u128)>,
}

impl Lane {
    pub(crate) fn octets(&self) -> u128 {
        self.waiting.iter().map(|(_, octets)| octets).sum()
    }

    /// Appends a packet, if it is taken; whether it is the first.
    pub(crate) fn push(&mut self, handle: u32, octets: u128, longest: u128) -> Result<bool, DropReason> {
        if self.quantum == 0 {
            return Err(DropReason::UnknownQueue);
        }
        if octets > longest {
            return Err(DropReason::TooLong);
        }
        let full = self.waiting.len() as u128 >= self.limit_packets;
        if full || self.octets() + octets > self.limit_octets {
            return Err(DropReason::QueueFull);
        }
        self.waiting.push_back((handle, octets));
        Ok(self.waiting.len() == 1)
    }

    /// Whether it may send its first packet.
    fn can_send(&self) -> bool {
        self.waiting.front().is_some_and(|(_, octets)| *octets <= self.deficit)
    }

    fn send(&mut self) -> Option<u32> {
        let (handle, octets) = self.waiting.pop_front()?;
        self.deficit -= octets;
        if self.waiting.is_empty() {
            self.deficit = 0;
        }
        Some(handle)
    }
}

/// A packet that left: its queue and its handle.
pub(crate) type Sent = (usize, u32);

/// M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", IEEE/ACM
/// Trans. Networking 4(3), 1996, figure 3: the list of active queues, gone round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drr {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) longest: u128,
    active: VecDeque<usize>,
    /// Whether the first of the list has earned this round's quantum.
    in_turn: bool,
}

impl Drr {
    pub(crate) fn new(lanes: usize, longest: u128) -> Self {
        Self { lanes: vec![Lane::default(); lanes], longest, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    pub(crate) fn enqueue(&mut self, lane: usize, handle: u32, octets: u128) -> Result<(), DropReason> {
        if self.lanes[lane].push(handle, octets, self.longest)? {
            self.active.push_back(lane);
        }
        Ok(())
    }

    /// The next packet, however many rounds it takes.
    pub(crate) fn dequeue(&mut self) -> Option<Sent> {
        loop {
            let at = *self.active.front()?;
            if !std::mem::replace(&mut self.in_turn, true) {
                self.lanes[at].deficit += self.lanes[at].quantum;
            }
            let sent = if self.lanes[at].can_send() { self.lanes[at].send() } else { None };
            self.settle();
            if let Some(handle) = sent {
                return Some((at, handle));
            }
        }
    }

    /// The turn of the first of the list is over if it cannot send another packet.
    fn settle(&mut self) {
        let Some(at) = self.active.front().copied().filter(|_| self.in_turn) else { return };
        if self.lanes[at].waiting.is_empty() {
            self.active.pop_front();
            self.in_turn = false;
        } else if !self.lanes[at].can_send() {
            self.active.rotate_left(1);
            self.in_turn = false;
        }
    }

    /// A whole round: each queue that is active now earns its quantum and sends what it can.
    pub(crate) fn round(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..self.active.len() {
            let at = self.active.pop_front().expect("a queue for each turn");
            let lane = &mut self.lanes[at];
            lane.deficit += lane.quantum;
            while lane.can_send() {
                sent.extend(lane.send().map(|handle| (at, handle)));
            }
            if !lane.waiting.is_empty() {
                self.active.push_back(at);
            }
        }
        sent
    }

    /// Takes the first packet of a queue away.
    pub(crate) fn flush(&mut self, lane: usize) -> Option<u32> {
        let (handle, _) = self.lanes[lane].waiting.pop_front()?;
        if self.active.front() == Some(&lane) && self.in_turn {
            self.settle();
        }
        if self.lanes[lane].waiting.is_empty() {
            self.lanes[lane].deficit = 0;
            self.active.retain(|active| *active != lane);
        }
        Some(handle)
    }
}

/// L. Lenzini, E. Mingozzi, G. Stea, "Tradeoffs between low complexity, low latency, and
/// fairness with deficit round-robin schedulers", IEEE/ACM Trans. Networking 12(4), 2004,
/// section III: who needs `k` rounds to earn its first packet joins the list `k` rounds ahead.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliquem {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) longest: u128,
    lists: BTreeMap<u128, VecDeque<usize>>,
    round: u128,
    turn: Option<usize>,
}

impl Aliquem {
    pub(crate) fn new(lanes: usize, longest: u128) -> Self {
        Self { lanes: vec![Lane::default(); lanes], longest, ..Self::default() }
    }

    pub(crate) fn enqueue(&mut self, lane: usize, handle: u32, octets: u128) -> Result<(), DropReason> {
        if self.lanes[lane].push(handle, octets, self.longest)? {
            self.wait(lane);
        }
        Ok(())
    }

    pub(crate) fn dequeue(&mut self) -> Option<Sent> {
        if self.turn.is_none() {
            self.lists.retain(|_, list| !list.is_empty());
            let (round, list) = self.lists.iter_mut().next()?;
            (self.round, self.turn) = (*round, list.pop_front());
        }
        let at = self.turn?;
        let handle = self.lanes[at].send()?;
        if !self.lanes[at].can_send() {
            self.turn = None;
            if !self.lanes[at].waiting.is_empty() {
                self.wait(at);
            }
        }
        Some((at, handle))
    }

    fn wait(&mut self, at: usize) {
        let (mut ahead, lane) = (0, &mut self.lanes[at]);
        while ahead == 0 || !lane.can_send() {
            lane.deficit += lane.quantum;
            ahead += 1;
        }
        self.lists.entry(self.round + ahead).or_default().push_back(at);
    }
}
