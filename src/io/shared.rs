//! Packets from thread to thread, without a lock and without a copy.

use core::fmt;

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::io::{Buffers, Port, PortCounters, Rx, Tx};
use crate::slot::Slot;

/// One end of a pair of rings: what one end sends, the other receives, metadata included.
///
/// The buffers travel with the packets, so that each end needs buffers of its own only for
/// what else it receives; where packets flow one way, so do buffers. A vector is moved with
/// one store that the other thread waits for. Once the other end is gone, packets are
/// refused.
///
/// ```
/// use fastpath::io::{MemoryPort, NoBuffers, Port, Rx, Tx};
/// use fastpath::packet::Packet;
/// use fastpath::slot::Slot;
///
/// let (mut near, mut far) = MemoryPort::pair(64);
/// let worker = std::thread::spawn(move || {
///     let mut vector = [const { Slot::EMPTY }; 32];
///     while far.receive(&mut vector, &mut NoBuffers) == 0 {}
///     far.send(&mut vector, &mut NoBuffers);
/// });
/// let mut vector = [Packet::new([7u8; 64], 0, 64).unwrap().into(), Slot::EMPTY];
/// assert_eq!(near.send(&mut vector, &mut NoBuffers), 1);
/// while near.receive(&mut vector, &mut NoBuffers) == 0 {}
/// worker.join().unwrap();
/// assert_eq!((near.counters().sent, near.counters().received), (1, 1));
/// ```
pub struct MemoryPort<B> {
    out: Producer<Slot<B>>,
    back: Consumer<Slot<B>>,
    counters: PortCounters,
}

