//! The resource manager: what a node has, what a slice asks for, and why it is refused.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::decap::{AccessError, TunnelKind, UdpChecksum};
use crate::egress::{EgressError, Encapsulation, LinkLayer, Payload};
use crate::id::{InterfaceId, OptionId, SliceId};
use crate::lookup::{TcamConfig, TcamError};
use crate::node::scheduling::{ClassError, Policing, Policy, PolicyError, Scheduling, ShareRequest};
use crate::queue::meter::MeterError;
use crate::queue::{ConfigError, QueueConfig, Rate};
use crate::slot::DscpModel;
use crate::sram::AssignError;

/// What a node has to share. Tables and rings of a slice are allocated when it is
/// admitted, queues with their interface, all else when the node is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Slices, the substrate's account not counted.
    pub slices: u16,
    /// Filters of all slices together; 128K in the paper.
    pub filters: u32,
    /// Results of all slices together: 64 octets each.
    pub results: u32,
    /// UDP ports of all slices together: a link takes one.
    pub ports: usize,
    /// Words of slice memory.
    pub sram_words: usize,
    /// Queues of each interface, rounded up to a power of two.
    pub queues: u32,
    /// Packets that may wait at each interface.
    pub descriptors: usize,
    /// Weight that each interface has to promise to all slices together: while every
    /// queue has packets waiting, a weight of `w` is worth at least `w / weights` of the
    /// interface's rate, less that of a class that comes first, whoever is admitted later. Where slices have shares, these are what is
    /// promised; the queues of a [class](crate::node::PriorityClass) that comes first have as
    /// much among themselves.
    pub weights: u32,
    /// Octets of the longest frame.
    pub longest_frame: u32,
    /// Cache lines that a lookup of a slice's packets may touch: the most that a slice may
    /// ask for.
    pub lines: u32,
    /// Octets of tables that were replaced and wait for the worker: see
    /// [`TcamConfig::deferred`](crate::lookup::TcamConfig::deferred).
    pub deferred: usize,
    /// Seed of whatever is hashed: not to be guessed by who sends packets.
    pub seed: u64,
    /// Exceptions of a slice that may wait for its manager, each with its buffer, and
    /// commands that may wait for the node.
    pub waiting: usize,
    /// Threads that forward: see [`Node::follower`](crate::node::Node::followers). Each has
    /// queues, descriptors, records and counters of its own, of as many as are said here.
    pub workers: u16,
}

impl Default for Limits {
    /// 64 slices, 131,072 filters, 16,384 results, 1,024 ports, 1 MiB of slice memory,
    /// 256 queues of a weight of 65,536 together and 65,536 waiting frames of up to 2,048
    /// octets at each interface; for each slice lookups of 128 cache lines and 4,096 waiting
    /// exceptions; 64 MiB deferred; one worker. The seed is fixed.
    fn default() -> Self {
        Self {
            slices: 64,
            filters: 131_072,
            results: 16_384,
            ports: 1024,
            sram_words: 262_144,
            queues: 256,
            descriptors: 65_536,
            weights: 65_536,
            longest_frame: 2048,
            lines: 128,
            deferred: 64 << 20,
            seed: TcamConfig::default().seed,
            waiting: 4096,
            workers: 1,
        }
    }
}

/// An external interface: an address, a link layer, and a scheduler with a rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterfaceConfig {
    /// The node's address on it.
    pub address: Ipv4Addr,
    /// Its IPv6 address, for links to peers that have one.
    pub address_v6: Option<Ipv6Addr>,
    /// What is in front of outer headers, next hop's address included.
    pub link_layer: LinkLayer,
    /// The rate of its scheduler.
    pub rate: Rate,
    /// Octets on the wire for each frame that its length does not count.
    pub overhead: u32,
    /// Octets that a weight of 1 earns a round; 0 for the longest frame and overhead.
    pub quantum: u32,
    /// How its queues share it.
    pub scheduling: Scheduling,
}

impl InterfaceConfig {
    /// Whether the class that comes first leaves something to the other queues.
    pub(super) const fn check_class(&self) -> Result<(), ClassError> {
        match self.scheduling.priority() {
            Some(class) if class.rate.get() >= self.rate.get() => {
                Err(ClassError::Rate { asked: class.rate.get(), interface: self.rate.get() })
            }
            _ => Ok(()),
        }
    }

