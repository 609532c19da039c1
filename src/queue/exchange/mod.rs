//! One interface, several schedulers: rates that follow what waits.
//!
//! Where several nodes, or cores, each have a scheduler for the same interface, their rates
//! must not add up to more than the interface's, and whoever has nothing to send must not
//! hold what others could use. So nodes report what waits, and now and then one of them
//! computes everybody's rates: P. Pappu, J. Parwatikar, J. Turner, K. Wong, "Distributed
//! Queueing in Scalable High Performance Routers", INFOCOM 2003, which section 4 of the
//! paper refers to for this.
//!
//! [`Plan::rates`] is the computation, a pure function. An [`Exchange`] is the cells between
//! a [`Member`] for each node and the one [`Coordinator`]: atomics, without locks, and nobody
//! waits.
//!
//! ```
//! use fastpath::queue::Rate;
//! use fastpath::queue::exchange::{Coordinator, Exchange, Member, Plan};
//! use fastpath::time::Nanos;
//!
//! // Two nodes of 5 Gb/s each, one interface of 1 Gb/s, new rates each millisecond.
//! let gigabit = Rate::bits_per_second(1_000_000_000)?;
//! let node = Rate::bits_per_second(5_000_000_000)?;
//! let period = Nanos::from_millis(1);
//! let exchange = Exchange::<2, 1>::new();
//! let plan = Plan::new([Some(gigabit)], [Some(node); 2], period);
//! let mut coordinator = Coordinator::new(&exchange, plan).unwrap();
//! let mut members = [0, 1].map(|at| Member::join(&exchange, at).unwrap());
//! let mut rates = [0, 0];
//! // Three times as much waits at the first node as at the second.
//! for millis in 0..3 {
//!     for (member, octets) in members.iter_mut().zip([300_000, 100_000]) {
//!         member.report(&[octets]);
//!     }
//!     coordinator.run(Nanos::from_millis(millis));
//!     for (member, in_force) in members.iter_mut().zip(&mut rates) {
//!         // A scheduler's `set_rate` belongs here.
//!         member.rates(|_interface, rate| *in_force = rate.map_or(0, Rate::get));
//!     }
//! }
//! assert_eq!(rates, [750_000_000, 250_000_000]);
//! # Ok::<(), fastpath::queue::RateError>(())
//! ```
//!
//! # Rates
//!
//! `L(j)` is what interface `j` sends, `K(i)` what node `i` can send in all, `B(i, j)` what
//! waits at the node for the interface, `B(j)` what waits behind all nodes, at the interface
//! itself, `w(i, j)` a weight, `T` the period. From the paper we have backlog-proportional
//! shares of an interface, urgency-proportional shares of a node and use of what is left over;
//! the formulas are ours:
//!
//! ```text
//! pull(i, j) = L(j) * w(i, j) B(i, j) / sum_i w(i, j) B(i, j)               share of the interface
//!            * sum_i B(i, j) / (sum_i B(i, j) + max(0, B(j) - L(j) T))      less if it can do without
//! ```
//!
//! All rates rise together, each in proportion to its pull. When a node's or an interface's
//! rates add up to its `K` or `L`, they stay, and the others rise on until each has met one or
//! the other. If no node gives out first, that is `L(j)` in proportion to `w B`; of a node that
//! does, it is `K(i) pull(i, j) / sum_j pull(i, j)`, and what it leaves of `L(j)` goes to those
//! that wait for `j` elsewhere. This is weighted max-min fairness. To cut shares to a node's
//! capacity in one step and to deal out what is left in another would leave an interface idle
//! beside a node that could fill it; so, all of these hold:
//!
//! - `sum_i r(i, j) <= L(j)` and `sum_j r(i, j) <= K(i)`, to the bit: parts are rounded down.
//! - An interface that is waited for runs at `L(j)`, less the floors of nodes that do not wait
//!   for it (1 % at most) and less than a bit a second for each node, unless all who wait for
//!   it are at their `K(i)`, less than a bit a second for each interface.
//! - Each node has a floor for each interface: 1 % of `L(j)` divided by the nodes, or of `K(i)`
//!   by the interfaces if that is less. So new traffic starts at once. Floors are taken first,
//!   and pulls are what a share is above its floor: they never add to what is shared.
//! - Nodes with equal `w B` have equal rates, others in proportion to it, but for what `K(i)`
//!   limits. Proportions are off by up to 1 % of a floor beside nodes that have no more than
//!   theirs.
//! - What nobody who waits can use is shared by weight among all nodes that have room: an
//!   interface nobody waits for is there for whoever comes first.
//!
//! # What is in force
//!
//! A rate is granted, read, put in force and confirmed, sooner at one node than at another. The
//! coordinator *counts* for each node and interface the most that the node may have in force
//! without hearing more: the highest rate granted since the grant that was confirmed last, that
//! one included. It grants nothing above what it counts unless the sums of what it counts, with
//! the new rate, keep to `L(j)` and `K(i)`. So
//!
//! > in force <= counted, and sums of counted <= `L(j)` and `K(i)`, at every instant,
//!
//! whatever nodes do and however late: by induction over grants and confirmations. A fall
//! counts when it is confirmed, and only then do others rise by it. The grant that a confirmation
//! names must be the last one, as a node may have read a later one already; each grant is
//! another word (24 bits of number beside 40 of rate), so that there is no mistaking it.
//!
//! A node that stalls keeps what it had, counted; others share what is left. After three
//! periods without a report its backlog counts for nothing, either. When it reads its rates
//! again it falls and confirms. If it never does, its owner says that it is
//! [`gone`](Coordinator::gone).
//!
//! A change of load is reported within `T`, and computed within `T` after that. What is to fall
//! does so as soon as its node looks, what is to rise when the coordinator and the node look
//! again: `2 T` in all, and two looks each, which are short where nodes look between two
//! vectors of packets and the coordinator runs as often. Between the looks an interface runs
//! below `L(j)` by what fell.
//!
//! Sums are of rates. A scheduler with a burst may catch up on that much of its own time
//! besides; give it a burst that is short beside the period.
//!
//! # What to report
//!
//! What waits, if nodes are overloaded for long: then shares follow backlogs. Where load is
//! below the rate, queues are short, and a backlog says little: what waits and what arrived
//! in the last period, added, is what a node would send in the next, and rates then
//! settle where each node's suffices.

mod cells;
mod coordinator;
mod member;
#[cfg(test)]
#[cfg(loom)]
mod model;
mod plan;
#[cfg(test)]
#[cfg(not(loom))]
mod simulation;
mod sync;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use cells::Exchange;
pub use coordinator::Coordinator;
pub use member::Member;
pub use plan::{Loads, Plan};
