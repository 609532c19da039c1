//! Header options (RFC 791; RFC 1812, 4.2.2.1, 4.2.2.11 and 5.2.4.1).
//!
//! First all options are checked, and it is noted where those stand that a router acts on; then,
//! when it is known where the packet goes, it writes into these. Options that are not known
//! pass as they are.

/// End of the list.
const END: u8 = 0;
/// Nothing.
const NOP: u8 = 1;
/// Record route.
const RECORD_ROUTE: u8 = 7;
/// Timestamp.
const TIMESTAMP: u8 = 68;
/// Loose source route.
const LOOSE: u8 = 131;
/// Strict source route.
const STRICT: u8 = 137;
/// Router alert (RFC 2113).
const ROUTER_ALERT: u8 = 148;

/// Octets in front of the options.
const FIRST: usize = 20;

/// Where in the header options stand that a router acts on; none where there is no room left
/// in them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    record_route: Option<usize>,
    timestamp: Option<usize>,
    pub(super) source_route: Option<SourceRoute>,
    pub(super) router_alert: bool,
    /// Behind the end of the list, if octets stand there.
    end: Option<usize>,
}

/// A source route, used up or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SourceRoute {
    at: usize,
    pub(super) strict: bool,
}

/// An octet of the header that is wrong: what a parameter problem points to.
pub(super) type Pointer = u8;

/// Checks all options of a header, and finds those that matter.
///
/// # Errors
///
/// Where something is wrong.
pub(super) fn check(header: &[u8]) -> Result<Found, Pointer> {
    let mut found = Found::default();
    let mut at = FIRST;
    while let Some(rest) = header.get(at..) {
        let (kind, len) = match rest {
            [] => break,
            [END, ..] => {
                found.end = Some(at + 1);
                break;
            }
            [NOP, ..] => {
                at += 1;
                continue;
            }
            // Too short for its length, a length too short for both, or beyond the header.
            [_] => return Err(pointer(at)),
            [_, len, ..] if *len < 2 || usize::from(*len) > rest.len() => return Err(pointer(at)),
            [kind, len, ..] => (*kind, usize::from(*len)),
        };
        found.note(kind, at, rest.get(..len).unwrap_or_default())?;
        at += len;
    }
    Ok(found)
}

/// A header has 60 octets at most.
fn pointer(at: usize) -> Pointer {
    at.min(255) as u8
}

