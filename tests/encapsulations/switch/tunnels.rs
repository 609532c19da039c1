//! The tunnels, as both ends name them.

use std::net::SocketAddr;

use fastpath::decap::TunnelKind;
use fastpath::egress::{Encapsulation, InnerEthernet, LinkLayer, Payload};

use super::{HERE_MAC, INNER_HERE, INNER_THERE, THERE_MAC};

/// Our address and theirs.
pub(super) const OVER_V4: [&str; 2] = ["10.9.0.1", "10.9.0.9"];
pub(super) const OVER_V6: [&str; 2] = ["fd09::1", "fd09::9"];

/// A tunnel.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Their type and options but for the addresses.
    pub(super) theirs: &'static [&'static str],
    /// What their flow does before it sends.
    pub(super) actions: &'static str,
    pub(super) ends: [&'static str; 2],
    pub(super) kind: TunnelKind,
    pub(super) encapsulation: Encapsulation,
}

impl Kind {
    /// Our end and theirs.
    pub(super) fn ends(&self) -> [SocketAddr; 2] {
        self.ends.map(|end| SocketAddr::new(end.parse().unwrap(), self.kind.port()))
    }

    /// Whether Ethernet frames go through it.
    pub(super) fn frames(&self) -> bool {
        match self.encapsulation {
            Encapsulation::Geneve { payload, .. } | Encapsulation::Gre { payload, .. } => {
                payload != Payload::IPV4
            }
            _ => true,
        }
    }

    pub(super) fn link_layer(&self) -> LinkLayer {
        LinkLayer::Ethernet { destination: THERE_MAC, source: HERE_MAC, tag: None }
    }

    /// Octets of an outer frame in front of the inner one.
    pub(super) fn header(&self) -> usize {
        let ip = if self.ends == OVER_V4 { 20 } else { 40 };
        let frame = if self.frames() { 14 } else { 0 };
        14 + ip + self.encapsulation.octets() - frame
    }
}

const FRAMES: Payload = Payload::Frames(Some(FRAME));
const FRAME: InnerEthernet = InnerEthernet::ipv4(INNER_THERE, INNER_HERE);

const fn vxlan(
    name: &'static str, ends: [&'static str; 2], theirs: &'static [&'static str], vni: u32,
) -> Kind {
    let encapsulation = Encapsulation::Vxlan { vni, frame: Some(FRAME) };
    Kind { name, theirs, actions: "", ends, kind: TunnelKind::vxlan(vni), encapsulation }
}

const fn geneve(
    name: &'static str, ends: [&'static str; 2], theirs: &'static [&'static str], vni: u32,
) -> Kind {
    let encapsulation = Encapsulation::Geneve { vni, payload: FRAMES };
    Kind { name, theirs, actions: "", ends, kind: TunnelKind::geneve(vni), encapsulation }
}

const fn gre(
    name: &'static str, ends: [&'static str; 2], theirs: &'static [&'static str], key: Option<u32>,
    checksum: bool, payload: Payload,
) -> Kind {
    let encapsulation = Encapsulation::Gre { key, checksum, payload };
    Kind { name, theirs, actions: "", ends, kind: TunnelKind::Gre { key }, encapsulation }
}

pub(super) const TUNNELS: &[Kind] = &[
    vxlan("vxlan", OVER_V4, &["type=vxlan", "options:key=7"], 7),
    vxlan("vxlan, checksum", OVER_V4, &["type=vxlan", "options:key=703710", "options:csum=true"], 0xa_bcde),
    vxlan("vxlan, ipv6", OVER_V6, &["type=vxlan", "options:key=7"], 7),
    geneve("geneve", OVER_V4, &["type=geneve", "options:key=7"], 7),
    geneve("geneve, checksum", OVER_V4, &["type=geneve", "options:key=8", "options:csum=true"], 8),
    geneve("geneve, ipv6", OVER_V6, &["type=geneve", "options:key=16777215"], 0xff_ffff),
    Kind {
        actions: "set_field:0x1234567->tun_metadata0,",
        ..geneve("geneve, an option", OVER_V4, &["type=geneve", "options:key=9"], 9)
    },
    gre("gre", OVER_V4, &["type=gre"], None, false, FRAMES),
    gre(
        "gre, key and checksum",
        OVER_V4,
        &["type=gre", "options:key=7", "options:csum=true"],
        Some(7),
        true,
        FRAMES,
    ),
    gre("gre, key", OVER_V4, &["type=gre", "options:key=3735928559"], Some(0xdead_beef), false, FRAMES),
    gre("gre, ipv6", OVER_V6, &["type=gre", "options:key=7"], Some(7), false, FRAMES),
    gre(
        "gre of packets",
        OVER_V4,
        &["type=gre", "options:key=9", "options:csum=true", "options:packet_type=legacy_l3"],
        Some(9),
        true,
        Payload::IPV4,
    ),
    gre(
        "gre of packets, ipv6",
        OVER_V6,
        &["type=gre", "options:packet_type=legacy_l3"],
        None,
        false,
        Payload::IPV4,
    ),
];
