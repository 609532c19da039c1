//! Meters against the procedures of the RFCs and against exact arithmetic.

use std::vec::Vec;

use proptest::prelude::*;

use super::Colour::{Green, Red, Yellow};
use super::*;
use crate::exit::DropReason;
use crate::queue::TokenBucket;

fn rate(bits: u64) -> Rate {
    Rate::bits_per_second(bits).unwrap()
}

fn single(cir: u64, cbs: u32, ebs: u32, mode: Mode) -> SingleRate {
    SingleRate::new(SingleRateConfig { cir: rate(cir), cbs, ebs, mode }).unwrap()
}

fn two(cir: u64, cbs: u32, pir: u64, pbs: u32, mode: Mode) -> TwoRate {
    TwoRate::new(TwoRateConfig { cir: rate(cir), cbs, pir: rate(pir), pbs, mode }).unwrap()
}

/// Microsecond, octets, colour it comes with, colour it gets.
type Row = (u64, u32, Colour, Colour);

fn check(meter: &mut dyn Meter, rows: &[Row]) {
    for (n, &(micros, octets, colour, expected)) in rows.iter().enumerate() {
        assert_eq!(meter.meter(Nanos::from_micros(micros), octets, colour), expected, "row {n}");
    }
}

/// 1 octet a microsecond.
const OCTET_A_MICROSECOND: u64 = 8_000_000;

/// Token counts behind each row were worked out by hand, as (Tc, Te).
#[test]
fn one_rate_by_hand() {
    let mut meter = single(OCTET_A_MICROSECOND, 1500, 3000, Mode::ColourBlind);
    check(
        &mut meter,
        &[
            (0, 1000, Red, Green),      // 500, 3000: blind, so what it came as does not matter
            (0, 1000, Green, Yellow),   // 500, 2000: not out of both
            (0, 500, Green, Green),     // 0, 2000: exactly what is there
            (0, 2001, Green, Red),      // 0, 2000
            (0, 2000, Green, Yellow),   // 0, 0
            (0, 0, Green, Green),       // nothing is always there
            (1999, 1500, Green, Green), // 1500, 499 before; 0, 499
            (1999, 500, Green, Red),    // one octet short
            (2000, 500, Green, Red),    // 1, 499: the octet went into the committed bucket
            (2000, 499, Green, Yellow), // 1, 0
            (2000, 1, Green, Green),    // 0, 0
            (9999, 3001, Green, Red),   // 1500, 3000: full, and not fuller
            (9999, 3000, Green, Yellow),
            (9999, 1500, Green, Green),
        ],
    );
    let mut aware = single(OCTET_A_MICROSECOND, 1500, 3000, Mode::ColourAware);
    check(
        &mut aware,
        &[
            (0, 1000, Yellow, Yellow), // 1500, 2000: never out of the committed bucket
            (0, 1, Red, Red),          // 1500, 2000
            (0, 2001, Yellow, Red),
            (0, 2000, Yellow, Yellow), // 1500, 0
            (0, 1, Yellow, Red),       // though there is committed burst left
            (0, 1500, Green, Green),   // 0, 0
            (1500, 1, Yellow, Red),    // 1500, 0
            (1501, 1, Yellow, Yellow), // 1500, 1
        ],
    );
}

/// As (Tp, Tc); 2 and 1 octets a microsecond.
#[test]
fn two_rates_by_hand() {
    let mut meter = two(OCTET_A_MICROSECOND, 1000, 2 * OCTET_A_MICROSECOND, 2000, Mode::ColourBlind);
    check(
        &mut meter,
        &[
            (0, 1000, Red, Green),     // 1000, 0: out of both
            (0, 1000, Green, Yellow),  // 0, 0
            (0, 1, Green, Red),        // 0, 0
            (500, 600, Green, Yellow), // 1000, 500 before; 400, 500
            (500, 401, Green, Red),    // 400, 500: the peak is asked first
            (500, 400, Green, Green),  // 0, 100
            (500, 100, Green, Red),    // no peak tokens, so the committed ones stay
            (550, 100, Green, Green),  // 100, 150 before; 0, 50
            (9999, 2001, Green, Red),  // 2000, 1000
            (9999, 1001, Green, Yellow),
            (9999, 999, Green, Green), // 999, 1000 before
        ],
    );
    let mut aware = two(OCTET_A_MICROSECOND, 1000, 2 * OCTET_A_MICROSECOND, 2000, Mode::ColourAware);
    check(
        &mut aware,
        &[
            (0, 500, Yellow, Yellow), // 1500, 1000
            (0, 500, Red, Red),       // 1500, 1000
            (0, 1000, Green, Green),  // 500, 0
            (0, 501, Yellow, Red),
            (0, 500, Green, Yellow), // 0, 0
        ],
    );
}

