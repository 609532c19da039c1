//! Readers beside a writer: that stall, that are anywhere in a lookup, that run.

use super::tests::{Rng, SEED, SLICE, colliding, exact, key};
use super::*;
use crate::epoch::Reader;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::vec;
use std::vec::Vec;

#[test]
fn a_stalled_reader_makes_insertions_busy_and_changes_nothing() {
    const FILTERS: u32 = 1000;
    let (mut control, read) = ExactControl::new(SLICE, LookupKey::MAX, FILTERS as usize, SEED);
    let mut epochs = Epochs::new(2);
    let mut reader = epochs.reader().unwrap();
    let mut model = HashMap::new();
    for n in 0..FILTERS - 1 {
        while control.insert(&read, &mut epochs, Rank(7), &exact(n.into()), n) == Err(ExactError::Busy) {
            reader.quiescent();
        }
        model.insert(n, n);
    }
    for _ in 0..2 {
        reader.quiescent();
        control.settle(&read, &mut epochs);
    }
    // The reader stalls, and filters come and go.
    let (mut busy, mut next) = (0, FILTERS);
    while busy < 100 {
        match control.insert(&read, &mut epochs, Rank(7), &exact(next.into()), next) {
            Ok(None) => {
                model.insert(next, next);
                let gone = *model.keys().min().unwrap();
                assert_eq!(control.remove(&read, &mut epochs, Rank(7), &exact(gone.into())), Some(gone));
                model.remove(&gone);
            }
            result => {
                assert_eq!(result, Err(ExactError::Busy));
                busy += 1;
            }
        }
        next += 1;
        assert!(next < 2 * FILTERS && control.waiting() <= 130, "what waits is bounded");
    }
    assert_eq!(ExactError::Busy.kind(), TableErrorKind::Busy, "and not full");
    assert!(control.waiting() > 100, "an eighth may wait: {}", control.waiting());
    let check = |model: &HashMap<u32, u32>, control: &ExactControl| {
        for n in 0..next + 10 {
            assert_eq!(read.lookup(key(n.into())), model.get(&n).copied(), "{n}");
        }
        let listed: HashMap<_, _> = control
            .iter(&read)
            .map(|(_, filter, word)| (LookupKey::new(filter.value()).bits() as u32, word))
            .collect();
        assert_eq!(control.iter(&read).count(), model.len(), "old copies are not listed");
        assert_eq!((&listed, control.len()), (model, model.len()));
    };
    check(&model, &control);
    // Replacing and removing go on, in old copies as well.
    for n in 0..next {
        let old = control.replace(&read, Rank(7), &exact(n.into()), n + 1);
        assert_eq!(old, model.get_mut(&n).map(|word| std::mem::replace(word, n + 1)));
    }
    check(&model, &control);
    for n in (0..next).step_by(3) {
        assert_eq!(control.remove(&read, &mut epochs, Rank(7), &exact(n.into())), model.remove(&n));
    }
    check(&model, &control);
    // When the reader goes on, what waits becomes free.
    for _ in 0..2 {
        reader.quiescent();
        while control.settle(&read, &mut epochs) > 0 {}
    }
    assert_eq!(control.waiting(), 0);
    assert_eq!(control.insert(&read, &mut epochs, Rank(7), &exact(next.into()), 1), Ok(None));
    model.insert(next, 1);
    check(&model, &control);
}

/// Slots that become free while an insertion looks for room are room.
#[test]
fn no_rebuild_is_due_while_slots_become_free() {
    let (mut control, read) = ExactControl::new(SLICE, LookupKey::MAX, 200, SEED);
    let mut epochs = Epochs::new(1);
    let values = colliding(&read, 7);
    let others: Vec<_> = (1 << 100..).take(80).collect();
    for value in values[..6].iter().chain(&others) {
        assert_eq!(control.insert(&read, &mut epochs, Rank(0), &exact(*value), 1), Ok(None));
    }
    let reader = epochs.reader().unwrap();
    // More than are freed at once wait before the slot that is wanted.
    for value in others[..64].iter().chain(&values[..1]) {
        assert_eq!(control.remove(&read, &mut epochs, Rank(0), &exact(*value)), Some(1));
    }
    let seventh = exact(values[6]);
    assert_eq!(control.insert(&read, &mut epochs, Rank(0), &seventh, 2), Err(ExactError::Busy));
    drop(reader);
    // The 65th is the one.
    assert_eq!(control.insert(&read, &mut epochs, Rank(0), &seventh, 2), Ok(None));
    assert_eq!(read.lookup(key(values[6])), Some(2));
    // And without it, none is.
    let result = control.insert(&read, &mut epochs, Rank(0), &exact(values[0]), 3);
    assert_eq!(result, Err(ExactError::RebuildDue));
}

