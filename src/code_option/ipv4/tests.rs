use super::*;
use crate::id::{LinkId, SliceId};
use crate::packet::Packet;
use crate::slot::DscpModel;
use proptest::prelude::*;

const CX: Context<'_> = Context::of(SliceId(1));

/// 192.168.0.1:1000 to 10.1.2.3:2000, UDP without payload.
fn good() -> [u8; 28] {
    let mut ip = [0; 28];
    ip[..10].copy_from_slice(&[0x45, 0x28, 0, 28, 0, 0, 0, 0, 64, 17]);
    ip[12..20].copy_from_slice(&[192, 168, 0, 1, 10, 1, 2, 3]);
    ip[20..].copy_from_slice(&[0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0]);
    summed(ip)
}

fn summed<const N: usize>(mut ip: [u8; N]) -> [u8; N] {
    ip[10..12].fill(0);
    let header = usize::from(ip[0] & 15) * 4;
    let sum = checksum::of(&ip[..header.min(N)]).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip
}

fn with(at: usize, octet: u8) -> Result<Query, Exit> {
    let mut ip = good();
    ip[at] = octet;
    Ipv4::default().parse(&summed(ip), &CX)
}

fn format(octets: &[u8], mtu: u16, cx: &Context<'_>) -> (Result<Outgoing, Exit>, std::vec::Vec<u8>) {
    let ipv4 = Ipv4::default();
    let mut packet = Packet::with_headroom([0u8; 128], 32, octets).unwrap();
    let carry = ipv4.parse(octets, cx).unwrap().carry;
    let whole = packet.whole();
    let done = packet.edit(whole, |packet| ipv4.format(packet, Answer { word: 0, carry, mtu }, cx));
    (done, packet.bytes().to_vec())
}

#[test]
fn the_key_is_the_five_tuple() {
    let query = Ipv4::default().parse(&good(), &CX).unwrap();
    let key = Ipv4Key {
        class: 0x28,
        protocol: 17,
        source_port: 1000,
        destination_port: 2000,
        source: 0xc0a8_0001,
        destination: 0x0a01_0203,
    };
    assert_eq!(Ipv4Key::from(query.key), key);
    let fields = |at, octet| Ipv4Key::from(with(at, octet).unwrap().key);
    assert_eq!(fields(6, 0x20), key, "a first fragment keeps its ports");
    let later = Ipv4Key { class: 0x28 | Ipv4Key::FRAGMENT, source_port: 0, destination_port: 0, ..key };
    assert_eq!(fields(7, 1), later, "a later one has none");
    assert_eq!(fields(9, 1), Ipv4Key { protocol: 1, source_port: 3, destination_port: 0xe8, ..key }, "ICMP");
    assert_eq!(fields(9, 47), Ipv4Key { protocol: 47, source_port: 0, destination_port: 0, ..key }, "GRE");
    let mut short = good();
    short[3] = 22;
    let short = Ipv4Key::from(Ipv4::default().parse(&summed(short), &CX).unwrap().key);
    assert_eq!(short, Ipv4Key { source_port: 0, destination_port: 0, ..key }, "padding is no port");
    let by_link = Ipv4::new(Martians::RFC_1812, ClassField::Link);
    let cx = Context { link: LinkId(5), ..CX };
    let class = Ipv4Key::from(by_link.parse(&good(), &cx).unwrap().key).class;
    assert_eq!(class, ClassField::link(LinkId(5)).0);
}

#[test]
fn each_fault_has_its_reason() {
    let drop = |reason| Some(Exit::Drop(reason));
    assert_eq!(with(0, 0x65).err(), drop(DropReason::Malformed), "version");
    assert_eq!(with(0, 0x44).err(), drop(DropReason::Malformed), "header length");
    assert_eq!(with(3, 19).err(), drop(DropReason::Malformed), "shorter than its header");
    assert_eq!(with(3, 29).err(), drop(DropReason::Truncated), "longer than the packet");
    for first in [0, 127, 224, 240, 255] {
        assert_eq!(with(12, first).err(), drop(DropReason::Martian), "from {first}");
    }
    for first in [0, 127, 240] {
        assert_eq!(with(16, first).err(), drop(DropReason::Martian), "to {first}");
    }
    assert_eq!(with(16, 224).err(), Some(Exception::Multicast.into()));
    for first in [1, 126, 128, 168, 170, 223] {
        assert!(with(12, first).is_ok() && with(16, first).is_ok(), "{first}");
    }
    assert_eq!(with(0, 0x46).err(), Some(Exception::Options.into()));
    for len in 0..28 {
        assert_eq!(Ipv4::default().parse(&good()[..len], &CX).err(), drop(DropReason::Truncated));
    }
    for bit in 0..160 {
        let mut ip = good();
        ip[bit / 8] ^= 1 << (bit % 8);
        assert!(Ipv4::default().parse(&ip, &CX).is_err(), "bit {bit}");
    }
}

#[test]
fn forwarding_changes_lifetime_and_checksum_and_cuts_padding() {
    let mut expected = good();
    expected[8] = 63;
    let mut padded = good().to_vec();
    padded.extend([0xff; 5]);
    let (done, octets) = format(&padded, 28, &CX);
    assert_eq!(done, Ok(Outgoing { traffic_class: 0x28, destination: None }));
    assert_eq!(octets, summed(expected));
    let injected = Context { injected: true, ..CX };
    assert_eq!(format(&good(), 28, &injected).1, good(), "the node's own packets are not aged");
}

