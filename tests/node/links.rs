//! Links and interfaces come, change and go while slices run.

use crate::world::*;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, AdmitError, ControlError, InterfaceConfig, InterfaceError, LinkError, LinkRequest,
};
use fastpath::prelude::*;
use std::net::SocketAddrV4;

fn inner() -> Vec<u8> {
    ipv4(64, [10, 1, 2, 3], 53)
}

/// Interface, outer destination and outer source port of all that comes out for a frame that
/// comes in at `port`.
fn ends(node: &mut Routers, port: u16) -> Vec<(u16, [u8; 4], u16)> {
    let sent = run(node, Nanos::ZERO, vec![frame(0, port, &inner())]);
    let end = |(at, frame): (u16, Vec<u8>)| {
        (at, frame[16..20].try_into().unwrap(), u16::from_be_bytes([frame[20], frame[21]]))
    };
    sent.into_iter().map(end).collect()
}

#[test]
fn a_link_leads_to_another_peer_while_others_stay() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    let mut other = node.admit(request(0, 200)).unwrap();
    ordinary_routes(&mut node, &mut control);
    ordinary_routes(&mut node, &mut other);
    let to = |host| SocketAddrV4::new([10, 0, 8, host].into(), 4000);
    node.set_peer(control.slice(), 0, to(1)).unwrap();
    assert_eq!(ends(&mut node, 100), [(0, [10, 0, 8, 1], 100)]);
    assert_eq!(ends(&mut node, 200), [(0, [10, 0, 9, 9], 200)], "another slice's link");
    let nowhere = SocketAddrV4::new([224, 0, 0, 1].into(), 1);
    let refused = node.set_peer(control.slice(), 0, nowhere);
    assert_eq!(refused, Err(LinkError::Refused(AdmitError::Peer(nowhere.into()))));
    assert_eq!(node.set_peer(control.slice(), 2, to(1)), Err(LinkError::UnknownLink { asked: 2, has: 2 }));
    assert_eq!(node.set_peer(SliceId(3), 0, to(1)), Err(LinkError::UnknownSlice(SliceId(3))));
    assert_eq!(ends(&mut node, 100), [(0, [10, 0, 8, 1], 100)], "nothing has changed");
    // What is set later goes there, too.
    control.set_result(1, Action::forward(0, 0)).unwrap();
    must(&mut node, &mut control);
    let sent = run(&mut node, Nanos::ZERO, vec![frame(0, 100, &ipv4(64, [11, 1, 2, 3], 53))]);
    assert_eq!(sent[0].1[16..20], [10, 0, 8, 1]);
}

#[test]
fn a_closed_link_leads_nowhere_and_its_number_is_given_again() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let slice = control.slice();
    let closed = node.close_link(slice, 0).unwrap();
    assert_eq!(node.close_link(slice, 0), Err(LinkError::UnknownLink { asked: 0, has: 2 }));
    assert_eq!(ends(&mut node, 100), [], "nobody's port");
    assert_eq!(node.count(SliceId::SUBSTRATE, DropReason::UnknownSlice.into()).packets, 1);
    // From the other link, by a result that led through the closed one.
    let to_other = frame(1, 101, &inner());
    assert_eq!(run(&mut node, Nanos::ZERO, vec![to_other]), []);
    assert_eq!(control.exits(DropReason::NoMatch.into()).packets, 1);
    control.set_result(0, Action::forward(0, 0)).unwrap();
    node.poll_control(Nanos::ZERO, 1);
    let unknown = ControlError::UnknownLink { asked: 0, has: 2 };
    assert_eq!(control.replies().next().unwrap().outcome, Err(unknown));
    // Its port is free, its number too.
    let taken = node.open_link(slice, LinkRequest { port: 101, interface: InterfaceId(1), ..closed });
    assert!(matches!(taken, Err(LinkError::Refused(AdmitError::Port(_)))), "{taken:?}");
    assert_eq!(node.open_link(slice, LinkRequest { port: 300, ..closed }), Ok(0));
    assert_eq!(node.open_link(slice, LinkRequest { port: 301, ..closed }), Ok(2));
    assert_eq!(
        node.links_of(slice).map(|(number, link)| (number, link.port)).collect::<Vec<_>>(),
        [(0, 300), (1, 101), (2, 301)]
    );
    control.set_result(0, Action::forward(2, 0)).unwrap();
    must(&mut node, &mut control);
    assert_eq!(ends(&mut node, 300), [(0, [10, 0, 9, 9], 301)]);
    let account = node.account(slice);
    assert_eq!((account.received(), account.sent.packets, account.dropped.packets), (2, 1, 1));
    node.withdraw(slice);
    assert_eq!(node.open_link(slice, closed), Err(LinkError::UnknownSlice(slice)));
    assert_eq!(ends(&mut node, 301), [], "a link that came later goes with the slice");
}

