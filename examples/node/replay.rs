//! Captures: frames that arrive at links, from files, and frames that leave, to files.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use fastpath::decap::{Decap, TunnelConfig, TunnelEntry, TunnelError, TunnelKind, Tunnels};
use fastpath::egress::{Encapsulation, Payload};
use fastpath::id::{InterfaceId, LinkId, SliceId};
use fastpath::io::pcap::{Reader, Writer};
use fastpath::node::LinkRequest;
use fastpath::packet::Packet;
use fastpath::slot::{Admission, Layer, RxMeta};
use fastpath::time::Nanos;
use fastpath::wire::ethernet;

use super::config::{EMBEDDED, Kind, Plan};
use super::demo::Demo;
use super::feed::{Arrival, BUFFER, Buffer, Counted, FarEnd, HEADROOM, INNER, SOMEBODY, Source, layer, meta};
use super::run::Sink;

/// The frames of several captures in the order of their times.
pub(crate) struct Replay {
    inputs: Vec<Input>,
    frames: u64,
    by_slice: Option<Vec<u64>>,
    failed: bool,
    notes: Vec<String>,
}

/// One capture, and the link that its frames arrive at.
struct Input {
    file: PathBuf,
    reader: Reader<BufReader<File>>,
    arrival: Way,
    /// The frame to come: its time, what it begins with, its octets.
    head: Option<(Nanos, Layer)>,
    octets: Vec<u8>,
    foreign: u64,
    too_long: u64,
    cut: u64,
}

/// How a captured frame arrives.
enum Way {
    /// As it stands.
    Frame(RxMeta),
    /// It is a slice's own packet, to be put behind an outer header.
    Inner(Box<FarEnd>, Kind),
}

impl Replay {
    /// Opens `inputs`, pairs of a link's name and a capture; `inner` if they hold slices'
    /// own packets.
    ///
    /// # Errors
    ///
    /// An unknown link, a file that cannot be read or is no capture: nothing is read.
    pub(crate) fn open(
        plan: &Plan, inputs: &[(String, PathBuf)], inner: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let mut opened = Vec::new();
        for (link, file) in inputs {
            let known =
                || plan.links().map(|(_, _, name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let found = plan.links().find(|(_, _, name, _)| name == link);
            let Some((slice, number, _, request)) = found else {
                return Err(format!(
                    "--in {link}={}: there is no such link; allowed is {}",
                    file.display(),
                    known()
                )
                .into());
            };
            let arrival = match (inner, plan.slices.get(slice)) {
                (true, Some(of)) => Way::Inner(Box::new(FarEnd::new(plan, slice, number, None)?), of.kind),
                _ => Way::Frame(RxMeta { interface: request.interface, ..RxMeta::NEW }),
            };
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let input = File::open(file).map_err(|error| named(&error))?;
            let reader = Reader::new(BufReader::new(input)).map_err(|error| named(&error))?;
            let octets = Vec::new();
            opened.push(Input {
                file: file.clone(),
                reader,
                arrival,
                head: None,
                octets,
                foreign: 0,
                too_long: 0,
                cut: 0,
            });
        }
        let by_slice = inner.then(|| vec![0; plan.slices.len() + 1]);
        let mut replay = Self { inputs: opened, frames: 0, by_slice, failed: false, notes: Vec::new() };
        for at in 0..replay.inputs.len() {
            replay.advance(at);
        }
        Ok(replay)
    }

    /// Reads ahead in input `at`.
    fn advance(&mut self, at: usize) {
        let Some(input) = self.inputs.get_mut(at) else { return };
        input.head = None;
        while let Some(frame) = input.reader.next_frame() {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    // The source of an I/O error says more.
                    let more = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                    self.notes.push(format!(
                        "{}: {error}{more}; what was before is in the account",
                        input.file.display()
                    ));
                    self.failed = true;
                    return;
                }
            };
            input.cut += u64::from(frame.original as usize > frame.octets.len());
            let octets = match &input.arrival {
                Way::Frame(_) => Some(frame.octets),
                Way::Inner(_, Kind::Ipv4) => ipv4(frame.layer, frame.octets),
                Way::Inner(_, Kind::Label) => match frame.layer {
                    Layer::Ethernet => frame.octets.get(14..),
                    _ => Some(frame.octets),
                },
            };
            let longest = match &input.arrival {
                Way::Frame(_) => BUFFER - HEADROOM as usize,
                Way::Inner(end, _) => end.longest(),
            };
            match octets {
                None => input.foreign += 1,
                Some(octets) if octets.len() > longest => input.too_long += 1,
                Some(octets) => {
                    input.octets.clear();
                    input.octets.extend_from_slice(octets);
                    input.head = Some((frame.at, frame.layer));
                    return;
                }
            }
        }
    }
}

