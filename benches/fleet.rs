//! Packets a second through one worker and through two, from memory to memory: ratios say
//! what the second core is worth. `cargo bench --bench fleet`; `ROUNDS=n` for other than 5.
//!
//! Each worker has a port that makes frames of 64 octets inside and takes whatever comes. In
//! `own` all of a port's flows are its worker's; in `mixed` half of them are the other's, and
//! go over a ring. Rounds are interleaved; the median of each is printed, also for a second of
//! processor time: where neighbours take the cores, that says what two of one's own would do.

use std::io::Write;
use std::time::Duration;

use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
use fastpath::egress::{Egress, LinkLayer, Tunnel};
use fastpath::id::InterfaceId;
use fastpath::io::{Buffers, Pool, Port, PortCounters, Rx, Tx};
use fastpath::node::{Action, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, SliceRequest};
use fastpath::prelude::*;
use fastpath::runtime::{Fleet, Monotonic, Settings};

const FLOWS: usize = 4096;

type Buf = Box<[u8]>;

/// Frames round and round.
struct Endless {
    frames: Vec<Box<[u8]>>,
    at: usize,
    counters: PortCounters,
}

impl Rx<Buf> for Endless {
    fn receive(&mut self, vector: &mut [Slot<Buf>], buffers: &mut dyn Buffers<Buf>) -> usize {
        let mut received = 0;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            let Some(buffer) = buffers.take() else { break };
            let Some(frame) = self.frames.get(self.at) else { break };
            self.at = if self.at + 1 < self.frames.len() { self.at + 1 } else { 0 };
            let Ok(packet) = Packet::with_headroom(buffer, 128, frame) else { break };
            *slot = Slot::new(packet, RxMeta::IP);
            received += 1;
        }
        self.counters.received += received as u64;
        received
    }
}

impl Tx<Buf> for Endless {
    fn send(&mut self, vector: &mut [Slot<Buf>], buffers: &mut dyn Buffers<Buf>) -> usize {
        let mut sent = 0;
        for packet in vector.iter_mut().map_while(|slot| slot.packet.take()) {
            buffers.give(packet.into_buf());
            sent += 1;
        }
        self.counters.sent += sent as u64;
        sent
    }
}

impl Port<Buf> for Endless {
    fn counters(&self) -> PortCounters {
        self.counters
    }
}

/// Frames of flows that belong to worker `only`, or to any.
fn frames(only: Option<usize>) -> Vec<Box<[u8]>> {
    let [ours, theirs]: [std::net::SocketAddr; 2] =
        ["10.0.0.1:100", "10.0.9.9:30000"].map(|at| at.parse().unwrap());
    let outer = Egress::forward(&Tunnel::new(LinkLayer::Ip, theirs, ours), QueueId(0), 1472).unwrap();
    let frame = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        let mut inner = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([192, 168, 0, 1], [10, b | a, c, d], 64).udp(1000, 53);
        builder.write(&mut inner, &[7; 8]).unwrap();
        let owner = ((u64::from(Ipv4::default().flow_hash(&inner)) * 2) >> 32) as usize;
        let mut packet = Packet::with_headroom(vec![0; 256].into_boxed_slice(), 128, &inner).unwrap();
        packet.edit(packet.whole(), |it| outer.encapsulate(it, &Outgoing::default(), &())).unwrap();
        (owner, packet.bytes().into())
    };
    let chosen = (1..).map(frame).filter(|(owner, _)| only.is_none_or(|only| only == *owner));
    chosen.map(|(_, frame)| frame).take(FLOWS).collect()
}

/// Seconds of processor time that this process has had, in hundredths; none where there is no
/// such file.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// Millions of packets that leave, for each second and for each second of processor time.
fn run(workers: usize, mixed: bool, time: Duration) -> [f64; 2] {
    let limits = Limits { slices: 4, queues: 8, descriptors: 8192, workers: 2, ..Limits::default() };
    let options = (Ipv4::default(),);
    let mut node: Node<_, Buf> = Node::new(options, limits);
    let interface = node.add_interface(InterfaceConfig::ip([10, 0, 0, 1].into(), Rate::MAX)).unwrap();
    let pool = |_| Pool::new(4096, 256);
    let mut fleet = Fleet::new(node, &options, workers, pool, Settings::default()).unwrap();
    let port = |worker| {
        let frames = frames((!mixed).then_some(worker));
        Box::new(Endless { frames, at: 0, counters: PortCounters::default() })
    };
    let mut views = vec![fleet.first.add_port(interface, Layer::Ip, port(0)).unwrap()];
    for (worker, at) in fleet.others.iter_mut().zip(1..) {
        views.push(worker.add_port(InterfaceId(0), Layer::Ip, port(at)).unwrap());
    }
    let mut control = fleet
        .first
        .forward_mut()
        .admit(SliceRequest {
            links: vec![LinkRequest::new(interface, 100, "10.0.9.9:30000".parse().unwrap())],
            queues: vec![QueueRequest { limit_packets: 4096, ..QueueRequest::new(interface, 1) }],
            ..SliceRequest::new(OptionId(0))
        })
        .unwrap();
    control.set_result(0, Action::forward(0, 0)).unwrap();
    let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
    control.insert(Rank::longest_prefix(32, 8), value, mask, 0).unwrap();
    let fleet = fleet.start(Monotonic::default()).unwrap();
    let sent = || views.iter().map(|view| view.read().counters.sent).sum::<u64>();
    std::thread::sleep(time / 4);
    let (before, start, had) = (sent(), std::time::Instant::now(), processor());
    std::thread::sleep(time);
    let (after, elapsed, has) = (sent(), start.elapsed(), processor());
    let (_, reports) = fleet.stop(Nanos::from_secs(1)).unwrap();
    assert!(reports.iter().all(fastpath::runtime::Report::is_exact));
    let packets = (after - before) as f64 / 1e6;
    let spent = has.zip(had).map_or(f64::NAN, |(has, had)| has - had);
    [packets / elapsed.as_secs_f64(), packets / spent]
}

fn main() {
    // Under `cargo test` there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let cases = [("one worker", 1, false), ("two, own", 2, false), ("two, mixed", 2, true)];
    let mut seen = cases.map(|_| Vec::new());
    for _ in 0..rounds {
        for (&(_, workers, mixed), seen) in cases.iter().zip(&mut seen) {
            seen.push(run(workers, mixed, Duration::from_millis(500)));
        }
    }
    let mut out = std::io::stdout().lock();
    let median = |seen: &[[f64; 2]], of: usize| {
        let mut seen: Vec<f64> = seen.iter().map(|it| it[of]).collect();
        seen.sort_by(f64::total_cmp);
        seen[seen.len() / 2]
    };
    for ((name, ..), of) in cases.iter().zip(&seen) {
        let [each, spent] = [0, 1].map(|at| median(of, at));
        let [whole, part] = [each / median(&seen[0], 0), spent / median(&seen[0], 1)];
        let line = format!("{name:12} {each:7.2} Mpps, {whole:5.2} of one worker");
        writeln!(out, "{line}; {spent:7.2} M a processor second, {part:5.2} of one worker").unwrap();
    }
}