impl Found {
    fn note(&mut self, kind: u8, at: usize, option: &[u8]) -> Result<(), Pointer> {
        match kind {
            RECORD_ROUTE => {
                once(self.record_route.is_some(), at)?;
                // One that is full counts as the one there is, and is not written into.
                self.record_route = Some(at);
                slot(at, option, 4, 4).map(drop)
            }
            TIMESTAMP => {
                once(self.timestamp.is_some(), at)?;
                self.timestamp = Some(at);
                timestamp(at, option)
            }
            LOOSE | STRICT => {
                once(self.source_route.is_some(), at)?;
                self.source_route = Some(SourceRoute { at, strict: kind == STRICT });
                match option {
                    [_, _] => Err(pointer(at + 1)),
                    [_, _, 0..=3, ..] => Err(pointer(at + 2)),
                    _ => Ok(()),
                }
            }
            ROUTER_ALERT => {
                self.router_alert |= option.get(2..4) == Some(&[0, 0]);
                if option.len() < 4 { Err(pointer(at + 1)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

/// An option that may come once has come already.
fn once(again: bool, at: usize) -> Result<(), Pointer> {
    if again { Err(pointer(at)) } else { Ok(()) }
}

/// Where in an option the next `len` octets go, counted from its start; `None` if it is full.
/// `least` is what its pointer must be.
fn slot(at: usize, option: &[u8], least: u8, len: usize) -> Result<Option<usize>, Pointer> {
    let &[_, octets, next, ..] = option else { return Err(pointer(at + 1)) };
    if next < least {
        return Err(pointer(at + 2));
    }
    match usize::from(next) {
        _ if next > octets => Ok(None),
        // Some room, but not enough (RFC 791).
        next if next + len > usize::from(octets) + 1 => Err(pointer(at + 2)),
        next => Ok(Some(next - 1)),
    }
}

fn timestamp(at: usize, option: &[u8]) -> Result<(), Pointer> {
    let &[_, _, _, flags, ..] = option else { return Err(pointer(at + 1)) };
    let full = slot(at, option, 5, entry(flags))?.is_none();
    // The count of routers that had no room has none itself.
    if full && flags & 15 != PRESCRIBED && flags >> 4 == 15 { Err(pointer(at + 3)) } else { Ok(()) }
}

/// The addresses are there already.
const PRESCRIBED: u8 = 3;

/// Octets that one router writes into a timestamp option, its address included.
const fn entry(flags: u8) -> usize {
    match flags & 15 {
        1 | PRESCRIBED => 8,
        _ => 4,
    }
}

/// What a router writes into options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<F> {
    /// Its address on the way out.
    pub(super) address: u32,
    /// The time of day, in milliseconds.
    pub(super) time: u32,
    /// Whether an address is the router's.
    pub(super) is_own: F,
}

impl<F: Fn(u32) -> bool> Stamp<F> {
    /// Writes into the options of `header` that [`check`] has found, and clears what stands
    /// behind the end of their list.
    pub(super) fn write(&self, header: &mut [u8], found: &Found) {
        if let Some(option) = found.record_route.and_then(|at| option_mut(header, at)) {
            self.record_route(option);
        }
        if let Some(option) = found.timestamp.and_then(|at| option_mut(header, at)) {
            self.timestamp(option);
        }
        if let Some(rest) = found.end.and_then(|end| header.get_mut(end..)) {
            rest.fill(END);
        }
    }

    fn record_route(&self, option: &mut [u8]) {
        if let Ok(Some(at)) = slot(0, option, 4, 4) {
            set(option, at, self.address);
            advance(option, 4);
        }
    }

    fn timestamp(&self, option: &mut [u8]) {
        let &mut [_, _, _, flags, ..] = option else { return };
        let Ok(at) = slot(0, option, 5, entry(flags)) else { return };
        match (flags & 15, at) {
            (0, Some(at)) => set(option, at, self.time),
            (1, Some(at)) => {
                set(option, at, self.address);
                set(option, at + 4, self.time);
            }
            (PRESCRIBED, Some(at)) if get(option, at).is_some_and(&self.is_own) => {
                set(option, at + 4, self.time);
            }
            (PRESCRIBED, _) | (2.., Some(_)) => return,
            (_, None) => {
                // One more router that had no room. `check` has refused 15.
                if let Some(count) = option.get_mut(3) {
                    *count = count.saturating_add(1 << 4);
                }
                return;
            }
        }
        advance(option, entry(flags) as u8);
    }
}

impl SourceRoute {
    /// The next address of the route, or `None` if it is used up.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn next(&self, header: &[u8]) -> Result<Option<u32>, Pointer> {
        let option = option(header, self.at).unwrap_or_default();
        Ok(slot(self.at, option, 4, 4)?.and_then(|at| get(option, at)))
    }

    /// Writes the router's own address in the place of the next one, and moves on.
    pub(super) fn advance(&self, header: &mut [u8], own: u32) {
        let Some(option) = option_mut(header, self.at) else { return };
        if let Ok(Some(at)) = slot(0, option, 4, 4) {
            set(option, at, own);
            advance(option, 4);
        }
    }
}

/// Whether each fragment has a copy of options of this type, and not the first one only (RFC 791,
/// section 3.1).
pub(super) const fn is_copied(kind: u8) -> bool {
    kind & 0x80 != 0
}

/// Whether options of this type go back with an echo reply (RFC 1122, 3.2.2.6).
pub(super) const fn is_returned(kind: u8) -> bool {
    matches!(kind, RECORD_ROUTE | TIMESTAMP)
}

/// Calls `each` with the options of a header that have content.
pub(super) fn each(header: &[u8], mut each: impl FnMut(u8, &[u8])) {
    let mut rest = header.get(FIRST..).unwrap_or_default();
    loop {
        rest = match rest {
            [NOP, rest @ ..] => rest,
            [END, ..] | [] | [_] => return,
            [kind, len, ..] => {
                let Some((option, rest)) = rest.split_at_checked(usize::from(*len).max(2)) else { return };
                each(*kind, option);
                rest
            }
        }
    }
}

fn option(header: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(*header.get(at + 1)?);
    header.get(at..at + len)
}

fn option_mut(header: &mut [u8], at: usize) -> Option<&mut [u8]> {
    let len = usize::from(*header.get(at + 1)?);
    header.get_mut(at..at + len)
}

fn get(option: &[u8], at: usize) -> Option<u32> {
    option.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

fn set(option: &mut [u8], at: usize, to: u32) {
    if let Some(word) = option.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *word = to.to_be_bytes();
    }
}

/// Moves an option's pointer on.
fn advance(option: &mut [u8], by: u8) {
    if let [_, _, next, ..] = option {
        *next = next.saturating_add(by);
    }
}
