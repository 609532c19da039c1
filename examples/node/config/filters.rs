//! A slice's routes, filters and labels, and where they lead.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::{Range, RangeInclusive};

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::exit::Exception;
use fastpath::id::InterfaceId;
use fastpath::key::LookupKey;
use fastpath::lookup::Rank;
use fastpath::node::{Action, SliceRequest};
use fastpath::workloads::ranges;
use toml::Spanned;

use super::super::label::Label;
use super::check::Reader;
use super::error::{ConfigError, What};
use super::file::{ActionName, File, FilterTable, Name, SliceTable};
use super::{FilterPlan, REJECTED};

/// Where packets go: a link and a queue, or an action.
struct Way<'a> {
    link: Option<&'a Name>,
    queue: Option<&'a Name>,
    action: Option<&'a Spanned<ActionName>>,
    /// The key that the table cannot lack, to blame it.
    key: (&'static str, Range<usize>),
}

impl Reader<'_> {
    fn action(
        &self, file: &File, request: &SliceRequest, slice: usize, way: &Way<'_>,
    ) -> Result<Action, ConfigError> {
        let (link, queue) = match way {
            Way { link: None, queue: None, action: Some(action), .. } => {
                return Ok(match action.get_ref() {
                    ActionName::Drop => Action::Drop,
                    ActionName::SlowPath => Action::SlowPath(Exception::Filtered),
                    ActionName::Reject => Action::SlowPath(REJECTED),
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

    /// Results, and filters that lead to them.
    pub(super) fn filters(
        &self, file: &File, request: &SliceRequest, slice: usize, table: &SliceTable,
    ) -> Result<(Vec<Action>, Vec<FilterPlan>), ConfigError> {
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
            let rank = Rank(self.source.whole("rank", &filter.rank, 0..=u64::from(Rank::ROUTES) - 1)?);
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
            let from: u16 = self.source.whole("label", &label.label, 0..=65_535)?;
            let to: u16 = self.source.whole("to", &label.to, 0..=65_535)?;
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
        Ok((results, filters))
    }

    pub(super) fn prefix(&self, key: &'static str, text: &Name) -> Result<(u32, u8), ConfigError> {
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
}
