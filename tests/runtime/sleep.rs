//! A worker that has nothing to do sleeps as long as it may, and is woken.

use std::sync::Arc;

use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::node::{Action, InterfaceConfig, Limits, Node};
use fastpath::prelude::*;
use fastpath::runtime::{Clock, Monotonic, Settings, Stopped, Worker};

use crate::history::Simulated;
use crate::wire::{Counted, Store, Wire};
use crate::world::{frame, ipv4, request, route};

type One = Worker<Node<(Ipv4,), Counted>, Store>;

fn worker(bits: u64, settings: Settings) -> (One, Wire, Arc<()>) {
    let mut node = Node::new((Ipv4::default(),), Limits { slices: 2, queues: 8, ..Limits::default() });
    for at in 0..2 {
        let rate = Rate::bits_per_second(bits).unwrap();
        node.add_interface(InterfaceConfig::ip([10, 0, at, 1].into(), rate)).unwrap();
    }
    let (all, wire) = (Arc::new(()), Wire::new(usize::MAX));
    let mut worker = Worker::new(node, Store::of(&all, 64), settings).unwrap();
    worker.add_port(InterfaceId(0), Layer::Ip, Box::new(wire.clone())).unwrap();
    (worker, wire, all)
}

fn routed(worker: &mut One, wire: &Wire, packets: u8) {
    let mut control = worker.forward_mut().admit(request(0, 100)).unwrap();
    control.set_result(0, Action::forward(0, 0)).unwrap();
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    control.insert(rank, value, mask, 0).unwrap();
    (0..packets).for_each(|n| wire.put(frame(0, 100, &ipv4(64, [10, 1, 2, n], 53)).bytes()));
}

#[test]
fn what_waits_is_sent_before_the_worker_ends() {
    // A frame of 64 octets each millisecond.
    let (mut worker, wire, _all) = worker(512_000, Settings::default());
    routed(&mut worker, &wire, 50);
    for _ in 0..4 {
        worker.turn(Nanos::ZERO);
    }
    wire.put(&[0; 64]);
    worker.stop(Nanos::from_secs(1));
    let mut clock = Simulated(Nanos::ZERO);
    let report = worker.run(&mut clock);
    assert_eq!((report.received, report.total().sent.packets, report.total().waiting), (50, 50, 0));
    assert!(report.is_exact() && wire.with(|state| state.arriving.len()) == 1, "it receives no more");
    assert!(clock.0 >= Nanos::from_millis(49) && clock.0 < Nanos::from_millis(60), "{}", clock.0);
}

#[test]
fn what_cannot_be_sent_in_time_is_said_to_wait() {
    let (mut worker, wire, _all) = worker(512_000, Settings::default());
    routed(&mut worker, &wire, 50);
    for _ in 0..4 {
        worker.turn(Nanos::ZERO);
    }
    worker.stop(Nanos::from_millis(20));
    let report = worker.run(&mut Simulated(Nanos::ZERO));
    let total = report.total();
    assert!(report.is_exact() && total.sent.packets + total.waiting == 50);
    assert!((19..30).contains(&total.sent.packets), "{}", total.sent.packets);
}

#[test]
fn a_port_that_takes_nothing_keeps_no_worker_from_ending() {
    let (mut worker, wire, _all) = worker(1_000_000_000, Settings::default());
    wire.with(|state| state.room = 3);
    routed(&mut worker, &wire, 60);
    for _ in 0..4 {
        worker.turn(Nanos::ZERO);
    }
    worker.stop(Nanos::from_millis(20));
    let report = worker.run(&mut Simulated(Nanos::ZERO));
    assert!(report.is_exact());
    let port = report.ports[0];
    assert_eq!((port.counters.sent, port.handed - port.waiting, port.inside()), (3, 3, 0));
    assert!((1..=32).contains(&port.waiting), "a vector at most, {}", port.waiting);
    assert_eq!(report.total().waiting, 60 - port.handed, "the rest waits in the queue");
}

#[test]
fn an_idle_worker_answers_at_once_and_then_says_that_it_stopped() {
    // Longer than any test: who is not woken hangs.
    let settings =
        Settings { cap: Nanos::from_secs(3600), nap: Nanos::from_secs(3600), ..Settings::default() };
    let (worker, _wire, _all) = worker(1_000_000_000, settings);
    let running = worker.spawn("worker".into(), Monotonic::default()).unwrap();
    let handle = running.handle().clone();
    for _ in 0..20 {
        let control = handle.admit(request(0, 100)).unwrap().unwrap();
        assert!(handle.report().unwrap().is_exact());
        handle.withdraw(control.slice()).unwrap();
        // Time to fall asleep.
        Monotonic::default().wait(&[], Nanos::from_millis(2));
    }
    assert!(handle.remove_interface(InterfaceId(1)).unwrap().is_ok());
    assert!(handle.remove_interface(InterfaceId(0)).unwrap().is_ok());
    assert_eq!(handle.remove_port(InterfaceId(0)).unwrap().map(|(_, report)| report.handed), None);
    handle.stop(Nanos::ZERO).unwrap();
    let (worker, report) = running.join().unwrap();
    assert!(report.is_exact() && report == worker.report());
    assert_eq!(handle.report(), Err(Stopped));
}
