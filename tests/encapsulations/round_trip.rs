//! What one end wraps, the other end unwraps, and etherparse agrees on the headers between.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use fastpath::conformance;
use fastpath::decap::{Decap, TunnelKind};
use fastpath::egress::{Encapsulation, LinkLayer, Tunnel};
use fastpath::exit::DropReason;
use fastpath::slot::{DscpModel, Endpoint, Outgoing, RxMeta, Tunnelled};
use proptest::prelude::*;

use crate::world::{ADMISSION, ends, kinds, layers, there, unwrap, wrap};

/// Source port, or 0 for GRE, as etherparse reads it; it checks the outer header.
fn outer(frame: &[u8], layer: LinkLayer, class: u8, flow: u32, zero_checksum: bool) -> u16 {
    let parsed = match layer {
        LinkLayer::Ip => SlicedPacket::from_ip(frame),
        _ => SlicedPacket::from_ethernet(frame),
    };
    let parsed = parsed.unwrap();
    assert_eq!(parsed.vlan_ids().len(), (layer.octets().max(14) - 14) / 4);
    let Some(TransportSlice::Udp(udp)) = &parsed.transport else {
        return 0;
    };
    match parsed.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!((ip.header().slice()[1], udp.checksum()), (class, 0));
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!((header.traffic_class, header.flow_label.value()), (class, flow & 0xf_ffff));
            let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), if zero_checksum { 0 } else { sum });
        }
        _ => panic!("no IP"),
    }
    udp.source_port()
}

proptest! {
    #[test]
    fn decapsulation_undoes_encapsulation(
        payload in prop::collection::vec(any::<u8>(), 0..300), class: u8, flow: u32, dscp in 0u8..64,
        uniform: bool, zero_checksum: bool,
    ) {
        for v6 in [false, true] {
            for (encapsulation, kind) in kinds() {
                for (layer, meta) in layers() {
                    let [source, destination] = ends(v6, kind);
                    let dscp_model = if uniform { DscpModel::Uniform } else { DscpModel::Pipe };
                    let tunnel = Tunnel {
                        dscp_model, dscp, zero_checksum,
                        ..Tunnel::new(layer, source, destination).with(encapsulation)
                    };
                    let outgoing = Outgoing { traffic_class: class, destination: None };
                    let frame = wrap(&tunnel, &payload, outgoing, flow).unwrap();
                    prop_assert_eq!(frame.len(), tunnel.octets() + payload.len());
                    let class = if uniform { class } else { dscp << 2 | class & 3 };
                    let port = outer(&frame, layer, class, flow, zero_checksum);
                    let expected = match kind {
                        TunnelKind::Gre { .. } => 0,
                        TunnelKind::Udp { .. } => 20_001,
                        _ => 0xc000 | (flow ^ flow >> 16) as u16,
                    };
                    prop_assert_eq!(port, expected);

                    let there = there(destination.ip(), zero_checksum);
                    let (inner, octets) = unwrap(&there, &frame, &meta).unwrap();
                    prop_assert_eq!(octets, &payload[..], "{:?}", kind);
                    prop_assert_eq!((inner.admission, inner.traffic_class), (ADMISSION, class));
                    let from = std::net::SocketAddr::new(source.ip(), port);
                    prop_assert_eq!(inner.source, Endpoint::from(from));

                    // Without a word about it, an IPv6 end takes no checksum of 0.
                    let strict = crate::world::there(destination.ip(), false).decap(&frame, &meta);
                    let refused = v6 && zero_checksum && !matches!(kind, TunnelKind::Gre { .. });
                    prop_assert_eq!(strict.err(), refused.then_some(DropReason::Checksum));
                }
            }
        }
    }

    /// A destination of the packet's own, over IPv6: the checksum is still right.
    #[test]
    fn a_multipoint_link_reaches_others(address: u128, port: u16, payload: Vec<u8>, zero_checksum: bool) {
        let [source, destination] = ends(true, TunnelKind::Udp { port: 30_000 });
        let tunnel = Tunnel { multipoint: true, zero_checksum, ..Tunnel::new(LinkLayer::Ip, source, destination) };
        let to = Endpoint::v6(address, port);
        let outgoing = Outgoing { traffic_class: 0, destination: Some(to) };
        let sent = wrap(&tunnel, &payload, outgoing, 0);
        let reachable = address != 0 && address >> 120 != 0xff && port != 0 && to.as_v4().is_none();
        prop_assert_eq!(sent.as_ref().err(), (!reachable).then_some(&DropReason::Destination));
        let Ok(frame) = sent else { return Ok(()) };
        outer(&frame, LinkLayer::Ip, 0, 0, zero_checksum);
        prop_assert_eq!(&frame[24..40], address.to_be_bytes());
        prop_assert_eq!(&frame[42..44], port.to_be_bytes());
        let one_way = Tunnel { multipoint: false, ..tunnel };
        prop_assert_eq!(wrap(&one_way, &payload, outgoing, 0), Err(DropReason::Destination));
    }
}

/// Odd octets, damage, noise: admitted or refused, always the same way.
#[test]
fn all_kinds_are_a_decap() {
    for v6 in [false, true] {
        for (seed, (encapsulation, kind)) in (1..).zip(kinds()) {
            let [source, destination] = ends(v6, kind);
            let there = there(destination.ip(), true);
            for (layer, meta) in layers() {
                let tunnel = Tunnel::new(layer, source, destination).with(encapsulation);
                let frame = wrap(&tunnel, &[0x45; 20], Outgoing::default(), 7).unwrap();
                conformance::decap(&there, &frame, meta, seed);
                conformance::decap(&there.tunnels, &frame, meta, seed);
            }
            if matches!(encapsulation, Encapsulation::Gre { .. }) {
                continue;
            }
            // The same as a UDP socket receives it.
            let tunnel = Tunnel::new(LinkLayer::Ip, source, destination).with(encapsulation);
            let frame = wrap(&tunnel, &[0x45; 20], Outgoing::default(), 7).unwrap();
            let (source, destination) = (source.into(), destination.into());
            let meta = RxMeta {
                layer: fastpath::slot::Layer::Stripped,
                tunnel: Tunnelled { source, destination, traffic_class: 0 },
                ..RxMeta::NEW
            };
            conformance::decap(&there, &frame[if v6 { 48 } else { 28 }..], meta, seed);
        }
    }
}
