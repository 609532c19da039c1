//! The pipeline with every block in it, linked without std, an allocator or the C
//! library. Packets pass; the exit code is 0 if they came out as they should, else it
//! names the step that failed (101 for a panic).
//!
//! `./check.sh` builds it, runs it and looks at its symbols. Linux on x86-64.

#![no_std]
#![no_main]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the entry point and the system call are those of Linux on x86-64");

use core::net::SocketAddrV4;
use core::sync::atomic::AtomicU32;

use fastpath::io::{NoBuffers, Ring};
use fastpath::lookup::Row;
use fastpath::prelude::*;
use fastpath::sram::Region;

mod bare;
#[path = "../../support/label.rs"]
mod label;

use label::Label;

const IP: SliceId = SliceId(1);
const LABEL: SliceId = SliceId(2);

type Buf = [u8; 96];
const QUANTUM: Quantum = Quantum::of_longest(1500);
const LINES: usize = fastpath::queue::lines(2, QUANTUM);
type Scheduler = Paced<Wdrr<[Queue; 2], [Descriptor<Packet<Buf>>; 8], [Line; LINES]>>;

/// 20 octets of IPv4 from 192.168.0.1 to 10.1.2.3, time to live 64.
const INNER: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xae, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];

/// The steps by number; `None` is what cannot be in them.
fn run() -> Result<(), u8> {
    let ours = |port| SocketAddrV4::new([10, 0, 0, 1].into(), port);
    let peer = SocketAddrV4::new([10, 0, 0, 9].into(), 30_000);

    let mut decap = UdpPorts::new([PortEntry::EMPTY; 8]);
    for (port, slice, option) in [(20_001, IP, 0), (20_002, LABEL, 1)] {
        let admission = Admission { slice, option: OptionId(option), ..Admission::NONE };
        decap.open(*ours(port).ip(), port, PortConfig::new(admission)).map_err(|_| 1)?;
    }

    const EMPTY: [Option<Row<EgressId>>; 8] = [None; 8];
    let mut table = LinearTcam::new(EMPTY);
    let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
    let label = Filter::new(LABEL, LookupKey::new(7), LookupKey::new(0xff));
    for (filter, at) in [(Filter::new(IP, value, mask), 0), (label, 1)] {
        table.insert(Rank(1), filter, EgressId::new(at).ok_or(2)?).map_err(|_| 3)?;
    }

    let bank = SramBank::new([const { AtomicU32::new(0) }; 16], [const { Region::NONE }; 3]);
    bank.assign(LABEL, 4).map_err(|_| 4)?;

    let rate = Rate::bits_per_second(1_000_000_000).map_err(|_| 5)?;
    let scheduler = || -> Result<Scheduler, u8> {
        let wdrr = Wdrr::new([Queue::NEW; 2], [const { Descriptor::NEW }; 8], [Line::NEW; LINES], QUANTUM)
            .map_err(|_| 6)?;
        Ok(Paced::new(wdrr, rate, Scheduler::ETHERNET, Nanos::ZERO))
    };
    let mut queues = QueueManager::new([scheduler()?, scheduler()?].map(Scheduled::new), 1);
    let first = queues.queue_id(0, 0).ok_or(7)?;
    let second = queues.queue_id(1, 1).ok_or(8)?;
    queues.configure(first, QueueConfig::new(IP)).map_err(|_| 9)?;
    queues.configure(second, QueueConfig::new(LABEL)).map_err(|_| 10)?;

    let tunnel = Tunnel::new(LinkLayer::Ip, ours(20_001), peer);
    let forward = |queue| Egress::forward(&tunnel, queue, 1472).map_err(|_| 11);
    let mut fast_path = FastPath {
        decap,
        options: (Ipv4::default(), Label),
        table,
        egress: [forward(first)?, forward(second)?],
        sram: &bank,
        stats: Counters {
            egresses: [Count::ZERO; 2],
            queues: [Count::ZERO; 4],
            slices: [Count::ZERO; 3 * ROW],
        },
    };

    // Rx: two packets to be forwarded, and one to a port that no slice has.
    let mut rx = Ring::new([const { Slot::EMPTY }; 4]);
    for (port, inner) in [(20_001, &INNER[..]), (20_002, &[7, 1, 2]), (20_003, &INNER)] {
        let to_us = Tunnel::new(LinkLayer::Ip, peer, ours(port));
        let to_us = Egress::forward(&to_us, QueueId(0), 1472).map_err(|_| 12)?;
        let mut packet = Packet::with_headroom([0; 96], 64, inner).map_err(|_| 13)?;
        packet.edit(packet.whole(), |p| to_us.encapsulate(p, &Outgoing::default(), &())).map_err(|_| 14)?;
        rx.push(Slot::new(packet, RxMeta::IP)).map_err(|_| 15)?;
    }
    let mut vector = [const { Slot::EMPTY }; 8];
    let received = rx.receive(&mut vector, &mut NoBuffers);
    let left = fast_path.process(Nanos::ZERO, &mut vector, &mut queues, &mut NoSlowPath);

    // Tx.
    let mut tx: Ring<[Slot<Buf>; 4]> = Ring::new([const { Slot::EMPTY }; 4]);
    let send = |departure: fastpath::queue::Departure<Packet<Buf>>| {
        let slot = Slot::new(departure.handle, RxMeta::IP);
        tx.push(slot).map_err(|slot| slot.packet.unwrap_or_else(|| bare::exit(16)))
    };
    let drained = drain(Nanos::ZERO, &mut queues, &mut fast_path.stats, 8, send, |_| ());

    let unknown = Event::Left(SliceId::SUBSTRATE, DropReason::UnknownSlice.into());
    let sent = [tx.pop(), tx.pop()].map(|slot| slot.and_then(|slot| slot.packet));
    let [Some(ip), Some(label)] = &sent else { return Err(17) };
    for (step, holds) in [
        (18, (received, left, drained.sent, drained.dropped) == (3, 1, 2, 0)),
        (19, ip.bytes().len() == 48 && ip.bytes()[28 + 8..28 + 12] == [63, 17, 0xaf, 0x2c]),
        (20, label.bytes().len() == 30 && label.bytes()[28..] == [1, 2]),
        (21, fast_path.stats.read(unknown) == Count { packets: 1, octets: 48 }),
        (22, fast_path.stats.read(Event::Sent(second)).packets == 1),
        (23, bank.region(LABEL).get(0) == Some(1)),
    ] {
        if !holds {
            return Err(step);
        }
    }
    #[cfg(feature = "allocates")]
    if allocate(received).len() != received {
        return Err(24);
    }
    Ok(())
}

#[cfg(feature = "allocates")]
fn allocate(len: usize) -> alloc::vec::Vec<u8> {
    alloc::vec![1; len]
}

#[cfg(feature = "allocates")]
extern crate alloc;

fn main() -> ! {
    bare::exit(run().err().unwrap_or(0))
}
