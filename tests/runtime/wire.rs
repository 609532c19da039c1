//! Ports of tests: what comes in is put there, what goes out is kept, and room is given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use fastpath::io::{Buffers, Port, PortCounters, Rx, Tx};
use fastpath::packet::Packet;
use fastpath::slot::{RxMeta, Slot};

/// A buffer that is counted as long as it is somewhere.
#[derive(Debug)]
pub(crate) struct Counted(Vec<u8>, #[expect(dead_code)] Arc<()>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Free buffers.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) free: Vec<Counted>,
    pub(crate) all: Arc<()>,
}

impl Store {
    pub(crate) fn of(all: &Arc<()>, count: usize) -> Self {
        let mut store = Self { free: Vec::new(), all: all.clone() };
        store.refill(count);
        store
    }
}

pub(crate) fn buffer(all: &Arc<()>) -> Counted {
    Counted(vec![0; 512], all.clone())
}

impl Buffers<Counted> for Store {
    fn take(&mut self) -> Option<Counted> {
        self.free.pop()
    }
    fn give(&mut self, buffer: Counted) {
        self.free.push(buffer);
    }
    fn refill(&mut self, least: usize) {
        while self.free.len() < least {
            self.free.push(buffer(&self.all));
        }
    }
}

/// What the test holds of a port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) arriving: VecDeque<Vec<u8>>,
    pub(crate) sent: Vec<Vec<u8>>,
    /// Packets that the port takes.
    pub(crate) room: usize,
    counters: PortCounters,
}

impl Wire {
    pub(crate) fn new(room: usize) -> Self {
        let wire = Self::default();
        wire.with(|state| state.room = room);
        wire
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    pub(crate) fn put(&self, frame: &[u8]) {
        self.with(|state| state.arriving.push_back(frame.to_vec()));
    }
}

impl Rx<Counted> for Wire {
    fn receive(&mut self, vector: &mut [Slot<Counted>], buffers: &mut dyn Buffers<Counted>) -> usize {
        self.with(|state| {
            let mut received = 0;
            for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
                let Some(frame) = state.arriving.front() else { break };
                let Some(buffer) = buffers.take() else { break };
                *slot = Slot::new(Packet::with_headroom(buffer, 128, frame).unwrap(), RxMeta::IP);
                state.counters.received += 1;
                state.arriving.pop_front();
                received += 1;
            }
            received
        })
    }
}

impl Tx<Counted> for Wire {
    fn send(&mut self, vector: &mut [Slot<Counted>], buffers: &mut dyn Buffers<Counted>) -> usize {
        self.with(|state| {
            let mut taken = 0;
            for slot in vector {
                let Some(packet) = slot.packet.take_if(|_| state.room > 0) else { break };
                state.room -= 1;
                // Each eighth cannot be sent.
                if packet.octets() % 8 == 7 {
                    state.counters.refused += 1;
                } else {
                    state.counters.sent += 1;
                    state.sent.push(packet.bytes().to_vec());
                }
                buffers.give(packet.into_buf());
                taken += 1;
            }
            taken
        })
    }
}

impl Port<Counted> for Wire {
    fn counters(&self) -> PortCounters {
        self.with(|state| state.counters)
    }
}
