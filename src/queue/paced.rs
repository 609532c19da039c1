//! A scheduler held to a rate.

use crate::id::QueueId;
use crate::queue::{
    Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, Verdict, WdrrScheduler,
};
use crate::time::Nanos;

/// A rate in bits per second, 1 kb/s to 1 Tb/s.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rate(u64);

/// Why a rate was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a rate of {0} bit/s is out of range: 1000 to 1000000000000")]
pub struct RateError(pub u64);

impl Rate {
    /// 1 Tb/s.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// `bits` bits per second.
    ///
    /// # Errors
    ///
    /// [`RateError`] below 1 kb/s, 0 among it, or above 1 Tb/s.
    pub const fn bits_per_second(bits: u64) -> Result<Self, RateError> {
        if bits < 1000 || bits > Self::MAX.0 { Err(RateError(bits)) } else { Ok(Self(bits)) }
    }

    /// In bits per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What an octet takes, in 2^-64 ns, rounded up: over 10^12 octets the error is less than a
    /// millionth of a nanosecond.
    const fn octet(self) -> u128 {
        (8_000_000_000_u128 << 64).div_ceil(self.0 as u128)
    }
}

/// A scheduler whose departures keep to a rate.
///
/// A packet occupies the link for `(octets + overhead) * 8 / rate`, and the next may
/// not start before. Times are kept in 2^-64 ns, so that nothing drifts. Who asks late, and who had nothing to send, catches up on at most
/// `burst` of time: a token bucket of so many octets at the rate.
///
/// The scheduler inside is told octets with the overhead, so that its shares and its
/// limits, too, are of octets on the link. A departure says what `enqueue` said.
#[derive(Clone, Debug)]
pub struct Paced<W> {
    inner: W,
    rate: Rate,
    overhead: u32,
    burst: Nanos,
    /// When the link is free, in 2^-64 ns.
    free_at: u128,
    /// What an octet takes, in 2^-64 ns.
    octet: u128,
    /// Octets of the longest packet that came, and the nanoseconds that none takes longer than.
    longest: u32,
    most: u64,
}

impl<W: WdrrScheduler> Paced<W> {
    /// Preamble, frame check sequence and gap of an Ethernet frame, in octets.
    pub const ETHERNET: u32 = 8 + 4 + 12;

    /// Holds `inner` to `rate`, with `overhead` octets on the wire for each packet
    /// that its length does not count, and at most `burst` of time to catch up on.
    pub const fn new(inner: W, rate: Rate, overhead: u32, burst: Nanos) -> Self {
        Self { inner, rate, overhead, burst, free_at: 0, octet: rate.octet(), longest: 0, most: 1 }
    }

    /// The rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Changes the rate from the next packet on.
    pub const fn set_rate(&mut self, rate: Rate) {
        (self.rate, self.octet) = (rate, rate.octet());
        self.measure(self.longest);
    }

    /// Changes the rate at `now`: what a packet has yet to occupy the link for, it does at the
    /// new rate. Who had next to nothing, and is given more, need not wait for what that took.
    pub fn change_rate(&mut self, now: Nanos, rate: Rate) {
        let now = u128::from(now.0) << 64;
        if let Some(left) = self.free_at.checked_sub(now) {
            self.free_at = now.saturating_add(left.div_ceil(self.octet.max(1)).saturating_mul(rate.octet()));
        }
        self.set_rate(rate);
    }

    /// The most time to catch up on.
    pub const fn burst(&self) -> Nanos {
        self.burst
    }

    /// Changes the time to catch up on.
    pub const fn set_burst(&mut self, burst: Nanos) {
        self.burst = burst;
    }

    const fn measure(&mut self, longest: u32) {
        self.longest = longest;
        self.most = ((self.octet * longest as u128) >> 64) as u64 + 1;
    }

    /// How many packets may leave at `now`, however long they are.
    #[inline(always)]
    fn sure(&self, now: Nanos) -> u64 {
        let from = self.due().max(now - self.burst);
        match now.0.checked_sub(from.0) {
            None => 0,
            Some(credit) if credit < self.most => 1,
            Some(credit) => credit / self.most.max(1) + 1,
        }
    }

    /// The scheduler inside.
    pub const fn inner(&self) -> &W {
        &self.inner
    }

    /// The scheduler inside, to be changed.
    pub const fn inner_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    #[inline(always)]
    fn occupy(&mut self, now: Nanos, octets: u64) {
        let earliest = u128::from((now - self.burst).0) << 64;
        // Below 2^23 * 2^64 an octet: no more octets than 2^40 at a time.
        self.free_at = self.free_at.max(earliest).saturating_add(self.octet * u128::from(octets));
    }

