//! Two routers and two slices on the loopback device, without privileges.
//!
//! ```text
//! host a -- router a -- router b -- host b       each slice has the same addresses
//! ```
//!
//! Hosts are UDP sockets whose datagrams are IPv4 packets.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use etherparse::{Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use serde::Serialize;

use super::Router;
use super::config::Plan;

const HOST_A: [u8; 4] = [192, 168, 1, 2];
const HOST_B: [u8; 4] = [192, 168, 2, 2];
/// Bits a second between the routers; three quarters of it are red's.
const RATE: u64 = 100_000_000;
const SECONDS: u64 = 2;

/// What the demonstration found.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    ping_us: BTreeMap<&'static str, f64>,
    ways: BTreeMap<&'static str, Vec<String>>,
    flood: BTreeMap<&'static str, Flood>,
    exact: bool,
}

#[derive(Debug, Serialize)]
struct Flood {
    sent: u64,
    arrived: u64,
    offered_mbps: f64,
    arrived_mbps: f64,
}

/// A router's configuration. Side a is 127.0.0.1, side b is 127.0.0.2.
fn config(side: u8) -> String {
    let other = 3 - side;
    let mut text = format!(
        "[limits]\nresults = 4096\n\n[[interface]]\nname = \"loop\"\naddress = \"127.0.0.{side}\"\nrate = {RATE}\ndevice = \"udp\"\n"
    );
    for (slice, weight, port) in [("red", 3, 21_000), ("blue", 1, 21_100)] {
        let (host, core) = (port + 1, port + 2);
        text += &format!(
            r#"
[[slice]]
name = "{slice}"
option = "ipv4"

[[slice.link]]
name = "{slice}-host"
interface = "loop"
port = {host}
peer = "127.0.0.{peer}:{host}"
address = "192.168.{side}.1/24"

[[slice.link]]
name = "{slice}-core"
interface = "loop"
port = {core}
peer = "127.0.0.{other}:{core}"
address = "172.16.0.{side}/30"

[[slice.queue]]
name = "{slice}-out"
interface = "loop"
weight = {weight}
limit_packets = 64

[[slice.route]]
prefix = "192.168.{side}.0/24"
link = "{slice}-host"
queue = "{slice}-out"

[[slice.route]]
prefix = "192.168.{other}.0/24"
link = "{slice}-core"
queue = "{slice}-out"

[[slice.route]]
prefix = "172.16.0.0/30"
link = "{slice}-core"
queue = "{slice}-out"
"#,
            peer = 10 + side,
        );
    }
    text
}

/// What was said of an echo request.
#[derive(Clone, Copy)]
struct Said {
    from: Ipv4Addr,
    ttl: u8,
    /// Whether it is the reply.
    reply: bool,
    after: Duration,
}

/// A host of one slice at one side.
struct Host(UdpSocket);

impl Host {
    fn new(side: u8, port: u16) -> Result<Self, Box<dyn Error>> {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 10 + side), port))?;
        socket.connect((Ipv4Addr::new(127, 0, 0, side), port))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self(socket))
    }

    /// Sends an echo request with this time to live, and waits for what is said of it.
    fn probe(&self, sequence: u16, ttl: u8) -> Result<Option<Said>, Box<dyn Error>> {
        let mut packet = Vec::new();
        let request = PacketBuilder::ipv4(HOST_A, HOST_B, ttl).icmpv4_echo_request(7, sequence);
        request.write(&mut packet, &[0x5a; 56])?;
        let start = Instant::now();
        self.0.send(&packet)?;
        let mut buffer = [0; 2048];
        while let Ok(len) = self.0.recv(&mut buffer) {
            let Ok(packet) = SlicedPacket::from_ip(buffer.get(..len).unwrap_or_default()) else { continue };
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) =
                (&packet.net, &packet.transport)
            else {
                continue;
            };
            let header = ip.header();
            let reply = match icmp.icmp_type() {
                Icmpv4Type::EchoReply(echo) if echo.seq == sequence => true,
                Icmpv4Type::TimeExceeded(_) => false,
                _ => continue,
            };
            let (from, ttl, after) = (header.source_addr(), header.ttl(), start.elapsed());
            return Ok(Some(Said { from, ttl, reply, after }));
        }
        Ok(None)
    }
}

/// Answers echo requests and counts datagrams of UDP, until `ended`.
fn answer(host: &Host, ended: &AtomicBool, datagrams: &AtomicU64, octets: &AtomicU64) {
    let mut buffer = [0; 2048];
    while !ended.load(Relaxed) {
        let Ok(len) = host.0.recv(&mut buffer) else { continue };
        let Some(packet) = buffer.get(..len) else { continue };
        let Ok(sliced) = SlicedPacket::from_ip(packet) else { continue };
        match &sliced.transport {
            Some(TransportSlice::Udp(_)) => {
                datagrams.fetch_add(1, Relaxed);
                octets.fetch_add(len as u64, Relaxed);
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let Icmpv4Type::EchoRequest(echo) = icmp.icmp_type() else { continue };
                let mut reply = Vec::new();
                let built = PacketBuilder::ipv4(HOST_B, HOST_A, 64).icmpv4_echo_reply(echo.id, echo.seq);
                if built.write(&mut reply, icmp.payload()).is_ok() {
                    let _ = host.0.send(&reply);
                }
            }
            _ => {}
        }
    }
}

