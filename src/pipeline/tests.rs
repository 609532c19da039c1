//! Every way through the blocks, with two code options in one pipeline.

use super::*;
use crate::egress::{LinkLayer, Tunnel};
use crate::exit::Exception;
use crate::prelude::*;
use core::net::SocketAddrV4;
use std::string::ToString;
use std::vec::Vec;

#[path = "../../tests/support/label.rs"]
mod label;

use label::Label;

const IP: SliceId = SliceId(1);
const LABEL: SliceId = SliceId(2);

fn ipv4(ttl: u8, to: [u8; 4]) -> [u8; 28] {
    let mut ip = [0; 28];
    ip[..10].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, ttl, 17]);
    ip[12..16].copy_from_slice(&[192, 168, 0, 1]);
    ip[16..20].copy_from_slice(&to);
    let sum = crate::wire::checksum::of(&ip[..20]).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip[20..].copy_from_slice(&[0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0]);
    ip
}

fn tunnel(from: u16, to: u16) -> Tunnel {
    let ethernet =
        LinkLayer::Ethernet { destination: [2, 0, 0, 0, 0, 2], source: [2, 0, 0, 0, 0, 1], tag: None };
    let end = |last, port| SocketAddrV4::new([10, 0, 0, last].into(), port);
    if to < 200 {
        Tunnel::new(ethernet, end(9, from), end(1, to))
    } else {
        Tunnel::new(ethernet, end(1, from), end(9, to))
    }
}

type Buf = [u8; 256];

/// `inner` in a frame to UDP port `port` of 10.0.0.1.
fn frame(port: u16, inner: &[u8]) -> Packet<Buf> {
    let mut packet = Packet::with_headroom([0; 256], 64, inner).unwrap();
    let egress = Egress::forward(&tunnel(30_000, port), QueueId(0), 1472).unwrap();
    packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &Outgoing::default(), &())).unwrap();
    packet
}

type Parts<C> = FastPath<
    UdpPorts<[PortEntry; 16]>,
    C,
    LinearTcam<[Option<crate::lookup::Row<EgressId>>; 16]>,
    [Egress; 4],
    SramBank<[core::sync::atomic::AtomicU32; 4], [crate::sram::Region; 4]>,
    Counters<[Count; 4], [Count; 4], [Count; 4 * ROW]>,
>;

fn fast_path<C>(options: C) -> Parts<C> {
    let mut decap = UdpPorts::new([PortEntry::EMPTY; 16]);
    for (port, slice, option) in [(100, IP, 0), (101, LABEL, 1), (102, SliceId(3), 9)] {
        let admission = Admission { slice, option: OptionId(option), link: LinkId(port), ..Admission::NONE };
        decap.open([10, 0, 0, 1].into(), port, PortConfig::new(admission)).unwrap();
    }
    let mut table = LinearTcam::new([None; 16]);
    let label = |label| (LookupKey::new(label), LookupKey::new(0xff));
    let rows = [
        (IP, Ipv4Key::route(0x0a00_0000, 8), 0),
        (IP, Ipv4Key::route(0x0b00_0000, 8), 2),
        (LABEL, label(10), 1),
        (LABEL, label(11), 3),
        (IP, Ipv4Key::route(0x0c00_0000, 8), 9),
    ];
    for ((slice, (value, mask), egress), rank) in rows.into_iter().zip(0..) {
        table.insert(Rank(rank), Filter::new(slice, value, mask), EgressId::new(egress).unwrap()).unwrap();
    }
    let forward = |queue| Egress::forward(&tunnel(20_001, 200), QueueId(queue), 100).unwrap();
    let local = Egress::exit_with(Exception::Local.into());
    let sram = SramBank::new(Default::default(), Default::default());
    sram.assign(LABEL, 2).unwrap();
    sram.assign(IP, 2).unwrap();
    let stats =
        Counters { egresses: [Count::ZERO; 4], queues: [Count::ZERO; 4], slices: [Count::ZERO; 4 * ROW] };
    FastPath {
        decap,
        options,
        table,
        egress: [forward(0), forward(1), local, forward(1).with_word(1)],
        sram,
        stats,
    }
}

