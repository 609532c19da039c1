//! How fast the table is.

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastpath::epoch::Reader;
use fastpath::key::TableKey;
use fastpath::lookup::{TcamError, TcamReader, TernaryTable};
use fastpath::prefix::PrefixTable;
use serde::Serialize;

use super::files::Set;
use super::table::{Tables, filters_of, table_key, wide_of};
use super::trace::Key;
use super::wide::{self, Shown, Wide};

/// What `--bench` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Rules and prefixes.
    entries: usize,
    /// From rules in memory to a table.
    build_ms: f64,
    bytes: usize,
    ns_per_lookup_single: Option<f64>,
    ns_per_lookup_batch: Option<f64>,
    /// Of one rule taken out or put in.
    update_us_median: Option<f64>,
    update_us_p999: Option<f64>,
}

impl Figures {
    pub(crate) fn sentence(&self) -> String {
        let number = |figure: Option<f64>| figure.map_or_else(|| "-".into(), |figure| format!("{figure:.1}"));
        format!(
            "{} rules in {} octets: {} ns a key one by one, {} in batches of {BATCH}; {} us an update",
            self.entries,
            self.bytes,
            number(self.ns_per_lookup_single),
            number(self.ns_per_lookup_batch),
            number(self.update_us_median)
        )
    }
}

/// Keys that are looked up together.
const BATCH: usize = 32;

/// Keys that are timed together: some microseconds, so that few of them are interrupted.
const SEGMENT: usize = 16 * BATCH;

/// At most so long for each figure; at least three passes over the trace.
const BUDGET: Duration = Duration::from_millis(1500);

/// Passes over the trace.
const PASSES: usize = 25;

/// Updates.
const UPDATES: usize = 20_000;

/// Looks all keys up again and again, and takes rules out and puts them in again while
/// another thread looks keys up.
pub(crate) fn measure(sets: &[Set], tables: &mut Tables, keys: &[Key]) -> Result<Figures, Box<dyn Error>> {
    let trace = Trace::new(tables, keys);
    let single = trace.ns_a_key(tables, 1);
    let batch = trace.ns_a_key(tables, BATCH);
    let mut updates = updates(sets, tables, &trace)?;
    updates.sort_unstable();
    let nth = |part: f64| {
        let at = (updates.len() as f64 * part) as usize;
        updates.get(at).map(|took| rounded(took.as_secs_f64() * 1e6))
    };
    Ok(Figures {
        entries: sets.iter().map(Set::len).sum(),
        build_ms: rounded(tables.built.as_secs_f64() * 1e3),
        bytes: tables.octets(),
        ns_per_lookup_single: single.map(rounded),
        ns_per_lookup_batch: batch.map(rounded),
        update_us_median: nth(0.5),
        update_us_p999: nth(0.999),
    })
}

/// Three digits behind the point: clocks know no more.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// The keys as the tables take them.
struct Trace {
    narrow: Vec<TableKey>,
    /// By slice.
    wide: Vec<Vec<u128>>,
}

impl Trace {
    fn new(tables: &Tables, keys: &[Key]) -> Self {
        let mut wide = vec![Vec::new(); tables.wide.len()];
        for key in keys {
            if let Key::V6(slice, address) = *key {
                wide[slice].push(address);
            }
        }
        Self { narrow: keys.iter().filter_map(|&key| table_key(key)).collect(), wide }
    }

