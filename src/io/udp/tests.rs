use super::*;
use crate::id::InterfaceId;
use crate::io::{Buffers, Pool};
use crate::packet::Packet;
use crate::slot::{Layer, Slot, Tunnelled};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use std::boxed::Box;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};
use std::vec::Vec;

type Buffer = Box<[u8]>;

fn local(v6: bool) -> SocketAddr {
    if v6 { "[::1]:0".parse().unwrap() } else { "127.0.0.1:0".parse().unwrap() }
}

fn port(config: UdpConfig) -> UdpPort {
    UdpPort::new(config).unwrap()
}

fn counters(port: &UdpPort) -> PortCounters {
    Port::<Buffer>::counters(port)
}

/// `payload` behind the outer header that an egress would write.
fn outgoing(from: SocketAddr, to: SocketAddr, class: u8, payload: &[u8]) -> Slot<Buffer> {
    let mut octets = Vec::new();
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to}"),
    };
    builder.udp(from.port(), to.port()).write(&mut octets, payload).unwrap();
    match from {
        SocketAddr::V4(_) => octets[1] = class,
        SocketAddr::V6(_) => (octets[0], octets[1]) = (0x60 | class >> 4, class << 4),
    }
    let end = octets.len() as u32;
    Slot::from(Packet::new(octets.into(), 0, end).unwrap())
}

fn empty(slots: usize) -> Vec<Slot<Buffer>> {
    (0..slots).map(|_| Slot::EMPTY).collect()
}

/// Receives until `packets` have come, or for a second.
fn receive(port: &mut UdpPort, pool: &mut Pool, packets: usize) -> Vec<(Tunnelled, Vec<u8>)> {
    let (mut all, end) = (Vec::new(), Instant::now() + Duration::from_secs(1));
    while all.len() < packets && Instant::now() < end {
        all.extend(receive_now(port, pool));
    }
    all
}

/// What one call receives.
fn receive_now(port: &mut UdpPort, pool: &mut Pool) -> Vec<(Tunnelled, Vec<u8>)> {
    let mut vector = empty(7);
    let received = port.receive(&mut vector, pool);
    let full = vector.into_iter().filter_map(|slot| Some((slot.meta, slot.packet?)));
    let all: Vec<_> = full
        .map(|(meta, packet)| {
            assert_eq!((meta.layer, packet.headroom()), (Layer::Stripped, 128));
            let octets = packet.bytes().to_vec();
            pool.give(packet.into_buf());
            (meta.tunnel, octets)
        })
        .collect();
    assert_eq!(all.len(), received);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever goes out of two sockets to two others comes in as it was, in each
    /// destination's order, joined or not.
    #[test]
    fn what_is_sent_arrives(
        packets in prop::collection::vec((0usize..2, 0usize..2, 0usize..5, 0u8..3), 1..120),
        v6: bool, segment: bool, join: bool,
    ) {
        let mut near = port(UdpConfig { segment, ..UdpConfig::default() });
        let mut far = port(UdpConfig { join, ..UdpConfig::default() });
        let sources = [0, 1].map(|_| near.open(local(v6)).unwrap());
        let targets = [0, 1].map(|_| far.open(local(v6)).unwrap());
        let mut pool = Pool::new(16, 1728);
        let mut vector = Vec::new();
        let mut expected = Vec::new();
        for (at, (source, target, size, class)) in packets.into_iter().enumerate() {
            let payload = std::vec![at as u8; [0, 1, 90, 91, 1500][size]];
            let (source, target, class) = (sources[source], targets[target], [0, 0x02, 0xb9][usize::from(class)]);
            vector.push(outgoing(source, target, class, &payload));
            vector.extend((at % 3 == 0).then_some(Slot::EMPTY));
            let (source, destination) = (source.into(), target.into());
            expected.push((Tunnelled { source, destination, traffic_class: class }, payload));
        }
        let handed = expected.len();
        prop_assert_eq!(near.send(&mut vector, &mut pool), handed);
        prop_assert!(vector.iter().all(|slot| slot.packet.is_none()));
        prop_assert_eq!((counters(&near).sent, counters(&near).refused), (handed as u64, 0));
        let arrived = receive(&mut far, &mut pool, handed);
        prop_assert_eq!(arrived.len(), handed);
        let octets: usize = expected.iter().map(|(_, payload)| payload.len()).sum();
        prop_assert_eq!(counters(&far).received_octets, octets as u64);
        for (source, target) in sources.into_iter().flat_map(|source| targets.map(|target| (source, target))) {
            let ends = (source.into(), target.into());
            let of = |all: &[(Tunnelled, Vec<u8>)]| -> Vec<_> {
                all.iter().filter(|(tunnel, _)| (tunnel.source, tunnel.destination) == ends).cloned().collect()
            };
            prop_assert_eq!(of(&arrived), of(&expected));
        }
    }
}

