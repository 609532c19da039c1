//! A counter's memory: plain for one thread, atomic to be read from another.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use crate::stats::Count;
use crate::store::Store;

/// Memory of counters, numbered from 0.
///
/// `[Count; N]`, `&mut [Count]` and `Box<[Count]>` are the cheapest.
/// `&[AtomicCount]` and `Arc<[AtomicCount]>` may be read by other threads, through
/// other handles to the same cells, while one handle counts.
pub trait Cells {
    /// Adds one packet of `octets` octets at `at`; outside, nothing.
    fn add(&mut self, at: usize, octets: u32);

    /// What was added at `at`; outside, 0.
    fn get(&self, at: usize) -> Count;

    /// Sets the counter at `at` to 0, for a new owner; outside, nothing.
    fn clear(&mut self, at: usize);

    /// Adds what was counted at `from` to what was counted at `to`, and sets the counter at
    /// `from` to 0; if either is outside, nothing. Who reads meanwhile may see it at both.
    fn give(&mut self, from: usize, to: usize);

    /// How many there are.
    fn count(&self) -> usize;
}

impl<S: Store<Item = Count>> Cells for S {
    #[inline(always)]
    fn add(&mut self, at: usize, octets: u32) {
        if let Some(count) = self.items_mut().get_mut(at) {
            count.packets = count.packets.wrapping_add(1);
            count.octets = count.octets.wrapping_add(u64::from(octets));
        }
    }
    fn get(&self, at: usize) -> Count {
        self.items().get(at).copied().unwrap_or_default()
    }
    fn clear(&mut self, at: usize) {
        if let Some(count) = self.items_mut().get_mut(at) {
            *count = Count::ZERO;
        }
    }
    fn give(&mut self, from: usize, to: usize) {
        let given = Cells::get(self, from);
        if let Some(count) = self.items_mut().get_mut(to).filter(|_| from != to) {
            *count += given;
            self.clear(from);
        }
    }
    fn count(&self) -> usize {
        self.items().len()
    }
}

/// A counter that one thread writes and any thread reads.
///
/// Loads and stores, no read-modify-write: on x86 some instructions more than a plain
/// counter and no lock. So only one handle may count; a second that counts in the
/// same cells loses packets. A reader may see a packet of which it does not yet see
/// the octets.
#[derive(Debug, Default)]
pub struct AtomicCount {
    packets: AtomicU64,
    octets: AtomicU64,
}

impl AtomicCount {
    /// Nothing counted.
    #[allow(clippy::declare_interior_mutable_const)]
    pub const ZERO: Self = Self { packets: AtomicU64::new(0), octets: AtomicU64::new(0) };

    #[inline(always)]
    pub(crate) fn bump(&self, octets: u32) {
        self.packets.store(self.packets.load(Relaxed).wrapping_add(1), Relaxed);
        self.octets.store(self.octets.load(Relaxed).wrapping_add(u64::from(octets)), Relaxed);
    }

    fn put(&self, count: Count) {
        self.packets.store(count.packets, Relaxed);
        self.octets.store(count.octets, Relaxed);
    }

    pub(crate) fn read(&self) -> Count {
        Count { packets: self.packets.load(Relaxed), octets: self.octets.load(Relaxed) }
    }
}

macro_rules! shared_cells {
    ($cells:ty) => {
        impl Cells for $cells {
            #[inline(always)]
            fn add(&mut self, at: usize, octets: u32) {
                if let Some(count) = <[AtomicCount]>::get(self, at) {
                    count.bump(octets);
                }
            }
            fn get(&self, at: usize) -> Count {
                <[AtomicCount]>::get(self, at).map_or(Count::ZERO, AtomicCount::read)
            }
            fn clear(&mut self, at: usize) {
                if let Some(count) = <[AtomicCount]>::get(self, at) {
                    count.put(Count::ZERO);
                }
            }
            fn give(&mut self, from: usize, to: usize) {
                let given = Cells::get(self, from);
                if let Some(count) = <[AtomicCount]>::get(self, to).filter(|_| from != to) {
                    count.put(count.read() + given);
                    self.clear(from);
                }
            }
            fn count(&self) -> usize {
                self.len()
            }
        }
    };
}

shared_cells!(&[AtomicCount]);
#[cfg(feature = "alloc")]
shared_cells!(alloc::sync::Arc<[AtomicCount]>);
