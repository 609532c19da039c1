//! A node: slices that share a fast path, what they were promised, and their control
//! (sections 2 and 6).
//!
//! [`Node`] belongs to the thread that forwards. [`SliceControl`] is the handle of one
//! slice's manager, for any thread; it can name only its own slice.
//!
//! ```
//! use fastpath::node::{Action, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, SliceRequest};
//! use fastpath::prelude::*;
//! use fastpath::code_option::ipv4::Ipv4Key;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut node: Node<_, Box<[u8]>> = Node::new((Ipv4::default(),), Limits::default());
//! let interface = node.add_interface(InterfaceConfig::ip([10, 0, 0, 1].into(), Rate::bits_per_second(1_000_000_000)?))?;
//! let mut control = node.admit(SliceRequest {
//!     links: vec![LinkRequest::new(interface, 20_001, "10.0.0.9:30000".parse()?)],
//!     queues: vec![QueueRequest::new(interface, 1)],
//!     ..SliceRequest::new(OptionId(0))
//! })?;
//!
//! // From the slice manager's thread: result 0 leads out of link 0 by queue 0. The node
//! // answers when it next looks at its control.
//! control.set_result(0, Action::forward(0, 0))?;
//! assert_eq!(node.poll_control(Nanos::ZERO, 16), 1);
//! assert!(control.replies().all(|reply| reply.outcome.is_ok()));
//! // A route leads to result 0: from the next vector on, without the node's doing.
//! let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
//! assert_eq!(control.insert(Rank::longest_prefix(32, 8), value, mask, 0)?, None);
//! # Ok(())
//! # }
//! ```

mod admit;
mod channel;
mod control;
mod rate_limit;
mod scheduling;
mod worker;

pub use admit::{
    AdmitError, InterfaceConfig, InterfaceError, Limits, LinkError, LinkRequest, PoliceError, QueueError,
    QueueRequest, SliceRequest, SlowPathRequest,
};
pub use channel::{Action, ControlError, Done, ExceptionPacket, Injection, Reply, Ticket};
pub use control::{Busy, SliceControl};
pub use rate_limit::RateLimit;
pub use scheduling::{
    ClassError, Levels, Metering, Policed, Policing, Policy, PolicyError, PriorityClass, Scheduling,
    ShareRequest,
};
pub use worker::{Account, FollowError, Follower, Forward, Forwarder, Monitor, Node, Remains};