#[test]
fn an_idle_port_says_when_it_is_readable() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let ready = |port: &UdpPort| {
        let fd = Port::<Buffer>::readable(port).unwrap();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec::default())).unwrap()
    };
    let (mut port, mut pool) = (port(UdpConfig::default()), Pool::new(4, 2112));
    let here = port.open(local(false)).unwrap();
    assert_eq!((ready(&port), receive_now(&mut port, &mut pool).len()), (0, 0));
    UdpSocket::bind(local(false)).unwrap().send_to(b"x", here).unwrap();
    assert_eq!((ready(&port), receive_now(&mut port, &mut pool).len(), ready(&port)), (1, 1, 0));
}

#[test]
fn without_buffers_packets_wait_and_too_long_ones_are_missed() {
    let mut far = port(UdpConfig { interface: InterfaceId(3), ..UdpConfig::default() });
    let here = far.open(local(false)).unwrap();
    let peer = UdpSocket::bind(local(false)).unwrap();
    for payload in [&[1; 100][..], &[], &[2; 101], &[3; 100]] {
        peer.send_to(payload, here).unwrap();
    }
    let mut vector = empty(4);
    assert_eq!(far.receive(&mut vector, &mut Pool::new(0, 0)), 0);
    let mut pool = Pool::new(1, 228);
    assert_eq!(far.receive(&mut vector, &mut pool), 1, "one buffer, one packet");
    assert_eq!(vector[0].meta.interface, InterfaceId(3));
    pool.refill(1);
    assert_eq!(far.receive(&mut vector, &mut pool), 1);
    assert_eq!(vector[1].packet.as_ref().unwrap().octets(), 0, "an empty datagram is one");
    pool.refill(1);
    assert_eq!(far.receive(&mut vector, &mut pool), 1);
    assert_eq!(vector[2].packet.as_ref().unwrap().bytes(), [3; 100]);
    assert_eq!((counters(&far).received, counters(&far).missed), (3, 1));
}

#[test]
fn what_the_kernel_has_no_room_for_is_counted() {
    let mut near = port(UdpConfig { segment: false, ..UdpConfig::default() });
    let mut far = port(UdpConfig { receive_octets: 4096, ..UdpConfig::default() });
    let (source, target) = (near.open(local(false)).unwrap(), far.open(local(false)).unwrap());
    let mut pool = Pool::new(64, 2112);
    let mut vector: Vec<_> = (0..200).map(|at| outgoing(source, target, 0, &[at; 1000])).collect();
    assert_eq!(near.send(&mut vector, &mut pool), 200);
    let arrived = receive(&mut far, &mut pool, 200).len() as u64;
    assert!(arrived < 200 && arrived > 0, "{arrived}");
    assert_eq!((counters(&far).received, counters(&far).missed), (arrived, 200 - arrived));
    assert!(far.close(target));
    assert_eq!(counters(&far).missed, 200 - arrived, "also without the socket");
}

#[test]
fn what_cannot_be_sent_is_refused_and_its_buffer_comes_back() {
    let (mut near, mut far) = (port(UdpConfig::default()), port(UdpConfig::default()));
    let (source, target) = (near.open(local(false)).unwrap(), far.open(local(false)).unwrap());
    let foreign = "127.0.0.1:9".parse().unwrap();
    let mut pool = Pool::new(16, 0);
    while pool.take().is_some() {}
    let mut cut = outgoing(source, target, 0, b"cut off");
    let whole = cut.packet.as_ref().unwrap().window(0, 30).unwrap();
    cut.packet.as_mut().unwrap().narrow(whole);
    let mut vector = [
        outgoing(source, target, 0, b"good"),
        outgoing(foreign, target, 0, b"no socket sends from there"),
        cut,
        Slot::from(Packet::new(Buffer::from([0; 60]), 0, 60).unwrap()),
        outgoing(source, "127.0.0.1:0".parse().unwrap(), 0, b"to no port"),
        outgoing(source, "0.0.0.0:7".parse().unwrap(), 0, b"to no address"),
        outgoing(source, "255.255.255.255:7".parse().unwrap(), 0, b"to all"),
        outgoing(source, target, 0, b"good, too"),
    ];
    assert_eq!(near.send(&mut vector, &mut pool), 8);
    assert_eq!((counters(&near).sent, counters(&near).refused, pool.len()), (2, 6, 8));
    let mut pool = Pool::new(16, 2112);
    let arrived: Vec<_> = receive(&mut far, &mut pool, 2).into_iter().map(|(_, octets)| octets).collect();
    assert_eq!(arrived, [&b"good"[..], b"good, too"]);
}

