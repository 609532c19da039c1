//! Queues of packets in one pool of descriptors: order, limits, reserves, counts. Who is
//! served, and when, is not known here.

use crate::arch::prefetch;
use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::policy::{Depth, DropPolicy};
use crate::queue::turns::Share;
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, Verdict};
use crate::time::Nanos;

pub(super) const NONE: u32 = u32::MAX;

/// Octets of the longest packet that a descriptor can tell.
pub(super) const MOST_OCTETS: u32 = Packet::OCTETS;

/// The state of one queue, in a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Queue {
    /// The first and the last descriptor.
    head: u32,
    tail: u32,
    /// The first packet.
    first: Packet,
    pub(super) packets: u32,
    octets: u32,
    limit_packets: u32,
    limit_octets: u32,
    /// Its quantum is 0 if the queue is not configured.
    pub(super) share: Share,
    pub(super) owner: SliceId,
    /// The number of its owner's reserve, or of none.
    pub(super) reserve: u16,
    /// The most packets that ever waited.
    most: u32,
    out_packets: u64,
    out_octets: u64,
}

impl Queue {
    /// A queue that is not configured.
    pub const NEW: Self = Self {
        head: NONE,
        tail: NONE,
        first: Packet(0),
        packets: 0,
        octets: 0,
        limit_packets: 0,
        limit_octets: 0,
        share: Share::NEW,
        owner: SliceId::SUBSTRATE,
        reserve: u16::MAX,
        most: 0,
        out_packets: 0,
        out_octets: 0,
    };

    #[inline(always)]
    fn depth(&self) -> Depth {
        Depth { packets: self.packets, octets: self.octets }
    }
}

const _: () = assert!(size_of::<Queue>() == 64);

/// What is known of a packet that waits, in a word: octets, drop precedence, whether it may be
/// marked, and whether it is.
#[derive(Clone, Copy, Debug)]
struct Packet(u32);

impl Packet {
    const OCTETS: u32 = (1 << 28) - 1;
    const MARKED: u32 = 1 << 31;

    #[inline(always)]
    fn new(arrival: Arrival, marked: bool) -> Self {
        let precedence = u32::from(arrival.precedence & 3);
        let flags = precedence | u32::from(arrival.ecn_capable) << 2 | u32::from(marked) << 3;
        Self(arrival.octets & Self::OCTETS | flags << 28)
    }

    #[inline(always)]
    fn octets(self) -> u32 {
        self.0 & Self::OCTETS
    }

    #[inline(always)]
    fn is_marked(self) -> bool {
        self.0 & Self::MARKED != 0
    }

    #[inline(always)]
    fn arrival(self) -> Arrival {
        Arrival {
            octets: self.octets(),
            precedence: (self.0 >> 28 & 3) as u8,
            ecn_capable: self.0 >> 30 & 1 != 0,
        }
    }
}

/// A waiting packet.
#[derive(Clone, Debug)]
pub struct Descriptor<H> {
    handle: Option<H>,
    /// The descriptor of the packet behind, or the next that is free.
    next: u32,
    /// The packet behind: known here, so that nobody need look there before its turn.
    behind: Packet,
    /// When it came, in units of 1,024 ns.
    since: u32,
}

impl<H> Descriptor<H> {
    /// Holds nothing.
    pub const NEW: Self = Self { handle: None, next: NONE, behind: Packet(0), since: 0 };
}

/// Descriptors that a slice has for itself: see [`Wdrr::reserve`](super::Wdrr::reserve).
#[derive(Clone, Copy, Debug)]
pub struct Reserve {
    owner: SliceId,
    /// How many it has for itself, and how many it uses.
    least: u32,
    used: u32,
    /// Its queues that are configured.
    queues: u32,
}

impl Reserve {
    /// Of no slice.
    pub const NEW: Self = Self { owner: SliceId::SUBSTRATE, least: 0, used: 0, queues: 0 };

    fn is_free(&self) -> bool {
        self.least == 0 && self.queues == 0
    }

    /// What it uses of the part that all share.
    fn shared(&self) -> i64 {
        i64::from(self.used.saturating_sub(self.least))
    }
}

/// What is known of the descriptors of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// Descriptors that hold nothing.
    free: u32,
    /// How many of them are nobody's reserve; below 0 while a reserve that has grown waits for
    /// those who have its descriptors.
    shared: i64,
    /// Packets that wait.
    pub(super) waiting: u64,
    /// Octets of the longest packet.
    pub(super) longest: u32,
}

