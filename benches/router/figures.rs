//! What was found, as a table and as lines of a file.

use std::fmt::Write;

use crate::ends::Seen;

/// What was found of a way.
#[derive(Default)]
pub(crate) struct Found {
    /// Packets a second that arrived, by round, and the part that was lost.
    rates: Vec<f64>,
    losses: Vec<f64>,
    /// Nanoseconds of the worker's for each packet that arrived, its kernel's work included.
    spent: Vec<f64>,
    /// Nanoseconds on the way, in order, and at how many packets a second.
    times: Vec<u64>,
    offered: Vec<f64>,
}

/// The headings of the file.
pub(crate) const HEADINGS: &str = "routes,size,ports,pps,pps_least,pps_most,ns,worker_ns,to_kernel,loss,offered_pps,p50_ns,p99_ns,p999_ns,max_ns\n";

/// The headings of the table.
pub(crate) const HEAD: &str = "\
| ports | kpps (least to most) | ns a packet | worker's ns | to kernel | lost | offered, kpps | p50, us | p99 | p99.9 | most |
|---|---|---|---|---|---|---|---|---|---|---|";

fn median(of: &[f64]) -> f64 {
    let mut of = of.to_vec();
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Found {
    /// Adds a round without rest.
    pub(crate) fn add(&mut self, seen: &Seen) {
        self.rates.push(seen.received as f64 / seen.seconds);
        self.spent.extend(seen.spent.map(|spent| spent as f64 / seen.received.max(1) as f64));
        // A window may see more arrive than leave.
        self.losses.push((1.0 - seen.received as f64 / seen.sent.max(1) as f64).max(0.0));
    }

    /// Adds a round at a moderate rate.
    pub(crate) fn add_times(&mut self, seen: Seen) {
        self.offered.push(seen.sent as f64 / seen.seconds);
        self.times.extend(seen.times);
        self.times.sort_unstable();
    }

    /// Packets a second, the median.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn extremes(&self) -> [f64; 2] {
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        [least, self.rates.iter().copied().fold(0.0, f64::max)]
    }

    /// The times that so many of a thousand packets did not exceed, and the longest.
    fn percentiles(&self) -> [f64; 4] {
        [500, 990, 999, 1000].map(|part| {
            let at = (self.times.len() * part).div_ceil(1000).saturating_sub(1);
            self.times.get(at).map_or(f64::NAN, |time| *time as f64)
        })
    }

    /// The worker's nanoseconds; nothing where there is no worker.
    fn spent(&self) -> String {
        if self.spent.is_empty() { "-".into() } else { format!("{:.0}", median(&self.spent)) }
    }

    /// A line of the table; `kernel` is the kernel's rate.
    pub(crate) fn row(&self, name: &str, kernel: f64) -> String {
        let (rate, [least, most]) = (self.rate(), self.extremes());
        let mut row = format!(
            "| {name} | {:.0} ({:.0} to {:.0}) | {:.0} | {} | {:.2} | {:.0} % | {:.0} ",
            rate / 1e3,
            least / 1e3,
            most / 1e3,
            1e9 / rate,
            self.spent(),
            rate / kernel,
            100.0 * median(&self.losses),
            median(&self.offered) / 1e3
        );
        for time in self.percentiles() {
            let _ = write!(row, "| {:.0} ", time / 1e3);
        }
        row + "|"
    }

    /// A line of the file.
    pub(crate) fn csv(&self, routes: usize, size: &str, name: &str, kernel: f64) -> String {
        let (rate, [least, most]) = (self.rate(), self.extremes());
        let mut line = format!(
            "{routes},{size},{name},{rate:.0},{least:.0},{most:.0},{:.1},{},{:.3}",
            1e9 / rate,
            self.spent(),
            rate / kernel
        );
        let _ = write!(line, ",{:.4},{:.0}", median(&self.losses), median(&self.offered));
        for time in self.percentiles() {
            let _ = write!(line, ",{time:.0}");
        }
        line + "\n"
    }
}
