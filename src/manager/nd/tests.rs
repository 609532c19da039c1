use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfe);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn here(most: usize) -> Nd {
    Nd::new(MAC, &[OURS], most, (1000, 1000))
}

fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, n]
}

fn address(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into())
}

fn other(n: u8) -> Nd {
    Nd::new(mac(n), &[address(n)], 4, (1000, 1000))
}

/// An advertisement of neighbour `n` to us, that it has `mac`.
fn told(n: u8, mac: [u8; 6], solicited: bool, overrides: bool) -> NdFrame {
    let kind = Kind::Advertisement { router: false, solicited, overrides };
    let (source, destination) = (address(n).to_bits(), OURS.to_bits());
    other(200).frame_of(mac, &Message { kind, source, destination, target: source, mac: None })
}

impl Nd {
    /// A frame to us whose option says `mac`.
    fn frame_of(mut self, mac: [u8; 6], message: &Message) -> NdFrame {
        self.mac = mac;
        self.frame(MAC, message)
    }
}

#[test]
fn a_question_is_answered_and_the_asker_known() {
    let mut nd = here(4);
    let question = other(9).request(Nanos(5), OURS).unwrap();
    assert_eq!(question[..14], [0x33, 0x33, 0xff, 0, 0, 0xfe, 2, 0, 0, 0, 1, 9, 0x86, 0xdd]);
    let answer = nd.receive(Nanos(5), &question).unwrap();
    assert_eq!(answer[..14], [2, 0, 0, 0, 1, 9, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
    let kind = Kind::Advertisement { router: true, solicited: true, overrides: true };
    let (source, destination) = (OURS.to_bits(), address(9).to_bits());
    let expected = Message { kind, source, destination, target: source, mac: Some(MAC) };
    assert_eq!(Message::read(&answer[14..]), Some(expected));
    let known = nd.find(address(9)).unwrap();
    assert_eq!((known.mac, known.confirmed, known.heard), (Some(mac(9)), false, Nanos(5)));
    // By its link-local address, too.
    let own = Ipv6Addr::from_bits(ndp::link_local(MAC));
    let question = other(8).request(Nanos(6), own).unwrap();
    assert_eq!(question[22..30], [0xfe, 0x80, 0, 0, 0, 0, 0, 0], "from a link-local address");
    assert!(nd.receive(Nanos(6), &question).is_some());
    assert_eq!(nd.receive(Nanos(6), &other(8).request(Nanos(6), address(7)).unwrap()), None, "another's");
}

#[test]
fn who_would_take_our_address_is_told_with_all() {
    let target = OURS.to_bits();
    let destination = ndp::solicited_node(target);
    let probe = Message { kind: Kind::Solicitation, source: 0, destination, target, mac: None };
    let mut frame = other(9).frame_of(mac(9), &probe);
    // Not a word of its own Ethernet address: a nonce in its place. The checksum follows.
    frame[14 + 64] = 14;
    let sum = u16::from_be_bytes([frame[56], frame[57]]);
    frame[56..58].copy_from_slice(&crate::wire::checksum::update16(sum, 0x0101, 0x0e01).to_be_bytes());
    let mut nd = here(4);
    let answer = nd.receive(Nanos(0), &frame).unwrap();
    assert_eq!(answer[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(Some(answer), nd.announce(OURS));
    let read = Message::read(&answer[14..]).unwrap();
    assert_eq!((read.destination, read.target), (ALL_NODES, target));
    assert!(matches!(read.kind, Kind::Advertisement { solicited: false, overrides: true, .. }));
    assert!(nd.neighbours().is_empty());
    assert_eq!(nd.announce(address(9)), None);
}

#[test]
fn answers_are_believed_as_section_7_2_5_says() {
    let mut nd = here(4);
    nd.receive(Nanos(1), &told(9, mac(9), false, true));
    assert!(nd.neighbours().is_empty(), "nobody asked");
    assert!(nd.request(Nanos(1), address(9)).is_some());
    assert_eq!(nd.request(Nanos(999_999_999), address(9)), None, "within a second");
    assert!(nd.request(Nanos(1_000_000_001), address(9)).is_some());
    assert_eq!(nd.find(address(9)).unwrap().mac, None);
    let mut step = |at, frame: NdFrame| {
        assert_eq!(nd.receive(Nanos(at), &frame), None);
        let known = nd.find(address(9)).unwrap();
        (known.mac.unwrap()[5], known.confirmed, known.heard.0)
    };
    assert_eq!(step(2, told(9, mac(9), true, false)), (9, true, 2), "the first word of it");
    assert_eq!(step(3, told(9, mac(7), true, false)), (9, false, 2), "another's word is not taken");
    assert_eq!(step(4, told(9, mac(9), true, false)), (9, true, 4));
    assert_eq!(step(5, told(9, mac(9), false, false)), (9, true, 5), "the same, unasked");
    assert_eq!(step(6, told(9, mac(7), false, true)), (7, false, 6), "it moved, unasked");
    assert_eq!(step(7, told(9, mac(8), true, true)), (8, true, 7), "it moved, and was asked");
    let question = {
        let mut asker = Nd::new(mac(6), &[address(9)], 1, (1, 1));
        asker.request(Nanos(0), OURS).unwrap()
    };
    assert!(nd.receive(Nanos(8), &question).is_some());
    let known = nd.find(address(9)).unwrap();
    assert_eq!((known.mac, known.confirmed), (Some(mac(6)), false), "it asks from elsewhere");
}

#[test]
fn who_answers_stays_and_who_does_not_makes_room() {
    let mut nd = here(3);
    for n in 1..=2 {
        assert!(nd.receive(Nanos(n.into()), &other(n).request(Nanos(0), OURS).unwrap()).is_some());
    }
    nd.request(Nanos(10), address(100));
    // A scan of the network: one place is all it has.
    for n in 101..=110 {
        assert!(nd.request(Nanos(u64::from(n)), address(n)).is_some());
    }
    assert_eq!(nd.neighbours().len(), 3);
    assert!(
        nd.find(address(1)).is_some() && nd.find(address(2)).is_some() && nd.find(address(110)).is_some()
    );
    for n in 3..=4 {
        nd.receive(Nanos(200 + u64::from(n)), &other(n).request(Nanos(0), OURS).unwrap());
    }
    let known: Vec<_> = (1..=4).filter(|n| nd.find(address(*n)).is_some()).collect();
    assert_eq!(known, [2, 3, 4]);
}

#[test]
fn a_flood_is_answered_at_its_rate_and_changes_nothing_above_it() {
    let mut nd = Nd::new(MAC, &[OURS], 64, (10, 4));
    let asks = |nd: &mut Nd, now| {
        let frames = (1..=50).map(|n| other(n).request(Nanos(0), OURS).unwrap());
        frames.filter(|frame| nd.receive(now, frame).is_some()).count()
    };
    assert_eq!((asks(&mut nd, Nanos(0)), nd.neighbours().len()), (4, 4));
    assert_eq!(asks(&mut nd, Nanos::from_millis(100)), 1);
}

#[test]
fn senders_that_no_one_can_be_are_left() {
    let question = || other(9).request(Nanos(0), OURS).unwrap();
    let mut nd = here(4);
    for (at, octet) in [(0, 4), (6, 3), (12, 8)] {
        let mut frame = question();
        frame[at] = octet;
        assert_eq!(nd.receive(Nanos(0), &frame), None, "octet {at}");
    }
    let nobody =
        [OURS, Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(0xffff_0a00_0001), Ipv6Addr::from_bits(ALL_NODES)];
    let target = OURS.to_bits();
    let from = |source| Message { kind: Kind::Solicitation, source, destination: target, target, mac: None };
    for source in nobody.map(Ipv6Addr::to_bits) {
        assert_eq!(nd.receive(Nanos(0), &other(9).frame_of(mac(9), &from(source))), None, "{source:x}");
    }
    for no_station in [[0; 6], [0xff; 6], [0x33, 0x33, 0, 0, 0, 1], MAC] {
        let mut frame = other(9).frame_of(no_station, &from(address(9).to_bits()));
        frame[6..12].copy_from_slice(&mac(9));
        assert_eq!(nd.receive(Nanos(0), &frame), None, "{no_station:x?}");
    }
    let mut ours = Nd::new(MAC, &[address(9)], 1, (1, 1));
    assert_eq!(nd.receive(Nanos(0), &ours.request(Nanos(0), OURS).unwrap()), None, "our own frame");
    assert!(nd.neighbours().is_empty());
    assert_eq!(nd.request(Nanos(0), OURS), None);
    assert_eq!(nd.request(Nanos(0), Ipv6Addr::from_bits(ALL_NODES)), None);
}

#[derive(Clone, Debug)]
enum Op {
    Ask(u8),
    Asked(u8, u8),
    Told(u8, u8, bool, bool),
    Noise(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 1u8..8;
    prop_oneof![
        n.clone().prop_map(Op::Ask),
        (n.clone(), n.clone()).prop_map(|(n, mac)| Op::Asked(n, mac)),
        (n.clone(), n, any::<bool>(), any::<bool>()).prop_map(|(n, mac, s, o)| Op::Told(n, mac, s, o)),
        prop::collection::vec(any::<u8>(), 0..120).prop_map(Op::Noise),
    ]
}

proptest! {
    /// Whatever comes, there are no more neighbours than there is room for, none twice, and each
    /// has the address that it said last, as far as it is to be believed.
    #[test]
    fn neighbours_are_who_they_say(history in prop::collection::vec(op(), 0..60), most in 1usize..9) {
        let mut nd = here(most);
        let mut model: BTreeMap<Ipv6Addr, Option<[u8; 6]>> = BTreeMap::new();
        for (now, op) in (0..).map(|step| Nanos(step * 1_000_000_000)).zip(history) {
            match op {
                Op::Ask(n) => {
                    prop_assert!(nd.request(now, address(n)).is_some());
                    model.entry(address(n)).or_default();
                }
                Op::Asked(n, from) => {
                    let mut asker = Nd::new(mac(from), &[address(n)], 1, (1, 1));
                    prop_assert!(nd.receive(now, &asker.request(now, OURS).unwrap()).is_some());
                    model.insert(address(n), Some(mac(from)));
                }
                Op::Told(n, from, solicited, overrides) => {
                    prop_assert_eq!(nd.receive(now, &told(n, mac(from), solicited, overrides)), None);
                    if let Some(known) = model.get_mut(&address(n)) {
                        let believed = overrides || known.is_none();
                        *known = if believed { Some(mac(from)) } else { *known };
                    }
                }
                Op::Noise(octets) => drop(nd.receive(now, &octets)),
            }
            prop_assert!(nd.neighbours().len() <= most);
            // Who was thrown out is forgotten by the model, too: nobody else may be.
            prop_assert!(nd.neighbours().len() == most.min(model.len()));
            model.retain(|address, _| nd.find(*address).is_some());
            for known in nd.neighbours() {
                prop_assert_eq!(model.get(&known.address), Some(&known.mac));
            }
            prop_assert_eq!(nd.neighbours().len(), model.len());
        }
    }
}
