//! Figure 4, "Parse" and "Header Format": the part a slice chooses.
//!
//! A code option of one's own is one type with two methods:
//!
//! ```
//! use fastpath::code_option::{Answer, CodeOption, Context, Outgoing, Query};
//! use fastpath::exit::{DropReason, Exit};
//! use fastpath::key::LookupKey;
//! use fastpath::packet::PacketMut;
//!
//! /// Packets that begin with the octet they are looked up by.
//! struct Label;
//!
//! impl CodeOption for Label {
//!     fn parse(&self, packet: &[u8], _: &Context<'_>) -> Result<Query, Exit> {
//!         let &[label, ..] = packet else { return Err(DropReason::Truncated.into()) };
//!         Ok(Query::new(LookupKey::new(label.into())))
//!     }
//!     fn format(&self, packet: &mut PacketMut<'_>, found: Answer, _: &Context<'_>) -> Result<Outgoing, Exit> {
//!         let [label, ..] = packet.bytes_mut() else { return Err(DropReason::Truncated.into()) };
//!         *label = found.word as u8; // the slice's word of the filter: the next label
//!         Ok(Outgoing::default())
//!     }
//! }
//! ```
//!
//! `docs/adding_a_code_option.md` goes on from here.

pub mod ipv4;
mod set;

pub use crate::slot::Outgoing;
pub use set::CodeOptionSet;

use crate::exit::{DropReason, Exit};
use crate::id::{LinkId, SliceId};
use crate::key::LookupKey;
use crate::packet::PacketMut;
use crate::slot::{DscpModel, Endpoint};
use crate::time::Nanos;
use crate::wire::ecn;
use crate::words::Words;

/// All that a code option sees besides the packet. Nothing in it belongs to another
/// slice.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The slice it works for.
    pub slice: SliceId,
    /// The logical link the packet came in on.
    pub link: LinkId,
    /// The time of the vector.
    pub now: Nanos,
    /// Who sent the outer header the packet came in.
    pub source: Endpoint,
    /// DSCP and ECN of that header.
    pub outer_class: u8,
    /// What the link does to the DSCP.
    pub dscp: DscpModel,
    /// Whether the slice's own manager sent the packet, and not a link.
    pub injected: bool,
    /// The slice's memory.
    pub sram: Words<'a>,
}

impl Context<'_> {
    /// A packet of `slice` from its link 0 at time 0, without memory: for tests.
    pub const fn of(slice: SliceId) -> Self {
        Self {
            slice,
            link: LinkId(0),
            now: Nanos::ZERO,
            source: Endpoint::NONE,
            outer_class: 0,
            dscp: DscpModel::Pipe,
            injected: false,
            sram: Words::NONE,
        }
    }

    /// The traffic class that the packet has behind the tunnel, of the `inner` one in
    /// its header (RFC 6040, RFC 2983).
    ///
    /// # Errors
    ///
    /// [`DropReason::EcnNotCapable`] for a congestion mark on a packet that is not
    /// ECN-capable.
    #[inline(always)]
    pub fn traffic_class(&self, inner: u8) -> Result<u8, DropReason> {
        ecn::decapsulate(self.outer_class, inner, self.dscp)
    }
}

/// What `parse` wants to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// The key to look up.
    pub key: LookupKey,
    /// A word of the option's own, for `format`.
    pub carry: u64,
}

impl Query {
    /// Asks for `key` and carries nothing.
    #[inline(always)]
    pub const fn new(key: LookupKey) -> Self {
        Self { key, carry: 0 }
    }
}

/// What `format` is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The slice's word of the filter that matched. An option that needs more than 64
    /// bits keeps it in its memory, at that index.
    pub word: u64,
    /// The query's.
    pub carry: u64,
    /// Octets that the formatted packet may have: the inner MTU of the way out. A
    /// longer one is dropped as [`DropReason::TooLong`] if the option lets it pass.
    pub mtu: u16,
}

/// One application's fast path: how to read its header and how to rewrite it.
///
/// `parse` can only read, so a packet that leaves early is still as it came. The
/// substrate puts the outer header on; an option never sees one.
///
/// # Contract
///
/// - Total: any octets, any answer. No method panics, allocates, or loops on packet
///   contents without a bound.
/// - The result depends on the arguments alone, slice memory included, so a run can
///   be replayed.
/// - `format` that fails has changed no octet.
///
/// Check an implementation with `conformance::code_option`.
pub trait CodeOption {
    /// Reads the slice's header and forms a lookup key.
    ///
    /// # Errors
    ///
    /// Why the packet leaves here.
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit>;

    /// Rewrites the slice's header. Not asked if no filter matched: that is
    /// [`DropReason::NoMatch`], and a default is a filter of the last rank.
    ///
    /// # Errors
    ///
    /// Why the packet leaves here; it is unchanged.
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit>;

    /// A hash that is the same for all packets of a flow, 0 if there are no flows.
    ///
    /// Asked only where it is used: to spread packets over cores, or over the source
    /// ports of a tunnel. Fragments of a packet must agree, so their ports don't count.
    fn flow_hash(&self, _packet: &[u8]) -> u32 {
        0
    }

    /// What a reason of the option's own means, as a name for metrics.
    fn own_name(&self, _exit: Exit) -> Option<&'static str> {
        None
    }
}

impl<T: CodeOption + ?Sized> CodeOption for &T {
    #[inline(always)]
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        (**self).parse(packet, cx)
    }
    #[inline(always)]
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        (**self).format(packet, found, cx)
    }
    fn flow_hash(&self, packet: &[u8]) -> u32 {
        (**self).flow_hash(packet)
    }
    fn own_name(&self, exit: Exit) -> Option<&'static str> {
        (**self).own_name(exit)
    }
}

#[cfg(feature = "alloc")]
impl<T: CodeOption + ?Sized> CodeOption for alloc::boxed::Box<T> {
    #[inline(always)]
    fn parse(&self, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
        (**self).parse(packet, cx)
    }
    #[inline(always)]
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        (**self).format(packet, found, cx)
    }
    fn flow_hash(&self, packet: &[u8]) -> u32 {
        (**self).flow_hash(packet)
    }
    fn own_name(&self, exit: Exit) -> Option<&'static str> {
        (**self).own_name(exit)
    }
}
