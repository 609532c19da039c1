//! The handle of one slice's manager: the management interface of section 2.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use core::sync::atomic::{AtomicBool, AtomicU64};

use crate::exit::Exit;
use crate::id::{EgressId, OptionId, SliceId};
use crate::key::{LookupKey, TableKey};
use crate::lookup::{Filter, Plan, RangedFilter, Rank, TcamWriter, TernaryTable};
use crate::node::channel::{
    Action, Command, ControlEnd, ControlError, ExceptionPacket, Injection, ManagerEnd, Reply, Spread, Ticket,
};
use crate::node::scheduling::Policy;
use crate::node::worker::{Account, Bank, QueueMap, SharedCounters};
use crate::sram::{SliceSram, Words};
use crate::stats::{Count, Event, StatsBlock};

/// The slice's command ring is full: fetch the replies, and let the node work. Or the
/// slice is withdrawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the node has not answered earlier commands: take the replies and try again, unless the slice is withdrawn"
)]
pub struct Busy;

/// Controls one slice, from any thread, while its packets flow.
///
/// Nothing here takes a number of another slice: links, queues and results are numbers
/// of the slice's own, and filters are put under its own id. Filters are the handle's own to
/// write, at once and at this thread's cost, whatever the node and other slices do. Commands
/// are carried out by the node between two vectors, in order; each is answered by a
/// [`Reply`]. Memory and counters are read, and memory written, at once.
///
/// No method waits. Dropping the handle leaves the slice as it is; exceptions are then
/// dropped as [`SlowPathFull`](crate::exit::DropReason::SlowPathFull) when the ring is
/// full.
#[derive(Debug)]
pub struct SliceControl<B> {
    pub(super) slice: SliceId,
    /// Before `end`: the node frees the slice's number when both are gone.
    pub(super) writer: TcamWriter,
    pub(super) most_filters: u32,
    pub(super) option: OptionId,
    pub(super) end: ControlEnd,
    /// The ends of each worker's packets, and whose exceptions are looked at next.
    pub(super) packets: Box<[ManagerEnd<B>]>,
    pub(super) turn: usize,
    pub(super) spread: Spread,
    /// How many changes each further worker has made.
    pub(super) done: Box<[Arc<AtomicU64>]>,
    pub(super) bank: Arc<Bank>,
    /// Of each worker.
    pub(super) stats: Box<[SharedCounters]>,
    pub(super) first_result: u32,
    pub(super) results: u32,
    pub(super) queues: QueueMap,
    pub(super) sent: u64,
    /// Commands whose replies were not fetched.
    pub(super) open: usize,
    pub(super) withdrawn: Arc<AtomicBool>,
}

impl<B> SliceControl<B> {
    /// The slice's number.
    pub const fn slice(&self) -> SliceId {
        self.slice
    }

    /// Whether the node has taken the slice away. Commands are not answered any more, and
    /// no more are taken, nor packets; memory, counters and the exceptions that wait stay
    /// this handle's, and are given to nobody else, until it is dropped.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }

    /// Says what becomes of packets whose filter names `result`: at once for all such
    /// filters.
    ///
    /// # Errors
    ///
    /// [`Busy`]; the command was not given.
    pub fn set_result(&mut self, result: u32, action: Action) -> Result<Ticket, Busy> {
        self.command(Command::SetResult { result, action })
    }

    /// Puts a filter into the slice's table, or gives the one with the same rank, value and
    /// mask another result; returns the result that it led to before.
    ///
    /// Done when this returns, by this thread: vectors that begin later see it, and the node
    /// has no part in it. A filter may lead to a result before that is set: its packets are
    /// dropped as [`NoMatch`](crate::exit::DropReason::NoMatch) until it is.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownResult`], [`ControlError::Filters`], [`ControlError::Table`]
    /// where a lookup would cost more than the slice was admitted with,
    /// [`ControlError::Withdrawn`]. The table is unchanged.
    pub fn insert(
        &mut self, rank: Rank, value: LookupKey, mask: LookupKey, result: u32,
    ) -> Result<Option<u32>, ControlError> {
        self.put(rank, Filter::new(self.slice, value, mask).into(), result)
    }

