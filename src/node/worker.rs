//! The thread that forwards: a fast path, its queues, and the slices that share them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU32};

use crate::code_option::{CodeOptionSet, Outgoing};
use crate::decap::{PortConfig, PortEntry, UdpPorts};
use crate::egress::{Egress, Tunnel, is_destination};
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, InterfaceId, LinkId, QueueId, SliceId};
use crate::key::LookupKey;
use crate::lookup::{Dir24, Engine, Filter, Rank, SliceTable, TernaryUpdate, TupleSpace};
use crate::node::admit::{
    AdmitError, EngineRequest, InterfaceConfig, InterfaceError, Limits, LinkRequest, QueueRequest,
    SliceRequest,
};
use crate::node::channel::{
    Action, Command, ControlError, Done, ExceptionPacket, Injection, NodeEnd, Reply, channel,
};
use crate::node::control::SliceControl;
use crate::node::rate_limit::RateLimit;
use crate::packet::Packet;
use crate::pipeline::{Drained, Exceptional, FastPath, SlowPath, Trace, drain_with};
use crate::queue::{
    Arrival, Departure, Descriptor, Paced, Queue, QueueConfig, QueueManager, Rejected, Wdrr, WdrrScheduler,
};
use crate::slot::{Admission, Layer, RxMeta, Slot};
use crate::sram::{Region, SramBank};
use crate::stats::{AtomicCount, Cells, Count, Counters, Event, ROW, SliceAccount, StatsBlock};
use crate::store::Store;
use crate::time::Nanos;

pub(super) type Bank = SramBank<Box<[AtomicU32]>, Box<[Region]>>;
pub(super) type SharedCounters = Counters<Arc<[AtomicCount]>, Arc<[AtomicCount]>, Arc<[AtomicCount]>>;
type Scheduler<B> = Paced<Wdrr<Box<[Queue]>, Box<[Descriptor<Packet<B>>]>>>;
type Path<C> = FastPath<
    UdpPorts<Box<[PortEntry]>>,
    C,
    SliceTable<Box<[Engine]>>,
    Box<[Egress]>,
    Arc<Bank>,
    SharedCounters,
>;

/// A fast path with its interfaces, and the slices that share it.
///
/// `C` is the set of code options, `B` the packet buffer. One thread owns it; every
/// slice is controlled through its [`SliceControl`].
#[derive(Debug)]
pub struct Node<C, B> {
    path: Path<C>,
    queues: QueueManager<Interfaces<B>>,
    slices: Slices<B>,
    limits: Limits,
    interfaces: Vec<InterfaceConfig>,
    /// Which physical queues have been given out.
    queues_used: Vec<bool>,
    /// Whose control is looked at next, and whose packets.
    turn: usize,
    inject_turn: usize,
}

/// The schedulers, one for each interface.
#[derive(Debug)]
struct Interfaces<B>(Vec<Scheduler<B>>);

impl<B> Store for Interfaces<B> {
    type Item = Scheduler<B>;

