//! Writers of single slices, in threads of their own.

use crate::conformance::Rng;
use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::tcam::{Tcam, TcamConfig, TcamError, TcamWriter};
use crate::lookup::{Filter, LinearTcam, RangedFilter, Rank, TernaryTable, TernaryUpdate};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::vec;
use std::vec::Vec;

fn tcam(filters: usize, slices: usize) -> Tcam<u32> {
    Tcam::new(TcamConfig { filters, slices, ..TcamConfig::default() })
}

/// Some filter of a slice: exact ones, prefixes and others, few enough to collide.
fn filter(slice: SliceId, number: u32) -> (Rank, RangedFilter) {
    let bits = |bits: u32| LookupKey::new(u128::from(bits));
    let (rank, value, mask) = match number % 4 {
        0 => (Rank(9), bits(number), LookupKey::MAX),
        1 => (Rank::longest_prefix(32, 24), bits(number << 8), bits(0xffff_ff00)),
        2 => (Rank::longest_prefix(32, 20), bits(number << 12), bits(0xffff_f000)),
        _ => (Rank(number % 5), bits(number), bits(number >> 2 | 1)),
    };
    (rank, Filter::new(slice, value, mask).into())
}

fn key(slice: SliceId, bits: u64) -> TableKey {
    TableKey::new(slice, LookupKey::new(bits.into()))
}

#[test]
fn a_slice_that_is_given_out_comes_back_with_its_filters() {
    let mut tcam = tcam(100, 4);
    let reader = tcam.reader().unwrap();
    let (slice, (rank, one)) = (SliceId(2), filter(SliceId(2), 4));
    tcam.insert_ranged(rank, one, 1).unwrap();
    let mut writer = tcam.writer(slice).unwrap();
    assert_eq!((tcam.is_given_out(slice), tcam.len(slice)), (true, 1));
    assert_eq!(tcam.writer(slice).unwrap_err(), TcamError::GivenOut(slice));
    assert_eq!(tcam.insert_ranged(rank, one, 2), Err(TcamError::GivenOut(slice)));
    assert_eq!(tcam.load(slice, []), Err(TcamError::GivenOut(slice)));
    assert_eq!(tcam.reserve(slice, 1), Err(TcamError::GivenOut(slice)));
    assert_eq!((tcam.lookup(key(slice, 4)), tcam.iter(slice).count()), (None, 0), "readers see it");
    assert_eq!((reader.lookup(key(slice, 4)), writer.lookup(key(slice, 4))), (Some(1), Some(1)));
    let foreign = filter(SliceId(1), 4);
    let other = TcamError::OtherSlice { slice, other: SliceId(1) };
    assert_eq!(writer.insert_ranged(foreign.0, foreign.1, 1), Err(other));
    assert_eq!(writer.load([(foreign.0, foreign.1, 1)]), Err(other));
    assert_eq!(
        (writer.remove_ranged(foreign.0, &foreign.1), writer.find(foreign.0, &foreign.1)),
        (None, None)
    );
    assert_eq!(writer.lookup(key(SliceId(1), 4)), None);
    assert_eq!(writer.insert_ranged(rank, one, 3), Ok(Some(1)));
    let generation = writer.generation();
    std::thread::spawn(move || drop(writer)).join().unwrap();
    assert_eq!((tcam.is_given_out(slice), tcam.lookup(key(slice, 4))), (false, Some(3)), "it is back");
    assert_eq!((tcam.generation(slice), reader.generation(slice)), (generation, generation));
    assert_eq!((tcam.remove_ranged(rank, &one), reader.lookup(key(slice, 4))), (Some(3), None));
    assert_eq!(
        tcam.writer(SliceId(4)).unwrap_err(),
        TcamError::UnknownSlice { slice: SliceId(4), slices: 4 }
    );
    // The table goes first.
    let mut writer = tcam.writer(slice).unwrap();
    drop(tcam);
    assert_eq!(writer.insert_ranged(rank, one, 7), Ok(None));
    assert_eq!(reader.lookup(key(slice, 4)), Some(7));
}

