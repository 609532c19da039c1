//! What is compared, what all must do first, and rounds in turn.

use std::ops::Range;
use std::time::Instant;

use crate::times::Times;
use crate::trace::Trace;

/// Packets that go in, and come out, together.
pub const BATCH: usize = 32;

/// Packets of a round.
pub const ROUND: usize = 1 << 16;

/// Packets that are timed together, so that few of them are interrupted.
const PART: usize = 1 << 12;

/// Queues whose lines are not fetched ahead: they stay in the nearest caches.
pub const NEAR: usize = 512;

/// A scheduler with a trace. A packet's handle is its number in the trace.
pub trait Side {
    fn name(&self) -> &str;

    /// Whether packets may go one by one.
    fn one_by_one(&self) -> bool {
        true
    }

    /// Puts these packets in.
    fn put(&mut self, packets: Range<usize>);

    /// Puts these packets in and takes as many out, `batch` at a time: 1 or [`BATCH`].
    fn run(&mut self, packets: Range<usize>, batch: usize);

    /// The same, and all that is there at the end; what left, in order. `None` if the side has no
    /// order of its own.
    fn leave(&mut self, packets: Range<usize>, batch: usize) -> Option<Vec<u32>>;
}

/// Fetches a line.
#[inline(always)]
pub fn fetch<T>(item: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch has no effect that a program could see, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
}

/// All packets that go in must come out, once each, and in order within a queue; one by one
/// and in batches.
pub fn check(sides: &mut [Box<dyn Side>], trace: &Trace) {
    let some = trace.waiting..(trace.waiting + ROUND.min(trace.coming()));
    for side in sides {
        let one_by_one = side.one_by_one();
        for batch in [1, BATCH].into_iter().filter(|batch| *batch > 1 || one_by_one) {
            side.put(0..trace.waiting);
            let Some(left) = side.leave(some.clone(), batch) else { break };
            assert_eq!(left.len(), some.end, "{} by {batch}: not all packets came out", side.name());
            let mut last = vec![None; trace.queues];
            for number in left {
                let queue = trace.packets[number as usize].queue as usize;
                let before = last[queue].replace(number);
                assert!(before < Some(number), "{} by {batch}: not in order in queue {queue}", side.name());
            }
        }
        side.put(0..trace.waiting);
    }
}

/// What a packet takes each side, in and out; `None` if it does not go so.
pub fn time(sides: &mut [Box<dyn Side>], trace: &Trace, batch: usize, rounds: usize) -> Vec<Option<Times>> {
    let mut times = vec![Vec::new(); sides.len()];
    // The first round warms up.
    for round in 0..=rounds {
        let start = trace.waiting + round * ROUND % trace.coming();
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            if batch == 1 && !sides[at].one_by_one() {
                continue;
            }
            for part in (start..start + ROUND).step_by(PART) {
                let begin = Instant::now();
                sides[at].run(part..part + PART, batch);
                if round > 0 {
                    times[at].push(begin.elapsed().as_nanos() as f64 / PART as f64);
                }
            }
        }
    }
    times.into_iter().map(|times| (!times.is_empty()).then(|| Times::of(times))).collect()
}

/// Ticks of the processor's clock in a nanosecond: a constant rate, whatever the frequency is
/// that its core runs with.
pub fn ticks() -> f64 {
    use std::arch::x86_64::_rdtsc;
    // SAFETY: the instruction reads a counter.
    let clock = || unsafe { _rdtsc() };
    let (begin, ticks) = (Instant::now(), clock());
    while begin.elapsed().as_millis() < 50 {}
    (clock() - ticks) as f64 / begin.elapsed().as_nanos() as f64
}
