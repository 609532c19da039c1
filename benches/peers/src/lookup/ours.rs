//! The crate's tables.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::thread;

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::epoch::Epochs;
use fastpath::id::SliceId;
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{
    Filter, LinearTcam, RangedFilter, Rank, Row, Simd, Tcam, TcamConfig, TcamError, TcamReader, TernaryTable,
    TernaryUpdate,
};
use fastpath::prefix::{
    Address, Form, InsertError, Prefix, PrefixControl, PrefixRead, PrefixTable, PrefixTrie, UpdateError,
};
use fastpath::workloads::classbench::Rule;
use fastpath::workloads::ranges;

use crate::side::{BATCH, Built, Changing, Identifier, Packet, Route, Side, build, time};

/// What a [`Tcam`] is asked by.
pub trait Key: Copy {
    fn table_key(self) -> TableKey;
}

impl Key for Packet {
    fn table_key(self) -> TableKey {
        TableKey::new(SliceId(self.0), self.1.key())
    }
}

impl Key for u32 {
    fn table_key(self) -> TableKey {
        let key = Ipv4Key { destination: self, ..Ipv4Key::default() };
        TableKey::new(SliceId(0), LookupKey::from(key))
    }
}

impl Key for Identifier {
    fn table_key(self) -> TableKey {
        TableKey::new(SliceId(0), LookupKey::new(self.0))
    }
}

/// A filter of a [`Tcam`].
pub type Entry = (Rank, RangedFilter, u32);

/// The filters of rule sets, a slice each; a rule answers with its number and 1.
pub fn rules(sets: &[&[Rule]]) -> Vec<Vec<Entry>> {
    let of = |(rules, slice): (&&[Rule], u16)| {
        let filters = ranges::ranged(SliceId(slice), rules);
        filters.map(|(rank, filter)| (rank, filter, rank.0 + 1)).collect()
    };
    sets.iter().zip(0..).map(of).collect()
}

/// The filters of a routing table.
pub fn routes(routes: &[Route<u32>]) -> Vec<Vec<Entry>> {
    let of = |&(address, len, next_hop): &Route<u32>| {
        let (value, mask) = Ipv4Key::route(address, len);
        (Rank::longest_prefix(32, len), Filter::new(SliceId(0), value, mask).into(), next_hop)
    };
    vec![routes.iter().map(of).collect()]
}

/// Filters of one slice, each of which asks for one identifier.
pub fn identifiers(entries: &[(Identifier, u32)]) -> Vec<Vec<Entry>> {
    let of = |&(identifier, value): &(Identifier, u32)| {
        let filter = Filter::new(SliceId(0), LookupKey::new(identifier.0), LookupKey::MAX);
        (Rank(0), filter.into(), value)
    };
    vec![entries.iter().map(of).collect()]
}

/// A ternary table, read as a core that forwards reads it.
pub struct Table<T> {
    name: &'static str,
    table: T,
    built: Built,
    keys: Vec<TableKey>,
    found: Vec<Option<u32>>,
}

impl<T> Table<T> {
    fn new(name: &'static str, (table, built): (T, Built)) -> Self {
        Self { name, table, built, keys: Vec::new(), found: Vec::new() }
    }
}

/// A [`Tcam`] and who reads it.
pub type Tables = (Tcam<u32>, Table<TcamReader<u32>>);

pub fn tcam(slices: &[Vec<Entry>]) -> Tables {
    tcam_with("fastpath", slices, TcamConfig::default()).unwrap()
}

/// The same without vector instructions of its own.
pub fn portable(slices: &[Vec<Entry>]) -> Tables {
    let config = TcamConfig { simd: Simd::Portable, ..TcamConfig::default() };
    tcam_with("fastpath, portable", slices, config).unwrap()
}

/// One with whatever bound there is in `config`; the error if it cannot hold them.
pub fn tcam_with(name: &'static str, slices: &[Vec<Entry>], config: TcamConfig) -> Result<Tables, TcamError> {
    let filters = slices.iter().map(Vec::len).sum();
    let (tcam, mut built) = build(|| {
        let mut tcam = Tcam::new(TcamConfig { filters, slices: slices.len(), readers: 2, ..config });
        for (entries, slice) in slices.iter().zip(0..) {
            tcam.load(SliceId(slice), entries.iter().copied())?;
        }
        Ok(tcam)
    });
    let tcam = tcam?;
    built.said = Some(tcam.octets());
    let reader = tcam.reader().unwrap();
    Ok((tcam, Table::new(name, (reader, built))))
}

