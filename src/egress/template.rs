//! Outer headers that do not fit a record: up to 124 octets, copied at once.

use crate::egress::record::{is_destination_at, redirect};
use crate::egress::{EgressError, Encapsulation, Tunnel};
use crate::exit::DropReason::{self, Malformed, TooLong};
use crate::packet::PacketMut;
use crate::slot::{Endpoint, Outgoing};
use crate::wire::transport::UDP_HEADER;
use crate::wire::{self, checksum, ipv4, ipv6};

/// A prepared outer header: link layer, IPv4 or IPv6, the encapsulation, and a shim of any
/// octets behind them (a security tag). Two cache lines.
///
/// A copy of the header, and what must be patched: lengths, traffic class, IPv4 checksum;
/// where flows are told apart, the packet's flow hash in a UDP source port from 49,152 on
/// (RFC 7348, 5; RFC 8926, 3.3) or in the IPv6 flow label (RFC 6438), at the cost of the hash;
/// where a UDP or GRE checksum is sent, one pass over the packet, about 0.2 ns for each 16
/// octets: all else that it covers was added up when the template was made.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Template {
    /// With sums of what stands there in the places of checksums.
    octets: [u8; Self::MAX],
    len: u8,
    /// Where the IP header begins.
    ip: u8,
    class_mask: u8,
    does: u8,
}

/// A code option may name the destination.
const MULTIPOINT: u8 = 1;
/// The outer header is IPv6.
const V6: u8 = 2;
/// GRE and not UDP is behind it.
const IS_GRE: u8 = 4;
/// The flow hash is the UDP source port.
const SPREADS: u8 = 8;
/// There is a UDP or GRE checksum.
const SUMS: u8 = 16;

impl Template {
    /// The longest header: 124 octets, which with their description fill two lines.
    pub const MAX: usize = 124;

    /// No header.
    pub const NONE: Self = Self { octets: [0; Self::MAX], len: 0, ip: 0, class_mask: 0, does: 0 };

    /// The header of `tunnel` with `shim` behind it.
    ///
    /// # Errors
    ///
    /// [`EgressError::Header`] if both are longer than [`MAX`](Self::MAX) octets, and what is
    /// wrong with the tunnel.
    pub fn new(tunnel: &Tunnel, shim: &[u8]) -> Result<Self, EgressError> {
        tunnel.check()?;
        let v6 = tunnel.source.is_ipv6();
        let sums = match tunnel.encapsulation {
            Encapsulation::Gre { checksum, .. } => checksum,
            _ => v6 && !tunnel.zero_checksum,
        };
        let flags = [
            (MULTIPOINT, tunnel.multipoint),
            (V6, v6),
            (IS_GRE, tunnel.encapsulation.is_gre()),
            (SPREADS, tunnel.encapsulation.spreads()),
            (SUMS, sums),
        ];
        let len = tunnel.octets() + shim.len();
        let mut template = Self {
            octets: [0; Self::MAX],
            len: len as u8,
            ip: tunnel.link_layer.octets() as u8,
            class_mask: tunnel.class_mask(),
            does: flags.iter().filter(|(_, does)| *does).fold(0, |all, (flag, _)| all | flag),
        };
        let too_long = EgressError::Header { octets: len, most: Self::MAX };
        let at = tunnel.write(&mut template.octets).ok_or(too_long)?;
        let room = template.octets.get_mut(at..).and_then(|room| room.get_mut(..shim.len()));
        room.ok_or(too_long)?.copy_from_slice(shim);
        template.add_up().ok_or(too_long)?;
        Ok(template)
    }

    /// Octets of the header.
    pub fn octets(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) const fn class_mask(&self) -> u8 {
        self.class_mask
    }

    const fn does(&self, what: u8) -> bool {
        self.does & what != 0
    }

    const fn ip_header(&self) -> usize {
        if self.does(V6) { ipv6::HEADER } else { ipv4::HEADER }
    }

    /// Puts the sum of all that a UDP or GRE checksum covers, but for lengths and the
    /// packet, in its place.
    fn add_up(&mut self) -> Option<()> {
        if !self.does(SUMS) {
            return Some(());
        }
        let (ip, len) = (usize::from(self.ip), usize::from(self.len));
        let behind = self.octets.get(ip + self.ip_header()..len)?;
        let mut sum = checksum::sum(behind);
        if !self.does(IS_GRE) {
            let addresses = self.octets.get(ip + 8..ip + ipv6::HEADER)?;
            sum = checksum::add16(checksum::add16(sum, checksum::sum(addresses)), ipv4::UDP.into());
        }
        let at = ip + self.ip_header() + if self.does(IS_GRE) { 4 } else { 6 };
        self.octets.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }

