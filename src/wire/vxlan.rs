//! VXLAN headers (RFC 7348).

use crate::exit::DropReason::{self, Malformed, Truncated};
use crate::wire::be32;

/// The UDP port that IANA has assigned.
pub const PORT: u16 = 4789;
/// Octets of a header.
pub const HEADER: usize = 8;
/// The largest network identifier.
pub const MAX_VNI: u32 = 0xff_ffff;

/// The flag that says that there is a network identifier.
const I: u8 = 0x08;

/// The network identifier of the header at the front of `octets`. Reserved fields are
/// ignored, as section 5 asks.
///
/// # Errors
///
/// [`Truncated`], or [`Malformed`] without the I flag.
pub fn read(octets: &[u8]) -> Result<u32, DropReason> {
    let head = octets.first_chunk::<HEADER>().ok_or(Truncated)?;
    let &[flags, ..] = head;
    if flags & I == 0 {
        return Err(Malformed);
    }
    Ok(be32::<4, HEADER>(head) >> 8)
}

/// The header of network `vni`, of which 24 bits count.
pub const fn header(vni: u32) -> [u8; HEADER] {
    let [_, a, b, c] = vni.to_be_bytes();
    [I, 0, 0, 0, a, b, c, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_section_5() {
        let octets = [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0];
        assert_eq!((header(0x12_3456), read(&octets)), (octets, Ok(0x12_3456)));
        assert_eq!(read(&[0xff; 8]), Ok(MAX_VNI), "reserved bits are ignored");
        assert_eq!(read(&[0xf7, 0, 0, 0, 0, 0, 1, 0]), Err(Malformed));
        assert_eq!(read(&octets[..7]), Err(Truncated));
    }
}
