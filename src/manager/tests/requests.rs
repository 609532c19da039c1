//! Echo and timestamp requests.

use super::*;

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
