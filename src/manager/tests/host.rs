//! What is for this node, and what it sends itself.

use super::*;

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