    #[inline(always)]
    fn items(&self) -> &[Scheduler<B>] {
        &self.0
    }
    #[inline(always)]
    fn items_mut(&mut self) -> &mut [Scheduler<B>] {
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
    first_result: u32,
    results: u32,
    most_filters: u32,
    filters: u32,
    exceptions: RateLimit,
    end: NodeEnd<B>,
    /// Set when the slice is taken away. What its control can reach stays reserved until
    /// that is dropped.
    withdrawn: Arc<AtomicBool>,
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
}

impl<B> SlowPath<B> for Slices<B> {
    fn hand_over(
        &mut self, now: Nanos, exceptional: &Exceptional, slot: &mut Slot<B>,
    ) -> Result<(), DropReason> {
        let slice = self.get_mut(exceptional.admission.slice).ok_or(DropReason::NoSlowPath)?;
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
        let out = self.sent.packets + self.slow_path.packets + self.dropped.packets + self.waiting;
        out.wrapping_sub(self.injected.packets)
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
        let path = FastPath {
            // Twice as many entries as ports keep a look-up to one cache line.
            decap: UdpPorts::new(boxed((limits.ports.max(1) * 2).next_power_of_two(), || PortEntry::EMPTY)),
            options,
            table: SliceTable(boxed(slices + 1, Engine::default)),
            egress: boxed(limits.results as usize, || Egress::NONE),
            sram: Arc::new(SramBank::new(words, boxed(slices + 1, Region::default))),
            stats,
        };
        Self {
            path,
            queues: QueueManager::new(Interfaces(Vec::new()), queues.trailing_zeros()),
            slices: Slices(core::iter::repeat_with(|| None).take(slices).collect()),
            limits,
            interfaces: Vec::new(),
            queues_used: Vec::new(),
            turn: 0,
            inject_turn: 0,
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
        let pool = boxed(descriptors, || Descriptor::NEW);
        let wdrr = Wdrr::new(boxed(queues as usize, || Queue::NEW), pool, unit, longest)?;
        // Who asks late catches up on the time of a hundred of the longest frames.
        let burst = u64::from(longest) * 800_000_000_000 / config.rate.get();
        self.queues.store_mut().0.push(Paced::new(wdrr, config.rate, config.overhead, Nanos(burst)));
        self.interfaces.push(config);
        self.queues_used.resize(self.queues_used.len() + queues as usize, false);
        Ok(InterfaceId(number as u16))
    }

    /// Admits a slice if all that it asks for is there, and gives out its control.
    ///
    /// # Errors
    ///
    /// [`AdmitError`]; nothing is reserved.
    pub fn admit(&mut self, request: SliceRequest) -> Result<SliceControl<B>, AdmitError> {
        self.reap();
        let free = self.slices.0.iter().position(Option::is_none);
        let at = free.ok_or(AdmitError::Slices(self.limits.slices))?;
        let slice = SliceId(at as u16 + 1);
        let admission = Admission { slice, option: request.option, ..Admission::NONE };
        self.check(&request)?;
        let first_result = self.free_results(&request)?;
        let queues = self.free_queues(&request)?;
        self.path.sram.assign(slice, request.sram_words)?;
        let links = request.links;
        if let Err(error) = self.open_links(&links, admission) {
            // To none: that does not fail.
            let _ = self.path.sram.assign(slice, 0);
            return Err(error);
        }
        for (queue, asked) in queues.iter().zip(&request.queues) {
            let config = QueueConfig {
                owner: slice,
                weight: asked.weight,
                limit_packets: asked.limit_packets,
                limit_octets: asked.limit_octets,
            };
            if let Err(error) = self.queues.configure(*queue, config) {
                self.close_links(&links);
                let _ = self.path.sram.assign(slice, 0);
                return Err(error.into());
            }
        }
        for queue in queues.iter() {
            if let Some(used) = self.queues_used.get_mut(queue.0 as usize) {
                *used = true;
            }
        }
        let filters = request.filters;
        let engine = match request.engine {
            EngineRequest::Linear => Engine::linear(filters as usize),
            EngineRequest::TupleSpace { masks } => {
                Engine::TupleSpace(TupleSpace::new(filters, masks, request.seed))
            }
            EngineRequest::Routes { chunks } => {
                Engine::Routes(Box::new(Dir24::new(slice, filters as usize, chunks)))
            }
        };
        if let Some(place) = self.path.table.0.get_mut(usize::from(slice.0)) {
            *place = engine;
        }
        let slow_path = request.slow_path;
        let (node_end, end) = channel(request.commands.max(1), slow_path.waiting.max(1));
        let queues: Arc<[QueueId]> = queues.into();
        let withdrawn = Arc::new(AtomicBool::new(false));
        let control = SliceControl {
            slice,
            end,
            bank: self.path.sram.clone(),
            stats: self.path.stats.clone(),
            first_result,
            results: request.results,
            queues: queues.clone(),
            sent: 0,
            open: 0,
            withdrawn: withdrawn.clone(),
        };
        let state = Slice {
            admission,
            links,
            queues,
            weights: request.queues.iter().map(|queue| queue.weight).collect(),
            granted: request.queues,
            first_result,
            results: request.results,
            most_filters: filters,
            filters: 0,
            exceptions: RateLimit::new(slow_path.per_second, slow_path.burst),
            end: node_end,
            withdrawn,
        };
        if let Some(place) = self.slices.0.get_mut(at) {
            *place = Some(state);
        }
        Ok(control)
    }

    /// Takes a slice away: its ports, filters and results at once. What its
    /// [`SliceControl`] can reach, its number, memory, queues and counters, is free for
    /// another slice when that handle is dropped and what waits in the queues is sent.
    pub fn withdraw(&mut self, slice: SliceId) {
        let Some(state) = self.slices.get_mut(slice).filter(|state| !state.is_withdrawn()) else { return };
        state.withdrawn.store(true, Relaxed);
        let (first, results) = (state.first_result as usize, state.results as usize);
        let links = core::mem::take(&mut state.links);
        self.close_links(&links);
        if let Some(engine) = self.path.table.0.get_mut(usize::from(slice.0)) {
            *engine = Engine::Empty;
        }
        self.path.egress.iter_mut().skip(first).take(results).for_each(|egress| *egress = Egress::NONE);
    }

    /// Frees what withdrawn slices held, if nobody can reach it any more.
    fn reap(&mut self) {
        let Self { path, queues, slices, queues_used, .. } = self;
        for place in &mut slices.0 {
            let idle = |state: &mut Slice<B>| {
                let empty = state.queues.iter().all(|queue| queues.backlog(*queue) == 0);
                state.is_withdrawn() && state.end.commands.is_abandoned() && empty
            };
            let Some(state) = place.take_if(idle) else { continue };
            let slice = state.admission.slice;
            // To none: that does not fail.
            let _ = path.sram.assign(slice, 0);
            path.stats.clear_slice(slice);
            for result in state.first_result..state.first_result + state.results {
                path.stats.egresses.clear(result as usize);
            }
            for queue in state.queues.iter() {
                path.stats.queues.clear(queue.0 as usize);
                if let Some(used) = queues_used.get_mut(queue.0 as usize) {
                    *used = false;
                }
            }
        }
    }

    /// Carries out up to `budget` commands of slice managers and takes as many of the
    /// packets that they send straight to a queue. Returns how many commands.
    ///
    /// To be called between two vectors. Slices take turns, one command each.
    pub fn poll_control(&mut self, now: Nanos, budget: usize) -> usize {
        let slices = self.slices.0.len();
        let mut done = 0;
        let mut idle = 0;
        while done < budget && idle < slices {
            let at = self.turn;
            self.turn = if at + 1 < slices { at + 1 } else { 0 };
            let state = self.slices.0.get_mut(at).and_then(Option::as_mut);
            // A command whose reply would find no room waits.
            let command = state.filter(|state| !state.end.replies.is_full() && !state.is_withdrawn());
            match command.and_then(|state| state.end.commands.pop().ok()) {
                None => idle += 1,
                Some((ticket, command)) => {
                    idle = 0;
                    done += 1;
                    let slice = SliceId(at as u16 + 1);
                    let outcome = self.execute(slice, command);
                    if let Some(state) = self.slices.get_mut(slice) {
                        // There is room: this is the only writer.
                        let _ = state.end.replies.push(Reply { ticket, outcome });
                    }
                }
            }
        }
        self.inject_direct(now, budget);
        done
    }

    /// Fills slots of `vector` that hold no packet with those that slice managers send
    /// in-band, and returns how many. Slices take turns, one packet each; who wants slots
    /// left for what links bring lends a part of the vector.
    pub fn inject(&mut self, _: Nanos, vector: &mut [Slot<B>]) -> usize {
        let slices = self.slices.0.len();
        let (mut injected, mut idle) = (0, 0);
        let mut free = vector.iter_mut().filter(|slot| slot.packet.is_none());
        let mut slot = free.next();
        while let Some(into) = slot.as_mut().filter(|_| idle < slices) {
            let at = self.inject_turn;
            self.inject_turn = if at + 1 < slices { at + 1 } else { 0 };
            idle += 1;
            let Some(state) = self.slices.0.get_mut(at).and_then(Option::as_mut) else { continue };
            if state.is_withdrawn() || !matches!(state.end.injections.peek(), Ok(Injection::InBand { .. })) {
                continue;
            }
            let Ok(Injection::InBand { packet, link }) = state.end.injections.pop() else { continue };
            let admission = Admission { link: LinkId(link), ..state.admission };
            let meta = RxMeta { layer: Layer::Injected, admission, ..RxMeta::NEW };
            self.path.stats.record(Event::Injected(admission.slice), packet.octets());
            **into = Slot::new(packet, meta);
            injected += 1;
            idle = 0;
            slot = free.next();
        }
        injected
    }

    /// Takes a vector of packets through the fast path: see
    /// [`FastPath::process`]. What is dropped stays in its slot.
    pub fn process<const N: usize>(&mut self, now: Nanos, vector: &mut [Slot<B>; N]) -> usize {
        self.path.process(now, vector, &mut self.queues, &mut self.slices)
    }

    /// [`process`](Self::process) with a trace.
    pub fn process_traced<const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], trace: &mut impl Trace,
    ) -> usize {
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

    fn check(&self, request: &SliceRequest) -> Result<(), AdmitError> {
        let has = self.path.options.count();
        if usize::from(request.option.0) >= has {
            return Err(AdmitError::UnknownOption { asked: request.option.0, has });
        }
        let used: u32 = self.slices.iter().map(|state| state.most_filters).sum();
        let left = self.limits.filters - used;
        if request.filters > left {
            return Err(AdmitError::Filters { asked: request.filters, left });
        }
        let Limits { linear_filters, masks: most_masks, waiting, longest_frame, .. } = self.limits;
        let engine = match request.engine {
            EngineRequest::Linear => (request.filters as usize, linear_filters as usize),
            EngineRequest::TupleSpace { masks } => (masks, most_masks),
            EngineRequest::Routes { .. } => (0, 0),
        };
        if engine.0 > engine.1 {
            return Err(AdmitError::Engine { asked: engine.0, most: engine.1 });
        }
        let asked = request.commands.max(request.slow_path.waiting);
        if asked > waiting {
            return Err(AdmitError::Waiting { asked, most: waiting });
        }
        let has = self.interfaces.len();
        let interfaces = request.links.iter().map(|link| link.interface);
        for InterfaceId(asked) in interfaces.chain(request.queues.iter().map(|queue| queue.interface)) {
            if usize::from(asked) >= has {
                return Err(AdmitError::UnknownInterface { asked, has });
            }
        }
        if request.links.len() >= usize::from(u16::MAX) {
            return Err(AdmitError::Links(request.links.len()));
        }
        for link in &request.links {
            let tunnel = self.tunnel(link, None);
            // To be told now and not when a result names the link.
            Egress::forward(&tunnel, QueueId(0), link.mtu)?;
            if !is_destination(link.peer.ip().to_bits(), link.peer.port()) || link.dscp > 63 {
                return Err(AdmitError::Peer(link.peer));
            }
            // A longer packet would be refused by the queue, where nobody answers it.
            let (mtu, header) = (link.mtu, tunnel.octets());
            if usize::from(mtu) + header > longest_frame as usize {
                return Err(AdmitError::Mtu { mtu, header, longest: longest_frame });
            }
        }
        for interface in 0..has {
            let at = |queue: &&QueueRequest| usize::from(queue.interface.0) == interface;
            let packets = |queue: &QueueRequest| u64::from(queue.limit_packets);
            let granted = self.slices.iter().flat_map(|state| &state.granted).filter(at).map(packets);
            let left = (self.limits.descriptors as u64).saturating_sub(granted.sum());
            let asked = request.queues.iter().filter(at).map(packets).sum();
            if asked > left {
                return Err(AdmitError::Descriptors { interface: interface as u16, asked, left });
            }
        }
        Ok(())
    }

    /// The first of `asked` results in one piece that no slice has.
    fn free_results(&self, request: &SliceRequest) -> Result<u32, AdmitError> {
        let asked = request.results;
        // An engine of routes can name the first 32,767 only.
        let most = match request.engine {
            EngineRequest::Routes { .. } => self.limits.results.min(32_767),
            _ => self.limits.results,
        };
        let mut taken: Vec<_> = self.slices.iter().map(|state| (state.first_result, state.results)).collect();
        taken.sort_unstable();
        let (mut first, mut left) = (0, 0);
        for (start, len) in taken.into_iter().chain([(self.limits.results, 0)]) {
            let gap = start.min(most).saturating_sub(first);
            if gap >= asked {
                return Ok(first);
            }
            left = left.max(gap);
            first = start + len;
        }
        Err(AdmitError::Results { asked, left })
    }

    /// Queues that no slice has and no packet waits in.
    fn free_queues(&self, request: &SliceRequest) -> Result<Vec<QueueId>, AdmitError> {
        let mut given: Vec<QueueId> = Vec::with_capacity(request.queues.len());
        for asked in &request.queues {
            let scheduler = usize::from(asked.interface.0);
            let ids = (0..self.limits.queues).filter_map(|queue| self.queues.queue_id(scheduler, queue));
            let free = |id: &QueueId| {
                let used = self.queues_used.get(id.0 as usize).copied().unwrap_or(true);
                !used && !given.contains(id) && self.queues.backlog(*id) == 0
            };
            let id = { ids }.find(free).ok_or(AdmitError::Queues(asked.interface.0))?;
            given.push(id);
        }
        Ok(given)
    }

    /// Opens the ports of all links, or none. A link has the slice's own number.
    fn open_links(&mut self, links: &[LinkRequest], admission: Admission) -> Result<(), AdmitError> {
        for (opened, link) in links.iter().enumerate() {
            let interface = self.interfaces.get(usize::from(link.interface.0));
            // `check` has seen that it is there.
            let Some(address) = interface.map(|interface| interface.address) else { continue };
            let admission = Admission { link: LinkId(opened as u16), dscp: link.dscp_model, ..admission };
            let config = PortConfig { admission, udp_checksum: link.udp_checksum };
            if let Err(error) = self.path.decap.open(address, link.port, config) {
                self.close_links(links.get(..opened).unwrap_or_default());
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn close_links(&mut self, links: &[LinkRequest]) {
        for link in links {
            if let Some(interface) = self.interfaces.get(usize::from(link.interface.0)) {
                self.path.decap.close(interface.address, link.port);
            }
        }
    }

    fn tunnel(&self, link: &LinkRequest, next_hop: Option<SocketAddrV4>) -> Tunnel {
        let interface = self.interfaces.get(usize::from(link.interface.0));
        let layer = interface.map(|interface| interface.link_layer).unwrap_or_default();
        let address = interface.map_or(core::net::Ipv4Addr::UNSPECIFIED, |interface| interface.address);
        Tunnel {
            dscp_model: link.dscp_model,
            dscp: link.dscp,
            multipoint: link.multipoint,
            ..Tunnel::new(layer, SocketAddrV4::new(address, link.port), next_hop.unwrap_or(link.peer))
        }
    }

    fn execute(&mut self, slice: SliceId, command: Command) -> Result<Done, ControlError> {
        match command {
            Command::SetResult { result, action } => self.set_result(slice, result, action),
            Command::Insert { rank, value, mask, result } => self.insert(slice, rank, value, mask, result),
            Command::Remove { rank, value, mask } => self.remove(slice, rank, value, mask),
            Command::Configure { queue, weight, limit_packets, limit_octets } => {
                let config = QueueConfig { owner: slice, weight, limit_packets, limit_octets };
                self.configure(slice, queue, config)
            }
        }
    }

    /// Changes a queue within what the slice was granted: the packets of this queue, and
    /// the weight of all its queues at the interface.
    fn configure(&mut self, slice: SliceId, queue: u16, config: QueueConfig) -> Result<Done, ControlError> {
        let at = usize::from(queue);
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
        let (Some(id), Some(own)) = (state.queues.get(at).copied(), state.granted.get(at).copied()) else {
            return Err(unknown);
        };
        let (asked, granted) = (u64::from(config.limit_packets), u64::from(own.limit_packets));
        if asked > granted {
            return Err(ControlError::Granted { asked, granted });
        }
        let here = |(_, other): &(usize, &QueueRequest)| other.interface == own.interface;
        let (mut asked, mut granted) = (0, 0);
        for (other, request) in state.granted.iter().enumerate().filter(here) {
            let weight = state.weights.get(other).copied().unwrap_or(0);
            asked += u64::from(if other == at { config.weight } else { weight });
            granted += u64::from(request.weight);
        }
        if asked > granted {
            return Err(ControlError::Granted { asked, granted });
        }
        self.queues.configure(id, config)?;
        if let Some(weight) = self.state(slice)?.weights.get_mut(at) {
            *weight = config.weight;
        }
        Ok(Done::Configured)
    }

    /// The slice's promises, which an executed command always finds.
    fn state(&mut self, slice: SliceId) -> Result<&mut Slice<B>, ControlError> {
        self.slices.get_mut(slice).ok_or(crate::lookup::TableErrorKind::UnknownSlice.into())
    }

    fn egress_id(&mut self, slice: SliceId, result: u32) -> Result<EgressId, ControlError> {
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownResult { asked: result, has: state.results };
        if result >= state.results {
            return Err(unknown);
        }
        EgressId::new(state.first_result + result).ok_or(unknown)
    }

    fn set_result(&mut self, slice: SliceId, result: u32, action: Action) -> Result<Done, ControlError> {
        let id = self.egress_id(slice, result)?;
        let egress = match action {
            Action::Drop => Egress::exit_with(DropReason::Filtered.into()),
            Action::SlowPath(exception) => Egress::exit_with(exception.into()),
            Action::Forward { link, queue, word, next_hop } => {
                let state = self.state(slice)?;
                let unknown = ControlError::UnknownLink { asked: link, has: state.links.len() };
                let at = *state.links.get(usize::from(link)).ok_or(unknown)?;
                let reachable =
                    |to: &SocketAddrV4| at.multipoint && is_destination(to.ip().to_bits(), to.port());
                if let Some(to) = next_hop.filter(|to| !reachable(to)) {
                    return Err(ControlError::NextHop(to));
                }
                let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
                let queue_id = *state.queues.get(usize::from(queue)).ok_or(unknown)?;
                if self.queues.scheduler_of(queue_id) != usize::from(at.interface.0) {
                    return Err(ControlError::Interface { link, queue });
                }
                let egress = Egress::forward(&self.tunnel(&at, next_hop), queue_id, at.mtu);
                // `admit` has seen that the MTU fits.
                egress.unwrap_or(Egress::NONE).with_word(word)
            }
        };
        if let Some(place) = self.path.egress.get_mut(id.index()) {
            *place = egress;
        }
        Ok(Done::ResultSet)
    }

    fn insert(
        &mut self, slice: SliceId, rank: Rank, value: LookupKey, mask: LookupKey, result: u32,
    ) -> Result<Done, ControlError> {
        let id = self.egress_id(slice, result)?;
        let first = self.state(slice)?.first_result;
        let filter = Filter::new(slice, value, mask);
        let full = self.state(slice)?;
        let full = (full.filters >= full.most_filters).then_some(full.most_filters);
        // A table at its bound can still replace: insert and see, take back if new.
        let old = match self.path.table.insert(rank, filter, id) {
            Err(crate::lookup::TableErrorKind::Full) if full.is_some() => {
                return Err(ControlError::Filters(full.unwrap_or(0)));
            }
            inserted => inserted?,
        };
        if old.is_none() {
            if let Some(most) = full {
                self.path.table.remove(rank, &filter)?;
                return Err(ControlError::Filters(most));
            }
            self.state(slice)?.filters += 1;
        }
        Ok(Done::Inserted(old.map(|old| old.index() as u32 - first)))
    }

    fn remove(
        &mut self, slice: SliceId, rank: Rank, value: LookupKey, mask: LookupKey,
    ) -> Result<Done, ControlError> {
        let removed = self.path.table.remove(rank, &Filter::new(slice, value, mask))?;
        let state = self.state(slice)?;
        state.filters -= u32::from(removed.is_some());
        Ok(Done::Removed(removed.map(|old| old.index() as u32 - state.first_result)))
    }

    /// Encapsulates and queues what slice managers send straight to a queue.
    fn inject_direct(&mut self, now: Nanos, budget: usize) {
        let Self { path, queues, slices, .. } = self;
        for state in slices.0.iter_mut().flatten().filter(|state| !state.is_withdrawn()) {
            for _ in 0..budget {
                if !matches!(state.end.injections.peek(), Ok(Injection::Direct { .. })) {
                    break;
                }
                let Ok(Injection::Direct { mut packet, result, traffic_class }) = state.end.injections.pop()
                else {
                    break;
                };
                let slice = state.admission.slice;
                path.stats.record(Event::Injected(slice), packet.octets());
                let id = EgressId::new(state.first_result.wrapping_add(result));
                let egress = id.filter(|_| result < state.results).and_then(|id| path.egress.get(id.index()));
                let outgoing = Outgoing { traffic_class, destination: None };
                let whole = packet.whole();
                let put = packet.edit(whole, |packet| {
                    let egress = egress.ok_or(DropReason::NoMatch)?;
                    match egress.exit() {
                        Some(exit) => Err(exit),
                        None => Ok(egress.encapsulate(packet, &outgoing, &())?),
                    }
                });
                let octets = packet.octets();
                let queued = match (put, egress) {
                    (Ok(()), Some(egress)) => {
                        let ecn_capable = egress.ecn_capable(&outgoing);
                        let arrival = Arrival { octets, precedence: 0, ecn_capable };
                        let queued = queues.enqueue(now, egress.queue(), packet, arrival);
                        queued.map_err(|Rejected { reason, .. }| reason)
                    }
                    // A result that leads to the slow path leads back to the sender.
                    (Err(Exit::Drop(reason)), _) => Err(reason),
                    _ => Err(DropReason::Filtered),
                };
                match (queued, id) {
                    (Ok(()), Some(id)) => path.stats.record(Event::Queued(id), octets),
                    (Ok(()), None) => {}
                    (Err(reason), _) => path.stats.record(Event::Left(slice, reason.into()), octets),
                }
            }
        }
    }
}