#[test]
fn a_slice_that_is_taken_back_is_empty_at_once() {
    let mut tcam = tcam(10, 3);
    let mut reader = tcam.reader().unwrap();
    let slice = SliceId(1);
    tcam.reserve(slice, 6).unwrap();
    tcam.set_bound(slice, 1000).unwrap();
    let mut writer = tcam.writer(slice).unwrap();
    for number in 0..4 {
        let (rank, filter) = filter(slice, number);
        writer.insert_ranged(rank, filter, number).unwrap();
    }
    let left = TcamError::Reserve { asked: 10, left: 4 };
    assert_eq!(tcam.reserve(SliceId(2), 10), Err(left));
    tcam.revoke(slice);
    assert_eq!((reader.lookup(key(slice, 0)), tcam.len(slice), writer.is_revoked()), (None, 0, true));
    assert_eq!(tcam.reserve(SliceId(2), 10), Ok(()), "what it was promised is free");
    let (rank, one) = filter(slice, 1);
    assert_eq!(writer.insert_ranged(rank, one, 9), Err(TcamError::Revoked(slice)));
    assert_eq!(writer.load([]), Err(TcamError::Revoked(slice)));
    assert_eq!(writer.reserve(2), Err(TcamError::Revoked(slice)));
    writer.remove_ranged(rank, &one);
    writer.clear();
    assert_eq!((reader.lookup(key(slice, 0)), tcam.is_given_out(slice)), (None, true));
    drop(writer);
    tcam.reserve(SliceId(2), 0).unwrap();
    let mut writer = tcam.writer(slice).unwrap();
    assert!(writer.is_empty() && writer.iter().next().is_none() && !writer.is_revoked());
    writer.insert_ranged(rank, one, 5).unwrap();
    assert_eq!(reader.lookup(key(slice, 1 << 8)), Some(5));
    drop(writer);
    // Of a slice that is here, too.
    tcam.revoke(slice);
    assert_eq!(
        (reader.lookup(key(slice, 1 << 8)), tcam.lookup(key(slice, 1 << 8)), tcam.len(slice)),
        (None, None, 0)
    );
    assert_eq!(tcam.reserve(SliceId(2), 10), Ok(()));
    reader.quiescent();
    assert_eq!(tcam.reclaim(), 0);
}

/// One writer's update, in the midst of it, waits for another writer's.
#[test]
fn no_update_waits_for_another_slices() {
    let mut tcam = tcam(1000, 2);
    let reader = tcam.reader().unwrap();
    let mut writers = [0, 1].map(|slice| tcam.writer(SliceId(slice)).unwrap());
    let [slow, quick] = &mut writers;
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let filters = (0..300).map(|number| {
                begun.store(true, SeqCst);
                while !done.load(SeqCst) {
                    std::thread::yield_now();
                }
                let (rank, filter) = filter(SliceId(0), number * 4);
                (rank, filter, number)
            });
            slow.load(filters).unwrap();
        });
        while !begun.load(SeqCst) {
            std::thread::yield_now();
        }
        for number in 0..200 {
            let (rank, filter) = filter(SliceId(1), number);
            quick.insert_ranged(rank, filter, number).unwrap();
        }
        quick
            .load((0..100).map(|number| (filter(SliceId(1), number).0, filter(SliceId(1), number).1, 7)))
            .unwrap();
        assert_eq!(reader.lookup(key(SliceId(1), 4)), Some(7));
        done.store(true, SeqCst);
    });
    assert_eq!(reader.lookup(key(SliceId(0), 16)), Some(4));
}