    /// Nanoseconds a key, looked up `batch` at a time: for each segment of the trace the
    /// median of all passes.
    fn ns_a_key(&self, tables: &Tables, batch: usize) -> Option<f64> {
        let keys = self.narrow.len() + self.wide.iter().map(Vec::len).sum::<usize>();
        let mut segments: Vec<Vec<Duration>> = Vec::new();
        let start = Instant::now();
        let mut found = [None; BATCH];
        for pass in 0..PASSES {
            if pass > 2 && start.elapsed() > BUDGET {
                break;
            }
            let mut at = 0;
            let mut took = |time: Duration| {
                match segments.get_mut(at) {
                    Some(segment) => segment.push(time),
                    None => segments.push(vec![time]),
                }
                at += 1;
            };
            for keys in self.narrow.chunks(SEGMENT) {
                let start = Instant::now();
                match batch {
                    1 => keys.iter().for_each(|&key| _ = black_box(tables.tcam.lookup(key))),
                    _ => keys.chunks(batch).for_each(|keys| {
                        tables.tcam.lookup_batch(keys, &mut found);
                        black_box(&found);
                    }),
                }
                took(start.elapsed());
            }
            let mut found = [None; BATCH];
            for (keys, wide) in self.wide.iter().zip(&tables.wide) {
                let Some(wide) = wide.as_ref().map(Wide::read) else { continue };
                for keys in keys.chunks(SEGMENT) {
                    let start = Instant::now();
                    match batch {
                        1 => keys.iter().for_each(|&key| _ = black_box(wide.lookup(key))),
                        _ => keys.chunks(batch).for_each(|keys| {
                            wide.lookup_batch(keys, &mut found);
                            black_box(&found);
                        }),
                    }
                    took(start.elapsed());
                }
            }
        }
        let total: Duration = segments.iter_mut().filter_map(|times| median(times)).sum();
        (keys > 0).then(|| total.as_secs_f64() * 1e9 / keys as f64)
    }
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// How long each of many updates takes: a rule drawn at random is taken out and put in
/// again.
fn updates(sets: &[Set], tables: &mut Tables, trace: &Trace) -> Result<Vec<Duration>, Box<dyn Error>> {
    let filters: Vec<_> = (0..).zip(sets).flat_map(|(slice, set)| filters_of(slice, set)).collect();
    let routes: Vec<_> = sets.iter().map(wide_of).collect();
    let all = filters.len() + routes.iter().map(Vec::len).sum::<usize>();
    // Each table is changed in proportion to its entries.
    let part = |entries: usize| (UPDATES * entries).div_ceil(all.max(1));
    let stop = AtomicBool::new(false);
    let reader = thread::available_parallelism().is_ok_and(|threads| threads.get() > 1);
    let Tables { tcam, wide: tables, .. } = tables;
    let mut times = Vec::new();
    thread::scope(|scope| {
        let _stopped = Stop(&stop);
        if let Some(reader) = reader.then(|| tcam.reader()).flatten() {
            scope.spawn(|| read_narrow(reader, &trace.narrow, &stop));
        }
        drawn(&filters, part(filters.len()), &mut times, |(rank, filter, value), insert| {
            if !insert {
                tcam.remove_ranged(*rank, filter);
                return Ok(());
            }
            // Where too much waits for the reader, the update is one that takes long.
            loop {
                match tcam.insert_ranged(*rank, *filter, *value) {
                    Err(TcamError::Deferred(_)) => thread::yield_now(),
                    done => return Ok(done.map(|_| ())?),
                }
            }
        })
    })?;
    for ((table, routes), keys) in tables.iter_mut().zip(&routes).zip(&trace.wide) {
        let Some(table) = table else { continue };
        stop.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            let _stopped = Stop(&stop);
            let (shown, seat, mut changer) = table.halves();
            if let Some(seat) = seat.filter(|_| reader) {
                scope.spawn(|| read_wide(shown, seat, keys, &stop));
            }
            drawn(routes, part(routes.len()), &mut times, |&route, insert| match insert {
                true => Ok(changer.insert(route)?),
                false => {
                    changer.remove(route);
                    Ok(())
                }
            })
        })?;
    }
    Ok(times)
}

/// Tells a reader to stop when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Times `count` updates: takes entries out and puts them in.
fn drawn<T>(
    entries: &[T], count: usize, times: &mut Vec<Duration>,
    mut update: impl FnMut(&T, bool) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (mut draw, begin) = (0x9e37_79b9_7f4a_7c15_u64, Instant::now());
    for _ in 0..count.div_ceil(2) {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let Some(entry) = entries.get((draw >> 33) as usize % entries.len().max(1)) else { break };
        for insert in [false, true] {
            let start = Instant::now();
            update(entry, insert)?;
            times.push(start.elapsed());
        }
        if begin.elapsed() > BUDGET {
            break;
        }
    }
    Ok(())
}

/// Looks keys up until it is told to stop.
fn read_narrow(mut reader: TcamReader<u32>, keys: &[TableKey], stop: &AtomicBool) {
    let mut found = [None; BATCH];
    for keys in keys.chunks(BATCH).cycle() {
        reader.lookup_batch(keys, &mut found);
        black_box(&found);
        reader.quiescent();
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// The same for IPv6.
fn read_wide(shown: &Shown, mut seat: Reader, keys: &[u128], stop: &AtomicBool) {
    let mut found = [None; BATCH];
    for keys in keys.chunks(BATCH).cycle() {
        wide::shown(shown).lookup_batch(keys, &mut found);
        black_box(&found);
        seat.quiescent();
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
}
