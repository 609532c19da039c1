//! A port of a worker, at its interface.

use std::boxed::Box;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::code_option::CodeOptionSet;
use crate::id::InterfaceId;
use crate::io::{Buffers, Port, PortCounters};
use crate::node::Forwarder;
use crate::runtime::VECTOR;
use crate::slot::{Layer, RxMeta, Slot};
use crate::time::Nanos;

/// A port that goes with its worker to whichever thread.
pub type BoxedPort<B> = Box<dyn Port<B> + Send>;

/// A port at an interface, with what it did not take yet.
pub(super) struct Bound<B> {
    pub(super) port: BoxedPort<B>,
    interface: InterfaceId,
    layer: Layer,
    /// Packets that left their queues; the first `waiting` slots.
    out: Box<[Slot<B>]>,
    waiting: usize,
    handed: u64,
    handed_octets: u64,
    /// What the port had counted before.
    before: PortCounters,
    gauge: Arc<Gauge>,
}

impl<B> fmt::Debug for Bound<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("interface", &self.interface).finish_non_exhaustive()
    }
}

/// What a port has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortReport {
    /// Its interface.
    pub interface: InterfaceId,
    /// What it counted itself since it was bound.
    pub counters: PortCounters,
    /// Packets that left their queues for it: what it took and what waits in front of it.
    pub handed: u64,
    /// Packets of those that it has not taken.
    pub waiting: u64,
}

impl PortReport {
    /// Packets that it took and has neither sent nor refused: those that wait in it.
    pub const fn inside(&self) -> u64 {
        let taken = self.handed.wrapping_sub(self.waiting);
        taken.wrapping_sub(self.counters.sent.wrapping_add(self.counters.refused))
    }
}

/// A port's counters, read from any thread while it runs; as they were when its worker last
/// looked at its control.
#[derive(Clone, Debug)]
pub struct PortView {
    interface: InterfaceId,
    gauge: Arc<Gauge>,
}

impl PortView {
    /// What the port has done.
    pub fn read(&self) -> PortReport {
        let [received, received_octets, missed, sent, sent_octets, refused, errors, handed, waiting] =
            self.gauge.0.each_ref().map(|cell| cell.load(Relaxed));
        let counters = PortCounters { received, received_octets, missed, sent, sent_octets, refused, errors };
        PortReport { interface: self.interface, counters, handed, waiting }
    }
}

#[derive(Debug, Default)]
struct Gauge([AtomicU64; 9]);

impl<B: AsRef<[u8]> + AsMut<[u8]>> Bound<B> {
    pub(super) fn new(interface: InterfaceId, layer: Layer, port: BoxedPort<B>) -> Self {
        let out = std::iter::repeat_with(|| Slot::EMPTY).take(VECTOR).collect();
        let (gauge, before) = (Arc::default(), port.counters());
        Self { port, interface, layer, out, waiting: 0, handed: 0, handed_octets: 0, before, gauge }
    }

    pub(super) fn view(&self) -> PortView {
        PortView { interface: self.interface, gauge: self.gauge.clone() }
    }

    /// Fills `vector`, whose slots are empty; how many.
    pub(super) fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let received = self.port.receive(vector, buffers);
        vector.iter_mut().take(received).for_each(|slot| slot.meta.interface = self.interface);
        received
    }

    /// Sends what is due, if the port has taken what was due before; how many it took.
    ///
    /// So what a slow port does not take waits in its queues, where their shares are kept, but
    /// for one vector.
    pub(super) fn send<C: CodeOptionSet>(
        &mut self, now: Nanos, forwarder: &mut Forwarder<C, B>, buffers: &mut impl Buffers<B>,
    ) -> usize {
        if self.waiting == 0 {
            let Self { out, waiting, handed_octets, interface, layer, .. } = self;
            let meta = RxMeta { interface: *interface, layer: *layer, ..RxMeta::NEW };
            let mut places = out.iter_mut();
            let send = |departure: crate::queue::Departure<_>| {
                let Some(place) = places.next() else { return Err(departure.handle) };
                *waiting += 1;
                *handed_octets += u64::from(departure.octets);
                *place = Slot::new(departure.handle, meta);
                Ok(())
            };
            forwarder.transmit(now, *interface, VECTOR, send, |packet| buffers.give(packet.into_buf()));
            self.handed += self.waiting as u64;
        }
        if self.waiting == 0 {
            return 0;
        }
        let Some(out) = self.out.get_mut(..self.waiting) else { return 0 };
        let taken = self.port.send(out, buffers).min(self.waiting);
        out.rotate_left(taken);
        self.waiting -= taken;
        taken
    }

    /// Packets that left their queues and were not taken.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Octets of packets that left their queues.
    pub(super) const fn handed_octets(&self) -> u64 {
        self.handed_octets
    }

    pub(super) const fn interface(&self) -> InterfaceId {
        self.interface
    }

    pub(super) fn report(&self) -> PortReport {
        let (counters, waiting) = (since(self.port.counters(), self.before), self.waiting as u64);
        PortReport { interface: self.interface, counters, handed: self.handed, waiting }
    }

    pub(super) fn publish(&self) {
        let PortReport { counters, handed, waiting, .. } = self.report();
        let PortCounters { received, received_octets, missed, sent, sent_octets, refused, errors } = counters;
        let values = [received, received_octets, missed, sent, sent_octets, refused, errors, handed, waiting];
        self.gauge.0.iter().zip(values).for_each(|(cell, value)| cell.store(value, Relaxed));
    }

    /// The port, what it did, and what it had not taken, which goes to `buffers`.
    pub(super) fn into_port(self, buffers: &mut impl Buffers<B>) -> (BoxedPort<B>, PortReport) {
        self.publish();
        let report = self.report();
        for slot in self.out.into_iter().filter_map(|slot| slot.packet) {
            buffers.give(slot.into_buf());
        }
        (self.port, report)
    }
}

/// What was counted after `before`.
const fn since(counters: PortCounters, before: PortCounters) -> PortCounters {
    PortCounters {
        received: counters.received.wrapping_sub(before.received),
        received_octets: counters.received_octets.wrapping_sub(before.received_octets),
        missed: counters.missed.wrapping_sub(before.missed),
        sent: counters.sent.wrapping_sub(before.sent),
        sent_octets: counters.sent_octets.wrapping_sub(before.sent_octets),
        refused: counters.refused.wrapping_sub(before.refused),
        errors: counters.errors.wrapping_sub(before.errors),
    }
}
