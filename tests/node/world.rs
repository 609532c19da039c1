//! A node with two interfaces, frames for it, and what comes out.

use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
use fastpath::egress::{Egress, LinkLayer, Tunnel};
use fastpath::node::{
    Action, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, Reply, Scheduling, SliceControl,
    SliceRequest, SlowPathRequest,
};
use fastpath::prelude::*;
use std::net::SocketAddrV4;

pub(crate) type Buf = Box<[u8]>;
pub(crate) type Routers = Node<(Ipv4, Label), Buf>;

/// A protocol with memory: the first octet is the label; the slice's word 0 is put into
/// the second, and word 1 counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label;

impl CodeOption for Label {
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        let &[label, _, ..] = packet else { return Err(DropReason::Truncated.into()) };
        cx.sram.fetch_add(1, 1);
        if label == 0 { Err(Exception::own(3).into()) } else { Ok(Query::new(LookupKey::new(label.into()))) }
    }
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        let word = cx.sram.get(0).unwrap_or(0);
        let [label, second, ..] = packet.bytes_mut() else { return Err(DropReason::Truncated.into()) };
        (*label, *second) = (found.word as u8, word as u8);
        Ok(Outgoing::default())
    }
}

/// A node with two interfaces of 10 Gb/s: 10.0.0.1 and 10.0.1.1.
pub(crate) fn node() -> Routers {
    node_with(Scheduling::Plain)
}

/// The same with interfaces that are shared so.
pub(crate) fn node_with(scheduling: Scheduling) -> Routers {
    let limits =
        Limits { slices: 4, queues: 8, descriptors: 16_384, sram_words: 64, ports: 16, ..Limits::default() };
    let mut node = Node::new((Ipv4::default(), Label), limits);
    for at in 0..2 {
        let rate = Rate::bits_per_second(10_000_000_000).unwrap();
        let config = InterfaceConfig::ip([10, 0, at, 1].into(), rate);
        node.add_interface(InterfaceConfig { scheduling, ..config }).unwrap();
    }
    node
}

pub(crate) fn peer() -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 9, 9].into(), 30_000)
}

/// A slice with a link and a queue on each interface, at ports `port` and `port + 1`.
pub(crate) fn request(option: u8, port: u16) -> SliceRequest {
    let interfaces = [0, 1].map(fastpath::id::InterfaceId);
    SliceRequest {
        sram_words: 4,
        links: interfaces
            .iter()
            .zip(port..)
            .map(|(at, port)| LinkRequest::new(*at, port, peer().into()))
            .collect(),
        queues: interfaces
            .iter()
            .map(|at| QueueRequest { limit_packets: 2048, ..QueueRequest::new(*at, 1) })
            .collect(),
        slow_path: SlowPathRequest { per_second: 1_000_000, burst: 10_000, waiting: 4096 },
        commands: 64,
        ..SliceRequest::new(OptionId(option))
    }
}

/// `inner` in a frame to `port` of interface `at`.
pub(crate) fn frame(at: u8, port: u16, inner: &[u8]) -> Packet<Buf> {
    let ours = SocketAddrV4::new([10, 0, at, 1].into(), port);
    let egress = Egress::forward(&Tunnel::new(LinkLayer::Ip, peer(), ours), QueueId(0), 1500).unwrap();
    let buf = vec![0; 128 + inner.len()].into_boxed_slice();
    let mut packet = Packet::with_headroom(buf, 128, inner).unwrap();
    packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &Outgoing::default(), &())).unwrap();
    packet
}

/// UDP from 192.168.0.1 to `to`, 8 octets of payload.
pub(crate) fn ipv4(ttl: u8, to: [u8; 4], port: u16) -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([192, 168, 0, 1], to, ttl).udp(1000, port);
    builder.write(&mut octets, &[7; 8]).unwrap();
    octets
}

pub(crate) fn route(network: [u8; 4], len: u8) -> (Rank, LookupKey, LookupKey) {
    let (value, mask) = Ipv4Key::route(u32::from_be_bytes(network), len);
    (Rank::longest_prefix(32, len), value, mask)
}

/// Runs `frames` through in vectors of 32 and returns all that was sent, by interface.
pub(crate) fn run(node: &mut Routers, now: Nanos, frames: Vec<Packet<Buf>>) -> Vec<(u16, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut frames = frames.into_iter();
    let mut vector = [const { Slot::EMPTY }; 32];
    loop {
        node.poll_control(now, 64);
        let injected = node.inject(now, &mut vector);
        let mut filled = injected;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            let Some(frame) = frames.next() else { break };
            *slot = Slot::new(frame, RxMeta::IP);
            filled += 1;
        }
        if filled == 0 {
            break;
        }
        node.process(now, &mut vector);
        vector.iter_mut().for_each(|slot| *slot = Slot::EMPTY);
    }
    let mut now = now;
    while let Some(due) = node.next_due(now) {
        now = now.max(due);
        for at in 0..2 {
            let send = |departure: fastpath::queue::Departure<Packet<Buf>>| {
                sent.push((at, departure.handle.bytes().to_vec()));
                Ok(())
            };
            node.transmit(now, fastpath::id::InterfaceId(at), 32, send, drop);
        }
    }
    sent
}

/// Sends commands and asserts that each is carried out.
pub(crate) fn must(node: &mut Routers, control: &mut SliceControl<Buf>) -> Vec<Reply> {
    while node.poll_control(Nanos::ZERO, 64) > 0 {}
    let replies: Vec<_> = control.replies().collect();
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()), "{replies:?}");
    replies
}

/// Result n leads out of link n by queue n; 10/8 goes by 0, 11/8 by 1, 12/8 to the slow
/// path, 13/8 nowhere.
pub(crate) fn ordinary_routes(node: &mut Routers, control: &mut SliceControl<Buf>) {
    control.set_result(0, Action::forward(0, 0)).unwrap();
    control.set_result(1, Action::forward(1, 1)).unwrap();
    control.set_result(2, Action::SlowPath(Exception::Local)).unwrap();
    control.set_result(3, Action::Drop).unwrap();
    for (network, result) in (10..14).zip(0..) {
        let (rank, value, mask) = route([network, 0, 0, 0], 8);
        control.insert(rank, value, mask, result).unwrap();
    }
    must(node, control);
}
