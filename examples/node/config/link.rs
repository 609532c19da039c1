//! A link: its two ends, and what its packets are wrapped in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use fastpath::decap::UdpChecksum;
use fastpath::egress::{Egress, Encapsulation, InnerEthernet, Payload};
use fastpath::id::InterfaceId;
use fastpath::node::LinkRequest;
use fastpath::slot::DscpModel;
use fastpath::wire::{geneve, vxlan};

use super::check::Reader;
use super::error::{ConfigError, What};
use super::file::{DscpName, GeneveTable, GreTable, Kind, LinkTable, Name, VxlanTable};
use super::{Access, Plan};

/// The links that were read: interface, whether over IPv6, port, kind, and network or key; and
/// the name and line of each.
pub(super) type Taken = BTreeMap<(InterfaceId, bool, u16, &'static str, u64), (String, usize)>;

/// Octets of the longest packet that interfaces take, outer IP header included.
const INTERFACE_MTU: usize = 1500;

/// What a link's table says of its kind.
struct Wrapped {
    /// The key that says so, and where.
    kind: &'static str,
    span: Range<usize>,
    encapsulation: Encapsulation,
    /// Network or key, as [`Taken`] has it.
    number: u64,
    /// The port that is meant if none is named; 0 if there is none.
    port: u16,
}

impl Reader<'_> {
    pub(super) fn link(
        &self, plan: &Plan, option: Kind, table: &LinkTable, taken: &mut Taken,
    ) -> Result<LinkRequest, ConfigError> {
        let source = self.source;
        let interface = self.interface_number(&table.interface)?;
        let wrapped = self.wrapped(option, table)?;
        let port = self.port(table, &wrapped)?;
        let peer = self.peer(table, &wrapped)?;
        let at = plan.interfaces.get(usize::from(interface.0));
        let address = at.and_then(|at| match peer {
            SocketAddr::V4(_) => Some(IpAddr::V4(at.config.address)),
            SocketAddr::V6(_) => at.config.address_v6.map(IpAddr::V6),
        });
        let Some(address) = address else {
            let what = What::Version(table.interface.get_ref().clone());
            return Err(source.value("peer", &table.peer.span(), what));
        };
        self.untaken(table, &wrapped, interface, SocketAddr::new(address, port), taken)?;
        let zero_checksum = match &table.zero_udp_checksum {
            Some(zero) if *zero.get_ref() && (peer.is_ipv4() || wrapped.kind == "gre") => {
                let what = What::Form("`true` for UDP over IPv6 only");
                return Err(source.value("zero_udp_checksum", &zero.span(), what));
            }
            zero => zero.as_ref().is_some_and(|zero| *zero.get_ref()),
        };
        let ip = if peer.is_ipv4() { 20 } else { 40 };
        let mtu = (INTERFACE_MTU - ip - wrapped.encapsulation.octets()) as u16;
        let most = u64::from(Egress::MAX_MTU);
        let default = LinkRequest::new(interface, port, peer);
        Ok(LinkRequest {
            encapsulation: wrapped.encapsulation,
            zero_checksum,
            mtu: source.whole_or("mtu", table.mtu.as_ref(), 1..=most, mtu)?,
            dscp: source.whole_or("dscp", table.dscp.as_ref(), 0..=63, 0)?,
            dscp_model: match table.dscp_model {
                Some(DscpName::Uniform) => DscpModel::Uniform,
                Some(DscpName::Pipe) | None => DscpModel::Pipe,
            },
            udp_checksum: match table.verify_udp_checksum {
                true => UdpChecksum::Verify,
                false => UdpChecksum::Skip,
            },
            police: table.police.as_ref().map(|police| self.police(police)).transpose()?,
            ..default
        })
    }

    /// What packets are wrapped in; plain UDP, where nothing is said.
    fn wrapped(&self, option: Kind, table: &LinkTable) -> Result<Wrapped, ConfigError> {
        let of_vxlan = table.vxlan.as_ref().map(|it| ("vxlan", it.span()));
        let of_geneve = table.geneve.as_ref().map(|it| ("geneve", it.span()));
        let of_gre = table.gre.as_ref().map(|it| ("gre", it.span()));
        let mut named = [of_vxlan, of_geneve, of_gre].into_iter().flatten();
        let (kind, span) = named.next().unwrap_or(("udp", table.name.span()));
        if let Some((other, span)) = named.next() {
            return Err(self.source.value(other, &span, What::Kinds(kind)));
        }
        let ether_type = option.ether_type();
        let payload = |mac: &Option<Name>, peer_mac: &Option<Name>| -> Result<Payload, ConfigError> {
            match (mac, peer_mac) {
                (Some(mac), peer_mac) => self.frames(ether_type, mac, peer_mac.as_ref()),
                (None, None) => Ok(Payload::Packets(ether_type)),
                (None, Some(peer)) => {
                    let what = What::Form("the next hop of frames, which need `mac`, too");
                    Err(self.source.value("peer_mac", &peer.span(), what))
                }
            }
        };
        let vni = |vni| self.source.whole::<u32>("vni", vni, 0..=vxlan::MAX_VNI.into());
        let (encapsulation, number, port) = if let Some(table) = &table.vxlan {
            let VxlanTable { vni: number, mac, peer_mac } = table.get_ref();
            let vni = vni(number)?;
            let Payload::Frames(frame) = self.frames(ether_type, mac, peer_mac.as_ref())? else {
                unreachable!("VXLAN carries frames")
            };
            (Encapsulation::Vxlan { vni, frame }, vni.into(), vxlan::PORT)
        } else if let Some(table) = &table.geneve {
            let GeneveTable { vni: number, mac, peer_mac } = table.get_ref();
            let vni = vni(number)?;
            (Encapsulation::Geneve { vni, payload: payload(mac, peer_mac)? }, vni.into(), geneve::PORT)
        } else if let Some(table) = &table.gre {
            let GreTable { key, checksum, mac, peer_mac } = table.get_ref();
            let key = key.as_ref().map(|key| self.source.whole("key", key, 0..=u32::MAX.into()));
            let (key, payload) = (key.transpose()?, payload(mac, peer_mac)?);
            let number = key.map_or(u64::MAX, u64::from);
            (Encapsulation::Gre { key, checksum: *checksum, payload }, number, 0)
        } else {
            (Encapsulation::Udp, 0, 0)
        };
        Ok(Wrapped { kind, span, encapsulation, number, port })
    }

    /// Frames from `mac`, to all stations if no next hop is named.
    fn frames(&self, ether_type: u16, mac: &Name, peer_mac: Option<&Name>) -> Result<Payload, ConfigError> {
        let unicast = |key, text: &Name| {
            let mac = self.mac(key, text)?;
            let what = What::Form("the address of one station");
            let one = mac != [0; 6] && mac.first().is_some_and(|first| first & 1 == 0);
            if one { Ok(mac) } else { Err(self.source.value(key, &text.span(), what)) }
        };
        let destination = peer_mac.map_or(Ok([0xff; 6]), |peer| unicast("peer_mac", peer))?;
        let source = unicast("mac", mac)?;
        Ok(Payload::Frames(Some(InnerEthernet { destination, source, ether_type })))
    }

    /// The port of this end; 0 for GRE, which has none.
    fn port(&self, table: &LinkTable, wrapped: &Wrapped) -> Result<u16, ConfigError> {
        match (&table.port, wrapped.kind) {
            (Some(port), "gre") => {
                Err(self.source.value("port", &port.span(), What::Kind { kind: "gre", key: "port" }))
            }
            (Some(port), _) => self.source.whole("port", port, 1..=65_535),
            (None, "udp") => {
                let what = What::Form("with a `port` only, as it is plain UDP");
                Err(self.source.value("name", &table.name.span(), what))
            }
            (None, _) => Ok(wrapped.port),
        }
    }

    /// The other end; what has a port of its own needs none here.
    fn peer(&self, table: &LinkTable, wrapped: &Wrapped) -> Result<SocketAddr, ConfigError> {
        let text = table.peer.get_ref();
        let alone = || {
            let address: IpAddr = text.parse().ok().filter(|_| wrapped.kind != "udp")?;
            Some(SocketAddr::new(address, wrapped.port))
        };
        let whole = || text.parse::<SocketAddr>().ok().filter(|_| wrapped.kind != "gre");
        let sound = |peer: &SocketAddr| {
            let one = match peer.ip() {
                IpAddr::V4(it) => !it.is_unspecified() && !it.is_multicast() && !it.is_broadcast(),
                IpAddr::V6(it) => !it.is_unspecified() && !it.is_multicast() && it.to_ipv4_mapped().is_none(),
            };
            one && (peer.port() != 0 || wrapped.kind == "gre")
        };
        let what = What::Form(match wrapped.kind {
            "udp" => "the address of one host and a port that are not 0, as in \"192.0.2.1:30001\"",
            "gre" => "the address of one host",
            _ => "the address of one host, and a port that is not 0 if it is not the usual one",
        });
        let peer = whole().or_else(alone).filter(sound);
        peer.ok_or_else(|| self.source.value("peer", &table.peer.span(), what))
    }

    /// Notes a link, by what its packets are told from those of others.
    fn untaken(
        &self, table: &LinkTable, wrapped: &Wrapped, interface: InterfaceId, here: SocketAddr,
        taken: &mut Taken,
    ) -> Result<(), ConfigError> {
        let (v6, port, address) = (here.is_ipv6(), here.port(), here.ip());
        let (key, span) = match &table.port {
            Some(port) => ("port", port.span()),
            None => (wrapped.kind, wrapped.span.clone()),
        };
        let kinds = (interface, v6, port, "", 0)..=(interface, v6, port, "~", u64::MAX);
        let other = taken.range(kinds).find(|((_, _, port, kind, _), _)| *port != 0 && *kind != wrapped.kind);
        if let Some((_, (link, line))) = other {
            let what = What::Mixed { link: link.clone(), line: *line, address };
            return Err(self.source.value(key, &span, what));
        }
        let (line, _) = self.source.place(span.start);
        let place = (interface, v6, port, wrapped.kind, wrapped.number);
        match taken.insert(place, (table.name.get_ref().clone(), line)) {
            None => Ok(()),
            Some((link, line)) if wrapped.kind == "udp" => {
                Err(self.source.value(key, &span, What::Port { link, line, address }))
            }
            Some((link, line)) => {
                let (kind, span) = (wrapped.kind, &wrapped.span);
                Err(self.source.value(kind, span, What::Network { link, line }))
            }
        }
    }

    /// What `router` is there.
    pub(super) fn access(&self, table: &LinkTable) -> Result<Access, ConfigError> {
        let address = table.address.as_ref().map(|text| {
            let parsed = text.get_ref().split_once('/').and_then(|(address, len)| {
                let len: u8 = len.parse().ok().filter(|len| *len <= 32)?;
                Some((address.parse().ok()?, len))
            });
            let what = What::Form("an address, `/` and the length of its network's prefix");
            parsed.ok_or_else(|| self.source.value("address", &text.span(), what))
        });
        let mac = match (&table.vxlan, &table.geneve, &table.gre) {
            (Some(vxlan), ..) => Some(&vxlan.get_ref().mac),
            (_, Some(geneve), _) => geneve.get_ref().mac.as_ref(),
            (.., Some(gre)) => gre.get_ref().mac.as_ref(),
            _ => None,
        };
        let mac = mac.map(|mac| self.mac("mac", mac)).transpose()?;
        let address_v6 = match (&table.address_v6, mac) {
            (Some(address), None) => {
                let what = What::Form("the router's address on a link of frames, which have a `mac`");
                return Err(self.source.value("address_v6", &address.span(), what));
            }
            (address, _) => address.as_ref().map(|address| self.unicast_v6(address)).transpose()?,
        };
        let host = table.host.as_ref().map(|host| host.get_ref().clone());
        Ok(Access { address: address.transpose()?, address_v6, host, mac })
    }
}
