//! What must hold of any packet.

use super::*;

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
