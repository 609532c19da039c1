//! Free buffers, all of one length.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::io::Buffers;

/// Free buffers on the heap; the one that came back last is given out first, because it is
/// the warmest.
///
/// Buffers that leave for good (a slice manager keeps a packet) are made up for by
/// [`refill`](Self::refill), which allocates and is called between vectors; buffers that came from
/// elsewhere are kept up to the pool's size and then freed. So `take` never allocates.
///
/// ```
/// use fastpath::io::{Buffers, Pool};
///
/// let mut pool = Pool::new(2, 2048);
/// let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
/// assert!(pool.take().is_none());
/// pool.give(first);
/// drop(second);
/// pool.refill(2);
/// assert_eq!(pool.len(), 2);
/// ```
#[derive(Debug)]
pub struct Pool {
    free: Vec<Box<[u8]>>,
    octets: usize,
    made: u64,
}

impl Pool {
    /// A pool of `buffers` buffers of `octets` octets each.
    ///
    /// Lengths a multiple of 2,048 apart let headers fight for the same cache sets; an odd
    /// multiple of 64 (2,112, say) does not.
    pub fn new(buffers: usize, octets: usize) -> Self {
        let mut pool = Self { free: Vec::with_capacity(buffers), octets, made: 0 };
        pool.refill(buffers);
        pool
    }

    /// Allocates until there are `least` free buffers, at most as many as the pool's size.
    pub fn refill(&mut self, least: usize) {
        while self.free.len() < least.min(self.free.capacity()) {
            self.free.push(alloc::vec![0; self.octets].into_boxed_slice());
            self.made += 1;
        }
    }

    /// Free buffers.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Buffers that were allocated in all.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// Octets of a buffer.
    pub const fn octets(&self) -> usize {
        self.octets
    }
}

impl Buffers<Box<[u8]>> for Pool {
    fn take(&mut self) -> Option<Box<[u8]>> {
        self.free.pop()
    }

    /// Frees a buffer that is shorter than the pool's, or one too many.
    fn give(&mut self, buffer: Box<[u8]>) {
        if buffer.len() >= self.octets && self.free.len() < self.free.capacity() {
            self.free.push(buffer);
        }
    }

    fn refill(&mut self, least: usize) {
        Self::refill(self, least);
    }
}
