//! One update at a time.

use crate::side::Changing;

/// Entries that are taken out and put in again, in each round.
const DRAWN: usize = 400;

/// What updates took, in microseconds.
pub struct Updates {
    pub least: f64,
    pub median: f64,
    pub p999: f64,
}

/// Entries drawn at random, the same for all sides, each round another side first.
pub fn measure(sides: &mut [&mut dyn Changing], rounds: usize) -> Vec<Updates> {
    let (mut state, mut took) = (7u64, vec![Vec::new(); sides.len()]);
    for round in 0..=rounds {
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let drawn: Vec<_> = (0..DRAWN).map(|_| draw()).collect();
        for turn in 0..sides.len() {
            let side = (turn + round) % sides.len();
            sides[side].change(&drawn, &mut took[side]);
        }
        if round == 0 {
            took.iter_mut().for_each(Vec::clear);
        }
    }
    let of = |mut took: Vec<f64>| {
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took[took.len() * part / 1000] / 1e3;
        Updates { least: at(0), median: at(500), p999: at(999) }
    };
    took.into_iter().map(of).collect()
}
