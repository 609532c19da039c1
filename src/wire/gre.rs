//! GRE headers (RFC 2784) with key and sequence number (RFC 2890).

use crate::exit::DropReason::{self, Checksum, Malformed, OuterProtocol, Truncated};
use crate::wire::{be16, checksum};

/// Protocol type of Ethernet frames (RFC 1701, and RFC 8926 of Geneve).
pub const ETHERNET: u16 = 0x6558;
/// Octets of a header without checksum, key and sequence number.
pub const HEADER: usize = 4;

const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// The routing of RFC 1701 and what else a receiver must not overlook.
const REFUSED: u16 = 0x4c00;

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gre {
    /// EtherType of the payload.
    pub protocol: u16,
    /// The key.
    pub key: Option<u32>,
    /// The sequence number.
    pub sequence: Option<u32>,
    /// Octets of the header.
    pub header: usize,
}

impl Gre {
    /// Reads the header at the front of `octets`, which end where the packet ends. A
    /// checksum is verified, over all of them.
    ///
    /// # Errors
    ///
    /// [`Truncated`]; [`OuterProtocol`] for a version other than 0 (PPTP's is 1);
    /// [`Malformed`] for flags that RFC 2784 forbids to overlook; [`Checksum`].
    pub fn read(octets: &[u8]) -> Result<Self, DropReason> {
        let head = octets.first_chunk::<HEADER>().ok_or(Truncated)?;
        let (flags, protocol) = (be16::<0, HEADER>(head), be16::<2, HEADER>(head));
        if flags & 7 != 0 {
            return Err(OuterProtocol);
        }
        if flags & REFUSED != 0 {
            return Err(Malformed);
        }
        let mut gre = Self { protocol, key: None, sequence: None, header: HEADER };
        if flags & CHECKSUM != 0 {
            gre.next(octets)?;
            if checksum::sum(octets) != 0xffff {
                return Err(Checksum);
            }
        }
        if flags & KEY != 0 {
            gre.key = Some(gre.next(octets)?);
        }
        if flags & SEQUENCE != 0 {
            gre.sequence = Some(gre.next(octets)?);
        }
        Ok(gre)
    }

    /// The next 32 bits of the header.
    fn next(&mut self, octets: &[u8]) -> Result<u32, DropReason> {
        let word = octets.get(self.header..).and_then(<[u8]>::first_chunk).ok_or(Truncated)?;
        self.header += 4;
        Ok(u32::from_be_bytes(*word))
    }
}

/// The flags of a header.
pub const fn flags(checksum: bool, key: bool) -> u16 {
    (if checksum { CHECKSUM } else { 0 }) | (if key { KEY } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_the_order_of_their_flags() {
        let plain = Gre { protocol: 0x800, key: None, sequence: None, header: 4 };
        assert_eq!(Gre::read(&[0, 0, 8, 0]), Ok(plain));
        assert_eq!(Gre::read(&[3, 0xf8, 8, 0]), Ok(plain), "reserved bits are ignored");
        let keyed = [0x20, 0, 8, 0, 0, 0, 1, 2];
        assert_eq!(Gre::read(&keyed), Ok(Gre { key: Some(0x102), header: 8, ..plain }));
        // 0xb000 + 0x0800 + 0x0007 + 0x0009 + 0x0100 is 0xb910.
        let mut all = [0xb0, 0, 8, 0, 0x46, 0xef, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 1];
        let expected = Gre { key: Some(7), sequence: Some(9), header: 16, ..plain };
        assert_eq!(Gre::read(&all), Ok(expected));
        for len in 0..16 {
            assert!(matches!(Gre::read(&all[..len]), Err(Truncated | Checksum)), "{len} octets");
        }
        all[16] = 2;
        assert_eq!(Gre::read(&all), Err(Checksum));
        assert_eq!(Gre::read(&[0, 1, 8, 0]), Err(OuterProtocol), "version 1");
        for refused in [0x40, 0x08, 0x04] {
            assert_eq!(Gre::read(&[refused, 0, 8, 0]), Err(Malformed), "{refused:#x}");
        }
        assert_eq!(flags(true, true), 0xa000);
    }
}
