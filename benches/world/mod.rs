//! The node that the benchmarks run, and the packets it gets: shared by
//! `pipeline.rs`, `instructions/` and `peers/`.
//!
//! Five links of one slice, UDP ports 20,001 to 20,005 of 10.0.0.1; five ways out, one
//! for each of five queues of weights 6, 5, 4, 3, 2. Frames are Ethernet, IPv4, UDP,
//! and an inner IPv4 packet with UDP whose destination is drawn from the routes.

#![allow(dead_code, unreachable_pub)]

use core::hint::black_box;
use core::net::{Ipv4Addr, SocketAddrV4};

use fastpath::code_option::CodeOptionSet;
use fastpath::lookup::{Tcam, TcamConfig, TcamReader};
use fastpath::prelude::*;
use fastpath::queue::{BoxedWdrr, ConfigError, Departure, QueueStats, Rejected};
use fastpath::wire::{checksum, put};
use fastpath::workloads::packets::UdpPacket;
use fastpath::workloads::{Prefix, trace};

/// Not 2,048 octets apart, or headers fight for the same sets of the cache.
pub const BUFFER: usize = 2048 + 192;
pub const HEADROOM: u32 = 128;
pub const HEADER: usize = 42;
pub const QUEUES: usize = 5;
pub const WEIGHTS: [u32; QUEUES] = [6, 5, 4, 3, 2];
pub const VECTOR: usize = 32;
/// The smallest inner packet: IPv4 and UDP, in a frame of 70 octets.
pub const SMALLEST: usize = 28;
pub const FIRST_PORT: u16 = 20_001;
pub const SLICE: SliceId = SliceId(1);

pub type Buffer = [u8; BUFFER];
pub type Handle = Packet<&'static mut Buffer>;
pub type Ports = UdpPorts<[PortEntry; 16]>;
pub type Table = TcamReader;
pub type Queues = BoxedWdrr<Handle>;
pub type Stats = Counters<[Count; QUEUES], [Count; QUEUES], [Count; 2 * ROW]>;
pub type Path = FastPath<Ports, (Ipv4,), Table, [Egress; QUEUES], NoSram, Stats>;

/// `count` buffers, never freed.
pub fn pool(count: usize) -> Vec<&'static mut Buffer> {
    vec![[0; BUFFER]; count].leak().iter_mut().collect()
}

/// Frames one after the other, destinations and links going round.
pub struct Source {
    frame: Vec<u8>,
    destinations: Vec<u32>,
    at: usize,
}

impl Source {
    /// Frames with inner packets of `inner` octets to `destinations`.
    pub fn new(inner: usize, destinations: Vec<u32>) -> Self {
        let payload = (inner - SMALLEST) as u16;
        let packet = UdpPacket {
            source: 0xc0a8_0001,
            destination: 0,
            source_port: 1000,
            destination_port: 2000,
            ttl: 64,
            payload,
        };
        let mut octets = [0; BUFFER];
        let len = packet.write(&mut octets).unwrap();
        let to_us = Tunnel::new(ethernet(2, 1), address(2, 30_000), address(1, FIRST_PORT));
        let record = Egress::forward(&to_us, QueueId(0), 1472).unwrap();
        let mut frame = Packet::with_headroom([0; BUFFER], HEADROOM, &octets[..len]).unwrap();
        frame.edit(frame.whole(), |p| record.encapsulate(p, &Default::default(), &())).unwrap();
        Self { frame: frame.bytes().to_vec(), destinations, at: 0 }
    }

    /// Octets of a frame.
    pub fn octets(&self) -> usize {
        self.frame.len()
    }

    /// Starts again.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// Writes the next frame behind the headroom of `buffer`.
    #[inline]
    pub fn write(&mut self, buffer: &mut Buffer) {
        let frame = &mut buffer[HEADROOM as usize..][..self.frame.len()];
        frame.copy_from_slice(&self.frame);
        let destination = self.destinations[self.at % self.destinations.len()];
        let frame: &mut [u8; HEADER + 20] = frame.first_chunk_mut().unwrap();
        let sum = u16::from_be_bytes([frame[52], frame[53]]);
        put::<52, 2, { HEADER + 20 }>(frame, checksum::update32(sum, 0, destination).to_be_bytes());
        put::<58, 4, { HEADER + 20 }>(frame, destination.to_be_bytes());
        let port = FIRST_PORT + (self.at % QUEUES) as u16;
        put::<36, 2, { HEADER + 20 }>(frame, port.to_be_bytes());
        self.at += 1;
    }

    /// The next frame as a packet in `buffer`.
    #[inline]
    pub fn packet(&mut self, buffer: &'static mut Buffer) -> Handle {
        self.write(buffer);
        Packet::new(buffer, HEADROOM, HEADROOM + self.frame.len() as u32).unwrap()
    }
}

