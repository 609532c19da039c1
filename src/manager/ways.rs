//! Where packets go, as far as a manager must know it.

use crate::code_option::ipv4::Ipv4Key;
use crate::exit::Exception;

/// A view of the slice's routes.
///
/// A manager asks for each packet that it sends: the MTU of the way out decides about
/// fragments and "fragmentation needed", the link's address goes into record route. It is the
/// slow path: a look-up may cost a microsecond.
pub trait Ways {
    /// What becomes of packets with this key that the slice's link `link` brought.
    fn route(&self, key: &Ipv4Key, link: u16) -> Route;
}

impl<F: Fn(&Ipv4Key, u16) -> Route> Ways for F {
    fn route(&self, key: &Ipv4Key, link: u16) -> Route {
        self(key, link)
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// It is sent.
    Via(Way),
    /// The slow path has it, for this reason: it is for this node, or has no route.
    Exception(Exception),
    /// It is dropped, and nobody is told.
    Drop,
}

/// A way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    /// The slice's link.
    pub link: u16,
    /// Octets of the longest packet on it.
    pub mtu: u16,
    /// The slice's result that leads there. Where it is known, packets go straight to its
    /// queue, so that all fragments of a packet take one way; where not, they go in-band and
    /// are looked up by the fast path.
    pub result: Option<u32>,
    /// The router that is next, first octet on top; none where the destination is a neighbour.
    pub gateway: Option<u32>,
}

impl Way {
    /// In-band, to a neighbour on `link`.
    pub const fn new(link: u16, mtu: u16) -> Self {
        Self { link, mtu, result: None, gateway: None }
    }
}
