//! Two workers in two threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::node::{Account, Action, FollowError, InterfaceConfig, Limits, Node, SliceControl};
use fastpath::prelude::*;
use fastpath::runtime::{Fleet, Monotonic, RunningFleet, Settings};

use crate::wire::{Counted, Store, Wire};
use crate::world::{Label, frame, ipv4, request, route};

type Options = (Ipv4, Label);

fn limits() -> Limits {
    Limits { slices: 4, queues: 16, descriptors: 16_384, ports: 32, workers: 2, ..Limits::default() }
}

fn node() -> Node<Options, Counted> {
    let mut node = Node::new((Ipv4::default(), Label), limits());
    for at in 0..2 {
        let rate = Rate::bits_per_second(100_000_000_000).unwrap();
        node.add_interface(InterfaceConfig::ip([10, 0, at, 1].into(), rate)).unwrap();
    }
    node
}

/// Two workers, each with a port at both interfaces.
fn fleet() -> (RunningFleet<Options, Counted, Store>, [Wire; 4]) {
    let all = Arc::new(());
    let options = (Ipv4::default(), Label);
    let settings = Settings { ring: 16_384, ..Settings::default() };
    let mut fleet = Fleet::new(node(), &options, 2, |_| Store::of(&all, 512), settings).unwrap();
    let wires = [(); 4].map(|()| Wire::new(usize::MAX));
    for (wire, at) in wires.iter().zip(0..) {
        let (interface, port) = (InterfaceId(at % 2), Box::new(wire.clone()));
        if at < 2 {
            fleet.first.add_port(interface, Layer::Ip, port).unwrap();
        } else {
            fleet.others[0].add_port(interface, Layer::Ip, port).unwrap();
        }
    }
    (fleet.start(Monotonic::default()).unwrap(), wires)
}

fn admit(fleet: &RunningFleet<Options, Counted, Store>, option: u8, port: u16) -> SliceControl<Counted> {
    let mut asked = request(option, port);
    asked.queues.iter_mut().for_each(|queue| queue.limit_packets = 4096);
    let mut control = fleet.first().admit(asked).unwrap().unwrap();
    let tickets = [Action::forward(0, 0), Action::forward(1, 1), Action::SlowPath(Exception::Local)];
    let tickets = (0..).zip(tickets).map(|(result, action)| control.set_result(result, action).unwrap());
    let tickets: Vec<_> = tickets.collect();
    for (network, result) in (10..13).zip(0..) {
        let (rank, value, mask) = route([network, 0, 0, 0], 8);
        control.insert(rank, value, mask, result).unwrap();
    }
    let mut answered = Vec::new();
    while answered.len() < tickets.len() {
        answered.extend(control.replies());
        thread::yield_now();
    }
    assert!(answered.iter().all(|reply| reply.outcome.is_ok()));
    assert_eq!(answered.iter().map(|reply| reply.ticket).collect::<Vec<_>>(), tickets, "in order");
    control
}

/// UDP with a number in its payload.
fn numbered(flow: u8, number: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([192, 168, 0, flow], [10, 1, 2, 3], 64).udp(1000, 53);
    builder.write(&mut octets, &number.to_be_bytes()).unwrap();
    octets
}

#[test]
fn a_flow_stays_in_order_and_with_one_worker() {
    let (fleet, wires) = fleet();
    let control = admit(&fleet, 0, 100);
    let packets = 6000u32;
    let mut next = [0u32; 32];
    for n in 0..packets {
        let flow = (n * 7 % 32) as usize;
        // Each flow comes in at one port, all of them at the wrong worker as often as not.
        let wire = &wires[(flow % 2) * 2];
        wire.put(frame(0, 100, &numbered(flow as u8, next[flow])).bytes());
        next[flow] += 1;
        if n % 512 == 0 {
            thread::yield_now();
        }
    }
    while control.account().received() < packets.into() {
        thread::yield_now();
    }
    let account = control.account();
    let (_, reports) = fleet.stop(Nanos::from_secs(60)).unwrap();
    assert!(reports.iter().all(fastpath::runtime::Report::is_exact));
    assert_eq!(account.received(), packets.into());
    let total = reports.iter().map(fastpath::runtime::Report::total).fold(Account::default(), Account::plus);
    assert_eq!((total.sent.packets, total.dropped.packets), (packets.into(), 0));
    assert!(reports.iter().all(|report| report.handed > 0), "both had packets of the other");
    let mut seen: HashMap<u8, (usize, u32)> = HashMap::new();
    for (wire, at) in wires.iter().zip(0..) {
        for frame in wire.with(|state| state.sent.clone()) {
            let (flow, number) = (frame[28 + 15], u32::from_be_bytes(frame[56..60].try_into().unwrap()));
            let (worker, next) = seen.entry(flow).or_insert((at / 2, 0));
            assert_eq!((*worker, *next), (at / 2, number), "flow {flow}");
            *next += 1;
        }
    }
    assert_eq!(seen.len(), 32);
    let of_first = seen.values().filter(|(worker, _)| *worker == 0).count();
    assert!((4..28).contains(&of_first), "{of_first} flows of 32");
}

