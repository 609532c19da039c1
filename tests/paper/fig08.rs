//! Figure 8: five inputs of 800 Mb/s, five outputs of 800 Mb/s; in each phase one output is
//! offered twice what it can send, one nothing, and three what they can send. The hot output of
//! a phase is the idle one of the next.
//!
//! So 4.0 Gb/s come in all the time, 3.2 go out, and after the second and the third transition
//! 4.0 for as long as what waits at the idle output lasts: `buffer / 0.8 Gb/s`. The paper shows
//! samples of 200 ms and does not give the buffers: a rise to 4.0 that is brief needs about 20 MB
//! an output, and far less than a phase fills.
//!
//! The queue manager has a scheduler for each output, with a queue for each input.

use fastpath::exit::DropReason;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedWdrr, Paced, Quantum, QueueConfig, QueueManager, Rate, Scheduled, TailDrop, WdrrScheduler,
};
use fastpath::time::Nanos;

use crate::fluid::{Curves, Flow, Ratio};

/// Inputs, outputs.
const PORTS: usize = 5;
const PHASES: usize = 3;

/// Of an input, and of an output.
const RATE: u64 = 800_000_000;

/// 1,400 octets of payload on the wire, of which no host sees 24.
const WIRE: u32 = 1498;
const UNSEEN: u32 = 24;

const PHASE: Nanos = Nanos::from_millis(1000);
const END: Nanos = Nanos::from_millis(3200);
const BIN: Nanos = Nanos::from_millis(20);
/// The paper's samples, in bins.
const SAMPLE: usize = 10;

#[derive(Clone, Copy, Debug)]
struct Setup {
    /// Octets that may wait for an output, a fifth in each of its queues.
    buffer: Option<u64>,
    rate: u64,
}

/// What came through an output up to a time, and what waits there, in octets on the wire.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    sent: u64,
    waiting: u64,
    lost: u64,
}

type Poll = [Reading; PORTS];
type Manager = QueueManager<[Scheduled<Paced<BoxedWdrr<u32>>>; PORTS]>;

fn manager(setup: &Setup) -> Manager {
    let rate = Rate::bits_per_second(setup.rate).unwrap();
    let schedulers = std::array::from_fn(|_| {
        let wdrr = BoxedWdrr::boxed(8, 1 << 18, 0, TailDrop, Quantum::of_longest(1518)).unwrap();
        Scheduled::new(Paced::new(wdrr, rate, UNSEEN, Nanos::ZERO))
    });
    let mut manager = QueueManager::new(schedulers, 3);
    for (output, input) in (0..PORTS).flat_map(|output| (0..PORTS).map(move |input| (output, input))) {
        let limit_octets = setup.buffer.map_or(u64::MAX, |octets| octets / PORTS as u64);
        let config = QueueConfig { limit_octets, ..QueueConfig::new(SliceId(input as u16 + 1)) };
        let queue = queue(&manager, output, input);
        manager.configure(queue, config).unwrap();
    }
    manager
}

fn queue(manager: &Manager, output: usize, input: usize) -> QueueId {
    manager.queue_id(output, input as u32).unwrap()
}

/// Where packet `n` of an input goes in a phase: two of five to the hot output.
fn output(phase: usize, n: u64) -> usize {
    let (hot, others) = (phase, [1, 2, 3]);
    match n % 5 {
        0 | 2 => hot % PORTS,
        n => (hot + others[[0, 0, 0, 1, 2][n as usize]]) % PORTS,
    }
}

/// The counters every [`BIN`], from time 0 to [`END`].
fn run(setup: &Setup) -> Vec<Poll> {
    let mut manager = manager(setup);
    let mut lost = [0; PORTS];
    let mut polls = Vec::new();
    let slot = u64::from(WIRE) * 8_000_000_000 / RATE;
    // Inputs are a fifth of a packet apart; packet n is there when its last octet is.
    let coming = |n: u64| Nanos((n / 5 + 1) * slot + n % 5 * slot / 5);
    let (mut n, mut now) = (0, Nanos::ZERO);
    loop {
        let poll = Nanos(BIN.0 * polls.len() as u64);
        if poll > END {
            return polls;
        }
        let arrival = Some(coming(n)).filter(|at| *at <= Nanos(PHASE.0 * PHASES as u64));
        now = arrival.into_iter().chain(manager.next_due(now)).fold(poll, Nanos::min).max(now);
        if arrival == Some(now) {
            let (input, phase) = ((n % 5) as usize, ((now.0 - 1) / PHASE.0) as usize);
            let output = output(phase, n / 5 + n % 5);
            let queue = queue(&manager, output, input);
            if let Err(refused) = manager.enqueue(now, queue, 0, Arrival::new(WIRE - UNSEEN)) {
                assert_eq!(refused.reason, DropReason::QueueFull);
                lost[output] += u64::from(WIRE);
            }
            n += 1;
        }
        while manager.dequeue(now).is_some() {}
        if now == poll {
            polls.push(std::array::from_fn(|output| {
                let stats = (0..PORTS).map(|input| manager.stats(queue(&manager, output, input)));
                let (sent, waiting) = stats
                    .fold((0, 0), |(sent, waiting), stats| (sent + stats.out_octets, waiting + stats.octets));
                Reading { sent, waiting, lost: lost[output] }
            }));
        }
    }
}

