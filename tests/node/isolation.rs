//! Isolation as a theorem: whatever slice B does, slice A's packets, verdicts, counters
//! and memory are those of a run without B.

use crate::world::*;
use fastpath::node::{Action, SliceControl};
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
fn observe(option: u8, a: &[Step], b: &[(u8, Step)]) -> Seen {
    let mut node = node();
    let mut control = node.admit(request(option, 100)).unwrap();
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
        let mut own = frames.into_iter();
        for (before, step) in b.iter().skip(8 * round).take(8) {
            mixed.extend(own.by_ref().take(usize::from(*before)));
            mixed.extend(take(step, 200, &mut other, &mut Vec::new()));
        }
        mixed.extend(own);
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
        prop_assert_eq!(observe(option, &a, &[]), observe(option, &a, &b));
    }
}

/// A theorem that nothing could break would prove nothing: a slice that does act on
/// another's behalf (the same commands through A's own handle) is seen.
#[test]
fn the_theorem_sees_a_filter_of_its_own() {
    let frame = Step::Frame(0, ipv4(2, [10, 1, 2, 3], 1));
    let alone = observe(0, std::slice::from_ref(&frame), &[]);
    let mine = observe(0, &[Step::Insert(0, 0, 0, 3), frame], &[]);
    assert_ne!(alone.sent, mine.sent);
}
