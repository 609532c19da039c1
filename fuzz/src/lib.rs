//! From octets to frames, and what must hold of each: shared by the fuzz targets and by
//! `tests/fuzz_inputs.rs` and `tests/regress.rs`, which feed it without a fuzzer.
//!
//! Everything here panics if the crate did what it must not.

use std::net::SocketAddrV4;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

use etherparse::{IpNumber, Ipv4HeaderSlice, UdpHeaderSlice};
use fastpath::decap::UdpChecksum;
use fastpath::egress::{Egresses, Template};
use fastpath::lookup::Row;
use fastpath::prelude::*;
use fastpath::queue::Departure;
use fastpath::slot::{DscpModel, Endpoint, Tunnelled};
use fastpath::sram::Region;
use fastpath::stats::SliceAccount;

#[path = "../../tests/support/label.rs"]
mod label;
mod lookup_ops;
mod manager;
mod tunnels;

use label::Label;

pub use lookup_ops::{Done, lookup_ops};
pub use manager::{Answers, manager};
pub use tunnels::tunnels;

/// Octets to decide by, one at a time; 0 when they are used up.
#[derive(Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl Cursor<'_> {
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Whether an event happens that is to happen once in `n` times.
    fn once_in(&mut self, n: u8) -> bool {
        self.octet() % n == n - 1
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[usize::from(self.octet()) % N]
    }
}

const OURS: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 9];
const PEER_PORT: u16 = 30_000;

/// Forwards IPv4 over pipes.
const IP: SliceId = SliceId(1);
/// Runs [`Label`].
const LABEL: SliceId = SliceId(2);
/// Runs an option that is not there.
const LOST: SliceId = SliceId(3);
/// Forwards IPv4 over uniform tunnels, with UDP checksums.
const UNIFORM: SliceId = SliceId(4);
const SLICES: usize = 5;

/// The port, slice, option and kind of each link.
const LINKS: [(u16, SliceId, u8, DscpModel, UdpChecksum); 4] = [
    (20_001, IP, 0, DscpModel::Pipe, UdpChecksum::Skip),
    (20_002, LABEL, 1, DscpModel::Pipe, UdpChecksum::Skip),
    (20_003, LOST, 9, DscpModel::Pipe, UdpChecksum::Skip),
    (20_004, UNIFORM, 0, DscpModel::Uniform, UdpChecksum::Verify),
];

/// What the one template puts behind UDP.
const SHIM: [u8; 8] = [8, 0, 0, 0, 0, 0, 7, 0];
const SMALL_MTU: u16 = 60;
const LARGE_MTU: u16 = 1400;

/// A frame, and what is known of it because it was made here.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The frame.
    pub octets: Vec<u8>,
    /// How it is received.
    pub meta: RxMeta,
    /// Where its outer IPv4 header begins, if it has one.
    pub outer: Option<usize>,
    /// The slice it goes to and where the slice's packet is, unless something in front of
    /// that was damaged.
    pub inner: Option<(SliceId, Range<usize>)>,
    /// Nothing is wrong with it: it is forwarded, if there is room in the queue.
    pub sound: bool,
}

