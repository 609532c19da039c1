//! A run: a node built from a plan, fed by a source, in simulated time.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use fastpath::code_option::ipv4::Ipv4;
use fastpath::code_option::{CodeOption, Context};
use fastpath::exit::{DropReason, Exit};
use fastpath::id::{InterfaceId, SliceId};
use fastpath::io::Buffers;
use fastpath::key::TableKey;
use fastpath::lookup::{Filter, Tcam, TcamConfig, TernaryTable};
use fastpath::node::{Action, Node};
use fastpath::pipeline::{Step, Trace};
use fastpath::slot::Slot;
use fastpath::time::Nanos;
use fastpath::wire::ethernet::Ethernet;

use super::config::{FilterPlan, Kind, Plan, SlicePlan};
use super::feed::{Arrival, Buffer, Source};
use super::label::Label;
use super::manager::Manager;

/// Packets in flight.
pub(crate) const VECTOR: usize = 32;

/// Slots of a vector that may hold packets of slice managers.
const INJECTED: usize = 8;

/// Commands that a slice manager gives before it waits for replies.
const COMMANDS: usize = 64;

/// The node of a run: its code options and its buffers.
pub(crate) type RunNode = Node<(Ipv4, Label), Buffer>;

/// Where frames go that the node sends.
pub(crate) trait Sink {
    /// A frame leaves by `interface` at `at`.
    fn send(&mut self, at: Nanos, interface: usize, frame: &[u8]) -> Result<(), Box<dyn Error>>;
}

/// Counts them, and no more.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, _: Nanos, _: usize, _: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

/// What is asked of a run beside packets.
pub(crate) struct Wishes<'a> {
    /// Send what waits when the source has ended.
    pub(crate) drain: bool,
    /// The packet to be followed, from 1.
    pub(crate) trace: Option<u64>,
    /// Told how many frames have arrived.
    pub(crate) progress: &'a dyn Fn(u64),
}

/// What this program counted itself, by slice, the substrate first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
}

/// Time spent, by stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    pub(crate) source: Duration,
    pub(crate) process: Duration,
    pub(crate) transmit: Duration,
    pub(crate) slow_path: Duration,
}

/// A run that is over.
pub(crate) struct Finished {
    pub(crate) node: RunNode,
    pub(crate) managers: Vec<Manager>,
    pub(crate) tally: Vec<Tally>,
    /// Packets that a full queue dropped, by slice and its queue.
    pub(crate) queue_drops: BTreeMap<(usize, u16), u64>,
    pub(crate) stages: Stages,
    /// Packets that went through `process`.
    pub(crate) processed: u64,
    /// Buffers that the pool made, and those that did not come back: in queues.
    pub(crate) buffers: u64,
    pub(crate) buffers_out: u64,
    pub(crate) first: Nanos,
    pub(crate) last: Nanos,
    pub(crate) trace: Option<Vec<String>>,
}

/// Builds the node. Whatever could be wrong, [`Plan::read`] has refused.
fn build(plan: &Plan) -> Result<(RunNode, Vec<Manager>), Box<dyn Error>> {
    let mut node = Node::new((Ipv4::default(), Label), plan.limits);
    for interface in &plan.interfaces {
        node.add_interface(interface.config)
            .map_err(|error| format!("interface {}: {error}", interface.name))?;
    }
    let mut managers = Vec::new();
    for slice in &plan.slices {
        let named = |error: &dyn std::fmt::Display| format!("slice {}: {error}", slice.name);
        let request = fastpath::node::SliceRequest { commands: COMMANDS, ..slice.request.clone() };
        let mut control = node.admit(request).map_err(|error| named(&error))?;
        for (actions, first) in slice.results.chunks(COMMANDS).zip((0u32..).step_by(COMMANDS)) {
            for (action, result) in actions.iter().zip(first..) {
                control.set_result(result, *action).map_err(|error| named(&error))?;
            }
            node.poll_control(Nanos::ZERO, COMMANDS);
            for reply in control.replies() {
                reply.outcome.map_err(|error| named(&error))?;
            }
        }
        let filters = slice.filters.iter().map(|it| (it.rank, it.value, it.mask, it.result));
        control.load(filters).map_err(|error| named(&error))?;
        managers.push(Manager::new(control, slice));
    }
    Ok((node, managers))
}

/// Follows the packet in one slot.
struct Follow {
    slot: usize,
    lines: Vec<String>,
}

impl Trace for Follow {
    fn wants(&mut self, at: usize, _: &[u8]) -> bool {
        at == self.slot
    }
    fn step(&mut self, step: Step) {
        self.lines.push(step.to_string());
    }
}

