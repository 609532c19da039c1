//! From Rx to Tx nothing is allocated: a counting allocator stands by while vectors of
//! good, bad and exceptional packets pass.

use std::hint::black_box;
use std::net::SocketAddrV4;

use fastpath::io::{NoBuffers, Ring};
use fastpath::prelude::*;
use fastpath::sram::Region;

#[path = "support/counting.rs"]
mod counting;
#[path = "support/label.rs"]
mod label;

use counting::allocations;
use label::Label;

const IP: SliceId = SliceId(1);
const LABEL: SliceId = SliceId(2);

/// 28 octets of IPv4 and UDP from 192.168.0.1.
fn ipv4(ttl: u8, to: [u8; 4]) -> [u8; 28] {
    let mut ip = [0; 28];
    ip[..10].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, ttl, 17]);
    ip[12..16].copy_from_slice(&[192, 168, 0, 1]);
    ip[16..20].copy_from_slice(&to);
    let sum = fastpath::wire::checksum::of(&ip[..20]).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip[20..].copy_from_slice(&[0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0]);
    ip
}

type Buf = [u8; 96];
const LINK: LinkLayer =
    LinkLayer::Ethernet { destination: [2, 0, 0, 0, 0, 2], source: [2, 0, 0, 0, 0, 1], tag: None };

fn at(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, last].into(), port)
}

/// `inner` in a frame to UDP port `port` of 10.0.0.1.
fn frame(port: u16, inner: &[u8]) -> Packet<Buf> {
    let egress = Egress::forward(&Tunnel::new(LINK, at(9, 30_000), at(1, port)), QueueId(0), 1472).unwrap();
    let mut packet = Packet::with_headroom([0; 96], 64, inner).unwrap();
    packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &Outgoing::default(), &())).unwrap();
    packet
}

/// Eight packets: two that are forwarded, an exception of each option, and drops by
/// Substrate Decap, by Parse and by Lookup. With what comes of them.
fn packets() -> [Packet<Buf>; 8] {
    [
        frame(100, &ipv4(64, [10, 1, 2, 3])),
        frame(101, &[10, 1, 2, 3]),
        frame(100, &ipv4(1, [10, 1, 2, 3])),
        frame(101, &[11]),
        frame(100, &ipv4(64, [99, 1, 2, 3])),
        frame(103, &ipv4(64, [10, 1, 2, 3])),
        frame(100, &[0x45; 28]),
        Packet::new([0; 96], 64, 65).unwrap(),
    ]
}

const VECTORS: u64 = 1000;

const QUANTUM: Quantum = Quantum::of_longest(1500);
const LINES: usize = fastpath::queue::lines(2, QUANTUM);
type Queues =
    QueueManager<[Scheduled<Paced<Wdrr<[Queue; 2], [Descriptor<Packet<Buf>>; 4], [Line; LINES]>>>; 2]>;

fn queues() -> Queues {
    let scheduler = |_| {
        let wdrr =
            Wdrr::new([Queue::NEW; 2], [const { Descriptor::NEW }; 4], [Line::NEW; LINES], QUANTUM).unwrap();
        // A frame in less than the microsecond between two vectors.
        Paced::new(wdrr, Rate::bits_per_second(10_000_000_000).unwrap(), 24, Nanos::ZERO)
    };
    let mut queues = QueueManager::new([0, 1].map(|at| Scheduled::new(scheduler(at))), 1);
    for (scheduler, owner) in [(0, IP), (1, LABEL)] {
        let queue = queues.queue_id(scheduler, 1).unwrap();
        queues.configure(queue, QueueConfig { limit_packets: 2, ..QueueConfig::new(owner) }).unwrap();
    }
    queues
}

