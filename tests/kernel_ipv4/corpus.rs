//! Packets made by hand: one for each thing that a forwarder may see in a header.

use etherparse::PacketBuilder;

use crate::routes::{LINK_LOCAL, ROUTER};

/// A packet and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) octets: Vec<u8>,
}

const SOURCE: [u8; 4] = [10, 1, 0, 9];
const FAR: [u8; 4] = [10, 2, 0, 9];

/// Where the fields stand.
const TOTAL: usize = 2;
const ID: usize = 4;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const FROM: usize = 12;
const TO: usize = 16;

const DF: u16 = 0x4000;
const MF: u16 = 0x2000;

/// All of them.
pub(crate) fn by_hand() -> Vec<Sample> {
    let mut samples = Samples::default();
    payloads(&mut samples);
    lifetimes(&mut samples);
    headers(&mut samples);
    checksums(&mut samples);
    fragments(&mut samples);
    options(&mut samples);
    sources(&mut samples);
    destinations(&mut samples);
    local(&mut samples);
    samples.0
}

/// Writes the right header checksum into `packet`: the sum by the book, so that
/// nothing of the crate judges itself.
pub(crate) fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15).saturating_mul(4).min(packet.len());
    put(packet, CHECKSUM, &[0, 0]);
    let checksum = !sum(&packet[..header]);
    put(packet, CHECKSUM, &checksum.to_be_bytes());
}

/// Whether the header checksum of `packet` is right.
pub(crate) fn sealed(packet: &[u8]) -> bool {
    let header = packet.first().map_or(0, |version| usize::from(version & 15) * 4);
    header >= 20 && packet.get(..header).is_some_and(|header| sum(header) == 0xffff)
}

