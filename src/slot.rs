//! A packet on its way through the blocks: the slot of a vector, and what travels
//! with the packet.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::exit::Exit;
use crate::id::{InterfaceId, LinkId, OptionId, SliceId};
use crate::packet::Packet;

/// A place for one packet of a vector.
#[derive(Debug)]
pub struct Slot<B> {
    /// The packet, until a queue or the slow path takes it.
    pub packet: Option<Packet<B>>,
    /// What the receiver knows of it.
    pub meta: RxMeta,
    /// Why it was not queued, and who answers for it.
    pub exit: Option<(SliceId, Exit)>,
}

impl<B> Slot<B> {
    /// No packet.
    pub const EMPTY: Self = Self { packet: None, meta: RxMeta::NEW, exit: None };

    /// A packet as `meta` describes it.
    #[inline(always)]
    pub fn new(packet: Packet<B>, meta: RxMeta) -> Self {
        Self { packet: Some(packet), meta, exit: None }
    }
}

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<B> From<Packet<B>> for Slot<B> {
    /// An Ethernet frame from the first interface.
    #[inline(always)]
    fn from(packet: Packet<B>) -> Self {
        Self::new(packet, RxMeta::NEW)
    }
}

/// Receive metadata: what the receiver knows of a packet that its octets do not say.
///
/// A network card or a packet socket fills in `interface` and `layer`; a UDP socket,
/// whose kernel took the outer header off, says in `tunnel` what it was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RxMeta {
    /// Where it was received.
    pub interface: InterfaceId,
    /// What its first octet is.
    pub layer: Layer,
    /// The outer header, for [`Layer::Stripped`] only.
    pub tunnel: Tunnelled,
    /// Whose it is, for [`Layer::Injected`] only.
    pub admission: Admission,
}

impl RxMeta {
    /// An Ethernet frame from the first interface.
    pub const NEW: Self = Self {
        interface: InterfaceId(0),
        layer: Layer::Ethernet,
        tunnel: Tunnelled::NONE,
        admission: Admission::NONE,
    };

    /// The same for a packet that begins with its IP header (a TUN device).
    pub const IP: Self = Self { layer: Layer::Ip, ..Self::NEW };
}

/// The outermost header that a received packet still has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Layer {
    /// Ethernet, without preamble and frame check sequence.
    #[default]
    Ethernet,
    /// IPv4 or IPv6.
    Ip,
    /// None: a socket took the outer header off; `RxMeta::tunnel` holds it.
    Stripped,
    /// None: a slice manager sent it, as `RxMeta::admission` says.
    Injected,
}

/// The addresses and the traffic class of an outer header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tunnelled {
    /// The sender.
    pub source: Endpoint,
    /// This node.
    pub destination: Endpoint,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
}

impl Tunnelled {
    /// No outer header.
    pub const NONE: Self = Self { source: Endpoint::NONE, destination: Endpoint::NONE, traffic_class: 0 };
}

/// The slice, link and code option of a packet.
///
/// Eight octets, aligned: it moves as one word.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(align(8))]
pub struct Admission {
    /// The slice that owns the packet.
    pub slice: SliceId,
    /// The logical link it came in on.
    pub link: LinkId,
    /// The code option that slice runs. Kept in the same table entry as the slice,
    /// so that a packet costs one table access and not two.
    pub option: OptionId,
    /// How the outer DSCP reaches the packet.
    pub dscp: DscpModel,
}

impl Admission {
    /// No slice.
    pub const NONE: Self =
        Self { slice: SliceId::SUBSTRATE, link: LinkId(0), option: OptionId(0), dscp: DscpModel::Pipe };
}

/// What a tunnel does to the DSCP (RFC 2983, sections 3.1 and 3.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DscpModel {
    /// The tunnel is a link: inner DSCP stays, the outer one is the tunnel's own.
    #[default]
    Pipe,
    /// The tunnel is transparent: the inner DSCP goes out, the outer one comes in.
    Uniform,
}

/// What a code option's `format` says of the packet it has rewritten; the outer header
/// is made from it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outgoing {
    /// Its DSCP and ECN, from which the outer header's are made; 0 for protocols that
    /// have none.
    pub traffic_class: u8,
    /// Where to send it, on a link that was opened as multipoint; elsewhere the packet
    /// is dropped as [`DropReason::Destination`](crate::exit::DropReason::Destination).
    pub destination: Option<Endpoint>,
}

/// An address and a UDP port. IPv4 addresses stand as IPv4-mapped IPv6 addresses
/// (RFC 4291, 2.5.5.2).
///
/// Three plain words, so that it moves in registers; see [`SocketAddr`] for the
/// form that people read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    high: u64,
    low: u64,
    port: u16,
    spare: Spare,
}

/// Fills what would be padding. A `Result` of something with an endpoint keeps its
/// tag here: elsewhere it would stand in the word of an [`Admission`], which then had
/// to be taken apart for each packet.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u32)]
enum Spare {
    #[default]
    Zero = 0,
}

impl Endpoint {
    /// The unspecified address and port 0: no endpoint.
    pub const NONE: Self = Self { high: 0, low: 0, port: 0, spare: Spare::Zero };

    const MAPPED: u64 = 0xffff << 32;

    /// `port` of the IPv4 address with these 32 bits, the first octet on top.
    #[inline(always)]
    pub const fn v4(address: u32, port: u16) -> Self {
        Self { high: 0, low: Self::MAPPED | address as u64, port, spare: Spare::Zero }
    }

    /// The 32 bits of an IPv4 address, the first octet on top.
    #[inline(always)]
    pub const fn as_v4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == Self::MAPPED >> 32 { Some(self.low as u32) } else { None }
    }

    /// `port` of the IPv6 address with these 128 bits, the first octet on top.
    pub const fn v6(address: u128, port: u16) -> Self {
        Self { high: (address >> 64) as u64, low: address as u64, port, spare: Spare::Zero }
    }

    /// The 128 bits of the address, the first octet on top; an IPv4 address is mapped.
    pub const fn bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// Another port of the same address.
    pub const fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The UDP port.
    pub const fn port(self) -> u16 {
        self.port
    }

    /// The address.
    pub fn address(self) -> IpAddr {
        match self.as_v4() {
            Some(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
            None => IpAddr::V6(Ipv6Addr::from_bits(self.bits())),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(at: SocketAddr) -> Self {
        match at {
            SocketAddr::V4(at) => Self::v4(at.ip().to_bits(), at.port()),
            SocketAddr::V6(at) => Self::v6(at.ip().to_bits(), at.port()),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(at: Endpoint) -> Self {
        Self::new(at.address(), at.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_socket_addresses() {
        for text in ["10.0.0.1:4789", "[2001:db8::1]:1", "[::]:0", "0.0.0.0:0"] {
            let at: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Endpoint::from(at)), at);
        }
        assert_eq!(Endpoint::v4(0x0a00_0001, 7), "10.0.0.1:7".parse::<SocketAddr>().unwrap().into());
        assert_eq!(Endpoint::NONE.as_v4(), None);
    }

    #[test]
    fn an_admission_is_one_word() {
        assert_eq!(size_of::<Admission>(), 8);
        assert_eq!(Admission::NONE, Admission::default());
        assert_eq!(RxMeta::NEW, RxMeta::default());
    }
}
