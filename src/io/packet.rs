//! A packet socket as a port: Ethernet frames of an interface.
//!
//! The kernel puts frames that it receives into a ring of memory that both see; nothing is
//! called for while there are any. VLAN tags that the card or the kernel took out are put back.
//! Frames go out by one call a vector, each with an answer of its own, so that each is either
//! sent or refused. What this machine itself sends is not received, nor what is addressed to
//! another machine, unless the port is promiscuous.
//!
//! Needs `CAP_NET_RAW`. Offloads of the interface must be off (`ethtool -K NAME tx off tso off
//! gso off gro off`; for a pair of veth on both ends), or frames have checksums that nobody
//! finished and are longer than the MTU: these are counted as missed.
//!
//! ```no_run
//! use fastpath::io::packet::{PacketConfig, PacketPort};
//! use fastpath::io::{Pool, Port, Rx};
//! use fastpath::slot::Slot;
//!
//! let mut port = PacketPort::new("eth0", PacketConfig::default())?;
//! let mut pool = Pool::new(1024, 2112);
//! let mut vector = [const { Slot::EMPTY }; 32];
//! port.receive(&mut vector, &mut pool);
//! println!("{}: {}", port.name(), Port::<Box<[u8]>>::counters(&port));
//! # Ok::<(), fastpath::io::packet::PacketError>(())
//! ```

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::string::String;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, netdevice, sockopt};

use crate::id::InterfaceId;
use crate::io::sys::messages::{MOST, Message, Outbox};
use crate::io::sys::ring::{OVERHEAD, Ring};
use crate::io::sys::{device, option};
use crate::io::{Buffers, Port, PortCounters, Rx, Tx};
use crate::packet::Packet;
use crate::slot::{RxMeta, Slot};

/// How a packet socket is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketConfig {
    /// What received packets say that they came in on.
    pub interface: InterfaceId,
    /// Octets left free in front of each received packet.
    pub headroom: u32,
    /// Frames that may wait in the ring.
    pub frames: u32,
    /// Octets of the longest frame that is received, without a VLAN tag. A place in the ring
    /// takes 96 octets more, rounded up to a power of two.
    pub longest: u32,
    /// Whether frames that are addressed to others are received.
    pub promiscuous: bool,
    /// The group of sockets, of up to 256 workers, between which flows of the outer
    /// header are spread.
    pub group: Option<u16>,
    /// Whether frames go past the interface's queueing discipline: it has our own in
    /// front.
    pub bypass: bool,
}

impl Default for PacketConfig {
    /// 128 octets of headroom; 4,096 frames of up to 1,952 octets, 8 MiB.
    fn default() -> Self {
        Self {
            interface: InterfaceId(0),
            headroom: 128,
            frames: 4096,
            longest: 1952,
            promiscuous: false,
            group: None,
            bypass: true,
        }
    }
}

