//! Every interleaving of a writer and a reader, as the memory model allows them. Buckets
//! have one slot here.

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::thread;
use std::vec::Vec;

const SLICE: SliceId = SliceId(9);
const SEED: u128 = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;

fn exact(value: u128) -> Filter {
    Filter::new(SLICE, LookupKey::new(value), LookupKey::MAX)
}

fn key(value: u128) -> LookupKey {
    LookupKey::new(value)
}

/// A table of so many filters, which nobody reads yet, and seats for one reader.
fn table(capacity: usize) -> (ExactControl, Arc<ExactRead>, Epochs) {
    let (control, read) = ExactControl::new(SLICE, LookupKey::MAX, capacity, SEED);
    (control, Arc::new(read), Epochs::new(1))
}

/// Values whose filters may stand in these buckets.
fn values(read: &ExactRead, buckets: [usize; 2]) -> impl Iterator<Item = u128> {
    (1..).filter(move |value| read.entry(&exact(*value)).unwrap().1 == buckets)
}

/// How often readers saw something, in all interleavings.
type Seen = std::sync::Arc<std::sync::atomic::AtomicUsize>;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Inserts a filter with the value 30 as soon as there is room.
fn insert(control: &mut ExactControl, read: &ExactRead, epochs: &mut Epochs, value: u128) {
    while let Err(error) = control.insert(read, epochs, Rank(0), &exact(value), 30) {
        assert_eq!(error, ExactError::Busy);
        thread::yield_now();
    }
}

/// A slot that is used again has no value of the old filter for the new key, nor of the
/// new filter for the old key.
#[test]
fn a_slot_is_used_again_when_nobody_can_mistake_it() {
    let seen_again = Seen::default();
    let seen_by_model = seen_again.clone();
    explore(move || {
        let seen_again = seen_by_model.clone();
        let (mut control, read, mut epochs) = table(2);
        for (value, word) in [(1, 10), (2, 20)] {
            control.insert(&read, &mut epochs, Rank(0), &exact(value), word).unwrap();
        }
        let mut reader = epochs.reader().unwrap();
        let beside = Arc::clone(&read);
        let reads = thread::spawn(move || {
            let mut new = None;
            for _ in 0..2 {
                let old = beside.lookup(key(1));
                assert!([None, Some(10)].contains(&old) && (new.is_none() || old.is_none()), "{old:?}");
                let seen = beside.lookup(key(3));
                assert!([None, Some(30)].contains(&seen) && (new.is_none() || seen == new), "{seen:?}");
                new = seen;
                seen_again.fetch_add(usize::from(new.is_some()), SeqCst);
                reader.quiescent();
                thread::yield_now();
            }
        });
        assert_eq!(control.remove(&read, &mut epochs, Rank(0), &exact(1)), Some(10));
        insert(&mut control, &read, &mut epochs, 3);
        reads.join().unwrap();
        assert_eq!(read.lookup(key(3)), Some(30));
        assert_eq!((read.lookup(key(1)), read.lookup(key(2))), (None, Some(20)));
    });
    assert!(seen_again.load(SeqCst) > 0, "no reader saw the slot used again");
}

/// What a value names was written before the value is seen, of a filter that is new and of
/// one whose value is replaced.
#[test]
fn a_value_comes_after_what_it_names() {
    explore(|| {
        let (mut control, read, mut epochs) = table(2);
        let named: Arc<[AtomicU32; 3]> = Arc::new(core::array::from_fn(|_| AtomicU32::new(0)));
        let mut reader = epochs.reader().unwrap();
        let (beside, names) = (Arc::clone(&read), Arc::clone(&named));
        let reads = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..2 {
                let word = beside.lookup(key(1)).unwrap_or(0);
                assert!((last..=2).contains(&word));
                assert_eq!(names[word as usize].load(Relaxed), 7 * word, "what {word} names");
                last = word;
                reader.quiescent();
            }
        });
        for word in 1..3 {
            named[word as usize].store(7 * word, Relaxed);
            let old = control.insert(&read, &mut epochs, Rank(0), &exact(1), word).unwrap();
            assert_eq!(old, (word > 1).then_some(1));
        }
        reads.join().unwrap();
    });
}

/// A filter that makes room for another is found all the time.
#[test]
fn a_filter_that_moves_is_always_found() {
    let seen = Seen::default();
    let seen_by_model = seen.clone();
    explore(move || {
        let seen_in = seen_by_model.clone();
        let (mut control, read, mut epochs) = table(4);
        let values: Vec<u128> = values(&read, [0, 3]).take(2).chain(values(&read, [0, 2]).take(1)).collect();
        let [second, third, moves] = values[..] else { unreachable!() };
        for (value, word) in [(moves, 10), (second, 20)] {
            control.insert(&read, &mut epochs, Rank(0), &exact(value), word).unwrap();
        }
        let mut reader = epochs.reader().unwrap();
        let beside = Arc::clone(&read);
        let reads = thread::spawn(move || {
            for _ in 0..3 {
                assert_eq!(beside.lookup(key(moves)), Some(10));
                let found = beside.lookup(key(third));
                assert!([None, Some(30)].contains(&found), "{found:?}");
                seen_in.fetch_add(usize::from(found.is_some()), SeqCst);
                reader.quiescent();
                thread::yield_now();
            }
        });
        insert(&mut control, &read, &mut epochs, third);
        assert_eq!(control.moved(), 1);
        reads.join().unwrap();
        assert_eq!(read.lookup(key(third)), Some(30));
        assert_eq!((read.lookup(key(moves)), read.lookup(key(second))), (Some(10), Some(20)));
    });
    assert!(seen.load(SeqCst) > 0, "no reader saw what came into the old place");
}
