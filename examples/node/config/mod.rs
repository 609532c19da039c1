//! The configuration file: read, checked as a whole, and turned into what a node is
//! built from. `docs/node_config.md` describes the format.

mod check;
mod error;
mod file;
mod filters;
mod link;
mod queue;
mod slice;
mod source;

use std::net::{Ipv4Addr, Ipv6Addr};

use fastpath::exit::Exception;
use fastpath::key::LookupKey;
use fastpath::lookup::Rank;
use fastpath::manager::SourceRoutes;
use fastpath::node::{Action, InterfaceConfig, Limits, LinkRequest, SliceRequest};

use check::Reader;
use file::File;
use source::Source;

/// What a filter names for packets whose sender is to be told that they have no way.
pub(crate) const REJECTED: Exception = Exception::Own3;

pub(crate) use error::ConfigError;
pub(crate) use file::Kind;

/// What `node` runs without a configuration.
#[allow(dead_code, reason = "`router` has another")]
pub(crate) const EMBEDDED: &str = include_str!("../node.toml");

/// A configuration that was found sound as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) interfaces: Vec<InterfacePlan>,
    pub(crate) slices: Vec<SlicePlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct InterfacePlan {
    pub(crate) name: String,
    pub(crate) config: InterfaceConfig,
    /// What `router` opens there.
    #[allow(dead_code, reason = "`node` has no ports")]
    pub(crate) device: Option<Device>,
    /// Ports by which tunnels leave UDP sockets; 0 for their own.
    #[allow(dead_code, reason = "`node` has no ports")]
    pub(crate) source_ports: u16,
}

/// A port of the operating system's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Device {
    Udp,
    /// A packet socket on this Ethernet interface.
    Packet(String),
    Tun(String),
}

/// What `router` is at a link, beside what the node must know of it.
#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "`node` has none")]
pub(crate) struct Access {
    /// The router's address there, and bits of the network's prefix.
    pub(crate) address: Option<(Ipv4Addr, u8)>,
    /// The IPv6 address for which it answers hosts on a link of frames.
    pub(crate) address_v6: Option<Ipv6Addr>,
    /// The TUN device by which the host gets what is for it.
    pub(crate) host: Option<String>,
    /// The router's address in the frames of a link that carries them.
    pub(crate) mac: Option<[u8; 6]>,
}

#[derive(Clone, Debug)]
pub(crate) struct SlicePlan {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) request: SliceRequest,
    #[allow(dead_code, reason = "for `router`")]
    pub(crate) source_routes: SourceRoutes,
    pub(crate) links: Vec<String>,
    #[allow(dead_code, reason = "for `router`")]
    pub(crate) access: Vec<Access>,
    pub(crate) queues: Vec<String>,
    pub(crate) results: Vec<Action>,
    pub(crate) filters: Vec<FilterPlan>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FilterPlan {
    pub(crate) rank: Rank,
    pub(crate) value: LookupKey,
    pub(crate) mask: LookupKey,
    pub(crate) result: u32,
}

impl Plan {
    /// All links with the numbers of their slices and their own.
    pub(crate) fn links(&self) -> impl Iterator<Item = (usize, usize, &str, &LinkRequest)> {
        self.slices.iter().enumerate().flat_map(|(slice, plan)| {
            let links = plan.links.iter().zip(&plan.request.links).enumerate();
            links.map(move |(link, (name, request))| (slice, link, name.as_str(), request))
        })
    }

    /// Reads and checks `text`; `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first thing that is wrong.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let table: File = toml::from_str(text).map_err(|error| source.form(&error))?;
        Reader::new(source).plan(&table)
    }
}
