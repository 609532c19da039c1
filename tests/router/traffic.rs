//! Datagrams that are numbered and timed, between two namespaces.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::net::Net;

/// The octets of a datagram that are read: its number and when it was sent.
const HEAD: usize = 16;

/// How long one waits for what may still come.
const TAIL: Duration = Duration::from_millis(700);

/// Datagrams on their way from one host to another, at a steady pace.
#[derive(Debug)]
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<Vec<(u64, Duration)>>,
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    /// Number and latency of each that arrived, in order of arrival.
    pub(crate) arrived: Vec<(u64, Duration)>,
}

/// How a stream is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Octets of a datagram, 16 or more.
    pub(crate) octets: usize,
    pub(crate) at_once: u64,
    pub(crate) every: Duration,
}

impl Stream {
    /// Starts to send from `from` to the host `to`.
    pub(crate) fn start(net: &Net, from: &str, to: (&str, &str), port: u16, pace: Pace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (space, address) = (to.0, format!("{}:{port}", to.1));
        let bound = net.inside(space, move || UdpSocket::bind(("0.0.0.0", port)).unwrap()).join().unwrap();
        bound.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let start = Instant::now();
        let sender = net.inside(from, {
            let stop = Arc::clone(&stop);
            move || send(&address, start, pace, &stop)
        });
        let receiver = thread::spawn({
            let stop = Arc::clone(&stop);
            move || receive(&bound, start, &stop)
        });
        Self { stop, sender, receiver }
    }

    /// Stops sending and waits for the last.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        Seen { sent: self.sender.join().unwrap(), arrived: self.receiver.join().unwrap() }
    }
}

impl Seen {
    /// The numbers that did not arrive.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let mut there = vec![false; self.sent as usize];
        for &(number, _) in &self.arrived {
            there[number as usize] = true;
        }
        (0..self.sent).filter(|&number| !there[number as usize]).collect()
    }

    /// The median, the 99th of a hundred, and the longest.
    pub(crate) fn latency(&self) -> [Duration; 3] {
        let mut times: Vec<_> = self.arrived.iter().map(|&(_, time)| time).collect();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied();
        [50, 99, 100].map(|share| at(share).unwrap_or_default())
    }
}

fn send(to: &str, start: Instant, pace: Pace, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut datagram = vec![0; pace.octets.max(HEAD)];
    let mut sent = 0_u64;
    let mut due = start;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..pace.at_once {
            datagram[..8].copy_from_slice(&sent.to_be_bytes());
            datagram[8..HEAD].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            // An error is that of an earlier one, by ICMP, or a full queue of the host's own.
            if socket.send_to(&datagram, to).is_ok() {
                sent += 1;
            }
        }
        due += pace.every;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

fn receive(socket: &UdpSocket, start: Instant, stop: &AtomicBool) -> Vec<(u64, Duration)> {
    let mut arrived = Vec::new();
    let mut datagram = [0; 2048];
    let mut last = Instant::now();
    loop {
        match stop.load(Ordering::Relaxed) {
            false => last = Instant::now(),
            true if last.elapsed() > TAIL => return arrived,
            true => (),
        }
        let Ok((octets, _)) = socket.recv_from(&mut datagram) else { continue };
        if octets >= HEAD {
            let [number, sent] =
                [0, 8].map(|at| u64::from_be_bytes(datagram[at..at + 8].try_into().unwrap()));
            arrived.push((number, start.elapsed().saturating_sub(Duration::from_nanos(sent))));
            last = Instant::now();
        }
    }
}
