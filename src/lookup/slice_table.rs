//! A table that looks at the slice first: each slice has an engine and memory of its
//! own, so that no filter of one slice costs another an instruction.

use crate::key::TableKey;
use crate::lookup::{AllMatches, Filter, Hit, Place, Rank, TableErrorKind, TernaryTable, TernaryUpdate};
use crate::store::Store;

/// An engine for each slice, by slice number.
///
/// The engines are of one type, which may be [`Engine`] or an enum of one's own. A
/// lookup costs one index more than the engine's.
#[derive(Clone, Debug)]
pub struct SliceTable<S>(pub S);

impl<S: Store> SliceTable<S> {
    #[inline(always)]
    fn engine(&self, key: TableKey) -> Option<&S::Item> {
        self.0.items().get(usize::from(key.slice().0))
    }

    /// The engine of a filter's slice, to be updated or replaced.
    fn engine_mut(&mut self, filter: &Filter) -> Option<&mut S::Item> {
        self.0.items_mut().get_mut(usize::from(filter.slice().0))
    }
}

impl<S: Store<Item: TernaryTable>> TernaryTable for SliceTable<S> {
    type Value = <S::Item as TernaryTable>::Value;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<Self::Value> {
        self.engine(key)?.lookup(key)
    }
    #[inline(always)]
    fn prefetch(&self, key: TableKey) {
        if let Some(engine) = self.engine(key) {
            engine.prefetch(key);
        }
    }
    /// One choice of an engine for neighbours of the same slice.
    #[inline(always)]
    fn lookup_batch(&self, keys: &[TableKey], mut found: &mut [Option<Self::Value>]) {
        let keys = keys.get(..found.len()).unwrap_or(keys);
        for keys in keys.chunk_by(|one, next| one.slice() == next.slice()) {
            let Some((answers, rest)) = found.split_at_mut_checked(keys.len()) else { return };
            match keys.first().and_then(|&key| self.engine(key)) {
                Some(engine) => engine.lookup_batch(keys, answers),
                None => answers.fill(None),
            }
            found = rest;
        }
    }
    fn quiescent(&mut self) {
        self.0.items_mut().iter_mut().for_each(TernaryTable::quiescent);
    }
}

impl<S: Store<Item: AllMatches>> AllMatches for SliceTable<S> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<Self::Value>> {
        self.engine(key)?.next_match(key, after)
    }
}

impl<S: Store<Item: TernaryUpdate<Error = TableErrorKind>>> TernaryUpdate for SliceTable<S> {
    type Error = TableErrorKind;

    fn insert(
        &mut self, rank: Rank, filter: Filter, value: Self::Value,
    ) -> Result<Option<Self::Value>, Self::Error> {
        let engine = self.engine_mut(&filter).ok_or(TableErrorKind::UnknownSlice)?;
        engine.insert(rank, filter, value)
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<Self::Value>, Self::Error> {
        match self.engine_mut(filter) {
            Some(engine) => engine.remove(rank, filter),
            None => Ok(None),
        }
    }
}

/// What finds a slice's filters: chosen for what they look like.
#[cfg(feature = "alloc")]
pub use with_alloc::Engine;

#[cfg(feature = "alloc")]
mod with_alloc {
    use super::*;
    use crate::id::EgressId;
    use crate::lookup::{Dir24, LinearTcam, Row, TupleSpace};
    use alloc::boxed::Box;

    /// What finds a slice's filters: chosen for what they look like.
    #[derive(Debug, Default)]
    pub enum Engine {
        /// The slice has no filters, and can take none.
        #[default]
        Empty,
        /// A few, of any form.
        Linear(LinearTcam<Box<[Option<Row<EgressId>>]>>),
        /// Many, with few different masks.
        TupleSpace(TupleSpace<EgressId>),
        /// IPv4 routes.
        Routes(Box<Dir24>),
    }

    impl Engine {
        /// A scan of up to `filters` filters.
        pub fn linear(filters: usize) -> Self {
            Self::Linear(LinearTcam::new(alloc::vec![None; filters].into_boxed_slice()))
        }
    }

    impl TernaryTable for Engine {
        type Value = EgressId;

        #[inline(always)]
        fn lookup(&self, key: TableKey) -> Option<EgressId> {
            match self {
                // The table has looked at the slice.
                Self::Routes(routes) => routes.route(key.bits() as u32),
                Self::Linear(rows) => rows.lookup(key),
                Self::TupleSpace(tuples) => tuples.lookup(key),
                Self::Empty => None,
            }
        }
        #[inline(always)]
        fn prefetch(&self, key: TableKey) {
            if let Self::Routes(routes) = self {
                routes.prefetch(key);
            }
        }
        #[inline(always)]
        fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<EgressId>]) {
            match self {
                Self::Routes(routes) => {
                    for (key, found) in keys.iter().zip(found) {
                        *found = routes.route(key.bits() as u32);
                    }
                }
                Self::Linear(rows) => rows.lookup_batch(keys, found),
                Self::TupleSpace(tuples) => tuples.lookup_batch(keys, found),
                Self::Empty => found.iter_mut().zip(keys).for_each(|(found, _)| *found = None),
            }
        }
    }

    impl AllMatches for Engine {
        fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<EgressId>> {
            match self {
                Self::Routes(routes) => routes.next_match(key, after),
                Self::Linear(rows) => rows.next_match(key, after),
                Self::TupleSpace(tuples) => tuples.next_match(key, after),
                Self::Empty => None,
            }
        }
    }

    impl TernaryUpdate for Engine {
        type Error = TableErrorKind;

        fn insert(
            &mut self, rank: Rank, filter: Filter, value: EgressId,
        ) -> Result<Option<EgressId>, Self::Error> {
            match self {
                Self::Routes(routes) => routes.insert(rank, filter, value),
                Self::Linear(rows) => rows.insert(rank, filter, value),
                Self::TupleSpace(tuples) => tuples.insert(rank, filter, value),
                Self::Empty => Err(TableErrorKind::UnknownSlice),
            }
        }
        fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<EgressId>, Self::Error> {
            match self {
                Self::Routes(routes) => routes.remove(rank, filter),
                Self::Linear(rows) => rows.remove(rank, filter),
                Self::TupleSpace(tuples) => tuples.remove(rank, filter),
                Self::Empty => Ok(None),
            }
        }
    }
}