/// The engines of so many slices, and the most lines that a lookup touches.
pub fn plans(tcam: &Tcam<u32>, slices: usize) -> (String, u32) {
    let plans: Vec<_> = (0..slices as u16).filter_map(|slice| tcam.plan(SliceId(slice)).ok()).collect();
    let engines = |plan: &fastpath::lookup::Plan| {
        let engines = [plan.upper, plan.routes.then_some("routes")];
        engines.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    };
    let mut names: Vec<_> = plans.iter().map(engines).collect();
    names.sort_unstable();
    names.dedup();
    (names.join(", "), plans.iter().map(|plan| plan.lines).max().unwrap_or(0))
}

/// [`LinearTcam`]: a scan.
pub type Scan = Table<LinearTcam<Box<[Option<Row<u32>>]>>>;

pub fn scan(slices: &[Vec<Entry>]) -> Scan {
    let filters: Vec<_> =
        slices.iter().flatten().flat_map(|entry| entry.1.expand().map(move |f| (entry, f))).collect();
    let scan = build(|| {
        let mut scan = LinearTcam::new(vec![None; filters.len()].into());
        for ((rank, _, value), filter) in &filters {
            scan.insert(*rank, *filter, *value).unwrap();
        }
        scan
    });
    Table::new("fastpath's LinearTcam", scan)
}

impl<T: TernaryTable<Value = u32>, K: Key> Side<K> for Table<T> {
    fn name(&self) -> &str {
        self.name
    }
    fn built(&self) -> Built {
        self.built
    }
    fn take(&mut self, keys: &[K]) {
        self.keys = keys.iter().map(|key| key.table_key()).collect();
        self.found = vec![None; keys.len()];
    }
    fn run(&mut self, keys: Range<usize>, batch: usize) {
        let found = self.found[keys.clone()].chunks_mut(BATCH);
        for (keys, found) in self.keys[keys].chunks(BATCH).zip(found) {
            match batch {
                1 => keys.iter().zip(found).for_each(|(&key, found)| *found = self.table.lookup(key)),
                _ => self.table.lookup_batch(keys, found),
            }
            self.table.quiescent();
        }
    }
    fn touch(&self, keys: Range<usize>) {
        black_box(self.keys[keys].iter().map(|key| key.bits() as u8).max());
    }
    fn answers(&self) -> Vec<u32> {
        self.found.iter().map(|found| found.unwrap_or(0)).collect()
    }
}

/// [`PrefixTrie`], by itself.
pub struct Trie<A> {
    trie: PrefixTrie<A>,
    built: Built,
    keys: Vec<A>,
    found: Vec<Option<NonZeroU32>>,
}

fn prefixes<A: Address>(routes: &[Route<A>]) -> Vec<(Prefix<A>, u32)> {
    routes.iter().map(|&(address, len, hop)| (Prefix::new(address, len.into()).unwrap(), hop)).collect()
}

impl<A: Address> Trie<A> {
    pub fn new(routes: &[Route<A>]) -> Self {
        let prefixes = prefixes(routes);
        let (trie, mut built) =
            build(|| PrefixTrie::load(prefixes.iter().copied(), Form::default()).unwrap());
        built.said = Some(trie.octets().total);
        Self { trie, built, keys: Vec::new(), found: Vec::new() }
    }
}

impl<A: Address> Side<A> for Trie<A> {
    fn name(&self) -> &str {
        "fastpath's PrefixTrie"
    }
    fn built(&self) -> Built {
        self.built
    }
    fn take(&mut self, keys: &[A]) {
        self.keys = keys.to_vec();
        self.found = vec![None; keys.len()];
    }
    fn run(&mut self, keys: Range<usize>, batch: usize) {
        let found = &mut self.found[keys.clone()];
        let keys = &self.keys[keys];
        match batch {
            1 => keys.iter().zip(found).for_each(|(&key, found)| *found = self.trie.lookup(key)),
            _ => keys.chunks(BATCH).zip(found.chunks_mut(BATCH)).for_each(|(keys, found)| {
                self.trie.lookup_batch(keys, found);
            }),
        }
    }
    fn touch(&self, keys: Range<usize>) {
        black_box(self.keys[keys].iter().max());
    }
    fn answers(&self) -> Vec<u32> {
        self.found.iter().map(|found| found.map_or(0, NonZeroU32::get)).collect()
    }
}

/// Keeps a thread busy while it is there.
fn beside<T>(reading: impl FnOnce(&AtomicBool) + Send, change: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stopped = Stop(&stop);
        scope.spawn(|| {
            started.store(true, Relaxed);
            reading(&stop);
        });
        while !started.load(Relaxed) {
            thread::yield_now();
        }
        change()
    })
}

/// Updates of a [`Tcam`], with a reader in another thread or without one.
pub struct TableUpdates {
    tcam: Tcam<u32>,
    entries: Vec<Entry>,
    /// What the reader looks up.
    keys: Option<Vec<TableKey>>,
}

