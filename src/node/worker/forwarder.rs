//! What a worker owns: a fast path, its queues, and its ends of the slices' rings.

use super::gates::Gates;
use super::*;
use crate::node::scheduling::PriorityClass;
use crate::pipeline::NoTrace;
use crate::queue::ConfigError;
use crate::queue::policy::QueueCounts;

/// Forwards on one thread: a fast path, a scheduler for each interface, and a seat for each
/// slice. [`Node`] leads one and each [`Follower`] has one.
#[derive(Debug)]
pub struct Forwarder<C, B> {
    /// Which worker it is, and of how many.
    number: usize,
    pub(super) workers: usize,
    pub(super) path: Path<C>,
    pub(super) queues: QueueManager<Interfaces<B>>,
    pub(super) seats: Seats<B>,
    /// What may come in.
    pub(super) gates: Gates,
    /// Queues that nothing leads to any more, and whether there are some whose packets are
    /// dropped.
    leaving: Vec<Leaving>,
    drops: bool,
    /// Whose packets are looked at next: in-band, and straight to a queue.
    inject_turn: usize,
    direct_turn: usize,
    /// Vectors processed.
    vectors: u64,
    /// Interfaces that may send nothing now: a bit each.
    held: u32,
    /// What a scheduler may catch up on, at most.
    most_burst: Nanos,
    /// What was counted of slices that are gone.
    departed: Account,
}

/// The schedulers, one for each interface.
#[derive(Debug)]
pub(super) struct Interfaces<B>(pub(super) Vec<Scheduled<Scheduler<B>>>);

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

/// Seats by number of slice less one.
#[derive(Debug)]
pub(super) struct Seats<B>(pub(super) Vec<Option<Seat<B>>>);

/// What a worker knows of a slice.
#[derive(Debug)]
pub(super) struct Seat<B> {
    pub(super) admission: Admission,
    pub(super) queues: QueueMap,
    pub(super) first_result: u32,
    pub(super) results: u32,
    pub(super) exceptions: RateLimit,
    pub(super) end: PacketEnd<B>,
    /// How many vectors had been processed when packets of it were last put into one.
    pub(super) injected_at: Option<u64>,
    pub(super) withdrawn: Arc<AtomicBool>,
    /// Counts this seat until it is dropped.
    pub(super) holders: Arc<AtomicUsize>,
}

impl<B> Drop for Seat<B> {
    /// What this worker did for the slice comes before whatever follows its being let go.
    fn drop(&mut self) {
        self.holders.fetch_sub(1, Release);
    }
}

impl<B> Seat<B> {
    pub(super) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }
}

/// Moves `turn` on, and returns whose it was if it is open.
pub(super) fn take_turn<'a, T>(
    places: &'a mut [Option<T>], turn: &mut usize, is_open: impl Fn(&T) -> bool,
) -> Option<&'a mut T> {
    let at = *turn;
    *turn = if at + 1 < places.len() { at + 1 } else { 0 };
    places.get_mut(at)?.as_mut().filter(|place| is_open(place))
}

impl<B> Seats<B> {
    pub(super) fn get_mut(&mut self, slice: SliceId) -> Option<&mut Seat<B>> {
        self.0.get_mut(usize::from(slice.0).checked_sub(1)?)?.as_mut()
    }
}

impl<B> SlowPath<B> for Seats<B> {
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

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Forwarder<C, B> {
    pub(super) fn new(
        number: usize, options: C, table: TcamReader, sram: Arc<Bank>, limits: &Limits,
    ) -> Self {
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
            sram,
            stats: counters(limits),
        };
        let slices = usize::from(limits.slices);
        Self {
            number,
            workers: 1,
            path,
            queues: QueueManager::new(Interfaces(Vec::new()), limits.queues.trailing_zeros()),
            seats: Seats(core::iter::repeat_with(|| None).take(slices).collect()),
            gates: Gates::default(),
            leaving: Vec::new(),
            drops: false,
            inject_turn: 0,
            direct_turn: 0,
            vectors: 0,
            held: 0,
            most_burst: Nanos::MAX,
            departed: Account::default(),
        }
    }

    /// Which worker of the node it is, from 0.
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Workers of the node.
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// Interfaces that there are, or were.
    pub fn interfaces(&self) -> usize {
        self.queues.store().0.len()
    }

