//! Out: outer headers are taken off, and groups of packets given to the kernel as one.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;

use super::group::{Group, Groups};
use super::outer::Outer;
use super::{Socket, Sockets, UdpPort, outer};
use crate::io::sys::messages::{MOST, Message, Outbox};
use crate::io::{Buffers, Tx};
use crate::slot::{Endpoint, Slot};

/// What sending needs beside the packets.
#[derive(Debug)]
pub(super) struct Sender {
    outbox: Outbox,
    /// The last source, and the number of its socket.
    last: Option<(Endpoint, usize)>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// The kernel has it.
    Sent,
    /// It can never be sent.
    Refused,
    /// Its socket has no room now.
    Waits,
}

/// The packets of a chunk of the vector as they are given to the kernel.
struct Batch<'a> {
    groups: Groups,
    /// Payloads, group by group.
    pieces: [IoSlice<'a>; MOST],
    /// By the packet's place among the full slots: where its payload is in `pieces`.
    places: [Option<u8>; MOST],
}

impl<'a> Batch<'a> {
    /// Reads the headers of all packets of `chunk`. One without a sound header, or of a source
    /// that has no socket, gets no place.
    fn new<B: AsRef<[u8]> + AsMut<[u8]>>(
        chunk: &'a [Slot<B>], sockets: &Sockets, last: &mut Option<(Endpoint, usize)>,
    ) -> Self {
        let mut groups = Groups::new();
        let mut read = [None; MOST];
        let packets = chunk.iter().filter_map(|slot| slot.packet.as_ref());
        for (packet, read) in packets.zip(&mut read) {
            let Some((outer, payload)) = outer::read(packet.bytes()) else { continue };
            // The kernel would take no address for its own.
            if outer.destination.port() == 0 || outer.destination.address().is_unspecified() {
                continue;
            }
            let Some(number) = number(&outer, sockets, last) else { continue };
            let Some(socket) = sockets.get(number) else { continue };
            let octets = payload.len() as u16;
            *read = groups.add(number, &outer, octets, socket.segment).map(|group| (group, payload));
        }
        let mut starts = groups.sort();
        let (mut pieces, mut places) = ([IoSlice::new(&[]); MOST], [None; MOST]);
        for (read, place) in read.iter().zip(&mut places) {
            let Some((group, payload)) = read else { continue };
            let Some(at) = starts.get_mut(*group) else { continue };
            if let Some(piece) = pieces.get_mut(usize::from(*at)) {
                *piece = IoSlice::new(payload);
                *place = Some(*at);
            }
            *at += 1;
        }
        Self { groups, pieces, places }
    }
}

/// The number of the socket that a packet leaves by: that of its source, or, as tunnels write
/// the hash of a flow for a port, one of the tunnel's.
fn number(outer: &Outer, sockets: &Sockets, last: &mut Option<(Endpoint, usize)>) -> Option<usize> {
    let source = outer.source;
    if let Some((known, number)) = *last
        && known == source
    {
        return Some(number);
    }
    let Some(number) = sockets.number(source) else {
        return sockets.of_flow(source.with_port(outer.destination.port()), source.port());
    };
    *last = Some((source, number));
    Some(number)
}

impl Sender {
    pub(super) fn new() -> Self {
        Self { outbox: Outbox::new(), last: None }
    }

    /// Forgets which socket sent last.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Sends a batch and returns what became of each piece, and how many calls failed.
    fn send(&mut self, batch: &Batch<'_>, sockets: &mut Sockets) -> ([Fate; MOST], u64) {
        let (mut fates, mut failures) = ([Fate::Refused; MOST], 0);
        let mut pieces = &batch.pieces[..];
        let mut rest = &mut fates[..];
        for groups in batch.groups.all().chunk_by(|a, b| a.socket == b.socket) {
            let count = groups.iter().map(|group| usize::from(group.packets)).sum();
            let Some((own, others)) = pieces.split_at_checked(count) else { break };
            let Some((own_fates, other_fates)) = core::mem::take(&mut rest).split_at_mut_checked(count)
            else {
                break;
            };
            (pieces, rest) = (others, other_fates);
            let number = groups.first().map_or(0, |group| group.socket);
            if let Some(Some(socket)) = sockets.all.get_mut(number) {
                let mut run = Run { outbox: &mut self.outbox, socket, failures: 0 };
                run.all(groups, own, own_fates);
                failures += run.failures;
            }
        }
        (fates, failures)
    }
}

/// The groups of one socket on their way.
struct Run<'a> {
    outbox: &'a mut Outbox,
    socket: &'a mut Socket,
    failures: u64,
}

/// Why a message was not sent, as far as it matters.
enum Failure {
    /// There is no room now.
    Full,
    /// Longer than the interface's MTU.
    TooLong,
    /// It cannot be taken apart, or is of a form that no message may have.
    Joined,
    /// The interface cannot take any apart.
    Unable,
    /// Whatever else; it may be about a message before.
    Other,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            _ if error.kind() == ErrorKind::WouldBlock => Self::Full,
            Some(libc::EMSGSIZE) => Self::TooLong,
            Some(libc::EINVAL) => Self::Joined,
            Some(libc::EIO | libc::EOPNOTSUPP) => Self::Unable,
            _ => Self::Other,
        }
    }
}

