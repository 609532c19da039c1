//! Filters that were refused for their cost, so that asking again is cheap.

use alloc::collections::VecDeque;

use crate::lookup::{RangedFilter, Rank};

/// How many are remembered, the last ones.
const MOST: usize = 32;

/// Filters that a slice cannot take as it is, each with the lines that it would cost. What
/// is refused depends on the slice's filters and bound alone: it holds until they change.
#[derive(Debug, Default)]
pub(super) struct Refused(VecDeque<(Rank, RangedFilter, u32)>);

impl Refused {
    /// The lines of a filter that was refused.
    pub(super) fn lines(&self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        Some(self.0.iter().find(|refused| (refused.0, &refused.1) == (rank, filter))?.2)
    }

    pub(super) fn remember(&mut self, rank: Rank, filter: &RangedFilter, lines: u32) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((rank, *filter, lines));
    }

    /// Filters or bound have changed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
