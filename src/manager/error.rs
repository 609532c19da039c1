//! ICMP errors (RFC 792; RFC 1122, 3.2.2; RFC 1812, 4.3).

use crate::manager::Fate;
use crate::manager::header::{Head, Payload};
use crate::wire::{checksum, icmp, ipv4};

/// Why a packet cannot be delivered, in so far as a filter can say it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unreachable {
    /// There is no route (code 0).
    Net,
    /// There is a route, and nobody at its end (code 1).
    Host,
    /// Nobody speaks the protocol (code 2).
    Protocol,
    /// Nobody listens (code 3).
    Port,
    /// Prohibited (code 13).
    Prohibited,
}

/// What an error message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    Unreachable(Unreachable),
    /// Fragmentation needed, for this MTU (RFC 1191).
    TooBig(u16),
    SourceRouteFailed,
    /// Time exceeded in transit.
    Expired,
    /// An octet of the header that is wrong.
    Parameter(u8),
    /// A type of option that is missing (RFC 1108).
    OptionMissing(u8),
    /// A better router on the same network.
    Redirect(u32),
}

impl Problem {
    /// What becomes of a packet that is answered so; a redirect is no answer.
    pub(super) const fn fate(self) -> Fate {
        match self {
            Self::Unreachable(Unreachable::Net) => Fate::NetUnreachable,
            Self::Unreachable(Unreachable::Host) => Fate::HostUnreachable,
            Self::Unreachable(Unreachable::Protocol) => Fate::ProtocolUnreachable,
            Self::Unreachable(Unreachable::Port) => Fate::PortUnreachable,
            Self::Unreachable(Unreachable::Prohibited) => Fate::Prohibited,
            Self::TooBig(_) => Fate::FragmentationNeeded,
            Self::SourceRouteFailed => Fate::SourceRouteFailed,
            Self::Expired => Fate::TimeExceeded,
            Self::Parameter(_) => Fate::ParameterProblem,
            Self::OptionMissing(_) => Fate::OptionMissing,
            Self::Redirect(_) => Fate::Forwarded,
        }
    }

    /// Type, code, and the four octets that differ.
    const fn message(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::Unreachable(why) => {
                let code = match why {
                    Unreachable::Net => 0,
                    Unreachable::Host => 1,
                    Unreachable::Protocol => 2,
                    Unreachable::Port => 3,
                    Unreachable::Prohibited => 13,
                };
                (icmp::UNREACHABLE, code, [0; 4])
            }
            Self::TooBig(mtu) => {
                let [high, low] = mtu.to_be_bytes();
                (icmp::UNREACHABLE, 4, [0, 0, high, low])
            }
            Self::SourceRouteFailed => (icmp::UNREACHABLE, 5, [0; 4]),
            Self::Expired => (icmp::TIME_EXCEEDED, 0, [0; 4]),
            Self::Parameter(at) => (icmp::PARAMETER_PROBLEM, 0, [at, 0, 0, 0]),
            Self::OptionMissing(kind) => (icmp::PARAMETER_PROBLEM, 1, [kind, 0, 0, 0]),
            // For the host (RFC 1812, 5.2.7.2).
            Self::Redirect(gateway) => (icmp::REDIRECT, 1, gateway.to_be_bytes()),
        }
    }
}

/// The interface that brought a packet: its number, which is not 0, and this router's address on it (RFC 5837).
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) address: u32,
}

/// Octets of the extension that names an interface.
const EXTENSION: usize = 20;

/// With extensions the quotation has this length at least (RFC 4884, section 4).
const PADDED: usize = 128;

/// An error message.
#[derive(Debug)]
pub(super) struct Message<'a> {
    head: [u8; 8],
    quoted: &'a [u8],
    /// Zeroes up to where the extension begins, and the extension.
    tail: [u8; PADDED + EXTENSION],
    tail_len: usize,
}

impl<'a> Message<'a> {
    /// Says `problem` about the packet `about`, of which as much is quoted as fits `room`
    /// octets, the ICMP header included.
    pub(super) fn new(problem: Problem, about: &'a [u8], room: usize, interface: Option<Interface>) -> Self {
        let (kind, code, [r0, r1, r2, r3]) = problem.message();
        let mut message =
            Self { head: [kind, code, 0, 0, r0, r1, r2, r3], quoted: &[], tail: [0; _], tail_len: 0 };
        let room = room.saturating_sub(message.head.len());
        message.quoted = about.get(..room).unwrap_or(about);
        // A redirect has no place for it (RFC 4884, section 4).
        let extended = interface.filter(|_| kind != icmp::REDIRECT && room >= PADDED + EXTENSION);
        if let Some(interface) = extended {
            message.extend(about, room - EXTENSION, interface);
        }
        let sum = message.payload().sum();
        let [_, _, high, low, ..] = &mut message.head;
        [*high, *low] = (!sum).to_be_bytes();
        message
    }

    /// Appends what names the interface, behind a quotation of whole words.
    fn extend(&mut self, about: &'a [u8], room: usize, interface: Interface) {
        self.quoted = about.get(..room & !3).unwrap_or(about);
        let quoted = self.quoted.len().next_multiple_of(4).max(PADDED);
        let padding = quoted - self.quoted.len();
        let [_, _, _, _, _, words, ..] = &mut self.head;
        // Below 576 octets.
        *words = (quoted / 4) as u8;
        let [i0, i1, i2, i3] = interface.index.to_be_bytes();
        let [a0, a1, a2, a3] = interface.address.to_be_bytes();
        // Version 2; an object of class 2: incoming, index, address of family 1.
        let mut extension = [0x20, 0, 0, 0, 0, 16, 2, 0x0c, i0, i1, i2, i3, 0, 1, 0, 0, a0, a1, a2, a3];
        let sum = checksum::of(&extension);
        let [_, _, high, low, ..] = &mut extension;
        [*high, *low] = sum.to_be_bytes();
        let places = self.tail.iter_mut().skip(padding);
        places.zip(extension).for_each(|(place, octet)| *place = octet);
        self.tail_len = padding + EXTENSION;
    }

    pub(super) fn payload(&self) -> Payload<'_> {
        Payload([&self.head, self.quoted, self.tail.get(..self.tail_len).unwrap_or_default()])
    }
}

/// The header of an error message: internetwork control (RFC 1812, 4.3.2.5), and never in
/// fragments.
pub(super) fn header(source: u32, destination: u32, ttl: u8, octets: usize) -> Head {
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (source.to_be_bytes(), destination.to_be_bytes());
    let fixed = [0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, ttl, ipv4::ICMP, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let mut head = Head::of(&fixed);
    head.seal(octets);
    head
}

/// Whether an ICMP message of this type asks something, or answers: about others, none that is
/// not known included, no error is sent.
pub(super) const fn is_query(kind: u8) -> bool {
    // Echo, router discovery, timestamp, information, address mask; extended echo (RFC 8335).
    matches!(kind, 0 | 8..=10 | 13..=18 | 42 | 43)
}
