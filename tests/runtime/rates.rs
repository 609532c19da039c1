//! An interface's rate is shared by its workers, in simulated time.

use std::sync::Arc;

use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::node::{Action, InterfaceConfig, Limits, Node, SliceControl};
use fastpath::prelude::*;
use fastpath::runtime::{Fleet, Settings};

use crate::wire::{Counted, Store, Wire};
use crate::world::{Label, frame, ipv4, request, route};

const RATE: u64 = 100_000_000;
const STEP: Nanos = Nanos::from_micros(20);

struct Pair {
    fleet: Fleet<(Ipv4, Label), Counted, Store>,
    wires: [Wire; 2],
    _control: SliceControl<Counted>,
    now: Nanos,
}

/// Two workers with a port each at one interface of 100 Mb/s.
fn pair() -> Pair {
    let limits = Limits { slices: 2, queues: 8, descriptors: 8192, workers: 2, ..Limits::default() };
    let options = (Ipv4::default(), Label);
    let mut node = Node::new(options, limits);
    for at in 0..2 {
        let config = InterfaceConfig::ip([10, 0, at, 1].into(), Rate::bits_per_second(RATE).unwrap());
        node.add_interface(config).unwrap();
    }
    let all = Arc::new(());
    let settings = Settings { control_every: 1, ..Settings::default() };
    let mut fleet = Fleet::new(node, &options, 2, |_| Store::of(&all, 64), settings).unwrap();
    let wires = [(); 2].map(|()| Wire::new(usize::MAX));
    fleet.first.add_port(InterfaceId(0), Layer::Ip, Box::new(wires[0].clone())).unwrap();
    fleet.others[0].add_port(InterfaceId(0), Layer::Ip, Box::new(wires[1].clone())).unwrap();
    let mut asked = request(0, 100);
    asked.sram_words = 0;
    asked.queues.iter_mut().for_each(|queue| queue.limit_packets = 4096);
    let mut control = fleet.first.forward_mut().admit(asked).unwrap();
    control.set_result(0, Action::forward(0, 0)).unwrap();
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    control.insert(rank, value, mask, 0).unwrap();
    Pair { fleet, wires, _control: control, now: Nanos::ZERO }
}

impl Pair {
    /// So many packets of flows of each worker.
    fn put(&mut self, counts: [usize; 2]) {
        let mut left = counts;
        for port in 0u16.. {
            if left == [0, 0] {
                break;
            }
            let packet = frame(0, 100, &ipv4(64, [10, 1, (port >> 8) as u8, port as u8], 53));
            let hash = Ipv4::default().flow_hash(&packet.bytes()[28..]);
            let owner = ((u64::from(hash) * 2) >> 32) as usize;
            if left[owner] > 0 {
                left[owner] -= 1;
                self.wires[owner].put(packet.bytes());
            }
        }
    }

    /// Octets that each sends in `millis`, with the most in `window` steps together.
    fn run(&mut self, millis: u64, window: usize) -> ([u64; 2], u64) {
        let (mut sent, mut steps) = ([0; 2], vec![0u64]);
        for _ in 0..Nanos::from_millis(millis).0 / STEP.0 {
            self.now += STEP;
            // All that is due.
            while !self.fleet.first.turn(self.now).is_idle() {}
            while !self.fleet.others[0].turn(self.now).is_idle() {}
            let octets = self.wires.each_ref().map(|wire| {
                let sent = wire.with(|state| std::mem::take(&mut state.sent));
                sent.iter().map(|frame| frame.len() as u64).sum::<u64>()
            });
            (0..2).for_each(|at| sent[at] += octets[at]);
            steps.push(steps.last().unwrap() + octets[0] + octets[1]);
        }
        let most = steps.windows(window + 1).map(|steps| steps[window] - steps[0]).max();
        (sent, most.unwrap_or(0))
    }
}

fn octets(millis: u64) -> u64 {
    RATE / 8 / 1000 * millis
}

#[test]
fn two_workers_with_as_much_to_send_share_a_rate_evenly() {
    let mut pair = pair();
    pair.put([4000, 4000]);
    pair.run(10, 1);
    let (sent, _) = pair.run(10, 1);
    let total = sent[0] + sent[1];
    assert!(total > octets(10) * 98 / 100 && total <= octets(10) + 200, "{sent:?}");
    assert!(sent[0].abs_diff(sent[1]) < total / 10, "{sent:?}");
}

#[test]
fn who_has_it_all_to_send_has_all_the_rate() {
    for owner in 0..2 {
        let mut pair = pair();
        // The other one has nothing; then both, then the other one only.
        pair.put(if owner == 0 { [3000, 0] } else { [0, 3000] });
        pair.run(4, 1);
        let (sent, _) = pair.run(10, 1);
        assert!(sent[owner] > octets(10) * 97 / 100, "{sent:?}");
        assert_eq!(sent[1 - owner], 0);
    }
}

#[test]
fn a_port_in_the_place_of_another_counts_what_it_sends_itself() {
    let mut pair = pair();
    // More waits than the first port ever sends.
    pair.put([4000, 4000]);
    pair.run(2, 1);
    let first = &mut pair.fleet.first;
    let (port, report) = first.remove_port(InterfaceId(0)).unwrap();
    assert!((100..1000).contains(&report.handed), "{report:?}");
    first.add_port(InterfaceId(0), Layer::Ip, port).unwrap();
    pair.run(10, 1);
    let (sent, _) = pair.run(10, 1);
    let total = sent[0] + sent[1];
    assert!(total > octets(10) * 98 / 100 && sent[0].abs_diff(sent[1]) < total / 10, "{sent:?}");
}

#[test]
fn together_they_never_send_more_than_the_interface_may() {
    let mut pair = pair();
    // Each may catch up on two periods.
    let burst = 2 * octets(2);
    let window = 500;
    let most = octets(window as u64 * STEP.0 / 1_000_000) + burst + 2 * 64;
    for counts in [[2000, 0], [0, 2000], [500, 1500], [2000, 100]] {
        pair.put(counts);
        let (_, seen) = pair.run(15, window);
        assert!(seen <= most, "{seen} octets of {most}");
    }
    // A change of the rate is one for both.
    let slow = Rate::bits_per_second(RATE / 10).unwrap();
    pair.put([2000, 2000]);
    pair.fleet.first.forward_mut().set_rate(pair.now, InterfaceId(0), slow).unwrap();
    pair.run(5, 1);
    let (sent, _) = pair.run(10, 1);
    let total = sent[0] + sent[1];
    assert!(total > octets(1) * 9 / 10 && total <= octets(1) + 200, "{sent:?}");
}
