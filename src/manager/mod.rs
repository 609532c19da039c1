//! The slice manager of an IPv4 slice: its slow path (sections 2 and 3).
//!
//! What the fast path does not do itself it hands over with a reason, and [`Manager`] does it:
//! it answers with ICMP, cuts packets up, writes into header options, and passes on what is for
//! the host. It has no clock, no interface and no thread of its own: an exception goes in with
//! the time, and none or more packets come out, each with where it is to go.
//!
//! ```
//! use fastpath::code_option::ipv4::Ipv4Key;
//! use fastpath::exit::Exception;
//! use fastpath::manager::{Config, Fate, Link, Manager, Received, Route, To, Way};
//! use fastpath::time::Nanos;
//!
//! // One link, on which this router is 10.1.0.254; whatever goes anywhere goes out there.
//! let config = Config { links: vec![Link::new([10, 1, 0, 254].into(), 16)], ..Config::default() };
//! let mut manager = Manager::new(config);
//! let ways = |_: &Ipv4Key, _: u16| Route::Via(Way::new(0, 1400));
//!
//! // A packet from 10.1.0.9 has no hop left to live.
//! let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 1, 17, 0xa5, 0xc5, 10, 1, 0, 9, 10, 2, 0, 9];
//! let mut answers = Vec::new();
//! let fate = manager.exception(
//!     Nanos::ZERO,
//!     &Received::new(Exception::Expired, 0, &packet),
//!     &ways,
//!     &mut |answer| answers.push((answer.to, answer.to_vec())),
//! );
//! assert_eq!(fate, Fate::TimeExceeded);
//! let (to, answer) = &answers[0];
//! assert_eq!(*to, To::InBand { link: 0 });
//! assert_eq!((&answer[12..16], &answer[16..20]), (&[10, 1, 0, 254][..], &[10, 1, 0, 9][..]));
//! assert_eq!(answer[28..], packet, "it is quoted as it came");
//! ```
//!
//! [`Driver`] moves packets between a [`SliceControl`](crate::node::SliceControl) and a manager;
//! [`Results`] tells the manager of the slice's filters. `docs/slow_path.md` has the rules.

mod arp;
mod config;
mod driver;
mod echo;
mod error;
mod fate;
mod fragment;
mod header;
mod limit;
mod nd;
mod options;
mod output;
mod results;
mod ways;
mod work;

pub use arp::{Arp, ArpReply, Neighbour};
pub use config::{Config, Delivery, ErrorSource, Link, Meaning, Meanings, Rates, SourceRoutes};
pub use driver::{Driver, Lost};
pub use error::Unreachable;
pub use fate::{Fate, Tally};
pub use nd::{Nd, NdFrame, Neighbour6};
pub use output::{Output, To};
pub use results::{FilterWays, Results};
pub use ways::{Route, Way, Ways};
pub use work::{Manager, Received};

#[cfg(test)]
mod tests;
