//! Figure 7 through the whole of the fast path: tunnelled frames in at Rx, frames out at
//! Tx, every octet of them checked.
//!
//! Each source is a slice with a port, a route and a queue of its own; all send to the
//! same address, so that only the slice tells their packets apart. Between them come
//! frames that leave early, on account of the slice or of the substrate. They take no
//! room on the link, and the fluid does not know of them.
//!
//! Frames are written by etherparse, those that go in and those that must come out.

use std::collections::{BTreeMap, VecDeque};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, SingleVlanHeader, UdpHeader, VlanId, VlanPcp,
};
use fastpath::io::{NoBuffers, Ring};
use fastpath::lookup::Row;
use fastpath::prelude::*;

use super::*;

/// From one look at Rx to the next, in nanoseconds: time for five frames of 1,400 octets
/// of payload, or for 76 without. No divisor of [`BIN`], so that a reading finds packets
/// in Rx.
const TICK: u64 = 30_000;

/// Every so many packets of a source, a frame that will not be sent follows.
const STRAY: u64 = 16;

/// One end of a tunnel.
#[derive(Clone, Copy, Debug)]
struct End {
    mac: [u8; 6],
    address: [u8; 4],
    port: u16,
}

fn ours(source: usize) -> End {
    End { mac: [2, 0, 0, 0, 0, 1], address: [10, 0, 0, 1], port: 20_001 + source as u16 }
}

fn peer(source: usize) -> End {
    End { mac: [2, 0, 0, 0, 0, 2], address: [10, 0, 0, 9], port: 30_001 + source as u16 }
}

/// The tag of the virtual LAN that both ends are in.
const VLAN: u16 = 7;

/// A slice's packet: UDP, `number` in the identification and the last octet of that in
/// the payload.
#[derive(Clone, Copy, Debug)]
struct Inner {
    ttl: u8,
    to: [u8; 4],
    number: u64,
    payload: u32,
}

/// Octets in front of the slice's packet, and the most that one may have.
const OUTER: usize = 46;
const MTU: u16 = 28 + 1400;

/// To whom all sources send, and who does not get it: this node, and one without route.
const TO: [u8; 4] = [10, 1, 2, 3];
const NODE: [u8; 4] = [10, 255, 0, 1];
const NOBODY: [u8; 4] = [172, 16, 0, 1];

/// `inner` on its way `from` one end `to` the other.
fn frame(from: End, to: End, inner: Inner) -> Vec<u8> {
    let ipv4 = |octets: u32, ttl, from, to, identification| {
        let header = Ipv4Header::new(octets as u16, ttl, IpNumber::UDP, from, to).unwrap();
        let header = Ipv4Header { identification, ..header };
        Ipv4Header { header_checksum: header.calc_header_checksum(), ..header }.to_bytes()
    };
    let udp = |source_port, destination_port, octets: u32| {
        UdpHeader { source_port, destination_port, length: octets as u16, checksum: 0 }.to_bytes()
    };
    let Inner { ttl, to: destination, number, payload } = inner;
    let mut octets = Vec::with_capacity((HEADERS + payload) as usize);
    let ethernet =
        Ethernet2Header { source: from.mac, destination: to.mac, ether_type: EtherType::VLAN_TAGGED_FRAME };
    octets.extend(ethernet.to_bytes());
    let tag = SingleVlanHeader {
        pcp: VlanPcp::ZERO,
        drop_eligible_indicator: false,
        vlan_id: VlanId::try_new(VLAN).unwrap(),
        ether_type: EtherType::IPV4,
    };
    octets.extend(tag.to_bytes());
    octets.extend(ipv4(36 + payload, 64, from.address, to.address, 0));
    octets.extend(udp(from.port, to.port, 36 + payload));
    octets.extend(ipv4(8 + payload, ttl, [192, 168, 0, 1], destination, number as u16));
    octets.extend(udp(1000, 2000, 8 + payload));
    octets.resize((HEADERS + payload) as usize, number as u8);
    octets
}

/// A packet of a source: to be sent, or else to leave early.
#[derive(Clone, Copy, Debug)]
struct Sent {
    source: usize,
    inner: Inner,
    stray: Option<(SliceId, Exit)>,
}

impl Sent {
    fn count(&self) -> Count {
        Count { packets: 1, octets: u64::from(HEADERS + self.inner.payload) }
    }

