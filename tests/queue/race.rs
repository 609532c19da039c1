//! How far apart two queues get in any span of a run.

use fastpath::queue::BoxedWdrr;
use fastpath::time::Nanos;

use crate::ledger::Ledger;

/// How far one queue got ahead of another in any span of a run, by octets over quanta.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Race {
    gap: i128,
    lowest: i128,
    /// The most, in octets times the other's quantum.
    pub(crate) worst: i128,
}

impl Race {
    /// What it sent, times the other's quantum; or less what the other sent, times its own.
    pub(crate) fn add(&mut self, more: i128) {
        self.gap += more;
        self.lowest = self.lowest.min(self.gap);
        self.worst = self.worst.max(self.gap - self.lowest);
    }

    /// Whether it never got ahead by `rounds + longest / a + longest / b` rounds of both quanta.
    pub(crate) fn below(&self, a: i128, b: i128, longest: u32, rounds: i128) -> bool {
        self.worst < rounds * a * b + i128::from(longest) * (a + b)
    }
}

/// Fills a queue up to eight packets.
pub(crate) fn refill(ledger: &mut Ledger<BoxedWdrr<u32>>, queue: usize, mut octets: impl FnMut() -> u32) {
    while ledger.pages[queue].waiting.len() < 8 {
        ledger.offer(Nanos::ZERO, queue, octets()).unwrap();
    }
}
