//! Where a structure keeps its rows: one implementation of each structure, whoever
//! owns the memory.

/// Memory for items, always of one length: an array, a slice that is lent, or
/// (with `alloc`) a boxed slice.
pub trait Store {
    /// What it holds.
    type Item;

    /// All items.
    fn items(&self) -> &[Self::Item];

    /// All items, to be written.
    fn items_mut(&mut self) -> &mut [Self::Item];
}

impl<T, const N: usize> Store for [T; N] {
    type Item = T;

    #[inline(always)]
    fn items(&self) -> &[T] {
        self
    }
    #[inline(always)]
    fn items_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> Store for &mut [T] {
    type Item = T;

    #[inline(always)]
    fn items(&self) -> &[T] {
        self
    }
    #[inline(always)]
    fn items_mut(&mut self) -> &mut [T] {
        self
    }
}

#[cfg(feature = "alloc")]
impl<T> Store for alloc::boxed::Box<[T]> {
    type Item = T;

    #[inline(always)]
    fn items(&self) -> &[T] {
        self
    }
    #[inline(always)]
    fn items_mut(&mut self) -> &mut [T] {
        self
    }
}
