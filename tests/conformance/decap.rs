//! Substrate decapsulation.

use core::cell::Cell;
use core::net::Ipv4Addr;

use fastpath::conformance;
use fastpath::decap::{Decap, Inner, PortConfig, PortEntry, UdpChecksum, UdpPorts};
use fastpath::exit::DropReason;
use fastpath::id::SliceId;
use fastpath::slot::{Admission, Endpoint, RxMeta};

/// 10.0.0.9:30000 -> 10.0.0.1:20001, three octets.
const PACKET: [u8; 31] = [
    0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x66, 0xc5, 10, 0, 0, 9, 10, 0, 0, 1, // IPv4
    0x75, 0x30, 0x4e, 0x21, 0, 11, 0, 0, // UDP
    1, 2, 3,
];

const ADMISSION: Admission = Admission { slice: SliceId(3), ..Admission::NONE };

fn ports(udp_checksum: UdpChecksum) -> UdpPorts<[PortEntry; 16]> {
    let mut ports = UdpPorts::new([PortEntry::EMPTY; 16]);
    for port in 20_001..20_009 {
        let config = PortConfig { udp_checksum, ..PortConfig::new(ADMISSION) };
        ports.open(Ipv4Addr::new(10, 0, 0, 1), port, config).unwrap();
    }
    ports
}

fn ethernet(tag: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(tag);
    frame.extend([8, 0]);
    frame.extend(PACKET);
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn udp_ports_are_a_decap() {
    for checksum in [UdpChecksum::Skip, UdpChecksum::Verify] {
        let ports = ports(checksum);
        conformance::decap(&ports, &PACKET, RxMeta::IP, 1);
        conformance::decap(&ports, &ethernet(&[]), RxMeta::NEW, 2);
        conformance::decap(&ports, &ethernet(&[0x81, 0, 0, 5]), RxMeta::NEW, 3);
    }
}

/// One octet of slice, two of length, the packet.
struct Shim<F>(F);

impl<F: Fn(u8, usize, usize) -> Result<(u16, usize), DropReason>> Decap for Shim<F> {
    fn decap(&self, frame: &[u8], _: &RxMeta) -> Result<Inner, DropReason> {
        let &[slice, high, low, ..] = frame else { return Err(DropReason::Truncated) };
        let (slice, len) = (self.0)(slice, frame.len() - 3, usize::from(u16::from_be_bytes([high, low])))?;
        let admission = Admission { slice: SliceId(slice), ..Admission::NONE };
        Ok(Inner { admission, offset: 3, len: len as u16, source: Endpoint::NONE, traffic_class: 0 })
    }
}

const SHIMMED: [u8; 8] = [1, 0, 4, 1, 2, 3, 4, 0];

fn check(decap: impl Decap) {
    conformance::decap(decap, &SHIMMED, RxMeta::NEW, 1);
}

fn known(slice: u8) -> Result<u16, DropReason> {
    if slice == 0 { Err(DropReason::UnknownSlice) } else { Ok(slice.into()) }
}

fn inside(room: usize, len: usize) -> Result<usize, DropReason> {
    if len > room { Err(DropReason::Truncated) } else { Ok(len) }
}

#[test]
fn the_kit_takes_a_careful_decap() {
    check(Shim(|slice, room, len| Ok((known(slice)?, inside(room, len)?))));
}

#[test]
#[should_panic(expected = "the packet is not inside the frame")]
fn the_kit_catches_trust_in_the_length_field() {
    check(Shim(|slice, _, len| Ok((known(slice)?, len))));
}

#[test]
#[should_panic(expected = "to the substrate's account")]
fn the_kit_catches_packets_of_the_substrate() {
    check(Shim(|slice: u8, room, len| Ok((slice.into(), inside(room, len)?))));
}

#[test]
#[should_panic(expected = "the same frame got two answers")]
fn the_kit_catches_a_decap_that_counts() {
    let calls = Cell::new(0);
    check(Shim(|slice, room, len| {
        calls.set(calls.get() + 1);
        if calls.get() % 1000 == 0 {
            Err(DropReason::SlowPathRate)
        } else {
            Ok((known(slice)?, inside(room, len)?))
        }
    }));
}

#[test]
#[should_panic(expected = "two answers")]
fn the_kit_catches_a_look_at_the_address() {
    struct Aligned;
    impl Decap for Aligned {
        fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
            if !frame.as_ptr().addr().is_multiple_of(4) {
                return Err(DropReason::Malformed);
            }
            Shim(|slice, room, len| Ok((known(slice)?, inside(room, len)?))).decap(frame, meta)
        }
    }
    check(Aligned);
}

#[test]
#[should_panic(expected = "out of range")]
fn the_kit_catches_a_decap_that_panics() {
    struct Reckless;
    impl Decap for Reckless {
        fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
            let _ = &frame[3..7];
            Shim(|slice, room, len| Ok((known(slice)?, inside(room, len)?))).decap(frame, meta)
        }
    }
    check(Reckless);
}

#[test]
#[should_panic(expected = "the sample must be a frame that is admitted")]
fn the_kit_asks_for_a_sample_that_is_admitted() {
    conformance::decap(ports(UdpChecksum::Skip), &PACKET[..20], RxMeta::IP, 1);
}
