//! Between a node and a manager: exceptions one way, answers the other.

use alloc::vec::Vec;

use crate::io::Buffers;
use crate::manager::{Config, Fate, Manager, Output, Received, Results, To, Ways};
use crate::node::{Action, Busy, ExceptionPacket, Injection, SliceControl, Ticket};
use crate::packet::Packet;
use crate::time::Nanos;

/// Packets that a manager sent and a driver could not pass on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// There was no buffer, or none that was long enough.
    pub no_buffer: u64,
    /// The node had not taken earlier ones.
    pub node: u64,
    /// The host had not.
    pub host: u64,
}

/// A manager at the control of its slice.
///
/// ```
/// use fastpath::io::Pool;
/// use fastpath::manager::{Config, Driver, Link, Results};
/// use fastpath::node::{Action, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, SliceRequest};
/// use fastpath::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut node: Node<_, Box<[u8]>> = Node::new((Ipv4::default(),), Limits::default());
/// let rate = Rate::bits_per_second(1_000_000_000)?;
/// let interface = node.add_interface(InterfaceConfig::ip([192, 0, 2, 1].into(), rate))?;
/// let link = LinkRequest::new(interface, 20_001, "192.0.2.9:30000".parse()?);
/// let control = node.admit(SliceRequest {
///     links: vec![link],
///     queues: vec![QueueRequest::new(interface, 1)],
///     ..SliceRequest::new(OptionId(0))
/// })?;
///
/// let config = Config { links: vec![Link::new([10, 1, 0, 254].into(), 16)], ..Config::default() };
/// let mut driver = Driver::new(control, config, Results::new([link.mtu]), 64);
/// // Result 0 leads out of the link, result 1 to this node, result 2 says "no route".
/// driver.set_result(0, Action::forward(0, 0), None)?;
/// driver.set_result(1, Action::SlowPath(Exception::Local), None)?;
/// driver.set_result(2, Action::SlowPath(Config::NO_ROUTE), None)?;
/// for (network, len, result) in [([10, 1, 0, 0], 16, 0), ([10, 1, 0, 254], 32, 1), ([0; 4], 0, 2)] {
///     let (value, mask) = Ipv4Key::route(u32::from_be_bytes(network), len);
///     driver.control().insert(Rank::longest_prefix(32, len), value, mask, result)?;
/// }
///
/// // Each turn: the manager takes what waits for it, the node what the manager sends.
/// let mut pool = Pool::new(64, 2112);
/// let now = Nanos::ZERO;
/// driver.serve(now, 32, &mut pool, &mut |_link, packet| Err(packet));
/// node.poll_control(now, 32);
/// # let mut vector = [const { Slot::EMPTY }; 32];
/// node.inject(now, &mut vector[..8]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Driver<B> {
    control: SliceControl<B>,
    manager: Manager,
    results: Results,
    headroom: u32,
    /// Empty between calls.
    outbox: Vec<(To, Packet<B>)>,
    injected: u64,
    delivered: u64,
    lost: Lost,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Driver<B> {
    /// A manager for the slice that `control` controls. What it sends stands in its buffer
    /// behind `headroom` octets, which outer headers need.
    pub fn new(control: SliceControl<B>, config: Config, results: Results, headroom: u32) -> Self {
        let (manager, outbox, lost) = (Manager::new(config), Vec::new(), Lost::default());
        Self { control, manager, results, headroom, outbox, injected: 0, delivered: 0, lost }
    }

    /// The slice's control: for filters, queues and counters. What its results lead to is set
    /// by [`set_result`](Self::set_result), or the manager does not know.
    pub const fn control(&mut self) -> &mut SliceControl<B> {
        &mut self.control
    }

    /// The same, to read.
    pub const fn slice(&self) -> &SliceControl<B> {
        &self.control
    }

    /// The manager.
    pub const fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Packets that the node took.
    pub const fn injected(&self) -> u64 {
        self.injected
    }

    /// Packets that the host took.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Packets that were lost on the way.
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// [`SliceControl::set_result`], and tells the manager. `gateway` is the router that is next,
    /// if it is not a neighbour that packets go to.
    ///
    /// # Errors
    ///
    /// [`Busy`]; nothing has changed. What the node's reply refuses is to be set back.
    pub fn set_result(&mut self, result: u32, action: Action, gateway: Option<u32>) -> Result<Ticket, Busy> {
        let ticket = self.control.set_result(result, action)?;
        self.results.set(result, action, gateway);
        Ok(ticket)
    }

    /// Sees to at most `budget` of the exceptions that wait, and returns to how many. Buffers
    /// come from `buffers` and go there; `host` gets what is for the host, with the slice's link,
    /// or gives it back.
    ///
    /// What the manager sends and nobody takes is counted in [`lost`](Self::lost).
    pub fn serve(
        &mut self, now: Nanos, budget: usize, buffers: &mut dyn Buffers<B>,
        host: &mut dyn FnMut(u16, Packet<B>) -> Result<(), Packet<B>>,
    ) -> usize {
        for served in 0..budget {
            let Some(exception) = self.control.take_exception() else { return served };
            self.exception(now, exception, buffers, host);
        }
        budget
    }

    /// Sees to an exception that was taken from [`control`](Self::control), by whoever had to look
    /// at it first; like [`serve`](Self::serve) otherwise.
    pub fn exception(
        &mut self, now: Nanos, exception: ExceptionPacket<B>, buffers: &mut dyn Buffers<B>,
        host: &mut dyn FnMut(u16, Packet<B>) -> Result<(), Packet<B>>,
    ) -> Fate {
        let packet = exception.packet;
        let received = Received::of(&exception.what, packet.part(exception.what.inner));
        let work = |manager: &mut Manager, ways: &dyn Ways, out: &mut dyn FnMut(Output<'_>)| {
            manager.exception(now, &received, ways, out)
        };
        let fate = self.work(buffers, host, work);
        buffers.give(packet.into_buf());
        fate
    }

    /// Sends a packet of the host's, which came out of the device for the slice's link `link`;
    /// `host` gets what is wrong with it.
    pub fn from_host(
        &mut self, now: Nanos, link: u16, octets: &[u8], buffers: &mut dyn Buffers<B>,
        host: &mut dyn FnMut(u16, Packet<B>) -> Result<(), Packet<B>>,
    ) -> Fate {
        self.work(buffers, host, |manager, ways, out| manager.from_host(now, link, octets, ways, out))
    }

    fn work(
        &mut self, buffers: &mut dyn Buffers<B>,
        host: &mut dyn FnMut(u16, Packet<B>) -> Result<(), Packet<B>>,
        work: impl FnOnce(&mut Manager, &dyn Ways, &mut dyn FnMut(Output<'_>)) -> Fate,
    ) -> Fate {
        let Self { control, manager, results, headroom, outbox, injected, delivered, lost } = self;
        // Put aside: the manager reads the filters while it sends.
        let mut add = |output: Output<'_>| match copy(&output, *headroom, buffers) {
            Some(packet) => outbox.push((output.to, packet)),
            None => lost.no_buffer += 1,
        };
        let fate = work(manager, &results.ways(control), &mut add);
        for (to, packet) in outbox.drain(..) {
            let injection = match to {
                To::InBand { link } => Injection::InBand { packet, link },
                To::Result { result, traffic_class } => Injection::Direct { packet, result, traffic_class },
                To::Host { link } => {
                    match host(link, packet) {
                        Ok(()) => *delivered += 1,
                        Err(back) => {
                            lost.host += 1;
                            buffers.give(back.into_buf());
                        }
                    }
                    continue;
                }
            };
            match control.inject(injection) {
                Ok(()) => *injected += 1,
                Err(Injection::InBand { packet, .. } | Injection::Direct { packet, .. }) => {
                    lost.node += 1;
                    buffers.give(packet.into_buf());
                }
            }
        }
        fate
    }
}

/// A copy of a packet behind `headroom` octets, in a free buffer.
fn copy<B: AsRef<[u8]> + AsMut<[u8]>>(
    output: &Output<'_>, headroom: u32, buffers: &mut dyn Buffers<B>,
) -> Option<Packet<B>> {
    let mut buffer = buffers.take()?;
    let end = (headroom as usize).checked_add(output.octets());
    let room = end.and_then(|end| buffer.as_mut().get_mut(headroom as usize..end));
    match room.and_then(|room| output.copy_to(room)) {
        Some(()) => Packet::new(buffer, headroom, u32::try_from(end?).ok()?).ok(),
        None => {
            buffers.give(buffer);
            None
        }
    }
}
