//! Isolation as a theorem: whatever slice B does, slice A's packets, verdicts, counters
//! and memory are those of a run without B.

use crate::queues::{queue_request, schedulings};
use crate::world::*;
use fastpath::node::{Action, Policing, Policy, QueueRequest, Remains, Scheduling, SliceControl};
use fastpath::prelude::*;
use proptest::prelude::*;

/// What anyone may do in a step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// A frame to the slice's link 0 or 1 with this inner packet.
    Frame(u8, Vec<u8>),
    /// A command; numbers may be out of the slice's range.
    Result(u32, u16, u16, u64),
    Insert(u32, u128, u128, u32),
    Remove(u32, u128, u128),
    Memory(usize, u32),
    /// What the node's owner does for a slice.
    Queue(u16, QueueRequest),
    RemoveQueue(u16, bool),
    Policy(u16, Policy),
    Police(Option<u16>, u32),
}

fn inner() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0u8..3, 8u8..15, 0u16..4).prop_map(|(ttl, net, port)| ipv4(ttl, [net, 1, 2, 3], port)),
        1 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(label, a, b)| vec![label & 7, a, b]),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => (8u8..15, 0usize..36, any::<u8>()).prop_map(|(net, at, octet)| {
            let mut octets = ipv4(64, [net, 1, 2, 3], 1);
            octets[at] = octet;
            octets
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..2, inner()).prop_map(|(link, inner)| Step::Frame(link, inner)),
        1 => (0u32..6, 0u16..3, 0u16..3, 0u64..8).prop_map(|(r, l, q, w)| Step::Result(r, l, q, w)),
        2 => (0u32..4, 0u128..8, 0u128..8, 0u32..6).prop_map(|(k, v, m, r)| Step::Insert(k, v, m, r)),
        1 => (0u32..4, 0u128..8, 0u128..8).prop_map(|(k, v, m)| Step::Remove(k, v, m)),
        1 => (0usize..6, any::<u32>()).prop_map(|(at, word)| Step::Memory(at, word)),
    ]
}

/// The same, and all that may become of a slice's queues and policers.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => step(),
        1 => (0u16..3, queue_request()).prop_map(|(queue, request)| Step::Queue(queue, request)),
        1 => (0u16..3, any::<bool>()).prop_map(|(queue, drops)| Step::RemoveQueue(queue, drops)),
        1 => (0u16..3, queue_request()).prop_map(|(queue, request)| Step::Policy(queue, request.policy)),
        1 => (prop::option::of(0u16..2), 1u32..200).prop_map(|(link, octets)| Step::Police(link, octets)),
    ]
}

/// A step that the node's owner takes.
fn own(step: &Step, node: &mut Routers, slice: SliceId) {
    match step {
        Step::Queue(queue, request) => {
            let changed = node.change_queue(slice, *queue, *request).map(|()| *queue);
            let _ = changed.or_else(|_| node.add_queue(slice, *request));
        }
        Step::RemoveQueue(queue, drops) => {
            let remains = if *drops { Remains::Drop } else { Remains::Send };
            let _ = node.remove_queue(slice, *queue, remains);
        }
        Step::Police(link, octets) => {
            let policing = Policing::limit(Rate::bits_per_second(1_000_000).unwrap(), *octets);
            let _ = node.set_policer(slice, *link, Some(policing));
        }
        _ => {}
    }
}

/// What became of an update of filters.
type Update = Result<Option<u32>, fastpath::node::ControlError>;

fn take(
    step: &Step, port: u16, control: &mut SliceControl<Buf>, updates: &mut Vec<Update>,
) -> Option<Packet<Buf>> {
    let key = LookupKey::new;
    match step {
        Step::Frame(link, inner) => return Some(frame(*link, port + u16::from(*link), inner)),
        Step::Result(result, link, queue, word) => {
            let action = Action::Forward { link: *link, queue: *queue, word: *word, next_hop: None };
            control.set_result(*result, action).unwrap();
        }
        Step::Insert(rank, value, mask, result) => {
            updates.push(control.insert(Rank(*rank), key(*value), key(*mask), *result));
        }
        Step::Remove(rank, value, mask) => {
            updates.push(Ok(control.remove(Rank(*rank), key(*value), key(*mask))));
        }
        Step::Memory(at, word) => {
            control.memory().set(*at, *word);
        }
        Step::Policy(queue, policy) => {
            control.set_policy(*queue, *policy).unwrap();
        }
        Step::Queue(..) | Step::RemoveQueue(..) | Step::Police(..) => {}
    }
    None
}

