//! Slices come, are controlled while packets flow, and go.

use crate::world::*;
use fastpath::decap::OpenError;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, AdmitError, Busy, ControlError, Done, Injection, InterfaceConfig, Limits, LinkRequest, Node,
    QueueRequest, SliceRequest,
};
use fastpath::prelude::*;
use fastpath::queue::ConfigError;

#[test]
fn packets_go_where_the_slices_own_numbers_say() {
    let mut node = node();
    let mut first = node.admit(request(0, 100)).unwrap();
    let mut second = node.admit(request(0, 200)).unwrap();
    ordinary_routes(&mut node, &mut first);
    // The same destinations lead elsewhere in the second slice.
    second.set_result(0, Action::forward(1, 1)).unwrap();
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    second.insert(rank, value, mask, 0).unwrap();
    must(&mut node, &mut second);

    let inner = ipv4(64, [10, 1, 2, 3], 53);
    let sent = run(&mut node, Nanos::ZERO, vec![frame(0, 100, &inner), frame(1, 201, &inner)]);
    let ends: Vec<_> = sent.iter().map(|(at, frame)| (*at, frame[15], frame[20..24].to_vec())).collect();
    let port = |port: u16| [port.to_be_bytes(), 30_000u16.to_be_bytes()].concat();
    assert_eq!(ends, [(0, 1, port(100)), (1, 1, port(201))], "interface, and the link's own port");
    assert_eq!(sent[0].1[28 + 8], 63);
    assert_eq!((first.result_count(0).packets, first.queue_count(0).packets), (1, 1));
    assert_eq!((second.result_count(0).packets, second.queue_count(1).packets), (1, 1));
    assert_eq!((second.queue_count(9), second.result_count(64)), (Count::ZERO, Count::ZERO));
    for slice in [first.slice(), second.slice()] {
        let account = node.account(slice);
        assert_eq!((account.received(), account.sent.packets, account.queued), (1, 1, account.sent));
    }
}

#[test]
fn a_result_changes_for_all_its_filters_at_once() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let frames = || (0..4).map(|n| frame(0, 100, &ipv4(64, [10, 1, 2, n], 53))).collect::<Vec<_>>();
    assert!(run(&mut node, Nanos::ZERO, frames()).iter().all(|(at, _)| *at == 0));
    control.set_result(0, Action::forward(1, 1)).unwrap();
    must(&mut node, &mut control);
    assert!(run(&mut node, Nanos::ZERO, frames()).iter().all(|(at, _)| *at == 1));
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    assert_eq!((control.remove(rank, value, mask), control.remove(rank, value, mask)), (Some(0), None));
    assert_eq!(run(&mut node, Nanos::ZERO, frames()), []);
    assert_eq!(control.exits(DropReason::NoMatch.into()).packets, 4);
}

#[test]
fn exceptions_come_as_they_arrived_and_at_their_rate() {
    let mut node = node();
    let mut asked = request(0, 100);
    (asked.slow_path.per_second, asked.slow_path.burst, asked.slow_path.waiting) = (10, 5, 3);
    let mut control = node.admit(asked).unwrap();
    ordinary_routes(&mut node, &mut control);
    let inner = ipv4(1, [10, 1, 2, 3], 53);
    let frames = || (0..8).map(|_| frame(0, 100, &inner)).collect::<Vec<_>>();
    run(&mut node, Nanos::ZERO, frames());
    let exits = |exit: Exit| control.exits(exit).packets;
    let seen = [Exception::Expired.into(), DropReason::SlowPathFull.into(), DropReason::SlowPathRate.into()]
        .map(exits);
    assert_eq!(seen, [3, 5, 0], "the ring holds three");
    let exception = control.take_exception().unwrap();
    assert_eq!(exception.packet.bytes(), frame(0, 100, &inner).bytes(), "outer header and all");
    assert_eq!(exception.packet.part(exception.what.inner), inner);
    assert_eq!(exception.what.exception, Exception::Expired);
    assert_eq!(exception.what.source, fastpath::slot::Endpoint::from(std::net::SocketAddr::V4(peer())));
    while control.take_exception().is_some() {}
    run(&mut node, Nanos::from_millis(100), frames());
    let exits = |exit: Exit| control.exits(exit).packets;
    let seen = [Exception::Expired.into(), DropReason::SlowPathFull.into(), DropReason::SlowPathRate.into()]
        .map(exits);
    assert_eq!(seen, [6, 5 + 5, 0]);
    while control.take_exception().is_some() {}
    run(&mut node, Nanos::from_millis(100), frames());
    assert!(control.exits(DropReason::SlowPathRate.into()).packets > 0, "burst and rate are used up");
    let account = node.account(control.slice());
    assert_eq!(account.received(), 24);
}

