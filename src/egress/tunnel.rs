//! The description of a tunnel, from which outer headers are made.

use core::net::{IpAddr, SocketAddr};

use crate::egress::{EgressError, Encapsulation};
use crate::slot::DscpModel;
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// What goes in front of the outer IP header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LinkLayer {
    /// Nothing: a TUN device, or a socket that reads the header and takes it off.
    #[default]
    Ip,
    /// An Ethernet header, with an 802.1Q tag if there is one.
    Ethernet {
        /// The next hop's address.
        destination: [u8; 6],
        /// The interface's own.
        source: [u8; 6],
        /// Tag control information: priority 3 bits, drop eligible 1, VLAN 12.
        tag: Option<u16>,
    },
    /// An Ethernet header with a service tag and an 802.1Q tag behind it (802.1ad, QinQ).
    DoubleTagged {
        /// The next hop's address.
        destination: [u8; 6],
        /// The interface's own.
        source: [u8; 6],
        /// Tag control information of the service tag.
        service_tag: u16,
        /// Tag control information of the tag behind it.
        tag: u16,
    },
}

impl LinkLayer {
    /// Octets of the header.
    pub const fn octets(&self) -> usize {
        match self {
            Self::Ip => 0,
            Self::Ethernet { tag: None, .. } => ethernet::HEADER,
            Self::Ethernet { tag: Some(_), .. } => ethernet::TAGGED_HEADER,
            Self::DoubleTagged { .. } => ethernet::DOUBLE_TAGGED_HEADER,
        }
    }

    /// Hands the header of a packet of `ether_type` to `put`, in order.
    fn write(&self, ether_type: u16, mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
        match self {
            Self::Ip => return Some(()),
            Self::Ethernet { destination, source, tag } => {
                put([*destination, *source].as_flattened())?;
                if let Some(tag) = tag {
                    put([ethernet::VLAN, *tag].map(u16::to_be_bytes).as_flattened())?;
                }
            }
            Self::DoubleTagged { destination, source, service_tag, tag } => {
                put([*destination, *source].as_flattened())?;
                let tags = [ethernet::SERVICE_VLAN, *service_tag, ethernet::VLAN, *tag];
                put(tags.map(u16::to_be_bytes).as_flattened())?;
            }
        }
        put(&ether_type.to_be_bytes())
    }
}

/// The two ends of a tunnel, and how its outer header is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// What is in front of the IP header.
    pub link_layer: LinkLayer,
    /// This end. The port is that of plain UDP: of VXLAN and Geneve it is made from each
    /// packet's flow hash.
    pub source: SocketAddr,
    /// The other end, of the same IP version; on a multipoint link the one that packets
    /// without a destination of their own go to.
    pub destination: SocketAddr,
    /// What is between the outer IP header and the packet.
    pub encapsulation: Encapsulation,
    /// Time to live of the outer header, or its hop limit.
    pub ttl: u8,
    /// What happens to the DSCP.
    pub dscp_model: DscpModel,
    /// The outer DSCP of a pipe, 6 bits.
    pub dscp: u8,
    /// Whether the inner ECN field is copied out (RFC 6040, normal mode), or the outer
    /// one is Not-ECT (compatibility mode).
    pub ecn: bool,
    /// Whether a code option may name the destination of each packet; plain UDP only.
    pub multipoint: bool,
    /// Whether UDP over IPv6 goes without a checksum, which the other end must have been told
    /// (RFC 6935, RFC 6936). Over IPv4 it always does.
    pub zero_checksum: bool,
}

impl Tunnel {
    /// Octets of IPv4 and UDP.
    pub const HEADER: usize = 28;

