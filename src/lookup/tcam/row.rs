//! A filter on its way from one engine to another.

use alloc::vec::Vec;

use crate::lookup::{Place, RangedFilter};

/// A filter, its place and the word that is stored with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) filter: RangedFilter,
    pub(super) word: u32,
}

/// What became of an update. Nothing has changed unless it is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Changed {
    /// It is done; what was stored before.
    Done(Option<u32>),
    /// The engine cannot hold such a filter.
    Misfit,
    /// The engine must be built anew.
    RebuildDue,
    /// Too much memory waits for readers.
    Busy,
    /// Lookups would touch so many lines, however it is built.
    Cost(u32),
    /// It is done, and lookups may touch more lines than they may.
    Over,
}

/// Puts a filter among rows in the order of their places: where it stands already, or behind
/// those of its rank.
pub(super) fn insert(rows: &mut Vec<Row>, row: Row) {
    let same = |other: &&mut Row| other.place.rank() == row.place.rank() && other.filter == row.filter;
    if let Some(known) = rows.iter_mut().find(same) {
        known.word = row.word;
        return;
    }
    let at = rows.partition_point(|other| other.place.rank() <= row.place.rank());
    // Orders are those of the rows: the last of the rank, and one more.
    let order = rows.iter().map(|row| row.place.order).max().map_or(0, |order| order + 1);
    rows.insert(at, Row { place: Place::new(row.place.rank(), order), ..row });
}

/// Rows in the order of their places, each filter once: at its first place, with its last
/// word.
pub(super) fn distinct(mut rows: Vec<Row>) -> Vec<Row> {
    let identity = |row: &Row| {
        (row.place.rank(), row.filter.filter().value(), row.filter.filter().mask(), row.filter.ranges())
    };
    rows.sort_by(|a, b| identity(a).cmp(&identity(b)).then(a.place.cmp(&b.place)));
    rows.dedup_by(|later, first| {
        let same = identity(later) == identity(first);
        if same {
            first.word = later.word;
        }
        same
    });
    rows.sort_by_key(|row| row.place);
    rows
}
