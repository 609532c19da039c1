//! Links of VXLAN: in from a host behind one, out to a host behind the other.

use std::net::SocketAddr;

use crate::world::{Buf, ipv4, must, route, run};
use fastpath::code_option::ipv4::Ipv4;
use fastpath::egress::{Egresses, InnerEthernet, LinkLayer};
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, AdmitError, ControlError, Injection, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest,
    SliceRequest,
};
use fastpath::prelude::*;

const OURS: [u8; 6] = [6, 0, 0, 0, 0, 1];
const HOST: [u8; 6] = [6, 0, 0, 0, 0, 9];
const OTHER: [u8; 6] = [6, 0, 0, 0, 0, 8];

fn vxlan(vni: u32) -> Encapsulation {
    Encapsulation::Vxlan { vni, frame: Some(InnerEthernet::ipv4(HOST, OURS)) }
}

/// `octets`, a frame of VXLAN network 7, from 10.0.9.9 to the node.
fn from_host(octets: &[u8]) -> Packet<Buf> {
    let ends = ["10.0.9.9:0", "10.0.0.1:4789"].map(|end| end.parse::<SocketAddr>().unwrap());
    let tunnel = Tunnel::new(LinkLayer::Ip, ends[0], ends[1]);
    let tunnel = tunnel.with(Encapsulation::Vxlan { vni: 7, frame: None });
    let template = Template::new(&tunnel, &[]).unwrap();
    let egress = Egress::by_template(0, &template, QueueId(0), 1500).unwrap();
    let table = Egresses { records: [egress], templates: [template] };
    let buf = vec![0; 128 + octets.len()].into_boxed_slice();
    let mut packet = Packet::with_headroom(buf, 128, octets).unwrap();
    packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &Outgoing::default(), &table)).unwrap();
    packet
}

#[test]
fn hosts_behind_vxlan_are_routed_and_their_arp_is_answered() {
    let mut node = Node::new((Ipv4::default(), crate::world::Label), Limits::default());
    let rate = Rate::bits_per_second(10_000_000_000).unwrap();
    let config = InterfaceConfig::ip([10, 0, 0, 1].into(), rate);
    node.add_interface(config).unwrap();
    let address_v6 = Some("fd09::1".parse().unwrap());
    node.add_interface(InterfaceConfig { address_v6, ..config }).unwrap();
    let link = |at: u16, peer: &str, vni| LinkRequest {
        encapsulation: vxlan(vni),
        ..LinkRequest::new(InterfaceId(at), 4789, peer.parse().unwrap())
    };
    let request = SliceRequest {
        links: vec![link(0, "10.0.9.9:4789", 7), link(1, "[fd09::9]:4789", 8)],
        queues: vec![QueueRequest::new(InterfaceId(0), 1), QueueRequest::new(InterfaceId(1), 1)],
        ..SliceRequest::new(OptionId(0))
    };
    let mut nowhere = request.clone();
    nowhere.links[1].interface = InterfaceId(0);
    assert_eq!(node.admit(nowhere).unwrap_err(), AdmitError::Address(0));
    let mut control = node.admit(request.clone()).unwrap();
    assert!(matches!(node.admit(request.clone()), Err(AdmitError::Port(_))), "the networks are taken");

    // 10/8 is behind another host of the second link than its first.
    let neighbour = |link, mac| Action::Neighbour { link, queue: link, word: 0, mac };
    control.set_result(0, neighbour(1, Some(OTHER))).unwrap();
    control.set_result(1, neighbour(0, None)).unwrap();
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    must(&mut node, &mut control);
    control.insert(rank, value, mask, 0).unwrap();

    let packet = ipv4(64, [10, 1, 2, 3], 7);
    let framed = [&OURS[..], &HOST, &[8, 0], &packet].concat();
    let sent = run(&mut node, Nanos::ZERO, vec![from_host(&framed)]);
    let [(1, out)] = &sent[..] else { panic!("{sent:02x?}") };
    assert_eq!((out[0] >> 4, out.len()), (6, 40 + 8 + 8 + 14 + packet.len()));
    assert_eq!(out[48..56], [8, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!(out[56..70], [&OTHER[..], &OURS, &[8, 0]].concat());
    assert_eq!((out[70 + 8], &out[70 + 12..]), (63, &packet[12..]));
    assert!(out[40] >= 0xc0, "a source port of the flow's");

    // Who asks for our address gets the frame that the manager makes of the question.
    let arp = [&[0xff; 6][..], &HOST, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    assert_eq!(run(&mut node, Nanos::ZERO, vec![from_host(&arp)]), []);
    let exception = control.take_exception().unwrap();
    assert_eq!(exception.what.exception, Exception::Frame);
    assert_eq!(exception.packet.part(exception.what.inner), arp);
    assert_eq!(control.exits(Exception::Frame.into()).packets, 1);
    let answer = [&HOST[..], &OURS, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
    let packet = Packet::with_headroom(vec![0; 256].into_boxed_slice(), 128, &answer).unwrap();
    let injection = Injection::Direct { packet, result: 1, traffic_class: 0 };
    assert!(control.inject(injection).is_ok());
    let sent = run(&mut node, Nanos::ZERO, vec![]);
    let [(0, out)] = &sent[..] else { panic!("{sent:02x?}") };
    assert_eq!((&out[28..36], &out[36..]), (&[8, 0, 0, 0, 0, 0, 7, 0][..], &answer[..]));

    node.withdraw(SliceId(1));
    drop(control);
    assert_eq!(run(&mut node, Nanos::ZERO, vec![from_host(&framed)]), []);
    assert!(node.admit(request).is_ok(), "the networks are free");
}

#[test]
fn a_link_of_packets_has_no_neighbours() {
    let mut node = crate::world::node();
    let mut control = node.admit(crate::world::request(0, 100)).unwrap();
    control.set_result(0, Action::Neighbour { link: 0, queue: 0, word: 0, mac: None }).unwrap();
    node.poll_control(Nanos::ZERO, 1);
    let reply = control.replies().next().unwrap();
    assert_eq!(reply.outcome, Err(ControlError::NoFrames(0)));
}
