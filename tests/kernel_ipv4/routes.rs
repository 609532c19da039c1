//! The routing table, one for both: the kernel gets it as commands of ip(8), our table
//! as filters.

use std::fmt::Write;

/// One of the router's two links.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Side {
    /// Where all packets are sent to the router.
    In,
    /// The other.
    Out,
}

impl Side {
    /// The device's name.
    pub(crate) const fn device(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// The device's MTU. Less on the way out: a packet may come in and be too long.
    pub(crate) const fn mtu(self) -> u16 {
        match self {
            Self::In => 1500,
            Self::Out => 1400,
        }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Out of a link, with the link's MTU.
    Link(Side),
    /// Out of a link, with an MTU of the route's own.
    Narrow(Side, u16),
    /// Here: an address of the router on that link.
    Local(Side),
    /// Here and to all hosts of that link.
    Broadcast(Side),
    /// Nowhere, in silence.
    Blackhole,
    /// Nowhere: communication administratively prohibited.
    Prohibit,
    /// Nowhere: host unreachable.
    Unreachable,
}

/// Where packets to a prefix go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) to: [u8; 4],
    pub(crate) len: u8,
    pub(crate) way: Way,
}

const fn route(to: [u8; 4], len: u8, way: Way) -> Route {
    Route { to, len, way }
}

/// The router's address on the link that packets come from.
pub(crate) const ROUTER: [u8; 4] = [10, 1, 0, 254];

/// Another, as routers have it that speak BGP inside a tunnel.
pub(crate) const LINK_LOCAL: [u8; 4] = [169, 254, 2, 1];

/// The whole table. There is no default route.
pub(crate) const ROUTES: [Route; 13] = [
    route(ROUTER, 32, Way::Local(Side::In)),
    route([10, 2, 0, 254], 32, Way::Local(Side::Out)),
    route(LINK_LOCAL, 32, Way::Local(Side::In)),
    route([10, 1, 255, 255], 32, Way::Broadcast(Side::In)),
    route([10, 2, 255, 255], 32, Way::Broadcast(Side::Out)),
    route([10, 1, 0, 0], 16, Way::Link(Side::In)),
    route([10, 2, 0, 0], 16, Way::Link(Side::Out)),
    // Inside a shorter prefix that goes elsewhere, or with another MTU.
    route([10, 2, 3, 0], 24, Way::Link(Side::In)),
    route([10, 2, 4, 0], 24, Way::Narrow(Side::Out, 1000)),
    // What must not be forwarded whatever the routes say.
    route([169, 254, 3, 0], 24, Way::Link(Side::Out)),
    route([10, 3, 0, 0], 16, Way::Blackhole),
    route([10, 4, 0, 0], 16, Way::Prohibit),
    route([10, 5, 0, 0], 16, Way::Unreachable),
];

/// Whether `address` is the router's.
pub(crate) fn is_own(address: &[u8]) -> bool {
    ROUTES.iter().any(|route| matches!(route.way, Way::Local(_)) && route.to == *address)
}

/// What sets the links and the routes up: a batch for ip(8).
pub(crate) fn commands() -> String {
    let mut batch = String::from("link set lo up\n");
    for side in [Side::In, Side::Out] {
        let _ = writeln!(batch, "link set {} mtu {} up", side.device(), side.mtu());
    }
    for Route { to: [a, b, c, d], len, way } in ROUTES {
        let prefix = format!("{a}.{b}.{c}.{d}/{len}");
        let _ = match way {
            Way::Link(side) => writeln!(batch, "route add {prefix} dev {}", side.device()),
            Way::Narrow(side, mtu) => writeln!(batch, "route add {prefix} dev {} mtu {mtu}", side.device()),
            Way::Local(side) => writeln!(batch, "address add {prefix} dev {}", side.device()),
            Way::Broadcast(side) => {
                writeln!(batch, "route add broadcast {prefix} dev {} table local", side.device())
            }
            Way::Blackhole => writeln!(batch, "route add blackhole {prefix}"),
            Way::Prohibit => writeln!(batch, "route add prohibit {prefix}"),
            Way::Unreachable => writeln!(batch, "route add unreachable {prefix}"),
        };
    }
    // What the router sends itself goes to the tester, whoever it is meant for: an
    // answer to a source without a route is seen all the same.
    let (own, table) = ("rule add iif lo table 100", "route add default dev in table 100");
    let _ = writeln!(batch, "{table}\n{own}");
    batch
}
