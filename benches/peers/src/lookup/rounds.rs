//! All sides in turn, round by round.

use std::hint::black_box;

use crate::side::{BATCH, Side, time};
use crate::times::Times;

/// Keys that are timed together.
const PART: usize = 32 * BATCH;

/// Octets that are touched to make caches cold.
const FLUSH: usize = 64 << 20;

/// Cold batches in each round.
const COLD: usize = 8;

/// All sides must find the same for every key, one by one and in batches; returns that.
pub fn same<K>(sides: &mut [&mut dyn Side<K>], keys: &[K], what: &str) -> Vec<u32> {
    let mut same: Option<(String, Vec<u32>)> = None;
    for side in sides.iter_mut() {
        side.take(keys);
        for batch in [1, BATCH] {
            side.run(0..keys.len(), batch);
            let (name, answers) = (format!("{} by {batch}", side.name()), side.answers());
            match &same {
                None => same = Some((name, answers)),
                Some((other, expected)) => {
                    let differs = answers.iter().zip(expected).position(|(one, other)| one != other);
                    if let Some(at) = differs {
                        panic!(
                            "{what}, key {at}: {name} finds {}, {other} finds {}",
                            answers[at], expected[at]
                        );
                    }
                }
            }
        }
    }
    same.map(|(_, answers)| answers).unwrap_or_default()
}

/// What a key takes each side, which have the trace.
pub fn warm<K>(sides: &mut [&mut dyn Side<K>], keys: usize, batch: usize, rounds: usize) -> Vec<Times> {
    let parts = keys.div_ceil(PART);
    let mut times = vec![vec![Vec::new(); parts]; sides.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            for (part, times) in times[at].iter_mut().enumerate() {
                let keys = part * PART..keys.min((part + 1) * PART);
                let took = time(|| sides[at].run(keys, batch));
                if round > 0 {
                    times.push(took);
                }
            }
        }
    }
    let of = |times: Vec<Vec<f64>>| {
        let parts: Vec<_> = times.into_iter().map(Times::of).collect();
        let sum = |one: fn(&Times) -> f64| parts.iter().map(one).sum::<f64>() / keys as f64;
        Times { least: sum(|times| times.least), median: sum(|times| times.median) }
    };
    times.into_iter().map(of).collect()
}

/// The same for a batch whose table is not in the caches.
pub fn cold<K>(sides: &mut [&mut dyn Side<K>], keys: usize, rounds: usize) -> Vec<Times> {
    let mut other = vec![1u8; FLUSH];
    let mut times = vec![Vec::new(); sides.len()];
    for at in 0..rounds * COLD {
        let start = at * 7919 * BATCH % (keys - BATCH);
        let keys = start..start + BATCH;
        for turn in 0..sides.len() {
            let side = (turn + at) % sides.len();
            other.iter_mut().step_by(64).for_each(|octet| *octet = octet.wrapping_add(1));
            black_box(&mut other);
            sides[side].touch(keys.clone());
            times[side].push(time(|| sides[side].run(keys.clone(), BATCH)) / BATCH as f64);
        }
    }
    times.into_iter().map(Times::of).collect()
}
