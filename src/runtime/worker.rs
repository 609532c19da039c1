//! The loop of one worker: receive, process, send, and look after control in between.

use std::boxed::Box;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::vec::Vec;

use crate::id::{InterfaceId, SliceId};
use crate::io::Buffers;
use crate::node::{Account, Forward};
use crate::packet::Packet;
use crate::runtime::bound::{Bound, BoxedPort, PortReport, PortView};
use crate::runtime::clock::Clock;
use crate::runtime::mesh::Mesh;
use crate::runtime::rates::{INTERFACES, Share};
use crate::runtime::waker::{Sleeper, Waker};
use crate::runtime::{Settings, VECTOR};
use crate::slot::{Layer, Slot};
use crate::time::Nanos;

/// What a handle asks of a worker, done between two turns.
pub(super) type Request<F, M> = Box<dyn FnOnce(&mut Worker<F, M>, Nanos) + Send>;

/// Requests that are done before packets are looked at again.
const REQUESTS: usize = 8;

/// Slots of a vector that may hold packets of slice managers.
const INJECTED: usize = 8;

/// Runs to completion on one thread: owns what forwards, buffers, and the ports of its
/// interfaces.
///
/// `F` is a [`Node`](crate::node::Node), or a [`Follower`](crate::node::Follower) of one; `M`
/// holds free buffers, a [`Pool`](crate::io::Pool) say. [`turn`](Self::turn) takes one vector;
/// [`run`](Self::run) goes on until it is told to stop.
pub struct Worker<F: Forward, M> {
    forward: F,
    buffers: M,
    settings: Settings,
    /// By interface.
    ports: Vec<Option<Bound<F::Buffer>>>,
    removed: Vec<PortReport>,
    mesh: Mesh<F::Buffer>,
    /// Empty between two turns.
    vector: Box<[Slot<F::Buffer>; VECTOR]>,
    sender: Sender<Request<F, M>>,
    /// None when it has stopped.
    requests: Option<Receiver<Request<F, M>>>,
    sleeper: Sleeper,
    share: Option<Box<dyn Share>>,
    reported: Reported,
    /// Which port or ring is looked at first.
    first: usize,
    /// Turns until control is looked at.
    until_control: u32,
    /// Turns without work, and sleeps in a row.
    idle: u32,
    sleeps: u32,
    received: u64,
    stopping: Option<Nanos>,
}

/// What was said last of backlogs.
#[derive(Debug, Default)]
struct Reported {
    next: Nanos,
    waiting: [u64; INTERFACES],
    sent: [u64; INTERFACES],
}

impl<F: Forward, M> fmt::Debug for Worker<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("ports", &self.ports)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// What a turn did, in packets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Turn {
    /// Received from ports, or taken from other workers.
    pub received: usize,
    /// Of slice managers, in-band.
    pub injected: usize,
    /// Taken by ports.
    pub sent: usize,
    /// Requests, commands and changes.
    pub control: usize,
}

impl Turn {
    /// Whether there was nothing to do.
    pub const fn is_idle(&self) -> bool {
        self.received + self.injected + self.sent + self.control == 0
    }
}

/// Where all packets are that a worker ever saw.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Received from ports.
    pub received: u64,
    /// Handed to other workers, and taken from them.
    pub handed: u64,
    /// Taken from other workers.
    pub taken: u64,
    /// Handed over by others and not taken.
    pub left_behind: u64,
    /// What this worker counted of each slice, the substrate first.
    pub slices: Vec<(SliceId, Account)>,
    /// The same of slices that have come and gone, added up.
    pub departed: Account,
    /// Its ports, those that were removed included.
    pub ports: Vec<PortReport>,
}

impl Report {
    /// All slices together.
    pub fn total(&self) -> Account {
        self.slices.iter().fold(self.departed, |sum, (_, account)| sum.plus(*account))
    }

    /// Whether the worker knows where each packet is: what came to it, by ports, from other
    /// workers and by slice managers, is what its slices' accounts say; and what left its queues
    /// was handed to ports.
    pub fn is_exact(&self) -> bool {
        let total = self.total();
        let came = self.received.wrapping_add(self.taken).wrapping_sub(self.handed);
        let sent: u64 = self.ports.iter().map(|port| port.handed).sum();
        came == total.received() && sent == total.sent.packets
    }
}