    /// An interface without link layer: a TUN device, or UDP sockets.
    pub const fn ip(address: Ipv4Addr, rate: Rate) -> Self {
        Self {
            address,
            address_v6: None,
            link_layer: LinkLayer::Ip,
            rate,
            overhead: 0,
            quantum: 0,
            scheduling: Scheduling::Plain,
        }
    }
}

/// Why an interface was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// A node has counters for the queues of 16 interfaces.
    #[error("{interfaces} interfaces of {queues} queues are more than the node has counters for")]
    TooMany {
        /// How many there would be.
        interfaces: usize,
        /// Queues of each.
        queues: u32,
    },
    /// The scheduler refused its quantum.
    #[error(transparent)]
    Queue(#[from] ConfigError),
    /// The class that comes first was refused.
    #[error(transparent)]
    Class(#[from] ClassError),
    /// There is no such interface.
    #[error("there is no interface {0}")]
    Unknown(u16),
    /// Slices have links or queues there, or packets of slices that were withdrawn wait.
    #[error("{slices} slices have links or queues at interface {interface}, or packets that wait there")]
    InUse {
        /// The interface.
        interface: u16,
        /// How many.
        slices: usize,
    },
}

/// Why a link of a running slice was not opened, closed or changed. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The slice is not admitted, or is withdrawn.
    #[error("there is no slice {0}")]
    UnknownSlice(SliceId),
    /// The slice has no such link, or it is closed.
    #[error("link {asked} is closed or out of range: the slice has numbers up to {has}")]
    UnknownLink {
        /// The link asked for.
        asked: u16,
        /// Numbers in use, closed ones included.
        has: usize,
    },
    /// No slice would be admitted with such a link.
    #[error(transparent)]
    Refused(#[from] AdmitError),
}

/// Why a queue of a running slice was not added, changed or removed, or its share was not
/// changed. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The slice is not admitted, or is withdrawn.
    #[error("there is no slice {0}")]
    UnknownSlice(SliceId),
    /// The slice has no such queue, or it was removed.
    #[error("queue {asked} is removed or out of range: the slice has numbers up to {has}")]
    UnknownQueue {
        /// The queue asked for.
        asked: u16,
        /// Numbers that there are.
        has: usize,
    },
    /// All numbers that were kept for the slice's queues are in use; those of queues that were
    /// removed are until no packet waits there.
    #[error("all {0} numbers of queues that the slice was admitted with are in use")]
    Numbers(usize),
    /// A queue stays at its interface, and in its class.
    #[error("a queue stays at interface {0} and in its class")]
    Moved(u16),
    /// The slice's manager has given the weight to other queues of the slice.
    #[error("the slice's other queues at the interface have a weight of {used}, and {granted} would be left")]
    Shifted {
        /// What they have.
        used: u64,
        /// What would be left for them.
        granted: u64,
    },
    /// No slice would be admitted with such a queue or share.
    #[error(transparent)]
    Refused(#[from] AdmitError),
}

/// Why a policer of a running slice was not changed. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PoliceError {
    /// There is no such slice or link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The meter was refused.
    #[error(transparent)]
    Meter(#[from] MeterError),
}

/// A link that a slice asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkRequest {
    /// Where it is.
    pub interface: InterfaceId,
    /// The UDP port of the node; without meaning for GRE.
    pub port: u16,
    /// The other end.
    pub peer: SocketAddr,
    /// What packets are wrapped in, both ways. Of a link of Ethernet frames the frame's header
    /// has to be there: its source is the node's address on it, its destination the next hop
    /// of packets whose result names no other.
    pub encapsulation: Encapsulation,
    /// Whether UDP over IPv6 goes without checksums, both ways.
    pub zero_checksum: bool,
    /// Octets of the longest inner packet.
    pub mtu: u16,
    /// What happens to the DSCP.
    pub dscp_model: DscpModel,
    /// The outer DSCP of a pipe.
    pub dscp: u8,
    /// Whether UDP checksums are verified.
    pub udp_checksum: UdpChecksum,
    /// Whether the code option may name the destination of each packet.
    pub multipoint: bool,
    /// What may come in by it.
    pub police: Option<Policing>,
}