impl Run<'_> {
    /// Sends `groups`, made of `pieces`, and writes down what became of each.
    fn all(&mut self, mut groups: &[Group], mut pieces: &[IoSlice<'_>], mut fates: &mut [Fate]) {
        while let Some(first) = groups.first() {
            let (sent, failure) = match self.some(groups, pieces) {
                Ok(sent) => (sent, None),
                Err(failure) => (0, Some(failure)),
            };
            let done = sent.max(1);
            let count = groups.iter().take(done).map(|group| usize::from(group.packets)).sum();
            let Some((own, others)) = pieces.split_at_checked(count) else { return };
            let Some((own_fates, other_fates)) = fates.split_at_mut_checked(count) else { return };
            match failure {
                None => own_fates.fill(Fate::Sent),
                Some(Failure::Full) => {
                    own_fates.fill(Fate::Waits);
                    return other_fates.fill(Fate::Waits);
                }
                Some(failure) if first.packets > 1 => self.singly(first, failure, own, own_fates),
                Some(_) => (),
            }
            groups = groups.get(done..).unwrap_or_default();
            (pieces, fates) = (others, other_fates);
        }
    }

    /// Sends as many of `groups` as one call takes.
    fn some(&mut self, groups: &[Group], pieces: &[IoSlice<'_>]) -> Result<usize, Failure> {
        let mut messages = [Message::NONE; MOST];
        let mut count = 0;
        for (message, group) in messages.iter_mut().zip(groups) {
            *message = message_of(group, self.socket);
            count += 1;
        }
        let messages = messages.get(..count).unwrap_or_default();
        match self.outbox.send(self.socket.as_fd(), messages, pieces) {
            Ok(sent) => return Ok(sent),
            // What the network said of an earlier one is told once, in the place of this.
            Err(error) => match self.failed(&error) {
                Failure::Full => return Err(Failure::Full),
                failure if self.socket.peer.is_none() => return Err(failure),
                _ => (),
            },
        }
        self.outbox.send(self.socket.as_fd(), messages, pieces).map_err(|error| self.failed(&error))
    }

    /// Sends the packets of a group that was refused, one by one, but for those that are as long
    /// as one that was too long.
    #[cold]
    fn singly(&mut self, group: &Group, failure: Failure, pieces: &[IoSlice<'_>], fates: &mut [Fate]) {
        if matches!(failure, Failure::Unable) {
            // It will not be tried again.
            self.socket.segment = false;
        }
        let mut full = false;
        for (piece, fate) in pieces.iter().zip(fates) {
            let too_long = matches!(failure, Failure::TooLong) && piece.len() >= usize::from(group.segment);
            *fate = match () {
                () if full => Fate::Waits,
                () if too_long || matches!(failure, Failure::Other) => Fate::Refused,
                () => match self.some(&[group.single()], core::slice::from_ref(piece)) {
                    Ok(_) => Fate::Sent,
                    Err(Failure::Full) => Fate::Waits,
                    Err(_) => Fate::Refused,
                },
            };
            full |= *fate == Fate::Waits;
        }
    }

    fn failed(&mut self, error: &io::Error) -> Failure {
        let failure = Failure::of(error);
        self.failures += u64::from(!matches!(failure, Failure::Full));
        failure
    }
}

fn message_of(group: &Group, socket: &Socket) -> Message {
    Message {
        to: Some(group.to).filter(|to| socket.peer != Some(*to)),
        scope: socket.scope,
        v6: socket.v6,
        class: Some(group.class).filter(|class| *class != 0),
        hops: Some(group.hops).filter(|hops| *hops != socket.hops),
        segment: Some(group.segment).filter(|_| group.packets > 1),
        pieces: group.packets.into(),
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tx<B> for UdpPort {
    /// One call to the operating system for each socket that a packet is from.
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let Self { sockets, sender, counters, .. } = self;
        let mut taken = 0;
        for chunk in vector.chunks_mut(MOST) {
            let mut last = sender.last;
            let batch = Batch::new(chunk, sockets, &mut last);
            let (fates, failures) = sender.send(&batch, sockets);
            let places = batch.places;
            sender.last = last;
            counters.errors += failures;
            for (slot, place) in chunk.iter_mut().filter(|slot| slot.packet.is_some()).zip(places) {
                let fate = place.and_then(|place| fates.get(usize::from(place)));
                if fate == Some(&Fate::Waits) {
                    continue;
                }
                let Some(packet) = core::mem::take(slot).packet else { continue };
                if fate == Some(&Fate::Sent) {
                    counters.sent += 1;
                    counters.sent_octets += u64::from(packet.octets());
                } else {
                    counters.refused += 1;
                }
                buffers.give(packet.into_buf());
                taken += 1;
            }
        }
        taken
    }
}