#[test]
fn a_slice_manager_sends_in_band_and_straight_to_a_queue() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let packet = |to| {
        let inner = ipv4(64, to, 53);
        Packet::with_headroom(vec![0; 200].into_boxed_slice(), 64, &inner).unwrap()
    };
    control.inject(Injection::InBand { packet: packet([11, 1, 2, 3]), link: 0 }).unwrap();
    control.inject(Injection::Direct { packet: packet([99, 1, 2, 3]), result: 0, traffic_class: 2 }).unwrap();
    control
        .inject(Injection::Direct { packet: packet([99, 1, 2, 3]), result: 99, traffic_class: 0 })
        .unwrap();
    control.inject(Injection::Direct { packet: packet([99, 1, 2, 3]), result: 3, traffic_class: 0 }).unwrap();
    control.inject(Injection::InBand { packet: packet([77, 1, 2, 3]), link: 0 }).unwrap();
    let mut sent = run(&mut node, Nanos::ZERO, Vec::new());
    sent.extend(run(&mut node, Nanos::ZERO, Vec::new()));
    sent.extend(run(&mut node, Nanos::ZERO, Vec::new()));
    let seen: Vec<_> =
        sent.iter().map(|(at, frame)| (*at, frame[1], frame[28 + 8], frame[28 + 16])).collect();
    assert_eq!(seen, [(0, 2, 64, 99), (1, 0, 64, 11)], "neither is a hop older");
    let account = node.account(control.slice());
    assert_eq!((account.injected.packets, account.received()), (5, 0));
    assert_eq!(control.exits(DropReason::NoMatch.into()).packets, 2);
    assert_eq!(control.exits(DropReason::Filtered.into()).packets, 1);
}

#[test]
fn commands_of_another_slices_things_are_refused_and_change_nothing() {
    let mut node = node();
    let mut asked = request(0, 100);
    (asked.filters, asked.results) = (2, 4);
    let mut control = node.admit(asked).unwrap();
    let mut refused = |commands: &mut dyn FnMut(&mut fastpath::node::SliceControl<Buf>)| {
        commands(&mut control);
        node.poll_control(Nanos::ZERO, 64);
        control.replies().map(|reply| reply.outcome).collect::<Vec<_>>()
    };
    let action = |link, queue| Action::forward(link, queue);
    assert_eq!(
        refused(&mut |control| {
            control.set_result(0, action(2, 0)).unwrap();
            control.set_result(0, action(0, 2)).unwrap();
            control.set_result(0, action(0, 1)).unwrap();
            control.set_result(4, action(0, 0)).unwrap();
            control.configure_queue(2, 1, 1, 1).unwrap();
            control.configure_queue(0, 0, 1, 1).unwrap();
            control.configure_queue(0, 7, 1, 1).unwrap();
            control.configure_queue(0, 1, 2049, 1).unwrap();
            control.configure_queue(0, 1, 2048, 1).unwrap();
            let group = std::net::SocketAddrV4::new([224, 0, 0, 5].into(), 9);
            let action = Action::Forward { link: 0, queue: 0, word: 0, next_hop: Some(group) };
            control.set_result(0, action).unwrap();
        }),
        [
            Err(ControlError::UnknownLink { asked: 2, has: 2 }),
            Err(ControlError::UnknownQueue { asked: 2, has: 2 }),
            Err(ControlError::Interface { link: 0, queue: 1 }),
            Err(ControlError::UnknownResult { asked: 4, has: 4 }),
            Err(ControlError::UnknownQueue { asked: 2, has: 2 }),
            Err(ConfigError::Weight(0).into()),
            Err(ControlError::Granted { asked: 7, granted: 1 }),
            Err(ControlError::Granted { asked: 2049, granted: 2048 }),
            Ok(Done::Configured),
            Err(ControlError::NextHop(std::net::SocketAddrV4::new([224, 0, 0, 5].into(), 9))),
        ]
    );
    let busy = (0..65).map(|_| control.set_result(0, Action::Drop)).last();
    assert_eq!(busy, Some(Err(Busy)), "no reply is ever lost for want of room");
}

