//! Many messages a call: `recvmmsg` and `sendmmsg`, with an address and control messages for
//! each.

#![allow(unsafe_code)]

use core::{fmt, mem, ptr};
use std::boxed::Box;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::vec;

use libc::{c_int, c_uint, iovec, mmsghdr};

use crate::slot::Endpoint;

/// Messages that one call sends, and pieces of a message.
pub(in crate::io) const MOST: usize = 64;
/// Messages that one call receives.
const BATCH: usize = 16;
/// Octets of the longest message, joined datagrams included.
const LONGEST: usize = 65_536;
/// From one message to the next: not a power of two, or they fight for the same cache sets.
const STRIDE: usize = LONGEST + 64;

/// A `sockaddr_in` or `sockaddr_in6`, octet by octet.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 32]);

/// Room for control messages.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

/// A control message with an `int` or less, as the kernel has it: a `cmsghdr` of whatever C
/// library is that, too.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    /// Octets of header and data.
    len: usize,
    level: c_int,
    kind: c_int,
    /// As long as control messages are aligned.
    data: [u8; size_of::<usize>()],
}

/// Octets of its header.
const HEAD: usize = mem::offset_of!(Entry, data);

/// One message: where it goes, how, and how many pieces it is made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct Message {
    /// To whom; `None` for the peer that the socket is connected to.
    pub(in crate::io) to: Option<Endpoint>,
    /// The scope of a link-local address.
    pub(in crate::io) scope: u32,
    /// Whether the socket is one of IPv6.
    pub(in crate::io) v6: bool,
    /// DSCP and ECN, if not 0.
    pub(in crate::io) class: Option<u8>,
    /// Hops to live, if other than the socket's.
    pub(in crate::io) hops: Option<u8>,
    /// Octets of each datagram that the kernel makes of it.
    pub(in crate::io) segment: Option<u16>,
    /// How many of the pieces are its own.
    pub(in crate::io) pieces: usize,
}

impl Message {
    /// None, to nobody.
    pub(in crate::io) const NONE: Self =
        Self { to: None, scope: 0, v6: false, class: None, hops: None, segment: None, pieces: 0 };
}

/// What `sendmmsg` needs beside the octets.
pub(in crate::io) struct Outbox {
    headers: Box<[mmsghdr]>,
    names: Box<[Name]>,
    controls: Box<[[Entry; 3]]>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

// SAFETY: the pointers in the headers are written by `send` before the kernel reads them, and
// are nothing but numbers to everybody else.
unsafe impl Send for Outbox {}

impl Outbox {
    pub(in crate::io) fn new() -> Self {
        // SAFETY: a C structure of integers and pointers, for which zeros are valid.
        let header = unsafe { mem::zeroed::<mmsghdr>() };
        Self {
            headers: vec![header; MOST].into(),
            names: vec![Name([0; 32]); MOST].into(),
            controls: vec![[Entry::default(); 3]; MOST].into(),
        }
    }

    /// Sends `messages`, made of `pieces` in order, and returns how many were sent: at least
    /// one, if there is one.
    ///
    /// # Errors
    ///
    /// Why the first was not sent.
    pub(in crate::io) fn send(
        &mut self, socket: BorrowedFd<'_>, messages: &[Message], pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let (mut rest, mut count) = (pieces, 0);
        let places = self.headers.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for (message, ((header, name), entries)) in messages.iter().zip(places) {
            let Some((own, others)) = rest.split_at_checked(message.pieces) else { break };
            rest = others;
            let (name_at, name_octets) = match message.to {
                Some(to) => (ptr::from_mut(name), name.write(to, message)),
                None => (ptr::null_mut(), 0),
            };
            let control = control(entries, message);
            header.msg_hdr.msg_name = name_at.cast();
            header.msg_hdr.msg_namelen = name_octets;
            header.msg_hdr.msg_iov = own.as_ptr().cast_mut().cast::<iovec>();
            header.msg_hdr.msg_iovlen = own.len() as _;
            header.msg_hdr.msg_control = entries.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = (control * size_of::<Entry>()) as _;
            count += 1;
        }
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
        // SAFETY: the first `count` headers were written above. Each points to a name and to
        // control entries of `self`, which is borrowed for the call, and to pieces that are
        // borrowed for it as well; `IoSlice` is laid out as an `iovec`, and the kernel only reads
        // what it points to. The kernel writes `msg_len` of the headers.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as c_uint, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Writes the control messages of `message`; how many there are.
fn control(entries: &mut [Entry; 3], message: &Message) -> usize {
    let (level, class, hops) = match message.v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_HOPLIMIT),
        false => (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL),
    };
    let int = |value: u8| c_int::from(value).to_ne_bytes();
    let entry = |level, kind, value, octets| Some((level, kind, value, octets));
    let wanted = [
        message.class.and_then(|value| entry(level, class, int(value), 4)),
        message.hops.and_then(|value| entry(level, hops, int(value), 4)),
        message.segment.and_then(|value| {
            let [a, b] = value.to_ne_bytes();
            entry(libc::SOL_UDP, libc::UDP_SEGMENT, [a, b, 0, 0], 2)
        }),
    ];
    let mut count = 0;
    for (entry, (level, kind, value, octets)) in entries.iter_mut().zip(wanted.into_iter().flatten()) {
        entry.len = HEAD + octets;
        (entry.level, entry.kind) = (level, kind);
        entry.data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        count += 1;
    }
    count
}

impl Name {
    /// Writes an address in the family of the socket; its length.
    fn write(&mut self, to: Endpoint, message: &Message) -> u32 {
        let Self(octets) = self;
        let fields = octets.iter_mut();
        let port = to.port().to_be_bytes();
        let family = |family: c_int| (family as u16).to_ne_bytes();
        match (to.address(), message.v6) {
            (IpAddr::V4(address), false) => {
                let values = family(libc::AF_INET).into_iter().chain(port).chain(address.octets());
                fields.zip(values.chain([0; 8])).for_each(|(to, from)| *to = from);
                16
            }
            (address, _) => {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                let values = family(libc::AF_INET6).into_iter().chain(port).chain([0; 4]);
                let values = values.chain(address.octets()).chain(message.scope.to_ne_bytes());
                fields.zip(values).for_each(|(to, from)| *to = from);
                28
            }
        }
    }

