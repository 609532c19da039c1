//! Questions to the kernel, and what it says unasked.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::string::String;
use std::vec;
use std::vec::Vec;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, netlink};

use super::{NeighbourError, Place};

/// What the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A neighbour's address and whether it is fresh, or that it has none.
    Neighbour(Place, Option<([u8; 6], bool)>),
    /// Whether an interface is up.
    Link(u32, bool),
    /// Some route is another one.
    Route,
}

/// `linux/rtnetlink.h`: links, neighbours, routes of IPv4 and of IPv6.
const GROUPS: u32 = 1 | 1 << 2 | 1 << 6 | 1 << 10;

/// Two sockets: one to ask, one on which the kernel speaks unasked.
#[derive(Debug)]
pub(super) struct Netlink {
    ask: OwnedFd,
    listen: OwnedFd,
    buffer: Vec<u8>,
}

fn failed(call: &'static str) -> impl FnOnce(Errno) -> NeighbourError {
    move |error| match error {
        Errno::PERM | Errno::ACCESS => NeighbourError::Permission,
        error => NeighbourError::System { call, source: error.into() },
    }
}

impl Netlink {
    pub(super) fn new() -> Result<Self, NeighbourError> {
        let open = |groups| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let family = net::AddressFamily::NETLINK;
            // NETLINK_ROUTE is protocol 0.
            let socket = net::socket_with(family, SocketType::RAW, flags, None);
            let socket = socket.map_err(failed("socket"))?;
            net::bind(&socket, &netlink::SocketAddrNetlink::new(0, groups)).map_err(failed("bind"))?;
            Ok(socket)
        };
        Ok(Self { ask: open(0)?, listen: open(GROUPS)?, buffer: vec![0; 1 << 16] })
    }

    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.listen.as_fd()
    }

    /// The number of the interface `name`.
    pub(super) fn interface(&self, name: &str) -> Result<u32, NeighbourError> {
        netdevice::name_to_index(&self.ask, name)
            .map_err(|_| NeighbourError::NoInterface { name: String::from(name) })
    }

    /// Whether interface `index` is there and up.
    pub(super) fn is_up(&mut self, index: u32) -> Result<bool, NeighbourError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let mut up = false;
        let asked = self.ask(RouteNetlinkMessage::GetLink(message), 0, |answer| {
            if let Some(Change::Link(_, is_up)) = change(answer) {
                up = is_up;
            }
        });
        accept(asked, Errno::NODEV)?;
        Ok(up)
    }

    /// Who takes packets to `destination` on interface `index`; `None` if there is no way.
    pub(super) fn route(
        &mut self, destination: IpAddr, index: u32,
    ) -> Result<Option<IpAddr>, NeighbourError> {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        (header.address_family, header.destination_prefix_length) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        message.attributes.push(RouteAttribute::Oif(index));
        let mut hop = None;
        let asked = self.ask(RouteNetlinkMessage::GetRoute(message), 0, |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                hop = next_hop(&route, destination, index);
            }
        });
        // Of all errors this one is the only that is not about the route.
        match asked {
            Err(Errno::NOBUFS) => Err(failed("recv")(Errno::NOBUFS)),
            Err(_) => Ok(None),
            Ok(()) => Ok(hop),
        }
    }

    /// Lets the kernel find a neighbour, or make sure of it, as if it had to send there.
    pub(super) fn resolve(&mut self, (index, address): Place) -> Result<(), NeighbourError> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = index;
        message.header.flags = NeighbourFlags::Use;
        let (family, address) = match address {
            IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
        };
        message.header.family = family;
        message.attributes.push(NeighbourAttribute::Destination(address));
        match self.ask(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE, |_| ()) {
            Err(Errno::PERM) => Err(NeighbourError::Permission),
            // The interface went, or its table is full: the next time.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All neighbours.
    pub(super) fn dump_neighbours(&mut self, changes: &mut Vec<Change>) -> Result<(), NeighbourError> {
        let message = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.ask(message, NLM_F_DUMP, |answer| changes.extend(change(answer))).map_err(failed("recv"))
    }

    /// What the kernel said unasked; `false` if it could not keep all of it.
    pub(super) fn changes(&mut self, changes: &mut Vec<Change>) -> Result<bool, NeighbourError> {
        let mut complete = true;
        loop {
            match net::recv(&self.listen, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok((octets, _)) => {
                    for message in messages(self.buffer.get(..octets).unwrap_or_default()) {
                        if let NetlinkPayload::InnerMessage(message) = message.payload {
                            changes.extend(change(message));
                        }
                    }
                }
                Err(Errno::AGAIN) => return Ok(complete),
                Err(Errno::INTR) => (),
                // What it did keep is older than what a new look finds.
                Err(Errno::NOBUFS) => complete = false,
                Err(error) => return Err(failed("recv")(error)),
            }
        }
    }

    /// Asks, and gives all answers to `each`. The kernel answers before it returns from the call.
    fn ask(
        &mut self, message: RouteNetlinkMessage, flags: u16, mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Errno> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags | if flags & NLM_F_DUMP == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        net::send(&self.ask, &octets, SendFlags::DONTWAIT)?;
        loop {
            let octets = match net::recv(&self.ask, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok((octets, _)) => octets,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            };
            for message in messages(self.buffer.get(..octets).unwrap_or_default()) {
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        let code = error.code.map_or(0, core::num::NonZeroI32::get);
                        return if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) };
                    }
                    _ => (),
                }
            }
        }
    }
}

