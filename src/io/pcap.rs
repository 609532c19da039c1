//! Packet captures: files of frames with their times.
//!
//! [`Reader`] reads the classic format in either byte order, with microseconds or
//! nanoseconds, and pcapng; [`Writer`] writes the classic format with nanoseconds.
//!
//! ```
//! use fastpath::io::pcap::{Reader, Writer};
//! use fastpath::slot::Layer;
//! use fastpath::time::Nanos;
//!
//! let mut file = Vec::new();
//! let mut writer = Writer::new(&mut file, Layer::Ethernet)?;
//! writer.write(Nanos::from_micros(7), &[0; 60])?;
//! writer.finish()?;
//!
//! let mut reader = Reader::new(&file[..])?;
//! while let Some(frame) = reader.next_frame() {
//!     let frame = frame?;
//!     assert_eq!((frame.at, frame.layer), (Nanos(7_000), Layer::Ethernet));
//!     // 64 octets of headroom, to be put into a slot of a vector.
//!     let packet = frame.packet([0u8; 2048], 64).unwrap();
//!     assert_eq!(packet.octets(), 60);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt;
use std::io::{self, Read, Write};
use std::vec;
use std::vec::Vec;

use pcap_file::pcap::{PcapHeader, PcapParser};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgParser};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use crate::exit::DropReason;
use crate::packet::Packet;
use crate::slot::{Layer, RxMeta};
use crate::time::Nanos;

/// Where in a file it was: the octet, and the frames read before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// Octets of the file in front of what is meant.
    pub octet: u64,
    /// Frames in front of it.
    pub frames: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octet {}, behind {} frames", self.octet, self.frames)
    }
}

/// Why a capture cannot be read, or not be read on. The frames before were sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The first octets are none of a capture's.
    #[error("this is no capture: the file begins with {magic:02x?}; allowed are pcap and pcapng")]
    Foreign {
        /// The first octets, up to four.
        magic: Vec<u8>,
    },
    /// The file ends in the middle of a frame or of a header.
    #[error("the file is cut off: it ends {left} octets into what begins at {at}")]
    Truncated {
        /// Where what is incomplete begins.
        at: Position,
        /// How much of it there is.
        left: usize,
    },
    /// A length or a field that no sound file has.
    #[error("the file is damaged at {at}: {what}")]
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong.
        what: &'static str,
    },
    /// A link type that holds neither Ethernet frames nor bare IP packets.
    #[error(
        "link type {link_type} at {at} is not known; allowed are Ethernet (1) and raw IP (101, 228, 229)"
    )]
    LinkType {
        /// Where it stands.
        at: Position,
        /// Its number.
        link_type: u32,
    },
    /// The operating system refused.
    #[error("reading failed at {at}")]
    Io {
        /// Where.
        at: Position,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a frame was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A socket's payload, or an injected packet: there is no link type for it.
    #[error("a capture holds Ethernet frames or IP packets, not {0:?}")]
    Layer(Layer),
    /// The format counts seconds in 32 bits.
    #[error("a time of {0} does not fit a capture: up to 4294967295 s")]
    Time(Nanos),
    /// Longer than the file says that its frames are.
    #[error("a frame of {0} octets is longer than {MOST}")]
    TooLong(usize),
    /// The operating system refused.
    #[error("writing a capture failed")]
    Io(#[from] io::Error),
}

/// Octets of the longest frame: what libpcap takes for the most.
const MOST: u32 = 262_144;

/// Octets of the longest block that is read: beyond it a length field is damaged.
const LONGEST_BLOCK: usize = 1 << 26;

/// A frame of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured, from the start of 1970.
    pub at: Nanos,
    /// What its first octet is.
    pub layer: Layer,
    /// What was captured of it.
    pub octets: &'a [u8],
    /// Its length when it passed; more than `octets` if the capture cut it.
    pub original: u32,
}

impl Frame<'_> {
    /// Copies the frame into `buf`, behind `headroom` octets.
    ///
    /// # Errors
    ///
    /// [`DropReason::Truncated`] if the buffer is too short.
    pub fn packet<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self, buf: B, headroom: u32,
    ) -> Result<Packet<B>, DropReason> {
        Packet::with_headroom(buf, headroom, self.octets)
    }

    /// Metadata of a frame of this kind from the first interface.
    pub const fn meta(&self) -> RxMeta {
        RxMeta { layer: self.layer, ..RxMeta::NEW }
    }
}

/// Reads a capture frame by frame. Memory: the longest frame, and 64 KiB.
///
/// Pcapng files may have several sections and interfaces; blocks that hold no frames
/// are passed over.
pub struct Reader<R> {
    source: Source<R>,
    format: Format,
    /// The frame last read.
    frame: Vec<u8>,
    done: bool,
}

