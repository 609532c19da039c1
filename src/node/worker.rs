//! The threads that forward: each with a fast path and its queues, and the slices that share
//! them.

mod account;
mod change;
mod commands;
mod discipline;
mod follower;
mod forwarder;
mod gates;
mod interfaces;
mod links;
mod policers;
mod queue_map;
mod queues;
mod resource;

pub use account::{Account, Monitor};
pub use follower::{FollowError, Follower, Forward};
pub use forwarder::Forwarder;
pub(super) use queue_map::QueueMap;
pub use queues::Remains;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

use crate::code_option::{CodeOptionSet, Outgoing};
use crate::decap::{Access, Decap, PortEntry, TunnelConfig, TunnelEntry, TunnelKind, Tunnels, UdpPorts};
use crate::egress::{
    Egress, EgressTable, Egresses, Encapsulation, InnerEthernet, Payload, Template, Tunnel, is_destination,
    is_destination_at,
};
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, InterfaceId, LinkId, QueueId, SliceId};
use crate::lookup::{Tcam, TcamConfig, TcamReader, TcamWriter, TernaryTable};
use crate::node::admit::{
    AdmitError, InterfaceConfig, InterfaceError, Limits, LinkError, LinkRequest, PoliceError, QueueError,
    QueueRequest, SliceRequest,
};
use crate::node::channel::{
    Action, Command, CommandEnd, ControlError, Done, ExceptionPacket, Injection, PacketEnd, Reply, Spread,
    command_channel, packet_channel,
};
use crate::node::control::SliceControl;
use crate::node::rate_limit::RateLimit;
use crate::node::scheduling::{Policed, Policing, Policy, PolicyError, Scheduling, ShareRequest};
use crate::packet::Packet;
use crate::pipeline::{Drained, Exceptional, FastPath, SlowPath, Trace, drain_with};
use crate::queue::{
    Arrival, BoxedWdrr, Departure, Paced, Quantum, QueueConfig, QueueManager, Rate, Rejected, Scheduled,
    TailDrop, WdrrScheduler,
};
use crate::slot::{Admission, Layer, RxMeta, Slot};
use crate::sram::{Region, SramBank};
use crate::stats::{AtomicCount, Cells, Count, Counters, Event, ROW, SliceAccount, StatsBlock};
use crate::store::Store;
use crate::time::Nanos;
use change::{Admitted, Change, Crew, Holder, Leaving, QueueSetting};
use discipline::{Discipline, Size};
use forwarder::{Seat, take_turn};
use gates::{Gate, GateCounts};

pub(super) type Bank = SramBank<Box<[AtomicU32]>, Box<[Region]>>;
pub(super) type SharedCounters = Counters<Arc<[AtomicCount]>, Arc<[AtomicCount]>, Arc<[AtomicCount]>>;
type Scheduler<B> = Paced<Discipline<B>>;
type Links = Access<Box<[PortEntry]>, Box<[TunnelEntry]>>;
/// The template of a record has the record's number.
type WaysOut = Egresses<Box<[Egress]>, Box<[Template]>>;
type Path<C> = FastPath<Links, C, TcamReader, WaysOut, Arc<Bank>, SharedCounters>;

/// A fast path with its interfaces, the slices that share it, and what they were promised.
///
/// `C` is the set of code options, `B` the packet buffer. One thread owns it; every
/// slice is controlled through its [`SliceControl`]. Where several threads forward, this is
/// the first of them, and leads: whatever changes, it changes, and its
/// [`Follower`]s do as it did, in order.
#[derive(Debug)]
pub struct Node<C, B> {
    here: Forwarder<C, B>,
    /// The other workers.
    crew: Crew<B>,
    spread: Spread,
    /// What the path reads; each slice's writer is with its control.
    tcam: Tcam,
    /// Slices by number less one.
    slices: Vec<Option<Slice>>,
    limits: Limits,
    interfaces: Vec<Option<InterfaceConfig>>,
    /// Which physical queues have been given out.
    queues_used: Vec<bool>,
    /// Whose control is looked at next.
    turn: usize,
}