/// Finds the queue that a packet was meant for which a full queue refused: the node
/// counts drops by slice. A second table, outside of what is timed.
struct Shadow {
    kind: Kind,
    table: Tcam<u32>,
    results: Vec<Action>,
    /// Ports of the slice's links.
    ports: Vec<u16>,
}

impl Shadow {
    fn new(slice: &SlicePlan) -> Result<Self, Box<dyn Error>> {
        let filters = slice.filters.len();
        let mut table =
            Tcam::new(TcamConfig { filters, slices: 2, lines: u32::MAX, ..TcamConfig::default() });
        let row = |it: &FilterPlan| (it.rank, Filter::new(SliceId(1), it.value, it.mask).into(), it.result);
        table.load(SliceId(1), slice.filters.iter().map(row))?;
        let ports = slice.request.links.iter().map(|link| link.port).collect();
        Ok(Self { kind: slice.kind, table, results: slice.results.clone(), ports })
    }

    /// The queue for `frame`, which has its new outer header.
    fn queue(&self, frame: &[u8]) -> Option<u16> {
        // No unicast MAC address begins with 0x45.
        let ip = if frame.first() == Some(&0x45) { 0 } else { Ethernet::read(frame).ok()?.header };
        let port = u16::from_be_bytes(*frame.get(ip + 20..)?.first_chunk()?);
        let inner = frame.get(ip + 28..)?;
        let found = match self.kind {
            Kind::Ipv4 => {
                // As its manager may have sent it: with options.
                let cx = Context { injected: true, ..Context::of(SliceId(1)) };
                let query = Ipv4::default().parse(inner, &cx).ok()?;
                let result = self.table.lookup(TableKey::new(SliceId(1), query.key))?;
                *self.results.get(result as usize)?
            }
            // The label is that of the next hop already.
            Kind::Label => {
                let next = u64::from(u16::from_be_bytes(*inner.first_chunk()?));
                let here = |action: &&Action| match action {
                    Action::Forward { link, word, .. } => {
                        *word == next && self.ports.get(usize::from(*link)) == Some(&port)
                    }
                    _ => false,
                };
                *self.results.iter().find(here)?
            }
        };
        match found {
            Action::Forward { queue, .. } => Some(queue),
            _ => None,
        }
    }
}

/// Buffers, to be used again; the last one that came back is the warmest.
struct Pool {
    free: Vec<Buffer>,
    octets: usize,
    made: u64,
}

impl Pool {
    fn buffer(&mut self) -> Buffer {
        self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            vec![0; self.octets].into_boxed_slice()
        })
    }
}

impl Buffers<Buffer> for Pool {
    fn take(&mut self) -> Option<Buffer> {
        Some(self.buffer())
    }
    fn give(&mut self, buffer: Buffer) {
        self.free.push(buffer);
    }
}

struct Run<'a> {
    node: RunNode,
    managers: Vec<Manager>,
    interfaces: usize,
    pool: Pool,
    shadows: Vec<Shadow>,
    tally: Vec<Tally>,
    queue_drops: BTreeMap<(usize, u16), u64>,
    stages: Stages,
    processed: u64,
    /// Up to when interfaces have sent.
    clock: Nanos,
    sink: &'a mut dyn Sink,
    failed: Option<Box<dyn Error>>,
}

