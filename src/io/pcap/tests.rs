use super::*;
use proptest::prelude::*;
use std::string::ToString;

fn written(layer: Layer, frames: &[(Nanos, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), layer).unwrap();
    for (at, frame) in frames {
        writer.write(*at, frame).unwrap();
    }
    assert_eq!(writer.frames(), frames.len() as u64);
    writer.finish().unwrap()
}

type Read = (Layer, Vec<(Nanos, Vec<u8>)>, Option<ReadError>);

fn read(file: impl io::Read) -> Result<Read, ReadError> {
    let mut reader = Reader::new(file)?;
    let (mut layer, mut frames) = (Layer::Injected, Vec::new());
    while let Some(frame) = reader.next_frame() {
        match frame {
            Ok(frame) => {
                layer = frame.layer;
                frames.push((frame.at, frame.octets.to_vec()));
            }
            Err(error) => {
                assert!(reader.next_frame().is_none(), "nothing follows an error");
                return Ok((layer, frames, Some(error)));
            }
        }
    }
    assert_eq!(reader.position().frames, frames.len() as u64);
    Ok((layer, frames, None))
}

/// Gives one octet at a time.
struct Drip<'a>(&'a [u8]);

impl io::Read for Drip<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        to[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        frames in prop::collection::vec((0..1u64 << 61, prop::collection::vec(any::<u8>(), 0..300)), 0..9),
        ethernet: bool,
    ) {
        let frames: Vec<_> = frames.into_iter().map(|(at, frame)| (Nanos(at), frame)).collect();
        let layer = if ethernet { Layer::Ethernet } else { Layer::Ip };
        let file = written(layer, &frames);
        let (read_layer, read_frames, error) = read(Drip(&file)).unwrap();
        prop_assert!(error.is_none());
        prop_assert!(frames.is_empty() || read_layer == layer);
        prop_assert_eq!(read_frames, frames);
    }

    /// Whatever the octets, reading ends, and without a panic.
    #[test]
    fn nonsense_is_refused(
        magic in prop::sample::select(vec![[0xd4u8, 0xc3, 0xb2, 0xa1], [0x0a, 0x0d, 0x0d, 0x0a]]),
        rest in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..200),
    ) {
        let _ = read(&[&magic[..], &rest].concat()[..]);
    }
}

#[test]
fn a_file_that_is_cut_gives_what_was_before() {
    let frames = [(Nanos(5), vec![1; 60]), (Nanos(9), vec![2; 60])];
    let file = written(Layer::Ip, &frames);
    for cut in 24..file.len() {
        let (_, got, error) = read(&file[..cut]).unwrap();
        let whole = (cut - 24) / 76;
        assert_eq!(got, frames[..whole]);
        match error {
            None => assert_eq!(cut, 24 + 76 * whole),
            Some(ReadError::Truncated { at, left }) => {
                assert_eq!(
                    (at.frames, at.octet, left),
                    (whole as u64, 24 + 76 * whole as u64, (cut - 24) % 76)
                );
            }
            Some(other) => panic!("{other}"),
        }
    }
    let error = read(&file[..10]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file is cut off: it ends 10 octets into what begins at octet 0, behind 0 frames"
    );
}

#[test]
fn foreign_files_and_links_are_named() {
    let error = read(&b"#!/bin/sh"[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is no capture: the file begins with [23, 21, 2f, 62]; allowed are pcap and pcapng"
    );
    assert!(matches!(read(&b""[..]), Err(ReadError::Foreign { magic }) if magic.is_empty()));
    let mut file = written(Layer::Ip, &[]);
    file[20] = 105;
    assert!(matches!(read(&file[..]), Err(ReadError::LinkType { link_type: 105, .. })));
}

#[test]
fn microseconds_and_the_other_byte_order_are_read() {
    let mut file =
        vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 228];
    file.extend([0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 99, 0xaa, 0xbb]);
    let mut reader = Reader::new(&file[..]).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    assert_eq!(
        (frame.at, frame.layer, frame.octets, frame.original),
        (Nanos(3_000_007_000), Layer::Ip, &[0xaa, 0xbb][..], 99)
    );
    assert_eq!(frame.meta(), RxMeta::IP);
    assert_eq!(frame.packet([0; 4], 3).err(), Some(DropReason::Truncated));
    assert!(reader.next_frame().is_none());
}

/// Section header, interface with nanoseconds (`if_tsresol` 9), a name resolution block
/// to be passed over, and a frame.
fn next_generation(resolution: u8) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &length].concat()
    };
    let section = [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat();
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0][..], &[resolution, 0, 0, 0, 0, 0, 0, 0]].concat();
    let packet = [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9, 0];
    [block(0x0a0d_0d0a, &section), block(1, &interface), block(4, &[0; 4]), block(6, &packet)].concat()
}

#[test]
fn pcapng_has_times_in_units_of_each_interface() {
    let units = (1u64 << 32) + 2;
    for (resolution, at) in
        [(9, units), (6, units * 1000), (0x80, units * 1_000_000_000), (0x8a, units * 1_000_000_000 / 1024)]
    {
        let file = next_generation(resolution);
        let (layer, frames, error) = read(Drip(&file)).unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!((layer, &frames[..]), (Layer::Ethernet, &[(Nanos(at), vec![7, 8, 9])][..]));
    }
    let file = next_generation(9);
    let (_, frames, error) = read(&file[..file.len() - 1]).unwrap();
    assert!(frames.is_empty() && matches!(error, Some(ReadError::Truncated { .. })));
}

#[test]
fn what_cannot_be_written_is_refused() {
    assert!(matches!(Writer::new(Vec::new(), Layer::Stripped), Err(WriteError::Layer(Layer::Stripped))));
    let mut writer = Writer::new(Vec::new(), Layer::Ip).unwrap();
    assert!(matches!(writer.write(Nanos::MAX, &[]), Err(WriteError::Time(_))));
    assert!(matches!(writer.write(Nanos(0), &[0; 262_145]), Err(WriteError::TooLong(262_145))));
    assert_eq!(writer.finish().unwrap().len(), 24);
}