/// What a slice was promised.
#[derive(Debug)]
struct Slice {
    admission: Admission,
    /// By the slice's own number; a link may be closed while others run.
    links: Vec<Option<LinkRequest>>,
    /// By the slice's own number.
    queues: Vec<Option<OwnQueue>>,
    /// The same for others to read.
    map: QueueMap,
    /// Weights of its queues by interface: of those that come first, and of the others.
    weights: Vec<[Share; 2]>,
    /// Its shares where slices have shares, as it asked for.
    shares: Vec<ShareRequest>,
    /// What holds it and its links to their rates.
    policers: Vec<Policer>,
    first_result: u32,
    /// What each result leads to, if it leads out: for links that change.
    results: Box<[Option<WayOut>]>,
    most_filters: u32,
    end: CommandEnd,
    /// Workers that may still hold packets of the slice, this one counted.
    holders: Arc<AtomicUsize>,
    /// Set when the slice is taken away. What its control can reach stays reserved until
    /// that is dropped.
    withdrawn: Arc<AtomicBool>,
}

/// A queue that a slice has, or had and that is not empty at all workers yet.
#[derive(Debug)]
struct OwnQueue {
    id: QueueId,
    granted: QueueRequest,
    /// As it is now.
    config: QueueConfig,
    /// Set when it was removed: counts the workers where packets of it may wait.
    leaving: Option<Arc<AtomicUsize>>,
}

/// What holds a slice, or one of its links, to its rate.
#[derive(Debug)]
struct Policer {
    link: Option<u16>,
    policing: Policing,
    /// Of each worker.
    counts: Box<[GateCounts]>,
}

/// A result that leads through a link.
#[derive(Clone, Copy, Debug)]
struct WayOut {
    link: u16,
    queue: QueueId,
    word: u64,
    next: Next,
}

/// The router or host that is next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The link's peer, and behind it whom the link's frames are for.
    Peer,
    /// Another end of the tunnel.
    End(SocketAddrV4),
    /// Whom the frames are for; `None` if packets are frames already.
    Neighbour(Option<[u8; 6]>),
}

/// What a result leads to. The template, if there is one, has the record's number.
#[derive(Clone, Copy, Debug)]
struct Record {
    egress: Egress,
    template: Option<Template>,
}

impl From<Egress> for Record {
    fn from(egress: Egress) -> Self {
        Self { egress, template: None }
    }
}

/// The weight of a slice's queues at an interface.
///
/// Invariant: `used <= granted`.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    granted: u64,
    used: u64,
}

impl Slice {
    fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }

    fn open_links(&self) -> impl Iterator<Item = &LinkRequest> {
        self.links.iter().flatten()
    }

    /// What its queues were granted, those that are not empty yet included.
    fn granted(&self) -> impl Iterator<Item = &QueueRequest> {
        self.queues.iter().flatten().map(|queue| &queue.granted)
    }

    /// A queue that was not removed.
    fn queue(&self, number: u16) -> Option<&OwnQueue> {
        self.queues.get(usize::from(number))?.as_ref().filter(|queue| queue.leaving.is_none())
    }

    /// The weights of its queues of the interface and the class of `of`.
    fn weight(&self, of: &QueueRequest) -> Share {
        let classes = self.weights.get(usize::from(of.interface.0)).copied().unwrap_or_default();
        let [ordinary, priority] = classes;
        if of.priority { priority } else { ordinary }
    }

    fn set_weight(&mut self, of: &QueueRequest, share: Share) {
        let at = usize::from(of.interface.0);
        if at >= self.weights.len() {
            self.weights.resize(at + 1, [Share::default(); 2]);
        }
        if let Some([ordinary, priority]) = self.weights.get_mut(at) {
            *(if of.priority { priority } else { ordinary }) = share;
        }
    }

    /// Its share of an interface where slices have shares: 1 if it does not say.
    fn share_at(&self, interface: InterfaceId) -> Option<u32> {
        share_at(&self.shares, self.granted(), interface)
    }
}

fn share_at<'a>(
    shares: &[ShareRequest], mut queues: impl Iterator<Item = &'a QueueRequest>, interface: InterfaceId,
) -> Option<u32> {
    let said = shares.iter().find(|share| share.interface == interface).map(|share| share.weight);
    said.or_else(|| queues.any(|queue| queue.interface == interface && !queue.priority).then_some(1))
}

fn boxed<T>(count: usize, new: impl FnMut() -> T) -> Box<[T]> {
    core::iter::repeat_with(new).take(count).collect()
}

fn cells(count: usize) -> Arc<[AtomicCount]> {
    core::iter::repeat_with(AtomicCount::default).take(count).collect()
}

/// Most interfaces that a node has counters for.
const MAX_INTERFACES: usize = 16;

