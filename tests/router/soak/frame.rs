//! Frames of every kind that hosts send, or should not.

use std::net::Ipv4Addr;

use fastpath::conformance::Rng;

/// What each packet of a slice holds, over and over.
pub(super) fn mark(slice: usize) -> [u8; 8] {
    [*b"#-red-/#", *b"#-blue/#"][slice]
}

/// A kind of traffic, and how often it is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub(super) enum Kind {
    Udp,
    Imix,
    Echo,
    EchoOfRouter,
    Fragments,
    Options,
    NoRoute,
    Changing,
    NoHost,
    Expired,
    Multicast,
    Broadcast,
    Arp,
}

impl Kind {
    pub(super) const ALL: [(Self, u64); 13] = [
        (Self::Udp, 300),
        (Self::Imix, 250),
        (Self::Echo, 70),
        (Self::EchoOfRouter, 40),
        (Self::Fragments, 60),
        (Self::Options, 50),
        (Self::NoRoute, 40),
        (Self::Changing, 60),
        (Self::NoHost, 20),
        (Self::Expired, 40),
        (Self::Multicast, 30),
        (Self::Broadcast, 20),
        (Self::Arp, 20),
    ];

    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut left = rng.below(Self::ALL.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in Self::ALL {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Self::Udp
    }
}

/// A host that sends: its slice, its side, its MAC address and its router's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) slice: usize,
    /// 1 or 2.
    pub(super) side: u8,
    pub(super) mac: [u8; 6],
    pub(super) router: [u8; 6],
}

const UDP: u8 = 17;
const ICMP: u8 = 1;

