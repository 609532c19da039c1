//! The description of a tunnel, from which outer headers are made.

use core::net::SocketAddrV4;

use crate::slot::DscpModel;
use crate::wire::{checksum, ethernet};

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
}

impl LinkLayer {
    /// Octets of the header.
    pub const fn octets(&self) -> usize {
        match self {
            Self::Ip => 0,
            Self::Ethernet { tag: None, .. } => ethernet::HEADER,
            Self::Ethernet { tag: Some(_), .. } => ethernet::TAGGED_HEADER,
        }
    }
}

/// The two ends of a tunnel over IPv4 and UDP, and how its outer header is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// What is in front of the IP header.
    pub link_layer: LinkLayer,
    /// This end.
    pub source: SocketAddrV4,
    /// The other end; on a multipoint link the one that packets without a destination
    /// of their own go to.
    pub destination: SocketAddrV4,
    /// Time to live of the outer header.
    pub ttl: u8,
    /// What happens to the DSCP.
    pub dscp_model: DscpModel,
    /// The outer DSCP of a pipe, 6 bits.
    pub dscp: u8,
    /// Whether the inner ECN field is copied out (RFC 6040, normal mode), or the outer
    /// one is Not-ECT (compatibility mode).
    pub ecn: bool,
    /// Whether a code option may name the destination of each packet.
    pub multipoint: bool,
}

impl Tunnel {
    /// Octets of IPv4 and UDP.
    pub const HEADER: usize = 28;

    /// A point-to-point tunnel: time to live 64, pipe with DSCP 0, ECN copied.
    pub const fn new(link_layer: LinkLayer, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            link_layer,
            source,
            destination,
            ttl: 64,
            dscp_model: DscpModel::Pipe,
            dscp: 0,
            ecn: true,
            multipoint: false,
        }
    }

    /// Octets of the whole outer header.
    pub const fn octets(&self) -> usize {
        self.link_layer.octets() + Self::HEADER
    }

    /// The bits of a packet's traffic class that go into the outer header.
    pub(crate) const fn class_mask(&self) -> u8 {
        let ecn = if self.ecn { 0b11 } else { 0 };
        match self.dscp_model {
            DscpModel::Pipe => ecn,
            DscpModel::Uniform => 0xfc | ecn,
        }
    }

    /// Writes the header into the front of `to`, with lengths 0 and, in the place of
    /// the IP checksum, the sum of what stands in the IP header. Returns its length.
    ///
    /// DF is set: a tunnel's packets are not fragmented, and without fragments the
    /// identification has no meaning and stays 0 (RFC 6864).
    pub(crate) fn write(&self, to: &mut [u8]) -> Option<usize> {
        let (link, rest) = to.split_at_mut_checked(self.link_layer.octets())?;
        if let LinkLayer::Ethernet { destination, source, tag } = self.link_layer {
            let tag = tag.map(|tag| (ethernet::VLAN, tag));
            let tag = tag.map(|(tpid, tag)| (tpid.to_be_bytes(), tag.to_be_bytes()));
            let ether_type = ethernet::IPV4.to_be_bytes();
            let tag = tag.iter().flat_map(|(tpid, tag)| tpid.iter().chain(tag));
            let fields = destination.iter().chain(&source).chain(tag).chain(&ether_type);
            link.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        }
        let header = rest.first_chunk_mut::<{ Self::HEADER }>()?;
        let class = match self.dscp_model {
            DscpModel::Pipe => self.dscp << 2,
            DscpModel::Uniform => 0,
        };
        let fixed = [0x45, class, 0, 0, 0, 0, 0x40, 0, self.ttl, 17, 0, 0];
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()];
        let fields = fixed.iter().chain(&source).chain(&destination).chain(ports.as_flattened());
        header.iter_mut().zip(fields.chain(&[0; 4])).for_each(|(to, from)| *to = *from);
        let sum = checksum::sum(header.first_chunk::<20>()?);
        crate::wire::put::<10, 2, { Self::HEADER }>(header, sum.to_be_bytes());
        Some(self.octets())
    }
}
