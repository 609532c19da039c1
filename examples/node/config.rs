//! The configuration file: read, checked as a whole, and turned into what a node is
//! built from. `docs/node_config.md` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::{Range, RangeInclusive};

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::decap::UdpChecksum;
use fastpath::egress::{Egress, LinkLayer};
use fastpath::exit::Exception;
use fastpath::id::{InterfaceId, OptionId};
use fastpath::key::LookupKey;
use fastpath::lookup::Rank;
use fastpath::node::{
    Action, EngineRequest, InterfaceConfig, Limits, LinkRequest, QueueRequest, SliceRequest, SlowPathRequest,
};
use fastpath::queue::{QueueConfig, Rate};
use fastpath::slot::DscpModel;
use fastpath::workloads::ranges;
use serde::Deserialize;
use toml::Spanned;

use super::label::Label;

/// What `node` runs without a configuration.
pub(crate) const EMBEDDED: &str = include_str!("node.toml");

/// What is wrong with a configuration, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// No TOML, or not of this form: an unknown key, a word in place of a number.
    #[error("{file}:{line}:{column}: {key}{message}")]
    Form { file: String, line: usize, column: usize, key: String, message: String },
    /// A value that is not allowed.
    #[error("{file}:{line}:{column}: {key} = {value}: {what}")]
    Value { file: String, line: usize, column: usize, key: &'static str, value: String, what: Box<What> },
}

/// Why a value is not allowed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum What {
    #[error("allowed is {} to {}", .0.start(), .0.end())]
    Range(RangeInclusive<u64>),
    #[error("allowed is {0}")]
    Form(&'static str),
    #[error("there is no such {kind}; allowed is {}", list(.known))]
    Unknown { kind: &'static str, known: Vec<String> },
    #[error("it belongs to slice `{owner}`; slice `{slice}` may name {}", list(.own))]
    Foreign { owner: String, slice: String, own: Vec<String> },
    #[error(
        "link `{link}` is on interface `{of_link}` and queue `{queue}` on `{of_queue}`; both must be on the same"
    )]
    Apart { link: String, of_link: String, queue: String, of_queue: String },
    #[error("the name is used already in line {0}; every {1} needs a name of its own")]
    Name(usize, &'static str),
    #[error(
        "port and address are taken by link `{link}` in line {line}; allowed is a port that is free on {address}"
    )]
    Port { link: String, line: usize, address: Ipv4Addr },
    #[error(
        "{address} is the address of interface `{interface}` in line {line}; every interface needs its own"
    )]
    Address { address: Ipv4Addr, interface: String, line: usize },
    #[error("together with the slices before it asks for {asked}, and [limits] has {limit}")]
    Limit { asked: u64, limit: u64 },
    #[error("interface `{interface}` has room for {limit} queues ([limits] queues)")]
    Queues { interface: String, limit: u64 },
    #[error("engine `{engine}` cannot hold it: {why}")]
    Engine { engine: &'static str, why: &'static str },
    #[error("needs both `link` and `queue`, or `action` alone")]
    Way,
    #[error("a slice with option `{option}` has no `{key}`")]
    Option { option: &'static str, key: &'static str },
    #[error("the same filter stands in line {0}; one of them would never match")]
    Twice(usize),
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none, for there is none".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

// The file as it stands.

