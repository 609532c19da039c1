//! Figure 4, "Substrate Decap": from the outer header to the slice.
//!
//! [`UdpPorts`] is the default: a link is a UDP port of the node. [`Tunnels`] knows links by
//! what else people use: IPv6 outside, VXLAN, Geneve and GRE. [`Access`] is both, and costs
//! a plain UDP packet what the ports alone do.
//!
//! ```
//! use core::net::Ipv4Addr;
//! use fastpath::decap::{Decap, PortConfig, PortEntry, UdpPorts};
//! use fastpath::exit::DropReason;
//! use fastpath::id::{LinkId, OptionId, SliceId};
//! use fastpath::slot::{Admission, RxMeta};
//!
//! let mut ports = UdpPorts::new([PortEntry::EMPTY; 16]);
//! let admission = Admission { slice: SliceId(3), link: LinkId(1), option: OptionId(0), ..Admission::NONE };
//! ports.open(Ipv4Addr::new(10, 0, 0, 1), 20_001, PortConfig::new(admission))?;
//!
//! // 10.0.0.9:30000 -> 10.0.0.1:20001, three octets for slice 3; a TUN device's packet.
//! let packet = [
//!     0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x66, 0xc5, 10, 0, 0, 9, 10, 0, 0, 1, // IPv4
//!     0x75, 0x30, 0x4e, 0x21, 0, 11, 0, 0, // UDP
//!     1, 2, 3,
//! ];
//! let inner = ports.decap(&packet, &RxMeta::IP).unwrap();
//! assert_eq!((inner.admission, inner.offset, inner.len), (admission, 28, 3));
//! assert_eq!(ports.decap(&packet[..30], &RxMeta::IP), Err(DropReason::Truncated));
//! # Ok::<(), fastpath::decap::OpenError>(())
//! ```

mod access;
mod frame;
mod outer;
mod probing;
mod tunnels;
mod udp_ports;

pub use access::{Access, AccessError};
pub use tunnels::{TunnelConfig, TunnelEntry, TunnelError, TunnelKind, Tunnels};
pub use udp_ports::{OpenError, PortConfig, PortEntry, UdpChecksum, UdpPorts};

use crate::exit::DropReason;
use crate::slot::{Admission, Endpoint, RxMeta};

/// Whose packet a frame holds, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
// In this order, so that the tag and the reason of a `Result` stand beside the admission
// and not in it: it moves as one word.
#[repr(C)]
pub struct Inner {
    /// Octets in front of it.
    pub offset: u16,
    /// Its length, without what the link padded.
    pub len: u16,
    /// Who sent the header in front of it.
    pub source: Endpoint,
    /// That header's DSCP and ECN.
    pub traffic_class: u8,
    /// Whose.
    pub admission: Admission,
}

/// Finds a packet's slice, and the slice's packet in the frame.
///
/// # Contract
///
/// - The slice admitted to is never [`SliceId::SUBSTRATE`](crate::id::SliceId::SUBSTRATE),
///   and `offset` and `len` lie inside the frame.
/// - Cost does not depend on the number of slices or links. Packets of one slice find
///   the same way in whatever others there are.
/// - A frame is read and not changed, so that it may still be handed on as it came.
/// - The answer depends on the arguments and the configuration alone. No method
///   allocates or panics.
/// - One decapsulation: what is inside is the slice's and is never decapsulated again.
///
/// Check an implementation with `conformance::decap`.
pub trait Decap {
    /// Admits one packet, or says why not.
    ///
    /// # Errors
    ///
    /// The reason to count; no slice is named, so it stands in the substrate's account.
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason>;
}

impl<T: Decap + ?Sized> Decap for &T {
    #[inline(always)]
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        (**self).decap(frame, meta)
    }
}

impl<T: Decap + ?Sized> Decap for &mut T {
    #[inline(always)]
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        (**self).decap(frame, meta)
    }
}
