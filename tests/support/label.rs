//! A code option of our own, for whoever tests the pipeline with two: shared by
//! `src/pipeline/tests.rs`, `tests/no_alloc.rs`, `tests/link` (without std) and `fuzz`.

use fastpath::prelude::*;
use fastpath::slot::Endpoint;

/// One octet names the next hop and is stripped; word 1 is an exception, and word 2
/// sends to the address that follows. Counts in its memory.
#[derive(Debug)]
pub(crate) struct Label;

impl CodeOption for Label {
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        let &[label, ..] = packet else { return Err(DropReason::Truncated.into()) };
        cx.sram.fetch_add(0, 1);
        Ok(Query::new(LookupKey::new(label.into())))
    }
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, _: &Context<'_>) -> Result<Outgoing, Exit> {
        let destination = match (found.word, packet.bytes()) {
            (0, _) => None,
            (2, &[_, a, b, c, d, p, q, ..]) => {
                Some(Endpoint::v4(u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([p, q])))
            }
            (2, _) => return Err(DropReason::Truncated.into()),
            _ => return Err(Exception::ManyMatches.into()),
        };
        packet.pull(1)?;
        Ok(Outgoing { traffic_class: 0, destination })
    }
}
