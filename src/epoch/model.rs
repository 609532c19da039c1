//! Every interleaving of writers and readers, as the memory model allows them.
//!
//! Each ordering and fence of this folder was weakened by one step on its own, and each
//! time one of these models failed.

#![allow(unsafe_code)]

use loom::sync::Arc as Shared;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use std::boxed::Box;

use super::{Board, Epochs};

/// A value whose writing and drop a reader that still holds it would notice: the checker
/// objects to a read that is not ordered with a write.
struct Value(loom::cell::UnsafeCell<u32>, Shared<AtomicUsize>);

impl Value {
    fn new(value: u32, alive: &Shared<AtomicUsize>) -> Option<Self> {
        alive.fetch_add(1, Relaxed);
        let cell = loom::cell::UnsafeCell::new(0);
        // SAFETY: nobody else has it yet; the checker sees whether that is true.
        cell.with_mut(|at| unsafe { *at = value });
        Some(Self(cell, alive.clone()))
    }

    fn get(&self) -> u32 {
        // SAFETY: only `new` and `drop` write; the checker sees whether they are ordered.
        self.0.with(|value| unsafe { *value })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: `&mut self`; the checker sees whether that is true.
        self.0.with_mut(|value| unsafe { *value = u32::MAX });
        self.1.fetch_sub(1, Relaxed);
    }
}

// SAFETY: the checker watches the cell.
unsafe impl Sync for Value {}

/// All schedules with up to so many preemptions: all there are would take minutes.
fn preempted(times: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(times);
    builder.check(model);
}

fn alive() -> Shared<AtomicUsize> {
    Shared::new(AtomicUsize::new(0))
}

#[test]
fn no_value_is_dropped_while_a_view_sees_it() {
    loom::model(|| {
        let alive = alive();
        let board = Board::new(1, 1);
        let mut writer = board.writer(0);
        writer.show(Value::new(1, &alive), 0);
        let mut view = board.view().unwrap();
        let reader = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..2 {
                let seen = view.get(0).map_or(0, Value::get);
                assert!((1..3).contains(&seen) && seen >= last);
                last = seen;
                view.quiescent();
            }
        });
        writer.show(Value::new(2, &alive), 1);
        writer.reclaim();
        writer.reclaim();
        reader.join().unwrap();
        assert_eq!(writer.reclaim(), 0);
        drop((board, writer));
        assert_eq!(alive.load(Relaxed), 0);
    });
}

#[test]
fn a_view_that_goes_has_looked_before() {
    loom::model(|| {
        let alive = alive();
        let board = Board::new(1, 1);
        let mut writer = board.writer(0);
        writer.show(Value::new(1, &alive), 0);
        let view = board.view().unwrap();
        let reader = thread::spawn(move || {
            assert!((1..3).contains(&view.get(0).map_or(0, Value::get)));
        });
        writer.show(Value::new(2, &alive), 1);
        writer.reclaim();
        reader.join().unwrap();
        drop((board, writer));
        assert_eq!(alive.load(Relaxed), 0);
    });
}

#[test]
fn a_view_that_comes_late_sees_what_is_there() {
    preempted(3, || {
        let alive = alive();
        let board = Board::new(1, 2);
        let mut writer = board.writer(0);
        writer.show(Value::new(1, &alive), 0);
        let first = board.view().unwrap();
        let reader = thread::spawn(move || {
            // Sits down while the writer replaces and reclaims.
            let second = first.another().unwrap();
            drop(first);
            assert!((1..3).contains(&second.get(0).map_or(0, Value::get)));
        });
        writer.show(Value::new(2, &alive), 1);
        writer.reclaim();
        // The writer goes first, or the view does.
        drop((board, writer));
        reader.join().unwrap();
        assert_eq!(alive.load(Relaxed), 0);
    });
}

/// One seat after another: the first reader's looks are over when the second has passed.
#[test]
fn a_seat_is_taken_over_with_what_was_seen_from_it() {
    loom::model(|| {
        let alive = alive();
        let board = Board::new(1, 1);
        let mut writer = board.writer(0);
        writer.show(Value::new(1, &alive), 0);
        let first = board.view().unwrap();
        let reader = thread::spawn(move || {
            assert!((1..3).contains(&first.get(0).map_or(0, Value::get)));
        });
        let board = Shared::new(board);
        let late = {
            let board = board.clone();
            thread::spawn(move || {
                let Some(mut second) = board.view() else { return };
                second.quiescent();
            })
        };
        writer.show(Value::new(2, &alive), 1);
        writer.reclaim();
        reader.join().unwrap();
        late.join().unwrap();
        drop((board, writer));
        assert_eq!(alive.load(Relaxed), 0);
    });
}

