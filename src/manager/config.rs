//! What a manager is told once.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::code_option::ipv4::ClassField;
use crate::exit::Exception;
use crate::manager::error::Unreachable;
use crate::time::Nanos;

/// A link of the slice, as its manager sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// This router's address on it, if it has one.
    pub address: Option<Ipv4Addr>,
    /// Bits of the network's prefix, 0 to 32: its broadcast addresses follow from it, for
    /// prefixes up to 30 (RFC 3021).
    pub prefix: u8,
    /// A result that leads out of this link, for packets of the host's that no route covers: to
    /// groups, to all, and to link-local addresses.
    pub result: Option<u32>,
}

impl Link {
    /// A link on which this router has `address`.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        Self { address: Some(address), prefix, result: None }
    }

    /// The bits of an address that are the network's.
    const fn mask(&self) -> u32 {
        match self.prefix {
            0 => 0,
            1..32 => u32::MAX << (32 - self.prefix),
            _ => u32::MAX,
        }
    }

    /// Whether `address` belongs to a neighbour on this link, or might.
    pub(super) fn holds(&self, address: u32) -> bool {
        self.address.is_some_and(|own| (own.to_bits() ^ address) & self.mask() == 0)
    }

    /// Whether `address` is all of the link's hosts (RFC 1812, 4.2.3.1 and 5.3.5.2).
    fn broadcast(&self, address: u32) -> bool {
        let host = address & !self.mask();
        self.prefix <= 30 && self.holds(address) && (host == 0 || host == !self.mask())
    }
}

/// What an exception asks a manager to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Meaning {
    /// The packet is for this node.
    Local,
    /// Its time to live ran out.
    Expired,
    /// It is to be sent on, once its options are seen to, or in fragments.
    Forward,
    /// It is to a group.
    Multicast,
    /// It cannot be delivered, for this reason.
    Unreachable(Unreachable),
    /// It lacks an option that a filter asks for, of this type (RFC 1108).
    OptionMissing(u8),
    /// It goes to the host, as it is.
    Host,
    /// It is dropped and counted.
    Drop,
}

/// What each exception means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Meanings([Meaning; Exception::ALL.len()]);

impl Default for Meanings {
    /// The fast path's own reasons mean what they say, [`Config::NO_ROUTE`] and its siblings the
    /// same; all others [`Meaning::Drop`].
    fn default() -> Self {
        let mut meanings = Self([Meaning::Drop; Exception::ALL.len()]);
        for (exception, meaning) in [
            (Exception::Local, Meaning::Local),
            (Exception::Expired, Meaning::Expired),
            (Exception::Options, Meaning::Forward),
            (Exception::TooBig, Meaning::Forward),
            (Exception::Multicast, Meaning::Multicast),
            (Config::NO_ROUTE, Meaning::Unreachable(Unreachable::Net)),
            (Config::HOST_UNREACHABLE, Meaning::Unreachable(Unreachable::Host)),
            (Config::PROHIBITED, Meaning::Unreachable(Unreachable::Prohibited)),
            (Config::TO_HOST, Meaning::Host),
        ] {
            meanings.set(exception, meaning);
        }
        meanings
    }
}

impl Meanings {
    /// What `exception` means.
    pub fn get(&self, exception: Exception) -> Meaning {
        self.0.get(exception.index()).copied().unwrap_or(Meaning::Drop)
    }

    /// Says what `exception` means.
    pub fn set(&mut self, exception: Exception, meaning: Meaning) {
        if let Some(place) = self.0.get_mut(exception.index()) {
            *place = meaning;
        }
    }
}

/// What is done about source routes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SourceRoutes {
    /// Dropped and counted (RFC 1812, 5.3.13.4, allows it; RFC 6274, 3.13.2.3, asks for it).
    #[default]
    Drop,
    /// Dropped, counted, and answered with "source route failed".
    Refuse,
    /// Followed (RFC 1812, 5.2.4.1).
    Follow,
}

/// Who gets packets for this node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Delivery {
    /// Nobody: they are answered with "port unreachable" or "protocol unreachable".
    #[default]
    Nobody,
    /// The host.
    Host,
}

/// Whose address an error is sent from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ErrorSource {
    /// That of the link which brought the packet: what `traceroute` shows is then the way
    /// there.
    #[default]
    Incoming,
    /// That of the link by which the error leaves (RFC 1812, 4.3.2.4).
    Outgoing,
}

/// How much is sent: a rate a second, and how many at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rates {
    /// Errors of the slice.
    pub errors: (u32, u32),
    /// Errors to one destination; "fragmentation needed" is spared, as hosts wait for it.
    pub errors_to_one: (u32, u32),
    /// Echo and timestamp replies of the slice.
    pub replies: (u32, u32),
}