/// One IPv4 header, and what is behind it.
#[derive(Clone, Debug)]
struct Ip {
    to: [u8; 4],
    protocol: u8,
    time_to_live: u8,
    identification: u16,
    /// Flags, and the offset in units of 8 octets.
    fragment: u16,
    /// A multiple of 4 octets.
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Ip {
    fn octets(&self, from: [u8; 4]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut octets = vec![0x40 + (header / 4) as u8, 0];
        octets.extend(((header + self.payload.len()) as u16).to_be_bytes());
        octets.extend(self.identification.to_be_bytes());
        octets.extend(self.fragment.to_be_bytes());
        octets.extend([self.time_to_live, self.protocol, 0, 0]);
        octets.extend(from.iter().chain(&self.to));
        octets.extend(&self.options);
        let sum = checksum(&octets);
        octets[10..12].copy_from_slice(&sum.to_be_bytes());
        octets.extend(&self.payload);
        octets
    }
}

pub(super) fn checksum(octets: &[u8]) -> u16 {
    let pairs = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = pairs.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

impl Sender {
    /// The frames of one packet of a kind: more than one where it is cut.
    pub(super) fn draw(&self, kind: Kind, rng: &mut Rng) -> Vec<Vec<u8>> {
        if kind == Kind::Arp {
            return vec![self.arp(rng)];
        }
        let packets = self.packets(kind, rng);
        packets.iter().map(|packet| self.frame(packet)).collect()
    }

    fn packets(&self, kind: Kind, rng: &mut Rng) -> Vec<Ip> {
        let other = 3 - self.side;
        let host = [192, 168, other, 2];
        let len = 64 - 28 + rng.below(1400 - 64 + 1) as usize;
        let udp = |to, rng: &mut Rng, len| Ip {
            to,
            protocol: UDP,
            time_to_live: 64,
            identification: rng.bits() as u16,
            fragment: 0,
            options: Vec::new(),
            payload: self.datagram(rng, len),
        };
        let len = match kind {
            Kind::Imix => rng.pick(&IMIX) - 28,
            Kind::Fragments => 1400 + rng.below(3000) as usize,
            // Beside the longest options.
            Kind::Options => len.min(1400 - 28 - 40),
            _ => len,
        };
        let mut packet = udp(host, rng, len);
        match kind {
            Kind::Echo => packet = self.echo(host, rng),
            Kind::EchoOfRouter => {
                let router = rng.pick(&ROUTERS);
                packet = self.echo(router, rng);
            }
            Kind::Fragments => return self.cut(&packet),
            Kind::Options => packet.options = rng.pick(&OPTIONS).to_vec(),
            Kind::NoRoute => packet.to = [198, 51, 100, rng.bits() as u8],
            // Networks that commands add and take away.
            Kind::Changing => packet.to = [10, 100, rng.below(16) as u8, rng.bits() as u8],
            Kind::NoHost => packet.to = [192, 168, other, 3 + rng.below(250) as u8],
            Kind::Expired => packet.time_to_live = rng.below(3) as u8,
            Kind::Multicast => {
                packet.to = [224 + rng.below(16) as u8, 0, rng.below(2) as u8, rng.bits() as u8]
            }
            Kind::Broadcast => {
                packet.to = rng.pick(&[[255; 4], [192, 168, 1, 255], [192, 168, 2, 255], [0; 4]]);
            }
            Kind::Udp | Kind::Imix | Kind::Arp => (),
        }
        vec![packet]
    }

    fn marks(&self, len: usize) -> Vec<u8> {
        mark(self.slice).into_iter().cycle().take(len).collect()
    }

    /// UDP without a checksum, to the discard port.
    fn datagram(&self, rng: &mut Rng, len: usize) -> Vec<u8> {
        let source = 1024 + rng.below(60_000) as u16;
        let fields = [source, 9, 8 + len as u16, 0].map(u16::to_be_bytes);
        let mut octets = fields.as_flattened().to_vec();
        octets.extend(self.marks(len));
        octets
    }

    fn echo(&self, to: [u8; 4], rng: &mut Rng) -> Ip {
        let mut payload = vec![8, 0, 0, 0];
        payload.extend((rng.bits() as u32).to_be_bytes());
        payload.extend(self.marks(8 + rng.below(1000) as usize));
        let sum = checksum(&payload);
        payload[2..4].copy_from_slice(&sum.to_be_bytes());
        let identification = rng.bits() as u16;
        Ip { to, protocol: ICMP, time_to_live: 64, identification, fragment: 0, options: Vec::new(), payload }
    }

    fn cut(&self, packet: &Ip) -> Vec<Ip> {
        const UNITS: usize = 100;
        let pieces = packet.payload.chunks(8 * UNITS);
        let last = pieces.len() - 1;
        let piece = |(at, piece): (usize, &[u8])| Ip {
            fragment: (at * UNITS) as u16 | if at < last { 0x2000 } else { 0 },
            payload: piece.to_vec(),
            ..packet.clone()
        };
        pieces.enumerate().map(piece).collect()
    }

    fn frame(&self, packet: &Ip) -> Vec<u8> {
        let group = Ipv4Addr::from(packet.to).is_multicast();
        let to = match packet.to {
            [_, a, b, c] if group => [1, 0, 0x5e, a & 0x7f, b, c],
            [.., 255] => [0xff; 6],
            _ => self.router,
        };
        let from = [192, 168, self.side, 2];
        [&to[..], &self.mac, &[8, 0], &packet.octets(from)].concat()
    }

    /// A question for the router, or for anybody.
    fn arp(&self, rng: &mut Rng) -> Vec<u8> {
        let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
        let from = [192, 168, self.side, 2];
        let whom = [192, 168, self.side, 1 + (rng.below(4) as u8) % 3];
        [&[0xff; 6], &self.mac[..], &kind, &self.mac, &from, &[0; 6], &whom].concat()
    }
}

const IMIX: [usize; 12] = [64, 64, 64, 64, 64, 64, 64, 576, 576, 576, 576, 1400];

/// Addresses of the routers.
const ROUTERS: [[u8; 4]; 6] = [
    [192, 168, 1, 1],
    [192, 168, 2, 1],
    [192, 168, 12, 1],
    [192, 168, 12, 2],
    [192, 168, 13, 1],
    [192, 168, 13, 2],
];

/// Record route, timestamps, router alert, a source route, padding, one that is not known, and
/// two that are wrong.
const OPTIONS: [&[u8]; 8] = [
    &[7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[148, 4, 0, 0],
    &[131, 7, 4, 192, 168, 12, 2, 0],
    &[1, 1, 1, 0],
    &[30, 4, 0xab, 0xcd],
    &[7, 39, 4, 0],
    &[68, 1, 0, 0],
];

/// Changes octets of a frame, from `first` on, or ends it early.
pub(super) fn corrupt(frame: &mut Vec<u8>, first: usize, rng: &mut Rng) {
    let last = frame.len().max(first + 1);
    if rng.one_in(4) {
        let len = first + rng.below((last - first) as u64) as usize;
        frame.truncate(len.max(14));
        return;
    }
    // Most of what can be wrong is in headers.
    let last = if rng.one_in(4) { last } else { last.min(first + 72) };
    for _ in 0..1 + rng.below(8) {
        let at = first + rng.below((last - first) as u64) as usize;
        if let Some(octet) = frame.get_mut(at) {
            *octet = rng.bits() as u8;
        }
    }
}
