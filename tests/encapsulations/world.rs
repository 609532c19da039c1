//! Tunnels of every kind over both IP versions, and packets through them.

use std::net::{IpAddr, SocketAddr};

use fastpath::decap::{
    Access, Decap, Inner, PortEntry, TunnelConfig, TunnelEntry, TunnelKind, Tunnels, UdpPorts,
};
use fastpath::egress::{
    Egress, Egresses, Encapsulation, InnerEthernet, LinkLayer, Payload, Template, Tunnel,
};
use fastpath::exit::DropReason;
use fastpath::id::{LinkId, OptionId, QueueId, SliceId};
use fastpath::packet::Packet;
use fastpath::slot::{Admission, Outgoing, RxMeta};

pub(crate) const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const THERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
pub(crate) const INNER_HERE: [u8; 6] = [6, 0, 0, 0, 0, 1];
pub(crate) const INNER_THERE: [u8; 6] = [6, 0, 0, 0, 0, 9];
pub(crate) const FRAME: InnerEthernet = InnerEthernet::ipv4(INNER_THERE, INNER_HERE);

pub(crate) const ADMISSION: Admission =
    Admission { slice: SliceId(3), link: LinkId(5), option: OptionId(1), ..Admission::NONE };

/// What goes out one way, and how it comes in at the other end.
pub(crate) fn kinds() -> Vec<(Encapsulation, TunnelKind)> {
    let frames = Payload::Frames(Some(FRAME));
    let mut kinds = vec![
        (Encapsulation::Udp, TunnelKind::Udp { port: 30_000 }),
        (Encapsulation::Vxlan { vni: 0xa_bcde, frame: Some(FRAME) }, TunnelKind::vxlan(0xa_bcde)),
    ];
    for payload in [Payload::IPV4, frames] {
        kinds.push((Encapsulation::Geneve { vni: 7, payload }, TunnelKind::geneve(7)));
        for checksum in [false, true] {
            for key in [None, Some(0xdead_beef)] {
                kinds.push((Encapsulation::Gre { key, checksum, payload }, TunnelKind::Gre { key }));
            }
        }
    }
    kinds
}

/// This end and the other, of a tunnel of `kind`.
pub(crate) fn ends(v6: bool, kind: TunnelKind) -> [SocketAddr; 2] {
    let addresses: [IpAddr; 2] = if v6 {
        ["2001:db8::1".parse().unwrap(), "2001:db8::9".parse().unwrap()]
    } else {
        [[10, 0, 0, 1].into(), [10, 0, 0, 9].into()]
    };
    let port = match kind {
        TunnelKind::Udp { port } | TunnelKind::Vxlan { port, .. } | TunnelKind::Geneve { port, .. } => port,
        _ => 0,
    };
    [SocketAddr::new(addresses[0], 20_001), SocketAddr::new(addresses[1], port)]
}

/// Link layers, and how what has them is received.
pub(crate) fn layers() -> [(LinkLayer, RxMeta); 4] {
    let (destination, source) = (THERE_MAC, HERE_MAC);
    let ethernet = |tag| LinkLayer::Ethernet { destination, source, tag };
    let double = LinkLayer::DoubleTagged { destination, source, service_tag: 0x2064, tag: 5 };
    [
        (LinkLayer::Ip, RxMeta::IP),
        (ethernet(None), RxMeta::NEW),
        (ethernet(Some(5)), RxMeta::NEW),
        (double, RxMeta::NEW),
    ]
}

/// `inner` behind the outer header of `tunnel`.
pub(crate) fn wrap(
    tunnel: &Tunnel, inner: &[u8], outgoing: Outgoing, flow: u32,
) -> Result<Vec<u8>, DropReason> {
    let template = Template::new(tunnel, &[]).unwrap();
    let egress = Egress::by_template(0, &template, QueueId(0), Egress::MAX_MTU).unwrap();
    let templates = Egresses { records: [Egress::NONE; 0], templates: [template] };
    let mut packet = Packet::with_headroom(vec![0; inner.len() + 128], 128, inner).unwrap();
    let whole = packet.whole();
    packet.edit(whole, |packet| {
        egress.encapsulate_flow(packet, &outgoing, &templates, |octets| {
            assert_eq!(octets, inner, "the flow is that of the packet");
            flow
        })
    })?;
    Ok(packet.bytes().to_vec())
}

/// The other end: all of `kinds` open at `address`.
pub(crate) fn there(address: IpAddr, zero_checksum: bool) -> Access<[PortEntry; 2], Box<[TunnelEntry]>> {
    let mut tunnels = Tunnels::new(vec![TunnelEntry::EMPTY; 32].into_boxed_slice());
    for (_, kind) in kinds() {
        let config = TunnelConfig { zero_checksum, ..TunnelConfig::new(ADMISSION).with_mac(INNER_THERE) };
        if tunnels.iter().all(|(_, open, _)| open != kind) {
            tunnels.open(address, kind, config).unwrap();
        }
    }
    Access { ports: UdpPorts::new([PortEntry::EMPTY; 2]), tunnels }
}

/// What `decap` finds in `frame`, and the octets of it.
pub(crate) fn unwrap<'a>(
    decap: &impl Decap, frame: &'a [u8], meta: &RxMeta,
) -> Result<(Inner, &'a [u8]), DropReason> {
    let inner = decap.decap(frame, meta)?;
    let at = usize::from(inner.offset);
    Ok((inner, &frame[at..at + usize::from(inner.len)]))
}
