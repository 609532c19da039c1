//! From backlogs to rates: a pure function.

use crate::queue::{QueueConfig, Rate};
use crate::time::Nanos;

/// What rates keep to: `NODES` nodes that send to `INTERFACES` interfaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan<const NODES: usize, const INTERFACES: usize> {
    /// The rate of each interface; `None` while it is down.
    pub interfaces: [Option<Rate>; INTERFACES],
    /// What each node can send in all; `None` if it takes no part.
    pub nodes: [Option<Rate>; NODES],
    /// What an octet that waits at a node for an interface counts, relative to those that
    /// wait for it at others: up to 65,536, and 0 for what is to have the floor only.
    pub weights: [[u32; INTERFACES]; NODES],
    /// Time from one set of rates to the next.
    pub period: Nanos,
}

/// Octets that wait, or are about to: see [`Plan::rates`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Loads<const NODES: usize, const INTERFACES: usize> {
    /// At each node for each interface.
    pub nodes: [[u64; INTERFACES]; NODES],
    /// At each interface itself, behind all nodes; 0 if nodes send onto it directly.
    pub interfaces: [u64; INTERFACES],
}

/// Backlogs above 2^44 octets, 17 TB, count as so much.
const MOST: u64 = 1 << 44;

/// Fractional bits of a pull: small shares of slow interfaces keep their proportion.
const FRACTION: u32 = 16;

/// One part in so many of what nodes could have is theirs whatever waits.
const FLOOR: u64 = 100;

impl<const NODES: usize, const INTERFACES: usize> Plan<NODES, INTERFACES> {
    /// Whose octets all count the same.
    pub const fn new(
        interfaces: [Option<Rate>; INTERFACES], nodes: [Option<Rate>; NODES], period: Nanos,
    ) -> Self {
        Self { interfaces, nodes, weights: [[1; INTERFACES]; NODES], period }
    }

    /// The rate of each node for each interface, in bits a second.
    ///
    /// What is said in the [module's documentation](super) of rates holds for any loads.
    /// Time: at most five divisions of 128 bits for each node and interface, and twice
    /// `(NODES + INTERFACES)^2` comparisons: microseconds for some nodes and ten interfaces,
    /// tenths of a millisecond for 64 of each. 40 octets of stack for each node and interface.
    pub fn rates(&self, loads: &Loads<NODES, INTERFACES>) -> [[u64; INTERFACES]; NODES] {
        let mut filling = Filling::new(self);
        self.give_floors(&mut filling);
        self.pull_by_backlog(loads, &mut filling);
        filling.fill();
        // What nobody who waits can use is shared by all, so that new traffic starts at once.
        self.pull_by_weight(&mut filling);
        filling.fill();
        filling.flows.map(|flows| flows.map(|flow| flow.rate))
    }

    /// What a node has for an interface whatever waits: 1 % of an even share of the one or
    /// the other.
    fn give_floors(&self, filling: &mut Filling<NODES, INTERFACES>) {
        let nodes = self.nodes.iter().flatten().count().max(1) as u64;
        let rows = filling.flows.iter_mut().zip(&mut filling.nodes).zip(self.nodes);
        for ((flows, node), capacity) in rows {
            let columns = flows.iter_mut().zip(&mut filling.interfaces).zip(self.interfaces);
            for ((flow, interface), rate) in columns {
                let of_node = bits(capacity) / (INTERFACES as u64 * FLOOR);
                flow.take(of_node.min(bits(rate) / (nodes * FLOOR)), node, interface);
            }
        }
    }

    /// Who waits pulls in proportion to what waits, less what the floor gives already, and
    /// less the longer the interface can do without.
    fn pull_by_backlog(&self, loads: &Loads<NODES, INTERFACES>, filling: &mut Filling<NODES, INTERFACES>) {
        for (at, rate) in self.interfaces.into_iter().enumerate() {
            let waits = || self.waits(loads, at);
            let (octets, total) =
                waits().fold((0, 0), |(octets, total), (more, weighed)| (octets + more, total + weighed));
            if total == 0 {
                continue;
            }
            let idle_for = self.beyond_a_period(rate, loads.interfaces.get(at).copied().unwrap_or(0));
            for (row, (_, weighed)) in filling.flows.iter_mut().zip(waits()) {
                if let Some(flow) = row.get_mut(at)
                    && weighed > 0
                {
                    // Below 2^56 * 2^61; then below 2^57 times the octets of all nodes.
                    let share = (u128::from(bits(rate)) << FRACTION) * weighed / total;
                    let beyond = share.saturating_sub(u128::from(flow.rate) << FRACTION);
                    flow.pull = (beyond * octets / (octets + idle_for)).max(1);
                }
            }
        }
    }

    /// Octets that wait for interface `at` at each node, and the same weighed; 0 where they
    /// are not to count.
    fn waits(&self, loads: &Loads<NODES, INTERFACES>, at: usize) -> impl Iterator<Item = (u128, u128)> {
        let rows = loads.nodes.iter().zip(&self.weights).zip(self.nodes);
        rows.map(move |((octets, weights), node)| {
            let octets = octets.get(at).map_or(0, |octets| u128::from((*octets).min(MOST)));
            let weight =
                weights.get(at).map_or(0, |weight| u128::from((*weight).min(QueueConfig::MAX_WEIGHT)));
            if node.is_some() && weight > 0 { (octets, octets * weight) } else { (0, 0) }
        })
    }

