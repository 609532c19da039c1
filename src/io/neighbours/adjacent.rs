//! A port that puts the Ethernet header in front.

use core::net::IpAddr;
#[cfg(unix)]
use std::os::fd::BorrowedFd;

use super::NextHops;
use crate::io::{Buffers, Port, PortCounters, Rx, Tx};
use crate::packet::Packet;
use crate::slot::Slot;
use crate::wire::{ethernet, ipv4, ipv6, octets};

/// An Ethernet port that is sent IP packets.
///
/// What it receives is the inner port's: Ethernet frames. What is sent must begin with an IPv4
/// or IPv6 header, behind 14 octets of headroom, or 18 with a tag. A packet whose next hop is not
/// known is refused, and the kernel asked for it. See the [module](super).
#[derive(Debug)]
pub struct Adjacent<P> {
    port: P,
    hops: NextHops,
    source: [u8; 6],
    tag: Option<u16>,
    refused: u64,
}

/// A header, the longest there is, and its length.
type Header = ([u8; ethernet::TAGGED_HEADER], usize);

impl<P> Adjacent<P> {
    /// Sends through `port`, from the Ethernet address `source`.
    pub fn new(source: [u8; 6], port: P, hops: NextHops) -> Self {
        Self { port, hops, source, tag: None, refused: 0 }
    }

    /// The same with an 802.1Q tag: priority 3 bits, drop eligible 1, VLAN 12. The next hops
    /// should be those of the VLAN's interface.
    pub fn with_tag(self, tag: u16) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// The next hops, to pin destinations.
    pub fn hops(&mut self) -> &mut NextHops {
        &mut self.hops
    }

    /// The inner port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The header for a packet that begins with `packet`; `None` if there is none.
    fn header(&mut self, packet: &[u8]) -> Option<Header> {
        let (destination, ether_type): (IpAddr, _) = match packet.first()? >> 4 {
            4 => (octets::<16, 4, { ipv4::HEADER }>(packet.first_chunk()?).into(), ethernet::IPV4),
            6 => (octets::<24, 16, { ipv6::HEADER }>(packet.first_chunk()?).into(), ethernet::IPV6),
            _ => return None,
        };
        let address = self.hops.find(destination)?;
        let tag = self.tag.map(|tag| [ethernet::VLAN, tag].map(u16::to_be_bytes));
        let tag = tag.as_ref().map_or(&[][..], |tag| tag.as_flattened());
        let (mut header, mut len) = ([0; ethernet::TAGGED_HEADER], 0);
        let fields = address.iter().chain(&self.source).chain(tag);
        let ether_type = ether_type.to_be_bytes();
        for (to, from) in header.iter_mut().zip(fields.chain(&ether_type)) {
            *to = *from;
            len += 1;
        }
        Some((header, len))
    }

    /// Puts the header in front; whether there is one.
    fn prepare<B: AsRef<[u8]> + AsMut<[u8]>>(&mut self, packet: &mut Packet<B>) -> bool {
        let Some((header, len)) = self.header(packet.bytes()) else { return false };
        let header = header.get(..len).unwrap_or_default();
        packet.edit(packet.whole(), |packet| packet.push_slice(header).map(|_| ())).is_ok()
    }
}

impl<B, P: Rx<B>> Rx<B> for Adjacent<P> {
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        self.port.receive(vector, buffers)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, P: Tx<B>> Tx<B> for Adjacent<P> {
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut taken = 0;
        for slot in vector.iter_mut() {
            let Some(packet) = slot.packet.as_mut() else { continue };
            if !self.prepare(packet)
                && let Some(packet) = core::mem::take(slot).packet
            {
                buffers.give(packet.into_buf());
                self.refused += 1;
                taken += 1;
            }
        }
        taken += self.port.send(vector, buffers);
        // What the port could not take now is as it came.
        let header = if self.tag.is_some() { ethernet::TAGGED_HEADER } else { ethernet::HEADER };
        for packet in vector.iter_mut().filter_map(|slot| slot.packet.as_mut()) {
            let _ = packet.edit(packet.whole(), |packet| packet.pull(header));
        }
        taken
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, P: Port<B>> Port<B> for Adjacent<P> {
    fn counters(&self) -> PortCounters {
        let counters = self.port.counters();
        PortCounters { refused: counters.refused + self.refused, ..counters }
    }

    #[cfg(unix)]
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.port.readable()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hops;
    use super::*;
    use crate::io::{MemoryPort, Pool};
    use std::boxed::Box;
    use std::vec::Vec;

    type Buffer = Box<[u8]>;

    fn packet(version: u8, headroom: u32, to: u8) -> Slot<Buffer> {
        let mut octets = [0; 40];
        octets[0] = version << 4;
        octets[if version == 4 { 19 } else { 39 }] = to;
        Slot::from(Packet::with_headroom(std::vec![9; 80].into(), headroom, &octets).unwrap())
    }

    #[test]
    fn a_header_goes_in_front_and_comes_off_again() {
        let (hops, mut requests) = hops::pair(64);
        let (near, mut far) = MemoryPort::pair(2);
        let mut port = Adjacent::new([2; 6], near, hops).with_tag(0x2005);
        let mut pool = Pool::new(8, 0);
        while pool.take().is_some() {}
        let vector =
            || [packet(4, 18, 1), packet(6, 18, 1), packet(4, 17, 1), packet(5, 18, 1), packet(4, 18, 1)];
        assert_eq!(port.send(&mut vector(), &mut pool), 5, "nobody is known");
        while let Some(request) = requests.take() {
            requests.answer(request.place, request.generation, Some([4; 6]));
        }
        let mut vector = vector();
        assert_eq!(port.send(&mut vector, &mut pool), 4);
        let left = vector[4].packet.as_ref().unwrap();
        assert_eq!((left.headroom(), left.bytes()[0]), (18, 0x40), "there was no room: it is as it came");
        let counters = Port::<Buffer>::counters(&port);
        assert_eq!((counters.sent, counters.refused, pool.len()), (2, 7, 7));
        far.receive(&mut vector[..2], &mut pool);
        let heads: Vec<_> =
            vector[..2].iter().map(|slot| slot.packet.as_ref().unwrap().bytes()[..18].to_vec()).collect();
        let head = |kind: [u8; 2]| [&[4; 6][..], &[2; 6], &[0x81, 0, 0x20, 5], &kind].concat();
        assert_eq!(heads, [head([8, 0]), head([0x86, 0xdd])]);
    }
}
