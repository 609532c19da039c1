//! Traffic: which item, how long a frame, and when it arrives.
//!
//! Sizes are octets of an Ethernet frame from the destination address to the frame
//! check sequence, as RFC 2544 counts: 64 to 1518. On the wire a frame takes
//! [`WIRE_OVERHEAD`] octets more, and it holds [`FRAME_OVERHEAD`] octets that are not
//! its IP packet.
//!
//! ```
//! use fastpath::time::Nanos;
//! use fastpath::workloads::traffic::{ConstantBitRate, FrameSizes, Zipf};
//!
//! // 64-octet frames at 10 Gb/s: 14.88 million a second, 67.2 ns each.
//! let mut line = ConstantBitRate::new(10_000_000_000, FrameSizes::fixed(64))?;
//! assert_eq!(line.nth(10).map(|arrival| arrival.at), Some(Nanos(672)));
//!
//! // A million flows, of which few carry most of the packets.
//! let flows = Zipf::new(1_000_000, 1.1, 1)?;
//! let of_the_first_100 = flows.take(10_000).filter(|&flow| flow < 100).count();
//! assert!(of_the_first_100 > 4_000);
//! # Ok::<(), fastpath::workloads::traffic::TrafficError>(())
//! ```

use core::fmt;
use std::vec::Vec;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Exp1, Geometric};

use crate::time::Nanos;
use crate::workloads::{Random, random};

/// Octets a frame takes on the wire beside itself: preamble and start delimiter 8,
/// gap 12 (IEEE 802.3).
pub const WIRE_OVERHEAD: u32 = 20;

/// Octets of a frame beside its IP packet: header 14, frame check sequence 4.
pub const FRAME_OVERHEAD: u32 = 18;

/// The "simple IMIX", as counts and octets of frames: 28 of 64, 16 of 570 and 4 of
/// 1518, 353.8 on average.
///
/// Seven short frames to four of middle length to one long one; RFC 6985 tells where
/// it comes from and how such a mix is named.
pub const IMIX: [(u32, u32); 3] = [(28, 64), (16, 570), (4, 1518)];

/// What a generator of traffic cannot be made of.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// There is nothing to choose from.
    #[error("there are no items to choose from; allowed is one and more")]
    Empty,
    /// No exponent of Zipf's law.
    #[error("the exponent is {0}; allowed is a finite number from 0")]
    Exponent(f64),
    /// No bits in a second.
    #[error("the rate is 0 bit/s; allowed is 1 and more")]
    BitRate,
    /// No rate of a Poisson process.
    #[error("the rate is {0} packets a second; allowed is a finite number above 0")]
    PacketRate(f64),
    /// No mean of a burst.
    #[error("the mean burst is {0} packets; allowed is a finite number from 1")]
    Burst(f64),
}

/// Items of a set, each as likely as any other: an endless iterator of indices.
#[derive(Clone, Debug)]
pub struct Uniform {
    items: usize,
    random: Random,
}

impl Uniform {
    /// Indices from 0 to `items` - 1.
    ///
    /// # Errors
    ///
    /// [`TrafficError::Empty`] for 0 items.
    pub fn new(items: usize, seed: u64) -> Result<Self, TrafficError> {
        if items == 0 { Err(TrafficError::Empty) } else { Ok(Self { items, random: random(seed) }) }
    }
}

impl Iterator for Uniform {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        Some(self.random.random_range(0..self.items))
    }
}

/// Items of a set by Zipf's law: an endless iterator of indices.
///
/// Index k is drawn with a probability in proportion to 1 / (k + 1)^s, so index 0 is the
/// most popular (G. K. Zipf, "Human Behavior and the Principle of Least Effort", 1949).
/// Measured popularity of destinations and flows has s near 1; 0 is uniform.
#[derive(Clone)]
pub struct Zipf {
    items: usize,
    law: rand_distr::Zipf<f64>,
    random: Random,
}

