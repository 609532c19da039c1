//! One of the files that need `unsafe`: values that writers replace while others read
//! them.

#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::ptr;

use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::{Arc, AtomicPtr};
use super::{Epoch, Epochs, Reader};

/// Values by number that any number of [`View`]s see. A look is one load. Each cell has a
/// [`CellWriter`] of its own, in whichever thread; the board itself can only empty one.
#[derive(Debug)]
pub(crate) struct Board<T> {
    retired: Retired<T>,
}

/// Puts values into one cell of a [`Board`].
#[derive(Debug)]
pub(crate) struct CellWriter<T> {
    at: usize,
    /// What it has put there last; the board may have taken it out meanwhile.
    shown: Option<Arc<T>>,
    retired: Retired<T>,
}

/// A reader of a [`Board`]. What it sees borrows it; [`quiescent`](Self::quiescent) takes
/// it by `&mut`, when it sees nothing.
#[derive(Debug)]
pub(crate) struct View<T> {
    cells: Arc<Cells<T>>,
    reader: Reader,
}

/// What one writer took out of cells, and since when; the oldest first.
#[derive(Debug)]
struct Retired<T> {
    list: VecDeque<Out<T>>,
    octets: usize,
    cells: Arc<Cells<T>>,
    epochs: Epochs,
}

#[derive(Debug)]
struct Out<T> {
    epoch: Epoch,
    octets: usize,
    value: Arc<T>,
}

/// Invariant: each pointer is null or of an `Arc` that the cell holds. What the cell held
/// is let go only after the pointer was replaced and every reader of the board has passed
/// an epoch that began after that, or with the cells.
#[derive(Debug)]
struct Cells<T> {
    values: Box<[AtomicPtr<T>]>,
    /// What writers that went had retired: a box of it, or null.
    left: AtomicPtr<Left<T>>,
}

#[derive(Debug)]
struct Left<T> {
    #[expect(dead_code, reason = "held for readers that may see it, until none is left")]
    list: VecDeque<Out<T>>,
    next: *mut Self,
}

// SAFETY: cells give `&T` to the threads that share them (`T: Sync`), and drop a `T` in
// whichever thread lets go last (`T: Send`). `left` is a list of boxes that nobody reads
// before the cells are dropped.
unsafe impl<T: Send + Sync> Sync for Cells<T> {}
// SAFETY: as above; moving the cells moves pointers, not values.
unsafe impl<T: Send + Sync> Send for Cells<T> {}

impl<T> Board<T> {
    /// So many cells without a value, and seats for so many readers.
    pub(crate) fn new(cells: usize, readers: usize) -> Self {
        Self { retired: Retired::new(Cells::new(cells), Epochs::new(readers)) }
    }

    /// As [`new`](Self::new), with the first of at least one reader.
    pub(crate) fn with_view(cells: usize, readers: usize) -> (Self, View<T>) {
        let (cells, (epochs, reader)) = (Cells::new(cells), Epochs::with_reader(readers));
        (Self { retired: Retired::new(Arc::clone(&cells), epochs) }, View { cells, reader })
    }

    /// The writer of a cell that is empty. A cell is to have one at a time, or what it shows
    /// is the last one's word.
    pub(crate) fn writer(&self, at: usize) -> CellWriter<T> {
        CellWriter { at, shown: None, retired: self.retired.another() }
    }

    /// Takes out what a cell shows, whoever has put it there; `octets` weighs it.
    pub(crate) fn empty(&mut self, at: usize, octets: impl FnOnce(&T) -> usize) {
        // Acquire: another thread may have written the value.
        let old = self.retired.cells.values.get(at).map(|cell| cell.swap(ptr::null_mut(), Acquire));
        let Some(old) = old.filter(|old| !old.is_null()) else { return };
        // SAFETY: of an `Arc` that the cell held, and holds no more.
        let old = unsafe { Arc::from_raw(old) };
        let octets = octets(&old);
        self.retired.push(old, octets);
    }

    /// Lets go of what was taken out and is seen by nobody any more; octets that are left.
    pub(crate) fn reclaim(&mut self) -> usize {
        self.retired.reclaim()
    }

    /// A reader, if a seat is free.
    pub(crate) fn view(&self) -> Option<View<T>> {
        let Retired { cells, epochs, .. } = &self.retired;
        Some(View { cells: Arc::clone(cells), reader: epochs.reader()? })
    }
}

