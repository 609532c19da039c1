//! Outer headers written out by field.

use fastpath::egress::{Encapsulation, LinkLayer, Payload, Tunnel};
use fastpath::slot::Outgoing;

use crate::world::{FRAME, ends, kinds, layers, wrap};

/// What an encapsulation puts in front of five octets, which are ECN-capable, over IPv4 or
/// IPv6; the flow hash is 0x12345.
fn sent(v6: bool, layer: LinkLayer, encapsulation: Encapsulation) -> Vec<u8> {
    let (_, kind) = kinds().into_iter().find(|(other, _)| *other == encapsulation).unwrap();
    let [source, destination] = ends(v6, kind);
    let tunnel = Tunnel::new(layer, source, destination).with(encapsulation);
    wrap(&tunnel, &[1, 2, 3, 4, 5], Outgoing { traffic_class: 2, destination: None }, 0x1_2345).unwrap()
}

#[test]
fn vxlan_over_ipv6_behind_two_tags() {
    let expected = [
        &[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1][..], // Ethernet
        &[0x88, 0xa8, 0x20, 0x64],                 // service tag: priority 1, VLAN 100
        &[0x81, 0, 0, 5],                          // tag: VLAN 5
        &[0x86, 0xdd],
        &[0x60, 0x21, 0x23, 0x45], // version, traffic class 2, flow label
        &[0, 35, 17, 64],          // payload length, UDP, hop limit
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        &[0xe3, 0x44, 0x12, 0xb5, 0, 35], // 0xc000 | 0x2345 ^ 0x0001; 4789; length
        &[0xa0, 0x65],                    // checksum
        &[8, 0, 0, 0, 0x0a, 0xbc, 0xde, 0], // VXLAN: I, network
        &[6, 0, 0, 0, 0, 9, 6, 0, 0, 0, 0, 1, 8, 0], // inner Ethernet
        &[1, 2, 3, 4, 5],
    ];
    let vxlan = Encapsulation::Vxlan { vni: 0xa_bcde, frame: Some(FRAME) };
    assert_eq!(sent(true, layers()[3].0, vxlan), expected.concat());
}

#[test]
fn geneve_over_ipv4() {
    let expected = [
        &[0x45, 2, 0, 41, 0, 0, 0x40, 0, 64, 17, 0x26, 0xb9, 10, 0, 0, 1, 10, 0, 0, 9][..],
        &[0xe3, 0x44, 0x17, 0xc1, 0, 21, 0, 0], // 6081, no checksum
        &[0, 0, 8, 0, 0, 0, 7, 0],              // no options, IPv4, network 7
        &[1, 2, 3, 4, 5],
    ];
    let geneve = Encapsulation::Geneve { vni: 7, payload: Payload::IPV4 };
    assert_eq!(sent(false, LinkLayer::Ip, geneve), expected.concat());
}

#[test]
fn gre_with_key_and_checksum_over_ipv4() {
    let expected = [
        &[0x45, 2, 0, 37, 0, 0, 0x40, 0, 64, 47, 0x26, 0x9f, 10, 0, 0, 1, 10, 0, 0, 9][..],
        // Checksum and key, IPv4; ~(a000 + 0800 + dead + beef + 0102 + 0304 + 0500).
        &[0xa0, 0, 8, 0, 0xb1, 0x5b, 0, 0, 0xde, 0xad, 0xbe, 0xef],
        &[1, 2, 3, 4, 5],
    ];
    let gre = Encapsulation::Gre { key: Some(0xdead_beef), checksum: true, payload: Payload::IPV4 };
    assert_eq!(sent(false, LinkLayer::Ip, gre), expected.concat());
}
