//! Histories of a ternary table, from octets, against the scan that [`LinearTcam`] is.

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::conformance::Rng;
use fastpath::lookup::{
    AllMatches, ExactTable, Forest, RangedFilter, Row, Simd, StrideBlock, StrideTcam, TableError,
    TableErrorKind, Tcam, TcamConfig, TcamError, TcamReader,
};
use fastpath::prelude::*;

use super::Cursor;

/// Slices of a [`Tcam`]; what is behind them is of no table.
const SLICES: u16 = 3;
/// Of tables of one slice.
const SLICE: SliceId = SliceId(1);
/// Of tables of one mask: bits of both words, and few in a row.
const MASK: LookupKey = LookupKey::new(0xc001_0000_0000_0000_0000_0000_0073);
/// Filters that small tables hold.
const FEW: usize = 100;
/// More lines than any lookup takes: no bound.
const UNBOUND: u32 = 100_000;

/// Ternary filters in the scan, and filters that come in a history, at most.
const ROWS: usize = 1 << 12;
const ARRIVALS: u32 = 1 << 12;
/// Refusals after which no more filters of a kind are tried.
const MOST_REFUSED: u32 = 4;
/// Steps of a history, at most.
const STEPS: usize = 100;
/// Keys that are looked up after each step.
const KEYS: usize = 24;

/// What a history did: how much it was worth.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// Filters put in.
    pub inserted: u32,
    /// Other values put in their place.
    pub replaced: u32,
    /// Filters taken out one by one.
    pub removed: u32,
    /// Whole sets put in the place of others.
    pub loaded: u32,
    /// Updates refused.
    pub refused: u32,
    /// Keys that matched something.
    pub found: u32,
    /// Keys that matched several filters.
    pub several: u32,
    /// Whether a scan, a forest, exact match and routes were engines of a `Tcam`.
    pub engines: [bool; 4],
}

/// Takes a table through the history that `octets` tell of. After each step keys are looked
/// up one by one, in a batch, and all matches of each: all are what the scan finds. Nothing
/// is refused without a reason, and what is refused changes nothing.
pub fn lookup_ops(octets: &[u8]) -> Done {
    let mut from = Cursor(octets);
    match from.octet() % 8 {
        0 => run(Small(StrideTcam::new(blocks(), rows(FEW))), from),
        1 => run(Small(LinearTcam::new(rows(FEW))), from),
        2 => {
            let seed = u128::from(from.octet()) << 96 | u128::from(from.octet());
            run(Exact(ExactTable::new(SLICE, MASK, FEW, seed)), from)
        }
        3 => {
            let bound = from.pick([UNBOUND, UNBOUND, 128, 20]);
            run(Trees(Forest::new(SLICE, FEW, bound), bound), from)
        }
        _ => run(Whole::new(&mut from), from),
    }
}

type Rows = Box<[Option<Row<u32>>]>;

fn rows(count: usize) -> Rows {
    vec![None; count].into()
}

fn blocks() -> Box<[StrideBlock<1>]> {
    vec![StrideBlock::NEW; 2].into()
}

/// What names a filter, and what is stored with it.
type Entry = (Rank, RangedFilter, u32);

/// All filters that should be there, in the naive table.
struct Model {
    /// Each as the ternary filters that it is, at a rank that says when it came as well, so
    /// that two that have some of these in common stay two.
    scan: LinearTcam<Rows>,
    /// With the time at which each came.
    entries: Vec<(Entry, u32)>,
    arrivals: u32,
}

impl Model {
    fn position(&self, rank: Rank, filter: &RangedFilter) -> Option<usize> {
        self.entries.iter().position(|(entry, _)| (entry.0, entry.1) == (rank, *filter))
    }

    fn len(&self, slice: SliceId) -> usize {
        self.entries.iter().filter(|(entry, _)| entry.1.filter().slice() == slice).count()
    }

