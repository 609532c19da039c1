//! IPv4 packets with UDP in a caller's buffer, and damage to them.
//!
//! ```
//! use fastpath::exit::DropReason;
//! use fastpath::wire::ipv4::Ipv4;
//! use fastpath::workloads::packets::{Damage, UdpPacket};
//!
//! let packet = UdpPacket { destination: 0x0a00_0001, ttl: 64, payload: 18, ..UdpPacket::default() };
//! let mut buffer = [0; 2048];
//! let octets = packet.write(&mut buffer)?;
//! assert_eq!(octets, 46);
//! assert!(Ipv4::read(&buffer[..octets]).is_ok());
//!
//! let octets = Damage::HeaderChecksum.apply(&mut buffer, octets)?;
//! assert_eq!(Ipv4::read(&buffer[..octets]).err(), Some(DropReason::Checksum));
//! # Ok::<(), fastpath::workloads::packets::PacketError>(())
//! ```

use crate::wire::ipv4::{HEADER, Ipv4, UDP};
use crate::wire::transport::UDP_HEADER;
use crate::wire::{be32, checksum, put};
use crate::workloads::Flow;

/// The longest payload: a total length of 65,535.
pub const MAX_PAYLOAD: u16 = u16::MAX - (HEADER + UDP_HEADER) as u16;

/// An IPv4 packet with UDP, without options, its payload the octets 0, 1, 2 and so on.
///
/// Don't Fragment is set and the identification is 0, as RFC 6864 has it for packets
/// that are never cut; traffic class 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct UdpPacket {
    /// Source address, its first octet on top.
    pub source: u32,
    /// Destination address, its first octet on top.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Time to live.
    pub ttl: u8,
    /// Octets behind the UDP header, up to [`MAX_PAYLOAD`].
    pub payload: u16,
}

/// Why no packet was written, or none damaged. The buffer is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// A payload longer than an IPv4 packet can hold.
    #[error("the payload has {0} octets; allowed are up to 65507")]
    Payload(u16),
    /// The packet does not fit.
    #[error("the packet takes {needed} octets, the buffer has {given}")]
    Buffer {
        /// Octets it takes.
        needed: usize,
        /// Octets there are.
        given: usize,
    },
    /// What is to be damaged is no sound IPv4 packet without options.
    #[error("the buffer holds no sound IPv4 packet without options")]
    Unsound,
}

impl UdpPacket {
    /// A packet of `flow`, whose protocol is taken to be UDP.
    pub const fn of(flow: Flow, ttl: u8, payload: u16) -> Self {
        let Flow { source, destination, source_port, destination_port, protocol: _ } = flow;
        Self { source, destination, source_port, destination_port, ttl, payload }
    }

    /// Its 5-tuple.
    pub const fn flow(&self) -> Flow {
        let Self { source, destination, source_port, destination_port, .. } = *self;
        Flow { source, destination, source_port, destination_port, protocol: UDP }
    }

    /// Its length in octets, IPv4 header included.
    pub const fn octets(&self) -> usize {
        HEADER + UDP_HEADER + self.payload as usize
    }

    /// Writes it to the front of `buffer` with right checksums, and returns its length.
    ///
    /// # Errors
    ///
    /// [`PacketError::Payload`] or [`PacketError::Buffer`]; the buffer is as it was.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, PacketError> {
        if self.payload > MAX_PAYLOAD {
            return Err(PacketError::Payload(self.payload));
        }
        let (needed, given) = (self.octets(), buffer.len());
        let refuse = PacketError::Buffer { needed, given };
        let (ip, rest) = buffer
            .get_mut(..needed)
            .and_then(|packet| packet.split_first_chunk_mut::<HEADER>())
            .ok_or(refuse)?;
        let (udp, payload) = rest.split_first_chunk_mut::<UDP_HEADER>().ok_or(refuse)?;
        *ip = self.ip_header(needed as u16);
        for (octet, number) in payload.iter_mut().zip(0u32..) {
            *octet = number as u8;
        }
        let length = UDP_HEADER as u16 + self.payload;
        *udp = self.udp_header(length, 0);
        let pseudo = checksum::pseudo_v4(self.source, self.destination, UDP, length);
        // A sum of 0 is sent as 0xffff: 0 says that there is none (RFC 768).
        let sum = match !checksum::add16(pseudo, checksum::sum(rest)) {
            0 => 0xffff,
            sum => sum,
        };
        if let Some(udp) = rest.first_chunk_mut() {
            *udp = self.udp_header(length, sum);
        }
        Ok(needed)
    }

    fn ip_header(&self, total: u16) -> [u8; HEADER] {
        let [t0, t1] = total.to_be_bytes();
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) =
            (self.source.to_be_bytes(), self.destination.to_be_bytes());
        let ttl = self.ttl;
        let mut head = [0x45, 0, t0, t1, 0, 0, 0x40, 0, ttl, UDP, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
        seal(&mut head);
        head
    }

    fn udp_header(&self, length: u16, sum: u16) -> [u8; UDP_HEADER] {
        let ([s0, s1], [d0, d1]) = (self.source_port.to_be_bytes(), self.destination_port.to_be_bytes());
        let ([l0, l1], [c0, c1]) = (length.to_be_bytes(), sum.to_be_bytes());
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }
}

