//! A TUN device as a port: IP packets that the kernel routes to it, and that it gives to the
//! kernel.
//!
//! Making one needs `CAP_NET_ADMIN`, or a device that was made for the user
//! (`ip tuntap add mode tun user NAME`). Addresses, MTU and whether it is up are for ip(8) to
//! set. Each packet costs a call to the operating system: it is for local delivery, not for bulk.
//!
//! ```no_run
//! use fastpath::io::tun::{TunConfig, TunPort};
//! use fastpath::io::{Pool, Rx, Tx};
//! use fastpath::slot::Slot;
//!
//! let mut port = TunPort::new("slice%d", TunConfig::default())?;
//! println!("ip link set {} up", port.name());
//! let mut pool = Pool::new(64, 2112);
//! let mut vector = [const { Slot::EMPTY }; 32];
//! loop {
//!     // What comes in goes back out.
//!     port.receive(&mut vector, &mut pool);
//!     port.send(&mut vector, &mut pool);
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), fastpath::io::tun::TunError>(())
//! ```

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::string::String;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::id::InterfaceId;
use crate::io::sys::device;
use crate::io::{Buffers, Port, PortCounters, Rx, Tx};
use crate::packet::Packet;
use crate::slot::{RxMeta, Slot};

/// How a device is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunConfig {
    /// What received packets say that they came in on.
    pub interface: InterfaceId,
    /// Octets left free in front of each received packet.
    pub headroom: u32,
    /// Whether several ports may open the device, between which the kernel spreads flows.
    pub queues: bool,
}

impl Default for TunConfig {
    /// 128 octets of headroom, one port.
    fn default() -> Self {
        Self { interface: InterfaceId(0), headroom: 128, queues: false }
    }
}

/// Why a device was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunError {
    /// No `/dev/net/tun`.
    #[error(
        "there is no /dev/net/tun: load the module tun (modprobe tun), or pass the device to the container"
    )]
    NoDriver,
    /// Neither `CAP_NET_ADMIN` nor a device of the user's.
    #[error(
        "no permission to make the TUN device {name}: run with CAP_NET_ADMIN, or make it for this user (ip tuntap add {name} mode tun user USER)"
    )]
    Permission {
        /// The name asked for.
        name: String,
    },
    /// A name of no or more than 15 octets, or one that the kernel does not allow.
    #[error("{name:?} is no name of a device: 1 to 15 octets, without spaces and slashes")]
    Name {
        /// The name asked for.
        name: String,
    },
    /// Another program has opened it, or it is no TUN device.
    #[error(
        "the device {name} is in use, or is no TUN device: choose another name, or open it with `queues` on all sides"
    )]
    InUse {
        /// The name asked for.
        name: String,
    },
    /// The operating system refused.
    #[error("opening the TUN device {name} failed")]
    System {
        /// The name asked for.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A port of a TUN device. See the [module](self).
///
/// The device is gone when its last port is, unless it was made beforehand.
#[derive(Debug)]
pub struct TunPort {
    file: File,
    name: String,
    config: TunConfig,
    counters: PortCounters,
}

impl TunPort {
    /// Makes the device `name`, or attaches to it. `%d` stands for the first free number.
    ///
    /// # Errors
    ///
    /// [`TunError`]; no device was made.
    pub fn new(name: &str, config: TunConfig) -> Result<Self, TunError> {
        let named = || String::from(name);
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => TunError::NoDriver,
            Errno::ACCESS | Errno::PERM => TunError::Permission { name: named() },
            error => TunError::System { name: named(), source: error.into() },
        })?;
        let octets = device::attach_tun(file.as_fd(), name, config.queues);
        let octets = octets.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TunError::Permission { name: named() },
            Some(libc::ENODEV) => TunError::Name { name: named() },
            // A name is judged before the device is looked for; a device of another kind or
            // form after that.
            Some(libc::EINVAL) if name.contains(['/', ' ', ':']) => TunError::Name { name: named() },
            Some(libc::EBUSY | libc::EINVAL) => TunError::InUse { name: named() },
            _ => TunError::System { name: named(), source },
        })?;
        let name = octets.iter().take_while(|octet| **octet != 0).map(|octet| char::from(*octet)).collect();
        Ok(Self { file: file.into(), name, config, counters: PortCounters::default() })
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a packet into `buffer`; `None` if it was longer than that.
    fn read<B: AsRef<[u8]> + AsMut<[u8]>>(&self, buffer: &mut B) -> io::Result<Option<u32>> {
        let room = buffer.as_mut().get_mut(self.config.headroom as usize..).unwrap_or_default();
        let most = room.len();
        // The kernel cuts what is too long and does not say so, but for what it wrote here.
        let mut more = [0];
        let read = rustix::io::readv(&self.file, &mut [IoSliceMut::new(room), IoSliceMut::new(&mut more)])?;
        Ok(if read <= most { u32::try_from(read).ok() } else { None })
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Rx<B> for TunPort {
    /// One call to the operating system for each packet, and one more.
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut received = 0;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            let Some(mut buffer) = buffers.take() else { break };
            let start = self.config.headroom;
            match self.read(&mut buffer) {
                Ok(Some(octets)) => {
                    let meta = RxMeta { interface: self.config.interface, ..RxMeta::IP };
                    let Ok(packet) = Packet::new(buffer, start, start + octets) else { break };
                    *slot = Slot::new(packet, meta);
                    self.counters.received += 1;
                    self.counters.received_octets += u64::from(octets);
                    received += 1;
                }
                Ok(None) => {
                    buffers.give(buffer);
                    self.counters.missed += 1;
                }
                Err(error) => {
                    buffers.give(buffer);
                    self.counters.errors += u64::from(error.kind() != ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        received
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tx<B> for TunPort {
    /// One call to the operating system for each packet.
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut taken = 0;
        for slot in vector {
            let Some(packet) = slot.packet.as_ref() else { continue };
            match rustix::io::write(&self.file, packet.bytes()) {
                Ok(_) => {
                    self.counters.sent += 1;
                    self.counters.sent_octets += u64::from(packet.octets());
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                // The device is down, or this is no IP packet.
                Err(_) => {
                    self.counters.refused += 1;
                    self.counters.errors += 1;
                }
            }
            taken += 1;
            if let Some(packet) = core::mem::take(slot).packet {
                buffers.give(packet.into_buf());
            }
        }
        taken
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Port<B> for TunPort {
    fn counters(&self) -> PortCounters {
        self.counters
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
