//! Links by tunnel: UDP, VXLAN, Geneve and GRE over IPv4 and IPv6.
//!
//! ```
//! use fastpath::decap::{Access, PortEntry, TunnelConfig, TunnelEntry, TunnelKind, Tunnels, UdpPorts};
//! use fastpath::id::{LinkId, OptionId, SliceId};
//! use fastpath::slot::Admission;
//!
//! let mut access = Access {
//!     ports: UdpPorts::new([PortEntry::EMPTY; 16]),
//!     tunnels: Tunnels::new([TunnelEntry::EMPTY; 16]),
//! };
//! // VXLAN network 7 is link 1 of slice 3; its hosts know this node as 02:00:00:00:00:01.
//! let admission = Admission { slice: SliceId(3), link: LinkId(1), option: OptionId(0), ..Admission::NONE };
//! let config = TunnelConfig::new(admission).with_mac([2, 0, 0, 0, 0, 1]);
//! access.tunnels.open([10, 0, 0, 1].into(), TunnelKind::vxlan(7), config)?;
//! # Ok::<(), fastpath::decap::TunnelError>(())
//! ```

use core::net::IpAddr;

use crate::decap::frame;
use crate::decap::outer::Outer;
use crate::decap::probing::{self, Probed};
use crate::decap::{Decap, Inner, UdpChecksum};
use crate::exit::DropReason::{self, Checksum, Malformed, OuterProtocol, Truncated, UnknownSlice};
use crate::id::SliceId;
use crate::slot::{Admission, Endpoint, Layer, RxMeta};
use crate::store::Store;
use crate::wire::ethernet;
use crate::wire::geneve::{self, Geneve};
use crate::wire::gre::{self, Gre};
use crate::wire::ipv4::{GRE, UDP};
use crate::wire::transport::{self, UDP_HEADER, Udp};
use crate::wire::vxlan;

/// What tells the tunnels of one address apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TunnelKind {
    /// UDP, and the slice's packet in it.
    Udp {
        /// The port of this end.
        port: u16,
    },
    /// VXLAN (RFC 7348): Ethernet frames.
    Vxlan {
        /// The port of this end, [`vxlan::PORT`] by default.
        port: u16,
        /// The network, 24 bits.
        vni: u32,
    },
    /// Geneve (RFC 8926): packets or Ethernet frames.
    Geneve {
        /// The port of this end, [`geneve::PORT`] by default.
        port: u16,
        /// The network, 24 bits.
        vni: u32,
    },
    /// GRE (RFC 2784, RFC 2890): packets or Ethernet frames.
    Gre {
        /// The key; `None` for packets without one.
        key: Option<u32>,
    },
}

impl TunnelKind {
    /// VXLAN network `vni` at the assigned port.
    pub const fn vxlan(vni: u32) -> Self {
        Self::Vxlan { port: vxlan::PORT, vni }
    }

    /// Geneve network `vni` at the assigned port.
    pub const fn geneve(vni: u32) -> Self {
        Self::Geneve { port: geneve::PORT, vni }
    }

    /// As part of a key; the port is elsewhere.
    const fn id(self) -> u64 {
        let (form, number) = match self {
            Self::Udp { .. } => (PLAIN, 0),
            Self::Vxlan { vni, .. } => (NETWORK, vni),
            Self::Geneve { vni, .. } => (NETWORK | IS_GENEVE, vni),
            Self::Gre { key: None } => (KEYLESS, 0),
            Self::Gre { key: Some(key) } => (KEYED, key),
        };
        form | number as u64
    }

    /// The port of this end; 0 for GRE.
    pub const fn port(self) -> u16 {
        match self {
            Self::Udp { port } | Self::Vxlan { port, .. } | Self::Geneve { port, .. } => port,
            Self::Gre { .. } => 0,
        }
    }

    /// What `id` and a port stand for.
    const fn from_id(id: u64, port: u16) -> Self {
        let number = id as u32;
        match id & FORM {
            PLAIN => Self::Udp { port },
            NETWORK if id & IS_GENEVE != 0 => Self::Geneve { port, vni: number },
            NETWORK => Self::Vxlan { port, vni: number },
            KEYED => Self::Gre { key: Some(number) },
            _ => Self::Gre { key: None },
        }
    }
}

/// Forms of an id. Never 0, which is an empty entry's.
const PLAIN: u64 = 1 << 60;
const NETWORK: u64 = 2 << 60;
const KEYED: u64 = 3 << 60;
const KEYLESS: u64 = 4 << 60;
const FORM: u64 = 7 << 60;

