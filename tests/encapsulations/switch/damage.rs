//! Frames that are damaged: each bit of the outer header turned, with checksums as they were
//! and made right again; each length; options of Geneve.

use etherparse::PacketBuilder;
use fastpath::wire::checksum;

use super::bridge::Bridge;
use super::differences::{self, Made};
use super::{INNER_HERE, INNER_THERE, Kind, OVER_V4, TUNNELS, Verdict};
use super::{end, ethernet, our_verdict, wrapped};

/// Has both ends look at all of them; how many there are.
pub(super) fn compare(bridge: &mut Bridge) -> usize {
    // Their end as we would have it.
    let there = end(1, INNER_THERE);
    let packet = ipv4(20);
    let last = wrapped(&TUNNELS[0], &ipv4(3), 0);
    let last_inside = ethernet(INNER_THERE, INNER_HERE, &ipv4(3));
    let (mut count, mut found) = (0, Vec::new());
    for (at, kind) in TUNNELS.iter().enumerate() {
        let whole = Some((at, packet.clone()));
        let made = |verdict: &Verdict| match verdict {
            None => Made::Refused,
            Some(_) if *verdict == whole => Made::Taken,
            Some(_) => Made::Another,
        };
        for (field, frame) in damaged(kind, &wrapped(kind, &packet, 0x1234)) {
            bridge.forget();
            bridge.send_outside(&[&frame, &last]);
            let received = bridge.received_before(&last_inside);
            assert!(received.len() < 2, "{}, {field}: more than one", kind.name);
            let theirs = received.into_iter().next().map(|(at, frame)| (at, frame[14..].to_vec()));
            let ours = our_verdict(&there, &frame);
            count += 1;
            if ours != theirs {
                found.push((kind.name, field, made(&ours), made(&theirs)));
            }
        }
    }
    differences::check(&found);
    count
}

/// What is made of a sound frame, each with the field that is damaged.
fn damaged(kind: &Kind, frame: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for at in 14..kind.header() {
        for bit in 0..8 {
            let mut turned = frame.to_vec();
            turned[at] ^= 1 << bit;
            all.push((field(kind, at, bit), turned.clone()));
            seal(kind, &mut turned);
            all.push((field(kind, at, bit), turned));
        }
    }
    for (option, flags, octets) in OPTIONS.iter().filter(|_| kind.name.starts_with("geneve")) {
        let (outer, inner) = frame.split_at(kind.header());
        let mut with = [outer, octets, inner].concat();
        with[kind.header() - 8] |= octets.len() as u8 / 4;
        with[kind.header() - 7] |= flags;
        all.push((option, mended(kind, with)));
    }
    for len in ip_end(kind)..kind.header() + 14 {
        all.push(("cut", frame[..len].to_vec()));
        all.push(("cut, lengths to match", mended(kind, frame[..len].to_vec())));
    }
    all.push(("padded", [frame, &[0; 20]].concat()));
    all
}

