//! What passes between a slice manager and the node, and the rings it passes through.
//!
//! All rings have one writer, one reader, a fixed length, and no lock.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddrV4;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::code_option::CodeOptionSet;
use crate::exit::Exception;
use crate::id::{OptionId, SliceId};
use crate::lookup::TcamError;
use crate::node::scheduling::{Policy, PolicyError};
use crate::packet::Packet;
use crate::pipeline::Exceptional;
use crate::queue::ConfigError;
use crate::slot::RxMeta;
use crate::time::Nanos;

/// What becomes of packets whose filter names a result. Links and queues are the
/// slice's own numbers, in the order of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Sent through a link by a queue of the same interface.
    Forward {
        /// The slice's link.
        link: u16,
        /// The slice's queue.
        queue: u16,
        /// What the code option is told.
        word: u64,
        /// Where to, in place of the link's peer; on multipoint links only.
        next_hop: Option<SocketAddrV4>,
    },
    /// Through a link of Ethernet frames by a queue of the same interface, to a next hop on
    /// the other side.
    Neighbour {
        /// The slice's link.
        link: u16,
        /// The slice's queue.
        queue: u16,
        /// What the code option is told.
        word: u64,
        /// The next hop's address in the frame, in place of the link's own; `None` if packets
        /// are whole frames, as those are that answer ARP.
        mac: Option<[u8; 6]>,
    },
    /// Dropped.
    Drop,
    /// Handed to the slow path, for this reason.
    SlowPath(Exception),
}

impl Action {
    /// Through link `link` by queue `queue`, to the link's peer.
    pub const fn forward(link: u16, queue: u16) -> Self {
        Self::Forward { link, queue, word: 0, next_hop: None }
    }
}

/// Names a command until its reply.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// A command of a slice manager.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    SetResult { result: u32, action: Action },
    Configure { queue: u16, weight: u32, limit_packets: u32, limit_octets: u64 },
    Policy { queue: u16, policy: Policy },
}

/// What a command did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Done {
    /// The result is set, for all filters that name it.
    ResultSet,
    /// The queue has its new share and limits, or its new policy.
    Configured,
}

/// Why a command or an update of filters was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The slice has no such link.
    #[error("link {asked} is out of range: the slice has {has}")]
    UnknownLink {
        /// The link asked for.
        asked: u16,
        /// How many it has.
        has: usize,
    },
    /// The slice has no such queue.
    #[error("queue {asked} is out of range: the slice has {has}")]
    UnknownQueue {
        /// The queue asked for.
        asked: u16,
        /// How many it has.
        has: usize,
    },
    /// Link and queue belong to different interfaces.
    #[error("link {link} and queue {queue} are on different interfaces")]
    Interface {
        /// The slice's link.
        link: u16,
        /// The slice's queue.
        queue: u16,
    },
    /// The slice has not reserved so many results.
    #[error("result {asked} is out of range: the slice has reserved {has}")]
    UnknownResult {
        /// The result asked for.
        asked: u32,
        /// How many it has.
        has: u32,
    },
    /// A next hop on a link that is not multipoint, or one that no packet can be sent to.
    #[error("{0} cannot be the next hop: the link is point to point, or the address is no unicast address")]
    NextHop(SocketAddrV4),
    /// The link carries no Ethernet frames.
    #[error("link {0} carries no Ethernet frames")]
    NoFrames(u16),
    /// More than the slice was admitted with: packets that a queue may hold, or weight
    /// of its queues at an interface.
    #[error("{asked} asked for, {granted} is what the slice was admitted with")]
    Granted {
        /// Asked for.
        asked: u64,
        /// Granted.
        granted: u64,
    },
    /// More filters than the slice has reserved.
    #[error("the slice has reserved {0} filters, and no more")]
    Filters(u32),
    /// A range of ports is empty, or the filter has bits in that field.
    #[error("a range of ports is empty, or the mask asks for bits of that field")]
    Ports,
    /// The node has taken the slice away.
    #[error("the slice is withdrawn")]
    Withdrawn,
    /// The table refused.
    #[error(transparent)]
    Table(TcamError),
    /// The scheduler refused.
    #[error(transparent)]
    Queue(#[from] ConfigError),
    /// The policy was refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl From<TcamError> for ControlError {
    fn from(error: TcamError) -> Self {
        match error {
            TcamError::Revoked(_) => Self::Withdrawn,
            error => Self::Table(error),
        }
    }
}

/// The node's answer to a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Which command.
    pub ticket: Ticket,
    /// What it did.
    pub outcome: Result<Done, ControlError>,
}