/// Makes a frame: mostly a right outer header to a port that is open, and in it mostly
/// what that port's slice has a way for; now and then, one thing is wrong.
pub fn frame(from: &mut Cursor<'_>) -> Shape {
    let link = from.pick([0, 0, 0, 3, 3, 1, 1, 2]);
    let (mut port, slice, option, dscp, verify) = LINKS[link];
    let (mut inner, mut sound) = if slice == LABEL { label(from) } else { inner_ipv4(from) };
    sound &= slice != LOST;
    let ends = |port| Tunnelled {
        source: Endpoint::v4(u32::from_be_bytes(PEER), PEER_PORT),
        destination: Endpoint::v4(u32::from_be_bytes(OURS), port),
        traffic_class: 0,
    };
    let kind = from.pick([0, 0, 0, 1, 2, 2, 3, 4]);
    if kind >= 3 {
        let layer = if kind == 3 { Layer::Stripped } else { Layer::Injected };
        let admission = Admission { slice, option: OptionId(option), dscp, ..Admission::NONE };
        let meta = RxMeta { layer, tunnel: ends(port), admission, ..RxMeta::NEW };
        let whole = 0..inner.len();
        return Shape { octets: inner, meta, outer: None, inner: Some((slice, whole)), sound };
    }

    if from.once_in(32) {
        (port, sound) = (9, false);
    }
    let class = if from.once_in(8) { from.octet() } else { 0 };
    // A mark on a packet that cannot carry it is dropped.
    sound &= class & 3 == 0;
    let mut octets = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let meta = match kind {
        0 => RxMeta::NEW,
        1 => {
            let tag = [from.octet(), from.octet()];
            octets.splice(12..12, [[0x81, 0], tag].concat());
            RxMeta::NEW
        }
        _ => {
            octets.clear();
            RxMeta::IP
        }
    };
    let at = octets.len();
    let udp_len = 8 + inner.len() as u16;
    octets.extend([0x45, class]);
    octets.extend((20 + udp_len).to_be_bytes());
    octets.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    octets.extend([PEER, OURS].concat());
    if from.once_in(32) {
        // Options are passed over.
        octets[at] = 0x46;
        octets[at + 2..at + 4].copy_from_slice(&(24 + udp_len).to_be_bytes());
        octets.extend([1, 1, 1, 0]);
    }
    let mut udp = etherparse::UdpHeader {
        source_port: PEER_PORT,
        destination_port: port,
        length: udp_len,
        checksum: 0,
    };
    if from.once_in(4) {
        udp.checksum = udp.calc_checksum_ipv4_raw(PEER, OURS, &inner).unwrap();
        if from.once_in(8) {
            udp.checksum ^= 1;
            sound &= verify == UdpChecksum::Skip;
        }
    }
    octets.extend(udp.to_bytes());
    let begins = octets.len();
    octets.append(&mut inner);
    let ends = octets.len();
    seal(&mut octets, Some(at));
    if from.once_in(8) {
        // What the link padded.
        octets.extend(vec![0xee; usize::from(from.octet() % 32)]);
    }
    let mut shape = Shape { octets, meta, outer: Some(at), inner: Some((slice, begins..ends)), sound };
    if port == 9 {
        shape.inner = None;
    }
    if from.once_in(16) {
        (shape.inner, shape.sound) = (None, false);
        for _ in 0..=from.octet() % 3 {
            let at = usize::from(from.octet()) % begins;
            shape.octets[at] = from.octet();
        }
        if !from.once_in(4) {
            seal(&mut shape.octets, shape.outer);
        }
    }
    if from.once_in(32) {
        (shape.inner, shape.sound) = (None, false);
        let len = shape.octets.len() - usize::from(from.octet()).min(shape.octets.len());
        shape.octets.truncate(len);
    }
    shape
}

/// A packet for [`Label`], and whether it has a way.
fn label(from: &mut Cursor<'_>) -> (Vec<u8>, bool) {
    if from.once_in(16) {
        return (Vec::new(), false);
    }
    let any = from.octet();
    let label = from.pick([7, 7, 7, 7, 8, 9, 9, any]);
    let mut packet = vec![label];
    if label == 9 {
        packet.extend(from.pick([PEER, [172, 16, 0, 1], [224, 0, 0, 1], [0; 4]]));
        packet.extend([from.octet(), from.octet()]);
    }
    for _ in 0..from.octet() % 64 {
        packet.push(from.octet());
    }
    (packet, label == 7)
}

