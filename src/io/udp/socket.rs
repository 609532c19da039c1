//! One socket, and how it is opened.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::id::InterfaceId;
use crate::io::sys::option;
use crate::slot::Endpoint;

/// How a port's sockets are opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UdpConfig {
    /// What received packets say that they came in on.
    pub interface: InterfaceId,
    /// Octets left free in front of each received packet.
    pub headroom: u32,
    /// Whether the kernel may join datagrams of a flow (GRO).
    pub join: bool,
    /// Whether packets of one size are given to the kernel as one (GSO).
    pub segment: bool,
    /// Octets that each socket may hold received, the kernel's own included. Without
    /// privileges at most `net.core.rmem_max`.
    pub receive_octets: usize,
    /// Octets that each socket may hold to be sent.
    pub send_octets: usize,
    /// Whether other sockets may have the same address: the kernel then spreads flows
    /// over them.
    pub shared: bool,
}

impl Default for UdpConfig {
    /// 128 octets of headroom, datagrams joined both ways, 4 MiB each way.
    fn default() -> Self {
        Self {
            interface: InterfaceId(0),
            headroom: 128,
            join: true,
            segment: true,
            receive_octets: 4 << 20,
            send_octets: 4 << 20,
            shared: false,
        }
    }
}

/// Why a socket was not opened. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// A link's header names the address it comes from.
    #[error("{local} is no address to send from: name one of this machine's")]
    Unspecified {
        /// The address asked for.
        local: SocketAddr,
    },
    /// The port has a socket of this address.
    #[error("{local} is open in this port already: close it first")]
    Taken {
        /// The address asked for.
        local: SocketAddr,
    },
    /// The port has no socket of this address.
    #[error("{local} is not open in this port: open it first")]
    Closed {
        /// The address asked for.
        local: SocketAddr,
    },
    /// Another socket has this address.
    #[error("{local} is in use by another socket: choose another port, or end who has it (ss -lunp)")]
    InUse {
        /// The address asked for.
        local: SocketAddr,
    },
    /// No interface has this address.
    #[error("{local} is no address of this machine: add it to an interface (ip address add) first")]
    NotHere {
        /// The address asked for.
        local: SocketAddr,
    },
    /// A port below 1024, mostly.
    #[error(
        "no permission to open {local}: take a port from net.ipv4.ip_unprivileged_port_start on, or CAP_NET_BIND_SERVICE"
    )]
    Permission {
        /// The address asked for.
        local: SocketAddr,
    },
    /// Two ends of different families.
    #[error("{peer} cannot be reached from {local}: both must be IPv4 or both IPv6")]
    Family {
        /// This end.
        local: SocketAddr,
        /// The other.
        peer: SocketAddr,
    },
    /// The operating system refused.
    #[error("{call} failed")]
    System {
        /// What was asked of it.
        call: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl UdpError {
    pub(super) fn system<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { call, source: source.into() }
    }
}

/// An open socket that no port has yet.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    hops: u8,
    segment: bool,
}

impl UdpLink {
    /// Opens a socket at `local`, for any peer.
    ///
    /// # Errors
    ///
    /// [`UdpError`].
    pub fn open(local: SocketAddr, config: &UdpConfig) -> Result<Self, UdpError> {
        if local.ip().is_unspecified() || local.ip().is_multicast() {
            return Err(UdpError::Unspecified { local });
        }
        let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::DGRAM, flags, None);
        let socket = socket.map_err(UdpError::system("socket"))?;
        prepare(socket.as_fd(), local, config).map_err(UdpError::system("setsockopt"))?;
        net::bind(&socket, &local).map_err(|error| match error {
            Errno::ADDRINUSE => UdpError::InUse { local },
            Errno::ADDRNOTAVAIL => UdpError::NotHere { local },
            Errno::ACCESS | Errno::PERM => UdpError::Permission { local },
            error => UdpError::System { call: "bind", source: error.into() },
        })?;
        if config.join {
            // An older kernel hands over datagrams one by one.
            let _ = option::set(socket.as_fd(), option::UDP_GRO, 1);
        }
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr().map_err(UdpError::system("getsockname"))?;
        Ok(Self { socket, local, peer: None, hops: HOPS, segment: config.segment })
    }

    /// The same for one peer: the kernel drops what others send, and looks up the way to it
    /// once.
    ///
    /// # Errors
    ///
    /// [`UdpError`].
    pub fn connect(local: SocketAddr, peer: SocketAddr, config: &UdpConfig) -> Result<Self, UdpError> {
        if local.is_ipv4() != peer.is_ipv4() {
            return Err(UdpError::Family { local, peer });
        }
        let link = Self::open(local, config)?;
        link.socket.connect(peer).map_err(UdpError::system("connect"))?;
        Ok(Self { peer: Some(peer), ..link })
    }

    /// Its address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its peer, if it is connected to one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl AsFd for UdpLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Hops to live where the outer header asks for no other number.
const HOPS: u8 = 64;

/// Sets what must be set before the socket has an address.
fn prepare(socket: BorrowedFd<'_>, local: SocketAddr, config: &UdpConfig) -> io::Result<()> {
    // More than an ordinary user may have, if we may; else the most that is allowed.
    if sockopt::set_socket_recv_buffer_size_force(socket, config.receive_octets).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, config.receive_octets)?;
    }
    sockopt::set_socket_send_buffer_size(socket, config.send_octets)?;
    sockopt::set_socket_reuseport(socket, config.shared)?;
    // DF is set, and the MTU is the link's: a forged "fragmentation needed" changes nothing.
    match local {
        SocketAddr::V4(_) => {
            sockopt::set_ip_recvtos(socket, true)?;
            sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::PROBE)?;
            option::set(socket, option::IP_TTL, HOPS.into())
        }
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_v6only(socket, true)?;
            sockopt::set_ipv6_recvtclass(socket, true)?;
            sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::PROBE)?;
            option::set(socket, option::IPV6_HOPS, HOPS.into())
        }
    }
}

/// A socket of a port.
#[derive(Debug)]
pub(super) struct Socket {
    link: UdpLink,
    /// The local address.
    pub(super) local: Endpoint,
    /// The peer that needs no address.
    pub(super) peer: Option<Endpoint>,
    /// Hops to live of what is sent.
    pub(super) hops: u8,
    /// The scope of link-local addresses.
    pub(super) scope: u32,
    /// Whether it is one of IPv6.
    pub(super) v6: bool,
    /// Whether what it sends may be joined.
    pub(super) segment: bool,
}

impl Socket {
    pub(super) fn new(link: UdpLink) -> Self {
        let scope = if let SocketAddr::V6(local) = link.local { local.scope_id() } else { 0 };
        Self {
            local: link.local.into(),
            peer: link.peer.map(Endpoint::from),
            hops: link.hops,
            scope,
            v6: link.local.is_ipv6(),
            segment: link.segment,
            link,
        }
    }

    /// Datagrams that it had no room for.
    pub(super) fn dropped(&self) -> u64 {
        option::dropped(self.as_fd())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