/// A packet that the fast path handed over, as it arrived.
#[derive(Debug)]
pub struct ExceptionPacket<B> {
    /// The frame, outer header included.
    pub packet: Packet<B>,
    /// The receiver's metadata.
    pub meta: RxMeta,
    /// The reason, the link, and where in the frame the slice's packet is.
    pub what: Exceptional,
    /// When it was handed over.
    pub at: Nanos,
}

/// A packet that a slice manager sends.
#[derive(Debug)]
pub enum Injection<B> {
    /// In-band: through Parse, Lookup and Header Format, as if it had come from the
    /// slice's link `link`.
    InBand {
        /// The slice's packet, with headroom for an outer header.
        packet: Packet<B>,
        /// The slice's link.
        link: u16,
    },
    /// Straight to the link and the queue of a result, unchanged but for the outer
    /// header.
    Direct {
        /// The slice's packet, with headroom for an outer header.
        packet: Packet<B>,
        /// The slice's result.
        result: u32,
        /// Its DSCP and ECN, for the outer header.
        traffic_class: u8,
    },
}

/// The node's ends of a slice's commands.
#[derive(Debug)]
pub(super) struct CommandEnd {
    pub(super) commands: Consumer<(Ticket, Command)>,
    /// Each with the number of changes that other workers must have made first.
    pub(super) replies: Producer<(Reply, u64)>,
}

/// The slice manager's ends of them.
#[derive(Debug)]
pub(super) struct ControlEnd {
    pub(super) commands: Producer<(Ticket, Command)>,
    pub(super) replies: Consumer<(Reply, u64)>,
}

/// Rings for `commands` commands and as many replies.
pub(super) fn command_channel(commands: usize) -> (CommandEnd, ControlEnd) {
    let (command_in, command_out) = RingBuffer::new(commands);
    let (reply_in, reply_out) = RingBuffer::new(commands);
    let node = CommandEnd { commands: command_out, replies: reply_in };
    (node, ControlEnd { commands: command_in, replies: reply_out })
}

/// A worker's ends of a slice's packets.
#[derive(Debug)]
pub(super) struct PacketEnd<B> {
    pub(super) exceptions: Producer<ExceptionPacket<B>>,
    pub(super) injections: Consumer<Injection<B>>,
}

impl<B> PacketEnd<B> {
    /// Lets go of the rings, so that these are the slice manager's alone, and go when its ends
    /// do.
    pub(super) fn close(&mut self) {
        (self.exceptions, _) = RingBuffer::new(0);
        (_, self.injections) = RingBuffer::new(0);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.injections.buffer().capacity() == 0
    }
}

/// The slice manager's ends of them, for one worker.
#[derive(Debug)]
pub(super) struct ManagerEnd<B> {
    pub(super) exceptions: Consumer<ExceptionPacket<B>>,
    pub(super) injections: Producer<Injection<B>>,
}

/// Rings for `packets` exceptions and as many injections.
pub(super) fn packet_channel<B>(packets: usize) -> (PacketEnd<B>, ManagerEnd<B>) {
    let (exception_in, exception_out) = RingBuffer::new(packets);
    let (injection_in, injection_out) = RingBuffer::new(packets);
    let worker = PacketEnd { exceptions: exception_in, injections: injection_out };
    (worker, ManagerEnd { exceptions: exception_out, injections: injection_in })
}

/// Which worker a flow belongs to.
#[derive(Clone)]
pub(super) struct Spread {
    hash: Option<Arc<FlowHash>>,
    workers: usize,
}

type FlowHash = dyn Fn(OptionId, &[u8]) -> u32 + Send + Sync;

impl Spread {
    /// To one worker.
    pub(super) const NONE: Self = Self { hash: None, workers: 1 };

    pub(super) fn new<C: CodeOptionSet + Send + Sync + 'static>(options: C, workers: usize) -> Self {
        let hash = move |option: OptionId, packet: &[u8]| options.flow_hash(option, packet);
        Self { hash: Some(Arc::new(hash)), workers }
    }

    /// The worker for a packet of a slice.
    pub(super) fn worker(&self, option: OptionId, slice: SliceId, packet: &[u8]) -> usize {
        let Some(hash) = &self.hash else { return 0 };
        Self::choose(hash(option, packet), slice, self.workers)
    }

    /// The worker for a hash. What has none stays in order, too: it goes by its slice.
    #[inline(always)]
    pub(super) fn choose(hash: u32, slice: SliceId, workers: usize) -> usize {
        let hash = if hash == 0 { u32::from(slice.0).wrapping_mul(0x9e37_79b9) } else { hash };
        ((u64::from(hash) * workers as u64) >> 32) as usize
    }
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spread").field("workers", &self.workers).finish_non_exhaustive()
    }
}
