//! What is sent: inner packets of several lengths, to destinations that the routes cover.

use std::io::{BufReader, Read};

use etherparse::PacketBuilder;
use fastpath::packet::Packet;
use fastpath::wire::checksum;
use fastpath::workloads::{Prefix, routes, trace};

pub(crate) type Buffer = Box<[u8]>;

/// Octets in front of each packet.
pub(crate) const HEADROOM: u32 = 128;
/// Octets of a buffer.
pub(crate) const OCTETS: usize = 2112;
/// Octets at the end of a packet: of which round it is, and when it was sent.
const STAMP: usize = 16;
/// Destinations that take turns.
const DESTINATIONS: usize = 1 << 16;

/// Octets of the inner packets, in the order they are sent.
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) inner: &'static [usize],
}

/// A frame of 64 octets has an IP packet of 46. The mix has 28 of 64, 16 of 570 and 4 of 1,518
/// octets, the last cut to what the tunnel's MTU of 1,472 lets through.
pub(crate) const SIZES: [Size; 3] = [
    Size { name: "64", inner: &[46] },
    Size { name: "mix", inner: &[46, 552, 46, 552, 46, 46, 1472, 46, 552, 46, 552, 46] },
    Size { name: "1400", inner: &[1400] },
];

/// Routes, and destinations that are drawn from them.
pub(crate) struct Table {
    pub(crate) prefixes: Vec<Prefix<u32>>,
    destinations: Vec<u32>,
}

impl Table {
    fn new(prefixes: Vec<Prefix<u32>>) -> Self {
        let drawn = trace::Addresses::within(&prefixes, 7).expect("routes");
        Self { destinations: drawn.take(DESTINATIONS).collect(), prefixes }
    }

    /// 1.0.0.0/8 to 5.0.0.0/8.
    pub(crate) fn five() -> Self {
        Self::new((1..=5).filter_map(|first| Prefix::new(first << 24, 8)).collect())
    }

    /// Of the first 900,000 prefixes of a table of the Internet those that a router may have:
    /// unicast, and not in the network of the cables.
    ///
    /// # Errors
    ///
    /// Why the table cannot be read.
    pub(crate) fn internet() -> Result<Self, String> {
        const FILE: &str = "../shared/data/fib/internet-prefixes.txt.gz";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        let file = std::fs::File::open(path).map_err(|error| format!("{FILE}: {error}"))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).map_err(|error| error.to_string())?;
        let all = routes::read(BufReader::new(text.as_bytes())).map_err(|error| error.to_string())?;
        let prefixes = all.iter().filter_map(|route| route.prefix.v4()).take(900_000);
        let may = |prefix: &Prefix<u32>| {
            let first = prefix.address() >> 24;
            (8..=24).contains(&prefix.len()) && (1..224).contains(&first) && ![10, 127].contains(&first)
        };
        let mut prefixes: Vec<_> = prefixes.filter(may).collect();
        prefixes.sort_by_key(|prefix| (prefix.address(), prefix.len()));
        prefixes.dedup();
        Ok(Self::new(prefixes))
    }
}

/// A frame, but for destination and stamp.
struct Template {
    octets: Vec<u8>,
    /// Where the inner packet begins.
    inner: usize,
    /// Its header checksum without a destination.
    sum: u16,
}

/// Frames in turn.
pub(crate) struct Source<'a> {
    templates: Vec<Template>,
    destinations: &'a [u32],
    at: usize,
    mark: u64,
}

impl<'a> Source<'a> {
    /// Frames of a round: `frame` puts in front of an inner packet what the way needs.
    pub(crate) fn new(size: &Size, table: &'a Table, frame: &dyn Fn(&[u8]) -> Vec<u8>, mark: u64) -> Self {
        let template = |octets: &usize| {
            let mut inner = Vec::new();
            let builder = PacketBuilder::ipv4([192, 168, 0, 1], [0; 4], 64).udp(1000, 2000);
            builder.write(&mut inner, &vec![7; octets - 28]).expect("a vector takes it");
            inner[26..28].fill(0);
            let (sum, octets) = (u16::from_be_bytes([inner[10], inner[11]]), frame(&inner));
            Template { inner: octets.len() - inner.len(), octets, sum }
        };
        let templates = size.inner.iter().map(template).collect();
        Self { templates, destinations: &table.destinations, at: 0, mark }
    }

    /// The next frame, stamped with the time.
    pub(crate) fn write(&mut self, mut buffer: Buffer, now: u64) -> Packet<Buffer> {
        let template = &self.templates[self.at % self.templates.len()];
        let destination = self.destinations[self.at % self.destinations.len()];
        self.at += 1;
        let frame = &mut buffer[HEADROOM as usize..][..template.octets.len()];
        frame.copy_from_slice(&template.octets);
        let inner = &mut frame[template.inner..];
        inner[10..12].copy_from_slice(&checksum::update32(template.sum, 0, destination).to_be_bytes());
        inner[16..20].copy_from_slice(&destination.to_be_bytes());
        let at = inner.len() - STAMP;
        inner[at..at + 8].copy_from_slice(&self.mark.to_be_bytes());
        inner[at + 8..].copy_from_slice(&now.to_be_bytes());
        Packet::new(buffer, HEADROOM, HEADROOM + template.octets.len() as u32).expect("it fits")
    }
}

/// When a packet of the round `mark` was sent; `None` for any other.
pub(crate) fn sent_at(packet: &[u8], mark: u64) -> Option<u64> {
    let (rest, time) = packet.split_last_chunk()?;
    let (_, found) = rest.split_last_chunk()?;
    (u64::from_be_bytes(*found) == mark).then(|| u64::from_be_bytes(*time))
}
