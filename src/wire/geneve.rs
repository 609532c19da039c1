//! Geneve headers (RFC 8926).

use crate::exit::DropReason::{self, CriticalOption, Malformed, OuterProtocol, Truncated};
use crate::wire::{be16, be32};

/// The UDP port that IANA has assigned.
pub const PORT: u16 = 6081;
/// Octets of a header without options.
pub const HEADER: usize = 8;

/// The packet is of the tunnel's own control.
const O: u8 = 0x80;
/// There are critical options.
const C: u8 = 0x40;

/// What a header says, as far as it matters to who knows no options.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geneve {
    /// EtherType of the payload; 0x6558 for Ethernet frames.
    pub protocol: u16,
    /// Octets of the header, options included.
    pub header: usize,
}

/// The network identifier in the place where the header at the front of `octets` has it.
pub fn vni(octets: &[u8]) -> Option<u32> {
    octets.first_chunk::<HEADER>().map(|head| be32::<4, HEADER>(head) >> 8)
}

impl Geneve {
    /// Reads the header at the front of `octets`; options are passed over, at most 63.
    ///
    /// # Errors
    ///
    /// [`Truncated`]; [`Malformed`] for a version other than 0 or options that do not fill
    /// their length; [`OuterProtocol`] for a control packet; [`CriticalOption`] if an option
    /// is critical, or the header says so of some: none is known here.
    pub fn read(octets: &[u8]) -> Result<Self, DropReason> {
        let head = octets.first_chunk::<HEADER>().ok_or(Truncated)?;
        let &[version, flags, ..] = head;
        let header = HEADER + 4 * usize::from(version & 0x3f);
        if version >> 6 != 0 {
            return Err(Malformed);
        }
        let mut options = octets.get(HEADER..header).ok_or(Truncated)?;
        if flags & O != 0 {
            return Err(OuterProtocol);
        }
        if flags & C != 0 && !options.is_empty() {
            return Err(CriticalOption);
        }
        while let Some(([_, _, kind, len], rest)) = options.split_first_chunk::<4>() {
            if kind & 0x80 != 0 {
                return Err(CriticalOption);
            }
            options = rest.get(4 * usize::from(len & 0x1f)..).ok_or(Malformed)?;
        }
        Ok(Self { protocol: be16::<2, HEADER>(head), header })
    }
}

/// The header of network `vni`, of which 24 bits count, without options.
pub const fn header(vni: u32, protocol: u16) -> [u8; HEADER] {
    let [_, a, b, c] = vni.to_be_bytes();
    let [p, q] = protocol.to_be_bytes();
    [0, 0, p, q, a, b, c, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the octets of `options` behind it.
    fn with(flags: u8, options: &[u8]) -> std::vec::Vec<u8> {
        let words = options.len() as u8 / 4;
        [&[words, flags, 0x65, 0x58, 0, 0, 7, 0], options, &[1, 2]].concat()
    }

    #[test]
    fn options_are_passed_over_unless_they_are_critical() {
        let read = |flags, options: &[u8]| Geneve::read(&with(flags, options)).map(|read| read.header);
        assert_eq!(header(7, 0x6558), with(0, &[])[..8]);
        assert_eq!((vni(&with(0, &[])), vni(&[0; 7])), (Some(7), None));
        assert_eq!(Geneve::read(&header(7, 0x800)), Ok(Geneve { protocol: 0x800, header: 8 }));
        // Class 0x0102, type 3, four octets; then one of none.
        let options = [1, 2, 3, 1, 0, 0, 0, 0, 1, 2, 4, 0];
        assert_eq!((read(0, &[]), read(0, &options)), (Ok(8), Ok(20)));
        assert_eq!(read(0x3f, &options), Ok(20), "reserved bits are ignored");
        assert_eq!((read(C, &[]), read(C, &options)), (Ok(8), Err(CriticalOption)));
        assert_eq!(read(0, &[1, 2, 4, 0, 1, 2, 0x83, 0]), Err(CriticalOption));
        assert_eq!(read(0, &[1, 2, 3, 2, 0, 0, 0, 0]), Err(Malformed), "an option longer than all");
        assert_eq!(read(O, &[]), Err(OuterProtocol));
        let mut wrong = with(0, &options);
        assert_eq!(Geneve::read(&wrong[..19]), Err(Truncated));
        assert_eq!(Geneve::read(&wrong[..7]), Err(Truncated));
        wrong[0] |= 0x40;
        assert_eq!(Geneve::read(&wrong), Err(Malformed), "version 1");
    }
}