/// Writers in threads, each held to a scan; a reader that checks that what it sees is of the
/// right slice.
#[test]
fn each_writer_is_a_scan_of_its_own() {
    const SLICES: u16 = 4;
    let mut tcam = tcam(4000, SLICES.into());
    let writers: Vec<_> = (0..SLICES).map(|slice| tcam.writer(SliceId(slice)).unwrap()).collect();
    let (mut reader, busy) = (tcam.reader().unwrap(), AtomicUsize::new(SLICES.into()));
    std::thread::scope(|scope| {
        for mut writer in writers {
            let busy = &busy;
            scope.spawn(move || {
                /// Whatever happens to a writer, the reader ends.
                struct End<'a>(&'a AtomicUsize);
                impl Drop for End<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, SeqCst);
                    }
                }
                let (_end, slice) = (End(busy), writer.slice());
                let mut rng = Rng::new(u64::from(slice.0) + 1);
                let mut scan = LinearTcam::new(vec![None; 400].into_boxed_slice());
                let tag = |value: u32| value << 8 | u32::from(slice.0);
                for step in 0..2500u32 {
                    let (rank, of) = filter(slice, rng.below(300) as u32);
                    if rng.below(3) == 0 {
                        let removed = writer.remove_ranged(rank, &of);
                        assert_eq!(removed, scan.remove(rank, of.filter()).unwrap());
                    } else if step % 500 == 99 {
                        let all: Vec<_> = writer.iter().map(|it| (it.place, it.filter, it.value)).collect();
                        let mut all = all;
                        all.sort_by_key(|row| row.0);
                        let all = all.into_iter().map(|(place, filter, value)| (place.rank(), filter, value));
                        while writer.load(all.clone()).is_err() {
                            std::thread::yield_now();
                        }
                    } else {
                        let inserted = loop {
                            match writer.insert_ranged(rank, of, tag(step)) {
                                Ok(old) => break old,
                                Err(TcamError::Deferred(_)) => std::thread::yield_now(),
                                Err(error) => panic!("{error}"),
                            }
                        };
                        assert_eq!(inserted, scan.insert(rank, *of.filter(), tag(step)).unwrap());
                    }
                    let key = key(slice, rng.below(1 << 17));
                    assert_eq!(writer.lookup(key), scan.lookup(key));
                }
                for bits in 0..2000 {
                    assert_eq!(writer.lookup(key(slice, bits * 64)), scan.lookup(key(slice, bits * 64)));
                }
            });
        }
        let mut rng = Rng::new(77);
        while busy.load(SeqCst) > 0 {
            let keys: Vec<_> =
                (0..64).map(|_| key(SliceId(rng.below(SLICES.into()) as u16), rng.below(1 << 17))).collect();
            let mut found = [None; 64];
            reader.lookup_batch(&keys, &mut found);
            for (key, found) in keys.iter().zip(found) {
                assert!(found.is_none_or(|value| value & 0xff == u32::from(key.slice().0)));
            }
            reader.quiescent();
        }
    });
    assert!((0..SLICES).all(|slice| !tcam.is_given_out(SliceId(slice))), "all are back");
    for slice in (0..SLICES).map(SliceId) {
        assert_eq!(tcam.len(slice), tcam.iter(slice).count());
        (0..2000)
            .for_each(|n| assert_eq!(tcam.lookup(key(slice, n * 64)), reader.lookup(key(slice, n * 64))));
    }
    assert_eq!(tcam.reclaim(), 0);
}

/// Slices take of what no slice was promised until it is used up, and never of a promise.
#[test]
fn room_is_counted_exactly_whoever_takes_it() {
    let mut tcam = tcam(1000, 4);
    for (slice, promise) in [(0, 200), (1, 100)] {
        tcam.reserve(SliceId(slice), promise).unwrap();
    }
    for _ in 0..5 {
        let writers: Vec<_> = (0..4).map(|slice| tcam.writer(SliceId(slice)).unwrap()).collect();
        std::thread::scope(|scope| {
            for mut writer in writers {
                scope.spawn(move || {
                    let slice = writer.slice();
                    let of = |n: u32| {
                        RangedFilter::from(Filter::new(slice, LookupKey::new(n.into()), LookupKey::MAX))
                    };
                    // All but the first slice take what they can; that keeps to its promise.
                    let most = if slice.0 == 0 { 200 } else { 2000 };
                    for n in 0..most {
                        match writer.insert_ranged(Rank(1), of(n), n) {
                            Ok(None) => {}
                            Err(TcamError::Full(_)) => {
                                assert!(slice.0 > 1 || n >= 100, "a promise is kept");
                                assert!(slice.0 > 0);
                                break;
                            }
                            other => panic!("{other:?}"),
                        }
                        if n % 7 == 3 {
                            assert_eq!(writer.remove_ranged(Rank(1), &of(n)), Some(n));
                            // Below its promise nobody can take it away; above, somebody may.
                            match writer.insert_ranged(Rank(1), of(n), n) {
                                Ok(None) => {}
                                Err(TcamError::Full(_)) if slice.0 > 0 => break,
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                });
            }
        });
        let used: usize = (0..4).map(|slice| tcam.len(SliceId(slice))).sum();
        assert_eq!((used, tcam.len(SliceId(0))), (1000, 200), "all room is used, and no more");
        (0..4).for_each(|slice| tcam.clear(SliceId(slice)));
    }
    assert_eq!(tcam.reserve(SliceId(3), 700), Ok(()), "all of it came back");
    assert_eq!(tcam.reserve(SliceId(2), 1), Err(TcamError::Reserve { asked: 1, left: 0 }));
}

/// A slice is taken back while its writer builds: nothing of it is left.
#[test]
fn a_slice_is_taken_back_in_the_midst_of_an_update() {
    let mut tcam = tcam(500, 2);
    let mut reader = tcam.reader().unwrap();
    let slice = SliceId(1);
    for round in 0..60u64 {
        let mut writer = tcam.writer(slice).unwrap();
        let started = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng::new(round);
                loop {
                    started.store(true, SeqCst);
                    let done = match rng.below(3) {
                        0 => writer.load((0..100).map(|n| (filter(slice, n).0, filter(slice, n).1, n))),
                        1 => writer.load((0..3).map(|n| (filter(slice, n).0, filter(slice, n).1, n))),
                        _ => {
                            let (rank, of) = filter(slice, rng.below(100) as u32);
                            writer.insert_ranged(rank, of, 1).map(|_| ())
                        }
                    };
                    match done {
                        Ok(()) | Err(TcamError::Deferred(_)) => {}
                        Err(error) => return assert_eq!(error, TcamError::Revoked(slice)),
                    }
                }
            });
            while !started.load(SeqCst) {
                std::thread::yield_now();
            }
            (0..round % 50).for_each(|_| std::thread::yield_now());
            tcam.revoke(slice);
        });
        assert!((0..100).all(|bits| reader.lookup(key(slice, bits)).is_none()), "round {round}");
        reader.quiescent();
        assert_eq!(tcam.reserve(SliceId(0), 500), Ok(()), "and all room is free");
        tcam.reserve(SliceId(0), 0).unwrap();
        drop(writer);
    }
    assert_eq!(tcam.reclaim(), 0);
}

