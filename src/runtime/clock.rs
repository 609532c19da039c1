//! Where time comes from, and how it is waited for.

use std::os::fd::BorrowedFd;
use std::time::Instant;
use std::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::time::Nanos;

/// A clock that a worker reads once a turn, and sleeps by.
pub trait Clock {
    /// The time; it never runs backwards.
    fn now(&mut self) -> Nanos;

    /// Waits until one of `readable` is, or `most` has passed; sooner is no harm.
    fn wait(&mut self, readable: &[BorrowedFd<'_>], most: Nanos);
}

/// The system's monotonic clock, from the time when it was made. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    start: Instant,
}

impl Default for Monotonic {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for Monotonic {
    fn now(&mut self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wait(&mut self, readable: &[BorrowedFd<'_>], most: Nanos) {
        let watched = readable.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        let mut watched: Vec<_> = watched.collect();
        let (seconds, rest) = (most.0 / 1_000_000_000, most.0 % 1_000_000_000);
        let most = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: rest as _ };
        // Interrupted or not: who called looks again.
        let _ = poll(&mut watched, Some(&most));
    }
}
