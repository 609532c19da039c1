//! What is refused and why, and what is for the slow path.

use std::net::IpAddr;

use fastpath::decap::{Access, Decap, PortEntry, TunnelConfig, TunnelEntry, TunnelError, TunnelKind};
use fastpath::decap::{PortConfig, Tunnels, UdpChecksum, UdpPorts};
use fastpath::egress::{Egress, EgressError, Encapsulation, LinkLayer, Payload, Template, Tunnel};
use fastpath::exit::DropReason::{self, *};
use fastpath::id::{OptionId, QueueId, SliceId};
use fastpath::slot::{Admission, Outgoing, RxMeta};

use crate::world::{ADMISSION, FRAME, INNER_HERE, INNER_THERE, ends, there, unwrap, wrap};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

/// A packet of VXLAN network 0xabcde with `frame` in it, to the other end.
fn vxlan(frame: &[u8]) -> Vec<u8> {
    let kind = TunnelKind::vxlan(0xa_bcde);
    let [source, destination] = ends(false, kind);
    let vxlan = Encapsulation::Vxlan { vni: 0xa_bcde, frame: None };
    let tunnel = Tunnel::new(LinkLayer::Ip, source, destination).with(vxlan);
    wrap(&tunnel, frame, Outgoing::default(), 0).unwrap()
}

fn frame(to: [u8; 6], from: [u8; 6], rest: &[u8]) -> Vec<u8> {
    [&to[..], &from, rest].concat()
}

#[test]
fn an_inner_frame_is_the_options_the_slow_paths_or_nobodys() {
    let access = there(HERE, false);
    let ip = [8, 0, 0x45, 0, 0, 20];
    let take = |frame: &[u8]| {
        let packet = vxlan(frame);
        let found = unwrap(&access, &packet, &RxMeta::IP);
        found.map(|(inner, octets)| (inner.admission, octets.to_vec()))
    };
    let forwarded = Ok((ADMISSION, ip[2..].to_vec()));
    let slow = |frame: &[u8]| Ok((Admission { option: OptionId::FRAME, ..ADMISSION }, frame.to_vec()));
    assert_eq!(take(&frame(INNER_THERE, INNER_HERE, &ip)), forwarded);
    assert_eq!(take(&frame(INNER_HERE, INNER_HERE, &ip)), Err(ForeignFrame));
    assert_eq!(take(&frame(INNER_THERE, [7, 0, 0, 0, 0, 1], &ip)), Err(Malformed));
    let tagged = [&[0x81, 0, 0, 5], &ip[..]].concat();
    assert_eq!(take(&frame(INNER_THERE, INNER_HERE, &tagged)), Err(ForeignFrame));
    let arp = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let neighbour = [0x86, 0xdd, 0x60, 0, 0, 0];
    for (to, rest) in [
        ([0xff; 6], &arp[..]),
        (INNER_THERE, &arp),
        ([0x33, 0x33, 0xff, 0, 0, 9], &neighbour),
        (INNER_THERE, &neighbour),
        ([1, 0, 0x5e, 0, 0, 5], &ip),
    ] {
        let frame = frame(to, INNER_HERE, rest);
        assert_eq!(take(&frame), slow(&frame), "{to:02x?}");
    }
    for len in 0..14 {
        assert_eq!(take(&frame(INNER_THERE, INNER_HERE, &ip)[..len]), Err(Truncated), "{len} octets");
    }
}

#[test]
fn a_tag_inside_is_passed_over_where_that_is_configured() {
    let mut tunnels = Tunnels::new([TunnelEntry::EMPTY; 4]);
    let config = TunnelConfig { inner_tags: true, ..TunnelConfig::new(ADMISSION).with_mac(INNER_THERE) };
    tunnels.open(HERE, TunnelKind::vxlan(0xa_bcde), config).unwrap();
    let packet = vxlan(&frame(INNER_THERE, INNER_HERE, &[0x81, 0, 0, 5, 8, 0, 0x45]));
    assert_eq!(unwrap(&tunnels, &packet, &RxMeta::IP).unwrap().1, [0x45]);
}

