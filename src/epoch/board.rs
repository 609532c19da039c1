//! One of the files that need `unsafe`: values that their writer replaces while others
//! read them.

#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ptr::{self, NonNull};

use super::sync::Ordering::{AcqRel, Acquire, Release};
use super::sync::{Arc, AtomicPtr};
use super::{Epoch, Epochs, Reader};

/// Values by number that one writer replaces and any number of [`View`]s see. A look is
/// one load.
#[derive(Debug)]
pub(crate) struct Board<T> {
    cells: Arc<Cells<T>>,
    epochs: Epochs,
    /// What was replaced, and since when; the oldest first.
    retired: VecDeque<(Epoch, NonNull<T>)>,
}

/// A reader of a [`Board`]. What it sees borrows it; [`quiescent`](Self::quiescent) takes
/// it by `&mut`, when it sees nothing.
#[derive(Debug)]
pub(crate) struct View<T> {
    cells: Arc<Cells<T>>,
    reader: Reader,
}

/// Invariant: each pointer is null or of a box that no other cell holds. The value is
/// not freed, and nobody has `&mut` to it, before the pointer was replaced and every
/// reader of the board has passed an epoch that began after that.
#[derive(Debug)]
struct Cells<T> {
    values: Box<[AtomicPtr<T>]>,
    /// What was retired and not freed when the writer went: a box of them, or null.
    left: AtomicPtr<Vec<NonNull<T>>>,
}

// SAFETY: cells give `&T` to the threads that share them (`T: Sync`), and drop a `T` in
// whichever thread lets go last (`T: Send`).
unsafe impl<T: Send + Sync> Sync for Cells<T> {}
// SAFETY: as above; moving the cells moves pointers, not values.
unsafe impl<T: Send + Sync> Send for Cells<T> {}
// SAFETY: the retired values are the board's own, `T: Send`, and may be seen by other
// threads meanwhile, `T: Sync`.
unsafe impl<T: Send + Sync> Send for Board<T> {}
// SAFETY: `&Board` gives `&T` only.
unsafe impl<T: Send + Sync> Sync for Board<T> {}

impl<T> Board<T> {
    /// So many cells without a value, and seats for so many readers.
    pub(crate) fn new(cells: usize, readers: usize) -> Self {
        let null = || AtomicPtr::new(ptr::null_mut());
        let values = core::iter::repeat_with(null).take(cells).collect();
        let cells = Arc::new(Cells { values, left: AtomicPtr::new(ptr::null_mut()) });
        Self { cells, epochs: Epochs::new(readers), retired: VecDeque::new() }
    }

    /// The value of a cell.
    #[inline(always)]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        // SAFETY: the pointer is null or of a box. What is in a cell is freed only after
        // `replace`, which takes the board by `&mut`; and when the cells are dropped,
        // which the board holds.
        unsafe { self.cells.values.get(at)?.load(Acquire).as_ref() }
    }

    /// The value of a cell, and the epochs for what it defers by itself.
    pub(crate) fn get_with_epochs(&mut self, at: usize) -> (Option<&T>, &mut Epochs) {
        // SAFETY: as in `get`; the board is borrowed by `&mut` for as long as the value is.
        let value = self.cells.values.get(at).and_then(|cell| unsafe { cell.load(Acquire).as_ref() });
        (value, &mut self.epochs)
    }

    /// The epochs, for what a test defers.
    #[cfg(test)]
    pub(crate) fn epochs(&mut self) -> &mut Epochs {
        &mut self.epochs
    }

    /// Puts `value` into a cell. What was there is dropped by a later
    /// [`reclaim`](Self::reclaim). Gives the value back if there is no such cell.
    pub(crate) fn replace(&mut self, at: usize, value: Option<Box<T>>) -> Result<(), Option<Box<T>>> {
        let Some(cell) = self.cells.values.get(at) else { return Err(value) };
        let value = value.map_or(ptr::null_mut(), Box::into_raw);
        // Release: the value was written before it is published.
        let old = cell.swap(value, AcqRel);
        if let Some(old) = NonNull::new(old) {
            self.retired.push_back((self.epochs.advance(), old));
        }
        Ok(())
    }

    /// Drops what was replaced and is seen by nobody any more; returns how many values are
    /// left to drop.
    pub(crate) fn reclaim(&mut self) -> usize {
        let oldest = self.epochs.oldest();
        while let Some(&(epoch, value)) = self.retired.front() {
            if epoch > oldest {
                break;
            }
            self.retired.pop_front();
            // SAFETY: the pointer is of a box, was taken out of its cell, and stood in
            // this list only. Every reader has passed an epoch that began after that, and
            // a view that sees a value cannot pass one: `quiescent` takes it by `&mut`.
            drop(unsafe { Box::from_raw(value.as_ptr()) });
        }
        self.retired.len()
    }

    /// A reader, if a seat is free.
    pub(crate) fn view(&self) -> Option<View<T>> {
        Some(View { cells: Arc::clone(&self.cells), reader: self.epochs.reader()? })
    }
}

