//! Packets between workers: a ring each way for each two of them, and one for the buffers
//! that come back.

use std::sync::Arc;
use std::vec::Vec;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::io::Buffers;
use crate::runtime::waker::Waker;
use crate::slot::Slot;

/// A worker's ends of all rings. The place of the worker itself is empty.
#[derive(Debug)]
pub(super) struct Mesh<B> {
    to: Vec<Option<Out<B>>>,
    from: Vec<Option<In<B>>>,
}

#[derive(Debug)]
struct Out<B> {
    /// None when nothing is handed over any more.
    packets: Option<Producer<Slot<B>>>,
    buffers: Consumer<B>,
    waker: Arc<Waker>,
    /// Whether packets were put since the other was woken.
    fresh: bool,
    handed: u64,
}

#[derive(Debug)]
struct In<B> {
    packets: Consumer<Slot<B>>,
    buffers: Producer<B>,
    /// Buffers that came and were not given back.
    owed: usize,
    taken: u64,
}

impl<B> Mesh<B> {
    /// No other worker.
    pub(super) const NONE: Self = Self { to: Vec::new(), from: Vec::new() };

    /// Rings of `room` packets among workers that `wakers` wake.
    pub(super) fn among(wakers: &[Arc<Waker>], room: usize) -> Vec<Self> {
        let none = |_: &Arc<Waker>| Self { to: Vec::new(), from: Vec::new() };
        let mut all: Vec<Self> = wakers.iter().map(none).collect();
        for from in 0..wakers.len() {
            for (to, waker) in wakers.iter().enumerate() {
                let (mut out, mut inward) = (None, None);
                if from != to {
                    let (packets, packets_out) = RingBuffer::new(room);
                    // As many buffers are owed as packets fit a ring and a queue: those that find no
                    // room wait with the other worker.
                    let (buffers_in, buffers) = RingBuffer::new(room);
                    let packets = Some(packets);
                    out = Some(Out { packets, buffers, waker: waker.clone(), fresh: false, handed: 0 });
                    inward = Some(In { packets: packets_out, buffers: buffers_in, owed: 0, taken: 0 });
                }
                if let Some(mesh) = all.get_mut(from) {
                    mesh.to.push(out);
                }
                if let Some(mesh) = all.get_mut(to) {
                    mesh.from.push(inward);
                }
            }
        }
        all
    }

    /// Where packets may come from.
    pub(super) const fn sources(&self) -> usize {
        self.from.len()
    }

    /// Hands a packet to worker `to`.
    ///
    /// # Errors
    ///
    /// Gives it back if that has no room, or has stopped.
    pub(super) fn hand(&mut self, to: usize, slot: Slot<B>) -> Result<(), Slot<B>> {
        let Some(Some(out)) = self.to.get_mut(to) else { return Err(slot) };
        let Some(packets) = out.packets.as_mut().filter(|packets| !packets.is_abandoned()) else {
            return Err(slot);
        };
        packets.push(slot).map_err(|PushError::Full(slot)| slot)?;
        out.fresh = true;
        out.handed += 1;
        Ok(())
    }

    /// Fills empty slots with what worker `from` handed over; how many.
    pub(super) fn take(&mut self, from: usize, vector: &mut [Slot<B>]) -> usize {
        let Some(Some(inward)) = self.from.get_mut(from) else { return 0 };
        let mut taken = 0;
        for place in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            let Ok(slot) = inward.packets.pop() else { break };
            *place = slot;
            taken += 1;
        }
        inward.owed += taken;
        inward.taken += taken as u64;
        taken
    }

    /// Wakes those that packets were handed to; moves buffers to where they came from.
    pub(super) fn settle(&mut self, buffers: &mut (impl Buffers<B> + ?Sized)) {
        for out in self.to.iter_mut().flatten() {
            if core::mem::take(&mut out.fresh) {
                out.waker.wake();
            }
            while let Ok(buffer) = out.buffers.pop() {
                buffers.give(buffer);
            }
        }
        for inward in self.from.iter_mut().flatten() {
            while inward.owed > 0
                && !inward.buffers.is_full()
                && let Some(buffer) = buffers.take()
            {
                inward.owed -= 1;
                let _ = inward.buffers.push(buffer);
            }
        }
    }

    /// Hands nothing over any more.
    pub(super) fn close(&mut self) {
        for out in self.to.iter_mut().flatten() {
            if let Some(packets) = out.packets.take() {
                drop(packets);
                // Who sleeps is to see it.
                out.waker.wake();
            }
        }
    }

    /// Whether nothing comes any more.
    pub(super) fn is_over(&self) -> bool {
        self.from.iter().flatten().all(|inward| inward.packets.is_abandoned() && inward.packets.is_empty())
    }

    /// Buffers that others have given back and that were not taken.
    pub(super) fn buffers(&self) -> usize {
        self.to.iter().flatten().map(|out| out.buffers.slots()).sum()
    }

    /// Packets handed to others, taken from others, and that others have handed over and that
    /// were not taken.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let handed = self.to.iter().flatten().map(|out| out.handed).sum();
        let taken = self.from.iter().flatten().map(|inward| inward.taken).sum();
        let waiting = self.from.iter().flatten().map(|inward| inward.packets.slots() as u64).sum();
        (handed, taken, waiting)
    }
}
