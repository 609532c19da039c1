//! Who computes rates, and hands them out.

use core::ops::Deref;

use super::cells::Grant;
use super::sync::AtomicU64;
use super::sync::Ordering::Relaxed;
use super::{Exchange, Loads, Plan};
use crate::queue::Rate;
use crate::time::Nanos;

/// Computes the rates of an [`Exchange`] once a period, and hands them out so that those
/// that may be in force never add up to more than there is. One thread has it, a node's
/// own or another.
///
/// See the [module's documentation](super) for why the sums hold.
#[derive(Debug)]
pub struct Coordinator<E, const NODES: usize, const INTERFACES: usize>
where
    E: Deref<Target = Exchange<NODES, INTERFACES>>,
{
    exchange: E,
    plan: Plan<NODES, INTERFACES>,
    flows: [[Flow; INTERFACES]; NODES],
    heard: [Heard; NODES],
    /// When rates are to be computed next.
    next: Nanos,
}

/// Of a node and an interface. Invariant: what the node has in force, or may put in force
/// without a further grant, is at most `counted`.
#[derive(Clone, Copy, Debug)]
struct Flow {
    granted: Grant,
    counted: u64,
    target: u64,
    /// Grants since the last that was confirmed.
    unconfirmed: u32,
}

/// When a node reported last.
#[derive(Clone, Copy, Debug)]
struct Heard {
    reports: u64,
    at: Nanos,
    present: bool,
}

/// Periods without a report before nobody reckons with a node's backlog any more.
const PATIENCE: u64 = 3;

/// Grants that a node may leave unconfirmed, so that no two of them are the same word.
const UNCONFIRMED: u32 = 1 << 23;