/// Why a port was not added.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// There is no such interface.
    #[error("there is no interface {0}")]
    UnknownInterface(u16),
    /// The worker has a port there.
    #[error("the worker has a port at interface {0} already")]
    Taken(u16),
}

impl<F, M> Worker<F, M>
where
    F: Forward,
    M: Buffers<F::Buffer>,
{
    /// A worker without ports.
    ///
    /// # Errors
    ///
    /// Those of making a pipe, by which it is woken.
    pub fn new(forward: F, buffers: M, settings: Settings) -> io::Result<Self> {
        let (sender, receiver) = channel();
        Ok(Self {
            forward,
            buffers,
            settings,
            ports: Vec::new(),
            removed: Vec::new(),
            mesh: Mesh::NONE,
            vector: Box::new([const { Slot::EMPTY }; VECTOR]),
            sender,
            requests: Some(receiver),
            sleeper: Sleeper::new()?,
            share: None,
            reported: Reported::default(),
            first: 0,
            until_control: 0,
            idle: 0,
            sleeps: 0,
            received: 0,
            stopping: None,
        })
    }

    /// What forwards.
    pub const fn forward(&self) -> &F {
        &self.forward
    }

    /// What forwards, to be changed.
    pub const fn forward_mut(&mut self) -> &mut F {
        &mut self.forward
    }

    /// The free buffers.
    pub const fn buffers(&self) -> &M {
        &self.buffers
    }

    /// The free buffers.
    pub const fn buffers_mut(&mut self) -> &mut M {
        &mut self.buffers
    }

    /// All parts: what forwards, the free buffers, and the ports with their interfaces. What
    /// ports had not taken goes to the buffers.
    #[allow(clippy::type_complexity)]
    pub fn into_parts(mut self) -> (F, M, Vec<(InterfaceId, BoxedPort<F::Buffer>)>) {
        let bound = core::mem::take(&mut self.ports).into_iter().flatten();
        let buffers = &mut self.buffers;
        let ports = bound.map(|bound| (bound.interface(), bound.into_port(buffers).0)).collect();
        (self.forward, self.buffers, ports)
    }

    /// Binds a port to an interface: packets come from it and go to it, as frames of `layer`.
    /// Each worker has a port of its own at an interface, or none: what it queues there then
    /// waits.
    ///
    /// # Errors
    ///
    /// [`PortError`]; the port is dropped, the worker unchanged.
    pub fn add_port(
        &mut self, interface: InterfaceId, layer: Layer, port: BoxedPort<F::Buffer>,
    ) -> Result<PortView, PortError> {
        let at = usize::from(interface.0);
        if at >= self.forward.forwarder().interfaces() {
            return Err(PortError::UnknownInterface(interface.0));
        }
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, || None);
        }
        match self.ports.get_mut(at) {
            Some(place @ None) => Ok(place.insert(Bound::new(interface, layer, port)).view()),
            _ => Err(PortError::Taken(interface.0)),
        }
    }

    /// Takes a port away, with what it did. Packets that it had not taken are gone, as its
    /// report says; what is queued for its interface waits for another port.
    pub fn remove_port(&mut self, interface: InterfaceId) -> Option<(BoxedPort<F::Buffer>, PortReport)> {
        let bound = self.ports.get_mut(usize::from(interface.0))?.take()?;
        let (port, report) = bound.into_port(&mut self.buffers);
        self.removed.push(report);
        Some((port, report))
    }

    /// One turn: control if it is its time, a vector of packets in and through, and what is
    /// due out of each interface.
    ///
    /// Does not wait, and reads no clock. Nothing is allocated but by requests, and to make up
    /// for buffers that slice managers keep.
    pub fn turn(&mut self, now: Nanos) -> Turn {
        let mut turn = Turn::default();
        if self.until_control == 0 {
            self.until_control = self.settings.control_every.max(1);
            turn.control = self.control(now);
            let slots = self.vector.get_mut(..INJECTED).unwrap_or_default();
            turn.injected = self.forward.forwarder_mut().inject(now, slots);
        }
        self.until_control -= 1;
        turn.received = self.receive(turn.injected);
        if turn.injected + turn.received > 0 {
            self.forward.forwarder_mut().process(now, &mut self.vector);
            for packet in self.vector.iter_mut().filter_map(|slot| slot.packet.take()) {
                self.buffers.give(packet.into_buf());
            }
        }
        for bound in self.ports.iter_mut().flatten() {
            turn.sent += bound.send(now, self.forward.forwarder_mut(), &mut self.buffers);
        }
        self.mesh.settle(&mut self.buffers);
        turn
    }

    /// Requests, then what slice managers ask, then rates, buffers and counters.
    fn control(&mut self, now: Nanos) -> usize {
        let mut done = 0;
        while done < REQUESTS
            && let Some(request) = self.requests.as_ref().and_then(|requests| requests.try_recv().ok())
        {
            request(self, now);
            done += 1;
        }
        done += self.forward.poll_control(now, self.settings.commands);
        self.share_rates(now);
        self.buffers.refill(2 * VECTOR);
        self.ports.iter().flatten().for_each(Bound::publish);
        done
    }

    /// Fills the vector behind `filled` packets; sources take turns to be first. Returns how
    /// many came.
    fn receive(&mut self, mut filled: usize) -> usize {
        let (ports, rings) = (self.ports.len(), self.mesh.sources());
        let (sources, mut received) = (ports + rings, 0);
        self.first = if self.first + 1 < sources { self.first + 1 } else { 0 };
        for step in 0..sources {
            let at = self.first + step;
            let at = if at < sources { at } else { at - sources };
            let Some(free) = self.vector.get_mut(filled..).filter(|free| !free.is_empty()) else { break };
            if at >= ports {
                let taken = self.mesh.take(at - ports, free);
                (filled, received) = (filled + taken, received + taken);
            } else if self.stopping.is_none()
                && let Some(Some(bound)) = self.ports.get_mut(at)
            {
                let came = bound.receive(free, &mut self.buffers);
                self.received += came as u64;
                received += came;
                filled += if rings == 0 { came } else { self.spread(filled, came) };
            }
        }
        received
    }

    /// Hands over what is other workers' of `came` packets from slot `from` on; moves the rest
    /// together, and returns how many these are.
    fn spread(&mut self, from: usize, came: usize) -> usize {
        let Self { vector, mesh, forward, buffers, .. } = self;
        let slots = vector.get_mut(from..).and_then(|slots| slots.get_mut(..came)).unwrap_or_default();
        slots.iter().filter_map(|slot| slot.packet.as_ref()).for_each(Packet::prefetch);
        let forwarder = forward.forwarder_mut();
        let mut kept = 0;
        for at in 0..slots.len() {
            let Some(slot) = slots.get_mut(at) else { break };
            let (owner, slice) = forwarder.owner(slot);
            if owner == forwarder.number() {
                slots.swap(kept, at);
                kept += 1;
            } else if let Err(Slot { packet: Some(packet), .. }) = mesh.hand(owner, core::mem::take(slot)) {
                forwarder.lost(slice, packet.octets());
                buffers.give(packet.into_buf());
            }
        }
        kept
    }

    /// Says what waits once a period, and puts the rates in force that it was told.
    fn share_rates(&mut self, now: Nanos) {
        let Self { share: Some(share), forward, reported, ports, settings, .. } = self else { return };
        if now >= reported.next || reported.next - now > settings.period {
            reported.next = now + settings.period;
            if let Some(rates) = forward.rates() {
                share.set(rates);
            }
            let forwarder = forward.forwarder();
            let mut octets = [0; INTERFACES];
            let places = octets.iter_mut().zip(&mut reported.waiting).zip(&mut reported.sent);
            for (at, ((octets, before), sent_before)) in (0..).zip(places) {
                let waiting = forwarder.waiting_octets(InterfaceId(at));
                let bound = ports.get(usize::from(at)).and_then(Option::as_ref);
                let sent = bound.map_or(*sent_before, Bound::handed_octets);
                // What waits, and what came in the last period. A port that is new counts anew.
                let since = sent.checked_sub(*sent_before).unwrap_or(sent);
                let came = (waiting + since).saturating_sub(*before);
                *octets = waiting + came;
                (*before, *sent_before) = (waiting, sent);
            }
            share.report(&octets);
        }
        let forwarder = forward.forwarder_mut();
        share.look(now, &mut |at, rate| forwarder.set_share(now, InterfaceId(at as u16), rate));
    }

    /// Takes turns until it is told to stop and nothing waits, or its time is up; sleeps while
    /// there is nothing to do.
    pub fn run(&mut self, clock: &mut impl Clock) -> Report {
        loop {
            let now = clock.now();
            let turn = self.turn(now);
            if let Some(deadline) = self.stopping {
                self.mesh.close();
                if now >= deadline || self.is_drained() {
                    break;
                }
            }
            if !turn.is_idle() {
                (self.idle, self.sleeps) = (0, 0);
            } else if self.idle < self.settings.spins {
                self.idle += 1;
                self.until_control = 0;
                std::hint::spin_loop();
            } else {
                self.sleep(clock);
            }
        }
        // Who asks now is told that it has stopped.
        self.requests = None;
        self.report()
    }

    /// Sleeps until a port has packets, another thread wants something, a packet is due, or
    /// it is time to look at control.
    fn sleep(&mut self, clock: &mut impl Clock) {
        self.sleeper.lie_down();
        let now = clock.now();
        self.until_control = 0;
        let turn = self.turn(now);
        if turn.is_idle() {
            let most = self.may_sleep(now);
            let ports = self.ports.iter().flatten().filter_map(|bound| bound.port.readable());
            let readable: Vec<_> = core::iter::once(self.sleeper.readable()).chain(ports).collect();
            clock.wait(&readable, most);
            self.sleeps += 1;
        } else {
            (self.idle, self.sleeps) = (0, 0);
        }
        self.sleeper.get_up();
        self.until_control = 0;
    }

    fn may_sleep(&self, now: Nanos) -> Nanos {
        let Settings { cap, nap, period, .. } = self.settings;
        let cap = if self.share.is_some() { cap.min(period) } else { cap };
        let due = self.forward.forwarder().next_due(now).map_or(Nanos::MAX, |due| due - now);
        // Who cannot wait for a port asks it, less and less often.
        let asks =
            self.ports.iter().flatten().any(|bound| bound.port.readable().is_none() || bound.waiting() > 0);
        let nap = Nanos(nap.0.saturating_mul(1 << self.sleeps.min(16)));
        match (asks, due) {
            // It is due and its port does not take it.
            (_, Nanos(0)) => cap.min(nap),
            (true, _) => cap.min(nap).min(due),
            (false, _) => cap.min(due),
        }
    }

    /// Receives no more; sends what waits until `deadline`.
    pub const fn stop(&mut self, deadline: Nanos) {
        self.stopping = Some(deadline);
    }

    fn is_drained(&self) -> bool {
        self.mesh.is_over()
            && self.forward.forwarder().waiting() == 0
            && self.ports.iter().flatten().all(|bound| bound.waiting() == 0)
    }

    /// Where all packets are. Exact between two turns.
    pub fn report(&self) -> Report {
        let forwarder = self.forward.forwarder();
        let (handed, taken, left_behind) = self.mesh.counts();
        let slices = core::iter::once(SliceId::SUBSTRATE).chain(forwarder.slices());
        Report {
            received: self.received,
            handed,
            taken,
            left_behind,
            slices: slices.map(|slice| (slice, forwarder.account(slice))).collect(),
            departed: forwarder.departed(),
            ports: self.removed.iter().copied().chain(self.ports()).collect(),
        }
    }

    /// What each of its ports has done; not those that were removed.
    pub fn ports(&self) -> impl Iterator<Item = PortReport> {
        self.ports.iter().flatten().map(Bound::report)
    }

    /// Free buffers on their way back to this worker from others.
    pub fn buffers_between(&self) -> usize {
        self.mesh.buffers()
    }

    pub(super) fn sender(&self) -> (Sender<Request<F, M>>, Arc<Waker>) {
        (self.sender.clone(), self.sleeper.waker().clone())
    }

    pub(super) fn join(&mut self, mesh: Mesh<F::Buffer>, share: Box<dyn Share>) {
        (self.mesh, self.share) = (mesh, Some(share));
        // It looks as often as that.
        let most = self.settings.period + self.settings.period;
        self.forward.forwarder_mut().limit_bursts(Nanos::ZERO, most);
    }
}
