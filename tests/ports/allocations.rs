//! While packets flow, no port allocates.

use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::io::tun::{TunConfig, TunPort};
use fastpath::io::udp::{UdpConfig, UdpPort};
use fastpath::io::{Buffers, MemoryPort, Pool, Port};
use fastpath::packet::Packet;
use fastpath::slot::Slot;

use crate::Buffer;
use crate::counting::allocations;
use crate::namespace::{alone, ip, veth};

/// Sends `packets` out of `near` and receives at `far`, often, with buffers of one pool.
fn flow(near: &mut impl Port<Buffer>, far: &mut impl Port<Buffer>, packets: &[Vec<u8>]) {
    let mut pool = Pool::new(256, 2112);
    let mut vector = [const { Slot::EMPTY }; 32];
    let mut round = || {
        for (slot, octets) in vector.iter_mut().zip(packets) {
            let packet = pool.take().and_then(|buffer| Packet::with_headroom(buffer, 64, octets).ok());
            slot.packet = packet;
        }
        near.send(&mut vector, &mut pool);
        far.receive(&mut vector, &mut pool);
        let packets = vector.iter_mut().filter_map(|slot| std::mem::take(slot).packet);
        packets.for_each(|packet| pool.give(packet.into_buf()));
    };
    round();
    let ((), counted) = allocations(|| (0..100).for_each(|_| round()));
    assert_eq!(counted, 0);
}

/// IPv4 and UDP between two ports of this machine.
fn udp(from: u16, to: u16, octets: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64).udp(from, to);
    builder.write(&mut packet, &vec![7; octets]).unwrap();
    packet
}

#[test]
fn udp_ports_allocate_nothing() {
    let ((), counted) = allocations(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted, 1, "the counter works");
    let port = || UdpPort::new(UdpConfig::default()).unwrap();
    let (mut near, mut far) = (port(), port());
    let here = "127.0.0.1:0".parse().unwrap();
    let (from, to) = (near.open(here).unwrap().port(), far.open(here).unwrap().port());
    // Of one size, of others, to nobody, from nowhere, and nonsense.
    let mut packets: Vec<_> = (0..20).map(|_| udp(from, to, 100)).collect();
    packets.extend([udp(from, to, 0), udp(from, to, 1800), udp(from, 9, 1), udp(9, to, 1), vec![0; 60]]);
    flow(&mut near, &mut far, &packets);
    let counters = Port::<Buffer>::counters(&far);
    assert!(counters.received > 2000, "{counters}");
}

#[test]
fn memory_ports_allocate_nothing() {
    let (mut near, mut far) = MemoryPort::pair(16);
    flow(&mut near, &mut far, &vec![vec![7; 60]; 20]);
}

#[test]
fn privileged_ports_allocate_nothing() {
    alone("allocations", || {
        veth("near", "far");
        let port = |name| PacketPort::new(name, PacketConfig::default()).unwrap();
        flow(&mut port("near"), &mut port("far"), &vec![vec![0xff; 60]; 20]);
        let tun = |name| TunPort::new(name, TunConfig::default()).unwrap();
        let (mut near, mut far) = (tun("tun0"), tun("tun1"));
        ip("link set tun0 up\nlink set tun1 up");
        flow(&mut near, &mut far, &vec![udp(7, 9, 100); 20]);
    });
}
