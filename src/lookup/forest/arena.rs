//! One of the files that need `unsafe`: arrays of zeroes that begin at a cache line and
//! take memory as they are written.
//!
//! A forest has room for twice of what stands in it. Where the allocator gets zeroed pages
//! of the system, the room costs nothing until it is used.

#![allow(unsafe_code)]

use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::AtomicU64;

use super::row::Row;

/// What may be made of zeroes.
///
/// # Safety
///
/// A value all of whose octets are 0 is valid, and needs no drop.
pub(super) unsafe trait Zeroes {}

// SAFETY: an integer.
unsafe impl Zeroes for AtomicU64 {}
// SAFETY: integers.
unsafe impl Zeroes for Row {}

/// A boxed slice that is aligned to 64.
///
/// Invariant: `memory` is an allocation with the layout that [`layout`](Self::layout) has
/// for `len`, which nobody else has, and `at` is within it and aligned, with `len` valid
/// values behind it; or both dangle, and `len` is 0.
pub(super) struct Arena<T> {
    at: NonNull<T>,
    len: usize,
    memory: NonNull<u8>,
    owns: PhantomData<T>,
}

const LINE: usize = 64;
/// What allocators align to by themselves. For more they are asked for memory that is not
/// zero yet, and it is written at once.
const PLAIN: usize = 2 * size_of::<usize>();

// SAFETY: it owns its values, as a box does.
unsafe impl<T: Send> Send for Arena<T> {}
// SAFETY: `&Arena` gives `&T` only.
unsafe impl<T: Sync> Sync for Arena<T> {}

impl<T> Arena<T> {
    /// Without values.
    pub(super) const EMPTY: Self =
        Self { at: NonNull::dangling(), len: 0, memory: NonNull::dangling(), owns: PhantomData };

    /// Of an array and what may be lost to align it.
    fn layout(len: usize) -> Option<Layout> {
        let size = Layout::array::<T>(len).ok()?.size().checked_add(LINE - PLAIN)?;
        Layout::from_size_align(size, PLAIN).ok()
    }
}

impl<T: Zeroes> Arena<T> {
    /// So many values of zeroes; `None` if there can be no such array.
    pub(super) fn new(len: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= LINE) };
        let layout = Self::layout(len)?;
        if len == 0 {
            return Some(Self::EMPTY);
        }
        // SAFETY: the size is not 0: there is something to lose.
        let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        // A multiple of `PLAIN` below `LINE`.
        let lost = memory.as_ptr().addr().wrapping_neg() % LINE;
        // SAFETY: `lost` is at most `LINE - PLAIN`, as the memory is aligned to `PLAIN`, and
        // the allocation has so much more than the array.
        let at = unsafe { memory.add(lost) };
        Some(Self { at: at.cast(), len, memory, owns: PhantomData })
    }
}

impl<T> Deref for Arena<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` valid values, or none; they live as long as `self`, and nobody has
        // `&mut` to them.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> Drop for Arena<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len)
            && self.len > 0
        {
            // SAFETY: allocated with this layout; the values need no drop.
            unsafe { dealloc(self.memory.as_ptr(), layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering::Relaxed;

    #[test]
    fn an_arena_is_zeroes_from_a_line_on() {
        for len in [1, 7, 1000] {
            let arena = Arena::<AtomicU64>::new(len).unwrap();
            assert!(arena.len() == len && arena.iter().all(|word| word.load(Relaxed) == 0));
            assert_eq!(arena.as_ptr().addr() % LINE, 0);
            arena[len - 1].store(9, Relaxed);
            let rows = Arena::<Row>::new(len).unwrap();
            assert_eq!((rows.len(), rows.as_ptr().addr() % LINE), (len, 0));
        }
        assert!(Arena::<Row>::new(0).unwrap().is_empty() && Arena::<Row>::EMPTY.is_empty());
        assert!(Arena::<Row>::new(usize::MAX / 8).is_none());
    }
}