/// An IPv4 packet, and whether it has a way.
fn inner_ipv4(from: &mut Cursor<'_>) -> (Vec<u8>, bool) {
    // 10 to 14 lead out; 15 is this node, 16 is filtered, 17 is no egress, 18 no route.
    let net = from.pick([10, 10, 10, 10, 10, 11, 11, 12, 12, 13, 13, 14, 15, 16, 17, 18]);
    let mut sound = net < 15;
    let ttl = if from.once_in(16) { from.octet() % 3 } else { 64 };
    sound &= ttl > 1;
    let payload = usize::from(from.octet()) % 64;
    let mut packet =
        vec![0x45, from.octet(), 0, 20 + payload as u8, 0, 0, 0, 0, ttl, from.pick([17, 6, 1, 47])];
    packet.extend([0, 0, 192, 168, 0, from.octet(), net, from.octet(), from.octet(), from.octet()]);
    if net == 11 {
        sound &= 20 + payload <= usize::from(SMALL_MTU);
    }
    packet.extend((0..payload).map(|_| from.octet()));
    seal(&mut packet, Some(0));
    if from.once_in(4) {
        sound = false;
        for _ in 0..=from.octet() % 3 {
            let at = usize::from(from.octet()) % packet.len().min(28);
            packet[at] = from.octet();
        }
        if !from.once_in(4) {
            seal(&mut packet, Some(0));
        }
    }
    (packet, sound)
}

/// Puts the checksum into the IPv4 header that begins at `at`, if it is all there.
pub fn seal(octets: &mut [u8], at: Option<usize>) {
    let Some(octets) = at.and_then(|at| octets.get_mut(at..)) else { return };
    let header = octets.first().map_or(0, |first| usize::from(first & 15) * 4);
    let Some(header) = octets.get_mut(..header).filter(|header| header.len() >= 20) else { return };
    header[10..12].fill(0);
    let sum = !ones_complement_sum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, as it is written there.
fn ones_complement_sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The IPv4 header at the front of `octets`, if etherparse and its checksum say it is one.
fn header(octets: &[u8]) -> Option<Ipv4HeaderSlice<'_>> {
    let header = Ipv4HeaderSlice::from_slice(octets).ok()?;
    let total = usize::from(header.total_len());
    let fits = total >= header.slice().len() && total <= octets.len();
    (fits && ones_complement_sum(header.slice()) == 0xffff).then_some(header)
}

fn ports() -> UdpPorts<[PortEntry; 16]> {
    let mut ports = UdpPorts::new([PortEntry::EMPTY; 16]);
    for (port, slice, option, dscp, udp_checksum) in LINKS {
        let admission = Admission { slice, option: OptionId(option), link: LinkId(port), dscp };
        ports.open(OURS.into(), port, PortConfig { admission, udp_checksum }).unwrap();
    }
    ports
}

/// Admits `frame` as Ethernet and as IPv4, and compares with what etherparse reads.
/// Whether it was admitted as one of them.
pub fn decap(frame: &[u8]) -> bool {
    let ports = ports();
    let mut admitted = false;
    for meta in [RxMeta::NEW, RxMeta::IP] {
        let found = ports.decap(frame, &meta);
        let found = found.map(|inner| {
            assert_eq!(inner.admission.link.0, 20_000 + inner.admission.slice.0);
            (inner.admission.slice, usize::from(inner.offset), usize::from(inner.len), inner.source)
        });
        assert_eq!(found.ok(), expected(frame, meta.layer), "{:?}: {found:?}", meta.layer);
        admitted |= found.is_ok();
    }
    admitted
}

fn expected(frame: &[u8], layer: Layer) -> Option<(SliceId, usize, usize, Endpoint)> {
    let link = match (layer, frame.get(12..14), frame.get(16..18)) {
        (Layer::Ip, _, _) => 0,
        (_, Some([8, 0]), _) => 14,
        (_, Some([0x81, 0] | [0x88, 0xa8]), Some([8, 0])) => 18,
        (_, Some([0x88, 0xa8]), Some([0x81, 0])) if frame.get(20..22) == Some(&[8, 0]) => 22,
        _ => return None,
    };
    let ip = header(frame.get(link..)?)?;
    let begins = link + ip.slice().len();
    let datagram = &frame[begins..link + usize::from(ip.total_len())];
    if ip.is_fragmenting_payload() || ip.protocol() != IpNumber::UDP || ip.destination() != OURS {
        return None;
    }
    let udp = UdpHeaderSlice::from_slice(datagram).ok()?;
    let payload = datagram.get(8..usize::from(udp.length()))?;
    let (_, slice, _, _, verify) = *LINKS.iter().find(|link| link.0 == udp.destination_port())?;
    if verify == UdpChecksum::Verify && udp.checksum() != 0 {
        let len = udp.length().to_be_bytes();
        let pseudo = [&ip.source()[..], &OURS, &[0, 17], &len, &datagram[..usize::from(udp.length())]];
        if ones_complement_sum(&pseudo.concat()) != 0xffff {
            return None;
        }
    }
    let source = Endpoint::v4(u32::from_be_bytes(ip.source()), udp.source_port());
    Some((slice, begins + 8, payload.len(), source))
}