/// All that slice A can see of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    sent: Vec<(u16, Vec<u8>)>,
    replies: Vec<fastpath::node::Reply>,
    updates: Vec<Update>,
    filters: usize,
    exits: Vec<Count>,
    results: Vec<Count>,
    queues: Vec<Count>,
    memory: Vec<Option<u32>>,
    exceptions: Vec<(Vec<u8>, Exception)>,
}

/// Runs A's steps, with those of B between them, and returns what A sees.
fn observe(scheduling: Scheduling, option: u8, a: &[Step], b: &[(u8, Step)]) -> Seen {
    let mut node = node_with(scheduling);
    let mut asked = request(option, 100);
    asked.police = Some(Policing::limit(Rate::bits_per_second(200_000).unwrap(), 150));
    let mut control = node.admit(asked).unwrap();
    let mut other = node.admit(request(1 - option, 200)).unwrap();
    ordinary_routes(&mut node, &mut control);
    if !b.is_empty() {
        ordinary_routes(&mut node, &mut other);
    }
    let (mut sent, mut replies, mut exceptions) = (Vec::new(), Vec::new(), Vec::new());
    let mut updates = Vec::new();
    let rounds = a.len().div_ceil(8).max(b.len().div_ceil(8));
    for round in 0..rounds {
        let mut frames = Vec::new();
        for step in a.iter().skip(8 * round).take(8) {
            // B's frames stand before and behind A's in the same vector.
            frames.extend(take(step, 100, &mut control, &mut updates));
        }
        let mut mixed = Vec::new();
        let mut frames = frames.into_iter();
        for (before, step) in b.iter().skip(8 * round).take(8) {
            mixed.extend(frames.by_ref().take(usize::from(*before)));
            own(step, &mut node, other.slice());
            mixed.extend(take(step, 200, &mut other, &mut Vec::new()));
        }
        mixed.extend(frames);
        let out = run(&mut node, Nanos::from_millis(round as u64), mixed);
        // The source port of the outer header is the link's.
        sent.extend(
            out.into_iter()
                .filter(|(_, frame)| matches!(u16::from_be_bytes([frame[20], frame[21]]), 100 | 101)),
        );
        replies.extend(control.replies());
        let _ = other.replies().count();
        while let Some(exception) = control.take_exception() {
            exceptions.push((exception.packet.bytes().to_vec(), exception.what.exception));
        }
    }
    // A packet leaves when its interface is free; the order within an interface is A's.
    sent.sort_by_key(|(at, _)| *at);
    Seen {
        sent,
        replies,
        updates,
        filters: control.filters().count(),
        exits: Exit::all().map(|exit| control.exits(exit)).collect(),
        results: (0..64).map(|result| control.result_count(result)).collect(),
        queues: (0..2).map(|queue| control.queue_count(queue)).collect(),
        memory: (0..6).map(|at| control.memory().get(at)).collect(),
        exceptions,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Slice A alone, and with arbitrary traffic, filters, commands and memory writes of
    /// slice B: A sees the same, to the octet.
    #[test]
    fn no_slice_changes_what_another_gets(
        option in 0u8..2, a in prop::collection::vec(step(), 1..60),
        b in prop::collection::vec((0u8..4, step()), 1..120),
    ) {
        let plain = Scheduling::Plain;
        prop_assert_eq!(observe(plain, option, &a, &[]), observe(plain, option, &a, &b));
    }

    /// The same where interfaces are shared in other ways, and with whatever policers, policies
    /// and queues B has and gets. A has a policer, too.
    #[test]
    fn no_policy_of_a_slice_changes_what_another_gets(
        kind in 0..5usize, option in 0u8..2, a in prop::collection::vec(step(), 1..60),
        b in prop::collection::vec((0u8..4, any_step()), 1..120),
    ) {
        let kind = schedulings()[kind];
        prop_assert_eq!(observe(kind, option, &a, &[]), observe(kind, option, &a, &b));
    }
}

/// A theorem that nothing could break would prove nothing: a slice that does act on
/// another's behalf (the same commands through A's own handle) is seen.
#[test]
fn the_theorem_sees_a_filter_of_its_own() {
    let frame = Step::Frame(0, ipv4(2, [10, 1, 2, 3], 1));
    let plain = Scheduling::Plain;
    let alone = observe(plain, 0, std::slice::from_ref(&frame), &[]);
    let mine = observe(plain, 0, &[Step::Insert(0, 0, 0, 3), frame], &[]);
    assert_ne!(alone.sent, mine.sent);
}
