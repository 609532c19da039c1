//! The outer header that an egress wrote, read and taken off.

use crate::slot::Endpoint;
use crate::wire::{be16, be32, ipv4, ipv6, octets, transport::UDP_HEADER};

/// What the socket has to be told of an outer header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outer {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    /// DSCP and ECN.
    pub(super) class: u8,
    /// Hops to live.
    pub(super) hops: u8,
}

const V4: usize = ipv4::HEADER + UDP_HEADER;
const V6: usize = ipv6::HEADER + UDP_HEADER;

/// Reads the header in front of `packet`: IPv4 without options or IPv6 without extensions,
/// then UDP. Returns it, and the payload that its lengths say.
///
/// Checksums are not looked at: the kernel writes its own.
pub(super) fn read(packet: &[u8]) -> Option<(Outer, &[u8])> {
    match packet.first()? {
        0x45 => read_v4(packet),
        0x60..=0x6f => read_v6(packet),
        _ => None,
    }
}

fn read_v4(packet: &[u8]) -> Option<(Outer, &[u8])> {
    let head = packet.first_chunk::<V4>()?;
    let [protocol] = octets::<9, 1, V4>(head);
    let fragment = be16::<6, V4>(head) & 0x3fff != 0;
    let payload = packet.get(..usize::from(be16::<2, V4>(head)))?.get(V4..)?;
    if protocol != ipv4::UDP || fragment {
        return None;
    }
    let [class] = octets::<1, 1, V4>(head);
    let [hops] = octets::<8, 1, V4>(head);
    let source = Endpoint::v4(be32::<12, V4>(head), be16::<20, V4>(head));
    let destination = Endpoint::v4(be32::<16, V4>(head), be16::<22, V4>(head));
    Some((Outer { source, destination, class, hops }, payload))
}

fn read_v6(packet: &[u8]) -> Option<(Outer, &[u8])> {
    let head = packet.first_chunk::<V6>()?;
    let [next, hops] = octets::<6, 2, V6>(head);
    let total = usize::from(be16::<4, V6>(head)) + ipv6::HEADER;
    let payload = packet.get(..total)?.get(V6..)?;
    if next != ipv4::UDP {
        return None;
    }
    let class = (be32::<0, V6>(head) >> 20) as u8;
    let end = |address: [u8; 16], port| core::net::SocketAddr::new(address.into(), port).into();
    let source = end(octets::<8, 16, V6>(head), be16::<40, V6>(head));
    let destination = end(octets::<24, 16, V6>(head), be16::<42, V6>(head));
    Some((Outer { source, destination, class, hops }, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn headers_are_those_of_etherparse(
            source: ([u8; 16], u16), destination: ([u8; 16], u16), hops: u8, class: u8, six: bool,
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut packet = Vec::new();
            let v4 = |a: [u8; 16]| [a[0], a[1], a[2], a[3]];
            let ends = if six {
                let builder = PacketBuilder::ipv6(source.0, destination.0, hops);
                builder.udp(source.1, destination.1).write(&mut packet, &payload).unwrap();
                (packet[0], packet[1]) = (0x60 | class >> 4, class << 4);
                (source.0.into(), destination.0.into())
            } else {
                let builder = PacketBuilder::ipv4(v4(source.0), v4(destination.0), hops);
                builder.udp(source.1, destination.1).write(&mut packet, &payload).unwrap();
                packet[1] = class;
                (v4(source.0).into(), v4(destination.0).into())
            };
            let (from, to) = (SocketAddr::new(ends.0, source.1), SocketAddr::new(ends.1, destination.1));
            let outer = Outer { source: from.into(), destination: to.into(), class, hops };
            prop_assert_eq!(read(&packet), Some((outer, &payload[..])));
            // What a link padded is not sent.
            let total = packet.len();
            packet.push(0xaa);
            prop_assert_eq!(read(&packet), Some((outer, &payload[..])));
            for len in 0..total {
                prop_assert_eq!(read(&packet[..len]), None);
            }
        }

        #[test]
        fn any_octets_are_read_or_refused(packet: Vec<u8>) {
            if let Some((_, payload)) = read(&packet) {
                prop_assert!(payload.len() + V4 <= packet.len());
            }
        }
    }
}