/// Puts the right checksum into an IPv4 header.
fn seal(head: &mut [u8; HEADER]) {
    put::<10, 2, HEADER>(head, [0; 2]);
    put::<10, 2, HEADER>(head, checksum::of(head).to_be_bytes());
}

/// One thing that is wrong with a packet, or out of the ordinary; all else about it
/// stays right, the header checksum included.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Damage {
    /// The header checksum is off by one bit (RFC 1812, 5.2.2).
    HeaderChecksum,
    /// The packet ends in the middle of its header.
    ShortHeader,
    /// The last octet is missing: the total length is longer than the packet.
    Truncated,
    /// The version is 6 (RFC 1812, 5.2.2).
    Version,
    /// The header length is 16 octets (RFC 1812, 5.2.2).
    HeaderLength,
    /// The time to live is 0.
    TtlZero,
    /// The time to live is 1: it cannot be forwarded (RFC 1812, 5.3.1).
    TtlOne,
    /// The source is 127.0.0.1 (RFC 1812, 5.3.7).
    MartianSource,
    /// The header has 4 octets of options, a router alert (RFC 2113). Not wrong, but
    /// the packet is longer and leaves the fast path.
    Options,
    /// The destination is [`UNKNOWN_DESTINATION`]. Not wrong, but there is no route.
    UnknownDestination,
}

/// 203.0.113.1, of the block for documentation that is not routed on the Internet (RFC
/// 5737). A default route has it all the same.
pub const UNKNOWN_DESTINATION: u32 = 0xcb00_7101;

const LOOPBACK: u32 = 0x7f00_0001;
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

impl Damage {
    /// Every kind there is.
    pub const ALL: [Self; 10] = [
        Self::HeaderChecksum,
        Self::ShortHeader,
        Self::Truncated,
        Self::Version,
        Self::HeaderLength,
        Self::TtlZero,
        Self::TtlOne,
        Self::MartianSource,
        Self::Options,
        Self::UnknownDestination,
    ];

    /// Does this to the packet in the first `octets` of `buffer`, and returns its new
    /// length: shorter when cut, 4 octets longer with [`Options`](Self::Options).
    ///
    /// A UDP checksum is adapted to a new address.
    ///
    /// # Errors
    ///
    /// [`PacketError::Unsound`] if there is no sound IPv4 packet with a header of 20
    /// octets, [`PacketError::Buffer`] if options do not fit. The buffer is as it was.
    pub fn apply(self, buffer: &mut [u8], octets: usize) -> Result<usize, PacketError> {
        let given = buffer.len();
        let packet = buffer.get(..octets).ok_or(PacketError::Buffer { needed: octets, given })?;
        match Ipv4::read(packet) {
            Ok(ip) if ip.header_len() == HEADER && ip.packet().len() == octets => (),
            _ => return Err(PacketError::Unsound),
        }
        if let Self::Options = self {
            return add_options(buffer, octets);
        }
        let (head, rest) = buffer.split_first_chunk_mut::<HEADER>().ok_or(PacketError::Unsound)?;
        match self {
            Self::HeaderChecksum => {
                head[11] ^= 1;
                return Ok(octets);
            }
            Self::ShortHeader => return Ok(HEADER / 2),
            Self::Truncated => return Ok(octets - 1),
            Self::Version => head[0] = 0x65,
            Self::HeaderLength => head[0] = 0x44,
            Self::TtlZero => head[8] = 0,
            Self::TtlOne => head[8] = 1,
            Self::MartianSource => readdress::<12>(head, rest, LOOPBACK),
            Self::UnknownDestination => readdress::<16>(head, rest, UNKNOWN_DESTINATION),
            Self::Options => (),
        }
        seal(head);
        Ok(octets)
    }
}

