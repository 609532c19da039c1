//! Octets of each rule, and what must hold of any.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use etherparse::{Icmpv4Slice, Ipv4HeaderSlice, PacketBuilder};
use proptest::prelude::*;

use super::*;
use crate::code_option::ipv4::Ipv4Key;
use crate::exit::Exception;
use crate::slot::DscpModel;
use crate::time::Nanos;

const HERE: [u8; 4] = [10, 1, 0, 254];
const HOST: [u8; 4] = [10, 1, 0, 9];
const FAR: [u8; 4] = [10, 2, 0, 9];
const MTU: u16 = 1400;

fn config() -> Config {
    Config {
        links: vec![
            Link::new(HERE.into(), 16),
            Link { result: Some(9), ..Link::new([10, 2, 0, 254].into(), 16) },
        ],
        ..Config::default()
    }
}

/// 10.1/16 is link 0, 10.2/16 link 1 and has a result, 10.3/16 behind a neighbour on link 0;
/// the router's own; prohibited; a blackhole; and no route.
fn route(key: &Ipv4Key, _: u16) -> Route {
    match key.destination.to_be_bytes() {
        HERE => Route::Exception(Exception::Local),
        [10, 1, ..] => Route::Via(Way::new(0, 1500)),
        [10, 2, ..] => Route::Via(Way { result: Some(7), ..Way::new(1, MTU) }),
        [10, 3, ..] => Route::Via(Way { gateway: Some(0x0a01_0007), ..Way::new(0, 1500) }),
        [10, 4, ..] => Route::Exception(Config::PROHIBITED),
        [10, 5, ..] => Route::Drop,
        _ => Route::Exception(Config::NO_ROUTE),
    }
}

/// A manager and what it sent.
struct Desk {
    manager: Manager,
    now: Nanos,
    sent: Vec<(To, Vec<u8>)>,
}

impl Desk {
    fn new(config: Config) -> Self {
        Self { manager: Manager::new(config), now: Nanos::from_secs(1), sent: Vec::new() }
    }

    fn receive(&mut self, received: &Received<'_>) -> Fate {
        self.sent.clear();
        let (now, sent) = (self.now, &mut self.sent);
        self.manager.exception(now, received, &route, &mut |output| {
            let octets = output.to_vec();
            assert_eq!(octets.len(), output.octets());
            let mut copy = vec![0; octets.len()];
            assert!(output.copy_to(&mut copy).is_some() && copy == octets);
            assert!(output.copy_to(&mut copy[1..]).is_none());
            sound(&octets);
            sent.push((output.to, octets));
        })
    }

    fn take(&mut self, exception: Exception, octets: &[u8]) -> Fate {
        self.receive(&Received::new(exception, 0, octets))
    }

    /// The only packet that was sent.
    fn one(&self) -> (To, &[u8]) {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        (self.sent[0].0, &self.sent[0].1)
    }
}

/// Checks lengths and checksums of a packet as another library sees them.
fn sound(octets: &[u8]) {
    let ip = Ipv4HeaderSlice::from_slice(octets).unwrap();
    assert_eq!(usize::from(ip.total_len()), octets.len());
    assert_eq!(crate::wire::checksum::sum(ip.slice()), 0xffff, "{octets:02x?}");
    // etherparse has no place for the reserved flag, and leaves it out of the sum.
    if octets[6] & 0x80 == 0 {
        assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
    }
    let payload = &octets[ip.slice().len()..];
    if ip.protocol().0 == 1 && !ip.is_fragmenting_payload() && is_own(ip.source()) {
        // etherparse reads it, but knows no length attribute to add up.
        assert!(Icmpv4Slice::from_slice(payload).is_ok());
        assert_eq!(crate::wire::checksum::sum(payload), 0xffff, "{octets:02x?}");
    }
}

fn is_own(address: [u8; 4]) -> bool {
    matches!(address, HERE | [10, 2, 0, 254])
}

fn udp(len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST, FAR, 64).udp(7, 9).write(&mut packet, &vec![3; len]).unwrap();
    with(packet, |packet| packet[6] = 0)
}

/// A packet, changed, with the right header checksum after that.
fn with(mut packet: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut packet);
    seal(&mut packet);
    packet
}

fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    if let Some(header) = packet.get_mut(..header).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = crate::wire::checksum::of(header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
    }
}

fn options(packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    with(packet, |packet| {
        packet.splice(20..20, options.iter().copied());
        packet[0] += (options.len() / 4) as u8;
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
    })
}

fn echo(to: [u8; 4], len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST, to, 64).icmpv4_echo_request(1, 2).write(&mut packet, &vec![5; len]).unwrap();
    packet
}