impl TableUpdates {
    pub fn new<K: Key>(slices: &[Vec<Entry>], keys: Option<&[K]>) -> Self {
        Self::of(tcam(slices).0, slices, keys)
    }

    /// Of a table that holds them, which nobody reads.
    pub fn of<K: Key>(tcam: Tcam<u32>, slices: &[Vec<Entry>], keys: Option<&[K]>) -> Self {
        let keys = keys.map(|keys| keys.iter().map(|key| key.table_key()).collect());
        Self { tcam, entries: slices.concat(), keys }
    }
}

fn change_table(tcam: &mut Tcam<u32>, entries: &[Entry], drawn: &[usize], took: &mut Vec<f64>) {
    for &at in drawn {
        let (rank, filter, value) = entries[at % entries.len()];
        took.push(time(|| assert!(tcam.remove_ranged(rank, &filter).is_some())));
        took.push(time(|| {
            loop {
                match tcam.insert_ranged(rank, filter, value) {
                    // Refused: it waits for the reader, and that is part of its time.
                    Err(TcamError::Deferred(_)) => thread::yield_now(),
                    done => return assert_eq!(done, Ok(None)),
                }
            }
        }));
    }
}

impl Changing for TableUpdates {
    fn called(&self) -> &str {
        if self.keys.is_some() { "fastpath, a reader running" } else { "fastpath" }
    }
    fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
        let Self { tcam, entries, keys } = self;
        let Some(keys) = keys else { return change_table(tcam, entries, drawn, took) };
        let mut reader = tcam.reader().unwrap();
        let read = |stop: &AtomicBool| {
            let mut found = [None; BATCH];
            for keys in keys.chunks(BATCH).cycle() {
                reader.lookup_batch(keys, &mut found);
                black_box(&found);
                reader.quiescent();
                if stop.load(Relaxed) {
                    break;
                }
            }
        };
        beside(read, || change_table(tcam, entries, drawn, took));
    }
}

/// Updates of the halves of a [`PrefixTrie`], with a reader in another thread.
pub struct TrieUpdates<A> {
    /// What the reader sees: another one after a rebuild.
    shown: RwLock<Arc<PrefixRead<A>>>,
    control: PrefixControl<A>,
    epochs: Epochs,
    routes: Vec<(Prefix<A>, u32)>,
    keys: Vec<A>,
}

impl<A: Address> TrieUpdates<A> {
    pub fn new(routes: &[Route<A>], keys: &[A]) -> Self {
        let routes = prefixes(routes);
        let form = Form { spare: 1000, ..Form::default() };
        let (read, control) = PrefixTrie::load(routes.iter().copied(), form).unwrap().into_halves();
        let shown = RwLock::new(Arc::new(read));
        Self { shown, control, epochs: Epochs::new(1), routes, keys: keys.to_vec() }
    }
}

impl<A: Address> Changing for TrieUpdates<A> {
    fn called(&self) -> &str {
        "fastpath's PrefixTrie, a reader running"
    }
    fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
        let Self { shown, control, epochs, routes, keys } = self;
        let (mut seat, shown) = (epochs.reader().unwrap(), &*shown);
        let reading = |stop: &AtomicBool| {
            let mut found = [None; BATCH];
            for keys in keys.chunks(BATCH).cycle() {
                let read = Arc::clone(&shown.read().unwrap());
                read.lookup_batch(keys, &mut found);
                black_box(&found);
                seat.quiescent();
                if stop.load(Relaxed) {
                    break;
                }
            }
        };
        let mut read = Arc::clone(&shown.read().unwrap());
        // What was refused waits for the reader, or for a larger table, and that is part of
        // its time.
        let mut again = |why: UpdateError, control: &mut PrefixControl<A>, prefix: Prefix<A>| {
            if why == UpdateError::Busy {
                thread::yield_now();
            } else {
                let (larger, its) = control.rebuilt(&read, control.larger(&read, prefix));
                (read, *control) = (Arc::new(larger), its);
                *shown.write().unwrap() = Arc::clone(&read);
            }
            Arc::clone(&read)
        };
        beside(reading, || {
            let mut read = Arc::clone(&shown.read().unwrap());
            for &at in drawn {
                let (prefix, value) = routes[at % routes.len()];
                took.push(time(|| {
                    while let Err(why) = control.remove(&read, epochs, prefix) {
                        read = again(why, control, prefix);
                    }
                }));
                took.push(time(|| {
                    while let Err(error) = control.insert(&read, epochs, prefix, value) {
                        let InsertError::Update(why) = error else { panic!("{error}") };
                        read = again(why, control, prefix);
                    }
                }));
            }
        });
    }
}
