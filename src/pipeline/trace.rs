//! One packet's way through the blocks: what each saw and decided.
//!
//! ```
//! use fastpath::pipeline::{Step, Trace};
//!
//! /// Prints the way of the third packet of a vector.
//! struct Third;
//!
//! impl Trace for Third {
//!     fn wants(&mut self, at: usize, _frame: &[u8]) -> bool {
//!         at == 2
//!     }
//!     fn step(&mut self, step: Step) {
//!         println!("{step}");
//!     }
//! }
//! ```

use core::fmt;

use crate::code_option::{Outgoing, Query};
use crate::decap::Inner;
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, QueueId, SliceId};

/// What a block decided on a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Substrate Decap: whose it is.
    Decap(Result<Inner, DropReason>),
    /// Parse: what it asks for.
    Parse(Result<Query, Exit>),
    /// Lookup: the egress that the best filter names.
    Lookup(Option<EgressId>),
    /// Header Format: how it goes out.
    Format(Result<Outgoing, Exit>),
    /// It waits in this queue.
    Queued {
        /// The queue.
        queue: QueueId,
        /// Its length with the outer header.
        octets: u32,
    },
    /// It left early.
    Exit((SliceId, Exit)),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decap(Ok(Inner { admission, offset, len, .. })) => {
                let (slice, link, option) = (admission.slice, admission.link, admission.option.0);
                write!(f, "decap   slice {slice}, link {link}, option {option}: {len} octets behind {offset}")
            }
            Self::Decap(Err(reason)) => write!(f, "decap   refused: {reason}"),
            Self::Parse(Ok(query)) => write!(f, "parse   key {:028x}", query.key.bits()),
            Self::Parse(Err(exit)) => write!(f, "parse   {exit}"),
            Self::Lookup(Some(id)) => write!(f, "lookup  egress {}", id.index()),
            Self::Lookup(None) => write!(f, "lookup  no filter matched"),
            Self::Format(Ok(Outgoing { traffic_class, destination })) => {
                write!(f, "format  traffic class {traffic_class:#04x}")?;
                match destination {
                    Some(to) => write!(f, ", to {}", core::net::SocketAddr::from(*to)),
                    None => Ok(()),
                }
            }
            Self::Format(Err(exit)) => write!(f, "format  {exit}"),
            Self::Queued { queue, octets } => write!(f, "queue   {queue}: {octets} octets"),
            Self::Exit((slice, exit)) => write!(f, "exit    slice {slice}: {exit}"),
        }
    }
}

/// Follows packets of one's choice.
pub trait Trace {
    /// Whether to follow the packet in slot `at`. Asked again half way, then with the
    /// same octets.
    fn wants(&mut self, at: usize, frame: &[u8]) -> bool;

    /// A block decided. The steps of a vector's first half come before those of its
    /// second.
    fn step(&mut self, step: Step);
}

/// Follows none; compiles to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn wants(&mut self, _: usize, _: &[u8]) -> bool {
        false
    }
    #[inline(always)]
    fn step(&mut self, _: Step) {}
}
