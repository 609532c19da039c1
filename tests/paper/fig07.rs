//! Figure 7: five inputs, one output of 800 Mb/s, shares of 30, 25, 20, 15 and 10 %.
//!
//! Each source sends 400 Mb/s for 1 s, and they start 0.2 s apart. The paper gives
//! neither rate nor offsets in its text; ten times these times would fill 900 MB of
//! buffers. Rates and queues are read as the paper read them: by polling counters.
//! Rates are those of the wire, all headers and the gap between frames counted.
//!
//! It is run twice: through the queue manager alone, and, in `fast_path.rs`, as frames
//! through the whole of the fast path, both held to the same fluid.
//!
//! With `--nocapture` the test prints rates and queues beside those of the fluid.

use fastpath::exit::DropReason;
use fastpath::id::{EgressId, QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedWdrr, Paced, Quantum, QueueConfig, QueueManager, Rate, Scheduled, TailDrop, WdrrScheduler,
};
use fastpath::stats::{Count, Counters, Event, ROW, SliceAccount, StatsBlock};
use fastpath::time::Nanos;

use crate::fluid::{Curves, Flow, Ratio};

mod fast_path;

const SOURCES: usize = 5;

/// Percent of the link.
const SHARES: [u32; SOURCES] = [30, 25, 20, 15, 10];

/// Of the link and of a source, in bits per second.
const LINK: u64 = 800_000_000;
const SOURCE: u64 = 400_000_000;

/// From one source's start to the next one's, and for how long each sends.
const OFFSET: Nanos = Nanos::from_millis(200);
const SENDING: Nanos = Nanos::from_millis(1000);

/// From one reading of the counters to the next, and the last. The link is done at 2.6 s.
const BIN: Nanos = Nanos::from_millis(20);
const END: Nanos = Nanos::from_millis(2640);

/// Octets around a payload: Ethernet with a tag, outer and inner IPv4 and UDP. With
/// preamble, frame check sequence and gap, which no host sees, 98 on the wire.
const HEADERS: u32 = 18 + 28 + 28;
const UNSEEN: u32 = 8 + 4 + 12;

/// The longest frame as the wire sees it, and what all quanta add up to at most. A queue
/// is never farther from the fluid than both together, 0.17 ms of the link.
const LONGEST: u32 = 1518;
const ROUND: u32 = 15_360;

/// What is run. The fluid knows nothing of it but `limit`.
#[derive(Clone, Copy, Debug)]
struct Setup {
    weights: [u32; SOURCES],
    rate: u64,
    /// Octets that the scheduler is told to count on top of each frame.
    overhead: u32,
    /// Payloads of each source, in octets: it draws one for each packet.
    payloads: [&'static [u32]; SOURCES],
    /// Octets on the wire that a queue may hold.
    limit: Option<u32>,
}

const FIGURE_7: Setup =
    Setup { weights: SHARES, rate: LINK, overhead: UNSEEN, payloads: [&[1400]; SOURCES], limit: None };

/// A source that sends back to back at [`SOURCE`]. A packet is there when its last
/// octet is.
#[derive(Clone, Debug)]
struct Source {
    payloads: &'static [u32],
    random: u64,
    payload: u32,
    next: Nanos,
    end: Nanos,
}

impl Source {
    fn new(number: usize, payloads: &'static [u32]) -> Self {
        let start = Nanos(OFFSET.0 * number as u64);
        let random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
        let mut source = Self { payloads, random, payload: 0, next: start, end: start + SENDING };
        source.advance();
        source
    }

    /// When a packet comes next.
    fn due(&self) -> Option<Nanos> {
        (self.next <= self.end).then_some(self.next)
    }

