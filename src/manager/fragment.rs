//! Fragments (RFC 791, section 3.2).

use crate::manager::header::{Head, Payload};
use crate::manager::options;
use crate::wire::ipv4::HEADER;

/// More fragments follow.
pub(super) const MORE: u16 = 0x2000;
/// Not to be cut.
pub(super) const DONT: u16 = 0x4000;
/// The offset, in units of 8 octets.
pub(super) const OFFSET: u16 = 0x1fff;

/// A packet cannot be cut into fragments that are IPv4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Uncut;

/// Cuts a packet into fragments of at most `mtu` octets and gives each to `send`, in order.
/// Returns how many.
///
/// The first has all options, the others those that are to be copied. A fragment is cut like
/// any packet. At most 8,192 fragments: an offset has so many values.
///
/// # Errors
///
/// [`Uncut`] where no 8 octets would fit behind a header, or an offset would not fit its field.
/// Nothing was sent.
pub(super) fn cut(
    header: &Head, payload: Payload<'_>, mtu: u16, mut send: impl FnMut(&Head, Payload<'_>),
) -> Result<u64, Uncut> {
    let mut head = *header;
    let mut later = Head::of(header.fixed());
    options::each(header, |kind, option| {
        if options::is_copied(kind) {
            later.push(option);
        }
    });
    later.pad();
    let fields = header.fragment();
    let first = usize::from(fields & OFFSET);
    let octets = payload.len();
    if usize::from(mtu) < header.len().max(HEADER) + 8 || first + octets / 8 > usize::from(OFFSET) {
        return Err(Uncut);
    }
    let (mut start, mut fragments) = (0, 0);
    while start < octets {
        let room = usize::from(mtu) - head.len();
        let end = if octets - start <= room { octets } else { start + (room & !7) };
        // The last one is the last of all only if what was cut was.
        let more = if end < octets { MORE } else { fields & MORE };
        head.set_fragment(more | (first + start / 8) as u16);
        head.seal(end - start);
        send(&head, payload.part(start, end));
        fragments += 1;
        (start, head) = (end, later);
    }
    Ok(fragments)
}
