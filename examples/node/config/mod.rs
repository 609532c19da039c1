//! The configuration file: read, checked as a whole, and turned into what a node is
//! built from. `docs/node_config.md` describes the format.

mod check;
mod error;
mod file;
mod filters;
mod slice;
mod source;

use std::net::Ipv4Addr;

use fastpath::key::LookupKey;
use fastpath::lookup::Rank;
use fastpath::node::{Action, InterfaceConfig, Limits, LinkRequest, SliceRequest};

use check::Reader;
use file::File;
use source::Source;

pub(crate) use error::ConfigError;
pub(crate) use file::Kind;

/// What `node` runs without a configuration.
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
}

#[derive(Clone, Debug)]
pub(crate) struct SlicePlan {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) request: SliceRequest,
    pub(crate) links: Vec<String>,
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
