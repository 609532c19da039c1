//! What our slow path makes of the packets that the fast path hands over, beside what the kernel
//! made of them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::exit::{Exception, Exit};
use fastpath::manager::{
    Config, Fate, Link, Manager, Rates, Received, Route as Found, SourceRoutes, Way as Out,
};
use fastpath::time::Nanos;

use crate::kernel;
use crate::ours::FastPath;
use crate::routes::{self, LINK_LOCAL, ROUTER, Side};

/// What the slow path did with a packet.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) fate: Fate,
    /// What it sent, and where the fast path sent it.
    sent: Vec<(Side, Vec<u8>)>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fate.name())
    }
}

/// The manager of a router like the kernel's.
#[derive(Debug)]
pub(crate) struct SlowPath(Manager);

impl SlowPath {
    pub(crate) fn new() -> Self {
        let much = (u32::MAX, u32::MAX);
        let config = Config {
            links: vec![Link::new(ROUTER.into(), 16), Link::new([10, 2, 0, 254].into(), 16)],
            addresses: vec![LINK_LOCAL.into()],
            // As the kernel is set up.
            source_routes: SourceRoutes::Follow,
            midnight: Some(Nanos::ZERO),
            rates: Rates { errors: much, errors_to_one: much, replies: much },
            ..Config::default()
        };
        Self(Manager::new(config))
    }

    /// Hands a packet over, and what the manager sends back to the fast path.
    pub(crate) fn take(&mut self, exception: Exception, octets: &[u8], fast_path: &FastPath) -> Outcome {
        let side = |link: u16| if link == 0 { Side::In } else { Side::Out };
        let ways = |key: &Ipv4Key, _: u16| {
            if routes::is_own(&key.source.to_be_bytes()) {
                // The router's own packets go to the tester.
                return Found::Via(Out::new(0, Side::In.mtu()));
            }
            match fast_path.find((*key).into()) {
                Ok((side, mtu)) => Found::Via(Out::new(side as u16, mtu)),
                Err(Exit::SlowPath(exception)) => Found::Exception(exception),
                Err(Exit::Drop(_)) => Found::Drop,
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
        let mut sent = Vec::new();
        let received = Received::new(exception, 0, octets);
        let fate = self.0.exception(Nanos(now.as_nanos() as u64), &received, &ways, &mut |output| {
            let octets = output.to_vec();
            let checked = etherparse::Ipv4HeaderSlice::from_slice(&octets).expect("it is IPv4");
            assert_eq!(usize::from(checked.total_len()), octets.len());
            assert_eq!(checked.header_checksum(), checked.to_header().calc_header_checksum());
            if routes::is_own(&octets[12..16]) {
                sent.push((side(0), octets));
            } else {
                // In-band, as it would be.
                let (side, after) = fast_path.inject(&octets).expect("the manager knows the ways");
                assert_eq!(after, octets, "the fast path changes nothing of it");
                sent.push((side, octets));
            }
        });
        Outcome { fate, sent }
    }
}

/// Whether the kernel and our slow path did the same, octet for octet where both sent something.
pub(crate) fn alike(kernel: &kernel::Fate, ours: &Outcome) -> bool {
    use kernel::Fate::{Answered, Delivered, Dropped, Forwarded, Fragmented, NoRoute, Options, Replied};
    match (kernel, &ours.sent[..]) {
        (Forwarded(side, octets) | Options(side, octets), [(to, sent)]) => {
            ours.fate == Fate::Forwarded && side == to && timeless(octets) == timeless(sent)
        }
        (Fragmented(side, pieces), sent) => {
            ours.fate == Fate::Fragmented
                && sent.iter().all(|(to, _)| to == side)
                && pieces.iter().eq(sent.iter().map(|(_, octets)| octets))
        }
        (Answered(_, _, octets), [(_, sent)]) => answer(octets) == answer(sent),
        // The kernel limits them in all, though it was asked not to.
        (NoRoute, [_]) => ours.fate == Fate::NetUnreachable,
        (NoRoute, []) => is_silent(ours.fate),
        (Delivered, []) => matches!(
            ours.fate,
            Fate::Checksum | Fate::Reassembly | Fate::Unwanted | Fate::Broadcast | Fate::Multicast
        ),
        (Replied(octets), [(_, sent)]) => {
            ours.fate == Fate::EchoReply
                && octets[1] == sent[1]
                && timeless(octets)[12..] == timeless(sent)[12..]
        }
        (Dropped, []) => is_silent(ours.fate) || matches!(ours.fate, Fate::NoWay | Fate::Multicast),
        _ => false,
    }
}

/// Whether the packet was not answered because none may be.
fn is_silent(fate: Fate) -> bool {
    matches!(fate, Fate::AboutError | Fate::AboutFragment | Fate::AboutGroup | Fate::AboutSource)
}

/// Of an error message what is compared: addresses, and ICMP from the first octet to the last.
/// Identification and DF are each router's own business; the type of service is 0xc0 here
/// (RFC 1349, 5.1: errors have the default one), and the packet's own with the kernel.
fn answer(octets: &[u8]) -> (&[u8], &[u8]) {
    (&octets[12..20], &octets[20..])
}

/// The packet without the times in a timestamp option, and the checksum over them.
fn timeless(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    let header = usize::from(octets[0] & 15) * 4;
    if octets.get(20) == Some(&68) && header > 20 {
        let step = if octets[23] & 15 == 0 { 4 } else { 8 };
        let end = 20 + usize::from(octets[21]);
        let written = 20 + usize::from(octets[22]) - 1;
        for at in (24 + step - 4..written.min(end)).step_by(step) {
            octets[at..at + 4].fill(0);
        }
        octets[10..12].fill(0);
    }
    octets
}