    /// Octets at an interface beyond what it sends in a period: as long as it has these, it
    /// does without what comes.
    fn beyond_a_period(&self, rate: Option<Rate>, waiting: u64) -> u128 {
        let sent = u128::from(bits(rate)) * u128::from(self.period.0) / 8_000_000_000;
        u128::from(waiting.min(MOST)).saturating_sub(sent)
    }

    fn pull_by_weight(&self, filling: &mut Filling<NODES, INTERFACES>) {
        for (row, weights) in filling.flows.iter_mut().zip(&self.weights) {
            for ((flow, weight), rate) in row.iter_mut().zip(weights).zip(self.interfaces) {
                flow.pull = u128::from(bits(rate)) * u128::from((*weight).min(QueueConfig::MAX_WEIGHT));
            }
        }
    }
}

fn bits(rate: Option<Rate>) -> u64 {
    rate.map_or(0, Rate::get)
}

/// Rates that rise in proportion to their pulls until a node or an interface can give
/// no more; those of that node or interface stay, and the others rise on.
///
/// That is weighted max-min fairness (D. Bertsekas, R. Gallager, "Data Networks", 6.5.2),
/// and does not leave anything to a flow that pulls at a node and an interface with room.
struct Filling<const NODES: usize, const INTERFACES: usize> {
    nodes: [Limit; NODES],
    interfaces: [Limit; INTERFACES],
    flows: [[Flow; INTERFACES]; NODES],
}

/// What a node or an interface can still give, and what pulls at it.
#[derive(Clone, Copy)]
struct Limit {
    left: u64,
    pull: u128,
    open: bool,
}

#[derive(Clone, Copy)]
struct Flow {
    rate: u64,
    pull: u128,
}

enum Bound {
    Node(usize),
    Interface(usize),
}

impl<const NODES: usize, const INTERFACES: usize> Filling<NODES, INTERFACES> {
    fn new(plan: &Plan<NODES, INTERFACES>) -> Self {
        let limit = |rate| Limit { left: bits(rate), pull: 0, open: false };
        Self {
            nodes: plan.nodes.map(limit),
            interfaces: plan.interfaces.map(limit),
            flows: [[Flow { rate: 0, pull: 0 }; INTERFACES]; NODES],
        }
    }

    fn fill(&mut self) {
        self.open();
        // Each round closes one of them.
        for _ in 0..NODES + INTERFACES {
            match self.first_to_give_out() {
                Some(Bound::Node(at)) => self.close_node(at),
                Some(Bound::Interface(at)) => self.close_interface(at),
                None => break,
            }
        }
    }

    fn open(&mut self) {
        for limit in self.nodes.iter_mut().chain(&mut self.interfaces) {
            (limit.pull, limit.open) = (0, true);
        }
        for (flows, node) in self.flows.iter().zip(&mut self.nodes) {
            for (flow, interface) in flows.iter().zip(&mut self.interfaces) {
                node.pull += flow.pull;
                interface.pull += flow.pull;
            }
        }
    }

    fn first_to_give_out(&self) -> Option<Bound> {
        let nodes = self.nodes.iter().enumerate().map(|(at, limit)| (limit, Bound::Node(at)));
        let interfaces = self.interfaces.iter().enumerate();
        let interfaces = interfaces.map(|(at, limit)| (limit, Bound::Interface(at)));
        let open = nodes.chain(interfaces).filter(|(limit, _)| limit.open && limit.pull > 0);
        let first = open.min_by(|(one, _), (other, _)| {
            // Of left / pull; below 2^40 * 2^80.
            (u128::from(one.left) * other.pull).cmp(&(u128::from(other.left) * one.pull))
        });
        first.map(|(_, bound)| bound)
    }

    fn close_node(&mut self, at: usize) {
        let (Some(node), Some(flows)) = (self.nodes.get_mut(at), self.flows.get_mut(at)) else { return };
        node.open = false;
        let Limit { left, pull, .. } = *node;
        for (flow, interface) in flows.iter_mut().zip(&mut self.interfaces) {
            if interface.open {
                flow.settle(left, pull, node, interface);
            }
        }
    }

    fn close_interface(&mut self, at: usize) {
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        interface.open = false;
        let Limit { left, pull, .. } = *interface;
        for (flows, node) in self.flows.iter_mut().zip(&mut self.nodes) {
            if let Some(flow) = flows.get_mut(at)
                && node.open
            {
                flow.settle(left, pull, node, interface);
            }
        }
    }
}

impl Flow {
    /// Takes its part of what is `left`. Rounded down, so that the parts never add up to
    /// more, nor is there less for it where something else gives out later.
    fn settle(&mut self, left: u64, pull: u128, node: &mut Limit, interface: &mut Limit) {
        // Below 2^40 * 2^57, and not above `left`.
        let part = u128::from(left) * self.pull / pull.max(1);
        self.take(u64::try_from(part).unwrap_or(0), node, interface);
        node.pull = node.pull.saturating_sub(self.pull);
        interface.pull = interface.pull.saturating_sub(self.pull);
    }

    fn take(&mut self, rate: u64, node: &mut Limit, interface: &mut Limit) {
        let rate = rate.min(node.left).min(interface.left);
        self.rate += rate;
        node.left -= rate;
        interface.left -= rate;
    }
}
