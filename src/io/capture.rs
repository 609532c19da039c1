//! Capture files as ports.
//!
//! [`CaptureRx`] receives the frames of a file in order, those up to a time only if it is told
//! one; [`CaptureTx`] writes what it is sent, at the time that it is told. Together they play a
//! capture through a node in simulated time:
//!
//! ```
//! use fastpath::io::capture::{CaptureRx, CaptureTx};
//! use fastpath::io::pcap::{Reader, Writer};
//! use fastpath::io::{Pool, Rx, Tx};
//! use fastpath::slot::{Layer, Slot};
//! use fastpath::time::Nanos;
//!
//! let mut file = Vec::new();
//! let mut writer = Writer::new(&mut file, Layer::Ethernet)?;
//! writer.write(Nanos(7), &[1; 60])?;
//! writer.write(Nanos(9), &[2; 60])?;
//! writer.finish()?;
//!
//! let mut rx = CaptureRx::new(Reader::new(&file[..])?);
//! let mut tx = CaptureTx::new(Writer::new(Vec::new(), Layer::Ethernet)?);
//! let (mut pool, mut vector) = (Pool::new(32, 2112), [const { Slot::EMPTY }; 32]);
//! while let Some(now) = rx.next_at() {
//!     rx.set_now(now);
//!     tx.set_now(now);
//!     assert_eq!(rx.receive(&mut vector, &mut pool), 1);
//!     tx.send(&mut vector, &mut pool);
//! }
//! assert!(rx.error().is_none());
//! assert_eq!(tx.finish()?, file);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{Read, Write};
use std::vec::Vec;

use crate::id::InterfaceId;
use crate::io::pcap::{ReadError, Reader, WriteError, Writer};
use crate::io::{Buffers, PortCounters, Rx, Tx};
use crate::packet::Packet;
use crate::slot::{Layer, RxMeta, Slot};
use crate::time::Nanos;

/// The frames of a capture, received.
#[derive(Debug)]
pub struct CaptureRx<R> {
    reader: Reader<R>,
    /// The frame to be received next: when, what it is, and whether it is whole.
    next: Option<(Nanos, Layer, bool)>,
    octets: Vec<u8>,
    now: Nanos,
    interface: InterfaceId,
    headroom: u32,
    counters: PortCounters,
    error: Option<ReadError>,
}

impl<R: Read> CaptureRx<R> {
    /// All frames of `reader`, behind 128 octets of headroom, from the first interface.
    pub fn new(reader: Reader<R>) -> Self {
        let mut port = Self {
            reader,
            next: None,
            octets: Vec::with_capacity(1 << 16),
            now: Nanos(u64::MAX),
            interface: InterfaceId(0),
            headroom: 128,
            counters: PortCounters::default(),
            error: None,
        };
        port.advance();
        port
    }

    /// The same from `interface` and behind `headroom` octets.
    pub fn with(self, interface: InterfaceId, headroom: u32) -> Self {
        Self { interface, headroom, ..self }
    }

    /// When the next frame was captured; `None` behind the last.
    pub fn next_at(&self) -> Option<Nanos> {
        self.next.map(|(at, ..)| at)
    }

    /// From now on, frames captured up to `now` are received, and later ones wait.
    pub fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Why the file could not be read to its end.
    pub fn error(&self) -> Option<&ReadError> {
        self.error.as_ref()
    }

    /// What it has counted so far. Missed are frames that the capture cut, or that are longer
    /// than a buffer.
    pub fn counters(&self) -> PortCounters {
        self.counters
    }

    /// Reads the frame that comes next.
    fn advance(&mut self) {
        self.next = None;
        match self.reader.next_frame() {
            Some(Ok(frame)) => {
                self.octets.clear();
                self.octets.extend_from_slice(frame.octets);
                let whole = frame.original as usize <= frame.octets.len();
                self.next = Some((frame.at, frame.layer, whole));
            }
            Some(Err(error)) => {
                self.counters.errors += 1;
                self.error = Some(error);
            }
            None => (),
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: Read> Rx<B> for CaptureRx<R> {
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut received = 0;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            while slot.packet.is_none() {
                let Some((_, layer, whole)) = self.next.filter(|(at, ..)| *at <= self.now) else {
                    return received;
                };
                if !whole {
                    self.counters.missed += 1;
                    self.advance();
                    continue;
                }
                let Some(buffer) = buffers.take() else { return received };
                let meta = RxMeta { interface: self.interface, layer, ..RxMeta::NEW };
                match Packet::gather(buffer, self.headroom, &[&self.octets]) {
                    Ok(packet) => *slot = Slot::new(packet, meta),
                    Err(buffer) => {
                        buffers.give(buffer);
                        self.counters.missed += 1;
                    }
                }
                self.advance();
            }
            self.counters.received += 1;
            self.counters.received_octets += slot.packet.as_ref().map_or(0, |packet| packet.octets().into());
            received += 1;
        }
        received
    }
}

/// A capture that is written of what is sent.
#[derive(Debug)]
pub struct CaptureTx<W: Write> {
    writer: Writer<W>,
    now: Nanos,
    counters: PortCounters,
    error: Option<WriteError>,
}

impl<W: Write> CaptureTx<W> {
    /// Writes to `writer`, at the start of 1970 until told otherwise.
    pub fn new(writer: Writer<W>) -> Self {
        Self { writer, now: Nanos::ZERO, counters: PortCounters::default(), error: None }
    }