/// Forwards a packet behind four octets of circumstances: outer class, what to do with
/// the time to live, MTU, and whether the slice's manager sent it. Whether it was
/// forwarded.
pub fn ipv4(octets: &[u8]) -> bool {
    let Some((&[outer_class, uniform, mtu, injected], packet)) = octets.split_first_chunk() else {
        return false;
    };
    let (injected, mtu) = (injected & 1 != 0, 20 + u16::from(mtu) * 6);
    let dscp = if uniform & 1 == 0 { DscpModel::Pipe } else { DscpModel::Uniform };
    let cx = Context { outer_class, dscp, injected, ..Context::of(IP) };
    let option = Ipv4::default();
    option.flow_hash(packet);
    let sound = header(packet);
    let query = match option.parse(packet, &cx) {
        Ok(query) => query,
        Err(exit) => {
            let ordinary = sound.is_some_and(|ip| {
                ip.options().is_empty()
                    && outer_class & 3 != 3
                    && [ip.source(), ip.destination()].iter().all(|a| matches!(a[0], 1..127 | 170..224))
            });
            assert!(!ordinary, "{exit}");
            return false;
        }
    };
    let ip = sound.expect("a header that etherparse refuses");
    let key = Ipv4Key::from(query.key);
    let addresses = [key.source, key.destination].map(u32::to_be_bytes);
    assert_eq!((addresses, key.protocol), ([ip.source(), ip.destination()], ip.protocol().0));
    let later = ip.fragments_offset().value() != 0;
    assert_eq!(key.class & Ipv4Key::FRAGMENT != 0, later);
    if later {
        assert_eq!((key.source_port, key.destination_port), (0, 0));
    }

    let mut held = Packet::with_headroom(vec![0; packet.len() + 8], 8, packet).unwrap();
    let answer = Answer { word: 0, carry: query.carry, mtu };
    match held.edit(held.whole(), |held| option.format(held, answer, &cx)) {
        Err(_) => {
            assert_eq!(held.bytes(), packet, "a format that failed has changed something");
            false
        }
        Ok(outgoing) => {
            assert!(ip.total_len() <= mtu && (injected || ip.ttl() > 1));
            forwarded(packet, held.bytes(), injected);
            assert_eq!(held.bytes()[1], outgoing.traffic_class);
            true
        }
    }
}

/// Whether `after` is `before`, forwarded.
fn forwarded(before: &[u8], after: &[u8], injected: bool) {
    let old = header(before).expect("forwarded what is no IPv4");
    let new = header(after).expect("a checksum that is wrong");
    // etherparse forgets the reserved bit when it adds up; 0xffff stands for 0 only where
    // it came so.
    if after[6] & 0x80 == 0 && new.header_checksum() != 0xffff {
        assert_eq!(new.header_checksum(), new.to_header().calc_header_checksum());
    }
    assert!(injected || new.header_checksum() != 0xffff);
    assert_eq!(new.ttl(), if injected { old.ttl() } else { old.ttl() - 1 });
    assert_eq!(after.len(), usize::from(old.total_len()), "padding went out");
    assert_eq!(after[0], before[0]);
    assert_eq!(after[2..8], before[2..8]);
    assert_eq!(after[9], before[9]);
    assert_eq!(after[12..], before[12..after.len()]);
}

/// The buffer of a packet, with a number to know it by.
#[derive(Debug)]
struct Buf {
    id: usize,
    octets: Vec<u8>,
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl AsMut<[u8]> for Buf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.octets
    }
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Frames that came in.
    pub received: u64,
    /// Frames that were queued; all were sent in the end.
    pub forwarded: u64,
    /// Frames that were dropped.
    pub dropped: u64,
    /// Frames that were exceptions.
    pub slow_path: u64,
}