    /// Whether the scan has room for one more.
    fn has_room(&self, filter: &RangedFilter) -> bool {
        self.arrivals < ARRIVALS && self.scan.len() + filter.expand().count() <= ROWS
    }

    fn insert(&mut self, (rank, filter, value): Entry) -> Option<u32> {
        let known = self.position(rank, &filter).and_then(|at| self.entries.get_mut(at));
        let (old, arrival) = match known {
            Some((entry, arrival)) => (Some(core::mem::replace(&mut entry.2, value)), *arrival),
            None => {
                self.entries.push(((rank, filter, value), self.arrivals));
                self.arrivals += 1;
                (None, self.arrivals - 1)
            }
        };
        for one in filter.expand() {
            assert_eq!(self.scan.insert(Rank(rank.0 * ARRIVALS + arrival), one, value), Ok(old));
        }
        old
    }

    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let ((.., value), arrival) = self.entries.remove(self.position(rank, filter)?);
        for one in filter.expand() {
            assert_eq!(self.scan.remove(Rank(rank.0 * ARRIVALS + arrival), &one), Ok(Some(value)));
        }
        Some(value)
    }

    fn clear(&mut self, slice: SliceId) {
        let all: Vec<Entry> = self.entries.iter().map(|(entry, _)| *entry).collect();
        for (rank, filter, _) in all {
            if filter.filter().slice() == slice {
                self.remove(rank, &filter);
            }
        }
    }

    /// Ranks and values of all matches, best first.
    fn matches(&self, key: TableKey) -> Vec<(Rank, u32)> {
        let rows = self.scan.iter().filter(|(_, filter, _)| filter.matches(key));
        rows.map(|(rank, _, value)| (Rank(rank.0 / ARRIVALS), value)).collect()
    }
}

/// A table that is held to the scan.
trait Subject {
    type Table: AllMatches<Value = u32>;

    /// Whether it takes filters with ranges.
    const RANGES: bool = false;

    fn table(&self) -> &Self::Table;

    fn insert(&mut self, entry: Entry) -> Result<Option<u32>, TableErrorKind>;

    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32>;

    /// Puts `entries` in the place of all that `slice` has. `None`: it cannot do that.
    fn load(&mut self, slice: SliceId, entries: &[Entry]) -> Option<Result<(), TableErrorKind>>;

    /// The largest value that a filter's may always be replaced by.
    const LARGEST: u32 = u32::MAX;

    /// Whether `entries`, none of which `model` has, had to be refused, with which there
    /// would be `filters` in the slice.
    fn had_to(&self, why: TableErrorKind, entries: &[Entry], filters: usize, model: &Model) -> bool;

    /// What only this table can.
    fn other(&mut self, _: &mut Cursor<'_>, _: &Model) {}

    /// What else must hold.
    fn check(&mut self, _: &Model, _: &[TableKey], _: &mut Done) {}
}

/// Filters of any slice, and room for [`FEW`].
struct Small<T>(T);

impl<T: TernaryUpdate<Value = u32, Error = TableErrorKind> + AllMatches> Subject for Small<T> {
    type Table = T;

    fn table(&self) -> &T {
        &self.0
    }
    fn insert(&mut self, (rank, filter, value): Entry) -> Result<Option<u32>, TableErrorKind> {
        self.0.insert(rank, *filter.filter(), value)
    }
    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        self.0.remove(rank, filter.filter()).expect("no device")
    }
    fn load(&mut self, _: SliceId, _: &[Entry]) -> Option<Result<(), TableErrorKind>> {
        None
    }
    fn had_to(&self, why: TableErrorKind, _: &[Entry], _: usize, model: &Model) -> bool {
        why == TableErrorKind::Full && model.entries.len() >= FEW
    }
}

/// Filters of one mask.
struct Exact(ExactTable<u32>);

impl Subject for Exact {
    type Table = ExactTable<u32>;

