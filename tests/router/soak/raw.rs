//! Frames as they are, to and from a device of a machine.

use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::io::{Pool, Port, Rx, Tx};
use fastpath::packet::Packet;
use fastpath::slot::Slot;

use crate::net::Net;

const VECTOR: usize = 32;

/// A device's frames, whomever they are for.
pub(super) struct Raw {
    port: PacketPort,
    pool: Pool,
}

impl Raw {
    pub(super) fn new(net: &Net, space: &str, device: &str) -> Self {
        let config = PacketConfig { promiscuous: true, headroom: 0, ..PacketConfig::default() };
        let port = net.within(space, || PacketPort::new(device, config).unwrap());
        Self { port, pool: Pool::new(VECTOR, 2112) }
    }

    /// Sends frames; what the device refuses, as one that is down does, is lost.
    pub(super) fn send(&mut self, frames: Vec<Vec<u8>>) {
        let packet = |frame: Vec<u8>| {
            let octets = frame.len() as u32;
            Packet::new(frame.into_boxed_slice(), 0, octets).ok().map(Slot::from)
        };
        let mut vector: Vec<_> = frames.into_iter().filter_map(packet).collect();
        for _ in 0..100 {
            self.port.send(&mut vector, &mut self.pool);
            if vector.iter().all(|slot| slot.packet.is_none()) {
                return;
            }
        }
    }

    /// Gives `each` the frames that wait, at most a vector of them; whether there were any.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        let mut vector = [const { Slot::EMPTY }; VECTOR];
        self.pool.refill(VECTOR);
        let received = self.port.receive(&mut vector, &mut self.pool);
        for packet in vector.into_iter().filter_map(|slot: Slot<Box<[u8]>>| slot.packet) {
            each(packet.bytes());
        }
        received > 0
    }

    /// Frames that came too fast to be seen.
    pub(super) fn missed(&self) -> u64 {
        Port::<Box<[u8]>>::counters(&self.port).missed
    }
}

/// The MAC address of a device.
pub(super) fn mac(net: &Net, space: &str, device: &str) -> [u8; 6] {
    let said = net.ip(space, &format!("-o link show dev {device}")).unwrap();
    let mut words = said.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
    let mut octets = words.next().unwrap().split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap());
    std::array::from_fn(|_| octets.next().unwrap())
}
