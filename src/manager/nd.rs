//! Neighbour discovery (RFC 4861), for links that carry Ethernet frames: who asks for the router's
//! own IPv6 addresses is answered, and who answers is remembered.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::node::RateLimit;
use crate::time::Nanos;
use crate::wire::ethernet;
use crate::wire::ndp::{self, Kind, Message};

/// Octets of a frame with a message.
const FRAME: usize = ethernet::HEADER + ndp::PACKET;
/// From one question for a neighbour to the next (RFC 4861, 10: `RETRANS_TIMER`).
const RETRANSMIT: Nanos = Nanos(1_000_000_000);
/// All nodes on the link.
const ALL_NODES: u128 = 0xff02 << 112 | 1;

/// A question, or an answer: an Ethernet frame.
pub type NdFrame = [u8; FRAME];

/// An IPv6 address on a link and who has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Neighbour6 {
    /// The address.
    pub address: Ipv6Addr,
    /// The MAC address; none while it is only asked for.
    pub mac: Option<[u8; 6]>,
    /// Whether what is known is the answer to a question: `REACHABLE` in RFC 4861, where the rest is
    /// `STALE`. It stays so; how long that is to be believed is the caller's to say, by `heard`.
    pub confirmed: bool,
    /// Whether it says that it is a router.
    pub router: bool,
    /// When it was last heard of, or asked for while there is no answer.
    pub heard: Nanos,
}

/// The IPv6 neighbours on one link.
///
/// Remembered is who asks for one of this router's addresses, and who answers a question of this
/// router's, at most as many as it was made for. Where there are more, first those make room that
/// were asked for and did not answer, then those that were heard of the longest ago. A look-up goes
/// over all of them. Answers, and neighbours that are new by their own questions, are limited to a
/// rate: what is above it changes nothing.
///
/// ```
/// use fastpath::manager::Nd;
/// use fastpath::time::Nanos;
///
/// let (ours, theirs) = ("fd00::1".parse()?, "fd00::9".parse()?);
/// let mut here = Nd::new([2, 0, 0, 0, 0, 1], &[ours], 64, (100, 16));
/// let mut there = Nd::new([2, 0, 0, 0, 0, 9], &[theirs], 64, (100, 16));
/// let question = there.request(Nanos::ZERO, ours).unwrap();
/// let answer = here.receive(Nanos::ZERO, &question).unwrap();
/// there.receive(Nanos::ZERO, &answer);
/// assert_eq!(there.find(ours).unwrap().mac, Some([2, 0, 0, 0, 0, 1]));
/// assert_eq!(here.find(theirs).unwrap().mac, Some([2, 0, 0, 0, 0, 9]), "who asked is known, too");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nd {
    mac: [u8; 6],
    addresses: Vec<u128>,
    most: usize,
    rate: RateLimit,
    neighbours: Vec<Neighbour6>,
}

impl Nd {
    /// For a link on which this router has `mac` and `addresses`, and the link-local address made of
    /// `mac`; with room for `most` neighbours, and so many answers a second and at once.
    pub fn new(mac: [u8; 6], addresses: &[Ipv6Addr], most: usize, (per_second, burst): (u32, u32)) -> Self {
        let mut own: Vec<_> = addresses.iter().map(|address| address.to_bits()).collect();
        own.push(ndp::link_local(mac));
        let rate = RateLimit::new(per_second, burst);
        Self { mac, addresses: own, most, rate, neighbours: Vec::with_capacity(most) }
    }

    /// The neighbour with this address, or the question for it.
    pub fn find(&self, address: Ipv6Addr) -> Option<&Neighbour6> {
        self.neighbours.iter().find(|neighbour| neighbour.address == address)
    }

    /// All neighbours, in no order.
    pub fn neighbours(&self) -> &[Neighbour6] {
        &self.neighbours
    }

    /// A frame that asks all who has `address`, and a place for the answer. `None` if it was asked
    /// for within a second and has not answered, and for addresses that no neighbour can have.
    pub fn request(&mut self, now: Nanos, address: Ipv6Addr) -> Option<NdFrame> {
        let target = address.to_bits();
        if !is_host(target) || self.addresses.contains(&target) {
            return None;
        }
        match self.known(target) {
            Some(known) if known.mac.is_none() => {
                if now.0.saturating_sub(known.heard.0) < RETRANSMIT.0 {
                    return None;
                }
                known.heard = now;
            }
            // It stays what it is until there is an answer.
            Some(_) => (),
            None => {
                self.enter(Neighbour6 { address, mac: None, confirmed: false, router: false, heard: now })
            }
        }
        let destination = ndp::solicited_node(target);
        let source = self.source_for(target);
        let message = Message { kind: Kind::Solicitation, source, destination, target, mac: None };
        Some(self.frame(ndp::group_mac(destination), &message))
    }

    /// A frame that tells all nodes who has `address`, one of this router's own: after it has come
    /// here from elsewhere (RFC 4861, 7.2.6). `None` for others.
    pub fn announce(&self, address: Ipv6Addr) -> Option<NdFrame> {
        let target = address.to_bits();
        self.addresses.contains(&target).then(|| self.answer(target, ALL_NODES, ndp::group_mac(ALL_NODES)))
    }

