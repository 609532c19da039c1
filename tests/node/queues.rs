//! Queues of a running slice: policies, marks, levels, a class that comes first; added, changed
//! and removed; and that each packet is accounted for by slice, queue and reason.

use crate::world::*;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, AdmitError, ClassError, ControlError, Forward, InterfaceConfig, InterfaceError, Levels, Policy,
    PolicyError, PriorityClass, QueueError, QueueRequest, Remains, Scheduling, ShareRequest, SliceControl,
    SliceRequest,
};
use fastpath::prelude::*;
use fastpath::queue::Departure;
use fastpath::queue::policy::{CoDelConfig, RedConfig, RedCurve, RedUnit};
use proptest::prelude::*;

const FIRST: InterfaceId = InterfaceId(0);

pub(crate) fn class() -> PriorityClass {
    PriorityClass { queues: 3, rate: Rate::bits_per_second(1_000_000_000).unwrap(), burst: 4096 }
}

pub(crate) fn schedulings() -> [Scheduling; 5] {
    let priority = Some(class());
    [
        Scheduling::Plain,
        Scheduling::POLICIES,
        Scheduling::HIERARCHY,
        Scheduling::Managed { levels: Levels::Queues, priority },
        Scheduling::Managed { levels: Levels::Slices, priority },
    ]
}

fn red(min: u32) -> Policy {
    Policy::Red(RedConfig { weight: 1, ..RedConfig::recommended(RedUnit::Packets, min, Nanos(1000)) })
}

fn codel() -> Policy {
    Policy::CoDel(CoDelConfig { target: Nanos(2000), interval: Nanos(4000), longest: 40, marks: true })
}

/// A slice at port `port` whose only link and queues are at the first interface; 10.N/16 leads
/// to queue N.
fn one_link(node: &mut Routers, port: u16, queues: &[QueueRequest]) -> SliceControl<Buf> {
    let mut asked = request(0, port);
    asked.links.truncate(1);
    asked.queues = queues.to_vec();
    let mut control = node.admit(asked).unwrap();
    for queue in 0..6u8 {
        let (rank, value, mask) = route([10, queue, 0, 0], 16);
        control.insert(rank, value, mask, queue.into()).unwrap();
    }
    lead(node, &mut control, 0..queues.len() as u16);
    control
}

/// Result N leads to queue N.
fn lead(node: &mut Routers, control: &mut SliceControl<Buf>, queues: core::ops::Range<u16>) {
    for queue in queues {
        control.set_result(queue.into(), Action::forward(0, queue)).unwrap();
    }
    must(node, control);
}