const QUANTUM: Quantum = Quantum::of_longest(1500);
const LINES: usize = fastpath::queue::lines(2, QUANTUM);
type Scheduler = Paced<Wdrr<[Queue; 2], [Descriptor<Packet<Buf>>; 12], [Line; LINES]>>;

fn queues() -> QueueManager<[Scheduled<Scheduler>; 2]> {
    let scheduler = |_| {
        let wdrr =
            Wdrr::new([Queue::NEW; 2], [const { Descriptor::NEW }; 12], [Line::NEW; LINES], QUANTUM).unwrap();
        Paced::new(wdrr, Rate::bits_per_second(10_000_000_000).unwrap(), 24, Nanos(100))
    };
    let mut queues = QueueManager::new([0, 1].map(|at| Scheduled::new(scheduler(at))), 1);
    for (queue, owner) in [(0, IP), (1, UNIFORM), (2, LABEL)] {
        let config = QueueConfig { limit_packets: 8, ..QueueConfig::new(owner) };
        queues.configure(QueueId(queue), config).unwrap();
    }
    queues
}

fn egresses() -> Egresses<[Egress; 9], [Template; 1]> {
    let end = |[a, b, c, d]: [u8; 4], port| SocketAddrV4::new([a, b, c, d].into(), port);
    let ethernet =
        |tag| LinkLayer::Ethernet { destination: [2, 0, 0, 0, 0, 2], source: [2, 0, 0, 0, 0, 1], tag };
    let tunnel = |layer| Tunnel::new(layer, end(OURS, 20_001), end(PEER, PEER_PORT));
    let forward = |tunnel: &Tunnel, queue, mtu| Egress::forward(tunnel, QueueId(queue), mtu).unwrap();
    let uniform = Tunnel { dscp_model: DscpModel::Uniform, ..tunnel(ethernet(Some(5))) };
    let many = Tunnel { multipoint: true, ..tunnel(ethernet(None)) };
    // The template's tunnel has a port of its own, so that its shim is known.
    let shim = Tunnel { destination: end(PEER, 4789).into(), ..tunnel(ethernet(None)) };
    let template = Template::new(&shim, &SHIM).unwrap();
    Egresses {
        records: [
            forward(&tunnel(ethernet(None)), 0, LARGE_MTU),
            forward(&tunnel(LinkLayer::Ip), 0, SMALL_MTU),
            forward(&uniform, 1, LARGE_MTU),
            Egress::by_template(0, &template, QueueId(1), LARGE_MTU).unwrap(),
            Egress::exit_with(Exception::Local.into()),
            Egress::exit_with(DropReason::Filtered.into()),
            forward(&tunnel(ethernet(None)), 2, LARGE_MTU),
            forward(&tunnel(ethernet(None)), 2, LARGE_MTU).with_word(1),
            forward(&many, 2, LARGE_MTU).with_word(2),
        ],
        templates: [template],
    }
}

type Rows = [Option<Row<EgressId>>; 32];

fn table() -> LinearTcam<Rows> {
    let mut table = LinearTcam::new([None; 32]);
    let ipv4 = [(10, 0), (11, 1), (12, 2), (13, 3), (14, 0), (15, 4), (16, 5), (17, 99)];
    let mut insert = |slice, (value, mask), egress| {
        let filter = Filter::new(slice, value, mask);
        table.insert(Rank(1), filter, EgressId::new(egress).unwrap()).unwrap();
    };
    for slice in [IP, UNIFORM, LOST] {
        for (net, egress) in ipv4 {
            insert(slice, Ipv4Key::route(net << 24, 8), egress);
        }
    }
    for (label, egress) in [(7, 6), (8, 7), (9, 8)] {
        insert(LABEL, (LookupKey::new(label), LookupKey::new(0xff)), egress);
    }
    table
}