/// The fluid of an output, in seconds and megabits.
fn fluid(output: usize, setup: &Setup) -> Curves {
    let seconds = |phase: usize| Ratio::new((PHASE.0 as usize * phase) as i128, 1_000_000_000);
    // A fifth of what all inputs offer.
    let offered = |phase: usize| match (output + PORTS - phase) % PORTS {
        0 => Ratio::from(320),
        4 => Ratio::ZERO,
        _ => Ratio::from(160),
    };
    let mut arrivals: Vec<_> = (0..PHASES).map(|phase| (seconds(phase), offered(phase))).collect();
    arrivals.push((seconds(PHASES), Ratio::ZERO));
    let limit = setup.buffer.map(|octets| Ratio::new(i128::from(octets) * 8, 5_000_000));
    let flow = Flow { weight: 1, arrivals, limit };
    Curves::new(800.into(), &vec![flow; PORTS], Ratio::new(END.0.into(), 1_000_000_000))
}

/// Megabits of all of an output's queues.
fn all(of_queue: impl Fn(usize) -> Ratio) -> f64 {
    (0..PORTS).map(of_queue).sum::<Ratio>().as_f64()
}

/// Holds each bin's rates against the fluid's, +-2 % or two frames, and what waits and what was
/// lost at its end, +-3 % or 20 kB.
///
/// # Errors
///
/// Says what was too far off first.
fn compare(polls: &[Poll], setup: &Setup) -> Result<(), String> {
    let megabits = |octets: u64| octets as f64 * 8e-6;
    let time = |bin: usize| Ratio::new(BIN.0 as i128 * bin as i128, 1_000_000_000);
    for output in 0..PORTS {
        let fluid = fluid(output, setup);
        for bin in 1..polls.len() {
            let (before, after) = (polls[bin - 1][output], polls[bin][output]);
            let (from, to) = (time(bin - 1), time(bin));
            let check = |what, ours: f64, fluid: f64, part: f64, least: f64| {
                let bound = least.max(fluid * part);
                if (ours - fluid).abs() <= bound {
                    return Ok(());
                }
                Err(format!("output {output}, bin {bin}: {ours:.4} Mb {what}, the fluid {fluid:.4}"))
            };
            let rate = all(|flow| fluid.sent(flow, from, to));
            check("sent", megabits(after.sent - before.sent), rate, 0.02, 2.0 * megabits(WIRE.into()))?;
            check("waiting", megabits(after.waiting), all(|flow| fluid.waiting(flow, to)), 0.03, 0.16)?;
            let lost = all(|flow| fluid.lost(flow, Ratio::ZERO, to));
            check("lost", megabits(after.lost), lost, 0.03, 0.16)?;
        }
    }
    Ok(())
}

/// What all outputs sent in each sample, in Gb/s.
fn samples(polls: &[Poll]) -> Vec<f64> {
    let sent = |poll: &Poll| poll.iter().map(|reading| reading.sent).sum::<u64>();
    let ends: Vec<_> = polls.iter().step_by(SAMPLE).map(sent).collect();
    ends.windows(2).map(|ends| (ends[1] - ends[0]) as f64 * 8.0 / 0.2e9).collect()
}

/// Runs a buffer of so many octets and holds it against the fluid; the samples.
fn follows(buffer: Option<u64>) -> Vec<f64> {
    let setup = Setup { buffer, rate: RATE };
    let polls = run(&setup);
    compare(&polls, &setup).unwrap();
    let samples = samples(&polls);
    println!("{buffer:?} octets an output: {samples:.3?} Gb/s");
    samples
}

fn near(ours: f64, expected: f64) {
    assert!((ours - expected).abs() <= 0.02 * expected, "{ours:.3} Gb/s and not {expected:.2}");
}

/// Buffers in octets, and the first sample after the second and the third transition: worked
/// out apart from this file.
const PEAKS: [(u64, f64); 4] =
    [(2_560_000, 3.30), (10_000_000, 3.60), (20_000_000, 4.00), (25_000_000, 4.00)];

#[test]
fn the_output_rises_for_as_long_as_the_buffer_lasts() {
    for (buffer, peak) in PEAKS {
        let samples = follows(Some(buffer));
        for phase in 0..PHASES {
            near(samples[5 * phase], if phase == 0 { 3.2 } else { peak });
            // The second sample has what is left of 31.25 ms a MB.
            let later = (buffer as f64 / 1e8 - 0.2).max(0.0) / 0.2;
            near(samples[5 * phase + 1], if phase == 0 { 3.2 } else { 3.2 + 0.8 * later });
            samples[5 * phase + 2..5 * phase + 5].iter().for_each(|sample| near(*sample, 3.2));
        }
    }
}

#[test]
fn with_endless_buffers_the_rise_is_not_brief() {
    let samples = follows(None);
    samples[..5].iter().for_each(|sample| near(*sample, 3.2));
    samples[5..15].iter().for_each(|sample| near(*sample, 4.0));
}

#[test]
fn other_buffers_and_a_link_one_percent_off_are_rejected() {
    let setup = Setup { buffer: Some(10_000_000), rate: RATE };
    let wrong = [
        Setup { buffer: Some(10_500_000), ..setup },
        Setup { buffer: None, ..setup },
        Setup { rate: RATE / 100 * 99, ..setup },
    ];
    for wrong in wrong {
        let objection = compare(&run(&wrong), &setup).expect_err("a wrong queue manager passed");
        println!("{wrong:?}: {objection}");
    }
}
