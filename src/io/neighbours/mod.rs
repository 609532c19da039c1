//! Next hops of Ethernet ports, from the kernel's routes and neighbours.
//!
//! An [`Adjacent`] port is sent packets that begin with their outer IP header, as a TUN device
//! is; it puts an Ethernet header in front, whose destination the kernel knows: the outer
//! destination's own address where it is on the link, else its gateway's. [`Neighbours`] asks
//! for it by netlink, on whatever thread, and keeps it fresh; the two share words of memory and
//! no lock. The first packet to a destination, and all while nobody answers there, are refused.
//!
//! ```no_run
//! use fastpath::io::neighbours::{Adjacent, Neighbours};
//! use fastpath::io::packet::{PacketConfig, PacketPort};
//! use fastpath::time::Nanos;
//! use std::time::Instant;
//!
//! let port = PacketPort::new("eth0", PacketConfig::default())?;
//! let mut neighbours = Neighbours::new()?;
//! let mut hops = neighbours.attach("eth0", 1024)?;
//! // The peers of links; what code options may name at will displaces none of these.
//! hops.pin("192.0.2.7".parse()?)?;
//! let port = Adjacent::new(port.address(), port, hops);
//! std::thread::spawn(move || {
//!     let start = Instant::now();
//!     loop {
//!         neighbours.poll(Nanos(start.elapsed().as_nanos() as u64)).unwrap();
//!         std::thread::sleep(std::time::Duration::from_millis(1));
//!     }
//! });
//! # let _ = port;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adjacent;
mod hops;
mod netlink;

pub use adjacent::Adjacent;
pub use hops::{NextHops, PinError};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::string::String;
use std::vec::Vec;

use hops::{Request, Requests};
use netlink::{Change, Netlink};

