//! Figure 4, "Rx" and "Tx": where packets come from and where they go.
//!
//! A port moves vectors of packets: [`Rx`] in, [`Tx`] out. It takes the buffers it receives
//! into from [`Buffers`], and gives back there those that it has sent, so that none is
//! allocated while packets flow. [`Ring`] is a port in memory; with an operating system a
//! [`Port`] can also be waited for and read its counters.

#[cfg(feature = "pcap")]
pub mod capture;
mod memory;
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub mod neighbours;
#[cfg(all(feature = "net", target_os = "linux"))]
pub mod packet;
#[cfg(feature = "pcap")]
pub mod pcap;
#[cfg(feature = "alloc")]
mod pool;
#[cfg(feature = "alloc")]
mod port;
#[cfg(feature = "alloc")]
mod shared;
#[cfg(all(feature = "net", target_os = "linux"))]
mod sys;
#[cfg(all(feature = "net", target_os = "linux"))]
pub mod tun;
#[cfg(all(feature = "net", target_os = "linux"))]
pub mod udp;

pub use memory::Ring;
#[cfg(feature = "alloc")]
pub use pool::Pool;
#[cfg(feature = "alloc")]
pub use port::{Port, PortCounters};
#[cfg(feature = "alloc")]
pub use shared::MemoryPort;

use crate::slot::Slot;

/// A source of packets.
pub trait Rx<B> {
    /// Fills slots of `vector` that hold no packet, in order, and returns how many it
    /// filled. Slots that hold one stay as they are. Does not wait.
    ///
    /// What has to be received into a buffer is received into one of `buffers`; where these
    /// are used up, packets stay where they are.
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize;
}

/// A sink of packets.
pub trait Tx<B> {
    /// Takes packets out of the slots of `vector`, in order, as many as it can take
    /// now, and returns how many. What stays in a slot was not sent. Does not wait.
    ///
    /// A packet that can never be sent is taken, too, and counted by the port. The buffer of
    /// a packet that is done with goes to `buffers`.
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize;
}

/// A store of free buffers.
pub trait Buffers<B> {
    /// A free buffer, whatever stands in it.
    fn take(&mut self) -> Option<B>;

    /// Takes back a buffer that is done with.
    fn give(&mut self, buffer: B);

    /// Makes up for buffers that left for good, until `least` are free, if it can: may
    /// allocate, and is called between vectors.
    fn refill(&mut self, _least: usize) {}
}

/// No buffers: for ports that move packets with their buffers, as a [`Ring`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBuffers;

impl<B> Buffers<B> for NoBuffers {
    fn take(&mut self) -> Option<B> {
        None
    }
    fn give(&mut self, _: B) {}
}

impl<B, T: Rx<B> + ?Sized> Rx<B> for &mut T {
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        (**self).receive(vector, buffers)
    }
}

impl<B, T: Tx<B> + ?Sized> Tx<B> for &mut T {
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        (**self).send(vector, buffers)
    }
}

#[cfg(feature = "alloc")]
impl<B, T: Rx<B> + ?Sized> Rx<B> for alloc::boxed::Box<T> {
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        (**self).receive(vector, buffers)
    }
}

#[cfg(feature = "alloc")]
impl<B, T: Tx<B> + ?Sized> Tx<B> for alloc::boxed::Box<T> {
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        (**self).send(vector, buffers)
    }
}
