//! The embedded traffic: made in memory, with known counts of all that is wrong.
//!
//! Frames arrive as a Poisson process with three lengths. Destinations follow Zipf's
//! law. One frame in 25 is bad, or for the slow path, in one of the ways of [`KINDS`].

use fastpath::exit::DropReason;
use fastpath::time::Nanos;
use fastpath::workloads::packets::{Damage, UNKNOWN_DESTINATION, UdpPacket};
use fastpath::workloads::traffic::{FRAME_OVERHEAD, FrameSizes, Poisson, Zipf};

use super::config::Plan;
use super::feed::{Arrival, Buffer, Counted, FarEnd, INNER, Made, Source};
use super::label;

/// Frames a second: about 2.5 Gb/s, more than the interface `north` sends.
const RATE: f64 = 850_000.0;

/// Frame lengths as (count, octets): the "simple IMIX" with a longest frame that fits a
/// tunnel.
const LENGTHS: [(u32, u32); 3] = [(28, 64), (16, 570), (4, 1400)];

/// Destinations in each prefix.
const HOSTS: usize = 50_000;

/// A UDP port of the node that no link has.
const CLOSED: u16 = 19_999;

/// What may be wrong with a frame, or out of the ordinary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The slice's IPv4 packet is damaged.
    Inner(Damage),
    /// Nobody listens to the outer port.
    ClosedPort,
    /// The outer header's checksum is wrong.
    OuterChecksum,
    /// Forbidden by a filter.
    Telnet,
    /// The slice's own routing protocol.
    Routing,
    ShortLabel,
    ExpiredLabel,
    UnknownLabel,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Red,
    Blue,
    Green,
}

/// What is made, for whom, and where it leaves. The slices are those of the embedded
/// configuration.
const KINDS: [(Kind, Of, &str, &str); 20] = {
    use Kind::{ClosedPort, ExpiredLabel, Inner, OuterChecksum, Routing, ShortLabel, Telnet, UnknownLabel};
    use Of::{Blue, Green, Red};
    [
        (ClosedPort, Red, "outer: nobody's port", "drop:unknown_slice"),
        (OuterChecksum, Blue, "outer: checksum", "drop:checksum"),
        (Inner(Damage::HeaderChecksum), Red, "header checksum", "drop:checksum"),
        (Inner(Damage::HeaderChecksum), Blue, "header checksum", "drop:checksum"),
        (Inner(Damage::Truncated), Red, "cut off", "drop:truncated"),
        (Inner(Damage::ShortHeader), Blue, "header cut off", "drop:truncated"),
        (Inner(Damage::Version), Red, "version 6", "drop:malformed"),
        (Inner(Damage::HeaderLength), Blue, "header length 16", "drop:malformed"),
        (Inner(Damage::MartianSource), Red, "from 127.0.0.1", "drop:martian"),
        (Inner(Damage::MartianSource), Blue, "from 127.0.0.1", "drop:martian"),
        (Inner(Damage::UnknownDestination), Red, "no route", "drop:no_match"),
        (Inner(Damage::UnknownDestination), Blue, "no route", "drop:no_match"),
        (Inner(Damage::TtlOne), Red, "time to live 1", "slow_path:expired"),
        (Inner(Damage::TtlOne), Blue, "time to live 1", "slow_path:expired"),
        (Inner(Damage::Options), Red, "header options", "slow_path:options"),
        (Telnet, Blue, "forbidden by a filter", "drop:filtered"),
        (Routing, Blue, "routing protocol", "slow_path:filtered"),
        (ShortLabel, Green, "label cut off", "drop:truncated"),
        (ExpiredLabel, Green, "time to live 1", "slow_path:expired"),
        (UnknownLabel, Green, "unknown label", "drop:no_match"),
    ]
};

/// The generator.
#[derive(Debug)]
pub(crate) struct Demo {
    arrivals: Poisson<FrameSizes>,
    hosts: Zipf,
    dice: Dice,
    links: Links,
    limit: u64,
    by_slice: Vec<u64>,
    made: [u64; KINDS.len()],
    frames: u64,
    /// The link that the last frame arrived at, in the order of the configuration.
    pub(crate) last_link: usize,
}

/// The far ends of the five links, and of a port that is closed.
#[derive(Debug)]
struct Links {
    all: [FarEnd; 5],
    closed: FarEnd,
}

/// SplitMix64: G. L. Steele and others, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `n`.
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u64::from((mixed >> 32) as u32) * u64::from(n)) >> 32) as u32
    }
}

impl Demo {
    /// `frames` frames for the slices of the embedded configuration.
    pub(crate) fn new(plan: &Plan, frames: u64, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut all = Vec::new();
        for (slice, link, _, _) in plan.links() {
            all.push(FarEnd::new(plan, slice, link, None)?);
        }
        let all = <[FarEnd; 5]>::try_from(all).map_err(|_| "the embedded configuration has five links")?;
        let sizes = FrameSizes::mix(&LENGTHS, seed)?;
        Ok(Self {
            arrivals: Poisson::new(RATE, sizes, seed)?,
            hosts: Zipf::new(HOSTS, 1.0, seed)?,
            dice: Dice(seed),
            links: Links { all, closed: FarEnd::new(plan, 0, 0, Some(CLOSED))? },
            limit: frames,
            by_slice: vec![0; plan.slices.len() + 1],
            made: [0; KINDS.len()],
            frames: 0,
            last_link: 0,
        })
    }