#[test]
fn an_error_octet_for_octet() {
    let mut desk = Desk::new(config());
    let packet = with(udp(0), |p| (p[1], p[8]) = (0x2b, 1));
    assert_eq!(desk.take(Exception::Expired, &packet), Fate::TimeExceeded);
    let (to, answer) = desk.one();
    assert_eq!(to, To::InBand { link: 0 });
    let head = [0x45, 0xc0, 0, 56, 0, 0, 0x40, 0, 64, 1];
    assert_eq!(answer[..10], head, "control traffic in one piece; neither class nor ECN of the packet");
    assert_eq!((&answer[12..16], &answer[16..20]), (&HERE[..], &HOST[..]));
    assert_eq!((&answer[20..22], &answer[24..28]), (&[11, 0][..], &[0; 4][..]));
    assert_eq!(answer[28..], packet, "quoted as it came, time to live included");
}

#[test]
fn each_problem_has_type_code_and_word() {
    let to = |net, len: usize| with(udp(len), |p| p[17] = net);
    let df = |len| with(udp(len), |p| p[6] = 0x40);
    let refuse = Config { source_routes: SourceRoutes::Refuse, ..config() };
    let mut missing = config();
    missing.meanings.set(Exception::Own7, Meaning::OptionMissing(130));
    missing.meanings.set(Exception::Own8, Meaning::Unreachable(Unreachable::Protocol));
    let routed = options(udp(0), &[131, 7, 4, 10, 2, 0, 1, 0]);
    let here = |protocol: u8| {
        with(udp(0), |p| {
            p[16..20].copy_from_slice(&HERE);
            (p[9], p[26], p[27]) = (protocol, 0, 0);
        })
    };
    let cases = [
        (config(), Config::NO_ROUTE, udp(0), Fate::NetUnreachable, [3, 0, 0, 0, 0, 0]),
        (config(), Config::HOST_UNREACHABLE, udp(0), Fate::HostUnreachable, [3, 1, 0, 0, 0, 0]),
        (config(), Config::PROHIBITED, udp(0), Fate::Prohibited, [3, 13, 0, 0, 0, 0]),
        (config(), Exception::Options, options(to(4, 0), &[1; 4]), Fate::Prohibited, [3, 13, 0, 0, 0, 0]),
        (config(), Exception::Local, here(17), Fate::PortUnreachable, [3, 3, 0, 0, 0, 0]),
        (config(), Exception::Local, here(99), Fate::ProtocolUnreachable, [3, 2, 0, 0, 0, 0]),
        (config(), Exception::TooBig, df(1400), Fate::FragmentationNeeded, [3, 4, 0, 0, 5, 120]),
        (refuse, Exception::Options, routed, Fate::SourceRouteFailed, [3, 5, 0, 0, 0, 0]),
        (
            config(),
            Exception::Options,
            options(udp(0), &[1, 7, 2, 1]),
            Fate::ParameterProblem,
            [12, 0, 22, 0, 0, 0],
        ),
        (missing.clone(), Exception::Own7, udp(0), Fate::OptionMissing, [12, 1, 130, 0, 0, 0]),
        (missing, Exception::Own8, udp(0), Fate::ProtocolUnreachable, [3, 2, 0, 0, 0, 0]),
    ];
    for (config, exception, packet, fate, [kind, code, word @ ..]) in cases {
        let mut desk = Desk::new(config);
        assert_eq!(desk.take(exception, &packet), fate);
        let (_, answer) = desk.one();
        assert_eq!((&answer[20..22], &answer[24..28]), (&[kind, code][..], &word[..]), "{fate:?}");
        let quoted = packet.len().min(548);
        assert_eq!(answer[28..], packet[..quoted], "{fate:?}");
        assert_eq!((desk.manager.tally().count(fate), desk.manager.tally().taken()), (1, 1));
    }
}

#[test]
fn a_pointer_names_the_octet_that_is_wrong() {
    let cases: [(&[u8], u8); 14] = [
        (&[0x55, 0, 1, 1], 20),
        (&[1, 0x55, 1, 1], 21),
        (&[0x55, 5, 1, 1], 20),
        (&[1, 1, 1, 0x55], 23),
        (&[7, 2, 1, 1], 21),
        (&[7, 7, 3, 0, 0, 0, 0, 0], 22),
        (&[7, 7, 5, 0, 0, 0, 0, 0], 22),
        (&[7, 3, 4, 7, 3, 4, 0, 0], 23),
        (&[68, 4, 4, 0], 22),
        (&[68, 4, 5, 0xf0], 23),
        (&[68, 8, 5, 1, 0, 0, 0, 0], 22),
        (&[131, 2, 1, 1], 21),
        (&[131, 3, 3, 1], 22),
        (&[148, 3, 0, 1], 21),
    ];
    for (wrong, pointer) in cases {
        assert_eq!(options::check(&options(udp(0), wrong)[..20 + wrong.len()]), Err(pointer), "{wrong:?}");
    }
}