impl LinkRequest {
    /// A point-to-point link with an inner MTU of 1,472 octets: 1,500 less the outer
    /// header.
    pub const fn new(interface: InterfaceId, port: u16, peer: SocketAddr) -> Self {
        Self {
            interface,
            port,
            peer,
            encapsulation: Encapsulation::Udp,
            zero_checksum: false,
            mtu: 1472,
            dscp_model: DscpModel::Pipe,
            dscp: 0,
            udp_checksum: UdpChecksum::Skip,
            multipoint: false,
            police: None,
        }
    }
}

impl LinkRequest {
    /// The tunnel that is open for it, the EtherType of what comes through it, and the node's
    /// address in its frames.
    pub(super) fn kind(&self) -> (TunnelKind, u16, [u8; 6]) {
        let port = self.port;
        let (kind, payload) = match self.encapsulation {
            Encapsulation::Udp => (TunnelKind::Udp { port }, Payload::IPV4),
            Encapsulation::Vxlan { vni, frame } => (TunnelKind::Vxlan { port, vni }, Payload::Frames(frame)),
            Encapsulation::Geneve { vni, payload } => (TunnelKind::Geneve { port, vni }, payload),
            Encapsulation::Gre { key, payload, .. } => (TunnelKind::Gre { key }, payload),
        };
        match payload {
            Payload::Packets(ether_type) => (kind, ether_type, [0; 6]),
            Payload::Frames(Some(frame)) => (kind, frame.ether_type, frame.source),
            Payload::Frames(None) => (kind, 0, [0; 6]),
        }
    }
}

/// A queue that a slice asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueRequest {
    /// Where it is.
    pub interface: InterfaceId,
    /// Its share, 1 to 65,536: see [`Limits::weights`]. Where slices have shares, it counts
    /// among the slice's own queues only.
    pub weight: u32,
    /// Packets it may hold.
    pub limit_packets: u32,
    /// Octets it may hold.
    pub limit_octets: u64,
    /// What it drops or marks beyond its limits; of a [plain](Scheduling::Plain) interface
    /// nothing.
    pub policy: Policy,
    /// Whether it is of the class that the interface serves first.
    pub priority: bool,
}

impl QueueRequest {
    /// A queue of `weight` for 256 packets.
    pub const fn new(interface: InterfaceId, weight: u32) -> Self {
        Self {
            interface,
            weight,
            limit_packets: 256,
            limit_octets: u64::MAX,
            policy: Policy::TailDrop,
            priority: false,
        }
    }

    /// As the scheduler is told.
    pub(super) const fn config(&self, owner: SliceId) -> QueueConfig {
        let Self { weight, limit_packets, limit_octets, .. } = *self;
        QueueConfig { owner, weight, limit_packets, limit_octets }
    }
}

/// How exceptions reach the slice manager.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlowPathRequest {
    /// Exceptions a second.
    pub per_second: u32,
    /// Exceptions at once.
    pub burst: u32,
    /// Exceptions that may wait for the manager, and packets of the manager's that may
    /// wait for the node.
    pub waiting: usize,
}

impl Default for SlowPathRequest {
    /// 10,000 a second, 64 at once, 256 waiting.
    fn default() -> Self {
        Self { per_second: 10_000, burst: 64, waiting: 256 }
    }
}

/// What a slice asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SliceRequest {
    /// Which code option it runs.
    pub option: OptionId,
    /// Filters: so many it can have, whatever other slices have.
    pub filters: u32,
    /// Cache lines that a lookup among them may touch; as many as the node allows if it does
    /// not say.
    pub lines: Option<u32>,
    /// Results that filters may name.
    pub results: u32,
    /// Words of memory.
    pub sram_words: u32,
    /// Links, which the slice numbers from 0.
    pub links: Vec<LinkRequest>,
    /// Queues, which the slice numbers from 0.
    pub queues: Vec<QueueRequest>,
    /// Numbers of queues that are kept for those that are added while the slice runs.
    pub more_queues: u16,
    /// Its shares of interfaces that slices share.
    pub shares: Vec<ShareRequest>,
    /// What may come in by all of its links together.
    pub police: Option<Policing>,
    /// Its slow path.
    pub slow_path: SlowPathRequest,
    /// Commands that may wait for the node, and replies for the manager.
    pub commands: usize,
}

impl SliceRequest {
    /// 64 filters, 64 results, no memory, links or queues; 16 queues more; 64 commands.
    pub const fn new(option: OptionId) -> Self {
        Self {
            option,
            filters: 64,
            lines: None,
            results: 64,
            sram_words: 0,
            links: Vec::new(),
            queues: Vec::new(),
            more_queues: 16,
            shares: Vec::new(),
            police: None,
            slow_path: SlowPathRequest { per_second: 10_000, burst: 64, waiting: 256 },
            commands: 64,
        }
    }
}

