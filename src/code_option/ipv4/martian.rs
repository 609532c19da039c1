//! Addresses that no forwarded packet may have (RFC 1812, 4.2.2.11 and 5.3.7).

use crate::exit::{DropReason, Exception, Exit};

/// What becomes of packets to a group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Multicast {
    /// Handed to the slow path: routing protocols speak to groups.
    #[default]
    SlowPath,
    /// Dropped as martian.
    Drop,
}

/// Which addresses are refused. `true` refuses.
///
/// A multicast or broadcast source is refused always, and a packet to
/// 255.255.255.255 is always for this node (RFC 1812, 5.3.5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Martians {
    /// From or to 0.0.0.0/8, "this network" (RFC 1122, 3.2.1.3).
    pub this_network: bool,
    /// From or to 127.0.0.0/8 (RFC 1122, 3.2.1.3).
    pub loopback: bool,
    /// From or to 169.254.0.0/16, unless it is for this node (RFC 3927, 7: routers must
    /// not forward).
    pub link_local: bool,
    /// From or to 240.0.0.0/4, class E (RFC 1112, 4).
    pub reserved: bool,
    /// What becomes of packets to 224.0.0.0/4.
    pub multicast: Multicast,
}

impl Default for Martians {
    fn default() -> Self {
        Self::RFC_1812
    }
}

impl Martians {
    /// All of them refused; groups are for the slow path.
    pub const RFC_1812: Self = Self {
        this_network: true,
        loopback: true,
        link_local: true,
        reserved: true,
        multicast: Multicast::SlowPath,
    };

    /// Only what is refused always.
    pub const NONE: Self = Self {
        this_network: false,
        loopback: false,
        link_local: false,
        reserved: false,
        multicast: Multicast::SlowPath,
    };

    /// By first octet: 1 where [`check`](Self::check) may refuse such an address.
    #[expect(clippy::indexing_slicing, reason = "an octet is less than 256")]
    pub(super) const fn first_octets(self) -> [u8; 256] {
        let mut suspects = [0; 256];
        let mut first_octet = 224;
        while first_octet < suspects.len() {
            suspects[first_octet] = 1;
            first_octet += 1;
        }
        suspects[0] = self.this_network as u8;
        suspects[127] = self.loopback as u8;
        suspects[169] = self.link_local as u8;
        suspects
    }

    /// Whether a packet with these addresses may reach this node, and go no further.
    pub(super) fn link_local(&self, source: u32, destination: u32) -> bool {
        self.link_local && (source >> 16 == 0xa9fe || destination >> 16 == 0xa9fe)
    }

    /// Judges the addresses of a packet, before it is known where it goes.
    pub(super) fn check(&self, source: u32, destination: u32) -> Result<(), Exit> {
        let refused = |address: u32| match address >> 24 {
            0 => self.this_network,
            127 => self.loopback,
            240.. => self.reserved,
            _ => false,
        };
        const BROADCAST: u32 = u32::MAX;
        // A host without an address asks for one (RFC 1812, 9.1.2), or reports its
        // groups (RFC 3376, 4.2.13).
        let nobody = source == 0 && (destination == BROADCAST || destination >> 8 == 0xe0_0000);
        if (refused(source) && !nobody) || source >> 28 == 14 || source == BROADCAST {
            return Err(DropReason::Martian.into());
        }
        if destination == BROADCAST {
            return Err(Exception::Local.into());
        }
        if destination >> 28 == 14 {
            return Err(match self.multicast {
                Multicast::SlowPath => Exception::Multicast.into(),
                Multicast::Drop => DropReason::Martian.into(),
            });
        }
        if refused(destination) { Err(DropReason::Martian.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What the table lets pass, a closer look would let pass too.
        #[test]
        fn no_martian_has_an_innocent_first_octet(
            source: u32, destination: u32, flags in prop::array::uniform5(any::<bool>()),
        ) {
            let [this_network, loopback, link_local, reserved, drop] = flags;
            let multicast = if drop { Multicast::Drop } else { Multicast::SlowPath };
            let martians = Martians { this_network, loopback, link_local, reserved, multicast };
            let octets = martians.first_octets();
            let suspect = |address: u32| octets[(address >> 24) as usize] == 1;
            if !suspect(source) && !suspect(destination) {
                prop_assert_eq!(martians.check(source, destination), Ok(()));
            }
        }
    }

    #[test]
    fn each_kind_can_be_let_pass() {
        let ok = 0x0a01_0203;
        let kinds = [0x0001_0203, 0x7f00_0001, 0xf000_0001];
        let martian = Err(Exit::Drop(DropReason::Martian));
        for address in kinds {
            assert_eq!(Martians::RFC_1812.check(address, ok), martian);
            assert_eq!(Martians::RFC_1812.check(ok, address), martian);
            assert_eq!(Martians::NONE.check(address, ok), Ok(()));
            assert_eq!(Martians::NONE.check(ok, address), Ok(()));
        }
        assert_eq!(Martians::NONE.check(0xe000_0005, ok), martian, "no group sends");
        assert_eq!(Martians::NONE.check(u32::MAX, ok), martian, "nor does everybody");
        assert!(
            Martians::RFC_1812.link_local(0xa9fe_0101, ok) && Martians::RFC_1812.link_local(ok, 0xa9fe_0101)
        );
        assert!(
            !Martians::RFC_1812.link_local(0xa9fd_0101, ok) && !Martians::NONE.link_local(0xa9fe_0101, ok)
        );
        assert_eq!(Martians::RFC_1812.check(0, u32::MAX), Err(Exception::Local.into()), "BOOTP");
        assert_eq!(Martians::RFC_1812.check(0, 0xe000_0016), Err(Exception::Multicast.into()), "IGMP");
        assert_eq!(Martians::RFC_1812.check(ok, u32::MAX), Err(Exception::Local.into()));
        assert_eq!(Martians::RFC_1812.check(ok, 0xe000_0005), Err(Exception::Multicast.into()));
    }
}
