//! Tunnels of every kind: there and back, and what becomes of damaged ones.

use std::net::{IpAddr, SocketAddr};

use etherparse::Ipv6HeaderSlice;
use fastpath::decap::{Access, Tunnels};
use fastpath::egress::{Egresses, InnerEthernet, Payload, Template};
use fastpath::prelude::*;

use super::{Cursor, IP, OURS, PEER, header, ports};

const OUR_MAC: [u8; 6] = [6, 0, 0, 0, 0, 1];
const FRAME: InnerEthernet = InnerEthernet::ipv4(OUR_MAC, [6, 0, 0, 0, 0, 9]);
const OURS_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PEER_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// What wraps a packet, and what must be open to take it.
fn kind(from: &mut Cursor<'_>) -> (Encapsulation, TunnelKind) {
    let payload = from.pick([Payload::IPV4, Payload::Frames(Some(FRAME))]);
    let (key, checksum) = (from.pick([None, Some(7)]), from.once_in(2));
    from.pick([
        (Encapsulation::Udp, TunnelKind::Udp { port: 30_000 }),
        (Encapsulation::Vxlan { vni: 7, frame: Some(FRAME) }, TunnelKind::vxlan(7)),
        (Encapsulation::Geneve { vni: 7, payload }, TunnelKind::geneve(7)),
        (Encapsulation::Gre { key, checksum, payload }, TunnelKind::Gre { key }),
    ])
}

/// Wraps octets as `seed` says, unwraps them, then damages the frame and asks again. Whether
/// the damaged one was admitted.
///
/// # Panics
///
/// If the octets are not the same, or what is admitted has no outer header to this node.
pub fn tunnels(seed: &[u8], edits: &[(u8, u8)], cut: u8) -> bool {
    let mut from = Cursor(seed);
    let (encapsulation, kind) = kind(&mut from);
    let (v6, zero_checksum, tagged) = (from.once_in(2), from.once_in(2), from.octet() % 4);
    let [ours, peer]: [IpAddr; 2] =
        if v6 { [OURS_V6.into(), PEER_V6.into()] } else { [OURS.into(), PEER.into()] };
    let port = match kind {
        TunnelKind::Udp { port } | TunnelKind::Vxlan { port, .. } | TunnelKind::Geneve { port, .. } => port,
        _ => 0,
    };
    let (destination, source) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let layer = match tagged {
        0 => LinkLayer::Ip,
        1 => LinkLayer::Ethernet { destination, source, tag: None },
        2 => LinkLayer::Ethernet { destination, source, tag: Some(5) },
        _ => LinkLayer::DoubleTagged { destination, source, service_tag: 100, tag: 5 },
    };
    let ends = [SocketAddr::new(peer, 20_001), SocketAddr::new(ours, port)];
    let tunnel = Tunnel { zero_checksum, ..Tunnel::new(layer, ends[0], ends[1]).with(encapsulation) };
    let (class, flow) = (from.octet(), u32::from(from.octet()) << 9);
    let payload = from.0;

    let template = Template::new(&tunnel, &[]).unwrap();
    let egress = Egress::by_template(0, &template, QueueId(0), Egress::MAX_MTU).unwrap();
    let table = Egresses { records: [Egress::NONE; 0], templates: [template] };
    let mut packet = Packet::with_headroom(vec![0; payload.len() + 128], 128, payload).unwrap();
    let outgoing = Outgoing { traffic_class: class, destination: None };
    let whole = packet.whole();
    packet.edit(whole, |packet| egress.encapsulate_flow(packet, &outgoing, &table, |_| flow)).unwrap();
    let mut frame = packet.bytes().to_vec();

    let mut access = Access { ports: ports(), tunnels: Tunnels::new([TunnelEntry::EMPTY; 8]) };
    let config = TunnelConfig::new(Admission { slice: IP, ..Admission::NONE }).with_mac(OUR_MAC);
    access.tunnels.open(ours, kind, TunnelConfig { zero_checksum, ..config }).unwrap();
    let meta = if tagged == 0 { RxMeta::IP } else { RxMeta::NEW };
    let inner = access.decap(&frame, &meta).expect("our own header is refused");
    let at = usize::from(inner.offset);
    assert_eq!(&frame[at..at + usize::from(inner.len)], payload);
    assert_eq!((inner.admission, inner.traffic_class), (config.admission, class & 3));

    for (at, octet) in edits {
        if let Some(old) = frame.get_mut(usize::from(*at)) {
            *old = *octet;
        }
    }
    frame.truncate(frame.len().saturating_sub(usize::from(cut) / 4));
    let Ok(inner) = access.decap(&frame, &meta) else { return false };
    assert!(usize::from(inner.offset) + usize::from(inner.len) <= frame.len());
    assert_ne!(inner.admission.slice, SliceId::SUBSTRATE);
    // Tags may have come or gone.
    let outer = if tagged == 0 { 0..1 } else { 14..23 };
    assert!(outer.clone().any(|at| to_us(&frame[at.min(frame.len())..])), "{frame:02x?}");
    true
}

/// Whether an IPv4 or IPv6 packet to this node begins here, by etherparse.
fn to_us(octets: &[u8]) -> bool {
    if let Some(ip) = header(octets) {
        return ip.destination() == OURS && !ip.is_fragmenting_payload();
    }
    let ip = Ipv6HeaderSlice::from_slice(octets);
    ip.is_ok_and(|ip| ip.destination() == OURS_V6 && 40 + usize::from(ip.payload_length()) <= octets.len())
}
