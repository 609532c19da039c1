//! The Ethernet frame inside a tunnel: whether it is for this node, and for which path.

use crate::decap::TunnelConfig;
use crate::exit::DropReason::{self, ForeignFrame, Malformed, Truncated};
use crate::id::OptionId;
use crate::wire::ethernet::{self, Ethernet};

/// What to do with the frame inside a tunnel of `config`: the option that takes it, and the
/// octets in front of what it takes.
///
/// What is not for the code option is for the slow path, frame and all: other protocols than
/// the link's, ARP and neighbour discovery among them, and all that is sent to a group, which
/// no router forwards as it came (RFC 1812, 5.3.4).
///
/// # Errors
///
/// [`ForeignFrame`] for another station's, or one with a tag where none is taken;
/// [`Malformed`] for one that a group has sent.
pub(super) fn take(config: &TunnelConfig, frame: &[u8]) -> Result<(OptionId, usize), DropReason> {
    let (to, rest) = frame.split_first_chunk::<6>().ok_or(Truncated)?;
    let from = rest.first_chunk::<6>().ok_or(Truncated)?;
    let group = ethernet::is_group(to);
    let inner = Ethernet::read(frame)?;
    if !group && *to != config.mac {
        return Err(ForeignFrame);
    }
    if ethernet::is_group(from) {
        return Err(Malformed);
    }
    if inner.header > ethernet::HEADER && !config.inner_tags {
        return Err(ForeignFrame);
    }
    if group || inner.ether_type != config.ether_type {
        return Ok((OptionId::FRAME, 0));
    }
    Ok((config.admission.option, inner.header))
}
