//! Hosts on a link that carries Ethernet frames: found by ARP when packets come for them. Who asks
//! for the router is answered, by ARP and by neighbour discovery.
//!
//! Packets wait here, some of them, until their host has answered.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use fastpath::manager::{Arp, Nd};
use fastpath::node::ExceptionPacket;
use fastpath::time::Nanos;

use super::Buffer;

/// Hosts that are remembered on a link.
pub(crate) const HOSTS: usize = 64;
/// Packets that wait for hosts.
const WAITING: usize = 64;
/// Answers to neighbour solicitations, a second and at once.
const SOLICITATIONS: (u32, u32) = (100, 32);
/// From one question for a host to the next.
const PATIENCE: Nanos = Nanos(1_000_000_000);

/// The hosts on one link.
pub(crate) struct Hosts {
    pub(crate) arp: Arp,
    /// For the router's IPv6 address, if it has one there.
    nd: Option<Nd>,
    /// The result that sends whole frames.
    pub(crate) frames: u32,
    pub(crate) queue: u16,
    /// Hosts with a way of their own: the result, and the MAC address that it has.
    ways: BTreeMap<u32, (u32, [u8; 6])>,
    asked: BTreeMap<u32, Nanos>,
    waiting: Vec<(u32, ExceptionPacket<Buffer>)>,
}

/// A way that is to be set.
pub(crate) struct NewWay {
    pub(crate) address: u32,
    pub(crate) mac: [u8; 6],
    /// The result that it has; none for a host that is new.
    pub(crate) result: Option<u32>,
}

impl Hosts {
    /// On a link on which the router has `mac` and these addresses.
    pub(crate) fn new(
        mac: [u8; 6], address: Ipv4Addr, address_v6: Option<Ipv6Addr>, frames: u32, queue: u16,
    ) -> Self {
        let arp = Arp::new(mac, address.to_bits(), HOSTS);
        let nd = address_v6.map(|address| Nd::new(mac, &[address], HOSTS, SOLICITATIONS));
        Self { arp, nd, frames, queue, ways: BTreeMap::new(), asked: BTreeMap::new(), waiting: Vec::new() }
    }

    /// Learns from a frame; the frame that answers it, if it asks for the router.
    pub(crate) fn receive(&mut self, now: Nanos, frame: &[u8]) -> Option<Vec<u8>> {
        if let Some(reply) = self.arp.receive(now, frame) {
            return Some(reply.to_vec());
        }
        Some(self.nd.as_mut()?.receive(now, frame)?.to_vec())
    }

    /// IPv6 neighbours that are known.
    pub(crate) fn neighbours(&self) -> usize {
        self.nd.as_ref().map_or(0, |nd| nd.neighbours().len())
    }

    /// Whether a host has a way of its own.
    pub(crate) fn knows(&self, address: u32) -> bool {
        self.ways.contains_key(&address)
    }

    /// What hosts say that is not known yet.
    pub(crate) fn news(&self) -> Vec<NewWay> {
        let known = self.arp.neighbours().iter();
        let news = known.filter_map(|host| match self.ways.get(&host.address) {
            Some((_, mac)) if *mac == host.mac => None,
            way => {
                let result = way.map(|(result, _)| *result);
                Some(NewWay { address: host.address, mac: host.mac, result })
            }
        });
        news.collect()
    }

    /// Notes that `result` leads to a host; returns the packets that waited for it.
    pub(crate) fn learnt(&mut self, way: &NewWay, result: u32) -> Vec<ExceptionPacket<Buffer>> {
        self.ways.insert(way.address, (result, way.mac));
        self.asked.remove(&way.address);
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(to, _)| *to == way.address);
        self.waiting = rest;
        ready.into_iter().map(|(_, packet)| packet).collect()
    }

    /// Lets a packet wait for its host, and returns the question for it if it is time; or the
    /// packet, if too many wait.
    pub(crate) fn wait(
        &mut self, now: Nanos, to: u32, packet: ExceptionPacket<Buffer>,
    ) -> (Option<[u8; 42]>, Option<ExceptionPacket<Buffer>>) {
        let due = self.asked.get(&to).is_none_or(|asked| now.0.saturating_sub(asked.0) >= PATIENCE.0);
        if due {
            // Who scans a network has us remember a few addresses, no more.
            if self.asked.len() >= 4 * HOSTS {
                self.asked.clear();
            }
            self.asked.insert(to, now);
        }
        let back = if self.waiting.len() < WAITING {
            self.waiting.push((to, packet));
            None
        } else {
            Some(packet)
        };
        (due.then(|| self.arp.request(to)), back)
    }
}

impl Hosts {
    /// The packets whose host has not answered for three seconds.
    pub(crate) fn unanswered(&mut self, now: Nanos) -> Vec<ExceptionPacket<Buffer>> {
        let waiting = std::mem::take(&mut self.waiting);
        let fresh = |packet: &ExceptionPacket<Buffer>| now.0.saturating_sub(packet.at.0) < 3 * PATIENCE.0;
        let (rest, late): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, packet)| fresh(packet));
        self.waiting = rest;
        late.into_iter().map(|(_, packet)| packet).collect()
    }

    /// Packets that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