pub fn address(host: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), port)
}

pub fn ethernet(to: u8, from: u8) -> LinkLayer {
    LinkLayer::Ethernet { destination: [2, 0, 0, 0, 0, to], source: [2, 0, 0, 0, 0, from], tag: None }
}

/// The tunnel behind way out `number`.
pub fn tunnel(number: u8) -> Tunnel {
    Tunnel::new(ethernet(number, 1), address(1, FIRST_PORT), address(10 + number, 30_000))
}

/// A route: network, length, and the number of its way out.
pub type Route = (u32, u8, u32);

/// 1.0.0.0/8 to 5.0.0.0/8, one for each way out.
pub fn five_routes() -> Vec<Route> {
    (0..5).map(|n| ((n + 1) << 24, 8, n)).collect()
}

/// `count` addresses that the routes cover, each route as often as any other.
pub fn destinations(routes: &[Route], count: usize) -> Vec<u32> {
    let prefixes: Vec<_> = routes.iter().map(|route| Prefix::new(route.0, route.1).unwrap()).collect();
    trace::Addresses::within(&prefixes, 7).unwrap().take(count).collect()
}

/// A reader of a table that holds `routes` for each of `slices`.
pub fn table(slices: impl IntoIterator<Item = SliceId>, routes: &[Route]) -> Table {
    let filters = TcamConfig::default().filters.max(5 * routes.len());
    let (mut tcam, table) = Tcam::with_reader(TcamConfig { filters, ..TcamConfig::default() });
    for slice in slices {
        let rows = routes.iter().map(|&(network, len, egress)| {
            let (value, mask) = Ipv4Key::route(network, len);
            let filter = Filter::new(slice, value, mask);
            (Rank::longest_prefix(32, len), filter.into(), EgressId::new(egress).unwrap())
        });
        tcam.load(slice, rows).unwrap();
    }
    table
}

/// The five links, of slice `slice(link)` and option `option(link)`.
pub fn ports(slice: impl Fn(u16) -> SliceId, option: impl Fn(u16) -> OptionId) -> Ports {
    let mut ports = UdpPorts::new([PortEntry::EMPTY; 16]);
    for link in 0..QUEUES as u16 {
        let (slice, option) = (slice(link), option(link));
        let admission = Admission { slice, link: LinkId(link), option, ..Admission::NONE };
        ports.open(*address(1, 0).ip(), FIRST_PORT + link, PortConfig::new(admission)).unwrap();
    }
    ports
}

/// The five ways out.
pub fn egress() -> [Egress; QUEUES] {
    core::array::from_fn(|n| Egress::forward(&tunnel(n as u8), QueueId(n as u32), 1472).unwrap())
}

pub fn queues(packets: usize) -> Queues {
    let quantum = Quantum { unit: 750, longest: 1500 };
    let mut queues = BoxedWdrr::boxed(QUEUES, packets, 0, TailDrop, quantum).unwrap();
    for (queue, weight) in (0..).zip(WEIGHTS) {
        queues.configure(QueueId(queue), QueueConfig { weight, ..QueueConfig::new(SLICE) }).unwrap();
    }
    queues
}

pub fn stats() -> Stats {
    Counters {
        egresses: [Count::ZERO; QUEUES],
        queues: [Count::ZERO; QUEUES],
        slices: [Count::ZERO; 2 * ROW],
    }
}

pub fn path(routes: &[Route]) -> Path {
    FastPath {
        decap: ports(|_| SLICE, |_| OptionId(0)),
        options: (Ipv4::default(),),
        table: table([SLICE], routes),
        egress: egress(),
        sram: NoSram,
        stats: stats(),
    }
}

/// How far packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// They are received and freed.
    Source,
    /// Substrate Decap.
    Decap,
    /// Parse and Lookup too.
    Lookup,
    /// The whole of `process`, into one list that is no scheduler.
    Process,
    /// The whole of `process`, five weighted queues, `drain`.
    Queue,
}

impl Stage {
    pub const ALL: [(&str, Self); 5] = [
        ("source", Self::Source),
        ("decap", Self::Decap),
        ("decap+parse+lookup", Self::Lookup),
        ("process", Self::Process),
        ("process+queue", Self::Queue),
    ];
}

