//! In: what the kernel joined is received in a few calls and handed out datagram by datagram.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::vec::Vec;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::{Socket, Sockets, UdpConfig, UdpPort};
use crate::id::InterfaceId;
use crate::io::sys::messages::Inbox;
use crate::io::{Buffers, PortCounters, Rx};
use crate::packet::Packet;
use crate::slot::{Layer, RxMeta, Slot, Tunnelled};

/// Sockets that one look finds.
const EVENTS: usize = 64;

/// What was received and not yet handed out.
#[derive(Debug)]
pub(super) struct Receiver {
    inbox: Inbox,
    /// The socket whose messages are in `inbox`.
    socket: usize,
    /// Messages in it.
    messages: usize,
    /// The message to be handed out, and how many of its octets were.
    next: usize,
    taken: usize,
    /// Numbers of sockets that may have more, the next one last.
    ready: Vec<usize>,
    interface: InterfaceId,
    headroom: u32,
}

impl Receiver {
    pub(super) fn new(config: &UdpConfig) -> Self {
        Self {
            inbox: Inbox::new(),
            socket: 0,
            messages: 0,
            next: 0,
            taken: 0,
            ready: Vec::with_capacity(EVENTS),
            interface: config.interface,
            headroom: config.headroom,
        }
    }

    /// Forgets what socket `number` received, and returns how many datagrams that were.
    pub(super) fn forget(&mut self, number: usize) -> u64 {
        self.ready.retain(|ready| *ready != number);
        let mut forgotten = 0;
        while self.socket == number && self.next < self.messages {
            self.pass();
            forgotten += 1;
        }
        forgotten
    }

    /// Sees to it that there is a datagram to be handed out; `false` if none waits. `looked`
    /// says whether `epoll` was asked since the vector began.
    fn refill(&mut self, sockets: &Sockets, counters: &mut PortCounters, looked: &mut bool) -> bool {
        while self.next >= self.messages {
            let Some(number) = self.ready.last().copied() else {
                if core::mem::replace(looked, true) || !self.look(sockets, counters) {
                    return false;
                }
                continue;
            };
            (self.socket, self.messages, self.next, self.taken) = (number, 0, 0, 0);
            let empty = match sockets.get(number).map(|socket| self.read(socket, counters)) {
                Some(Some(empty)) => empty,
                Some(None) | None => true,
            };
            if empty {
                self.ready.pop();
            } else {
                // The others first, before there is more of this one.
                self.ready.rotate_right(1);
            }
        }
        true
    }

    /// Receives from a socket; whether it has no more, or `None` if there was nothing.
    fn read(&mut self, socket: &Socket, counters: &mut PortCounters) -> Option<bool> {
        // An error that the network reported is given once, in the place of a datagram.
        for _ in 0..2 {
            match self.inbox.receive(socket.as_fd()) {
                Ok((messages, empty)) => {
                    self.messages = messages;
                    return Some(empty);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => counters.errors += 1,
            }
        }
        None
    }

    /// Asks which sockets are ready; whether any is.
    fn look(&mut self, sockets: &Sockets, counters: &mut PortCounters) -> bool {
        let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [none; EVENTS];
        match epoll::wait(&sockets.epoll, &mut events, Some(&Timespec::default())) {
            Ok(found) => {
                let found = events.iter().take(found).map(|event| event.data.u64() as usize);
                self.ready.extend(found);
                !self.ready.is_empty()
            }
            Err(Errno::INTR) => false,
            Err(_) => {
                counters.errors += 1;
                false
            }
        }
    }

    /// Passes over a datagram.
    fn pass(&mut self) {
        let message = self.inbox.message(self.next);
        let (all, segment) = message.map_or((0, 0), |message| (message.octets.len(), message.segment));
        self.taken += segment;
        if self.taken >= all || segment == 0 {
            (self.next, self.taken) = (self.next + 1, 0);
        }
    }

    /// Copies the next datagram into `buffer`.
    ///
    /// # Errors
    ///
    /// Gives the buffer back if it is too short. Either way the datagram is passed over.
    fn hand_out<B: AsRef<[u8]> + AsMut<[u8]>>(&mut self, buffer: B, sockets: &Sockets) -> Result<Slot<B>, B> {
        let Some(message) = self.inbox.message(self.next) else { return Err(buffer) };
        let end = message.octets.len().min(self.taken + message.segment);
        let octets = message.octets.get(self.taken..end).unwrap_or_default();
        let destination = sockets.get(self.socket).map(|socket| socket.local).unwrap_or_default();
        let tunnel = Tunnelled { source: message.source, destination, traffic_class: message.class };
        let meta = RxMeta { interface: self.interface, layer: Layer::Stripped, tunnel, ..RxMeta::NEW };
        let packet = Packet::gather(buffer, self.headroom, &[octets]);
        self.pass();
        packet.map(|packet| Slot::new(packet, meta))
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Rx<B> for UdpPort {
    /// One call to the operating system where nothing waits; one more for each socket that
    /// something waits at, or for 16 messages there.
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let Self { sockets, receiver, counters, .. } = self;
        let (mut received, mut looked) = (0, false);
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            while slot.packet.is_none() {
                if !receiver.refill(sockets, counters, &mut looked) {
                    return received;
                }
                let Some(buffer) = buffers.take() else { return received };
                match receiver.hand_out(buffer, sockets) {
                    Ok(full) => *slot = full,
                    Err(buffer) => {
                        buffers.give(buffer);
                        counters.missed += 1;
                    }
                }
            }
            counters.received += 1;
            counters.received_octets += slot.packet.as_ref().map_or(0, |packet| packet.octets().into());
            received += 1;
        }
        received
    }
}