fn with_class(mut ip: Vec<u8>, class: u8) -> Vec<u8> {
    ip[1] = class;
    ip[10..12].fill(0);
    let words = ip[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// Puts packets for a queue in, without taking any out.
fn offer(node: &mut Routers, now: Nanos, port: u16, queue: u8, class: u8, count: usize) {
    let mut vector = [const { Slot::EMPTY }; 32];
    let mut left = count;
    while left > 0 {
        for slot in vector.iter_mut().take(left) {
            let inner = with_class(ipv4(64, [10, queue, 2, 3], 1), class);
            *slot = Slot::new(frame(0, port, &inner), RxMeta::IP);
        }
        node.process(now, &mut vector);
        vector.iter_mut().for_each(|slot| *slot = Slot::EMPTY);
        left -= left.min(32);
    }
}

/// Takes up to `most` packets out: the octets of each that was sent, and how many were dropped.
fn take(node: &mut Routers, now: Nanos, most: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut sent, mut recycled) = (Vec::new(), 0);
    let send = |departure: Departure<Packet<Buf>>| {
        sent.push(departure.handle.bytes().to_vec());
        Ok(())
    };
    let drained = node.transmit(now, FIRST, most, send, |_| recycled += 1);
    assert_eq!((drained.sent, drained.dropped), (sent.len(), recycled));
    (sent, recycled)
}

fn exact(node: &Routers, slice: SliceId, arrived: u64) {
    let account = node.account(slice);
    assert_eq!(account.received(), arrived, "{account:?}");
    assert_eq!(account.queued.packets, account.sent.packets + account.waiting + behind(node, slice));
}

fn behind(node: &Routers, slice: SliceId) -> u64 {
    let behind = [DropReason::TxFailed, DropReason::QueueDeleted, DropReason::QueueDelay];
    behind.into_iter().map(|reason| node.count(slice, reason.into()).packets).sum()
}

#[test]
fn policies_drop_by_reason_and_queue() {
    let mut node = node_with(Scheduling::POLICIES);
    let queue = QueueRequest { limit_packets: 100, ..QueueRequest::new(FIRST, 1) };
    let of = |policy| QueueRequest { policy, ..queue };
    let control = one_link(&mut node, 100, &[of(red(5)), of(codel()), queue]);
    let slice = control.slice();
    for queue in 0..3 {
        offer(&mut node, Nanos(1000), 100, queue, 0, 200);
    }
    let counts = |node: &Routers, queue| node.queue_counts(slice, queue).unwrap();
    let dropped_in = counts(&node, 0).policy.packets;
    assert!(dropped_in > 50, "RED drops on the way in");
    assert_eq!(node.count(slice, DropReason::QueuePolicy.into()).packets, dropped_in);
    assert_eq!((counts(&node, 1).full.packets, counts(&node, 2).full.packets), (100, 100));
    let mut now = Nanos::from_millis(1);
    let (mut sent, mut dropped) = (0, 0);
    while node.next_due(now).is_some() {
        now += Nanos(1000);
        let (some, lost) = take(&mut node, now, 1);
        (sent, dropped) = (sent + some.len(), dropped + lost);
        exact(&node, slice, 600);
    }
    let dropped_out = counts(&node, 1).dropped.packets;
    assert!(dropped_out > 5, "CoDel drops on the way out");
    assert_eq!(dropped as u64, dropped_out);
    assert_eq!(node.count(slice, DropReason::QueueDelay.into()).packets, dropped_out);
    assert_eq!(sent as u64 + dropped_out + dropped_in + 200, 600);
    assert_eq!(control.account(), node.account(slice));
}

#[test]
fn what_can_be_marked_is_marked_outside_and_arrives_marked() {
    let curve = RedCurve { min: 2, max: 40, max_p: 65_536 };
    let red =
        RedConfig { weight: 0, curves: [curve; 3], ..RedConfig::recommended(RedUnit::Packets, 2, Nanos(1)) };
    for policy in [Policy::Red(red), codel()] {
        let mut node = node_with(Scheduling::POLICIES);
        let queue = QueueRequest { policy, ..QueueRequest::new(FIRST, 1) };
        let control = one_link(&mut node, 100, &[queue]);
        offer(&mut node, Nanos(1000), 100, 0, 0b10, 20);
        let (sent, _) = (0..200).fold((Vec::new(), 0), |(mut all, lost), at| {
            let (sent, dropped) = take(&mut node, Nanos(100_000 + 1000 * at), 1);
            all.extend(sent);
            (all, lost + dropped)
        });
        let marked: Vec<_> = sent.iter().filter(|frame| frame[1] & 3 == 0b11).collect();
        let counts = node.queue_counts(control.slice(), 0).unwrap();
        assert!(!marked.is_empty() && marked.len() < sent.len(), "{policy:?}");
        assert_eq!(counts.marked.packets, marked.len() as u64);
        assert!(marked.iter().all(|frame| frame[28 + 1] & 3 == 0b10), "inside they are as they were");
        // The tunnel's other end.
        let mut end = fastpath::node::Node::new(
            (fastpath::code_option::ipv4::Ipv4::default(), Label),
            Default::default(),
        );
        let rate = Rate::bits_per_second(1_000_000_000).unwrap();
        let config = fastpath::node::InterfaceConfig::ip([10, 0, 9, 9].into(), rate);
        end.add_interface(config).unwrap();
        let mut asked = request(0, 30_000);
        asked.links.truncate(1);
        asked.queues.truncate(1);
        let mut far = end.admit(asked).unwrap();
        far.set_result(0, Action::forward(0, 0)).unwrap();
        let (rank, value, mask) = route([10, 0, 0, 0], 8);
        far.insert(rank, value, mask, 0).unwrap();
        must(&mut end, &mut far);
        let mut vector = [const { Slot::EMPTY }; 32];
        for (slot, octets) in vector.iter_mut().zip(&marked) {
            let packet = Packet::with_headroom(vec![0; 256].into_boxed_slice(), 128, octets).unwrap();
            *slot = Slot::new(packet, RxMeta::IP);
        }
        assert_eq!(end.process(Nanos::ZERO, &mut vector), 0);
        let (out, _) = take(&mut end, Nanos::from_millis(1), 32);
        assert_eq!(out.len(), marked.len());
        assert!(out.iter().all(|frame| (frame[1] & 3, frame[28 + 1] & 3) == (0b11, 0b11)));
    }
}

/// Figure 4 of RFC 6040, through a node: what comes out of the tunnel's end, and that it goes
/// into the next tunnel's header.
#[test]
fn all_pairs_of_codepoints_come_out_as_rfc_6040_says() {
    let (not_ect, ect1, ect0, ce) = (0u8, 1u8, 2u8, 3u8);
    let table = [
        (not_ect, [Some(not_ect), Some(not_ect), Some(not_ect), None]),
        (ect0, [Some(ect0), Some(ect0), Some(ect1), Some(ce)]),
        (ect1, [Some(ect1), Some(ect1), Some(ect1), Some(ce)]),
        (ce, [Some(ce); 4]),
    ];
    for (inner, row) in table {
        for (outer, expected) in [not_ect, ect0, ect1, ce].into_iter().zip(row) {
            let mut node = node();
            let control = one_link(&mut node, 100, &[QueueRequest::new(FIRST, 1)]);
            let mut packet = frame(0, 100, &with_class(ipv4(64, [10, 0, 2, 3], 1), inner));
            let octets = with_class(packet.bytes().to_vec(), outer);
            packet.bytes_mut().copy_from_slice(&octets);
            let mut vector = [const { Slot::EMPTY }; 32];
            vector[0] = Slot::new(packet, RxMeta::IP);
            node.process(Nanos::ZERO, &mut vector);
            let (sent, _) = take(&mut node, Nanos::ZERO, 1);
            let seen = sent.first().map(|frame| [frame[1] & 3, frame[28 + 1] & 3]);
            assert_eq!(seen, expected.map(|ecn| [ecn; 2]), "inner {inner:02b} outer {outer:02b}");
            let refused = node.count(control.slice(), DropReason::EcnNotCapable.into()).packets;
            assert_eq!(refused, u64::from(expected.is_none()));
        }
    }
}

#[test]
fn slices_share_an_interface_and_queues_their_slice() {
    let mut node = node_with(Scheduling::HIERARCHY);
    let queue = QueueRequest { limit_packets: 500, ..QueueRequest::new(FIRST, 1) };
    let first = one_link(&mut node, 100, &[queue; 1]);
    let second = one_link(&mut node, 200, &[queue, QueueRequest { weight: 2, ..queue }, queue]);
    let sent = |node: &Routers, control: &SliceControl<Buf>, queue| {
        assert!(node.account(control.slice()).waiting > 0);
        control.queue_count(queue).packets
    };
    let run = |node: &mut Routers, now: Nanos| {
        offer(node, now, 100, 0, 0, 400);
        (0..3).for_each(|queue| offer(node, now, 200, queue, 0, 400));
        take(node, now + Nanos::from_secs(1), 96);
    };
    // Rounds of the longest frame: dozens of packets of one queue at a time.
    run(&mut node, Nanos::ZERO);
    for _ in 0..6 {
        take(&mut node, Nanos::from_secs(2), 96);
    }
    let before = sent(&node, &first, 0);
    let of_second: u64 = (0..3).map(|queue| sent(&node, &second, queue)).sum();
    assert!(before.abs_diff(of_second) <= 64, "half each: {before} {of_second}");
    let two = (0..3).map(|queue| sent(&node, &second, queue)).collect::<Vec<_>>();
    assert!(two[1] > two[0] && two[1] > two[2], "{two:?}");
    // Whoever is promised something has it; a share is promised once.
    let asked = ShareRequest { interface: FIRST, weight: 65_536 };
    let left = 65_535;
    let refused = AdmitError::Weights { interface: 0, asked: 65_536, left };
    assert_eq!(node.set_share(first.slice(), asked), Err(QueueError::Refused(refused)));
    node.set_share(first.slice(), ShareRequest { weight: 65_535, ..asked }).unwrap();
    // Weights are the slice's own business there.
    let (mut second, slice) = (second, first.slice());
    second.configure_queue(0, 65_536, 500, u64::MAX).unwrap();
    must(&mut node, &mut second);
    offer(&mut node, Nanos::from_secs(3), 100, 0, 0, 400);
    let before = node.account(slice).sent.packets;
    (0..3).for_each(|_| drop(take(&mut node, Nanos::from_secs(3), 96)));
    assert!(node.account(slice).sent.packets - before >= 200, "nearly all is the first one's now");
}

#[test]
fn a_class_comes_first_as_long_as_its_bucket_pays() {
    let mut node = node_with(Scheduling::Managed { levels: Levels::Queues, priority: Some(class()) });
    let low = QueueRequest { limit_packets: 500, ..QueueRequest::new(FIRST, 1) };
    let high = QueueRequest { priority: true, ..low };
    let control = one_link(&mut node, 100, &[low, high]);
    offer(&mut node, Nanos::ZERO, 100, 0, 0, 100);
    offer(&mut node, Nanos::ZERO, 100, 1, 0, 100);
    take(&mut node, Nanos::from_millis(1), 40);
    // 4,096 octets less the longest frame: 2,048 of packets of 64, and one.
    assert_eq!([0, 1].map(|queue| control.queue_count(queue).packets), [7, 33]);
    let nobody = QueueRequest { interface: InterfaceId(1), ..high };
    assert!(node.add_queue(control.slice(), nobody).is_ok());
    let mut plain = crate::world::node();
    let control = one_link(&mut plain, 100, &[low]);
    let refused = plain.add_queue(control.slice(), high);
    assert_eq!(refused, Err(QueueError::Refused(AdmitError::NoPriority(0))));
}

#[test]
fn a_class_has_its_part_of_what_a_worker_may_send() {
    // 1 of 10 Gbit/s; this worker may send at 500 Mbit/s, which is less than the class's rate.
    let mut node = node_with(Scheduling::Managed { levels: Levels::Queues, priority: Some(class()) });
    let low = QueueRequest { limit_packets: 2000, ..QueueRequest::new(FIRST, 1) };
    let control = one_link(&mut node, 100, &[low, QueueRequest { priority: true, ..low }]);
    let mut now = Nanos::from_secs(1);
    let share = Rate::bits_per_second(500_000_000).unwrap();
    node.forwarder_mut().set_share(now, FIRST, Some(share));
    offer(&mut node, now, 100, 0, 0, 2000);
    offer(&mut node, now, 100, 1, 0, 2000);
    for _ in 0..1000 {
        now += Nanos::from_micros(1);
        take(&mut node, now, 32);
    }
    let [low, high] = [0, 1].map(|queue| control.queue_count(queue).packets);
    // A burst beside its tenth.
    assert!(high < 200 && low > 5 * high, "the class {high}, the others {low}");
}

#[test]
fn a_class_leaves_something_of_its_interface() {
    let scheduling = Scheduling::Managed { levels: Levels::Queues, priority: Some(class()) };
    let mut node = node_with(scheduling);
    let billion = Rate::bits_per_second(1_000_000_000).unwrap();
    let refused = InterfaceError::Class(ClassError::Rate { asked: billion.get(), interface: billion.get() });
    let slow = InterfaceConfig { scheduling, ..InterfaceConfig::ip([10, 0, 7, 1].into(), billion) };
    assert_eq!(node.add_interface(slow), Err(refused));
    assert_eq!(node.set_rate(Nanos::ZERO, FIRST, billion), Err(refused));
    assert_eq!(node.interfaces().next().unwrap().1.rate.get(), 10 * billion.get());
}

#[test]
fn dropping_a_queue_holds_nobody_back() {
    for scheduling in schedulings() {
        let mut node = node_with(scheduling);
        let queue = QueueRequest { limit_packets: 1000, ..QueueRequest::new(FIRST, 1) };
        let control = one_link(&mut node, 100, &[queue, queue]);
        offer(&mut node, Nanos::from_secs(1), 100, 0, 0, 100);
        offer(&mut node, Nanos::from_secs(1), 100, 1, 0, 900);
        node.remove_queue(control.slice(), 1, Remains::Drop).unwrap();
        for _ in 0..3 {
            let (sent, dropped) = take(&mut node, Nanos::from_secs(2), 32);
            assert_eq!((sent.len(), dropped), (32, 32), "{scheduling:?}");
        }
        exact(&node, control.slice(), 1000);
    }
}

#[test]
fn a_share_goes_with_its_interface() {
    let mut node = node_with(Scheduling::HIERARCHY);
    let (queue, second) = (QueueRequest::new(FIRST, 1), InterfaceId(1));
    let mut asked = request(0, 100);
    asked.links.truncate(1);
    asked.queues = vec![queue];
    asked.shares = vec![ShareRequest { interface: second, weight: 65_536 }];
    let _control = node.admit(asked).unwrap();
    let other =
        || SliceRequest { queues: vec![QueueRequest::new(second, 1)], links: vec![], ..request(0, 200) };
    assert!(matches!(node.admit(other()), Err(AdmitError::Weights { interface: 1, left: 0, .. })));
    let config = node.remove_interface(second).unwrap();
    assert_eq!(node.add_interface(config), Ok(second));
    assert!(node.admit(other()).is_ok());
}

#[test]
fn queues_come_change_and_go_while_packets_wait() {
    for (scheduling, remains) in
        schedulings().into_iter().zip([Remains::Send, Remains::Drop].into_iter().cycle())
    {
        let mut node = node_with(scheduling);
        let queue = QueueRequest::new(FIRST, 2);
        let mut control = one_link(&mut node, 100, &[queue]);
        let slice = control.slice();
        assert_eq!(node.add_queue(slice, QueueRequest { weight: 3, ..queue }), Ok(1));
        lead(&mut node, &mut control, 1..2);
        offer(&mut node, Nanos::ZERO, 100, 0, 0, 50);
        offer(&mut node, Nanos::ZERO, 100, 1, 0, 50);
        // Fewer may wait: what waits stays.
        node.change_queue(slice, 1, QueueRequest { weight: 1, limit_packets: 10, ..queue }).unwrap();
        offer(&mut node, Nanos::ZERO, 100, 1, 0, 5);
        assert_eq!(node.count(slice, DropReason::QueueFull.into()).packets, 5);
        take(&mut node, Nanos::from_micros(1), 10);
        exact(&node, slice, 105);
        assert_eq!(node.remove_queue(slice, 1, remains).map(|it| it.weight), Ok(1));
        assert!(matches!(node.remove_queue(slice, 1, remains), Err(QueueError::UnknownQueue { .. })));
        assert_eq!(node.queues_of(slice).count(), 1);
        // Nothing leads there any more.
        offer(&mut node, Nanos::ZERO, 100, 1, 0, 3);
        assert_eq!(node.count(slice, DropReason::NoMatch.into()).packets, 3);
        control.set_result(1, Action::forward(0, 1)).unwrap();
        node.poll_control(Nanos::ZERO, 8);
        let unknown = Err(ControlError::UnknownQueue { asked: 1, has: 2 });
        assert_eq!(control.replies().map(|reply| reply.outcome).collect::<Vec<_>>(), [unknown]);
        // It is not empty: its number is taken.
        assert_eq!(node.add_queue(slice, queue), Ok(2));
        exact(&node, slice, 108);
        let mut now = Nanos::from_micros(2);
        let (mut sent, mut dropped) = (10, 0);
        while node.next_due(now).is_some() {
            now += Nanos::from_micros(10);
            let (some, lost) = take(&mut node, now, 7);
            (sent, dropped) = (sent + some.len() as u64, dropped + lost as u64);
            exact(&node, slice, 108);
        }
        node.poll_control(now, 8);
        assert_eq!(sent + dropped, 100);
        assert_eq!(node.count(slice, DropReason::QueueDeleted.into()).packets, dropped);
        assert_eq!(dropped > 0, remains == Remains::Drop, "{scheduling:?}");
        let account = node.account(slice);
        assert_eq!((account.sent.packets, account.waiting), (sent, 0), "what it sent stays counted");
        assert_eq!(control.account(), account);
        assert_eq!(node.add_queue(slice, queue), Ok(1), "its number is free");
        assert_eq!(control.queue_count(1), Count::ZERO, "and counts anew");
        if let Some(counts) = node.queue_counts(slice, 1) {
            assert_eq!(counts, Default::default());
        }
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let mut node = node();
    let queue = QueueRequest::new(FIRST, 1);
    let mut asked = request(0, 100);
    asked.more_queues = 1;
    let mut control = node.admit(asked).unwrap();
    let slice = control.slice();
    let plain = PolicyError::Plain(0);
    let with_red = QueueRequest { policy: red(5), ..queue };
    assert_eq!(node.add_queue(slice, with_red), Err(QueueError::Refused(plain.into())));
    control.set_policy(0, codel()).unwrap();
    node.poll_control(Nanos::ZERO, 8);
    assert_eq!(control.replies().next().unwrap().outcome, Err(ControlError::Policy(plain)));
    assert_eq!(node.add_queue(slice, queue), Ok(2));
    assert_eq!(node.add_queue(slice, queue), Err(QueueError::Numbers(3)));
    let moved = QueueRequest { interface: InterfaceId(1), ..queue };
    assert_eq!(node.change_queue(slice, 0, moved), Err(QueueError::Moved(0)));
    let heavy = QueueRequest { weight: 65_536, ..queue };
    let refused = AdmitError::Weights { interface: 0, asked: 65_536, left: 65_535 };
    assert_eq!(node.change_queue(slice, 0, heavy), Err(QueueError::Refused(refused)));
    let many = QueueRequest { limit_packets: 16_384, ..queue };
    assert!(matches!(
        node.change_queue(slice, 0, many),
        Err(QueueError::Refused(AdmitError::Descriptors { .. }))
    ));
    // The manager has given the weight of queue 2 to queue 0.
    node.change_queue(slice, 2, QueueRequest { weight: 4, ..queue }).unwrap();
    control.configure_queue(2, 1, 256, u64::MAX).unwrap();
    control.configure_queue(0, 4, 256, u64::MAX).unwrap();
    must(&mut node, &mut control);
    let shifted = QueueError::Shifted { used: 4, granted: 1 };
    assert_eq!(node.remove_queue(slice, 2, Remains::Send), Err(shifted));
    control.configure_queue(0, 1, 256, u64::MAX).unwrap();
    must(&mut node, &mut control);
    assert!(node.remove_queue(slice, 2, Remains::Send).is_ok());
    assert_eq!(node.add_queue(slice, queue), Ok(2), "it was empty");
    assert_eq!(node.add_queue(SliceId(3), queue), Err(QueueError::UnknownSlice(SliceId(3))));
    let none = SliceRequest { queues: vec![with_red], ..request(0, 200) };
    assert_eq!(node.admit(none).unwrap_err(), AdmitError::Policy(plain));
}

#[derive(Clone, Debug)]
enum Op {
    Offer { slice: u16, queue: u8, class: u8, count: usize },
    Take { micros: u64, most: usize },
    Add { slice: u16, request: QueueRequest },
    Change { slice: u16, queue: u16, request: QueueRequest },
    Remove { slice: u16, queue: u16, remains: Remains },
    Policy { slice: u16, queue: u16, policy: Policy },
    Share { slice: u16, weight: u32 },
}

pub(crate) fn queue_request() -> impl Strategy<Value = QueueRequest> {
    let policy = prop_oneof![Just(Policy::TailDrop), (1..20u32).prop_map(red), Just(codel())];
    (1..9u32, 1..60u32, policy, any::<bool>()).prop_map(|(weight, limit_packets, policy, priority)| {
        QueueRequest { limit_packets, policy, priority, ..QueueRequest::new(FIRST, weight) }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let (slice, queue) = (0..2u16, 0..4u16);
    let remains = prop_oneof![Just(Remains::Send), Just(Remains::Drop)];
    prop_oneof![
        6 => (slice.clone(), 0..4u8, 0..4u8, 1..40usize).prop_map(|(slice, queue, class, count)| {
            Op::Offer { slice, queue, class, count }
        }),
        6 => (0..50u64, 1..40usize).prop_map(|(micros, most)| Op::Take { micros, most }),
        1 => (slice.clone(), queue_request()).prop_map(|(slice, request)| Op::Add { slice, request }),
        1 => (slice.clone(), queue.clone(), queue_request())
            .prop_map(|(slice, queue, request)| Op::Change { slice, queue, request }),
        1 => (slice.clone(), queue.clone(), remains)
            .prop_map(|(slice, queue, remains)| Op::Remove { slice, queue, remains }),
        1 => (slice.clone(), queue, queue_request())
            .prop_map(|(slice, queue, request)| Op::Policy { slice, queue, policy: request.policy }),
        1 => (slice, 1..9u32).prop_map(|(slice, weight)| Op::Share { slice, weight }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever queues are made of and become, each packet of each slice is where the account
    /// says, and what a queue counts by reason adds up.
    #[test]
    fn accounts_are_exact(kind in 0..5usize, history in prop::collection::vec(op(), 1..150)) {
        let mut node = node_with(schedulings()[kind]);
        let queue = QueueRequest { limit_packets: 30, ..QueueRequest::new(FIRST, 1) };
        let mut controls = [100, 200].map(|port| one_link(&mut node, port, &[queue; 2]));
        let (mut now, mut arrived) = (Nanos(1), [0u64; 2]);
        for op in history {
            match op {
                Op::Offer { slice, queue, class, count } => {
                    offer(&mut node, now, 100 * (slice + 1), queue, class, count);
                    arrived[usize::from(slice)] += count as u64;
                }
                Op::Take { micros, most } => {
                    now += Nanos::from_micros(micros);
                    take(&mut node, now, most);
                }
                Op::Add { slice, request } => {
                    let control = &mut controls[usize::from(slice)];
                    if let Ok(number) = node.add_queue(control.slice(), request) {
                        let _ = control.set_result(number.into(), Action::forward(0, number));
                    }
                }
                Op::Change { slice, queue, request } => {
                    let _ = node.change_queue(controls[usize::from(slice)].slice(), queue, request);
                }
                Op::Remove { slice, queue, remains } => {
                    let _ = node.remove_queue(controls[usize::from(slice)].slice(), queue, remains);
                }
                Op::Policy { slice, queue, policy } => {
                    let _ = controls[usize::from(slice)].set_policy(queue, policy);
                }
                Op::Share { slice, weight } => {
                    let share = ShareRequest { interface: FIRST, weight };
                    let _ = node.set_share(controls[usize::from(slice)].slice(), share);
                }
            }
            node.poll_control(now, 8);
            for (control, arrived) in controls.iter_mut().zip(arrived) {
                control.replies().for_each(drop);
                let slice = control.slice();
                exact(&node, slice, arrived);
                prop_assert_eq!(control.account(), node.account(slice));
                for (number, _) in node.queues_of(slice) {
                    let Some(counts) = node.queue_counts(slice, number) else { continue };
                    let waiting = node.queue_id(slice, number).map(|_| counts.waiting().packets);
                    let gone = counts.sent.packets + counts.dropped.packets + counts.flushed.packets;
                    prop_assert_eq!(counts.taken.packets, gone + waiting.unwrap_or(0));
                    prop_assert_eq!(counts.sent.packets, control.queue_count(number).packets);
                }
            }
        }
        // All of it comes out, and all that was promised can be promised again.
        while node.next_due(now).is_some() {
            now += Nanos::from_millis(1);
            take(&mut node, now, 64);
        }
        for (control, arrived) in controls.iter().zip(arrived) {
            exact(&node, control.slice(), arrived);
            prop_assert_eq!(node.account(control.slice()).waiting, 0);
            node.withdraw(control.slice());
        }
        drop(controls);
        node.poll_control(now, 8);
        let limit = QueueRequest { limit_packets: 16_384 / 4, weight: 65_536 / 4, ..queue };
        let share = ShareRequest { interface: FIRST, weight: 65_536 };
        let asked = SliceRequest { queues: vec![limit; 4], shares: vec![share], ..request(0, 300) };
        prop_assert!(node.admit(asked).is_ok());
    }
}
