//! The IPv4 code option alone, against etherparse.
#![no_main]

use fastpath_fuzz::{ipv4, seal};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input {
    /// How many octets of the header are as they should be.
    first: [u8; 4],
    header: [u8; 20],
    payload: Vec<u8>,
    plain: bool,
    sealed: bool,
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let mut packet = [&input.header[..], &input.payload].concat();
    if input.plain {
        packet[0] = 0x45;
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
    }
    if input.sealed {
        seal(&mut packet, Some(0));
    }
    let [outer, ttl, mtu, injected] = input.first;
    ipv4(&[&[outer, ttl, mtu, injected], &packet[..]].concat());
});