#[test]
fn what_is_not_forwarded_is_unchanged() {
    for ttl in [0, 1] {
        let mut ip = good();
        ip[8] = ttl;
        let ip = summed(ip);
        assert_eq!(format(&ip, 1500, &CX), (Err(Exception::Expired.into()), ip.to_vec()));
        assert!(format(&ip, 1500, &Context { injected: true, ..CX }).0.is_ok());
    }
    assert_eq!(format(&good(), 27, &CX), (Err(Exception::TooBig.into()), good().to_vec()));
    let mut local = good();
    local[12..14].copy_from_slice(&[169, 254]);
    let local = summed(local);
    assert_eq!(format(&local, 1500, &CX), (Err(DropReason::Martian.into()), local.to_vec()));
}

#[test]
fn the_manager_may_send_options_and_link_local_addresses() {
    let injected = Context { injected: true, ..CX };
    let mut ip = [0; 32];
    ip[..20].copy_from_slice(&good()[..20]);
    ip[20..24].copy_from_slice(&[148, 4, 0, 0]);
    ip[24..].copy_from_slice(&good()[20..]);
    (ip[0], ip[3]) = (0x46, 32);
    let ip = summed(ip);
    assert_eq!(Ipv4::default().parse(&ip, &CX).err(), Some(Exception::Options.into()));
    let query = Ipv4::default().parse(&ip, &injected).unwrap();
    assert_eq!(query, Query { carry: 32 << 8 | 0x28, ..Ipv4::default().parse(&good(), &CX).unwrap() });
    let head = ip.first_chunk().unwrap();
    let key = Ipv4Key::of_packet(ClassField::Dscp, CX.link, head, &ip[24..]);
    assert_eq!(Ipv4Key::from(query.key), key, "ports stand behind the options");
    assert_eq!(
        format(&ip, 32, &injected),
        (Ok(Outgoing { traffic_class: 0x28, destination: None }), ip.to_vec())
    );
    assert_eq!(format(&ip, 31, &injected), (Err(Exception::TooBig.into()), ip.to_vec()));
    let mut local = good();
    local[12..14].copy_from_slice(&[169, 254]);
    assert!(format(&summed(local), 1500, &injected).0.is_ok(), "it is not forwarded but sent");
    let (mut martian, mut group) = (ip, ip);
    (martian[12], group[16]) = (127, 224);
    let parse = |ip| Ipv4::default().parse(&summed(ip), &injected).err();
    assert_eq!(parse(martian), Some(DropReason::Martian.into()));
    assert_eq!(parse(group), Some(Exception::Multicast.into()));
}

#[test]
fn congestion_and_class_come_in_from_the_tunnel() {
    let marked = Context { outer_class: 0x03, ..CX };
    let not_capable = Err(DropReason::EcnNotCapable.into());
    assert_eq!(Ipv4::default().parse(&good(), &marked), not_capable);
    let mut capable = good();
    capable[1] = 0x2a;
    let capable = summed(capable);
    let mut expected = capable;
    (expected[1], expected[8]) = (0x2b, 63);
    assert_eq!(format(&capable, 1500, &marked).1, summed(expected));
    let uniform = Context { outer_class: 0xb8, dscp: DscpModel::Uniform, ..CX };
    (expected[1], expected[8]) = (0xba, 63);
    assert_eq!(format(&capable, 1500, &uniform).1, summed(expected));
    let key = Ipv4Key::from(Ipv4::default().parse(&capable, &uniform).unwrap().key);
    assert_eq!(key.class, 0xb8, "filters see the class behind the tunnel");
}

#[test]
fn fragments_of_a_packet_are_one_flow() {
    let hash = |ip: [u8; 28]| Ipv4::default().flow_hash(&summed(ip));
    let (mut first, mut later, mut other) = (good(), good(), good());
    first[6] = 0x20;
    (later[7], later[20]) = (1, 99);
    other[23] = 1;
    assert_eq!(hash(first), hash(later));
    assert_ne!(hash(good()), hash(other), "ports count where they are known");
    assert_eq!(Ipv4::default().flow_hash(&[0x45; 3]), 0);
}

proptest! {
    /// A key put together from its parts is the parser's.
    #[test]
    fn the_key_of_parts_is_that_of_the_packet(mut ip: [u8; 28], link: u16, by_link: bool) {
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&[0, 28]);
        (ip[12], ip[16]) = (10, 10);
        let ip = summed(ip);
        let field = if by_link { ClassField::Link } else { ClassField::Dscp };
        let cx = Context { link: LinkId(link), ..CX };
        let query = Ipv4::new(Martians::RFC_1812, field).parse(&ip, &cx).unwrap();
        let key = Ipv4Key::of_packet(field, cx.link, ip.first_chunk().unwrap(), &ip[20..]);
        prop_assert_eq!(Ipv4Key::from(query.key), key);
    }

    /// RFC 1624 as the kernel does it: whatever stood there, the header stays right.
    #[test]
    fn the_checksum_follows_any_header(mut ip: [u8; 20], class in 0u8..=255, outer in 0u8..=255) {
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&[0, 20]);
        (ip[1], ip[8]) = (class, ip[8].max(2));
        (ip[12], ip[16]) = (10, 10);
        let ip = summed(ip);
        let cx = Context { outer_class: outer, dscp: DscpModel::Uniform, ..CX };
        if Ipv4::default().parse(&ip, &cx).is_ok() {
            let (done, octets) = format(&ip, 1500, &cx);
            prop_assert!(done.is_ok());
            let header: [u8; 20] = octets.try_into().unwrap();
            prop_assert_eq!(header, summed(header));
        }
    }
}