#[test]
fn nothing_is_allocated_from_rx_to_tx() {
    let ((), counted) = allocations(|| drop(black_box(Box::new(black_box(7)))));
    assert_eq!(counted, 1, "the counter works");

    let mut decap = UdpPorts::new([PortEntry::EMPTY; 8]);
    for (port, slice, option) in [(100, IP, 0), (101, LABEL, 1)] {
        let admission = Admission { slice, option: OptionId(option), ..Admission::NONE };
        decap.open(*at(1, port).ip(), port, PortConfig::new(admission)).unwrap();
    }
    let mut table = LinearTcam::new([None; 4]);
    let label = |label| (LookupKey::new(label), LookupKey::new(0xff));
    let rows = [(IP, Ipv4Key::route(0x0a00_0000, 8), 0), (LABEL, label(10), 1), (LABEL, label(11), 2)];
    for (slice, (value, mask), egress) in rows {
        table.insert(Rank(1), Filter::new(slice, value, mask), EgressId::new(egress).unwrap()).unwrap();
    }
    let mut queues = queues();
    let [first, second] = [0, 1].map(|scheduler| queues.queue_id(scheduler, 1).unwrap());
    let forward = |queue| Egress::forward(&Tunnel::new(LINK, at(1, 100), at(9, 30_000)), queue, 100).unwrap();
    let sram =
        SramBank::new([const { std::sync::atomic::AtomicU32::new(0) }; 4], [const { Region::NONE }; 3]);
    sram.assign(LABEL, 2).unwrap();
    let mut fast_path = FastPath {
        decap,
        options: (Ipv4::default(), Label),
        table,
        egress: [forward(first), forward(second), forward(second).with_word(1)],
        sram: &sram,
        stats: Counters {
            egresses: [Count::ZERO; 3],
            queues: [Count::ZERO; 4],
            slices: [Count::ZERO; 3 * ROW],
        },
    };
    let mut rx = Ring::new([const { Slot::EMPTY }; 32]);
    let mut tx: Ring<[Slot<Buf>; 8]> = Ring::new([const { Slot::EMPTY }; 8]);
    let mut vector = [const { Slot::EMPTY }; 32];
    let originals = packets();
    let (mut left, mut sent, mut out) = (0, 0, 0);

    let ((), allocated) = allocations(|| {
        for round in 0..VECTORS {
            let now = Nanos::from_micros(round);
            // Every fourth vector holds each packet four times: the queues overflow.
            for _ in 0..if round % 4 == 3 { 4 } else { 1 } {
                for packet in &originals {
                    assert!(rx.push(Slot::from(packet.clone())).is_ok());
                }
            }
            rx.receive(&mut vector, &mut NoBuffers);
            if round % 2 == 0 {
                left += fast_path.process(now, &mut vector, &mut queues, &mut KeepInSlot);
            } else {
                left += fast_path.process(now, &mut vector, &mut queues, &mut NoSlowPath);
            }
            vector.fill_with(|| Slot::EMPTY);
            let mut batch = [const { Slot::EMPTY }; 8];
            let mut free = batch.iter_mut();
            let send = |departure: fastpath::queue::Departure<Packet<Buf>>| match free.next() {
                Some(slot) => {
                    *slot = Slot::from(departure.handle);
                    Ok(())
                }
                None => Err(departure.handle),
            };
            sent += drain(now, &mut queues, &mut fast_path.stats, 8, send, drop).sent;
            out += tx.send(&mut batch, &mut NoBuffers);
            while tx.pop().is_some() {}
        }
    });
    assert_eq!(allocated, 0);

    // All kinds were among them.
    let count = |slice, exit| fast_path.stats.read(Event::Left(slice, exit)).packets;
    let packets = VECTORS / 4 * (3 + 4);
    let (even, odd) = (VECTORS / 2, VECTORS / 4 * (1 + 4));
    for slice in [IP, LABEL] {
        assert_eq!(count(slice, DropReason::NoSlowPath.into()), odd);
        assert!(count(slice, DropReason::QueueFull.into()) > 100);
    }
    assert_eq!(count(IP, Exception::Expired.into()), even);
    assert_eq!(count(LABEL, Exception::ManyMatches.into()), even);
    assert_eq!(count(IP, DropReason::NoMatch.into()), packets);
    assert_eq!(count(SliceId::SUBSTRATE, DropReason::UnknownSlice.into()), packets);
    assert_eq!(count(SliceId::SUBSTRATE, DropReason::Truncated.into()), packets);
    let waiting = (queues.backlog(first) + queues.backlog(second)) as usize;
    assert_eq!(left + sent + waiting, 8 * packets as usize, "none is lost");
    assert!(out == sent && sent > 1000, "{out} {sent}");
}