impl<T> CellWriter<T> {
    /// What it has put into the cell.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        self.shown.as_deref()
    }

    /// What it has put into the cell, and the epochs for what that defers by itself.
    pub(crate) fn get_with_epochs(&mut self) -> (Option<&T>, &mut Epochs) {
        (self.shown.as_deref(), &mut self.retired.epochs)
    }

    /// Puts `value` into the cell. What was there, of so many octets, is let go by a later
    /// [`reclaim`](Self::reclaim). Does nothing if there is no such cell.
    pub(crate) fn show(&mut self, value: Option<T>, octets: usize) {
        let Some(cell) = self.retired.cells.values.get(self.at) else { return };
        self.shown = value.map(Arc::new);
        let new = self.shown.clone().map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut());
        // Release: the value was written before it is published. What is taken out was put
        // there by this writer, or is null.
        let old = cell.swap(new, Release);
        if !old.is_null() {
            // SAFETY: of an `Arc` that the cell held, and holds no more.
            self.retired.push(unsafe { Arc::from_raw(old) }, octets);
        }
    }

    /// Takes out what it has put there, of so many octets, and still knows.
    pub(crate) fn hide(&mut self, octets: usize) {
        let shown = self.shown.take();
        self.show(None, octets);
        self.shown = shown;
    }

    /// A writer of the same cell that has put nothing there: to be used when this one is used
    /// no more.
    pub(crate) fn another(&self) -> Self {
        Self { at: self.at, shown: None, retired: self.retired.another() }
    }

    /// Lets go of what was taken out and is seen by nobody any more; octets that are left.
    pub(crate) fn reclaim(&mut self) -> usize {
        self.retired.reclaim()
    }

    /// Octets taken out that wait for readers, as of the last [`reclaim`](Self::reclaim).
    pub(crate) const fn waiting(&self) -> usize {
        self.retired.octets
    }
}

impl<T> View<T> {
    /// The value of a cell.
    #[inline(always)]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        // Acquire: the value was written before it was published.
        // SAFETY: the pointer is null or of an `Arc` that is not let go before this reader
        // has passed an epoch that began after the pointer was replaced. The reader passes
        // epochs in `quiescent` and when it is dropped, which need it by `&mut` or by value,
        // and the result borrows it.
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

impl<T> Retired<T> {
    const fn new(cells: Arc<Cells<T>>, epochs: Epochs) -> Self {
        Self { list: VecDeque::new(), octets: 0, cells, epochs }
    }

    /// For another writer of the same cells.
    fn another(&self) -> Self {
        Self::new(Arc::clone(&self.cells), self.epochs.clone())
    }

    /// Takes what was taken out of its cell.
    fn push(&mut self, value: Arc<T>, octets: usize) {
        self.octets += octets;
        self.list.push_back(Out { epoch: self.epochs.advance(), octets, value });
    }

    fn reclaim(&mut self) -> usize {
        let oldest = self.epochs.oldest();
        // Every reader has passed an epoch that began after these were taken out, and a
        // view that sees a value cannot pass one: `quiescent` takes it by `&mut`.
        while self.list.front().is_some_and(|out| out.epoch <= oldest) {
            let Some(Out { octets, value, .. }) = self.list.pop_front() else { return 0 };
            self.octets -= octets;
            drop(value);
        }
        self.octets
    }
}

impl<T> Cells<T> {
    fn new(cells: usize) -> Arc<Self> {
        let null = || AtomicPtr::new(ptr::null_mut());
        let values = core::iter::repeat_with(null).take(cells).collect();
        Arc::new(Self { values, left: AtomicPtr::new(ptr::null_mut()) })
    }
}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        self.reclaim();
        if self.list.is_empty() {
            return;
        }
        // Views may see these; the last holder of the cells drops them.
        let mut left = Box::new(Left { list: core::mem::take(&mut self.list), next: ptr::null_mut() });
        let mut head = self.cells.left.load(Relaxed);
        loop {
            left.next = head;
            let new = Box::into_raw(left);
            // Nobody looks at it before the cells are dropped, by who holds them last: that
            // is after all of this.
            match self.cells.left.compare_exchange(head, new, Relaxed, Relaxed) {
                Ok(_) => return,
                // SAFETY: made from a box above, and given to nobody.
                Err(now) => (head, left) = (now, unsafe { Box::from_raw(new) }),
            }
        }
    }
}

