//! Octets of each rule, and what must hold of any: a manager, its routes, and packets.

mod errors;
mod host;
mod on_the_way;
mod promises;
mod requests;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use etherparse::{Icmpv4Slice, Ipv4HeaderSlice, PacketBuilder};
use proptest::prelude::*;

use super::*;
use crate::code_option::ipv4::Ipv4Key;
use crate::exit::Exception;
use crate::slot::DscpModel;
use crate::time::Nanos;

const HERE: [u8; 4] = [10, 1, 0, 254];
const HOST: [u8; 4] = [10, 1, 0, 9];
const FAR: [u8; 4] = [10, 2, 0, 9];
const MTU: u16 = 1400;

fn config() -> Config {
    Config {
        links: vec![
            Link::new(HERE.into(), 16),
            Link { result: Some(9), ..Link::new([10, 2, 0, 254].into(), 16) },
        ],
        ..Config::default()
    }
}

/// 10.1/16 is link 0, 10.2/16 link 1 and has a result, 10.3/16 behind a neighbour on link 0;
/// the router's own; prohibited; a blackhole; and no route.
fn route(key: &Ipv4Key, _: u16) -> Route {
    match key.destination.to_be_bytes() {
        HERE => Route::Exception(Exception::Local),
        [10, 1, ..] => Route::Via(Way::new(0, 1500)),
        [10, 2, ..] => Route::Via(Way { result: Some(7), ..Way::new(1, MTU) }),
        [10, 3, ..] => Route::Via(Way { gateway: Some(0x0a01_0007), ..Way::new(0, 1500) }),
        [10, 4, ..] => Route::Exception(Config::PROHIBITED),
        [10, 5, ..] => Route::Drop,
        _ => Route::Exception(Config::NO_ROUTE),
    }
}

/// A manager and what it sent.
struct Desk {
    manager: Manager,
    now: Nanos,
    sent: Vec<(To, Vec<u8>)>,
}

impl Desk {
    fn new(config: Config) -> Self {
        Self { manager: Manager::new(config), now: Nanos::from_secs(1), sent: Vec::new() }
    }

    fn receive(&mut self, received: &Received<'_>) -> Fate {
        self.sent.clear();
        let (now, sent) = (self.now, &mut self.sent);
        self.manager.exception(now, received, &route, &mut |output| {
            let octets = output.to_vec();
            assert_eq!(octets.len(), output.octets());
            let mut copy = vec![0; octets.len()];
            assert!(output.copy_to(&mut copy).is_some() && copy == octets);
            assert!(output.copy_to(&mut copy[1..]).is_none());
            sound(&octets);
            sent.push((output.to, octets));
        })
    }

    fn take(&mut self, exception: Exception, octets: &[u8]) -> Fate {
        self.receive(&Received::new(exception, 0, octets))
    }

    /// The only packet that was sent.
    fn one(&self) -> (To, &[u8]) {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        (self.sent[0].0, &self.sent[0].1)
    }
}

/// Checks lengths and checksums of a packet as another library sees them.
fn sound(octets: &[u8]) {
    let ip = Ipv4HeaderSlice::from_slice(octets).unwrap();
    assert_eq!(usize::from(ip.total_len()), octets.len());
    assert_eq!(crate::wire::checksum::sum(ip.slice()), 0xffff, "{octets:02x?}");
    // etherparse has no place for the reserved flag, and leaves it out of the sum.
    if octets[6] & 0x80 == 0 {
        assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
    }
    let payload = &octets[ip.slice().len()..];
    if ip.protocol().0 == 1 && !ip.is_fragmenting_payload() && is_own(ip.source()) {
        // etherparse reads it, but knows no length attribute to add up.
        assert!(Icmpv4Slice::from_slice(payload).is_ok());
        assert_eq!(crate::wire::checksum::sum(payload), 0xffff, "{octets:02x?}");
    }
}

fn is_own(address: [u8; 4]) -> bool {
    matches!(address, HERE | [10, 2, 0, 254])
}

fn udp(len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST, FAR, 64).udp(7, 9).write(&mut packet, &vec![3; len]).unwrap();
    with(packet, |packet| packet[6] = 0)
}

/// A packet, changed, with the right header checksum after that.
fn with(mut packet: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut packet);
    seal(&mut packet);
    packet
}

fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    if let Some(header) = packet.get_mut(..header).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = crate::wire::checksum::of(header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
    }
}

fn options(packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    with(packet, |packet| {
        packet.splice(20..20, options.iter().copied());
        packet[0] += (options.len() / 4) as u8;
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
    })
}

fn echo(to: [u8; 4], len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST, to, 64).icmpv4_echo_request(1, 2).write(&mut packet, &vec![5; len]).unwrap();
    packet
}