#[test]
fn configurations_that_the_rfcs_forbid_are_refused() {
    let (cir, mode) = (rate(8000), Mode::ColourBlind);
    let one = |cbs, ebs| SingleRate::new(SingleRateConfig { cir, cbs, ebs, mode });
    assert_eq!(one(0, 0), Err(MeterError::NoBurst));
    assert!(one(0, 1).is_ok() && one(1, 0).is_ok());
    let most = TokenBucket::MAX_BURST;
    for (cbs, ebs) in [(most + 1, 0), (0, most + 1)] {
        assert_eq!(one(cbs, ebs), Err(MeterError::Burst(BurstError(most + 1))));
    }
    let both = |cbs, pir, pbs| TwoRate::new(TwoRateConfig { cir, cbs, pir: rate(pir), pbs, mode });
    let below = MeterError::PeakBelowCommitted { peak: rate(7999), committed: cir };
    assert_eq!(both(1, 7999, 1), Err(below));
    assert_eq!(both(0, 8000, 1), Err(MeterError::NoCommittedBurst));
    assert_eq!(both(1, 8000, 0), Err(MeterError::NoPeakBurst));
    assert_eq!(both(1, 8000, most + 1), Err(MeterError::Burst(BurstError(most + 1))));
    // The RFC does not ask for more.
    assert!(both(2, 8000, 1).is_ok());
}

#[test]
fn a_colour_is_a_drop_precedence() {
    assert_eq!(Colour::ALL.map(Colour::precedence), [0, 1, 2]);
    for colour in Colour::ALL {
        assert_eq!(Colour::from_precedence(colour.precedence()), colour);
    }
    assert_eq!(Colour::from_precedence(255), Red);
    assert!(Green < Yellow && Yellow < Red && Colour::default() == Green);
}

/// The procedures as the RFCs write them: a tick adds one to a count.
struct Ticks {
    /// Nanoseconds between ticks of the first and of the second rate; one rate if both
    /// buckets fill from the first.
    every: [u64; 2],
    single: bool,
    size: [u64; 2],
    count: [u64; 2],
    now: u64,
}

impl Ticks {
    fn until(&mut self, now: u64) {
        while self.now < now {
            self.now += 1;
            for (bucket, every) in self.every.into_iter().enumerate() {
                if !self.now.is_multiple_of(every) {
                    continue;
                }
                if self.single {
                    if bucket == 0 {
                        let at = usize::from(self.count[0] >= self.size[0]);
                        self.count[at] += u64::from(self.count[at] < self.size[at]);
                    }
                } else if self.count[bucket] < self.size[bucket] {
                    self.count[bucket] += 1;
                }
            }
        }
    }

    /// RFC 2697, 3, with C and E; RFC 2698, 3, with C and P.
    fn meter(&mut self, now: u64, octets: u64, mode: Mode, colour: Colour) -> Colour {
        self.until(now);
        let [c, other] = self.count.map(|count| count >= octets);
        let aware = mode == Mode::ColourAware;
        let result = if self.single {
            match colour {
                _ if !aware && c => Green,
                _ if !aware && other => Yellow,
                Green if aware && c => Green,
                Green | Yellow if aware && other => Yellow,
                _ => Red,
            }
        } else {
            match colour {
                _ if !other => Red,
                Red if aware => Red,
                Yellow if aware => Yellow,
                _ if !c => Yellow,
                _ => Green,
            }
        };
        let takes = match result {
            Green => [true, !self.single],
            Yellow => [false, true],
            Red => [false, false],
        };
        for (count, _) in self.count.iter_mut().zip(takes).filter(|(_, takes)| *takes) {
            *count -= octets;
        }
        result
    }
}