    fn table(&self) -> &ExactTable<u32> {
        &self.0
    }
    fn insert(&mut self, (rank, filter, value): Entry) -> Result<Option<u32>, TableErrorKind> {
        self.0.insert(rank, *filter.filter(), value)
    }
    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        self.0.remove(rank, filter.filter()).expect("no device")
    }
    fn load(&mut self, _: SliceId, _: &[Entry]) -> Option<Result<(), TableErrorKind>> {
        None
    }
    fn had_to(&self, why: TableErrorKind, entries: &[Entry], filters: usize, model: &Model) -> bool {
        let (_, filter, _) = entries[0];
        let other = filter.filter().mask() != Filter::new(SLICE, LookupKey::new(0), MASK).mask();
        let elsewhere = model.entries.iter().any(|(entry, _)| entry.1 == filter);
        match why {
            TableErrorKind::UnknownSlice => filter.filter().slice() != SLICE,
            TableErrorKind::Unsupported => other || elsewhere,
            TableErrorKind::Full => filters > FEW,
            _ => false,
        }
    }
    fn other(&mut self, _: &mut Cursor<'_>, _: &Model) {
        assert_eq!(self.0.rebuild(FEW), Ok(()));
    }
    fn check(&mut self, model: &Model, _: &[TableKey], _: &mut Done) {
        assert_eq!(self.0.len(), model.entries.len());
    }
}

/// Filters of one slice, and the bound of lookups.
struct Trees(Forest<u32>, u32);

impl Subject for Trees {
    type Table = Forest<u32>;
    const RANGES: bool = true;

    fn table(&self) -> &Forest<u32> {
        &self.0
    }
    fn insert(&mut self, (rank, filter, value): Entry) -> Result<Option<u32>, TableErrorKind> {
        self.0.insert_ranged(rank, filter, value)
    }
    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        self.0.remove_ranged(rank, filter)
    }
    fn load(&mut self, slice: SliceId, entries: &[Entry]) -> Option<Result<(), TableErrorKind>> {
        (slice == SLICE).then(|| {
            self.0 = Forest::build(SLICE, FEW, self.1, entries.iter().copied())?;
            Ok(())
        })
    }
    fn had_to(&self, why: TableErrorKind, entries: &[Entry], filters: usize, _: &Model) -> bool {
        match why {
            TableErrorKind::UnknownSlice => entries.iter().any(|entry| entry.1.filter().slice() != SLICE),
            // What filters would cost is the table's own word.
            TableErrorKind::Unsupported => self.1 < UNBOUND,
            TableErrorKind::Full => filters > FEW,
            _ => false,
        }
    }
    fn check(&mut self, model: &Model, keys: &[TableKey], _: &mut Done) {
        assert_eq!(self.0.len(), model.entries.len());
        assert!(self.0.cost() <= self.1, "{} lines, {} allowed", self.0.cost(), self.1);
        assert!(keys.iter().all(|key| self.0.cost_of(key.key()) <= self.0.cost()));
    }
}

/// All slices, and who reads beside the writer.
struct Whole {
    tcam: Tcam<u32>,
    reader: TcamReader<u32>,
    bounds: [u32; SLICES as usize],
    reserved: [usize; SLICES as usize],
}

impl Whole {
    fn new(from: &mut Cursor<'_>) -> Self {
        let config = TcamConfig {
            filters: from.pick([20, 100, 400, 100_000, 100_000, 100_000]),
            slices: usize::from(SLICES),
            readers: 1,
            lines: from.pick([UNBOUND, UNBOUND, 128, 30]),
            deferred: from.pick([64 << 20, 64 << 20, 1 << 14, 0]),
            seed: from.octet().into(),
            simd: from.pick([Simd::Detect, Simd::Portable]),
        };
        let tcam = Tcam::new(config);
        let reader = tcam.reader().expect("a seat");
        Self { tcam, reader, bounds: [config.lines; SLICES as usize], reserved: [0; SLICES as usize] }
    }

    /// Filters that a slice may have.
    fn room(&self, slice: SliceId, model: &Model) -> usize {
        let others = (0..SLICES).filter(|other| *other != slice.0);
        let taken = others.map(|other| model.len(SliceId(other)).max(self.reserved[usize::from(other)]));
        self.tcam.config().filters - taken.sum::<usize>()
    }