/// The IPv4 packet of a captured frame, behind up to two VLAN tags.
fn ipv4(layer: Layer, frame: &[u8]) -> Option<&[u8]> {
    if layer == Layer::Ip {
        return Some(frame).filter(|frame| frame.first().is_some_and(|first| first >> 4 == 4));
    }
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        match kind {
            ethernet::IPV4 => return frame.get(at + 2..),
            ethernet::VLAN | 0x88a8 => at += 4,
            _ => return None,
        }
    }
    None
}

impl Source for Replay {
    fn next(&mut self, mut buffer: Buffer) -> Result<Arrival, Buffer> {
        let heads = self.inputs.iter().enumerate().filter_map(|(at, input)| Some((input.head?, at)));
        let Some(((time, layer), at)) = heads.min_by_key(|((time, _), at)| (*time, *at)) else {
            return Err(buffer);
        };
        let Some(input) = self.inputs.get(at) else { return Err(buffer) };
        let octets = &input.octets;
        let (packet, meta) = match &input.arrival {
            Way::Frame(meta) => (Packet::with_headroom(buffer, HEADROOM, octets), RxMeta { layer, ..*meta }),
            Way::Inner(end, kind) => {
                let room = buffer.get_mut(INNER..).unwrap_or_default();
                room.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
                let class = match kind {
                    Kind::Ipv4 => octets.get(1).copied().unwrap_or_default(),
                    Kind::Label => octets.get(3).copied().unwrap_or_default(),
                };
                if let Some(count) = self.by_slice.as_mut().and_then(|counts| counts.get_mut(end.slice)) {
                    *count += 1;
                }
                (end.wrap(buffer, octets.len(), class), end.meta)
            }
        };
        let packet = packet.unwrap_or_else(|reason| unreachable!("longer ones were left out: {reason}"));
        self.frames += 1;
        self.advance(at);
        Ok(Arrival { at: time, packet, meta })
    }

    fn buffer_octets(&self) -> usize {
        BUFFER
    }

    fn expected(&self) -> Option<u64> {
        None
    }

    fn counted(&self) -> Counted {
        let mut notes = self.notes.clone();
        for input in &self.inputs {
            let mut note = |count: u64, what: &str| {
                if count > 0 {
                    notes.push(format!("{}: {count} {what}", input.file.display()));
                }
            };
            note(input.foreign, "frames hold no IPv4 packet and were left out");
            note(input.too_long, "frames are longer than an IPv4 packet can be and were left out");
            note(input.cut, "frames were cut when they were captured; they stay so");
        }
        let by_slice = self.by_slice.clone();
        Counted { frames: self.frames, by_slice, made: Vec::new(), notes, failed: self.failed }
    }
}

/// A capture that is being written.
type Output = Writer<BufWriter<File>>;

/// A link's name, its capture, and how many frames it holds.
type LinkFile = (String, PathBuf, u64);

/// A capture for each link, of what leaves by it.
pub(crate) struct Captures {
    /// By the link's number among all.
    links: Vec<(PathBuf, Output)>,
    /// By interface, IP version and UDP source port, which say the link of plain UDP.
    ports: BTreeMap<(usize, bool, u16), usize>,
    /// The other ends of all other links, by interface: what they take says the link.
    tunnels: Vec<(RxMeta, Tunnels<Box<[TunnelEntry]>>)>,
    /// Octets in front of the outer IP header, by interface.
    headers: Vec<usize>,
}

impl Captures {
    /// Creates `DIR/LINK.pcap` for every link.
    pub(crate) fn create(plan: &Plan, dir: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(dir).map_err(|error| format!("--out {}: {error}", dir.display()))?;
        let headers = plan.interfaces.iter().map(|it| it.config.link_layer.octets()).collect();
        let entries = plan.links().count() + 1;
        let tunnels = plan.interfaces.iter().zip(0..).map(|(at, number)| {
            let entries = vec![TunnelEntry::EMPTY; entries.next_power_of_two()].into_boxed_slice();
            (meta(InterfaceId(number), at.config.link_layer), Tunnels::new(entries))
        });
        let mut captures =
            Self { links: Vec::new(), ports: BTreeMap::new(), tunnels: tunnels.collect(), headers };
        for (_, _, name, request) in plan.links() {
            let interface = usize::from(request.interface.0);
            let file = dir.join(format!("{name}.pcap"));
            let writer = create(plan, interface, &file)?;
            captures.expect(interface, request).map_err(|error| {
                format!("link {name}: {error}: what leaves by it cannot be told from what leaves by another")
            })?;
            captures.links.push((file, writer));
        }
        Ok(captures)
    }