    /// A point-to-point tunnel of plain UDP: time to live 64, pipe with DSCP 0, ECN copied;
    /// over IPv6 with checksums.
    pub fn new(
        link_layer: LinkLayer, source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>,
    ) -> Self {
        Self {
            link_layer,
            source: source.into(),
            destination: destination.into(),
            encapsulation: Encapsulation::Udp,
            ttl: 64,
            dscp_model: DscpModel::Pipe,
            dscp: 0,
            ecn: true,
            multipoint: false,
            zero_checksum: false,
        }
    }

    /// The same tunnel with another encapsulation.
    pub fn with(self, encapsulation: Encapsulation) -> Self {
        Self { encapsulation, ..self }
    }

    /// Octets of the whole outer header.
    pub const fn octets(&self) -> usize {
        self.link_layer.octets() + self.ip_header() + self.encapsulation.octets()
    }

    /// Whether its header is too long for a record, or no plain UDP over IPv4, so that it
    /// takes a [`Template`](crate::egress::Template).
    pub const fn needs_template(&self) -> bool {
        let plain = self.source.is_ipv4() && matches!(self.encapsulation, Encapsulation::Udp);
        !plain || self.octets() > crate::egress::Egress::HEADER
    }

    /// Octets of the outer IP header.
    pub(super) const fn ip_header(&self) -> usize {
        if self.source.is_ipv4() { ipv4::HEADER } else { ipv6::HEADER }
    }

    /// The bits of a packet's traffic class that go into the outer header.
    pub(crate) const fn class_mask(&self) -> u8 {
        let ecn = if self.ecn { 0b11 } else { 0 };
        match self.dscp_model {
            DscpModel::Pipe => ecn,
            DscpModel::Uniform => 0xfc | ecn,
        }
    }

    /// The traffic class of a packet whose own has no part in it.
    const fn own_class(&self) -> u8 {
        match self.dscp_model {
            DscpModel::Pipe => self.dscp << 2,
            DscpModel::Uniform => 0,
        }
    }

    /// Whether there is such a tunnel.
    pub(super) fn check(&self) -> Result<(), EgressError> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(EgressError::Versions);
        }
        if self.multipoint && self.encapsulation != Encapsulation::Udp {
            return Err(EgressError::Multipoint);
        }
        self.encapsulation.check()
    }

    /// Writes the header into the front of `to`, with lengths 0 and, in the place of
    /// the IPv4 checksum, the sum of what stands in the IPv4 header. Returns its length.
    ///
    /// DF is set: a tunnel's packets are not fragmented, and without fragments the
    /// identification has no meaning and stays 0 (RFC 6864).
    pub(crate) fn write(&self, to: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        let mut put = |octets: &[u8]| {
            to.get_mut(at..)?.get_mut(..octets.len())?.copy_from_slice(octets);
            at += octets.len();
            Some(())
        };
        let protocol = if self.encapsulation.is_gre() { ipv4::GRE } else { ipv4::UDP };
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.link_layer.write(ethernet::IPV4, &mut put)?;
                let mut header = [0x45, self.own_class(), 0, 0, 0, 0, 0x40, 0, self.ttl, protocol]
                    .into_iter()
                    .chain([0; 2])
                    .chain(source.octets())
                    .chain(destination.octets());
                let mut header =
                    core::array::from_fn::<_, { ipv4::HEADER }, _>(|_| header.next().unwrap_or(0));
                let sum = checksum::sum(&header);
                crate::wire::put::<10, 2, { ipv4::HEADER }>(&mut header, sum.to_be_bytes());
                put(&header)?;
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.link_layer.write(ethernet::IPV6, &mut put)?;
                put(&(6 << 28 | u32::from(self.own_class()) << 20).to_be_bytes())?;
                put(&[0, 0, protocol, self.ttl])?;
                put([source.octets(), destination.octets()].as_flattened())?;
            }
            _ => return None,
        }
        // The flow hash goes in the place of a source port of 0.
        let source = if self.encapsulation.spreads() { 0 } else { self.source.port() };
        self.encapsulation.write([source, self.destination.port()], &mut put)?;
        Some(at)
    }
}
