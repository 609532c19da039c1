//! IPv4 headers (RFC 791).

use crate::exit::DropReason::{self, Checksum, Malformed, Truncated};
use crate::wire::{be16, be32, checksum, ecn, put};

/// Octets of a header without options.
pub const HEADER: usize = 20;
/// Where in a header the destination address stands.
pub const DESTINATION: usize = 16;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of GRE.
pub const GRE: u8 = 47;

/// A sound IPv4 header and the octets of its packet, padding taken off.
///
/// Sound: version 4, a header and a total length that fit, a right checksum.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    head: &'a [u8; HEADER],
    packet: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Checks the header at the front of `octets`.
    ///
    /// # Errors
    ///
    /// [`Truncated`], [`Malformed`] or [`Checksum`], in this order of precedence:
    /// too short for a header, wrong version or header length, lengths that do not
    /// fit, wrong checksum.
    pub fn read(octets: &'a [u8]) -> Result<Self, DropReason> {
        let head = octets.first_chunk::<HEADER>().ok_or(Truncated)?;
        let &[version, ..] = head;
        let header = usize::from(version & 15) * 4;
        if version >> 4 != 4 || header < HEADER {
            return Err(Malformed);
        }
        let total = usize::from(be16::<2, HEADER>(head));
        if total < header {
            return Err(Malformed);
        }
        let packet = octets.get(..total).ok_or(Truncated)?;
        match packet.get(..header).map(checksum::sum) {
            Some(0xffff) => Ok(Self { head, packet }),
            _ => Err(Checksum),
        }
    }

    /// The packet, header included, padding excluded.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// Octets of the header, options included.
    pub fn header_len(&self) -> usize {
        let &[version, ..] = self.head;
        usize::from(version & 15) * 4
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(self.header_len()..).unwrap_or_default()
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        let &[_, class, ..] = self.head;
        class
    }

    /// The identification.
    pub fn id(&self) -> u16 {
        be16::<4, HEADER>(self.head)
    }

    /// Whether DF is set.
    pub fn dont_fragment(&self) -> bool {
        be16::<6, HEADER>(self.head) & 0x4000 != 0
    }

    /// Whether it is a fragment: the first (MF) or a later one.
    pub fn is_fragment(&self) -> bool {
        be16::<6, HEADER>(self.head) & 0x3fff != 0
    }

    /// Whether it is a fragment other than the first.
    pub fn is_later_fragment(&self) -> bool {
        be16::<6, HEADER>(self.head) & 0x1fff != 0
    }

    /// The time to live.
    pub fn ttl(&self) -> u8 {
        let &[_, _, _, _, _, _, _, _, ttl, ..] = self.head;
        ttl
    }

    /// The protocol of the payload.
    pub fn protocol(&self) -> u8 {
        let &[_, _, _, _, _, _, _, _, _, protocol, ..] = self.head;
        protocol
    }

    /// The source address, its first octet on top.
    pub fn source(&self) -> u32 {
        be32::<12, HEADER>(self.head)
    }

    /// The destination address, its first octet on top.
    pub fn destination(&self) -> u32 {
        be32::<16, HEADER>(self.head)
    }
}

/// Sets congestion experienced in a header, and its checksum with it (RFC 3168).
pub fn mark_congestion(header: &mut [u8; HEADER]) {
    let sum = be16::<10, HEADER>(header);
    let [_, class, ..] = header;
    let old = core::mem::replace(class, *class | ecn::CE);
    let sum = checksum::update16(sum, u16::from(old), u16::from(old | ecn::CE));
    put::<10, 2, HEADER>(header, sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn fields_are_those_of_etherparse(
            source: [u8; 4], destination: [u8; 4], ttl: u8, payload in prop::collection::vec(any::<u8>(), 0..64),
            padding in 0usize..8,
        ) {
            let mut octets = Vec::new();
            let builder = PacketBuilder::ipv4(source, destination, ttl).udp(7, 9);
            builder.write(&mut octets, &payload).unwrap();
            let total = octets.len();
            octets.resize(total + padding, 0xaa);
            let ip = Ipv4::read(&octets).unwrap();
            let other = etherparse::Ipv4HeaderSlice::from_slice(&octets).unwrap();
            prop_assert_eq!(ip.packet().len(), total);
            prop_assert_eq!(ip.header_len(), other.slice().len());
            prop_assert_eq!(ip.traffic_class(), other.slice()[1]);
            prop_assert_eq!(ip.id(), other.identification());
            prop_assert_eq!(ip.dont_fragment(), other.dont_fragment());
            prop_assert_eq!(ip.is_fragment(), other.is_fragmenting_payload());
            prop_assert_eq!(ip.is_later_fragment(), other.fragments_offset().value() != 0);
            prop_assert_eq!((ip.ttl(), ip.protocol()), (other.ttl(), other.protocol().0));
            prop_assert_eq!(ip.source().to_be_bytes(), other.source());
            prop_assert_eq!(ip.destination().to_be_bytes(), other.destination());
        }

        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            if let Ok(ip) = Ipv4::read(&octets) {
                prop_assert!(ip.payload().len() + ip.header_len() == ip.packet().len());
            }
        }
    }
}