#[test]
fn a_quotation_ends_at_576_octets_and_without_padding() {
    let mut desk = Desk::new(config());
    for (len, quoted) in [(519, 547), (520, 548), (521, 548), (1300, 548)] {
        let mut packet = with(udp(len), |p| p[8] = 1);
        packet.extend([0xee; 9]);
        assert_eq!(desk.take(Exception::Expired, &packet), Fate::TimeExceeded);
        assert_eq!(desk.one().1.len(), 28 + quoted);
        assert_eq!(desk.one().1[28..], packet[..quoted]);
    }
    let mut short = Desk::new(Config { longest_error: 0, ..config() });
    assert_eq!(short.take(Exception::Expired, &udp(520)), Fate::TimeExceeded);
    assert_eq!(short.one().1.len(), 68);
}

#[test]
fn no_error_is_sent_where_none_may_be() {
    let from = |source: [u8; 4]| with(udp(0), |p| p[12..16].copy_from_slice(&source));
    let to = |destination: [u8; 4]| with(udp(0), |p| p[16..20].copy_from_slice(&destination));
    let icmp = |kind| with(udp(8), |p| (p[9], p[20]) = (1, kind));
    let mut cases = vec![
        (with(udp(0), |p| p[7] = 1), Fate::AboutFragment),
        (with(udp(0), |p| (p[3], p[9]) = (20, 1)), Fate::AboutError),
    ];
    for source in [
        [0; 4],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [240, 1, 1, 1],
        [255; 4],
        HERE,
        [10, 1, 255, 255],
        [10, 2, 0, 0],
    ] {
        cases.push((from(source), Fate::AboutSource));
    }
    for destination in
        [[224, 0, 0, 1], [239, 1, 1, 1], [240, 0, 0, 1], [255; 4], [10, 1, 255, 255], [10, 2, 0, 0]]
    {
        cases.push((to(destination), Fate::AboutGroup));
    }
    for kind in (0..=255).filter(|kind| !matches!(kind, 0 | 8..=10 | 13..=18 | 42 | 43)) {
        cases.push((icmp(kind), Fate::AboutError));
    }
    for (packet, fate) in cases {
        let mut desk = Desk::new(config());
        assert_eq!(desk.take(Exception::Expired, &packet), fate, "{packet:02x?}");
        assert!(desk.sent.is_empty());
    }
    for packet in [icmp(0), icmp(8), with(udp(0), |p| p[6] = 0x20)] {
        assert_eq!(Desk::new(config()).take(Exception::Expired, &packet), Fate::TimeExceeded);
    }
    let mut desk = Desk::new(config());
    let packet = udp(0);
    let flooded = Received { group: true, ..Received::new(Exception::Expired, 0, &packet) };
    assert_eq!(desk.receive(&flooded), Fate::AboutGroup, "sent to all on the link");
    assert_eq!(Desk::new(Config::default()).take(Exception::Expired, &udp(0)), Fate::NoAddress);
    assert_eq!(desk.take(Exception::Expired, &from([192, 0, 2, 1])), Fate::NoWayBack);
}

#[test]
fn answers_come_from_the_link_that_was_asked() {
    let mut desk = Desk::new(config());
    let mut ask = |config: Config, link, packet: &[u8]| {
        desk.manager = Manager::new(config);
        desk.receive(&Received::new(Exception::Expired, link, packet));
        let (to, answer) = desk.one();
        (to, <[u8; 4]>::try_from(&answer[12..16]).unwrap())
    };
    let back = with(udp(0), |p| p[12..20].copy_from_slice(&[10, 2, 0, 9, 10, 1, 0, 9]));
    let to = To::Result { result: 7, traffic_class: 0xc0 };
    assert_eq!(ask(config(), 1, &back), (to, [10, 2, 0, 254]));
    assert_eq!(ask(config(), 0, &back), (to, HERE), "the link it came by, not that it leaves by");
    let outgoing = Config { error_source: ErrorSource::Outgoing, ..config() };
    assert_eq!(ask(outgoing, 0, &back), (to, [10, 2, 0, 254]));
    let other = Config { addresses: vec![[192, 0, 2, 1].into()], ..Config::default() };
    assert_eq!(ask(other, 5, &udp(0)).1, [192, 0, 2, 1], "a link without address");
    let local = with(udp(0), |p| p[16..20].copy_from_slice(&[10, 2, 0, 254]));
    assert_eq!(ask(config(), 0, &local).1, [10, 2, 0, 254], "who was asked answers");
}

