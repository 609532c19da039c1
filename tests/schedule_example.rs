//! The example program `schedule`, run in this process: against the algorithm as published,
//! round by round and with exact fractions of time, and with files that are wrong.

#[allow(dead_code)]
#[path = "../examples/schedule/main.rs"]
mod schedule;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;

use proptest::prelude::*;
use scratch::Scratch;
use serde_json::{Value, json};

/// Runs the program over two files of these texts.
fn schedule(scratch: &Scratch, queues: &str, arrivals: &str, rate: u64) -> Result<(String, String), String> {
    let (queues, arrivals) = (scratch.write("queues", queues), scratch.write("arrivals", arrivals));
    run(&["--queues", &queues, "--arrivals", &arrivals, "--rate", &rate.to_string()])
}

/// Runs the program: what it prints on its two outputs, or what it says is wrong.
fn run(arguments: &[&str]) -> Result<(String, String), String> {
    let arguments = ["schedule"].iter().chain(arguments).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    match schedule::run(arguments, &mut out, &mut err) {
        Ok(0) => Ok((String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())),
        Ok(status) => Err(format!("status {status}")),
        Err(error) => {
            assert!(out.is_empty() && err.is_empty(), "something was printed before it was refused");
            Err(error.to_string())
        }
    }
}

/// A queue: number, weight, limit.
type Queue = (u32, u32, u32);
/// A packet: time, queue (its place), octets.
type Packet = (u64, usize, u32);
/// A departure: time, and the packet's place.
type Departure = (u64, usize);

fn text_of(queues: &[Queue], packets: &[Packet]) -> (String, String) {
    let queue = |(number, weight, limit): &Queue| format!("{number} {weight} {limit}\n");
    let packet = |(time, queue, octets): &Packet| format!("{time} {} {octets}\n", queues[*queue].0);
    (queues.iter().map(queue).collect(), packets.iter().map(packet).collect())
}

/// The departures and drops that are printed; of each packet all that is said of it is checked.
fn parse(queues: &[Queue], packets: &[Packet], out: &str, err: &str) -> (Vec<Departure>, Vec<usize>) {
    let line = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [time, queue, octets, at] = numbers[..] else { panic!("{line}") };
        let packet = packets[at as usize];
        assert_eq!((queue, octets), (queues[packet.1].0.into(), packet.2.into()), "{line}");
        (time, at as usize)
    };
    let drops = err.lines().filter_map(|text| text.strip_prefix("drop ")).map(|text| {
        let (time, at) = line(text);
        assert_eq!(time, packets[at].0, "a drop is at its arrival");
        at
    });
    (out.lines().map(line).collect(), drops.collect())
}

/// The link by fractions: a numerator over the rate, in nanoseconds.
struct Fractions {
    rate: u128,
    free: u128,
}

impl Fractions {
    fn idle_until(&mut self, time: u64) {
        self.free = self.free.max(u128::from(time) * self.rate);
    }

    fn has_seen(&self, time: u64) -> bool {
        u128::from(time) * self.rate <= self.free
    }

    /// When the packet begins.
    fn send(&mut self, octets: u32) -> u64 {
        let begins = self.free / self.rate;
        self.free += u128::from(octets) * 8_000_000_000;
        begins as u64
    }
}