/// Takes frames made from `octets` through a pipeline in vectors of up to eight, sends
/// what comes out, and checks:
///
/// - received = queued + dropped + slow path, by the counters and by what is seen;
/// - what leaves early is as it came, unless it was dropped behind Header Format;
/// - what is forwarded has the headers it should have, the slice's packet in it, and
///   leaves by a queue that such packets have a way to;
/// - what has nothing wrong with it is forwarded, if there is room in the queue;
/// - nothing is lost, and nothing panics.
pub fn pipeline(octets: &[u8]) -> Tally {
    let mut from = Cursor(octets);
    let sram = SramBank::new([const { AtomicU32::new(0) }; 8], [const { Region::NONE }; SLICES]);
    sram.assign(IP, 4).unwrap();
    sram.assign(LABEL, 4).unwrap();
    let mut fast_path = FastPath {
        decap: ports(),
        options: (Ipv4::default(), Label),
        table: table(),
        egress: egresses(),
        sram: &sram,
        stats: Counters {
            egresses: [Count::ZERO; 9],
            queues: [Count::ZERO; 4],
            slices: [Count::ZERO; SLICES * ROW],
        },
    };
    let mut queues = queues();
    let mut shapes: Vec<Shape> = Vec::new();
    let (mut tally, mut left_octets, mut sent) = (Tally::default(), 0, 0);
    let mut now = Nanos::ZERO;
    while !from.0.is_empty() && shapes.len() < 64 {
        now += Nanos::from_micros(from.octet().into());
        let mut vector = [const { Slot::EMPTY }; 8];
        let first = shapes.len();
        let count = 1 + usize::from(from.octet() % 8);
        for slot in &mut vector[..count] {
            let shape = frame(&mut from);
            // Now and then there is no headroom for a new header.
            let headroom = if from.once_in(64) { from.octet() } else { 96 };
            let buf =
                Buf { id: shapes.len(), octets: vec![0xaa; usize::from(headroom) + shape.octets.len() + 4] };
            let packet = Packet::with_headroom(buf, headroom.into(), &shape.octets).unwrap();
            *slot = Slot::new(packet, shape.meta);
            shapes.push(Shape { sound: shape.sound && headroom == 96, ..shape });
        }
        let left = fast_path.process(now, &mut vector, &mut queues, &mut KeepInSlot);
        tally.received += count as u64;
        assert_eq!(left, vector.iter().filter(|slot| slot.packet.is_some()).count());
        for (slot, shape) in vector.iter().zip(&shapes[first..]) {
            let Some(packet) = &slot.packet else {
                assert_eq!(slot.exit, None);
                tally.forwarded += 1;
                continue;
            };
            let (slice, exit) = slot.exit.expect("left, and no reason given");
            left_octets += u64::from(packet.octets());
            left_early(shape, slice, exit, packet.bytes());
            match exit {
                Exit::Drop(_) => tally.dropped += 1,
                Exit::SlowPath(_) => tally.slow_path += 1,
            }
        }
        account(&fast_path.stats, tally, left_octets);
        let budget = usize::from(from.octet() % 16);
        let send = |departure: Departure<Packet<Buf>>| {
            departed(&shapes, departure);
            Ok(())
        };
        sent += drain(now, &mut queues, &mut fast_path.stats, budget, send, |_| unreachable!()).sent as u64;
    }
    while let Some(due) = queues.next_due(now) {
        now = if due > now { due } else { now };
        let send = |departure: Departure<Packet<Buf>>| {
            departed(&shapes, departure);
            Ok(())
        };
        let drained = drain(now, &mut queues, &mut fast_path.stats, 64, send, |_| unreachable!());
        assert!(drained.sent > 0, "due, and nothing came");
        sent += drained.sent as u64;
    }
    assert_eq!(sent, tally.forwarded, "queued and never sent");
    let counted: Count = (0..4).map(|queue| fast_path.stats.read(Event::Sent(QueueId(queue)))).sum();
    let queued: Count = fast_path.stats.egresses.into_iter().sum();
    assert_eq!(counted, queued);
    assert_eq!(sram.region(IP).get(0), Some(0), "a slice wrote into another's memory");
    tally
}