    /// The nanosecond in which the link is free.
    #[inline(always)]
    const fn due(&self) -> Nanos {
        Nanos((self.free_at >> 64) as u64)
    }
}

/// Packets of a batch, so that the time they take is within bounds.
const MOST: u64 = 256;

impl<W: WdrrScheduler> WdrrScheduler for Paced<W> {
    type Handle = W::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        self.inner.configure(queue, config)
    }

    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        self.inner.remove(queue)
    }

    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>> {
        let mut departure = self.inner.flush(queue)?;
        departure.octets = departure.octets.saturating_sub(self.overhead);
        Some(departure)
    }

    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>> {
        let octets = arrival.octets.saturating_add(self.overhead);
        if octets > self.longest {
            self.measure(octets);
        }
        self.inner.enqueue(now, queue, handle, Arrival { octets, ..arrival })
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>> {
        if self.due() > now {
            return None;
        }
        let mut departure = self.inner.dequeue(now)?;
        if !matches!(departure.verdict, Verdict::Drop(_)) {
            self.occupy(now, departure.octets.into());
        }
        departure.octets = departure.octets.saturating_sub(self.overhead);
        Some(departure)
    }

    /// In batches of as many as may surely leave: the longer the burst, the more.
    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<Self::Handle>>]) -> usize {
        let mut count = 0;
        while let Some(places) = departures.get_mut(count..)
            && !places.is_empty()
        {
            let sure = self.sure(now).min(MOST.min(places.len() as u64)) as usize;
            let taken = self.inner.dequeue_batch(now, places.get_mut(..sure).unwrap_or_default());
            let (mut octets, overhead) = (0, self.overhead);
            for departure in places.get_mut(..taken).unwrap_or_default().iter_mut().flatten() {
                if !matches!(departure.verdict, Verdict::Drop(_)) {
                    octets += u64::from(departure.octets);
                }
                departure.octets = departure.octets.saturating_sub(overhead);
            }
            if octets > 0 {
                self.occupy(now, octets);
            }
            count += taken;
            if taken < sure || sure == 0 {
                break;
            }
        }
        if let Some(place) = departures.get_mut(count) {
            *place = None;
        }
        count
    }

    /// As [`dequeue_batch`](Self::dequeue_batch).
    #[inline(always)]
    fn dequeue_each(
        &mut self, now: Nanos, most: usize, mut each: impl FnMut(Departure<Self::Handle>),
    ) -> usize {
        let mut count = 0;
        while count < most {
            let sure = self.sure(now).min(MOST.min((most - count) as u64)) as usize;
            let (mut octets, overhead) = (0, self.overhead);
            let taken = self.inner.dequeue_each(now, sure, |mut departure| {
                if !matches!(departure.verdict, Verdict::Drop(_)) {
                    octets += u64::from(departure.octets);
                }
                departure.octets = departure.octets.saturating_sub(overhead);
                each(departure);
            });
            if octets > 0 {
                self.occupy(now, octets);
            }
            count += taken;
            if taken < sure || sure == 0 {
                break;
            }
        }
        count
    }

    fn backlog(&self, queue: QueueId) -> u32 {
        self.inner.backlog(queue)
    }

    /// Octets are those on the wire.
    fn stats(&self, queue: QueueId) -> QueueStats {
        self.inner.stats(queue)
    }

    fn quantum(&self, queue: QueueId) -> u64 {
        self.inner.quantum(queue)
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        Some(self.inner.next_due(now)?.max(self.due()))
    }

    #[inline(always)]
    fn prefetch(&self, queue: QueueId) {
        self.inner.prefetch(queue);
    }

    #[inline(always)]
    fn prefetch_deeper(&self, queue: QueueId) {
        self.inner.prefetch_deeper(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::queue::{Descriptor, Line, Quantum, Queue, Wdrr, lines};
    use proptest::prelude::*;

    const QUANTUM: Quantum = Quantum::of_longest(2000);
    type One = Paced<Wdrr<[Queue; 1], [Descriptor<u32>; 64], [Line; lines(1, QUANTUM)]>>;

    fn paced(rate: u64, overhead: u32, burst: Nanos) -> One {
        let lines = [Line::NEW; lines(1, QUANTUM)];
        let wdrr = Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 64], lines, QUANTUM).unwrap();
        let mut paced = Paced::new(wdrr, Rate::bits_per_second(rate).unwrap(), overhead, burst);
        paced.configure(QueueId(0), QueueConfig::new(SliceId(1))).unwrap();
        paced
    }

    /// Departure times of `count` packets of `octets`, asked for just when due.
    fn last_departure(mut paced: One, octets: u32, count: u64) -> Nanos {
        let mut now = Nanos::ZERO;
        for _ in 0..count {
            paced.enqueue(now, QueueId(0), 0, Arrival::new(octets)).unwrap();
            now = paced.next_due(now).unwrap();
            if now > Nanos::ZERO {
                assert_eq!(paced.dequeue(Nanos(now.0 - 1)).map(|d| d.handle), None, "too early");
            }
            assert_eq!(paced.dequeue(now).unwrap().octets, octets, "as it was enqueued");
        }
        now
    }

    #[test]
    fn a_rate_is_held_without_drift() {
        // The start of packet n is n * wire octets * 8 / rate, to the nanosecond.
        for (rate, octets, overhead) in [(7_777_777, 1000, 24), (400_000_000_000, 64, 24), (8_000, 100, 0)] {
            let count = 10_000;
            let exact = (count - 1) * u64::from(octets + overhead) * 8_000_000_000 / rate;
            let last = last_departure(paced(rate, overhead, Nanos::ZERO), octets, count);
            assert!(last.0.abs_diff(exact) <= 1, "{last:?} {exact}");
        }
    }

    #[test]
    fn who_asks_late_catches_up_on_the_burst_and_no_more() {
        // 1000 octets a microsecond.
        let mut paced = paced(8_000_000_000, 0, Nanos(2_500));
        for n in 0..20 {
            paced.enqueue(Nanos::ZERO, QueueId(0), n, Arrival::new(1000)).unwrap();
        }
        let late = Nanos(10_000);
        let sent = core::iter::from_fn(|| paced.dequeue(late)).count();
        assert_eq!(sent, 3, "2.5 microseconds of credit: starts at 7.5, 8.5 and 9.5");
        assert_eq!(paced.next_due(late), Some(Nanos(10_500)));
    }

    #[test]
    fn what_is_left_of_a_packet_is_sent_at_the_new_rate() {
        let rate = |bits| Rate::bits_per_second(bits).unwrap();
        // 1000 octets take 8 ms; after 2 of them the rate is a thousand times as high.
        let mut paced = paced(1_000_000, 0, Nanos::ZERO);
        for n in 0..2 {
            paced.enqueue(Nanos::ZERO, QueueId(0), n, Arrival::new(1000)).unwrap();
        }
        assert!(paced.dequeue(Nanos::ZERO).is_some());
        let now = Nanos::from_millis(2);
        paced.change_rate(now, rate(1_000_000_000));
        assert_eq!(paced.next_due(now), Some(now + Nanos::from_micros(6)));
        paced.change_rate(now, rate(1_000_000));
        assert_eq!(paced.next_due(now), Some(Nanos::from_millis(8)));
        let late = Nanos::from_secs(1);
        paced.change_rate(late, rate(1_000_000_000));
        assert!(paced.dequeue(late).is_some());
        assert_eq!(paced.free_at >> 64, u128::from(late.0) + 8000, "what is over stays over");
    }

    proptest! {
        #[test]
        fn a_batch_is_so_many_departures(
            rate in 1_000_000u64..100_000_000_000, burst in 0u64..20_000,
            steps in prop::collection::vec((0u64..5_000, 0usize..12, 0u32..2000, 0usize..20), 1..40),
        ) {
            let mut batches = paced(rate, 24, Nanos(burst));
            let mut singles = batches.clone();
            let (mut now, mut places) = (Nanos::ZERO, [const { None }; 20]);
            for (later, packets, octets, places_left) in steps {
                now += Nanos(later);
                for n in 0..packets as u32 {
                    let arrival = Arrival::new(octets / (n + 1));
                    let took = batches.enqueue(now, QueueId(0), n, arrival);
                    prop_assert_eq!(took, singles.enqueue(now, QueueId(0), n, arrival));
                }
                let count = batches.dequeue_batch(now, &mut places[..places_left]);
                for place in places.iter().take(count) {
                    prop_assert_eq!(*place, singles.dequeue(now));
                }
                if count < places_left {
                    prop_assert_eq!((places[count], singles.dequeue(now)), (None, None));
                }
                prop_assert_eq!(batches.next_due(now), singles.next_due(now));
            }
        }
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate in [0, 999, 1_000_000_000_001] {
            assert_eq!(Rate::bits_per_second(rate), Err(RateError(rate)));
        }
    }
}