#[test]
fn extensions_stand_behind_whole_words() {
    let config = Config { interface_info: true, ..config() };
    for (len, words) in [(0, 32), (99, 32), (100, 32), (101, 33), (103, 33), (104, 33), (1200, 132)] {
        let mut desk = Desk::new(config.clone());
        let packet = with(udp(len), |p| p[8] = 1);
        assert_eq!(desk.take(Exception::Expired, &packet), Fate::TimeExceeded);
        let (_, answer) = desk.one();
        assert_eq!((answer[25], answer.len()), (words, 28 + usize::from(words) * 4 + 20), "{len}");
        let (quoted, extension) = answer[28..].split_at(usize::from(words) * 4);
        let n = packet.len().min(quoted.len());
        assert_eq!((&quoted[..n], quoted[n..].iter().all(|octet| *octet == 0)), (&packet[..n], true));
        assert_eq!(extension[..2], [0x20, 0]);
        assert_eq!(extension[4..], [0, 16, 2, 0x0c, 0, 0, 0, 1, 0, 1, 0, 0, 10, 1, 0, 254]);
        assert_eq!(crate::wire::checksum::sum(extension), 0xffff);
    }
}

#[test]
fn rates_hold_for_one_and_for_all() {
    let rates = Rates { errors: (100, 20), errors_to_one: (1, 3), replies: (1, 2) };
    let mut desk = Desk::new(Config { rates, seed: 7, ..config() });
    let from = |host: u8| with(udp(0), |p| p[15] = host);
    let mut fates = BTreeMap::new();
    for host in 1..=30 {
        for _ in 0..4 {
            *fates.entry(desk.take(Exception::Expired, &from(host)).name()).or_insert(0) += 1;
        }
    }
    assert_eq!((fates["time_exceeded"], fates.values().sum::<u64>()), (20, 120));
    assert!(fates["destination_rate"] >= 25 && fates["slice_rate"] > 50, "{fates:?}");
    desk.now = Nanos::from_secs(2);
    let some = (0..9).filter(|_| desk.take(Exception::Expired, &from(1)) == Fate::TimeExceeded).count();
    assert_eq!(some, 1, "one a second");
    // Path MTU discovery waits for this one.
    let big = with(udp(1400), |p| p[6] = 0x40);
    let some = (0..9).filter(|_| desk.take(Exception::TooBig, &big) == Fate::FragmentationNeeded).count();
    assert_eq!(some, 9);
    let echoes: Vec<_> = (0..3).map(|_| desk.take(Exception::Local, &echo(HERE, 8))).collect();
    assert_eq!(echoes, [Fate::EchoReply, Fate::EchoReply, Fate::ReplyRate]);
    let tally = desk.manager.tally();
    assert_eq!(tally.taken(), 120 + 9 + 9 + 3);
    assert_eq!(Fate::ALL.iter().map(|fate| tally.count(*fate)).sum::<u64>(), tally.taken());
}

#[test]
fn echo_requests_are_answered_whole() {
    let mut desk = Desk::new(config());
    for len in [0, 1, 56, 1400, 2000] {
        let request = with(echo(HERE, len), |p| p[1] = 0x4b);
        assert_eq!(desk.take(Exception::Local, &request), Fate::EchoReply);
        let mut all = Vec::new();
        for (to, piece) in &desk.sent {
            assert_eq!(*to, To::InBand { link: 0 });
            assert_eq!(
                (&piece[12..16], &piece[16..20], piece[1], piece[8]),
                (&HERE[..], &HOST[..], 0x48, 64)
            );
            all.extend_from_slice(&piece[20..]);
        }
        assert_eq!((desk.sent.len(), all[0], &all[4..]), (1 + len / 1480, 0, &request[24..]));
        assert_eq!(crate::wire::checksum::sum(&all), 0xffff);
    }
    let wrong = with(echo(HERE, 8), |p| p[30] ^= 1);
    assert_eq!(desk.take(Exception::Local, &wrong), Fate::Checksum);
    let broadcast = with(echo(HERE, 8), |p| p[16..20].copy_from_slice(&[10, 1, 255, 255]));
    assert_eq!(desk.take(Exception::Local, &broadcast), Fate::Broadcast, "no amplifier");
    let martian = with(echo(HERE, 8), |p| p[12..16].copy_from_slice(&[10, 1, 255, 255]));
    assert_eq!(desk.take(Exception::Local, &martian), Fate::AboutSource);
    let cut = with(echo(HERE, 8), |p| p[6] = 0x20);
    assert_eq!(desk.take(Exception::Local, &cut), Fate::Reassembly);
    let mut deaf = Desk::new(Config { echo: false, ..config() });
    assert_eq!(deaf.take(Exception::Local, &echo(HERE, 8)), Fate::Unwanted);
    let routed = options(echo(HERE, 8), &[131, 7, 8, 1, 2, 3, 4, 0]);
    assert_eq!(deaf.take(Exception::Local, &routed), Fate::Unwanted);
    assert_eq!(desk.take(Exception::Local, &routed), Fate::SourceRoute, "no reply along somebody's route");
}

