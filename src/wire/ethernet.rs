//! Ethernet II with at most one 802.1Q tag.

use crate::exit::DropReason::{self, Truncated};
use crate::wire::be16;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// Tag protocol identifier of 802.1Q.
pub const VLAN: u16 = 0x8100;

/// Octets of a header without tag.
pub const HEADER: usize = 14;
/// Octets of a header with one tag.
pub const TAGGED_HEADER: usize = 18;

/// What an Ethernet frame holds, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ethernet {
    /// The EtherType behind the tag, if there is one.
    pub ether_type: u16,
    /// Tag control information of the one 802.1Q tag.
    pub tag: Option<u16>,
    /// Octets in front of the payload.
    pub header: usize,
}

impl Ethernet {
    /// Reads the header of `frame`.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if the frame ends inside it.
    pub fn read(frame: &[u8]) -> Result<Self, DropReason> {
        let head = frame.first_chunk::<HEADER>().ok_or(Truncated)?;
        let ether_type = be16::<12, HEADER>(head);
        if ether_type != VLAN {
            return Ok(Self { ether_type, tag: None, header: HEADER });
        }
        let head = frame.first_chunk::<TAGGED_HEADER>().ok_or(Truncated)?;
        let (tag, ether_type) = (be16::<14, TAGGED_HEADER>(head), be16::<16, TAGGED_HEADER>(head));
        Ok(Self { ether_type, tag: Some(tag), header: TAGGED_HEADER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_read_and_a_short_frame_refused() {
        let mut frame = [0; 18];
        (frame[12], frame[13]) = (0x08, 0x00);
        let plain = Ethernet { ether_type: IPV4, tag: None, header: 14 };
        assert_eq!(Ethernet::read(&frame), Ok(plain));
        frame[12..].copy_from_slice(&[0x81, 0, 0x20, 5, 0x86, 0xdd]);
        let tagged = Ethernet { ether_type: IPV6, tag: Some(0x2005), header: 18 };
        assert_eq!(Ethernet::read(&frame), Ok(tagged));
        for len in 0..18 {
            assert_eq!(Ethernet::read(&frame[..len]), Err(Truncated));
        }
    }
}