impl Default for Rates {
    /// 1,000 errors a second and 50 at once; 10 and 10 to one destination; 1,000 replies and 50
    /// at once.
    fn default() -> Self {
        Self { errors: (1000, 50), errors_to_one: (10, 10), replies: (1000, 50) }
    }
}

/// What a manager is told once.
///
/// [`Default`] answers by the book: 576 octets at most, from the address of the link that
/// brought the packet; echo requests are answered; source routes are dropped; no redirects, no
/// timestamp replies; nothing for the host. It has no addresses, so it answers nothing: give it
/// some.
#[derive(Clone, Debug)]
pub struct Config {
    /// The slice's links, in the order of its request.
    pub links: Vec<Link>,
    /// More addresses of this router. The first stands in for links without one.
    pub addresses: Vec<Ipv4Addr>,
    /// What the slice's keys have in their class octet.
    pub class_field: ClassField,
    /// What exceptions mean.
    pub meanings: Meanings,
    /// Octets of the longest error message, 68 to 576.
    pub longest_error: u16,
    /// Whose address errors are sent from.
    pub error_source: ErrorSource,
    /// Whether errors tell the link that brought the packet, counted from 1, and its address (RFC
    /// 4884, RFC 5837).
    pub interface_info: bool,
    /// The time to live of what this router sends.
    pub ttl: u8,
    /// What is done about source routes.
    pub source_routes: SourceRoutes,
    /// Who gets packets for this node.
    pub delivery: Delivery,
    /// Who gets packets to groups; nobody tells the sender that there is nobody.
    pub groups: Delivery,
    /// Who gets packets with a router alert (RFC 2113), which are otherwise sent on.
    pub router_alerts: Delivery,
    /// Whether echo requests to this router's addresses are answered here.
    pub echo: bool,
    /// Whether timestamp requests are (RFC 1122, 3.2.2.8: they may be).
    pub timestamps: bool,
    /// Whether hosts are told of a better first router on their own network.
    pub redirects: bool,
    /// The time at some midnight, UT: what the timestamps in packets count from. Without one
    /// they are marked as not standard (RFC 791).
    pub midnight: Option<Nanos>,
    /// How much is sent.
    pub rates: Rates,
    /// Secret: the key of the hash by which destinations share rates, and the first
    /// identification.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            addresses: Vec::new(),
            class_field: ClassField::Dscp,
            meanings: Meanings::default(),
            longest_error: 576,
            error_source: ErrorSource::default(),
            interface_info: false,
            ttl: 64,
            source_routes: SourceRoutes::default(),
            delivery: Delivery::default(),
            groups: Delivery::default(),
            router_alerts: Delivery::default(),
            echo: true,
            timestamps: false,
            redirects: false,
            midnight: None,
            rates: Rates::default(),
            seed: 0,
        }
    }
}

impl Config {
    /// What a filter names for packets that have no route: network unreachable.
    pub const NO_ROUTE: Exception = Exception::Filtered;
    /// What a filter names for hosts that cannot be reached.
    pub const HOST_UNREACHABLE: Exception = Exception::Own0;
    /// What a filter names for what is prohibited, where the sender is to know.
    pub const PROHIBITED: Exception = Exception::Own1;
    /// What a filter names for what the host is to have.
    pub const TO_HOST: Exception = Exception::Own2;

    /// This router's address on `link`, or one that stands in for it.
    pub(super) fn address(&self, link: u16) -> Option<u32> {
        let on_link = self.links.get(usize::from(link)).and_then(|link| link.address);
        let others = self.links.iter().filter_map(|link| link.address);
        on_link.or_else(|| self.addresses.iter().copied().chain(others).next()).map(Ipv4Addr::to_bits)
    }

    pub(super) fn is_own(&self, address: u32) -> bool {
        let of_links = self.links.iter().filter_map(|link| link.address);
        of_links.chain(self.addresses.iter().copied()).any(|own| own.to_bits() == address)
    }

    /// Whether `address` is all hosts, or those of a link.
    pub(super) fn is_broadcast(&self, address: u32) -> bool {
        address == u32::MAX
            || (self.links.iter().any(|link| link.broadcast(address)) && !self.is_own(address))
    }

    /// Whether `address` is that of a single host, as far as one can tell (RFC 1122, 3.2.1.3).
    pub(super) fn is_host(&self, address: u32) -> bool {
        !matches!(address >> 24, 0 | 127 | 224..) && !self.is_broadcast(address)
    }

    /// Milliseconds since midnight, or something else and a bit that says so (RFC 791).
    pub(super) fn time_of_day(&self, now: Nanos) -> u32 {
        const DAY: u64 = 86_400_000;
        match self.midnight {
            // Midnight may be to come.
            Some(midnight) => {
                let at = now.0 as i128 - midnight.0 as i128;
                at.div_euclid(1_000_000).rem_euclid(DAY.into()) as u32
            }
            None => 1 << 31 | (now.0 / 1_000_000 % DAY) as u32,
        }
    }
}