#[test]
fn slices_come_and_go_under_traffic_on_both_workers() {
    let (fleet, wires) = fleet();
    let stays = admit(&fleet, 0, 100);
    let mut put = 0u64;
    let mut traffic = |count: u32| {
        for n in 0..count {
            let port = [100, 200, 300][n as usize % 3];
            wires[(n as usize % 2) * 2].put(frame(0, port, &numbered(n as u8, n)).bytes());
            put += 1;
        }
    };
    for round in 0..30u16 {
        traffic(120);
        let mut comes = loop {
            // Numbers are free when both workers have let go.
            let asked = request(round as u8 % 2, if round % 2 == 0 { 200 } else { 300 });
            match fleet.first().admit(asked).unwrap() {
                Ok(control) => break control,
                Err(error) => assert!(matches!(error, fastpath::node::AdmitError::Slices(4)), "{error}"),
            }
            thread::yield_now();
        };
        comes.set_result(0, Action::forward(0, 0)).unwrap();
        let (rank, value, mask) = route([10, 0, 0, 0], 8);
        comes.insert(rank, value, mask, 0).unwrap();
        traffic(120);
        while comes.replies().count() == 0 {
            thread::yield_now();
        }
        traffic(30);
        fleet.first().withdraw(comes.slice()).unwrap();
        traffic(30);
    }
    let monitor = fleet.first().monitor().unwrap();
    while wires.iter().any(|wire| wire.with(|state| !state.arriving.is_empty())) {
        thread::yield_now();
    }
    let (fleet, reports) = fleet.stop(Nanos::from_secs(60)).unwrap();
    assert!(reports.iter().all(fastpath::runtime::Report::is_exact));
    let received: u64 = reports.iter().map(|report| report.received).sum();
    let total = reports.iter().map(fastpath::runtime::Report::total).fold(Account::default(), Account::plus);
    assert_eq!((received, total.received(), total.waiting), (put, put, 0));
    let sent: usize = wires.iter().map(|wire| wire.with(|state| state.sent.len())).sum();
    assert_eq!(total.sent.packets, sent as u64);
    // Nothing of the slice that stayed was lost, whoever came and went.
    let account = fleet.first.forward().account(stays.slice());
    assert_eq!((account, account.dropped.packets), (stays.account(), 0));
    assert_eq!(account.sent.packets, 30 * (40 + 40 + 10 + 10));
    assert!(monitor.early(SliceId::SUBSTRATE).dropped.packets > 0, "ports that were nobody's");
}

#[test]
fn exceptions_of_all_workers_are_taken_and_injections_go_where_the_flow_does() {
    let (fleet, wires) = fleet();
    let mut control = admit(&fleet, 0, 100);
    for flow in 0..64u8 {
        wires[0].put(frame(0, 100, &ipv4(64, [12, 1, 2, flow], 53)).bytes());
    }
    let mut taken = 0;
    while taken < 64 {
        if let Some(exception) = control.take_exception() {
            assert_eq!(exception.what.exception, Exception::Local);
            taken += 1;
            // Back in-band, to where packets are sent.
            let inner = numbered(taken as u8, 7);
            let packet = Packet::with_headroom(exception.packet.into_buf(), 128, &inner).unwrap();
            control.inject(fastpath::node::Injection::InBand { packet, link: 0 }).unwrap();
        }
        thread::yield_now();
    }
    while control.account().sent.packets < 64 {
        thread::yield_now();
    }
    let account = control.account();
    assert_eq!((account.injected.packets, account.slow_path.packets, account.received()), (64, 64, 64));
    let (_, reports) = fleet.stop(Nanos::from_secs(60)).unwrap();
    assert!(reports.iter().all(|report| report.is_exact() && report.total().injected.packets > 0));
}

#[test]
fn workers_are_added_once_and_before_slices() {
    let mut node = node();
    let options = (Ipv4::default(), Label);
    assert_eq!(node.followers(&options, 3).err(), Some(FollowError::Workers(2)));
    let _control = node.admit(request(0, 100)).unwrap();
    assert_eq!(node.followers(&options, 2).err(), Some(FollowError::Slices));
    let mut node = self::node();
    assert_eq!(node.followers(&options, 2).map(|others| others.len()), Ok(1));
    assert_eq!(node.followers(&options, 2).err(), Some(FollowError::Workers(2)));
}
