//! A node's side of an exchange.

use core::ops::Deref;

use super::Exchange;
use super::cells::{Cells, Grant};
use super::sync::Ordering::Relaxed;
use crate::queue::Rate;

/// One node of an [`Exchange`]: who holds it may send at the rates that it was told.
///
/// A member reads its rates with [`rates`](Self::rates), between two vectors of packets, and
/// reports what waits with [`report`](Self::report), at least once a period. Each is a load
/// or a store for each interface, and waits for nobody.
///
/// Dropping it frees the node's seat for another member, who is granted the same rates: who
/// drops one sends no more, or hands on the schedulers together with the seat. `E` leads to
/// the exchange: `&Exchange`, `Arc<Exchange>`.
#[derive(Debug)]
pub struct Member<E, const NODES: usize, const INTERFACES: usize>
where
    E: Deref<Target = Exchange<NODES, INTERFACES>>,
{
    exchange: E,
    at: usize,
    in_force: [Grant; INTERFACES],
}

impl<E, const NODES: usize, const INTERFACES: usize> Member<E, NODES, INTERFACES>
where
    E: Deref<Target = Exchange<NODES, INTERFACES>>,
{
    /// Takes the seat of node `at`; `None` if it is taken, or if there is none. Whatever
    /// the node's schedulers were set to, nothing may be sent before [`rates`](Self::rates).
    pub fn join(exchange: E, at: usize) -> Option<Self> {
        let free = exchange.nodes().get(at)?.told.sit_down();
        free.then(|| Self { exchange, at, in_force: [Grant::NEVER; INTERFACES] })
    }

    /// Which node it is.
    pub const fn node(&self) -> usize {
        self.at
    }

    /// What leads to the exchange.
    pub const fn exchange(&self) -> &E {
        &self.exchange
    }

    /// Calls `apply` with each interface and its rate, if that is another than before:
    /// `None` is to send nothing.
    ///
    /// When `apply` returns, the rate is in force: nothing is sent any more at the rate before.
    /// Others rise on the strength of that.
    pub fn rates(&mut self, mut apply: impl FnMut(usize, Option<Rate>)) {
        let Some(Cells { granted, told }) = self.exchange.nodes().get(self.at) else { return };
        let cells = granted.0.iter().zip(&told.confirmed);
        for (at, (in_force, (granted, confirmed))) in self.in_force.iter_mut().zip(cells).enumerate() {
            let grant = Grant::get(granted);
            if grant != *in_force {
                apply(at, grant.rate());
                *in_force = grant;
                grant.put(confirmed);
            }
        }
    }

    /// Says how many octets wait for each interface.
    ///
    /// What is counted in besides is the node's affair: with what arrived in the last period on
    /// top, a node whose queues are short because its rate suffices keeps it. See the [module's
    /// documentation](super).
    pub fn report(&mut self, backlogs: &[u64; INTERFACES]) {
        let Some(Cells { told, .. }) = self.exchange.nodes().get(self.at) else { return };
        for (cell, backlog) in told.backlogs.iter().zip(backlogs) {
            cell.store(*backlog, Relaxed);
        }
        // 0 would be a node that never did.
        let reports = told.reports.load(Relaxed).wrapping_add(1).max(1);
        told.reports.store(reports, Relaxed);
    }
}

impl<E, const NODES: usize, const INTERFACES: usize> Drop for Member<E, NODES, INTERFACES>
where
    E: Deref<Target = Exchange<NODES, INTERFACES>>,
{
    fn drop(&mut self) {
        if let Some(cells) = self.exchange.nodes().get(self.at) {
            cells.told.stand_up();
        }
    }
}