    /// The address that the kernel wrote; none if it wrote none.
    fn read(&self) -> Endpoint {
        let Self([f0, f1, p0, p1, rest @ ..]) = self;
        let port = u16::from_be_bytes([*p0, *p1]);
        match c_int::from(u16::from_ne_bytes([*f0, *f1])) {
            libc::AF_INET => {
                let address = rest.first_chunk().copied().unwrap_or_default();
                Endpoint::v4(u32::from_be_bytes(address), port)
            }
            libc::AF_INET6 => {
                let address = rest.get(4..).and_then(|rest| rest.first_chunk::<16>()).copied();
                SocketAddr::new(address.unwrap_or_default().into(), port).into()
            }
            _ => Endpoint::NONE,
        }
    }
}

/// Messages that were received.
pub(in crate::io) struct Inbox {
    headers: Box<[mmsghdr]>,
    pieces: Box<[iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    octets: Box<[u8]>,
}

/// A message of an [`Inbox`].
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct Incoming<'a> {
    /// Its sender.
    pub(in crate::io) source: Endpoint,
    /// DSCP and ECN.
    pub(in crate::io) class: u8,
    /// Octets of each datagram that it is made of; the last may be shorter.
    pub(in crate::io) segment: usize,
    /// Its octets.
    pub(in crate::io) octets: &'a [u8],
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

// SAFETY: the pointers in headers and pieces are written by `receive` before the kernel reads
// them, and are nothing but numbers to everybody else.
unsafe impl Send for Inbox {}

impl Inbox {
    pub(in crate::io) fn new() -> Self {
        // SAFETY: C structures of integers and pointers, for which zeros are valid.
        let (header, piece) = unsafe { (mem::zeroed::<mmsghdr>(), mem::zeroed::<iovec>()) };
        Self {
            headers: vec![header; BATCH].into(),
            pieces: vec![piece; BATCH].into(),
            names: vec![Name([0; 32]); BATCH].into(),
            controls: vec![Control([0; 128]); BATCH].into(),
            octets: vec![0; BATCH * STRIDE].into(),
        }
    }

    /// Receives messages in the place of those that are in it, and returns how many; and
    /// whether there was room for more, so that no more wait.
    ///
    /// # Errors
    ///
    /// Those of `recvmmsg`, that there is none included.
    pub(in crate::io) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<(usize, bool)> {
        let places = self.headers.iter_mut().zip(&mut self.pieces).zip(&mut self.names);
        let places = places.zip(&mut self.controls).zip(self.octets.chunks_exact_mut(STRIDE));
        for ((((header, piece), name), control), octets) in places {
            *piece = iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: LONGEST };
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<Name>() as _;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        let (headers, flags) = (self.headers.as_mut_ptr(), libc::MSG_DONTWAIT as _);
        // SAFETY: all `BATCH` headers were written above. Each points to a piece, a name and
        // control octets of `self`, as long as it says, and the piece to `LONGEST` octets of
        // `self`, none of which another points to. `self` is borrowed mutably for the call.
        // There is no time limit.
        let received =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as c_uint, flags, ptr::null_mut()) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok((received, received < BATCH))
    }

    /// The message at `at`, one of those that were received last.
    pub(in crate::io) fn message(&self, at: usize) -> Option<Incoming<'_>> {
        let header = self.headers.get(at)?;
        let octets = self.octets.get(at * STRIDE..)?.get(..header.msg_len as usize)?;
        let Control(control) = self.controls.get(at)?;
        #[allow(clippy::unnecessary_cast, reason = "one width or another, by the C library")]
        let control = control.get(..header.msg_hdr.msg_controllen as usize).unwrap_or_default();
        let mut incoming =
            Incoming { source: self.names.get(at)?.read(), class: 0, segment: octets.len(), octets };
        incoming.read(control);
        Some(incoming)
    }
}

impl Incoming<'_> {
    /// Reads the control messages.
    fn read(&mut self, mut control: &[u8]) {
        const LEVEL: usize = mem::offset_of!(Entry, level);
        const KIND: usize = mem::offset_of!(Entry, kind);
        let int = |octets: &[u8], at: usize| -> Option<c_int> {
            Some(c_int::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
        };
        // Each is at least a header long: at most eight of them.
        while let (Some(len), Some(level), Some(kind)) =
            (control.first_chunk(), int(control, LEVEL), int(control, KIND))
        {
            let len = usize::from_ne_bytes(*len);
            let Some(data) = control.get(HEAD..len) else { return };
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_TOS) => self.class = data.first().copied().unwrap_or(0),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => self.class = int(data, 0).unwrap_or(0) as u8,
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = int(data, 0).and_then(|segment| usize::try_from(segment).ok());
                    self.segment = segment.filter(|segment| *segment > 0).unwrap_or(self.segment);
                }
                _ => (),
            }
            let aligned = len.next_multiple_of(size_of::<usize>());
            control = control.get(aligned..).unwrap_or_default();
        }
    }
}
