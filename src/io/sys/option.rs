//! Socket options of UDP and packet sockets.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

/// An option whose value is plain octets: the kernel reads or writes these and follows no
/// pointer in them. Only the constants here are made.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct SocketOption {
    level: c_int,
    name: c_int,
}

const fn option(level: c_int, name: c_int) -> SocketOption {
    SocketOption { level, name }
}

/// `asm-generic/socket.h`: what the socket's memory holds; the last of nine words counts drops.
const SO_MEMINFO: c_int = 55;

/// Datagrams of one flow arrive as one message: an `int`.
pub(in crate::io) const UDP_GRO: SocketOption = option(libc::SOL_UDP, libc::UDP_GRO);
/// The time to live: an `int`.
pub(in crate::io) const IP_TTL: SocketOption = option(libc::IPPROTO_IP, libc::IP_TTL);
/// The hop limit: an `int`.
pub(in crate::io) const IPV6_HOPS: SocketOption = option(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
const MEMORY: SocketOption = option(libc::SOL_SOCKET, SO_MEMINFO);
/// Form of a packet socket's rings: an `int`.
pub(in crate::io) const PACKET_VERSION: SocketOption = option(libc::SOL_PACKET, libc::PACKET_VERSION);
/// The ring of received frames: `struct tpacket_req`.
pub(in crate::io) const PACKET_RX_RING: SocketOption = option(libc::SOL_PACKET, libc::PACKET_RX_RING);
/// Frames go past the queueing discipline: an `int`.
pub(in crate::io) const PACKET_QDISC_BYPASS: SocketOption =
    option(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
/// What this machine sends is not received: an `int`.
pub(in crate::io) const PACKET_IGNORE_OUTGOING: SocketOption =
    option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING);
/// Sockets of a group share what is received: an `int`.
pub(in crate::io) const PACKET_FANOUT: SocketOption = option(libc::SOL_PACKET, libc::PACKET_FANOUT);
/// Promiscuous, for one: `struct packet_mreq`.
pub(in crate::io) const PACKET_ADD_MEMBERSHIP: SocketOption =
    option(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
/// Frames received and dropped since it was last asked: two words.
const PACKET_STATISTICS: SocketOption = option(libc::SOL_PACKET, libc::PACKET_STATISTICS);

/// Sets an option that is an `int`.
pub(in crate::io) fn set(socket: BorrowedFd<'_>, option: SocketOption, value: c_int) -> io::Result<()> {
    set_octets(socket, option, &value.to_ne_bytes())
}

/// Sets an option.
pub(in crate::io) fn set_octets(
    socket: BorrowedFd<'_>, option: SocketOption, value: &[u8],
) -> io::Result<()> {
    let octets = value.len() as socklen_t;
    // SAFETY: the kernel reads `octets` octets at `value`, which are valid to read during the
    // call; what it reads there for a `SocketOption` are numbers and no addresses.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), option.level, option.name, value.as_ptr().cast(), octets)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that a socket had no room for, from its beginning on.
pub(in crate::io) fn dropped(socket: BorrowedFd<'_>) -> u64 {
    let mut words = [[0; 4]; 9];
    match get(socket, MEMORY, words.as_flattened_mut()) {
        Ok(()) => u32::from_ne_bytes(words.last().copied().unwrap_or_default()).into(),
        Err(_) => 0,
    }
}

/// Frames that a packet socket had no room for since it was last asked.
pub(in crate::io) fn packet_drops(socket: BorrowedFd<'_>) -> u64 {
    let mut words = [[0; 4]; 2];
    match get(socket, PACKET_STATISTICS, words.as_flattened_mut()) {
        Ok(()) => u32::from_ne_bytes(words.last().copied().unwrap_or_default()).into(),
        Err(_) => 0,
    }
}

fn get(socket: BorrowedFd<'_>, option: SocketOption, value: &mut [u8]) -> io::Result<()> {
    let mut octets = value.len() as socklen_t;
    let (at, len) = (value.as_mut_ptr().cast(), &raw mut octets);
    // SAFETY: the kernel writes at most `octets` octets at `value`, which is that long and
    // borrowed for the call, and the length that it wrote to `octets`.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), option.level, option.name, at, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
