//! All slices in one table.

use std::error::Error;
use std::time::{Duration, Instant};

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::id::SliceId;
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{Filter, RangedFilter, Rank, Tcam, TcamConfig, TernaryTable};
use fastpath::prefix::Prefix;
use fastpath::workloads::ranges;
use serde::Serialize;

use super::files::{Rules, Set};
use super::trace::Key;
use super::wide::{self, Wide};

/// The rules of all slices, each with its number as value.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) tcam: Tcam<u32>,
    /// IPv6 routes, by slice.
    pub(crate) wide: Vec<Option<Wide>>,
    /// How long that took.
    pub(crate) built: Duration,
    kept: Vec<Kept>,
}

/// How a slice's rules are kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kept {
    /// As traces name it.
    pub(crate) slice: u16,
    pub(crate) file: String,
    pub(crate) kind: &'static str,
    /// Rules and prefixes.
    pub(crate) entries: usize,
    pub(crate) engine: String,
    /// Cache lines that a lookup may touch.
    pub(crate) lines: u32,
    pub(crate) octets: usize,
}

impl Tables {
    /// The tables of `sets`, the first of which traces call `first`; lookups may touch
    /// `lines` cache lines.
    ///
    /// # Errors
    ///
    /// Text that names the file whose rules are refused.
    pub(crate) fn new(sets: &[Set], first: u16, lines: u32) -> Result<Self, String> {
        let start = Instant::now();
        let filters = sets.iter().map(Set::len).sum::<usize>().max(1);
        // As many readers as threads: this one and the one of the benchmark.
        let config = TcamConfig { filters, slices: sets.len(), readers: 2, lines, ..TcamConfig::default() };
        let (mut tcam, mut all, mut kept) = (Tcam::new(config), Vec::new(), Vec::new());
        for ((set, slice), number) in sets.iter().zip(0..).zip(first..) {
            let refuse = |error: &dyn Error| format!("{}: {error} (--lines)", set.file);
            tcam.load(SliceId(slice), filters_of(slice, set)).map_err(|error| refuse(&error))?;
            let wide = Wide::new(&wide_of(set), lines).map_err(|error| refuse(&error))?;
            let plan = tcam.plan(SliceId(slice)).map_err(|error| error.to_string())?;
            let engines = [plan.upper, plan.routes.then_some("routes"), wide.as_ref().map(|_| Wide::ENGINE)];
            kept.push(Kept {
                slice: number,
                file: set.file.clone(),
                kind: set.kind(),
                entries: set.len(),
                engine: engines.into_iter().flatten().collect::<Vec<_>>().join(", "),
                lines: plan.lines.max(wide.as_ref().map_or(0, Wide::lines)),
                octets: plan.octets + wide.as_ref().map_or(0, Wide::octets),
            });
            all.push(wide);
        }
        Ok(Self { tcam, wide: all, built: start.elapsed(), kept })
    }

    /// The number of the rule that answers each key.
    pub(crate) fn answers(&self, keys: &[Key]) -> Vec<Option<u32>> {
        keys.iter().map(|&key| self.answer(key)).collect()
    }

    fn answer(&self, key: Key) -> Option<u32> {
        match key {
            Key::V6(slice, address) => self.wide[slice].as_ref()?.lookup(address),
            key => self.tcam.lookup(table_key(key)?),
        }
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.kept.clone()
    }

    pub(crate) fn octets(&self) -> usize {
        self.tcam.octets() + self.wide.iter().flatten().map(Wide::octets).sum::<usize>()
    }
}

/// The key of the ternary table, which has none for IPv6.
pub(crate) fn table_key(key: Key) -> Option<TableKey> {
    let bits: LookupKey = match key {
        Key::Flow(_, flow) => flow.key(),
        Key::V4(_, destination) => Ipv4Key { destination, ..Ipv4Key::default() }.into(),
        Key::V6(..) => return None,
    };
    Some(TableKey::new(SliceId(key.slice() as u16), bits))
}

/// The filters of a set, with the numbers of their rules.
pub(crate) fn filters_of(slice: u16, set: &Set) -> Vec<(Rank, RangedFilter, u32)> {
    let slice = SliceId(slice);
    match &set.rules {
        Rules::None => Vec::new(),
        Rules::Filters(rules) => {
            ranges::ranged(slice, rules).map(|(rank, filter)| (rank, filter, rank.0)).collect()
        }
        Rules::Routes(routes) => {
            let filters = routes.iter().filter_map(|route| {
                let prefix = route.prefix.v4()?;
                let (value, mask) = Ipv4Key::route(prefix.address(), prefix.len());
                let rank = Rank::longest_prefix(32, prefix.len());
                Some((rank, Filter::new(slice, value, mask).into(), (route.line - 1) as u32))
            });
            filters.collect()
        }
    }
}

/// The IPv6 routes of a set, with their numbers.
pub(crate) fn wide_of(set: &Set) -> Vec<wide::Route> {
    let Rules::Routes(routes) = &set.rules else { return Vec::new() };
    let wide = routes.iter().filter_map(|route| {
        let prefix = route.prefix.v6()?;
        Some((Prefix::new(prefix.address(), prefix.len().into())?, (route.line - 1) as u32))
    });
    wide.collect()
}