/// Replaces the address at `AT`, in the header and under the checksum of UDP.
fn readdress<const AT: usize>(head: &mut [u8; HEADER], rest: &mut [u8], new: u32) {
    let old = be32::<AT, HEADER>(head);
    put::<AT, 4, HEADER>(head, new.to_be_bytes());
    let sum = rest.get_mut(6..8).and_then(|sum| sum.first_chunk_mut::<2>());
    if let (Some(sum), UDP) = (sum, head[9])
        && *sum != [0; 2]
    {
        let updated = match checksum::update32(u16::from_be_bytes(*sum), old, new) {
            0 => 0xffff,
            updated => updated,
        };
        *sum = updated.to_be_bytes();
    }
}

fn add_options(buffer: &mut [u8], octets: usize) -> Result<usize, PacketError> {
    let (needed, given) = (octets + ROUTER_ALERT.len(), buffer.len());
    let total = u16::try_from(needed).map_err(|_longer| PacketError::Buffer { needed, given: 65535 })?;
    let packet = buffer.get_mut(..needed).ok_or(PacketError::Buffer { needed, given })?;
    packet.copy_within(HEADER..octets, HEADER + ROUTER_ALERT.len());
    let (head, rest) = packet.split_first_chunk_mut::<HEADER>().ok_or(PacketError::Unsound)?;
    if let Some(options) = rest.first_chunk_mut() {
        *options = ROUTER_ALERT;
    }
    head[0] = 0x46;
    put::<2, 2, HEADER>(head, total.to_be_bytes());
    put::<10, 2, HEADER>(head, [0; 2]);
    let sum = checksum::of(head);
    let sum = !checksum::add16(!sum, checksum::sum(&ROUTER_ALERT));
    put::<10, 2, HEADER>(head, sum.to_be_bytes());
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::DropReason;
    use crate::wire::transport::verify_udp;
    use etherparse::{Ipv4HeaderSlice, PacketBuilder};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn any_packet() -> impl Strategy<Value = UdpPacket> {
        let payload = prop_oneof![0u16..100, Just(MAX_PAYLOAD)];
        (any::<[u32; 2]>(), any::<[u16; 2]>(), any::<u8>(), payload).prop_map(
            |(addresses, ports, ttl, payload)| {
                let ([source, destination], [source_port, destination_port]) = (addresses, ports);
                UdpPacket { source, destination, source_port, destination_port, ttl, payload }
            },
        )
    }

    fn written(packet: &UdpPacket) -> Vec<u8> {
        let mut buffer = vec![0xaa; packet.octets() + 10];
        let octets = packet.write(&mut buffer).unwrap();
        assert_eq!(octets, packet.octets());
        assert_eq!(buffer[octets..], [0xaa; 10], "nothing behind the packet is touched");
        buffer.truncate(octets);
        buffer
    }

    /// The octets of the fields from `at` on that differ.
    fn changed(a: &[u8], b: &[u8]) -> Vec<usize> {
        (0..a.len().min(b.len())).filter(|&at| a[at] != b[at]).collect()
    }

    proptest! {
        #[test]
        fn packets_are_those_of_etherparse(packet in any_packet()) {
            let payload: Vec<u8> = (0..packet.payload).map(|number| number as u8).collect();
            let mut other = Vec::new();
            let (source, destination) = (packet.source.to_be_bytes(), packet.destination.to_be_bytes());
            PacketBuilder::ipv4(source, destination, packet.ttl)
                .udp(packet.source_port, packet.destination_port)
                .write(&mut other, &payload)
                .unwrap();
            prop_assert_eq!(written(&packet), other);
        }

        #[test]
        fn damage_is_what_it_says_and_no_more(mut packet in any_packet(), ttl in 2u8..=255) {
            packet.payload = packet.payload.min(1000);
            packet.ttl = ttl;
            // As unlike the new addresses as can be.
            packet.source |= 0x8000_0000;
            packet.destination &= 0x7fff_ffff;
            let sound = written(&packet);
            for damage in Damage::ALL {
                let mut buffer = sound.clone();
                buffer.extend([0; 4]);
                let octets = damage.apply(&mut buffer, sound.len()).unwrap();
                buffer.truncate(octets);
                let read = Ipv4::read(&buffer);
                let differs = changed(&sound, &buffer);
                let within = |fields: &[usize]| differs.iter().all(|at| fields.contains(at));
                let pseudo = |source, destination| checksum::pseudo_v4(source, destination, UDP, 0);
                match damage {
                    Damage::HeaderChecksum => {
                        prop_assert_eq!(read.err(), Some(DropReason::Checksum));
                        prop_assert!(within(&[11]));
                    }
                    Damage::ShortHeader | Damage::Truncated => {
                        prop_assert_eq!(read.err(), Some(DropReason::Truncated));
                        prop_assert!(differs.is_empty() && octets < sound.len());
                    }
                    Damage::Version | Damage::HeaderLength => {
                        prop_assert_eq!(read.err(), Some(DropReason::Malformed));
                        prop_assert!(within(&[0, 10, 11]));
                        prop_assert_eq!(checksum::sum(&buffer[..20]), 0xffff);
                    }
                    Damage::TtlZero | Damage::TtlOne => {
                        prop_assert_eq!(read.unwrap().ttl(), u8::from(damage == Damage::TtlOne));
                        prop_assert!(within(&[8, 10, 11]));
                    }
                    Damage::MartianSource => {
                        prop_assert_eq!(read.unwrap().source(), 0x7f00_0001);
                        prop_assert!(within(&[10, 11, 12, 13, 14, 15, 26, 27]));
                        let pseudo = pseudo(0x7f00_0001, packet.destination);
                        prop_assert_eq!(verify_udp(&buffer[20..], pseudo), Ok(()));
                    }
                    Damage::UnknownDestination => {
                        prop_assert_eq!(read.unwrap().destination(), UNKNOWN_DESTINATION);
                        prop_assert!(within(&[10, 11, 16, 17, 18, 19, 26, 27]));
                        let pseudo = pseudo(packet.source, UNKNOWN_DESTINATION);
                        prop_assert_eq!(verify_udp(&buffer[20..], pseudo), Ok(()));
                    }
                    Damage::Options => {
                        let ip = read.unwrap();
                        prop_assert_eq!((ip.header_len(), ip.packet().len()), (24, sound.len() + 4));
                        prop_assert_eq!(ip.payload(), &sound[20..]);
                        let other = Ipv4HeaderSlice::from_slice(&buffer).unwrap();
                        prop_assert_eq!(other.options(), &ROUTER_ALERT);
                        prop_assert_eq!(other.header_checksum(), other.to_header().calc_header_checksum());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let packet = UdpPacket { payload: 10, ttl: 9, ..UdpPacket::default() };
        let mut buffer = [0xaa; 38];
        assert_eq!(packet.write(&mut buffer[..37]), Err(PacketError::Buffer { needed: 38, given: 37 }));
        let long = UdpPacket { payload: MAX_PAYLOAD + 1, ..packet };
        assert_eq!(long.write(&mut vec![0; 70_000]), Err(PacketError::Payload(65508)));
        assert_eq!(Damage::Version.apply(&mut buffer, 38), Err(PacketError::Unsound));
        assert_eq!(
            Damage::Version.apply(&mut buffer, 39),
            Err(PacketError::Buffer { needed: 39, given: 38 })
        );
        assert_eq!(buffer, [0xaa; 38]);

        packet.write(&mut buffer).unwrap();
        let before = buffer;
        assert_eq!(
            Damage::Options.apply(&mut buffer, 38),
            Err(PacketError::Buffer { needed: 42, given: 38 })
        );
        assert_eq!(Damage::TtlOne.apply(&mut buffer, 37), Err(PacketError::Unsound));
        assert_eq!(buffer, before);
        Damage::Version.apply(&mut buffer, 38).unwrap();
        assert_eq!(Damage::TtlOne.apply(&mut buffer, 38), Err(PacketError::Unsound), "one damage at a time");
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        // With the first of these ports the sum of all else is 0xffff.
        let wanted = (0..=u16::MAX).find(|&source_port| {
            let packet = UdpPacket { source_port, destination: 1, ..UdpPacket::default() };
            written(&packet)[26..28] == [0xff; 2]
        });
        let packet = UdpPacket { source_port: wanted.unwrap(), destination: 1, ..UdpPacket::default() };
        let octets = written(&packet);
        assert_eq!(verify_udp(&octets[20..], checksum::pseudo_v4(0, 1, UDP, 0)), Ok(()));
        assert!(
            (0..=u16::MAX).all(|port| written(&UdpPacket { source_port: port, ..packet })[26..28] != [0; 2])
        );
    }
}