#[test]
fn filters_are_the_slices_own_and_as_many_as_it_reserved() {
    let mut node = node();
    let mut asked = request(0, 100);
    (asked.filters, asked.results, asked.lines) = (3, 4, Some(20));
    let mut control = node.admit(asked).unwrap();
    let mut other = node.admit(request(0, 200)).unwrap();
    let at = |network| route([network, 0, 0, 0], 8);
    let insert = |control: &mut fastpath::node::SliceControl<Buf>, network, result| {
        let (rank, value, mask) = at(network);
        control.insert(rank, value, mask, result)
    };
    let unknown = ControlError::UnknownResult { asked: 4, has: 4 };
    assert_eq!(insert(&mut control, 10, 4), Err(unknown));
    for network in [10, 11, 12] {
        assert_eq!(insert(&mut control, network, 0), Ok(None));
    }
    assert_eq!(insert(&mut control, 13, 0), Err(ControlError::Filters(3)));
    assert_eq!(insert(&mut control, 10, 1), Ok(Some(0)), "to replace is no new filter");
    let row = |network, result| (at(network).0, at(network).1, at(network).2, result);
    assert_eq!(control.load((10..14).map(|network| row(network, 1))), Err(ControlError::Filters(3)));
    assert_eq!(control.load([row(10, 0), row(11, 4)]), Err(unknown));
    assert_eq!(control.filters().count(), 3, "nothing has changed");
    // Another slice's filters and results are numbers of its own.
    assert_eq!(insert(&mut other, 10, 7), Ok(None));
    assert_eq!(other.filters().map(|filter| filter.2).collect::<Vec<_>>(), [7]);
    assert_eq!(control.load([row(20, 2), row(21, 3)]), Ok(()));
    let mut results: Vec<_> = control.filters().map(|filter| filter.2).collect();
    results.sort_unstable();
    assert_eq!((results, control.remove(at(10).0, at(10).1, at(10).2)), (vec![2, 3], None));
    let ports = (LookupKey::new(0), LookupKey::new(0));
    assert_eq!(control.insert_ranged(Rank(1), ports, 5..=9, 0..=u16::MAX, 1), Ok(None));
    assert!(control.plan().lines <= 20);
    let (rank, ranged, _) = control.filters().find(|filter| filter.2 == 1).unwrap();
    assert_eq!(control.remove_ranged(rank, &ranged), Some(1));
    let pattern = (LookupKey::new(7 << 64), LookupKey::new(0xffff << 64));
    assert_eq!(control.insert_ranged(Rank(1), pattern, 5..=9, 0..=9, 1), Err(ControlError::Ports));
    node.withdraw(control.slice());
    assert_eq!(insert(&mut control, 10, 0), Err(ControlError::Withdrawn));
    assert_eq!(control.load([]), Err(ControlError::Withdrawn));
    assert_eq!(insert(&mut other, 11, 0), Ok(None));
}

/// Whole tables come and go under traffic, and the worker has no part in it: it is never
/// asked, and every packet is answered by the old set or the new one.
#[test]
fn a_table_is_loaded_while_packets_flow() {
    let mut node = node();
    let mut control = node.admit(SliceRequest { filters: 3000, ..request(0, 100) }).unwrap();
    control.set_result(0, Action::forward(0, 0)).unwrap();
    control.set_result(1, Action::forward(1, 1)).unwrap();
    must(&mut node, &mut control);
    let routes = |result| {
        (0..2000u32).map(move |n| {
            let (rank, value, mask) = route([10, (n >> 8) as u8, n as u8, 0], 24);
            (rank, value, mask, result)
        })
    };
    control.load(routes(0)).unwrap();
    let manager = std::thread::spawn(move || {
        for round in 1..40 {
            while let Err(error) = control.load(routes(round % 2)) {
                assert!(matches!(error, ControlError::Table(_)), "{error}");
                std::thread::yield_now();
            }
        }
        control
    });
    let (mut received, mut sent, mut now) = (0, 0, Nanos::ZERO);
    while !manager.is_finished() {
        now += Nanos::from_micros(50);
        received += 32;
        let frames = (0..32).map(|n| frame(0, 100, &ipv4(64, [10, n % 7, n, 9], 53))).collect();
        sent += run(&mut node, now, frames).len() as u64;
    }
    let control = manager.join().unwrap();
    let account = node.account(control.slice());
    assert_eq!((account.received(), account.sent.packets), (received, sent));
    assert_eq!(control.exits(DropReason::NoMatch.into()).packets, 0, "never a hole");
    assert!(sent > 0 && control.result_count(0).packets + control.result_count(1).packets >= sent);
}