    /// An update that may have to wait for the reader.
    fn patiently<T>(
        &mut self, mut update: impl FnMut(&mut Tcam<u32>) -> Result<T, TcamError>,
    ) -> Result<T, TcamError> {
        for _ in 0..8 {
            match update(&mut self.tcam) {
                Err(TcamError::Deferred(_)) => self.reader.quiescent(),
                done => return done,
            }
        }
        panic!("the reader has passed, and updates are refused still");
    }
}

impl Subject for Whole {
    type Table = Tcam<u32>;
    const RANGES: bool = true;
    /// Beyond, a route is not found as one.
    const LARGEST: u32 = (1 << 31) - 2;

    fn table(&self) -> &Tcam<u32> {
        &self.tcam
    }
    fn insert(&mut self, (rank, filter, value): Entry) -> Result<Option<u32>, TableErrorKind> {
        self.patiently(|tcam| tcam.insert_ranged(rank, filter, value)).map_err(|error| error.kind())
    }
    fn remove(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        self.tcam.remove_ranged(rank, filter)
    }
    fn load(&mut self, slice: SliceId, entries: &[Entry]) -> Option<Result<(), TableErrorKind>> {
        if entries.is_empty() {
            self.tcam.clear(slice);
            return Some(Ok(()));
        }
        let loaded = self.patiently(|tcam| tcam.load(slice, entries.iter().copied()));
        Some(loaded.map_err(|error| error.kind()))
    }
    fn had_to(&self, why: TableErrorKind, entries: &[Entry], filters: usize, model: &Model) -> bool {
        let slice = entries[0].1.filter().slice();
        match why {
            TableErrorKind::UnknownSlice => slice.0 >= SLICES,
            TableErrorKind::Unsupported => self.bounds[usize::from(slice.0)] < UNBOUND,
            TableErrorKind::Full => filters > self.room(slice, model),
            _ => false,
        }
    }
    fn other(&mut self, from: &mut Cursor<'_>, model: &Model) {
        let at = usize::from(from.octet()) % usize::from(SLICES);
        let slice = SliceId(at as u16);
        match from.octet() % 4 {
            0 => {
                let lines = from.pick([3, 5, 12, 30, 128, UNBOUND]);
                match self.patiently(|tcam| tcam.set_bound(slice, lines)) {
                    Ok(()) => self.bounds[at] = lines,
                    Err(TcamError::Cost { lines: more, bound, .. }) => {
                        assert!(bound == lines && more > bound, "{more} and {bound} of {lines}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            1 => {
                let asked = usize::from(from.pick([0u8, 5, 60, 255]));
                let fits = asked.max(model.len(slice)) <= self.room(slice, model);
                assert_eq!(self.tcam.reserve(slice, asked).is_ok(), fits, "{asked}");
                if fits {
                    self.reserved[at] = asked;
                }
            }
            2 => _ = self.tcam.reclaim(),
            _ => self.reader.quiescent(),
        }
    }
    fn check(&mut self, model: &Model, keys: &[TableKey], done: &mut Done) {
        for (key, found) in keys.iter().zip(batches(&self.reader, keys)) {
            assert_eq!(self.tcam.lookup(*key), found, "{key:x?} to a reader, in a batch");
            assert_eq!(self.reader.lookup(*key), found, "{key:x?} to a reader");
        }
        for slice in (0..SLICES).map(SliceId) {
            let plan = self.tcam.plan(slice).expect("a slice");
            assert_eq!((self.tcam.len(slice), plan.filters), (model.len(slice), model.len(slice)));
            assert!(plan.lines <= self.bounds[usize::from(slice.0)], "{plan:?} of {:?}", self.bounds);
            let entries = self.tcam.iter(slice).map(|entry| (entry.place.rank(), entry.filter, entry.value));
            let right = entries.filter(|entry| model.entries.iter().any(|(other, _)| other == entry));
            assert_eq!(right.count(), plan.filters);
            let engines = ["scan", "forest", "exact match"].map(|name| plan.upper == Some(name));
            done.engines.iter_mut().zip(engines).for_each(|(seen, is)| *seen |= is);
            done.engines[3] |= plan.routes;
        }
    }
}

/// Where filters of a history come from: few bits of the key, so that they overlap.
struct Patterns {
    spots: [u32; 8],
    ranges: bool,
}

impl Patterns {
    /// Some of the spots.
    fn some(&self, which: u8) -> u128 {
        let spots = self.spots.iter().enumerate();
        spots.filter(|(n, _)| which >> n & 1 != 0).fold(0, |bits, (_, at)| bits | 1 << at)
    }

    /// A filter of one of the kinds that engines are for.
    fn entry(&self, from: &mut Cursor<'_>, slice: SliceId) -> Entry {
        let rank = Rank(from.pick([0, 0, 0, 1, 1, 2, 9, 65_535]));
        let kind = from.octet() % 8;
        let (a, b) = (from.octet(), from.octet());
        let value =
            if from.once_in(16) { u32::MAX - u32::from(a % 4) } else { u32::from(a ^ b.rotate_left(4)) };
        self.of_kind(kind, slice, rank, [a, b], value, from)
    }

    /// One of many of a kind.
    fn nth(&self, kind: u8, slice: SliceId, n: u8) -> Entry {
        let parts = [n, n.wrapping_mul(kind | 1)];
        self.of_kind(kind, slice, Rank(u32::from(n % 3)), parts, n.into(), &mut Cursor(&parts))
    }

    fn of_kind(
        &self, kind: u8, slice: SliceId, rank: Rank, [a, b]: [u8; 2], value: u32, from: &mut Cursor<'_>,
    ) -> Entry {
        let new = |value: u128, mask: u128| Filter::new(slice, LookupKey::new(value), LookupKey::new(mask));
        let (rank, filter) = match kind {
            0 | 1 => {
                let len = [0, 8, 15, 20, 24, 25, 30, 32][usize::from(b % 8)];
                let (value, mask) = Ipv4Key::route(u32::from(a) << 6 | u32::from(b) << 12, len);
                (Rank::longest_prefix(32, len), Filter::new(slice, value, mask))
            }
            2 => {
                // All values of one mask, each with one rank.
                let a128 = u128::from(a);
                let value = a128 & 3 | (a128 >> 2 & 7) << 4 | (a128 >> 5 & 1) << 96 | (a128 >> 6) << 110;
                (Rank(u32::from(a & 1)), new(value, MASK.bits()))
            }
            _ => (rank, new(self.some(a), self.some(b))),
        };
        // Fields that the filter says something of have no range.
        let open = |at: u32| self.ranges && kind > 5 && filter.mask() >> at & 0xffff == 0;
        let mut range = |at: u32| {
            if !open(at) {
                return 0..=u16::MAX;
            }
            let ends = [0, 1, 7, 8, 80, 1023, 1024, u16::MAX];
            let (low, high) = (from.pick(ends), from.pick(ends));
            low.min(high)..=low.max(high)
        };
        let [low, high] = RangedFilter::FIELDS;
        let filter = RangedFilter::new(filter, range(low), range(high)).expect("open fields");
        (rank, filter, value)
    }

    /// A key that matches a filter, nearly, or by chance.
    fn key(&self, rng: &mut Rng, model: &Model, slices: &[SliceId]) -> TableKey {
        let mut bits = self.some(rng.bits() as u8);
        let mut slice = slices[rng.below(slices.len() as u64) as usize];
        if let Some(((_, filter, _), _)) = model.entries.get(rng.below(model.entries.len() as u64) as usize)
            && rng.below(4) > 0
        {
            let filter = filter.filter();
            let noise =
                if rng.below(2) == 0 { bits } else { u128::from(rng.bits()) << 48 ^ u128::from(rng.bits()) };
            bits = filter.value() | noise & !filter.mask();
            slice = filter.slice();
            if rng.below(8) == 0 {
                bits ^= 1 << rng.below(112);
            }
        }
        for at in RangedFilter::FIELDS {
            if self.ranges && rng.below(2) == 0 {
                let ends = [0u16, 1, 7, 8, 80, 1023, 1024, u16::MAX];
                let port = ends[rng.below(8) as usize].wrapping_add(rng.below(3) as u16).wrapping_sub(1);
                bits = bits & !(0xffff << at) | u128::from(port) << at;
            }
        }
        TableKey::new(slice, LookupKey::new(bits))
    }
}

fn run<S: Subject>(mut subject: S, mut from: Cursor<'_>) -> Done {
    let spots = core::array::from_fn(|_| u32::from(from.octet() % 112));
    let patterns = Patterns { spots, ranges: S::RANGES };
    let mut model = Model { scan: LinearTcam::new(rows(ROWS)), entries: Vec::new(), arrivals: 0 };
    let mut done = Done::default();
    let slices = [SLICE, SLICE, SLICE, SliceId(0), SliceId(2), SliceId(SLICES)];
    let mut rng = Rng::new(0);
    for _ in 0..STEPS {
        if from.0.is_empty() {
            break;
        }
        let op = from.octet();
        let slice = slices[usize::from(op >> 4) % slices.len()];
        match op % 16 {
            0..=4 => {
                let entry = patterns.entry(&mut from, slice);
                insert(&mut subject, &mut model, entry, &mut done);
            }
            // A known filter: with another value, or at another rank.
            5 | 6 => {
                if let Some(((rank, filter, _), _)) = pick(&model, &mut from) {
                    let rank = if op % 16 == 5 { rank } else { Rank(from.pick([0, 1, 2])) };
                    insert(&mut subject, &mut model, (rank, filter, from.octet().into()), &mut done);
                }
            }
            7 | 8 => {
                if let Some(((rank, filter, _), _)) = pick(&model, &mut from) {
                    remove(&mut subject, &mut model, rank, &filter, &mut done);
                }
            }
            9 => {
                let (rank, filter, _) = patterns.entry(&mut from, slice);
                remove(&mut subject, &mut model, rank, &filter, &mut done);
            }
            10 | 11 => {
                // Many of one kind.
                let (kind, count) = (from.octet() % 8, from.octet());
                let before = done.refused;
                for n in 0..count {
                    insert(&mut subject, &mut model, patterns.nth(kind, slice, n), &mut done);
                    // Each refusal may cost a rebuild.
                    if done.refused > before + MOST_REFUSED {
                        break;
                    }
                }
            }
            12 => {
                // Every so many of all that there are.
                let each = 1 + usize::from(from.octet() % 4);
                let all: Vec<Entry> = model.entries.iter().step_by(each).map(|(entry, _)| *entry).collect();
                for (rank, filter, _) in all {
                    remove(&mut subject, &mut model, rank, &filter, &mut done);
                }
            }
            13 => {
                let (kind, count) = (from.octet() % 16, from.octet());
                let entries: Vec<Entry> = match kind {
                    0..8 => (0..count).map(|n| patterns.nth(kind, slice, n)).collect(),
                    _ => (0..count % 64).map(|_| patterns.entry(&mut from, slice)).collect(),
                };
                load(&mut subject, &mut model, slice, &entries, &mut done);
            }
            _ => subject.other(&mut from, &model),
        }
        let mut keys: Vec<TableKey> = (0..KEYS).map(|_| patterns.key(&mut rng, &model, &slices)).collect();
        keys.sort_by_key(|key| key.slice());
        check(&subject, &model, &keys, &mut done);
        subject.check(&model, &keys, &mut done);
    }
    done
}

fn pick(model: &Model, from: &mut Cursor<'_>) -> Option<(Entry, u32)> {
    let at = usize::from(from.octet()) << 4 | usize::from(from.octet() & 15);
    model.entries.get(at % model.entries.len().max(1)).copied()
}

fn insert<S: Subject>(subject: &mut S, model: &mut Model, entry: Entry, done: &mut Done) {
    let (rank, filter, _) = entry;
    let known = model.position(rank, &filter).is_some();
    if !known && !model.has_room(&filter) {
        return;
    }
    match subject.insert(entry) {
        Ok(old) => {
            assert_eq!(old, model.insert(entry), "what was stored with {entry:x?}");
            done.inserted += u32::from(!known);
            done.replaced += u32::from(known);
        }
        Err(why) => {
            let large = entry.2 > S::LARGEST && why == TableErrorKind::Unsupported;
            assert!(!known || large, "to replace {entry:x?} was refused: {why}");
            if known {
                done.refused += 1;
                return;
            }
            let filters = model.len(filter.filter().slice()) + 1;
            assert!(subject.had_to(why, &[entry], filters, model), "{entry:x?} was refused: {why}");
            done.refused += 1;
        }
    }
}

fn remove<S: Subject>(
    subject: &mut S, model: &mut Model, rank: Rank, filter: &RangedFilter, done: &mut Done,
) {
    let old = model.remove(rank, filter);
    assert_eq!(subject.remove(rank, filter), old, "what was stored with {filter:x?} at {rank:?}");
    done.removed += u32::from(old.is_some());
}

fn load<S: Subject>(subject: &mut S, model: &mut Model, slice: SliceId, entries: &[Entry], done: &mut Done) {
    let expanded: usize = entries.iter().map(|entry| entry.1.expand().count()).sum();
    if model.arrivals as usize + entries.len() > ARRIVALS as usize || model.scan.len() + expanded > ROWS {
        return;
    }
    match subject.load(slice, entries) {
        None => {}
        Some(Ok(())) => {
            model.clear(slice);
            entries.iter().for_each(|entry| _ = model.insert(*entry));
            done.loaded += 1;
        }
        Some(Err(why)) => {
            let mut identities: Vec<_> = entries.iter().map(|entry| (entry.0, entry.1)).collect();
            identities.sort_by_key(|(rank, filter)| {
                (*rank, filter.filter().value(), filter.filter().mask(), filter.ranges())
            });
            identities.dedup();
            assert!(subject.had_to(why, entries, identities.len(), model), "a set was refused: {why}");
            done.refused += 1;
        }
    }
}

/// Whether the table answers as the scan does.
fn check<S: Subject>(subject: &S, model: &Model, keys: &[TableKey], done: &mut Done) {
    let table = subject.table();
    for (key, found) in keys.iter().zip(batches(table, keys)) {
        let expected = model.matches(*key);
        let first = expected.first().map(|(_, value)| *value);
        assert_eq!(found, first, "{key:x?} in a batch");
        assert_eq!(table.lookup(*key), first, "{key:x?}");
        let all: Vec<_> = table.matches(*key).map(|hit| (hit.place.rank(), hit.value)).collect();
        assert_eq!(all, expected, "all matches of {key:x?}");
        done.found += u32::from(first.is_some());
        done.several += u32::from(all.len() > 1);
    }
}

/// What keys, those of each slice together, find in a batch of all and in batches of a slice.
fn batches(table: &impl TernaryTable<Value = u32>, keys: &[TableKey]) -> Vec<Option<u32>> {
    let mut found = vec![Some(u32::MAX); keys.len()];
    table.lookup_batch(keys, &mut found);
    let mut of_slice = [Some(u32::MAX); KEYS];
    let mut rest = &found[..];
    for keys in keys.chunk_by(|a, b| a.slice() == b.slice()) {
        table.lookup_batch(keys, &mut of_slice[..keys.len()]);
        let (all, after) = rest.split_at(keys.len());
        assert_eq!(all, &of_slice[..keys.len()], "{keys:x?}, among others and alone");
        rest = after;
    }
    found
}
