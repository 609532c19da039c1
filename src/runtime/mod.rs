//! Threads that forward: the loop of a worker, and several workers for one node.
//!
//! A [`Worker`] owns what forwards, a store of buffers and the ports of its interfaces, and
//! runs to completion: receive a vector, process, send what is due. Between two turns it
//! looks after control. Other threads ask through a [`Handle`]. A [`Fleet`] is several workers
//! for one [`Node`](crate::node::Node), among which packets are spread by the hash of their inner flow.
//!
//! ```
//! use fastpath::io::Pool;
//! use fastpath::node::{InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, SliceRequest};
//! use fastpath::prelude::*;
//! use fastpath::runtime::{Monotonic, Settings, Worker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut node: Node<_, Box<[u8]>> = Node::new((Ipv4::default(),), Limits::default());
//! let interface = node.add_interface(InterfaceConfig::ip([10, 0, 0, 1].into(), Rate::MAX))?;
//! let worker = Worker::new(node, Pool::new(256, 2112), Settings::default())?;
//! // ... worker.add_port(interface, Layer::Ip, Box::new(port)) ...
//! let running = worker.spawn("worker".into(), Monotonic::default())?;
//! let control = running.handle().admit(SliceRequest {
//!     links: vec![LinkRequest::new(interface, 20_001, "10.0.0.9:30000".parse()?)],
//!     queues: vec![QueueRequest::new(interface, 1)],
//!     ..SliceRequest::new(OptionId(0))
//! })??;
//! assert_eq!(control.account().received(), 0);
//! running.handle().stop(Nanos::from_millis(10))?;
//! let (_worker, report) = running.join().unwrap();
//! assert!(report.is_exact());
//! # Ok(())
//! # }
//! ```

mod bound;
mod clock;
mod fleet;
mod handle;
mod mesh;
mod rates;
mod waker;
mod worker;

pub use bound::{BoxedPort, PortReport, PortView};
pub use clock::{Clock, Monotonic};
pub use fleet::{Fleet, FleetError, RunningFleet};
pub use handle::{Handle, Running, Stopped};
pub use worker::{PortError, Report, Turn, Worker};

use crate::time::Nanos;

/// Packets of a vector.
pub const VECTOR: usize = 32;

/// How a worker divides its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Turns from one look at control to the next, while there are packets.
    pub control_every: u32,
    /// Commands of slice managers that are done at once.
    pub commands: usize,
    /// Turns without work before it sleeps.
    pub spins: u32,
    /// The longest sleep: how long a command of a slice manager may wait.
    pub cap: Nanos,
    /// The first sleep where a port cannot be waited for; each further one is twice as long.
    pub nap: Nanos,
    /// How often workers share an interface's rate anew; no worker of several sleeps for longer.
    pub period: Nanos,
    /// Packets that may wait from one worker to another.
    pub ring: usize,
}

impl Default for Settings {
    /// Control each 8 turns, 32 commands; 200 spins, sleeps of up to 10 ms, 20 us at first; rates each
    /// millisecond; 1,024 packets.
    fn default() -> Self {
        Self {
            control_every: 8,
            commands: 32,
            spins: 200,
            cap: Nanos::from_millis(10),
            nap: Nanos::from_micros(20),
            period: Nanos::from_millis(1),
            ring: 1024,
        }
    }
}