#[test]
fn one_that_is_too_long_costs_the_others_nothing() {
    let (mut near, mut far) = (port(UdpConfig::default()), port(UdpConfig::default()));
    let (source, target) = (near.open(local(true)).unwrap(), far.open(local(true)).unwrap());
    // 65,536 octets is what the loopback takes.
    let (fits, long) = ([1; 65_488], [2; 65_489]);
    let mut pool = Pool::new(16, 66_000);
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let all = [&fits[..], &long, b"short"];
        let mut vector = order.map(|at| outgoing(source, target, 0, all[at]));
        assert_eq!(near.send(&mut vector, &mut pool), 3);
        let arrived: Vec<_> =
            receive(&mut far, &mut pool, 2).into_iter().map(|(_, octets)| octets.len()).collect();
        assert_eq!(arrived.len(), 2, "{order:?}: {arrived:?}");
        assert!(arrived.contains(&5) && arrived.contains(&65_488));
    }
    assert_eq!((counters(&near).sent, counters(&near).refused), (6, 3));
}

/// A peer without a socket is answered by "port unreachable".
#[test]
fn errors_of_the_network_hold_up_no_socket() {
    let gone = UdpSocket::bind(local(false)).unwrap().local_addr().unwrap();
    for connected in [false, true] {
        let mut near = port(UdpConfig::default());
        let link = match connected {
            true => UdpLink::connect(local(false), gone, &UdpConfig::default()).unwrap(),
            false => UdpLink::open(local(false), &UdpConfig::default()).unwrap(),
        };
        assert_eq!(link.peer(), connected.then_some(gone));
        let source = near.insert(link).unwrap();
        let mut pool = Pool::new(64, 2112);
        let mut handed = 0;
        for round in 0..20 {
            let mut vector: Vec<_> = (0..3)
                .map(|at| outgoing(source, gone, 0, &std::vec![at; 10 + usize::from(at) * 7]))
                .collect();
            handed += near.send(&mut vector, &mut pool);
            if round % 2 == 0 {
                assert_eq!(receive_now(&mut near, &mut pool).len(), 0);
            }
        }
        let count = counters(&near);
        assert_eq!((handed, count.sent + count.refused), (60, 60), "none stays");
        assert!(count.sent > 30 && (count.errors > 0) == connected, "{count}");
        // Somebody is there now, and hears and is heard.
        let peer = UdpSocket::bind(gone).unwrap();
        let mut vector = [outgoing(source, gone, 0, b"are you there?")];
        assert_eq!(near.send(&mut vector, &mut pool), 1);
        let mut octets = [0; 32];
        assert_eq!(peer.recv_from(&mut octets).unwrap(), (14, source));
        peer.send_to(b"yes", source).unwrap();
        assert_eq!(receive(&mut near, &mut pool, 1)[0].1, b"yes");
    }
}

