//! Figure 4, "Rx" and "Tx": where packets come from and where they go.

mod memory;
#[cfg(feature = "pcap")]
pub mod pcap;

pub use memory::Ring;

use crate::slot::Slot;

/// A source of packets.
pub trait Rx<B> {
    /// Fills slots of `vector` that hold no packet, in order, and returns how many it
    /// filled. Slots that hold one stay as they are.
    fn receive(&mut self, vector: &mut [Slot<B>]) -> usize;
}

/// A sink of packets.
pub trait Tx<B> {
    /// Takes packets out of the slots of `vector`, in order, as many as it can send
    /// now, and returns how many. What stays in a slot was not sent.
    fn send(&mut self, vector: &mut [Slot<B>]) -> usize;
}

impl<B, T: Rx<B> + ?Sized> Rx<B> for &mut T {
    fn receive(&mut self, vector: &mut [Slot<B>]) -> usize {
        (**self).receive(vector)
    }
}

impl<B, T: Tx<B> + ?Sized> Tx<B> for &mut T {
    fn send(&mut self, vector: &mut [Slot<B>]) -> usize {
        (**self).send(vector)
    }
}
