//! Which forest: a few are planned, and the one of the least expected cost is taken.
//!
//! A pure function of the filters and the bound: the keys to try it with are drawn from the
//! filters with a fixed seed.

use super::control::{ForestControl, plant};
use super::plan::{Config, forest};
use super::read::ForestRead;
use super::rule::Rule;
use super::simd::Machine;

/// Expulsion at the root, below, the length of a list, and log2 of the most leaves of a filter.
const TRIES: [(f32, f32, usize, u8); 9] = [
    (0.0, 0.0, 64, 5),
    (1.0, 3.0, 24, 5),
    (2.0, 6.0, 24, 5),
    (3.0, 6.0, 40, 5),
    (3.0, 12.0, 24, 5),
    (4.0, 6.0, 40, 5),
    (5.0, 12.0, 40, 5),
    (4.0, 6.0, 40, 6),
    (5.0, 12.0, 40, 6),
];

/// So many filters at most are worth 64 leaves each: of more, the leaves leave the near caches.
const SMALL: usize = 2048;

/// Keys to try a forest with.
const KEYS: usize = 1024;

/// What a block and a candidate cost, in nodes; and what a list costs, of what its blocks and
/// candidates would if waves came to them.
const BLOCK: f32 = 1.5;
const ROW: f32 = 0.5;
const LISTED: f32 = 0.6;

impl ForestRead {
    /// The best forest for rules in order of precedence, no two of which have the same
    /// order. `None` if none can hold them.
    ///
    /// It should cost at most `bound` lines, but may cost more: the caller looks.
    pub(crate) fn build(machine: Machine, rules: &[Rule], bound: u32) -> Option<(Self, ForestControl)> {
        build(machine, rules, bound)
    }
}

fn build(machine: Machine, rules: &[Rule], bound: u32) -> Option<(ForestRead, ForestControl)> {
    let mut seed = 1u64;
    let mut noise = || {
        // xorshift*: S. Vigna, ACM TOMS 42(4), 2016.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.wrapping_mul(2_685_821_657_736_338_717)
    };
    let mut drawn = || u128::from(noise()) << 64 | u128::from(noise());
    let picked = (0..KEYS).filter_map(|at| rules.get(at * rules.len() / KEYS));
    let keys: alloc::vec::Vec<u128> = picked.map(|rule| rule.drawn(drawn())).collect();
    let mut least: Option<(f32, (ForestRead, ForestControl))> = None;
    for (eject_root, eject_deep, list, spread) in TRIES {
        if eject_root == 0.0 && rules.len() > list || spread > Config::DEFAULT.spread && rules.len() > SMALL {
            continue;
        }
        let plans = forest(Config { eject_root, eject_deep, list, spread, ..Config::DEFAULT }, rules);
        let Ok((read, control)) = plant(machine, rules, &plans) else { continue };
        let touched = keys.iter().map(|&key| read.touched(key));
        let steps = touched.map(|of| of.nodes as f32 + BLOCK * of.blocks as f32 + ROW * of.rows as f32);
        let steps = steps.sum::<f32>() / keys.len().max(1) as f32;
        let steps = if read.is_list() { LISTED * steps } else { steps };
        // Steps a key, and a little for what an adversary finds.
        let cost = control.cost();
        let cost = steps + 0.01 * cost as f32 + if cost > bound { 100.0 + cost as f32 } else { 0.0 };
        if least.as_ref().is_none_or(|least| cost < least.0) {
            least = Some((cost, (read, control)));
        }
        if rules.len() <= 24 {
            break;
        }
    }
    Some(least?.1)
}