impl<T> Drop for Cells<T> {
    fn drop(&mut self) {
        // Relaxed: nobody else holds the cells, and whoever did let go of their `Arc`.
        for value in &self.values {
            let value = value.load(Relaxed);
            if !value.is_null() {
                // SAFETY: of an `Arc` that the cell holds, and `&mut self` says that no view
                // is left that could see it.
                drop(unsafe { Arc::from_raw(value) });
            }
        }
        let mut left = self.left.load(Relaxed);
        while !left.is_null() {
            // SAFETY: `Retired::drop` made it from a box, and put it into this list once.
            let next = unsafe { Box::from_raw(left) };
            left = next.next;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Counts those that are alive.
    struct Counted<'a>(&'a AtomicUsize, u32);

    impl<'a> Counted<'a> {
        fn new(alive: &'a AtomicUsize, value: u32) -> Option<Self> {
            alive.fetch_add(1, Relaxed);
            Some(Self(alive, value))
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
        let board = Board::new(2, 2);
        let mut writer = board.writer(0);
        writer.show(Counted::new(&alive, 1), 0);
        let (mut one, two) = (board.view().unwrap(), board.view().unwrap());
        assert!(board.view().is_none() && one.another().is_none());
        assert!(one.get(1).is_none() && one.get(2).is_none());
        let seen = two.get(0).unwrap();
        writer.show(Counted::new(&alive, 2), 10);
        one.quiescent();
        assert_eq!((writer.reclaim(), writer.waiting(), seen.1, one.get(0).unwrap().1), (10, 10, 1, 2));
        assert_eq!(alive.load(Relaxed), 2);
        drop(two);
        assert_eq!((writer.reclaim(), alive.load(Relaxed)), (0, 1));
        let mut nowhere = board.writer(7);
        nowhere.show(Counted::new(&alive, 3), 0);
        assert_eq!(alive.load(Relaxed), 1, "there is no such cell");
        drop(nowhere);
        // The writers go first, with something retired.
        let mut other = board.writer(1);
        other.show(Counted::new(&alive, 4), 0);
        other.show(Counted::new(&alive, 5), 1);
        writer.show(None, 1);
        drop((board, writer, other));
        assert_eq!((alive.load(Relaxed), one.get(1).unwrap().1), (3, 5));
        drop(one);
        assert_eq!(alive.load(Relaxed), 0);
    }

    #[test]
    fn the_board_can_empty_a_cell() {
        let alive = AtomicUsize::new(0);
        let mut board = Board::new(2, 1);
        let mut writer = board.writer(1);
        writer.show(Counted::new(&alive, 3), 0);
        let mut view = board.view().unwrap();
        let seen = view.get(1).unwrap();
        board.empty(1, |value| value.1 as usize);
        board.empty(1, |_| unreachable!("it is empty"));
        board.empty(9, |_| unreachable!("there is no such cell"));
        assert_eq!((board.reclaim(), seen.1, writer.get().unwrap().1), (3, 3, 3));
        assert!(view.get(1).is_none());
        view.quiescent();
        assert_eq!((board.reclaim(), alive.load(Relaxed)), (0, 1), "the writer knows it still");
        writer.show(None, 7);
        assert_eq!((writer.waiting(), alive.load(Relaxed)), (0, 0));
    }

    #[test]
    fn readers_see_whole_values_while_they_are_replaced() {
        let board = Board::new(2, 3);
        let value = |n: u64| Some([n; 64]);
        let writers = [0, 1].map(|at| board.writer(at));
        let writers = writers.map(|mut writer| {
            writer.show(value(0), 0);
            writer
        });
        let views: std::vec::Vec<_> = (0..2).map(|_| board.view().unwrap()).collect();
        let writers = std::thread::scope(|scope| {
            for mut view in views {
                scope.spawn(move || {
                    let mut last = [0; 2];
                    while last[0] < 20_000 || last[1] < 20_000 {
                        for (at, last) in last.iter_mut().enumerate() {
                            let seen = *view.get(at).unwrap();
                            assert!(seen.iter().all(|n| *n == seen[0]) && seen[0] >= *last);
                            *last = seen[0];
                        }
                        view.quiescent();
                    }
                });
            }
            let writers = writers.map(|mut writer| {
                scope.spawn(move || {
                    for n in 1..=20_000 {
                        writer.show(value(n), 1);
                        writer.reclaim();
                    }
                    writer
                })
            });
            writers.map(|writer| writer.join().unwrap())
        });
        assert_eq!(writers.map(|mut writer| writer.reclaim()), [0, 0]);
    }
}