/// Why a packet socket was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// No interface has this name.
    #[error("there is no interface {name} in this network namespace (ip link shows what there is)")]
    NoInterface {
        /// The name asked for.
        name: String,
    },
    /// Not `CAP_NET_RAW`.
    #[error("no permission to open a packet socket on {name}: run with CAP_NET_RAW")]
    Permission {
        /// The name asked for.
        name: String,
    },
    /// A TUN device or a tunnel.
    #[error("{name} is no Ethernet interface: a port of a TUN device takes IP packets")]
    NotEthernet {
        /// The name asked for.
        name: String,
    },
    /// The kernel has no memory for the ring.
    #[error("no memory for a ring of {frames} frames of {longest} octets: ask for fewer")]
    Memory {
        /// Frames asked for.
        frames: u32,
        /// Octets of each.
        longest: u32,
    },
    /// The operating system refused.
    #[error("{call} failed for {name}")]
    System {
        /// What was asked of it.
        call: &'static str,
        /// The name asked for.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A port of a packet socket. See the [module](self).
///
/// It outlives a link that goes down and comes up. Meanwhile frames are refused.
#[derive(Debug)]
pub struct PacketPort {
    // In this order: the ring is unmapped before the socket is closed.
    ring: Ring,
    socket: OwnedFd,
    outbox: Outbox,
    name: String,
    index: u32,
    address: [u8; 6],
    config: PacketConfig,
    counters: PortCounters,
    /// Frames that the ring had no room for, as far as was asked.
    dropped: AtomicU64,
    /// Calls that found nothing.
    idle: u8,
}

impl PacketPort {
    /// Opens a packet socket on the interface `name`.
    ///
    /// # Errors
    ///
    /// [`PacketError`].
    pub fn new(name: &str, config: PacketConfig) -> Result<Self, PacketError> {
        let named = || String::from(name);
        let failed = |call| move |source: io::Error| PacketError::System { call, name: named(), source };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Of no protocol: it receives nothing until it is bound.
        let socket = net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None);
        let socket = socket.map_err(|error| match error {
            Errno::PERM | Errno::ACCESS => PacketError::Permission { name: named() },
            error => failed("socket")(error.into()),
        })?;
        let index = netdevice::name_to_index(&socket, name);
        let index = index.map_err(|_| PacketError::NoInterface { name: named() })?;
        let address = device::ethernet_address(socket.as_fd(), name).map_err(failed("ioctl"))?;
        let address = address.ok_or_else(|| PacketError::NotEthernet { name: named() })?;
        let size = config.longest.saturating_add(OVERHEAD as u32);
        let ring = Ring::new(socket.as_fd(), config.frames, size).map_err(|error| match error.kind() {
            ErrorKind::OutOfMemory | ErrorKind::InvalidInput => {
                PacketError::Memory { frames: config.frames, longest: config.longest }
            }
            _ => failed("setsockopt(PACKET_RX_RING)")(error),
        })?;
        prepare(socket.as_fd(), index, &config).map_err(failed("setsockopt"))?;
        Ok(Self {
            ring,
            socket,
            outbox: Outbox::new(),
            name: named(),
            index,
            address,
            config,
            counters: PortCounters::default(),
            dropped: AtomicU64::new(0),
            idle: 0,
        })
    }

    /// The interface's name when the port was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's number, as the kernel counts.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The interface's Ethernet address when the port was opened.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Sends `pieces`, a frame each, and returns how many of them the kernel took, and
    /// whether it refused the one behind these.
    fn transmit(&mut self, pieces: &[IoSlice<'_>]) -> (usize, bool) {
        let messages = [Message { pieces: 1, ..Message::NONE }; MOST];
        let messages = messages.get(..pieces.len()).unwrap_or_default();
        // That the link was down is told once more when it is up again.
        for _ in 0..2 {
            match self.outbox.send(self.socket.as_fd(), messages, pieces) {
                Ok(sent) => return (sent, false),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (0, false),
                Err(error) => {
                    self.counters.errors += 1;
                    if error.raw_os_error() != Some(libc::ENETDOWN) {
                        break;
                    }
                }
            }
        }
        (0, true)
    }
}

fn prepare(socket: BorrowedFd<'_>, index: u32, config: &PacketConfig) -> io::Result<()> {
    option::set(socket, option::PACKET_IGNORE_OUTGOING, 1)?;
    option::set(socket, option::PACKET_QDISC_BYPASS, config.bypass.into())?;
    device::bind_packet(socket, index)?;
    if config.promiscuous {
        // `struct packet_mreq`: interface, kind, no address.
        let kind = u32::from_ne_bytes(match (libc::PACKET_MR_PROMISC as u16).to_ne_bytes() {
            [a, b] => [a, b, 0, 0],
        });
        let request = [index, kind, 0, 0].map(u32::to_ne_bytes);
        option::set_octets(socket, option::PACKET_ADD_MEMBERSHIP, request.as_flattened())?;
    }
    match config.group {
        // PACKET_FANOUT_HASH is 0.
        Some(group) => option::set(socket, option::PACKET_FANOUT, group.into()),
        None => Ok(()),
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Rx<B> for PacketPort {
    /// No call to the operating system, but one in 256 times that nothing waits.
    fn receive(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let meta = RxMeta { interface: self.config.interface, ..RxMeta::NEW };
        let mut received = 0;
        for slot in vector.iter_mut().filter(|slot| slot.packet.is_none()) {
            while slot.packet.is_none() {
                let Some(frame) = self.ring.front() else { return self.nothing(received) };
                let passed = frame.foreign && !self.config.promiscuous;
                let whole = frame.original as usize == frame.octets.len();
                if passed || !whole {
                    self.counters.missed += u64::from(!passed);
                    self.ring.release();
                    continue;
                }
                let Some(buffer) = buffers.take() else { return received };
                let tag =
                    frame.tag.map_or([[0; 2]; 2], |(protocol, tag)| [protocol, tag].map(u16::to_be_bytes));
                let tag =
                    tag.as_flattened().get(..if frame.tag.is_some() { 4 } else { 0 }).unwrap_or_default();
                let (front, back) = frame.octets.split_at_checked(12).unwrap_or((frame.octets, &[]));
                match Packet::gather(buffer, self.config.headroom, &[front, tag, back]) {
                    Ok(packet) => {
                        self.counters.received_octets += u64::from(packet.octets());
                        *slot = Slot::new(packet, meta);
                    }
                    Err(buffer) => {
                        buffers.give(buffer);
                        self.counters.missed += 1;
                    }
                }
                self.ring.release();
            }
            self.counters.received += 1;
            received += 1;
        }
        received
    }
}

impl PacketPort {
    /// Now and then takes the error of a link that went down, which would make the socket
    /// look readable for ever.
    fn nothing(&mut self, received: usize) -> usize {
        self.idle = self.idle.wrapping_add(1);
        if self.idle == 0
            && let Ok(Err(_)) | Err(_) = sockopt::socket_error(&self.socket)
        {
            self.counters.errors += 1;
        }
        received
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tx<B> for PacketPort {
    /// One call to the operating system for each 64 frames, and for each that is refused.
    fn send(&mut self, vector: &mut [Slot<B>], buffers: &mut dyn Buffers<B>) -> usize {
        let mut taken = 0;
        loop {
            let (mut pieces, mut count) = ([IoSlice::new(&[]); MOST], 0);
            let packets = vector.iter().filter_map(|slot| slot.packet.as_ref());
            for (piece, packet) in pieces.iter_mut().zip(packets) {
                *piece = IoSlice::new(packet.bytes());
                count += 1;
            }
            let (sent, refused) = match count {
                0 => return taken,
                _ => self.transmit(pieces.get(..count).unwrap_or_default()),
            };
            let done = sent + usize::from(refused);
            let full = vector.iter_mut().filter(|slot| slot.packet.is_some());
            for (at, packet) in full.take(done).filter_map(|slot| core::mem::take(slot).packet).enumerate() {
                if at < sent {
                    self.counters.sent += 1;
                    self.counters.sent_octets += u64::from(packet.octets());
                } else {
                    self.counters.refused += 1;
                }
                buffers.give(packet.into_buf());
            }
            taken += done;
            if done == 0 {
                return taken;
            }
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Port<B> for PacketPort {
    fn counters(&self) -> PortCounters {
        let new = option::packet_drops(self.socket.as_fd());
        let dropped = self.dropped.fetch_add(new, Ordering::Relaxed) + new;
        PortCounters { missed: self.counters.missed + dropped, ..self.counters }
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}
