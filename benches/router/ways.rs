//! The ways from host a to host b: each with cables, hosts' ports and a router of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use etherparse::PacketBuilder;
use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::io::udp::{UdpConfig, UdpPort};

use crate::Fault;
use crate::ends::{End, Store};
use crate::net::{Net, Space, ethernet, ip};
use crate::ours::{LINKS, PEERS, Ports, Router};
use crate::traffic::{Buffer, HEADROOM, Table};

/// Who forwards, and how its packets come and go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Kernel,
    Packet,
    Udp,
    Joined,
    Tun,
    Memory,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Kernel, Self::Packet, Self::Udp, Self::Joined, Self::Tun, Self::Memory];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Packet => "packet",
            Self::Udp => "udp",
            Self::Joined => "udp joined",
            Self::Tun => "tun",
            Self::Memory => "memory",
        }
    }

    /// The number of its cables; others the second time.
    const fn number(self, again: bool) -> u8 {
        1 + self as u8 + if again { 10 } else { 0 }
    }
}

/// What is in front of the inner packet when host a sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    ethernet: Option<u8>,
    /// The router's address.
    tunnel: Option<Ipv4Addr>,
    pub(crate) way: u8,
}

impl Front {
    /// A frame with this inner packet.
    pub(crate) fn frame(self, inner: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        if let Some(way) = self.ethernet {
            frame.extend([ethernet(way, 2), ethernet(way, 1)].concat());
            frame.extend([8, 0]);
        }
        if let Some(router) = self.tunnel {
            let (start, host) = (frame.len(), [10, self.way, 1, 2]);
            let builder = PacketBuilder::ipv4(host, router.octets(), 64).udp(PEERS[0], LINKS[0]);
            builder.write(&mut frame, inner).expect("a vector takes it");
            // No checksum: destination and stamp change.
            frame[start + 26..start + 28].fill(0);
        } else {
            frame.extend(inner);
        }
        frame
    }
}

/// A way.
pub(crate) struct Way {
    pub(crate) kind: Kind,
    pub(crate) near: End,
    pub(crate) far: End,
    pub(crate) front: Front,
    pub(crate) router: Option<Router>,
    rounds: u64,
    /// So that host b has somebody at the port.
    _keep: Option<UdpSocket>,
}

impl Way {
    /// Lays cables, opens ports and starts the router.
    pub(crate) fn open(net: &Net, kind: Kind, again: bool, table: &Table) -> Result<Self, Fault> {
        let way = kind.number(again);
        let (ports, ends) = match kind {
            Kind::Memory => {
                let (ports, [near, far]) = Ports::memory(way);
                let (first, last) = Store::circle(2048);
                (Some(ports), [End { port: near, store: first }, End { port: far, store: last }])
            }
            kind => {
                net.cables(way, kind == Kind::Joined)?;
                let ports = net.within(Space::Router, || match kind {
                    Kind::Packet => Ports::packet(way).map(Some),
                    Kind::Tun => Ports::tun(way).map(Some),
                    Kind::Udp | Kind::Joined => Ports::udp(way).map(Some),
                    Kind::Kernel | Kind::Memory => Ok(None),
                })?;
                let host = |space, end| net.within(space, || host(kind, way, end));
                (ports?, [host(Space::HostA, 0)??, host(Space::HostB, 1)??])
            }
        };
        let front = Front {
            ethernet: (!matches!(kind, Kind::Memory | Kind::Joined)).then_some(way),
            tunnel: ports.as_ref().map(Ports::address),
            way,
        };
        let keep = match kind {
            Kind::Packet | Kind::Udp | Kind::Tun => {
                Some(net.within(Space::HostB, || UdpSocket::bind(address(way, 1)))??)
            }
            Kind::Kernel | Kind::Joined | Kind::Memory => None,
        };
        let router = ports.map(|ports| Router::start(way, ports, table)).transpose()?;
        if kind == Kind::Kernel {
            net.within(Space::Router, || routes(way, table))??;
        }
        let [near, far] = ends;
        Ok(Self { kind, near, far, front, router, rounds: 0, _keep: keep })
    }

    /// A number for the next round: what is late of another does not count.
    pub(crate) fn mark(&mut self) -> u64 {
        self.rounds += 1;
        0xfa57_0000_0000_0000 | self.rounds
    }
}

/// A host's address, of a socket.
fn address(way: u8, end: usize) -> SocketAddr {
    SocketAddr::from(([10, way, end as u8 + 1, 2], PEERS[end]))
}

/// The port of a host.
fn host(kind: Kind, way: u8, end: usize) -> Result<End, Fault> {
    let port: Box<dyn fastpath::io::Port<Buffer> + Send> = match kind {
        Kind::Joined => {
            let mut port = UdpPort::new(UdpConfig { headroom: HEADROOM, ..UdpConfig::default() })?;
            port.open(address(way, end))?;
            Box::new(port)
        }
        _ => {
            let name = format!("{}{way}", ["a", "b"][end]);
            Box::new(PacketPort::new(&name, PacketConfig { headroom: HEADROOM, ..PacketConfig::default() })?)
        }
    };
    Ok(End { port, store: Store::pool() })
}

/// Gives the kernel the same routes.
fn routes(way: u8, table: &Table) -> Result<(), String> {
    let command = |prefix| format!("route replace {prefix} via 10.{way}.2.2 dev rb{way}\n");
    // ip(8) keeps some kilobytes of each command until it ends.
    table.prefixes.chunks(20_000).try_for_each(|some| ip(&some.iter().map(command).collect::<String>()))
}
