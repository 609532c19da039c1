//! Packets that a manager sends.

use alloc::vec::Vec;

use crate::manager::header::Payload;

/// Where a packet is to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum To {
    /// Into the fast path, as if the slice's link `link` had brought it: see
    /// [`Injection::InBand`](crate::node::Injection::InBand).
    InBand {
        /// The slice's link.
        link: u16,
    },
    /// Straight to the queue of a result: see
    /// [`Injection::Direct`](crate::node::Injection::Direct).
    Result {
        /// The slice's result.
        result: u32,
        /// DSCP and ECN for the outer header.
        traffic_class: u8,
    },
    /// To the host, as what the slice's link `link` brought for it.
    Host {
        /// The slice's link.
        link: u16,
    },
}

/// A packet that a manager sends: octets in a few pieces, most of them lent from the packet
/// that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Where it is to go.
    pub to: To,
    header: &'a [u8],
    payload: Payload<'a>,
}

impl<'a> Output<'a> {
    pub(super) const fn new(to: To, header: &'a [u8], payload: Payload<'a>) -> Self {
        Self { to, header, payload }
    }

    /// Its octets, in pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        core::iter::once(self.header).chain(self.payload.0)
    }

    /// Its length in octets.
    pub fn octets(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// Copies it to the front of `buffer`; `None`, and some of it, if that is too short.
    pub fn copy_to(&self, mut buffer: &mut [u8]) -> Option<()> {
        for piece in self.pieces() {
            let (here, rest) = buffer.split_at_mut_checked(piece.len())?;
            here.copy_from_slice(piece);
            buffer = rest;
        }
        Some(())
    }

    /// A copy of it. Allocates.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().flatten().copied().collect()
    }
}
