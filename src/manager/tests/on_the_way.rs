//! Options of IPv4: routes and times on the way.

use super::*;

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
