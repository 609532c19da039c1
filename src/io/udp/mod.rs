//! UDP sockets as a port: the overlay node that needs no privileges.
//!
//! A [`UdpPort`] is a set of sockets, one for each local address and port, that come and go
//! while it runs. What it receives is [`Layer::Stripped`](crate::slot::Layer::Stripped): the outer header stands in
//! `RxMeta::tunnel`, with its DSCP and ECN. What it sends begins with the outer IPv4 or IPv6
//! and UDP header that an [`Egress`](crate::egress::Egress) wrote with
//! [`LinkLayer::Ip`](crate::egress::LinkLayer::Ip): the port takes it off, sends from the
//! socket of the header's source with its traffic class and hops to live, and the kernel
//! writes it anew.
//!
//! A source port that no socket has is a tunnel's flow hash: the socket at the port that the packet
//! goes to sends it, with its own port. So routers on the way, and the receiver's queues, see one
//! flow. [`UdpPort::spread`] gives it further ports to choose from: fewer than there are hashes, and
//! what goes by different ones is not joined, so that each datagram of a vector may cost a message.
//!
//! Datagrams of one flow that the kernel joined (GRO) are taken apart again, and packets of a
//! vector with one source, destination, size and class are given to it as one (GSO), the order
//! of each destination kept: a datagram then costs a third to a seventh of what one does by
//! itself, see docs/benchmarks.md. So let the schedulers serve a few packets of a link at
//! a time. Received octets are copied once, out of what the kernel joined.
//!
//! ```
//! use fastpath::io::udp::{UdpConfig, UdpPort};
//! use fastpath::io::{Pool, Port, Rx};
//! use fastpath::slot::{Layer, Slot};
//! use std::net::UdpSocket;
//!
//! let mut port = UdpPort::new(UdpConfig::default())?;
//! let here = port.open("127.0.0.1:0".parse()?)?;
//! UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", here)?;
//!
//! let mut pool = Pool::new(64, 2112);
//! let mut vector = [const { Slot::EMPTY }; 32];
//! while port.receive(&mut vector, &mut pool) == 0 {}
//! assert_eq!(vector[0].packet.as_ref().unwrap().bytes(), b"hello");
//! assert_eq!((vector[0].meta.layer, vector[0].meta.tunnel.destination), (Layer::Stripped, here.into()));
//! assert_eq!(Port::<Box<[u8]>>::counters(&port).received, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Errors that the network reports (a peer without a socket, say) are counted and forgotten:
//! they hold up no socket.

mod group;
mod outer;
mod receive;
mod send;
mod socket;
#[cfg(test)]
mod tests;

pub use socket::{UdpConfig, UdpError, UdpLink};

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec::Vec;

use rustix::event::epoll;

use crate::io::{Port, PortCounters, Rx, Tx};
use crate::slot::Endpoint;

use receive::Receiver;
use send::Sender;
use socket::Socket;

/// A port of UDP sockets. See the [module](self).
///
/// Beside its sockets it owns 1 MiB for what the kernel joined; nothing is allocated while
/// packets flow. A look at sockets that are idle costs one call, however many they are.
#[derive(Debug)]
pub struct UdpPort {
    config: UdpConfig,
    sockets: Sockets,
    receiver: Receiver,
    sender: Sender,
    counters: PortCounters,
}

/// The sockets of a port.
#[derive(Debug)]
struct Sockets {
    /// By the number under which `epoll` knows them.
    all: Vec<Option<Socket>>,
    /// Their numbers by local address, in order.
    by_local: Vec<(Endpoint, usize)>,
    /// Local addresses of tunnels in order, and the numbers of what their flows leave by.
    spread: Vec<(Endpoint, Vec<usize>)>,
    /// Those with something to receive, or an error.
    epoll: OwnedFd,
    /// Datagrams that closed sockets had no room for.
    dropped: u64,
}