/// The queues, and the memory that they share.
pub(super) struct Fifos<'a, H, P> {
    pub(super) queues: &'a mut [Queue],
    pub(super) descriptors: &'a mut [Descriptor<H>],
    pub(super) reserves: &'a mut [Reserve],
    pub(super) policy: &'a mut P,
    pub(super) pool: &'a mut Pool,
}

impl Pool {
    /// No packet waits, and no queue is configured.
    pub(super) fn new<H>(
        queues: &mut [Queue], descriptors: &mut [Descriptor<H>], reserves: &mut [Reserve], longest: u32,
    ) -> Self {
        queues.fill(Queue::NEW);
        reserves.fill(Reserve::NEW);
        let (mut free, mut shared) = (NONE, 0);
        for (descriptor, at) in descriptors.iter_mut().zip(0..NONE).rev() {
            *descriptor = Descriptor { next: core::mem::replace(&mut free, at), ..Descriptor::NEW };
            shared += 1;
        }
        Self { free, shared, waiting: 0, longest }
    }
}

impl<H, P: DropPolicy> Fifos<'_, H, P> {
    #[inline(always)]
    pub(super) fn queue(&mut self, id: u32) -> Option<&mut Queue> {
        self.queues.get_mut(id as usize)
    }

    /// Appends a packet; whether it is the first in its queue.
    #[inline(always)]
    pub(super) fn push(
        &mut self, now: Nanos, id: QueueId, handle: H, arrival: Arrival,
    ) -> Result<bool, Rejected<H>> {
        let (octets, longest, at) = (arrival.octets, self.pool.longest, self.pool.free);
        let queue = self.queues.get_mut(id.0 as usize).filter(|queue| {
            // 64 bits: no length is so large that the sum seems small.
            let filled = u64::from(queue.octets) + u64::from(octets);
            queue.packets < queue.limit_packets
                && filled <= u64::from(queue.limit_octets)
                && octets <= longest
        });
        let (Some(queue), Some(descriptor)) = (queue, self.descriptors.get_mut(at as usize)) else {
            return Err(self.refuse(id, handle, octets));
        };
        let mut reserve = self.reserves.get_mut(usize::from(queue.reserve));
        let of_all = reserve.as_ref().is_none_or(|reserve| reserve.used >= reserve.least);
        if of_all && self.pool.shared <= 0 {
            return Err(self.refuse(id, handle, octets));
        }
        let marked = match self.policy.arriving(now, id.0, queue.depth(), arrival) {
            Verdict::Send => false,
            Verdict::SendMarked => true,
            Verdict::Drop(reason) => {
                self.policy.refused(id.0, reason, octets);
                return Err(Rejected { handle, reason });
            }
        };
        self.pool.shared -= i64::from(of_all);
        if let Some(reserve) = &mut reserve {
            reserve.used += 1;
        }
        let packet = Packet::new(arrival, marked);
        self.pool.free = descriptor.next;
        descriptor.handle = Some(handle);
        descriptor.since = (now.0 >> 10) as u32;
        let (packets, last) = (queue.packets, queue.tail);
        if packets == 0 {
            (queue.head, queue.first) = (at, packet);
        }
        queue.tail = at;
        queue.packets = packets + 1;
        queue.octets += octets;
        queue.most = queue.most.max(packets + 1);
        self.pool.waiting += 1;
        if packets > 0
            && let Some(last) = self.descriptors.get_mut(last as usize)
        {
            (last.next, last.behind) = (at, packet);
        }
        Ok(packets == 0)
    }

    /// Takes packets of a queue from the first on, while there are places, within the queue's
    /// deficit and a budget in octets; how many.
    #[inline(always)]
    pub(super) fn serve(
        &mut self, now: Nanos, id: u32, budget: &mut u32, places: &mut [Option<Departure<H>>],
    ) -> usize {
        let Some(queue) = self.queues.get_mut(id as usize) else { return 0 };
        let (mut head, mut first, mut depth) = (queue.head, queue.first, queue.depth());
        let credit = queue.share.deficit.min(*budget);
        let mut left = credit;
        let (mut taken, mut out_packets) = (0, 0);
        for place in places {
            let octets = first.octets();
            if depth.packets == 0 || left < octets {
                break;
            }
            let Some(descriptor) = self.descriptors.get_mut(head as usize) else { break };
            let Some(handle) = descriptor.handle.take() else { break };
            let packet = first;
            // The last has nobody behind: what is stored there is old, and not looked at.
            first = descriptor.behind;
            let next = core::mem::replace(&mut descriptor.next, self.pool.free);
            self.pool.free = core::mem::replace(&mut head, next);
            depth = Depth { packets: depth.packets - 1, octets: depth.octets - octets };
            let since = descriptor.since;
            let waited = Nanos(u64::from(((now.0 >> 10) as u32).wrapping_sub(since)) << 10);
            let verdict = match self.policy.leaving(now, id, depth, packet.arrival(), waited) {
                Verdict::Send if packet.is_marked() => Verdict::SendMarked,
                verdict => verdict,
            };
            let sent = u32::from(!matches!(verdict, Verdict::Drop(_)));
            left -= sent * octets;
            out_packets += u64::from(sent);
            taken += 1;
            *place = Some(Departure { handle, octets, queue: QueueId(id), owner: queue.owner, verdict });
        }
        (queue.head, queue.first) = (head, first);
        (queue.packets, queue.octets) = (depth.packets, depth.octets);
        queue.out_packets += out_packets;
        queue.out_octets += u64::from(credit - left);
        queue.share.deficit -= credit - left;
        *budget -= credit - left;
        let reserve = queue.reserve;
        self.give_back(reserve, taken);
        taken as usize
    }

    /// Takes the first packet of a queue that is given up.
    pub(super) fn flush(&mut self, id: u32) -> Option<Departure<H>> {
        let queue = self.queues.get_mut(id as usize).filter(|queue| queue.packets > 0)?;
        let descriptor = self.descriptors.get_mut(queue.head as usize)?;
        let handle = descriptor.handle.take()?;
        let octets = queue.first.octets();
        let next = core::mem::replace(&mut descriptor.next, self.pool.free);
        self.pool.free = core::mem::replace(&mut queue.head, next);
        queue.first = descriptor.behind;
        queue.packets -= 1;
        queue.octets -= octets;
        let (owner, reserve, depth) = (queue.owner, queue.reserve, queue.depth());
        self.give_back(reserve, 1);
        self.policy.flushed(id, depth, octets);
        let verdict = Verdict::Drop(DropReason::QueueDeleted);
        Some(Departure { handle, octets, queue: QueueId(id), owner, verdict })
    }

    /// Descriptors of a slice hold nothing any more.
    #[inline(always)]
    fn give_back(&mut self, reserve: u16, count: u32) {
        self.pool.waiting -= u64::from(count);
        let mut shared = i64::from(count);
        if let Some(reserve) = self.reserves.get_mut(usize::from(reserve)) {
            let before = reserve.shared();
            reserve.used -= count;
            shared = before - reserve.shared();
        }
        self.pool.shared += shared;
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, id: QueueId, handle: H, octets: u32) -> Rejected<H> {
        let reason = match self.queues.get(id.0 as usize) {
            Some(queue) if queue.share.quantum > 0 && octets > self.pool.longest => DropReason::TooLong,
            Some(queue) if queue.share.quantum > 0 => {
                let filled = u64::from(queue.octets) + u64::from(octets);
                let room = queue.packets < queue.limit_packets && filled <= u64::from(queue.limit_octets);
                if room { DropReason::NoBuffer } else { DropReason::QueueFull }
            }
            _ => DropReason::UnknownQueue,
        };
        if reason != DropReason::UnknownQueue {
            self.policy.refused(id.0, reason, octets);
        }
        Rejected { handle, reason }
    }

    /// Sets a queue's owner and limits, and finds the reserve of its owner.
    pub(super) fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let count = self.queues.len();
        let queue = self.queues.get_mut(id.0 as usize);
        let queue = queue.ok_or(ConfigError::UnknownQueue { queue: id, queues: count })?;
        let known = queue.share.quantum > 0;
        if !known || queue.owner != config.owner {
            if queue.packets > 0 {
                return Err(ConfigError::Owner(queue.owner));
            }
            let reserve = join(self.reserves, config.owner)?;
            if known {
                leave(self.reserves, queue.reserve);
            }
            *queue = Queue { owner: config.owner, reserve, ..Queue::NEW };
            self.policy.reset(id.0);
        }
        queue.limit_packets = config.limit_packets;
        queue.limit_octets = u32::try_from(config.limit_octets).unwrap_or(u32::MAX);
        Ok(())
    }

    /// The number of a slice's reserve, if it has one.
    pub(super) fn reserve_of(&self, slice: SliceId) -> Option<u16> {
        u16::try_from(self.reserves.iter().position(|reserve| reserve.is_of(slice))?).ok()
    }

    /// The number of a slice's reserve, which is kept for it from now on.
    pub(super) fn join(&mut self, slice: SliceId) -> Result<u16, ConfigError> {
        join(self.reserves, slice)
    }

    /// A queue that is empty is not configured any more.
    pub(super) fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        let count = self.queues.len();
        let queue = self.queues.get_mut(id.0 as usize).filter(|queue| queue.share.quantum > 0);
        let queue = queue.ok_or(ConfigError::UnknownQueue { queue: id, queues: count })?;
        if queue.packets > 0 {
            return Err(ConfigError::NotEmpty { queue: id, packets: queue.packets });
        }
        leave(self.reserves, queue.reserve);
        *queue = Queue::NEW;
        self.policy.reset(id.0);
        Ok(())
    }

    /// See [`Wdrr::reserve`](super::Wdrr::reserve).
    pub(super) fn reserve(&mut self, owner: SliceId, least: u32) -> Result<(), ConfigError> {
        let descriptors = self.descriptors.len() as u64;
        let others = self.reserves.iter().filter(|other| !other.is_of(owner));
        let promised = others.map(|other| u64::from(other.least)).sum::<u64>();
        if promised + u64::from(least) > descriptors {
            return Err(ConfigError::Reserve { asked: least, left: (descriptors - promised) as u32 });
        }
        let at = join(self.reserves, owner)?;
        if let Some(reserve) = self.reserves.get_mut(usize::from(at)) {
            let before = i64::from(reserve.least) + reserve.shared();
            reserve.least = least;
            reserve.queues -= 1;
            self.pool.shared += before - (i64::from(least) + reserve.shared());
        } else {
            return Err(ConfigError::Slices(0));
        }
        Ok(())
    }
}

