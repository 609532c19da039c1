//! `encapsulations in|out KIND OCTETS PACKETS`: takes so many packets of so many octets into
//! or out of a tunnel. `encapsulations.sh` counts its instructions. With `time` behind it,
//! prints the nanoseconds of each.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use fastpath::decap::{Access, Decap, TunnelConfig, Tunnels, UdpPorts};
use fastpath::egress::{Egresses, InnerEthernet, Payload, Template};
use fastpath::prelude::*;
use fastpath::workloads::packets::UdpPacket;

const MAC: [u8; 6] = [6, 0, 0, 0, 0, 9];
const FRAME: InnerEthernet = InnerEthernet::ipv4(MAC, [6, 0, 0, 0, 0, 1]);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [way, kind, octets, packets, rest @ ..] = &arguments[..] else {
        panic!("in|out KIND OCTETS PACKETS")
    };
    let (octets, packets): (u16, usize) = (octets.parse().unwrap(), packets.parse().unwrap());
    let (name, v6) = kind.split_once('/').unwrap();
    let payload = Payload::Packets(0x0800);
    let (encapsulation, kind) = match name {
        "udp" => (Encapsulation::Udp, TunnelKind::Udp { port: 30_000 }),
        "vxlan" => (Encapsulation::Vxlan { vni: 7, frame: Some(FRAME) }, TunnelKind::vxlan(7)),
        "geneve" => (Encapsulation::Geneve { vni: 7, payload }, TunnelKind::geneve(7)),
        _ => {
            (Encapsulation::Gre { key: Some(7), checksum: false, payload }, TunnelKind::Gre { key: Some(7) })
        }
    };
    let v6 = v6 == "6";
    let addresses = if v6 { ["2001:db8::1", "2001:db8::9"] } else { ["10.0.0.1", "10.0.0.9"] };
    let [here, there] = addresses.map(|address| address.parse::<IpAddr>().unwrap());
    let port = match kind {
        TunnelKind::Udp { port } | TunnelKind::Vxlan { port, .. } | TunnelKind::Geneve { port, .. } => port,
        _ => 0,
    };
    let layer =
        LinkLayer::Ethernet { destination: [2, 0, 0, 0, 0, 9], source: [2, 0, 0, 0, 0, 1], tag: None };
    let tunnel = Tunnel::new(layer, SocketAddr::new(here, 20_001), SocketAddr::new(there, port));
    let tunnel = tunnel.with(encapsulation);

    let admission = Admission { slice: SliceId(1), ..Admission::NONE };
    let mut access = Access {
        ports: UdpPorts::new([PortEntry::EMPTY; 16]),
        tunnels: Tunnels::new([TunnelEntry::EMPTY; 16]),
    };
    match there {
        IpAddr::V4(v4) if name == "udp" => access.ports.open(v4, port, PortConfig::new(admission)).unwrap(),
        _ => access.tunnels.open(there, kind, TunnelConfig::new(admission).with_mac(MAC)).unwrap(),
    }
    let (egress, templates) = if tunnel.needs_template() {
        let template = Template::new(&tunnel, &[]).unwrap();
        (Egress::by_template(0, &template, QueueId(0), 1500).unwrap(), vec![template])
    } else {
        (Egress::forward(&tunnel, QueueId(0), 1500).unwrap(), vec![])
    };
    let table = Egresses { records: [egress], templates };

    let mut inner = vec![0; 2048];
    let udp = UdpPacket {
        source: 1,
        destination: 2,
        source_port: 3,
        destination_port: 4,
        ttl: 64,
        payload: octets - 28,
    };
    let len = udp.write(&mut inner).unwrap();
    let mut packet = Packet::with_headroom(vec![0; 2048], 128, &inner[..len]).unwrap();
    let whole = packet.whole();
    let option = Ipv4::default();
    let start = Instant::now();
    for _ in 0..if way == "out" { packets } else { 1 } {
        out(&mut packet, whole, black_box(&table), &option);
    }
    if way == "in" {
        let start = Instant::now();
        for _ in 0..packets {
            assert_eq!(usize::from(admit(&access, black_box(packet.bytes())).unwrap().len), len);
        }
        said(start, packets, rest);
    } else {
        said(start, packets, rest);
    }
}

fn said(start: Instant, packets: usize, rest: &[String]) {
    if !rest.is_empty() {
        println!("{:.1}", start.elapsed().as_nanos() as f64 / packets as f64);
    }
}

#[inline(never)]
fn admit<D: Decap>(decap: &D, frame: &[u8]) -> Result<fastpath::decap::Inner, DropReason> {
    decap.decap(frame, &RxMeta::NEW)
}

#[inline(never)]
fn out(
    packet: &mut Packet<Vec<u8>>, window: fastpath::packet::Window,
    table: &Egresses<[Egress; 1], Vec<Template>>, option: &Ipv4,
) {
    let outgoing = Outgoing { traffic_class: 0, destination: None };
    let [egress] = &table.records;
    let flow = |inner: &[u8]| option.flow_hash(inner);
    packet.edit(window, |packet| egress.encapsulate_flow(packet, &outgoing, table, flow)).unwrap();
}