/// The counters against what was seen.
fn account(stats: &impl StatsBlock, seen: Tally, left_octets: u64) {
    let accounts = (0..SLICES as u16).map(|slice| SliceAccount::read(stats, SliceId(slice)));
    let (dropped, slow_path) = accounts.fold((Count::ZERO, Count::ZERO), |(dropped, slow_path), account| {
        (dropped + account.dropped, slow_path + account.slow_path)
    });
    let egresses = (0..9).filter_map(EgressId::new);
    let queued: Count = egresses.map(|egress| stats.read(Event::Queued(egress))).sum();
    let counted = Tally {
        received: queued.packets + dropped.packets + slow_path.packets,
        forwarded: queued.packets,
        dropped: dropped.packets,
        slow_path: slow_path.packets,
    };
    assert_eq!(counted, seen);
    assert_eq!((dropped + slow_path).octets, left_octets);
}

/// What must hold of a packet that left early.
fn left_early(shape: &Shape, slice: SliceId, exit: Exit, octets: &[u8]) {
    use DropReason::{Destination, NoBuffer, NoHeadroom, QueueFull, TooLong};
    let full = [QueueFull, NoBuffer].map(Exit::Drop).contains(&exit);
    let behind_format = full || [NoHeadroom, Destination, TooLong].map(Exit::Drop).contains(&exit);
    if !behind_format {
        assert_eq!(octets, shape.octets, "{exit}: not as it came");
    }
    assert!(!shape.sound || full, "{exit}: there is nothing wrong with {shape:x?}");
    if let Some((owner, _)) = shape.inner {
        // Substrate Decap names no slice.
        assert!(slice == owner || (slice == SliceId::SUBSTRATE && !shape.sound), "{exit}: {slice}");
    }
}

/// What must hold of a packet that is sent.
fn departed(shapes: &[Shape], departure: Departure<Packet<Buf>>) {
    let frame = departure.handle.bytes().to_vec();
    assert_eq!(departure.octets as usize, frame.len());
    // An Ethernet address of ours begins with 2.
    let (link, tagged) = if frame[0] == 0x45 { (0, false) } else { (14, frame[12..14] == [0x81, 0]) };
    let link = if tagged { 18 } else { link };
    if link > 0 {
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        assert_eq!(frame[link - 2..link], [8, 0]);
    }
    let outer = header(&frame[link..]).expect("an outer header that is wrong");
    assert_eq!(outer.header_checksum(), outer.to_header().calc_header_checksum());
    assert_eq!(usize::from(outer.total_len()), frame.len() - link);
    assert_eq!((outer.source(), outer.ttl(), outer.dont_fragment()), (OURS, 64, true));
    assert_eq!((outer.slice().len(), outer.protocol()), (20, IpNumber::UDP));
    let datagram = &frame[link + 20..];
    let udp = UdpHeaderSlice::from_slice(datagram).unwrap();
    assert_eq!((usize::from(udp.length()), udp.checksum()), (datagram.len(), 0));
    assert_eq!(udp.source_port(), 20_001);
    let sent = &datagram[8..];
    let by_template = departure.queue == QueueId(1) && !tagged;
    let sent = if by_template { sent.strip_prefix(&SHIM).unwrap() } else { sent };
    let peer = (PEER, if by_template { 4789 } else { PEER_PORT });
    let to = (outer.destination(), udp.destination_port());
    let class = outer.slice()[1];

    let shape = &shapes[departure.handle.into_buf().id];
    let Some((slice, at)) = &shape.inner else { return };
    // What a link padded is not the slice's.
    let came = &shape.octets[at.clone()];
    if *slice == LABEL {
        assert_eq!(departure.owner, LABEL);
        assert_eq!(sent, &came[1..], "not the packet that came");
        let named = match *came {
            [9, a, b, c, d, p, q, ..] => ([a, b, c, d], u16::from_be_bytes([p, q])),
            _ => peer,
        };
        assert_eq!((to, class), (named, 0));
    } else {
        assert_ne!(departure.owner, LABEL);
        forwarded(came, sent, shape.meta.layer == Layer::Injected);
        // The one uniform tunnel has a tag. ECN is copied out everywhere.
        assert_eq!((to, class), (peer, if tagged { sent[1] } else { sent[1] & 3 }));
    }
}