    /// Who answers for it.
    fn slice(&self) -> SliceId {
        self.stray.map_or(slice(self.source), |(slice, _)| slice)
    }
}

/// Stray `number` of a source, as it comes, with what it is and what becomes of it.
fn stray(source: usize, number: u64) -> (Sent, Vec<u8>) {
    let inner = Inner { ttl: 64, to: TO, number, payload: 400 };
    let owner = slice(source);
    let (inner, stray) = match number % 6 {
        0 => (Inner { ttl: 1, ..inner }, (owner, Exception::Expired.into())),
        1 => (Inner { to: NODE, ..inner }, (owner, Exception::Local.into())),
        2 => (Inner { payload: 1401, ..inner }, (owner, Exception::TooBig.into())),
        3 => (Inner { to: NOBODY, ..inner }, (owner, DropReason::NoMatch.into())),
        4 => (inner, (owner, DropReason::Checksum.into())),
        _ => (inner, (SliceId::SUBSTRATE, DropReason::UnknownSlice.into())),
    };
    let to = if stray.0 == SliceId::SUBSTRATE { End { port: 9, ..ours(source) } } else { ours(source) };
    let mut octets = frame(peer(source), to, inner);
    if stray.1 == DropReason::Checksum.into() {
        octets[OUTER + 8] ^= 2;
    }
    (Sent { source, inner, stray: Some(stray) }, octets)
}

type Buf = Vec<u8>;
type Path = FastPath<
    UdpPorts<[PortEntry; 16]>,
    (Ipv4,),
    LinearTcam<[Option<Row<EgressId>>; 2 * SOURCES]>,
    [Egress; SOURCES + 1],
    NoSram,
    Statistics,
>;

/// A node with all blocks of Figure 4. What it does is counted beside it, without a look
/// at its counters.
struct Node {
    path: Path,
    queues: Manager<Packet<Buf>>,
    rx: Ring<Box<[Slot<Buf>]>>,
    tx: Ring<[Slot<Buf>; 4]>,
    /// When Rx will be looked at.
    tick: Nanos,
    /// What stands in Rx, and what waits in each queue with the octets of it.
    ahead: VecDeque<Sent>,
    waiting: [(VecDeque<Sent>, u64); SOURCES],
    /// Packets and strays of each source.
    numbers: [(u64, u64); SOURCES],
    /// By slice: what came.
    received: [Count; SOURCES + 1],
    /// By source: what went.
    sent: [Count; SOURCES],
    /// What left early.
    left: BTreeMap<(SliceId, Exit), Count>,
    /// Whether a queue has a limit.
    limited: bool,
    /// The most packets that were taken through the blocks together.
    most: usize,
}

impl Node {
    fn new(setup: &Setup) -> Self {
        let queues = manager(setup);
        let mut decap = UdpPorts::new([PortEntry::EMPTY; 16]);
        let mut table = LinearTcam::new([None; 2 * SOURCES]);
        let mut ways_out = [Egress::exit_with(Exception::Local.into()); SOURCES + 1];
        for (source, way_out) in ways_out[..SOURCES].iter_mut().enumerate() {
            let End { mac, address, port } = ours(source);
            let admission = Admission { slice: slice(source), ..Admission::NONE };
            decap.open(address.into(), port, PortConfig::new(admission)).unwrap();
            for (to, prefix, number) in [(NODE, 32, SOURCES), (TO, 16, source)] {
                let (value, mask) = Ipv4Key::route(u32::from_be_bytes(to), prefix);
                let filter = Filter::new(slice(source), value, mask);
                table.insert(Rank::longest_prefix(32, prefix), filter, egress(number)).unwrap();
            }
            let link = LinkLayer::Ethernet { destination: peer(source).mac, source: mac, tag: Some(VLAN) };
            let socket = |end: End| std::net::SocketAddrV4::new(end.address.into(), end.port);
            let tunnel = Tunnel::new(link, socket(ours(source)), socket(peer(source)));
            *way_out = Egress::forward(&tunnel, queue(&queues, source), MTU).unwrap();
        }
        let path = FastPath {
            decap,
            options: (Ipv4::default(),),
            table,
            egress: ways_out,
            sram: NoSram,
            stats: NOTHING_COUNTED,
        };
        Self {
            path,
            queues,
            rx: Ring::new((0..128).map(|_| Slot::EMPTY).collect()),
            tx: Ring::new([const { Slot::EMPTY }; 4]),
            tick: Nanos::ZERO,
            ahead: VecDeque::new(),
            waiting: Default::default(),
            numbers: [(0, 0); SOURCES],
            received: [Count::ZERO; SOURCES + 1],
            sent: [Count::ZERO; SOURCES],
            left: BTreeMap::new(),
            limited: setup.limit.is_some(),
            most: 0,
        }
    }

