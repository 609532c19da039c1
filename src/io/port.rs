//! Ports, and what they count.

use core::fmt;

use crate::io::{Rx, Tx};

/// A port that is both source and sink, counts, and can be waited for.
pub trait Port<B>: Rx<B> + Tx<B> {
    /// What it has counted so far.
    fn counters(&self) -> PortCounters;

    /// What is readable when packets have arrived: to be waited for by poll(2) when a
    /// worker has nothing to do. None for a port that has to be asked.
    #[cfg(all(unix, feature = "std"))]
    fn readable(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// Counts of a port, from its beginning on.
///
/// Taken to send = `sent` + `refused` + what waits in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortCounters {
    /// Packets received.
    pub received: u64,
    /// Their octets, as they were given to the slots.
    pub received_octets: u64,
    /// Packets that were lost in front of the port and that it knows of: the kernel had no
    /// room, a frame was longer than a buffer.
    pub missed: u64,
    /// Packets sent.
    pub sent: u64,
    /// Their octets, as they were in the slots.
    pub sent_octets: u64,
    /// Packets that could not be sent, ever: no neighbour, too long, the interface is down.
    pub refused: u64,
    /// Failed calls to the operating system, other than that it would block.
    pub errors: u64,
}

impl fmt::Display for PortCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, missed, sent, refused, errors, .. } = self;
        write!(f, "received {received} (missed {missed}), sent {sent} (refused {refused}), errors {errors}")
    }
}