const QUANTUM: Quantum = Quantum::of_longest(1500);
const LINES: usize = crate::queue::lines(4, QUANTUM);
type Queues = Wdrr<[Queue; 4], [Descriptor<Packet<Buf>>; 16], [Line; LINES]>;

fn queues() -> Queues {
    let mut queues =
        Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 16], [Line::NEW; LINES], QUANTUM).unwrap();
    for (queue, owner) in [(0, IP), (1, LABEL)] {
        queues
            .configure(QueueId(queue), QueueConfig { limit_packets: 1, ..QueueConfig::new(owner) })
            .unwrap();
    }
    queues
}

fn vector() -> [Slot<Buf>; 12] {
    [
        frame(100, &ipv4(64, [10, 1, 2, 3])),   // IP, known destination
        frame(101, &[10, 1, 2, 3]),             // label, one target
        frame(100, &ipv4(1, [10, 1, 2, 3])),    // IP, lifetime over
        frame(101, &[11]),                      // label of a group
        frame(100, &ipv4(64, [99, 1, 2, 3])),   // IP, no route
        frame(103, &ipv4(64, [10, 1, 2, 3])),   // no slice has that port
        Packet::new([0; 256], 64, 65).unwrap(), // runt
        frame(102, &[0]),                       // a slice whose option is not here
        frame(100, &[0x45; 28]),                // IP, nonsense
        frame(100, &ipv4(1, [11, 1, 2, 3])),    // IP, to this node, at the end of its life
        frame(100, &ipv4(64, [12, 1, 2, 3])),   // IP, to an egress that is not there
        frame(101, &[10]),                      // the queue holds one only
    ]
    .map(Slot::from)
}

const EXITS: [(usize, (SliceId, Exit)); 10] = [
    (2, (IP, Exit::SlowPath(Exception::Expired))),
    (3, (LABEL, Exit::SlowPath(Exception::ManyMatches))),
    (4, (IP, Exit::Drop(DropReason::NoMatch))),
    (5, (SliceId::SUBSTRATE, Exit::Drop(DropReason::UnknownSlice))),
    (6, (SliceId::SUBSTRATE, Exit::Drop(DropReason::Truncated))),
    (7, (SliceId(3), Exit::Drop(DropReason::UnknownOption))),
    (8, (IP, Exit::Drop(DropReason::Truncated))),
    (9, (IP, Exit::SlowPath(Exception::Local))),
    (10, (IP, Exit::Drop(DropReason::NoMatch))),
    (11, (LABEL, Exit::Drop(DropReason::QueueFull))),
];

#[test]
fn two_options_share_one_pipeline() {
    let (mut fast_path, mut queues, mut vector) = (fast_path((Ipv4::default(), Label)), queues(), vector());
    let before: Vec<_> = vector.iter().map(|slot| slot.packet.clone().unwrap()).collect();
    let left = fast_path.process(Nanos::ZERO, &mut vector, &mut queues, &mut KeepInSlot);
    let exits: Vec<_> = vector.iter().enumerate().filter_map(|(n, s)| Some((n, s.exit?))).collect();
    assert_eq!((exits.as_slice(), left), (&EXITS[..], EXITS.len()));
    for (n, _) in &EXITS[..9] {
        assert_eq!(vector[*n].packet.as_ref().unwrap().bytes(), before[*n].bytes(), "as it came");
    }
    let departure = queues.dequeue(Nanos::ZERO).unwrap();
    assert_eq!((departure.queue, departure.owner, departure.octets), (QueueId(0), IP, 70));
    let frame = departure.handle.bytes();
    let sums = [&frame[14..34], &frame[42..62]].map(crate::wire::checksum::of);
    assert_eq!(sums, [0, 0]);
    assert_eq!(frame[42..], ipv4(63, [10, 1, 2, 3]), "lifetime down, checksum with it");
    assert_eq!(frame[34..42], [0x4e, 0x21, 0, 200, 0, 36, 0, 0], "substrate's header");
    let one = |octets| Count { packets: 1, octets };
    assert_eq!(fast_path.stats.read(Event::Queued(EgressId::new(0).unwrap())), one(70));
    for (n, (slice, exit)) in [EXITS[0], EXITS[1], EXITS[4], EXITS[5], EXITS[9]] {
        // What was dropped from the queue has its new header already.
        let octets = if n == 11 { 42 } else { before[n].octets() };
        assert_eq!(fast_path.stats.read(Event::Left(slice, exit)), one(u64::from(octets)), "{n}");
    }
    assert_eq!(fast_path.sram.region(LABEL).get(0), Some(3), "its own words only");
    assert_eq!(fast_path.sram.region(IP).get(0), Some(0));
}