impl<T> View<T> {
    /// The value of a cell.
    #[inline(always)]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        // Acquire: the value was written before it was published.
        // SAFETY: the pointer is null or of a box, and the value is not freed before this
        // reader has passed an epoch that began after the pointer was replaced. The
        // reader passes epochs in `quiescent`, `rest` and when it is dropped, which need
        // it by `&mut` or by value, and the result borrows it.
        unsafe { self.cells.values.get(at)?.load(Acquire).as_ref() }
    }

    /// Says that nothing seen before is used any more.
    #[inline(always)]
    pub(crate) fn quiescent(&mut self) {
        self.reader.quiescent();
    }

    /// Another reader, if a seat is free.
    pub(crate) fn another(&self) -> Option<Self> {
        Some(Self { cells: Arc::clone(&self.cells), reader: self.reader.another()? })
    }
}

impl<T> Drop for Board<T> {
    fn drop(&mut self) {
        self.reclaim();
        if !self.retired.is_empty() {
            // Views may see these; the last holder of the cells drops them.
            let left = Box::new(self.retired.drain(..).map(|(_, value)| value).collect());
            self.cells.left.store(Box::into_raw(left), Release);
        }
    }
}

impl<T> Drop for Cells<T> {
    fn drop(&mut self) {
        for value in &self.values {
            let value = value.load(Acquire);
            if !value.is_null() {
                // SAFETY: of a box, in this cell only, and `&mut self` says that neither
                // board nor view is left that could see it.
                drop(unsafe { Box::from_raw(value) });
            }
        }
        let left = self.left.load(Acquire);
        if !left.is_null() {
            // SAFETY: `Board::drop` made it from a box; it runs once.
            let left = unsafe { Box::from_raw(left) };
            for value in left.into_iter() {
                // SAFETY: of a box, taken out of its cell and of the board's list; nobody
                // is left that could see it.
                drop(unsafe { Box::from_raw(value.as_ptr()) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    /// Counts those that are alive.
    struct Counted<'a>(&'a AtomicUsize, u32);

    impl<'a> Counted<'a> {
        fn new(alive: &'a AtomicUsize, value: u32) -> Option<Box<Self>> {
            alive.fetch_add(1, Relaxed);
            Some(Box::new(Self(alive, value)))
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    #[test]
    fn a_value_lives_until_every_view_has_let_go() {
        let alive = AtomicUsize::new(0);
        let mut board = Board::new(2, 2);
        assert!(board.get(0).is_none() && board.get(2).is_none());
        assert!(board.replace(0, Counted::new(&alive, 1)).is_ok());
        let (mut one, two) = (board.view().unwrap(), board.view().unwrap());
        assert!(board.view().is_none() && one.another().is_none());
        let seen = two.get(0).unwrap();
        assert!(board.replace(0, Counted::new(&alive, 2)).is_ok());
        one.quiescent();
        assert_eq!((board.reclaim(), seen.1, one.get(0).unwrap().1), (1, 1, 2));
        assert_eq!(alive.load(Relaxed), 2);
        drop(two);
        assert_eq!((board.reclaim(), alive.load(Relaxed)), (0, 1));
        assert!(board.replace(7, Counted::new(&alive, 3)).is_err(), "no such cell: it comes back");
        assert_eq!(alive.load(Relaxed), 1);
        // The writer goes first, with something retired.
        assert!(board.replace(0, None).is_ok() && board.replace(1, Counted::new(&alive, 4)).is_ok());
        drop(board);
        assert_eq!((alive.load(Relaxed), one.get(1).unwrap().1), (2, 4));
        drop(one);
        assert_eq!(alive.load(Relaxed), 0);
    }

    #[test]
    fn readers_see_whole_values_while_they_are_replaced() {
        let mut board = Board::new(1, 3);
        let value = |n: u64| Some(Box::new([n; 64]));
        assert!(board.replace(0, value(0)).is_ok());
        let views: Vec<_> = (0..2).map(|_| board.view().unwrap()).collect();
        std::thread::scope(|scope| {
            for mut view in views {
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 20_000 {
                        let seen = *view.get(0).unwrap();
                        assert!(seen.iter().all(|n| *n == seen[0]) && seen[0] >= last);
                        last = seen[0];
                        view.quiescent();
                    }
                });
            }
            for n in 1..=20_000 {
                assert!(board.replace(0, value(n)).is_ok());
                board.reclaim();
            }
        });
        assert_eq!(board.reclaim(), 0);
    }
}

/// Every interleaving of a writer and readers, as the memory model allows them.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc as Shared;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::atomic::Ordering::Relaxed;
    use loom::thread;

    /// A value whose drop a reader that still holds it would notice: the checker objects
    /// to a read that is not ordered with the write.
    struct Value(loom::cell::UnsafeCell<u32>, Shared<AtomicUsize>);

    impl Value {
        fn new(value: u32, alive: &Shared<AtomicUsize>) -> Option<Box<Self>> {
            alive.fetch_add(1, Relaxed);
            Some(Box::new(Self(loom::cell::UnsafeCell::new(value), alive.clone())))
        }

        fn get(&self) -> u32 {
            // SAFETY: only `drop` writes.
            self.0.with(|value| unsafe { *value })
        }
    }

    impl Drop for Value {
        fn drop(&mut self) {
            // SAFETY: `&mut self`; the checker sees whether that is true.
            self.0.with_mut(|value| unsafe { *value = u32::MAX });
            self.1.fetch_sub(1, Relaxed);
        }
    }

    // SAFETY: the checker watches the cell.
    unsafe impl Sync for Value {}

    #[test]
    fn no_value_is_dropped_while_a_view_sees_it() {
        loom::model(|| {
            let alive = Shared::new(AtomicUsize::new(0));
            let mut board = Board::new(1, 1);
            assert!(board.replace(0, Value::new(1, &alive)).is_ok());
            let mut view = board.view().unwrap();
            let reader = thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let seen = view.get(0).map_or(0, Value::get);
                    assert!((1..3).contains(&seen) && seen >= last);
                    last = seen;
                    view.quiescent();
                }
            });
            assert!(board.replace(0, Value::new(2, &alive)).is_ok());
            board.reclaim();
            board.reclaim();
            reader.join().unwrap();
            assert_eq!(board.reclaim(), 0);
            drop(board);
            assert_eq!(alive.load(Relaxed), 0);
        });
    }

    #[test]
    fn a_view_that_comes_late_or_rests_sees_what_is_there() {
        loom::model(|| {
            let alive = Shared::new(AtomicUsize::new(0));
            let mut board = Board::new(1, 2);
            assert!(board.replace(0, Value::new(1, &alive)).is_ok());
            let first = board.view().unwrap();
            let reader = thread::spawn(move || {
                // Sits down while the writer replaces and reclaims.
                let second = first.another().unwrap();
                drop(first);
                assert!((1..3).contains(&second.get(0).map_or(0, Value::get)));
            });
            assert!(board.replace(0, Value::new(2, &alive)).is_ok());
            board.reclaim();
            // The writer goes first, or the view does.
            drop(board);
            reader.join().unwrap();
            assert_eq!(alive.load(Relaxed), 0);
        });
    }
}
