//! A weighted fair link as a fluid: what a packet scheduler would do if packets had
//! no size.
//!
//! A. K. Parekh, R. G. Gallager, "A Generalized Processor Sharing Approach to Flow
//! Control in Integrated Services Networks", IEEE/ACM Trans. Networking 1(3), 1993.
//! Between two events all rates are constant, so it goes from event to event, in
//! fractions: nothing is rounded, and what enters is what leaves, to the last bit.

use std::iter::Sum;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A fraction. Arithmetic panics where 127 bits do not hold it.
///
/// Invariant: lowest terms, `den > 0`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ratio {
    num: i128,
    den: i128,
}

impl Ratio {
    pub(crate) const ZERO: Self = Self { num: 0, den: 1 };

    /// `num / den`; panics if `den` is 0.
    pub(crate) fn new(num: i128, den: i128) -> Self {
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let common = a.abs() * den.signum();
        Self { num: num / common, den: den / common }
    }

    pub(crate) fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    fn is_positive(self) -> bool {
        self.num > 0
    }
}

impl From<i64> for Ratio {
    fn from(n: i64) -> Self {
        Self { num: n.into(), den: 1 }
    }
}

impl Neg for Ratio {
    type Output = Self;
    fn neg(self) -> Self {
        Self { num: -self.num, den: self.den }
    }
}

impl Add for Ratio {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let num = times(self.num, other.den).checked_add(times(other.num, self.den));
        Self::new(num.expect(TOO_LONG), times(self.den, other.den))
    }
}

impl Sub for Ratio {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Ratio {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::new(times(self.num, other.num), times(self.den, other.den))
    }
}

impl Div for Ratio {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self::new(times(self.num, other.den), times(self.den, other.num))
    }
}

impl Sum for Ratio {
    fn sum<I: Iterator<Item = Self>>(ratios: I) -> Self {
        ratios.fold(Self::ZERO, Add::add)
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        times(self.num, other.den).cmp(&times(other.num, self.den))
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn times(a: i128, b: i128) -> i128 {
    a.checked_mul(b).expect(TOO_LONG)
}

const TOO_LONG: &str = "a fraction of this run needs more than 127 bits";

/// One queue of the link, and what flows into it. Units of time and volume are the
/// caller's; a rate is volume by time.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Its share, relative to the other weights; above 0.
    pub(crate) weight: i64,
    /// Its arrival rate, as (from when on, rate), in order of time; 0 before the first.
    pub(crate) arrivals: Vec<(Ratio, Ratio)>,
    /// The volume that may wait, if there is a limit: what comes on top is lost.
    pub(crate) limit: Option<Ratio>,
}

impl Flow {
    fn arriving(&self, at: Ratio) -> Ratio {
        let past = self.arrivals.iter().take_while(|(from, _)| *from <= at);
        past.last().map_or(Ratio::ZERO, |(_, rate)| *rate)
    }
}

/// A stretch of time in which every rate is constant. Vectors are indexed by flow.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) start: Ratio,
    pub(crate) end: Ratio,
    /// Rates into the queues, lost or not.
    pub(crate) arriving: Vec<Ratio>,
    /// Rates onto the link.
    pub(crate) leaving: Vec<Ratio>,
    /// Rates of loss.
    pub(crate) losing: Vec<Ratio>,
    /// What waits at `start`.
    pub(crate) waiting: Vec<Ratio>,
}

impl Piece {
    /// What waits in the queue of `flow`, `span` after the start.
    fn waiting_after(&self, flow: usize, span: Ratio) -> Ratio {
        let growth = self.arriving[flow] - self.leaving[flow] - self.losing[flow];
        self.waiting[flow] + growth * span
    }
}

/// Everything the link did, piece by piece, without gaps.
#[derive(Clone, Debug)]
pub(crate) struct Curves {
    pub(crate) pieces: Vec<Piece>,
}