    /// Reads an Ethernet frame, without tag, and learns of it. Returns the answer if it asks for
    /// this router. Frames of other kinds, those that RFC 4861, 7.1, has discarded, and senders
    /// that no one can be, change nothing.
    pub fn receive(&mut self, now: Nanos, frame: &[u8]) -> Option<NdFrame> {
        let (head, packet) = frame.split_first_chunk::<{ ethernet::HEADER }>()?;
        let &[t0, t1, t2, t3, t4, t5, f0, f1, f2, f3, f4, f5, kind @ ..] = head;
        let (to, from) = ([t0, t1, t2, t3, t4, t5], [f0, f1, f2, f3, f4, f5]);
        let for_us = to == self.mac || ethernet::is_group(&to);
        if kind != ethernet::IPV6.to_be_bytes() || !for_us || !self.is_station(from) {
            return None;
        }
        let message = Message::read(packet)?;
        let sane = message.mac.is_none_or(|mac| self.is_station(mac));
        let for_us = ndp::is_group(message.destination) || self.addresses.contains(&message.destination);
        if !sane || !for_us || self.addresses.contains(&message.source) {
            return None;
        }
        match message.kind {
            Kind::Solicitation => self.asked(now, &message, from),
            Kind::Advertisement { .. } => {
                self.told(now, &message);
                None
            }
        }
    }

    /// Answers a question for one of this router's addresses (RFC 4861, 7.2.3 and 7.2.4).
    fn asked(&mut self, now: Nanos, message: &Message, from: [u8; 6]) -> Option<NdFrame> {
        if !self.addresses.contains(&message.target) || !self.rate.admit(now) {
            return None;
        }
        if message.source == 0 {
            // It would take the address: all are told whose it is.
            return Some(self.answer(message.target, ALL_NODES, ndp::group_mac(ALL_NODES)));
        }
        if !is_host(message.source) {
            return None;
        }
        if let Some(mac) = message.mac {
            let address = Ipv6Addr::from_bits(message.source);
            match self.known(message.source) {
                Some(known) => {
                    known.confirmed &= known.mac == Some(mac);
                    (known.mac, known.heard) = (Some(mac), now);
                }
                None => self.enter(Neighbour6 {
                    address,
                    mac: Some(mac),
                    confirmed: false,
                    router: false,
                    heard: now,
                }),
            }
        }
        Some(self.answer(message.target, message.source, message.mac.unwrap_or(from)))
    }

    /// Learns from an answer, of who is known or was asked for (RFC 4861, 7.2.5).
    fn told(&mut self, now: Nanos, message: &Message) {
        let Kind::Advertisement { router, solicited, overrides } = message.kind else { return };
        let Some(known) = self.known(message.target) else { return };
        let Some(before) = known.mac else {
            // A question that is answered without what was asked for is still one.
            if let Some(mac) = message.mac {
                (known.mac, known.confirmed, known.router, known.heard) = (Some(mac), solicited, router, now);
            }
            return;
        };
        let mac = message.mac.unwrap_or(before);
        if mac != before && !overrides {
            // Another who says so: it is not believed, but what was known is in doubt.
            known.confirmed = false;
            return;
        }
        known.confirmed = solicited || known.confirmed && mac == before;
        (known.mac, known.router, known.heard) = (Some(mac), router, now);
    }

    fn known(&mut self, address: u128) -> Option<&mut Neighbour6> {
        self.neighbours.iter_mut().find(|known| known.address.to_bits() == address)
    }

    fn enter(&mut self, new: Neighbour6) {
        if self.neighbours.len() < self.most {
            self.neighbours.push(new);
        } else if let Some(oldest) =
            self.neighbours.iter_mut().min_by_key(|known| (known.mac.is_some(), known.heard))
        {
            *oldest = new;
        }
    }

    /// Whether an Ethernet address can be another station's.
    fn is_station(&self, mac: [u8; 6]) -> bool {
        !ethernet::is_group(&mac) && mac != [0; 6] && mac != self.mac
    }

    /// The own address that is on the link of `target`, as far as that shows: link-local for
    /// link-local.
    fn source_for(&self, target: u128) -> u128 {
        let link_local = |address: &u128| *address >> 118 == 0xfe80 >> 6;
        let same = self.addresses.iter().find(|own| link_local(own) == link_local(&target));
        same.or(self.addresses.first()).copied().unwrap_or(0)
    }

    fn answer(&self, target: u128, destination: u128, to: [u8; 6]) -> NdFrame {
        let solicited = !ndp::is_group(destination);
        let kind = Kind::Advertisement { router: true, solicited, overrides: true };
        self.frame(to, &Message { kind, source: target, destination, target, mac: None })
    }

    fn frame(&self, to: [u8; 6], message: &Message) -> NdFrame {
        let packet = message.packet(self.mac);
        let pieces: [&[u8]; 4] = [&to, &self.mac, &ethernet::IPV6.to_be_bytes(), &packet];
        let mut frame = [0; FRAME];
        frame.iter_mut().zip(pieces.into_iter().flatten()).for_each(|(place, octet)| *place = *octet);
        frame
    }
}

/// Whether an address can be that of one host: no group, not the loopback's, none with an IPv4
/// address in it.
fn is_host(address: u128) -> bool {
    !ndp::is_group(address) && address >> 32 != 0 && address >> 32 != 0xffff
}

#[cfg(test)]
mod tests;
