//! The record that a lookup's result names: one cache line.

use crate::egress::{Encapsulation, Template, TemplateTable, Tunnel};
use crate::exit::{DropReason, Exit};
use crate::id::QueueId;
use crate::packet::PacketMut;
use crate::slot::{Endpoint, Outgoing};
use crate::wire::{self, checksum};

/// All that a packet needs on its way out, in one cache line.
///
/// The substrate writes it when a filter is installed; a code option sees `word` and
/// the MTU and nothing else of it, so a slice cannot forge where its packets go, on
/// whose queue, or from which address (section 4). Its counter has the same number as
/// the record.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Egress {
    word: u64,
    queue: QueueId,
    mtu: u16,
    /// Bits of the packet's traffic class that go into the outer header.
    class_mask: u8,
    /// Octets of `header` in use; 0 for a [`Template`], whose number stands there.
    len: u8,
    /// 0 to forward, else 1 more than the place of an [`Exit`].
    exit: u8,
    multipoint: bool,
    /// With the sum of the IP header in the place of its checksum.
    header: [u8; Self::HEADER],
}

/// Why an egress was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The MTU, with the outer header, is more than an IPv4 packet can hold.
    #[error("an inner MTU of {mtu} is out of range: 1 to {most}")]
    Mtu {
        /// The MTU asked for.
        mtu: u16,
        /// The largest.
        most: u16,
    },
    /// The tunnel is no plain UDP over IPv4: it takes a [`Template`].
    #[error("a record holds the header of UDP over IPv4 only: others take a template")]
    Template,
    /// The two ends have addresses of different IP versions.
    #[error("the ends of a tunnel have addresses of different IP versions")]
    Versions,
    /// Only links of plain UDP may be multipoint.
    #[error("only links of plain UDP may be multipoint")]
    Multipoint,
    /// A network identifier has 24 bits.
    #[error("network {0} has more than 24 bits")]
    Network(u32),
    /// The outer header is too long.
    #[error("an outer header of {octets} octets is longer than {most}")]
    Header {
        /// Its length.
        octets: usize,
        /// The most that fits.
        most: usize,
    },
}

impl Egress {
    /// Octets of outer header that a record holds: Ethernet with a tag, IPv4, UDP.
    pub const HEADER: usize = 46;

    /// The largest inner MTU: what IPv4 can count, less IPv4 and UDP.
    pub const MAX_MTU: u16 = u16::MAX - Tunnel::HEADER as u16;

    /// A record that names no way out: packets are dropped as
    /// [`DropReason::NoMatch`].
    pub const NONE: Self = Self::exit_with(Exit::Drop(DropReason::NoMatch));

    /// The way out through `tunnel` by `queue`, for packets of up to `mtu` octets.
    ///
    /// # Errors
    ///
    /// [`EgressError`]; [`Tunnel::needs_template`] tells beforehand which of two it takes.
    pub fn forward(tunnel: &Tunnel, queue: QueueId, mtu: u16) -> Result<Self, EgressError> {
        tunnel.check()?;
        if !tunnel.source.is_ipv4() || tunnel.encapsulation != Encapsulation::Udp {
            return Err(EgressError::Template);
        }
        let mut header = [0; Self::HEADER];
        let too_long = EgressError::Header { octets: tunnel.octets(), most: Self::HEADER };
        let len = tunnel.write(&mut header).ok_or(too_long)?;
        // Its end is where the packet begins.
        header.rotate_right(Self::HEADER - len);
        let (class_mask, multipoint) = (tunnel.class_mask(), tunnel.multipoint);
        Self { queue, class_mask, len: len as u8, multipoint, header, exit: 0, ..Self::NONE }.checked(mtu)
    }

    /// The way out behind the header of `template`, which a [`TemplateTable`] has as
    /// `number`, for packets of up to `mtu` octets.
    ///
    /// # Errors
    ///
    /// [`EgressError::Mtu`].
    pub fn by_template(
        number: u32, template: &Template, queue: QueueId, mtu: u16,
    ) -> Result<Self, EgressError> {
        let mut header = [0; Self::HEADER];
        wire::put::<0, 4, { Self::HEADER }>(&mut header, number.to_ne_bytes());
        let class_mask = template.class_mask();
        Self { queue, header, class_mask, exit: 0, ..Self::NONE }.checked(mtu)
    }

    /// No way out: packets leave with `exit`. A filter that drops, or that hands to
    /// the slow path.
    pub const fn exit_with(exit: Exit) -> Self {
        Self {
            word: 0,
            queue: QueueId(u32::MAX),
            mtu: 0,
            class_mask: 0,
            len: 0,
            exit: exit.index() as u8 + 1,
            multipoint: false,
            header: [0; Self::HEADER],
        }
    }