impl Curves {
    /// What a link of this `capacity` does from time 0, with empty queues, to `end`.
    pub(crate) fn new(capacity: Ratio, flows: &[Flow], end: Ratio) -> Self {
        let mut pieces = Vec::new();
        let mut start = Ratio::ZERO;
        let mut waiting = vec![Ratio::ZERO; flows.len()];
        while start < end {
            let arriving: Vec<_> = flows.iter().map(|flow| flow.arriving(start)).collect();
            let demands = waiting.iter().zip(&arriving);
            let demands: Vec<_> =
                demands.map(|(waiting, rate)| (!waiting.is_positive()).then_some(*rate)).collect();
            let leaving = max_min(capacity, flows, &demands);
            let mut losing = vec![Ratio::ZERO; flows.len()];
            let mut next = end;
            for (n, flow) in flows.iter().enumerate() {
                let growth = arriving[n] - leaving[n];
                let room = flow.limit.map(|limit| limit - waiting[n]);
                if (-growth).is_positive() {
                    next = next.min(start + waiting[n] / -growth);
                } else if growth.is_positive() {
                    match room {
                        Some(room) if room.is_positive() => next = next.min(start + room / growth),
                        Some(_) => losing[n] = growth,
                        None => {}
                    }
                }
                let step = flow.arrivals.iter().map(|(from, _)| *from).find(|from| *from > start);
                next = next.min(step.unwrap_or(end));
            }
            let piece = Piece { start, end: next, arriving, leaving, losing, waiting };
            let after = |flow| piece.waiting_after(flow, next - start);
            waiting = (0..flows.len()).map(after).collect();
            pieces.push(piece);
            start = next;
        }
        Self { pieces }
    }

    /// The volume that came for `flow` between two times.
    pub(crate) fn arrived(&self, flow: usize, from: Ratio, to: Ratio) -> Ratio {
        self.volume(from, to, |piece| piece.arriving[flow])
    }

    /// The volume of `flow` that left by the link between two times.
    pub(crate) fn sent(&self, flow: usize, from: Ratio, to: Ratio) -> Ratio {
        self.volume(from, to, |piece| piece.leaving[flow])
    }

    /// The volume of `flow` that was lost between two times.
    pub(crate) fn lost(&self, flow: usize, from: Ratio, to: Ratio) -> Ratio {
        self.volume(from, to, |piece| piece.losing[flow])
    }

    /// What waits in the queue of `flow` at a time.
    pub(crate) fn waiting(&self, flow: usize, at: Ratio) -> Ratio {
        let piece = self.pieces.iter().find(|piece| at <= piece.end).expect("a time within the run");
        piece.waiting_after(flow, at - piece.start)
    }

    fn volume(&self, from: Ratio, to: Ratio, rate: impl Fn(&Piece) -> Ratio) -> Ratio {
        let part = |piece: &Piece| {
            let span = piece.end.min(to) - piece.start.max(from);
            rate(piece) * span.max(Ratio::ZERO)
        };
        self.pieces.iter().map(part).sum()
    }
}