/// Why the resource manager refused a slice (section 6). Nothing was reserved.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// No slice number is free.
    #[error("all of the node's {0} slices are in use")]
    Slices(u16),
    /// The node's set of code options has no such one.
    #[error("code option {asked} is not loaded: the node has {has}")]
    UnknownOption {
        /// The option asked for.
        asked: u8,
        /// How many there are.
        has: usize,
    },
    /// Too few filters are left.
    #[error("{asked} filters asked for, {left} left")]
    Filters {
        /// Asked for.
        asked: u32,
        /// Left.
        left: u32,
    },
    /// Too few results are left in one piece.
    #[error("{asked} results asked for, at most {left} left in one piece")]
    Results {
        /// Asked for.
        asked: u32,
        /// Left.
        left: u32,
    },
    /// There is no such interface.
    #[error("interface {asked} is out of range: the node has {has}")]
    UnknownInterface {
        /// The interface asked for.
        asked: u16,
        /// How many there are.
        has: usize,
    },
    /// Too few queues are left at an interface.
    #[error("no queue is left at interface {0}")]
    Queues(u16),
    /// The packets that the slice's queues at an interface may hold are more than are
    /// left of what may wait there: no slice can use up what another was promised.
    #[error("queues for {asked} packets asked for at interface {interface}, {left} left")]
    Descriptors {
        /// The interface.
        interface: u16,
        /// Asked for.
        asked: u64,
        /// Left.
        left: u64,
    },
    /// The weight of the slice's queues at an interface is more than is left of what it
    /// may promise: no slice makes the share smaller that another was promised.
    #[error("queues of weight {asked} asked for at interface {interface}, {left} left")]
    Weights {
        /// The interface.
        interface: u16,
        /// Asked for.
        asked: u64,
        /// Left.
        left: u64,
    },
    /// More links than a slice can number.
    #[error("{0} links asked for, a slice may have 65535")]
    Links(usize),
    /// More queues than a slice can number.
    #[error("{0} queues asked for, a slice may have 65535")]
    QueueCount(usize),
    /// Too few ports are left.
    #[error("{asked} links asked for, ports for {left} left")]
    Ports {
        /// Asked for.
        asked: usize,
        /// Left.
        left: usize,
    },
    /// A lookup might touch more cache lines than the node allows.
    #[error("lookups of {asked} cache lines asked for, {most} is the most")]
    Lines {
        /// Asked for.
        asked: u32,
        /// The node's limit.
        most: u32,
    },
    /// More waiting commands or exceptions than the node allows.
    #[error("{asked} waiting commands or exceptions asked for, {most} is the most")]
    Waiting {
        /// Asked for.
        asked: usize,
        /// The node's limit.
        most: usize,
    },
    /// Packets of this MTU would not fit a frame of the node.
    #[error("an inner MTU of {mtu} behind {header} octets of header is more than a frame of {longest}")]
    Mtu {
        /// The MTU asked for.
        mtu: u16,
        /// Octets of the outer header.
        header: usize,
        /// Octets of the node's longest frame.
        longest: u32,
    },
    /// The other end of a link, or its DSCP, has a value that no packet can carry.
    #[error("{0} is no address and port to send to, or the DSCP is above 63")]
    Peer(SocketAddr),
    /// A link to an IPv6 peer at an interface without an IPv6 address.
    #[error("interface {0} has no IPv6 address")]
    Address(u16),
    /// A port or tunnel was refused.
    #[error(transparent)]
    Port(#[from] AccessError),
    /// The interface has no class of queues that comes first.
    #[error("interface {0} has no queues that come before others")]
    NoPriority(u16),
    /// A queue's policy was refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A policer was refused.
    #[error(transparent)]
    Police(#[from] MeterError),
    /// A queue's weight, or a slice's share, was refused.
    #[error(transparent)]
    Queue(#[from] ConfigError),
    /// A link's MTU was refused.
    #[error(transparent)]
    Link(#[from] EgressError),
    /// There is too little slice memory.
    #[error(transparent)]
    Sram(#[from] AssignError),
    /// The table refused.
    #[error(transparent)]
    Table(#[from] TcamError),
}
