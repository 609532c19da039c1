//! Neighbour solicitations and advertisements of IPv6 (RFC 4861), with Ethernet addresses.

use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{checksum, octets};

/// The next header of ICMPv6.
pub const ICMP: u8 = 58;
/// Octets of a message as [`Message::packet`] makes it: IPv6, ICMPv6, one option.
pub const PACKET: usize = ipv6::HEADER + MESSAGE + OPTION;

/// Octets of a message without options.
const MESSAGE: usize = 24;
/// Octets of a link-layer address option for Ethernet.
const OPTION: usize = 8;
/// Options that are read. Of as many no sound message has need.
const OPTIONS: usize = 16;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// What a message asks or says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Who has the target?
    Solicitation,
    /// The sender has it.
    Advertisement {
        /// It is a router.
        router: bool,
        /// It was asked.
        solicited: bool,
        /// What was known of its Ethernet address is to be forgotten.
        overrides: bool,
    },
}

/// A message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// Which of the two.
    pub kind: Kind,
    /// Who sent it; 0 while it has no address yet (RFC 4862).
    pub source: u128,
    /// Whom it was sent to.
    pub destination: u128,
    /// The address that it is about.
    pub target: u128,
    /// The Ethernet address in the option that belongs to its kind: the sender's in a
    /// solicitation, the target's in an advertisement.
    pub mac: Option<[u8; 6]>,
}

/// Whether an address is that of a group.
pub const fn is_group(address: u128) -> bool {
    address >> 120 == 0xff
}

/// The group that who has `address` listens to (RFC 4291, 2.7.1).
pub const fn solicited_node(address: u128) -> u128 {
    0xff02_0000_0000_0000_0000_0001_ff00_0000 | address & 0xff_ffff
}

/// The Ethernet address of a group (RFC 2464, 7).
pub const fn group_mac(group: u128) -> [u8; 6] {
    let [a, b, c, d] = (group as u32).to_be_bytes();
    [0x33, 0x33, a, b, c, d]
}

/// The link-local address that is made of an Ethernet address (RFC 4291, appendix A).
pub const fn link_local(mac: [u8; 6]) -> u128 {
    let [a, b, c, d, e, f] = mac;
    let interface = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    0xfe80 << 112 | interface as u128
}

impl Message {
    /// Reads the IPv6 packet at the front of `octets`. `None` if it is no such message, or one
    /// that RFC 4861, 7.1.1 and 7.1.2, have discarded in silence. What stands behind an
    /// extension header is not looked for.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let ip = Ipv6::read(octets).ok()?;
        let (source, destination, icmp) = (ip.source(), ip.destination(), ip.payload());
        // Nobody forwarded it: it is of this link.
        if ip.next_header() != ICMP || ip.hop_limit() != 255 {
            return None;
        }
        let (head, options) = icmp.split_first_chunk::<MESSAGE>()?;
        let &[kind, code, _, _, flags, ..] = head;
        let kind = match kind {
            SOLICITATION => Kind::Solicitation,
            ADVERTISEMENT => Kind::Advertisement {
                router: flags & ROUTER != 0,
                solicited: flags & SOLICITED != 0,
                overrides: flags & OVERRIDE != 0,
            },
            _ => return None,
        };
        let target = u128::from_be_bytes(self::octets::<8, 16, MESSAGE>(head));
        let pseudo = checksum::pseudo_v6(source, destination, ICMP, icmp.len() as u32);
        let sound = checksum::add16(checksum::sum(icmp), pseudo) == 0xffff;
        if code != 0 || !sound || is_group(target) || is_group(source) {
            return None;
        }
        let mac =
            link_address(options, if kind == Kind::Solicitation { SOURCE_ADDRESS } else { TARGET_ADDRESS })?;
        let fits = match kind {
            Kind::Solicitation if source == 0 => {
                mac.is_none() && destination == solicited_node(destination & 0xff_ffff)
            }
            Kind::Solicitation => true,
            Kind::Advertisement { solicited, .. } => source != 0 && !(solicited && is_group(destination)),
        };
        fits.then_some(Self { kind, source, destination, target, mac })
    }

    /// The packet of a message, which has to have an Ethernet address.
    pub fn packet(&self, mac: [u8; 6]) -> [u8; PACKET] {
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (SOLICITATION, 0, SOURCE_ADDRESS),
            Kind::Advertisement { router, solicited, overrides } => {
                let flag = |set, flag| if set { flag } else { 0 };
                let flags = flag(router, ROUTER) | flag(solicited, SOLICITED) | flag(overrides, OVERRIDE);
                (ADVERTISEMENT, flags, TARGET_ADDRESS)
            }
        };
        let (source, destination) = (self.source.to_be_bytes(), self.destination.to_be_bytes());
        let (target, length) = (self.target.to_be_bytes(), (MESSAGE + OPTION) as u8);
        let pieces: [&[u8]; 7] = [
            &[0x60, 0, 0, 0, 0, length, ICMP, 255],
            &source,
            &destination,
            &[kind, 0, 0, 0, flags, 0, 0, 0],
            &target,
            &[option, 1],
            &mac,
        ];
        let mut packet = [0; PACKET];
        packet.iter_mut().zip(pieces.into_iter().flatten()).for_each(|(place, octet)| *place = *octet);
        let pseudo = checksum::pseudo_v6(self.source, self.destination, ICMP, length.into());
        let icmp = packet.get(ipv6::HEADER..).unwrap_or_default();
        let sum = !checksum::add16(checksum::sum(icmp), pseudo);
        crate::wire::put::<{ ipv6::HEADER + 2 }, 2, PACKET>(&mut packet, sum.to_be_bytes());
        packet
    }
}

