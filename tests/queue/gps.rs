//! General processor sharing with packets that come in whole: the fluid that a scheduler is
//! measured by where thousands of packets arrive.
//!
//! A. K. Parekh, R. G. Gallager, "A Generalized Processor Sharing Approach to Flow Control in
//! Integrated Services Networks", IEEE/ACM Trans. Networking 1(3), 1993. In doubles: between
//! two events rates are constant, and a run's error is far below an octet. It is held against
//! the exact fluid of `tests/paper` below.

/// A link shared by weight.
#[derive(Clone, Debug)]
pub(crate) struct Gps {
    /// Octets a nanosecond.
    capacity: f64,
    weights: Vec<f64>,
    now: f64,
    waiting: Vec<f64>,
    sent: Vec<f64>,
}

/// Octets that count as none.
const NOTHING: f64 = 1e-7;

impl Gps {
    pub(crate) fn new(bits_per_second: u64, weights: &[f64]) -> Self {
        let none = vec![0.0; weights.len()];
        let capacity = bits_per_second as f64 / 8e9;
        Self { capacity, weights: weights.to_vec(), now: 0.0, waiting: none.clone(), sent: none }
    }

    /// A packet comes, at a time that is not before any other.
    pub(crate) fn arrive(&mut self, at: f64, flow: usize, octets: f64) {
        self.advance(at);
        self.waiting[flow] += octets;
    }

    /// Octets of a flow that have been sent.
    pub(crate) fn sent(&self, flow: usize) -> f64 {
        self.sent[flow]
    }

    pub(crate) fn advance(&mut self, to: f64) {
        while self.now < to {
            let backlogged = |flow: usize| self.waiting[flow] > 0.0;
            let flows: Vec<_> = (0..self.weights.len()).filter(|flow| backlogged(*flow)).collect();
            let weight: f64 = flows.iter().map(|flow| self.weights[*flow]).sum();
            let rate = |flow: usize| self.capacity * self.weights[flow] / weight;
            let drained = flows.iter().map(|flow| self.now + self.waiting[*flow] / rate(*flow));
            let until = drained.fold(to, f64::min);
            for flow in flows {
                let volume = (rate(flow) * (until - self.now)).min(self.waiting[flow]);
                let left = self.waiting[flow] - volume;
                let volume = if left < NOTHING { self.waiting[flow] } else { volume };
                self.waiting[flow] -= volume;
                self.sent[flow] += volume;
            }
            self.now = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gps;
    use crate::fluid::{Curves, Flow, Ratio};

    /// Figure 7 in small packets is the exact fluid of Figure 7, to a few of them.
    #[test]
    fn packets_that_come_in_whole_are_the_fluid() {
        let shares = [30, 25, 20, 15, 10];
        let flow = |(n, weight)| {
            let steps = vec![(Ratio::new(n, 5), 400.into()), (Ratio::new(n + 5, 5), Ratio::ZERO)];
            Flow { weight, arrivals: steps, limit: None }
        };
        let flows: Vec<_> = (0..).zip(shares).map(flow).collect();
        let curves = Curves::new(800.into(), &flows, 3.into());
        let mut gps = Gps::new(800_000_000, &shares.map(|share| share as f64));
        // 500 octets in 10 us are 400 Mb/s.
        for step in 0..260_000_u64 {
            let at = step as f64 * 10_000.0;
            for flow in 0..5 {
                let start = flow * 20_000;
                if (start..start + 100_000).contains(&step) {
                    gps.arrive(at, flow as usize, 500.0);
                }
            }
            gps.advance(at);
            if step % 1999 == 0 {
                for flow in 0..5 {
                    let exact = curves.sent(flow, Ratio::ZERO, Ratio::new(step.into(), 100_000));
                    let off = (gps.sent(flow) - exact.as_f64() * 125_000.0).abs();
                    assert!(off < 2500.0, "{off} octets of flow {flow} at {at} ns");
                }
            }
        }
    }
}