    /// Fills slots of `vector` that hold no packet with those that slice managers send
    /// in-band, and returns how many. Slices take turns, one packet each; who wants slots
    /// left for what links bring lends a part of the vector.
    ///
    /// The vector is to be processed next, before another one is.
    pub fn inject(&mut self, _: Nanos, vector: &mut [Slot<B>]) -> usize {
        let Self { seats, inject_turn, path, vectors, .. } = self;
        let (mut injected, mut idle) = (0, 0);
        let mut free = vector.iter_mut().filter(|slot| slot.packet.is_none());
        let mut slot = free.next();
        while let Some(into) = slot.as_mut().filter(|_| idle < seats.0.len()) {
            idle += 1;
            let Some(state) = take_turn(&mut seats.0, inject_turn, |seat| !seat.is_withdrawn()) else {
                continue;
            };
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
        if self.gates.policed > 0 {
            let Self { path, queues, seats, gates, .. } = self;
            return path.process_policed(now, vector, queues, seats, gates, &mut NoTrace);
        }
        self.path.process(now, vector, &mut self.queues, &mut self.seats)
    }

    /// [`process`](Self::process) with a trace.
    pub fn process_traced<const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], trace: &mut impl Trace,
    ) -> usize {
        self.vectors += 1;
        if self.gates.policed > 0 {
            let Self { path, queues, seats, gates, .. } = self;
            return path.process_policed(now, vector, queues, seats, gates, trace);
        }
        self.path.process_traced(now, vector, &mut self.queues, &mut self.seats, trace)
    }

    /// Sends up to `budget` packets that are due at `interface`: see
    /// [`drain`](crate::pipeline::drain). None where the interface has no [rate](Self::set_share).
    /// As many of queues that were removed with their packets are dropped besides.
    pub fn transmit(
        &mut self, now: Nanos, interface: InterfaceId, budget: usize,
        send: impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>, mut recycle: impl FnMut(Packet<B>),
    ) -> Drained {
        let dropped = match self.drops {
            true => self.drop_remains(interface, budget, &mut recycle),
            false => 0,
        };
        if self.is_held(usize::from(interface.0)) {
            return Drained { dropped, ..Drained::default() };
        }
        let Self { queues, path, .. } = self;
        let next = || queues.dequeue_from(now, usize::from(interface.0));
        let mut drained = drain_with(next, &mut path.stats, budget, send, recycle);
        drained.dropped += dropped;
        drained
    }

    /// Drops up to `budget` packets of queues that were removed with them; how many.
    #[cold]
    fn drop_remains(
        &mut self, interface: InterfaceId, budget: usize, recycle: &mut impl FnMut(Packet<B>),
    ) -> usize {
        let Self { leaving, queues, path, .. } = self;
        let mut dropped = 0;
        for Leaving { queue, slice, drops, .. } in leaving.iter() {
            let here = queues.scheduler_of(*queue) == usize::from(interface.0);
            while *drops
                && here
                && dropped < budget
                && let Some(departure) = queues.flush(*queue)
            {
                path.stats.record(Event::Left(*slice, DropReason::QueueDeleted.into()), departure.octets);
                recycle(departure.handle);
                dropped += 1;
            }
        }
        dropped
    }

    /// When an interface will have a packet to send.
    pub fn next_due(&self, now: Nanos) -> Option<Nanos> {
        if self.held == 0 {
            return self.queues.next_due(now);
        }
        let open = (0..self.interfaces()).filter(|at| !self.is_held(*at));
        open.filter_map(|at| self.queues.scheduler(at)?.next_due(now)).min()
    }

    /// Gives this worker its share of the rate of `interface` from now on; `None` lets it send
    /// nothing. Where a node has several workers, none has a share before it is told.
    pub fn set_share(&mut self, now: Nanos, interface: InterfaceId, rate: Option<Rate>) {
        self.hold(interface, rate.is_none());
        if let Some(rate) = rate {
            self.queues.change(now, usize::from(interface.0), |paced| {
                paced.change_rate(now, rate);
                paced.inner_mut().follow(now, rate);
            });
        }
    }

    /// Lets no scheduler catch up on more time than this: where rates are shared, all of them
    /// might at once.
    pub fn limit_bursts(&mut self, now: Nanos, most: Nanos) {
        self.most_burst = most;
        for number in 0..self.interfaces() {
            let burst = self.queues.scheduler(number).map_or(most, |paced| paced.burst());
            self.set_burst(now, number, burst);
        }
    }

    pub(super) fn set_burst(&mut self, now: Nanos, number: usize, burst: Nanos) {
        let burst = burst.min(self.most_burst);
        self.queues.change(now, number, |paced| paced.set_burst(burst));
    }

    pub(super) const fn hold(&mut self, interface: InterfaceId, hold: bool) {
        let bit = 1u32 << (interface.0 as usize % MAX_INTERFACES);
        self.held = if hold { self.held | bit } else { self.held & !bit };
    }

    #[inline(always)]
    const fn is_held(&self, interface: usize) -> bool {
        self.held >> (interface % MAX_INTERFACES) & 1 == 1
    }

    /// Octets that wait at `interface`, as on the wire: what this worker would send if it might.
    /// Takes time in proportion to the queues of its slices.
    pub fn waiting_octets(&self, interface: InterfaceId) -> u64 {
        let at = usize::from(interface.0);
        if self.queues.scheduler(at).is_none_or(|scheduler| scheduler.inner().waiting() == 0) {
            return 0;
        }
        let queues = self.seats.0.iter().flatten().flat_map(|seat| seat.queues.iter());
        let here = queues.filter(|queue| self.queues.scheduler_of(*queue) == at);
        here.map(|queue| self.queues.stats(queue).octets).sum()
    }

    /// Packets that wait in all queues.
    pub fn waiting(&self) -> u64 {
        let schedulers = (0..self.interfaces()).filter_map(|at| self.queues.scheduler(at));
        schedulers.map(|scheduler| scheduler.inner().waiting()).sum()
    }

    /// The worker that a received packet belongs to, by the hash of its inner flow, and the
    /// slice that it is of. What is of no slice, and what a slice manager sent, belongs here.
    #[inline]
    pub fn owner(&self, slot: &Slot<B>) -> (usize, SliceId) {
        let Some(packet) = &slot.packet else { return (self.number, SliceId::SUBSTRATE) };
        let frame = packet.bytes();
        let Ok(inner) = self.path.decap.decap(frame, &slot.meta) else {
            return (self.number, SliceId::SUBSTRATE);
        };
        let (from, len) = (usize::from(inner.offset), usize::from(inner.len));
        let octets = frame.get(from..from + len).unwrap_or_default();
        let hash = self.path.options.flow_hash(inner.admission.option, octets);
        let slice = inner.admission.slice;
        (Spread::choose(hash, slice, self.workers), slice)
    }

    /// Counts a packet of `slice` that its owner had no room for.
    #[cold]
    pub fn lost(&mut self, slice: SliceId, octets: u32) {
        self.path.stats.record(Event::Left(slice, DropReason::HandOver.into()), octets);
    }

    /// Does what the leader did.
    pub(super) fn apply(&mut self, now: Nanos, change: Change<B>) {
        match change {
            Change::Admit(admitted) => self.seat(*admitted),
            Change::Withdraw { slice, ports, results } => self.take_out(slice, &ports, results),
            Change::Open { address, kind, config } => {
                // The leader's ports are the same, and it did.
                let _ = self.path.decap.open(address, kind, config);
            }
            Change::Close { address, kind } => drop(self.path.decap.close(address, kind)),
            Change::Results(records) => {
                for (id, record) in &records {
                    self.set_record(*id, record);
                }
            }
            Change::Result(id, record) => self.set_record(id, &record),
            // Nothing is refused that the leader's scheduler, which is the same, took.
            Change::Configure(setting) => drop(self.set_queue(&setting)),
            Change::Leave(leaving) => self.leave(leaving),
            Change::Share { number, slice, weight } => drop(self.set_share_of(number, slice, weight)),
            Change::Police { slice, link, gate } => self.gates.set(slice, link, gate.map(|gate| *gate)),
            Change::Schedule { number, scheduler } => self.schedule(now, number, *scheduler),
            Change::Rate { number, rate, burst } => {
                self.set_whole(number, rate);
                self.set_burst(now, number, burst);
            }
        }
    }

    /// Sets a queue up, or changes it.
    pub(super) fn set_queue(&mut self, setting: &QueueSetting) -> Result<(), ConfigError> {
        let QueueSetting { queue, config, share, policy } = *setting;
        let number = self.queues.scheduler_of(queue);
        if let Some(weight) = share {
            self.set_share_of(number, config.owner, weight)?;
        }
        self.queues.configure(queue, config)?;
        let local = self.queues.local(queue);
        if let (Some(policy), Some(paced)) = (policy, self.queues.scheduler_mut(number)) {
            paced.inner_mut().set_policy(local, policy);
        }
        Ok(())
    }

    pub(super) fn set_share_of(
        &mut self, number: usize, slice: SliceId, weight: u32,
    ) -> Result<(), ConfigError> {
        let scheduler = self.queues.scheduler_mut(number);
        scheduler.map_or(Ok(()), |paced| paced.inner_mut().set_share(slice, weight))
    }

    pub(super) fn set_workers(&mut self, number: usize, class: PriorityClass, workers: usize) {
        if let Some(paced) = self.queues.scheduler_mut(number) {
            paced.inner_mut().set_workers(class, workers);
        }
    }

    /// The interface has another rate, of which this worker may have a share.
    pub(super) fn set_whole(&mut self, number: usize, rate: Rate) {
        if let Some(paced) = self.queues.scheduler_mut(number) {
            paced.inner_mut().set_whole(rate);
        }
    }

    /// What became of the packets of a queue here, by reason; `None` if that is not counted:
    /// at interfaces that are [plain](Scheduling::Plain). Octets are those on the wire.
    pub fn queue_counts(&self, queue: QueueId) -> Option<QueueCounts> {
        self.queues.scheduler(self.queues.scheduler_of(queue))?.inner().counts(self.queues.local(queue))
    }

    /// Nothing leads to a queue any more.
    pub(super) fn leave(&mut self, leaving: Leaving) {
        self.drops |= leaving.drops;
        self.leaving.push(leaving);
    }

    /// Lets go of queues that nothing leads to and that are empty.
    #[inline]
    pub(super) fn see_off(&mut self) {
        if !self.leaving.is_empty() {
            self.let_queues_go();
        }
    }

    #[cold]
    fn let_queues_go(&mut self) {
        let Self { leaving, queues, seats, path, .. } = self;
        leaving.retain(|it| {
            let stays = queues.backlog(it.queue) > 0;
            if !stays {
                let _ = queues.remove(it.queue);
                if let Some(seat) = seats.get_mut(it.slice) {
                    seat.queues.retire(&mut path.stats, it.queue);
                }
            }
            stays
        });
        self.drops = leaving.iter().any(|it| it.drops);
    }

    pub(super) fn set_record(&mut self, id: EgressId, record: &Record) {
        let Egresses { records, templates } = &mut self.path.egress;
        if let (Some(place), Some(template)) = (templates.get_mut(id.index()), record.template) {
            *place = template;
        }
        if let Some(place) = records.get_mut(id.index()) {
            *place = record.egress;
        }
    }

    fn seat(&mut self, admitted: Admitted<B>) {
        let Admitted { seat, ports, queues } = admitted;
        for (address, kind, config) in ports {
            let _ = self.path.decap.open(address, kind, config);
        }
        for setting in &queues {
            let _ = self.set_queue(setting);
        }
        self.take_seat(seat);
    }

    pub(super) fn take_seat(&mut self, seat: Seat<B>) {
        let at = usize::from(seat.admission.slice.0).wrapping_sub(1);
        if let Some(place) = self.seats.0.get_mut(at) {
            *place = Some(seat);
        }
    }

    /// Closes the ports of a slice that is withdrawn, and the ways out that it had.
    fn take_out(&mut self, slice: SliceId, ports: &[(IpAddr, TunnelKind)], results: core::ops::Range<u32>) {
        for (address, kind) in ports {
            self.path.decap.close(*address, *kind);
        }
        self.gates.clear(slice);
        if let Some(seat) = self.seats.get_mut(slice) {
            seat.end.close();
        }
        let (first, count) = (results.start as usize, results.len());
        self.path.egress.records.iter_mut().skip(first).take(count).for_each(|egress| *egress = Egress::NONE);
    }

    /// Puts a scheduler without packets in the place of one, or behind all.
    pub(super) fn schedule(&mut self, now: Nanos, number: usize, scheduler: Scheduler<B>) {
        if number == self.interfaces() {
            self.queues.store_mut().0.push(Scheduled::new(scheduler));
        } else {
            self.queues.change(now, number, |place| *place = scheduler);
        }
        self.hold(InterfaceId(number as u16), self.workers > 1);
        let burst = self.queues.scheduler(number).map_or(Nanos::ZERO, |paced| paced.burst());
        self.set_burst(now, number, burst);
    }

    /// Whether nothing here is a slice's any more but its seat.
    pub(super) fn is_done_with(&self, seat: &Seat<B>) -> bool {
        seat.is_withdrawn()
            && seat.end.is_closed()
            && seat.injected_at != Some(self.vectors)
            && seat.queues.iter().all(|queue| self.queues.backlog(queue) == 0)
            && self.leaving.iter().all(|it| it.slice != seat.admission.slice)
    }

    /// Drops the seats of slices that are withdrawn and have no packets here.
    pub(super) fn let_go(&mut self) {
        for at in 0..self.seats.0.len() {
            let seat = self.seats.0.get(at).and_then(Option::as_ref);
            if seat.is_some_and(|seat| self.is_done_with(seat)) {
                self.give_up(at);
            }
        }
    }

    /// Drops a seat. What was counted for its slice stays in the sum of those that are gone.
    pub(super) fn give_up(&mut self, at: usize) {
        let Some(place) = self.seats.0.get_mut(at) else { return };
        let Some(slice) = place.as_ref().map(|seat| seat.admission.slice) else { return };
        self.departed = self.departed.plus(self.account(slice));
        if let Some(Some(seat)) = self.seats.0.get(at) {
            for queue in seat.queues.iter() {
                // It is empty: whoever has it next begins anew.
                let _ = self.queues.remove(queue);
            }
        }
        if let Some(place) = self.seats.0.get_mut(at) {
            *place = None;
        }
    }

    /// The slices that have a seat here.
    pub fn slices(&self) -> impl Iterator<Item = SliceId> {
        self.seats.0.iter().flatten().map(|seat| seat.admission.slice)
    }

    /// What this worker counted of a slice that has a seat here, or of the
    /// [substrate](SliceId::SUBSTRATE): exact between two vectors.
    pub fn account(&self, slice: SliceId) -> Account {
        let at = usize::from(slice.0).checked_sub(1);
        let seat = at.and_then(|at| self.seats.0.get(at)?.as_ref());
        let results = seat.map_or(0..0, |seat| seat.first_result..seat.first_result + seat.results);
        let queues = seat.map(|seat| &seat.queues);
        let account = Account::read(&self.path.stats, slice, results, queues);
        let queues = queues.into_iter().flat_map(QueueMap::iter);
        let waiting = queues.map(|queue| u64::from(self.queues.backlog(queue))).sum();
        Account { waiting, ..account }
    }

    /// The accounts of slices that came and are gone, added up.
    pub const fn departed(&self) -> Account {
        self.departed
    }

    /// Encapsulates and queues up to `budget` packets that slice managers send straight to
    /// a queue. Slices take turns, one packet each.
    pub(super) fn inject_direct(&mut self, now: Nanos, budget: usize) {
        let Self { path, queues, seats, direct_turn, .. } = self;
        let (mut taken, mut idle) = (0, 0);
        while taken < budget && idle < seats.0.len() {
            idle += 1;
            let Some(state) = take_turn(&mut seats.0, direct_turn, |seat| !seat.is_withdrawn()) else {
                continue;
            };
            if !matches!(state.end.injections.peek(), Ok(Injection::Direct { .. })) {
                continue;
            }
            let Ok(Injection::Direct { mut packet, result, traffic_class }) = state.end.injections.pop()
            else {
                continue;
            };
            (taken, idle) = (taken + 1, 0);
            let Admission { slice, option, .. } = state.admission;
            path.stats.record(Event::Injected(slice), packet.octets());
            let id = EgressId::new(state.first_result.wrapping_add(result));
            let egress = id.filter(|_| result < state.results).and_then(|id| path.egress.egress(id));
            let outgoing = Outgoing { traffic_class, destination: None };
            let whole = packet.whole();
            let put = packet.edit(whole, |packet| {
                let egress = egress.ok_or(DropReason::NoMatch)?;
                match egress.exit() {
                    Some(exit) => Err(exit),
                    None => {
                        let flow = |inner: &[u8]| path.options.flow_hash(option, inner);
                        Ok(egress.encapsulate_flow(packet, &outgoing, &path.egress, flow)?)
                    }
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
