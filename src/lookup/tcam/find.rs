//! Lookups of many keys of any slices.

use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;
use crate::lookup::exact::ExactProbe;
use crate::lookup::forest::lookup_each;
use crate::lookup::tcam::engine::{Engine, Upper};

/// Keys in flight.
const BATCH: usize = 32;

/// What is stored with the best match of each key; stops at the shorter of the two.
#[inline(always)]
pub(super) fn lookup_batch<'a, V: Word>(
    engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey], found: &mut [Option<V>],
) {
    let keys = keys.get(..found.len()).unwrap_or(keys);
    for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        let Some(found) = found.get_mut(..keys.len()) else { return };
        let slice = keys.first().map_or(SliceId::SUBSTRATE, |key| key.slice());
        if keys.iter().all(|key| key.slice() == slice) {
            match engine(slice) {
                Some(engine) => of_one(slice, engine, keys, found),
                None => found.fill(None),
            }
        } else {
            of_many(engine, keys, found);
        }
    }
}

/// Up to [`BATCH`] keys of one slice.
#[inline(always)]
fn of_one<V: Word>(slice: SliceId, engine: &Engine, keys: &[TableKey], found: &mut [Option<V>]) {
    match engine.upper.as_deref() {
        None => {}
        Some(Upper::Forest(forest)) => forest.lookup_batch(slice, keys, found),
        Some(Upper::Exact(exact)) => {
            exact.batch(keys, found, |key| key.key(), |_, word| word.map(V::of));
        }
    }
    let Some(routes) = engine.routes.as_deref() else {
        if engine.upper.is_none() {
            found.fill(None);
        }
        return;
    };
    let mut words = [None; BATCH];
    routes.lookup_batch(keys, &mut words);
    let above = engine.upper.is_some();
    for (found, word) in found.iter_mut().zip(words) {
        if !above || found.is_none() {
            *found = word.map(V::of);
        }
    }
}

/// Up to [`BATCH`] keys of several slices: all in flight at once, whatever their engines.
#[inline(always)]
fn of_many<'a, V: Word>(
    engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey], found: &mut [Option<V>],
) {
    let mut exact = [const { None::<(&crate::lookup::exact::ExactRead, ExactProbe)> }; BATCH];
    for (key, exact) in keys.iter().zip(&mut exact) {
        let Some(engine) = engine(key.slice()) else { continue };
        if let Some(routes) = &engine.routes {
            routes.prefetch(key.bits());
        }
        if let Some(Upper::Exact(table)) = engine.upper.as_deref() {
            *exact = Some((table, table.probe(key.key())));
        }
    }
    let forest = |key: TableKey| match engine(key.slice())?.upper.as_deref()? {
        Upper::Forest(forest) => Some(forest),
        Upper::Exact(_) => None,
    };
    lookup_each(forest, keys, found);
    for ((key, exact), found) in keys.iter().zip(&exact).zip(found) {
        if let Some((table, probe)) = exact {
            *found = table.answer(probe).map(V::of);
        }
        if found.is_none()
            && let Some(routes) = engine(key.slice()).and_then(|engine| engine.routes.as_deref())
        {
            *found = routes.lookup(key.bits()).map(V::of);
        }
    }
}
