//! The thread that forwards: a fast path, its queues, and the slices that share them.

mod commands;
mod resource;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU32};

use crate::code_option::{CodeOptionSet, Outgoing};
use crate::decap::{Access, PortEntry, TunnelConfig, TunnelEntry, Tunnels, UdpPorts};
use crate::egress::{
    Egress, Egresses, Encapsulation, InnerEthernet, Payload, Template, Tunnel, is_destination,
    is_destination_at,
};
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, InterfaceId, LinkId, QueueId, SliceId};
use crate::lookup::{Tcam, TcamConfig, TcamReader, TcamWriter, TernaryTable};
use crate::node::admit::{
    AdmitError, InterfaceConfig, InterfaceError, Limits, LinkRequest, QueueRequest, SliceRequest,
};
use crate::node::channel::{
    Action, Command, ControlError, Done, ExceptionPacket, Injection, NodeEnd, Reply, channel,
};
use crate::node::control::SliceControl;
use crate::node::rate_limit::RateLimit;
use crate::packet::Packet;
use crate::pipeline::{Drained, Exceptional, FastPath, SlowPath, Trace, drain_with};
use crate::queue::{
    Arrival, BoxedWdrr, Departure, Paced, Quantum, QueueConfig, QueueManager, Rejected, Scheduled, TailDrop,
    WdrrScheduler,
};
use crate::slot::{Admission, Layer, RxMeta, Slot};
use crate::sram::{Region, SramBank};
use crate::stats::{AtomicCount, Cells, Count, Counters, Event, ROW, SliceAccount, StatsBlock};
use crate::store::Store;
use crate::time::Nanos;

pub(super) type Bank = SramBank<Box<[AtomicU32]>, Box<[Region]>>;
pub(super) type SharedCounters = Counters<Arc<[AtomicCount]>, Arc<[AtomicCount]>, Arc<[AtomicCount]>>;
type Scheduler<B> = Paced<BoxedWdrr<Packet<B>>>;
type Links = Access<Box<[PortEntry]>, Box<[TunnelEntry]>>;
/// The template of a record has the record's number.
type WaysOut = Egresses<Box<[Egress]>, Box<[Template]>>;
type Path<C> = FastPath<Links, C, TcamReader, WaysOut, Arc<Bank>, SharedCounters>;

/// A fast path with its interfaces, and the slices that share it.
///
/// `C` is the set of code options, `B` the packet buffer. One thread owns it; every
/// slice is controlled through its [`SliceControl`].
#[derive(Debug)]
pub struct Node<C, B> {
    path: Path<C>,
    /// What the path reads; each slice's writer is with its control.
    tcam: Tcam,
    queues: QueueManager<Interfaces<B>>,
    slices: Slices<B>,
    limits: Limits,
    interfaces: Vec<InterfaceConfig>,
    /// Which physical queues have been given out.
    queues_used: Vec<bool>,
    /// Whose control is looked at next, and whose packets: in-band, and straight to a
    /// queue.
    turn: usize,
    inject_turn: usize,
    direct_turn: usize,
    /// Vectors processed.
    vectors: u64,
}

/// The schedulers, one for each interface.
#[derive(Debug)]
struct Interfaces<B>(Vec<Scheduled<Scheduler<B>>>);

impl<B> Store for Interfaces<B> {
    type Item = Scheduled<Scheduler<B>>;

    #[inline(always)]
    fn items(&self) -> &[Scheduled<Scheduler<B>>] {
        &self.0
    }
    #[inline(always)]
    fn items_mut(&mut self) -> &mut [Scheduled<Scheduler<B>>] {
        &mut self.0
    }
}

/// Slices by number less one.
#[derive(Debug)]
struct Slices<B>(Vec<Option<Slice<B>>>);