/// Takes all of `ready` through a path, `N` at a time, and frees them into `free`.
#[inline(never)]
pub fn run<D, C, T, E, S, const N: usize>(
    stage: Stage, path: &mut FastPath<D, C, T, E, NoSram, S>, queues: &mut Queues, list: &mut List,
    ready: &mut Vec<Handle>, free: &mut Vec<&'static mut Buffer>,
) where
    D: Decap,
    C: CodeOptionSet,
    T: TernaryTable<Value = EgressId>,
    E: EgressTable,
    S: StatsBlock,
{
    let now = Nanos::ZERO;
    let mut vector: [Slot<_>; N] = [const { Slot::EMPTY }; N];
    let mut packets = ready.drain(..);
    while packets.len() > 0 {
        for slot in &mut vector {
            slot.packet = packets.next();
        }
        // How many of them are not in a queue.
        let left = match stage {
            Stage::Source => N,
            Stage::Decap => decap(path, &vector),
            Stage::Lookup => lookup(path, &vector),
            Stage::Process => {
                let left = path.process(now, &mut vector, list, &mut NoSlowPath);
                free.extend(list.0.drain(..).map(Packet::into_buf));
                left
            }
            Stage::Queue => {
                let left = path.process(now, &mut vector, queues, &mut NoSlowPath);
                let send = |departure: Departure<Handle>| {
                    free.push(departure.handle.into_buf());
                    Ok(())
                };
                drain(now, queues, &mut path.stats, N, send, |_| ());
                left
            }
        };
        if left > 0 {
            free.extend(vector.iter_mut().filter_map(|slot| slot.packet.take()).map(Packet::into_buf));
        }
    }
    while let Some(departure) = queues.dequeue(now) {
        path.stats.record(Event::Sent(departure.queue), departure.octets);
        free.push(departure.handle.into_buf());
    }
}

#[inline(never)]
fn decap<D: Decap, C, T, E, S, const N: usize>(
    path: &FastPath<D, C, T, E, NoSram, S>, vector: &[Slot<&'static mut Buffer>; N],
) -> usize {
    for slot in vector {
        let Some(packet) = &slot.packet else { continue };
        let Ok(inner) = path.decap.decap(packet.bytes(), &slot.meta) else { continue };
        black_box((inner.admission, inner.offset, inner.len));
    }
    N
}

#[inline(never)]
fn lookup<D, C, T, E, S, const N: usize>(
    path: &FastPath<D, C, T, E, NoSram, S>, vector: &[Slot<&'static mut Buffer>; N],
) -> usize
where
    D: Decap,
    C: CodeOptionSet,
    T: TernaryTable<Value = EgressId>,
{
    let mut keys = [TableKey::default(); N];
    let mut found = [None; N];
    for (slot, key) in vector.iter().zip(&mut keys) {
        let Some(packet) = &slot.packet else { continue };
        let Ok(inner) = path.decap.decap(packet.bytes(), &slot.meta) else { continue };
        let Ok(window) = packet.window(inner.offset, inner.len) else { continue };
        let Admission { slice, link, option, dscp } = inner.admission;
        let (source, outer_class) = (inner.source, inner.traffic_class);
        let cx = Context { link, source, outer_class, dscp, ..Context::of(slice) };
        let Ok(query) = path.options.parse(option, packet.part(window), &cx) else { continue };
        *key = TableKey::new(slice, query.key);
        path.table.prefetch(*key);
    }
    path.table.lookup_batch(&keys, &mut found);
    black_box(&found);
    N
}

/// A list in the place of a scheduler: what `process` costs without one.
#[derive(Debug, Default)]
pub struct List(pub Vec<Handle>);

impl WdrrScheduler for List {
    type Handle = Handle;

    fn configure(&mut self, _: QueueId, _: QueueConfig) -> Result<(), ConfigError> {
        Ok(())
    }
    #[inline(always)]
    fn enqueue(&mut self, _: Nanos, _: QueueId, handle: Handle, _: Arrival) -> Result<(), Rejected<Handle>> {
        if self.0.len() == self.0.capacity() {
            return Err(Rejected { handle, reason: DropReason::QueueFull });
        }
        self.0.push(handle);
        Ok(())
    }
    fn dequeue(&mut self, _: Nanos) -> Option<Departure<Handle>> {
        None
    }
    fn remove(&mut self, _: QueueId) -> Result<(), ConfigError> {
        Ok(())
    }
    fn flush(&mut self, _: QueueId) -> Option<Departure<Handle>> {
        None
    }
    fn backlog(&self, _: QueueId) -> u32 {
        0
    }
    fn stats(&self, _: QueueId) -> QueueStats {
        QueueStats::default()
    }
    fn quantum(&self, _: QueueId) -> u64 {
        0
    }
    fn next_due(&self, _: Nanos) -> Option<Nanos> {
        None
    }
}

impl List {
    /// Room for a vector.
    pub fn new() -> Self {
        Self(Vec::with_capacity(64))
    }
}