fn sum(octets: &[u8]) -> u16 {
    let words =
        octets.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Overwrites octets of `packet` from `at` on.
pub(crate) fn put(packet: &mut [u8], at: usize, octets: &[u8]) {
    packet[at..at + octets.len()].copy_from_slice(octets);
}

#[derive(Default)]
struct Samples(Vec<Sample>);

impl Samples {
    fn add(&mut self, name: impl Into<String>, octets: Vec<u8>) {
        self.0.push(Sample { name: name.into(), octets });
    }

    /// A datagram with some fields changed, and the checksum after that.
    fn sealed(&mut self, name: impl Into<String>, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = udp(32);
        edit(&mut packet);
        seal(&mut packet);
        self.add(name, packet);
    }

    /// A datagram with some fields changed and nothing else.
    fn unsealed(&mut self, name: impl Into<String>, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = udp(32);
        edit(&mut packet);
        self.add(name, packet);
    }

    /// A datagram with these options, padded with EOL, and with some fields changed.
    fn options(&mut self, name: impl Into<String>, options: &[u8], edit: impl FnOnce(&mut Vec<u8>)) {
        self.sealed(name, |packet| {
            let padded = options.len().next_multiple_of(4);
            let options = options.iter().copied().chain([0; 4]).take(padded);
            packet.splice(20..20, options);
            packet[0] = 0x45 + (padded / 4) as u8;
            let total = packet.len() as u16;
            put(packet, TOTAL, &total.to_be_bytes());
            edit(packet);
        });
    }
}

/// A datagram of `len` octets from the one network to the other, DF not set.
fn udp(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(SOURCE, FAR, 64).udp(1000, 2000).write(&mut packet, &payload).expect("it fits");
    put(&mut packet, ID, &0x1234_u16.to_be_bytes());
    put(&mut packet, FRAGMENT, &[0, 0]);
    seal(&mut packet);
    packet
}

/// A datagram whose IP packet has `total` octets.
fn of(total: usize) -> Vec<u8> {
    udp(total - 28)
}

fn fragment(packet: &mut [u8], flags: u16, offset: u16) {
    put(packet, FRAGMENT, &(flags | (offset / 8)).to_be_bytes());
}

/// What UDP, TCP, ICMP and others carry, and how much of it.
fn payloads(samples: &mut Samples) {
    for len in [0, 1, 18, 1000] {
        samples.add(format!("udp {len}"), udp(len));
    }
    let built = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = Vec::new();
        write(&mut packet);
        packet
    };
    let ip = || PacketBuilder::ipv4(SOURCE, FAR, 64);
    samples.add("tcp syn", built(&|p| ip().tcp(1000, 80, 7, 1024).syn().write(p, &[]).expect("it fits")));
    samples.add(
        "tcp data",
        built(&|p| ip().tcp(1000, 80, 7, 1024).psh().ack(9).write(p, &[1; 536]).expect("it fits")),
    );
    samples.add("icmp echo", built(&|p| ip().icmpv4_echo_request(1, 2).write(p, &[3; 56]).expect("it fits")));
    samples.add("icmp reply", built(&|p| ip().icmpv4_echo_reply(1, 2).write(p, &[3; 56]).expect("it fits")));
    samples.add("icmp error", built(&|p| ip().icmpv4_raw(3, 3, [0; 4]).write(p, &udp(0)).expect("it fits")));
    samples.sealed("no payload", |p| {
        p.truncate(20);
        put(p, TOTAL, &[0, 20]);
    });
    samples.sealed("a cut udp header", |p| {
        p.truncate(27);
        put(p, TOTAL, &[0, 27]);
    });
    samples.unsealed("a wrong udp checksum", |p| p[26] ^= 0xff);
    for protocol in [0, 2, 4, 41, 47, 50, 51, 59, 89, 103, 132, 136, 143, 253, 255] {
        samples.sealed(format!("protocol {protocol}"), |p| p[PROTOCOL] = protocol);
    }
    for class in [0x01, 0x02, 0x03, 0x10, 0x1e, 0xb8, 0xc0, 0xff] {
        samples.sealed(format!("traffic class {class:#04x}"), |p| p[1] = class);
    }

    // 1400 octets fit, of the narrow route 1000.
    samples.add("as long as the mtu", of(1400));
    samples.add("one longer than the mtu", of(1401));
    samples.add("1500 octets", of(1500));
    samples.add("9000 octets", of(9000));
    samples.add("65535 octets", of(65_535));
    let long = |total: usize, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = of(total);
        put(&mut packet, FRAGMENT, &DF.to_be_bytes());
        edit(&mut packet);
        seal(&mut packet);
        packet
    };
    samples.add("df, as long as the mtu", long(1400, &|_| {}));
    samples.add("df, one longer than the mtu", long(1401, &|_| {}));
    samples.add("df, 65535 octets", long(65_535, &|_| {}));
    samples.add("df, too long, ttl 1", long(1500, &|p| p[TTL] = 1));
    samples.add("df, too long, no route", long(1500, &|p| put(p, TO, &[198, 51, 100, 1])));
    samples.add("df, too long, an icmp error", {
        let mut packet = long(1500, &|p| p[PROTOCOL] = 1);
        put(&mut packet, 20, &[3, 3]);
        packet
    });
    samples.add("df, as long as the route's mtu", long(1000, &|p| put(p, TO, &[10, 2, 4, 1])));
    samples.add("df, one longer than the route's mtu", long(1001, &|p| put(p, TO, &[10, 2, 4, 1])));
    samples.add(
        "one longer than the route's mtu",
        long(1001, &|p| {
            put(p, TO, &[10, 2, 4, 1]);
            put(p, FRAGMENT, &[0, 0]);
        }),
    );
    samples.add("df, padding beyond the mtu", long(1400, &|p| p.resize(1500, 0)));
}

fn lifetimes(samples: &mut Samples) {
    for ttl in [0, 1, 2, 255] {
        samples.sealed(format!("ttl {ttl}"), |p| p[TTL] = ttl);
    }
    samples.sealed("ttl 1, an icmp error", |p| {
        put(p, TTL, &[1, 1]);
        put(p, 20, &[11, 0]);
    });
    samples.sealed("ttl 1, a later fragment", |p| {
        p[TTL] = 1;
        fragment(p, 0, 64);
    });
    samples.sealed("ttl 1, a first fragment", |p| {
        p[TTL] = 1;
        fragment(p, MF, 0);
    });
}

