//! The thread that forwards: a fast path, its queues, and the slices that share them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::sync::atomic::AtomicU32;

use crate::code_option::{CodeOptionSet, Outgoing};
use crate::decap::{PortConfig, PortEntry, UdpPorts};
use crate::egress::{Egress, Tunnel};
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, InterfaceId, LinkId, QueueId, SliceId};
use crate::key::LookupKey;
use crate::lookup::{Dir24, Engine, Filter, Rank, SliceTable, TernaryUpdate, TupleSpace};
use crate::node::admit::{
    AdmitError, EngineRequest, InterfaceConfig, InterfaceError, Limits, LinkRequest, SliceRequest,
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
use crate::stats::{AtomicCount, Count, Counters, Event, ROW, SliceAccount, StatsBlock};
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
    /// The first link number that was never given out.
    next_link: u16,
    /// Whose control is looked at next.
    turn: usize,
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
    links: Vec<(LinkId, LinkRequest)>,
    queues: Arc<[QueueId]>,
    first_result: u32,
    results: u32,
    most_filters: u32,
    filters: u32,
    exceptions: RateLimit,
    end: NodeEnd<B>,
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
            next_link: 0,
            turn: 0,
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
        let free = self.slices.0.iter().position(Option::is_none);
        let at = free.ok_or(AdmitError::Slices(self.limits.slices))?;
        let slice = SliceId(at as u16 + 1);
        let admission = Admission { slice, option: request.option, ..Admission::NONE };
        self.check(&request)?;
        let first_result = self.free_results(request.results)?;
        let queues = self.free_queues(&request)?;
        self.path.sram.assign(slice, request.sram_words)?;
        let links = match self.open_links(&request, admission) {
            Ok(links) => links,
            Err(error) => {
                // To none: that does not fail.
                let _ = self.path.sram.assign(slice, 0);
                return Err(error);
            }
        };
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
        };
        let state = Slice {
            admission,
            links,
            queues,
            first_result,
            results: request.results,
            most_filters: filters,
            filters: 0,
            exceptions: RateLimit::new(slow_path.per_second, slow_path.burst),
            end: node_end,
        };
        if let Some(place) = self.slices.0.get_mut(at) {
            *place = Some(state);
        }
        Ok(control)
    }

    /// Takes a slice away: its ports, filters, results and memory at once, its queues
    /// when what waits in them has been sent. Its counters stay.
    pub fn withdraw(&mut self, slice: SliceId) {
        let place = usize::from(slice.0).checked_sub(1).and_then(|at| self.slices.0.get_mut(at));
        let Some(state) = place.and_then(Option::take) else { return };
        self.close_links(&state.links);
        if let Some(engine) = self.path.table.0.get_mut(usize::from(slice.0)) {
            *engine = Engine::Empty;
        }
        let results = self.path.egress.iter_mut().skip(state.first_result as usize);
        results.take(state.results as usize).for_each(|egress| *egress = Egress::NONE);
        let _ = self.path.sram.assign(slice, 0);
        for queue in state.queues.iter() {
            if let Some(used) = self.queues_used.get_mut(queue.0 as usize) {
                *used = false;
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
            let command = state.filter(|state| !state.end.replies.is_full());
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
    /// in-band, and returns how many.
    pub fn inject(&mut self, _: Nanos, vector: &mut [Slot<B>]) -> usize {
        let mut free = vector.iter_mut().filter(|slot| slot.packet.is_none());
        let mut injected = 0;
        for state in self.slices.0.iter_mut().flatten() {
            while let Ok(Injection::InBand { link, .. }) = state.end.injections.peek() {
                let link = usize::from(*link);
                let Some(slot) = free.next() else { return injected };
                let Ok(Injection::InBand { packet, .. }) = state.end.injections.pop() else { break };
                let link = state.links.get(link).map_or(LinkId(u16::MAX), |(link, _)| *link);
                let meta = RxMeta {
                    layer: Layer::Injected,
                    admission: Admission { link, ..state.admission },
                    ..RxMeta::NEW
                };
                self.path.stats.record(Event::Injected(state.admission.slice), packet.octets());
                *slot = Slot::new(packet, meta);
                injected += 1;
            }
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
        let has = self.interfaces.len();
        let interfaces = request.links.iter().map(|link| link.interface);
        for InterfaceId(asked) in interfaces.chain(request.queues.iter().map(|queue| queue.interface)) {
            if usize::from(asked) >= has {
                return Err(AdmitError::UnknownInterface { asked, has });
            }
        }
        for (link, _) in request.links.iter().zip(0u16..) {
            // To be told now and not when a result names the link.
            Egress::forward(&self.tunnel(link, None), QueueId(0), link.mtu)?;
        }
        Ok(())
    }

    /// The first of `asked` results in one piece that no slice has.
    fn free_results(&self, asked: u32) -> Result<u32, AdmitError> {
        let mut taken: Vec<_> = self.slices.iter().map(|state| (state.first_result, state.results)).collect();
        taken.sort_unstable();
        let (mut first, mut left) = (0, 0);
        for (start, len) in taken.into_iter().chain([(self.limits.results, 0)]) {
            if start - first >= asked {
                return Ok(first);
            }
            left = left.max(start - first);
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

    /// Opens the ports of all links, or none.
    fn open_links(
        &mut self, request: &SliceRequest, admission: Admission,
    ) -> Result<Vec<(LinkId, LinkRequest)>, AdmitError> {
        let mut links: Vec<(LinkId, LinkRequest)> = Vec::with_capacity(request.links.len());
        for link in &request.links {
            let opened = self.open_link(link, admission);
            match opened {
                Ok(id) => links.push((id, *link)),
                Err(error) => {
                    self.close_links(&links);
                    return Err(error);
                }
            }
        }
        Ok(links)
    }

    fn open_link(&mut self, link: &LinkRequest, admission: Admission) -> Result<LinkId, AdmitError> {
        let interface = self.interfaces.get(usize::from(link.interface.0));
        let has = self.interfaces.len();
        let unknown = AdmitError::UnknownInterface { asked: link.interface.0, has };
        let address = interface.ok_or(unknown)?.address;
        let id = LinkId(self.next_link);
        let next = self.next_link.checked_add(1).ok_or(AdmitError::Links)?;
        let admission = Admission { link: id, dscp: link.dscp_model, ..admission };
        let config = PortConfig { admission, udp_checksum: link.udp_checksum };
        self.path.decap.open(address, link.port, config)?;
        self.next_link = next;
        Ok(id)
    }

    fn close_links(&mut self, links: &[(LinkId, LinkRequest)]) {
        for (_, link) in links {
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
                let queues = self.queues_of(slice);
                let unknown = ControlError::UnknownQueue { asked: queue, has: queues.len() };
                let id = *queues.get(usize::from(queue)).ok_or(unknown)?;
                let config = QueueConfig { owner: slice, weight, limit_packets, limit_octets };
                self.queues.configure(id, config)?;
                Ok(Done::Configured)
            }
        }
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
                let (_, at) = *state.links.get(usize::from(link)).ok_or(unknown)?;
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
        for state in slices.0.iter_mut().flatten() {
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