#[test]
fn readers_that_pass_now_and_then_make_hardly_anybody_wait() {
    const FILTERS: u64 = 20_000;
    let (mut control, read) = ExactControl::new(SLICE, LookupKey::MAX, FILTERS as usize, SEED);
    let mut epochs = Epochs::new(1);
    let mut reader = epochs.reader().unwrap();
    let mut busy = 0;
    // At capacity, four times over, with an epoch for each 32 updates.
    for n in 0..5 * FILTERS {
        if n >= FILTERS {
            let old = exact((n - FILTERS).into());
            assert_eq!(control.remove(&read, &mut epochs, Rank(0), &old), Some((n - FILTERS) as u32));
        }
        while let Err(error) = control.insert(&read, &mut epochs, Rank(0), &exact(n.into()), n as u32) {
            assert_eq!(error, ExactError::Busy);
            busy += 1;
            reader.quiescent();
        }
        if n % 16 == 0 {
            reader.quiescent();
        }
    }
    std::println!("{busy} busy, {} moved of {}", control.moved(), 5 * FILTERS);
    assert!(busy < 5, "{busy} of {} insertions had to wait", 5 * FILTERS);
}

/// What happens beside readers.
#[derive(Clone, Debug)]
enum Event {
    Insert(usize),
    Replace(usize),
    Remove(usize),
    /// A reader passes an epoch.
    Pass(usize),
    /// The first reader looks up, and so many events come in between at each step.
    Look(usize, [usize; 3]),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0..CROWD).prop_map(Event::Insert),
        1 => (0..CROWD).prop_map(Event::Replace),
        3 => (0..CROWD).prop_map(Event::Remove),
        4 => (0..2usize).prop_map(Event::Pass),
        4 => ((0..CROWD), prop::array::uniform3(0..12usize)).prop_map(|(at, steps)| Event::Look(at, steps)),
    ]
}

/// Filters that share few buckets.
const CROWD: usize = 20;

/// A table with two readers, and what was in it lately.
struct Beside<'a> {
    control: ExactControl,
    read: &'a ExactRead,
    epochs: Epochs,
    readers: [Reader; 2],
    values: &'a [u128],
    model: [Option<u32>; CROWD],
    /// All that a lookup under way may answer, and its filter.
    looking: Option<(usize, Vec<Option<u32>>)>,
    number: u32,
}