/// Version, header length, total length, and octets that are missing or too many.
fn headers(samples: &mut Samples) {
    for version in [0, 5, 6, 15] {
        samples.sealed(format!("version {version}"), |p| p[0] = version << 4 | 5);
    }
    for words in [0, 1, 4] {
        samples.sealed(format!("header of {words} words"), |p| p[0] = 0x40 | words);
    }
    samples.unsealed("header of 4 words, the checksum for 5", |p| {
        p[0] = 0x44;
        let mut whole = p.clone();
        whole[0] = 0x45;
        seal(&mut whole);
        put(p, CHECKSUM, &whole[CHECKSUM..CHECKSUM + 2]);
    });
    samples.sealed("header longer than the packet", |p| {
        p[0] = 0x4f;
        p.truncate(40);
        put(p, TOTAL, &[0, 40]);
    });
    samples.sealed("header of 6 words in 20 octets", |p| {
        p[0] = 0x46;
        p.truncate(20);
        put(p, TOTAL, &[0, 20]);
    });
    samples.sealed("header of 6 words in 24 octets, total 20", |p| {
        p[0] = 0x46;
        put(p, 20, &[1; 4]);
        p.truncate(24);
        put(p, TOTAL, &[0, 20]);
    });
    for total in [0, 1, 19] {
        samples.sealed(format!("total length {total}"), |p| put(p, TOTAL, &[0, total]));
    }
    samples.sealed("total length one too many", |p| p[TOTAL + 1] += 1);
    samples.sealed("total length 65535", |p| put(p, TOTAL, &[0xff; 2]));
    samples.sealed("total length one short", |p| p[TOTAL + 1] -= 1);
    samples.sealed("total length 20", |p| put(p, TOTAL, &[0, 20]));
    samples.unsealed("padding of 1", |p| p.push(0xaa));
    samples.unsealed("padding of 18", |p| p.extend([0; 18]));
    samples.unsealed("padding, ttl 1", |p| {
        p[TTL] = 1;
        seal(p);
        p.extend([0; 18]);
    });
    for len in [0, 1, 19] {
        samples.unsealed(format!("cut to {len} octets"), |p| p.truncate(len));
    }
}

fn checksums(samples: &mut Samples) {
    samples.unsealed("checksum 0", |p| put(p, CHECKSUM, &[0, 0]));
    samples.unsealed("checksum one off", |p| p[CHECKSUM + 1] ^= 1);
    samples.unsealed("checksum swapped", |p| p.swap(CHECKSUM, CHECKSUM + 1));
    samples.unsealed("checksum wrong and ttl 1", |p| p[TTL] = 1);
    samples.unsealed("checksum wrong, to the router", |p| put(p, TO, &ROUTER));
    // Where one's complement arithmetic has its corners: the sum overflows, or is 0,
    // of which there are two.
    for wanted in [0xfeff_u16, 0xff00, 0xfefe, 0xfffe, 0x0000, 0x00ff] {
        samples.unsealed(format!("checksum {wanted:#06x}"), |p| {
            put(p, ID, &[0, 0]);
            seal(p);
            let left = u16::from_be_bytes([p[CHECKSUM], p[CHECKSUM + 1]]);
            let id = sum(&[left.to_be_bytes(), (!wanted).to_be_bytes()].concat());
            put(p, ID, &id.to_be_bytes());
            put(p, CHECKSUM, &wanted.to_be_bytes());
            assert!(sealed(p), "{wanted:#06x} is right");
        });
    }
    samples.unsealed("checksum 0xffff in place of 0", |p| {
        put(p, ID, &[0, 0]);
        seal(p);
        let id = [p[CHECKSUM], p[CHECKSUM + 1]];
        put(p, ID, &id);
        put(p, CHECKSUM, &[0xff; 2]);
        assert!(sealed(p), "minus zero is right as well");
    });
}

fn fragments(samples: &mut Samples) {
    for (name, flags, offset) in [
        ("fragment, the first", MF, 0),
        ("fragment, in the middle", MF, 1480),
        ("fragment, the last", 0, 2960),
        ("fragment, df", MF | DF, 0),
        ("fragment, the very last octets", 0, 65_480),
        ("fragment, beyond 65535", 0, 65_528),
        ("the reserved flag", 0x8000, 0),
        ("df", DF, 0),
    ] {
        samples.sealed(name, |p| fragment(p, flags, offset));
    }
    samples.sealed("fragment, tiny", |p| {
        fragment(p, MF, 0);
        p[PROTOCOL] = 6;
        p.truncate(28);
        put(p, TOTAL, &[0, 28]);
    });
    samples.sealed("fragment, over a tcp header", |p| {
        fragment(p, 0, 8);
        p[PROTOCOL] = 6;
    });
    samples.sealed("fragment, not of 8 octets", |p| {
        fragment(p, MF, 0);
        p.truncate(45);
        put(p, TOTAL, &[0, 45]);
    });
    let mut packet = of(1500);
    fragment(&mut packet, MF, 1480);
    seal(&mut packet);
    samples.add("fragment, too long", packet);
    samples.sealed("fragment, later, no route", |p| {
        fragment(p, 0, 64);
        put(p, TO, &[198, 51, 100, 2]);
    });
}

