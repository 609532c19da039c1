//! The slice manager: packets of a few octets of choice each, and what must hold of all that is
//! sent about them.

use etherparse::{Ipv4HeaderSlice, Ipv4Slice};
use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::exit::Exception;
use fastpath::manager::{
    Config, Delivery, Fate, Link, Manager, Rates, Received, Route, SourceRoutes, To, Way,
};
use fastpath::slot::DscpModel;
use fastpath::time::Nanos;

use super::{Cursor, ones_complement_sum, seal};

const HERE: [[u8; 4]; 2] = [[10, 1, 0, 254], [10, 2, 0, 254]];

/// What came of an input.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    /// Packets handed over.
    pub taken: u64,
    /// Packets sent in return.
    pub sent: u64,
    /// Errors among them.
    pub errors: u64,
    /// Packets that were sent on, whole or in fragments.
    pub forwarded: u64,
}

/// Hands packets made of `input` to a manager, and checks what it sends.
pub fn manager(input: &[u8]) -> Answers {
    let mut from = Cursor(input);
    let source_routes = from.pick([SourceRoutes::Drop, SourceRoutes::Refuse, SourceRoutes::Follow]);
    let to = |host: bool| if host { Delivery::Host } else { Delivery::Nobody };
    let config = Config {
        links: HERE.map(|address| Link::new(address.into(), 16)).to_vec(),
        source_routes,
        delivery: to(from.once_in(2)),
        groups: to(from.once_in(2)),
        router_alerts: to(from.once_in(4)),
        timestamps: from.once_in(2),
        redirects: from.once_in(2),
        interface_info: from.once_in(4),
        rates: Rates { errors: (1000, 16), errors_to_one: (10, 4), replies: (10, 4) },
        ..Config::default()
    };
    let mtus = [20 + u16::from(from.octet()) * 8, 28 + u16::from(from.octet()) * 8];
    let mut manager = Manager::new(config);
    let mut answers = Answers::default();
    let mut now = 0;
    while !from.0.is_empty() && answers.taken < 64 {
        now += u64::from(from.octet()) * 10_000_000;
        one(&mut manager, &mut from, mtus, Nanos(now), &mut answers);
    }
    assert_eq!(manager.tally().taken(), answers.taken);
    answers
}

fn one(manager: &mut Manager, from: &mut Cursor<'_>, mtus: [u16; 2], now: Nanos, answers: &mut Answers) {
    let packet = packet(from);
    let exception = Exception::ALL[usize::from(from.octet()) % Exception::ALL.len()];
    let exception =
        from.pick([Exception::Options, Exception::TooBig, Exception::Local, Exception::Expired, exception]);
    let received = Received {
        injected: from.once_in(16),
        group: from.once_in(16),
        outer_class: if from.once_in(8) { from.octet() } else { 0 },
        dscp: from.pick([DscpModel::Pipe, DscpModel::Uniform]),
        ..Received::new(exception, u16::from(from.octet() % 3), &packet)
    };
    let ways = |key: &Ipv4Key, _: u16| match key.destination.to_be_bytes() {
        here if HERE.contains(&here) => Route::Exception(Exception::Local),
        [10, 1, ..] => Route::Via(Way::new(0, mtus[0])),
        [10, 2, ..] => Route::Via(Way { result: Some(3), ..Way::new(1, mtus[1]) }),
        [10, 3, ..] => Route::Via(Way { gateway: Some(0x0a01_0001), ..Way::new(0, mtus[0]) }),
        [10, 4, ..] => Route::Drop,
        _ => Route::Exception(Config::NO_ROUTE),
    };
    let (mut octets, mut pieces, mut errors) = (0, 0, 0);
    let fate = manager.exception(now, &received, &ways, &mut |output| {
        let sent = output.to_vec();
        pieces += 1;
        octets += sent.len();
        errors += u64::from(check(&packet, &sent, output.to));
    });
    let total = packet.len();
    assert!(octets <= total + 2 * 576 + 60 * pieces, "{octets} octets about {total}");
    answers.taken += 1;
    answers.sent += pieces as u64;
    answers.errors += errors;
    answers.forwarded += u64::from(matches!(fate, Fate::Forwarded | Fate::Fragmented));
}

