//! Lookups of many keys of any slices.

use core::hint::select_unpredictable;

use crate::id::SliceId;
use crate::key::TableKey;
use crate::lookup::Word;
use crate::lookup::exact::ExactProbe;
use crate::lookup::forest::lookup_each;
use crate::lookup::tcam::engine::{Engine, Upper};
use crate::lookup::tcam::routes::Routes;

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
            of_several(engine, keys, found);
        }
    }
}

/// Starts fetching the chunks of keys whose routes are far.
#[inline(always)]
pub(super) fn prefetch_deeper<'a>(engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey]) {
    // Keys of one slice mostly: it is looked at once.
    let mut seen = SliceId::SUBSTRATE;
    let mut far = |slice: SliceId| {
        core::mem::replace(&mut seen, slice) != slice && engine(slice).is_some_and(Engine::has_far_routes)
    };
    if keys.iter().any(|key| far(key.slice())) {
        prefetch_chunks(engine, keys);
    }
}

#[inline(never)]
fn prefetch_chunks<'a>(engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey]) {
    for key in keys {
        if let Some(routes) = engine(key.slice()).and_then(|engine| engine.routes.as_deref()) {
            routes.prefetch_deeper(key.bits());
        }
    }
}

/// Up to [`BATCH`] keys, not all of one slice. Lanes of a vector without a packet have keys of
/// the substrate, which has no filters: they do not make the rest a mixture.
#[inline(never)]
fn of_several<'a, V: Word>(
    engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey], found: &mut [Option<V>],
) {
    let is_hole = |key: &TableKey| key.slice() == SliceId::SUBSTRATE;
    let slice = keys.iter().find(|key| !is_hole(key)).map_or(SliceId::SUBSTRATE, |key| key.slice());
    let one = keys.iter().all(|key| key.slice() == slice || is_hole(key));
    if !one || engine(SliceId::SUBSTRATE).is_some() {
        return of_many(engine, keys, found);
    }
    match engine(slice) {
        Some(engine) => of_one(slice, engine, keys, found),
        None => found.fill(None),
    }
    for (found, _) in found.iter_mut().zip(keys).filter(|(_, key)| is_hole(key)) {
        *found = None;
    }
}

/// Up to [`BATCH`] keys of one slice; what it finds for others is of no meaning.
#[inline(always)]
fn of_one<V: Word>(slice: SliceId, engine: &Engine, keys: &[TableKey], found: &mut [Option<V>]) {
    match (engine.upper.as_deref(), engine.routes.as_deref()) {
        (None, None) => found.fill(None),
        // This alone in the caller: the rest would take its registers.
        (None, Some(routes)) if routes.is_near() => {
            for (key, found) in keys.iter().zip(found) {
                *found = routes.lookup(key.bits()).map(V::of);
            }
        }
        (None, Some(routes)) => of_far_routes(routes, keys, found),
        (Some(upper), routes) => of_parts(slice, upper, routes, keys, found),
    }
}

#[inline(never)]
fn of_far_routes<V: Word>(routes: &Routes, keys: &[TableKey], found: &mut [Option<V>]) {
    routes.lookup_each(keys, found, |found, value| *found = value);
}

#[inline(never)]
fn of_parts<V: Word>(
    slice: SliceId, upper: &Upper, routes: Option<&Routes>, keys: &[TableKey], found: &mut [Option<V>],
) {
    match upper {
        Upper::Forest(forest) => forest.lookup_batch(slice, keys, found),
        Upper::Exact(exact) => exact.batch(keys, found, |key| key.key(), |_, word| word.map(V::of)),
    }
    if let Some(routes) = routes {
        routes.lookup_each(keys, found, |found: &mut Option<V>, value| {
            *found = select_unpredictable(found.is_some(), *found, value);
        });
    }
}

/// Up to [`BATCH`] keys of several slices: all in flight at once, whatever their engines.
#[inline(always)]
fn of_many<'a, V: Word>(
    engine: impl Fn(SliceId) -> Option<&'a Engine> + Copy, keys: &[TableKey], found: &mut [Option<V>],
) {
    let (mut forests, mut routes) = ([None; BATCH], [None; BATCH]);
    let mut exact = [const { None::<(&crate::lookup::exact::ExactRead, ExactProbe)> }; BATCH];
    let mut others = false;
    for (((key, forest), below), exact) in keys.iter().zip(&mut forests).zip(&mut routes).zip(&mut exact) {
        let Some(engine) = engine(key.slice()) else { continue };
        if let Some(routes) = engine.routes.as_deref() {
            routes.prefetch(key.bits());
            (*below, others) = (Some(routes), true);
        }
        match engine.upper.as_deref() {
            Some(Upper::Forest(of)) => *forest = Some(of),
            Some(Upper::Exact(table)) => (*exact, others) = (Some((table, table.probe(key.key()))), true),
            None => (),
        }
    }
    lookup_each(&forests, keys, found);
    if !others {
        return;
    }
    for (((key, exact), routes), found) in keys.iter().zip(&exact).zip(routes).zip(found) {
        if let Some((table, probe)) = exact {
            *found = table.answer(probe).map(V::of);
        }
        if found.is_none()
            && let Some(routes) = routes
        {
            *found = routes.lookup(key.bits()).map(V::of);
        }
    }
}