use crate::time::Nanos;

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeighbourError {
    /// No interface has this name.
    #[error("there is no interface {name} in this network namespace (ip link shows what there is)")]
    NoInterface {
        /// The name asked for.
        name: String,
    },
    /// Not `CAP_NET_ADMIN`.
    #[error("no permission to let the kernel look for neighbours: run with CAP_NET_ADMIN")]
    Permission,
    /// The operating system refused.
    #[error("{call} failed on a netlink socket")]
    System {
        /// What was asked of it.
        call: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// From one look at all destinations to the next: the kernel is told that stale neighbours
/// are in use, asks silent ones again, and so finds out who is gone.
const REFRESH: Nanos = Nanos(1_000_000_000);

/// An interface of the kernel and an address on its link.
type Place = (u32, IpAddr);

/// What the kernel knows of next hops, and who wants to know it.
///
/// The control side: it allocates and calls the operating system, and belongs to a thread that
/// may wait.
#[derive(Debug)]
pub struct Neighbours {
    netlink: Netlink,
    /// All neighbours of the kernel's that have an address, and whether that is fresh.
    known: BTreeMap<Place, ([u8; 6], bool)>,
    interfaces: Vec<Interface>,
    /// When all destinations are looked at again.
    next: Nanos,
    /// Whether there may be other routes.
    stale: bool,
}

/// An interface, and the destinations that its ports send to.
#[derive(Debug)]
struct Interface {
    index: u32,
    up: bool,
    requests: Requests,
    /// By place in the path's table.
    wanted: BTreeMap<u32, Wanted>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    destination: IpAddr,
    generation: u16,
    /// Who takes its packets, if there is a way at all.
    hop: Option<IpAddr>,
}

impl Neighbours {
    /// Opens netlink in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`NeighbourError::System`].
    pub fn new() -> Result<Self, NeighbourError> {
        let netlink = Netlink::new()?;
        let mut new =
            Self { netlink, known: BTreeMap::new(), interfaces: Vec::new(), next: Nanos::ZERO, stale: false };
        new.resync()?;
        Ok(new)
    }

    /// Adds a port on the interface `name`, which may send to `destinations` destinations at
    /// a time (rounded up to a power of two, 8 at least), and returns what it finds next hops
    /// with.
    ///
    /// # Errors
    ///
    /// [`NeighbourError`].
    pub fn attach(&mut self, name: &str, destinations: u32) -> Result<NextHops, NeighbourError> {
        let index = self.netlink.interface(name)?;
        let up = self.netlink.is_up(index)?;
        let (hops, requests) = hops::pair(destinations);
        self.interfaces.push(Interface { index, up, requests, wanted: BTreeMap::new() });
        Ok(hops)
    }

    /// Takes up what ports ask for and what the kernel has to say; returns how many destinations
    /// of all have a next hop with an address. Does not wait.
    ///
    /// `now` goes on from call to call. Once a millisecond is soon enough, or when
    /// [`readable`](Self::readable) is; ports' questions wait for the next call.
    ///
    /// # Errors
    ///
    /// [`NeighbourError`]; what was known before is still used, and the next call tries again.
    pub fn poll(&mut self, now: Nanos) -> Result<usize, NeighbourError> {
        self.interfaces.retain(|interface| !interface.requests.is_cut());
        let mut changes = Vec::new();
        if !self.netlink.changes(&mut changes)? {
            // The kernel had more to say than it could keep.
            changes.clear();
            self.resync()?;
        }
        changes.into_iter().for_each(|change| self.change(change));
        let mut asked = self.take_requests()?;
        if core::mem::take(&mut self.stale) {
            self.route_all()?;
        }
        if now >= self.next {
            self.next = Nanos(now.0 + REFRESH.0);
            asked.extend(self.all_hops());
        }
        self.ask(asked)?;
        Ok(self.publish())
    }

    /// Readable when the kernel has something to say.
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.netlink.readable()
    }

    /// Reads all anew.
    fn resync(&mut self) -> Result<(), NeighbourError> {
        self.known.clear();
        let mut changes = Vec::new();
        self.netlink.dump_neighbours(&mut changes)?;
        changes.into_iter().for_each(|change| self.change(change));
        for interface in &mut self.interfaces {
            interface.up = self.netlink.is_up(interface.index)?;
        }
        self.stale = true;
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Neighbour(place, Some(known)) => drop(self.known.insert(place, known)),
            Change::Neighbour(place, None) => drop(self.known.remove(&place)),
            Change::Link(index, up) => {
                let all = self.interfaces.iter_mut().filter(|interface| interface.index == index);
                all.for_each(|interface| interface.up = up);
                self.stale = true;
            }
            Change::Route => self.stale = true,
        }
    }

    /// Takes what ports ask for; who is to be looked for.
    fn take_requests(&mut self) -> Result<BTreeSet<Place>, NeighbourError> {
        let mut asked = BTreeSet::new();
        for interface in &mut self.interfaces {
            while let Some(Request { place, generation, destination }) = interface.requests.take() {
                let hop = self.netlink.route(destination, interface.index);
                // An error leaves it for the next time.
                self.stale |= hop.is_err();
                let wanted = Wanted { destination, generation, hop: *hop.as_ref().unwrap_or(&None) };
                interface.wanted.insert(place, wanted);
                asked.extend(hop?.map(|hop| (interface.index, hop)));
            }
        }
        Ok(asked)
    }

    /// Asks for all routes again.
    fn route_all(&mut self) -> Result<(), NeighbourError> {
        // An error leaves the rest for the next time.
        self.stale = true;
        for interface in &mut self.interfaces {
            for wanted in interface.wanted.values_mut() {
                wanted.hop = self.netlink.route(wanted.destination, interface.index)?;
            }
        }
        (self.stale, self.next) = (false, Nanos::ZERO);
        Ok(())
    }

    fn all_hops(&self) -> impl Iterator<Item = Place> + use<> {
        let of = |interface: &Interface| {
            let index = interface.index;
            let hops = interface.wanted.values().filter_map(|wanted| wanted.hop);
            hops.map(move |hop| (index, hop)).collect::<Vec<_>>()
        };
        let up = self.interfaces.iter().filter(|interface| interface.up);
        up.flat_map(of).collect::<BTreeSet<_>>().into_iter()
    }

    /// Lets the kernel look for those whose address is not fresh.
    fn ask(&mut self, places: BTreeSet<Place>) -> Result<(), NeighbourError> {
        for place in places {
            if !self.known.get(&place).is_some_and(|(_, fresh)| *fresh) {
                self.netlink.resolve(place)?;
            }
        }
        Ok(())
    }

    /// Writes down for the ports what is known; how many destinations have an address.
    fn publish(&self) -> usize {
        let mut resolved = 0;
        for interface in &self.interfaces {
            for (place, wanted) in &interface.wanted {
                let hop = wanted.hop.filter(|_| interface.up);
                let known = hop.and_then(|hop| self.known.get(&(interface.index, hop)));
                let address = known.map(|(address, _)| *address);
                interface.requests.answer(*place, wanted.generation, address);
                resolved += usize::from(address.is_some());
            }
        }
        resolved
    }
}
