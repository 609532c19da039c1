//! Ethernet II with an 802.1Q tag, an 802.1ad service tag, or both (QinQ).

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
/// Tag protocol identifier of 802.1ad's service tag.
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Octets of a header without tag.
pub const HEADER: usize = 14;
/// Octets of a header with one tag.
pub const TAGGED_HEADER: usize = 18;
/// Octets of a header with a service tag and a tag behind it.
pub const DOUBLE_TAGGED_HEADER: usize = 22;

/// Whether an address is that of a group: multicast or broadcast.
pub const fn is_group(address: &[u8; 6]) -> bool {
    let [first, ..] = *address;
    first & 1 != 0
}

/// What an Ethernet frame holds, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ethernet {
    /// The EtherType behind the tags, if there are any.
    pub ether_type: u16,
    /// Tag control information of the 802.1Q tag.
    pub tag: Option<u16>,
    /// Tag control information of the service tag in front of it.
    pub service_tag: Option<u16>,
    /// Octets in front of the payload.
    pub header: usize,
}

impl Ethernet {
    /// Reads the header of `frame`. A tag that stands where the standard has none (a second
    /// 802.1Q tag, a service tag inside) is not passed over: it is the EtherType.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if the frame ends inside it.
    pub fn read(frame: &[u8]) -> Result<Self, DropReason> {
        let head = frame.first_chunk::<HEADER>().ok_or(Truncated)?;
        let ether_type = be16::<12, HEADER>(head);
        let mut found = Self { ether_type, tag: None, service_tag: None, header: HEADER };
        if found.ether_type == SERVICE_VLAN {
            found.service_tag = Some(found.pass_tag(frame)?);
        }
        if found.ether_type == VLAN {
            found.tag = Some(found.pass_tag(frame)?);
        }
        Ok(found)
    }

    /// Goes behind the tag that `header` ends with and returns its control information.
    fn pass_tag(&mut self, frame: &[u8]) -> Result<u16, DropReason> {
        let rest = frame.get(self.header..).and_then(<[u8]>::first_chunk::<4>).ok_or(Truncated)?;
        (self.ether_type, self.header) = (be16::<2, 4>(rest), self.header + 4);
        Ok(be16::<0, 4>(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_a_short_frame_refused() {
        let plain = Ethernet { ether_type: IPV4, tag: None, service_tag: None, header: 14 };
        let (tag, service_tag) = (Some(0x2005), Some(0x0064));
        let cases = [
            (&[0x08, 0x00][..], plain),
            (
                &[0x81, 0, 0x20, 5, 0x86, 0xdd],
                Ethernet { ether_type: IPV6, tag, header: TAGGED_HEADER, ..plain },
            ),
            (&[0x88, 0xa8, 0, 100, 8, 0], Ethernet { service_tag, header: TAGGED_HEADER, ..plain }),
            (
                &[0x88, 0xa8, 0, 100, 0x81, 0, 0x20, 5, 8, 0],
                Ethernet { tag, service_tag, header: DOUBLE_TAGGED_HEADER, ..plain },
            ),
            (
                &[0x81, 0, 0x20, 5, 0x81, 0, 0, 100, 8, 0],
                Ethernet { ether_type: VLAN, tag, header: TAGGED_HEADER, ..plain },
            ),
        ];
        for (behind, expected) in cases {
            let frame = [&[2; 12][..], behind].concat();
            assert_eq!(Ethernet::read(&frame), Ok(expected), "{behind:02x?}");
            for len in 0..expected.header {
                assert_eq!(Ethernet::read(&frame[..len]), Err(Truncated), "{len} octets of {behind:02x?}");
            }
        }
        assert!(is_group(&[1, 0, 0x5e, 0, 0, 1]) && !is_group(&[2, 0, 0, 0, 0, 1]));
    }
}