/// The weighted max-min fair rates: no flow gets more than it demands (`None`: it takes
/// what it is given), and nobody gets more, by weight, than one who wants more.
fn max_min(capacity: Ratio, flows: &[Flow], demands: &[Option<Ratio>]) -> Vec<Ratio> {
    let mut rates: Vec<Option<Ratio>> = vec![None; flows.len()];
    loop {
        let left = capacity - rates.iter().flatten().copied().sum();
        let open = flows.iter().zip(&rates).filter(|(_, rate)| rate.is_none());
        let weight: i64 = open.map(|(flow, _)| flow.weight).sum();
        let share = |flow: &Flow| left * Ratio::new(flow.weight.into(), weight.into());
        let mut settled = rates.clone();
        for ((rate, flow), demand) in settled.iter_mut().zip(flows).zip(demands) {
            if rate.is_none() {
                *rate = demand.filter(|demand| *demand <= share(flow));
            }
        }
        if settled == rates {
            let rates = rates.iter().zip(flows);
            return rates.map(|(rate, flow)| rate.unwrap_or_else(|| share(flow))).collect();
        }
        rates = settled;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Figure 7 at its full length: five sources of 400 Mb/s for 10 s, 2 s apart, on
    /// 800 Mb/s. Seconds and megabits.
    fn figure_7() -> Curves {
        let flow = |(n, weight)| Flow {
            weight,
            arrivals: vec![(Ratio::from(2 * n), 400.into()), (Ratio::from(2 * n + 10), Ratio::ZERO)],
            limit: None,
        };
        let flows: Vec<_> = (0i64..).zip([30, 25, 20, 15, 10]).map(flow).collect();
        Curves::new(800.into(), &flows, 26.into())
    }

    /// From when on (s), rates onto the link (Mb/s), what waits then (Mb): worked out
    /// apart from this file.
    #[rustfmt::skip]
    const FIGURE_7: [(f64, [f64; 5], [f64; 5]); 14] = [
        (0.0,    [400.0, 0.0, 0.0, 0.0, 0.0],         [0.0, 0.0, 0.0, 0.0, 0.0]),
        (2.0,    [400.0, 400.0, 0.0, 0.0, 0.0],       [0.0, 0.0, 0.0, 0.0, 0.0]),
        (4.0,    [320.0, 266.7, 213.3, 0.0, 0.0],     [0.0, 0.0, 0.0, 0.0, 0.0]),
        (6.0,    [266.7, 222.2, 177.8, 133.3, 0.0],   [160.0, 266.7, 373.3, 0.0, 0.0]),
        (8.0,    [240.0, 200.0, 160.0, 120.0, 80.0],  [426.7, 622.2, 817.8, 533.3, 0.0]),
        (10.0,   [240.0, 200.0, 160.0, 120.0, 80.0],  [746.7, 1022.2, 1297.8, 1093.3, 640.0]),
        (12.0,   [240.0, 200.0, 160.0, 120.0, 80.0],  [266.7, 1422.2, 1777.8, 1653.3, 1280.0]),
        (13.111, [0.0, 285.7, 228.6, 171.4, 114.3],   [0.0, 1200.0, 2044.4, 1964.4, 1635.6]),
        (14.0,   [0.0, 285.7, 228.6, 171.4, 114.3],   [0.0, 946.0, 2196.8, 2167.6, 1889.5]),
        (16.0,   [0.0, 285.7, 228.6, 171.4, 114.3],   [0.0, 374.6, 1739.7, 2624.8, 2461.0]),
        (17.311, [0.0, 0.0, 355.6, 266.7, 177.8],     [0.0, 0.0, 1440.0, 2400.0, 2835.6]),
        (18.0,   [0.0, 0.0, 355.6, 266.7, 177.8],     [0.0, 0.0, 1195.1, 2216.3, 2988.6]),
        (21.361, [0.0, 0.0, 0.0, 480.0, 320.0],       [0.0, 0.0, 0.0, 1320.0, 2391.1]),
        (24.111, [0.0, 0.0, 0.0, 0.0, 800.0],         [0.0, 0.0, 0.0, 0.0, 1511.1]),
    ];

    #[test]
    fn figure_7_is_the_table_worked_out_by_hand() {
        let pieces = figure_7().pieces;
        assert_eq!(pieces.len(), FIGURE_7.len());
        for (piece, (start, rates, waiting)) in pieces.iter().zip(FIGURE_7) {
            let near = |ratio: Ratio, decimal: f64, unit: f64| {
                let off = (ratio.as_f64() - decimal).abs();
                assert!(off <= 0.501 * unit, "from {start} s: {} and {decimal}", ratio.as_f64());
            };
            near(piece.start, start, 0.001);
            piece.leaving.iter().zip(rates).for_each(|(ours, table)| near(*ours, table, 0.1));
            piece.waiting.iter().zip(waiting).for_each(|(ours, table)| near(*ours, table, 0.1));
        }
    }

    #[test]
    fn the_queues_of_figure_7_run_empty_at_exact_times() {
        let pieces = figure_7().pieces;
        let empty: Vec<_> = [7, 10, 12, 13].map(|n| pieces[n].start).to_vec();
        let exact = [(118, 9), (779, 45), (769, 36), (217, 9)];
        assert_eq!(empty, exact.map(|(num, den)| Ratio::new(num, den)));
    }

    #[test]
    fn figure_7_sends_all_it_was_given() {
        let (curves, end) = (figure_7(), Ratio::from(26));
        let sum = |volume: &dyn Fn(usize) -> Ratio| (0..5).map(volume).sum::<Ratio>();
        assert_eq!(sum(&|flow| curves.arrived(flow, Ratio::ZERO, end)), 20_000.into());
        assert_eq!(sum(&|flow| curves.sent(flow, Ratio::ZERO, end)), 20_000.into());
        assert_eq!(sum(&|flow| curves.lost(flow, Ratio::ZERO, end)), Ratio::ZERO);
        assert_eq!(sum(&|flow| curves.waiting(flow, end)), Ratio::ZERO);
        assert_eq!(sum(&|flow| curves.waiting(flow, 16.into())), 7200.into(), "the most that ever waits");
    }

    /// The hot output of Figure 8: 1.6 Gb/s into 0.8 for 2 s, with 25 MB of buffer.
    #[test]
    fn a_full_buffer_loses_what_the_link_cannot_take() {
        let arrivals = vec![(Ratio::ZERO, 1600.into()), (2.into(), Ratio::ZERO)];
        let flow = Flow { weight: 1, arrivals, limit: Some(200.into()) };
        let curves = Curves::new(800.into(), &[flow], 3.into());
        let starts: Vec<_> = curves.pieces.iter().map(|piece| piece.start).collect();
        assert_eq!(starts, [(0, 1), (1, 4), (2, 1), (9, 4)].map(|(num, den)| Ratio::new(num, den)));
        assert_eq!(curves.lost(0, Ratio::ZERO, 3.into()), 1400.into());
        assert_eq!(curves.sent(0, Ratio::ZERO, 3.into()), 1800.into());
        assert_eq!(curves.waiting(0, Ratio::new(17, 8)), 100.into());
    }

    fn flow() -> impl Strategy<Value = Flow> {
        let step = (1..4i64, 0..13i64);
        let limit = prop::option::of(0..9i64);
        (1..5i64, prop::collection::vec(step, 0..4), limit).prop_map(|(weight, steps, limit)| {
            let mut at = -1;
            let step = |(after, rate)| {
                at += after;
                (Ratio::from(at), Ratio::from(rate))
            };
            let arrivals = steps.into_iter().map(step).collect();
            Flow { weight, arrivals, limit: limit.map(Ratio::from) }
        })
    }

    proptest! {
        /// What defines the fluid, asked of every piece without looking at how it came
        /// to be: volume is kept, the link works if it can, and a flow that gets less
        /// than it wants gets as much by weight as any.
        #[test]
        fn every_piece_is_fair_and_work_conserving(flows in prop::collection::vec(flow(), 1..4)) {
            let (capacity, end) = (Ratio::from(6), Ratio::from(16));
            let curves = Curves::new(capacity, &flows, end);
            let mut start = Ratio::ZERO;
            for piece in &curves.pieces {
                prop_assert!(piece.start == start && piece.end > start, "no gaps");
                start = piece.end;
                let weight = |flow: usize| Ratio::from(flows[flow].weight);
                let best = (0..flows.len()).map(|flow| piece.leaving[flow] / weight(flow)).max();
                let total: Ratio = piece.leaving.iter().copied().sum();
                prop_assert!(total <= capacity);
                for (n, flow) in flows.iter().enumerate() {
                    let (rate, waiting) = (piece.leaving[n], piece.waiting[n]);
                    prop_assert_eq!(piece.arriving[n], flow.arriving(piece.start));
                    let wants_more = waiting > Ratio::ZERO || piece.arriving[n] > rate;
                    if wants_more {
                        prop_assert_eq!(total, capacity);
                        prop_assert_eq!(Some(rate / weight(n)), best);
                    } else {
                        prop_assert_eq!(rate, piece.arriving[n]);
                    }
                    prop_assert!(piece.waiting_after(n, piece.end - piece.start) >= Ratio::ZERO);
                    prop_assert!(flow.limit.is_none_or(|limit| waiting <= limit));
                    let loses = piece.losing[n] > Ratio::ZERO;
                    prop_assert!(!loses || Some(waiting) == flow.limit, "lost with room left");
                }
            }
            prop_assert_eq!(start, end);
            for flow in 0..flows.len() {
                let spent = curves.sent(flow, Ratio::ZERO, end) + curves.lost(flow, Ratio::ZERO, end);
                let arrived = curves.arrived(flow, Ratio::ZERO, end);
                prop_assert_eq!(arrived, spent + curves.waiting(flow, end));
            }
        }
    }
}