    fn receive(&mut self, sent: Sent, octets: Vec<u8>) {
        assert_eq!(octets.len() as u64, sent.count().octets);
        self.received[usize::from(sent.slice().0)] += sent.count();
        self.ahead.push_back(sent);
        let end = octets.len() as u32;
        // No headroom: the outer header goes where the one that came was.
        assert!(self.rx.push(Packet::new(octets, 0, end).unwrap().into()).is_ok(), "Rx overflows");
    }

    /// Takes all that stands in Rx through the blocks, in vectors.
    fn process(&mut self, now: Nanos) {
        while !self.rx.is_empty() {
            let mut vector = [const { Slot::EMPTY }; 32];
            let received = self.rx.receive(&mut vector, &mut NoBuffers);
            self.most = self.most.max(received);
            let left = self.path.process(now, &mut vector, &mut self.queues, &mut KeepInSlot);
            assert_eq!(left, vector.iter().filter(|slot| slot.packet.is_some()).count());
            for (slot, sent) in vector.iter().zip(self.ahead.drain(..received)) {
                if slot.packet.is_none() {
                    assert_eq!((sent.stray, slot.exit), (None, None), "{sent:?} was queued");
                    let (packets, octets) = &mut self.waiting[sent.source];
                    *octets += sent.count().octets;
                    packets.push_back(sent);
                    continue;
                }
                let full = (slice(sent.source), DropReason::QueueFull.into());
                let exit = sent.stray.or(self.limited.then_some(full));
                assert_eq!(slot.exit, exit, "{sent:?} left early");
                *self.left.entry(exit.unwrap()).or_default() += sent.count();
            }
        }
    }

    /// Looks at what went out by Tx.
    fn went(&mut self, packet: &Packet<Buf>) {
        let octets = packet.bytes();
        let port = u16::from_be_bytes([octets[OUTER - 6], octets[OUTER - 5]]);
        let source = usize::from(port - peer(0).port);
        let (packets, waiting) = &mut self.waiting[source];
        let sent = packets.pop_front().expect("a frame goes out that did not come in");
        *waiting -= sent.count().octets;
        self.sent[source] += sent.count();
        let inner = Inner { ttl: sent.inner.ttl - 1, ..sent.inner };
        assert!(octets == frame(ours(source), peer(source), inner), "{sent:?} became {octets:02x?}");
    }

    /// Received = sent + dropped + slow path + waiting, by the counters of `slice`, which
    /// are what was counted beside them.
    fn account(&self, slice: SliceId) {
        let SliceAccount { injected, dropped, slow_path } = SliceAccount::read(&self.path.stats, slice);
        for exit in Exit::all() {
            let left = self.left.get(&(slice, exit)).copied().unwrap_or_default();
            assert_eq!(self.path.stats.read(Event::Left(slice, exit)), left, "slice {slice}: {exit}");
        }
        let ahead: Count = self.ahead.iter().filter(|sent| sent.slice() == slice).map(Sent::count).sum();
        let (mut sent, mut waiting) = (Count::ZERO, Count::ZERO);
        if let Some(source) = usize::from(slice.0).checked_sub(1) {
            let queue = queue(&self.queues, source);
            sent = self.path.stats.read(Event::Sent(queue));
            let octets = self.waiting[source].1;
            waiting = Count { packets: self.queues.backlog(queue).into(), octets };
            assert_eq!(sent, self.sent[source], "slice {slice}: what is counted as sent and what went");
            let queued = self.path.stats.read(Event::Queued(egress(source)));
            assert_eq!(queued, sent + waiting, "slice {slice}: what was queued is sent or waits");
        }
        let received = self.received[usize::from(slice.0)];
        assert_eq!(injected, Count::ZERO);
        assert_eq!(received, sent + dropped + slow_path + waiting + ahead, "slice {slice}: received");
    }
}

