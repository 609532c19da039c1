//! The file as it stands: its tables and keys, none of them checked.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use fastpath::id::OptionId;
use serde::Deserialize;
use toml::Spanned;

pub(super) type Whole = Spanned<i64>;
pub(super) type Name = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) limits: LimitsTable,
    pub(super) interface: Vec<InterfaceTable>,
    pub(super) slice: Vec<SliceTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) slices: Option<Whole>,
    pub(super) filters: Option<Whole>,
    pub(super) results: Option<Whole>,
    pub(super) ports: Option<Whole>,
    pub(super) sram_words: Option<Whole>,
    pub(super) queues: Option<Whole>,
    pub(super) descriptors: Option<Whole>,
    pub(super) longest_frame: Option<Whole>,
    pub(super) lines: Option<Whole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceTable {
    pub(super) name: Name,
    pub(super) address: Spanned<Ipv4Addr>,
    pub(super) address_v6: Option<Spanned<Ipv6Addr>>,
    pub(super) rate: Whole,
    pub(super) overhead: Option<Whole>,
    pub(super) device: Option<Name>,
    pub(super) source_ports: Option<Whole>,
    pub(super) ethernet: Option<EthernetTable>,
    #[serde(default)]
    pub(super) policies: bool,
    pub(super) levels: Option<Whole>,
    pub(super) priority: Option<PriorityTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriorityTable {
    pub(super) queues: Whole,
    pub(super) rate: Whole,
    pub(super) burst: Option<Whole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EthernetTable {
    pub(super) source: Name,
    pub(super) next_hop: Name,
    pub(super) vlan: Option<Whole>,
    pub(super) service_vlan: Option<Whole>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Ipv4,
    Label,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Label => "label",
        }
    }

    /// What stands for its packets where a protocol is named. That of labels is for local
    /// experiments.
    pub(super) const fn ether_type(self) -> u16 {
        match self {
            Self::Ipv4 => 0x0800,
            Self::Label => 0x88b5,
        }
    }

    /// Its place in the node's set of code options.
    pub(super) const fn option(self) -> OptionId {
        OptionId(match self {
            Self::Ipv4 => 0,
            Self::Label => 1,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SliceTable {
    pub(super) name: Name,
    pub(super) option: Kind,
    pub(super) address: Option<Spanned<Ipv4Addr>>,
    pub(super) sram_words: Option<Whole>,
    pub(super) filters: Option<Whole>,
    pub(super) lines: Option<Whole>,
    pub(super) slow_path: Option<SlowPathTable>,
    pub(super) source_routes: Option<SourceRoutesName>,
    pub(super) police: Option<PoliceTable>,
    #[serde(default)]
    pub(super) share: Vec<ShareTable>,
    #[serde(default)]
    pub(super) link: Vec<LinkTable>,
    #[serde(default)]
    pub(super) queue: Vec<QueueTable>,
    #[serde(default)]
    pub(super) route: Vec<RouteTable>,
    #[serde(default)]
    pub(super) filter: Vec<FilterTable>,
    #[serde(default)]
    pub(super) label: Vec<LabelTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlowPathTable {
    pub(super) per_second: Option<Whole>,
    pub(super) burst: Option<Whole>,
    pub(super) waiting: Option<Whole>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceRoutesName {
    Drop,
    Refuse,
    Follow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VxlanTable {
    pub(super) vni: Whole,
    pub(super) mac: Name,
    pub(super) peer_mac: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GeneveTable {
    pub(super) vni: Whole,
    pub(super) mac: Option<Name>,
    pub(super) peer_mac: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GreTable {
    pub(super) key: Option<Whole>,
    #[serde(default)]
    pub(super) checksum: bool,
    pub(super) mac: Option<Name>,
    pub(super) peer_mac: Option<Name>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DscpName {
    Pipe,
    Uniform,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkTable {
    pub(super) name: Name,
    pub(super) interface: Name,
    pub(super) port: Option<Whole>,
    pub(super) peer: Name,
    pub(super) mtu: Option<Whole>,
    pub(super) dscp_model: Option<DscpName>,
    pub(super) dscp: Option<Whole>,
    #[serde(default)]
    pub(super) verify_udp_checksum: bool,
    pub(super) address: Option<Name>,
    pub(super) address_v6: Option<Spanned<Ipv6Addr>>,
    pub(super) host: Option<Name>,
    pub(super) zero_udp_checksum: Option<Spanned<bool>>,
    pub(super) vxlan: Option<Spanned<VxlanTable>>,
    pub(super) geneve: Option<Spanned<GeneveTable>>,
    pub(super) gre: Option<Spanned<GreTable>>,
    pub(super) police: Option<PoliceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareTable {
    pub(super) interface: Name,
    pub(super) weight: Whole,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoliceTable {
    pub(super) rate: Whole,
    pub(super) burst: Whole,
    pub(super) excess: Option<Whole>,
    pub(super) peak_rate: Option<Whole>,
    pub(super) peak_burst: Option<Whole>,
    #[serde(default)]
    pub(super) colour_aware: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueTable {
    pub(super) name: Name,
    pub(super) interface: Name,
    pub(super) weight: Whole,
    pub(super) limit_packets: Option<Whole>,
    pub(super) limit_octets: Option<Whole>,
    pub(super) priority: Option<Spanned<bool>>,
    pub(super) red: Option<Spanned<RedTable>>,
    pub(super) codel: Option<Spanned<CoDelTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedTable {
    pub(super) min: Whole,
    pub(super) max: Whole,
    pub(super) percent: Option<Whole>,
    pub(super) packet_ns: Option<Whole>,
    #[serde(default)]
    pub(super) octets: bool,
    pub(super) marks: Option<bool>,
    pub(super) yellow: Option<(Whole, Whole)>,
    pub(super) red: Option<(Whole, Whole)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoDelTable {
    pub(super) target_us: Option<Whole>,
    pub(super) interval_us: Option<Whole>,
    pub(super) marks: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionName {
    Drop,
    SlowPath,
    Reject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    pub(super) prefix: Name,
    pub(super) link: Option<Name>,
    pub(super) queue: Option<Name>,
    pub(super) action: Option<Spanned<ActionName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterTable {
    pub(super) rank: Whole,
    pub(super) source: Option<Name>,
    pub(super) destination: Option<Name>,
    pub(super) protocol: Option<Name>,
    pub(super) source_port: Option<Name>,
    pub(super) destination_port: Option<Name>,
    pub(super) link: Option<Name>,
    pub(super) queue: Option<Name>,
    pub(super) action: Option<Spanned<ActionName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelTable {
    pub(super) label: Whole,
    pub(super) to: Whole,
    pub(super) link: Name,
    pub(super) queue: Name,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
