//! UDP (RFC 768), and the ports of TCP and of whatever else has them.

use crate::exit::DropReason::{self, Checksum, Malformed, Truncated};
use crate::wire::{be16, checksum};

/// Octets of a UDP header.
pub const UDP_HEADER: usize = 8;

/// A UDP header and its payload, cut to the length that the header states.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Udp<'a> {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// The checksum field; 0 is "none" over IPv4.
    pub checksum: u16,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads the header at the front of `octets`.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if `octets` hold less than the header or its length field say,
    /// [`Malformed`] if that is less than a header.
    pub fn read(octets: &'a [u8]) -> Result<Self, DropReason> {
        let head = octets.first_chunk::<UDP_HEADER>().ok_or(Truncated)?;
        let len = usize::from(be16::<4, UDP_HEADER>(head));
        let payload = octets.get(..len).ok_or(Truncated)?.get(UDP_HEADER..).ok_or(Malformed)?;
        Ok(Self {
            source: be16::<0, UDP_HEADER>(head),
            destination: be16::<2, UDP_HEADER>(head),
            checksum: be16::<6, UDP_HEADER>(head),
            payload,
        })
    }
}

/// Verifies the checksum of the UDP datagram `octets`, whose addresses have the sum
/// `pseudo` of [`checksum::pseudo_v4`] or [`checksum::pseudo_v6`] with length 0; a checksum of 0 passes.
///
/// # Errors
///
/// [`Checksum`], or [`Truncated`] if the datagram is shorter than its length field.
pub fn verify_udp(octets: &[u8], pseudo: u16) -> Result<(), DropReason> {
    let head = octets.first_chunk::<UDP_HEADER>().ok_or(Truncated)?;
    if be16::<6, UDP_HEADER>(head) == 0 {
        return Ok(());
    }
    let len = be16::<4, UDP_HEADER>(head);
    let datagram = octets.get(..usize::from(len)).ok_or(Truncated)?;
    let sum = checksum::add16(checksum::add16(pseudo, len), checksum::sum(datagram));
    if sum == 0xffff { Ok(()) } else { Err(Checksum) }
}

/// Source and destination port, in this order in one word, of any protocol that
/// keeps them in its first four octets (TCP, UDP, SCTP, DCCP).
#[inline(always)]
pub fn ports(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|ports| u32::from_be_bytes(*ports))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use std::vec::Vec;

    #[test]
    fn a_checksum_is_verified_and_zero_passes() {
        let mut octets = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(7, 9)
            .write(&mut octets, &[1, 2, 3])
            .unwrap();
        let pseudo = checksum::pseudo_v4(0x0a00_0001, 0x0a00_0002, 17, 0);
        assert_eq!(verify_udp(&octets[20..], pseudo), Ok(()));
        assert_eq!(ports(&octets[20..]), Some(7 << 16 | 9));
        octets[29] ^= 1;
        assert_eq!(verify_udp(&octets[20..], pseudo), Err(Checksum));
        octets[26..28].fill(0);
        assert_eq!(verify_udp(&octets[20..], pseudo), Ok(()));
        assert_eq!(verify_udp(&octets[20..27], pseudo), Err(Truncated));
    }

    #[test]
    fn lengths_must_fit() {
        let datagram = |len: u8| [0, 1, 0, 2, 0, len, 0, 0, 5];
        assert_eq!(Udp::read(&datagram(7)), Err(Malformed));
        assert_eq!(Udp::read(&datagram(10)), Err(Truncated));
        assert_eq!(Udp::read(&datagram(9)).unwrap().payload, [5]);
        assert_eq!(Udp::read(&datagram(8)).unwrap().payload, []);
    }
}
