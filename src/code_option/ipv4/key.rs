//! The 112-bit key of an IPv4 packet: its 5-tuple and its class, so that routes and
//! packet filters share a table.

use crate::id::LinkId;
use crate::key::LookupKey;
use crate::wire::{be16, be32, icmp, ipv4};

/// What the class octet of a key holds besides the fragment bit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClassField {
    /// The DSCP, in the top six bits.
    #[default]
    Dscp,
    /// The low seven bits of the link the packet came in on: its upper six stand in
    /// the top six bits, its lowest in the last.
    Link,
}

impl ClassField {
    /// The class octet without the fragment bit.
    #[inline(always)]
    pub(super) const fn of(self, traffic_class: u8, link: LinkId) -> u8 {
        match self {
            Self::Dscp => traffic_class & 0xfc,
            Self::Link => (link.0 as u8 & 0x7e) << 1 | link.0 as u8 & 1,
        }
    }

    /// The class octet that filters match for packets of `link`, and its mask, if the
    /// keys hold links.
    pub const fn link(link: LinkId) -> (u8, u8) {
        (Self::Link.of(0, link), 0xfd)
    }
}

/// The fields of a key, or those of a mask.
///
/// From the top: class 8, protocol 8, source port 16, destination port 16, source 32,
/// destination 32.
///
/// ```
/// use fastpath::code_option::ipv4::Ipv4Key;
/// use fastpath::id::SliceId;
/// use fastpath::lookup::Filter;
///
/// // Web traffic to 10.1.0.0/16.
/// let value = Ipv4Key { protocol: 6, destination_port: 80, destination: 0x0a01_0000, ..Ipv4Key::default() };
/// let mask = Ipv4Key { protocol: !0, destination_port: !0, destination: 0xffff_0000, ..Ipv4Key::default() };
/// let filter = Filter::new(SliceId(1), value.into(), mask.into());
/// # assert_eq!(Ipv4Key::from(fastpath::key::LookupKey::from(value)), value);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ipv4Key {
    /// What [`ClassField`] says; bit 1 ([`FRAGMENT`](Self::FRAGMENT)) for a fragment
    /// other than the first, whose ports are unknown and stand as 0.
    pub class: u8,
    /// The IP protocol.
    pub protocol: u8,
    /// The source port, or the ICMP type; 0 for protocols without.
    pub source_port: u16,
    /// The destination port, or the ICMP code; 0 for protocols without.
    pub destination_port: u16,
    /// The source address, its first octet on top.
    pub source: u32,
    /// The destination address, its first octet on top.
    pub destination: u32,
}

impl Ipv4Key {
    /// The bit of `class` that says: a fragment other than the first.
    pub const FRAGMENT: u8 = 1 << 1;

    /// The key that the code option makes of a packet: of its header's fixed part, and of what
    /// stands behind the header, options included. Its traffic class is the one it would be
    /// sent with.
    pub fn of_packet(field: ClassField, link: LinkId, header: &[u8; 20], payload: &[u8]) -> Self {
        let &[_, traffic_class, _, _, _, _, _, _, _, protocol, ..] = header;
        let later = be16::<6, 20>(header) & 0x1fff != 0;
        let first = payload.first_chunk().filter(|_| !later);
        let ports = first.map_or(0, |first| ports(protocol, u32::from_be_bytes(*first)));
        Self {
            class: field.of(traffic_class, link) | if later { Self::FRAGMENT } else { 0 },
            protocol,
            source_port: (ports >> 16) as u16,
            destination_port: ports as u16,
            source: be32::<12, 20>(header),
            destination: be32::<16, 20>(header),
        }
    }

    /// Value and mask of a route: all packets to the prefix of `len` bits.
    pub const fn route(destination: u32, len: u8) -> (LookupKey, LookupKey) {
        let mask = match 32u32.checked_sub(len as u32) {
            None | Some(0) => u32::MAX,
            Some(32) => 0,
            Some(host) => u32::MAX << host,
        };
        (pack(0, 0, 0, 0, destination & mask), pack(0, 0, 0, 0, mask))
    }
}

impl From<Ipv4Key> for LookupKey {
    fn from(key: Ipv4Key) -> Self {
        let ports = u32::from(key.source_port) << 16 | u32::from(key.destination_port);
        pack(key.class, key.protocol, ports, key.source, key.destination)
    }
}

impl From<LookupKey> for Ipv4Key {
    fn from(key: LookupKey) -> Self {
        let (high, low) = ((key.bits() >> 64) as u64, key.bits() as u64);
        Self {
            class: (high >> 40) as u8,
            protocol: (high >> 32) as u8,
            source_port: (high >> 16) as u16,
            destination_port: high as u16,
            source: (low >> 32) as u32,
            destination: low as u32,
        }
    }
}

#[inline(always)]
pub(super) const fn pack(class: u8, protocol: u8, ports: u32, source: u32, destination: u32) -> LookupKey {
    let high = (class as u64) << 40 | (protocol as u64) << 32 | ports as u64;
    LookupKey::from_words(high, (source as u64) << 32 | destination as u64)
}

/// The port fields of a packet whose first four octets behind the header are `first`.
#[inline(always)]
pub(super) fn ports(protocol: u8, first: u32) -> u32 {
    match protocol {
        // TCP, UDP, DCCP, SCTP, UDP-Lite.
        6 | 17 | 33 | 132 | 136 => first,
        ipv4::ICMP => icmp::type_and_code(&first.to_be_bytes()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_protocols_that_have_some() {
        for protocol in 0..=255 {
            let expected = match protocol {
                6 | 17 | 33 | 132 | 136 => 0x0102_0304,
                1 => 0x0001_0002,
                _ => 0,
            };
            assert_eq!(ports(protocol, 0x0102_0304), expected, "{protocol}");
        }
    }

    #[test]
    fn routes_are_prefixes_of_the_destination() {
        for (len, mask) in [(0, 0), (1, 1 << 31), (24, 0xffff_ff00), (32, u32::MAX), (40, u32::MAX)] {
            let (value, got) = Ipv4Key::route(u32::MAX, len);
            assert_eq!(Ipv4Key::from(got), Ipv4Key { destination: mask, ..Ipv4Key::default() });
            assert_eq!(value, got);
        }
    }

    #[test]
    fn links_have_a_class_of_their_own() {
        let classes: std::vec::Vec<u8> = (0..128).map(|n| ClassField::link(LinkId(n)).0).collect();
        for (n, class) in classes.iter().enumerate() {
            assert_eq!(class & Ipv4Key::FRAGMENT, 0);
            assert_eq!(classes.iter().position(|other| other == class), Some(n));
        }
    }
}
