//! Queues of packets in one pool of descriptors: order, limits, reserves, counts. Who is
//! served, and when, is not known here.

use core::num::NonZeroU32;

use crate::arch::prefetch;
use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::outlet::Outlet;
use crate::queue::policy::{Depth, DropPolicy};
use crate::queue::turns::Share;
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, Verdict};
use crate::time::Nanos;

pub(super) const NONE: u32 = u32::MAX;

/// Octets of the longest packet that a descriptor can tell.
pub(super) const MOST_OCTETS: u32 = Packet::OCTETS;

/// The state of one queue, in a cache line.
#[derive(Clone, Debug)]
// In this order: what is counted together stands apart. Side by side, two counters would be read
// as one vector, which waits where an arrival has just written one of them.
#[repr(C, align(64))]
pub struct Queue {
    out_packets: u64,
    /// The first and the last descriptor.
    head: u32,
    tail: u32,
    /// The first packet.
    first: Packet,
    pub(super) packets: u32,
    limit_packets: u32,
    octets: u32,
    limit_octets: u32,
    /// Its quantum is 0 if the queue is not configured.
    pub(super) share: Share,
    pub(super) owner: SliceId,
    /// The number of its owner's reserve, or of none.
    pub(super) reserve: u16,
    /// The most packets that waited when one was taken: an arrival does not look at it.
    most: u32,
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

    /// Of one that is not longer than a descriptor can tell.
    #[inline(always)]
    fn new(arrival: Arrival, marked: bool) -> Self {
        let precedence = u32::from(arrival.precedence & 3);
        let flags = precedence | u32::from(arrival.ecn_capable) << 2 | u32::from(marked) << 3;
        Self(arrival.octets | flags << 28)
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

/// When a packet came, in units of 1,024 ns. The lowest bit is always set, so that a descriptor
/// tells by this whether it holds a packet.
#[derive(Clone, Copy, Debug)]
struct Since(NonZeroU32);

impl Since {
    #[inline(always)]
    fn new(now: Nanos) -> Self {
        Self(NonZeroU32::MIN | (now.0 >> 9) as u32)
    }

    /// How long it has waited.
    #[inline(always)]
    fn until(self, now: Nanos) -> Nanos {
        Nanos(u64::from(Self::new(now).0.get().wrapping_sub(self.0.get())) << 9)
    }
}

/// A waiting packet: 12 octets beside its handle.
#[derive(Clone, Debug)]
pub struct Descriptor<H> {
    /// The descriptor of the packet behind, or the next that is free.
    next: u32,
    /// The packet behind: known here, so that nobody need look there before its turn.
    behind: Packet,
    held: Option<Held<H>>,
}

#[derive(Clone, Debug)]
struct Held<H> {
    handle: H,
    since: Since,
}

impl<H> Descriptor<H> {
    /// Holds nothing.
    pub const NEW: Self = Self { next: NONE, behind: Packet(0), held: None };
}

const _: () = assert!(size_of::<Descriptor<u32>>() == 16);

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

    /// What it has left.
    #[inline(always)]
    fn left(&self) -> i64 {
        self.least.saturating_sub(self.used).into()
    }
}

/// What is known of the descriptors of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// Descriptors that hold nothing.
    free: u32,
    /// How many of them all share; below 0 while a reserve that has grown waits for those who
    /// have its descriptors.
    shared: i64,
    /// How many the reserves have left. The others of `count` hold packets.
    kept: i64,
    count: i64,
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

/// What became of a queue that had its turn.
pub(super) struct Served<'a> {
    /// Packets that were taken.
    pub(super) taken: u32,
    /// Octets of the packet that is first now, if there is one.
    pub(super) first: Option<u32>,
    pub(super) share: &'a mut Share,
}

impl Pool {
    /// No packet waits, and no queue is configured.
    pub(super) fn new<H>(
        queues: &mut [Queue], descriptors: &mut [Descriptor<H>], reserves: &mut [Reserve], longest: u32,
    ) -> Self {
        queues.fill(Queue::NEW);
        reserves.fill(Reserve::NEW);
        let (mut free, mut count) = (NONE, 0);
        for (descriptor, at) in descriptors.iter_mut().zip(0..NONE).rev() {
            *descriptor = Descriptor { next: core::mem::replace(&mut free, at), ..Descriptor::NEW };
            count += 1;
        }
        Self { free, shared: count, kept: 0, count, longest }
    }

