//! A table of one's own, held to the crate's kit: labels of ten bits, each with an
//! egress, found in one read.
//!
//! `cargo run --example own_table --features conformance`

use std::hint::black_box;
use std::time::Instant;

use fastpath::conformance::{Rng, all_matches, ternary_table};
use fastpath::key::LookupKey;
use fastpath::lookup::{AllMatches, Hit, Place, TableErrorKind};
use fastpath::prelude::*;

/// Filters of one slice that match the low ten bits exactly, at rank 0.
struct Labels {
    slice: SliceId,
    egress: Box<[Option<EgressId>; 1024]>,
}

const MASK: LookupKey = LookupKey::new(1023);

impl Labels {
    fn new(slice: SliceId) -> Self {
        Self { slice, egress: Box::new([None; 1024]) }
    }

    /// Where a filter's egress stands, if it is one that this table can hold.
    fn place(&mut self, rank: Rank, filter: &Filter) -> Result<&mut Option<EgressId>, TableErrorKind> {
        if filter.slice() != self.slice {
            return Err(TableErrorKind::UnknownSlice);
        }
        let label = TableKey::new(self.slice, LookupKey::new(filter.value())).key();
        let form = Filter::new(self.slice, label, MASK);
        let place = self.egress.get_mut(label.bits() as usize).filter(|_| rank == Rank(0) && form == *filter);
        place.ok_or(TableErrorKind::Unsupported)
    }
}

impl TernaryTable for Labels {
    type Value = EgressId;

    fn lookup(&self, key: TableKey) -> Option<EgressId> {
        let label = key.bits() as usize & 1023;
        // A key of another slice matches nothing here.
        if key.slice() == self.slice { *self.egress.get(label)? } else { None }
    }
}

impl AllMatches for Labels {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<EgressId>> {
        let first = after.is_none().then(|| self.lookup(key)).flatten();
        first.map(|value| Hit { place: Place::new(Rank(0), 0), value })
    }
}

impl TernaryUpdate for Labels {
    type Error = TableErrorKind;

    fn insert(
        &mut self, rank: Rank, filter: Filter, egress: EgressId,
    ) -> Result<Option<EgressId>, Self::Error> {
        Ok(self.place(rank, &filter)?.replace(egress))
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<EgressId>, Self::Error> {
        Ok(self.place(rank, filter).ok().and_then(Option::take))
    }
}

const SLICE: SliceId = SliceId(7);

fn hold_to_the_kit() {
    let pattern = |rng: &mut Rng| (Rank(0), LookupKey::new(rng.below(40).into()), MASK);
    ternary_table(|| Labels::new(SLICE), pattern, &[SLICE], 100, 1);
    all_matches(|| Labels::new(SLICE), pattern, &[SLICE], 100, 2);
}

/// Nanoseconds a lookup, of 512 labels in turn.
fn time(table: &impl TernaryTable<Value = EgressId>) -> f64 {
    let keys: Vec<_> = (0..512).map(|n| TableKey::new(SLICE, LookupKey::new(n * 5 % 512))).collect();
    let mut found = [None; 512];
    let start = Instant::now();
    for _ in 0..100 {
        table.lookup_batch(black_box(&keys), &mut found);
        black_box(&found);
    }
    start.elapsed().as_secs_f64() * 1e9 / (100.0 * 512.0)
}

fn main() -> Result<(), TableErrorKind> {
    hold_to_the_kit();
    println!("the table keeps the contract: 200 histories of 96 updates, as a scan would answer");

    let (mut ours, mut scan) = (Labels::new(SLICE), LinearTcam::new([None; 512]));
    for label in 0..512u32 {
        let filter = Filter::new(SLICE, LookupKey::new(label.into()), MASK);
        let egress = EgressId::new(label).expect("a small number");
        ours.insert(Rank(0), filter, egress)?;
        scan.insert(Rank(0), filter, egress)?;
    }
    println!("512 labels: {:.1} ns a lookup, where the scan takes {:.1} ns", time(&ours), time(&scan));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_are_a_table() {
        super::hold_to_the_kit();
    }
}