/// Checks what was sent about `packet`; whether it is an error of the manager's.
fn check(packet: &[u8], sent: &[u8], to: To) -> bool {
    let header = Ipv4HeaderSlice::from_slice(sent).expect("a header that etherparse refuses");
    assert_eq!(usize::from(header.total_len()), sent.len());
    assert_eq!(ones_complement_sum(header.slice()), 0xffff);
    let own = HERE.contains(&header.source()) && header.source() != packet[12..16];
    let payload = &sent[header.slice().len()..];
    if !own || header.protocol().0 != 1 || matches!(to, To::Host { .. }) {
        return false;
    }
    if header.is_fragmenting_payload() {
        return false;
    }
    assert_eq!(ones_complement_sum(payload), 0xffff);
    if matches!(payload[0], 0 | 14) {
        return false;
    }
    // About no error, no later fragment, no group.
    let about = Ipv4Slice::from_slice(packet).expect("an answer to what is no IPv4");
    let ip = about.header();
    assert_eq!(ip.fragments_offset().value(), 0);
    assert!(ip.destination()[0] < 224 && matches!(ip.source()[0], 1..=126 | 128..=223));
    assert_eq!(header.destination(), ip.source());
    if ip.protocol().0 == 1 {
        assert!(!matches!(about.payload().payload.first(), None | Some(3 | 4 | 5 | 11 | 12)));
    }
    assert!(sent.len() <= 576);
    let quoted = sent.len() - 28;
    let same = quoted.min(packet.len()).min(20);
    assert_eq!(payload[8..8 + same], packet[..same]);
    true
}

/// A packet, most of them sound.
fn packet(from: &mut Cursor<'_>) -> Vec<u8> {
    let words = from.pick([0, 0, 1, 1, 2, 10]);
    let payload = usize::from(from.octet()) * from.pick([1, 1, 8]);
    let flags = from.pick([0, 0, 0, 0x40, 0x20, 0x80]);
    let offset = if from.once_in(8) { from.octet() } else { 0 };
    let protocol = from.pick([1, 1, 17, 6, 99]);
    let ttl = from.pick([0, 1, 2, 64, 64, 64]);
    let any = [from.octet(), from.octet(), from.octet(), from.octet()];
    let (source, destination) = (
        from.pick([[10, 1, 0, 9], [10, 1, 0, 9], [10, 2, 3, 4], HERE[0], [0; 4], any]),
        from.pick([
            [10, 2, 0, 9],
            [10, 3, 0, 9],
            HERE[0],
            HERE[1],
            [10, 1, 255, 255],
            [10, 4, 0, 1],
            [10, 2, 0, 9],
            any,
        ]),
    );
    let total = 20 + words * 4 + payload;
    let mut packet = vec![0x45 + words as u8, from.octet()];
    packet.extend((total as u16).to_be_bytes());
    packet.extend([0, 7, flags, offset, ttl, protocol, 0, 0]);
    packet.extend([source, destination].concat());
    for _ in 0..words {
        let some = [from.octet(), from.octet(), from.octet(), from.octet()];
        packet.extend(from.pick([[1; 4], [7, 3, 4, 1], [148, 4, 0, 0], [1; 4], [131, 3, 4, 1], some]));
    }
    packet.extend((0..payload).map(|at| if at < 8 { from.octet() } else { at as u8 }));
    if protocol == 1 && payload >= 8 && from.once_in(2) {
        let at = 20 + words * 4;
        packet[at..at + 4].copy_from_slice(&[from.pick([8, 8, 13]), 0, 0, 0]);
        let sum = !ones_complement_sum(&packet[at..]);
        packet[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    seal(&mut packet, Some(0));
    if from.once_in(8) {
        let at = usize::from(from.octet()) % packet.len();
        packet[at] = from.octet();
    }
    packet
}