/// A slice and what it was promised.
#[derive(Debug)]
struct Slice<B> {
    admission: Admission,
    links: Vec<LinkRequest>,
    queues: Arc<[QueueId]>,
    /// What was granted to each of them.
    granted: Vec<QueueRequest>,
    /// The weights that they have now.
    weights: Vec<u32>,
    /// Their sums, by interface.
    shares: Vec<Share>,
    first_result: u32,
    results: u32,
    most_filters: u32,
    exceptions: RateLimit,
    end: NodeEnd<B>,
    /// How many vectors had been processed when packets of it were last put into one.
    injected_at: Option<u64>,
    /// Set when the slice is taken away. What its control can reach stays reserved until
    /// that is dropped.
    withdrawn: Arc<AtomicBool>,
}

/// The weight of a slice's queues at an interface.
///
/// Invariant: `used <= granted`.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    granted: u64,
    used: u64,
}

impl<B> Slice<B> {
    fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }
}

impl<B> Slices<B> {
    fn get_mut(&mut self, slice: SliceId) -> Option<&mut Slice<B>> {
        self.0.get_mut(usize::from(slice.0).checked_sub(1)?)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &Slice<B>> {
        self.0.iter().flatten()
    }

    /// Moves `turn` on, and returns whose it was if there is such a slice.
    fn take_turn(&mut self, turn: &mut usize) -> Option<&mut Slice<B>> {
        let at = *turn;
        *turn = if at + 1 < self.0.len() { at + 1 } else { 0 };
        self.0.get_mut(at)?.as_mut().filter(|state| !state.is_withdrawn())
    }
}

impl<B> SlowPath<B> for Slices<B> {
    fn hand_over(
        &mut self, now: Nanos, exceptional: &Exceptional, slot: &mut Slot<B>,
    ) -> Result<(), DropReason> {
        let slice = self.get_mut(exceptional.admission.slice).filter(|slice| !slice.is_withdrawn());
        let slice = slice.ok_or(DropReason::NoSlowPath)?;
        if slice.end.exceptions.is_full() {
            return Err(DropReason::SlowPathFull);
        }
        if !slice.exceptions.admit(now) {
            return Err(DropReason::SlowPathRate);
        }
        let Some(packet) = slot.packet.take() else { return Ok(()) };
        let packet = ExceptionPacket { packet, meta: slot.meta, what: *exceptional, at: now };
        slice.end.exceptions.push(packet).map_err(|rtrb::PushError::Full(back)| {
            slot.packet = Some(back.packet);
            DropReason::SlowPathFull
        })
    }
}

/// A slice's packets: received + injected = queued + slow path + dropped before the
/// queues, and queued = sent + dropped behind them + waiting.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// Sent by the slice's manager.
    pub injected: Count,
    /// Put into a queue.
    pub queued: Count,
    /// Left a queue and was sent.
    pub sent: Count,
    /// Dropped, for whatever reason.
    pub dropped: Count,
    /// Handed to the slow path.
    pub slow_path: Count,
    /// In queues now, in packets.
    pub waiting: u64,
}

impl Account {
    /// Packets that links must have brought, if nothing was lost: sent + slow path +
    /// dropped + waiting - injected. To be compared with who counted them.
    pub const fn received(&self) -> u64 {
        let left = self.slow_path.packets.wrapping_add(self.dropped.packets);
        let queued = self.sent.packets.wrapping_add(self.waiting);
        left.wrapping_add(queued).wrapping_sub(self.injected.packets)
    }
}

fn boxed<T>(count: usize, new: impl FnMut() -> T) -> Box<[T]> {
    core::iter::repeat_with(new).take(count).collect()
}