impl UdpPort {
    /// A port without a socket.
    ///
    /// # Errors
    ///
    /// [`UdpError::System`] where the process has too many files open.
    pub fn new(config: UdpConfig) -> Result<Self, UdpError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(UdpError::system("epoll_create"))?;
        let (all, by_local, spread) = (Vec::new(), Vec::new(), Vec::new());
        let sockets = Sockets { all, by_local, spread, epoll, dropped: 0 };
        let (receiver, sender) = (Receiver::new(&config), Sender::new());
        Ok(Self { config, sockets, receiver, sender, counters: PortCounters::default() })
    }

    /// Opens a socket at `local` and returns its address; port 0 lets the kernel choose one.
    ///
    /// Opening may wait for memory: what must not wait opens a [`UdpLink`] elsewhere and
    /// [`insert`](Self::insert)s it.
    ///
    /// # Errors
    ///
    /// [`UdpError`]; the port is as it was.
    pub fn open(&mut self, local: SocketAddr) -> Result<SocketAddr, UdpError> {
        let link = UdpLink::open(local, &self.config)?;
        self.insert(link)
    }

    /// Adds an open socket and returns its address.
    ///
    /// # Errors
    ///
    /// [`UdpError::Taken`] if the port has one of this address, [`UdpError::System`].
    pub fn insert(&mut self, link: UdpLink) -> Result<SocketAddr, UdpError> {
        let local = link.local();
        let Err(place) = self.sockets.position(local.into()) else { return Err(UdpError::Taken { local }) };
        let number = self.sockets.free();
        let (data, flags) = (epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN);
        epoll::add(&self.sockets.epoll, link.as_fd(), data, flags).map_err(UdpError::system("epoll_ctl"))?;
        self.sockets.by_local.insert(place, (local.into(), number));
        self.sockets.put(number, link);
        Ok(local)
    }

    /// Has tunnels whose socket is at `local` leave by `ports` further source ports, which the kernel
    /// chooses, each flow by one of them; in the place of those that it has. With 0 they leave by
    /// their own again. Nothing is received there.
    ///
    /// # Errors
    ///
    /// [`UdpError`]; the port is as it was.
    pub fn spread(&mut self, local: SocketAddr, ports: u16) -> Result<(), UdpError> {
        if self.sockets.position(local.into()).is_err() {
            return Err(UdpError::Closed { local });
        }
        // What is sent there uninvited waits for nobody: let it be little.
        let config = UdpConfig { receive_octets: 0, join: false, shared: false, ..self.config };
        let mut free = local;
        free.set_port(0);
        let open = |_| UdpLink::open(free, &config);
        let links = (0..ports).map(open).collect::<Result<Vec<_>, _>>()?;
        self.sockets.gather(local.into());
        let mut numbers = Vec::new();
        for link in links {
            let number = self.sockets.free();
            self.sockets.put(number, link);
            numbers.push(number);
        }
        let Err(place) = self.sockets.spread_position(local.into()) else { return Ok(()) };
        if !numbers.is_empty() {
            self.sockets.spread.insert(place, (local.into(), numbers));
        }
        Ok(())
    }

    /// Closes the socket at `local`; whether there was one. What it had received and nobody
    /// has taken is lost, and counted as missed where this port had read it already.
    pub fn close(&mut self, local: SocketAddr) -> bool {
        let Ok(place) = self.sockets.position(local.into()) else { return false };
        let (_, number) = self.sockets.by_local.remove(place);
        let Some(socket) = self.sockets.all.get_mut(number).and_then(Option::take) else { return false };
        self.sockets.dropped += socket.dropped();
        self.sockets.gather(local.into());
        self.counters.missed += self.receiver.forget(number);
        self.sender.forget();
        true
    }

    /// The addresses of the sockets, in order.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.by_local.iter().map(|(local, _)| (*local).into())
    }
}

impl Sockets {
    fn position(&self, local: Endpoint) -> Result<usize, usize> {
        self.by_local.binary_search_by_key(&local, |(local, _)| *local)
    }

    /// A number that no socket has.
    fn free(&self) -> usize {
        self.all.iter().position(Option::is_none).unwrap_or(self.all.len())
    }

    fn put(&mut self, number: usize, link: UdpLink) {
        self.all.resize_with(self.all.len().max(number + 1), || None);
        if let Some(place) = self.all.get_mut(number) {
            *place = Some(Socket::new(link));
        }
    }

    fn spread_position(&self, local: Endpoint) -> Result<usize, usize> {
        self.spread.binary_search_by_key(&local, |(local, _)| *local)
    }

    /// Closes the further sockets of the tunnels at `local`.
    fn gather(&mut self, local: Endpoint) {
        let Ok(place) = self.spread_position(local) else { return };
        let (_, numbers) = self.spread.remove(place);
        for number in numbers {
            if let Some(socket) = self.all.get_mut(number) {
                *socket = None;
            }
        }
    }

    /// The number of the socket by which the flow of `hash` leaves the tunnels at `local`.
    fn of_flow(&self, local: Endpoint, hash: u16) -> Option<usize> {
        let own = || self.number(local);
        let Ok(place) = self.spread_position(local) else { return own() };
        let (_, numbers) = self.spread.get(place)?;
        let number = usize::from(hash).checked_rem(numbers.len()).and_then(|at| numbers.get(at));
        number.copied().or_else(own)
    }

    /// The number of the socket at `local`.
    fn number(&self, local: Endpoint) -> Option<usize> {
        let place = self.position(local).ok()?;
        self.by_local.get(place).map(|(_, number)| *number)
    }

    fn get(&self, number: usize) -> Option<&Socket> {
        self.all.get(number)?.as_ref()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Port<B> for UdpPort
where
    Self: Rx<B> + Tx<B>,
{
    fn counters(&self) -> PortCounters {
        let tunnels = self.sockets.by_local.iter().filter_map(|(_, number)| self.sockets.get(*number));
        // Who sends to the ports by which flows leave, sends to nobody.
        let dropped: u64 = tunnels.map(Socket::dropped).sum();
        PortCounters { missed: self.counters.missed + self.sockets.dropped + dropped, ..self.counters }
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.sockets.epoll.as_fd())
    }
}
