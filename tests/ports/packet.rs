//! Packet sockets on the two ends of a pair of veth.

use fastpath::io::packet::{PacketConfig, PacketError, PacketPort};
use fastpath::io::{Port, Tx};

use crate::namespace::{alone, ip, veth};
use crate::{Buffer, counters, receive, receive_all, send, slot};

fn port(name: &str, config: PacketConfig) -> PacketPort {
    PacketPort::new(name, config).unwrap()
}

/// A frame of `octets` octets to `to`, of an EtherType that no kernel cares for.
fn frame(to: [u8; 6], number: u8, octets: usize) -> Vec<u8> {
    let mut frame = vec![number; octets];
    frame[..6].copy_from_slice(&to);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    frame
}

fn is_ours(octets: &[u8]) -> bool {
    octets.get(6..12) == Some(&[2, 0, 0, 0, 0, 9])
}

#[test]
fn frames_pass_as_they_are() {
    alone("packet", || {
        veth("near", "far");
        let (mut near, mut far) =
            (port("near", PacketConfig::default()), port("far", PacketConfig::default()));
        assert_eq!((near.name(), near.index() != far.index()), ("near", true));
        let to = far.address();
        for octets in [14, 60, 1514] {
            let sent = frame(to, 7, octets);
            assert_eq!(send(&mut near, std::slice::from_ref(&sent)), 1);
            assert_eq!(receive(&mut far, is_ours), Some(sent));
        }
        // A vector of more than one call takes, in order.
        let all: Vec<_> = (0..150).map(|number| frame(to, number, 100)).collect();
        assert_eq!(send(&mut near, &all), 150);
        assert_eq!(receive_all(&mut far, 150, is_ours), all);
        assert_eq!(counters(&near).sent, 153);
        // Too long for the interface; the others go.
        let order = [frame(to, 1, 60), frame(to, 2, 1600), frame(to, 200, 60)];
        assert_eq!(send(&mut near, &order), 3);
        assert_eq!((counters(&near).sent, counters(&near).refused), (155, 1));
        assert!(receive(&mut far, |octets| is_ours(octets) && octets[50] == 200).is_some());
    });
}

#[test]
fn a_tag_that_the_kernel_took_out_is_put_back() {
    alone("packet tags", || {
        veth("near", "far");
        let (mut near, mut far) =
            (port("near", PacketConfig::default()), port("far", PacketConfig::default()));
        let mut sent = frame(far.address(), 7, 60);
        sent.splice(12..12, [0x81, 0, 0x60, 5]);
        assert_eq!(send(&mut near, std::slice::from_ref(&sent)), 1);
        assert_eq!(receive(&mut far, is_ours), Some(sent));
    });
}

#[test]
fn what_is_for_others_is_received_on_request() {
    alone("packet promiscuous", || {
        veth("near", "far");
        let config = PacketConfig { promiscuous: true, ..PacketConfig::default() };
        let mut near = port("near", PacketConfig::default());
        let (mut plain, mut all) = (port("far", PacketConfig::default()), port("far", config));
        let foreign = frame([2, 0, 0, 0, 0, 77], 7, 60);
        let ours = frame(plain.address(), 8, 60);
        assert_eq!(send(&mut near, &[foreign.clone(), ours.clone()]), 2);
        assert_eq!(receive(&mut plain, is_ours), Some(ours));
        assert_eq!(receive(&mut all, is_ours), Some(foreign));
        assert!(receive(&mut near, is_ours).is_none(), "what this end sent");
    });
}

#[test]
fn a_full_ring_and_long_frames_are_counted() {
    alone("packet ring", || {
        veth("near", "far");
        let mut near = port("near", PacketConfig::default());
        let config = PacketConfig { frames: 1, longest: 160, ..PacketConfig::default() };
        let mut far = port("far", config);
        let to = far.address();
        let long = [frame(to, 1, 400), frame(to, 2, 60)];
        assert_eq!(send(&mut near, &long), 2);
        assert!(receive(&mut far, is_ours).is_some_and(|octets| octets[50] == 2));
        let before = counters(&far);
        assert!(before.missed >= 1);
        // A ring is 64 KiB at least: 256 places.
        let all: Vec<_> = (0..1000).map(|_| frame(to, 3, 60)).collect();
        assert_eq!(send(&mut near, &all), 1000);
        while receive(&mut far, is_ours).is_some() {
            if counters(&far).received > before.received + 1000 {
                break;
            }
        }
        let count = counters(&far);
        let seen = count.received - before.received + count.missed - before.missed;
        assert!(seen >= 1000 && count.missed > before.missed + 500, "{count}");
        assert_eq!(counters(&far), count, "asked twice, it counts once");
    });
}

#[test]
fn a_link_goes_down_and_comes_up() {
    alone("packet link", || {
        veth("near", "far");
        let (mut near, mut far) =
            (port("near", PacketConfig::default()), port("far", PacketConfig::default()));
        let to = far.address();
        for round in 1..4 {
            ip("link set near down");
            let mut vector = [slot(&frame(to, 7, 60)), slot(&frame(to, 7, 60))];
            let taken = near.send(&mut vector, &mut fastpath::io::Pool::new(0, 0));
            assert_eq!((taken, counters(&near).refused), (2, 2 * round), "refused, not stuck");
            ip("link set near up");
            assert_eq!(send(&mut near, &[frame(to, 9, 60)]), 1);
            assert_eq!(counters(&near).sent, round, "the first one behind it goes");
            assert!(receive(&mut far, |octets| is_ours(octets) && octets[50] == 9).is_some());
            assert_eq!(send(&mut far, &[frame(near.address(), 9, 60)]), 1);
            assert!(receive(&mut near, is_ours).is_some());
        }
    });
}

#[test]
fn what_cannot_be_opened_says_why() {
    alone("packet errors", || {
        ip("link set lo up\ntuntap add dev bare mode tun");
        let open = |name: &str, config| PacketPort::new(name, config).unwrap_err();
        let missing = open("nowhere", PacketConfig::default());
        assert!(
            matches!(missing, PacketError::NoInterface { .. }) && missing.to_string().contains("nowhere")
        );
        assert!(matches!(open("bare", PacketConfig::default()), PacketError::NotEthernet { .. }));
        veth("near", "far");
        let huge = PacketConfig { frames: u32::MAX, ..PacketConfig::default() };
        let huge = open("near", huge);
        assert!(matches!(huge, PacketError::Memory { .. }), "{huge:?}");
        let port = port("near", PacketConfig::default());
        assert!(Port::<Buffer>::readable(&port).is_some());
    });
}
