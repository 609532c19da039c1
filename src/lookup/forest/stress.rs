//! The forest under readers: one that stalls, and one that checks what it sees.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use alloc::vec::Vec;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::tests::{Model, Pool, SLICE, agree, check_books};
use super::waves::BATCH;
use super::{Forest, Inserted, Rule, lookup_each};
use crate::epoch::{Board, Epochs};
use crate::key::LookupKey;
use crate::lookup::{Filter, Rank};

/// A reader that never passes an epoch: inserts are put off, removes and replaces are not.
#[test]
fn a_stalled_reader_puts_off_inserts_only() {
    let mut pool = Pool::new(9, 20, 100, true);
    let all: Vec<_> = (0..600)
        .map(|value| {
            let (r, f) = pool.filter();
            (r, f, value)
        })
        .collect();
    let mut forest = Forest::build(SLICE, 10_000, 4000, all.iter().copied()).unwrap();
    let mut epochs = Epochs::new(1);
    let stalled = epochs.reader().unwrap();
    let mut model = Model::new();
    let mut all: Vec<_> = forest.iter().collect();
    all.iter().for_each(|(rank, filter, value)| {
        model.insert(*rank, filter, *value);
    });
    let mut deferred = 0;
    for round in 0..6000 {
        let at = pool.rng.below(all.len() as u64) as usize;
        let (rank, filter, value) = all[at];
        let rule = Rule::new(rank, &filter, round);
        if round % 5 == 0 && deferred > 10 {
            assert_eq!(forest.control.replace(&forest.read, &rule), Some(value));
            model.insert(rank, &filter, round);
            all[at].2 = round;
            continue;
        }
        assert_eq!(forest.control.remove(&forest.read, &mut epochs, &rule), Some(value));
        model.remove(rank, &filter);
        match forest.control.insert(&forest.read, &mut epochs, &rule, 4000) {
            Inserted::Done(old) => {
                assert_eq!(old, None);
                model.insert(rank, &filter, round);
                all[at].2 = round;
            }
            Inserted::Deferred => {
                all.swap_remove(at);
                deferred += 1;
            }
            Inserted::RebuildDue => {
                all.swap_remove(at);
            }
        }
        if all.len() < 200 {
            break;
        }
    }
    assert!(deferred > 20, "{deferred}");
    let keys: Vec<_> = (0..400).map(|_| pool.key()).collect();
    agree(&forest, &model, &keys);
    check_books(&forest);
    // The reader goes, and memory comes back.
    drop(stalled);
    for value in 0..100 {
        let (rank, filter) = pool.filter();
        if let Inserted::Done(old) =
            forest.control.insert(&forest.read, &mut epochs, &Rule::new(rank, &filter, value), 4000)
        {
            assert_eq!(old, model.insert(rank, &filter, value));
        }
    }
    agree(&forest, &model, &keys);
}

/// One writer, one reader: each answer is right before or after some update that was
/// under way. Filter `i` of a chain is better than those before it, and they come and go
/// in order, so that a reader who misses one and sees a later one is caught.
#[test]
fn a_reader_sees_each_update_whole_and_in_order() {
    let mut pool = Pool::new(11, 24, 50_000, false);
    let mut seen = Vec::new();
    let base: Vec<_> = (0..400)
        .map(|value| {
            let (r, f) = pool.filter();
            (Rank(r.0 | 1 << 20), f, value)
        })
        .collect();
    let (read, mut control) = {
        let forest = Forest::build(SLICE, 10_000, 4000, base).unwrap();
        (forest.read, forest.control)
    };
    let board = Board::new(1, 2);
    let mut cell = board.writer(0);
    cell.show(Some(read), 0);
    let (mut view, mut own) = (board.view().unwrap(), board.view().unwrap());
    // The key that the reader asks for is in all of the writer's filters.
    let key = pool.key();
    let begun = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (begun, done, stop) = (&begun, &done, &stop);
        let reader = scope.spawn(move || {
            use std::sync::atomic::Ordering::SeqCst;
            let mut lookups = 0u64;
            let mut other = Pool::new(12, 24, 50_000, false);
            while !stop.load(SeqCst) {
                let after = done.load(SeqCst);
                let single = view.get(0).unwrap().lookup(key.bits());
                let before = begun.load(SeqCst);
                // The state is the number of the last filter of the chain that is in.
                let state = u64::from(single.map_or(0, |value| value.saturating_sub(1000)));
                assert!((after..=before).contains(&state), "{after} {state} {before}");
                let mut found = [None; BATCH];
                let keys: Vec<_> = (0..BATCH).map(|at| if at % 4 == 0 { key } else { other.key() }).collect();
                let after = done.load(SeqCst);
                let forest = view.get(0).unwrap();
                lookup_each::<u32>(&[Some(forest); BATCH], &keys, &mut found);
                let before = begun.load(SeqCst);
                for found in found.iter().step_by(4) {
                    let state = u64::from(found.map_or(0, |value| value.saturating_sub(1000)));
                    assert!((after..=before).contains(&state), "batch: {after} {state} {before}");
                }
                view.quiescent();
                lookups += 1;
            }
            lookups
        });
        use std::sync::atomic::Ordering::SeqCst;
        let _stops = StopsAtEnd(stop);
        let mut state = 0;
        for round in 0..30 {
            // Each better than the last: who sees one and not the next is behind.
            for _ in 0..100 {
                let mask = pool.some(if round % 3 == 0 { 1 } else { 3 });
                let filter = Filter::new(SLICE, key.key(), LookupKey::new(mask));
                let rule =
                    Rule::new(Rank(100_000 - state as u32 - 1), &filter.into(), 1000 + state as u32 + 1);
                begun.store(state + 1, SeqCst);
                let outcome = control.insert(own.get(0).unwrap(), cell.get_with_epochs().1, &rule, 4000);
                own.quiescent();
                match outcome {
                    Inserted::Done(None) => seen.push(rule),
                    Inserted::Deferred => {
                        begun.store(state, SeqCst);
                        std::thread::yield_now();
                        continue;
                    }
                    Inserted::RebuildDue => {
                        let (read, new) = control.rebuilt(cell.get().unwrap(), Some(&rule), 4000).unwrap();
                        control = new;
                        cell.show(Some(read), 0);
                        cell.reclaim();
                        seen.push(rule);
                    }
                    other => panic!("{other:?}"),
                }
                state += 1;
                done.store(state, SeqCst);
            }
            // What is behind the best may go at any time.
            while seen.len() > 20 {
                let at = pool.rng.below(seen.len() as u64 - 1) as usize;
                let rule = seen.remove(at);
                let removed = control.remove(own.get(0).unwrap(), cell.get_with_epochs().1, &rule);
                own.quiescent();
                assert_eq!(removed, Some(rule.word()));
            }
        }
        stop.store(true, SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
}

/// Lets the reader go when the writer panics.
struct StopsAtEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