    /// The same with `word` for the code option.
    pub const fn with_word(self, word: u64) -> Self {
        Self { word, ..self }
    }

    fn checked(self, mtu: u16) -> Result<Self, EgressError> {
        if mtu == 0 || mtu > Self::MAX_MTU {
            return Err(EgressError::Mtu { mtu, most: Self::MAX_MTU });
        }
        Ok(Self { mtu, ..self })
    }

    /// What the code option is told.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        self.word
    }

    /// Octets that an inner packet may have.
    #[inline(always)]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Where packets wait.
    #[inline(always)]
    pub const fn queue(&self) -> QueueId {
        self.queue
    }

    /// Why packets do not go out here, if they don't.
    #[inline(always)]
    pub fn exit(&self) -> Option<Exit> {
        if self.exit == 0 {
            return None;
        }
        // Cold: what is forwarded does not come here.
        Exit::all().nth(usize::from(self.exit) - 1)
    }

    /// Whether the outer header of `outgoing` says ECN-capable.
    #[inline(always)]
    pub const fn ecn_capable(&self, outgoing: &Outgoing) -> bool {
        outgoing.traffic_class & self.class_mask & 0b11 != 0
    }

    /// Puts the outer header in front, with both lengths, the traffic class and the
    /// checksum. UDP over IPv4 carries no checksum of its own (RFC 768 allows 0).
    ///
    /// One copy of the header and eight octets patched, about 1 ns. What a template does
    /// beyond that, it says itself; all packets are of one flow to it.
    ///
    /// # Errors
    ///
    /// [`DropReason::TooLong`] over the MTU, [`DropReason::NoHeadroom`],
    /// [`DropReason::Destination`]; the packet may have its header already, and is to
    /// be dropped.
    #[inline(always)]
    pub fn encapsulate(
        &self, packet: &mut PacketMut<'_>, outgoing: &Outgoing, templates: &(impl TemplateTable + ?Sized),
    ) -> Result<(), DropReason> {
        self.encapsulate_flow(packet, outgoing, templates, |_| 0)
    }

    /// [`encapsulate`](Self::encapsulate) of a packet whose flow hash is what `flow` makes of
    /// it: asked by templates only that put it into a source port or a flow label.
    ///
    /// # Errors
    ///
    /// Those of `encapsulate`.
    #[inline(always)]
    pub fn encapsulate_flow(
        &self, packet: &mut PacketMut<'_>, outgoing: &Outgoing, templates: &(impl TemplateTable + ?Sized),
        flow: impl FnOnce(&[u8]) -> u32,
    ) -> Result<(), DropReason> {
        if packet.octets() > usize::from(self.mtu) {
            return Err(DropReason::TooLong);
        }
        if self.len == 0 {
            return self.put_template(packet, outgoing, templates, flow);
        }
        let inner = packet.octets();
        let ip = self.header.last_chunk().ok_or(DropReason::NoHeadroom)?;
        let sum = wire::be16::<10, { Tunnel::HEADER }>(ip);
        let outer = packet.push_padded::<{ Self::HEADER }, { Tunnel::HEADER }>(&self.header, self.len)?;
        let [_, own_class, ..] = ip;
        finish(outer, sum, inner, *own_class, outgoing.traffic_class & self.class_mask);
        match outgoing.destination {
            None => Ok(()),
            Some(to) if self.multipoint => redirect(outer, to),
            Some(_) => Err(DropReason::Destination),
        }
    }

    #[inline(never)]
    fn put_template(
        &self, packet: &mut PacketMut<'_>, outgoing: &Outgoing, templates: &(impl TemplateTable + ?Sized),
        flow: impl FnOnce(&[u8]) -> u32,
    ) -> Result<(), DropReason> {
        let number = u32::from_ne_bytes(wire::octets::<0, 4, { Self::HEADER }>(&self.header));
        templates.template(number).ok_or(DropReason::NoMatch)?.encapsulate(packet, outgoing, flow)
    }
}

/// Completes an IPv4 and UDP header in front of `inner` octets, whose sum without
/// lengths and `class` is `sum`; it has `own_class` already. (What was just written is
/// not read back: that would wait.)
#[inline(always)]
pub(super) fn finish(outer: &mut [u8; Tunnel::HEADER], sum: u16, inner: usize, own_class: u8, class: u8) {
    let udp = (inner as u16).wrapping_add(8);
    let total = udp.wrapping_add(20);
    let [_, tos, l0, l1, _, _, _, _, _, _, c0, c1, _, _, _, _, _, _, _, _, _, _, _, _, u0, u1, _, _] = outer;
    // Bits of a pipe's own DSCP and of the mask never meet.
    *tos = own_class | class;
    [*l0, *l1] = total.to_be_bytes();
    [*c0, *c1] = (!checksum::add16(checksum::add16(sum, total), u16::from(class))).to_be_bytes();
    [*u0, *u1] = udp.to_be_bytes();
}

