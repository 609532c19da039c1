//! Who sends: a host of each slice on each side, machines that garble tunnels, and TCP.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastpath::conformance::Rng;
use serde_json::Value;

use super::frame::{Kind, Sender, corrupt, mark};
use super::raw::{self, Raw};
use crate::net::Net;
use crate::program::Router;
use crate::world::{SLICES, Slice, World};

const KINDS: usize = Kind::ALL.len();

/// One packet of so many is corrupted.
const CORRUPTED: u64 = 100;

/// What was sent, in packets, and what TCP brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    kinds: [u64; KINDS],
    corrupted: u64,
    /// In tunnels, by their outer headers.
    garbled: u64,
    /// Chunks that came by TCP as they were sent.
    chunks: u64,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, _), count) in Kind::ALL.iter().zip(self.kinds) {
            write!(f, "{kind:?} {count}, ")?;
        }
        let Self { corrupted, garbled, chunks, .. } = self;
        write!(f, "corrupted {corrupted}, garbled {garbled}, {chunks} chunks of {CHUNK} octets by TCP")
    }
}

impl Sent {
    fn plus(mut self, other: Self) -> Self {
        self.kinds.iter_mut().zip(other.kinds).for_each(|(sum, count)| *sum += count);
        self.corrupted += other.corrupted;
        self.garbled += other.garbled;
        self.chunks += other.chunks;
        self
    }

    /// There was some of everything.
    pub(super) fn check(&self) {
        let all = self.kinds.iter().sum::<u64>();
        assert!(self.kinds.iter().all(|count| *count > 0), "{self}");
        assert!((all / 200..all / 50).contains(&self.corrupted), "{self}");
        assert!(self.garbled > 0 && self.chunks > 0, "{self}");
    }
}

/// Threads that send.
pub(super) struct Traffic {
    threads: Vec<JoinHandle<Sent>>,
    stop: Arc<AtomicBool>,
    /// Chunks that each slice has fetched.
    fetched: [Arc<AtomicU64>; 2],
}

impl Traffic {
    /// Chunks that each slice has fetched.
    pub(super) fn fetched(&self) -> [u64; 2] {
        self.fetched.each_ref().map(|fetched| fetched.load(Ordering::Relaxed))
    }

    /// Has all stop, and waits for them.
    pub(super) fn end(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).fold(Sent::default(), Sent::plus)
    }
}

/// The hosts of a side that send, and their devices.
fn senders(net: &Net, letter: &str, side: u8) -> [(Sender, Raw); 2] {
    [0, 1].map(|number| {
        let (host, device) = (format!("{}{letter}", SLICES[number].name), SLICES[number].device());
        let mac = raw::mac(net, &host, &device);
        let sender = Sender { slice: number, side, mac, router: [2, 0, 0, 0, side, 1] };
        (sender, Raw::new(net, &host, &device))
    })
}

