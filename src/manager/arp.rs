//! ARP (RFC 826), for links that carry Ethernet frames: requests for the router's own addresses
//! are answered, and who answers is remembered.

use alloc::vec::Vec;

use crate::time::Nanos;
use crate::wire::ethernet;

/// Octets of an ARP frame: an Ethernet header, and ARP for IPv4 over Ethernet.
const FRAME: usize = 42;

/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// An address on a link and who has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// The IPv4 address, first octet on top.
    pub address: u32,
    /// The MAC address.
    pub mac: [u8; 6],
    /// When it was last heard of.
    pub heard: Nanos,
}

/// What an ARP frame asks for: a frame to be sent back.
pub type ArpReply = [u8; FRAME];

/// The neighbours on one link.
///
/// Only who speaks to this router is remembered, and at most as many as it was made for: then the
/// one that was heard of the longest ago is forgotten. A look-up goes over all of them.
///
/// ```
/// use fastpath::manager::Arp;
/// use fastpath::time::Nanos;
///
/// let mut arp = Arp::new([2, 0, 0, 0, 0, 1], 0x0a01_00fe, 64);
/// let mut other = Arp::new([2, 0, 0, 0, 0, 9], 0x0a01_0009, 64);
/// let reply = arp.receive(Nanos::ZERO, &other.request(0x0a01_00fe)).unwrap();
/// other.receive(Nanos::ZERO, &reply);
/// assert_eq!(other.find(0x0a01_00fe).unwrap().mac, [2, 0, 0, 0, 0, 1]);
/// assert_eq!(arp.find(0x0a01_0009).unwrap().mac, [2, 0, 0, 0, 0, 9], "who asked is known, too");
/// ```
#[derive(Clone, Debug)]
pub struct Arp {
    mac: [u8; 6],
    address: u32,
    most: usize,
    neighbours: Vec<Neighbour>,
}

impl Arp {
    /// For a link on which this router has `mac` and the IPv4 address `address`, with room for
    /// `most` neighbours.
    pub fn new(mac: [u8; 6], address: u32, most: usize) -> Self {
        Self { mac, address, most, neighbours: Vec::with_capacity(most) }
    }

    /// The neighbour with this address. It is the caller's to judge by
    /// [`heard`](Neighbour::heard) whether to ask again.
    pub fn find(&self, address: u32) -> Option<&Neighbour> {
        self.neighbours.iter().find(|neighbour| neighbour.address == address)
    }

    /// All neighbours, in no order.
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// A frame that asks all who has `address`.
    pub fn request(&self, address: u32) -> ArpReply {
        self.frame([0xff; 6], REQUEST, [0; 6], address)
    }