/// Whether a tunnel may lead to this address and port: a unicast address that is not of
/// 0.0.0.0/8, and a port other than 0.
#[inline(always)]
pub(crate) const fn is_destination(address: u32, port: u16) -> bool {
    !matches!(address >> 24, 0 | 224..) && port != 0
}

/// [`is_destination`] of an address of either version: over IPv6 neither unspecified nor a
/// group's, nor one of IPv4.
pub(crate) fn is_destination_at(to: Endpoint) -> bool {
    match to.as_v4() {
        Some(address) => is_destination(address, to.port()),
        None => to.bits() != 0 && to.bits() >> 120 != 0xff && to.port() != 0,
    }
}

/// Puts another destination into a header that is complete.
///
/// # Errors
///
/// [`DropReason::Destination`] for what is no unicast IPv4 address and port.
#[inline(always)]
pub(super) fn redirect(outer: &mut [u8; Tunnel::HEADER], to: Endpoint) -> Result<(), DropReason> {
    let address = to.as_v4().filter(|address| is_destination(*address, to.port()));
    let address = address.ok_or(DropReason::Destination)?;
    let old = wire::be32::<16, { Tunnel::HEADER }>(outer);
    let sum = checksum::update32(wire::be16::<10, { Tunnel::HEADER }>(outer), old, address);
    wire::put::<10, 2, { Tunnel::HEADER }>(outer, sum.to_be_bytes());
    wire::put::<16, 4, { Tunnel::HEADER }>(outer, address.to_be_bytes());
    wire::put::<22, 2, { Tunnel::HEADER }>(outer, to.port().to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Egresses, LinkLayer, Template};
    use crate::exit::Exception;
    use crate::packet::Packet;
    use crate::slot::DscpModel;
    use core::net::SocketAddrV4;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn tunnel(tagged: Option<Option<u16>>) -> Tunnel {
        let link_layer = tagged.map_or(LinkLayer::Ip, |tag| LinkLayer::Ethernet {
            destination: [2, 0, 0, 0, 0, 9],
            source: [2, 0, 0, 0, 0, 1],
            tag,
        });
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 9].into());
        Tunnel::new(link_layer, SocketAddrV4::new(source, 20_001), SocketAddrV4::new(destination, 30_000))
    }

    /// The frame that comes out, and the IPv4 and UDP headers etherparse finds in it.
    fn sent(
        egress: &Egress, templates: &impl TemplateTable, inner: &[u8], outgoing: Outgoing,
    ) -> Result<(Vec<u8>, etherparse::Ipv4Header, etherparse::UdpHeader), DropReason> {
        let mut packet = Packet::with_headroom([0u8; 512], 128, inner).unwrap();
        packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &outgoing, templates))?;
        let frame = packet.bytes().to_vec();
        // A MAC address of these tests begins with 2.
        let parsed = if frame.first() == Some(&0x45) {
            SlicedPacket::from_ip(&frame).unwrap()
        } else {
            SlicedPacket::from_ethernet(&frame).unwrap()
        };
        let Some(NetSlice::Ipv4(ip)) = parsed.net else { panic!("no IPv4") };
        let Some(TransportSlice::Udp(udp)) = parsed.transport else { panic!("no UDP") };
        let (ip, udp) = (ip.header().to_header(), udp.to_header());
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert!(frame.ends_with(inner));
        Ok((frame.clone(), ip, udp))
    }

    #[test]
    fn a_record_is_one_cache_line() {
        assert_eq!((size_of::<Egress>(), size_of::<Template>()), (64, 128));
    }

    proptest! {
        #[test]
        fn outer_headers_are_right(
            tagged: Option<Option<u16>>, inner in prop::collection::vec(any::<u8>(), 0..200), class: u8,
            dscp in 0u8..64, uniform: bool, ecn: bool, multipoint: bool, to: Option<(u32, u16)>,
            shim in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let dscp_model = if uniform { DscpModel::Uniform } else { DscpModel::Pipe };
            let tunnel = Tunnel { dscp_model, dscp, ecn, multipoint, ..tunnel(tagged) };
            let destination = to.map(|(address, port)| Endpoint::v4(address, port));
            let outgoing = Outgoing { traffic_class: class, destination };
            let templates = Egresses { records: [Egress::NONE; 0], templates: [Template::new(&tunnel, &shim).unwrap()] };
            let record = Egress::forward(&tunnel, QueueId(3), 1472).unwrap();
            let by_template = Egress::by_template(0, &templates.templates[0], QueueId(3), 1472).unwrap();
            for (egress, shim) in [(record, &[][..]), (by_template, &shim)] {
                let inner_and_shim = [shim, &inner].concat();
                let out = sent(&egress, &templates, &inner, outgoing);
                let allowed = to.is_none_or(|(address, port)| {
                    multipoint && port != 0 && !matches!(address >> 24, 0 | 224..)
                });
                if !allowed {
                    prop_assert_eq!(out.err(), Some(DropReason::Destination));
                    continue;
                }
                let (frame, ip, udp) = out.unwrap();
                let (address, port) = to.unwrap_or((0x0a00_0009, 30_000));
                prop_assert_eq!((ip.source, ip.destination), ([10, 0, 0, 1], address.to_be_bytes()));
                prop_assert_eq!((udp.source_port, udp.destination_port, udp.checksum), (20_001, port, 0));
                prop_assert_eq!(usize::from(udp.length), 8 + inner_and_shim.len());
                prop_assert_eq!(usize::from(ip.total_len), 28 + inner_and_shim.len());
                prop_assert!(frame.ends_with(&inner_and_shim) && ip.dont_fragment);
                prop_assert_eq!(ip.dscp.value(), if uniform { class >> 2 } else { dscp });
                prop_assert_eq!(ip.ecn.value(), if ecn { class & 3 } else { 0 });
                prop_assert_eq!(egress.ecn_capable(&outgoing), ecn && class & 3 != 0);
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_a_reason() {
        let egress = Egress::forward(&tunnel(Some(None)), QueueId(0), 20).unwrap();
        let out = |inner: &[u8]| sent(&egress, &(), inner, Outgoing::default()).err();
        assert_eq!((out(&[0; 20]), out(&[0; 21])), (None, Some(DropReason::TooLong)));
        let mut packet = Packet::new([0u8; 64], 41, 64).unwrap();
        let whole = packet.whole();
        let wide = Egress { mtu: 64, ..egress };
        let put = packet.edit(whole, |p| wide.encapsulate(p, &Outgoing::default(), &()));
        assert_eq!((put, packet.whole()), (Err(DropReason::NoHeadroom), whole));
        let template = Template::new(&tunnel(None), &[]).unwrap();
        let missing = Egress::by_template(7, &template, QueueId(0), 20).unwrap();
        assert_eq!(sent(&missing, &(), &[1], Outgoing::default()).err(), Some(DropReason::NoMatch));
        let shim = Egresses {
            records: [Egress::NONE; 0],
            templates: [Template::new(&tunnel(None), &[0; 8]).unwrap()],
        };
        let widest = Egress::by_template(0, &shim.templates[0], QueueId(0), Egress::MAX_MTU).unwrap();
        for (len, expected) in [(65_499, Ok(())), (65_500, Err(DropReason::TooLong))] {
            let mut packet = Packet::new(std::vec![0; 65_600], 100, 100 + len).unwrap();
            let put = packet.edit(packet.whole(), |p| widest.encapsulate(p, &Outgoing::default(), &shim));
            assert_eq!(put, expected, "a shim counts too");
        }
        for mtu in [0, Egress::MAX_MTU + 1] {
            let refused = EgressError::Mtu { mtu, most: Egress::MAX_MTU };
            assert_eq!(Egress::forward(&tunnel(None), QueueId(0), mtu).err(), Some(refused));
        }
        let refused = EgressError::Header { octets: 28 + 97, most: 124 };
        assert_eq!(Template::new(&tunnel(None), &[0; 97]).err(), Some(refused));
    }

    #[test]
    fn a_header_needs_no_more_headroom_than_its_octets() {
        let inner = [7; 20];
        for (tagged, len) in [(None, 28), (Some(None), 42), (Some(Some(5)), 46)] {
            let record = Egress::forward(&tunnel(tagged), QueueId(0), 1472).unwrap();
            let with = |headroom| {
                let mut packet = Packet::with_headroom([0u8; 128], headroom, &inner).unwrap();
                let put = packet
                    .edit(packet.whole(), |packet| record.encapsulate(packet, &Outgoing::default(), &()));
                put.map(|()| packet.bytes().to_vec())
            };
            let plenty = with(100).unwrap();
            assert_eq!(plenty.len(), len as usize + inner.len());
            for headroom in len..60 {
                assert_eq!(with(headroom).as_ref(), Ok(&plenty), "{headroom} octets in front");
            }
            assert_eq!(with(len - 1), Err(DropReason::NoHeadroom));
        }
    }

    #[test]
    fn an_egress_may_be_an_exit() {
        for exit in Exit::all() {
            assert_eq!(Egress::exit_with(exit).exit(), Some(exit));
        }
        assert_eq!(Egress::forward(&tunnel(None), QueueId(0), 9).unwrap().exit(), None);
        let local = Egress::exit_with(Exception::Local.into()).with_word(9);
        assert_eq!((local.word(), local.exit()), (9, Some(Exception::Local.into())));
    }
}