/// VXLAN and Geneve have their networks in the same place, so that both are found by one
/// id: this bit has no part in the hash.
const IS_GENEVE: u64 = 1 << 59;

/// What a tunnel admits to, and what it takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunnelConfig {
    /// The slice, link and code option.
    pub admission: Admission,
    /// EtherType of the packets that go to the code option, IPv4 by default. Of a tunnel of
    /// Ethernet frames all others are for the slow path, of one of packets they are refused.
    /// UDP says nothing of what it carries, and is not asked.
    pub ether_type: u16,
    /// This end's Ethernet address inside the tunnel; zeroes where no frames are taken.
    pub mac: [u8; 6],
    /// Whether inner frames may have tags, which are passed over. RFC 7348, 6.1, has them
    /// dropped unless configured otherwise.
    pub inner_tags: bool,
    /// What is asked of the UDP checksum over IPv4. Over IPv6 one other than 0 is always
    /// verified.
    pub udp_checksum: UdpChecksum,
    /// Whether UDP checksums of 0 are taken over IPv6: for this tunnel only (RFC 6935,
    /// RFC 6936).
    pub zero_checksum: bool,
}

impl TunnelConfig {
    /// Admits IPv4 to `admission`, skips UDP checksums over IPv4, and takes neither frames
    /// nor UDP checksums of 0 over IPv6.
    pub const fn new(admission: Admission) -> Self {
        Self {
            admission,
            ether_type: ethernet::IPV4,
            mac: [0; 6],
            inner_tags: false,
            udp_checksum: UdpChecksum::Skip,
            zero_checksum: false,
        }
    }

    /// The same for a tunnel of Ethernet frames, where this end has the address `mac`.
    pub const fn with_mac(self, mac: [u8; 6]) -> Self {
        Self { mac, ..self }
    }

    const fn takes_frames(&self) -> bool {
        !matches!(self.mac, [0, 0, 0, 0, 0, 0])
    }
}

/// Why a tunnel was not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The tunnel is another link's.
    #[error("{kind:?} at {address} is open already, for slice {slice}: close it first")]
    Taken {
        /// The address asked for.
        address: IpAddr,
        /// The tunnel asked for.
        kind: TunnelKind,
        /// Whose it is.
        slice: SliceId,
    },
    /// The UDP port has tunnels of another kind.
    #[error("port {port} of {address} has {kind:?}: a port is of one kind")]
    Mixed {
        /// The address asked for.
        address: IpAddr,
        /// The port asked for.
        port: u16,
        /// A tunnel that it has.
        kind: TunnelKind,
    },
    /// All entries but one hold a tunnel; one must stay free.
    #[error("all of the {entries} entries are taken: make the table with more")]
    Full {
        /// Entries of the table.
        entries: usize,
    },
    /// The substrate has no packets of its own.
    #[error("slice 0 is the substrate's account: a link belongs to a slice from 1 on")]
    Substrate,
    /// A value that no packet has, or that cannot be: a network of more than 24 bits, UDP
    /// port 0, VXLAN without a unicast address for this end's frames.
    #[error("{0:?}: the network has more than 24 bits, the port is 0, or there is no unicast MAC address")]
    Value(TunnelKind),
}

/// An entry of [`Tunnels`]: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct TunnelEntry {
    /// Address and port of this end.
    at: Endpoint,
    /// 0 for no tunnel.
    id: u64,
    config: TunnelConfig,
}

impl TunnelEntry {
    /// No tunnel.
    pub const EMPTY: Self = Self { at: Endpoint::NONE, id: 0, config: TunnelConfig::new(Admission::NONE) };

    fn kind(&self) -> TunnelKind {
        TunnelKind::from_id(self.id, self.at.port())
    }