/// An exact meter without state: token counts are worked out anew from all packets so far.
/// Counts are in octets times 8 * 10^9, as integers.
struct History {
    /// Bits a second and octets of C, and of E or P; one rate has no second.
    rates: [i128; 2],
    sizes: [i128; 2],
    single: bool,
    passed: Vec<(i128, i128, Colour)>,
}

const OCTET: i128 = 8_000_000_000;

impl History {
    /// A bucket full at first, that so much was poured into until a time, and so much taken
    /// out of: from every event on, it holds no more than if it had been full before.
    fn level(
        &self, size: i128, poured: &dyn Fn(usize, i128) -> i128, takes: &dyn Fn(Colour) -> bool,
        events: usize, now: i128,
    ) -> i128 {
        let (mut level, mut taken) = (size, 0);
        let total = poured(events, now);
        for at in (0..events).rev() {
            let (time, octets, colour) = self.passed[at];
            if takes(colour) {
                taken += octets * OCTET;
                level = level.min(size + total - poured(at, time) - taken);
            }
        }
        level
    }

    fn committed(&self, events: usize, now: i128) -> i128 {
        let earned = |_: usize, time: i128| time * self.rates[0];
        self.level(self.sizes[0], &earned, &|colour| colour == Green, events, now)
    }

    /// What the committed bucket could not hold: what it had and earned, less what it holds
    /// and what was taken out of it.
    fn spilt(&self, events: usize, now: i128) -> i128 {
        let green = self.passed[..events].iter().filter(|(.., colour)| *colour == Green);
        let green: i128 = green.map(|(_, octets, _)| octets * OCTET).sum();
        self.sizes[0] + now * self.rates[0] - self.committed(events, now) - green
    }

    fn other(&self, now: i128) -> i128 {
        let events = self.passed.len();
        if self.single {
            let spilt = |events: usize, time: i128| self.spilt(events, time);
            self.level(self.sizes[1], &spilt, &|colour| colour == Yellow, events, now)
        } else {
            let earned = |_: usize, time: i128| time * self.rates[1];
            self.level(self.sizes[1], &earned, &|colour| colour != Red, events, now)
        }
    }

    fn meter(&mut self, now: u64, octets: u32, colour: Colour) -> Colour {
        let (now, octets) = (i128::from(now), i128::from(octets));
        let covers = |level: i128| octets * OCTET <= level;
        let c = colour == Green && covers(self.committed(self.passed.len(), now));
        let other = colour < Red && covers(self.other(now));
        let result = match (self.single, c, other) {
            (true, true, _) | (false, true, true) => Green,
            (_, _, true) => Yellow,
            _ => Red,
        };
        self.passed.push((now, octets, result));
        result
    }
}

/// Packets: time since the last in nanoseconds, octets, the colour they come with.
type Stream = Vec<(u64, u32, Colour)>;

fn colour() -> impl Strategy<Value = Colour> {
    prop_oneof![3 => Just(Green), 1 => Just(Yellow), 1 => Just(Red)]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(std::vec![Mode::ColourBlind, Mode::ColourAware])
}

/// Times about as long as packets take, none at all, long, and without end.
fn stream(longest: u64) -> impl Strategy<Value = Stream> {
    let span = prop_oneof![
        6 => 0..longest,
        3 => Just(0),
        1 => 0..longest.saturating_mul(20),
        1 => prop::sample::select(std::vec![1 << 40, 1 << 63, u64::MAX]),
    ];
    prop::collection::vec((span, 0u32..1600, colour()), 1..50)
}

/// As the meters do: time that has no room left stays where it is.
fn times(stream: &Stream) -> impl Iterator<Item = (u64, u32, Colour)> {
    stream.iter().scan(0_u64, |now, &(span, octets, colour)| {
        *now = now.saturating_add(span);
        Some((*now, octets, colour))
    })
}