/// Name, flags of the header, octets; the switch was told of class 0x102, type 3, four octets.
const OPTIONS: &[(&str, u8, &[u8])] = &[
    ("option known to them", 0, &[1, 2, 3, 1, 1, 2, 3, 4]),
    ("option known to them, of another length", 0, &[1, 2, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("option unknown", 0, &[1, 3, 3, 1, 1, 2, 3, 4]),
    ("two options unknown", 0, &[1, 3, 3, 1, 1, 2, 3, 4, 1, 3, 4, 0]),
    ("option reserved bits", 0, &[1, 3, 3, 0xe1, 1, 2, 3, 4]),
    ("option critical", 0, &[1, 3, 0x83, 1, 1, 2, 3, 4]),
    ("option critical, as the flag says", 0x40, &[1, 3, 0x83, 1, 1, 2, 3, 4]),
    ("option not critical, but the flag", 0x40, &[1, 3, 3, 1, 1, 2, 3, 4]),
    ("option longer than all", 0, &[1, 3, 3, 2, 1, 2, 3, 4]),
    ("option after one cut short", 0, &[1, 3, 3, 1, 1, 2, 3, 4, 1, 3, 3, 1]),
];

/// Whose bit it is.
fn field(kind: &Kind, at: usize, bit: u32) -> &'static str {
    if kind.ends == OVER_V4 && at < 34 {
        return match at - 14 {
            0 => "ip version and header length",
            1 => "ip class",
            2..4 => "ip length",
            4..6 => "ip identification",
            6..8 => "ip fragment",
            8 => "ip ttl",
            9 => "ip protocol",
            10..12 => "ip checksum",
            12..16 => "ip sender",
            _ => "ip destination",
        };
    }
    if kind.ends != OVER_V4 && at < 54 {
        return match at - 14 {
            0 if bit >= 4 => "ip version",
            0..4 => "ip class and flow",
            4..6 => "ip length",
            6 => "ip protocol",
            7 => "ip ttl",
            8..24 => "ip sender",
            _ => "ip destination",
        };
    }
    let at = at - ip_end(kind);
    if kind.name.starts_with("gre") {
        return match (at, 1 << bit) {
            (0, 0x80) => "gre checksum flag",
            (0, 0x20) => "gre key flag",
            (0, 0x10) => "gre sequence flag",
            (0, 0x40 | 0x08 | 0x04) => "gre routing",
            (0, _) | (1, 0x08..) => "gre reserved",
            (1, _) => "gre version",
            (2 | 3, _) => "gre protocol",
            _ => "gre checksum and key",
        };
    }
    let vxlan = kind.name.starts_with("vxlan");
    match (at, 1 << bit) {
        (0 | 1, _) => "udp source",
        (2 | 3, _) => "udp destination",
        (4 | 5, _) => "udp length",
        (6 | 7, _) => "udp checksum",
        (12..15, _) => "network",
        (8, 0x08) if vxlan => "vxlan network flag",
        (8..12 | 15, _) if vxlan => "vxlan reserved",
        (8, 0x40 | 0x80) => "geneve version",
        (8, _) => "geneve length of options",
        (9, 0x80) => "geneve control",
        (9, 0x40) => "geneve critical, without options",
        (10 | 11, _) => "geneve protocol",
        _ => "geneve reserved",
    }
}

/// Octets in front of what the IP header carries.
fn ip_end(kind: &Kind) -> usize {
    if kind.ends == OVER_V4 { 34 } else { 54 }
}

/// A frame with lengths that are right, and checksums.
fn mended(kind: &Kind, mut frame: Vec<u8>) -> Vec<u8> {
    let at = ip_end(kind);
    let (place, front) = if at == 34 { (16, 14) } else { (18, at) };
    let length = |front: usize| (frame.len() as u16 - front as u16).to_be_bytes();
    let (ip, udp) = (length(front), length(at));
    frame[place..place + 2].copy_from_slice(&ip);
    if kind.kind.port() != 0
        && let Some(place) = frame.get_mut(at + 4..at + 6)
    {
        place.copy_from_slice(&udp);
    }
    seal(kind, &mut frame);
    frame
}

/// Makes checksums right again: of IPv4, of UDP over IPv6, of GRE.
fn seal(kind: &Kind, frame: &mut [u8]) {
    let at = ip_end(kind);
    if at == 34 {
        frame[24..26].fill(0);
        let sum = checksum::of(&frame[14..34]).to_be_bytes();
        frame[24..26].copy_from_slice(&sum);
    }
    let (ip, carried) = frame.split_at_mut(at);
    if carried.len() < 8 {
        return;
    }
    if kind.name.starts_with("gre") {
        if carried[0] & 0x80 != 0 {
            carried[4..6].fill(0);
            let sum = checksum::of(carried).to_be_bytes();
            carried[4..6].copy_from_slice(&sum);
        }
    } else if at == 54 {
        carried[6..8].fill(0);
        let len = usize::from(u16::from_be_bytes([carried[4], carried[5]]));
        let pseudo = [&ip[22..], &[0, 17], &carried[4..6], &carried[..len.min(carried.len())]];
        let sum = checksum::of(&pseudo.concat()).to_be_bytes();
        carried[6..8].copy_from_slice(&sum);
    }
}

/// A packet with so many octets, all the same.
fn ipv4(len: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    let udp = PacketBuilder::ipv4([192, 168, 0, 1], [192, 168, 0, 9], 64).udp(9, 5000);
    udp.write(&mut packet, &vec![len; len.into()]).unwrap();
    packet
}
