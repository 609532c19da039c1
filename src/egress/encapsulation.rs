//! What stands between the outer IP header and the slice's packet.

use crate::egress::EgressError;
use crate::wire::transport::UDP_HEADER;
use crate::wire::{ethernet, geneve, gre, vxlan};

/// The header of an Ethernet frame inside a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InnerEthernet {
    /// The next hop's address.
    pub destination: [u8; 6],
    /// This end's address.
    pub source: [u8; 6],
    /// EtherType of the slice's packets.
    pub ether_type: u16,
}

impl InnerEthernet {
    /// A frame with an IPv4 packet.
    pub const fn ipv4(destination: [u8; 6], source: [u8; 6]) -> Self {
        Self { destination, source, ether_type: ethernet::IPV4 }
    }

    fn octets(&self) -> [u8; ethernet::HEADER] {
        let mut header = [0; ethernet::HEADER];
        let ether_type = self.ether_type.to_be_bytes();
        let fields = self.destination.iter().chain(&self.source).chain(&ether_type);
        header.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        header
    }
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Payload {
    /// The slice's packets, of this EtherType.
    Packets(u16),
    /// Ethernet frames with this header; without one, what the slice sends are whole frames:
    /// for the answers of its slow path to ARP.
    Frames(Option<InnerEthernet>),
}

impl Payload {
    /// IPv4 packets.
    pub const IPV4: Self = Self::Packets(ethernet::IPV4);

    const fn protocol(self) -> u16 {
        match self {
            Self::Packets(ether_type) => ether_type,
            Self::Frames(_) => gre::ETHERNET,
        }
    }

    const fn frame(self) -> Option<InnerEthernet> {
        match self {
            Self::Packets(_) => None,
            Self::Frames(header) => header,
        }
    }
}

/// How a tunnel wraps the slice's packets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encapsulation {
    /// UDP, and the packet in it.
    #[default]
    Udp,
    /// VXLAN (RFC 7348). The UDP source port is the packet's flow hash.
    Vxlan {
        /// The network, 24 bits.
        vni: u32,
        /// The frame's header; without one, what the slice sends are whole frames.
        frame: Option<InnerEthernet>,
    },
    /// Geneve (RFC 8926) without options. The UDP source port is the packet's flow hash.
    Geneve {
        /// The network, 24 bits.
        vni: u32,
        /// What it carries.
        payload: Payload,
    },
    /// GRE (RFC 2784, RFC 2890). Ports of the tunnel's ends have no meaning.
    Gre {
        /// The key, if there is one.
        key: Option<u32>,
        /// Whether there is a checksum, over all of the packet.
        checksum: bool,
        /// What it carries.
        payload: Payload,
    },
}

impl Encapsulation {
    /// Octets behind the outer IP header.
    pub const fn octets(&self) -> usize {
        let (own, frame) = match self {
            Self::Udp => (UDP_HEADER, None),
            Self::Vxlan { frame, .. } => (UDP_HEADER + vxlan::HEADER, *frame),
            Self::Geneve { payload, .. } => (UDP_HEADER + geneve::HEADER, payload.frame()),
            Self::Gre { key, checksum, payload } => {
                let fields = *checksum as usize + key.is_some() as usize;
                (gre::HEADER + 4 * fields, payload.frame())
            }
        };
        own + if frame.is_some() { ethernet::HEADER } else { 0 }
    }

    pub(super) const fn is_gre(&self) -> bool {
        matches!(self, Self::Gre { .. })
    }

    /// Whether the UDP source port tells flows apart.
    pub(super) const fn spreads(&self) -> bool {
        matches!(self, Self::Vxlan { .. } | Self::Geneve { .. })
    }

    pub(super) fn check(&self) -> Result<(), EgressError> {
        match self {
            Self::Vxlan { vni, .. } | Self::Geneve { vni, .. } if *vni > vxlan::MAX_VNI => {
                Err(EgressError::Network(*vni))
            }
            _ => Ok(()),
        }
    }

    /// Hands all octets behind the IP header to `put`, in order; a UDP header has no lengths
    /// and no checksums. `None` as soon as `put` says so.
    pub(super) fn write(&self, ports: [u16; 2], mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
        if !self.is_gre() {
            put(ports.map(u16::to_be_bytes).as_flattened())?;
            put(&[0; 4])?;
        }
        let frame = match self {
            Self::Udp => None,
            Self::Vxlan { vni, frame } => {
                put(&vxlan::header(*vni))?;
                *frame
            }
            Self::Geneve { vni, payload } => {
                put(&geneve::header(*vni, payload.protocol()))?;
                payload.frame()
            }
            Self::Gre { key, checksum, payload } => {
                put(&gre::flags(*checksum, key.is_some()).to_be_bytes())?;
                put(&payload.protocol().to_be_bytes())?;
                if *checksum {
                    put(&[0; 4])?;
                }
                if let Some(key) = key {
                    put(&key.to_be_bytes())?;
                }
                payload.frame()
            }
        };
        frame.map_or(Some(()), |frame| put(&frame.octets()))
    }
}