    /// Whose packet `payload` holds, which begins `at` octets into the frame, and where.
    fn open(&self, outer: Sender, at: usize, payload: &[u8]) -> Result<Inner, DropReason> {
        let config = &self.config;
        let (protocol, header) = match self.kind() {
            TunnelKind::Udp { .. } => (config.ether_type, 0),
            TunnelKind::Vxlan { .. } => {
                vxlan::read(payload)?;
                (gre::ETHERNET, vxlan::HEADER)
            }
            TunnelKind::Geneve { .. } => {
                let Geneve { protocol, header } = Geneve::read(payload)?;
                (protocol, header)
            }
            TunnelKind::Gre { .. } => (outer.protocol, 0),
        };
        let (option, frame_header) = if protocol == gre::ETHERNET && config.takes_frames() {
            frame::take(config, payload.get(header..).ok_or(Truncated)?)?
        } else if protocol == config.ether_type {
            (config.admission.option, 0)
        } else {
            return Err(OuterProtocol);
        };
        let offset = header + frame_header;
        let len = payload.len().checked_sub(offset).ok_or(Truncated)?;
        Ok(Inner {
            admission: Admission { option, ..config.admission },
            offset: u16::try_from(at + offset).map_err(|_| Malformed)?,
            len: u16::try_from(len).map_err(|_| Malformed)?,
            source: outer.source,
            traffic_class: outer.traffic_class,
        })
    }

    /// Whether the UDP checksum of what came is to be accepted.
    fn accepts(&self, outer: &Outer<'_>, checksum: u16) -> Result<(), DropReason> {
        let v6 = outer.source.as_v4().is_none();
        if v6 && checksum == 0 {
            return if self.config.zero_checksum { Ok(()) } else { Err(Checksum) };
        }
        if v6 || self.config.udp_checksum == UdpChecksum::Verify {
            return transport::verify_udp(outer.payload, outer.pseudo());
        }
        Ok(())
    }
}

/// What the outer header says of who sent it and what it carries.
#[derive(Clone, Copy)]
struct Sender {
    source: Endpoint,
    traffic_class: u8,
    /// GRE's protocol type.
    protocol: u16,
}

impl Probed for TunnelEntry {
    const EMPTY: Self = Self::EMPTY;

    fn is_empty(&self) -> bool {
        self.id == 0
    }
    fn hash(&self) -> u64 {
        hash(self.at, self.id)
    }
}

