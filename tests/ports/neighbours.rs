//! Next hops as the kernel knows them: a machine on the link, and machines behind it.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use fastpath::io::neighbours::{Adjacent, NeighbourError, Neighbours, NextHops};
use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::time::Nanos;

use crate::namespace::{Host, alone, ip, veth};
use crate::{counters, send};

/// The control side, with a clock of its own.
struct Control {
    neighbours: Neighbours,
    start: Instant,
}

impl Control {
    fn new() -> Self {
        Self { neighbours: Neighbours::new().unwrap(), start: Instant::now() }
    }

    fn poll(&mut self) -> usize {
        self.neighbours.poll(Nanos(self.start.elapsed().as_nanos() as u64)).unwrap()
    }

    /// Polls until the next hop to `to` is `wanted`, for five seconds at most; what it is.
    fn until(&mut self, hops: &mut NextHops, to: &str, wanted: Option<[u8; 6]>) -> Option<[u8; 6]> {
        let (to, end): (IpAddr, _) = (to.parse().unwrap(), Instant::now() + Duration::from_secs(5));
        loop {
            let found = hops.find(to);
            if found == wanted || Instant::now() > end {
                return found;
            }
            self.poll();
            sleep(Duration::from_millis(1));
        }
    }
}

/// Our interface `near`, 10.1.0.1, and a machine at 10.1.0.2 with this Ethernet address.
fn link() -> (Host, [u8; 6]) {
    let host = Host::new();
    veth("near", "far");
    ip(&format!(
        "link set far netns {}\naddress add 10.1.0.1/24 dev near\naddress add fd00:1::1/64 dev near nodad",
        host.namespace()
    ));
    let far = [2, 0, 0, 0, 0, 2];
    host.run(|| {
        ip("link set far address 02:00:00:00:00:02 up\naddress add 10.1.0.2/24 dev far\n\
            address add fd00:1::2/64 dev far nodad");
    });
    (host, far)
}

#[test]
fn next_hops_are_those_of_the_kernel() {
    alone("neighbours", || {
        let (_host, far) = link();
        let mut control = Control::new();
        let mut hops = control.neighbours.attach("near", 16).unwrap();
        // On the link, of either family.
        assert_eq!(control.until(&mut hops, "10.1.0.2", Some(far)), Some(far));
        assert_eq!(control.until(&mut hops, "fd00:1::2", Some(far)), Some(far));
        // Behind a gateway; this machine itself has no next hop.
        ip("route add 10.2.0.0/16 via 10.1.0.2\nroute add 10.3.0.0/16 via inet6 fd00:1::2 dev near");
        assert_eq!(control.until(&mut hops, "10.2.3.4", Some(far)), Some(far));
        assert_eq!(control.until(&mut hops, "10.3.3.4", Some(far)), Some(far));
        assert_eq!(hops.find("10.1.0.1".parse().unwrap()), None);
        assert_eq!(control.poll(), 4, "of five that were asked for");
        // Another gateway, another address.
        let other = [2, 0, 0, 0, 0, 3];
        ip(
            "neighbour add 10.1.0.3 lladdr 02:00:00:00:00:03 dev near\nroute replace 10.2.0.0/16 via 10.1.0.3",
        );
        assert_eq!(control.until(&mut hops, "10.2.3.4", Some(other)), Some(other));
        let third = [2, 0, 0, 0, 0, 4];
        ip("neighbour replace 10.1.0.3 lladdr 02:00:00:00:00:04 dev near");
        assert_eq!(control.until(&mut hops, "10.2.3.4", Some(third)), Some(third));
        // Without a route, and with one again.
        ip("route add blackhole 10.2.0.0/16 metric 1\nroute del 10.2.0.0/16 via 10.1.0.3");
        assert_eq!(control.until(&mut hops, "10.2.3.4", None), None);
        ip("route del blackhole 10.2.0.0/16 metric 1\nroute add 10.2.0.0/16 via 10.1.0.2");
        assert_eq!(control.until(&mut hops, "10.2.3.4", Some(far)), Some(far));
    });
}

#[test]
fn a_link_that_was_down_is_found_again() {
    alone("neighbours link", || {
        let (_host, far) = link();
        let mut control = Control::new();
        let mut hops = control.neighbours.attach("near", 16).unwrap();
        for _ in 0..3 {
            assert_eq!(control.until(&mut hops, "10.1.0.2", Some(far)), Some(far));
            ip("link set near down");
            assert_eq!(control.until(&mut hops, "10.1.0.2", None), None);
            ip("link set near up");
        }
        assert_eq!(control.until(&mut hops, "10.1.0.2", Some(far)), Some(far));
        ip("link del near");
        assert_eq!(control.until(&mut hops, "10.1.0.2", None), None);
    });
}