/// Counters for all that `limits` names.
fn counters(limits: &Limits) -> SharedCounters {
    Counters {
        egresses: cells(limits.results as usize),
        queues: cells(QueueMap::counters(limits)),
        slices: cells((usize::from(limits.slices) + 1) * ROW),
    }
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Interfaces that a node has counters for.
    pub const MAX_INTERFACES: usize = MAX_INTERFACES;

    /// A node without interfaces and slices. Allocates all that `limits` name but the
    /// queues, which come with the interfaces, and what other workers need.
    pub fn new(options: C, limits: Limits) -> Self {
        let queues = limits.queues.clamp(1, 1 << 20).next_power_of_two();
        let limits = Limits { queues, workers: limits.workers.max(1), ..limits };
        let slices = usize::from(limits.slices);
        let words = boxed(limits.sram_words, AtomicU32::default);
        let sram = Arc::new(SramBank::new(words, boxed(slices + 1, Region::default)));
        let (tcam, table) = Tcam::with_reader(TcamConfig {
            filters: limits.filters as usize,
            slices: slices + 1,
            readers: limits.workers.into(),
            lines: limits.lines,
            deferred: limits.deferred,
            seed: limits.seed,
            ..TcamConfig::default()
        });
        Self {
            here: Forwarder::new(0, options, table, sram, &limits),
            crew: Crew::new(),
            spread: Spread::NONE,
            tcam,
            slices: core::iter::repeat_with(|| None).take(slices).collect(),
            limits,
            interfaces: Vec::new(),
            queues_used: Vec::new(),
            turn: 0,
        }
    }

    /// Carries out up to `budget` commands of slice managers, and takes up to as many of
    /// the packets that they send straight to a queue. Returns how many commands.
    ///
    /// To be called between two vectors, and while there are no packets: the memory of
    /// filters that slice managers remove waits for it. Slices take turns, one command and
    /// one packet each. A command costs the same however much a slice has. Commands wait
    /// while another worker has not taken earlier ones.
    pub fn poll_control(&mut self, now: Nanos, budget: usize) -> usize {
        self.here.path.table.quiescent();
        self.here.see_off();
        self.crew.flush();
        let (mut done, mut idle) = (0, 0);
        while done < budget && idle < self.slices.len() && self.crew.has_room() {
            idle += 1;
            let Some(state) = take_turn(&mut self.slices, &mut self.turn, |slice| !slice.is_withdrawn())
            else {
                continue;
            };
            // A command whose reply would find no room waits.
            if state.end.replies.is_full() {
                continue;
            }
            let slice = state.admission.slice;
            let Ok((ticket, command)) = state.end.commands.pop() else { continue };
            (done, idle) = (done + 1, 0);
            let outcome = self.execute(slice, command);
            let changes = self.crew.changes();
            if let Some(state) = self.slice_mut(slice) {
                // There is room: this is the only writer.
                let _ = state.end.replies.push((Reply { ticket, outcome }, changes));
            }
        }
        self.here.inject_direct(now, budget);
        done
    }

    /// See [`Forwarder::inject`].
    pub fn inject(&mut self, now: Nanos, vector: &mut [Slot<B>]) -> usize {
        self.here.inject(now, vector)
    }

    /// Takes a vector of packets through the fast path: see
    /// [`FastPath::process`]. What is dropped stays in its slot.
    pub fn process<const N: usize>(&mut self, now: Nanos, vector: &mut [Slot<B>; N]) -> usize {
        self.here.process(now, vector)
    }

    /// [`process`](Self::process) with a trace.
    pub fn process_traced<const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], trace: &mut impl Trace,
    ) -> usize {
        self.here.process_traced(now, vector, trace)
    }

    /// Sends up to `budget` packets that are due at `interface`: see
    /// [`drain`](crate::pipeline::drain).
    pub fn transmit(
        &mut self, now: Nanos, interface: InterfaceId, budget: usize,
        send: impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>, recycle: impl FnMut(Packet<B>),
    ) -> Drained {
        self.here.transmit(now, interface, budget, send, recycle)
    }

    /// When an interface will have a packet to send.
    pub fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.here.next_due(now)
    }

    /// The fast path.
    pub const fn path(&self) -> &Path<C> {
        &self.here.path
    }

    fn slice(&self, slice: SliceId) -> Option<&Slice> {
        self.slices.get(usize::from(slice.0).checked_sub(1)?)?.as_ref()
    }

    fn slice_mut(&mut self, slice: SliceId) -> Option<&mut Slice> {
        self.slices.get_mut(usize::from(slice.0).checked_sub(1)?)?.as_mut()
    }
}
