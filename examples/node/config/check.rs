//! Limits, interfaces and names: what slices are checked against.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::ops::Range;

use fastpath::egress::LinkLayer;
use fastpath::id::InterfaceId;
use fastpath::node::{InterfaceConfig, Limits};
use toml::Spanned;

use super::error::{ConfigError, What};
use super::file::{EthernetTable, File, InterfaceTable, LimitsTable, Name, Whole};
use super::link::Taken;
use super::source::Source;
use super::{Device, InterfacePlan, Plan};

/// What a name stands for, by kind of thing and name.
type Names = BTreeMap<(&'static str, String), (usize, usize, Range<usize>)>;

/// Reads a file, table by table.
pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    /// Of links and queues: slice, number within it.
    names: Names,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source, names: Names::new() }
    }

    pub(super) fn plan(mut self, file: &File) -> Result<Plan, ConfigError> {
        let limits = self.limits(&file.limits)?;
        let mut interfaces: Vec<InterfacePlan> = Vec::new();
        for (at, table) in file.interface.iter().enumerate() {
            self.name("interface", &table.name, (0, at))?;
            let taken = file.interface.iter().take(at).find(|other| other.address == table.address);
            if let Some(other) = taken {
                let (line, _) = self.source.place(other.address.span().start);
                let (address, interface) = ((*table.address.get_ref()).into(), other.name.get_ref().clone());
                let what = What::Address { address, interface, line };
                return Err(self.source.value("address", &table.address.span(), what));
            }
            self.new_v6(file.interface.get(..at).unwrap_or_default(), table)?;
            interfaces.push(self.interface(&limits, table)?);
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
        let mut taken = Taken::default();
        for (slice, table) in file.slice.iter().enumerate() {
            let slice = self.slice(file, &plan, slice, table, &mut taken)?;
            plan.slices.push(slice);
        }
        Ok(plan)
    }

    fn limits(&self, table: &LimitsTable) -> Result<Limits, ConfigError> {
        let (source, default) = (self.source, Limits::default());
        let or = |key, value: &Option<Whole>, most, default: u64| -> Result<u64, ConfigError> {
            source.whole_or(key, value.as_ref(), 1..=most, default)
        };
        Ok(Limits {
            slices: or("slices", &table.slices, 4096, default.slices.into())? as u16,
            filters: or("filters", &table.filters, 1 << 24, default.filters.into())? as u32,
            results: or("results", &table.results, 1 << 22, default.results.into())? as u32,
            ports: or("ports", &table.ports, 65_535, default.ports as u64)? as usize,
            sram_words: or("sram_words", &table.sram_words, 1 << 28, default.sram_words as u64)? as usize,
            queues: or("queues", &table.queues, 1 << 16, default.queues.into())? as u32,
            descriptors: or("descriptors", &table.descriptors, 1 << 22, default.descriptors as u64)? as usize,
            longest_frame: source.whole_or(
                "longest_frame",
                table.longest_frame.as_ref(),
                576..=65_600,
                default.longest_frame,
            )?,
            // One operator owns the file and every slice in it.
            weights: u32::MAX,
            lines: or("lines", &table.lines, 1 << 16, default.lines.into())? as u32,
            waiting: 1 << 16,
            ..default
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

    pub(super) fn interface_number(&self, name: &Name) -> Result<InterfaceId, ConfigError> {
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
    pub(super) fn own(
        &self, file: &File, kind: &'static str, slice: usize, name: &Name,
    ) -> Result<u16, ConfigError> {
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

    fn interface(&self, limits: &Limits, table: &InterfaceTable) -> Result<InterfacePlan, ConfigError> {
        let source = self.source;
        let address = *table.address.get_ref();
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            let what = What::Form("a unicast address");
            return Err(source.value("address", &table.address.span(), what));
        }
        let rate = self.rate("rate", &table.rate)?;
        let overhead = source.whole_or("overhead", table.overhead.as_ref(), 0..=256, 0)?;
        let link_layer = match &table.ethernet {
            None => LinkLayer::Ip,
            Some(table) => self.ethernet(table)?,
        };
        let address_v6 = table.address_v6.as_ref().map(|address| self.unicast_v6(address)).transpose()?;
        let scheduling = self.scheduling(table, limits.longest_frame + overhead, limits.queues)?;
        let plain = InterfaceConfig::ip(address, rate);
        let config = InterfaceConfig { address_v6, link_layer, overhead, scheduling, ..plain };
        let device = table.device.as_ref().map(|device| self.device(device)).transpose()?;
        let source_ports = source.whole_or("source_ports", table.source_ports.as_ref(), 0..=64, 0)?;
        if let (Some(ports), true) = (&table.source_ports, device != Some(Device::Udp)) {
            let what = What::Form("a number where `device` is \"udp\": others send each flow's hash");
            return Err(source.value("source_ports", &ports.span(), what));
        }
        Ok(InterfacePlan { name: table.name.get_ref().clone(), config, device, source_ports })
    }

    /// Refuses an IPv6 address that an interface before has.
    fn new_v6(&self, before: &[InterfaceTable], table: &InterfaceTable) -> Result<(), ConfigError> {
        let Some(own) = &table.address_v6 else { return Ok(()) };
        for other in before {
            if let Some(address) = other.address_v6.as_ref().filter(|it| it.get_ref() == own.get_ref()) {
                let (line, _) = self.source.place(address.span().start);
                let (address, interface) = ((*own.get_ref()).into(), other.name.get_ref().clone());
                let what = What::Address { address, interface, line };
                return Err(self.source.value("address_v6", &own.span(), what));
            }
        }
        Ok(())
    }

    fn ethernet(&self, table: &EthernetTable) -> Result<LinkLayer, ConfigError> {
        let tag = |key, vlan: &Option<Whole>| {
            vlan.as_ref().map(|vlan| self.source.whole::<u16>(key, vlan, 1..=4094)).transpose()
        };
        let destination = self.mac("next_hop", &table.next_hop)?;
        let source = self.mac("source", &table.source)?;
        match (tag("service_vlan", &table.service_vlan)?, tag("vlan", &table.vlan)?, &table.service_vlan) {
            (Some(service_tag), Some(tag), _) => {
                Ok(LinkLayer::DoubleTagged { destination, source, service_tag, tag })
            }
            (Some(_), None, Some(vlan)) => {
                let what = What::Form("a service VLAN with a `vlan` behind it");
                Err(self.source.value("service_vlan", &vlan.span(), what))
            }
            (_, tag, _) => Ok(LinkLayer::Ethernet { destination, source, tag }),
        }
    }

    pub(super) fn unicast_v6(&self, address: &Spanned<Ipv6Addr>) -> Result<Ipv6Addr, ConfigError> {
        let of = *address.get_ref();
        if of.is_unspecified() || of.is_multicast() || of.to_ipv4_mapped().is_some() {
            let what = What::Form("a unicast IPv6 address");
            return Err(self.source.value("address_v6", &address.span(), what));
        }
        Ok(of)
    }

    fn device(&self, text: &Name) -> Result<Device, ConfigError> {
        let (kind, name) = text.get_ref().split_once(':').unwrap_or((text.get_ref(), ""));
        match (kind, name) {
            ("udp", "") => Ok(Device::Udp),
            ("packet", name) if !name.is_empty() => Ok(Device::Packet(name.into())),
            ("tun", name) if !name.is_empty() => Ok(Device::Tun(name.into())),
            _ => {
                let what = What::Form("\"udp\", \"packet:NAME\" or \"tun:NAME\"");
                Err(self.source.value("device", &text.span(), what))
            }
        }
    }

    pub(super) fn mac(&self, key: &'static str, text: &Name) -> Result<[u8; 6], ConfigError> {
        let octet = |part: &str| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2);
        let octets: Option<Vec<u8>> = text.get_ref().split(':').map(octet).collect();
        let what = What::Form("six octets in hexadecimal, as in \"02:00:00:00:00:01\"");
        let octets = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        octets.ok_or_else(|| self.source.value(key, &text.span(), what))
    }
}
