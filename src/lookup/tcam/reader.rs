//! The read side of a table, in threads of their own.

use core::marker::PhantomData;
use core::sync::atomic::Ordering::Acquire;

use crate::epoch::View;
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::tcam::engine::Engine;
use crate::lookup::tcam::find;
use crate::lookup::tcam::{Tcam, TcamWriter};
use crate::lookup::{TernaryTable, Word};

/// A reader of a [`Tcam`] in a thread of its own. Lookups are wait-free.
///
/// Whoever reads calls [`quiescent`](TernaryTable::quiescent) after each vector, and drops
/// the reader when it reads no more: the memory of what was removed waits for it.
#[derive(Debug)]
pub struct TcamReader<V = EgressId> {
    view: View<Engine>,
    values: PhantomData<fn() -> V>,
}

impl<V: Word> TcamReader<V> {
    pub(super) const fn new(view: View<Engine>) -> Self {
        Self { view, values: PhantomData }
    }

    /// Another reader, if there are fewer than the table was made for.
    pub fn another(&self) -> Option<Self> {
        Some(Self::new(self.view.another()?))
    }

    /// A number that is another after every update of `slice`; 0 while it has no filters.
    pub fn generation(&self, slice: SliceId) -> u64 {
        self.engine(slice).map_or(0, |engine| engine.generation.load(Acquire))
    }

    #[inline(always)]
    fn engine(&self, slice: SliceId) -> Option<&Engine> {
        self.view.get(usize::from(slice.0))
    }
}

macro_rules! is_a_table {
    ($table:ident $(, $quiescent:item)?) => {
        impl<V: Word> TernaryTable for $table<V> {
            type Value = V;

            #[inline(always)]
            fn lookup(&self, key: TableKey) -> Option<V> {
                self.engine(key.slice())?.lookup(key.bits()).map(V::of)
            }
            #[inline(always)]
            fn prefetch(&self, key: TableKey) {
                if let Some(engine) = self.engine(key.slice()) {
                    engine.prefetch(key.bits());
                }
            }
            #[inline(always)]
            fn prefetch_deeper(&self, keys: &[TableKey]) {
                find::prefetch_deeper(|slice| self.engine(slice), keys);
            }
            #[inline(always)]
            fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<V>]) {
                find::lookup_batch(|slice| self.engine(slice), keys, found);
            }
            $($quiescent)?
        }
    };
}

is_a_table!(Tcam);
is_a_table!(TcamWriter);
is_a_table!(
    TcamReader,
    #[inline(always)]
    fn quiescent(&mut self) {
        self.view.quiescent();
    }
);