type Whole = Spanned<i64>;
type Name = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    limits: LimitsTable,
    interface: Vec<InterfaceTable>,
    slice: Vec<SliceTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    slices: Option<Whole>,
    filters: Option<Whole>,
    results: Option<Whole>,
    ports: Option<Whole>,
    sram_words: Option<Whole>,
    queues: Option<Whole>,
    descriptors: Option<Whole>,
    longest_frame: Option<Whole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InterfaceTable {
    name: Name,
    address: Spanned<Ipv4Addr>,
    rate: Whole,
    overhead: Option<Whole>,
    ethernet: Option<EthernetTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EthernetTable {
    source: Name,
    next_hop: Name,
    vlan: Option<Whole>,
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

    /// Its place in the node's set of code options.
    const fn option(self) -> OptionId {
        OptionId(match self {
            Self::Ipv4 => 0,
            Self::Label => 1,
        })
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EngineName {
    Linear,
    TupleSpace,
    Routes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceTable {
    name: Name,
    option: Kind,
    engine: Option<Spanned<EngineName>>,
    address: Option<Spanned<Ipv4Addr>>,
    sram_words: Option<Whole>,
    filters: Option<Whole>,
    slow_path: Option<SlowPathTable>,
    #[serde(default)]
    link: Vec<LinkTable>,
    #[serde(default)]
    queue: Vec<QueueTable>,
    #[serde(default)]
    route: Vec<RouteTable>,
    #[serde(default)]
    filter: Vec<FilterTable>,
    #[serde(default)]
    label: Vec<LabelTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowPathTable {
    per_second: Option<Whole>,
    burst: Option<Whole>,
    waiting: Option<Whole>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DscpName {
    Pipe,
    Uniform,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkTable {
    name: Name,
    interface: Name,
    port: Whole,
    peer: Spanned<SocketAddrV4>,
    mtu: Option<Whole>,
    dscp_model: Option<DscpName>,
    dscp: Option<Whole>,
    #[serde(default)]
    verify_udp_checksum: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueTable {
    name: Name,
    interface: Name,
    weight: Whole,
    limit_packets: Option<Whole>,
    limit_octets: Option<Whole>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Drop,
    SlowPath,
}

/// Where packets go: a link and a queue, or an action.
struct Way<'a> {
    link: Option<&'a Name>,
    queue: Option<&'a Name>,
    action: Option<&'a Spanned<ActionName>>,
    /// The key that the table cannot lack, to blame it.
    key: (&'static str, Range<usize>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    prefix: Name,
    link: Option<Name>,
    queue: Option<Name>,
    action: Option<Spanned<ActionName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterTable {
    rank: Whole,
    source: Option<Name>,
    destination: Option<Name>,
    protocol: Option<Name>,
    source_port: Option<Name>,
    destination_port: Option<Name>,
    link: Option<Name>,
    queue: Option<Name>,
    action: Option<Spanned<ActionName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelTable {
    label: Whole,
    to: Whole,
    link: Name,
    queue: Name,
}

// What a node is built from.

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
        Reader { source, names: BTreeMap::new() }.plan(&table)
    }
}

/// The text, to turn places into lines.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// Line and column, both from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn form(&self, error: &toml::de::Error) -> ConfigError {
        let (line, column) = self.place(error.span().map_or(0, |span| span.start));
        let text = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        // The parser names an unknown key itself.
        let key = match text.split_once('=') {
            Some((key, _)) if !error.message().contains(&format!("`{}`", key.trim())) => {
                format!("{}: ", key.trim())
            }
            None if text.starts_with('[') => format!("{text}: "),
            _ => String::new(),
        };
        let message = error.message().replace('\n', "; ");
        ConfigError::Form { file: self.file.into(), line, column, key, message }
    }

    fn value(&self, key: &'static str, span: &Range<usize>, what: What) -> ConfigError {
        let (line, column) = self.place(span.start);
        let value = self.text.get(span.clone()).unwrap_or_default().to_owned();
        ConfigError::Value { file: self.file.into(), line, column, key, value, what: Box::new(what) }
    }
}

/// What a name stands for, by kind of thing and name.
type Names = BTreeMap<(&'static str, String), (usize, usize, Range<usize>)>;

struct Reader<'a> {
    source: Source<'a>,
    /// Of links and queues: slice, number within it.
    names: Names,
}

/// A number in a range, whatever integer it becomes.
fn whole<T: TryFrom<i64>>(
    source: Source<'_>, key: &'static str, value: &Whole, range: RangeInclusive<u64>,
) -> Result<T, ConfigError> {
    let number = *value.get_ref();
    let inside = u64::try_from(number).is_ok_and(|number| range.contains(&number));
    let number = T::try_from(number).ok().filter(|_| inside);
    number.ok_or_else(|| source.value(key, &value.span(), What::Range(range)))
}

fn whole_or<T: TryFrom<i64>>(
    source: Source<'_>, key: &'static str, value: Option<&Whole>, range: RangeInclusive<u64>, default: T,
) -> Result<T, ConfigError> {
    value.map_or(Ok(default), |value| whole(source, key, value, range))
}

impl Reader<'_> {
    fn plan(mut self, file: &File) -> Result<Plan, ConfigError> {
        let limits = self.limits(&file.limits)?;
        let mut interfaces: Vec<InterfacePlan> = Vec::new();
        for (at, table) in file.interface.iter().enumerate() {
            self.name("interface", &table.name, (0, at))?;
            let taken = file.interface.iter().take(at).find(|other| other.address == table.address);
            if let Some(other) = taken {
                let (line, _) = self.source.place(other.address.span().start);
                let (address, interface) = (*table.address.get_ref(), other.name.get_ref().clone());
                let what = What::Address { address, interface, line };
                return Err(self.source.value("address", &table.address.span(), what));
            }
            interfaces.push(self.interface(table)?);
        }
        for (slice, table) in file.slice.iter().enumerate() {
            self.name("slice", &table.name, (slice, 0))?;
            if slice >= usize::from(limits.slices) {
                let what = What::Limit { asked: slice as u64 + 1, limit: limits.slices.into() };
                return Err(self.source.value("name", &table.name.span(), what));
            }
            for (at, link) in table.link.iter().enumerate() {
                self.name("link", &link.name, (slice, at))?;
            }
            for (at, queue) in table.queue.iter().enumerate() {
                self.name("queue", &queue.name, (slice, at))?;
            }
        }
        let mut plan = Plan { limits, interfaces, slices: Vec::new() };
        let mut ports = BTreeMap::new();
        for (slice, table) in file.slice.iter().enumerate() {
            let slice = self.slice(file, &plan, slice, table, &mut ports)?;
            plan.slices.push(slice);
        }
        Ok(plan)
    }

    fn limits(&self, table: &LimitsTable) -> Result<Limits, ConfigError> {
        let (source, default) = (self.source, Limits::default());
        let or = |key, value: &Option<Whole>, most, default: u64| -> Result<u64, ConfigError> {
            whole_or(source, key, value.as_ref(), 1..=most, default)
        };
        Ok(Limits {
            slices: or("slices", &table.slices, 4096, default.slices.into())? as u16,
            filters: or("filters", &table.filters, 1 << 24, default.filters.into())? as u32,
            results: or("results", &table.results, 1 << 22, default.results.into())? as u32,
            ports: or("ports", &table.ports, 65_535, default.ports as u64)? as usize,
            sram_words: or("sram_words", &table.sram_words, 1 << 28, default.sram_words as u64)? as usize,
            queues: or("queues", &table.queues, 1 << 16, default.queues.into())? as u32,
            descriptors: or("descriptors", &table.descriptors, 1 << 22, default.descriptors as u64)? as usize,
            longest_frame: whole_or(
                source,
                "longest_frame",
                table.longest_frame.as_ref(),
                576..=65_600,
                default.longest_frame,
            )?,
            // One operator owns the file and every slice in it.
            linear_filters: u32::MAX,
            masks: 4096,
            waiting: 1 << 16,
        })
    }

    /// Notes a name, which must be new among things of its kind.
    fn name(&mut self, kind: &'static str, name: &Name, at: (usize, usize)) -> Result<(), ConfigError> {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
            let what = What::Form("letters, digits, `-`, `_` and `.`: links name files");
            return Err(self.source.value("name", &name.span(), what));
        }
        let value = (at.0, at.1, name.span());
        match self.names.insert((kind, text.clone()), value) {
            None => Ok(()),
            Some((_, _, first)) => {
                let (line, _) = self.source.place(first.start);
                Err(self.source.value("name", &name.span(), What::Name(line, kind)))
            }
        }
    }

    fn known(&self, kind: &'static str, of_slice: Option<usize>) -> Vec<String> {
        let of_kind = self.names.iter().filter(|((other, _), _)| *other == kind);
        let of_slice = of_kind.filter(|(_, (slice, ..))| of_slice.is_none_or(|of| of == *slice));
        of_slice.map(|((_, name), _)| name.clone()).collect()
    }

    fn interface_number(&self, name: &Name) -> Result<InterfaceId, ConfigError> {
        match self.names.get(&("interface", name.get_ref().clone())) {
            Some((_, at, _)) => Ok(InterfaceId(*at as u16)),
            None => {
                let known = self.known("interface", None);
                let what = What::Unknown { kind: "interface", known };
                Err(self.source.value("interface", &name.span(), what))
            }
        }
    }

    /// The number of a slice's own link or queue.
    fn own(&self, file: &File, kind: &'static str, slice: usize, name: &Name) -> Result<u16, ConfigError> {
        let refuse = |what| Err(self.source.value(kind, &name.span(), what));
        match self.names.get(&(kind, name.get_ref().clone())) {
            Some((owner, at, _)) if *owner == slice => Ok(*at as u16),
            Some((owner, ..)) => {
                let of = |slice: usize| file.slice.get(slice).map(|it| it.name.get_ref().clone());
                let (owner, own) = (of(*owner).unwrap_or_default(), self.known(kind, Some(slice)));
                refuse(What::Foreign { owner, slice: of(slice).unwrap_or_default(), own })
            }
            None => refuse(What::Unknown { kind, known: self.known(kind, Some(slice)) }),
        }
    }

    fn interface(&self, table: &InterfaceTable) -> Result<InterfacePlan, ConfigError> {
        let source = self.source;
        let address = *table.address.get_ref();
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            let what = What::Form("a unicast address");
            return Err(source.value("address", &table.address.span(), what));
        }
        let rate: u64 = whole(source, "rate", &table.rate, 1000..=Rate::MAX.get())?;
        let rate = Rate::bits_per_second(rate);
        let range = What::Range(1000..=Rate::MAX.get());
        let rate = rate.map_err(|_| source.value("rate", &table.rate.span(), range))?;
        let overhead = whole_or(source, "overhead", table.overhead.as_ref(), 0..=256, 0)?;
        let link_layer = match &table.ethernet {
            None => LinkLayer::Ip,
            Some(EthernetTable { source: from, next_hop, vlan }) => {
                let tag = vlan.as_ref().map(|vlan| whole(source, "vlan", vlan, 1..=4094)).transpose()?;
                let destination = self.mac("next_hop", next_hop)?;
                LinkLayer::Ethernet { destination, source: self.mac("source", from)?, tag }
            }
        };
        let config = InterfaceConfig { address, link_layer, rate, overhead, quantum: 0 };
        Ok(InterfacePlan { name: table.name.get_ref().clone(), config })
    }

    fn mac(&self, key: &'static str, text: &Name) -> Result<[u8; 6], ConfigError> {
        let octet = |part: &str| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2);
        let octets: Option<Vec<u8>> = text.get_ref().split(':').map(octet).collect();
        let what = What::Form("six octets in hexadecimal, as in \"02:00:00:00:00:01\"");
        let octets = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        octets.ok_or_else(|| self.source.value(key, &text.span(), what))
    }

    fn slice(
        &self, file: &File, plan: &Plan, number: usize, table: &SliceTable,
        ports: &mut BTreeMap<(InterfaceId, u16), (String, usize)>,
    ) -> Result<SlicePlan, ConfigError> {
        let source = self.source;
        let limits = &plan.limits;
        let mut request = SliceRequest::new(table.option.option());
        request.seed = 0x5bd1_e995 ^ number as u64;
        for link in &table.link {
            let request_of = self.link(plan, link, ports)?;
            request.links.push(request_of);
        }
        let asked = ports.len() as u64;
        if let (true, Some(link)) = (asked > limits.ports as u64, table.link.last()) {
            let what = What::Limit { asked, limit: limits.ports as u64 };
            return Err(source.value("name", &link.name.span(), what));
        }
        for queue in &table.queue {
            let asked = self.queue(queue)?;
            let others = plan.slices.iter().flat_map(|slice| &slice.request.queues);
            let same = others.chain(&request.queues).filter(|other| other.interface == asked.interface);
            if same.count() as u64 >= u64::from(limits.queues) {
                let interface = queue.interface.get_ref().clone();
                let what = What::Queues { interface, limit: limits.queues.into() };
                return Err(source.value("name", &queue.name.span(), what));
            }
            request.queues.push(asked);
        }
        self.fitting(table)?;
        let (results, filters, lines) = self.filters(file, &request, number, table)?;

        let limit = |key, value: Option<&Whole>, asked: u64, sum: u64, limit: u64| match asked + sum > limit {
            false => Ok(()),
            true => {
                let what = What::Limit { asked: asked + sum, limit };
                let (key, span) = value.map_or(("name", table.name.span()), |value| (key, value.span()));
                Err(source.value(key, &span, what))
            }
        };
        let used = |of: fn(&SliceRequest) -> u32| -> u64 {
            plan.slices.iter().map(|slice| u64::from(of(&slice.request))).sum()
        };
        let needed = filters.len().max(1) as u64;
        request.filters = whole_or(
            source,
            "filters",
            table.filters.as_ref(),
            needed..=limits.filters.into(),
            needed as u32,
        )?;
        let filters_used = used(|request| request.filters);
        limit(
            "filters",
            table.filters.as_ref(),
            request.filters.into(),
            filters_used,
            limits.filters.into(),
        )?;
        request.results = results.len().max(1) as u32;
        limit(
            "results",
            None,
            request.results.into(),
            used(|request| request.results),
            limits.results.into(),
        )?;
        let words = table.sram_words.as_ref();
        request.sram_words = whole_or(source, "sram_words", words, 0..=limits.sram_words as u64, 0)?;
        let words_used = used(|request| request.sram_words);
        limit("sram_words", words, request.sram_words.into(), words_used, limits.sram_words as u64)?;
        request.slow_path = self.slow_path(table.slow_path.as_ref())?;
        request.engine = self.engine(table, &filters, &lines)?;
        Ok(SlicePlan {
            name: table.name.get_ref().clone(),
            kind: table.option,
            address: table.address.as_ref().map(|address| *address.get_ref()),
            request,
            links: table.link.iter().map(|link| link.name.get_ref().clone()).collect(),
            queues: table.queue.iter().map(|queue| queue.name.get_ref().clone()).collect(),
            results,
            filters,
        })
    }

    /// Refuses keys that a code option has no use for.
    fn fitting(&self, table: &SliceTable) -> Result<(), ConfigError> {
        let foreign = match table.option {
            Kind::Ipv4 => table.label.first().map(|label| ("label", label.label.span())),
            Kind::Label => {
                let route = table.route.first().map(|route| ("prefix", route.prefix.span()));
                let filter = table.filter.first().map(|filter| ("rank", filter.rank.span()));
                let address = table.address.as_ref().map(|address| ("address", address.span()));
                route.or(filter).or(address)
            }
        };
        match foreign {
            None => Ok(()),
            Some((key, span)) => {
                let what = What::Option { option: table.option.name(), key };
                Err(self.source.value(key, &span, what))
            }
        }
    }

    fn link(
        &self, plan: &Plan, table: &LinkTable, ports: &mut BTreeMap<(InterfaceId, u16), (String, usize)>,
    ) -> Result<LinkRequest, ConfigError> {
        let source = self.source;
        let interface = self.interface_number(&table.interface)?;
        let port = whole(source, "port", &table.port, 1..=65_535)?;
        let (line, _) = source.place(table.port.span().start);
        let name = table.name.get_ref().clone();
        if let Some((link, line)) = ports.insert((interface, port), (name, line)) {
            let address = plan.interfaces.get(usize::from(interface.0)).map(|it| it.config.address);
            let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            return Err(source.value("port", &table.port.span(), What::Port { link, line, address }));
        }
        let most = u64::from(Egress::MAX_MTU);
        let peer = *table.peer.get_ref();
        if peer.port() == 0 || peer.ip().is_unspecified() {
            let what = What::Form("an address and a port that are not 0");
            return Err(source.value("peer", &table.peer.span(), what));
        }
        let default = LinkRequest::new(interface, port, peer);
        Ok(LinkRequest {
            mtu: whole_or(source, "mtu", table.mtu.as_ref(), 1..=most, default.mtu)?,
            dscp: whole_or(source, "dscp", table.dscp.as_ref(), 0..=63, 0)?,
            dscp_model: match table.dscp_model {
                Some(DscpName::Uniform) => DscpModel::Uniform,
                Some(DscpName::Pipe) | None => DscpModel::Pipe,
            },
            udp_checksum: match table.verify_udp_checksum {
                true => UdpChecksum::Verify,
                false => UdpChecksum::Skip,
            },
            ..default
        })
    }

    fn queue(&self, table: &QueueTable) -> Result<QueueRequest, ConfigError> {
        let source = self.source;
        let interface = self.interface_number(&table.interface)?;
        let weight = whole(source, "weight", &table.weight, 1..=QueueConfig::MAX_WEIGHT.into())?;
        let default = QueueRequest::new(interface, weight);
        let packets = table.limit_packets.as_ref();
        let octets = table.limit_octets.as_ref();
        Ok(QueueRequest {
            limit_packets: whole_or(source, "limit_packets", packets, 1..=1 << 22, default.limit_packets)?,
            limit_octets: whole_or(source, "limit_octets", octets, 1..=1 << 40, default.limit_octets)?,
            ..default
        })
    }

    fn slow_path(&self, table: Option<&SlowPathTable>) -> Result<SlowPathRequest, ConfigError> {
        let (source, default) = (self.source, SlowPathRequest::default());
        let Some(SlowPathTable { per_second, burst, waiting }) = table else { return Ok(default) };
        let second = 1..=1_000_000_000;
        Ok(SlowPathRequest {
            per_second: whole_or(source, "per_second", per_second.as_ref(), second, default.per_second)?,
            burst: whole_or(source, "burst", burst.as_ref(), 1..=1 << 20, default.burst)?,
            waiting: whole_or(source, "waiting", waiting.as_ref(), 1..=1 << 20, default.waiting)?,
        })
    }

    fn action(
        &self, file: &File, request: &SliceRequest, slice: usize, way: &Way<'_>,
    ) -> Result<Action, ConfigError> {
        let (link, queue) = match way {
            Way { link: None, queue: None, action: Some(action), .. } => {
                return Ok(match action.get_ref() {
                    ActionName::Drop => Action::Drop,
                    ActionName::SlowPath => Action::SlowPath(Exception::Filtered),
                });
            }
            Way { link: Some(link), queue: Some(queue), action: None, .. } => (link, queue),
            Way { key: (key, span), .. } => return Err(self.source.value(key, span, What::Way)),
        };
        let at = self.own(file, "link", slice, link)?;
        let queue_at = self.own(file, "queue", slice, queue)?;
        let of_link = request.links.get(usize::from(at)).map(|link| link.interface);
        let of_queue = request.queues.get(usize::from(queue_at)).map(|queue| queue.interface);
        if of_link != of_queue {
            let named = |of: Option<InterfaceId>| {
                let table = of.and_then(|of| file.interface.get(usize::from(of.0)));
                table.map(|table| table.name.get_ref().clone()).unwrap_or_default()
            };
            let (link, of_link, of_queue) = (link.get_ref().clone(), named(of_link), named(of_queue));
            let what = What::Apart { link, of_link, queue: queue.get_ref().clone(), of_queue };
            return Err(self.source.value("queue", &queue.span(), what));
        }
        Ok(Action::forward(at, queue_at))
    }

    /// Results, filters, and where in the text each filter stands.
    #[expect(clippy::type_complexity, reason = "three lists that are built together")]
    fn filters(
        &self, file: &File, request: &SliceRequest, slice: usize, table: &SliceTable,
    ) -> Result<(Vec<Action>, Vec<FilterPlan>, Vec<(&'static str, Range<usize>)>), ConfigError> {
        let mut results: Vec<Action> = Vec::new();
        let mut result_of = |action: Action| {
            let at = results.iter().position(|other| *other == action).unwrap_or(results.len());
            if at == results.len() {
                results.push(action);
            }
            at as u32
        };
        let (mut filters, mut places) = (Vec::new(), Vec::new());
        for route in &table.route {
            let key = ("prefix", route.prefix.span());
            let (link, queue, action) = (route.link.as_ref(), route.queue.as_ref(), route.action.as_ref());
            let action = self.action(file, request, slice, &Way { link, queue, action, key: key.clone() })?;
            let (address, len) = self.prefix("prefix", &route.prefix)?;
            let (value, mask) = Ipv4Key::route(address, len);
            let rank = Rank::longest_prefix(32, len);
            filters.push(FilterPlan { rank, value, mask, result: result_of(action) });
            places.push(key);
        }
        for filter in &table.filter {
            let key = ("rank", filter.rank.span());
            let (link, queue, action) = (filter.link.as_ref(), filter.queue.as_ref(), filter.action.as_ref());
            let action = self.action(file, request, slice, &Way { link, queue, action, key: key.clone() })?;
            let rank = Rank(whole(self.source, "rank", &filter.rank, 0..=u64::from(Rank::ROUTES) - 1)?);
            let result = result_of(action);
            for (value, mask) in self.patterns(filter)? {
                filters.push(FilterPlan { rank, value, mask, result });
                places.push(key.clone());
            }
        }
        for label in &table.label {
            let key = ("label", label.label.span());
            let (link, queue) = (Some(&label.link), Some(&label.queue));
            let action =
                self.action(file, request, slice, &Way { link, queue, action: None, key: key.clone() })?;
            let from: u16 = whole(self.source, "label", &label.label, 0..=65_535)?;
            let to: u16 = whole(self.source, "to", &label.to, 0..=65_535)?;
            let action = match action {
                Action::Forward { link, queue, next_hop, .. } => {
                    Action::Forward { link, queue, word: to.into(), next_hop }
                }
                other => other,
            };
            let (value, mask) = Label::key(from);
            filters.push(FilterPlan { rank: Rank(0), value, mask, result: result_of(action) });
            places.push(key);
        }
        let mut seen = BTreeMap::new();
        for (filter, (key, span)) in filters.iter().zip(&places) {
            let identity = (filter.rank, filter.value, filter.mask);
            if let Some(first) = seen.insert(identity, span.start) {
                let (line, _) = self.source.place(first);
                return Err(self.source.value(key, span, What::Twice(line)));
            }
        }
        Ok((results, filters, places))
    }

    fn prefix(&self, key: &'static str, text: &Name) -> Result<(u32, u8), ConfigError> {
        let parsed = text.get_ref().split_once('/').and_then(|(address, len)| {
            let address: Ipv4Addr = address.parse().ok()?;
            let len: u8 = len.parse().ok().filter(|len| *len <= 32)?;
            let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
            (address.to_bits() & host == 0).then_some((address.to_bits(), len))
        });
        let what = What::Form("an address, `/` and a length up to 32, with no bit set behind it");
        parsed.ok_or_else(|| self.source.value(key, &text.span(), what))
    }

    /// The patterns that a filter takes: one for each pair of port prefixes.
    fn patterns(&self, table: &FilterTable) -> Result<Vec<(LookupKey, LookupKey)>, ConfigError> {
        let prefix = |key, text: Option<&Name>| {
            let (address, len) = text.map_or(Ok((0, 0)), |text| self.prefix(key, text))?;
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            Ok::<_, ConfigError>((address, mask))
        };
        let (source, source_mask) = prefix("source", table.source.as_ref())?;
        let (destination, destination_mask) = prefix("destination", table.destination.as_ref())?;
        let (protocol, protocol_mask) = match table.protocol.as_ref() {
            None => (0, 0),
            Some(text) => {
                let number = match text.get_ref().as_str() {
                    "icmp" => Some(1),
                    "tcp" => Some(6),
                    "udp" => Some(17),
                    number => number.parse().ok(),
                };
                let what = What::Form("\"icmp\", \"tcp\", \"udp\" or \"0\" to \"255\"");
                (number.ok_or_else(|| self.source.value("protocol", &text.span(), what))?, 0xff)
            }
        };
        let source_ports = self.ports("source_port", table.source_port.as_ref())?;
        let destination_ports = self.ports("destination_port", table.destination_port.as_ref())?;
        let mut patterns = Vec::new();
        for from in ranges::prefixes(&source_ports) {
            for to in ranges::prefixes(&destination_ports) {
                // Ports of a later fragment are not known, so that they match no port.
                let class_mask = if from.mask | to.mask == 0 { 0 } else { Ipv4Key::FRAGMENT };
                let value = Ipv4Key {
                    class: 0,
                    protocol,
                    source_port: from.value,
                    destination_port: to.value,
                    source,
                    destination,
                };
                let mask = Ipv4Key {
                    class: class_mask,
                    protocol: protocol_mask,
                    source_port: from.mask,
                    destination_port: to.mask,
                    source: source_mask,
                    destination: destination_mask,
                };
                patterns.push((value.into(), mask.into()));
            }
        }
        Ok(patterns)
    }

    fn ports(&self, key: &'static str, text: Option<&Name>) -> Result<RangeInclusive<u16>, ConfigError> {
        let Some(text) = text else { return Ok(0..=u16::MAX) };
        let (from, to) = text.get_ref().split_once('-').unwrap_or((text.get_ref(), text.get_ref()));
        let range = from.parse().ok().zip(to.parse().ok()).filter(|(from, to): &(u16, u16)| from <= to);
        let what = What::Form("a port or a range as in \"5060-5061\", 0 to 65535");
        range.map(|(from, to)| from..=to).ok_or_else(|| self.source.value(key, &text.span(), what))
    }

    /// The engine asked for, if it can hold the filters; else one that fits them.
    fn engine(
        &self, table: &SliceTable, filters: &[FilterPlan], places: &[(&'static str, Range<usize>)],
    ) -> Result<EngineRequest, ConfigError> {
        let masks: BTreeSet<LookupKey> = filters.iter().map(|filter| filter.mask).collect();
        let long = |filter: &&FilterPlan| filter.rank < Rank::longest_prefix(32, 24);
        let chunks: BTreeSet<u128> = filters.iter().filter(long).map(|it| it.value.bits() >> 8).collect();
        let routes = EngineRequest::Routes { chunks: chunks.len() };
        let tuples = EngineRequest::TupleSpace { masks: masks.len().max(1) };
        let only_routes = table.option == Kind::Ipv4 && table.filter.is_empty();
        match table.engine.as_ref().map(Spanned::get_ref) {
            Some(EngineName::Linear) => Ok(EngineRequest::Linear),
            Some(EngineName::TupleSpace) => Ok(tuples),
            Some(EngineName::Routes) if only_routes => Ok(routes),
            Some(EngineName::Routes) => {
                let policy = filters.iter().position(|filter| filter.rank < Rank(Rank::ROUTES));
                let (key, span) = match policy.and_then(|at| places.get(at)) {
                    Some((key, span)) => (*key, span.clone()),
                    None => ("name", table.name.span()),
                };
                let what = What::Engine { engine: "routes", why: "allowed are IPv4 routes only" };
                Err(self.source.value(key, &span, what))
            }
            None if filters.len() <= 16 => Ok(EngineRequest::Linear),
            None if only_routes && filters.len() > 1024 => Ok(routes),
            None => Ok(tuples),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