    /// [`insert`](Self::insert) of a filter whose two fields of 16 bits at bits 64 and 80 of
    /// the key, the ports of an [`Ipv4Key`](crate::code_option::ipv4::Ipv4Key), are in ranges.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), and [`ControlError::Ports`].
    pub fn insert_ranged(
        &mut self, rank: Rank, (value, mask): (LookupKey, LookupKey), low: RangeInclusive<u16>,
        high: RangeInclusive<u16>, result: u32,
    ) -> Result<Option<u32>, ControlError> {
        let filter = RangedFilter::new(Filter::new(self.slice, value, mask), low, high);
        self.put(rank, filter.ok_or(ControlError::Ports)?, result)
    }

    fn put(&mut self, rank: Rank, filter: RangedFilter, result: u32) -> Result<Option<u32>, ControlError> {
        let egress = self.egress(result)?;
        let full = self.writer.len() >= self.most_filters as usize;
        if full && self.writer.get(rank, &filter).is_none() {
            return Err(ControlError::Filters(self.most_filters));
        }
        let old = self.writer.insert_ranged(rank, filter, egress)?;
        Ok(old.map(|old| self.result(old)))
    }

    /// Takes a filter out of the slice's table; returns the result that it led to. Done when
    /// this returns, as [`insert`](Self::insert) is.
    pub fn remove(&mut self, rank: Rank, value: LookupKey, mask: LookupKey) -> Option<u32> {
        self.remove_ranged(rank, &Filter::new(self.slice, value, mask).into())
    }

    /// [`remove`](Self::remove) of a filter that [`filters`](Self::filters) has shown.
    pub fn remove_ranged(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let old = self.writer.remove_ranged(rank, filter)?;
        Some(self.result(old))
    }

    /// Puts these filters, each with its rank and result, in the place of all that the slice
    /// has: a lookup sees the old ones or the new ones. They are at most as many as the slice
    /// has reserved.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert). The table is unchanged.
    pub fn load(
        &mut self, filters: impl IntoIterator<Item = (Rank, LookupKey, LookupKey, u32)>,
    ) -> Result<(), ControlError> {
        let mut rows = Vec::new();
        for (rank, value, mask, result) in filters {
            rows.push((rank, Filter::new(self.slice, value, mask).into(), self.egress(result)?));
        }
        if rows.len() > self.most_filters as usize {
            return Err(ControlError::Filters(self.most_filters));
        }
        Ok(self.writer.load(rows)?)
    }

    /// The slice's filters in no order, each with the result that it leads to.
    pub fn filters(&self) -> impl Iterator<Item = (Rank, RangedFilter, u32)> {
        self.writer.iter().map(|entry| (entry.place.rank(), entry.filter, self.result(entry.value)))
    }

    /// How its filters are found, and what that costs.
    pub fn plan(&self) -> Plan {
        self.writer.plan()
    }

    /// The result that a packet with this key is led to: what the fast path would find, at the
    /// same cost.
    pub fn lookup(&self, key: LookupKey) -> Option<u32> {
        Some(self.result(self.writer.lookup(TableKey::new(self.slice, key))?))
    }

    fn egress(&self, result: u32) -> Result<EgressId, ControlError> {
        let unknown = ControlError::UnknownResult { asked: result, has: self.results };
        let egress = EgressId::new(self.first_result.wrapping_add(result));
        egress.filter(|_| result < self.results).ok_or(unknown)
    }

    /// The slice's own number of a result.
    const fn result(&self, egress: EgressId) -> u32 {
        (egress.index() as u32).wrapping_sub(self.first_result)
    }

    /// Changes the share and the limits of one of the slice's queues; packets that wait
    /// stay.
    ///
    /// # Errors
    ///
    /// [`Busy`]; the command was not given.
    pub fn configure_queue(
        &mut self, queue: u16, weight: u32, limit_packets: u32, limit_octets: u64,
    ) -> Result<Ticket, Busy> {
        self.command(Command::Configure { queue, weight, limit_packets, limit_octets })
    }

