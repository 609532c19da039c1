//! A slice's manager at its node: what is handed to it comes back answered, and all of it is
//! accounted for.

use fastpath::io::{NoBuffers, Pool};
use fastpath::manager::{Config, Delivery, Driver, Fate, Link, Lost, Results};
use fastpath::node::{Account, Action};
use fastpath::prelude::*;

use crate::world::{Buf, frame, ipv4, must, node, request, route, run};

const HERE: [u8; 4] = [12, 0, 0, 1];
const PORT: u16 = 20_001;

/// The packet with these options, in which its ports stand behind them.
fn with_options(packet: &[u8], options: [u8; 4]) -> Vec<u8> {
    let mut octets = [&packet[..20], &options, &packet[20..]].concat();
    octets[0] += 1;
    octets[3] += 4;
    octets[10..12].fill(0);
    let sum = fastpath::wire::checksum::of(&octets[..24]).to_be_bytes();
    octets[10..12].copy_from_slice(&sum);
    octets
}

fn echo() -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([192, 168, 0, 1], HERE, 64).icmpv4_echo_request(1, 2);
    builder.write(&mut octets, &[7; 8]).unwrap();
    octets
}

fn long() -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([192, 168, 0, 1], [11, 0, 0, 1], 64).udp(1, 2);
    builder.write(&mut octets, &[7; 1460]).unwrap();
    octets[6] = 0;
    octets[10..12].fill(0);
    let sum = fastpath::wire::checksum::of(&octets[..20]).to_be_bytes();
    octets[10..12].copy_from_slice(&sum);
    octets
}

#[test]
fn a_manager_answers_through_its_node_and_all_is_accounted_for() {
    let now = Nanos::from_secs(1);
    let mut node = node();
    let control = node.admit(request(0, PORT)).unwrap();
    let slice = control.slice();
    let link = Link::new(HERE.into(), 32);
    let config = Config { links: vec![link; 2], delivery: Delivery::Host, ..Config::default() };
    let mut driver = Driver::new(control, config, Results::new([1472; 2]), 64);
    driver.set_result(0, Action::forward(0, 0), None).unwrap();
    driver.set_result(1, Action::forward(1, 1), None).unwrap();
    driver.set_result(2, Action::SlowPath(Exception::Local), None).unwrap();
    driver.set_result(3, Action::SlowPath(Config::NO_ROUTE), None).unwrap();
    must(&mut node, driver.control());
    for (network, len, result) in
        [([192, 168, 0, 0], 16, 0), ([11, 0, 0, 0], 8, 1), (HERE, 32, 2), ([0; 4], 0, 3)]
    {
        let (rank, value, mask) = route(network, len);
        driver.control().insert(rank, value, mask, result).unwrap();
    }
    let (value, _) = fastpath::code_option::ipv4::Ipv4Key::route(0x0b01_0203, 32);
    assert_eq!(driver.slice().lookup(value), Some(1), "as the fast path finds it");

    let local = ipv4(64, HERE, 9);
    let inner = [
        ipv4(1, [11, 0, 0, 1], 9),
        ipv4(64, [99, 0, 0, 1], 9),
        with_options(&ipv4(64, [11, 0, 0, 1], 9), [148, 4, 0, 0]),
        echo(),
        local.clone(),
        long(),
    ];
    let frames = inner.iter().map(|inner| frame(0, PORT, inner)).collect();
    assert!(run(&mut node, now, frames).is_empty(), "all is for the manager");
    let (mut pool, mut host) = (Pool::new(64, 2112), Vec::new());
    let mut deliver = |link: u16, packet: Packet<Buf>| {
        host.push((link, packet.bytes().to_vec()));
        Ok(())
    };
    assert_eq!(driver.serve(now, 4, &mut pool, &mut deliver), 4);
    assert_eq!(driver.serve(now, 4, &mut pool, &mut deliver), 2);
    assert_eq!(host, [(0, local.clone())]);
    assert_eq!((driver.injected(), driver.delivered(), driver.lost()), (6, 1, Lost::default()));

    let sent = run(&mut node, now, Vec::new());
    let mut seen: Vec<_> = sent
        .iter()
        .map(|(interface, octets)| {
            let ip = &octets[28..];
            let header = usize::from(ip[0] & 15) * 4;
            (*interface, ip[8], ip[9], if ip[9] == 1 { ip[header] } else { ip[0] })
        })
        .collect();
    seen.sort_unstable();
    let answers = [(0, 64, 1, 0), (0, 64, 1, 3), (0, 64, 1, 11)];
    let onwards = [(1, 63, 17, 0x45), (1, 63, 17, 0x45), (1, 63, 17, 0x46)];
    assert_eq!(seen, [answers, onwards].concat());
    let account: Account = node.account(slice);
    assert_eq!((account.received(), account.injected.packets, account.slow_path.packets), (6, 6, 6));
    assert_eq!((account.sent.packets, account.dropped.packets, account.waiting), (6, 0, 0));
    assert_eq!(driver.manager().tally().taken(), 6);

    // What nobody takes is counted.
    run(&mut node, now, vec![frame(0, PORT, &inner[0]), frame(0, PORT, &local)]);
    assert_eq!(driver.serve(now, 1, &mut NoBuffers, &mut |_, packet| Err(packet)), 1);
    assert_eq!(driver.serve(now, 9, &mut pool, &mut |_, packet| Err(packet)), 1);
    assert_eq!(driver.lost(), Lost { no_buffer: 1, host: 1, node: 0 });
    let free = pool.len();

    let fate = driver.from_host(now, 0, &ipv4(64, [11, 0, 0, 9], 7), &mut pool, &mut |_, packet| Err(packet));
    assert_eq!((fate, pool.len()), (Fate::Forwarded, free - 1));
    assert_eq!(run(&mut node, now, Vec::new()).len(), 1);
}
