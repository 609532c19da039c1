//! What a worker does for slice managers between two vectors is bounded, and shared.

use crate::world::*;
use fastpath::node::{Action, Injection, SliceControl};
use fastpath::prelude::*;

fn direct(control: &mut SliceControl<Buf>, packets: usize) {
    for _ in 0..packets {
        let inner = ipv4(64, [10, 1, 2, 3], 53);
        let packet = Packet::with_headroom(vec![0; 200].into_boxed_slice(), 64, &inner).unwrap();
        control.inject(Injection::Direct { packet, result: 0, traffic_class: 0 }).unwrap();
    }
}

fn slices(node: &mut Routers) -> [SliceControl<Buf>; 3] {
    [100, 200, 300].map(|port| {
        let mut control = node.admit(request(0, port)).unwrap();
        ordinary_routes(node, &mut control);
        control
    })
}

#[test]
fn packets_straight_to_a_queue_share_one_budget() {
    let mut node = node();
    let mut controls = slices(&mut node);
    controls.iter_mut().for_each(|control| direct(control, 40));
    node.poll_control(Nanos::ZERO, 30);
    let injected = |node: &Routers, controls: &[SliceControl<Buf>]| -> Vec<u64> {
        controls.iter().map(|control| node.account(control.slice()).injected.packets).collect()
    };
    assert_eq!(injected(&node, &controls), [10, 10, 10]);
    // Whoever is done leaves the budget to the others.
    direct(&mut controls[1], 40);
    for _ in 0..3 {
        node.poll_control(Nanos::ZERO, 30);
    }
    assert_eq!(injected(&node, &controls), [40, 40, 40]);
    node.poll_control(Nanos::ZERO, 1000);
    assert_eq!(injected(&node, &controls), [40, 80, 40]);
    for control in &controls {
        let account = node.account(control.slice());
        assert_eq!((account.queued.packets, account.received()), (account.injected.packets, 0));
    }
}

#[test]
fn a_turn_is_remembered() {
    let mut node = node();
    let mut controls = slices(&mut node);
    controls.iter_mut().for_each(|control| direct(control, 4));
    let mut seen = Vec::new();
    for _ in 0..6 {
        let before = controls.each_ref().map(|control| node.account(control.slice()).injected.packets);
        node.poll_control(Nanos::ZERO, 1);
        let after = controls.each_ref().map(|control| node.account(control.slice()).injected.packets);
        seen.extend((0..3).filter(|at| after[*at] > before[*at]));
    }
    assert_eq!(seen.len(), 6, "one each time");
    let mut first = seen[..3].to_vec();
    first.sort_unstable();
    assert_eq!((first, &seen[..3]), (vec![0, 1, 2], &seen[3..]), "{seen:?}");
}

#[test]
fn commands_share_one_budget_too() {
    let mut node = node();
    let mut controls = slices(&mut node);
    for control in &mut controls {
        for _ in 0..40 {
            control.set_result(0, Action::Drop).unwrap();
        }
    }
    assert_eq!(node.poll_control(Nanos::ZERO, 30), 30);
    assert_eq!(controls.each_mut().map(|control| control.replies().count()), [10; 3]);
    assert_eq!(node.poll_control(Nanos::ZERO, 1000), 90);
}