/// Passes over one kind of error.
fn accept(asked: Result<(), Errno>, expected: Errno) -> Result<(), NeighbourError> {
    match asked {
        Err(error) if error != expected => Err(failed("recv")(error)),
        _ => Ok(()),
    }
}

/// The messages of a datagram; what cannot be read is passed over.
fn messages(mut octets: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    let next = move || {
        let len = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
        // A header is 16 octets.
        let one = octets.get(..len).filter(|one| one.len() >= 16)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(one))
    };
    core::iter::from_fn(next).filter_map(Result::ok)
}

/// What a message says, if it matters here.
fn change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message, true),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message, false),
        RouteNetlinkMessage::NewLink(message) => {
            let up = LinkFlags::Up | LinkFlags::LowerUp;
            Some(Change::Link(message.header.index, message.header.flags.contains(up)))
        }
        RouteNetlinkMessage::DelLink(message) => Some(Change::Link(message.header.index, false)),
        RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => Some(Change::Route),
        _ => None,
    }
}

fn neighbour(message: &NeighbourMessage, there: bool) -> Option<Change> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    let (mut address, mut octets) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => address = Some(IpAddr::V4(*to)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => address = Some(IpAddr::V6(*to)),
            NeighbourAttribute::LinkLayerAddress(own) => octets = <[u8; 6]>::try_from(&own[..]).ok(),
            _ => (),
        }
    }
    // Under probe, an address holds until nobody has answered for it.
    let known = match message.header.state {
        Reachable | Permanent | Noarp => octets.map(|octets| (octets, true)),
        Stale | Delay | Probe => octets.map(|octets| (octets, false)),
        _ => None,
    };
    Some(Change::Neighbour((message.header.ifindex, address?), known.filter(|_| there)))
}

/// Who takes the packets of a route: its gateway, or the destination itself.
fn next_hop(route: &RouteMessage, destination: IpAddr, index: u32) -> Option<IpAddr> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut hop = destination;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => hop = IpAddr::V4(*gateway),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => hop = IpAddr::V6(*gateway),
            RouteAttribute::Via(RouteVia::Inet(gateway)) => hop = IpAddr::V4(*gateway),
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => hop = IpAddr::V6(*gateway),
            RouteAttribute::Oif(other) if *other != index => return None,
            _ => (),
        }
    }
    Some(hop)
}