#[test]
fn parts_may_be_borrowed_and_dyn() {
    let FastPath { decap, table, egress, sram, mut stats, .. } = fast_path(());
    let mut queues = queues();
    let mut fast_path = FastPath {
        decap: &decap as &dyn Decap,
        options: [&Ipv4::default() as &dyn CodeOption, &Label],
        table: &table as &dyn TernaryTable<Value = EgressId>,
        egress: &egress[..],
        sram: &sram as &dyn SliceSram,
        stats: &mut stats as &mut dyn StatsBlock,
    };
    let queues: &mut dyn WdrrScheduler<Handle = _> = &mut queues;
    let slow_path: &mut dyn SlowPath<Buf> = &mut NoSlowPath;
    let mut vector = vector();
    assert_eq!(fast_path.process(Nanos::ZERO, &mut vector, queues, slow_path), EXITS.len());
    let no_slow_path = Exit::Drop(DropReason::NoSlowPath);
    assert_eq!(vector[2].exit, Some((IP, no_slow_path)));
    assert_eq!(stats.read(Event::Left(IP, no_slow_path)).packets, 2);
}

#[test]
fn what_a_slice_manager_injects_takes_the_same_way() {
    let (mut fast_path, mut queues) = (fast_path((Ipv4::default(), Label)), queues());
    let admission = Admission { slice: IP, ..Admission::NONE };
    let meta = RxMeta { layer: Layer::Injected, admission, ..RxMeta::NEW };
    let packet = |octets: &[u8]| Packet::with_headroom([0; 256], 64, octets).unwrap();
    let unowned = RxMeta { admission: Admission::NONE, ..meta };
    let mut vector = [
        Slot::new(packet(&ipv4(64, [10, 1, 2, 3])), meta),
        Slot::new(packet(&[1]), meta),
        Slot::new(packet(&[1]), unowned),
    ];
    assert_eq!(fast_path.process(Nanos::ZERO, &mut vector, &mut queues, &mut KeepInSlot), 2);
    assert_eq!(vector[1].exit, Some((IP, DropReason::Truncated.into())));
    assert_eq!(vector[2].exit, Some((SliceId::SUBSTRATE, DropReason::UnknownSlice.into())));
    assert_eq!(queues.dequeue(Nanos::ZERO).unwrap().handle.bytes()[42..], ipv4(64, [10, 1, 2, 3]));
}

#[test]
fn a_trace_tells_what_each_block_decided() {
    #[derive(Default)]
    struct Slots(Vec<usize>, Vec<std::string::String>);
    impl Trace for Slots {
        fn wants(&mut self, at: usize, _: &[u8]) -> bool {
            self.0.contains(&at)
        }
        fn step(&mut self, step: Step) {
            self.1.push(step.to_string());
        }
    }
    let steps = |slot| {
        let mut trace = Slots([slot].into(), Vec::new());
        let mut fast_path = fast_path((Ipv4::default(), Label));
        fast_path.process_traced(Nanos::ZERO, &mut vector(), &mut queues(), &mut KeepInSlot, &mut trace);
        trace.1
    };
    assert_eq!(
        steps(0),
        [
            "decap   slice 1, link 100, option 0: 28 octets behind 42",
            "parse   key 001103e807d0c0a800010a010203",
            "lookup  egress 0",
            "format  traffic class 0x00",
            "queue   0: 70 octets",
        ]
    );
    assert_eq!(steps(2).last().unwrap(), "exit    slice 1: slow_path:expired");
    assert_eq!(steps(5), ["decap   refused: unknown_slice", "exit    slice 0: drop:unknown_slice"]);
    assert_eq!(steps(10)[2..], ["lookup  egress 9", "exit    slice 1: drop:no_match"]);
}