impl Zipf {
    /// Indices from 0 to `items` - 1 with exponent s.
    ///
    /// # Errors
    ///
    /// [`TrafficError::Empty`] for 0 items, [`TrafficError::Exponent`] for an s that is
    /// negative or not finite.
    pub fn new(items: usize, s: f64, seed: u64) -> Result<Self, TrafficError> {
        if items == 0 {
            return Err(TrafficError::Empty);
        }
        if !s.is_finite() {
            return Err(TrafficError::Exponent(s));
        }
        // The integral has another form at 1 and loses its digits just beside it.
        let exponent = if (s - 1.0).abs() < 1e-9 { 1.0 } else { s };
        let law =
            rand_distr::Zipf::new(items as f64, exponent).map_err(|_negative| TrafficError::Exponent(s))?;
        Ok(Self { items, law, random: random(seed) })
    }
}

impl fmt::Debug for Zipf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zipf").field("items", &self.items).field("law", &self.law).finish_non_exhaustive()
    }
}

impl Iterator for Zipf {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let rank = self.law.sample(&mut self.random) as usize;
        Some(rank.clamp(1, self.items) - 1)
    }
}

/// Frame sizes in octets: an endless iterator.
///
/// A mix is exact in each period: every 48 sizes of an IMIX are 28, 16 and 4 of its
/// three, in an order that is drawn anew for each 48.
#[derive(Clone, Debug)]
pub struct FrameSizes {
    /// One period, not empty.
    period: Vec<u32>,
    at: usize,
    random: Random,
}

impl FrameSizes {
    /// One size.
    pub fn fixed(octets: u32) -> Self {
        Self::of([octets].into(), 0)
    }

    /// The mix [`IMIX`].
    pub fn imix(seed: u64) -> Self {
        Self::of(period(&IMIX), seed)
    }

    /// `count` of each size in a period, as `(count, octets)`.
    ///
    /// A period is kept in memory, 4 octets a frame.
    ///
    /// # Errors
    ///
    /// [`TrafficError::Empty`] if all counts are 0.
    pub fn mix(counts: &[(u32, u32)], seed: u64) -> Result<Self, TrafficError> {
        let period = period(counts);
        if period.is_empty() { Err(TrafficError::Empty) } else { Ok(Self::of(period, seed)) }
    }

    /// The mean size in octets, [`WIRE_OVERHEAD`] not counted.
    pub fn mean(&self) -> f64 {
        let sum: u64 = self.period.iter().map(|&octets| u64::from(octets)).sum();
        sum as f64 / self.period.len() as f64
    }

    fn of(period: Vec<u32>, seed: u64) -> Self {
        Self { at: period.len(), period, random: random(seed) }
    }
}

fn period(counts: &[(u32, u32)]) -> Vec<u32> {
    counts.iter().flat_map(|&(count, octets)| (0..count).map(move |_| octets)).collect()
}

impl Iterator for FrameSizes {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.at >= self.period.len() {
            self.period.shuffle(&mut self.random);
            self.at = 0;
        }
        self.at += 1;
        self.period.get(self.at - 1).copied()
    }
}

/// A frame that arrives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Arrival {
    /// When its first octet does, from the start of the process.
    pub at: Nanos,
    /// Its size as the sizes of the process have it, overhead not counted.
    pub octets: u32,
}

/// A wire of some rate. `now` is the time at which it is free, rounded down; what was
/// cut off is in `carry`, so no error adds up.
#[derive(Clone, Debug)]
struct Wire {
    bits_per_second: u64,
    overhead: u32,
    now: Nanos,
    /// In units of 1 / `bits_per_second` nanoseconds; below `bits_per_second`.
    carry: u64,
}

impl Wire {
    fn new(bits_per_second: u64) -> Result<Self, TrafficError> {
        if bits_per_second == 0 {
            return Err(TrafficError::BitRate);
        }
        Ok(Self { bits_per_second, overhead: WIRE_OVERHEAD, now: Nanos::ZERO, carry: 0 })
    }

    fn send(&mut self, octets: u32) -> Arrival {
        let arrival = Arrival { at: self.now, octets };
        let bits = (u128::from(octets) + u128::from(self.overhead)) * 8;
        let units = bits * 1_000_000_000 + u128::from(self.carry);
        let rate = u128::from(self.bits_per_second);
        self.now += Nanos(u64::try_from(units / rate).unwrap_or(u64::MAX));
        self.carry = (units % rate) as u64;
        arrival
    }
}

