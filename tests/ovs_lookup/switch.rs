//! A switch with filters as flows.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use fastpath::key::TableKey;
use fastpath::lookup::{Filter, Rank};

use crate::ovs::OpenVSwitch;

/// A bridge of a switch of its own.
#[derive(Debug)]
pub(crate) struct Switch(OpenVSwitch);

const BRIDGE: &str = "br0";

impl Switch {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    pub(crate) fn start() -> Result<Self, String> {
        let switch = OpenVSwitch::start("--enable-dummy=override")?;
        switch.add_bridge(BRIDGE)?;
        Ok(Self(switch))
    }

    /// Puts `filters` in the place of all flows; the flow's priority is 65,535 less the rank.
    pub(crate) fn replace_flows<'a>(&mut self, filters: impl IntoIterator<Item = &'a (Rank, Filter)>) {
        let mut flows = String::new();
        for (rank, filter) in filters {
            let [value, mask] = [filter.value(), filter.mask()].map(Ipv6Addr::from_bits);
            let priority = 65_535 - rank.0;
            writeln!(flows, "priority={priority},ipv6,ipv6_dst={value}/{mask},actions=drop").unwrap();
        }
        self.0.ofctl("replace-flows", BRIDGE, &["-"], &flows).unwrap();
    }

    /// The rank of the flow that each key finds.
    pub(crate) fn lookup(&mut self, keys: &[TableKey]) -> Vec<Option<u32>> {
        let mut ask = |key: &TableKey| {
            let packet = format!("in_port=LOCAL,ipv6,ipv6_dst={}", Ipv6Addr::from_bits(key.bits()));
            found(&self.0.appctl("ofproto/trace", &[BRIDGE, &packet]).unwrap())
        };
        keys.iter().map(&mut ask).collect()
    }
}

/// The rank of the flow that a trace tells of: its first table says ` 0. MATCH, priority N`,
/// or ` 0. No match.`
fn found(trace: &str) -> Option<u32> {
    let line = trace.lines().map(str::trim_start).find(|line| line.starts_with("0. "));
    let line = line.unwrap_or_else(|| panic!("a trace of another form:\n{trace}"));
    if line.starts_with("0. No match") {
        return None;
    }
    let priority = line.split_once(", priority ").map_or("32768", |(_, priority)| priority);
    let priority = priority.split(',').next().and_then(|number| number.trim().parse::<u32>().ok());
    Some(65_535 - priority.unwrap_or_else(|| panic!("a trace of another form:\n{trace}")))
}