/// Time stands still: nothing is looked at again because a second has passed.
#[test]
fn a_link_that_comes_up_is_followed_at_once() {
    alone("neighbours at once", || {
        let (host, far) = link();
        // Its routes would come and go with the link, and tell of it.
        fs::write("/proc/sys/net/ipv6/conf/near/disable_ipv6", "1").unwrap();
        let mut neighbours = Neighbours::new().unwrap();
        let mut hops = neighbours.attach("near", 16).unwrap();
        let to = "10.1.0.2".parse().unwrap();
        let mut until = |wanted| {
            let end = Instant::now() + Duration::from_secs(20);
            while hops.find(to) != wanted {
                assert!(Instant::now() < end, "{wanted:?} is not found");
                neighbours.poll(Nanos::ZERO).unwrap();
                sleep(Duration::from_millis(1));
            }
        };
        until(Some(far));
        for _ in 0..3 {
            ip("link set near down");
            until(None);
            ip("link set near up");
            until(Some(far));
            // The other end: no route of ours changes.
            host.run(|| ip("link set far down"));
            until(None);
            host.run(|| ip("link set far up"));
            until(Some(far));
        }
    });
}

#[test]
fn what_the_kernel_could_not_keep_is_read_anew() {
    alone("neighbours overrun", || {
        let (_host, far) = link();
        let mut control = Control::new();
        let mut hops = control.neighbours.attach("near", 16).unwrap();
        assert_eq!(control.until(&mut hops, "10.1.0.2", Some(far)), Some(far));
        // Far more than a socket holds, and the one that matters behind them.
        let mut commands = String::new();
        for n in 0..900u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a01_0400 + n);
            for state in ["add", "del"] {
                commands += &format!("neighbour {state} {address} lladdr 02:00:00:00:01:00 dev near\n");
            }
        }
        let other = [2, 0, 0, 0, 0, 9];
        ip(&commands);
        ip("neighbour replace 10.1.0.2 lladdr 02:00:00:00:00:09 dev near");
        assert_eq!(control.until(&mut hops, "10.1.0.2", Some(other)), Some(other));
    });
}

/// IPv4 and UDP from us.
fn packet(to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    PacketBuilder::ipv4([10, 1, 0, 1], to, 64).udp(7, 4000).write(&mut octets, payload).unwrap();
    octets
}

#[test]
fn packets_reach_who_answers_and_others_are_refused() {
    alone("adjacent", || {
        let (host, far) = link();
        let (bound, address) = mpsc::channel();
        host.run(move || {
            let socket = UdpSocket::bind("10.1.0.2:4000").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            bound.send(socket).unwrap();
        });
        let socket = address.recv().unwrap();
        let mut control = Control::new();
        let hops = control.neighbours.attach("near", 16).unwrap();
        let port = PacketPort::new("near", PacketConfig::default()).unwrap();
        let mut port = Adjacent::new(port.address(), port, hops);
        let (there, nobody) = (packet([10, 1, 0, 2], b"there"), packet([10, 1, 0, 77], b"nobody"));
        assert_eq!(send(&mut port, &[there.clone(), nobody.clone()]), 2);
        assert_eq!((counters(&port).sent, counters(&port).refused), (0, 2), "nobody is known yet");
        assert_eq!(control.until(port.hops(), "10.1.0.2", Some(far)), Some(far));
        // Who does not answer never costs the others anything.
        for round in 1..10 {
            assert_eq!(send(&mut port, &[nobody.clone(), there.clone(), nobody.clone()]), 3);
            assert_eq!((counters(&port).sent, counters(&port).refused), (round, 2 + 2 * round));
            let mut octets = [0; 64];
            assert_eq!(socket.recv_from(&mut octets).unwrap(), (5, "10.1.0.1:7".parse().unwrap()));
            control.poll();
            sleep(Duration::from_millis(150));
        }
    });
}

#[test]
fn a_missing_interface_is_named() {
    alone("neighbours errors", || {
        let missing = Neighbours::new().unwrap().attach("nowhere", 16).unwrap_err();
        assert!(matches!(&missing, NeighbourError::NoInterface { name } if name == "nowhere"), "{missing}");
    });
}