impl Queue {
    pub(super) fn stats(&self) -> QueueStats {
        QueueStats {
            packets: self.packets,
            octets: u64::from(self.octets),
            most_packets: self.most,
            out_packets: self.out_packets,
            out_octets: self.out_octets,
        }
    }

    /// Octets of the packet that is first, if there is one.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<u32> {
        (self.packets > 0).then_some(self.first.octets())
    }

    /// Starts fetching the packet that is first, which a departure touches.
    #[inline(always)]
    pub(super) fn prefetch_first<H>(&self, descriptors: &[Descriptor<H>]) {
        if let Some(first) = descriptors.get(self.head as usize) {
            prefetch(first);
        }
    }

    /// Starts fetching the packet that is last, which an arrival touches.
    #[inline(always)]
    pub(super) fn prefetch_last<H>(&self, descriptors: &[Descriptor<H>]) {
        if let Some(last) = descriptors.get(self.tail as usize) {
            prefetch(last);
        }
    }
}

impl Reserve {
    /// Whether it is that of a slice.
    pub(super) fn is_of(&self, slice: SliceId) -> bool {
        self.owner == slice && !self.is_free()
    }
}

/// One queue more of a slice: the number of its reserve, or of none where there are no reserves.
fn join(reserves: &mut [Reserve], owner: SliceId) -> Result<u16, ConfigError> {
    let of = reserves.iter().position(|reserve| reserve.is_of(owner));
    let at = of.or_else(|| reserves.iter().position(Reserve::is_free));
    let (count, number) = (reserves.len(), at.and_then(|at| u16::try_from(at).ok()));
    match (at.and_then(|at| reserves.get_mut(at)), number) {
        (Some(reserve), Some(number)) if number < u16::MAX => {
            reserve.owner = owner;
            reserve.queues += 1;
            Ok(number)
        }
        _ if count == 0 => Ok(u16::MAX),
        _ => Err(ConfigError::Slices(count)),
    }
}

fn leave(reserves: &mut [Reserve], at: u16) {
    if let Some(reserve) = reserves.get_mut(usize::from(at)) {
        reserve.queues = reserve.queues.saturating_sub(1);
    }
}