/// Has hosts send packets whose time is over, until each router had `wanted` of them and more.
pub(super) fn expire(world: &mut World, rng: &mut Rng, wanted: u64) {
    let mut hosts: Vec<_> = SIDES.into_iter().flat_map(|(at, side)| senders(&world.net, at, side)).collect();
    let enough = |router: &mut Router| {
        let report: Value = serde_json::from_str(&router.tell("report")).unwrap();
        let slices = report["slices"].as_object().unwrap().values();
        slices.map(|slice| slice["slow_path"].as_u64().unwrap()).sum::<u64>() >= wanted
    };
    while !world.routers.iter_mut().all(enough) {
        for _ in 0..100 {
            for (sender, port) in &mut hosts {
                let frames = (0..16).flat_map(|_| sender.draw(Kind::Expired, rng));
                port.send(frames.collect());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

const SIDES: [(&str, u8); 2] = [("a", 1), ("b", 2)];

pub(super) fn start(net: &Net, rng: &mut Rng) -> Traffic {
    let stop = Arc::new(AtomicBool::new(false));
    let fetched = [0; 2].map(|none| Arc::new(AtomicU64::new(none)));
    let mut threads = Vec::new();
    for (letter, side) in SIDES {
        let hosts = senders(net, letter, side);
        let both = hosts.each_ref().map(|(sender, _)| *sender);
        for (sender, port) in hosts {
            let (own, stop) = (Rng::new(rng.bits()), Arc::clone(&stop));
            threads.push(thread::spawn(move || host_sends(&sender, own, port, &stop)));
        }
        let cables =
            [(format!("h{letter}"), "router", format!("r{letter}"), "hosts"), between(letter, "middle")];
        for (tunnel, (space, device, to, at)) in [Tunnel::Hosts, Tunnel::Routers].into_iter().zip(cables) {
            let ends = [raw::mac(net, &to, at), raw::mac(net, &space, device)].concat();
            let (own, port, stop) = (Rng::new(rng.bits()), Raw::new(net, &space, device), Arc::clone(&stop));
            threads.push(thread::spawn(move || garble(tunnel, &ends, &both, own, port, &stop)));
        }
    }
    for (number, slice) in SLICES.iter().enumerate() {
        let [here, there] = ["a", "b"].map(|side| format!("{}{side}", slice.name));
        let listener = net.within(&there, || TcpListener::bind("0.0.0.0:5001").unwrap());
        listener.set_nonblocking(true).unwrap();
        let stopped = Arc::clone(&stop);
        threads.push(thread::spawn(move || serve(&listener, number, &stopped)));
        let (stop, fetched) = (Arc::clone(&stop), Arc::clone(&fetched[number]));
        threads.push(net.inside(&here, move || fetch(number, &fetched, &stop)));
    }
    Traffic { threads, stop, fetched }
}

fn between(letter: &str, device: &'static str) -> (String, &'static str, String, &'static str) {
    let other = if letter == "a" { "b" } else { "a" };
    (format!("r{letter}"), device, format!("r{other}"), device)
}

/// A host's packets, some of them corrupted from the Ethernet header on.
fn host_sends(sender: &Sender, mut rng: Rng, mut port: Raw, stop: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let mut frames = Vec::new();
        for _ in 0..1 + rng.below(12) {
            let kind = Kind::draw(&mut rng);
            let mut drawn = sender.draw(kind, &mut rng);
            sent.kinds[kind as usize] += 1;
            if rng.one_in(CORRUPTED) {
                sent.corrupted += 1;
                let at = rng.below(drawn.len() as u64) as usize;
                corrupt(&mut drawn[at], 0, &mut rng);
            }
            frames.append(&mut drawn);
        }
        port.send(frames);
        thread::sleep(Duration::from_millis(1 + rng.below(4)));
    }
    sent
}

/// Whose tunnel is garbled.
#[derive(Clone, Copy, Debug)]
enum Tunnel {
    /// VXLAN, from the hosts' machine.
    Hosts,
    /// Plain UDP, from a router.
    Routers,
}

/// Packets of tunnels, all of them corrupted from the Ethernet type on.
fn garble(
    tunnel: Tunnel, ethernet: &[u8], senders: &[Sender], mut rng: Rng, mut port: Raw, stop: &AtomicBool,
) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let sender = senders[rng.below(2) as usize];
        let kind = Kind::draw(&mut rng);
        if let Some(inner) = sender.draw(kind, &mut rng).first() {
            let mut frame = [ethernet, &tunnel.wrap(&sender, inner)].concat();
            corrupt(&mut frame, 12, &mut rng);
            // What has become the other slice's is the other slice's: tunnels are not signed.
            if !tunnel.is_of(&frame, 1 - sender.slice) {
                port.send(vec![frame]);
                sent.garbled += 1;
            }
        }
        thread::sleep(Duration::from_millis(1 + rng.below(50)));
    }
    sent
}

impl Tunnel {
    /// The Ethernet type, outer headers, and what they carry of a frame.
    fn wrap(self, sender: &Sender, frame: &[u8]) -> Vec<u8> {
        let (side, slice) = (sender.side, SLICES[sender.slice]);
        let (net, from, ports, header, inner) = match self {
            Self::Hosts => {
                let [_, a, b, c] = slice.vni.to_be_bytes();
                ([1, 3][usize::from(side) - 1], 2, [50_000, 4789], vec![8, 0, 0, 0, a, b, c, 0], frame)
            }
            Self::Routers => (2, side, [slice.port; 2], Vec::new(), &frame[14..]),
        };
        let octets = (20 + 8 + header.len() + inner.len()) as u16;
        let mut outer = vec![8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
        outer[4..6].copy_from_slice(&octets.to_be_bytes());
        outer.extend([10, 0, net, from, 10, 0, net, 3 - from]);
        let sum = super::frame::checksum(&outer[2..]);
        outer[12..14].copy_from_slice(&sum.to_be_bytes());
        outer.extend([ports[0], ports[1], octets - 20, 0].map(u16::to_be_bytes).as_flattened());
        outer.extend(header);
        outer.extend(inner);
        outer
    }

    fn is_of(self, frame: &[u8], slice: usize) -> bool {
        let Slice { vni, port, .. } = SLICES[slice];
        match self {
            Self::Hosts => frame.get(46..49) == Some(&vni.to_be_bytes()[1..]),
            Self::Routers => {
                [port, port + 10].iter().any(|port| frame.get(36..38) == Some(&port.to_be_bytes()[..]))
            }
        }
    }
}

/// Octets that a client reads of a connection.
const CHUNK: usize = 100_000;

/// Sends a chunk to each client.
fn serve(listener: &TcpListener, slice: usize, stop: &AtomicBool) -> Sent {
    let chunk: Vec<u8> = mark(slice).into_iter().cycle().take(CHUNK).collect();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((client, _)) => {
                let chunk = chunk.clone();
                // It ends with its client, or when nothing comes of it.
                thread::spawn(move || {
                    let patient = client.set_nonblocking(false);
                    let timed = patient.and_then(|()| client.set_write_timeout(Some(Duration::from_secs(2))));
                    timed.and_then(|()| (&client).write_all(&chunk))
                });
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    Sent::default()
}

/// Fetches chunk after chunk. Those that do not come are begun anew: a route may be gone.
fn fetch(slice: usize, fetched: &AtomicU64, stop: &AtomicBool) -> Sent {
    let (mut sent, wanted) = (Sent::default(), mark(slice));
    while !stop.load(Ordering::Relaxed) {
        match chunk() {
            Ok(octets) => {
                assert!(octets.chunks(8).all(|octets| octets == wanted), "a chunk is not as it was sent");
                sent.chunks += 1;
                fetched.store(sent.chunks, Ordering::Relaxed);
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    sent
}

fn chunk() -> std::io::Result<Vec<u8>> {
    let patience = Duration::from_secs(2);
    let mut server = TcpStream::connect_timeout(&"192.168.2.2:5001".parse().unwrap(), patience)?;
    server.set_read_timeout(Some(patience))?;
    let mut octets = vec![0; CHUNK];
    server.read_exact(&mut octets)?;
    Ok(octets)
}
