//! A slice's manager: its control, and its slow path.
//!
//! It takes all exceptions and counts them. To an IPv4 packet whose time to live ran out
//! it answers with ICMP "time exceeded" (RFC 792; RFC 1812, 4.3.2 and 5.3.1), which it
//! injects in-band: the answer finds its way through the slice's own filters.

use std::net::Ipv4Addr;

use fastpath::exit::Exception;
use fastpath::node::{Injection, SliceControl};
use fastpath::packet::Packet;
use fastpath::wire::{checksum, icmp, ipv4};

use super::feed::{Buffer, HEADROOM};

/// Octets of an answer: IPv4, ICMP, and the header and 8 octets of what it is about.
const ANSWER: usize = 20 + 8 + 28;

pub(crate) struct Manager {
    pub(crate) control: SliceControl<Buffer>,
    address: Option<Ipv4Addr>,
    /// Exceptions taken.
    pub(crate) taken: u64,
    /// Packets injected.
    pub(crate) injected: u64,
}

impl Manager {
    pub(crate) fn new(control: SliceControl<Buffer>, address: Option<Ipv4Addr>) -> Self {
        Self { control, address, taken: 0, injected: 0 }
    }

    /// Takes all exceptions that wait; `recycle` gets the buffers that are no longer
    /// needed.
    pub(crate) fn serve(&mut self, recycle: &mut Vec<Buffer>) {
        while let Some(exception) = self.control.take_exception() {
            self.taken += 1;
            let packet = exception.packet;
            let answer = match (exception.what.exception, self.address) {
                (Exception::Expired, Some(address)) if !exception.what.injected => {
                    time_exceeded(address, packet.part(exception.what.inner))
                }
                _ => None,
            };
            let buffer = packet.into_buf();
            let Some(answer) = answer else {
                recycle.push(buffer);
                continue;
            };
            // A buffer that held the frame holds this.
            let Ok(packet) = Packet::with_headroom(buffer, HEADROOM, &answer) else { continue };
            match self.control.inject(Injection::InBand { packet, link: 0 }) {
                Ok(()) => self.injected += 1,
                Err(Injection::InBand { packet, .. } | Injection::Direct { packet, .. }) => {
                    recycle.push(packet.into_buf());
                }
            }
        }
    }
}

/// The answer to `about`, if there is to be one: not to later fragments, nor to ICMP
/// errors (RFC 1812, 4.3.2.7).
fn time_exceeded(from: Ipv4Addr, about: &[u8]) -> Option<[u8; ANSWER]> {
    let packet = ipv4::Ipv4::read(about).ok()?;
    let is_error =
        packet.protocol() == ipv4::ICMP && packet.payload().first().is_none_or(|it| icmp::is_error(*it));
    if is_error || packet.is_later_fragment() || packet.header_len() != ipv4::HEADER {
        return None;
    }
    let mut answer = [0; ANSWER];
    let (ip, message) = answer.split_first_chunk_mut::<20>()?;
    let ([f0, f1, f2, f3], [t0, t1, t2, t3]) = (from.octets(), packet.source().to_be_bytes());
    // Internetwork control (RFC 1812, 4.3.2.5).
    *ip = [0x45, 0xc0, 0, ANSWER as u8, 0, 0, 0x40, 0, 64, ipv4::ICMP, 0, 0, f0, f1, f2, f3, t0, t1, t2, t3];
    let sum = checksum::of(ip);
    set(ip, 10, sum);
    let (head, quoted) = message.split_first_chunk_mut::<8>()?;
    *head = [icmp::TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0];
    quoted.iter_mut().zip(about).for_each(|(to, from)| *to = *from);
    let sum = checksum::of(message);
    set(message, 2, sum);
    Some(answer)
}

fn set(octets: &mut [u8], at: usize, sum: u16) {
    if let Some(field) = octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = sum.to_be_bytes();
    }
}