#[test]
fn what_is_not_there_is_not_promised() {
    let refusal = |change: &dyn Fn(&mut SliceRequest)| {
        let mut node = node();
        let mut kept = node.admit(request(0, 100)).unwrap();
        ordinary_routes(&mut node, &mut kept);
        let mut asked = request(0, 300);
        change(&mut asked);
        let refused = node.admit(asked).unwrap_err();
        // All that was touched on the way is free again.
        let mut fits = request(0, 300);
        fits.sram_words = 60;
        fits.queues = [0, 1].map(|at| vec![QueueRequest::new(InterfaceId(at), 1); 7]).concat();
        node.admit(fits).unwrap();
        refused
    };
    let taken = OpenError::Taken { address: [10, 0, 0, 1].into(), port: 100, slice: SliceId(1) };
    assert_eq!(refusal(&|asked| asked.links[0].port = 100), AdmitError::Port(taken.into()));
    assert_eq!(refusal(&|asked| asked.option = OptionId(2)), AdmitError::UnknownOption { asked: 2, has: 2 });
    let lines = refusal(&|asked| asked.lines = Some(129));
    assert_eq!(lines, AdmitError::Lines { asked: 129, most: 128 });
    let commands = refusal(&|asked| asked.commands = usize::MAX);
    assert_eq!(commands, AdmitError::Waiting { asked: usize::MAX, most: 4096 });
    let packets = refusal(&|asked| asked.queues[1].limit_packets = 14_337);
    assert_eq!(packets, AdmitError::Descriptors { interface: 1, asked: 14_337, left: 14_336 });
    let mtu = refusal(&|asked| asked.links[1].mtu = 2021);
    assert_eq!(mtu, AdmitError::Mtu { mtu: 2021, header: 28, longest: 2048 });
    let nowhere = std::net::SocketAddrV4::new(*peer().ip(), 0);
    assert_eq!(refusal(&|asked| asked.links[1].peer = nowhere.into()), AdmitError::Peer(nowhere.into()));
    assert_eq!(
        refusal(&|asked| asked.filters = 131_072),
        AdmitError::Filters { asked: 131_072, left: 131_008 }
    );
    assert_eq!(refusal(&|asked| asked.results = 16_384), AdmitError::Results { asked: 16_384, left: 16_320 });
    assert_eq!(
        refusal(&|asked| asked.links[1].interface.0 = 2),
        AdmitError::UnknownInterface { asked: 2, has: 2 }
    );
    assert_eq!(
        refusal(&|asked| asked.queues = vec![QueueRequest::new(InterfaceId(0), 1); 8]),
        AdmitError::Queues(0)
    );
    assert_eq!(refusal(&|asked| asked.queues[1].weight = 0), AdmitError::Queue(ConfigError::Weight(0)));
    assert!(matches!(refusal(&|asked| asked.links[1].mtu = 0), AdmitError::Link(_)));
    assert!(matches!(refusal(&|asked| asked.sram_words = 61), AdmitError::Sram(_)));
    let mut full = node();
    let _all: Vec<_> = (0..4).map(|n| full.admit(request(0, 100 + 2 * n)).unwrap()).collect();
    assert_eq!(full.admit(request(0, 300)).unwrap_err(), AdmitError::Slices(4));
}

#[test]
fn a_slice_that_goes_leaves_nothing_behind() {
    let mut node = node();
    let mut first = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut first);
    first.memory().set(0, 7).unwrap();
    let frames = || vec![frame(0, 100, &ipv4(64, [10, 1, 2, 3], 53))];
    assert_eq!(run(&mut node, Nanos::ZERO, frames()).len(), 1);
    node.withdraw(first.slice());
    assert!(first.is_withdrawn());
    assert_eq!(run(&mut node, Nanos::ZERO, frames()), []);
    assert_eq!(node.count(SliceId::SUBSTRATE, DropReason::UnknownSlice.into()).packets, 1);
    // While somebody holds the handle, all that it can reach stays what it was.
    let second = node.admit(request(0, 100)).unwrap();
    assert_ne!(second.slice(), first.slice());
    first.memory().set(0, 666).unwrap();
    assert_eq!((second.memory().get(0), node.account(first.slice()).sent.packets), (Some(0), 1));
    assert_eq!(run(&mut node, Nanos::ZERO, frames()), [], "no filter is left");
    node.withdraw(second.slice());
    let number = first.slice();
    drop((first, second));
    let third = node.admit(request(0, 100)).unwrap();
    assert_eq!((third.slice(), third.memory().get(0), third.is_withdrawn()), (number, Some(0), false));
    assert_eq!((third.queue_count(0), third.result_count(0)), (Count::ZERO, Count::ZERO));
    assert_eq!(node.account(number), fastpath::node::Account::default(), "a new account");
}