impl Router for Node {
    fn arrive(&mut self, now: Nanos, source: usize, payload: u32) {
        if self.rx.is_empty() {
            self.tick = Nanos(now.0.next_multiple_of(TICK));
        }
        let (packets, strays) = self.numbers[source];
        let inner = Inner { ttl: 64, to: TO, number: packets, payload };
        self.receive(Sent { source, inner, stray: None }, frame(peer(source), ours(source), inner));
        self.numbers[source].0 += 1;
        if packets % STRAY == STRAY - 1 {
            let (sent, octets) = stray(source, strays);
            self.receive(sent, octets);
            self.numbers[source].1 += 1;
        }
    }

    fn depart(&mut self, now: Nanos) -> Option<()> {
        if now >= self.tick {
            self.process(now);
        }
        let (queues, tx) = (&mut self.queues, &mut self.tx);
        let drained = drain(
            now,
            queues,
            &mut self.path.stats,
            1,
            |departure| {
                let source = usize::from(departure.owner.0) - 1;
                assert_eq!(departure.queue.0, ((INTERFACE << 3) + source) as u32);
                assert_eq!(departure.octets, departure.handle.octets());
                tx.push(departure.handle.into()).map_err(|slot| slot.packet.unwrap())
            },
            |_| unreachable!("Tx has room"),
        );
        while let Some(slot) = self.tx.pop() {
            self.went(&slot.packet.unwrap());
        }
        (drained.sent > 0).then_some(())
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        let tick = (!self.rx.is_empty()).then_some(self.tick);
        self.queues.next_due(now).into_iter().chain(tick).min()
    }

    fn read(&self, source: usize) -> Reading {
        self.account(SliceId::SUBSTRATE);
        self.account(slice(source));
        let stats = &self.path.stats;
        let ahead = self.ahead.iter().filter(|sent| sent.source == source && sent.stray.is_none());
        Reading {
            queued: stats.read(Event::Queued(egress(source))),
            sent: stats.read(Event::Sent(queue(&self.queues, source))),
            dropped: stats.read(Event::Left(slice(source), DropReason::QueueFull.into())),
            backlog: self.queues.backlog(queue(&self.queues, source)),
            ahead: ahead.map(Sent::count).sum(),
        }
    }
}

/// `setup`, run through all blocks.
fn forward(setup: &Setup) -> Vec<Poll> {
    let mut node = Node::new(setup);
    let polls = replay(&mut node, setup);
    assert!(node.rx.is_empty() && node.ahead.is_empty());
    assert!(node.waiting.iter().all(|(packets, octets)| packets.is_empty() && *octets == 0));
    // All kinds were among the strays, in every slice.
    for source in 0..SOURCES {
        node.account(slice(source));
        let kinds = node
            .left
            .keys()
            .filter(|(owner, exit)| *owner == slice(source) && *exit != Exit::Drop(DropReason::QueueFull));
        assert_eq!(kinds.count(), 5);
    }
    let strays: u64 = node.numbers.iter().map(|(_, strays)| strays / 6).sum();
    assert_eq!(node.received[0].packets, strays, "every sixth stray is nobody's");
    assert!(node.most >= 4, "{} packets at most in a vector", node.most);
    polls
}

#[test]
fn the_fast_path_follows_the_fluid() {
    assert!(all_sent(&follows("Fast path, payloads of 1,400 octets", &FIGURE_7, forward)));
}

#[test]
fn sizes_of_packets_make_no_difference_to_the_fast_path() {
    assert!(all_sent(&follows("Fast path, payloads of 0 to 1,400 octets", &MIXED, forward)));
}

#[test]
fn a_fast_path_with_queues_of_two_megabytes_loses_what_the_fluid_loses() {
    let end = follows("Fast path, 2 MB a queue", &Setup { limit: Some(2_000_000), ..MIXED }, forward);
    assert!(end.iter().all(|end| end.dropped.packets > 0 && end.queued == end.sent));
}

#[test]
fn a_fast_path_with_wrong_shares_or_a_wrong_link_is_rejected() {
    let plain = Setup { weights: [1; SOURCES], ..FIGURE_7 };
    assert!(objection(&plain, forward).starts_with("queue 1, 0.40 to 0.42 s"));
    objection(&Setup { overhead: 0, ..FIGURE_7 }, forward);
    objection(&Setup { rate: LINK / 100 * 101, ..FIGURE_7 }, forward);
}
