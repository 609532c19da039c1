//! Where frames come from: what a run asks of a source, and how a slice's packet
//! becomes a frame that arrives at one of its links.

use std::net::{IpAddr, SocketAddr};

use fastpath::code_option::Outgoing;
use fastpath::egress::{
    Egress, EgressError, Egresses, Encapsulation, InnerEthernet, LinkLayer, Payload, Template, Tunnel,
};
use fastpath::exit::DropReason;
use fastpath::id::{InterfaceId, QueueId};
use fastpath::node::LinkRequest;
use fastpath::packet::Packet;
use fastpath::slot::{Layer, RxMeta};
use fastpath::time::Nanos;

use super::config::{InterfacePlan, Plan};

/// A packet's buffer. From a pool: none is allocated while packets flow, once the pool
/// holds as many as wait at most.
pub(crate) type Buffer = Box<[u8]>;

/// Octets in front of a frame as it arrives: it may leave with a longer outer header.
pub(crate) const HEADROOM: u32 = 128;

/// Where the slice's packet begins in a frame that this program makes.
pub(crate) const INNER: usize = 128;

/// Octets of a buffer that captured frames are read into: an odd number of cache lines that
/// holds the longest IP packet and an outer header.
pub(crate) const BUFFER: usize = 1031 * 64;

/// A frame that arrives.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Nanos,
    pub(crate) packet: Packet<Buffer>,
    pub(crate) meta: RxMeta,
}

/// A source of frames in the order of their times.
pub(crate) trait Source {
    /// The next frame, in `buffer`.
    ///
    /// # Errors
    ///
    /// Gives the buffer back: there are no more.
    fn next(&mut self, buffer: Buffer) -> Result<Arrival, Buffer>;

    /// Octets that a buffer must have.
    fn buffer_octets(&self) -> usize;

    /// Frames in all, if that is known.
    fn expected(&self) -> Option<u64>;

    /// What the source itself counted.
    fn counted(&self) -> Counted;
}

/// Counts of a source, to be compared with those of the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// Frames in all.
    pub(crate) frames: u64,
    /// Frames by slice, the substrate's first; not known of captured frames.
    pub(crate) by_slice: Option<Vec<u64>>,
    /// What was made wrong, or out of the ordinary, on purpose.
    pub(crate) made: Vec<Made>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    /// Whether an input could not be read to its end.
    pub(crate) failed: bool,
}

/// Frames with something wrong, or out of the ordinary.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) what: &'static str,
    /// The slice's number, 0 for the substrate.
    pub(crate) slice: usize,
    /// Where such a frame leaves, as `Exit` shows it.
    pub(crate) exit: &'static str,
    pub(crate) frames: u64,
}

/// The far end of a link: puts the outer header on.
#[derive(Clone, Debug)]
pub(crate) struct FarEnd {
    /// The slice's number, from 1.
    pub(crate) slice: usize,
    pub(crate) meta: RxMeta,
    egress: Egress,
    templates: Egresses<[Egress; 0], Vec<Template>>,
    header: usize,
}

impl FarEnd {
    /// The far end of link `link` of slice `slice`, both from 0; frames go to `port` in
    /// place of the link's if one is given.
    pub(crate) fn new(
        plan: &Plan, slice: usize, link: usize, port: Option<u16>,
    ) -> Result<Self, EgressError> {
        let request = plan.slices.get(slice).and_then(|slice| slice.request.links.get(link));
        let interface = request.and_then(|link| plan.interfaces.get(usize::from(link.interface.0)));
        let (Some(request), Some(interface)) = (request, interface) else {
            unreachable!("a link of the plan")
        };
        let link_layer = match interface.config.link_layer {
            LinkLayer::Ethernet { destination, source, tag } => {
                LinkLayer::Ethernet { destination: source, source: destination, tag }
            }
            LinkLayer::DoubleTagged { destination, source, service_tag, tag } => {
                LinkLayer::DoubleTagged { destination: source, source: destination, service_tag, tag }
            }
            LinkLayer::Ip => LinkLayer::Ip,
        };
        let to = SocketAddr::new(own_address(interface, request), port.unwrap_or(request.port));
        let tunnel = Tunnel {
            dscp_model: request.dscp_model,
            zero_checksum: request.zero_checksum,
            ..Tunnel::new(link_layer, request.peer, to).with(turned(request.encapsulation))
        };
        let mut templates = Egresses { records: [], templates: Vec::new() };
        let egress = if tunnel.needs_template() {
            let template = Template::new(&tunnel, &[])?;
            let egress = Egress::by_template(0, &template, QueueId(0), Egress::MAX_MTU)?;
            templates.templates.push(template);
            egress
        } else {
            Egress::forward(&tunnel, QueueId(0), Egress::MAX_MTU)?
        };
        let meta = meta(request.interface, link_layer);
        Ok(Self { slice: slice + 1, meta, egress, templates, header: tunnel.octets() })
    }

    /// Octets of the longest packet that it can send.
    pub(crate) fn longest(&self) -> usize {
        (BUFFER - INNER).min(usize::from(u16::MAX) - self.header)
    }

    /// Makes the frame that holds the `octets` of the slice's packet that stand in
    /// `buffer` from [`INNER`] on, with this traffic class.
    pub(crate) fn wrap(
        &self, buffer: Buffer, octets: usize, traffic_class: u8,
    ) -> Result<Packet<Buffer>, DropReason> {
        let mut packet = Packet::new(buffer, INNER as u32, (INNER + octets) as u32)?;
        let outgoing = Outgoing { traffic_class, destination: None };
        let whole = packet.whole();
        // The flow's hash: captures do not hold it, and no router here looks at it.
        packet.edit(whole, |packet| {
            self.egress.encapsulate_flow(packet, &outgoing, &self.templates, |_| traffic_class.into())
        })?;
        Ok(packet)
    }
}

/// The node's address at a link, of the version that its peer has.
fn own_address(interface: &InterfacePlan, link: &LinkRequest) -> IpAddr {
    match (link.peer, interface.config.address_v6) {
        (SocketAddr::V6(_), Some(address)) => address.into(),
        _ => interface.config.address.into(),
    }
}

/// The next hop's address in frames, where none is configured.
pub(crate) const SOMEBODY: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// The encapsulation as the far end has it: frames are for this node.
fn turned(encapsulation: Encapsulation) -> Encapsulation {
    let turn = |frame: InnerEthernet| {
        let source = if frame.destination == [0xff; 6] { SOMEBODY } else { frame.destination };
        InnerEthernet { destination: frame.source, source, ..frame }
    };
    let payload = |payload| match payload {
        Payload::Frames(frame) => Payload::Frames(frame.map(turn)),
        packets => packets,
    };
    match encapsulation {
        Encapsulation::Udp => Encapsulation::Udp,
        Encapsulation::Vxlan { vni, frame } => Encapsulation::Vxlan { vni, frame: frame.map(turn) },
        Encapsulation::Geneve { vni, payload: of } => Encapsulation::Geneve { vni, payload: payload(of) },
        Encapsulation::Gre { key, checksum, payload: of } => {
            Encapsulation::Gre { key, checksum, payload: payload(of) }
        }
    }
}

/// Metadata of a frame received at an interface.
pub(crate) fn meta(interface: InterfaceId, link_layer: LinkLayer) -> RxMeta {
    RxMeta { interface, layer: layer(link_layer), ..RxMeta::NEW }
}

/// What frames of an interface begin with.
pub(crate) fn layer(link_layer: LinkLayer) -> Layer {
    match link_layer {
        LinkLayer::Ip => Layer::Ip,
        _ => Layer::Ethernet,
    }
}
