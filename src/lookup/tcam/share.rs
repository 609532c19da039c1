//! What slices share, counted so that writers in different threads can take of it: room for
//! filters, and memory that waits for readers.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::lookup::forest::Machine;
use crate::lookup::tcam::TcamConfig;

/// Of all slices.
///
/// Invariant: `taken` is the sum of what the slices hold and what they are about to, and
/// never more than the table's filters.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: TcamConfig,
    pub(super) machine: Machine,
    /// Filters in use or promised.
    taken: AtomicUsize,
    /// Octets that wait for readers.
    waiting: AtomicUsize,
}

/// Of one slice: what its writer and the table both know.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Filters in use or promised; [`REVOKED`].
    held: AtomicUsize,
    /// Filters in use, which the writer alone changes.
    filters: AtomicUsize,
}

/// The table has taken the slice back, and what it held.
const REVOKED: usize = usize::MAX;

impl Shared {
    pub(super) fn new(config: TcamConfig) -> Self {
        let none = || AtomicUsize::new(0);
        Self { config, machine: Machine::of(config.simd), taken: none(), waiting: none() }
    }

    /// Filters that are neither in use nor promised.
    pub(super) fn left(&self) -> usize {
        self.config.filters - self.taken.load(Relaxed)
    }

    fn claim(&self, filters: usize) -> bool {
        let more = |taken: usize| taken.checked_add(filters).filter(|taken| *taken <= self.config.filters);
        // Relaxed, here and below: numbers that publish nothing.
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn release(&self, filters: usize) {
        self.taken.fetch_sub(filters, Relaxed);
    }

    /// What waits for one holder of memory has changed.
    pub(super) fn waits(&self, before: usize, now: usize) {
        if now > before {
            self.waiting.fetch_add(now - before, Relaxed);
        } else {
            self.waiting.fetch_sub(before - now, Relaxed);
        }
    }

    /// Whether a slice of which so many octets wait may let more wait.
    pub(super) fn may_defer(&self, own: usize) -> bool {
        let TcamConfig { deferred, slices, .. } = self.config;
        self.waiting.load(Relaxed) <= deferred || own <= deferred / slices.max(1)
    }
}

/// Why a slice may not hold so many filters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    Full,
    Revoked,
}

impl Share {
    /// Holds `after` filters in place of `before`, which only its writer changes. Nothing
    /// has changed if it is denied.
    pub(super) fn hold(&self, shared: &Shared, before: usize, after: usize) -> Result<(), Denied> {
        let more = after.saturating_sub(before);
        if more > 0 && !shared.claim(more) {
            return Err(Denied::Full);
        }
        if self.held.compare_exchange(before, after, AcqRel, Acquire).is_err() {
            shared.release(more);
            return Err(Denied::Revoked);
        }
        shared.release(before.saturating_sub(after));
        Ok(())
    }

    /// Takes the slice back: what it held is free.
    pub(super) fn revoke(&self, shared: &Shared) {
        let held = self.held.swap(REVOKED, AcqRel);
        if held != REVOKED {
            shared.release(held);
        }
    }

    /// Filters in use.
    pub(super) fn filters(&self) -> usize {
        self.filters.load(Relaxed)
    }

    pub(super) fn set_filters(&self, filters: usize) {
        self.filters.store(filters, Relaxed);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.held.load(Relaxed) == REVOKED
    }

    /// Whether what its writer has just published is to be taken out of sight again.
    ///
    /// Either this sees the revocation, or who revokes sees what was published before this:
    /// read-modify-writes of one number stand in one order.
    pub(super) fn was_revoked(&self) -> bool {
        self.held.fetch_add(0, AcqRel) == REVOKED
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_free_once() {
        let shared = Shared::new(TcamConfig { filters: 10, ..TcamConfig::default() });
        let [one, two] = [Share::default(), Share::default()];
        assert_eq!((one.hold(&shared, 0, 7), two.hold(&shared, 0, 4)), (Ok(()), Err(Denied::Full)));
        assert_eq!((two.hold(&shared, 0, 3), shared.left()), (Ok(()), 0));
        assert!(!one.was_revoked());
        one.revoke(&shared);
        one.revoke(&shared);
        assert_eq!((one.is_revoked(), one.was_revoked(), shared.left()), (true, true, 7));
        assert_eq!(one.hold(&shared, 7, 8), Err(Denied::Revoked));
        assert_eq!((one.hold(&shared, 7, 0), shared.left()), (Err(Denied::Revoked), 7));
        assert_eq!((two.hold(&shared, 3, 1), shared.left()), (Ok(()), 9));
    }
}