    /// The payload of the packet that has come; the next one is on its way.
    fn advance(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let payload = self.payloads[(self.random >> 32) as usize % self.payloads.len()];
        // 20 ns an octet: no remainder.
        self.next += Nanos(u64::from(payload + HEADERS + UNSEEN) * 8_000_000_000 / SOURCE);
        std::mem::replace(&mut self.payload, payload)
    }
}

/// What a management processor can read of one input and its queue.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    queued: Count,
    sent: Count,
    /// Found its queue full.
    dropped: Count,
    backlog: u32,
    /// Came, and has yet to be looked at. No counter: the router's own word.
    ahead: Count,
}

/// A router with an input, a slice and a queue for each source.
trait Router {
    /// A packet has come.
    fn arrive(&mut self, now: Nanos, source: usize, payload: u32);

    /// Does what is to be done, and sends a packet, if one may go.
    fn depart(&mut self, now: Nanos) -> Option<()>;

    /// When there is something to do.
    fn next_due(&self, now: Nanos) -> Option<Nanos>;

    fn read(&self, source: usize) -> Reading;
}

type Interface<H> = Paced<BoxedWdrr<H>>;

/// The queue manager of section 4: ten schedulers, of which one is in use.
type Manager<H> = QueueManager<[Scheduled<Interface<H>>; 10]>;

/// A counter for each egress, one of them no way out, each queue, and each exit of each
/// slice, the substrate's among them.
type Statistics = Counters<[Count; SOURCES + 1], [Count; 80], [Count; ROW * (SOURCES + 1)]>;

const NOTHING_COUNTED: Statistics = Counters {
    egresses: [Count::ZERO; SOURCES + 1],
    queues: [Count::ZERO; 80],
    slices: [Count::ZERO; ROW * (SOURCES + 1)],
};

/// The interface whose scheduler is in use.
const INTERFACE: usize = 3;

/// Packets that may wait in all queues together.
const ROOM: usize = 1 << 19;

fn slice(source: usize) -> SliceId {
    SliceId(source as u16 + 1)
}

fn egress(source: usize) -> EgressId {
    EgressId::new(source as u32).unwrap()
}

/// Queues as `setup` has them.
fn manager<H>(setup: &Setup) -> Manager<H> {
    let rate = Rate::bits_per_second(setup.rate).unwrap();
    let unit = ROUND / setup.weights.iter().sum::<u32>();
    let schedulers = std::array::from_fn(|interface| {
        let room = if interface == INTERFACE { ROOM } else { 0 };
        let wdrr = BoxedWdrr::boxed(8, room, 0, TailDrop, Quantum { unit, longest: LONGEST }).unwrap();
        Scheduled::new(Paced::new(wdrr, rate, setup.overhead, Nanos::ZERO))
    });
    let mut manager = QueueManager::new(schedulers, 3);
    for (source, weight) in setup.weights.into_iter().enumerate() {
        let limit_octets = setup.limit.map_or(u64::MAX, u64::from);
        let config = QueueConfig { weight, limit_octets, ..QueueConfig::new(slice(source)) };
        manager.configure(queue(&manager, source), config).unwrap();
    }
    manager
}

fn queue<H>(manager: &Manager<H>, source: usize) -> QueueId {
    manager.queue_id(INTERFACE, source as u32).unwrap()
}

/// The queue manager alone, with counters before and behind it.
struct Scheduler {
    manager: Manager<u64>,
    stats: Statistics,
    /// Packets that came and left, to see that none overtakes another.
    arrived: [u64; SOURCES],
    left: [u64; SOURCES],
}

impl Scheduler {
    fn new(setup: &Setup) -> Self {
        let manager = manager(setup);
        Self { manager, stats: NOTHING_COUNTED, arrived: [0; SOURCES], left: [0; SOURCES] }
    }

    fn queue(&self, source: usize) -> QueueId {
        queue(&self.manager, source)
    }
}

