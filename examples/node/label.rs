//! A code option of one's own: label switching.
//!
//! A packet begins with a label of 16 bits, a time to live, and a traffic class as in
//! IPv4; what follows is its users' business. The label is looked up; the word of the
//! filter that matches is the label for the next hop.

use fastpath::code_option::{Answer, CodeOption, Context, Outgoing, Query};
use fastpath::exit::{DropReason, Exception, Exit};
use fastpath::key::LookupKey;
use fastpath::packet::PacketMut;

/// Label switching. Word `n` of the slice's memory counts packets of label `n`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label;

/// Octets of its header.
#[allow(dead_code, reason = "`router` makes no such packets")]
pub(crate) const HEADER: usize = 4;

impl Label {
    /// The key that packets of `label` are looked up by, and its mask.
    pub(crate) const fn key(label: u16) -> (LookupKey, LookupKey) {
        (LookupKey::new(label as u128), LookupKey::new(0xffff))
    }
}

impl CodeOption for Label {
    #[inline(always)]
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        let &[l0, l1, ttl, class, ..] = packet else { return Err(DropReason::Truncated.into()) };
        let label = u16::from_be_bytes([l0, l1]);
        if ttl <= 1 && !cx.injected {
            return Err(Exception::Expired.into());
        }
        let at = usize::from(label);
        if let Some(count) = cx.sram.get(at) {
            cx.sram.set(at, count.wrapping_add(1));
        }
        Ok(Query { key: Self::key(label).0, carry: cx.traffic_class(class)?.into() })
    }

    #[inline(always)]
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        if packet.octets() > usize::from(found.mtu) {
            return Err(Exception::TooBig.into());
        }
        let header = packet.bytes_mut().first_chunk_mut().ok_or(DropReason::Truncated)?;
        let [_, _, ttl, _] = *header;
        let [l0, l1] = (found.word as u16).to_be_bytes();
        let traffic_class = found.carry as u8;
        *header = [l0, l1, if cx.injected { ttl } else { ttl.wrapping_sub(1) }, traffic_class];
        Ok(Outgoing { traffic_class, destination: None })
    }
}