impl<E, const NODES: usize, const INTERFACES: usize> Coordinator<E, NODES, INTERFACES>
where
    E: Deref<Target = Exchange<NODES, INTERFACES>>,
{
    /// The coordinator of `exchange`; `None` if it has, or had, another: what that one
    /// granted, nobody else knows.
    pub fn new(exchange: E, plan: Plan<NODES, INTERFACES>) -> Option<Self> {
        let first = exchange.coordinate();
        let flow = Flow { granted: Grant::NONE, counted: 0, target: 0, unconfirmed: 0 };
        let heard = Heard { reports: 0, at: Nanos::ZERO, present: false };
        first.then(|| Self {
            exchange,
            plan,
            flows: [[flow; INTERFACES]; NODES],
            heard: [heard; NODES],
            next: Nanos::ZERO,
        })
    }

    /// Takes note of what nodes confirmed, computes rates if a period has passed, lowers
    /// what is to fall and raises what there is room for.
    ///
    /// The more often it is called the sooner rises follow falls; between two periods it costs a
    /// load for each node and interface, and a comparison.
    pub fn run(&mut self, now: Nanos) {
        self.listen();
        // A clock that stepped back by more is not waited for.
        if now >= self.next || self.next - now > self.plan.period {
            self.next = now + self.plan.period;
            self.compute(now);
            self.settle();
        }
        self.raise();
    }

    /// Says that node `at` sends nothing any more, and will not before it has read its
    /// rates again: that it stopped, is cut off, or was restarted. What it was granted is
    /// free for others.
    ///
    /// This is the caller's word: a node that still sends makes the sums wrong. A node that is
    /// there again has a rate again, once it has reported.
    pub fn gone(&mut self, at: usize) {
        let (Some(flows), Some(cells)) = (self.flows.get_mut(at), self.exchange.nodes().get(at)) else {
            return;
        };
        for (flow, cell) in flows.iter_mut().zip(&cells.granted.0) {
            flow.revoke(cell);
        }
        if let Some(heard) = self.heard.get_mut(at) {
            *heard = Heard { reports: cells.told.reports.load(Relaxed), present: false, ..*heard };
        }
    }

    /// What node `at` has in force for an interface, at most, in bits a second: granted, and
    /// not known to be given up.
    pub fn counted(&self, at: usize, interface: usize) -> u64 {
        self.flows.get(at).and_then(|flows| flows.get(interface)).map_or(0, |flow| flow.counted)
    }

    /// What rates keep to.
    pub const fn plan(&self) -> &Plan<NODES, INTERFACES> {
        &self.plan
    }

    /// Another plan, from the next computation on. Where an interface or a node is to have
    /// less than before, the sums are above it until falls are confirmed, and do not rise.
    pub const fn set_plan(&mut self, plan: Plan<NODES, INTERFACES>) {
        self.plan = plan;
    }

    fn listen(&mut self) {
        for (flows, cells) in self.flows.iter_mut().zip(self.exchange.nodes()) {
            for (flow, confirmed) in flows.iter_mut().zip(&cells.told.confirmed) {
                // An older one than the last says nothing: the node may have read a later one
                // since, and be about to use it.
                if flow.unconfirmed > 0 && Grant::get(confirmed) == flow.granted {
                    (flow.counted, flow.unconfirmed) = (flow.granted.bits(), 0);
                }
            }
        }
    }

    /// Targets, from what nodes reported. What the absent hold is not there for others.
    fn compute(&mut self, now: Nanos) {
        let patience = Nanos(self.plan.period.0.saturating_mul(PATIENCE));
        let interfaces = self.exchange.interface_backlogs();
        let mut loads = Loads { nodes: [[0; INTERFACES]; NODES], interfaces };
        let mut plan = self.plan;
        let rows = self.flows.iter().zip(&mut self.heard).zip(self.exchange.nodes());
        for (((flows, heard), cells), (capacity, row)) in
            rows.zip(plan.nodes.iter_mut().zip(&mut loads.nodes))
        {
            let reports = cells.told.reports.load(Relaxed);
            if reports != heard.reports {
                *heard = Heard { reports, at: now, present: true };
            }
            if heard.present && now - heard.at <= patience {
                *row = cells.told.backlogs();
                continue;
            }
            *capacity = None;
            for (flow, rate) in flows.iter().zip(&mut plan.interfaces) {
                let left = rate.map_or(0, Rate::get).saturating_sub(flow.counted);
                *rate = Rate::bits_per_second(left).ok();
            }
        }
        let targets = plan.rates(&loads);
        for (flow, target) in self.flows.iter_mut().flatten().zip(targets.into_iter().flatten()) {
            flow.target = target;
        }
    }

    /// Grants what is counted already: all that is to fall, and what rises again before its
    /// fall was confirmed.
    fn settle(&mut self) {
        for (flows, cells) in self.flows.iter_mut().zip(self.exchange.nodes()) {
            for (flow, cell) in flows.iter_mut().zip(&cells.granted.0) {
                let bits = flow.target.min(flow.counted);
                if bits != flow.granted.bits() {
                    flow.grant(bits, cell);
                }
            }
        }
    }

    /// Each interface's room goes to those that are to rise, in proportion to how far.
    fn raise(&mut self) {
        for (at, rate) in self.plan.interfaces.into_iter().enumerate() {
            let column = || self.flows.iter().filter_map(|flows| flows.get(at));
            let wanted: u64 = column().map(Flow::wanted).sum();
            if wanted == 0 {
                continue;
            }
            let counted = column().map(|flow| flow.counted).sum();
            let room = rate.map_or(0, Rate::get).saturating_sub(counted);
            self.share_out(at, room.min(wanted), wanted);
        }
    }

    /// Shares `room`, of `wanted` bits a second, of an interface.
    fn share_out(&mut self, at: usize, room: u64, wanted: u64) {
        let rows = self.flows.iter_mut().zip(self.exchange.nodes()).zip(self.plan.nodes);
        for ((flows, cells), capacity) in rows {
            let counted: u64 = flows.iter().map(|flow| flow.counted).sum();
            let of_node = capacity.map_or(0, Rate::get).saturating_sub(counted);
            if let (Some(flow), Some(cell)) = (flows.get_mut(at), cells.granted.0.get(at)) {
                let part = u128::from(room) * u128::from(flow.wanted()) / u128::from(wanted.max(1));
                let part = u64::try_from(part).unwrap_or(0).min(of_node);
                if part > 0 {
                    flow.grant(flow.counted + part, cell);
                }
            }
        }
    }
}

impl Flow {
    /// How far it is to rise above what is counted.
    const fn wanted(&self) -> u64 {
        self.target.saturating_sub(self.counted)
    }

    fn grant(&mut self, bits: u64, cell: &AtomicU64) {
        if self.unconfirmed < UNCONFIRMED {
            // Counted before it is handed out.
            self.counted = self.counted.max(bits);
            self.put(bits, cell);
        }
    }

    /// Takes back what was granted, on the word of the owner that nobody uses it. Past the last
    /// number, too: nothing follows it but 0.
    fn revoke(&mut self, cell: &AtomicU64) {
        (self.target, self.counted) = (0, 0);
        if self.granted.bits() > 0 {
            self.put(0, cell);
        }
    }

    fn put(&mut self, bits: u64, cell: &AtomicU64) {
        self.granted = self.granted.next(bits);
        self.unconfirmed += 1;
        self.granted.put(cell);
    }
}