const fn seen(mode: Mode, colour: Colour) -> Colour {
    match mode {
        Mode::ColourBlind => Green,
        Mode::ColourAware => colour,
    }
}

/// Octets of no colour worse than `worst` in any span from packet to packet.
fn conforms(
    passed: &[(i128, i128, Colour)], worst: Colour, rate: i128, burst: i128,
) -> Result<(), TestCaseError> {
    for first in 0..passed.len() {
        let mut octets = 0;
        for &(time, more, colour) in &passed[first..] {
            octets += if colour <= worst { more } else { 0 };
            let span = time - passed[first].0;
            prop_assert!(octets * OCTET <= burst + rate * span, "{} octets in {}", octets, span);
        }
    }
    Ok(())
}

proptest! {
    /// Where an octet takes whole nanoseconds and packets come at such times, colours are those
    /// of the RFCs' procedures.
    #[test]
    fn colours_are_those_of_the_published_procedure(
        every in prop::sample::select(std::vec![1u64, 2]),
        slower in prop::sample::select(std::vec![1u64, 2, 5]),
        single_rate in any::<bool>(), mode in mode(),
        size in (0u32..2000, 1u32..3000),
        ticks in prop::collection::vec((0u64..1000, 0u32..1600, colour()), 1..60),
    ) {
        let cbs = size.0.max(u32::from(!single_rate));
        let committed = every * slower;
        let mut meter: Marker = if single_rate {
            single(8_000_000_000 / committed, cbs, size.1, mode).into()
        } else {
            two(8_000_000_000 / committed, cbs, 8_000_000_000 / every, size.1, mode).into()
        };
        let size = [cbs.into(), size.1.into()];
        // Between ticks the one has part of an octet more.
        let stream = ticks.into_iter().map(|(ticks, octets, colour)| (ticks * committed, octets, colour));
        let mut model = Ticks { every: [committed, every], single: single_rate, size, count: size, now: 0 };
        for (now, octets, colour) in times(&stream.collect()) {
            let expected = model.meter(now, octets.into(), mode, colour);
            prop_assert_eq!(meter.meter(Nanos(now), octets, colour), expected, "at {}", now);
        }
    }

    /// At any rate and whatever the clock does, colours are those of exact arithmetic, and
    /// no span has more of a colour than its burst and rate allow.
    #[test]
    fn one_rate_is_what_its_history_says(
        cir in 1000u64..20_000_000_000, cbs in 0u32..4000, ebs in 1u32..4000, mode in mode(),
        stream in stream(1000),
    ) {
        let mut meter = single(cir, cbs, ebs, mode);
        let sizes = [cbs, ebs].map(|size| i128::from(size) * OCTET);
        let mut history = History { rates: [cir.into(), 0], sizes, single: true, passed: Vec::new() };
        for (now, octets, colour) in times(&stream) {
            let expected = history.meter(now, octets, seen(mode, colour));
            prop_assert_eq!(meter.meter(Nanos(now), octets, colour), expected, "at {}", now);
        }
        conforms(&history.passed, Green, cir.into(), sizes[0])?;
        conforms(&history.passed, Yellow, cir.into(), sizes[0] + sizes[1])?;
    }

    #[test]
    fn two_rates_are_what_their_history_says(
        cir in 1000u64..20_000_000_000, more in 0u64..20_000_000_000, cbs in 1u32..4000, pbs in 1u32..4000,
        mode in mode(), stream in stream(1000),
    ) {
        let mut meter = two(cir, cbs, cir + more, pbs, mode);
        let sizes = [cbs, pbs].map(|size| i128::from(size) * OCTET);
        let rates = [cir, cir + more].map(i128::from);
        let mut history = History { rates, sizes, single: false, passed: Vec::new() };
        for (now, octets, colour) in times(&stream) {
            let expected = history.meter(now, octets, seen(mode, colour));
            prop_assert_eq!(meter.meter(Nanos(now), octets, colour), expected, "at {}", now);
        }
        conforms(&history.passed, Green, rates[0], sizes[0])?;
        conforms(&history.passed, Yellow, rates[1], sizes[1])?;
    }

    /// What a policer counts is what it did, by colour and by action.
    #[test]
    fn a_policer_counts_what_it_did(
        actions in prop::array::uniform3(prop_oneof![
            Just(Action::Pass), Just(Action::Drop), colour().prop_map(Action::Recolour),
        ]),
        packets in prop::collection::vec((0usize..4, 0u64..500, 0u32..1600, colour()), 1..100),
    ) {
        let meters = [0, 1, 2].map(|at| single(8_000_000_000 << at, 1500, 3000, Mode::ColourAware));
        let mut alone = meters;
        let mut policer = Policer::new([const { Policed::NEW }; 3]);
        // 2 is not policed, 3 is not there.
        for (at, meter) in meters.into_iter().enumerate().take(2) {
            policer.set(at, meter, actions).unwrap();
        }
        let mut expected = [[[Tally::ZERO; 3]; 3]; 4];
        let mut now = 0;
        for (at, span, octets, colour) in packets {
            now += span;
            let outcome = policer.police(Nanos(now), at, octets, colour);
            if at > 1 {
                prop_assert_eq!(outcome, Ok(colour));
                continue;
            }
            let metered = alone[at].meter(Nanos(now), octets, colour);
            let (done, expects) = match actions[metered as usize] {
                Action::Pass => (Done::Passed, Ok(colour)),
                Action::Recolour(colour) => (Done::Recoloured, Ok(colour)),
                Action::Drop => (Done::Dropped, Err(DropReason::Policed)),
            };
            prop_assert_eq!(outcome, expects);
            let tally = &mut expected[at][metered as usize][done as usize];
            *tally = Tally { packets: tally.packets + 1, octets: tally.octets + u64::from(octets) };
        }
        for (at, counts) in expected.into_iter().enumerate() {
            for (colour, row) in Colour::ALL.into_iter().zip(counts) {
                prop_assert_eq!(policer.coloured(at, colour), row.into_iter().sum::<Tally>());
                for (done, tally) in Done::ALL.into_iter().zip(row) {
                    prop_assert_eq!(policer.count(at, colour, done), tally);
                }
            }
            for done in Done::ALL {
                let tally = counts.iter().map(|row| row[done as usize]).sum::<Tally>();
                prop_assert_eq!(policer.done(at, done), tally);
            }
        }
    }
}