enum Format {
    Classic(PcapParser, Layer),
    Next(PcapNgParser),
}

/// When a frame was captured, what it is, and its length.
type Found = (Nanos, Layer, u32);

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Classic(..) => "pcap",
            Format::Next(_) => "pcapng",
        };
        let position = &self.source.position;
        f.debug_struct("Reader").field("format", &format).field("position", position).finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    ///
    /// [`ReadError`], [`Foreign`](ReadError::Foreign) for a file of another kind.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut source =
            Source { input, buffer: vec![0; 1 << 16], start: 0, end: 0, position: Position::default() };
        while source.unread().len() < 4 && source.fill()? {}
        let magic = source.unread().first_chunk().map(|magic| u32::from_be_bytes(*magic));
        let format = match magic {
            Some(0xa1b2_c3d4 | 0xa1b2_3c4d | 0xd4c3_b2a1 | 0x4d3c_b2a1) => {
                let parser = source.parse(|octets| {
                    let (rest, parser) = PcapParser::new(octets)?;
                    Ok((rest.len(), parser))
                })?;
                let link_type = u32::from(parser.header().datalink) & 0x0fff_ffff;
                let at = Position { octet: 20, frames: 0 };
                let layer = layer(link_type).ok_or(ReadError::LinkType { at, link_type })?;
                Format::Classic(parser, layer)
            }
            Some(0x0a0d_0d0a) => Format::Next(source.parse(|octets| {
                let (rest, parser) = PcapNgParser::new(octets)?;
                Ok((rest.len(), parser))
            })?),
            _ => return Err(ReadError::Foreign { magic: source.unread().iter().take(4).copied().collect() }),
        };
        Ok(Self { source, format, frame: Vec::new(), done: false })
    }

    /// The next frame; `None` behind the last, and after an error.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the frames so far were sound, and no more follow.
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, ReadError>> {
        let found = match self.done {
            true => return None,
            false => self.find(),
        };
        self.done = !matches!(found, Ok(Some(_)));
        match found {
            Ok(None) => None,
            Ok(Some((at, layer, original))) => {
                self.source.position.frames += 1;
                Some(Ok(Frame { at, layer, octets: &self.frame, original }))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// How much was read: the octets and the frames.
    pub const fn position(&self) -> Position {
        self.source.position
    }

    /// Copies the next frame into `frame`.
    fn find(&mut self) -> Result<Option<Found>, ReadError> {
        let Self { source, format, frame, .. } = self;
        loop {
            if source.unread().is_empty() && !source.fill()? {
                return Ok(None);
            }
            let at = source.position;
            match format {
                Format::Classic(parser, layer) => {
                    let found = source.parse(|octets| {
                        let (rest, raw) = parser.next_raw_packet(octets)?;
                        copy(frame, &raw.data);
                        Ok((rest.len(), (raw.ts_sec, raw.ts_frac, raw.orig_len)))
                    })?;
                    let (seconds, fraction, original) = found;
                    let unit = match parser.header().ts_resolution {
                        TsResolution::NanoSecond => 1,
                        TsResolution::MicroSecond => 1000,
                    };
                    let time = Nanos::from_secs(seconds.into()) + Nanos(u64::from(fraction) * unit);
                    return Ok(Some((time, *layer, original)));
                }
                Format::Next(parser) => {
                    let found = source.parse(|octets| {
                        let (rest, block) = parser.next_block(octets)?;
                        let found = match &block {
                            Block::EnhancedPacket(packet) => {
                                copy(frame, &packet.data);
                                let units = packet.timestamp.as_nanos() as u64;
                                Some((packet.interface_id, units, packet.original_len))
                            }
                            Block::Packet(packet) => {
                                copy(frame, &packet.data);
                                Some((packet.interface_id.into(), packet.timestamp, packet.original_len))
                            }
                            Block::SimplePacket(_) => {
                                return Err(PcapError::InvalidField(
                                    "a simple packet block, which has no time",
                                ));
                            }
                            _ => None,
                        };
                        Ok((rest.len(), found))
                    })?;
                    let Some((interface, units, original)) = found else { continue };
                    let what = "a frame of an interface that is not described";
                    let interface =
                        parser.interfaces().get(interface as usize).ok_or(ReadError::Damaged { at, what })?;
                    let link_type = u32::from(interface.linktype);
                    let layer = layer(link_type).ok_or(ReadError::LinkType { at, link_type })?;
                    let time = nanos(interface, units);
                    let time = time.ok_or(ReadError::Damaged { at, what: "a time beyond 64 bits" })?;
                    return Ok(Some((time, layer, original)));
                }
            }
        }
    }
}

fn copy(frame: &mut Vec<u8>, octets: &[u8]) {
    frame.clear();
    frame.extend_from_slice(octets);
}

/// A time in an interface's own units (pcapng, options `if_tsresol` and `if_tsoffset`).
fn nanos(interface: &InterfaceDescriptionBlock<'_>, units: u64) -> Option<Nanos> {
    let (mut resolution, mut offset) = (6, 0);
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
            InterfaceDescriptionOption::IfTsOffset(seconds) => offset = *seconds,
            _ => {}
        }
    }
    let exponent = u32::from(resolution & 0x7f);
    let per_second = match resolution & 0x80 {
        0 => 10u128.checked_pow(exponent)?,
        _ => 1u128.checked_shl(exponent)?,
    };
    let nanos = u128::from(units) * 1_000_000_000 / per_second;
    let offset = u128::from(offset) * 1_000_000_000;
    Some(Nanos(u64::try_from(nanos + offset).ok()?))
}