impl<B> fmt::Debug for MemoryPort<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPort")
            .field("to_receive", &self.back.slots())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<B> MemoryPort<B> {
    /// Two ends, between which `packets` packets may wait each way.
    pub fn pair(packets: usize) -> (Self, Self) {
        let (out, far) = RingBuffer::new(packets);
        let (answer, back) = RingBuffer::new(packets);
        let end = |out, back| Self { out, back, counters: PortCounters::default() };
        (end(out, back), end(answer, far))
    }

    /// Packets that wait here to be received.
    pub fn to_receive(&self) -> usize {
        self.back.slots()
    }

    /// Packets that may be sent before the other end must receive.
    pub fn room(&self) -> usize {
        self.out.slots()
    }

    /// Whether the other end is gone. What it sent can still be received.
    pub fn is_cut(&self) -> bool {
        self.out.is_abandoned()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Rx<B> for MemoryPort<B> {
    fn receive(&mut self, vector: &mut [Slot<B>], _: &mut dyn Buffers<B>) -> usize {
        let free = vector.iter().filter(|slot| slot.packet.is_none()).count();
        let chunk = match self.back.read_chunk(free.min(self.back.slots())) {
            Ok(chunk) => chunk,
            Err(ChunkError::TooFewSlots(_)) => return 0,
        };
        let mut received = 0;
        let free = vector.iter_mut().filter(|slot| slot.packet.is_none());
        for (slot, arrived) in free.zip(chunk) {
            self.counters.received += 1;
            self.counters.received_octets += octets(&arrived);
            *slot = arrived;
            received += 1;
        }
        received
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tx<B> for MemoryPort<B> {
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let full = vector.iter_mut().filter(|slot| slot.packet.is_some());
        if self.is_cut() {
            let packets = full.filter_map(|slot| core::mem::take(slot).packet);
            let refused = packets.map(|packet| buffers.give(packet.into_buf())).count();
            self.counters.refused += refused as u64;
            return refused;
        }
        let counters = &mut self.counters;
        let departing = full.map(|slot| {
            counters.sent += 1;
            counters.sent_octets += octets(slot);
            core::mem::take(slot)
        });
        match self.out.write_chunk_uninit(self.out.slots()) {
            Ok(chunk) => chunk.fill_from_iter(departing),
            Err(ChunkError::TooFewSlots(_)) => 0,
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Port<B> for MemoryPort<B> {
    fn counters(&self) -> PortCounters {
        self.counters
    }
}

fn octets<B: AsRef<[u8]> + AsMut<[u8]>>(slot: &Slot<B>) -> u64 {
    slot.packet.as_ref().map_or(0, |packet| packet.octets().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{NoBuffers, Ring};
    use crate::packet::Packet;
    use crate::slot::RxMeta;
    use proptest::prelude::*;
    use std::thread;
    use std::vec::Vec;

    type Buf = [u8; 4];

    fn packet(n: u32) -> Slot<Buf> {
        Slot::new(Packet::new(n.to_be_bytes(), 0, 4).unwrap(), RxMeta::IP)
    }

    fn number(slot: &Slot<Buf>) -> Option<u32> {
        let packet = slot.packet.as_ref()?;
        assert_eq!(slot.meta, RxMeta::IP, "the metadata travels along");
        Some(u32::from_be_bytes(packet.bytes().try_into().unwrap()))
    }

    proptest! {
        /// Whatever is sent and received in whatever portions: as a ring of one thread.
        #[test]
        fn a_pair_is_a_ring(portions in prop::collection::vec((0usize..6, 0usize..6), 1..60)) {
            let (mut near, mut far) = MemoryPort::<Buf>::pair(5);
            let mut model: Ring<[Slot<Buf>; 5]> = Ring::new([const { Slot::EMPTY }; 5]);
            let mut next = 0;
            for (send, receive) in portions {
                let mut first: Vec<_> = (next..).take(send).map(packet).collect();
                let mut second: Vec<_> = (next..).take(send).map(packet).collect();
                next += send as u32;
                let sent = near.send(&mut first, &mut NoBuffers);
                prop_assert_eq!(sent, model.send(&mut second, &mut NoBuffers));
                let left: Vec<_> = first.iter().map(number).collect();
                prop_assert_eq!(left, second.iter().map(number).collect::<Vec<_>>());
                prop_assert_eq!((far.to_receive(), near.room()), (model.len(), 5 - model.len()));
                let mut first: Vec<_> = (0..receive).map(|_| Slot::EMPTY).collect();
                let mut second: Vec<_> = (0..receive).map(|_| Slot::EMPTY).collect();
                let received = far.receive(&mut first, &mut NoBuffers);
                prop_assert_eq!(received, model.receive(&mut second, &mut NoBuffers));
                let got: Vec<_> = first.iter().map(number).collect();
                prop_assert_eq!(got, second.iter().map(number).collect::<Vec<_>>());
            }
            let (sent, received) = (near.counters().sent, far.counters().received);
            prop_assert_eq!(sent, received + model.len() as u64);
            prop_assert_eq!(near.counters().sent_octets, 4 * sent);
        }
    }

    #[test]
    fn order_holds_between_threads() {
        const PACKETS: u32 = 100_000;
        let (mut near, mut far) = MemoryPort::<Buf>::pair(64);
        let receiver = thread::spawn(move || {
            let (mut vector, mut next) = ([const { Slot::EMPTY }; 32], 0);
            while next < PACKETS {
                if far.receive(&mut vector, &mut NoBuffers) == 0 {
                    thread::yield_now();
                }
                for slot in vector.iter_mut().filter(|slot| slot.packet.is_some()) {
                    assert_eq!(number(slot), Some(next));
                    *slot = Slot::EMPTY;
                    next += 1;
                }
            }
        });
        let (mut vector, mut next) = ([const { Slot::EMPTY }; 32], 0);
        while near.counters().sent < u64::from(PACKETS) {
            for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
                if next < PACKETS {
                    *slot = packet(next);
                    next += 1;
                }
            }
            if near.send(&mut vector, &mut NoBuffers) == 0 {
                thread::yield_now();
            }
            vector.sort_by_key(|slot| number(slot).unwrap_or(u32::MAX));
        }
        receiver.join().unwrap();
    }

    /// Counts buffers that come back.
    struct Returned(usize);

    impl<B> Buffers<B> for Returned {
        fn take(&mut self) -> Option<B> {
            None
        }
        fn give(&mut self, _: B) {
            self.0 += 1;
        }
    }

    #[test]
    fn who_has_no_other_end_refuses() {
        let (mut near, mut far) = MemoryPort::<Buf>::pair(2);
        let mut vector = [packet(0), Slot::EMPTY, packet(1), packet(2)];
        assert_eq!(far.send(&mut vector, &mut NoBuffers), 2);
        assert_eq!(number(&vector[3]), Some(2), "a full ring: it stays");
        drop(far);
        assert!(near.is_cut());
        let mut returned = Returned(0);
        assert_eq!(near.send(&mut vector, &mut returned), 1);
        assert_eq!((near.counters().refused, near.counters().sent, returned.0), (1, 0, 1));
        assert_eq!(near.receive(&mut vector, &mut returned), 2, "what was sent still arrives");
        assert_eq!(number(&vector[1]), Some(1));
    }
}