/// Frames back to back at a constant bit rate, the first at 0.
///
/// Frame n arrives at the time that the n frames before it take, rounded down to a
/// nanosecond: integers only, no drift. Ends with its sizes.
#[derive(Clone, Debug)]
pub struct ConstantBitRate<S> {
    wire: Wire,
    sizes: S,
}

impl<S: Iterator<Item = u32>> ConstantBitRate<S> {
    /// `bits_per_second` count wire octets: the frame and [`WIRE_OVERHEAD`].
    ///
    /// # Errors
    ///
    /// [`TrafficError::BitRate`] for 0.
    pub fn new(bits_per_second: u64, sizes: S) -> Result<Self, TrafficError> {
        Ok(Self { wire: Wire::new(bits_per_second)?, sizes })
    }

    /// Counts `octets` more for each frame in place of [`WIRE_OVERHEAD`]: with 0 the rate
    /// is that of the sizes as they stand.
    #[must_use]
    pub fn overhead(mut self, octets: u32) -> Self {
        self.wire.overhead = octets;
        self
    }
}

impl<S: Iterator<Item = u32>> Iterator for ConstantBitRate<S> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let octets = self.sizes.next()?;
        Some(self.wire.send(octets))
    }
}

/// Frames that arrive independently of each other: exponential gaps, whatever the
/// sizes. Ends with its sizes.
///
/// For a bit rate b, the rate in packets a second is b / (8 * (mean size + overhead)).
#[derive(Clone, Debug)]
pub struct Poisson<S> {
    /// Mean gap in nanoseconds.
    mean: f64,
    now: Nanos,
    /// What the times rounded off: at least 0, below 1.
    carry: f64,
    sizes: S,
    random: Random,
}

impl<S: Iterator<Item = u32>> Poisson<S> {
    /// The first arrival is one gap after 0.
    ///
    /// # Errors
    ///
    /// [`TrafficError::PacketRate`] for a rate that is not a finite number above 0.
    pub fn new(packets_per_second: f64, sizes: S, seed: u64) -> Result<Self, TrafficError> {
        if !(packets_per_second > 0.0 && packets_per_second.is_finite()) {
            return Err(TrafficError::PacketRate(packets_per_second));
        }
        let mean = 1e9 / packets_per_second;
        Ok(Self { mean, now: Nanos::ZERO, carry: 0.0, sizes, random: random(seed) })
    }
}

impl<S: Iterator<Item = u32>> Iterator for Poisson<S> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let octets = self.sizes.next()?;
        let gap = self.carry + self.mean * self.random.sample::<f64, _>(Exp1);
        let whole = gap.floor();
        // The cast saturates, and so does the sum.
        self.now += Nanos(whole as u64);
        self.carry = gap - whole;
        Some(Arrival { at: self.now, octets })
    }
}

/// Bursts at the peak rate with silence between them. Ends with its sizes.
///
/// A burst has one packet and more, their number geometrically distributed; the silence
/// from the end of its last packet is exponentially distributed. Over long times the
/// share of the peak rate that is used is on / (on + off), where on is the time that a
/// mean burst takes at the peak rate.
#[derive(Clone, Debug)]
pub struct OnOff<S> {
    wire: Wire,
    /// Packets of a burst behind its first.
    burst: Geometric,
    /// In nanoseconds.
    mean_silence: f64,
    /// Packets of the burst that are still to come.
    left: u64,
    sizes: S,
    random: Random,
}

