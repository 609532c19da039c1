//! Packets from memory to memory: for tests, simulations and benchmarks.

use crate::io::{Buffers, Rx, Tx};
use crate::slot::Slot;
use crate::store::Store;

/// A first-in, first-out ring of packets, which is sent into and received from.
///
/// ```
/// use fastpath::io::{NoBuffers, Ring, Rx, Tx};
/// use fastpath::packet::Packet;
/// use fastpath::slot::Slot;
///
/// let mut ring = Ring::new([const { Slot::EMPTY }; 4]);
/// let mut vector = [Packet::new([1u8; 64], 0, 64).unwrap().into(), Slot::EMPTY];
/// assert_eq!(ring.send(&mut vector, &mut NoBuffers), 1);
/// assert!(vector[0].packet.is_none());
/// assert_eq!(ring.receive(&mut vector, &mut NoBuffers), 1);
/// assert_eq!(vector[0].packet.as_ref().unwrap().octets(), 64);
/// ```
#[derive(Clone, Debug)]
pub struct Ring<S> {
    slots: S,
    head: usize,
    len: usize,
}

impl<B, S: Store<Item = Slot<B>>> Ring<S> {
    /// An empty ring; `slots` bounds what it holds.
    pub fn new(slots: S) -> Self {
        Self { slots, head: 0, len: 0 }
    }

    /// Packets in the ring.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what `slot` holds, metadata included.
    ///
    /// # Errors
    ///
    /// Gives it back if the ring is full.
    pub fn push(&mut self, slot: Slot<B>) -> Result<(), Slot<B>> {
        let slots = self.slots.items_mut();
        let at = self.head + self.len;
        let at = if at < slots.len() { at } else { at - slots.len() };
        match slots.get_mut(at).filter(|_| self.len < usize::MAX) {
            Some(free) if free.packet.is_none() => {
                *free = slot;
                self.len += 1;
                Ok(())
            }
            _ => Err(slot),
        }
    }

    /// Takes out what has been in the ring the longest.
    pub fn pop(&mut self) -> Option<Slot<B>> {
        let slots = self.slots.items_mut();
        let slot = slots.get_mut(self.head).filter(|slot| slot.packet.is_some())?;
        let slot = core::mem::take(slot);
        self.len -= 1;
        self.head = if self.head + 1 < slots.len() { self.head + 1 } else { 0 };
        Some(slot)
    }
}

impl<B, S: Store<Item = Slot<B>>> Rx<B> for Ring<S> {
    fn receive(&mut self, vector: &mut [Slot<B>], _: &mut dyn Buffers<B>) -> usize {
        let mut received = 0;
        for free in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            let Some(slot) = self.pop() else { break };
            *free = slot;
            received += 1;
        }
        received
    }
}

impl<B, S: Store<Item = Slot<B>>> Tx<B> for Ring<S> {
    fn send(&mut self, vector: &mut [Slot<B>], _: &mut dyn Buffers<B>) -> usize {
        let mut sent = 0;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_some()) {
            if let Err(back) = self.push(core::mem::take(slot)) {
                *slot = back;
                break;
            }
            sent += 1;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::NoBuffers;
    use crate::packet::Packet;

    #[test]
    fn a_ring_keeps_order_and_gives_back_what_it_cannot_hold() {
        let packet = |n: u8| Slot::from(Packet::new([n; 1], 0, 1).unwrap());
        let mut ring = Ring::new([const { Slot::EMPTY }; 3]);
        for round in 0..10 {
            let mut vector = [packet(round), Slot::EMPTY, packet(round + 1), packet(round + 2), packet(9)];
            assert_eq!(ring.send(&mut vector, &mut NoBuffers), 3);
            assert_eq!(vector[4].packet.as_ref().unwrap().bytes(), [9], "there was no room");
            assert_eq!((ring.len(), ring.is_empty()), (3, false));
            assert_eq!(ring.receive(&mut vector, &mut NoBuffers), 3, "the slot in use stays");
            let got = [0, 1, 2].map(|at: usize| vector[at].packet.take().unwrap().bytes()[0]);
            assert_eq!(got, [round, round + 1, round + 2]);
        }
        let empty: [Slot<[u8; 1]>; 0] = [];
        let mut none = Ring::new(empty);
        assert!(none.push(Slot::EMPTY).is_err() && none.pop().is_none());
    }
}
