//! Ports of the operating system in network namespaces: TUN devices, packet sockets on a pair
//! of veth, neighbours. And that no port allocates while packets flow.
//!
//! Needs Linux, root, ip(8) and ethtool(8); skipped without, unless `FASTPATH_REQUIRE_ORACLES`
//! is 1.

#![cfg(target_os = "linux")]

mod allocations;
#[path = "../support/counting.rs"]
mod counting;
mod namespace;
mod neighbours;
#[path = "../support/oracle.rs"]
mod oracle;
mod packet;
mod tun;

use std::time::{Duration, Instant};

use fastpath::io::{Buffers, Pool, Port, PortCounters};
use fastpath::packet::Packet;
use fastpath::slot::Slot;

type Buffer = Box<[u8]>;

/// A packet of `octets`, with room in front of it.
fn slot(octets: &[u8]) -> Slot<Buffer> {
    Slot::from(Packet::with_headroom(vec![0; octets.len() + 64].into(), 64, octets).unwrap())
}

/// Sends `packets` and returns how many were taken.
fn send(port: &mut impl Port<Buffer>, packets: &[Vec<u8>]) -> usize {
    let mut vector: Vec<_> = packets.iter().map(|octets| slot(octets)).collect();
    port.send(&mut vector, &mut Pool::new(0, 0))
}

/// Receives until one is `wanted`, or for two seconds.
fn receive(port: &mut impl Port<Buffer>, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    receive_all(port, 1, wanted).into_iter().next()
}

/// Receives until so many are `wanted`, or for two seconds. Others are passed over: a kernel
/// says this and that of its own.
fn receive_all(port: &mut impl Port<Buffer>, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut pool = Pool::new(64, 2112);
    let (mut found, end) = (Vec::new(), Instant::now() + Duration::from_secs(2));
    while found.len() < count && Instant::now() < end {
        let mut vector = [const { Slot::EMPTY }; 8];
        port.receive(&mut vector, &mut pool);
        for packet in vector.into_iter().filter_map(|slot| slot.packet) {
            found.extend(wanted(packet.bytes()).then(|| packet.bytes().to_vec()));
            pool.give(packet.into_buf());
        }
    }
    found
}

fn counters(port: &impl Port<Buffer>) -> PortCounters {
    port.counters()
}
