//! All cases, and what comes of them.

use std::fmt::Write as _;

use crate::drr::Drr;
use crate::floors::{Memory, Ring};
use crate::side::{self, BATCH, Side};
use crate::times::Times;
use crate::trace::{Trace, Traffic, Weights};
use crate::{dpdk, ours};

/// Numbers of queues: of 1,024 and of 16,384 rte_sched has 256 and 4,096 pipes.
const QUEUES: [usize; 6] = [1, 10, 1 << 10, 1 << 14, 1 << 16, 1 << 20];

/// The whole run.
pub struct Run {
    pub rounds: usize,
    /// Part of a case's name.
    pub only: String,
    pub ticks: f64,
}

impl Run {
    /// All cases; returns the CSV.
    pub fn all(&self) -> String {
        let mut csv = "queues,traffic,weights,how,side,least_ns,median_ns,median_ticks,rounds,\
                       ours_to_it_least,ours_to_it_median\n"
            .to_owned();
        for queues in QUEUES {
            for traffic in Traffic::ALL {
                for weights in Weights::ALL {
                    let name = format!("{queues} queues, {}, {} weights", traffic.name(), weights.name());
                    if name.contains(&self.only) && (queues > 1 || name.contains("uniform, equal")) {
                        println!("\n## {name}\n");
                        self.case(&Trace::new(queues, weights, traffic, 4 * side::ROUND), &mut csv);
                    }
                }
            }
        }
        csv
    }

    fn case(&self, trace: &Trace, csv: &mut String) {
        let mut sides = ours::all(trace);
        sides.extend(others(trace));
        side::check(&mut sides, trace);
        let all = [1, BATCH].map(|batch| side::time(&mut sides, trace, batch, self.rounds));
        println!("| side | one by one | ours to it | batches of {BATCH} | ours to it | ticks |");
        println!("|---|---|---|---|---|---|");
        let [single, batches] = &all;
        let figures = |times: &[Option<Times>], at: usize| match (times[0], times[at]) {
            (Some(ours), Some(it)) => (format!("{it:.2}"), format!("{:.2}", ours.median / it.median)),
            _ => ("-".into(), "-".into()),
        };
        for (at, side) in sides.iter().enumerate() {
            let ((one, to_one), (many, to_many)) = (figures(single, at), figures(batches, at));
            let ticks = batches[at].map_or(f64::NAN, |it| it.median * self.ticks);
            println!("| {} | {one} | {to_one} | {many} | {to_many} | {ticks:.0} |", side.name());
        }
        for (how, times) in ["single", "batch"].iter().zip(&all) {
            for (side, it) in sides.iter().zip(times) {
                let (Some(Times { least, median }), Some(ours), name) = (*it, times[0], side.name()) else {
                    continue;
                };
                let (ticks, rounds) = (median * self.ticks, self.rounds);
                let (to_least, to_median) = (ours.least / least, ours.median / median);
                let (queues, traffic, weights) = (trace.queues, trace.traffic.name(), trace.weights.name());
                writeln!(
                    csv,
                    "{queues},{traffic},{weights},{how},\"{name}\",{least:.2},{median:.2},{ticks:.1},{rounds},{to_least:.3},{to_median:.3}"
                )
                .unwrap();
            }
        }
    }
}

/// The peer where it can take part, and the floors.
pub fn others(trace: &Trace) -> Vec<Box<dyn Side>> {
    let mut others: Vec<Box<dyn Side>> = dpdk::sched(trace).into_iter().collect();
    others.push(Box::new(Drr::new(trace)));
    others.push(Box::new(Memory::new(trace)));
    others.push(Box::new(Ring::new(trace)));
    others
}
