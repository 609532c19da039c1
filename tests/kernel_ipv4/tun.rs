//! A TUN device: octets written to it are received by the kernel as a packet, packets
//! the kernel routes to it are read from it.
#![expect(unsafe_code, reason = "one ioctl makes the device")]

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// A network device of its own, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Tun(File);

/// `struct ifreq` of netdevice(7): 40 octets, or 32 with addresses of 32 bits.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// `linux/if_tun.h`: makes a device, or attaches to it. It is said to write an `int`,
/// and it does write an `ifreq`.
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);

const IFF_TUN: u16 = 1;

/// `struct tun_pi` before each packet: no flags, Ethernet type IPv4. With it the
/// kernel hands whatever follows to its IPv4 receiver; without it the device would
/// look at the version first, and refuse a wrong one.
const IPV4: [u8; 4] = [0, 0, 0x08, 0x00];
const IPV6: [u8; 4] = [0, 0, 0x86, 0xdd];

impl Tun {
    /// Makes the device `name` in the network namespace of the calling thread.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open("/dev/net/tun")?;
        let mut request = Request { name: [0; 16], flags: IFF_TUN, rest: [0; 22] };
        // The last octet stays 0: the name's end.
        for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        // SAFETY: `TUNSETIFF` is the number of this request on every Linux, and what it
        // reads and writes at its argument is an `ifreq`. `Request` is laid out as one,
        // is as long as the longest, is valid for any octets, and outlives the call.
        unsafe { ioctl(&file, Updater::<TUNSETIFF, Request>::new(&mut request)) }?;
        Ok(Self(file))
    }

    /// Lets the kernel receive `packet` from this device.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write_all(&[&IPV4, packet].concat())
    }

    /// Lets the kernel receive `packet`, which is of the version that it says.
    #[allow(dead_code, reason = "not all tests speak IPv6")]
    pub(crate) fn send_ip(&self, packet: &[u8]) -> io::Result<()> {
        let v6 = packet.first().is_some_and(|version| version >> 4 == 6);
        (&self.0).write_all(&[if v6 { &IPV6 } else { &IPV4 }, packet].concat())
    }

    /// The next packet that the kernel has sent to this device.
    ///
    /// # Errors
    ///
    /// That of reading, or that there is none for seconds: it has been lost.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let octets = self.read()?;
        let packet = octets.strip_prefix(&IPV4).map(<[u8]>::to_vec);
        packet.ok_or_else(|| io::Error::other("not an IPv4 packet"))
    }

    /// [`receive`](Self::receive) of a packet of any protocol.
    #[allow(dead_code, reason = "not all tests speak IPv6")]
    pub(crate) fn receive_ip(&self) -> io::Result<Vec<u8>> {
        Ok(self.read()?.split_off(IPV4.len()))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
        if retry_on_intr(|| poll(&mut ready, Some(&limit)))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut octets = vec![0; IPV4.len() + 65_535];
        let len = (&self.0).read(&mut octets)?;
        octets.truncate(len);
        Ok(octets)
    }
}
