//! The outer header of what is not plain: Ethernet with its tags, IPv4 or IPv6.

use crate::exit::DropReason::{self, Malformed, OuterFragment, OuterProtocol, Truncated};
use crate::slot::{Endpoint, Layer};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{HEADER, Ipv6};
use crate::wire::{checksum, ipv4};

/// A sound outer header, and what it carries.
pub(super) struct Outer<'a> {
    /// Octets of the frame in front of `payload`.
    pub(super) at: usize,
    pub(super) payload: &'a [u8],
    pub(super) protocol: u8,
    /// With port 0, as the destination has.
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) traffic_class: u8,
}

impl<'a> Outer<'a> {
    /// Reads what a frame begins with that is received as `layer`.
    pub(super) fn read(frame: &'a [u8], layer: Layer) -> Result<Self, DropReason> {
        let (at, version) = match layer {
            Layer::Ethernet => {
                let ethernet = Ethernet::read(frame)?;
                match ethernet.ether_type {
                    ethernet::IPV4 => (ethernet.header, 4),
                    ethernet::IPV6 => (ethernet.header, 6),
                    _ => return Err(OuterProtocol),
                }
            }
            _ => (0, frame.first().ok_or(Truncated)? >> 4),
        };
        let octets = frame.get(at..).ok_or(Truncated)?;
        if version == 6 { Self::ipv6(octets, at) } else { Self::ipv4(octets, at) }
    }

    fn ipv4(octets: &'a [u8], at: usize) -> Result<Self, DropReason> {
        let ip = Ipv4::read(octets)?;
        if ip.is_fragment() {
            return Err(OuterFragment);
        }
        Ok(Self {
            at: at + ip.header_len(),
            payload: ip.payload(),
            protocol: ip.protocol(),
            source: Endpoint::v4(ip.source(), 0),
            destination: Endpoint::v4(ip.destination(), 0),
            traffic_class: ip.traffic_class(),
        })
    }

    fn ipv6(octets: &'a [u8], at: usize) -> Result<Self, DropReason> {
        let ip = Ipv6::read(octets)?;
        let (protocol, extensions) = pass_extensions(ip.next_header(), ip.payload())?;
        Ok(Self {
            at: at + HEADER + extensions,
            payload: ip.payload().get(extensions..).ok_or(Truncated)?,
            protocol,
            source: Endpoint::v6(ip.source(), 0),
            destination: Endpoint::v6(ip.destination(), 0),
            traffic_class: ip.traffic_class(),
        })
    }

    /// The sum of the UDP pseudo-header without length.
    pub(super) fn pseudo(&self) -> u16 {
        match (self.source.as_v4(), self.destination.as_v4()) {
            (Some(source), Some(destination)) => checksum::pseudo_v4(source, destination, ipv4::UDP, 0),
            _ => checksum::pseudo_v6(self.source.bits(), self.destination.bits(), ipv4::UDP, 0),
        }
    }
}

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Extension headers, and options in each, that are passed over (RFC 8504, 5.3, lets a
/// node have such limits). Tunnel ends of the Linux kernel send one of one.
const EXTENSIONS: usize = 2;
const OPTIONS: usize = 8;

/// The protocol behind hop-by-hop and destination options, and where it begins.
fn pass_extensions(first: u8, payload: &[u8]) -> Result<(u8, usize), DropReason> {
    let (mut next, mut at) = (first, 0);
    for place in 0..=EXTENSIONS {
        match next {
            HOP_BY_HOP if place > 0 => return Err(Malformed),
            FRAGMENT => return Err(OuterFragment),
            HOP_BY_HOP | DESTINATION if place < EXTENSIONS => (),
            _ => break,
        }
        let &[behind, words] = payload.get(at..).and_then(<[u8]>::first_chunk).ok_or(Truncated)?;
        let end = at + 8 + 8 * usize::from(words);
        pass_options(payload.get(at + 2..end).ok_or(Truncated)?)?;
        (next, at) = (behind, end);
    }
    Ok((next, at))
}

/// Whether a node that knows none of `options` may overlook them (RFC 8200, 4.2).
fn pass_options(mut options: &[u8]) -> Result<(), DropReason> {
    for _ in 0..OPTIONS {
        options = match options {
            [] => return Ok(()),
            [0, rest @ ..] => rest,
            [kind, len, rest @ ..] if kind >> 6 == 0 => rest.get(usize::from(*len)..).ok_or(Malformed)?,
            _ => return Err(Malformed),
        };
    }
    if options.is_empty() { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_may_be_overlooked_are() {
        // A tunnel encapsulation limit of 4 and padding (RFC 2473), as Linux sends it.
        let limit = [17, 0, 4, 1, 4, 1, 1, 0];
        assert_eq!(pass_extensions(DESTINATION, &limit), Ok((17, 8)));
        assert_eq!(pass_extensions(17, &limit), Ok((17, 0)));
        let twice = [[DESTINATION, 0, 1, 4, 0, 0, 0, 0], limit].concat();
        assert_eq!(pass_extensions(HOP_BY_HOP, &twice), Ok((17, 16)));
        assert_eq!(pass_extensions(DESTINATION, &[twice, limit.into()].concat()), Ok((17, 16)));
        let thrice = [[DESTINATION, 0, 1, 4, 0, 0, 0, 0], [DESTINATION, 0, 1, 4, 0, 0, 0, 0], limit].concat();
        assert_eq!(pass_extensions(HOP_BY_HOP, &thrice), Ok((DESTINATION, 16)), "no protocol that is known");
        for (wrong, reason) in [
            (&[17, 0, 0xc4, 1, 4, 1, 1, 0][..], Malformed),
            (&[17, 0, 4, 9, 4, 1, 1, 0], Malformed),
            (&[17, 0, 4, 1, 4, 1], Truncated),
            (&[17, 1, 4, 1, 4, 1, 1, 0], Truncated),
            (&[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Malformed),
            (&[HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0], Malformed),
            (&[FRAGMENT, 0, 1, 4, 0, 0, 0, 0], OuterFragment),
        ] {
            assert_eq!(pass_extensions(DESTINATION, wrong), Err(reason), "{wrong:02x?}");
        }
    }
}