#[test]
fn links_that_are_opened_count_as_ports() {
    let mut node = node();
    let control = node.admit(request(0, 100)).unwrap();
    let more = |port| LinkRequest::new(InterfaceId(0), port, peer().into());
    for port in 200..214 {
        node.open_link(control.slice(), more(port)).unwrap();
    }
    let refused = Err(LinkError::Refused(AdmitError::Ports { asked: 1, left: 0 }));
    assert_eq!(node.open_link(control.slice(), more(300)), refused);
    node.close_link(control.slice(), 7).unwrap();
    assert_eq!(node.open_link(control.slice(), more(300)), Ok(7));
}

#[test]
fn an_interface_goes_when_nobody_needs_it() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let (first, second) = (InterfaceId(0), InterfaceId(1));
    assert_eq!(node.remove_interface(InterfaceId(2)), Err(InterfaceError::Unknown(2)));
    assert_eq!(node.remove_interface(second), Err(InterfaceError::InUse { interface: 1, slices: 1 }));
    // Something waits there when the slice goes.
    let mut vector = [const { Slot::EMPTY }; 32];
    vector[0] = Slot::new(frame(0, 100, &ipv4(64, [11, 1, 2, 3], 53)), RxMeta::IP);
    node.process(Nanos::ZERO, &mut vector);
    node.withdraw(control.slice());
    drop(control);
    assert_eq!(node.remove_interface(second), Err(InterfaceError::InUse { interface: 1, slices: 1 }));
    assert_eq!(node.transmit(Nanos::ZERO, second, 9, |_| Ok(()), drop).sent, 1);
    let config = node.remove_interface(second).unwrap();
    assert_eq!(config.address, std::net::Ipv4Addr::new(10, 0, 1, 1));
    assert_eq!(node.remove_interface(second), Err(InterfaceError::Unknown(1)));
    let refused = node.admit(request(0, 100)).unwrap_err();
    assert_eq!(refused, AdmitError::UnknownInterface { asked: 1, has: 2 });
    assert_eq!(node.interfaces().map(|(id, _)| id).collect::<Vec<_>>(), [first]);
    // Its number is given again, with queues as new.
    let again = InterfaceConfig::ip([10, 0, 1, 1].into(), config.rate);
    assert_eq!(node.add_interface(again), Ok(second));
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let sent = run(&mut node, Nanos::ZERO, vec![frame(0, 100, &ipv4(64, [11, 1, 2, 3], 53))]);
    assert_eq!((sent.len(), sent[0].0), (1, 1));
}

#[test]
fn a_rate_changes_while_packets_wait() {
    let mut node = node();
    let mut control = node.admit(request(0, 100)).unwrap();
    ordinary_routes(&mut node, &mut control);
    let rate = |bits| Rate::bits_per_second(bits).unwrap();
    assert_eq!(node.set_rate(Nanos::ZERO, InterfaceId(7), rate(1000)), Err(InterfaceError::Unknown(7)));
    // A frame of 64 octets, 512 bits, each millisecond.
    node.set_rate(Nanos::ZERO, InterfaceId(0), rate(512_000)).unwrap();
    let fill = |node: &mut Routers| {
        for _ in 0..8 {
            let mut vector =
                core::array::from_fn::<_, 32, _>(|_| Slot::new(frame(0, 100, &inner()), RxMeta::IP));
            node.process(Nanos::ZERO, &mut vector);
        }
    };
    fill(&mut node);
    let sent_by = |node: &mut Routers, millis: u64| {
        let (mut sent, mut now) = (0, Nanos::ZERO);
        while let Some(due) = node.next_due(now).filter(|due| *due <= Nanos::from_millis(millis)) {
            now = due;
            sent += node.transmit(now, InterfaceId(0), 1, |_| Ok(()), drop).sent;
        }
        sent
    };
    assert_eq!(sent_by(&mut node, 9), 10, "at 0, 1, ... 9 ms");
    node.set_rate(Nanos::from_millis(9), InterfaceId(0), rate(5_120_000)).unwrap();
    assert_eq!(
        sent_by(&mut node, 19),
        100,
        "at 9.1, 9.2, ... 19.0 ms: what was left of a millisecond is a tenth"
    );
}
