//! From the queues to Tx.

use crate::exit::DropReason;
use crate::packet::Packet;
use crate::queue::{Departure, Verdict, WdrrScheduler};
use crate::stats::{Event, StatsBlock};
use crate::time::Nanos;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};

/// What [`drain`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drained {
    /// Packets sent.
    pub sent: usize,
    /// Packets dropped: by the scheduler, or because they could not be sent.
    pub dropped: usize,
}

/// Takes up to `budget` packets that are due at `now` out of `queues`, counts them, and
/// gives each to `send` with its departure; what `send` refuses is dropped as
/// [`DropReason::TxFailed`]. The buffer of a dropped packet comes back through
/// `recycle`.
///
/// A packet that the scheduler marks gets congestion experienced into its outer header
/// (RFC 3168).
#[inline]
pub fn drain<B, Q, S>(
    now: Nanos, queues: &mut Q, stats: &mut S, budget: usize,
    mut send: impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>, mut recycle: impl FnMut(Packet<B>),
) -> Drained
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    Q: WdrrScheduler<Handle = Packet<B>>,
    S: StatsBlock + ?Sized,
{
    let mut drained = Drained::default();
    queues.dequeue_each(now, budget, |departure| drained.give(departure, stats, &mut send, &mut recycle));
    drained
}

/// [`drain`] of whatever `next` yields: of one interface of a
/// [`QueueManager`](crate::queue::QueueManager), say.
#[inline]
pub fn drain_with<B, S>(
    mut next: impl FnMut() -> Option<Departure<Packet<B>>>, stats: &mut S, budget: usize,
    mut send: impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>, mut recycle: impl FnMut(Packet<B>),
) -> Drained
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    S: StatsBlock + ?Sized,
{
    let mut drained = Drained::default();
    while drained.packets() < budget {
        let Some(departure) = next() else { break };
        drained.give(departure, stats, &mut send, &mut recycle);
    }
    drained
}

impl Drained {
    const fn packets(self) -> usize {
        self.sent + self.dropped
    }

    /// Gives a packet to `send`, or drops it, and counts it.
    #[inline(always)]
    fn give<B, S>(
        &mut self, mut departure: Departure<Packet<B>>, stats: &mut S,
        send: &mut impl FnMut(Departure<Packet<B>>) -> Result<(), Packet<B>>,
        recycle: &mut impl FnMut(Packet<B>),
    ) where
        B: AsRef<[u8]> + AsMut<[u8]>,
        S: StatsBlock + ?Sized,
    {
        let Departure { octets, queue, owner, verdict, .. } = departure;
        let refused = match verdict {
            Verdict::Drop(reason) => Some((departure.handle, reason)),
            Verdict::SendMarked => {
                mark(&mut departure.handle);
                send(departure).err().map(|packet| (packet, DropReason::TxFailed))
            }
            Verdict::Send => send(departure).err().map(|packet| (packet, DropReason::TxFailed)),
        };
        match refused {
            None => {
                stats.record(Event::Sent(queue), octets);
                self.sent += 1;
            }
            Some((packet, reason)) => {
                stats.record(Event::Left(owner, reason.into()), octets);
                self.dropped += 1;
                recycle(packet);
            }
        }
    }
}

/// Marks the outer header of a packet: IPv4 or IPv6, bare or behind an Ethernet header.
///
/// An outer header of ours fills the frame to its end, and that tells which of these it is:
/// the first octets of an Ethernet frame are an address, which may look like anything.
#[cold]
fn mark<B: AsRef<[u8]> + AsMut<[u8]>>(packet: &mut Packet<B>) {
    let frame = packet.bytes_mut();
    let ethernet = Ethernet::read(frame).ok().map(|ethernet| (ethernet.ether_type, ethernet.header));
    let at = |wanted| ethernet.and_then(|(kind, at)| (kind == wanted).then_some(at));
    let fills_v4 = |at: &usize| {
        let octets = frame.get(*at..).unwrap_or_default();
        Ipv4::read(octets).is_ok_and(|ip| ip.packet().len() == octets.len())
    };
    let fills_v6 = |at: &usize| {
        let octets = frame.get(*at..).unwrap_or_default();
        Ipv6::read(octets).is_ok_and(|ip| ip.packet().len() == octets.len())
    };
    // IPv4 has a checksum as well, which nothing else fits.
    if let Some(at) = [Some(0), at(ethernet::IPV4)].into_iter().flatten().find(fills_v4) {
        if let Some(header) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            ipv4::mark_congestion(header);
        }
    } else if let Some(at) = [at(ethernet::IPV6), Some(0)].into_iter().flatten().find(fills_v6)
        && let Some(header) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut)
    {
        ipv6::mark_congestion(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Egress, Encapsulation, LinkLayer, Template, Tunnel};
    use crate::id::QueueId;
    use crate::slot::Outgoing;
    use core::net::SocketAddr;

    #[test]
    fn whatever_the_outer_header_is_marked() {
        // Addresses that look like versions.
        let (destination, source) = ([0x60, 0, 0, 0, 0, 70], [0x44, 0, 0, 0, 0, 1]);
        let layers = [
            LinkLayer::Ip,
            LinkLayer::Ethernet { destination, source, tag: None },
            LinkLayer::Ethernet { destination, source, tag: Some(5) },
            LinkLayer::DoubleTagged { destination, source, service_tag: 7, tag: 5 },
        ];
        for (ends, at) in [(["10.0.0.1:1", "10.0.0.2:2"], 1), (["[2001:db8::1]:1", "[2001:db8::2]:2"], 0)] {
            let [source, destination] = ends.map(|end| end.parse::<SocketAddr>().unwrap());
            for layer in layers {
                let vxlan = Encapsulation::Vxlan { vni: 7, frame: None };
                let tunnel = Tunnel::new(layer, source, destination).with(vxlan);
                let template = Template::new(&tunnel, &[]).unwrap();
                let egress = Egress::by_template(0, &template, QueueId(0), 1400).unwrap();
                let templates = crate::egress::Egresses { records: [Egress::NONE; 0], templates: [template] };
                let mut packet = Packet::with_headroom([0u8; 256], 128, &[0x45; 20]).unwrap();
                let whole = packet.whole();
                let outgoing = Outgoing { traffic_class: 0b10, destination: None };
                packet.edit(whole, |packet| egress.encapsulate(packet, &outgoing, &templates)).unwrap();
                let before = packet.bytes().to_vec();
                mark(&mut packet);
                let at = layer.octets() + at;
                let mut expected = before.clone();
                match source {
                    SocketAddr::V4(_) => {
                        expected[at] |= 3;
                        let header = &mut expected[layer.octets()..][..20];
                        header[10..12].fill(0);
                        let sum = crate::wire::checksum::of(header).to_be_bytes();
                        header[10..12].copy_from_slice(&sum);
                    }
                    SocketAddr::V6(_) => expected[at + 1] |= 0x30,
                }
                assert_ne!(before, expected);
                assert_eq!(packet.bytes(), expected, "{layer:?} {source}");
            }
        }
    }
}