impl Router for Scheduler {
    fn arrive(&mut self, now: Nanos, source: usize, payload: u32) {
        let octets = payload + HEADERS;
        let number = self.arrived[source];
        match self.manager.enqueue(now, self.queue(source), number, Arrival::new(octets)) {
            Ok(()) => {
                self.stats.record(Event::Queued(egress(source)), octets);
                self.arrived[source] += 1;
            }
            Err(rejected) => {
                assert_eq!((rejected.handle, rejected.reason), (number, DropReason::QueueFull));
                self.stats.record(Event::Left(slice(source), rejected.reason.into()), octets);
            }
        }
    }

    fn depart(&mut self, now: Nanos) -> Option<()> {
        let departure = self.manager.dequeue(now)?;
        let source = usize::from(departure.owner.0) - 1;
        assert_eq!((departure.queue, departure.handle), (self.queue(source), self.left[source]));
        self.left[source] += 1;
        self.stats.record(Event::Sent(departure.queue), departure.octets);
        Some(())
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.manager.next_due(now)
    }

    fn read(&self, source: usize) -> Reading {
        Reading {
            queued: self.stats.read(Event::Queued(egress(source))),
            sent: self.stats.read(Event::Sent(self.queue(source))),
            dropped: SliceAccount::read(&self.stats, slice(source)).dropped,
            backlog: self.manager.backlog(self.queue(source)),
            ahead: Count::ZERO,
        }
    }
}

/// One reading of all counters.
type Poll = [Reading; SOURCES];

/// The counters every [`BIN`], from time 0 to [`END`].
fn replay(router: &mut impl Router, setup: &Setup) -> Vec<Poll> {
    let mut sources: [_; SOURCES] = std::array::from_fn(|n| Source::new(n, setup.payloads[n]));
    let mut offered = [Count::ZERO; SOURCES];
    let mut polls: Vec<Poll> = Vec::new();
    let mut now = Nanos::ZERO;
    loop {
        let poll = Nanos(BIN.0 * polls.len() as u64);
        if poll > END {
            return polls;
        }
        let arrivals = sources.iter().filter_map(Source::due);
        now = arrivals.chain(router.next_due(now)).fold(poll, Nanos::min).max(now);
        for (n, source) in sources.iter_mut().enumerate() {
            while source.due() == Some(now) {
                let payload = source.advance();
                router.arrive(now, n, payload);
                offered[n] += Count { packets: 1, octets: u64::from(payload + HEADERS) };
            }
        }
        while router.depart(now).is_some() {}
        if now == poll {
            let readings = std::array::from_fn(|source| router.read(source));
            for (Reading { queued, sent, dropped, backlog, ahead }, offered) in
                readings.into_iter().zip(offered)
            {
                assert_eq!(ahead + queued + dropped, offered, "{now}: what came was queued or dropped");
                assert_eq!(queued.packets, sent.packets + u64::from(backlog), "{now}: and is sent or waits");
            }
            polls.push(readings);
        }
    }
}

/// `setup`, run through the scheduler alone.
fn schedule(setup: &Setup) -> Vec<Poll> {
    replay(&mut Scheduler::new(setup), setup)
}

/// The fluid, in seconds and megabits.
fn fluid(shares: [u32; SOURCES], limit: Option<u32>) -> Curves {
    let seconds = |at: Nanos| Ratio::new(at.0.into(), 1_000_000_000);
    let megabits = |bits: u64| Ratio::new(bits.into(), 1_000_000);
    let flow = |(n, share)| {
        let start = Nanos(OFFSET.0 * n);
        let arrivals = vec![(seconds(start), megabits(SOURCE)), (seconds(start + SENDING), Ratio::ZERO)];
        Flow {
            weight: i64::from(share),
            arrivals,
            limit: limit.map(|octets| megabits(u64::from(octets) * 8)),
        }
    };
    let flows: Vec<_> = (0..).zip(shares).map(flow).collect();
    Curves::new(megabits(LINK), &flows, seconds(END))
}

/// What a counter means on the wire, in megabits.
fn wire(count: Count) -> f64 {
    (count.octets + count.packets * u64::from(UNSEEN)) as f64 * 8e-6
}

