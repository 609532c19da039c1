//! Errors: what they say, when they are sent, how many.

use super::*;

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
