//! The ports of interfaces, as the configuration names them.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use fastpath::egress::Encapsulation;
use fastpath::id::InterfaceId;
use fastpath::io::Port;
use fastpath::io::neighbours::{Adjacent, Neighbours};
use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::io::tun::{TunConfig, TunPort};
use fastpath::io::udp::{UdpConfig, UdpPort};
use fastpath::node::{InterfaceConfig, LinkRequest};
use fastpath::runtime::{Clock, Monotonic};
use rustix::net::ipproto::GRE;
use rustix::net::{AddressFamily, SocketType, socket};

use super::config::{Device, Plan};
use super::{Buffer, HEADROOM};

/// An open port.
pub(crate) type Open = Box<dyn Port<Buffer> + Send>;

/// Next hops that an Ethernet port may know at once.
const NEXT_HOPS: u32 = 1024;

/// The ports of all interfaces, in order, and what has to be kept while they are in use.
pub(crate) struct Ports {
    pub(crate) open: Vec<Open>,
    pub(crate) reserved: Vec<OwnedFd>,
}

impl Ports {
    /// Opens what `plan` names.
    pub(crate) fn open(plan: &Plan, clock: Monotonic) -> Result<Self, Box<dyn Error>> {
        let (mut open, mut reserved, mut neighbours) = (Vec::new(), Vec::new(), None);
        for (interface, at) in (0..).map(InterfaceId).zip(&plan.interfaces) {
            let named = |error: &dyn std::fmt::Display| format!("interface {}: {error}", at.name);
            let links: Vec<_> = plan.links().filter(|(.., link)| link.interface == interface).collect();
            // Tunnels of several slices share a port; GRE has none.
            let locals: BTreeSet<_> = links.iter().filter_map(|(.., link)| local(&at.config, link)).collect();
            let gre = links.iter().filter(|(.., link)| is_gre(link));
            let gre: BTreeSet<_> = gre.map(|(.., link)| link.peer.is_ipv6()).collect();
            let device =
                at.device.as_ref().ok_or_else(|| named(&"`device` is missing: a router needs ports"))?;
            open.push(match device {
                Device::Udp => {
                    let config = UdpConfig { interface, headroom: HEADROOM, ..UdpConfig::default() };
                    if !gre.is_empty() {
                        return Err(named(&"GRE does not go through UDP sockets: `packet` or `tun`").into());
                    }
                    let mut port = UdpPort::new(config).map_err(|error| named(&error))?;
                    for local in locals {
                        port.open(local).map_err(|error| named(&error))?;
                        // For plain UDP, which has no hash, it changes nothing.
                        port.spread(local, at.source_ports).map_err(|error| named(&error))?;
                    }
                    Box::new(port) as Open
                }
                Device::Tun(name) => {
                    let config = TunConfig { interface, headroom: HEADROOM, queues: false };
                    Box::new(TunPort::new(name, config).map_err(|error| named(&error))?)
                }
                Device::Packet(name) => {
                    // The kernel would tell peers that nobody is at the port: somebody is, who
                    // never listens.
                    for local in locals {
                        let held = UdpSocket::bind(local);
                        reserved.push(held.map_err(|error| named(&format!("{local}: {error}")))?.into());
                    }
                    for v6 in gre {
                        let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
                        let held = socket(family, SocketType::RAW, Some(GRE));
                        reserved.push(held.map_err(|error| named(&format!("GRE: {error}")))?);
                    }
                    let config = PacketConfig { interface, headroom: HEADROOM, ..PacketConfig::default() };
                    let port = PacketPort::new(name, config).map_err(|error| named(&error))?;
                    let neighbours = match &mut neighbours {
                        Some(neighbours) => neighbours,
                        none => none.insert(Neighbours::new().map_err(|error| named(&error))?),
                    };
                    let mut hops = neighbours.attach(name, NEXT_HOPS).map_err(|error| named(&error))?;
                    for (.., link) in &links {
                        let peer: IpAddr = link.peer.ip();
                        hops.pin(peer).map_err(|error| named(&error))?;
                    }
                    Box::new(Adjacent::new(port.address(), port, hops))
                }
            });
        }
        if let Some(neighbours) = neighbours {
            follow(neighbours, clock)?;
        }
        Ok(Self { open, reserved })
    }
}

/// Where a link's packets come in, if it is a UDP port.
fn local(at: &InterfaceConfig, link: &LinkRequest) -> Option<SocketAddr> {
    let address = match link.peer {
        SocketAddr::V4(_) => at.address.into(),
        SocketAddr::V6(_) => at.address_v6?.into(),
    };
    (!is_gre(link)).then(|| SocketAddr::new(address, link.port))
}

fn is_gre(link: &LinkRequest) -> bool {
    matches!(link.encapsulation, Encapsulation::Gre { .. })
}

/// Keeps next hops fresh in a thread of its own, for as long as the program runs.
fn follow(mut neighbours: Neighbours, mut clock: Monotonic) -> std::io::Result<()> {
    let run = move || {
        let mut refused = false;
        loop {
            let polled = neighbours.poll(clock.now());
            // What is known still holds, and the next call tries again.
            if let Err(error) = &polled
                && !refused
            {
                eprintln!("router: the kernel's neighbours: {error}");
            }
            refused = polled.is_err();
            thread::sleep(Duration::from_millis(if refused { 100 } else { 1 }));
        }
    };
    thread::Builder::new().name("neighbours".into()).spawn(run).map(|_| ())
}
