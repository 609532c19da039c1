use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const MICRO: Nanos = Nanos::from_micros(1);

/// Thresholds 5 and 15, a tenth; for the precedences 1 and 2 lower and steeper.
fn config() -> RedConfig {
    let curve = |min, max, max_p| RedCurve { min, max, max_p };
    let curves = [curve(5, 15, ONE / 10), curve(4, 12, ONE / 5), curve(2, 8, ONE)];
    RedConfig { curves, ..RedConfig::recommended(RedUnit::Packets, 5, MICRO) }
}

fn depth(packets: u32) -> Depth {
    Depth { packets, octets: packets * 1000 }
}

const DROP: Verdict = Verdict::Drop(DropReason::QueuePolicy);

/// Figure 17 of the paper in floating point, with three precedences and "gentle".
struct Paper {
    config: RedConfig,
    average: f64,
    idle_since: u64,
    count: [f64; 3],
    random: [f64; 3],
    numbers: Random,
}

impl Paper {
    fn new(config: RedConfig, seed: u64) -> Self {
        let (count, numbers) = ([-1.0; 3], Random::new(seed));
        Self { config, average: 0.0, idle_since: 0, count, random: [0.0; 3], numbers }
    }

    /// The verdict, and whether rounding might have made it another.
    fn arriving(&mut self, now: u64, depth: Depth, arrival: Arrival) -> (Verdict, bool) {
        let weight = (-f64::from(self.config.weight)).exp2();
        if depth.packets == 0 {
            let packets = (now - self.idle_since) / self.config.transmission.0;
            self.average *= (1.0 - weight).powf(packets as f64);
            self.idle_since += packets * self.config.transmission.0;
        } else {
            let octets = self.config.unit == RedUnit::Octets;
            let filled = if octets { depth.octets } else { depth.packets };
            self.average += weight * (f64::from(filled) - self.average);
        }
        let at = usize::from(arrival.precedence.min(2));
        let RedCurve { min, max, max_p } = self.config.curves[at];
        let (min, max, max_p) = (f64::from(min), f64::from(max), f64::from(max_p) / 65536.0);
        let average = self.average;
        let end = if self.config.gentle { 2.0 * max } else { max };
        let off = (f64::from(self.config.weight) - 29.0).exp2() + average * 1e-9;
        let mut close = [min, max, end].iter().any(|threshold| (average - threshold).abs() < off);
        if average < min || average >= end {
            self.count[at] = -1.0;
            return (if average < min { Verdict::Send } else { DROP }, close);
        }
        let p = if average < max {
            max_p * (average - min) / (max - min)
        } else {
            max_p + (1.0 - max_p) * (average - max) / max
        };
        self.count[at] += 1.0;
        let count = self.count[at];
        close |= (count * p - self.random[at]).abs() < count * (1e-9 + off / (max - min)) + 1e-9;
        let hit = count > 0.0 && count >= self.random[at] / p;
        if hit {
            self.count[at] = 0.0;
        }
        if self.count[at] == 0.0 {
            self.random[at] = (f64::from(self.numbers.bits()) + 0.5) / 32_f64.exp2();
        }
        let marks = self.config.marks && arrival.ecn_capable && average < max;
        (
            if !hit {
                Verdict::Send
            } else if marks {
                Verdict::SendMarked
            } else {
                DROP
            },
            close,
        )
    }
}