fn options(samples: &mut Samples) {
    let none = |_: &mut Vec<u8>| {};
    let [a, b, c, d] = FAR;
    let [e, f, g, h] = ROUTER;
    for (name, options) in [
        ("nop", &[1, 1, 1, 1][..]),
        ("eol", &[0]),
        ("octets behind eol", &[0, 7, 7, 7]),
        ("40 octets of nop", &[1; 40]),
        ("record route", &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("record route, full", &[7, 7, 8, 192, 0, 2, 1]),
        ("record route, no room", &[7, 7, 5, 0, 0, 0, 0]),
        ("record route, pointer 3", &[7, 7, 3, 0, 0, 0, 0]),
        ("record route, of 2 octets", &[7, 2]),
        ("record route, twice", &[7, 7, 4, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0]),
        ("timestamp", &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp with address", &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp, prescribed to us", &[68, 12, 5, 3, e, f, g, h, 0, 0, 0, 0]),
        ("timestamp, prescribed to another", &[68, 12, 5, 3, a, b, c, d, 0, 0, 0, 0]),
        ("timestamp, full", &[68, 8, 9, 0, 1, 2, 3, 4]),
        ("timestamp, overflow full", &[68, 8, 9, 0xf0, 1, 2, 3, 4]),
        ("timestamp, pointer 4", &[68, 8, 4, 0, 0, 0, 0, 0]),
        ("router alert", &[148, 4, 0, 0]),
        ("router alert, of 3 octets", &[148, 3, 0, 1]),
        ("loose source route, used up", &[131, 7, 8, 192, 0, 2, 1]),
        ("strict source route, used up", &[137, 7, 8, 192, 0, 2, 1]),
        ("loose source route, not for us", &[131, 7, 4, a, b, c, d]),
        ("source route, pointer 3", &[131, 7, 3, a, b, c, d]),
        ("source route, no room", &[131, 7, 6, a, b, c, d]),
        ("security", &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("stream id", &[136, 4, 0, 1]),
        ("quick start", &[25, 8, 0, 0, 0, 0, 0, 0]),
        ("an experiment", &[0x5e, 4, 1, 2]),
        ("an unknown option", &[0x55, 6, 1, 2, 3, 4]),
        ("option of 0 octets", &[0x55, 0, 1, 1]),
        ("option of 1 octet", &[0x55, 1, 1, 1]),
        ("option beyond the header", &[0x55, 5, 1, 1]),
        ("option without its length", &[1, 1, 1, 0x55]),
    ] {
        samples.options(format!("options: {name}"), options, none);
    }
    let ours = |p: &mut Vec<u8>| put(p, TO, &ROUTER);
    samples.options("options: loose source route", &[131, 7, 4, a, b, c, d], ours);
    samples.options("options: strict source route", &[137, 7, 4, a, b, c, d], ours);
    samples.options("options: record route, to the router", &[7, 7, 4, 0, 0, 0, 0], ours);
    for (name, options) in
        [("nop", &[1; 4][..]), ("router alert", &[148, 4, 0, 0]), ("record route", &[7, 7, 4, 0, 0, 0, 0, 0])]
    {
        samples.options(format!("options: {name}, too long"), options, |p| {
            p.resize(1500, 9);
            put(p, TOTAL, &1500_u16.to_be_bytes());
        });
        samples.options(format!("options: {name}, too long, df"), options, |p| {
            p.resize(1500, 9);
            put(p, TOTAL, &1500_u16.to_be_bytes());
            put(p, FRAGMENT, &DF.to_be_bytes());
        });
    }
    samples.options("options: nop, ttl 1", &[1; 4], |p| p[TTL] = 1);
    samples.options("options: record route, ttl 1", &[7, 7, 4, 0, 0, 0, 0], |p| p[TTL] = 1);
    samples.options("options: malformed, ttl 1", &[0x55, 0, 1, 1], |p| p[TTL] = 1);
    samples.options("options: nop, a martian source", &[1; 4], |p| put(p, FROM, &[127, 0, 0, 1]));
    samples.options("options: malformed, a martian source", &[0x55, 0], |p| put(p, FROM, &[127, 0, 0, 1]));
    samples.options("options: nop, a martian destination", &[1; 4], |p| put(p, TO, &[127, 0, 0, 1]));
    samples.options("options: nop, no route", &[1; 4], |p| put(p, TO, &[198, 51, 100, 3]));
    samples.options("options: nop, to a blackhole", &[1; 4], |p| put(p, TO, &[10, 3, 0, 1]));
    samples.options("options: malformed, to a blackhole", &[0x55, 0], |p| put(p, TO, &[10, 3, 0, 1]));
    samples.options("options: nop, total length 23", &[1; 4], |p| put(p, TOTAL, &[0, 23]));
    let mut wrong = udp(0);
    wrong.splice(20..20, [1; 4]);
    put(&mut wrong, 0, &[0x46, 0, 0, 32]);
    samples.add("options: nop, a wrong checksum", wrong);
}

/// Sources that no packet may have, and some that only look so.
fn sources(samples: &mut Samples) {
    for source in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 255, 255, 254],
        [224, 0, 0, 1],
        [239, 1, 2, 3],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
        [255, 255, 255, 255],
        // Assigned, private or for documentation: no business of a forwarder.
        [1, 0, 0, 1],
        [126, 255, 255, 255],
        [128, 0, 0, 1],
        [169, 254, 1, 1],
        [192, 0, 2, 1],
        [223, 255, 255, 254],
        FAR,
        // Of the router itself, and its broadcast.
        ROUTER,
        [10, 2, 0, 254],
        [10, 1, 255, 255],
    ] {
        samples.sealed(format!("from {}", dotted(source)), |p| put(p, FROM, &source));
    }
    samples.sealed("from 127.0.0.1, ttl 1", |p| {
        put(p, FROM, &[127, 0, 0, 1]);
        p[TTL] = 1;
    });
    samples.sealed("from 127.0.0.1, to the router", |p| {
        put(p, FROM, &[127, 0, 0, 1]);
        put(p, TO, &ROUTER);
    });
    for (source, destination) in [
        // A host that asks for its address (RFC 1812, 9.1.2), or joins a group without
        // one (RFC 3376, 4.2.13).
        ([0, 0, 0, 0], [255, 255, 255, 255]),
        ([0, 0, 0, 0], [224, 0, 0, 1]),
        ([0, 0, 0, 0], [232, 1, 2, 3]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0, 0], ROUTER),
        ([127, 0, 0, 1], [255, 255, 255, 255]),
        ([224, 0, 0, 1], [255, 255, 255, 255]),
        ([255, 255, 255, 255], [255, 255, 255, 255]),
        // A neighbour on the link (RFC 3927, 7), but for the last.
        ([169, 254, 2, 2], LINK_LOCAL),
        ([169, 254, 2, 2], ROUTER),
        ([10, 1, 0, 9], LINK_LOCAL),
        ([169, 254, 2, 2], [169, 254, 3, 2]),
    ] {
        samples.sealed(format!("from {}, to {}", dotted(source), dotted(destination)), |p| {
            put(p, FROM, &source);
            put(p, TO, &destination);
        });
    }
}

