//! Requests about network devices, and the address of a packet socket.

#![allow(unsafe_code)]

use core::mem;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, ifreq, sockaddr_ll, socklen_t};

/// A request about the device `name`.
///
/// # Errors
///
/// No device has such a name.
fn request(name: &str) -> io::Result<ifreq> {
    // SAFETY: a C structure of integers and pointers, for which zeros are valid.
    let mut request = unsafe { mem::zeroed::<ifreq>() };
    // The last octet stays 0: the name's end.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as _;
    }
    Ok(request)
}

/// Makes the TUN device `name`, or attaches to it, and returns its name. Where `name` has
/// a `%d`, the kernel puts a number in its place.
pub(in crate::io) fn attach_tun(tun: BorrowedFd<'_>, name: &str, queues: bool) -> io::Result<[u8; 16]> {
    let mut request = request(name)?;
    let queues = if queues { libc::IFF_MULTI_QUEUE } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | queues) as _;
    // SAFETY: the kernel reads and writes an `ifreq` there, which outlives the call; on what is
    // no TUN device the request is refused.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(request.ifr_name.map(|octet| octet as u8))
}

/// The Ethernet address of the device `name`; `None` if it has none.
pub(in crate::io) fn ethernet_address(socket: BorrowedFd<'_>, name: &str) -> io::Result<Option<[u8; 6]>> {
    let mut request = request(name)?;
    // SAFETY: the kernel reads the name of an `ifreq` there and writes the address; it outlives
    // the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel wrote a `sockaddr`; any octets are one.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let octets = address.sa_data.map(|octet| octet as u8);
    Ok(octets.first_chunk().copied().filter(|_| address.sa_family == libc::ARPHRD_ETHER))
}

/// Binds a packet socket to the interface with number `index`, for all protocols.
pub(in crate::io) fn bind_packet(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: a C structure of integers, for which zeros are valid.
    let mut address = unsafe { mem::zeroed::<sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as _;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as c_int;
    let octets = size_of::<sockaddr_ll>() as socklen_t;
    // SAFETY: the kernel reads an address of that many octets, which outlives the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), octets) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
