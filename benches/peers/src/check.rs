//! Whether the two sides that do the same work do: the same refusals for the same reasons,
//! the same keys, the same frames. No clock runs here; the code is that of the timed rounds.

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::key::LookupKey;
use fastpath::lookup::Filter;
use fastpath::wire::checksum;

use crate::compare::DESTINATIONS;
use crate::ours::Ours;
use crate::same::Same;
use crate::world::{self, Buffer, HEADER, HEADROOM, Route, SLICE, SMALLEST, Source};

/// The two sides, with a source each that writes what the other's does.
struct Pair {
    same: Same,
    ours: Ours,
    sources: [Source; 2],
    draws: [Draw; 2],
}

impl Pair {
    fn new(buffers: usize, routes: &[Route], destinations: Vec<u32>) -> Self {
        Self {
            same: Same::new(buffers, routes),
            ours: Ours::new(buffers, routes),
            sources: [destinations.clone(), destinations].map(|to| Source::new(SMALLEST, to)),
            draws: [Draw(7), Draw(7)],
        }
    }

    fn filters(&mut self, filters: &[(Filter, u32)]) {
        self.same.filters(filters);
        self.ours.filters(filters);
    }

    /// A frame into each buffer, which `change` changes and tells the length of, and all
    /// of them through both sides.
    fn round(&mut self, change: fn(&mut Draw, &mut Buffer) -> usize) {
        let Self { same, ours, sources: [first, second], draws: [one, other] } = self;
        same.fill_with(|buffer| {
            crate::write(first, buffer);
            change(one, buffer)
        });
        ours.fill_with(|buffer| {
            crate::write(second, buffer);
            change(other, buffer)
        });
        same.run();
        ours.run();
        assert_eq!(same.counts(), ours.counts(), "the two sides counted differently");
        same_frames(same.pool(), ours, 128);
    }
}

/// The frames that were sent last are the same, whatever buffers they are in.
pub fn same_frames<'a>(theirs: impl IntoIterator<Item = &'a Buffer>, ours: &Ours, octets: usize) {
    let frame = |buffer: &Buffer| {
        let mut frame = buffer[HEADROOM as usize..][..octets].to_vec();
        // 0 and 0xffff are one number: the C loop takes the shorter way and writes either.
        let sum = &mut frame[HEADER + 10..][..2];
        if sum == [0xff; 2] {
            sum.fill(0);
        }
        frame
    };
    let mut theirs: Vec<_> = theirs.into_iter().map(frame).collect();
    let mut ours: Vec<_> = ours.pool().map(frame).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert!(theirs == ours, "the two sides wrote different frames");
}

/// Frames of all kinds, most of them wrong somewhere, through the two sides that do the
/// same work: they must count the same, by queue, by record, and by reason of each
/// refusal, and write the same. Returns how many frames, how many were sent, and for
/// how many reasons others were not.
pub fn same_work() -> (u64, u64, usize) {
    const ROUNDS: u64 = 4000;
    const BUFFERS: usize = 256;
    let mut routes = world::five_routes();
    routes.extend([(0x0102_0304, 32, 3), (0x0102_0380, 25, 4), (0x0203_0000, 16, 0), (0x0203_0440, 26, 1)]);
    let mut destinations = world::destinations(&routes, 1 << 10);
    destinations.extend((0..1024).flat_map(|n| [0x0102_0300 | n & 255, 0x0203_0400 | n & 255]));
    destinations.extend([0, 0x7f00_0001, 0xa9fe_0101, 0xa9fd_0101, 0xe000_0016, u32::MAX, 0x0900_0000]);
    let mut pair = Pair::new(BUFFERS, &routes, destinations);
    (0..ROUNDS).for_each(|_| pair.round(spoil));
    let counts = pair.ours.counts();
    let reasons = counts.left.as_flattened().iter().filter(|count| count[0] > 0).count();
    let sent = counts.sent.iter().map(|count| count[0]).sum();
    (ROUNDS * BUFFERS as u64, sent, reasons)
}

