//! The ring of a packet socket in which the kernel puts what it receives (`TPACKET_V2`).
//!
//! Documentation/networking/packet_mmap.rst: the ring is memory of the kernel's, mapped here. Each
//! frame begins with a `tpacket2_hdr`, whose status says whose the frame is; neither side touches a
//! frame of the other's.

#![allow(unsafe_code)]

use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;
use std::os::fd::BorrowedFd;

use libc::{sockaddr_ll, tpacket2_hdr};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::option::{self, PACKET_VERSION};

/// Where the `sockaddr_ll` stands in a frame.
const ADDRESS: usize = size_of::<tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
/// Octets in front of the frame's own: header, address, and room up to the IP header.
pub(in crate::io) const OVERHEAD: usize = ADDRESS + size_of::<sockaddr_ll>() + 16 + 16;
/// Octets of memory that the kernel takes at a time: a multiple of every page's size.
const BLOCK: usize = 1 << 16;

/// A ring of received frames, mapped.
///
/// Invariant: `base` is a mapping of `frames * size` octets that only this ring uses, and
/// `next < frames`; `size` is a power of two from 256 to `BLOCK`.
#[derive(Debug)]
pub(in crate::io) struct Ring {
    base: NonNull<u8>,
    frames: usize,
    size: usize,
    next: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and to no other ring.
unsafe impl Send for Ring {}

/// A frame that was received.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct Arrived<'a> {
    /// Its octets, without a VLAN tag that the kernel or the card took out.
    pub(in crate::io) octets: &'a [u8],
    /// Its length when it passed.
    pub(in crate::io) original: u32,
    /// Protocol and tag that were taken out.
    pub(in crate::io) tag: Option<(u16, u16)>,
    /// Whether it was addressed to another machine.
    pub(in crate::io) foreign: bool,
}

impl Ring {
    /// Asks for a ring of about `frames` frames of `size` octets, each [`OVERHEAD`] octets
    /// of which are the kernel's, and maps it.
    ///
    /// # Errors
    ///
    /// That there is no memory, or that `socket` is no packet socket.
    pub(in crate::io) fn new(socket: BorrowedFd<'_>, frames: u32, size: u32) -> io::Result<Self> {
        let size = (size as usize).next_power_of_two().clamp(256, BLOCK);
        let blocks = (frames as usize * size).div_ceil(BLOCK).max(1);
        let frames = blocks * (BLOCK / size);
        option::set(socket, PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as _)?;
        let request = [BLOCK, blocks, size, frames].map(|field| (field as u32).to_ne_bytes());
        option::set_octets(socket, option::PACKET_RX_RING, request.as_flattened())?;
        let octets = frames * size;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address that the kernel chooses: no memory of ours changes.
        let base = unsafe { mmap(ptr::null_mut(), octets, protection, flags, socket, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, frames, size, next: 0 })
    }

    /// The frame that has waited longest.
    pub(in crate::io) fn front(&self) -> Option<Arrived<'_>> {
        let status = self.status().load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the frame lies in the mapping by the invariant. Its status, read with
        // `Acquire`, says that it is ours: the kernel has written all of it and writes none of it
        // until `release`, which needs `&mut self`.
        let frame = unsafe { slice::from_raw_parts(self.at().as_ptr(), self.size) };
        let word = |at: usize| frame.get(at..).and_then(|at| at.first_chunk().copied());
        let half = |at: usize| frame.get(at..).and_then(|at| at.first_chunk().copied());
        let word = |at| word(at).map_or(0, u32::from_ne_bytes);
        let half = |at| half(at).map_or(0, u16::from_ne_bytes);
        let start = usize::from(half(offset_of!(tpacket2_hdr, tp_mac)));
        let captured = word(offset_of!(tpacket2_hdr, tp_snaplen)) as usize;
        let protocol = match status & libc::TP_STATUS_VLAN_TPID_VALID {
            0 => 0x8100,
            _ => half(offset_of!(tpacket2_hdr, tp_vlan_tpid)),
        };
        let tag = (protocol, half(offset_of!(tpacket2_hdr, tp_vlan_tci)));
        let kind = frame.get(ADDRESS + offset_of!(sockaddr_ll, sll_pkttype));
        Some(Arrived {
            octets: frame.get(start..start + captured).unwrap_or_default(),
            original: word(offset_of!(tpacket2_hdr, tp_len)),
            tag: (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(tag),
            foreign: kind == Some(&libc::PACKET_OTHERHOST),
        })
    }

    /// Gives the front frame back to the kernel.
    pub(in crate::io) fn release(&mut self) {
        let status = self.status();
        if status.load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0 {
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = if self.next + 1 < self.frames { self.next + 1 } else { 0 };
        }
    }

    /// Where the front frame begins.
    fn at(&self) -> NonNull<u8> {
        // SAFETY: `next < frames`, so that it is inside the mapping.
        unsafe { self.base.add(self.next * self.size) }
    }

    /// The status of the front frame, which is its first word.
    fn status(&self) -> &AtomicU32 {
        const { assert!(offset_of!(tpacket2_hdr, tp_status) == 0) };
        // SAFETY: inside the mapping, which lives as long as `self`, and aligned, as the frame
        // is. The kernel writes it with whole-word stores, as another thread would.
        unsafe { AtomicU32::from_ptr(self.at().as_ptr().cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the whole mapping of `new`, to which nothing refers any more: what `front` gave
        // borrowed `self`.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.frames * self.size) };
    }
}
