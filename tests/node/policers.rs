//! What slices and links may send in.

use crate::world::*;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, LinkError, Metering, PoliceError, Policing, Policy, QueueRequest, Scheduling, SliceControl,
};
use fastpath::prelude::*;
use fastpath::queue::meter::{Action as Does, Colour, Mode, SingleRateConfig};
use fastpath::queue::policy::{RedConfig, RedCurve, RedUnit};

/// Octets of a packet of the slice.
const OCTETS: u32 = 36;

/// 36 octets a microsecond, and so many packets at once.
fn limit(packets: u32) -> Policing {
    Policing::limit(Rate::bits_per_second(288_000_000).unwrap(), OCTETS * packets)
}

fn offer(node: &mut Routers, now: Nanos, at: u8, port: u16, count: usize) {
    let mut vector = [const { Slot::EMPTY }; 32];
    for slot in vector.iter_mut().take(count) {
        *slot = Slot::new(frame(at, port, &ipv4(64, [10, 1, 2, 3], 1)), RxMeta::IP);
    }
    node.process(now, &mut vector);
}

fn admitted(node: &mut Routers, police: [Option<Policing>; 3]) -> SliceControl<Buf> {
    let mut asked = request(0, 100);
    let [slice, first, second] = police;
    asked.police = slice;
    (asked.links[0].police, asked.links[1].police) = (first, second);
    let mut control = node.admit(asked).unwrap();
    ordinary_routes(node, &mut control);
    control
}

fn policed(node: &Routers, control: &SliceControl<Buf>, link: Option<u16>) -> [u64; 4] {
    let (_, did) = node.policed(control.slice(), link).unwrap();
    let [green, yellow, red] = Colour::ALL.map(|colour| did.of(colour).packets);
    [green, yellow, red, did.dropped.packets]
}

#[test]
fn a_slice_and_its_links_are_held_to_their_rates() {
    let mut node = node();
    let control = admitted(&mut node, [Some(limit(10)), Some(limit(6)), None]);
    let slice = control.slice();
    offer(&mut node, Nanos::ZERO, 0, 100, 8);
    assert_eq!(policed(&node, &control, Some(0)), [6, 0, 2, 2]);
    assert_eq!(policed(&node, &control, None), [6, 0, 0, 0], "what the link drops costs the slice nothing");
    offer(&mut node, Nanos::ZERO, 1, 101, 8);
    assert_eq!(policed(&node, &control, None), [10, 0, 4, 4]);
    assert_eq!(node.count(slice, DropReason::Policed.into()).packets, 6);
    assert_eq!(node.policed(slice, Some(1)), None);
    offer(&mut node, Nanos::from_micros(3), 1, 101, 8);
    assert_eq!(policed(&node, &control, None), [13, 0, 9, 9], "three more after 3 us");
    let account = node.account(slice);
    assert_eq!((account.received(), account.queued.packets), (24, 13));
    // Under way: another rate, whose burst is full, and none.
    node.set_policer(slice, None, Some(limit(1))).unwrap();
    offer(&mut node, Nanos::from_micros(3), 1, 101, 8);
    assert_eq!(policed(&node, &control, None), [14, 0, 16, 16], "counts go on");
    node.set_policer(slice, None, None).unwrap();
    node.set_policer(slice, Some(0), None).unwrap();
    offer(&mut node, Nanos::from_micros(3), 0, 100, 8);
    assert_eq!(node.account(slice).queued.packets, 22);
    assert_eq!(node.policed(slice, None), None);
    let unknown = PoliceError::Link(LinkError::UnknownLink { asked: 2, has: 2 });
    assert_eq!(node.set_policer(slice, Some(2), None), Err(unknown));
    let nothing = Policing::limit(Rate::MAX, 0);
    assert!(matches!(node.set_policer(slice, None, Some(nothing)), Err(PoliceError::Meter(_))));
}

#[test]
fn what_a_manager_sends_is_not_policed() {
    let mut node = node();
    let mut control = admitted(&mut node, [Some(limit(1)), None, None]);
    for _ in 0..5 {
        let packet = Packet::with_headroom(vec![0; 256].into(), 128, &ipv4(64, [10, 1, 2, 3], 1)).unwrap();
        control.inject(fastpath::node::Injection::InBand { packet, link: 0 }).unwrap();
    }
    let sent = run(&mut node, Nanos::ZERO, vec![frame(0, 100, &ipv4(64, [10, 1, 2, 3], 1))]);
    assert_eq!((sent.len(), policed(&node, &control, None)), (6, [1, 0, 0, 0]));
}

#[test]
fn a_closed_link_and_a_withdrawn_slice_leave_no_policer() {
    let mut node = node();
    let control = admitted(&mut node, [Some(limit(1)), Some(limit(1)), None]);
    let slice = control.slice();
    let closed = node.close_link(slice, 0).unwrap();
    assert_eq!(node.policed(slice, Some(0)), None);
    assert_eq!(node.open_link(slice, closed), Ok(0), "it is opened with what it had");
    assert_eq!(policed(&node, &control, Some(0)), [0; 4]);
    node.withdraw(slice);
    drop(control);
    node.poll_control(Nanos::ZERO, 1);
    let control = admitted(&mut node, [None; 3]);
    assert_eq!(control.slice(), slice);
    offer(&mut node, Nanos::ZERO, 0, 100, 8);
    assert_eq!(node.account(slice).queued.packets, 8);
}

/// What is yellow is dropped first: RED with a curve for each precedence.
#[test]
fn colours_are_drop_precedences() {
    let mut node = node_with(Scheduling::POLICIES);
    let meter = SingleRateConfig {
        cir: Rate::bits_per_second(1000).unwrap(),
        cbs: 16 * OCTETS,
        ebs: 8 * OCTETS,
        mode: Mode::ColourBlind,
    };
    let mut asked = request(0, 100);
    asked.police = Some(Policing { meter: Metering::SingleRate(meter), actions: Does::MARK });
    let curve = |min| RedCurve { min, max: min + 1, max_p: 65_536 };
    let red = RedConfig {
        weight: 0,
        gentle: false,
        curves: [curve(1000), curve(18), curve(1)],
        ..RedConfig::recommended(RedUnit::Packets, 1, Nanos(1000))
    };
    asked.queues[0] = QueueRequest {
        policy: Policy::Red(red),
        limit_packets: 2048,
        ..QueueRequest::new(InterfaceId(0), 1)
    };
    let mut control = node.admit(asked).unwrap();
    ordinary_routes(&mut node, &mut control);
    control.set_result(0, Action::forward(0, 0)).unwrap();
    must(&mut node, &mut control);
    offer(&mut node, Nanos::ZERO, 0, 100, 32);
    assert_eq!(policed(&node, &control, None), [16, 8, 8, 0]);
    let account = node.account(control.slice());
    // All green ones, the yellow ones until 19 wait, and none that is red.
    assert_eq!((account.queued.packets, account.dropped.packets), (19, 13));
    assert_eq!(node.count(control.slice(), DropReason::QueuePolicy.into()).packets, 13);
}