    /// Takes a descriptor from those that all share, or from a slice's reserve; whether it may.
    #[inline(always)]
    fn claim(&mut self, reserve: Option<&mut Reserve>) -> bool {
        let shared = self.shared - 1;
        match reserve {
            Some(reserve) if reserve.used < reserve.least => {
                reserve.used += 1;
                self.kept -= 1;
                return true;
            }
            _ if shared < 0 => return false,
            Some(reserve) => reserve.used += 1,
            None => {}
        }
        self.shared = shared;
        true
    }

    /// Packets that wait.
    pub(super) const fn waiting(&self) -> u64 {
        (self.count - self.kept - self.shared) as u64
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
        let Some(queue) = self.queues.get_mut(id.0 as usize) else {
            return Err(Rejected { handle, reason: DropReason::UnknownQueue });
        };
        let (packets, tail) = (queue.packets, queue.tail);
        // No length that is not too long makes a sum of more than 32 bits: see `configure`.
        let filled = queue.octets.wrapping_add(octets);
        if octets > longest || filled > queue.limit_octets || packets >= queue.limit_packets {
            let reason = refusal(queue, self.policy, longest, id, octets);
            return Err(Rejected { handle, reason });
        }
        let Some(descriptor) = self.descriptors.get_mut(at as usize) else {
            let reason = refusal(queue, self.policy, longest, id, octets);
            return Err(Rejected { handle, reason });
        };
        if !self.pool.claim(self.reserves.get_mut(usize::from(queue.reserve))) {
            let reason = refusal(queue, self.policy, longest, id, octets);
            return Err(Rejected { handle, reason });
        }
        let marked = match self.policy.arriving(now, id.0, queue.depth(), arrival) {
            Verdict::Send => false,
            Verdict::SendMarked => true,
            Verdict::Drop(reason) => {
                self.policy.refused(id.0, reason, octets);
                give_back(self.pool, self.reserves, queue.reserve, 1);
                return Err(Rejected { handle, reason });
            }
        };
        self.pool.free = descriptor.next;
        descriptor.held = Some(Held { handle, since: Since::new(now) });
        queue.tail = at;
        queue.packets = packets + 1;
        queue.octets = filled;
        let packet = Packet::new(arrival, marked);
        if packets == 0 {
            (queue.head, queue.first) = (at, packet);
            return Ok(true);
        }
        if let Some(last) = self.descriptors.get_mut(tail as usize) {
            (last.next, last.behind) = (at, packet);
        }
        Ok(false)
    }