/// Frames of which every field of the key varies, spoiled besides, and a way out that hangs
/// on two bits of the key: for all 56 pairs of bits in turn, each frame must take the same
/// one on both sides. A key that differs in any bit is seen. Returns how many frames went
/// by for each pair.
pub fn same_keys() -> u64 {
    const ROUNDS: u64 = 64;
    const BUFFERS: usize = 256;
    let routes = world::five_routes();
    let mut pair = Pair::new(BUFFERS, &routes, world::destinations(&routes, 1 << 10));
    for at in (0..LookupKey::BITS).step_by(2) {
        let mask = 3 << at;
        let filter = |n: u32| Filter::new(SLICE, LookupKey::new(u128::from(n) << at), LookupKey::new(mask));
        pair.filters(&[0, 1, 2, 3].map(|n| (filter(n), n)));
        let before = pair.ours.counts().sent;
        (0..ROUNDS).for_each(|_| pair.round(vary));
        let after = pair.ours.counts().sent;
        // The lowest bit of the class is 0 where the key holds a DSCP.
        let possible = if at == CLASS { 2 } else { 4 };
        let taken = after.iter().zip(before).filter(|(after, before)| after[0] > before[0]).count();
        assert_eq!(taken, possible, "the frames do not vary in bits {at} and {} of the key", at + 1);
    }
    ROUNDS * BUFFERS as u64
}

/// The trace of the timed rounds, and filters that ask for each bit of its keys, of the
/// destination for two: for all 16 pairs of them in turn, each frame must be sent, and
/// leave both sides by the way out that its destination says. Returns how many frames went
/// by for each pair.
pub fn same_trace(routes: &[Route]) -> u64 {
    const BUFFERS: usize = 1024;
    let destinations = world::destinations(routes, DESTINATIONS);
    let mut pair = Pair::new(BUFFERS, &[], destinations.clone());
    for at in (0..32).step_by(2) {
        let filter = |n: u32| {
            // What `Source` writes.
            let value = Ipv4Key {
                class: 0,
                protocol: 17,
                source_port: 1000,
                destination_port: 2000,
                source: 0xc0a8_0001,
                destination: n << at,
            };
            let mask = Ipv4Key { destination: 3 << at, ..LookupKey::MAX.into() };
            Filter::new(SLICE, value.into(), mask.into())
        };
        pair.filters(&[0, 1, 2, 3].map(|n| (filter(n), n)));
        let mut expected = pair.ours.counts().sent.map(|count| count[0]);
        destinations.iter().for_each(|to| expected[(to >> at & 3) as usize] += 1);
        (0..DESTINATIONS / BUFFERS).for_each(|_| pair.round(|_, _| HEADER + SMALLEST));
        let sent = pair.ours.counts().sent.map(|count| count[0]);
        assert_eq!(sent, expected, "bits {at} and {} of the destinations are not in the keys", at + 1);
    }
    DESTINATIONS as u64
}

/// Numbers that look random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.below(256) as u8)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Draws all fields that a key has, and spoils the frame.
fn vary(draw: &mut Draw, buffer: &mut Buffer) -> usize {
    let ip = &mut buffer[HEADROOM as usize + HEADER..];
    [ip[1]] = draw.octets();
    if draw.below(4) == 0 {
        [ip[6], ip[7]] = draw.octets();
    }
    let [any] = draw.octets();
    ip[9] = draw.one_of(&[1, 6, 17, 33, 132, 136, any, any]);
    // Both addresses, and the octets where ports are.
    ip[12..28].copy_from_slice(&draw.octets::<16>());
    put_sum(&mut ip[..20]);
    spoil(draw, buffer)
}

/// Changes up to three octets of the headers, and gives most of them right checksums
/// again. Returns the length, which changes, too.
fn spoil(draw: &mut Draw, buffer: &mut Buffer) -> usize {
    let frame = &mut buffer[HEADROOM as usize..];
    let whole = HEADER + SMALLEST;
    let octets = match draw.below(8) {
        0 => draw.below(whole),
        1 => whole + draw.below(20),
        _ => whole,
    };
    for _ in 0..draw.below(4) {
        // Lengths, classes, fragments and so on more often than addresses.
        let at = match draw.below(3) {
            0 => 12 + draw.below(4),
            1 => 14 + 28 * draw.below(2) + draw.below(12),
            _ => 12 + draw.below(whole - 12),
        };
        frame[at] = match draw.below(3) {
            0 => draw.below(256) as u8,
            1 => draw.one_of(&[0, 1, 2, 3, 6, 17, 0x45, 0x46, 127, 169, 224, 255]),
            _ => frame[at] ^ 1 << draw.below(8),
        };
    }
    // A packet that is shorter than its frame, or has no payload.
    if draw.below(4) == 0 {
        frame[HEADER + 3] = 20 + draw.below(8) as u8;
    }
    for at in [14, HEADER] {
        if draw.below(8) > 0 {
            put_sum(&mut frame[at..at + 20]);
        }
    }
    octets
}

fn put_sum(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The first bit of the class in a key.
const CLASS: u32 = LookupKey::BITS - 8;
