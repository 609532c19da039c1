//! How a worker that sleeps is woken: a byte in a pipe that it waits for.

use std::io::{PipeReader, PipeWriter, Read, Result, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, fence};

/// Wakes a worker, from any thread.
///
/// Who has put something where the worker looks calls [`wake`](Self::wake), which costs a
/// fence and a load while the worker is awake. The worker says that it will sleep, and looks
/// once more: of two fences in one order, either it sees what was put, or the other sees it
/// asleep. If it did not, the worker would sleep no longer than its time-out.
#[derive(Debug)]
pub(super) struct Waker {
    asleep: AtomicBool,
    pipe: PipeWriter,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Sleeper {
    waker: Arc<Waker>,
    pipe: PipeReader,
}

impl Waker {
    pub(super) fn wake(&self) {
        fence(SeqCst);
        // Whoever finds it asleep, and nobody else, writes one byte.
        if self.asleep.load(Relaxed) && self.asleep.swap(false, AcqRel) {
            let _ = (&self.pipe).write(&[0]);
        }
    }
}

impl Sleeper {
    pub(super) fn new() -> Result<Self> {
        let (reader, writer) = pipe()?;
        let waker = Arc::new(Waker { asleep: AtomicBool::new(false), pipe: writer });
        Ok(Self { waker, pipe: reader })
    }

    pub(super) const fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// What is readable when it was woken.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// From now on it is woken; to be followed by a last look.
    pub(super) fn lie_down(&self) {
        self.waker.asleep.store(true, Relaxed);
        fence(SeqCst);
    }

    pub(super) fn get_up(&mut self) {
        if !self.waker.asleep.swap(false, AcqRel) {
            // Somebody has written the byte, or is about to.
            let _ = self.pipe.read(&mut [0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Clock, Monotonic};
    use crate::time::Nanos;
    use std::sync::atomic::AtomicU64;
    use std::thread;

    #[test]
    fn who_sleeps_is_woken_each_time() {
        let mut sleeper = Sleeper::new().unwrap();
        let (waker, work) = (sleeper.waker().clone(), Arc::new(AtomicU64::new(0)));
        let put = work.clone();
        let other = thread::spawn(move || {
            for _ in 0..1000 {
                put.fetch_add(1, Relaxed);
                waker.wake();
            }
        });
        let (mut clock, mut seen) = (Monotonic::default(), 0);
        while seen < 1000 {
            sleeper.lie_down();
            if work.load(Relaxed) == seen {
                // Longer than any test: a lost wake-up hangs.
                clock.wait(&[sleeper.readable()], Nanos::from_secs(3600));
            }
            sleeper.get_up();
            seen = work.load(Relaxed);
        }
        other.join().unwrap();
        // No byte is left over.
        sleeper.lie_down();
        sleeper.waker().wake();
        sleeper.get_up();
        assert_eq!(seen, 1000);
    }
}
