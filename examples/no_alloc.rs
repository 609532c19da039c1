//! A pipeline on arrays: three packets come in, one goes out. std only prints.

use core::net::SocketAddrV4;
use core::sync::atomic::AtomicU32;

use fastpath::io::{NoBuffers, Ring};
use fastpath::lookup::Row;
use fastpath::prelude::*;
use fastpath::sram::Region;

type Buf = [u8; 96];

const SLICE: SliceId = SliceId(1);

fn main() {
    // A link of slice 1, which runs option 0: UDP port 20,001, to a peer at 10.0.0.9.
    let ours = SocketAddrV4::new([10, 0, 0, 1].into(), 20_001);
    let peer = SocketAddrV4::new([10, 0, 0, 9].into(), 30_000);
    let mut decap = UdpPorts::new([PortEntry::EMPTY; 8]);
    let admission = Admission { slice: SLICE, ..Admission::NONE };
    decap.open(*ours.ip(), ours.port(), PortConfig::new(admission)).expect("the port is free");

    // Its route, 10.0.0.0/8, leads out through queue 0, at 1 Gb/s.
    let no_rows: [Option<Row<EgressId>>; 8] = [None; 8];
    let mut table = LinearTcam::new(no_rows);
    let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
    let (filter, way_out) = (Filter::new(SLICE, value, mask), EgressId::new(0).expect("a number"));
    table.insert(Rank::longest_prefix(32, 8), filter, way_out).expect("there is room");
    const QUANTUM: Quantum = Quantum::of_longest(1500);
    const LINES: usize = fastpath::queue::lines(1, QUANTUM);
    let wdrr = Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 8], [Line::NEW; LINES], QUANTUM)
        .expect("a quantum");
    let rate = Rate::bits_per_second(1_000_000_000).expect("a rate");
    let mut queues = Paced::new(wdrr, rate, 0, Nanos::ZERO);
    queues.configure(QueueId(0), QueueConfig::new(SLICE)).expect("queue 0 is there");

    // The slice has 8 of the 16 words; IPv4 forwarding needs none of them.
    let sram = SramBank::new([const { AtomicU32::new(0) }; 16], [const { Region::NONE }; 2]);
    sram.assign(SLICE, 8).expect("there is room");
    let tunnel = Tunnel::new(LinkLayer::Ip, ours, peer);
    let mut fast_path = FastPath {
        decap,
        options: (Ipv4::default(),),
        table,
        egress: [Egress::forward(&tunnel, QueueId(0), 1472).expect("the MTU is fine")],
        sram,
        stats: Counters {
            egresses: [Count::ZERO; 1],
            queues: [Count::ZERO; 1],
            slices: [Count::ZERO; 2 * ROW],
        },
    };

    // Rx: one to be forwarded, one at the end of its life, one cut short.
    let good = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xae, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];
    let old = [0x45, 0, 0, 20, 0, 0, 0, 0, 1, 17, 0xed, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];
    let mut rx = Ring::new([const { Slot::EMPTY }; 4]);
    let to_us = Egress::forward(&Tunnel::new(LinkLayer::Ip, peer, ours), QueueId(0), 1472).expect("the same");
    for inner in [&good[..], &old, &good[..9]] {
        let mut packet = Packet::<Buf>::with_headroom([0; 96], 64, inner).expect("it fits");
        let put = packet.edit(packet.whole(), |packet| to_us.encapsulate(packet, &Outgoing::default(), &()));
        put.expect("there is headroom");
        rx.push(Slot::new(packet, RxMeta::IP)).expect("there is room");
    }
    let mut vector = [const { Slot::EMPTY }; 32];
    println!("received {}", rx.receive(&mut vector, &mut NoBuffers));

    // The blocks, then Tx.
    let now = Nanos::ZERO;
    let left = fast_path.process(now, &mut vector, &mut queues, &mut KeepInSlot);
    println!("left early: {left}");
    for (slice, exit) in vector.iter().filter_map(|slot| slot.exit) {
        println!("  slice {slice}: {exit}");
    }
    let send = |departure: fastpath::queue::Departure<Packet<Buf>>| {
        let (octets, hops) = (departure.octets, departure.handle.bytes()[28 + 8]);
        println!("  queue {}: {octets} octets, inner time to live {hops}", departure.queue);
        Ok(())
    };
    println!("sent {}", drain(now, &mut queues, &mut fast_path.stats, 32, send, drop).sent);
}