#[test]
fn replies_have_record_route_and_timestamp_and_nothing_else() {
    let mut desk = Desk::new(Config { midnight: Some(Nanos::ZERO), ..config() });
    let request = options(echo(HERE, 8), &[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0]);
    assert_eq!(desk.take(Exception::Options, &request), Fate::EchoReply);
    let reply = desk.one().1;
    assert_eq!(
        reply[20..36],
        [7, 7, 8, 10, 1, 0, 254, 68, 8, 9, 0, 0, 0, 3, 0xe8, 0],
        "a second after midnight"
    );
    assert_eq!(reply[0], 0x49);
}

#[test]
fn timestamp_requests_are_answered_if_asked_for() {
    let request = with(echo(HERE, 12), |p| {
        p[20..40].copy_from_slice(&[13, 0, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        let sum = crate::wire::checksum::of(&p[20..]).to_be_bytes();
        p[22..24].copy_from_slice(&sum);
    });
    assert_eq!(Desk::new(config()).take(Exception::Local, &request), Fate::Unwanted);
    let mut desk = Desk::new(Config { timestamps: true, midnight: Some(Nanos::from_secs(2)), ..config() });
    assert_eq!(desk.take(Exception::Local, &request), Fate::TimestampReply);
    // A second before midnight: 86,399,000 ms.
    let time = 86_399_000_u32.to_be_bytes();
    let expected = [&[0, 1, 0, 2, 1, 2, 3, 4][..], &time, &time].concat();
    assert_eq!((desk.one().1[20], &desk.one().1[24..]), (14, &expected[..]));
    let mut desk = Desk::new(Config { timestamps: true, ..config() });
    assert_eq!(desk.take(Exception::Local, &request), Fate::TimestampReply);
    assert_eq!(desk.one().1[32..36], [0x80, 0, 3, 0xe8], "not of the day, and it says so");
}

#[test]
fn options_are_written_on_the_way_out() {
    let out = [10, 2, 0, 254];
    let [a, b, c, d] = out;
    let mut desk = Desk::new(config());
    let cases: [(&[u8], &[u8]); 10] = [
        (&[1, 1, 1, 0], &[1, 1, 1, 0]),
        (&[0, 7, 7, 7], &[0, 0, 0, 0]),
        (&[0x55, 4, 1, 2], &[0x55, 4, 1, 2]),
        (&[148, 4, 0, 0], &[148, 4, 0, 0]),
        (&[7, 7, 4, 0, 0, 0, 0, 0], &[7, 7, 8, a, b, c, d, 0]),
        (&[7, 7, 8, 1, 2, 3, 4, 0], &[7, 7, 8, 1, 2, 3, 4, 0]),
        (&[68, 8, 5, 0, 0, 0, 0, 0], &[68, 8, 9, 0, 0x80, 0, 3, 0xe8]),
        (&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[68, 12, 13, 1, a, b, c, d, 0x80, 0, 3, 0xe8]),
        (&[68, 12, 5, 3, 10, 1, 0, 254, 0, 0, 0, 0], &[68, 12, 13, 3, 10, 1, 0, 254, 0x80, 0, 3, 0xe8]),
        (&[68, 8, 9, 0xe0, 1, 2, 3, 4], &[68, 8, 9, 0xf0, 1, 2, 3, 4]),
    ];
    for (before, after) in cases {
        assert_eq!(desk.take(Exception::Options, &options(udp(4), before)), Fate::Forwarded);
        let expected = with(options(udp(4), after), |p| p[8] = 63);
        assert_eq!(desk.one(), (To::Result { result: 7, traffic_class: 0 }, &expected[..]));
    }
    let other = [68, 12, 5, 3, 9, 9, 9, 9, 0, 0, 0, 0];
    assert_eq!(desk.take(Exception::Options, &options(udp(4), &other)), Fate::Forwarded);
    assert_eq!(desk.one().1[20..32], other, "prescribed to somebody else");
    assert_eq!(
        desk.take(Exception::Options, &with(options(udp(4), &[1; 4]), |p| p[8] = 1)),
        Fate::TimeExceeded
    );
    let nowhere = with(options(udp(4), &[1; 4]), |p| p[17] = 5);
    assert_eq!(desk.take(Exception::Options, &nowhere), Fate::NoWay);
    let mut host = Desk::new(Config { router_alerts: Delivery::Host, ..config() });
    let alert = options(udp(4), &[148, 4, 0, 0]);
    assert_eq!(host.take(Exception::Options, &alert), Fate::Delivered);
    assert_eq!(host.one(), (To::Host { link: 0 }, &alert[..]));
}

#[test]
fn source_routes_are_dropped_unless_followed() {
    let mut desk = Desk::new(config());
    let route = |kind, to: [u8; 4], next: [u8; 4]| {
        let [a, b, c, d] = next;
        with(options(udp(4), &[kind, 7, 4, a, b, c, d, 0]), |p| p[16..20].copy_from_slice(&to))
    };
    for (kind, to) in [(131, HERE), (131, FAR), (137, HERE)] {
        assert_eq!(desk.take(Exception::Options, &route(kind, to, FAR)), Fate::SourceRoute);
        assert!(desk.sent.is_empty());
    }
    let mut follow = Desk::new(Config { source_routes: SourceRoutes::Follow, ..config() });
    for kind in [131, 137] {
        assert_eq!(follow.take(Exception::Options, &route(kind, HERE, FAR)), Fate::Forwarded);
        let octets = follow.one().1;
        assert_eq!((&octets[16..20], &octets[20..28]), (&FAR[..], &[kind, 7, 8, 10, 2, 0, 254, 0][..]));
    }
    let behind = [10, 3, 0, 1];
    assert_eq!(follow.take(Exception::Options, &route(131, HERE, behind)), Fate::Forwarded);
    assert_eq!(follow.take(Exception::Options, &route(137, HERE, behind)), Fate::SourceRouteFailed);
    assert_eq!(
        follow.take(Exception::Options, &route(131, FAR, behind)),
        Fate::Forwarded,
        "not ours to follow"
    );
    assert_eq!(follow.take(Exception::Options, &route(137, FAR, behind)), Fate::ParameterProblem);
    assert_eq!(follow.one().1[24], 16, "the destination is wrong");
    assert_eq!(follow.take(Exception::Options, &route(131, HERE, [224, 0, 0, 1])), Fate::SourceRoute);
}

#[test]
fn packets_for_this_node_go_to_the_host() {
    let here = |packet| with(packet, |p: &mut Vec<u8>| p[16..20].copy_from_slice(&HERE));
    let mut desk = Desk::new(Config { delivery: Delivery::Host, groups: Delivery::Host, ..config() });
    let group = with(udp(3), |p| p[16..20].copy_from_slice(&[224, 0, 0, 5]));
    let all = with(udp(3), |p| p[16..20].copy_from_slice(&[255; 4]));
    let cut = with(here(udp(3)), |p| (p[6], p[7]) = (0x20, 9));
    for (exception, packet) in [
        (Exception::Local, here(udp(3))),
        (Exception::Local, all),
        (Exception::Local, cut),
        (Exception::Options, options(here(udp(3)), &[7, 7, 4, 0, 0, 0, 0, 0])),
        (Exception::Multicast, group.clone()),
        (Config::TO_HOST, udp(3)),
    ] {
        assert_eq!(desk.take(exception, &packet), Fate::Delivered);
        assert_eq!(desk.one(), (To::Host { link: 0 }, &packet[..]), "as it came");
    }
    assert_eq!(desk.take(Exception::Local, &echo(HERE, 9)), Fate::EchoReply, "answered here");
    let packet = here(udp(3));
    let marked = Received { outer_class: 3, ..Received::new(Exception::Local, 0, &packet) };
    assert_eq!(desk.receive(&marked), Fate::Congestion);
    let capable = with(here(udp(3)), |p| p[1] = 2);
    let marked = Received {
        outer_class: 0xbb,
        dscp: DscpModel::Uniform,
        ..Received::new(Exception::Local, 0, &capable)
    };
    assert_eq!(desk.receive(&marked), Fate::Delivered);
    assert_eq!(desk.one().1, with(capable, |p| p[1] = 0xbb), "congestion and class come in from the tunnel");
    assert_eq!(Desk::new(config()).take(Exception::Multicast, &group), Fate::Multicast);
    assert_eq!(Desk::new(config()).take(Exception::ManyMatches, &group), Fate::Meaningless);
}

#[test]
fn what_was_injected_is_not_sent_again() {
    let mut desk = Desk::new(config());
    fn again(octets: &[u8]) -> Received<'_> {
        Received { injected: true, ..Received::new(Exception::TooBig, 0, octets) }
    }
    assert_eq!(desk.receive(&again(&udp(100))), Fate::Returned);
    assert_eq!(desk.receive(&again(&with(udp(2000), |p| p[8] = 1))), Fate::Fragmented, "but cut it may be");
    assert!(desk.sent.iter().all(|(_, piece)| piece[8] == 1), "and is no older for it");
    assert_eq!(desk.manager.tally().fragments, 2);
}

#[test]
fn hosts_on_the_link_are_told_of_a_better_router() {
    let behind = with(options(udp(4), &[1; 4]), |p| p[17] = 3);
    let mut desk = Desk::new(config());
    assert_eq!(desk.take(Exception::Options, &behind), Fate::Forwarded);
    assert_eq!(desk.sent.len(), 1, "unless they are not");
    let mut desk = Desk::new(Config { redirects: true, ..config() });
    assert_eq!(desk.take(Exception::Options, &behind), Fate::Forwarded);
    assert_eq!((desk.sent.len(), desk.manager.tally().redirects), (2, 1));
    let redirect = &desk.sent[0].1;
    assert_eq!((&redirect[20..22], &redirect[24..28]), (&[5, 1][..], &[10, 1, 0, 7][..]));
    assert_eq!(redirect[28..], behind);
    let stranger = with(behind.clone(), |p| p[13] = 9);
    assert_eq!(desk.take(Exception::Options, &stranger), Fate::Forwarded);
    assert_eq!(desk.sent.len(), 1, "its network is another");
    assert_eq!(desk.take(Exception::Options, &options(udp(4), &[1; 4])), Fate::Forwarded);
    assert_eq!(desk.sent.len(), 1, "another link");
}

#[test]
fn the_host_sends_by_routes_or_by_the_link_it_names() {
    let mut desk = Desk::new(config());
    let mut send = |link, packet: &[u8]| {
        let mut sent = Vec::new();
        let fate = desk.manager.from_host(Nanos::ZERO, link, packet, &route, &mut |output| {
            sound(&output.to_vec());
            sent.push((output.to, output.to_vec()));
        });
        (fate, sent)
    };
    let own = with(udp(9), |p| p[12..16].copy_from_slice(&HERE));
    let to = |destination: [u8; 4]| with(own.clone(), |p| p[16..20].copy_from_slice(&destination));
    let by_route = (To::Result { result: 7, traffic_class: 0 }, own.clone());
    assert_eq!(send(0, &own), (Fate::Forwarded, vec![by_route]));
    let hello = to([224, 0, 0, 5]);
    let by_link = (To::Result { result: 9, traffic_class: 0 }, hello.clone());
    assert_eq!(send(1, &hello), (Fate::Forwarded, vec![by_link]));
    assert_eq!(send(0, &hello).0, Fate::NoWay, "link 0 has no result of its own");
    assert_eq!(send(0, &own[..30]).0, Fate::Unsound);
    let big = with(udp(1400), |p| p[12..16].copy_from_slice(&HERE));
    assert_eq!(send(0, &big).1.len(), 2);
    let (fate, sent) = send(0, &with(big, |p| p[6] = 0x40));
    assert_eq!((fate, sent[0].0), (Fate::FragmentationNeeded, To::Host { link: 0 }));
    assert_eq!((&sent[0].1[20..22], &sent[0].1[26..28]), (&[3, 4][..], &MTU.to_be_bytes()[..]));
    let (fate, sent) = send(0, &to([192, 0, 2, 1]));
    assert_eq!((fate, sent[0].0), (Fate::NetUnreachable, To::Host { link: 0 }));
    assert_eq!(desk.manager.tally().from_host, 7);
}

/// Puts fragments together: by RFC 791, octet by octet. `None` if some are missing, overlap, or
/// are not of one packet.
fn reassembled(pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (mut octets, mut end) = (BTreeMap::new(), None);
    let mut first = None;
    for piece in pieces {
        let ip = Ipv4HeaderSlice::from_slice(piece).ok()?;
        let start = usize::from(ip.fragments_offset().value()) * 8;
        if start == 0 {
            first = Some(ip.slice().to_vec());
        }
        let payload = &piece[ip.slice().len()..];
        for (at, octet) in payload.iter().enumerate() {
            if octets.insert(start + at, *octet).is_some() {
                return None;
            }
        }
        if !ip.more_fragments() {
            end = Some(start + payload.len());
        } else if payload.len() % 8 != 0 {
            return None;
        }
    }
    let complete = end? == octets.len() && octets.keys().copied().eq(0..octets.len());
    let mut packet = first.filter(|_| complete)?;
    packet.extend(octets.values());
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[6..8].fill(0);
    seal(&mut packet);
    Some(packet)
}

proptest! {
    /// Fragments of fragments of a packet are put together to that packet.
    #[test]
    fn fragments_become_the_packet_again(
        len in 0usize..5000, first in 68u16..3000, second in 68u16..700,
        list in prop::sample::select(vec![
            &[][..], &[1, 1, 1, 1], &[148, 4, 0, 0], &[7, 7, 4, 0, 0, 0, 0, 130, 5, 1, 2, 3], &[0x55, 6, 1, 2, 3, 4, 1, 0],
        ]),
    ) {
        let packet = options(udp(len), list);
        let cut = |packet: &[u8], mtu| {
            let header = header::Head::of(&packet[..usize::from(packet[0] & 15) * 4]);
            let payload = header::Payload([&packet[header.len()..], &[], &[]]);
            let mut pieces = Vec::new();
            let sent = fragment::cut(&header, payload, mtu, |header, payload| {
                let to = To::InBand { link: 0 };
                pieces.push(Output::new(to, header, payload).to_vec());
            });
            assert_eq!(sent, Ok(pieces.len() as u64));
            assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
            pieces
        };
        let pieces = cut(&packet, first);
        prop_assert_eq!(reassembled(&pieces), Some(packet.clone()));
        let again: Vec<_> = pieces.iter().flat_map(|piece| cut(piece, second)).collect();
        again.iter().for_each(|piece| sound(piece));
        prop_assert_eq!(reassembled(&again), Some(packet.clone()));
        for piece in &again {
            let copied = match list {
                [148, ..] => &list[..4],
                [7, ..] => &[130, 5, 1, 2, 3, 0, 0, 0],
                _ => &[],
            };
            let header = usize::from(piece[0] & 15) * 4;
            let later = piece[6] & 0x1f != 0 || piece[7] != 0;
            prop_assert_eq!(&piece[20..header], if later { copied } else { list });
            prop_assert_eq!((&piece[4..6], piece[8]), (&packet[4..6], packet[8]));
        }
    }

    /// A message of three pieces is cut as one of one piece.
    #[test]
    fn pieces_are_cut_as_one(a in prop::collection::vec(any::<u8>(), 0..9), b: Vec<u8>, c: Vec<u8>, from in 0usize..200, len in 0usize..200) {
        let payload = header::Payload([&a, &b, &c]);
        let all = [&a[..], &b, &c].concat();
        let part: Vec<u8> = payload.part(from, from + len).0.concat();
        let end = all.len();
        prop_assert_eq!(part, &all[from.min(end)..(from + len).min(end)]);
    }

    /// Whatever comes in, nothing panics, each packet has one fate, no error is sent about an
    /// error, and all that is sent is sound.
    #[test]
    fn any_octets_have_a_fate(
        mut octets in prop::collection::vec(any::<u8>(), 0..200), plain in 0u8..4, words in 5u8..16,
        exception in prop::sample::select(Exception::ALL), link in 0u16..3, injected: bool, outer_class in 0u8..4,
        settings: u16,
    ) {
        if plain > 0 && octets.len() >= 20 {
            octets[0] = 0x40 | words;
            let total = octets.len() as u16;
            octets[2..4].copy_from_slice(&total.to_be_bytes());
            octets[12..14].copy_from_slice(&[10, 1]);
            octets[16] = 10;
            octets[17] &= 7;
            if plain > 1 {
                octets[18..20].copy_from_slice(&[0, 254]);
            }
            seal(&mut octets);
        }
        let bit = |n: u32| settings >> n & 1 == 1;
        let delivery = |n| if bit(n) { Delivery::Host } else { Delivery::Nobody };
        let config = Config {
            source_routes: [SourceRoutes::Drop, SourceRoutes::Refuse, SourceRoutes::Follow][usize::from(settings % 3)],
            delivery: delivery(2),
            groups: delivery(3),
            router_alerts: delivery(4),
            timestamps: bit(5),
            redirects: bit(6),
            interface_info: bit(7),
            midnight: bit(8).then_some(Nanos::ZERO),
            ..config()
        };
        let mut desk = Desk::new(config);
        let received = Received { injected, outer_class, ..Received::new(exception, link, &octets) };
        let fate = desk.receive(&received);
        prop_assert_eq!((desk.manager.tally().count(fate), desk.manager.tally().taken()), (1, 1));
        let errors = desk.sent.iter().filter(|(to, sent)| {
            !matches!(to, To::Host { .. }) && is_own(*sent[12..].first_chunk().unwrap()) && sent[9] == 1 && matches!(sent[20], 3 | 5 | 11 | 12)
                && sent[28..].starts_with(&octets[..sent.len().saturating_sub(28).min(octets.len()).min(20)])
        });
        if errors.count() > 0 && octets[9] == 1 {
            let header = usize::from(octets[0] & 15) * 4;
            prop_assert!(error::is_query(octets[header]), "about {:02x?}", octets);
        }
        let octets_sent: usize = desk.sent.iter().map(|(_, sent)| sent.len()).sum();
        prop_assert!(octets_sent <= octets.len() + 2 * 576 + 60 * desk.sent.len());
    }
}