/// Mixes all words of a key: those of neighbouring tunnels differ in few bits.
fn hash(at: Endpoint, id: u64) -> u64 {
    let bits = at.bits();
    let mut mixed = 0u64;
    for word in [(bits >> 64) as u64, bits as u64, id & !IS_GENEVE ^ u64::from(at.port()) << 32] {
        mixed = (mixed ^ mixed >> 32 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed
}

/// Slices by tunnel: Ethernet with an 802.1Q tag, a service tag, both or none, or nothing;
/// IPv4 or IPv6; then UDP, VXLAN, Geneve or GRE.
///
/// A hash table like [`UdpPorts`](crate::decap::UdpPorts), 64 octets an entry. What a packet
/// says is checked as there, and over IPv6:
///
/// - Hop-by-hop and destination options are passed over: two headers of up to eight options
///   that a node may overlook which does not know them. Fragments are refused.
/// - UDP checksums are verified, and 0 is refused unless
///   [`zero_checksum`](TunnelConfig::zero_checksum) is set.
///
/// Of Ethernet frames, those to this end's address that hold what the code option takes are
/// the code option's. Others that are for this end go to the slow path whole
/// ([`OptionId::FRAME`](crate::id::OptionId::FRAME)): ARP, neighbour discovery, whatever is sent to a group.
///
/// Sequence numbers of GRE are passed over: what is admitted does not depend on what came
/// before.
#[derive(Clone, Debug)]
pub struct Tunnels<S> {
    /// Invariant: that of [`UdpPorts`](crate::decap::UdpPorts).
    entries: S,
    shift: u32,
    probes: usize,
    open: usize,
}

impl<S: Store<Item = TunnelEntry>> Tunnels<S> {
    /// No tunnel open.
    pub fn new(mut entries: S) -> Self {
        entries.items_mut().fill(TunnelEntry::EMPTY);
        let shift = probing::shift(entries.items().len());
        Self { entries, shift, probes: 0, open: 0 }
    }

    /// Opens a tunnel at this node's `address` for a link. Reads the whole table, to see
    /// that the port has no tunnels of another kind.
    ///
    /// # Errors
    ///
    /// [`TunnelError`]; the table is unchanged.
    pub fn open(
        &mut self, address: IpAddr, kind: TunnelKind, config: TunnelConfig,
    ) -> Result<(), TunnelError> {
        if config.admission.slice == SliceId::SUBSTRATE {
            return Err(TunnelError::Substrate);
        }
        let sound = match kind {
            TunnelKind::Udp { port } => port != 0,
            TunnelKind::Vxlan { port, vni } => port != 0 && vni <= vxlan::MAX_VNI && config.takes_frames(),
            TunnelKind::Geneve { port, vni } => port != 0 && vni <= vxlan::MAX_VNI,
            TunnelKind::Gre { .. } => true,
        };
        if !sound || ethernet::is_group(&config.mac) {
            return Err(TunnelError::Value(kind));
        }
        let (at, id) = key(address, kind);
        for entry in self.entries.items().iter().filter(|entry| entry.id != 0 && entry.at == at) {
            if entry.id == id {
                return Err(TunnelError::Taken { address, kind, slice: entry.config.admission.slice });
            }
            let (has, other) = (entry.kind(), core::mem::discriminant(&kind));
            if core::mem::discriminant(&has) != other {
                return Err(TunnelError::Mixed { address, port: kind.port(), kind: has });
            }
        }
        let entries = self.entries.items_mut();
        let full = TunnelError::Full { entries: entries.len() };
        let entry = TunnelEntry { at, id, config };
        let probes = probing::insert(entries, self.shift, self.open, entry).ok_or(full)?;
        self.probes = self.probes.max(probes);
        self.open += 1;
        Ok(())
    }

    /// Closes a tunnel and returns what it admitted to.
    pub fn close(&mut self, address: IpAddr, kind: TunnelKind) -> Option<TunnelConfig> {
        let (at, id) = key(address, kind);
        let hole = self.entries.items().iter().position(|entry| entry.id == id && entry.at == at)?;
        let found = self.entries.items().get(hole)?.config;
        self.open -= 1;
        probing::remove(self.entries.items_mut(), self.shift, hole)?;
        Some(found)
    }

    /// Open tunnels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, TunnelKind, TunnelConfig)> {
        let open = self.entries.items().iter().filter(|entry| entry.id != 0);
        open.map(|entry| (entry.at.address(), entry.kind(), entry.config))
    }

    /// A tunnel that is open at a UDP port. Reads the whole table, if there is any.
    pub(super) fn at_port(&self, address: IpAddr, port: u16) -> Option<TunnelKind> {
        let mut open = self.iter().take(if self.open == 0 { 0 } else { usize::MAX });
        open.find(|(at, kind, _)| *at == address && kind.port() == port && port != 0).map(|(_, kind, _)| kind)
    }

    /// Entries that the longest look-up reads.
    pub fn longest_probe(&self) -> usize {
        self.probes
    }

    /// The tunnel of `id`, or of the same with [`IS_GENEVE`].
    fn find(&self, at: Endpoint, id: u64) -> Option<&TunnelEntry> {
        let (entries, mask) = (self.entries.items(), (u64::MAX >> self.shift) as usize);
        let home = (hash(at, id) >> self.shift) as usize;
        let mut probes = (0..self.probes).map_while(|distance| entries.get((home + distance) & mask));
        probes.find(|entry| entry.id & !IS_GENEVE == id && entry.at == at)
    }

    /// The tunnel of what came to UDP port `to` with `payload`.
    fn find_udp(&self, to: Endpoint, payload: &[u8]) -> Result<&TunnelEntry, DropReason> {
        let network = || self.find(to, NETWORK | u64::from(geneve::vni(payload)?));
        self.find(to, PLAIN).or_else(network).ok_or(UnknownSlice)
    }

    /// Admits what has its outer header.
    fn packet(&self, frame: &[u8], layer: Layer) -> Result<Inner, DropReason> {
        let outer = Outer::read(frame, layer)?;
        let Outer { at, payload, source, destination, traffic_class, .. } = outer;
        match outer.protocol {
            UDP => {
                let udp = Udp::read(payload)?;
                let entry = self.find_udp(destination.with_port(udp.destination), udp.payload)?;
                entry.accepts(&outer, udp.checksum)?;
                let sender = Sender { source: source.with_port(udp.source), traffic_class, protocol: 0 };
                entry.open(sender, at + UDP_HEADER, udp.payload)
            }
            GRE => {
                let Gre { protocol, key, header, .. } = Gre::read(payload)?;
                let id = TunnelKind::Gre { key }.id();
                let entry = self.find(destination, id).ok_or(UnknownSlice)?;
                let sender = Sender { source, traffic_class, protocol };
                entry.open(sender, at + header, payload.get(header..).unwrap_or_default())
            }
            _ => Err(OuterProtocol),
        }
    }

    /// Admits what a UDP socket received: its kernel has checked the outer header.
    fn stripped(&self, payload: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        let entry = self.find_udp(meta.tunnel.destination, payload)?;
        let (source, traffic_class) = (meta.tunnel.source, meta.tunnel.traffic_class);
        entry.open(Sender { source, traffic_class, protocol: 0 }, 0, payload)
    }
}

/// The two parts of a tunnel's key.
fn key(address: IpAddr, kind: TunnelKind) -> (Endpoint, u64) {
    (core::net::SocketAddr::new(address, kind.port()).into(), kind.id())
}

impl<S: Store<Item = TunnelEntry>> Decap for Tunnels<S> {
    #[inline(never)]
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        match meta.layer {
            Layer::Stripped => self.stripped(frame, meta),
            Layer::Injected => Err(UnknownSlice),
            layer => self.packet(frame, layer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Few tunnels, so that they collide; two addresses that differ in form only.
    fn kind() -> impl Strategy<Value = (IpAddr, TunnelKind)> {
        let addresses = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0xa00, 1])];
        let kind = prop_oneof![
            (1u16..4).prop_map(|port| TunnelKind::Udp { port }),
            (1u16..4, 0u32..4).prop_map(|(port, vni)| TunnelKind::Vxlan { port, vni }),
            (1u16..4, 0u32..4).prop_map(|(port, vni)| TunnelKind::Geneve { port, vni }),
            prop::option::of(0u32..4).prop_map(|key| TunnelKind::Gre { key }),
        ];
        (prop::sample::select(addresses.to_vec()), kind)
    }

    proptest! {
        /// Whatever is opened and closed, the table is a list of tunnels.
        #[test]
        fn the_tunnel_table_is_a_list(history in prop::collection::vec((any::<bool>(), kind()), 1..200)) {
            let mut tunnels = Tunnels::new([TunnelEntry::EMPTY; 64]);
            let mut model: Vec<(IpAddr, TunnelKind, TunnelConfig)> = Vec::new();
            for (link, (open, (address, kind))) in (0..).zip(history) {
                let at = model.iter().position(|(a, k, _)| (*a, *k) == (address, kind));
                if open {
                    let admission = Admission { slice: SliceId(1), link: LinkId(link), ..Admission::NONE };
                    let config = TunnelConfig::new(admission).with_mac([2; 6]);
                    let other = model.iter().any(|(a, k, _)| {
                        let same = core::mem::discriminant(k) == core::mem::discriminant(&kind);
                        *a == address && k.port() == kind.port() && !same
                    });
                    let opened = tunnels.open(address, kind, config).is_ok();
                    prop_assert_eq!(opened, at.is_none() && !other);
                    if opened {
                        model.push((address, kind, config));
                    }
                } else {
                    let closed = at.map(|at| model.remove(at).2);
                    prop_assert_eq!(tunnels.close(address, kind), closed);
                }
                prop_assert_eq!(tunnels.iter().count(), model.len());
                for (address, kind, config) in &model {
                    let (at, id) = key(*address, *kind);
                    let found = tunnels.find(at, id & !IS_GENEVE).map(|entry| (entry.kind(), entry.config));
                    prop_assert_eq!(found, Some((*kind, *config)));
                }
                prop_assert!(tunnels.iter().all(|tunnel| model.contains(&tunnel)));
                let (at, id) = key(address, kind);
                let open = model.iter().any(|(a, k, _)| (*a, *k) == (address, kind));
                let found = tunnels.find(at, id & !IS_GENEVE).is_some_and(|entry| entry.kind() == kind);
                prop_assert_eq!(found, open);
            }
        }
    }

    /// Networks by the ten thousand, of several addresses, cost a look-up a few entries.
    #[test]
    fn tunnels_by_the_thousand_cost_no_more() {
        let mut tunnels = Tunnels::new(std::vec![TunnelEntry::EMPTY; 1 << 14].into_boxed_slice());
        for number in 0..8192 {
            let config = TunnelConfig::new(Admission { slice: SliceId(1), ..Admission::NONE });
            let address = if number & 1 == 0 {
                IpAddr::from([10, 0, 0, (number & 7) as u8])
            } else {
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, (number & 7) as u16])
            };
            tunnels.open(address, TunnelKind::geneve(number), config).unwrap();
        }
        assert!(tunnels.longest_probe() <= 24, "{}", tunnels.longest_probe());
        assert_eq!(size_of::<TunnelEntry>(), 64);
    }
}
