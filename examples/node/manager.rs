//! A slice's manager: its control, and its slow path.
//!
//! An IPv4 slice with an address has the library's manager, which answers by the book: see
//! `docs/slow_path.md`. Others take their exceptions and count them.

use fastpath::exit::Exception;
use fastpath::io::Buffers;
use fastpath::manager::{Config, Driver, Link, Meaning, Rates, Results};
use fastpath::node::SliceControl;
use fastpath::time::Nanos;

use super::config::SlicePlan;
use super::feed::{Buffer, HEADROOM};

pub(crate) struct Manager {
    driver: Driver<Buffer>,
    answers: bool,
    /// Exceptions taken.
    pub(crate) taken: u64,
}

impl Manager {
    /// The manager of the slice that `plan` describes, whose results and filters are set.
    pub(crate) fn new(control: SliceControl<Buffer>, plan: &SlicePlan) -> Self {
        // In-band: what a full queue drops is then seen in a vector, and can be counted.
        let mut results = Results::new(plan.request.links.iter().map(|link| link.mtu)).in_band();
        plan.results.iter().zip(0..).for_each(|(action, result)| results.set(result, *action, None));
        // The slice's one address is that of all its links.
        let link = plan.address.map(|address| Link::new(address, 32));
        let limit = (plan.request.slow_path.per_second, plan.request.slow_path.burst);
        let mut config = Config {
            links: link.into_iter().cycle().take(plan.request.links.len()).collect(),
            rates: Rates { errors: limit, errors_to_one: limit, replies: limit },
            ..Config::default()
        };
        // A filter that says `slow_path` is for a routing protocol; there is none here.
        config.meanings.set(Exception::Filtered, Meaning::Drop);
        let driver = Driver::new(control, config, results, HEADROOM);
        Self { driver, answers: plan.address.is_some(), taken: 0 }
    }

    /// The slice's control, to read its counters.
    pub(crate) const fn control(&self) -> &SliceControl<Buffer> {
        self.driver.slice()
    }

    /// Packets that the node took.
    pub(crate) const fn injected(&self) -> u64 {
        self.driver.injected()
    }

    /// Takes all exceptions that wait. Buffers come from `pool`, and go back there.
    pub(crate) fn serve(&mut self, now: Nanos, pool: &mut dyn Buffers<Buffer>) {
        if self.answers {
            self.taken += self.driver.serve(now, usize::MAX, pool, &mut |_, packet| Err(packet)) as u64;
            return;
        }
        while let Some(exception) = self.driver.control().take_exception() {
            self.taken += 1;
            pool.give(exception.packet.into_buf());
        }
    }
}