fn cells(count: usize) -> Arc<[AtomicCount]> {
    core::iter::repeat_with(AtomicCount::default).take(count).collect()
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Interfaces that a node has counters for.
    pub const MAX_INTERFACES: usize = 16;

    /// A node without interfaces and slices. Allocates all that `limits` name but the
    /// queues, which come with the interfaces.
    pub fn new(options: C, limits: Limits) -> Self {
        let queues = limits.queues.clamp(1, 1 << 20).next_power_of_two();
        let limits = Limits { queues, ..limits };
        let slices = usize::from(limits.slices);
        let words = boxed(limits.sram_words, AtomicU32::default);
        let stats = Counters {
            egresses: cells(limits.results as usize),
            queues: cells(Self::MAX_INTERFACES * queues as usize),
            slices: cells((slices + 1) * ROW),
        };
        let (tcam, table) = Tcam::with_reader(TcamConfig {
            filters: limits.filters as usize,
            slices: slices + 1,
            readers: 1,
            lines: limits.lines,
            deferred: limits.deferred,
            seed: limits.seed,
            ..TcamConfig::default()
        });
        // Twice as many entries as ports keep a look-up to one cache line.
        let entries = (limits.ports.max(1) * 2).next_power_of_two();
        let path = FastPath {
            decap: Access {
                ports: UdpPorts::new(boxed(entries, || PortEntry::EMPTY)),
                tunnels: Tunnels::new(boxed(entries, || TunnelEntry::EMPTY)),
            },
            options,
            table,
            egress: Egresses {
                records: boxed(limits.results as usize, || Egress::NONE),
                templates: boxed(limits.results as usize, || Template::NONE),
            },
            sram: Arc::new(SramBank::new(words, boxed(slices + 1, Region::default))),
            stats,
        };
        Self {
            path,
            tcam,
            queues: QueueManager::new(Interfaces(Vec::new()), queues.trailing_zeros()),
            slices: Slices(core::iter::repeat_with(|| None).take(slices).collect()),
            limits,
            interfaces: Vec::new(),
            queues_used: Vec::new(),
            turn: 0,
            inject_turn: 0,
            direct_turn: 0,
            vectors: 0,
        }
    }

    /// Adds an interface with a scheduler of its own.
    ///
    /// # Errors
    ///
    /// [`InterfaceError`]; the node is unchanged.
    pub fn add_interface(&mut self, config: InterfaceConfig) -> Result<InterfaceId, InterfaceError> {
        let Limits { queues, descriptors, longest_frame, .. } = self.limits;
        let number = self.interfaces.len();
        if number >= Self::MAX_INTERFACES {
            return Err(InterfaceError::TooMany { interfaces: number + 1, queues });
        }
        let longest = longest_frame.saturating_add(config.overhead);
        let unit = if config.quantum == 0 { longest } else { config.quantum };
        let quantum = Quantum { unit, longest };
        let wdrr = BoxedWdrr::boxed(queues as usize, descriptors, 0, TailDrop, quantum)?;
        // Who asks late catches up on the time of a hundred of the longest frames.
        let burst = u128::from(longest) * 800_000_000_000 / u128::from(config.rate.get());
        let burst = Nanos(u64::try_from(burst).unwrap_or(u64::MAX));
        let paced = Paced::new(wdrr, config.rate, config.overhead, burst);
        self.queues.store_mut().0.push(Scheduled::new(paced));
        self.interfaces.push(config);
        self.queues_used.resize(self.queues_used.len() + queues as usize, false);
        Ok(InterfaceId(number as u16))
    }

    /// Carries out up to `budget` commands of slice managers, and takes up to as many of
    /// the packets that they send straight to a queue. Returns how many commands.
    ///
    /// To be called between two vectors, and while there are no packets: the memory of
    /// filters that slice managers remove waits for it. Slices take turns, one command and
    /// one packet each. A command costs the same however much a slice has.
    pub fn poll_control(&mut self, now: Nanos, budget: usize) -> usize {
        self.path.table.quiescent();
        let (mut done, mut idle) = (0, 0);
        while done < budget && idle < self.slices.0.len() {
            idle += 1;
            let Some(state) = self.slices.take_turn(&mut self.turn) else { continue };
            // A command whose reply would find no room waits.
            if state.end.replies.is_full() {
                continue;
            }
            let slice = state.admission.slice;
            let Ok((ticket, command)) = state.end.commands.pop() else { continue };
            (done, idle) = (done + 1, 0);
            let outcome = self.execute(slice, command);
            if let Some(state) = self.slices.get_mut(slice) {
                // There is room: this is the only writer.
                let _ = state.end.replies.push(Reply { ticket, outcome });
            }
        }
        self.inject_direct(now, budget);
        done
    }

    /// Fills slots of `vector` that hold no packet with those that slice managers send
    /// in-band, and returns how many. Slices take turns, one packet each; who wants slots
    /// left for what links bring lends a part of the vector.
    ///
    /// The vector is to be processed next, before another one is.
    pub fn inject(&mut self, _: Nanos, vector: &mut [Slot<B>]) -> usize {
        let Self { slices, inject_turn, path, vectors, .. } = self;
        let (mut injected, mut idle) = (0, 0);
        let mut free = vector.iter_mut().filter(|slot| slot.packet.is_none());
        let mut slot = free.next();
        while let Some(into) = slot.as_mut().filter(|_| idle < slices.0.len()) {
            idle += 1;
            let Some(state) = slices.take_turn(inject_turn) else { continue };
            if !matches!(state.end.injections.peek(), Ok(Injection::InBand { .. })) {
                continue;
            }
            let Ok(Injection::InBand { packet, link }) = state.end.injections.pop() else { continue };
            let admission = Admission { link: LinkId(link), ..state.admission };
            let meta = RxMeta { layer: Layer::Injected, admission, ..RxMeta::NEW };
            path.stats.record(Event::Injected(admission.slice), packet.octets());
            // The slot names the slice by number, which nobody else gets meanwhile.
            state.injected_at = Some(*vectors);
            **into = Slot::new(packet, meta);
            (injected, idle) = (injected + 1, 0);
            slot = free.next();
        }
        injected
    }

    /// Takes a vector of packets through the fast path: see
    /// [`FastPath::process`]. What is dropped stays in its slot.
    pub fn process<const N: usize>(&mut self, now: Nanos, vector: &mut [Slot<B>; N]) -> usize {
        self.vectors += 1;
        self.path.process(now, vector, &mut self.queues, &mut self.slices)
    }

    /// [`process`](Self::process) with a trace.
    pub fn process_traced<const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], trace: &mut impl Trace,
    ) -> usize {
        self.vectors += 1;
        self.path.process_traced(now, vector, &mut self.queues, &mut self.slices, trace)
    }

    /// Sends up to `budget` packets that are due at `interface`: see
    /// [`drain`](crate::pipeline::drain).
    pub fn transmit(
        &mut self, now: Nanos, interface: InterfaceId, budget: usize,
        send: impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>, recycle: impl FnMut(Packet<B>),
    ) -> Drained {
        let Self { queues, path, .. } = self;
        let next = || queues.dequeue_from(now, usize::from(interface.0));
        drain_with(next, &mut path.stats, budget, send, recycle)
    }

    /// When an interface will have a packet to send.
    pub fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.queues.next_due(now)
    }

    /// The account of `slice`; that of [`SliceId::SUBSTRATE`] holds what no slice owns.
    pub fn account(&self, slice: SliceId) -> Account {
        let SliceAccount { injected, dropped, slow_path } = SliceAccount::read(&self.path.stats, slice);
        let mut account = Account { injected, dropped, slow_path, ..Account::default() };
        let state = self.slices.iter().find(|state| state.admission.slice == slice);
        if let Some(state) = state {
            let results = state.first_result..state.first_result + state.results;
            let queued = results.filter_map(EgressId::new).map(|id| self.path.stats.read(Event::Queued(id)));
            account.queued = queued.sum();
            for queue in state.queues.iter() {
                account.sent += self.path.stats.read(Event::Sent(*queue));
                account.waiting += u64::from(self.queues.backlog(*queue));
            }
        }
        account
    }

    /// How many packets of `slice` left by `exit`.
    pub fn count(&self, slice: SliceId, exit: Exit) -> Count {
        self.path.stats.read(Event::Left(slice, exit))
    }

    /// The fast path.
    pub const fn path(&self) -> &Path<C> {
        &self.path
    }

    /// The physical queues of a slice, in the order of its own numbers.
    pub fn queues_of(&self, slice: SliceId) -> &[QueueId] {
        let state = self.slices.iter().find(|state| state.admission.slice == slice);
        state.map_or(&[], |state| &state.queues)
    }
}
