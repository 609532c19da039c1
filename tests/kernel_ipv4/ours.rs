//! The same router out of the crate's parts: the IPv4 option and a table.

use std::fmt;

use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
use fastpath::code_option::{Answer, CodeOption, Context};
use fastpath::exit::{DropReason, Exception, Exit};
use fastpath::id::SliceId;
use fastpath::key::{LookupKey, TableKey};
use fastpath::lookup::{Filter, LinearTcam, Rank, Row, TernaryTable, TernaryUpdate};
use fastpath::manager::Config;
use fastpath::packet::Packet;

use crate::routes::{ROUTES, Route, Side, Way};

/// What the fast path made of a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Sent on as these octets.
    Forwarded(Side, Vec<u8>),
    /// Left the fast path.
    Left(Exit),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded(side, _) => write!(f, "forwarded:{}", side.device()),
            Self::Left(exit) => exit.fmt(f),
        }
    }
}

/// What a filter says: the link and its MTU, or why packets leave here.
pub(crate) type Verdict = Result<(Side, u16), Exit>;

/// At most two for each route, and a default for what has none.
const FILTERS: usize = 2 * ROUTES.len() + 1;

const SLICE: SliceId = SliceId(1);

/// The IPv4 option as it comes, and the routes.
#[derive(Debug)]
pub(crate) struct FastPath {
    option: Ipv4,
    table: LinearTcam<[Option<Row<Verdict>>; FILTERS]>,
}

impl FastPath {
    /// With the routes that the kernel has.
    pub(crate) fn new() -> Self {
        let mut table = LinearTcam::new([None; FILTERS]);
        let mut insert = |rank: Rank, (value, mask): (LookupKey, LookupKey), verdict: Verdict| {
            let replaced = table.insert(rank, Filter::new(SLICE, value, mask), verdict);
            assert_eq!(replaced, Ok(None), "there is room, and no filter comes twice");
        };
        for Route { to, len, way } in ROUTES {
            let to = u32::from_be_bytes(to);
            insert(Rank::longest_prefix(32, len), Ipv4Key::route(to, len), verdict(way));
            if matches!(way, Way::Local(_) | Way::Broadcast(_)) {
                // Nobody else sends from such an address (RFC 1812, 5.3.7). Which these
                // are the option cannot know: it is told by a filter above the routes.
                let value = Ipv4Key { source: to, ..Ipv4Key::default() };
                let mask = Ipv4Key { source: !0, ..Ipv4Key::default() };
                insert(Rank(0), (value.into(), mask.into()), Err(DropReason::Martian.into()));
            }
        }
        // What has no route must be answered (RFC 1812, 5.2.7.1).
        insert(Rank::longest_prefix(32, 0), Ipv4Key::route(0, 0), Err(Config::NO_ROUTE.into()));
        Self { option: Ipv4::default(), table }
    }

    /// What becomes of `octets`.
    pub(crate) fn route(&self, octets: &[u8]) -> Fate {
        // The buffer holds more than the packet on both sides, as on the path.
        let buffer = vec![0xee; 64 + octets.len() + 64];
        let mut packet = Packet::with_headroom(buffer, 64, octets).expect("the buffer is as long");
        match self.process(&mut packet, &Context::of(SLICE)) {
            Ok(side) => Fate::Forwarded(side, packet.bytes().to_vec()),
            Err(exit) => {
                // Too long is what has been formatted already.
                let formatted = exit == DropReason::TooLong.into();
                assert!(formatted || packet.bytes() == octets, "{exit}: a packet leaves as it came");
                Fate::Left(exit)
            }
        }
    }

    /// What becomes of `octets` that the slice's manager sends in-band.
    pub(crate) fn inject(&self, octets: &[u8]) -> Result<(Side, Vec<u8>), Exit> {
        let buffer = vec![0xee; 64 + octets.len() + 64];
        let mut packet = Packet::with_headroom(buffer, 64, octets).expect("the buffer is as long");
        let cx = Context { injected: true, ..Context::of(SLICE) };
        self.process(&mut packet, &cx).map(|side| (side, packet.bytes().to_vec()))
    }

    /// What the filters say of packets with this key.
    pub(crate) fn find(&self, key: LookupKey) -> Verdict {
        self.table.lookup(TableKey::new(SLICE, key)).unwrap_or(Err(DropReason::NoMatch.into()))
    }

    fn process(&self, packet: &mut Packet<Vec<u8>>, cx: &Context<'_>) -> Result<Side, Exit> {
        let query = self.option.parse(packet.bytes(), cx)?;
        let (side, mtu) = self.find(query.key)?;
        let answer = Answer { carry: query.carry, mtu, word: 0 };
        packet.edit(packet.whole(), |packet| self.option.format(packet, answer, cx))?;
        if packet.octets() > u32::from(mtu) { Err(DropReason::TooLong.into()) } else { Ok(side) }
    }
}

fn verdict(way: Way) -> Verdict {
    match way {
        Way::Link(side) => Ok((side, side.mtu())),
        Way::Narrow(side, mtu) => Ok((side, mtu)),
        Way::Local(_) | Way::Broadcast(_) => Err(Exception::Local.into()),
        Way::Blackhole => Err(DropReason::Filtered.into()),
        Way::Prohibit => Err(Config::PROHIBITED.into()),
        Way::Unreachable => Err(Config::HOST_UNREACHABLE.into()),
    }
}