/// The Ethernet address in the first option of `kind`, if there is one. `None` if an option is
/// of no length or does not fit, or if there are too many.
fn link_address(mut options: &[u8], kind: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    for _ in 0..OPTIONS {
        let &[of, words, ..] = options else {
            return options.is_empty().then_some(found);
        };
        let (option, rest) = options.split_at_checked(8 * usize::from(words))?;
        if words == 0 {
            return None;
        }
        if of == kind && words == 1 && found.is_none() {
            found = option.get(2..).and_then(<[u8]>::first_chunk).copied();
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use std::vec::Vec;

    const HERE: u128 = 0xfd00_0000_0000_0000_0000_0000_0012_3456;
    const THERE: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0009;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn question() -> Message {
        Message {
            kind: Kind::Solicitation,
            source: THERE,
            destination: solicited_node(HERE),
            target: HERE,
            mac: Some(MAC),
        }
    }

    /// A packet whose checksum is made right after an edit.
    fn edited(message: &Message, more: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = [&message.packet(MAC)[..], more].concat();
        packet[5] += more.len() as u8;
        edit(&mut packet);
        packet[42..44].fill(0);
        let pseudo =
            checksum::pseudo_v6(message.source, message.destination, ICMP, (packet.len() - 40) as u32);
        let sum = !checksum::add16(checksum::sum(&packet[40..]), pseudo);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn a_solicitation_octet_for_octet() {
        let expected = [
            &[0x60, 0, 0, 0, 0, 32, 58, 255][..],
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56],
            // 0xfe80 + 9 + 0xff02 + 1 + 0xff12 + 0x3456 + 32 + 58 + 0x8700 + 0xfd00 + 0x12 + 0x3456
            // + 0x0101 + 0x0200 + 9 is 0x4_ecc0, 0xecc4 with its carries added.
            &[135, 0, 0x13, 0x3b, 0, 0, 0, 0],
            &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56],
            &[1, 1, 2, 0, 0, 0, 0, 9],
        ];
        assert_eq!(question().packet(MAC)[..], expected.concat());
        assert_eq!(group_mac(solicited_node(HERE)), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(link_local([2, 0, 0, 1, 2, 3]), 0xfe80_0000_0000_0000_0000_00ff_fe01_0203);
    }

    #[test]
    fn what_section_7_1_has_discarded_is() {
        let question = question();
        let read = |edit: fn(&mut Vec<u8>)| Message::read(&edited(&question, &[], edit));
        assert_eq!(read(|_| ()), Some(question));
        assert_eq!(read(|packet| packet[7] = 254), None, "hop limit");
        assert_eq!(read(|packet| packet[41] = 1), None, "code");
        assert_eq!(read(|packet| packet[40] = 134), None, "a router's advertisement");
        assert_eq!(read(|packet| packet[6] = 0), None, "an extension header");
        assert_eq!(read(|packet| packet[48] = 0xff), None, "the target is a group");
        assert_eq!(read(|packet| packet[65] = 0), None, "an option of no length");
        assert_eq!(read(|packet| packet[65] = 2), None, "an option longer than the message");
        assert_eq!(read(|packet| packet[64] = 2).unwrap().mac, None, "another option");
        let mut wrong = question.packet(MAC);
        wrong[43] ^= 1;
        assert_eq!(Message::read(&wrong), None, "checksum");
        for len in 0..PACKET {
            assert_eq!(Message::read(&question.packet(MAC)[..len]), None, "{len} octets");
        }
        let more = |options: &[u8]| Message::read(&edited(&question, options, |_| ()));
        assert_eq!(more(&[14, 1, 1, 2, 3, 4, 5, 6]), Some(question), "a nonce is passed over");
        assert_eq!(more(&[14]), None, "half an option");
        assert_eq!(more(&[14, 1, 0, 0, 0, 0, 0, 0].repeat(OPTIONS - 1)), Some(question));
        assert_eq!(more(&[14, 1, 0, 0, 0, 0, 0, 0].repeat(OPTIONS)), None, "no end of options");
        // Who has no address yet says nothing of its Ethernet address, and asks the target's group.
        let unnamed = Message { source: 0, ..question };
        assert_eq!(Message::read(&unnamed.packet(MAC)), None);
        let probe = edited(&unnamed, &[], |packet| packet[64] = 14);
        assert_eq!(Message::read(&probe).unwrap().source, 0);
        let direct = Message { destination: HERE, ..unnamed };
        assert_eq!(Message::read(&edited(&direct, &[], |packet| packet[64] = 14)), None);
        // An answer to all was not asked for by one.
        let answer = |solicited, destination| {
            let kind = Kind::Advertisement { router: true, solicited, overrides: true };
            Message { kind, destination, target: THERE, ..question }
        };
        for (solicited, destination, taken) in
            [(true, HERE, true), (false, 0xff02 << 112 | 1, true), (true, 0xff02 << 112 | 1, false)]
        {
            let answer = answer(solicited, destination);
            assert_eq!(Message::read(&answer.packet(MAC)), taken.then_some(answer));
        }
    }

    proptest! {
        /// Any octets are a message or none; what is sent is read as it was meant, by us and
        /// by etherparse.
        #[test]
        fn reading_is_total_and_undoes_writing(
            mut noise in prop::collection::vec(any::<u8>(), 0..140), sound: bool, source in 1u128.., target: u128,
            router: bool, overrides: bool, asks: bool,
        ) {
            if sound && noise.len() >= 64 {
                let length = (noise.len() - 40) as u8;
                noise[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, length, ICMP, 255]);
                noise[40..42].copy_from_slice(&[SOLICITATION + u8::from(asks), 0]);
                noise[42..44].fill(0);
                let [source, destination] = [8, 24].map(|at| u128::from_be_bytes(noise[at..at + 16].try_into().unwrap()));
                let pseudo = checksum::pseudo_v6(source, destination, ICMP, length.into());
                let sum = !checksum::add16(checksum::sum(&noise[40..]), pseudo);
                noise[42..44].copy_from_slice(&sum.to_be_bytes());
            }
            if let Some(read) = Message::read(&noise) {
                prop_assert!(!is_group(read.target) && noise[7] == 255);
            }
            prop_assume!(!is_group(source) && !is_group(target));
            let kind = Kind::Advertisement { router, solicited: false, overrides };
            let kind = if asks { Kind::Solicitation } else { kind };
            let message = Message { kind, source, destination: solicited_node(target), target, mac: Some(MAC) };
            let packet = message.packet(MAC);
            prop_assert_eq!(Message::read(&packet), Some(message));
            let parsed = SlicedPacket::from_ip(&packet).unwrap();
            let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) = (&parsed.net, &parsed.transport) else {
                return Err(TestCaseError::fail("no ICMPv6"));
            };
            let header = ip.header();
            prop_assert!(icmp.is_checksum_valid(header.source(), header.destination()));
            match icmp.icmp_type() {
                Icmpv6Type::NeighborSolicitation => prop_assert!(asks),
                Icmpv6Type::NeighborAdvertisement(seen) => prop_assert_eq!(
                    (seen.router, seen.solicited, seen.r#override), (router, false, overrides)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
