//! IPv4 forwarding (RFC 791; RFC 1812, section 5).
//!
//! ```
//! use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
//! use fastpath::code_option::{Answer, CodeOption, Context};
//! use fastpath::id::SliceId;
//! use fastpath::packet::Packet;
//!
//! let ipv4 = Ipv4::default();
//! let cx = Context::of(SliceId(1));
//! let octets = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xae, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];
//! let query = ipv4.parse(&octets, &cx)?;
//! assert_eq!(Ipv4Key::from(query.key).destination, 0x0a01_0203);
//!
//! // A filter matched, so the packet goes on: its time to live is one less.
//! let mut packet = Packet::with_headroom([0u8; 128], 64, &octets)?;
//! let found = Answer { carry: query.carry, mtu: 1472, word: 0 };
//! packet.edit(packet.whole(), |packet| ipv4.format(packet, found, &cx))?;
//! assert_eq!(packet.bytes()[8..12], [63, 17, 0xaf, 0x2c]);
//! # Ok::<(), fastpath::exit::Exit>(())
//! ```

mod key;
mod martian;

pub use key::{ClassField, Ipv4Key};
pub use martian::{Martians, Multicast};

use crate::code_option::{Answer, CodeOption, Context, Outgoing, Query};
use crate::exit::{DropReason, Exception, Exit};
use crate::packet::PacketMut;
use crate::wire::{self, checksum, ipv4, transport};

/// IPv4 forwarding.
///
/// Checks, in this order, each with its reason: version, header length, total length,
/// header checksum (RFC 1812, 5.2.2); addresses that no forwarded packet may have
/// (5.3.7), as [`Martians`] says; header options, which are for the slow path; the
/// filters, among them those of local addresses; then, so that routing protocols may
/// send a time to live of 1 to this node, the time to live (5.3.1) and the MTU.
/// Fragments are forwarded.
///
/// Reads the first 24 octets of a packet and writes four of them. The key is
/// [`Ipv4Key`]. What a link padded behind the packet is cut off.
///
/// A packet from the slice's own manager keeps its time to live, and may have options: the
/// manager has seen to them. It may also have a link-local address.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    martians: Martians,
    class_field: ClassField,
    /// By the first octet of an address: 1 where a closer look must judge.
    suspects: [u8; 256],
}

impl Default for Ipv4 {
    fn default() -> Self {
        Self::new(Martians::RFC_1812, ClassField::Dscp)
    }
}

impl Ipv4 {
    /// Forwarding that refuses `martians` and puts `class_field` into its keys.
    pub const fn new(martians: Martians, class_field: ClassField) -> Self {
        Self { martians, class_field, suspects: martians.first_octets() }
    }

    #[inline(always)]
    fn suspect(&self, first_octet: u8) -> u8 {
        // Read and not branched on: destinations differ from packet to packet.
        self.suspects.get(usize::from(first_octet)).copied().unwrap_or(1)
    }

    /// What is wrong with a header that the fast test did not like, if anything.
    /// [`STAYS`] for a packet that no link may carry on.
    #[cold]
    #[inline(never)]
    fn unsound(&self, octets: &[u8], injected: bool) -> Result<u64, Exit> {
        let ip = ipv4::Ipv4::read(octets)?;
        self.martians.check(ip.source(), ip.destination())?;
        if injected {
            return Ok(0);
        }
        if ip.header_len() > ipv4::HEADER {
            return Err(Exception::Options.into());
        }
        Ok(if self.martians.link_local(ip.source(), ip.destination()) { STAYS } else { 0 })
    }
}

/// What stands behind a header that may have options.
#[cold]
#[inline(never)]
fn behind_options(octets: &[u8]) -> &[u8] {
    ipv4::Ipv4::read(octets).map_or(&[], |ip| ip.payload())
}

/// In the carry word, above total length and traffic class: not to be forwarded.
const STAYS: u64 = 1 << 24;

impl CodeOption for Ipv4 {
    #[inline(always)]
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        let Some((ip, _)) = packet.split_first_chunk::<20>() else {
            return Err(DropReason::Truncated.into());
        };
        let &[version, tos, _, _, _, _, _, _, _, protocol, _, _, from, _, _, _, to, _, _, _] = ip;
        let total = wire::be16::<2, 20>(ip);
        // None as well where the header says that it is longer than the packet.
        let payload = packet.get(20..usize::from(total));
        let suspect = self.suspect(from) | self.suspect(to);
        let mut behind = payload.unwrap_or_default();
        let mut stays = 0;
        if version != 0x45 || payload.is_none() || suspect != 0 || !checksum::header20_ok(ip) {
            stays = self.unsound(packet, cx.injected)?;
            behind = behind_options(packet);
        }
        let later = wire::be16::<6, 20>(ip) & 0x1fff != 0;
        let ports = match behind.first_chunk() {
            Some(ports) if !later => key::ports(protocol, u32::from_be_bytes(*ports)),
            _ => 0,
        };
        let (source, destination) = (wire::be32::<12, 20>(ip), wire::be32::<16, 20>(ip));
        let traffic_class = cx.traffic_class(tos)?;
        let class = self.class_field.of(traffic_class, cx.link) | u8::from(later) << 1;
        Ok(Query {
            key: key::pack(class, protocol, ports, source, destination),
            carry: stays | u64::from(total) << 8 | u64::from(traffic_class),
        })
    }

    #[inline(always)]
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        let (total, traffic_class) = (u32::from((found.carry >> 8) as u16), found.carry as u8);
        let ip = packet.bytes_mut().first_chunk_mut::<20>().ok_or(DropReason::Truncated)?;
        let [_, tos, _, _, _, _, _, _, ttl, _, c0, c1, ..] = ip;
        if found.carry & STAYS != 0 {
            return Err(DropReason::Martian.into());
        }
        if *ttl <= 1 && !cx.injected {
            return Err(Exception::Expired.into());
        }
        if total > u32::from(found.mtu) {
            return Err(Exception::TooBig.into());
        }
        let mut sum = u16::from_be_bytes([*c0, *c1]);
        if *tos != traffic_class {
            // The version and header length beside it stay as they are.
            sum = checksum::update16(sum, u16::from(*tos), u16::from(traffic_class));
            *tos = traffic_class;
        }
        if !cx.injected {
            *ttl = ttl.wrapping_sub(1);
            // RFC 1624, equation 3, for a word that is 0x0100 less: ~m + m' is 0xfeff.
            sum = !checksum::add16(!sum, 0xfeff);
        }
        [*c0, *c1] = sum.to_be_bytes();
        packet.truncate(total as usize);
        Ok(Outgoing { traffic_class, destination: None })
    }

    fn flow_hash(&self, packet: &[u8]) -> u32 {
        let Some((ip, rest)) = packet.split_first_chunk::<20>() else { return 0 };
        let &[version, .., _, _, _, _, _, _, _, _, _, _] = ip;
        let whole = version == 0x45 && wire::be16::<6, 20>(ip) & 0x3fff == 0;
        let protocol = ip.get(9).copied().unwrap_or(0);
        let ports = transport::ports(rest).filter(|_| whole && protocol != ipv4::ICMP);
        let ports = ports.map_or(0, |ports| key::ports(protocol, ports));
        let addresses = u64::from(wire::be32::<12, 20>(ip)) << 32 | u64::from(wire::be32::<16, 20>(ip));
        let mixed = addresses ^ (u64::from(ports) << 8 | u64::from(protocol)).rotate_left(17);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests;