/// A scheduler that marks or drops whatever leaves.
struct Deciding(Queues, crate::queue::Verdict);

impl WdrrScheduler for Deciding {
    type Handle = Packet<Buf>;
    fn configure(&mut self, q: QueueId, c: QueueConfig) -> Result<(), crate::queue::ConfigError> {
        self.0.configure(q, c)
    }
    fn remove(&mut self, q: QueueId) -> Result<(), crate::queue::ConfigError> {
        self.0.remove(q)
    }
    fn flush(&mut self, q: QueueId) -> Option<crate::queue::Departure<Packet<Buf>>> {
        self.0.flush(q)
    }
    fn enqueue(
        &mut self, now: Nanos, q: QueueId, h: Packet<Buf>, a: Arrival,
    ) -> Result<(), crate::queue::Rejected<Packet<Buf>>> {
        self.0.enqueue(now, q, h, a)
    }
    fn dequeue(&mut self, now: Nanos) -> Option<crate::queue::Departure<Packet<Buf>>> {
        let departure = self.0.dequeue(now)?;
        Some(crate::queue::Departure { verdict: self.1, ..departure })
    }
    fn backlog(&self, q: QueueId) -> u32 {
        self.0.backlog(q)
    }
    fn stats(&self, q: QueueId) -> crate::queue::QueueStats {
        self.0.stats(q)
    }
    fn quantum(&self, q: QueueId) -> u64 {
        self.0.quantum(q)
    }
    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.0.next_due(now)
    }
}

#[test]
fn draining_marks_drops_and_counts() {
    use crate::queue::Verdict;
    let run = |verdict, refuse: bool| {
        let (mut fast_path, mut queues) = (fast_path((Ipv4::default(), Label)), Deciding(queues(), verdict));
        let mut vector = [Slot::from(frame(100, &ipv4(64, [10, 1, 2, 3])))];
        fast_path.process(Nanos::ZERO, &mut vector, &mut queues, &mut NoSlowPath);
        let (mut sent, mut recycled) = (Vec::new(), 0);
        // The buffer is in the packet here, so that what is refused is large.
        #[allow(clippy::result_large_err)]
        let send = |departure: crate::queue::Departure<Packet<Buf>>| {
            if refuse {
                return Err(departure.handle);
            }
            sent.push(departure.handle.bytes().to_vec());
            Ok(())
        };
        drain(Nanos::ZERO, &mut queues, &mut fast_path.stats, 8, send, |_| recycled += 1);
        (sent, recycled, fast_path.stats)
    };
    let (sent, recycled, stats) = run(Verdict::SendMarked, false);
    assert_eq!((sent[0][15] & 3, crate::wire::checksum::of(&sent[0][14..34]), recycled), (3, 0, 0));
    assert_eq!(stats.read(Event::Sent(QueueId(0))), Count { packets: 1, octets: 70 });
    let (sent, recycled, stats) = run(Verdict::Drop(DropReason::QueuePolicy), false);
    assert_eq!((sent.len(), recycled), (0, 1));
    assert_eq!(stats.read(Event::Left(IP, DropReason::QueuePolicy.into())).packets, 1);
    let (_, recycled, stats) = run(Verdict::Send, true);
    assert_eq!((recycled, stats.read(Event::Left(IP, DropReason::TxFailed.into())).packets), (1, 1));
    assert_eq!(stats.read(Event::Sent(QueueId(0))), Count::ZERO);
}
