//! What a table is made with, and what it refuses.

use crate::id::SliceId;
use crate::lookup::{Simd, TableError, TableErrorKind};

/// What a [`Tcam`](super::Tcam) is made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcamConfig {
    /// Filters of all slices together.
    pub filters: usize,
    /// Slices, by number from 0 on.
    pub slices: usize,
    /// Readers at once.
    pub readers: usize,
    /// Cache lines that a lookup may touch, for slices that are not given a bound of their
    /// own.
    pub lines: u32,
    /// Octets that may wait for readers, of all slices together. Beyond, the updates of a
    /// slice are refused of which more waits than its even part, `deferred / slices`: so no
    /// slice is refused for what others do while it keeps to its part.
    pub deferred: usize,
    /// Seed of whatever is hashed: not to be guessed by who sends packets.
    pub seed: u64,
    /// The instructions of lookups.
    pub simd: Simd,
}

impl Default for TcamConfig {
    /// The paper's 131,072 filters, 64 slices, 64 readers, lookups of up to 128 lines,
    /// 64 MiB deferred. The seed is fixed: choose one where hashed keys come from strangers.
    fn default() -> Self {
        Self {
            filters: 131_072,
            slices: 64,
            readers: 64,
            lines: 128,
            deferred: 64 << 20,
            seed: 0x9e37_79b9_7f4a_7c15,
            simd: Simd::Detect,
        }
    }
}

/// Why an update was refused. The table is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TcamError {
    /// No such slice.
    #[error("slice {slice} is out of range: the table has {slices} slices")]
    UnknownSlice {
        /// The slice named.
        slice: SliceId,
        /// How many there are.
        slices: usize,
    },
    /// No filter is left for this slice: all are in use, or reserved for others.
    #[error("no filter is left for slice {0}: remove filters, or reserve more")]
    Full(SliceId),
    /// So many cannot be reserved.
    #[error("{asked} filters asked for, {left} are neither in use nor reserved")]
    Reserve {
        /// Asked for.
        asked: usize,
        /// Left.
        left: usize,
    },
    /// A lookup might touch more cache lines than the slice may.
    #[error("a lookup of slice {slice} might touch {lines} cache lines, {bound} is its bound")]
    Cost {
        /// The slice.
        slice: SliceId,
        /// What it would take.
        lines: u32,
        /// What is allowed.
        bound: u32,
    },
    /// Too much memory waits for readers that do not say that they are quiescent.
    #[error("{0} octets wait for readers: let every reader say that it is quiescent, or drop it")]
    Deferred(usize),
    /// A filter to be loaded is of another slice.
    #[error("a filter of slice {other} was to be loaded into slice {slice}")]
    OtherSlice {
        /// The slice that is loaded.
        slice: SliceId,
        /// The filter's.
        other: SliceId,
    },
    /// The slice has a writer of its own, which has not been dropped yet.
    #[error("slice {0} was given to a writer: update it there, or drop the writer")]
    GivenOut(SliceId),
    /// The table has taken the slice back from its writer.
    #[error("slice {0} was taken back from its writer")]
    Revoked(SliceId),
    /// The filter that a handle named is gone.
    #[error("the handle names a filter that was removed")]
    UnknownHandle,
}

impl TableError for TcamError {
    fn kind(&self) -> TableErrorKind {
        match self {
            Self::UnknownSlice { .. } | Self::OtherSlice { .. } | Self::GivenOut(_) | Self::Revoked(_) => {
                TableErrorKind::UnknownSlice
            }
            Self::Full(_) | Self::Reserve { .. } => TableErrorKind::Full,
            Self::Deferred(_) => TableErrorKind::Busy,
            Self::Cost { .. } | Self::UnknownHandle => TableErrorKind::Unsupported,
        }
    }
}
