//! From the queues to Tx.

use crate::exit::DropReason;
use crate::packet::Packet;
use crate::queue::{Departure, Verdict, WdrrScheduler};
use crate::stats::{Event, StatsBlock};
use crate::time::Nanos;
use crate::wire::{ethernet::Ethernet, ipv4};

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

/// Marks the outer header of a packet, Ethernet or IPv4.
#[cold]
fn mark<B: AsRef<[u8]> + AsMut<[u8]>>(packet: &mut Packet<B>) {
    let frame = packet.bytes_mut();
    // An outer header of ours has no options: its first octet is 0x45 or a MAC
    // address's, whose frame says IPv4 behind it.
    let bare = frame.first() == Some(&0x45) && ipv4::Ipv4::read(frame).is_ok();
    let at = if bare { 0 } else { Ethernet::read(frame).map_or(0, |ethernet| ethernet.header) };
    if let Some(header) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        ipv4::mark_congestion(header);
    }
}