/// Runs the demonstration.
pub(crate) fn run(out: &mut impl Write) -> Result<Figures, Box<dyn Error>> {
    let plans = [1, 2].map(|side| Plan::read("the demonstration", &config(side)));
    let [Ok(plan_a), Ok(plan_b)] = &plans else {
        return Err(plans.into_iter().find_map(Result::err).map_or("no plan".into(), Into::into));
    };
    let (router_a, router_b) = (Router::start(plan_a)?, Router::start(plan_b)?);
    let (mut control_a, mut control_b) = (router_a.control(plan_a), router_b.control(plan_b));
    control_a.admit_all()?;
    control_b.admit_all()?;

    let ended = Arc::new(AtomicBool::new(false));
    let mut slices = Vec::new();
    for (name, port) in [("red", 21_001), ("blue", 21_101)] {
        let counts = [const { AtomicU64::new(0) }; 2];
        let counts = Arc::new(counts);
        let (far, seen, end) = (Host::new(2, port)?, counts.clone(), ended.clone());
        let thread = thread::spawn(move || {
            let [datagrams, octets] = &*seen;
            answer(&far, &end, datagrams, octets);
        });
        slices.push((name, Host::new(1, port)?, counts, thread));
    }
    writeln!(out, "host a -- router a -- router b -- host b, over UDP sockets of the loopback device;")?;
    writeln!(
        out,
        "two slices, red and blue, with the same addresses; 100 Mb/s, three quarters of it red's\n"
    )?;

    let mut figures =
        Figures { ping_us: BTreeMap::new(), ways: BTreeMap::new(), flood: BTreeMap::new(), exact: false };
    for (name, host, ..) in &slices {
        writeln!(out, "{name}: ping {}", Ipv4Addr::from(HOST_B))?;
        let mut times = Vec::new();
        for sequence in 0..5 {
            match host.probe(sequence, 64)? {
                Some(Said { from, ttl, reply: true, after: time }) => {
                    writeln!(
                        out,
                        "  from {from}: seq {sequence} ttl {ttl} time {:.0} us",
                        time.as_secs_f64() * 1e6
                    )?;
                    times.push(time.as_secs_f64() * 1e6);
                }
                _ => writeln!(out, "  seq {sequence}: no answer")?,
            }
        }
        times.sort_by(f64::total_cmp);
        figures.ping_us.insert(name, times.get(times.len() / 2).copied().unwrap_or(f64::NAN));
        writeln!(out, "{name}: traceroute to {}", Ipv4Addr::from(HOST_B))?;
        let way = figures.ways.entry(name).or_default();
        for ttl in 1..=8 {
            let answer = host.probe(100 + u16::from(ttl), ttl)?;
            let from = answer.map_or("*".into(), |said| said.from.to_string());
            writeln!(out, "  {ttl} {from}")?;
            way.push(from);
            if answer.is_some_and(|said| said.reply) {
                break;
            }
        }
    }

    writeln!(out, "\nblue sends three times what the link carries, red 60 Mb/s:")?;
    let offered = [60_000_000, 3 * RATE];
    thread::scope(|scope| {
        let senders: Vec<_> = slices
            .iter()
            .zip(offered)
            .map(|((_, host, ..), rate)| scope.spawn(move || flood(host, rate)))
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap_or(0)).collect::<Vec<_>>()
    })
    .into_iter()
    .zip(&slices)
    .zip(offered)
    .for_each(|((sent, (name, ..)), rate)| {
        let flood = Flood { sent, arrived: 0, offered_mbps: rate as f64 / 1e6, arrived_mbps: 0.0 };
        figures.flood.insert(name, flood);
    });
    thread::sleep(Duration::from_millis(300));
    ended.store(true, Relaxed);
    for (name, _, counts, thread) in slices {
        thread.join().map_err(|_| "a host panicked")?;
        let [datagrams, octets] = &*counts;
        if let Some(flood) = figures.flood.get_mut(name) {
            flood.arrived = datagrams.load(Relaxed);
            flood.arrived_mbps = octets.load(Relaxed) as f64 * 8.0 / 1e6 / SECONDS as f64;
            writeln!(
                out,
                "  {name:4} offered {:5.0} Mb/s, {:6} packets; arrived {:6}, {:5.1} Mb/s",
                flood.offered_mbps, flood.sent, flood.arrived, flood.arrived_mbps
            )?;
        }
    }
    control_a.end();
    control_b.end();
    let ((exact_a, _), (exact_b, _)) = (router_a.stop(plan_a)?, router_b.stop(plan_b)?);
    figures.exact = exact_a && exact_b;
    writeln!(out, "\nevery packet is accounted for: {}", if figures.exact { "yes" } else { "no" })?;
    Ok(figures)
}

/// Sends packets of 1,000 octets at `rate` bits a second; how many.
fn flood(host: &Host, rate: u64) -> u64 {
    let mut packet = Vec::new();
    let built = PacketBuilder::ipv4(HOST_A, HOST_B, 64).udp(4000, 5000).write(&mut packet, &[0; 972]);
    let (start, mut sent) = (Instant::now(), 0);
    while built.is_ok() && start.elapsed() < Duration::from_secs(SECONDS) {
        let due = (start.elapsed().as_secs_f64() * rate as f64 / 8000.0) as u64;
        while sent < due {
            if host.0.send(&packet).is_err() {
                break;
            }
            sent += 1;
        }
        thread::sleep(Duration::from_micros(200));
    }
    sent
}