fn configs() -> impl Strategy<Value = RedConfig> {
    let curve = (0u32..40, 1u32..40, prop_oneof![1u32..4000, 1..=ONE]);
    let curve = curve.prop_map(|(min, wide, max_p)| RedCurve { min, max: min + wide, max_p });
    (any::<bool>(), 0u8..=10, 1u64..5000, any::<bool>(), any::<bool>(), prop::array::uniform3(curve))
        .prop_map(|(octets, weight, transmission, gentle, marks, mut curves)| {
            if octets {
                for curve in &mut curves {
                    (curve.min, curve.max) = (curve.min * 1000, curve.max * 1000);
                }
            }
            let unit = if octets { RedUnit::Octets } else { RedUnit::Packets };
            RedConfig { unit, weight, transmission: Nanos(transmission), gentle, marks, curves }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever the history, averages and verdicts are those of the paper, but where rounding
    /// may decide; there a history ends.
    #[test]
    fn verdicts_are_those_of_the_paper(
        config in configs(), seed in any::<u64>(),
        phases in prop::collection::vec((0u32..60, 1u32..300, 0u8..4, any::<bool>()), 1..12),
    ) {
        let (mut red, mut random) = (Red::new(config).unwrap(), Random::new(seed));
        let mut paper = Paper::new(config, seed);
        let (mut now, mut waiting) = (0, 0);
        for (level, steps, precedence, ecn_capable) in phases {
            for step in 0..steps {
                now += u64::from(step % 7) * 977;
                let depth = depth(level.saturating_sub(step % 5));
                let arrival = Arrival { octets: 1000, precedence, ecn_capable };
                if core::mem::replace(&mut waiting, depth.packets) > 0 && depth.packets == 0 {
                    // The last one left some time ago.
                    paper.idle_since = now - u64::from(step % 7) * 500;
                    red.leaving(Nanos(paper.idle_since), depth, arrival, Nanos::ZERO);
                }
                let verdict = red.arriving(Nanos(now), depth, arrival, &mut random);
                let (expected, close) = paper.arriving(now, depth, arrival);
                if verdict != expected && close {
                    return Ok(());
                }
                prop_assert_eq!(verdict, expected, "average {}", paper.average);
                let average = red.average() as f64 / 32_f64.exp2();
                let off = (f64::from(config.weight) - 29.0).exp2() + paper.average * 1e-9;
                prop_assert!((average - paper.average).abs() <= off, "{average} {}", paper.average);
            }
        }
    }
}

/// Packets from one drop to the next where `packets` always wait.
fn gaps(config: RedConfig, packets: u32, drops: usize) -> Vec<u32> {
    let (mut red, mut random) = (Red::new(RedConfig { weight: 0, ..config }).unwrap(), Random::new(1));
    let (mut gaps, mut gap) = (Vec::new(), 0);
    while gaps.len() <= drops {
        gap += 1;
        if red.arriving(MICRO, depth(packets), Arrival::new(1000), &mut random) != Verdict::Send {
            gaps.push(core::mem::take(&mut gap));
        }
    }
    // The first one is from the beginning.
    gaps.split_off(1)
}

#[test]
fn drops_are_spaced_evenly_as_the_paper_computes() {
    const DROPS: usize = 20_000;
    for packets in 6..15 {
        let p = f64::from(ONE / 10) / 65536.0 * f64::from(packets - 5) / 10.0;
        let gaps = gaps(config(), packets, DROPS);
        // Method 2 of section 7: uniform from 1 to 1/p, on the average 1/(2p) + 1/2, here
        // for a 1/p that is not whole.
        let most = (1.0 / p).floor();
        let mean = most + 1.0 - p * most * (most + 1.0) / 2.0;
        assert!((mean - (0.5 / p + 0.5)).abs() < 0.2, "{mean}");
        let found = gaps.iter().map(|gap| f64::from(*gap)).sum::<f64>() / DROPS as f64;
        // The deviation of a uniform gap, in the mean of so many, four times over.
        let off = 4.0 * most / 12_f64.sqrt() / (DROPS as f64).sqrt();
        assert!((found - mean).abs() < off, "{packets} packets: {found}, not {mean}");
        assert!(gaps.iter().all(|gap| f64::from(*gap) <= most + 1.0), "never further apart than 1/p");
        // Uniform: each quarter of the range has a quarter of the gaps.
        for quarter in 0..4 {
            let range = most * f64::from(quarter) / 4.0..most * f64::from(quarter + 1) / 4.0;
            let inside = gaps.iter().filter(|gap| range.contains(&(f64::from(**gap) - 0.5))).count();
            let part = inside as f64 / DROPS as f64;
            assert!((part - 0.25).abs() < 0.02 + 1.0 / most, "{packets} packets: {part}");
        }
    }
}

#[test]
fn a_gentle_curve_goes_on_to_twice_the_threshold() {
    let rate = |packets, gentle| {
        let gaps = gaps(RedConfig { gentle, ..config() }, packets, 5000);
        5000.0 / f64::from(gaps.iter().sum::<u32>())
    };
    for (packets, least, most) in [(14, 0.15, 0.19), (15, 0.15, 0.20), (22, 0.5, 0.8), (29, 0.9, 0.999)] {
        let rate = rate(packets, true);
        assert!((least..most).contains(&rate), "{packets} packets: {rate}");
    }
    assert_eq!((rate(30, true), rate(15, false)), (1.0, 1.0));
    assert!(rate(14, false) < 0.2);
}

#[test]
fn a_higher_precedence_is_dropped_sooner_and_more() {
    let (mut red, mut random) = (Red::new(RedConfig { weight: 0, ..config() }).unwrap(), Random::new(3));
    let mut drops = |packets, precedence| {
        let arrival = Arrival { precedence, ..Arrival::new(1000) };
        let mut drops = 0;
        for _ in 0..10_000 {
            drops += u32::from(red.arriving(MICRO, depth(packets), arrival, &mut random) == DROP);
        }
        drops
    };
    assert_eq!([drops(3, 0), drops(3, 1)], [0, 0]);
    assert!(drops(3, 2) > 1000);
    let found = [drops(7, 0), drops(7, 1), drops(7, 2), drops(7, 3)];
    assert!(found[0] > 0 && found[0] < found[1] && found[1] < found[2], "{found:?}");
    assert!(found[2].abs_diff(found[3]) < 500, "precedence 3 is 2: {found:?}");
}

#[test]
fn marks_replace_drops_below_the_upper_threshold_only() {
    let capable = Arrival { ecn_capable: true, ..Arrival::new(1000) };
    for (packets, marks, arrival, expected) in [
        (14, true, capable, Verdict::SendMarked),
        (14, true, Arrival::new(1000), DROP),
        (14, false, capable, DROP),
        (20, true, capable, DROP),
        (30, true, capable, DROP),
    ] {
        let config = RedConfig { weight: 0, marks, ..config() };
        let (mut red, mut random) = (Red::new(config).unwrap(), Random::new(3));
        let verdicts: Vec<_> =
            (0..1000).map(|_| red.arriving(MICRO, depth(packets), arrival, &mut random)).collect();
        assert!(verdicts.contains(&expected), "{packets}");
        assert!(verdicts.iter().all(|verdict| [expected, Verdict::Send].contains(verdict)), "{packets}");
    }
}

#[test]
fn an_idle_time_counts_once() {
    let config = RedConfig { weight: 1, ..config() };
    let (mut red, mut random) = (Red::new(config).unwrap(), Random::new(3));
    let mut arrive = |red: &mut Red, now, packets| {
        red.arriving(Nanos(now), depth(packets), Arrival::new(1000), &mut random);
        red.average() as f64 / 32_f64.exp2()
    };
    for _ in 0..64 {
        arrive(&mut red, 0, 16);
    }
    red.leaving(Nanos(500), Depth::default(), Arrival::new(1000), Nanos::ZERO);
    // 2 packets of 1 us each, and a bit.
    let average = arrive(&mut red, 2600, 0);
    assert!((average - 4.0).abs() < 1e-6, "{average}");
    assert_eq!(arrive(&mut red, 2700, 0), average, "the queue is still empty: it was dropped");
    let half = arrive(&mut red, 3500, 0);
    assert!((half - 2.0).abs() < 1e-6, "{half}: 100 ns before, and 900 now");
    assert_eq!(arrive(&mut red, u64::MAX, 0), 0.0);
}

#[test]
fn the_shortest_packets_of_an_idle_time_are_counted_exactly() {
    for (transmission, idle, packets) in
        [(1, 500, 500), (2, 500, 250), (3, 500, 166), (499, 500, 1), (501, 500, 0)]
    {
        let config = RedConfig { weight: 6, transmission: Nanos(transmission), ..config() };
        let (mut red, mut random) = (Red::new(config).unwrap(), Random::new(3));
        red.arriving(Nanos(0), depth(64), Arrival::new(1000), &mut random);
        red.leaving(Nanos(100), Depth::default(), Arrival::new(1000), Nanos::ZERO);
        red.arriving(Nanos(100 + idle), Depth::default(), Arrival::new(1000), &mut random);
        let (average, expected) = (red.average() as f64 / 32_f64.exp2(), (63_f64 / 64.0).powi(packets));
        assert!((average - expected).abs() < 1e-8, "{transmission} ns: {average}, not {expected}");
    }
}

#[test]
fn parameters_change_under_way_and_the_average_stays() {
    let (mut red, mut random) = (Red::new(config()).unwrap(), Random::new(3));
    for _ in 0..10_000 {
        red.arriving(MICRO, depth(10), Arrival::new(1000), &mut random);
    }
    let average = red.average();
    assert!(average > fixed(9));
    let weight = RedConfig { weight: 3, ..config() };
    red.set(weight).unwrap();
    assert_eq!((red.average(), red.config()), (average, weight));
    assert!(red.set(RedConfig { weight: 17, ..config() }).is_err());
    assert_eq!((red.average(), red.config()), (average, weight), "refused, and as it was");
    red.set(RedConfig { unit: RedUnit::Octets, ..weight }).unwrap();
    assert_eq!(red.average(), 0, "of another unit");
}

#[test]
fn bad_parameters_are_refused() {
    let with = |change: fn(&mut RedConfig)| {
        let mut config = config();
        change(&mut config);
        Red::new(config).err()
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|config| config.weight = 17), Some(RedError::Weight(17)));
    for nanos in [0, 1 << 32] {
        let transmission = Nanos(nanos);
        assert_eq!(
            Red::new(RedConfig { transmission, ..config() }).err(),
            Some(RedError::Transmission(transmission))
        );
    }
    let thresholds = |precedence, min, max| Some(RedError::Thresholds { precedence, min, max });
    assert_eq!(with(|config| config.curves[1].max = 4), thresholds(1, 4, 4));
    assert_eq!(with(|config| config.curves[2].max = 1 << 31), thresholds(2, 2, 1 << 31));
    let probability = |max_p| Some(RedError::Probability { precedence: 0, max_p });
    assert_eq!(with(|config| config.curves[0].max_p = 0), probability(0));
    assert_eq!(with(|config| config.curves[0].max_p = ONE + 1), probability(ONE + 1));
    // The ends of all ranges do not overflow.
    let curve = RedCurve { min: 0, max: i32::MAX as u32, max_p: ONE };
    let tight = RedCurve { min: i32::MAX as u32 - 1, max: i32::MAX as u32, max_p: ONE };
    for weight in [0, 16] {
        let transmission = Nanos(if weight == 0 { 1 } else { u32::MAX.into() });
        let config = RedConfig { weight, transmission, curves: [curve, tight, curve], ..config() };
        let (mut red, mut random) = (Red::new(config).unwrap(), Random::new(3));
        for step in 0..1000 {
            let depth = Depth { packets: 1, octets: u32::MAX - step };
            let arrival = Arrival { precedence: (step % 3) as u8, ..Arrival::new(u32::MAX) };
            red.arriving(Nanos::MAX, depth, arrival, &mut random);
            red.arriving(
                Nanos::MAX,
                Depth { packets: u32::from(step % 64 > 0), ..depth },
                arrival,
                &mut random,
            );
        }
    }
    assert!(size_of::<Red>() <= 192);
}