impl<S: Iterator<Item = u32>> OnOff<S> {
    /// `peak` in bit/s over wire octets, `mean_burst` in packets. The first burst starts
    /// at 0.
    ///
    /// # Errors
    ///
    /// [`TrafficError::BitRate`] for a peak of 0, [`TrafficError::Burst`] for a mean that
    /// is not a finite number from 1.
    pub fn new(
        peak: u64, mean_burst: f64, mean_silence: Nanos, sizes: S, seed: u64,
    ) -> Result<Self, TrafficError> {
        let wire = Wire::new(peak)?;
        let refuse = TrafficError::Burst(mean_burst);
        if !(mean_burst >= 1.0 && mean_burst.is_finite()) {
            return Err(refuse);
        }
        let burst = Geometric::new(1.0 / mean_burst).map_err(|_| refuse)?;
        let mut random = random(seed);
        let left = burst.sample(&mut random).saturating_add(1);
        Ok(Self { wire, burst, mean_silence: mean_silence.0 as f64, left, sizes, random })
    }

    /// Counts `octets` more for each frame in place of [`WIRE_OVERHEAD`].
    #[must_use]
    pub fn overhead(mut self, octets: u32) -> Self {
        self.wire.overhead = octets;
        self
    }
}

impl<S: Iterator<Item = u32>> Iterator for OnOff<S> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let octets = self.sizes.next()?;
        if self.left == 0 {
            self.left = self.burst.sample(&mut self.random).saturating_add(1);
            let silence = self.mean_silence * self.random.sample::<f64, _>(Exp1);
            self.wire.now += Nanos(silence.round() as u64);
        }
        self.left -= 1;
        Some(self.wire.send(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn histogram(draws: impl Iterator<Item = usize>, items: usize) -> Vec<u32> {
        let mut counts = vec![0; items];
        draws.for_each(|item| counts[item] += 1);
        counts
    }

    #[test]
    fn zipf_frequencies_follow_the_law() {
        const DRAWS: usize = 200_000;
        for s in [0.0, 0.5, 0.9, 1.0, 1.0 + 1e-13, 1.1, 2.0] {
            let counts = histogram(Zipf::new(100, s, 5).unwrap().take(DRAWS), 100);
            let total: f64 = (1..=100).map(|k| f64::from(k).powf(-s)).sum();
            for k in [1u32, 2, 3, 10, 50] {
                let expected = DRAWS as f64 * f64::from(k).powf(-s) / total;
                let found = f64::from(counts[k as usize - 1]);
                // Five standard deviations.
                assert!(
                    (found - expected).abs() < 5.0 * expected.sqrt() + 1.0,
                    "{s} {k}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_uniform_choice_favours_none() {
        let counts = histogram(Uniform::new(10, 3).unwrap().take(100_000), 10);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(Uniform::new(0, 1).err(), Some(TrafficError::Empty));
        assert_eq!(Zipf::new(0, 1.0, 1).err(), Some(TrafficError::Empty));
        assert_eq!(Zipf::new(5, -1.0, 1).err(), Some(TrafficError::Exponent(-1.0)));
        assert!(Zipf::new(5, f64::NAN, 1).is_err() && Zipf::new(5, f64::INFINITY, 1).is_err());
        assert!(FrameSizes::mix(&[(0, 64)], 1).is_err());
        assert_eq!(ConstantBitRate::new(0, FrameSizes::fixed(64)).err(), Some(TrafficError::BitRate));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Poisson::new(rate, FrameSizes::fixed(64), 1).is_err());
        }
        for burst in [0.5, f64::NAN, f64::INFINITY] {
            assert!(OnOff::new(1, burst, Nanos(1), FrameSizes::fixed(64), 1).is_err());
        }
    }

    #[test]
    fn every_48_frames_of_an_imix_are_one() {
        let sizes: Vec<u32> = FrameSizes::imix(9).take(480).collect();
        for period in sizes.chunks(48) {
            for (count, octets) in IMIX {
                assert_eq!(period.iter().filter(|&&size| size == octets).count(), count as usize);
            }
        }
        assert_ne!(sizes[..48], sizes[48..96], "each in an order of its own");
        let mean = f64::from(sizes.iter().sum::<u32>()) / 480.0;
        assert_eq!((mean, FrameSizes::imix(1).mean()), (16984.0 / 48.0, 16984.0 / 48.0));
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let draw = |seed| {
            let zipf: Vec<_> = Zipf::new(1000, 1.0, seed).unwrap().take(50).collect();
            let sizes = || FrameSizes::imix(seed);
            let poisson: Vec<_> = Poisson::new(1e6, sizes(), seed).unwrap().take(50).collect();
            let bursts = OnOff::new(1_000_000, 5.0, Nanos(1000), sizes(), seed).unwrap();
            (zipf, poisson, bursts.take(50).collect::<Vec<_>>())
        };
        assert_eq!(draw(7), draw(7));
        let (a, b) = (draw(7), draw(8));
        assert!(a.0 != b.0 && a.1 != b.1 && a.2 != b.2);
        let first: Vec<_> = Uniform::new(1000, 7).unwrap().take(5).collect();
        assert_eq!(first, [55, 172, 717, 427, 963], "and stays it from version to version");
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        const N: usize = 100_000;
        // 0.7 ns apart on average: what is rounded off counts.
        for rate in [1e3, 1e6, 1e9 / 0.7] {
            let times: Vec<f64> = Poisson::new(rate, FrameSizes::fixed(64), 11)
                .unwrap()
                .take(N)
                .map(|arrival| arrival.at.0 as f64)
                .collect();
            let mean = times[N - 1] / N as f64;
            assert!((mean * rate / 1e9 - 1.0).abs() < 0.02, "{rate}: {mean}");
        }
        let arrivals: Vec<_> =
            Poisson::new(1e3, FrameSizes::fixed(64), 12).unwrap().take(N).map(|a| a.at).collect();
        let gaps = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
        let variance = gaps.map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / N as f64;
        assert!((variance - 1.0).abs() < 0.05, "an exponential gap varies by its mean: {variance}");
    }

    #[test]
    fn bursts_have_the_mean_rate_and_never_more_than_the_peak() {
        // 84 octets at 1 Gb/s take 672 ns: 10 of them 6,720, then as long a silence.
        let frames = || FrameSizes::fixed(64);
        let mut bursts = OnOff::new(1_000_000_000, 10.0, Nanos(6720), frames(), 3).unwrap();
        let arrivals: Vec<_> = bursts.by_ref().take(200_000).collect();
        let end = arrivals.last().unwrap().at;
        let share = 200_000.0 * 672.0 / end.0 as f64;
        assert!((share - 0.5).abs() < 0.01, "{share}");
        let mut longer = 0;
        for pair in arrivals.windows(2) {
            let gap = pair[1].at - pair[0].at;
            assert!(gap >= Nanos(672), "{gap}");
            longer += usize::from(gap > Nanos(672));
        }
        assert!(longer.abs_diff(20_000) < 600, "{longer} bursts of 10");
        let without = OnOff::new(1_000, 1.0, Nanos::ZERO, frames(), 3).unwrap().overhead(0);
        let constant = ConstantBitRate::new(1_000, frames()).unwrap().overhead(0);
        assert!(without.take(100).eq(constant.take(100)));
    }

    proptest! {
        /// The time of each frame by one division of the whole sum.
        #[test]
        fn constant_bit_rate_is_exact(
            rate in prop_oneof![1u64..5, 1_000u64..1_000_000_000_000, Just(u64::MAX)],
            sizes in prop::collection::vec(prop_oneof![Just(64u32), 0u32..2000, Just(u32::MAX)], 1..200),
            overhead in prop_oneof![Just(WIRE_OVERHEAD), Just(0u32), Just(u32::MAX)],
        ) {
            let line = ConstantBitRate::new(rate, sizes.iter().copied()).unwrap().overhead(overhead);
            let mut bits = 0u128;
            for (arrival, octets) in line.zip(&sizes) {
                let exact = bits * 1_000_000_000 / u128::from(rate);
                prop_assert_eq!(u128::from(arrival.at.0), exact.min(u64::MAX.into()));
                prop_assert_eq!(arrival.octets, *octets);
                bits += (u128::from(*octets) + u128::from(overhead)) * 8;
            }
        }

        #[test]
        fn any_zipf_stays_within_its_items(items in 1usize..5000, s in 0.0f64..50.0, seed: u64) {
            prop_assert!(Zipf::new(items, s, seed).unwrap().take(100).all(|item| item < items));
        }
    }
}