#[test]
fn a_tunnels_flows_leave_by_its_port_or_by_those_they_are_spread_over() {
    const FLOWS: u16 = 48;
    let mut tunnels = port(UdpConfig::default());
    let here = tunnels.open(local(false)).unwrap();
    // The ends of a tunnel have one port.
    let there = UdpSocket::bind(("127.0.0.2", here.port())).unwrap();
    there.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let to = there.local_addr().unwrap();
    let mut pool = Pool::new(4, 2112);
    let mut send = |tunnels: &mut UdpPort| {
        // Twice of each flow, which has its hash for a port; its number is in the packet.
        let hash = |flow| SocketAddr::new(here.ip(), 0xc000 + flow * 7);
        let slot = |n: u16| outgoing(hash(n % FLOWS), to, 0, &[(n % FLOWS) as u8, (n / FLOWS) as u8]);
        let mut vector: Vec<_> = (0..2 * FLOWS).map(slot).collect();
        let sent = tunnels.send(&mut vector, &mut pool);
        assert_eq!(sent, usize::from(2 * FLOWS));
        let mut from = std::vec![Vec::new(); FLOWS.into()];
        let mut octets = [0; 16];
        while let Ok((2, source)) = there.recv_from(&mut octets) {
            from[usize::from(octets[0])].push((octets[1], source.port()));
            if from.iter().map(Vec::len).sum::<usize>() == usize::from(2 * FLOWS) {
                break;
            }
        }
        from
    };
    let own = [(0, here.port()), (1, here.port())];
    assert!(send(&mut tunnels).iter().all(|flow| *flow == own), "one port, in order");

    tunnels.spread(here, 16).unwrap();
    let flows = send(&mut tunnels);
    let mut ports: Vec<_> = flows.iter().map(|flow| flow[0].1).collect();
    for (flow, port) in flows.iter().zip(&ports) {
        assert_eq!(*flow, [(0, *port), (1, *port)], "a flow has one port, and its order");
    }
    assert!(send(&mut tunnels) == flows, "and the same later");
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() == 16 && !ports.contains(&here.port()), "{ports:?}");
    assert_eq!(tunnels.sockets().collect::<Vec<_>>(), [here], "they are the tunnel's own affair");
    // Nobody listens there, and at the tunnel's own port still somebody does.
    for port in [ports[0], here.port()] {
        there.send_to(&[7], (here.ip(), port)).unwrap();
    }
    let mut pool = Pool::new(4, 2112);
    let tunnelled = receive(&mut tunnels, &mut pool, 1);
    assert_eq!(tunnelled.len(), 1);
    assert_eq!(tunnelled[0].0.destination, here.into());
    assert!(receive_now(&mut tunnels, &mut pool).is_empty());

    tunnels.spread(here, 0).unwrap();
    assert!(send(&mut tunnels).iter().all(|flow| *flow == own), "back again");
    tunnels.spread(here, 2).unwrap();
    assert!(tunnels.close(here));
    assert!(tunnels.sockets.all.iter().all(Option::is_none), "they go with it");
    assert!(matches!(tunnels.spread(here, 2), Err(UdpError::Closed { local }) if local == here));
}

#[test]
fn sockets_come_and_go_while_it_runs() {
    let mut far = port(UdpConfig::default());
    let peer = UdpSocket::bind(local(false)).unwrap();
    let mut pool = Pool::new(64, 2112);
    let mut here = far.open(local(false)).unwrap();
    let stays = far.open(local(false)).unwrap();
    assert!(matches!(far.open(here), Err(UdpError::InUse { .. })));
    for round in 0..20u8 {
        for _ in 0..3 {
            peer.send_to(&[round], here).unwrap();
        }
        peer.send_to(&[round], stays).unwrap();
        let before = counters(&far).missed;
        // Every other round leaves datagrams behind: some read already, some not.
        let taken = if round % 2 == 0 { 1 } else { 4 };
        let mut one = empty(1);
        for _ in 0..taken {
            assert_eq!(far.receive(&mut one, &mut pool), 1);
            one[0] = Slot::EMPTY;
        }
        assert!(far.close(here) && !far.close(here));
        here = far.open(here).unwrap();
        assert_eq!(far.sockets().count(), 2);
        // The socket that stays loses none.
        let left = receive_now(&mut far, &mut pool);
        assert!(left.iter().all(|(tunnel, _)| tunnel.destination == stays.into()));
        let lost = counters(&far).missed - before;
        assert!(taken + left.len() as u64 + lost <= 4 && (taken < 4 || lost == 0), "{round}: {lost} lost");
    }
    assert!(counters(&far).received >= 50, "{}", counters(&far));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let mut port = port(UdpConfig::default());
    let taken = UdpSocket::bind(local(false)).unwrap();
    let taken = taken.local_addr().unwrap();
    let foreign = "192.0.2.1:0".parse().unwrap();
    assert!(matches!(port.open(taken), Err(UdpError::InUse { local }) if local == taken));
    assert!(matches!(port.open(foreign), Err(UdpError::NotHere { .. })));
    for nowhere in ["0.0.0.0:0", "[::]:7", "224.0.0.1:7"] {
        assert!(matches!(port.open(nowhere.parse().unwrap()), Err(UdpError::Unspecified { .. })));
    }
    let both = UdpLink::connect(local(false), local(true), &UdpConfig::default());
    assert!(matches!(both, Err(UdpError::Family { .. })));
    assert_eq!(port.sockets().count(), 0);
    let shared = UdpConfig { shared: true, ..UdpConfig::default() };
    let here = port.insert(UdpLink::open(local(false), &shared).unwrap()).unwrap();
    let again = port.insert(UdpLink::open(here, &shared).unwrap());
    assert!(matches!(again, Err(UdpError::Taken { local }) if local == here));
}