/// The farthest that a run was from the fluid.
#[derive(Clone, Copy, Debug, Default)]
struct Deviation {
    /// In a bin, in Mb/s.
    rate: f64,
    /// In a bin, in parts of the fluid's rate.
    relative_rate: f64,
    /// In octets.
    waiting: f64,
    /// In octets.
    lost: f64,
}

/// Holds each bin's rates against the fluid's, +-2 % or two frames, and what waits and
/// what was lost at its end, +-3 % or 20 kB.
///
/// # Errors
///
/// Says what was too far off first.
fn compare(polls: &[Poll], fluid: &Curves) -> Result<Deviation, String> {
    let mut worst = Deviation::default();
    let bin = Ratio::new(BIN.0.into(), 1_000_000_000);
    let frames = 2.0 * f64::from(LONGEST) * 8e-6;
    let kilobytes_20 = 20_000.0 * 8e-6;
    for ((number, before), after) in (0..).zip(polls).zip(&polls[1..]) {
        let start = bin * Ratio::from(number);
        let end = start + bin;
        for flow in 0..SOURCES {
            let at = format!("queue {}, {:.2} to {:.2} s", flow + 1, start.as_f64(), end.as_f64());
            let check = |what, ours: f64, fluid: Ratio, part: f64, least: f64| {
                let (fluid, off) = (fluid.as_f64(), (ours - fluid.as_f64()).abs());
                let bound = least.max(fluid * part);
                let said = || format!("{at}: {ours:.4} Mb {what}, the fluid {fluid:.4}, +-{bound:.4}");
                if off <= bound { Ok(off) } else { Err(said()) }
            };
            let Reading { queued, sent, dropped, .. } = after[flow];
            let share = fluid.sent(flow, start, end);
            let off = check("sent", wire(sent) - wire(before[flow].sent), share, 0.02, frames)?;
            worst.rate = worst.rate.max(off / bin.as_f64());
            if share > Ratio::ZERO {
                worst.relative_rate = worst.relative_rate.max(off / share.as_f64());
            }
            let waiting = fluid.waiting(flow, end);
            let off = check("waiting", wire(queued) - wire(sent), waiting, 0.03, kilobytes_20)?;
            worst.waiting = worst.waiting.max(off / 8e-6);
            let lost = fluid.lost(flow, Ratio::ZERO, end);
            let off = check("lost", wire(dropped), lost, 0.03, kilobytes_20)?;
            worst.lost = worst.lost.max(off / 8e-6);
        }
    }
    Ok(worst)
}

/// Rates and queues every 0.2 s, beside the fluid's.
fn print(title: &str, polls: &[Poll], fluid: &Curves, deviation: &Deviation) {
    println!("{title}: measured / fluid, rates in Mb/s, then what waits in Mb");
    let seconds = |poll: usize| Ratio::new(BIN.0 as i128 * poll as i128, 1_000_000_000);
    for start in (0..polls.len() - 1).step_by(10) {
        let end = (start + 10).min(polls.len() - 1);
        let (from, to) = (seconds(start), seconds(end));
        print!("{:4.2} - {:4.2} s", from.as_f64(), to.as_f64());
        let span = (to - from).as_f64();
        for (flow, (before, after)) in polls[start].iter().zip(&polls[end]).enumerate() {
            let rate = (wire(after.sent) - wire(before.sent)) / span;
            print!(" {rate:6.2} /{:6.2}", fluid.sent(flow, from, to).as_f64() / span);
        }
        print!(" |");
        for (flow, after) in polls[end].iter().enumerate() {
            let waiting = wire(after.queued) - wire(after.sent);
            print!(" {waiting:6.2} /{:6.2}", fluid.waiting(flow, to).as_f64());
        }
        println!();
    }
    println!("{deviation:.4?}");
}