impl Beside<'_> {
    fn apply(&mut self, event: &Event) {
        self.number += 1;
        let Self { control, read, epochs, number, .. } = self;
        let filter = |at: usize| exact(self.values[at]);
        match *event {
            Event::Insert(at) => match control.insert(read, epochs, Rank(0), &filter(at), *number) {
                Ok(old) => assert_eq!(old, self.model[at].replace(*number)),
                Err(ExactError::Busy | ExactError::RebuildDue) => assert_eq!(self.model[at], None),
                Err(error) => panic!("{error}"),
            },
            Event::Replace(at) => {
                let old = control.replace(read, Rank(0), &filter(at), *number);
                assert_eq!(old, self.model[at].as_mut().map(|word| std::mem::replace(word, *number)));
            }
            Event::Remove(at) => {
                assert_eq!(control.remove(read, epochs, Rank(0), &filter(at)), self.model[at].take());
            }
            Event::Pass(0) if self.looking.is_some() => {}
            Event::Pass(reader) => self.readers[reader].quiescent(),
            Event::Look(..) => {}
        }
        if let Some((at, answers)) = &mut self.looking {
            answers.push(self.model[*at]);
        }
    }

    fn check(&self) {
        for (value, expected) in self.values.iter().zip(self.model) {
            assert_eq!(self.read.lookup(key(*value)), expected);
        }
        assert_eq!(self.control.len(), self.model.iter().flatten().count());
        assert_eq!(self.control.iter(self.read).count(), self.control.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Whatever the writer does while a lookup is under way, it answers what was true at
    /// some time meanwhile; and between lookups, what is true.
    #[test]
    fn a_lookup_sees_some_moment_of_its_time(history in prop::collection::vec(event(), 1..400), seed: u128) {
        let (control, read) = ExactControl::new(SLICE, LookupKey::MAX, 51, seed);
        let crowded = |value: &u128| read.entry(&exact(*value)).unwrap().1.iter().all(|at| at % 16 < 2);
        let values: Vec<_> = (0..).filter(crowded).take(CROWD).collect();
        let epochs = Epochs::new(2);
        let readers = [(); 2].map(|()| epochs.reader().unwrap());
        let (model, looking) = ([None; CROWD], None);
        let mut beside =
            Beside { control, read: &read, epochs, readers, values: &values, model, looking, number: 0 };
        let mut events = history.iter();
        while let Some(event) = events.next() {
            let Event::Look(at, steps) = *event else {
                beside.apply(event);
                beside.check();
                continue;
            };
            beside.looking = Some((at, vec![beside.model[at]]));
            let probe = read.locate(key(values[at]));
            let mut steps = steps.into_iter();
            let answer = read.answer_in_steps(&probe, || {
                events.by_ref().take(steps.next().unwrap_or(0)).for_each(|event| beside.apply(event));
            });
            let (_, answers) = beside.looking.take().unwrap();
            prop_assert!(answers.contains(&answer), "{answer:?} of {answers:?}");
            beside.check();
        }
    }
}

/// Odd versions of a filter are in the table, even ones are not.
fn word(id: u32, version: u32) -> u32 {
    id << 24 | version
}

/// One writer, one reader. The writer says before and after each update which version of
/// a filter it is at; an answer must be of a version within these bounds.
fn stress(filters: u32, resident: u32, updates: u32, seed: u128) {
    let (mut control, read) = ExactControl::new(SLICE, LookupKey::MAX, 51, seed);
    let mut epochs = Epochs::new(1);
    let zeroes = || (0..filters).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let (begun, done) = (zeroes(), zeroes());
    let finished = AtomicU32::new(0);
    let value = |id: u32| u128::from(id) << 60 | u128::from(id);
    let mut reader = epochs.reader().unwrap();
    let (mut hits, mut passes, mut busy) = (0u64, 0, 0);
    /// The reader stops when the writer does, were it for a panic.
    struct Finish<'a>(&'a AtomicU32);
    impl Drop for Finish<'_> {
        fn drop(&mut self) {
            self.0.store(1, Release);
        }
    }
    std::thread::scope(|scope| {
        let (begun, done, finished, read) = (&begun, &done, &finished, &read);
        let thread = scope.spawn(move || {
            let mut rng = Rng::new(seed as u64);
            let mut seen = vec![0; filters as usize];
            while finished.load(Acquire) == 0 {
                for _ in 0..1 + rng.below(64) {
                    let id = rng.below(filters.into()) as u32;
                    let least = done[id as usize].load(Acquire).max(seen[id as usize]);
                    let found = read.lookup(key(value(id)));
                    let most = begun[id as usize].load(Acquire);
                    match found {
                        Some(found) => {
                            let version = found & 0xff_ffff;
                            assert_eq!(found >> 24, id, "another filter's value");
                            assert!(
                                version % 2 == 1 && (least..=most).contains(&version),
                                "filter {id}: version {version} between {least} and {most}"
                            );
                            seen[id as usize] = version;
                            hits += 1;
                        }
                        // There is an even version among those it may be of.
                        None => assert!(least < most || least % 2 == 0, "filter {id} not found at {least}"),
                    }
                }
                passes += 1;
                reader.quiescent();
            }
            (hits, passes)
        });
        let finish = Finish(finished);
        let mut rng = Rng::new(!seed as u64);
        let mut update = 0;
        while update < updates {
            let id = if update < resident { update } else { rng.below(filters.into()) as u32 };
            let (begun, done) = (&begun[id as usize], &done[id as usize]);
            let version = done.load(Acquire);
            let present = version % 2 == 1;
            if present && rng.one_in(2) {
                // A new version of what is there.
                begun.store(version + 2, Release);
                let old = control.replace(read, Rank(0), &exact(value(id)), word(id, version + 2));
                assert_eq!(old, Some(word(id, version)));
                done.store(version + 2, Release);
            } else if present && id >= resident {
                begun.store(version + 1, Release);
                let old = control.remove(read, &mut epochs, Rank(0), &exact(value(id)));
                assert_eq!(old, Some(word(id, version)));
                done.store(version + 1, Release);
            } else if !present && control.len() < control.capacity() {
                begun.store(version + 1, Release);
                match control.insert(read, &mut epochs, Rank(0), &exact(value(id)), word(id, version + 1)) {
                    Ok(old) => {
                        assert_eq!(old, None);
                        done.store(version + 1, Release);
                    }
                    Err(error) => {
                        assert_eq!(error, ExactError::Busy);
                        begun.store(version, Release);
                        busy += 1;
                        std::thread::yield_now();
                    }
                }
            }
            update += 1;
        }
        drop(finish);
        (hits, passes) = thread.join().unwrap();
    });
    std::println!("{hits} hits, {passes} passes, {busy} busy, {} moved", control.moved());
    assert!(hits > 0 && passes > 0);
    assert!(control.moved() > 0, "no filter moved");
}

#[test]
fn an_answer_is_that_before_or_after_an_update() {
    for seed in 0..4 {
        stress(64, 40, 400_000, SEED + seed);
    }
}