#[test]
fn control_works_from_another_thread_while_packets_flow() {
    let mut node = node();
    let mut control = node.admit(SliceRequest { filters: 256, ..request(1, 100) }).unwrap();
    let manager = std::thread::spawn(move || {
        control.set_result(0, Action::forward(0, 0)).unwrap();
        let mut replies = Vec::new();
        for label in 1..=200u8 {
            assert_eq!(control.insert(Rank(0), LookupKey::new(label.into()), LookupKey::MAX, 0), Ok(None));
            while control.set_result(1, Action::Drop) == Err(Busy) {
                replies.extend(control.replies());
                std::thread::yield_now();
            }
            control.memory().set(0, label.into()).unwrap();
        }
        while replies.len() < 201 {
            replies.extend(control.replies());
            std::thread::yield_now();
        }
        assert!(replies.iter().all(|reply| reply.outcome.is_ok()));
        while control.queue_count(0).packets == 0 {
            std::thread::yield_now();
        }
        control
    });
    let mut sent = 0;
    let mut now = Nanos::ZERO;
    let mut received = 0;
    while !manager.is_finished() {
        now += Nanos::from_micros(10);
        received += 4;
        sent += run(&mut node, now, (0..4).map(|_| frame(0, 100, &[200, 0, 0])).collect()).len();
    }
    let control = manager.join().unwrap();
    assert!(sent > 0);
    let account = node.account(control.slice());
    assert_eq!((account.received(), account.sent.packets), (received, sent as u64));
    assert_eq!(u64::from(control.memory().get(1).unwrap()), received, "the option counted each");
}

/// Managers that keep their rings full get a packet each in turn.
#[test]
fn no_manager_keeps_another_from_sending() {
    let mut node = node();
    let mut controls = [100, 200].map(|port| node.admit(request(0, port)).unwrap());
    for control in &mut controls {
        for _ in 0..64 {
            let packet =
                Packet::with_headroom(vec![0; 200].into_boxed_slice(), 64, &ipv4(64, [10, 1, 2, 3], 53));
            control.inject(Injection::InBand { packet: packet.unwrap(), link: 0 }).unwrap();
        }
    }
    let mut vector = [const { Slot::EMPTY }; 32];
    assert_eq!(node.inject(Nanos::ZERO, &mut vector), 32);
    for control in &controls {
        assert_eq!(node.account(control.slice()).injected.packets, 16);
    }
}

/// What waits for one slice is room that no other was promised.
#[test]
fn a_flooded_slice_takes_no_room_from_another() {
    let limits = Limits { slices: 2, queues: 8, descriptors: 2048 + 8, ports: 8, ..Limits::default() };
    let mut node: Routers = Node::new((fastpath::code_option::ipv4::Ipv4::default(), Label), limits);
    for at in 0..2 {
        let rate = Rate::bits_per_second(1_000_000).unwrap();
        node.add_interface(InterfaceConfig::ip([10, 0, at, 1].into(), rate)).unwrap();
    }
    let mut flooded = node.admit(SliceRequest { sram_words: 0, ..request(0, 100) }).unwrap();
    let mut asked = SliceRequest { sram_words: 0, ..request(0, 200) };
    asked.queues.iter_mut().for_each(|queue| queue.limit_packets = 8);
    let mut other = node.admit(asked).unwrap();
    for control in [&mut flooded, &mut other] {
        ordinary_routes(&mut node, control);
    }
    let mut frames: Vec<_> = (0..3000).map(|_| frame(0, 100, &ipv4(64, [10, 1, 2, 3], 53))).collect();
    frames.extend((0..8).map(|_| frame(0, 200, &ipv4(64, [10, 1, 2, 3], 53))));
    run(&mut node, Nanos::ZERO, frames);
    assert_eq!(flooded.exits(DropReason::QueueFull.into()).packets, 3000 - 2048);
    assert_eq!((other.exits(DropReason::QueueFull.into()).packets, other.queue_count(0).packets), (0, 8));
}

#[test]
fn an_interface_with_a_bad_quantum_is_refused() {
    let mut node: Node<(fastpath::code_option::ipv4::Ipv4,), Buf> =
        Node::new(Default::default(), Limits::default());
    let rate = Rate::bits_per_second(1_000_000).unwrap();
    let config = InterfaceConfig { quantum: 1 << 20, ..InterfaceConfig::ip([10, 0, 0, 1].into(), rate) };
    assert!(node.add_interface(config).is_err());
    assert_eq!(
        node.admit(SliceRequest {
            links: vec![LinkRequest::new(InterfaceId(0), 1, peer().into())],
            ..SliceRequest::new(OptionId(0))
        })
        .unwrap_err(),
        AdmitError::UnknownInterface { asked: 0, has: 0 }
    );
}