/// Deficit round robin as published, with a list of active queues, where every quantum is at
/// least the longest packet.
fn model(queues: &[Queue], quanta: &[u64], packets: &[Packet], rate: u64) -> (Vec<Departure>, Vec<usize>) {
    let mut waiting = vec![VecDeque::new(); queues.len()];
    let (mut deficit, mut active, mut in_turn) = (vec![0u64; queues.len()], VecDeque::new(), false);
    let mut link = Fractions { rate: rate.into(), free: 0 };
    let (mut departures, mut drops, mut next) = (Vec::new(), Vec::new(), 0);
    while next < packets.len() || !active.is_empty() {
        if active.is_empty() {
            link.idle_until(packets[next].0);
        }
        while next < packets.len() && link.has_seen(packets[next].0) {
            let queue = packets[next].1;
            if waiting[queue].len() as u64 >= queues[queue].2.into() {
                drops.push(next);
            } else {
                if waiting[queue].is_empty() {
                    active.push_back(queue);
                }
                waiting[queue].push_back(next);
            }
            next += 1;
        }
        let Some(&queue) = active.front() else { continue };
        if !in_turn {
            deficit[queue] += quanta[queue];
        }
        let packet = waiting[queue].pop_front().unwrap();
        let octets = packets[packet].2;
        deficit[queue] -= u64::from(octets);
        departures.push((link.send(octets), packet));
        let first = waiting[queue].front().map(|&first| u64::from(packets[first].2));
        in_turn = first.is_some_and(|octets| octets <= deficit[queue]);
        if first.is_none() {
            deficit[queue] = 0;
            active.pop_front();
        } else if !in_turn {
            active.rotate_left(1);
        }
    }
    (departures, drops)
}

/// What a weight earns a round, as `--help` says it.
fn quanta(queues: &[Queue], packets: &[Packet]) -> Vec<u64> {
    let common = (1..=65_536).rev().find(|n| queues.iter().all(|queue| queue.1 % n == 0)).unwrap();
    let longest = packets.iter().map(|packet| packet.2).max().unwrap_or(1);
    let unit = u64::from(longest.div_ceil(4095));
    queues.iter().map(|queue| u64::from(queue.1 / common) * unit).collect()
}

/// Checks any order of departures by what must hold of all: times, first in first out, drops of
/// who finds its queue full and of nobody else, no idle link while packets wait, and shares
/// within the bound of deficit round robin.
fn holds(
    queues: &[Queue], quanta: &[u64], packets: &[Packet], rate: u64, departures: &[Departure],
    drops: &[usize],
) {
    let mut waiting = vec![VecDeque::new(); queues.len()];
    let mut link = Fractions { rate: rate.into(), free: 0 };
    let (mut dropped, mut shares) = (drops.iter(), Shares::new(quanta, packets));
    let (mut next, mut departing) = (0, departures.iter());
    loop {
        if waiting.iter().all(VecDeque::is_empty) {
            let Some(packet) = packets.get(next) else { break };
            link.idle_until(packet.0);
        }
        while next < packets.len() && link.has_seen(packets[next].0) {
            let queue = packets[next].1;
            if waiting[queue].len() as u64 >= queues[queue].2.into() {
                assert_eq!(dropped.next(), Some(&next), "queue {queue} is full");
            } else {
                waiting[queue].push_back(next);
            }
            next += 1;
        }
        if waiting.iter().all(VecDeque::is_empty) {
            continue;
        }
        let &(time, packet) = departing.next().expect("a packet waits");
        let (_, queue, octets) = packets[packet];
        shares.see(&waiting);
        assert_eq!(waiting[queue].pop_front(), Some(packet), "first in, first out");
        assert_eq!(time, link.send(octets));
        shares.sent(queue, octets, waiting[queue].is_empty());
    }
    assert_eq!((departing.next(), dropped.next(), next), (None, None, packets.len()));
}

/// What pairs of queues have sent while both had packets: for each the least and the most of
/// the difference `octets of one * quantum of the other - the other way round`, which may move
/// by less than the bound.
struct Shares<'a> {
    quanta: &'a [u64],
    longest: i128,
    sent: Vec<i128>,
    spans: BTreeMap<(usize, usize), (i128, i128)>,
}

impl<'a> Shares<'a> {
    fn new(quanta: &'a [u64], packets: &[Packet]) -> Self {
        let longest = packets.iter().map(|packet| packet.2).max().unwrap_or(0).into();
        Self { quanta, longest, sent: vec![0; quanta.len()], spans: BTreeMap::new() }
    }