    /// Gives one of the slice's queues another policy, which begins anew; packets that wait
    /// stay. Refused where the interface is [plain](crate::node::Scheduling::Plain).
    ///
    /// # Errors
    ///
    /// [`Busy`]; the command was not given.
    pub fn set_policy(&mut self, queue: u16, policy: Policy) -> Result<Ticket, Busy> {
        self.command(Command::Policy { queue, policy })
    }

    fn command(&mut self, command: Command) -> Result<Ticket, Busy> {
        // As many replies as commands find room, so that none is ever lost.
        if self.open >= self.end.replies.buffer().capacity() || self.is_withdrawn() {
            return Err(Busy);
        }
        let ticket = Ticket(self.sent);
        self.end.commands.push((ticket, command)).map_err(|_| Busy)?;
        self.sent += 1;
        self.open += 1;
        Ok(ticket)
    }

    /// The node's answers so far, in the order of the commands: each when all workers have
    /// done it.
    pub fn replies(&mut self) -> impl Iterator<Item = Reply> {
        core::iter::from_fn(move || {
            let changes = self.end.replies.peek().ok()?.1;
            if self.done.iter().any(|done| done.load(Acquire) < changes) {
                return None;
            }
            let (reply, _) = self.end.replies.pop().ok()?;
            self.open -= 1;
            Some(reply)
        })
    }

    /// The slice's memory, shared with its code option.
    pub fn memory(&self) -> Words<'_> {
        self.bank.region(self.slice)
    }

    /// How many of the slice's packets left by `exit`.
    pub fn exits(&self, exit: Exit) -> Count {
        self.read(Event::Left(self.slice, exit))
    }

    /// How many packets result `result` has queued; 0 for a result the slice has not.
    pub fn result_count(&self, result: u32) -> Count {
        self.egress(result).map_or(Count::ZERO, |egress| self.read(Event::Queued(egress)))
    }

    /// How many packets queue `queue` has sent; 0 for a queue the slice has not.
    pub fn queue_count(&self, queue: u16) -> Count {
        let queue = self.queues.get(usize::from(queue));
        queue.map_or(Count::ZERO, |queue| self.read(Event::Sent(queue)))
    }

    /// Adds up what all workers counted.
    fn read(&self, event: Event) -> Count {
        self.stats.iter().map(|stats| stats.read(event)).sum()
    }

    /// The slice's account, from counters that go on while it is read: exact when nothing
    /// moves.
    pub fn account(&self) -> Account {
        let results = self.first_result..self.first_result + self.results;
        Account::sum(&self.stats, self.slice, &results, Some(&self.queues))
    }

    /// The exception of a worker that has waited the longest there. Workers take turns.
    pub fn take_exception(&mut self) -> Option<ExceptionPacket<B>> {
        for _ in 0..self.packets.len() {
            let at = self.turn;
            self.turn = if at + 1 < self.packets.len() { at + 1 } else { 0 };
            if let Ok(exception) = self.packets.get_mut(at)?.exceptions.pop() {
                return Some(exception);
            }
        }
        None
    }

    /// Sends a packet: in-band, or straight to a queue. It goes to the worker that its flow
    /// belongs to, as if it had come by a link.
    ///
    /// # Errors
    ///
    /// Gives it back if that worker has not taken earlier ones, or the node has taken the slice
    /// away.
    pub fn inject(&mut self, injection: Injection<B>) -> Result<(), Injection<B>>
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        if self.is_withdrawn() {
            return Err(injection);
        }
        let (Injection::InBand { packet, .. } | Injection::Direct { packet, .. }) = &injection;
        let worker = self.spread.worker(self.option, self.slice, packet.bytes());
        let Some(end) = self.packets.get_mut(worker) else { return Err(injection) };
        end.injections.push(injection).map_err(|rtrb::PushError::Full(injection)| injection)
    }
}
