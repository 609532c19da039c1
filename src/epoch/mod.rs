//! When memory that readers may still see can be used again.
//!
//! Quiescent-state-based reclamation (P. McKenney, "Exploiting Deferred Destruction",
//! PhD thesis, 2004; T. Hart et al., "Performance of memory reclamation for lockless
//! synchronization", JPDC 67(12), 2007). A writer takes something out of sight and asks
//! for the [`Epoch`] that begins then. Each reader says now and then, at the end of a
//! vector of packets, that it holds nothing: it has *passed* the present epoch. What went
//! out of sight before an epoch that all readers have passed, nobody sees any more.
//!
//! Writers share one time: whoever passes an epoch has passed those that other writers
//! began before, and has seen what they took out of sight (beginning an epoch is one
//! read-modify-write, so a reader that sees the last one is ordered behind all of them).
//! They wait neither for readers nor for each other.
//!
//! A reader's part is one load and one store a vector, wait-free; it writes to a cache
//! line of its own. A reader that stalls delays nobody but the writer's reuse of memory,
//! which is for the writer to bound. A reader that is about to sleep [rests](Reader::rest)
//! and delays nothing.
//!
//! ```
//! use fastpath::epoch::Epochs;
//!
//! let epochs = Epochs::new(8);
//! let mut reader = epochs.reader().unwrap();
//! // A vector begins; the writer takes something out of sight meanwhile.
//! let epoch = epochs.advance();
//! assert!(!epochs.passed(epoch), "the reader may see it still");
//! reader.quiescent();
//! assert!(epochs.passed(epoch));
//! ```

mod board;
mod lent;
#[cfg(all(test, loom))]
mod model;
pub(crate) mod sync;

pub(crate) use board::{Board, CellWriter, View};
pub(crate) use lent::{Lent, Return, lend};

use alloc::boxed::Box;

use sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use sync::{Arc, AtomicU64, fence};

/// A point in the writers' time. Later is greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(u64);

/// A writer's side: it begins epochs. A clone is another writer's, of the same time and
/// readers.
#[derive(Clone, Debug)]
pub struct Epochs {
    seats: Arc<Seats>,
}

/// A reader's side. What a reader sees borrows it, so that it cannot say too early that
/// it sees nothing.
///
/// Dropping it frees its seat.
#[derive(Debug)]
pub struct Reader {
    seats: Arc<Seats>,
    at: usize,
}

/// A reader that reads nothing, and delays nobody.
#[derive(Debug)]
pub struct Resting(Reader);

#[derive(Debug)]
struct Seats {
    /// The epoch that began last.
    now: AtomicU64,
    /// The last epoch that each reader has passed; [`FREE`] or [`RESTING`].
    passed: Box<[Seat]>,
}

/// A cache line each: readers do not disturb each other.
#[derive(Debug)]
#[repr(align(64))]
struct Seat(AtomicU64);

const FREE: u64 = u64::MAX;
const RESTING: u64 = u64::MAX - 1;

impl Epochs {
    /// With seats for so many readers at once; 64 octets each.
    pub fn new(readers: usize) -> Self {
        let passed = core::iter::repeat_with(|| Seat(AtomicU64::new(FREE))).take(readers).collect();
        Self { seats: Arc::new(Seats { now: AtomicU64::new(0), passed }) }
    }

    /// With seats for so many readers, at least one, and the first reader.
    pub fn with_reader(readers: usize) -> (Self, Reader) {
        let first = (0..readers.max(1)).map(|at| Seat(AtomicU64::new(if at == 0 { 0 } else { FREE })));
        let seats = Arc::new(Seats { now: AtomicU64::new(0), passed: first.collect() });
        (Self { seats: Arc::clone(&seats) }, Reader { seats, at: 0 })
    }

    /// A reader, if a seat is free.
    pub fn reader(&self) -> Option<Reader> {
        Seats::take(&self.seats)
    }