    /// Who has packets before a departure.
    fn see(&mut self, waiting: &[VecDeque<usize>]) {
        for one in 0..waiting.len() {
            for other in 0..one {
                if waiting[one].is_empty() || waiting[other].is_empty() {
                    self.spans.remove(&(one, other));
                    continue;
                }
                let [p, q] = [one, other].map(|at| i128::from(self.quanta[at]));
                let difference = self.sent[one] * q - self.sent[other] * p;
                let (low, high) = self.spans.entry((one, other)).or_insert((difference, difference));
                (*low, *high) = (difference.min(*low), difference.max(*high));
                let rounds = if p.min(q) < self.longest { 2 } else { 1 };
                let bound = rounds * p * q + self.longest * (p + q);
                assert!(*high - *low < bound, "queues {one} and {other}: {low} to {high}, not {bound}");
            }
        }
    }

    /// A queue that runs empty begins anew, even if it has a packet when the next one leaves.
    fn sent(&mut self, queue: usize, octets: u32, empty: bool) {
        self.sent[queue] += i128::from(octets);
        if empty {
            self.spans.retain(|&(one, other), _| one != queue && other != queue);
        }
    }
}

/// Some queues, packets and a rate, such that the link is about as fast as packets come.
fn case(
    weights: impl Strategy<Value = u32>, octets: impl Strategy<Value = u32>,
) -> impl Strategy<Value = (Vec<Queue>, Vec<Packet>, u64)> {
    let queues = prop::collection::vec((weights, 0u32..12), 1..7);
    let gap = prop_oneof![3 => Just(0u64), 2 => 0u64..3, 2 => 0u64..100_000, 1 => 0u64..2_000_000];
    let packets = prop::collection::vec((gap, any::<prop::sample::Index>(), octets), 0..150);
    let rate = prop_oneof![Just(8_000_000_000), 1_000_000u64..1_000_000_000, 1u64..1_000_000_000_000];
    (queues, packets, rate).prop_map(|(queues, packets, rate)| {
        // Numbers are far apart and in no order.
        let number = |at: u32| at.wrapping_mul(0x9e37_79b9) ^ 7;
        let queues: Vec<Queue> =
            queues.into_iter().zip(0..).map(|((weight, limit), at)| (number(at), weight, limit)).collect();
        let mut time = 0;
        let packet = |(gap, queue, octets): (u64, prop::sample::Index, u32)| {
            time += gap;
            (time, queue.index(queues.len()), octets)
        };
        let packets = packets.into_iter().map(packet).collect();
        (queues, packets, rate)
    })
}

proptest! {
    #[test]
    fn where_a_round_earns_a_packet_departures_are_those_of_the_algorithm_as_published(
        (mut queues, packets, rate) in case(1500u32..6000, 1u32..=1500),
    ) {
        // Two weights that have nothing in common: each then earns as many octets as it says.
        queues.push((1, 1511, 3));
        queues.push((2, 1523, 3));
        let (scratch, (text, arrivals)) = (Scratch::new("schedule", "model"), text_of(&queues, &packets));
        let (out, err) = schedule(&scratch, &text, &arrivals, rate).unwrap();
        let (departures, drops) = parse(&queues, &packets, &out, &err);
        let quanta = quanta(&queues, &packets);
        assert!(quanta.iter().zip(&queues).all(|(quantum, queue)| *quantum == u64::from(queue.1)));
        let expected = model(&queues, &quanta, &packets, rate);
        prop_assert_eq!((&departures, &drops), (&expected.0, &expected.1));
        holds(&queues, &quanta, &packets, rate, &departures, &drops);
    }

    #[test]
    fn with_any_weights_shares_are_within_the_bound(
        (queues, packets, rate) in case(
            prop_oneof![1u32..10, 1u32..=65_536, Just(1), Just(65_536)],
            prop_oneof![1u32..=1500, 1u32..=65_535, Just(64), Just(65_535)],
        ),
    ) {
        let (scratch, (text, arrivals)) = (Scratch::new("schedule", "shares"), text_of(&queues, &packets));
        let (out, err) = schedule(&scratch, &text, &arrivals, rate).unwrap();
        let (departures, drops) = parse(&queues, &packets, &out, &err);
        holds(&queues, &quanta(&queues, &packets), &packets, rate, &departures, &drops);
    }
}

