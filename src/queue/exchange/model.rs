//! Every interleaving of members and coordinator, as the memory model allows them.
//!
//! What a node has in force stands here in an atomic of its own, written without any order:
//! that one node sees what another has put in force is up to the exchange. Each ordering of
//! it was weakened on its own, and each time one of these models failed.

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use super::{Coordinator, Exchange, Member, Plan};
use crate::queue::Rate;
use crate::time::Nanos;

type Shared = Arc<Exchange<2, 1>>;

const GIGABIT: u64 = 1_000_000_000;

/// All schedules with up to so many preemptions.
fn preempted(times: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(times);
    builder.check(model);
}

/// A node, and what both have in force.
struct Node {
    member: Member<Shared, 2, 1>,
    in_force: Arc<[AtomicU64; 2]>,
}

impl Node {
    fn look(&mut self) {
        let (at, in_force) = (self.member.node(), &self.in_force);
        self.member.rates(|_, rate| {
            in_force[at].store(rate.map_or(0, Rate::get), Relaxed);
            let sum: u64 = in_force.iter().map(|bits| bits.load(Relaxed)).sum();
            assert!(sum <= GIGABIT, "{sum} in force");
        });
    }
}

/// Two nodes, of which the first has all but the floor of the second.
fn world() -> (Coordinator<Shared, 2, 1>, [Node; 2]) {
    let exchange = Arc::new(Exchange::new());
    let gigabit = Rate::bits_per_second(GIGABIT).ok();
    let mut coordinator =
        Coordinator::new(exchange.clone(), Plan::new([gigabit], [gigabit; 2], Nanos(1))).unwrap();
    let in_force = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let mut nodes = [0, 1].map(|at| {
        let member = Member::join(exchange.clone(), at).unwrap();
        Node { member, in_force: in_force.clone() }
    });
    for (node, octets) in nodes.iter_mut().zip([1000, 0]) {
        node.member.report(&[octets]);
    }
    coordinator.run(Nanos(0));
    nodes.iter_mut().for_each(Node::look);
    assert_eq!(in_force[0].load(Relaxed), GIGABIT / 1000 * 995);
    (coordinator, nodes)
}

#[test]
fn who_rises_sees_that_the_other_fell() {
    preempted(3, || {
        let (mut coordinator, [mut first, mut second]) = world();
        first.member.report(&[0]);
        second.member.report(&[1000]);
        coordinator.run(Nanos(1));
        let falls = thread::spawn(move || first.look());
        let rises = thread::spawn(move || {
            second.look();
            second.look();
        });
        coordinator.run(Nanos(1));
        coordinator.run(Nanos(1));
        falls.join().unwrap();
        rises.join().unwrap();
    });
}

/// Loads change, and grants are overtaken by others before they are read or confirmed.
#[test]
fn grants_that_overtake_each_other_keep_the_sum() {
    preempted(2, || {
        let (mut coordinator, [mut first, mut second]) = world();
        let one = thread::spawn(move || {
            first.member.report(&[0]);
            first.look();
            first.member.report(&[1000]);
            first.look();
        });
        let other = thread::spawn(move || {
            second.member.report(&[1000]);
            second.look();
            second.look();
        });
        for now in 1..4 {
            coordinator.run(Nanos(now));
        }
        one.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_seat_is_taken_over_with_what_was_done_from_it() {
    loom::model(|| {
        let (_coordinator, [first, second]) = world();
        drop(second);
        let (exchange, in_force) = (first.member.exchange().clone(), first.in_force.clone());
        let stops = thread::spawn(move || {
            first.in_force[0].store(0, Relaxed);
            drop(first);
        });
        if let Some(_successor) = Member::join(exchange, 0) {
            assert_eq!(in_force[0].load(Relaxed), 0, "whoever had the seat has stopped");
        }
        stops.join().unwrap();
    });
}