/// Feeds a node that `plan` describes with all that `source` has.
///
/// # Errors
///
/// Those of building the node, and of `sink`.
pub(crate) fn run(
    plan: &Plan, source: &mut dyn Source, sink: &mut dyn Sink, wishes: &Wishes<'_>,
) -> Result<Finished, Box<dyn Error>> {
    let (node, managers) = build(plan)?;
    let mut run = Run {
        node,
        managers,
        interfaces: plan.interfaces.len(),
        pool: Pool { free: Vec::new(), octets: source.buffer_octets(), made: 0 },
        shadows: plan.slices.iter().map(Shadow::new).collect::<Result<_, _>>()?,
        tally: vec![Tally::default(); plan.slices.len() + 1],
        queue_drops: BTreeMap::new(),
        stages: Stages::default(),
        processed: 0,
        clock: Nanos::ZERO,
        sink,
        failed: None,
    };
    let mut vector = [const { Slot::EMPTY }; VECTOR];
    let (mut arrived, mut now, mut first, mut trace) = (0, Nanos::ZERO, None, None);
    let mut more = true;
    loop {
        let start = Instant::now();
        run.managers.iter_mut().for_each(|manager| manager.serve(now, &mut run.pool));
        // All that managers send: a run ends when there is no more.
        run.node.poll_control(now, usize::MAX);
        let injected = run.node.inject(now, vector.get_mut(..INJECTED).unwrap_or_default());
        run.stages.slow_path += start.elapsed();

        let start = Instant::now();
        let mut follow = None;
        let mut filled = 0;
        for (at, slot) in vector.iter_mut().enumerate().filter(|(_, slot)| slot.packet.is_none()) {
            if !more {
                break;
            }
            match source.next(run.pool.buffer()) {
                Ok(Arrival { at: time, packet, meta }) => {
                    arrived += 1;
                    filled += 1;
                    // The vector is processed when its last frame is there.
                    now = now.max(time);
                    first.get_or_insert(time);
                    if wishes.trace == Some(arrived) {
                        let lines = vec![format!("packet {arrived} at {time}, {} octets", packet.octets())];
                        follow = Some(Follow { slot: at, lines });
                    }
                    *slot = Slot::new(packet, meta);
                }
                Err(buffer) => {
                    run.pool.free.push(buffer);
                    more = false;
                }
            }
        }
        run.stages.source += start.elapsed();
        if filled + injected == 0 {
            break;
        }
        run.transmit(now);

        let start = Instant::now();
        let left = match &mut follow {
            None => run.node.process(now, &mut vector),
            Some(follow) => run.node.process_traced(now, &mut vector, follow),
        };
        run.stages.process += start.elapsed();
        run.processed += (filled + injected) as u64;
        if follow.is_some() {
            trace = follow.map(|follow| follow.lines);
        }
        if left > 0 {
            run.dropped(&mut vector);
        }
        if let Some(error) = run.failed.take() {
            return Err(error);
        }
        if arrived % (1 << 14) < VECTOR as u64 {
            (wishes.progress)(arrived);
        }
    }
    // What was injected last has been processed: the loop ends with an empty vector.
    run.transmit(if wishes.drain { Nanos::MAX } else { now });
    if let Some(error) = run.failed.take() {
        return Err(error);
    }
    let Run { node, managers, pool, tally, queue_drops, stages, processed, clock, .. } = run;
    Ok(Finished {
        node,
        managers,
        tally,
        queue_drops,
        stages,
        processed,
        buffers: pool.made,
        buffers_out: pool.made - pool.free.len() as u64,
        first: first.unwrap_or_default(),
        last: clock.max(now),
        trace,
    })
}

impl Run<'_> {
    /// Lets the interfaces send what is due up to `now`, each packet at its time.
    fn transmit(&mut self, now: Nanos) {
        let start = Instant::now();
        let Self { node, tally, sink, pool, failed, clock, .. } = self;
        while let Some(due) = node.next_due(*clock).filter(|due| *due <= now) {
            *clock = due.max(*clock);
            let mut sent = 0;
            for interface in 0..self.interfaces {
                let free = std::cell::RefCell::new(&mut pool.free);
                let send = |departure: fastpath::queue::Departure<fastpath::packet::Packet<Buffer>>| {
                    if let Some(tally) = tally.get_mut(usize::from(departure.owner.0)) {
                        tally.sent += 1;
                    }
                    if let Err(error) = sink.send(*clock, interface, departure.handle.bytes()) {
                        failed.get_or_insert(error);
                    }
                    free.borrow_mut().push(departure.handle.into_buf());
                    Ok(())
                };
                let recycle =
                    |packet: fastpath::packet::Packet<Buffer>| free.borrow_mut().push(packet.into_buf());
                let drained = node.transmit(*clock, InterfaceId(interface as u16), usize::MAX, send, recycle);
                sent += drained.sent + drained.dropped;
            }
            if sent == 0 {
                break;
            }
        }
        // What is queued from here on leaves from here on.
        if now < Nanos::MAX {
            *clock = now.max(*clock);
        }
        self.stages.transmit += start.elapsed();
    }

    /// Takes what was dropped out of the vector, counts it, and keeps the buffers.
    fn dropped(&mut self, vector: &mut [Slot<Buffer>]) {
        for slot in vector {
            let (Some(packet), Some((slice, exit))) = (slot.packet.take(), slot.exit.take()) else {
                continue;
            };
            let slice = usize::from(slice.0);
            if let Some(tally) = self.tally.get_mut(slice) {
                tally.dropped += 1;
            }
            if [DropReason::QueueFull, DropReason::NoBuffer].map(Exit::Drop).contains(&exit) {
                let shadow = slice.checked_sub(1).and_then(|at| self.shadows.get(at));
                if let Some(queue) = shadow.and_then(|shadow| shadow.queue(packet.bytes())) {
                    *self.queue_drops.entry((slice - 1, queue)).or_default() += 1;
                }
            }
            self.pool.free.push(packet.into_buf());
        }
    }
}