    /// Begins an epoch. What was taken out of sight before is free as soon as all readers
    /// have [passed](Self::passed) it.
    pub fn advance(&self) -> Epoch {
        // Release: a reader that has seen the epoch, or a later one of any writer's, has
        // seen what was done before.
        let epoch = self.seats.now.fetch_add(1, Release) + 1;
        // A reader that sits down now either is seen by this writer's next look at the
        // seats, or sees what was done before.
        fence(SeqCst);
        Epoch(epoch)
    }

    /// Whether nobody sees any more what was taken out of sight before `epoch`.
    ///
    /// O(seats).
    pub fn passed(&self, epoch: Epoch) -> bool {
        self.oldest() >= epoch
    }

    /// The last epoch that all readers have passed.
    pub fn oldest(&self) -> Epoch {
        // Acquire: what a reader read before it passed, it read before now.
        let passed = self.seats.passed.iter().map(|seat| seat.0.load(Acquire));
        Epoch(passed.min().unwrap_or(FREE))
    }
}

impl Seats {
    fn take(seats: &Arc<Self>) -> Option<Reader> {
        let at = seats.passed.iter().position(|seat| seats.sit_down(seat, FREE))?;
        Some(Reader { seats: Arc::clone(seats), at })
    }

    /// Takes a seat that holds `empty`.
    fn sit_down(&self, seat: &Seat, empty: u64) -> bool {
        // The fence orders both with what is read from here on: what the seat says is what
        // the reader has seen, and who had the seat before has let go.
        let now = self.now.load(Relaxed);
        let taken = seat.0.compare_exchange(empty, now, Relaxed, Relaxed).is_ok();
        // And see `advance`.
        fence(SeqCst);
        taken
    }
}

impl Reader {
    /// Says that the reader holds nothing that it read before: the end of a vector.
    #[inline(always)]
    pub fn quiescent(&mut self) {
        if let Some(seat) = self.seats.passed.get(self.at) {
            // Acquire: what is read after this is as new as the epoch that the seat says.
            // Release: what was read before this was read before the seat says so.
            seat.0.store(self.seats.now.load(Acquire), Release);
        }
    }

    /// Another reader, if a seat is free.
    pub fn another(&self) -> Option<Self> {
        Seats::take(&self.seats)
    }

    /// Leaves off reading, for as long as it likes.
    pub fn rest(self) -> Resting {
        if let Some(seat) = self.seats.passed.get(self.at) {
            seat.0.store(RESTING, Release);
        }
        Resting(self)
    }
}

impl Resting {
    /// Reads on.
    pub fn resume(self) -> Reader {
        let Self(reader) = self;
        if let Some(seat) = reader.seats.passed.get(reader.at) {
            // The seat is this reader's: nobody else changes it.
            let _ = reader.seats.sit_down(seat, RESTING);
        }
        reader
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(seat) = self.seats.passed.get(self.at) {
            seat.0.store(FREE, Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_first_reader_has_the_first_seat() {
        let (epochs, mut first) = Epochs::with_reader(0);
        assert!(epochs.reader().is_none(), "there is one seat");
        let epoch = epochs.advance();
        assert!(!epochs.passed(epoch));
        first.quiescent();
        assert!(epochs.passed(epoch));
    }

    #[test]
    fn an_epoch_is_passed_when_every_reader_has_passed_it() {
        let epochs = Epochs::new(2);
        let first = epochs.advance();
        assert!(epochs.passed(first), "there is no reader");
        let (mut one, two) = (epochs.reader().unwrap(), epochs.reader().unwrap());
        assert!(epochs.reader().is_none() && one.another().is_none(), "two seats");
        assert!(epochs.passed(first), "both came later");
        let second = epochs.advance();
        one.quiescent();
        assert!(!epochs.passed(second));
        let two = two.rest();
        assert!(epochs.passed(second), "who rests sees nothing");
        let third = epochs.advance();
        let two = two.resume();
        assert!(!epochs.passed(third), "the first has not passed it");
        one.quiescent();
        assert!(epochs.passed(third), "and the second came later");
        let fourth = epochs.advance();
        drop(one);
        assert!(!epochs.passed(fourth));
        drop(two);
        assert!(epochs.passed(fourth) && epochs.reader().is_some());
    }
}
