//! A protocol of a tenant's own on the fast path: packets that carry the list of the
//! labels they are to pass, and the number of those they have passed.
//!
//! `cargo run --example own_code_option`

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::AtomicU32;

use fastpath::prelude::*;

/// Octet 0: labels passed. Octet 1: labels in all. Then the labels, then the payload.
/// Word `label` of the slice's memory counts the packets that passed `label`.
struct SourceRoute;

impl CodeOption for SourceRoute {
    fn parse(&self, packet: &[u8], _: &Context<'_>) -> Result<Query, Exit> {
        let [passed, all, labels @ ..] = packet else { return Err(DropReason::Truncated.into()) };
        let labels = labels.get(..usize::from(*all)).ok_or(DropReason::Truncated)?;
        let label = *labels.get(usize::from(*passed)).ok_or(Exception::Local)?;
        Ok(Query { key: fastpath::key::LookupKey::new(label.into()), carry: label.into() })
    }

    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        // All checks before the first write: what fails must leave the packet as it was.
        let fits = packet.octets() <= usize::from(found.mtu);
        let [passed, ..] = packet.bytes_mut() else { return Err(DropReason::Truncated.into()) };
        let next = passed.checked_add(1).filter(|_| fits).ok_or(Exception::TooBig)?;
        *passed = next;
        cx.sram.fetch_add(found.carry as usize, 1);
        Ok(Outgoing::default())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ours = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 20_001);
    let peers = [2u8, 3].map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 20_001));
    let slice = SliceId(1);
    let mut ports = UdpPorts::new([PortEntry::EMPTY; 8]);
    ports.open(*ours.ip(), ours.port(), PortConfig::new(Admission { slice, ..Admission::NONE }))?;

    // Labels 2 and 3 lead to the peers of that number.
    let mut table = LinearTcam::new([None; 8]);
    let mut egress = [Egress::NONE; 2];
    const QUANTUM: Quantum = Quantum::of_longest(1500);
    const LINES: usize = fastpath::queue::lines(1, QUANTUM);
    let mut queues =
        Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 64], [Line::NEW; LINES], QUANTUM)?;
    queues.configure(QueueId(0), QueueConfig::new(slice))?;
    for (at, peer) in peers.into_iter().enumerate() {
        egress[at] = Egress::forward(&Tunnel::new(LinkLayer::Ip, ours, peer), QueueId(0), 1472)?;
        let [label, octet] = [at as u128 + 2, 0xff].map(fastpath::key::LookupKey::new);
        table.insert(Rank(0), Filter::new(slice, label, octet), EgressId::new(at as u32).unwrap())?;
    }
    let sram = SramBank::new([const { AtomicU32::new(0) }; 256], [const { fastpath::sram::Region::NONE }; 2]);
    sram.assign(slice, 256)?;
    let stats =
        Counters { egresses: [Count::ZERO; 2], queues: [Count::ZERO; 1], slices: [Count::ZERO; 2 * ROW] };
    let mut node = FastPath { decap: ports, options: (SourceRoute,), table, egress, sram: &sram, stats };

    let to_us = Egress::forward(&Tunnel::new(LinkLayer::Ip, peers[0], ours), QueueId(0), 1472)?;
    let inner: [&[u8]; 5] =
        [b"\0\x02\x03\x02hi", b"\x01\x02\x03\x02hi", b"\x02\x02\x03\x02hi", b"\0\x01\x09hi", b"\0\x05\x02"];
    let mut vector = [const { Slot::EMPTY }; 32];
    for (slot, octets) in vector.iter_mut().zip(inner) {
        let mut packet = Packet::with_headroom([0u8; 256], 64, octets).unwrap();
        packet.edit(packet.whole(), |p| to_us.encapsulate(p, &Outgoing::default(), &())).unwrap();
        *slot = Slot::new(packet, RxMeta::IP);
    }
    node.process(Nanos::ZERO, &mut vector, &mut queues, &mut KeepInSlot);

    while let Some(sent) = queues.dequeue(Nanos::ZERO) {
        let (outer, inner) = sent.handle.bytes().split_at(28);
        println!("sent to {}: {:02x?}", Ipv4Addr::from(<[u8; 4]>::try_from(&outer[16..20])?), inner);
    }
    for (octets, slot) in inner.iter().zip(&vector) {
        slot.exit.iter().for_each(|(slice, exit)| println!("slice {slice} kept {octets:02x?}: {exit}"));
    }
    let memory = sram.region(slice);
    println!("passed label 2: {:?}, label 3: {:?}", memory.get(2), memory.get(3));
    Ok(())
}
