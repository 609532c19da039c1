//! Each interface's rate, shared among workers as their backlogs ask.

use std::boxed::Box;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use crate::queue::Rate;
use crate::queue::exchange::{Coordinator, Exchange, Member, Plan};
use crate::time::Nanos;

/// Interfaces of a node.
pub(super) const INTERFACES: usize = 16;

/// A worker's part in the exchange of rates; the smallest that the workers fit is chosen, for
/// its cost grows with their number.
pub(super) trait Share: Send {
    /// Reads this worker's rates, and lets `apply` put those in force that are others than
    /// before.
    fn look(&mut self, now: Nanos, apply: &mut dyn FnMut(usize, Option<Rate>));

    /// Says what waits, or is about to.
    fn report(&mut self, octets: &[u64; INTERFACES]);

    /// Says what the interfaces' rates are.
    fn set(&mut self, rates: [Option<Rate>; INTERFACES]);
}

type Shared<const N: usize> = Arc<Exchange<N, INTERFACES>>;

struct Seat<const N: usize> {
    member: Member<Shared<N>, N, INTERFACES>,
    /// Whoever comes first computes for all. Nobody waits for it.
    coordinator: Arc<Mutex<Coordinator<Shared<N>, N, INTERFACES>>>,
}

impl<const N: usize> Share for Seat<N> {
    fn look(&mut self, now: Nanos, apply: &mut dyn FnMut(usize, Option<Rate>)) {
        if let Ok(mut coordinator) = self.coordinator.try_lock() {
            coordinator.run(now);
        }
        self.member.rates(apply);
    }

    fn report(&mut self, octets: &[u64; INTERFACES]) {
        self.member.report(octets);
    }

    fn set(&mut self, rates: [Option<Rate>; INTERFACES]) {
        let Ok(mut coordinator) = self.coordinator.lock() else { return };
        let plan = *coordinator.plan();
        if plan.interfaces != rates {
            coordinator.set_plan(Plan { interfaces: rates, ..plan });
        }
    }
}

/// A seat for each of `workers` workers; none if there are more than [`MOST`].
pub(super) fn seats(workers: usize, period: Nanos) -> Option<Vec<Box<dyn Share>>> {
    match workers {
        ..=2 => of::<2>(workers, period),
        3..=4 => of::<4>(workers, period),
        5..=8 => of::<8>(workers, period),
        9..=MOST => of::<MOST>(workers, period),
        _ => None,
    }
}

/// Workers that can share rates.
pub(super) const MOST: usize = 32;

fn of<const N: usize>(workers: usize, period: Nanos) -> Option<Vec<Box<dyn Share>>> {
    let exchange: Shared<N> = Arc::default();
    let here = |at: usize| at < workers;
    let nodes = core::array::from_fn(|at| here(at).then_some(Rate::MAX));
    let weights = core::array::from_fn(|at| [u32::from(here(at)); INTERFACES]);
    let plan = Plan { weights, ..Plan::new([None; INTERFACES], nodes, period) };
    let coordinator = Arc::new(Mutex::new(Coordinator::new(exchange.clone(), plan)?));
    let seat = |at| -> Option<Box<dyn Share>> {
        let member = Member::join(exchange.clone(), at)?;
        Some(Box::new(Seat { member, coordinator: coordinator.clone() }))
    };
    (0..workers).map(seat).collect()
}