#[test]
fn each_refusal_has_its_reason() {
    let access = there(HERE, false);
    let why = |packet: &[u8]| access.decap(packet, &RxMeta::IP).err();
    let sent = |encapsulation, edit: &dyn Fn(&mut Vec<u8>)| {
        let (_, kind) = crate::world::kinds().into_iter().find(|(e, _)| *e == encapsulation).unwrap();
        let [source, destination] = ends(false, kind);
        let tunnel = Tunnel::new(LinkLayer::Ip, source, destination).with(encapsulation);
        let mut packet = wrap(&tunnel, &[0x45; 20], Outgoing::default(), 0).unwrap();
        edit(&mut packet);
        why(&packet)
    };
    let vxlan =
        |edit: &dyn Fn(&mut Vec<u8>)| sent(Encapsulation::Vxlan { vni: 0xa_bcde, frame: Some(FRAME) }, edit);
    assert_eq!(vxlan(&|_| ()), None);
    assert_eq!(vxlan(&|packet| packet[28] = 0), Some(Malformed), "no I flag");
    assert_eq!(vxlan(&|packet| packet[28..32].fill(0xff)), None, "reserved bits are ignored");
    assert_eq!(vxlan(&|packet| packet[35] = 0xff), None, "so is the octet behind the network");
    assert_eq!(vxlan(&|packet| packet[34] ^= 1), Some(UnknownSlice), "another network");
    assert_eq!(vxlan(&|packet| packet[23] = 1), Some(UnknownSlice), "another port");
    assert_eq!(vxlan(&|packet| packet[10] ^= 1), Some(Checksum), "the outer header");
    let geneve =
        |edit: &dyn Fn(&mut Vec<u8>)| sent(Encapsulation::Geneve { vni: 7, payload: Payload::IPV4 }, edit);
    assert_eq!(geneve(&|_| ()), None);
    // The first word of the payload becomes an option.
    let option = |packet: &mut Vec<u8>, kind: u8| {
        packet[28] = 1;
        packet[36..40].copy_from_slice(&[1, 2, kind, 0]);
    };
    assert_eq!(geneve(&|packet| option(packet, 3)), None);
    assert_eq!(geneve(&|packet| option(packet, 0x83)), Some(CriticalOption));
    assert_eq!(geneve(&|packet| packet[29] = 0x80), Some(OuterProtocol), "control");
    assert_eq!(geneve(&|packet| packet[30] = 0x86), Some(OuterProtocol), "another protocol inside");
    let gre = Encapsulation::Gre { key: Some(0xdead_beef), checksum: true, payload: Payload::IPV4 };
    let gre = |edit: &dyn Fn(&mut Vec<u8>)| sent(gre, edit);
    assert_eq!(gre(&|_| ()), None);
    assert_eq!(gre(&|packet| packet[40] ^= 1), Some(Checksum));
    assert_eq!(gre(&|packet| packet[21] |= 1), Some(OuterProtocol), "version 1");
    let protocol = |packet: &mut Vec<u8>| {
        packet[9] = 6;
        packet[10..12].fill(0);
        let sum = fastpath::wire::checksum::of(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
    };
    assert_eq!(gre(&protocol), Some(OuterProtocol), "TCP");
}

#[test]
fn tunnels_are_refused_with_a_reason() {
    let mut tunnels = Tunnels::new([TunnelEntry::EMPTY; 4]);
    let config = TunnelConfig::new(ADMISSION).with_mac(INNER_THERE);
    let vxlan = TunnelKind::vxlan(7);
    tunnels.open(HERE, vxlan, config).unwrap();
    let taken = TunnelError::Taken { address: HERE, kind: vxlan, slice: SliceId(3) };
    assert_eq!(tunnels.open(HERE, vxlan, config), Err(taken));
    let mixed = TunnelError::Mixed { address: HERE, port: 4789, kind: vxlan };
    assert_eq!(tunnels.open(HERE, TunnelKind::Udp { port: 4789 }, config), Err(mixed));
    assert_eq!(tunnels.open(HERE, TunnelKind::Geneve { port: 4789, vni: 7 }, config), Err(mixed));
    for wrong in [
        TunnelKind::vxlan(1 << 24),
        TunnelKind::geneve(1 << 24),
        TunnelKind::Udp { port: 0 },
        TunnelKind::Vxlan { port: 0, vni: 1 },
    ] {
        assert_eq!(tunnels.open(HERE, wrong, config), Err(TunnelError::Value(wrong)));
    }
    let blind = TunnelKind::vxlan(8);
    assert_eq!(tunnels.open(HERE, blind, TunnelConfig::new(ADMISSION)), Err(TunnelError::Value(blind)));
    let group = config.with_mac([0xff; 6]);
    assert_eq!(tunnels.open(HERE, blind, group), Err(TunnelError::Value(blind)));
    let nobodys = TunnelConfig::new(Admission::NONE);
    assert_eq!(tunnels.open(HERE, vxlan, nobodys), Err(TunnelError::Substrate));
    for key in [None, Some(0)] {
        tunnels.open(HERE, TunnelKind::Gre { key }, config).unwrap();
    }
    assert_eq!(tunnels.open(HERE, blind, config), Err(TunnelError::Full { entries: 4 }));
    assert_eq!(tunnels.close(HERE, vxlan), Some(config));
    assert_eq!(tunnels.close(HERE, vxlan), None);
}

#[test]
fn a_port_is_of_one_kind() {
    let address = std::net::IpAddr::from([192, 0, 2, 1]);
    let (vxlan, udp) = (TunnelKind::vxlan(7), TunnelKind::Udp { port: 4789 });
    let config = TunnelConfig::new(ADMISSION).with_mac(INNER_THERE);
    for udp_checksum in [UdpChecksum::Skip, UdpChecksum::Verify] {
        let (ports, tunnels) = (UdpPorts::new([PortEntry::EMPTY; 8]), Tunnels::new([TunnelEntry::EMPTY; 8]));
        let mut access = Access { ports, tunnels };
        let udp_config = TunnelConfig { udp_checksum, ..config };
        access.open(address, udp, udp_config).unwrap();
        let mixed = |kind| TunnelError::Mixed { address, port: 4789, kind };
        assert_eq!(access.open(address, vxlan, config), Err(mixed(udp).into()), "{udp_checksum:?}");
        access.open(address, TunnelKind::Vxlan { port: 4790, vni: 7 }, config).unwrap();
        assert!(access.close(address, udp));
        access.open(address, vxlan, config).unwrap();
        assert_eq!(access.open(address, udp, udp_config), Err(mixed(vxlan).into()), "{udp_checksum:?}");
    }
}

#[test]
fn headers_are_refused_with_a_reason() {
    let [source, destination] = ends(true, TunnelKind::vxlan(7));
    let tunnel = Tunnel::new(LinkLayer::Ip, source, destination);
    let forward = |tunnel: &Tunnel| Egress::forward(tunnel, QueueId(0), 1400).err();
    assert!(tunnel.needs_template());
    assert_eq!(forward(&tunnel), Some(EgressError::Template));
    let mixed = Tunnel { destination: "10.0.0.1:1".parse().unwrap(), ..tunnel };
    assert_eq!(Template::new(&mixed, &[]).err(), Some(EgressError::Versions));
    let vxlan = |vni| tunnel.with(Encapsulation::Vxlan { vni, frame: None });
    assert_eq!(Template::new(&vxlan(1 << 24), &[]).err(), Some(EgressError::Network(1 << 24)));
    let many = Tunnel { multipoint: true, ..vxlan(7) };
    assert_eq!(Template::new(&many, &[]).err(), Some(EgressError::Multipoint));
    let [source, destination] = ends(false, TunnelKind::vxlan(7));
    let over_v4 = Tunnel { source, destination, ..vxlan(7) };
    let longest = [0; 65_535 - 20 - 8 - 8];
    assert!(wrap(&over_v4, &longest, Outgoing::default(), 0).is_ok());
    let longer = [&longest[..], &[0]].concat();
    assert_eq!(wrap(&over_v4, &longer, Outgoing::default(), 0), Err(TooLong));
}

/// What `UdpPorts` admits and refuses, it does in the company of tunnels.
#[test]
fn ports_are_not_disturbed_by_tunnels() {
    let mut access: Access<[PortEntry; 2], [TunnelEntry; 2]> = Access {
        ports: UdpPorts::new([PortEntry::EMPTY; 2]),
        tunnels: Tunnels::new([TunnelEntry::EMPTY; 2]),
    };
    access.ports.open([10, 0, 0, 9].into(), 30_000, PortConfig::new(ADMISSION)).unwrap();
    let [source, destination] = ends(false, TunnelKind::Udp { port: 30_000 });
    for (layer, meta) in crate::world::layers() {
        let frame =
            wrap(&Tunnel::new(layer, source, destination), &[1, 2, 3], Outgoing::default(), 0).unwrap();
        assert_eq!(unwrap(&access, &frame, &meta).unwrap().1, [1, 2, 3]);
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                let (alone, both) = (access.ports.decap(&damaged, &meta), access.decap(&damaged, &meta));
                let reason = |found: &Result<_, DropReason>| found.err().is_some();
                assert!(alone == both || reason(&alone) && reason(&both), "octet {at}: {alone:?}, {both:?}");
            }
        }
    }
}
