//! Datagrams that are numbered and timed, between two namespaces.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
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
    start: Instant,
    stop: Arc<AtomicBool>,
    /// When the last that arrived was sent, in nanoseconds since the start.
    last: Arc<AtomicU64>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<Vec<Arrival>>,
}

/// A datagram that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    /// When it was sent and when it arrived, since the start of the stream.
    pub(crate) sent: Duration,
    pub(crate) at: Duration,
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    /// In order of arrival.
    pub(crate) arrived: Vec<Arrival>,
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
    pub(crate) fn start(net: &Net, from: &str, to: (&str, &str), pace: Pace) -> Self {
        // Each has its own: a program that is being started holds sockets until it runs.
        static PORT: AtomicU16 = AtomicU16::new(5100);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let (space, address) = (to.0, format!("{}:{port}", to.1));
        let bound = net.inside(space, move || UdpSocket::bind(("0.0.0.0", port)).unwrap()).join().unwrap();
        bound.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let start = Instant::now();
        let sender = net.inside(from, {
            let stop = Arc::clone(&stop);
            move || send(&address, start, pace, &stop)
        });
        let last = Arc::new(AtomicU64::new(0));
        let receiver = thread::spawn({
            let (stop, last) = (Arc::clone(&stop), Arc::clone(&last));
            move || receive(&bound, start, &stop, &last)
        });
        Self { start, stop, last, sender, receiver }
    }

    /// Waits until something arrives that was sent after `then`; when the first such was sent.
    ///
    /// # Panics
    ///
    /// If nothing does for a minute.
    pub(crate) fn wait_for(&self, then: Instant) -> Instant {
        let since = Instant::now();
        loop {
            let sent = self.start + Duration::from_nanos(self.last.load(Ordering::Relaxed));
            if sent > then {
                return sent;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "nothing arrives");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops sending and waits for the last.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, arrived) = (self.sender.join().unwrap(), self.receiver.join().unwrap());
        Seen { sent, arrived }
    }
}

impl Seen {
    /// The numbers that did not arrive.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let mut there = vec![false; self.sent as usize];
        for arrival in &self.arrived {
            there[arrival.number as usize] = true;
        }
        (0..self.sent).filter(|&number| !there[number as usize]).collect()
    }

    /// The median, the 99th of a hundred, and the longest.
    pub(crate) fn latency(&self) -> [Duration; 3] {
        let mut times: Vec<_> = self.arrived.iter().map(|one| one.at.saturating_sub(one.sent)).collect();
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

fn receive(socket: &UdpSocket, start: Instant, stop: &AtomicBool, newest: &AtomicU64) -> Vec<Arrival> {
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
            newest.store(sent, Ordering::Relaxed);
            arrived.push(Arrival { number, sent: Duration::from_nanos(sent), at: start.elapsed() });
            last = Instant::now();
        }
    }
}