    fn make(&mut self, mut buffer: Buffer, at: Nanos, octets: u32) -> Result<Arrival, DropReason> {
        let room = octets.saturating_sub(FRAME_OVERHEAD) as u16;
        let kind = (self.dice.below(25) == 0).then(|| self.dice.below(KINDS.len() as u32) as usize);
        let of = match (kind.and_then(|kind| KINDS.get(kind)), self.dice.below(100)) {
            (Some((_, of, ..)), _) => *of,
            (None, 0..45) => Of::Red,
            (None, 45..80) => Of::Blue,
            (None, _) => Of::Green,
        };
        let bad = kind.and_then(|kind| KINDS.get(kind)).map(|(kind, ..)| *kind);
        if let Some(made) = kind.and_then(|kind| self.made.get_mut(kind)) {
            *made += 1;
        }
        let second = self.dice.below(2) as usize;
        let inner = buffer.get_mut(INNER..).unwrap_or_default();
        let (at_link, octets) = match of {
            Of::Red => (second, self.ipv4(inner, room, of, bad)?),
            Of::Blue => (2 + second, self.ipv4(inner, room, of, bad)?),
            Of::Green => (4, self.label(inner, room, bad)),
        };
        self.last_link = at_link;
        let mut end = self.links.all.get(at_link).ok_or(DropReason::Malformed)?;
        if bad == Some(Kind::ClosedPort) {
            (end, self.last_link) = (&self.links.closed, 0);
        }
        let owned = !matches!(bad, Some(Kind::ClosedPort | Kind::OuterChecksum));
        if let Some(count) = self.by_slice.get_mut(if owned { end.slice } else { 0 }) {
            *count += 1;
        }
        let mut packet = end.wrap(buffer, octets, 0)?;
        if bad == Some(Kind::OuterChecksum) {
            let outer = packet.octets() as usize - octets - 28;
            if let Some(octet) = packet.bytes_mut().get_mut(outer + 10) {
                *octet ^= 0x40;
            }
        }
        Ok(Arrival { at, packet, meta: end.meta })
    }

    /// A UDP packet from 10.9.0.0/16. A third of blue's is voice; of what is not, red
    /// goes to three prefixes, of which two lead to the interface that is overloaded.
    fn ipv4(&mut self, inner: &mut [u8], room: u16, of: Of, bad: Option<Kind>) -> Result<usize, DropReason> {
        let host = self.hosts.next().unwrap_or_default() as u32;
        let network = match self.dice.below(10) {
            0..4 => 0x0a01_0000,
            4..7 => 0x0a02_0000,
            _ => 0x0a03_0000,
        };
        let voice = of == Of::Blue && bad.is_none() && self.dice.below(3) == 0;
        let mut packet = UdpPacket {
            source: 0x0a09_0000 | (1 + self.dice.below(0x7ffe)),
            destination: network | (1 + host),
            source_port: 1024 + self.dice.below(60_000) as u16,
            destination_port: if voice { 5060 } else { 9 },
            ttl: 64,
            payload: room.saturating_sub(28),
        };
        match bad {
            Some(Kind::Telnet) => (packet.source, packet.destination_port) = (packet.source | 0x8000, 23),
            Some(Kind::Routing) => (packet.destination, packet.destination_port) = (0x0aff_0002, 520),
            _ => {}
        }
        let octets = packet.write(inner).map_err(|_| DropReason::Truncated)?;
        match bad {
            Some(Kind::Inner(damage)) => damage.apply(inner, octets).map_err(|_| DropReason::Malformed),
            _ => Ok(octets),
        }
    }

    fn label(&mut self, inner: &mut [u8], room: u16, bad: Option<Kind>) -> usize {
        let octets = usize::from(room).clamp(label::HEADER, inner.len());
        let ttl = if bad == Some(Kind::ExpiredLabel) { 1 } else { 32 };
        let number = if bad == Some(Kind::UnknownLabel) { 99 } else { 16 + self.dice.below(3) as u8 };
        // All of it: what a buffer held before is another slice's.
        let payload = (0u32..).map(|number| number as u8);
        let octets_of = [0, number, ttl, 0].into_iter().chain(payload);
        inner.iter_mut().take(octets).zip(octets_of).for_each(|(to, from)| *to = from);
        if bad == Some(Kind::ShortLabel) { label::HEADER - 1 } else { octets }
    }
}

impl Source for Demo {
    fn next(&mut self, buffer: Buffer) -> Result<Arrival, Buffer> {
        debug_assert!(buffer.len() >= self.buffer_octets());
        match self.arrivals.next().filter(|_| self.frames < self.limit) {
            None => Err(buffer),
            Some(arrival) => {
                self.frames += 1;
                let made = self.make(buffer, arrival.at, arrival.octets);
                Ok(made.unwrap_or_else(|reason| unreachable!("the longest frame fits a buffer: {reason}")))
            }
        }
    }

    /// An odd number of cache lines, so that headers don't fight for the same sets.
    fn buffer_octets(&self) -> usize {
        31 * 64
    }

    fn expected(&self) -> Option<u64> {
        Some(self.limit)
    }

    fn counted(&self) -> Counted {
        let made = KINDS.iter().zip(&self.made).map(|((kind, of, what, exit), frames)| {
            let slice = match (kind, of) {
                (Kind::ClosedPort | Kind::OuterChecksum, _) => 0,
                (_, Of::Red) => 1,
                (_, Of::Blue) => 2,
                (_, Of::Green) => 3,
            };
            Made { what, slice, exit, frames: *frames }
        });
        Counted {
            frames: self.frames,
            by_slice: Some(self.by_slice.clone()),
            made: made.collect(),
            ..Counted::default()
        }
    }
}

const _: () = assert!(UNKNOWN_DESTINATION >> 24 != 10, "no route of the configuration has it");