/// Runs `setup` by `run` and holds it against the fluid of [`SHARES`]; the counters at the
/// end.
fn follows(title: &str, setup: &Setup, run: impl Fn(&Setup) -> Vec<Poll>) -> Poll {
    let (polls, fluid) = (run(setup), fluid(SHARES, setup.limit));
    let deviation = compare(&polls, &fluid).unwrap();
    print(title, &polls, &fluid, &deviation);
    assert!(deviation.waiting <= f64::from(ROUND + LONGEST), "the bound of deficit round robin");
    *polls.last().unwrap()
}

/// Whether all that came was sent.
fn all_sent(end: &Poll) -> bool {
    end.iter().all(|end| end.queued == end.sent && end.dropped == Count::ZERO)
}

#[test]
fn the_table_in_the_repository_is_the_fluid() {
    let mut rows = include_str!("fig07.csv").lines().skip(1);
    let pieces = fluid(SHARES, None).pieces;
    for (piece, row) in pieces.iter().zip(&mut rows) {
        let ours = [&[piece.start][..], &piece.leaving, &piece.waiting].concat();
        let table = row.split(',').map(|field| field.parse::<f64>().unwrap());
        assert_eq!(table.clone().count(), ours.len());
        for (ours, table) in ours.iter().zip(table) {
            assert!((ours.as_f64() - table).abs() <= 0.501e-4, "{} is not in {row}", ours.as_f64());
        }
    }
    assert_eq!((pieces.len(), rows.next()), (15, None));
}

#[test]
fn the_scheduler_follows_the_fluid() {
    assert!(all_sent(&follows("Payloads of 1,400 octets", &FIGURE_7, schedule)));
}

/// Each source its own sizes: shares are of octets on the wire, not of packets.
const MIXED: Setup = Setup { payloads: [&[1400], &[400], &[0, 1400], &[40, 400, 1400], &[80]], ..FIGURE_7 };

#[test]
fn sizes_of_packets_make_no_difference() {
    assert!(all_sent(&follows("Payloads of 0 to 1,400 octets", &MIXED, schedule)));
}

#[test]
fn queues_of_two_megabytes_lose_what_the_fluid_loses() {
    for setup in [FIGURE_7, MIXED] {
        let end = follows("2 MB a queue", &Setup { limit: Some(2_000_000), ..setup }, schedule);
        assert!(end.iter().all(|end| end.dropped.packets > 0 && end.queued == end.sent));
    }
}

/// What the comparison says against a run.
fn objection(setup: &Setup, run: impl Fn(&Setup) -> Vec<Poll>) -> String {
    let verdict = compare(&run(setup), &fluid(SHARES, setup.limit));
    let objection = verdict.expect_err("a wrong scheduler passed");
    println!("{setup:?}: {objection}");
    objection
}

#[test]
fn plain_round_robin_is_rejected_as_soon_as_three_compete() {
    let plain = Setup { weights: [1; SOURCES], ..FIGURE_7 };
    assert!(objection(&plain, schedule).starts_with("queue 1, 0.40 to 0.42 s: 5.33"));
    compare(&schedule(&plain), &fluid([20; SOURCES], None)).expect("it has the fluid of equal shares");
}

#[test]
fn a_hundredth_of_the_link_in_the_wrong_queue_is_rejected() {
    let objection = objection(&Setup { weights: [30, 25, 19, 16, 10], ..FIGURE_7 }, schedule);
    assert!(objection.starts_with("queue 3, 0.40 to 0.42 s"));
}

#[test]
fn a_link_one_percent_off_is_rejected() {
    for percent in [99, 101] {
        objection(&Setup { rate: LINK / 100 * percent, ..FIGURE_7 }, schedule);
    }
}

#[test]
fn frames_without_what_the_wire_adds_are_rejected() {
    for setup in [FIGURE_7, MIXED] {
        objection(&Setup { overhead: 0, ..setup }, schedule);
    }
}
