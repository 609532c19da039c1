//! What a node promises its slices adds up to what it has, and is given back.

use crate::world::*;
use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, AdmitError, Busy, ControlError, Done, Injection, InterfaceConfig, Limits, LinkRequest, Node,
    QueueRequest, SliceControl, SliceRequest,
};
use fastpath::prelude::*;
use fastpath::queue::ConfigError;
use proptest::prelude::*;

/// A node of `interfaces` interfaces of 1 Gb/s, where a weight of 1 earns `quantum`
/// octets a round.
fn node_of(interfaces: u8, quantum: u32, limits: Limits) -> Routers {
    let mut node = Node::new((Ipv4::default(), Label), limits);
    for at in 0..interfaces {
        let rate = Rate::bits_per_second(1_000_000_000).unwrap();
        let config = InterfaceConfig { quantum, ..InterfaceConfig::ip([10, 0, at, 1].into(), rate) };
        node.add_interface(config).unwrap();
    }
    node
}

/// A slice without links, with a queue of each weight at its interface.
fn queues(queues: &[(u16, u32)]) -> SliceRequest {
    let queue = |&(at, weight): &(u16, u32)| QueueRequest {
        limit_packets: 1,
        ..QueueRequest::new(InterfaceId(at), weight)
    };
    SliceRequest { queues: queues.iter().map(queue).collect(), ..SliceRequest::new(OptionId(0)) }
}

/// A slice with a link at each of these ports of interface 0.
fn links(ports: impl IntoIterator<Item = u16>) -> SliceRequest {
    let link = |port| LinkRequest::new(InterfaceId(0), port, peer().into());
    SliceRequest { links: ports.into_iter().map(link).collect(), ..SliceRequest::new(OptionId(0)) }
}

#[test]
fn no_interface_promises_more_weight_than_it_has() {
    let mut node = node_of(2, 0, Limits { slices: 8, weights: 10, ..Limits::default() });
    let none_left = |interface, asked, left| AdmitError::Weights { interface, asked, left };
    assert_eq!(node.admit(queues(&[(0, 11)])).unwrap_err(), none_left(0, 11, 10));
    let first = node.admit(queues(&[(0, 3), (1, 10), (0, 1)])).unwrap();
    assert_eq!(node.admit(queues(&[(0, 4), (0, 3)])).unwrap_err(), none_left(0, 7, 6));
    assert_eq!(node.admit(queues(&[(0, 6), (1, 1)])).unwrap_err(), none_left(1, 1, 0));
    let second = node.admit(queues(&[(0, 6)])).unwrap();
    assert_eq!(node.admit(queues(&[(0, 1)])).unwrap_err(), none_left(0, 1, 0));
    // What is withdrawn is promised until nobody can reach its queues.
    node.withdraw(first.slice());
    assert_eq!(node.admit(queues(&[(1, 1)])).unwrap_err(), none_left(1, 1, 0));
    drop(first);
    let third = node.admit(queues(&[(0, 4), (1, 10)])).unwrap();
    assert_eq!(node.admit(queues(&[(0, 1)])).unwrap_err(), none_left(0, 1, 0));
    drop((second, third));
    assert_eq!(node.admit(queues(&[(0, 1)])).unwrap_err(), none_left(0, 1, 0), "a handle is not a slice");
}

#[test]
fn a_weight_that_no_queue_can_have_is_named_as_such() {
    let mut node = node_of(1, 0, Limits::default());
    for weight in [0, (1 << 16) + 1, u32::MAX] {
        let refused = node.admit(queues(&[(0, 1), (0, weight)])).unwrap_err();
        assert_eq!(refused, AdmitError::Queue(ConfigError::Weight(weight)));
    }
    node.admit(queues(&[(0, 1 << 16)])).unwrap();
}

