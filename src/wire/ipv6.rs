//! IPv6 headers (RFC 8200), without extension headers.

use crate::exit::DropReason::{self, Malformed, Truncated};
use crate::wire::{be16, be32, ecn, octets};

/// Octets of the fixed header.
pub const HEADER: usize = 40;

/// A sound IPv6 header and the octets of its packet, padding taken off.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    head: &'a [u8; HEADER],
    packet: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Checks the header at the front of `octets`: version 6, a payload that fits.
    ///
    /// # Errors
    ///
    /// [`Truncated`] or [`Malformed`].
    pub fn read(octets: &'a [u8]) -> Result<Self, DropReason> {
        let head = octets.first_chunk::<HEADER>().ok_or(Truncated)?;
        let &[version, ..] = head;
        if version >> 4 != 6 {
            return Err(Malformed);
        }
        let total = HEADER + usize::from(be16::<4, HEADER>(head));
        Ok(Self { head, packet: octets.get(..total).ok_or(Truncated)? })
    }

    /// The packet, header included, padding excluded.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// What follows the fixed header.
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(HEADER..).unwrap_or_default()
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (be32::<0, HEADER>(self.head) >> 20) as u8
    }

    /// The flow label, 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        be32::<0, HEADER>(self.head) & 0xf_ffff
    }

    /// What follows: a protocol or an extension header.
    pub fn next_header(&self) -> u8 {
        let &[_, _, _, _, _, _, next, ..] = self.head;
        next
    }

    /// The hop limit.
    pub fn hop_limit(&self) -> u8 {
        let &[_, _, _, _, _, _, _, hops, ..] = self.head;
        hops
    }

    /// The source address, its first octet on top.
    pub fn source(&self) -> u128 {
        u128::from_be_bytes(octets::<8, 16, HEADER>(self.head))
    }

    /// The destination address, its first octet on top.
    pub fn destination(&self) -> u128 {
        u128::from_be_bytes(octets::<24, 16, HEADER>(self.head))
    }
}

/// Sets congestion experienced in a header (RFC 3168).
pub fn mark_congestion(header: &mut [u8; HEADER]) {
    let [_, class, ..] = header;
    *class |= ecn::CE << 4;
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn fields_are_those_of_etherparse(source: [u8; 16], destination: [u8; 16], hops: u8, padding in 0usize..8) {
            let mut octets = Vec::new();
            PacketBuilder::ipv6(source, destination, hops).udp(7, 9).write(&mut octets, &[1, 2, 3]).unwrap();
            let total = octets.len();
            octets.resize(total + padding, 0);
            let ip = Ipv6::read(&octets).unwrap();
            let other = etherparse::Ipv6HeaderSlice::from_slice(&octets).unwrap();
            prop_assert_eq!((ip.packet().len(), ip.payload().len()), (total, total - 40));
            prop_assert_eq!((ip.traffic_class(), ip.flow_label()), (other.traffic_class(), other.flow_label().value()));
            prop_assert_eq!((ip.next_header(), ip.hop_limit()), (other.next_header().0, other.hop_limit()));
            prop_assert_eq!(ip.source().to_be_bytes(), other.source());
            prop_assert_eq!(ip.destination().to_be_bytes(), other.destination());
        }
    }

    #[test]
    fn a_short_or_foreign_packet_is_refused() {
        let mut octets = [0; 41];
        assert_eq!(Ipv6::read(&octets).err(), Some(Malformed));
        octets[0] = 0x60;
        octets[5] = 2;
        assert_eq!(Ipv6::read(&octets).err(), Some(Truncated));
        assert_eq!(Ipv6::read(&octets[..39]).err(), Some(Truncated));
    }
}
