//! TUN devices: the kernel answers what it is given, and gives what is routed there.

use etherparse::PacketBuilder;
use fastpath::io::tun::{TunConfig, TunError, TunPort};

use crate::namespace::{alone, ip};
use crate::{counters, receive, send};

/// An echo request of 10.9.0.2 to the kernel at 10.9.0.1.
fn echo(payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).icmpv4_echo_request(7, 1);
    builder.write(&mut octets, payload).unwrap();
    octets
}

fn is_reply(octets: &[u8]) -> bool {
    octets.first() == Some(&0x45) && octets.get(20) == Some(&0)
}

#[test]
fn the_kernel_answers_through_a_device() {
    alone("tun", || {
        let mut port = TunPort::new("slice%d", TunConfig::default()).unwrap();
        assert_eq!(port.name(), "slice0");
        // As long as the device is down.
        assert_eq!(send(&mut port, &[echo(b"lost")]), 1);
        assert_eq!((counters(&port).sent, counters(&port).refused), (0, 1));
        ip("link set slice0 up mtu 9000\naddress add 10.9.0.1/24 dev slice0");
        assert_eq!(send(&mut port, &[echo(b"there?"), vec![0x15; 40]]), 2);
        let reply = receive(&mut port, is_reply).expect("a reply");
        assert!(reply.ends_with(b"there?"));
        assert_eq!((counters(&port).sent, counters(&port).refused), (1, 2), "the other is no IP packet");
        // A reply that is longer than a buffer.
        let missed = counters(&port).missed;
        assert_eq!(send(&mut port, &[echo(&[7; 4000])]), 1);
        assert_eq!(receive(&mut port, is_reply), None);
        assert_eq!(counters(&port).missed, missed + 1);
        // Down and up again.
        ip("link set slice0 down");
        assert_eq!(send(&mut port, &[echo(b"lost")]), 1);
        ip("link set slice0 up");
        assert_eq!(send(&mut port, &[echo(b"again")]), 1);
        assert!(receive(&mut port, is_reply).expect("a reply").ends_with(b"again"));
    });
}

#[test]
fn what_cannot_be_opened_says_why() {
    alone("tun errors", || {
        let first = TunPort::new("slice7", TunConfig::default()).unwrap();
        let open = |name: &str| TunPort::new(name, TunConfig::default()).unwrap_err();
        assert!(matches!(open("slice7"), TunError::InUse { .. }));
        for name in ["", "a name", "a/name", "a name that is too long"] {
            assert!(matches!(open(name), TunError::Name { .. }), "{name:?}");
        }
        let text = open("slice7").to_string();
        assert!(text.contains("slice7") && text.contains("in use"), "{text}");
        drop(first);
        assert!(TunPort::new("slice7", TunConfig::default()).is_ok());
    });
}