    /// Reads an Ethernet frame, without tag, and learns of it. Returns the reply if it asks for
    /// this router. Frames of other kinds, and senders that no one can be, change nothing.
    pub fn receive(&mut self, now: Nanos, frame: &[u8]) -> Option<ArpReply> {
        let arp = frame.get(ethernet::HEADER..)?.first_chunk::<28>()?;
        let &[k0, k1, k2, k3, k4, k5, o0, o1, rest @ ..] = arp;
        let &[m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = &rest;
        let kind = frame.get(12..14)? == ethernet::ARP.to_be_bytes() && [k0, k1, k2, k3, k4, k5] == KIND;
        let (mac, operation) = ([m0, m1, m2, m3, m4, m5], [o0, o1]);
        let sender = u32::from_be_bytes([s0, s1, s2, s3]);
        let for_us = u32::from_be_bytes([t0, t1, t2, t3]) == self.address;
        // A group has no one MAC address, nor is one anybody's own.
        let unicast = m0 & 1 == 0 && mac != [0; 6] && mac != self.mac;
        if !kind || !unicast || sender == self.address {
            return None;
        }
        if !matches!(sender >> 24, 0 | 127 | 224..) {
            self.learn(Neighbour { address: sender, mac, heard: now }, for_us);
        }
        // A host that has no address yet (RFC 5227) is answered all the same.
        (for_us && operation == REQUEST).then(|| self.frame(mac, REPLY, mac, sender))
    }

    fn learn(&mut self, new: Neighbour, for_us: bool) {
        if let Some(known) = self.neighbours.iter_mut().find(|known| known.address == new.address) {
            *known = new;
        } else if for_us && self.neighbours.len() < self.most {
            self.neighbours.push(new);
        } else if for_us && let Some(oldest) = self.neighbours.iter_mut().min_by_key(|known| known.heard) {
            *oldest = new;
        }
    }

    fn frame(&self, to: [u8; 6], operation: [u8; 2], target: [u8; 6], address: u32) -> ArpReply {
        let mut frame = [0; FRAME];
        let kind = ethernet::ARP.to_be_bytes();
        let (own, address) = (self.address.to_be_bytes(), address.to_be_bytes());
        let pieces: [&[u8]; 9] =
            [&to, &self.mac, &kind, &KIND, &operation, &self.mac, &own, &target, &address];
        let octets = pieces.into_iter().flatten();
        frame.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const OURS: u32 = 0x0a01_00fe;

    fn arp(most: usize) -> Arp {
        Arp::new([2, 0, 0, 0, 0, 1], OURS, most)
    }

    fn other(n: u8) -> Arp {
        Arp::new([2, 0, 0, 0, 1, n], 0x0a01_0000 + u32::from(n), 4)
    }

    #[test]
    fn a_request_octet_for_octet_and_its_reply() {
        let request = other(9).request(OURS);
        let expected = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 1, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 1, 9,
            10, 1, 0, 9, 0, 0, 0, 0, 0, 0, 10, 1, 0, 254,
        ];
        assert_eq!(request, expected);
        let reply = arp(4).receive(Nanos::ZERO, &request).unwrap();
        let expected = [
            2, 0, 0, 0, 1, 9, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 1, 0,
            254, 2, 0, 0, 0, 1, 9, 10, 1, 0, 9,
        ];
        assert_eq!(reply, expected);
    }

    #[test]
    fn only_who_speaks_to_us_is_learned_and_the_oldest_forgotten() {
        let mut arp = arp(2);
        assert_eq!(arp.receive(Nanos(1), &other(1).request(0x0a01_0002)), None, "for somebody else");
        assert!(arp.neighbours().is_empty());
        for n in 1..=3 {
            assert!(arp.receive(Nanos(n.into()), &other(n).request(OURS)).is_some());
        }
        let known: Vec<u32> = (1..=3).filter(|n| arp.find(0x0a01_0000 + n).is_some()).collect();
        assert_eq!((known, arp.neighbours().len()), (vec![2, 3], 2));
        arp.receive(Nanos(9), &other(2).request(0x0a01_0007));
        assert_eq!(arp.find(0x0a01_0002).unwrap().heard, Nanos(9), "who is known is kept fresh");
        let mut spoofed = other(4).request(OURS);
        spoofed[28..32].copy_from_slice(&OURS.to_be_bytes());
        assert_eq!(arp.receive(Nanos(9), &spoofed), None, "our own address");
        let mut probe = other(4).request(OURS);
        probe[28..32].fill(0);
        assert!(arp.receive(Nanos(9), &probe).is_some() && arp.find(0).is_none(), "a probe");
        let mut group = other(4).request(OURS);
        group[22] |= 1;
        assert_eq!(arp.receive(Nanos(9), &group), None);
    }

    proptest! {
        #[test]
        fn any_frame_is_read_or_left(mut frame in prop::collection::vec(any::<u8>(), 0..64), good: bool) {
            let mut arp = arp(3);
            if good && frame.len() >= 22 {
                frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            }
            arp.receive(Nanos::ZERO, &frame);
            prop_assert!(arp.neighbours().len() <= 1);
        }
    }
}