#[test]
fn input_shares_are_enforced_and_a_new_owner_starts_anew() {
    let mut policer = Policer::new([const { Policed::NEW }; 2]);
    // 1 octet a microsecond for the first, 3 for the second, of what both send in excess.
    for at in 0..2 {
        let meter = single((1 + 2 * at as u64) * OCTET_A_MICROSECOND, 1500, 0, Mode::ColourBlind);
        policer.set(at, meter, Action::MARK_AND_DROP).unwrap();
    }
    for micros in (0..100_000).step_by(100) {
        for at in 0..2 {
            let _ = policer.police(Nanos::from_micros(micros), at, 1000, Green);
        }
    }
    let octets = [0, 1].map(|at| policer.done(at, Done::Recoloured).octets);
    assert_eq!(octets, [101_000, 301_000], "burst and rate over 99.9 ms, in whole packets");
    let both = policer.done(0, Done::Dropped).packets + policer.done(1, Done::Dropped).packets;
    assert_eq!(both, 2000 - 402);
    let error = policer.set(2, single(8000, 1, 1, Mode::ColourBlind), Action::MARK).unwrap_err();
    assert_eq!(error, UnknownMeter { at: 2, meters: 2 });
    policer.clear(1);
    policer.clear(2);
    assert_eq!(policer.coloured(1, Green), Tally::ZERO);
    assert_eq!(policer.police(Nanos::MAX, 1, u32::MAX, Yellow), Ok(Yellow), "policed no more");
    assert_eq!(policer.coloured(0, Green).octets, 101_000);
}

#[test]
fn meters_are_as_large_as_they_say() {
    assert_eq!((size_of::<SingleRate>(), size_of::<TwoRate>()), (56, 72));
    assert!((200..=250).contains(&size_of::<Policed<SingleRate>>()));
    assert!((200..=250).contains(&size_of::<Policed<Marker>>()));
}