#[test]
fn a_slice_within_its_part_of_what_waits_is_refused_nothing() {
    let config = TcamConfig { deferred: 4 << 20, slices: 4, lines: 500, ..TcamConfig::default() };
    let mut tcam = Tcam::<u32>::new(config);
    let mut writers = [1, 2].map(|slice| tcam.writer(SliceId(slice)).unwrap());
    let rows = |slice: SliceId, count: u32| {
        (0..count).map(move |n| (filter(slice, n * 4 + 3).0, filter(slice, n * 4 + 3).1, n))
    };
    let load = |writer: &mut TcamWriter<u32>, count| writer.load(rows(writer.slice(), count));
    let [greedy, other] = &mut writers;
    load(greedy, 300).unwrap();
    load(other, 300).unwrap();
    let stalled = tcam.reader().unwrap();
    let refused = (0..10_000).find_map(|_| load(greedy, 300).err()).unwrap();
    assert!(matches!(refused, TcamError::Deferred(waits) if waits > 4 << 20), "{refused}");
    assert!(load(other, 300).is_ok());
    let even = (0..10_000).find_map(|_| load(other, 300).err()).unwrap();
    assert!(matches!(even, TcamError::Deferred(waits) if waits > 1 << 20), "{even}");
    drop(stalled);
    assert_eq!((load(greedy, 300), load(other, 300)), (Ok(()), Ok(())));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    Load(u32, u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u32..60).prop_map(Op::Insert),
        2 => (0u32..60).prop_map(Op::Remove),
        1 => (0u32..40, 0u32..40).prop_map(|(from, count)| Op::Load(from, count)),
    ]
}

fn apply(writer: &mut TcamWriter<u32>, op: Op) -> Result<Option<u32>, TcamError> {
    let of = |n| filter(writer.slice(), n);
    match op {
        Op::Insert(n) => writer.insert_ranged(of(n).0, of(n).1, n),
        Op::Remove(n) => Ok(writer.remove_ranged(of(n).0, &of(n).1)),
        Op::Load(from, count) => {
            let rows: Vec<_> = (from..from + count).map(|n| (of(n).0, of(n).1, n)).collect();
            writer.load(rows).map(|()| None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What a slice gets is what it gets alone, as long as it keeps to what it was promised.
    #[test]
    fn what_a_slice_gets_depends_on_no_other(
        own in prop::collection::vec(op(), 1..80), others in prop::collection::vec((1u16..3, op()), 0..200),
    ) {
        const PROMISE: usize = 30;
        let within = |writer: &TcamWriter<u32>, op: Op| match op {
            Op::Insert(_) => writer.len() < PROMISE,
            Op::Remove(_) => true,
            Op::Load(_, count) => count as usize <= PROMISE,
        };
        let run = |others: &[(u16, Op)]| {
            let mut tcam = tcam(60, 3);
            tcam.reserve(SliceId(0), PROMISE).unwrap();
            let mut writers = [0, 1, 2].map(|slice| tcam.writer(SliceId(slice)).unwrap());
            let (mut outcomes, mut others) = (Vec::new(), others.iter());
            for &op in &own {
                for &(slice, op) in others.by_ref().take(3) {
                    let _ = apply(&mut writers[usize::from(slice)], op);
                }
                if within(&writers[0], op) {
                    outcomes.push((apply(&mut writers[0], op), writers[0].len(), writers[0].plan()));
                }
                let used: usize = writers.iter().map(|writer| writer.len()).sum();
                assert!(used <= 60 && writers[1].len() + writers[2].len() <= 60 - PROMISE);
            }
            outcomes
        };
        prop_assert_eq!(run(&others), run(&[]));
    }
}