/// Whoever comes later, and whatever it asks for.
#[test]
fn a_weight_is_worth_its_part_of_the_interface() {
    let mut node = node_of(2, 0, Limits { slices: 3, weights: 8, ..Limits::default() });
    let asked = |port, weight| {
        let mut asked = SliceRequest { sram_words: 0, ..request(0, port) };
        asked.queues.iter_mut().for_each(|queue| queue.weight = weight);
        asked
    };
    let mut first = node.admit(asked(100, 1)).unwrap();
    assert!(node.admit(asked(200, 1 << 16)).is_err());
    let mut others = [(200, 4), (300, 3)].map(|(port, weight)| node.admit(asked(port, weight)).unwrap());
    ordinary_routes(&mut node, &mut first);
    others.iter_mut().for_each(|other| ordinary_routes(&mut node, other));
    let inner = ipv4(64, [10, 1, 2, 3], 53);
    // Some 680 packets each, more than anyone can send below: all stay backlogged.
    let mut vector = [const { Slot::EMPTY }; 32];
    for _ in 0..64 {
        for (slot, port) in vector.iter_mut().zip([100, 200, 300].into_iter().cycle()) {
            *slot = Slot::new(frame(0, port, &inner), RxMeta::IP);
        }
        node.process(Nanos::ZERO, &mut vector);
    }
    let (mut all, mut own) = (0, 0);
    for now in 0..4000 {
        let send = |departure: fastpath::queue::Departure<Packet<Buf>>| {
            all += departure.octets;
            own += if departure.owner == first.slice() { departure.octets } else { 0 };
            Ok(())
        };
        node.transmit(Nanos(now * 100), InterfaceId(0), 1, send, drop);
        if all > 40_000 {
            break;
        }
    }
    // The last round may be under way, its quantum of 2,048 octets still to come.
    assert!(all > 40_000 && own >= all / 8 - 2048, "{own} of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A slice shifts weight among its queues at an interface as it likes, and never has
    /// more there than it was admitted with.
    #[test]
    fn weight_is_shifted_and_never_added(
        asked in prop::collection::vec((0u16..3, 1u32..20), 1..8),
        changes in prop::collection::vec((0u16..9, 0u32..40), 1..80),
    ) {
        // Weights below 4 earn less in a round than the longest frame.
        let mut node = node_of(3, 512, Limits { slices: 1, queues: 8, ..Limits::default() });
        let mut control = node.admit(queues(&asked)).unwrap();
        let mut model: Vec<u32> = asked.iter().map(|(_, weight)| *weight).collect();
        for (queue, weight) in changes {
            control.configure_queue(queue, weight, 1, 1).unwrap();
            prop_assert_eq!(node.poll_control(Nanos::ZERO, 1), 1);
            let outcome = control.replies().next().unwrap().outcome;
            let Some((at, _)) = asked.get(usize::from(queue)) else {
                let has = asked.len();
                prop_assert_eq!(outcome, Err(ControlError::UnknownQueue { asked: queue, has }));
                continue;
            };
            let mut wished = model.clone();
            wished[usize::from(queue)] = weight;
            let here = |weights: &[u32]| -> u64 {
                let queues = asked.iter().zip(weights).filter(|((interface, _), _)| interface == at);
                queues.map(|(_, weight)| u64::from(*weight)).sum()
            };
            let granted = here(&asked.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
            match outcome {
                Ok(Done::Configured) => {
                    prop_assert!(here(&wished) <= granted && weight > 0);
                    model = wished;
                }
                Err(ControlError::Granted { asked, granted: said }) => {
                    prop_assert!(here(&wished) > granted);
                    prop_assert_eq!((asked, said), (here(&wished), granted));
                }
                Err(ControlError::Queue(error)) => prop_assert_eq!(error, ConfigError::Weight(0)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn ports_are_as_many_as_the_node_has() {
    let mut node = node_of(1, 0, Limits { slices: 8, ports: 5, ..Limits::default() });
    let first = node.admit(links(100..102)).unwrap();
    let _second = node.admit(links(200..202)).unwrap();
    assert_eq!(node.admit(links(300..302)).unwrap_err(), AdmitError::Ports { asked: 2, left: 1 });
    let _third = node.admit(links([300])).unwrap();
    assert_eq!(node.admit(links([400])).unwrap_err(), AdmitError::Ports { asked: 1, left: 0 });
    node.admit(links([])).unwrap();
    // Ports are free at once.
    node.withdraw(first.slice());
    node.admit(links(400..402)).unwrap();
    assert_eq!(node.admit(links([100])).unwrap_err(), AdmitError::Ports { asked: 1, left: 0 });
    let mut none = node_of(1, 0, Limits { ports: 0, ..Limits::default() });
    assert_eq!(none.admit(links([1])).unwrap_err(), AdmitError::Ports { asked: 1, left: 0 });
}

#[test]
fn a_slice_has_as_many_links_as_it_can_number() {
    let limits = Limits { slices: 1, ports: 1 << 17, ..Limits::default() };
    let mut node = node_of(2, 0, limits);
    let mut asked = links(0..=u16::MAX);
    assert_eq!(node.admit(asked.clone()).unwrap_err(), AdmitError::Links(65_536));
    asked.links.pop();
    node.admit(asked).unwrap();
}

/// In time that grows with their number and no faster.
#[test]
fn a_slice_has_as_many_queues_as_it_can_number() {
    let limits = Limits { slices: 2, queues: 1 << 16, ..Limits::default() };
    let mut node = node_of(2, 0, limits);
    let mut asked = queues(&[(0, 1); 1 << 16]);
    assert_eq!(node.admit(asked.clone()).unwrap_err(), AdmitError::QueueCount(65_536));
    asked.queues.pop();
    let control = node.admit(asked).unwrap();
    let ids: std::collections::HashSet<_> =
        (0..u16::MAX).map(|queue| node.queue_id(control.slice(), queue).unwrap()).collect();
    assert_eq!(ids.len(), 65_535);
    node.admit(queues(&[(0, 1)])).unwrap();
    assert_eq!(node.admit(queues(&[])).unwrap_err(), AdmitError::Slices(2));
}

#[test]
fn filters_of_a_withdrawn_slice_are_free_at_once() {
    let mut node = node_of(1, 0, Limits { filters: 100, ..Limits::default() });
    let asked = |filters| SliceRequest { filters, ..SliceRequest::new(OptionId(0)) };
    let first = node.admit(asked(60)).unwrap();
    assert_eq!(node.admit(asked(41)).unwrap_err(), AdmitError::Filters { asked: 41, left: 40 });
    node.withdraw(first.slice());
    node.admit(asked(100)).unwrap();
    assert!(first.is_withdrawn());
}

/// A slot names the slice of an injected packet by number.
#[test]
fn a_number_is_not_given_out_while_a_vector_names_it() {
    let limits = Limits { slices: 1, queues: 8, ports: 8, ..Limits::default() };
    let mut node = node_of(2, 0, limits);
    let mut first = node.admit(SliceRequest { sram_words: 0, ..request(0, 100) }).unwrap();
    first.inject(in_band([10, 1, 2, 3])).unwrap();
    let mut vector = [const { Slot::EMPTY }; 32];
    assert_eq!(node.inject(Nanos::ZERO, &mut vector), 1);
    let number = first.slice();
    node.withdraw(number);
    drop(first);
    let another = SliceRequest { sram_words: 0, ..request(0, 200) };
    assert_eq!(node.admit(another.clone()).unwrap_err(), AdmitError::Slices(1));
    node.process(Nanos::ZERO, &mut vector);
    assert_eq!(node.count(number, DropReason::NoMatch.into()).packets, 1, "still the old account");
    let second: SliceControl<Buf> = node.admit(another).unwrap();
    assert_eq!((second.slice(), node.account(number)), (number, fastpath::node::Account::default()));
}

fn in_band(to: [u8; 4]) -> Injection<Buf> {
    let packet = Packet::with_headroom(vec![0; 200].into_boxed_slice(), 64, &ipv4(64, to, 53));
    Injection::InBand { packet: packet.unwrap(), link: 0 }
}

/// A buffer that its pool counts.
#[derive(Debug)]
struct Counted(Buf, #[expect(dead_code)] std::sync::Arc<()>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[test]
fn buffers_of_a_withdrawn_slice_come_back_with_its_handle() {
    let mut node: Node<(Ipv4,), Counted> = Node::new(Default::default(), Limits::default());
    let pool = std::sync::Arc::new(());
    let packet = || {
        let buf = Counted(vec![0; 200].into_boxed_slice(), pool.clone());
        let packet = Packet::with_headroom(buf, 64, &ipv4(64, [10, 1, 2, 3], 53)).unwrap();
        Injection::InBand { packet, link: 0 }
    };
    let mut control = node.admit(SliceRequest::new(OptionId(0))).unwrap();
    control.set_result(0, Action::SlowPath(Exception::Local)).unwrap();
    let (rank, value, mask) = route([10, 0, 0, 0], 8);
    control.insert(rank, value, mask, 0).unwrap();
    node.poll_control(Nanos::ZERO, 1);
    (0..8).for_each(|_| control.inject(packet()).unwrap());
    let mut vector = [const { Slot::EMPTY }; 4];
    assert_eq!(node.inject(Nanos::ZERO, &mut vector), 4);
    assert_eq!(node.process(Nanos::ZERO, &mut vector), 0, "all wait for the manager");
    assert_eq!(node.inject(Nanos::ZERO, &mut vector), 4);
    node.withdraw(control.slice());
    // Nothing is taken that nobody would look at.
    assert!(control.inject(packet()).is_err());
    assert_eq!(control.set_result(0, Action::Drop), Err(Busy));
    assert_eq!(node.process(Nanos::ZERO, &mut vector), 4);
    assert_eq!(node.count(control.slice(), DropReason::NoMatch.into()).packets, 4);
    vector.iter_mut().for_each(|slot| *slot = Slot::EMPTY);
    assert!(control.take_exception().is_some(), "what waits is the manager's still");
    drop(control);
    assert_eq!(std::sync::Arc::strong_count(&pool), 1);
}

#[test]
fn the_slowest_interface_of_the_longest_frames_is_none_too_slow() {
    let limits = Limits { longest_frame: 1 << 27, descriptors: 1, ..Limits::default() };
    let mut node: Node<(Ipv4,), Buf> = Node::new(Default::default(), limits);
    let rate = Rate::bits_per_second(1000).unwrap();
    let config = InterfaceConfig { quantum: 40_000, ..InterfaceConfig::ip([10, 0, 0, 1].into(), rate) };
    node.add_interface(config).unwrap();
}

/// An admission that fails late leaves nothing behind: queues, memory, ports.
#[test]
fn a_refused_slice_takes_nothing() {
    let limits = Limits { slices: 2, queues: 2, weights: 40, sram_words: 8, ports: 2, ..Limits::default() };
    let mut node = node_of(1, 512, limits);
    let full = |weights: [u32; 2]| SliceRequest {
        sram_words: 8,
        links: links(100..102).links,
        ..queues(&weights.map(|weight| (0, weight)))
    };
    for _ in 0..10 {
        // The second queue would earn nothing.
        let refused = node.admit(full([37, 0])).unwrap_err();
        assert!(matches!(refused, AdmitError::Queue(ConfigError::Weight(0))));
        let mut doubled = full([20, 20]);
        doubled.links[1].port = 100;
        assert!(matches!(node.admit(doubled).unwrap_err(), AdmitError::Port(_)));
    }
    let mut control = node.admit(full([36, 4])).unwrap();
    control.set_result(0, Action::forward(1, 1)).unwrap();
    must(&mut node, &mut control);
}