    /// Takes packets of a queue from the first on, within the queue's deficit and a budget in
    /// octets, until `outlet`, which has room, has none.
    #[inline(always)]
    pub(super) fn serve(
        &mut self, now: Nanos, id: u32, budget: &mut u32, outlet: &mut impl Outlet<H>,
    ) -> Option<Served<'_>> {
        let queue = self.queues.get_mut(id as usize).filter(|queue| queue.packets > 0)?;
        let (mut head, mut first, before, deficit) =
            (queue.head, queue.first, queue.depth(), queue.share.deficit);
        let (owner, credit) = (queue.owner, deficit.min(*budget));
        let (mut packets, mut left, mut dropped) = (before.packets, credit, Depth::default());
        while let Some(after) = left.checked_sub(first.octets()) {
            if outlet.is_full() {
                break;
            }
            let Some(descriptor) = self.descriptors.get_mut(head as usize) else { break };
            let Some(Held { handle, since }) = descriptor.held.take() else { break };
            let (packet, octets) = (first, first.octets());
            // The last has nobody behind: what is stored there is old, and not looked at.
            first = descriptor.behind;
            let next = core::mem::replace(&mut descriptor.next, self.pool.free);
            self.pool.free = core::mem::replace(&mut head, next);
            packets -= 1;
            let depth = Depth { packets, octets: before.octets - (credit - after) - dropped.octets };
            let verdict = match self.policy.leaving(now, id, depth, packet.arrival(), since.until(now)) {
                Verdict::Send if packet.is_marked() => Verdict::SendMarked,
                verdict => verdict,
            };
            if let Verdict::Drop(_) = verdict {
                dropped = Depth { packets: dropped.packets + 1, octets: dropped.octets + octets };
            } else {
                left = after;
            }
            outlet.give(Departure { handle, octets, queue: QueueId(id), owner, verdict });
            if packets == 0 {
                break;
            }
        }
        let (taken, sent) = (before.packets - packets, credit - left);
        (queue.head, queue.first) = (head, first);
        queue.most = queue.most.max(before.packets);
        queue.packets = packets;
        queue.octets = before.octets - sent - dropped.octets;
        queue.out_packets += u64::from(taken - dropped.packets);
        queue.out_octets += u64::from(sent);
        queue.share.deficit = deficit - sent;
        *budget -= sent;
        give_back(self.pool, self.reserves, queue.reserve, taken);
        let first = (packets > 0).then_some(first.octets());
        Some(Served { taken, first, share: &mut queue.share })
    }

    /// Takes the first packet of a queue that is given up.
    pub(super) fn flush(&mut self, id: u32) -> Option<Departure<H>> {
        let queue = self.queues.get_mut(id as usize).filter(|queue| queue.packets > 0)?;
        let descriptor = self.descriptors.get_mut(queue.head as usize)?;
        let Held { handle, .. } = descriptor.held.take()?;
        let octets = queue.first.octets();
        let next = core::mem::replace(&mut descriptor.next, self.pool.free);
        self.pool.free = core::mem::replace(&mut queue.head, next);
        queue.first = descriptor.behind;
        queue.most = queue.most.max(queue.packets);
        queue.packets -= 1;
        queue.octets -= octets;
        let (owner, reserve, depth) = (queue.owner, queue.reserve, queue.depth());
        give_back(self.pool, self.reserves, reserve, 1);
        self.policy.flushed(id, depth, octets);
        let verdict = Verdict::Drop(DropReason::QueueDeleted);
        Some(Departure { handle, octets, queue: QueueId(id), owner, verdict })
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
        let most = u32::MAX - MOST_OCTETS;
        queue.limit_octets = u32::try_from(config.limit_octets).unwrap_or(most).min(most);
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
            let before = reserve.left();
            reserve.least = least;
            reserve.queues -= 1;
            let more = reserve.left() - before;
            self.pool.kept += more;
            self.pool.shared -= more;
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
            most_packets: self.most.max(self.packets),
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

    /// Starts fetching the packet behind the first one, if both may leave in one turn.
    #[inline(always)]
    pub(super) fn prefetch_second<H>(&self, descriptors: &[Descriptor<H>]) {
        if self.packets > 1
            && let Some(first) = descriptors.get(self.head as usize)
            && self.share.deficit >= self.first.octets() + first.behind.octets()
            && let Some(second) = descriptors.get(first.next as usize)
        {
            prefetch(second);
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

/// Descriptors of a slice hold nothing any more.
#[inline(always)]
fn give_back(pool: &mut Pool, reserves: &mut [Reserve], reserve: u16, count: u32) {
    let mut shared = i64::from(count);
    if let Some(reserve) = reserves.get_mut(usize::from(reserve)) {
        let before = reserve.left();
        reserve.used -= count;
        let kept = reserve.left() - before;
        pool.kept += kept;
        shared -= kept;
    }
    pool.shared += shared;
}

/// Apart from the pool and the packet, so that the caller may have those in registers.
#[cold]
#[inline(never)]
fn refusal<P: DropPolicy>(
    queue: &Queue, policy: &mut P, longest: u32, id: QueueId, octets: u32,
) -> DropReason {
    if queue.share.quantum == 0 {
        return DropReason::UnknownQueue;
    }
    let filled = u64::from(queue.octets) + u64::from(octets);
    let room = queue.packets < queue.limit_packets && filled <= u64::from(queue.limit_octets);
    let reason = match room {
        _ if octets > longest => DropReason::TooLong,
        true => DropReason::NoBuffer,
        false => DropReason::QueueFull,
    };
    policy.refused(id.0, reason, octets);
    reason
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