/// Destinations that no packet may have, groups, and the kinds of route.
fn destinations(samples: &mut Samples) {
    for destination in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 1, 2, 3],
        [224, 0, 0, 1],
        [224, 0, 0, 5],
        [232, 1, 2, 3],
        [239, 255, 255, 255],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
        [255, 255, 255, 255],
        [10, 1, 255, 255],
        [10, 2, 255, 255],
        // Back where it came from; by the longer prefix; its neighbours.
        [10, 1, 0, 7],
        [10, 2, 3, 0],
        [10, 2, 3, 255],
        [10, 2, 2, 255],
        [10, 3, 0, 1],
        [10, 4, 0, 1],
        [10, 5, 0, 1],
        [198, 51, 100, 4],
        [169, 254, 3, 1],
    ] {
        // Of a source of its own: the kernel limits such answers for each.
        let source = [10, 1, 1, destination[0] ^ destination[1] ^ destination[3]];
        samples.sealed(format!("to {}", dotted(destination)), |p| {
            put(p, FROM, &source);
            put(p, TO, &destination);
        });
    }
    for (name, destination) in [
        ("a group", [224, 0, 0, 1]),
        ("another group", [232, 1, 2, 3]),
        ("all", [255; 4]),
        ("a blackhole", [10, 3, 0, 1]),
        ("127.0.0.1", [127, 0, 0, 1]),
    ] {
        samples.sealed(format!("to {name}, ttl 1"), |p| {
            put(p, TO, &destination);
            p[TTL] = 1;
        });
    }
    samples.sealed("to nowhere, ttl 1", |p| {
        put(p, TO, &[198, 51, 100, 5]);
        p[TTL] = 1;
    });
    samples.sealed("to a prohibited network, ttl 1", |p| {
        put(p, TO, &[10, 4, 0, 1]);
        p[TTL] = 1;
    });
    samples.sealed("to a group, from a group", |p| {
        put(p, FROM, &[224, 0, 0, 1]);
        put(p, TO, &[224, 0, 0, 1]);
    });
}

