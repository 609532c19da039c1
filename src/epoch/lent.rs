//! One of the files that need `unsafe`: a value that comes back from another thread.

#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::ptr;

use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::{Arc, AtomicPtr};

/// Where a value comes back to. The other end gives it back once, or never.
#[derive(Debug)]
pub(crate) struct Lent<T>(Arc<Slot<T>>);

/// Gives a value back to who lent it.
#[derive(Debug)]
pub(crate) struct Return<T>(Arc<Slot<T>>);

/// Invariant: null, or of a box. Only [`Return::give`] puts one here, and only
/// [`Lent::take`] takes one out.
#[derive(Debug)]
struct Slot<T>(AtomicPtr<T>);

// SAFETY: the slot moves a `T` from one thread to another (`T: Send`), and shows it to those
// that share its owner (`T: Sync`).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Slot<T> {}

/// Both ends of a place for one value.
pub(crate) fn lend<T>() -> (Lent<T>, Return<T>) {
    let slot = Arc::new(Slot(AtomicPtr::new(ptr::null_mut())));
    (Lent(Arc::clone(&slot)), Return(slot))
}

impl<T> Return<T> {
    /// Gives it back.
    pub(crate) fn give(self, value: Box<T>) {
        // Release: the value was written before it is given back.
        self.0.0.store(Box::into_raw(value), Release);
    }
}

impl<T> Lent<T> {
    /// The value, if it is back.
    pub(crate) fn peek(&self) -> Option<&T> {
        // SAFETY: null or of a box, which only `take` takes out, by `&mut`.
        unsafe { self.0.0.load(Acquire).as_ref() }
    }

    /// Takes the value that is back.
    pub(crate) fn take(&mut self) -> Option<Box<T>> {
        let value = self.0.0.load(Acquire);
        if value.is_null() {
            return None;
        }
        // Relaxed: nobody puts another one here.
        self.0.0.store(ptr::null_mut(), Relaxed);
        // SAFETY: of a box, and in no slot any more; `&mut self` says that nobody looks.
        Some(unsafe { Box::from_raw(value) })
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // Relaxed: both ends have let go of their `Arc`.
        let value = self.0.load(Relaxed);
        if !value.is_null() {
            // SAFETY: of a box that nobody took.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_there_once() {
        let (mut lent, home) = lend();
        assert!(lent.peek().is_none() && lent.take().is_none());
        std::thread::spawn(move || home.give(Box::new([7]))).join().unwrap();
        assert_eq!(lent.peek().map(|value| value[0]), Some(7));
        assert_eq!((lent.take(), lent.take()), (Some(Box::new([7])), None));
        let (lent, home) = lend();
        let value = alloc::sync::Arc::new(());
        home.give(Box::new(value.clone()));
        drop(lent);
        assert_eq!(alloc::sync::Arc::strong_count(&value), 1, "nobody took it");
    }
}