/// Thousands of packets that are there from the start, so that shares are those of weights.
#[test]
fn octets_are_in_proportion_to_weights_from_1_to_65536() {
    for (weights, octets) in [
        (&[1, 65_536][..], [65_535, 9000]),
        (&[6, 5, 4, 3, 2], [1500, 64]),
        (&[32_768, 65_535, 20_001], [1500, 1500]),
    ] {
        let queues: Vec<Queue> =
            weights.iter().zip(0..).map(|(weight, number)| (number, *weight, 10_000)).collect();
        let octets = |at: usize| octets[at * 7 % 13 % 2];
        let packets: Vec<Packet> =
            (0..6000 * queues.len()).map(|at| (0, at % queues.len(), octets(at))).collect();
        let (scratch, (text, arrivals)) = (Scratch::new("schedule", "weights"), text_of(&queues, &packets));
        let (out, err) = schedule(&scratch, &text, &arrivals, 1_000_000_007).unwrap();
        let (departures, drops) = parse(&queues, &packets, &out, &err);
        let quanta = quanta(&queues, &packets);
        holds(&queues, &quanta, &packets, 1_000_000_007, &departures, &drops);
        assert_eq!((departures.len(), drops.len()), (packets.len(), 0));
        // Until the first queue is empty.
        let mut sent = vec![0u64; queues.len()];
        for (_, at) in &departures[..6000] {
            sent[packets[*at].1] += u64::from(packets[*at].2);
        }
        let (all, weights) = (sent.iter().sum::<u64>() as f64, weights.iter().sum::<u32>() as f64);
        for (queue, sent) in queues.iter().zip(sent) {
            let (has, is_due) = (sent as f64 / all, f64::from(queue.1) / weights);
            assert!((has - is_due).abs() < 0.02, "{has} is not {is_due}");
        }
    }
}

#[test]
fn departures_by_hand() {
    let scratch = Scratch::new("schedule", "hand");
    // 1 Gb/s: 8 ns an octet. The packet at 800 is there for the departure at 800; queue 7 holds
    // one packet, and the one being sent is not in it.
    let (out, err) =
        schedule(&scratch, "7 1 1\n3 2 9\n", "0 7 100\n800 7 100\n800 3 50\n801 7 100\n", 1_000_000_000)
            .unwrap();
    assert_eq!(out, "0 7 100 0\n800 3 50 2\n1200 7 100 1\n");
    assert!(err.starts_with("drop 801 7 100 3\n"), "{err}");
    let totals = err.lines().find(|line| line.starts_with("|     7 |")).unwrap();
    let words: Vec<&str> = totals.split('|').map(str::trim).collect();
    assert_eq!(words[2..9], ["1", "3", "2", "200", "80.0%", "1", "100"], "{err}");

    // 3 bit/s: a packet of one octet takes 2,666,666,666 2/3 ns, and thirds add up.
    let (out, _) = schedule(&scratch, "1 1 9\n", "0 1 1\n0 1 1\n0 1 1\n0 1 1\n", 3).unwrap();
    let times: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(times, ["0", "2666666666", "5333333333", "8000000000"]);
    // A link that was idle carries nothing on.
    let (out, _) = schedule(&scratch, "1 1 9\n", "5 1 1\n2666666672 1 1\n2666666672 1 1\n", 3).unwrap();
    assert_eq!(out, "5 1 1 0\n2666666672 1 1 1\n5333333338 1 1 2\n");
    // One that is free at 2,666,666,671 2/3 is not idle until then.
    let (out, _) = schedule(&scratch, "1 1 9\n", "5 1 1\n2666666671 1 1\n2666666671 1 1\n", 3).unwrap();
    assert_eq!(out, "5 1 1 0\n2666666671 1 1 1\n5333333338 1 1 2\n");
}