const fn layer(link_type: u32) -> Option<Layer> {
    match link_type {
        1 => Some(Layer::Ethernet),
        // LINKTYPE_RAW and, as some systems write it, DLT_RAW; LINKTYPE_IPV4, LINKTYPE_IPV6.
        101 | 12 | 14 | 228 | 229 => Some(Layer::Ip),
        _ => None,
    }
}

/// What was read and not yet parsed: `buffer[start..end]`, which begins at `position`.
struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: Position,
}

impl<R: Read> Source<R> {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads more; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(octets) => {
                    self.end += octets;
                    return Ok(octets > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { at: self.position, source }),
            }
        }
    }

    /// Lets `parser` take something from the front, which says how much it left.
    fn parse<T>(
        &mut self, mut parser: impl FnMut(&[u8]) -> Result<(usize, T), PcapError>,
    ) -> Result<T, ReadError> {
        loop {
            let unread = self.unread();
            let at = self.position;
            match parser(unread) {
                Ok((rest, found)) => {
                    let taken = unread.len() - rest;
                    self.start += taken;
                    self.position.octet += taken as u64;
                    return Ok(found);
                }
                Err(PcapError::IncompleteBuffer) => {
                    let left = unread.len();
                    if left >= LONGEST_BLOCK {
                        return Err(ReadError::Damaged { at, what: "a length of more than 64 MiB" });
                    }
                    if !self.fill()? {
                        return Err(ReadError::Truncated { at, left });
                    }
                }
                Err(PcapError::InvalidField(what)) => return Err(ReadError::Damaged { at, what }),
                Err(PcapError::IoError(source)) => return Err(ReadError::Io { at, source }),
                Err(_) => return Err(ReadError::Damaged { at, what: "an option that cannot be read" }),
            }
        }
    }
}

/// Writes a classic capture with nanoseconds, little-endian on every machine.
///
/// Whoever writes to a file wraps it in a [`BufWriter`](io::BufWriter).
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
    frames: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header of a file of frames that begin with `layer`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Layer`] or [`WriteError::Io`].
    pub fn new(mut output: W, layer: Layer) -> Result<Self, WriteError> {
        let datalink = match layer {
            Layer::Ethernet => DataLink::ETHERNET,
            Layer::Ip => DataLink::RAW,
            Layer::Stripped | Layer::Injected => return Err(WriteError::Layer(layer)),
        };
        let header = PcapHeader {
            snaplen: MOST,
            datalink,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        match header.write_to(&mut output) {
            Err(PcapError::IoError(error)) => Err(error.into()),
            Err(error) => Err(io::Error::other(error).into()),
            Ok(_) => Ok(Self { output, frames: 0 }),
        }
    }

    /// Writes a frame that passed at `at`, from the start of 1970.
    ///
    /// # Errors
    ///
    /// [`WriteError`]. Nothing was written, unless the operating system refused.
    pub fn write(&mut self, at: Nanos, frame: &[u8]) -> Result<(), WriteError> {
        let octets = u32::try_from(frame.len()).ok().filter(|octets| *octets <= MOST);
        let octets = octets.ok_or(WriteError::TooLong(frame.len()))?;
        let seconds = u32::try_from(at.0 / 1_000_000_000).map_err(|_| WriteError::Time(at))?;
        let nanos = (at.0 % 1_000_000_000) as u32;
        let head = [seconds, nanos, octets, octets].map(u32::to_le_bytes);
        self.output.write_all(head.as_flattened())?;
        self.output.write_all(frame)?;
        self.frames += 1;
        Ok(())
    }

    /// Frames written so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.output.flush()?;
        Ok(self.output)
    }
}

#[cfg(test)]
mod tests;
