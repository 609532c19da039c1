//! How figures grow with queues.

use std::fmt::Write as _;

use crate::cases::others;
use crate::draw::{Album, Colour};
use crate::ours;
use crate::side::{self, BATCH, Side};
use crate::trace::{Trace, Traffic, Weights};

/// How the curves are drawn.
pub const ALBUM: Album = Album {
    prefix: "queueing",
    figures: &[("queues", "queues", "ns a packet, in and out")],
    panels: [
        "uniform, equal weights",
        "uniform, mixed weights",
        "Zipf, equal weights",
        "Zipf, mixed weights",
        "ten schedulers, held to rates, uniform",
    ],
    colour: Colour::Side,
};

/// Queues of the points of a curve.
const SIZES: [usize; 11] = [1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];

/// Each curve's value at a number of queues, as the panels show it: NaN where a side does not
/// take part.
struct Point {
    side: String,
    /// One by one, in batches.
    values: [[f64; 5]; 2],
}

/// All curves, in the file's form, which is written after each size.
pub fn measure(rounds: usize, file: &str) {
    let panels = ["uniform_equal_ns", "uniform_mixed_ns", "zipf_equal_ns", "zipf_mixed_ns", "ten_paced_ns"];
    let mut csv = format!("figure,set,size,side,{}\n", panels.join(","));
    for queues in SIZES {
        println!("{queues} queues");
        let mut points: Vec<Point> = Vec::new();
        let cases = Traffic::ALL.iter().flat_map(|traffic| Weights::ALL.map(|weights| (*traffic, weights)));
        for (panel, (traffic, weights)) in cases.enumerate() {
            let trace = Trace::new(queues, weights, traffic, side::ROUND);
            let mut sides: Vec<Box<dyn Side>> = vec![Box::new(ours::flat(&trace))];
            sides.extend(others(&trace));
            add(&mut points, &mut sides, &trace, panel, rounds);
        }
        if queues >= 16 {
            let trace = Trace::new(queues, Weights::Equal, Traffic::Uniform, side::ROUND);
            add(&mut points, &mut [Box::new(ours::ten(&trace))], &trace, 4, rounds);
        }
        for (at, set) in ["batches of 32", "one by one"].iter().enumerate() {
            for Point { side, values } in &points {
                let values = values[1 - at];
                if values.iter().all(|value| value.is_nan()) {
                    continue;
                }
                let values = values.map(|value| format!("{value:.3}")).join(",");
                writeln!(csv, "queues,{set},{queues},{side},{values}").unwrap();
            }
        }
        std::fs::write(file, &csv).unwrap();
    }
}

/// Times the sides, and enters what they take.
fn add(points: &mut Vec<Point>, sides: &mut [Box<dyn Side>], trace: &Trace, panel: usize, rounds: usize) {
    side::check(sides, trace);
    for (how, batch) in [1, BATCH].into_iter().enumerate() {
        let times = side::time(sides, trace, batch, rounds);
        for (side, times) in sides.iter().zip(times) {
            // Whatever is round it, it is ours.
            let name = side.name().split(',').next().unwrap_or_default();
            let at = points.iter().position(|point| point.side == name).unwrap_or_else(|| {
                points.push(Point { side: name.into(), values: [[f64::NAN; 5]; 2] });
                points.len() - 1
            });
            points[at].values[how][panel] = times.map_or(f64::NAN, |times| times.median);
        }
    }
}