/// To the router itself.
fn local(samples: &mut Samples) {
    samples.sealed("to the router", |p| put(p, TO, &ROUTER));
    for ttl in [0, 1] {
        samples.sealed(format!("to the router, ttl {ttl}"), |p| {
            put(p, TO, &ROUTER);
            p[TTL] = ttl;
        });
    }
    samples.sealed("to the router's other link", |p| put(p, TO, &[10, 2, 0, 254]));
    samples.sealed("to the router, protocol 253", |p| {
        put(p, TO, &ROUTER);
        p[PROTOCOL] = 253;
    });
    samples.sealed("to the router, a fragment", |p| {
        put(p, TO, &ROUTER);
        fragment(p, MF, 0);
    });
    let mut echo = Vec::new();
    PacketBuilder::ipv4(SOURCE, ROUTER, 1)
        .icmpv4_echo_request(1, 2)
        .write(&mut echo, &[3; 56])
        .expect("it fits");
    samples.add("to the router, an echo request", echo);
    for (name, len, options) in [
        ("of 28 octets", 0, &[][..]),
        ("of 1500 octets", 1472, &[]),
        ("record route", 56, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("record route, full", 56, &[7, 7, 8, 1, 2, 3, 4, 0]),
        ("timestamp", 56, &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("router alert", 56, &[148, 4, 0, 0]),
        ("an unknown option", 56, &[0x55, 4, 1, 2]),
    ] {
        let mut echo = Vec::new();
        let payload = vec![7; len];
        PacketBuilder::ipv4(SOURCE, ROUTER, 9)
            .icmpv4_echo_request(3, 4)
            .write(&mut echo, &payload)
            .expect("it fits");
        echo.splice(20..20, options.iter().copied());
        echo[0] += (options.len() / 4) as u8;
        echo[1] = 0x48;
        let total = echo.len() as u16;
        put(&mut echo, TOTAL, &total.to_be_bytes());
        seal(&mut echo);
        samples.add(format!("to the router, an echo request, {name}"), echo);
    }
    let mut wrong = Vec::new();
    PacketBuilder::ipv4(SOURCE, ROUTER, 9)
        .icmpv4_echo_request(3, 4)
        .write(&mut wrong, &[1; 8])
        .expect("it fits");
    wrong[22] ^= 1;
    samples.add("to the router, an echo request, a wrong checksum", wrong);
    let built = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = Vec::new();
        write(&mut packet);
        packet
    };
    let ip = || PacketBuilder::ipv4(SOURCE, ROUTER, 64);
    samples.add("to the router, udp", built(&|p| ip().udp(7, 9).write(p, &[1; 600]).expect("it fits")));
    samples
        .add("to the router, tcp", built(&|p| ip().tcp(7, 9, 1, 99).syn().write(p, &[]).expect("it fits")));
    samples.add(
        "to the router, icmp of no kind",
        built(&|p| {
            ip().icmpv4_raw(77, 0, [0; 4]).write(p, &[]).expect("it fits");
        }),
    );
    let mut long = of(1500);
    put(&mut long, TO, &ROUTER);
    put(&mut long, FRAGMENT, &DF.to_be_bytes());
    seal(&mut long);
    samples.add("to the router, df, 1500 octets", long);
}

fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}
