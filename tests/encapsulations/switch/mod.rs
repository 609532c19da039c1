//! The tunnels of Open vSwitch's userspace datapath as the other end: VXLAN, Geneve and GRE,
//! over IPv4 and IPv6.
//!
//! What we send, it must unwrap to the same packet of the same tunnel, and we what it sends;
//! and of what is damaged it must think as we do, but for the differences that are listed.

mod bridge;
mod damage;
mod differences;
mod tunnels;

use etherparse::PacketBuilder;
use fastpath::decap::{Decap, TunnelConfig, TunnelEntry, Tunnels, UdpChecksum};
use fastpath::egress::Tunnel;
use fastpath::id::{LinkId, OptionId};
use fastpath::slot::{Admission, Outgoing, RxMeta};
use fastpath::workloads::traffic::Uniform;

use crate::oracle;
use crate::world::{ADMISSION, HERE_MAC, INNER_HERE, INNER_THERE, THERE_MAC, unwrap, wrap};
use bridge::Bridge;
use tunnels::{Kind, OVER_V4, OVER_V6, TUNNELS};

/// What becomes of a packet: the tunnel that it is taken to have come by, and the slice's part.
type Verdict = Option<(usize, Vec<u8>)>;

#[test]
fn open_vswitch_understands_ours_and_we_theirs() {
    let mut bridge = match Bridge::start() {
        Ok(bridge) => bridge,
        Err(reason) => return oracle::skip(&format!("the tunnels of Open vSwitch: {reason}")),
    };
    let packets = talk(&mut bridge);
    let damaged = damage::compare(&mut bridge);
    println!("{packets} packets each way, {damaged} that are damaged");
    assert!(packets >= 200 && damaged >= 1000);
}

/// Sends packets of many sizes through each tunnel, both ways; how many each way.
fn talk(bridge: &mut Bridge) -> usize {
    let ours = end(0, INNER_HERE);
    let mut draw = Uniform::new(1 << 32, 7).unwrap().map(|number| number as u32);
    let mut packets = 0;
    for _ in 0..30 {
        let inner: Vec<_> = TUNNELS.iter().map(|_| inner(&mut draw)).collect();
        // Theirs, one by one: ports of a switch have no order among them.
        for (at, (kind, packet)) in TUNNELS.iter().zip(&inner).enumerate() {
            bridge.send_inside(at, &ethernet(INNER_HERE, INNER_THERE, packet));
            let frame = bridge.receive_outside();
            let (inner, octets) = unwrap(&ours, &frame, &RxMeta::NEW).expect(kind.name);
            let expected = Admission { link: LinkId(at as u16), ..ADMISSION };
            assert!(octets == packet, "{}: {octets:02x?}, {packet:02x?}", kind.name);
            assert_eq!(inner.admission, expected, "{}", kind.name);
            assert_eq!(inner.source.address(), kind.ends()[1].ip(), "{}", kind.name);
        }
        // Ours.
        for (packet, kind) in inner.iter().zip(TUNNELS) {
            let flow = draw.next().unwrap();
            bridge.send_outside(&[&wrapped(kind, packet, flow)]);
        }
        for (at, (kind, packet)) in TUNNELS.iter().zip(&inner).enumerate() {
            let got = bridge.receive_inside(at);
            // What was no frame on the way becomes one of no addresses.
            let zeroes = [[0; 6]; 2];
            let [to, from] = if kind.frames() { [INNER_THERE, INNER_HERE] } else { zeroes };
            assert_eq!(got, ethernet(to, from, packet), "{}", kind.name);
        }
        packets += TUNNELS.len();
    }
    packets
}

/// One end of all tunnels, each a link of its number; `mac` is its address inside.
fn end(end: usize, mac: [u8; 6]) -> Tunnels<Box<[TunnelEntry]>> {
    let mut tunnels = Tunnels::new(vec![TunnelEntry::EMPTY; 32].into_boxed_slice());
    for (link, kind) in (0..).zip(TUNNELS) {
        let config = TunnelConfig {
            mac: if kind.frames() { mac } else { [0; 6] },
            udp_checksum: UdpChecksum::Verify,
            ..TunnelConfig::new(Admission { link: LinkId(link), ..ADMISSION })
        };
        tunnels.open(kind.ends()[end].ip(), kind.kind, config).unwrap();
    }
    tunnels
}

/// What we make of a frame.
fn our_verdict(ours: &impl Decap, frame: &[u8]) -> Verdict {
    let (inner, octets) = unwrap(ours, frame, &RxMeta::NEW).ok()?;
    assert_ne!(inner.admission.option, OptionId::FRAME, "no frame here is for the slow path");
    Some((inner.admission.link.0.into(), octets.to_vec()))
}

/// `packet` through our end of a tunnel.
fn wrapped(kind: &Kind, packet: &[u8], flow: u32) -> Vec<u8> {
    let [source, destination] = kind.ends();
    let tunnel = Tunnel::new(kind.link_layer(), source, destination).with(kind.encapsulation);
    wrap(&tunnel, packet, Outgoing::default(), flow).unwrap()
}

/// An IPv4 packet of up to 1,400 octets.
fn inner(draw: &mut impl Iterator<Item = u32>) -> Vec<u8> {
    let mut draw = || draw.next().unwrap();
    let payload: Vec<u8> = (0..draw() % 1373).map(|_| draw() as u8).collect();
    let [source, destination] = [draw(), draw()].map(u32::to_be_bytes);
    let mut packet = Vec::new();
    let udp = PacketBuilder::ipv4(source, destination, draw() as u8).udp(draw() as u16, draw() as u16);
    udp.write(&mut packet, &payload).unwrap();
    packet
}

fn ethernet(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    [&to[..], &from, &[8, 0], packet].concat()
}