#[test]
fn blanks_comments_and_line_ends_of_both_kinds_are_read() {
    let scratch = Scratch::new("schedule", "lines");
    let queues = "# queues\r\n\r\n 1\t2 3 # one\r\n4 5 6";
    let arrivals = "# packets\n\n0 1 100\r\n  \n0 4 100#x\n\n";
    let (out, _) = schedule(&scratch, queues, arrivals, 8_000_000_000).unwrap();
    assert_eq!(out, "0 4 100 4\n100 1 100 2\n", "the index is the line, from 0");
    // No packets are no error.
    for nothing in ["", "\r\n", "# none"] {
        let (out, err) = schedule(&scratch, queues, nothing, 1).unwrap();
        assert_eq!((out.as_str(), err.lines().count()), ("", 4), "{err}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_file_and_line() {
    let scratch = Scratch::new("schedule", "refused");
    let (queues, arrivals) = ("1 2 3\n", "0 1 100\n");
    for (text, message) in [
        ("", ": there is no queue in it; a line is `queue weight limit_packets`"),
        ("# 1 2 3\n", ": there is no queue in it"),
        ("1 2 3\n\n2 0 3\n", ": line 3: the weight is `0`; allowed is 1 to 65536"),
        ("1 65537 3", ": line 1: the weight is `65537`; allowed is 1 to 65536"),
        ("1 -1 3", ": line 1: the weight is `-1`; allowed is 1 to 65536"),
        ("1 1.5 3", ": line 1: the weight is `1.5`"),
        ("1 2 4294967296", ": line 1: the limit is `4294967296`; allowed is 0 to 4294967295"),
        ("4294967296 2 3", ": line 1: the queue is `4294967296`"),
        ("+1 2 3", ": line 1: the queue is `+1`"),
        ("1 2", ": line 1: there are 2 words; a line is `queue weight limit_packets`"),
        ("1 2 3 4", ": line 1: there are 4 words"),
        ("1 2 3\n# again\r\n1 2 3\n", ": line 3: queue 1 stands in line 1 already"),
    ] {
        let error = schedule(&scratch, text, arrivals, 1000).unwrap_err();
        let file = scratch.argument("queues");
        assert!(error.starts_with(&file) && error[file.len()..].starts_with(message), "{text}: {error}");
    }
    for (text, message) in [
        (
            "0 1 100\n5 1 100\n4 1 100\n",
            ": line 3: the time is 4 and the one before is 5: times may not go back",
        ),
        ("0 1 100\n\n0 2 100\n", ": line 3: there is no queue 2"),
        ("0 1 0", ": line 1: the length is `0`; allowed is 1 to 134217727"),
        ("0 1 134217728", ": line 1: the length is `134217728`"),
        ("18446744073709551616 1 1", ": line 1: the time is `18446744073709551616`"),
        ("x 1 1", ": line 1: the time is `x`"),
        ("0 1", ": line 1: there are 2 words; a line is `time_ns queue octets`"),
        // The last word of a file that was cut off.
        ("0 1 100\n0 1 ", ": line 2: there are 2 words"),
        (
            "18446744073709551615 1 1\n18446744073709551615 1 1",
            ": line 1: at 1000 bit/s the packet is sent after 2^64 ns",
        ),
    ] {
        let error = schedule(&scratch, queues, text, 1000).unwrap_err();
        let file = scratch.argument("arrivals");
        assert!(error.starts_with(&file) && error[file.len()..].starts_with(message), "{text}: {error}");
    }
    let (good, packets) = (scratch.write("queues", queues), scratch.write("arrivals", arrivals));
    let octets = scratch.write("octets", b"1 2 3\n\xff\n");
    let schedule = |queues: &str, arrivals: &str, rate: &str| {
        run(&["--queues", queues, "--arrivals", arrivals, "--rate", rate])
    };
    assert_eq!(
        schedule(&octets, &packets, "1").unwrap_err(),
        format!("{octets}: line 2: the line is not UTF-8 text")
    );
    let missing = scratch.argument("missing");
    for (queues, arrivals) in [(&missing, &packets), (&good, &missing)] {
        let error = schedule(queues, arrivals, "1").unwrap_err();
        assert!(error.starts_with(&format!("{missing}: ")), "{error}");
    }
    for rate in ["0", "-1", "x", "18446744073709551616"] {
        assert_eq!(schedule(&good, &packets, rate).unwrap_err(), "status 2", "{rate}");
    }
    assert_eq!(run(&["--queues", &good, "--rate", "1"]).unwrap_err(), "status 2", "arrivals are missing");
    schedule(&good, &packets, "18446744073709551615").unwrap();
}

#[test]
fn packets_of_4_gb_in_one_queue_are_refused_and_not_dropped() {
    let scratch = Scratch::new("schedule", "much");
    let error = schedule(&scratch, "1 1 100\n", &"0 1 134217727\n".repeat(40), 1_000_000).unwrap_err();
    assert!(
        error.contains("arrivals: line 31: a packet of 134217727 octets is refused: QueueFull"),
        "{error}"
    );
}

#[test]
fn the_figures_for_machines_are_those_that_are_printed() {
    let scratch = Scratch::new("schedule", "json");
    let (queues, arrivals) = (scratch.write("queues", "7 4 1\n3 2 9\n"), scratch.argument("arrivals"));
    fs::write(&arrivals, "0 7 100\n0 7 100\n0 3 50\n").unwrap();
    let json = scratch.argument("figures.json");
    run(&["--queues", &queues, "--arrivals", &arrivals, "--rate", "8000", "--json", &json]).unwrap();
    let written: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let expected = json!({
        "rate_bits_per_second": 8000,
        "end_ns": 150_000_000,
        "queues": [
            {
                "queue": 7, "weight": 4, "limit_packets": 1, "quantum": 2,
                "arrived_packets": 2, "arrived_octets": 200, "sent_packets": 1, "sent_octets": 100,
                "dropped_packets": 1, "dropped_octets": 100,
                "mean_wait_ns": 0, "longest_wait_ns": 0,
            },
            {
                "queue": 3, "weight": 2, "limit_packets": 9, "quantum": 1,
                "arrived_packets": 1, "arrived_octets": 50, "sent_packets": 1, "sent_octets": 50,
                "dropped_packets": 0, "dropped_octets": 0,
                "mean_wait_ns": 100_000_000, "longest_wait_ns": 100_000_000,
            },
        ],
        "departures": [
            {"time_ns": 0, "queue": 7, "octets": 100, "arrival_index": 0},
            {"time_ns": 100_000_000, "queue": 3, "octets": 50, "arrival_index": 2},
        ],
        "drops": [{"time_ns": 0, "queue": 7, "octets": 100, "arrival_index": 1}],
    });
    assert_eq!(written, expected);
}

#[test]
fn without_arguments_it_shows_what_comes_with_it() {
    let (scratch, mut sent) = (Scratch::new("schedule", "embedded"), [0u64; 4]);
    let json = scratch.argument("report.json");
    let (out, err) = run(&["--json", &json]).unwrap();
    assert!(out.contains("queue   9, weight  1  ...........1") && err.is_empty(), "{out}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    // While all four have packets.
    for line in report["departures"].as_array().unwrap() {
        if (70_000_000..100_000_000).contains(&line["time_ns"].as_u64().unwrap()) {
            let at = [1, 2, 3, 9].iter().position(|queue| line["queue"] == *queue).unwrap();
            sent[at] += line["octets"].as_u64().unwrap();
        }
    }
    let [one, two, voice, flood] = sent.map(|octets| octets as f64);
    // Voice sends all it has, which is less than its share; the rest is shared 4 : 2 : 1.
    assert_eq!(voice, 15.0 * 200.0);
    assert!((one / two - 2.0).abs() < 0.3 && (two / flood - 2.0).abs() < 0.3, "{sent:?}");
}