    /// Has the next link found by what leaves by it.
    fn expect(&mut self, interface: usize, link: &LinkRequest) -> Result<(), TunnelError> {
        let number = self.links.len();
        let port = link.peer.port();
        let (kind, payload) = match link.encapsulation {
            Encapsulation::Udp => {
                self.ports.insert((interface, link.peer.is_ipv6(), link.port), number);
                return Ok(());
            }
            Encapsulation::Vxlan { vni, frame } => (TunnelKind::Vxlan { port, vni }, Payload::Frames(frame)),
            Encapsulation::Geneve { vni, payload } => (TunnelKind::Geneve { port, vni }, payload),
            Encapsulation::Gre { key, payload, .. } => (TunnelKind::Gre { key }, payload),
        };
        let (mac, ether_type) = match payload {
            Payload::Packets(ether_type) => ([0; 6], ether_type),
            // Whatever is in them.
            Payload::Frames(Some(frame)) if frame.destination != [0xff; 6] => (frame.destination, 0),
            Payload::Frames(_) => (SOMEBODY, 0),
        };
        let admission = Admission { slice: SliceId(1), link: LinkId(number as u16), ..Admission::NONE };
        let config = TunnelConfig { mac, ether_type, zero_checksum: true, ..TunnelConfig::new(admission) };
        let (_, tunnels) = self.tunnels.get_mut(interface).ok_or(TunnelError::Substrate)?;
        tunnels.open(link.peer.ip(), kind, config)
    }

    /// The link by which a frame left.
    fn link(&self, interface: usize, frame: &[u8]) -> Option<usize> {
        let ip = frame.get(self.headers.get(interface).copied().unwrap_or_default()..)?;
        let v6 = ip.first()? >> 4 == 6;
        let header = if v6 { 40 } else { 20 };
        let port = ip.get(header..).and_then(<[u8]>::first_chunk).map(|port| u16::from_be_bytes(*port));
        let (meta, tunnels) = self.tunnels.get(interface)?;
        let tunnel = tunnels.decap(frame, meta).map(|inner| usize::from(inner.admission.link.0));
        tunnel.ok().or_else(|| self.ports.get(&(interface, v6, port?)).copied())
    }

    /// Writes what is still in memory. Returns frames by file.
    pub(crate) fn finish(self) -> Result<Vec<(PathBuf, u64)>, Box<dyn Error>> {
        let mut written = Vec::new();
        for (file, writer) in self.links {
            let frames = writer.frames();
            writer.finish().map_err(|error| format!("{}: {error}", file.display()))?;
            written.push((file, frames));
        }
        Ok(written)
    }
}

fn create(plan: &Plan, interface: usize, file: &Path) -> Result<Output, Box<dyn Error>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let layer = plan.interfaces.get(interface).map_or(Layer::Ip, |it| layer(it.config.link_layer));
    let output = File::create(file).map_err(|error| named(&error))?;
    Ok(Writer::new(BufWriter::new(output), layer).map_err(|error| named(&error))?)
}

impl Sink for Captures {
    fn send(&mut self, at: Nanos, interface: usize, frame: &[u8]) -> Result<(), Box<dyn Error>> {
        let link = self.link(interface, frame).and_then(|link| self.links.get_mut(link));
        let (file, writer) = link.ok_or("a frame left by a way that no link has")?;
        writer.write(at, frame).map_err(|error| format!("{}: {error}", file.display()).into())
    }
}

/// Writes the embedded traffic as captures, one for each link, beside its
/// configuration. Returns frames by link and file.
pub(crate) fn write_demo(plan: &Plan, demo: &mut Demo, dir: &Path) -> Result<Vec<LinkFile>, Box<dyn Error>> {
    fs::create_dir_all(dir).map_err(|error| format!("--write-demo {}: {error}", dir.display()))?;
    let config = dir.join("node.toml");
    fs::write(&config, EMBEDDED).map_err(|error| format!("{}: {error}", config.display()))?;
    let mut links = Vec::new();
    for (_, _, name, request) in plan.links() {
        let file = dir.join(format!("in-{name}.pcap"));
        let writer = create(plan, usize::from(request.interface.0), &file)?;
        links.push((name.to_owned(), file, writer));
    }
    let mut buffer = vec![0; demo.buffer_octets()].into_boxed_slice();
    while let Ok(arrival) = demo.next(buffer) {
        let (_, file, writer) =
            links.get_mut(demo.last_link).ok_or("the embedded configuration has five links")?;
        writer
            .write(arrival.at, arrival.packet.bytes())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        buffer = arrival.packet.into_buf();
    }
    let mut written = Vec::new();
    for (name, file, writer) in links {
        let frames = writer.frames();
        writer.finish().map_err(|error| format!("{}: {error}", file.display()))?;
        written.push((name, file, frames));
    }
    Ok(written)
}
