//! All sides in turn, round by round, the packets written while no clock runs.

use std::time::Instant;

use crate::check::same_frames;
use crate::fused::Fused;
use crate::ours::Ours;
use crate::same::Same;
use crate::times::Times;
use crate::world::{self, Route, Source};

/// What is compared.
pub const SIDES: [&str; 4] = ["c", "c, headers ahead", "c, same work", "fastpath"];
/// Inner destinations.
pub const DESTINATIONS: usize = 1 << 20;

/// The circles in which four sides can follow each other. In all six together every side
/// runs as often after each of the others.
pub const CIRCLES: [[usize; 4]; 6] =
    [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]];

/// What each side took in each round, in nanoseconds a packet, and in which circle.
pub struct Rounds(Vec<(usize, [f64; 4])>);

impl Rounds {
    /// Times by side, and of how many rounds: of all, or of those in one circle, if any was.
    pub fn times(&self, circle: Option<usize>) -> Option<([Times; 4], usize)> {
        let rounds = self.0.iter().filter(|round| circle.is_none_or(|circle| round.0 == circle));
        let rounds: Vec<_> = rounds.map(|round| round.1).collect();
        let of = |side: usize| Times::of(rounds.iter().map(|times| times[side]).collect());
        (!rounds.is_empty()).then(|| ([0, 1, 2, 3].map(of), rounds.len()))
    }
}

/// A side with its pool.
trait Side {
    fn fill(&mut self, source: &mut Source);
    fn run(&mut self, octets: usize);
}

impl Side for Fused {
    fn fill(&mut self, source: &mut Source) {
        self.fill(source);
    }
    fn run(&mut self, octets: usize) {
        self.run(octets);
    }
}

impl Side for Same {
    fn fill(&mut self, source: &mut Source) {
        self.fill(source);
    }
    fn run(&mut self, _: usize) {
        self.run();
    }
}

impl Side for Ours {
    fn fill(&mut self, source: &mut Source) {
        self.fill(source);
    }
    fn run(&mut self, _: usize) {
        self.run();
    }
}

/// Each round in the next circle, and once round begun with the next side of it. All sides
/// must send the same packets to the same queues.
pub fn compare(routes: &[Route], buffers: usize, rounds: usize) -> Rounds {
    let destinations = world::destinations(routes, DESTINATIONS);
    let mut sources = [(); 4].map(|()| Source::new(world::SMALLEST, destinations.clone()));
    let octets = sources[0].octets();
    let [mut c, mut ahead] = [false, true].map(|ahead| Fused::new(buffers, routes, ahead));
    let mut same = Same::new(buffers, routes);
    let mut ours = Ours::new(buffers, routes);
    let passes = (DESTINATIONS / buffers).max(1);
    let packets = (passes * buffers) as f64;
    let mut times = Vec::new();
    for round in 0..=rounds {
        let (turns, circle) = (round / CIRCLES.len(), round % CIRCLES.len());
        let mut order = CIRCLES[circle];
        order.rotate_left(turns % 4);
        let sides: [&mut dyn Side; 4] = [&mut c, &mut ahead, &mut same, &mut ours];
        let mut sums = [0.0; 4];
        for _ in 0..passes {
            for side in order {
                sides[side].fill(&mut sources[side]);
                let start = Instant::now();
                sides[side].run(octets);
                sums[side] += start.elapsed().as_nanos() as f64;
            }
        }
        let expected = ((round + 1) as f64 * packets) as u64;
        let counts = ours.counts();
        for c in [&c, &ahead] {
            let (sent, refused) = c.counts();
            assert_eq!(refused, 0, "the C loop refused packets");
            assert_eq!(sent, counts.sent, "the two sides sent different packets");
            assert_eq!(sent.iter().map(|[packets, _]| packets).sum::<u64>(), expected);
        }
        assert_eq!(same.counts(), counts, "the two sides counted differently");
        // The first round warms up.
        if round > 0 {
            times.push((circle, sums.map(|sum| sum / packets)));
        }
    }
    for c in [&c, &ahead] {
        same_frames(c.pool(), &ours, octets);
    }
    same_frames(same.pool(), &ours, octets);
    Rounds(times)
}