#[test]
fn who_rests_delays_nothing_and_sees_what_is_there_when_it_reads_on() {
    loom::model(|| {
        let alive = alive();
        let epochs = Epochs::new(1);
        let value = Shared::new(loom::sync::atomic::AtomicPtr::new(Box::into_raw(Box::new(
            Value::new(1, &alive).unwrap(),
        ))));
        let reader = {
            let (value, reader) = (value.clone(), epochs.reader().unwrap());
            thread::spawn(move || {
                // SAFETY: freed when the readers have passed an epoch; the checker watches.
                let look = || unsafe { &*value.load(loom::sync::atomic::Ordering::Acquire) }.get();
                let first = look();
                let resting = reader.rest();
                let _reader = resting.resume();
                assert!((1..3).contains(&first) && look() >= first);
            })
        };
        let new = Box::into_raw(Box::new(Value::new(2, &alive).unwrap()));
        let old = value.swap(new, loom::sync::atomic::Ordering::Release);
        let epoch = epochs.advance();
        let passed = epochs.passed(epoch);
        if passed {
            // SAFETY: taken out of sight, and passed.
            drop(unsafe { Box::from_raw(old) });
        }
        reader.join().unwrap();
        if !passed {
            // SAFETY: the reader is gone.
            drop(unsafe { Box::from_raw(old) });
        }
        // SAFETY: the reader is gone.
        drop(unsafe { Box::from_raw(new) });
        assert_eq!(alive.load(Relaxed), 0);
    });
}

/// Two writers, each of a cell of its own, share time: an epoch of the one is passed with a
/// later one of the other's.
#[test]
fn writers_of_different_cells_free_only_what_is_their_own_to_free() {
    preempted(2, || {
        let alive = alive();
        let board = Board::new(2, 1);
        let mut writers = [0, 1].map(|at| {
            let mut writer = board.writer(at);
            writer.show(Value::new(1, &alive), 0);
            writer
        });
        let mut view = board.view().unwrap();
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                for at in 0..2 {
                    assert!((1..3).contains(&view.get(at).map_or(0, Value::get)));
                }
                view.quiescent();
            }
        });
        let [one, other] = &mut writers;
        let other = {
            let (mut other, alive) = (core::mem::replace(other, board.writer(1)), alive.clone());
            thread::spawn(move || {
                other.show(Value::new(2, &alive), 1);
                other.reclaim();
            })
        };
        one.show(Value::new(2, &alive), 1);
        one.reclaim();
        other.join().unwrap();
        reader.join().unwrap();
        assert_eq!(one.reclaim(), 0);
        drop((board, writers));
        assert_eq!(alive.load(Relaxed), 0);
    });
}

/// The board empties a cell while its writer fills it.
#[test]
fn a_cell_is_emptied_behind_its_writer() {
    loom::model(|| {
        let alive = alive();
        let mut board = Board::new(1, 1);
        let mut writer = board.writer(0);
        let writes = {
            let alive = alive.clone();
            thread::spawn(move || {
                writer.show(Value::new(1, &alive), 0);
                assert_eq!(writer.get().map(Value::get), Some(1));
                writer.show(None, 1);
            })
        };
        let mut weighed = 0;
        board.empty(0, |value| {
            weighed = value.get();
            1
        });
        assert!(weighed <= 1);
        board.reclaim();
        writes.join().unwrap();
        drop(board);
        assert_eq!(alive.load(Relaxed), 0);
    });
}

#[test]
fn what_is_lent_comes_back_whole() {
    loom::model(|| {
        let alive = alive();
        let (mut lent, home) = super::lend();
        let borrower = {
            let alive = alive.clone();
            thread::spawn(move || home.give(Box::new(Value::new(1, &alive).unwrap())))
        };
        assert!(lent.peek().is_none_or(|value| value.get() == 1));
        assert!(lent.take().is_none_or(|value| value.get() == 1));
        borrower.join().unwrap();
        drop(lent);
        assert_eq!(alive.load(Relaxed), 0);
    });
}