    /// The time of what is sent from now on.
    pub fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Why a frame was refused, the last one that was.
    pub fn error(&self) -> Option<&WriteError> {
        self.error.as_ref()
    }

    /// What it has counted so far.
    pub fn counters(&self) -> PortCounters {
        self.counters
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish(self) -> Result<W, WriteError> {
        self.writer.finish()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, W: Write> Tx<B> for CaptureTx<W> {
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut taken = 0;
        for packet in vector.iter_mut().filter_map(|slot| core::mem::take(slot).packet) {
            match self.writer.write(self.now, packet.bytes()) {
                Ok(()) => {
                    self.counters.sent += 1;
                    self.counters.sent_octets += u64::from(packet.octets());
                }
                Err(error) => {
                    self.counters.refused += 1;
                    self.counters.errors += 1;
                    self.error = Some(error);
                }
            }
            buffers.give(packet.into_buf());
            taken += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{NoBuffers, Pool};
    use std::boxed::Box;
    use std::io;

    type Buffer = Box<[u8]>;

    fn file(frames: u8) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), Layer::Ip).unwrap();
        for at in 0..frames {
            writer.write(Nanos(at.into()), &std::vec![at; 20 + usize::from(at)]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn vector() -> [Slot<Buffer>; 4] {
        [const { Slot::EMPTY }; 4]
    }

    #[test]
    fn frames_come_when_their_time_has_and_a_buffer_holds_them() {
        let file = file(6);
        let mut rx = CaptureRx::new(Reader::new(&file[..]).unwrap()).with(InterfaceId(3), 8);
        rx.set_now(Nanos(2));
        let mut vector = vector();
        assert_eq!(rx.receive(&mut vector, &mut NoBuffers), 0);
        let mut pool = Pool::new(1, 29);
        assert_eq!(rx.receive(&mut vector, &mut pool), 1, "one buffer");
        let meta = RxMeta { interface: InterfaceId(3), ..RxMeta::IP };
        assert_eq!((vector[0].meta, vector[0].packet.as_ref().unwrap().headroom()), (meta, 8));
        pool.refill(1);
        assert_eq!(rx.receive(&mut vector, &mut pool), 1);
        // The third is an octet too long, and the fourth of a later time.
        pool.refill(1);
        assert_eq!((rx.receive(&mut vector, &mut pool), pool.len()), (0, 1));
        assert_eq!(
            (rx.next_at(), rx.counters().missed, rx.counters().received_octets),
            (Some(Nanos(3)), 1, 41)
        );
    }

    #[test]
    fn a_file_that_is_cut_gives_what_was_before_and_says_so() {
        let file = file(3);
        let mut rx = CaptureRx::new(Reader::new(&file[..file.len() - 1]).unwrap());
        assert_eq!(rx.receive(&mut vector(), &mut Pool::new(4, 512)), 2);
        assert!(rx.error().is_some() && rx.next_at().is_none());
        assert_eq!((rx.counters().received, rx.counters().errors), (2, 1));
    }

    /// An output that holds so many octets.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(octets.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let packet = || Slot::from(Packet::new(Buffer::from([7; 60]), 0, 60).unwrap());
        let mut tx = CaptureTx::new(Writer::new(Full(24 + 76), Layer::Ethernet).unwrap());
        let mut pool = Pool::new(4, 60);
        while pool.take().is_some() {}
        assert_eq!(tx.send(&mut [packet(), Slot::EMPTY, packet()], &mut pool), 2);
        assert_eq!((tx.counters().sent, tx.counters().refused, pool.len()), (1, 1, 2));
        assert!(matches!(tx.error(), Some(WriteError::Io(_))));
    }
}