    /// Puts the header in front of `packet`; `flow` is its flow hash.
    pub(super) fn encapsulate(
        &self, packet: &mut PacketMut<'_>, outgoing: &Outgoing, flow: impl FnOnce(&[u8]) -> u32,
    ) -> Result<(), DropReason> {
        let template = self.octets.get(..usize::from(self.len)).ok_or(Malformed)?;
        let (at, header) = (usize::from(self.ip), self.ip_header());
        let behind = packet.octets() + template.len().saturating_sub(at + header);
        // IPv4 counts its own header.
        let counted = if self.does(V6) { behind } else { behind + header };
        let counted = u16::try_from(counted).map_err(|_| TooLong)?;
        let flow = if self.does(V6 | SPREADS) { flow(packet.bytes()) } else { 0 };
        let mut sum = if self.does(SUMS) { checksum::sum(packet.bytes()) } else { 0 };
        if (template.len() - at) & 1 != 0 {
            // The packet's octets are the other halves of their words.
            sum = sum.swap_bytes();
        }
        let outer = packet.push_slice(template)?.get_mut(at..).ok_or(Malformed)?;
        let class = outgoing.traffic_class & self.class_mask;
        if self.does(V6) {
            finish_v6(outer.first_chunk_mut().ok_or(Malformed)?, counted, class, flow);
        } else {
            finish_v4(outer.first_chunk_mut().ok_or(Malformed)?, counted, class);
        }
        self.redirect(outer, outgoing.destination)?;
        let encapsulation = outer.get_mut(header..).ok_or(Malformed)?;
        if self.does(IS_GRE) {
            if self.does(SUMS) {
                let gre = encapsulation.first_chunk_mut().ok_or(Malformed)?;
                let sum = checksum::add16(wire::be16::<4, 8>(gre), sum);
                wire::put::<4, 2, 8>(gre, (!sum).to_be_bytes());
            }
            return Ok(());
        }
        self.finish_udp(encapsulation.first_chunk_mut().ok_or(Malformed)?, behind as u16, flow, sum);
        Ok(())
    }

    /// Completes a UDP header that says `len`; `sum` is that of the packet.
    fn finish_udp(&self, udp: &mut [u8; UDP_HEADER], len: u16, flow: u32, sum: u16) {
        wire::put::<4, 2, UDP_HEADER>(udp, len.to_be_bytes());
        // As 0 is in its place in the sum, what is put there is added.
        let mut port = 0;
        if self.does(SPREADS) {
            port = 0xc000 | (flow ^ flow >> 16) as u16;
            wire::put::<0, 2, UDP_HEADER>(udp, port.to_be_bytes());
        }
        if self.does(SUMS) {
            // The length is in the pseudo-header and in the header.
            let added = [len, len, port].into_iter().fold(sum, checksum::add16);
            let sum = checksum::add16(wire::be16::<6, UDP_HEADER>(udp), added);
            // 0 would be none (RFC 8200, 8.1).
            let checksum = if sum == 0xffff { 0xffff } else { !sum };
            wire::put::<6, 2, UDP_HEADER>(udp, checksum.to_be_bytes());
        }
    }

    /// Puts the destination that a code option names into the header.
    fn redirect(&self, outer: &mut [u8], to: Option<Endpoint>) -> Result<(), DropReason> {
        let Some(to) = to else { return Ok(()) };
        if !self.does(MULTIPOINT) {
            return Err(DropReason::Destination);
        }
        if self.does(V6) {
            redirect_v6(outer.first_chunk_mut().ok_or(Malformed)?, to)
        } else {
            redirect(outer.first_chunk_mut().ok_or(Malformed)?, to)
        }
    }
}

/// Completes an IPv4 header that has its sum in the place of its checksum.
fn finish_v4(ip: &mut [u8; ipv4::HEADER], total: u16, class: u8) {
    let sum = wire::be16::<10, { ipv4::HEADER }>(ip);
    let sum = checksum::add16(checksum::add16(sum, total), class.into());
    let [_, tos, ..] = ip;
    *tos |= class;
    wire::put::<2, 2, { ipv4::HEADER }>(ip, total.to_be_bytes());
    wire::put::<10, 2, { ipv4::HEADER }>(ip, (!sum).to_be_bytes());
}

/// Completes an IPv6 header.
fn finish_v6(ip: &mut [u8; ipv6::HEADER], payload: u16, class: u8, flow: u32) {
    let first = wire::be32::<0, { ipv6::HEADER }>(ip) | u32::from(class) << 20 | flow & 0xf_ffff;
    wire::put::<0, 4, { ipv6::HEADER }>(ip, first.to_be_bytes());
    wire::put::<4, 2, { ipv6::HEADER }>(ip, payload.to_be_bytes());
}

/// IPv6 and UDP.
const UDP_V6: usize = ipv6::HEADER + UDP_HEADER;

/// Puts another destination into a header, and into the sum in the place of its UDP
/// checksum if there is one: such a sum is never 0.
fn redirect_v6(outer: &mut [u8; UDP_V6], to: Endpoint) -> Result<(), DropReason> {
    if to.as_v4().is_some() || !is_destination_at(to) {
        return Err(DropReason::Destination);
    }
    let sum_of =
        |address: [u8; 16], port: [u8; 2]| checksum::add16(checksum::sum(&address), u16::from_be_bytes(port));
    let old = sum_of(wire::octets::<24, 16, UDP_V6>(outer), wire::octets::<42, 2, UDP_V6>(outer));
    let (address, port) = (to.bits().to_be_bytes(), to.port().to_be_bytes());
    let sum = wire::be16::<46, UDP_V6>(outer);
    if sum != 0 {
        let sum = checksum::add16(checksum::add16(sum, !old), sum_of(address, port));
        wire::put::<46, 2, UDP_V6>(outer, sum.to_be_bytes());
    }
    wire::put::<24, 16, UDP_V6>(outer, address);
    wire::put::<42, 2, UDP_V6>(outer, port);
    Ok(())
}
