//! What nodes and the coordinator share.

use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::{AtomicBool, AtomicU64};
use crate::queue::Rate;

/// The cells through which `NODES` nodes report backlogs for `INTERFACES` interfaces and
/// are granted rates: atomics, 24 octets for each node and interface. What a node writes and
/// what the coordinator writes stand in different cache lines. Nobody ever waits.
///
/// It may be a `static`, stand in an `Arc`, or be lent to threads of a scope: [`Member`]s
/// and the [`Coordinator`] hold whatever leads to it.
///
/// [`Member`]: super::Member
/// [`Coordinator`]: super::Coordinator
#[derive(Debug)]
pub struct Exchange<const NODES: usize, const INTERFACES: usize> {
    nodes: [Cells<INTERFACES>; NODES],
    /// Octets that wait at the interfaces themselves.
    interfaces: [AtomicU64; INTERFACES],
    /// Whether there is, or was, a coordinator.
    coordinated: AtomicBool,
}

/// Of one node.
#[derive(Debug)]
pub(super) struct Cells<const INTERFACES: usize> {
    pub(super) granted: Granted<INTERFACES>,
    pub(super) told: Told<INTERFACES>,
}

/// Written by the coordinator.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Granted<const INTERFACES: usize>(pub(super) [AtomicU64; INTERFACES]);

/// Written by the node.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Told<const INTERFACES: usize> {
    /// The grants that are in force.
    pub(super) confirmed: [AtomicU64; INTERFACES],
    pub(super) backlogs: [AtomicU64; INTERFACES],
    /// How many times it reported; 0 before it did.
    pub(super) reports: AtomicU64,
    /// Whether a member has its seat.
    seat: AtomicBool,
}

/// A rate and which grant it is: all grants to a node for an interface are different words,
/// but for those 2^24 grants apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Grant(u64);

/// Bits of the rate. The highest is 10^12, which is below 2^40.
const RATE: u32 = 40;

impl Grant {
    pub(super) const NONE: Self = Self(0);

    /// No grant there ever is.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// In bits a second.
    pub(super) const fn bits(self) -> u64 {
        self.0 & ((1 << RATE) - 1)
    }

    /// As a scheduler takes it: `None` if it is to send nothing.
    pub(super) fn rate(self) -> Option<Rate> {
        Rate::bits_per_second(self.bits()).ok()
    }

    /// The grant of `bits` that comes after this one.
    pub(super) fn next(self, bits: u64) -> Self {
        let number = (self.0 >> RATE).wrapping_add(1);
        Self(number << RATE | bits.min(Rate::MAX.get()))
    }

    /// Release and Acquire, both ways: a node that may send more sees what others, who sent
    /// less first, did before.
    pub(super) fn put(self, cell: &AtomicU64) {
        cell.store(self.0, Release);
    }

    pub(super) fn get(cell: &AtomicU64) -> Self {
        Self(cell.load(Acquire))
    }
}

impl<const NODES: usize, const INTERFACES: usize> Exchange<NODES, INTERFACES> {
    /// Nobody has reported, and nobody may send.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            nodes: [const { Cells::new() }; NODES],
            interfaces: [const { AtomicU64::new(0) }; INTERFACES],
            coordinated: AtomicBool::new(false),
        }
    }

    /// As above: atomics of the model checker are not constant.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            nodes: core::array::from_fn(|_| Cells::new()),
            interfaces: core::array::from_fn(|_| AtomicU64::new(0)),
            coordinated: AtomicBool::new(false),
        }
    }

    /// Says how many octets wait at interface `at` itself, behind all nodes: what whoever
    /// drives it knows. An interface there is not, it ignores.
    ///
    /// Where nodes send onto an interface directly, nothing waits there, and this is not called.
    pub fn report_interface(&self, at: usize, octets: u64) {
        if let Some(cell) = self.interfaces.get(at) {
            cell.store(octets, Relaxed);
        }
    }

    pub(super) fn interface_backlogs(&self) -> [u64; INTERFACES] {
        self.interfaces.each_ref().map(|cell| cell.load(Relaxed))
    }

    pub(super) const fn nodes(&self) -> &[Cells<INTERFACES>; NODES] {
        &self.nodes
    }

    pub(super) fn coordinate(&self) -> bool {
        !self.coordinated.swap(true, Relaxed)
    }
}

#[cfg(not(loom))]
impl<const NODES: usize, const INTERFACES: usize> Default for Exchange<NODES, INTERFACES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const INTERFACES: usize> Cells<INTERFACES> {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            granted: Granted([const { AtomicU64::new(0) }; INTERFACES]),
            told: Told {
                confirmed: [const { AtomicU64::new(0) }; INTERFACES],
                backlogs: [const { AtomicU64::new(0) }; INTERFACES],
                reports: AtomicU64::new(0),
                seat: AtomicBool::new(false),
            },
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        let zeros = || core::array::from_fn(|_| AtomicU64::new(0));
        let (reports, seat) = (AtomicU64::new(0), AtomicBool::new(false));
        let told = Told { confirmed: zeros(), backlogs: zeros(), reports, seat };
        Self { granted: Granted(zeros()), told }
    }
}

impl<const INTERFACES: usize> Told<INTERFACES> {
    /// Takes the seat, if it is free, and sees what who had it before did.
    pub(super) fn sit_down(&self) -> bool {
        !self.seat.swap(true, Acquire)
    }

    pub(super) fn stand_up(&self) {
        self.seat.store(false, Release);
    }

    pub(super) fn backlogs(&self) -> [u64; INTERFACES] {
        self.backlogs.each_ref().map(|cell| cell.load(Relaxed))
    }
}
