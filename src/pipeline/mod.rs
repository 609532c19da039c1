//! The blocks of Figure 4, joined: [`FastPath`] is Substrate Decap to Header Format
//! with Statistics, and [`drain`] takes what it queued to Tx.
//!
//! A pipeline without std or an allocator, in twenty lines:
//!
//! ```
//! use core::net::{Ipv4Addr, SocketAddrV4};
//! use fastpath::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One link of slice 1: UDP port 20,001 of this node, to a peer at 10.0.0.9:30000.
//! let ours = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 20_001);
//! let peer = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 30_000);
//! let admission = Admission { slice: SliceId(1), ..Admission::NONE };
//! let mut ports = UdpPorts::new([PortEntry::EMPTY; 8]);
//! ports.open(*ours.ip(), ours.port(), PortConfig::new(admission))?;
//!
//! // Its one route, 10.0.0.0/8, leads back through that link by queue 0.
//! let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
//! let mut table = LinearTcam::new([None; 16]);
//! let way_out = EgressId::new(0).unwrap();
//! table.insert(Rank::longest_prefix(32, 8), Filter::new(SliceId(1), value, mask), way_out)?;
//! let egress = [Egress::forward(&Tunnel::new(LinkLayer::Ip, ours, peer), QueueId(0), 1472)?];
//! const QUANTUM: Quantum = Quantum::of_longest(1500);
//! let lines = [Line::NEW; fastpath::queue::lines(1, QUANTUM)];
//! let mut queues = Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 64], lines, QUANTUM)?;
//! queues.configure(QueueId(0), QueueConfig::new(SliceId(1)))?;
//!
//! let mut fast_path = FastPath {
//!     decap: ports,
//!     options: (Ipv4::default(),),
//!     table,
//!     egress,
//!     sram: NoSram,
//!     stats: Counters { egresses: [Count::ZERO; 1], queues: [Count::ZERO; 1], slices: [Count::ZERO; 2 * ROW] },
//! };
//!
//! // A vector of up to 32 packets comes in; here it is one that a TUN device received.
//! # let inner = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xae, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];
//! # let to_us = Egress::forward(&Tunnel::new(LinkLayer::Ip, peer, ours), QueueId(0), 1472)?;
//! # let mut packet = Packet::with_headroom([0u8; 256], 64, &inner).unwrap();
//! # packet.edit(packet.whole(), |p| to_us.encapsulate(p, &Default::default(), &())).unwrap();
//! let mut vector = [const { Slot::EMPTY }; 32];
//! vector[0] = Slot::new(packet, RxMeta::IP);
//! let now = Nanos::ZERO;
//! let left = fast_path.process(now, &mut vector, &mut queues, &mut NoSlowPath);
//! assert_eq!(left, 0, "nothing was dropped");
//! let sent = queues.dequeue(now).unwrap().handle;
//! assert_eq!(sent.bytes()[28 + 8], 63, "one hop less to live");
//! # Ok(())
//! # }
//! ```
//!
//! What leaves early stays in its slot, as it came, with the slice and the exit beside
//! it, unless the [`SlowPath`] takes it.

mod drain;
mod police;
mod slow_path;
mod trace;

pub use drain::{Drained, drain, drain_with};
pub use police::{NoPolice, Police};
pub use slow_path::{Exceptional, KeepInSlot, NoSlowPath, SlowPath};
pub use trace::{NoTrace, Step, Trace};

use crate::arch::prefetch;
use crate::code_option::{Answer, CodeOptionSet, Context, Outgoing, Query};
use crate::decap::{Decap, Inner};
use crate::egress::{Egress, EgressTable};
use crate::exit::{DropReason, Exit};
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::TernaryTable;
use crate::packet::{Packet, Window};
use crate::queue::{Arrival, WdrrScheduler};
use crate::slot::{Admission, Endpoint, Layer, Slot};
use crate::sram::SliceSram;
use crate::stats::{Event, StatsBlock};
use crate::time::Nanos;

/// Substrate Decap, Parse, Lookup and Header Format, joined.
///
/// The fields are public and there is no builder: wiring a pipeline is writing down
/// its six parts. A core owns one; tables and slice memory may be shared by reference.
#[derive(Clone, Debug)]
pub struct FastPath<D, C, T, E, M, S> {
    /// Substrate Decap.
    pub decap: D,
    /// Parse and Header Format, for every code option in use.
    pub options: C,
    /// Lookup.
    pub table: T,
    /// The ways out that its results name.
    pub egress: E,
    /// Slice memory.
    pub sram: M,
    /// Statistics.
    pub stats: S,
}

/// So many egresses stay in the second level cache; more are fetched ahead.
const CACHED: usize = 4096;

/// Packets that are looked up together. 16 reads in flight are what a core has.
const GROUP: usize = 16;

/// What the second half must know of a packet. In step with the keys; a lane of a
/// packet that left is like that of a slot with none.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    admission: Admission,
    window: Window,
    carry: u64,
    source: Endpoint,
    outer_class: u8,
    injected: bool,
    /// Drop precedence, if anybody [polices](Police). As wide as the two above together: a lane
    /// is cleared word by word.
    precedence: u16,
}

impl<D, C, T, E, M, S> FastPath<D, C, T, E, M, S>
where
    D: Decap,
    C: CodeOptionSet,
    T: TernaryTable<Value = EgressId>,
    E: EgressTable,
    M: SliceSram,
    S: StatsBlock,
{
    /// Takes a vector of packets through the blocks and into `queues`. Returns how
    /// many packets are left in `vector`, each with its exit.
    ///
    /// The array's length is the number of packets in flight: 32, or 64 where tables
    /// do not fit a cache. The headers of all of them are fetched first, a key's table
    /// line while the next packets are parsed, an egress (where there are many) while the
    /// next one is. Nothing is
    /// allocated.
    ///
    /// What an earlier call left in a slot is to be taken out first: it would be seen,
    /// and counted, again.
    ///
    /// Every packet is counted: as queued, as dropped, or as handed to `slow_path`. A
    /// packet that is left or handed over is as it came, unless its queue was full or
    /// it could not be encapsulated.
    #[inline(never)]
    pub fn process<B, Q, X, const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], queues: &mut Q, slow_path: &mut X,
    ) -> usize
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
        Q: WdrrScheduler<Handle = Packet<B>> + ?Sized,
        X: SlowPath<B> + ?Sized,
    {
        self.run(now, vector, queues, slow_path, &mut NoPolice, &mut NoTrace)
    }

    /// [`process`](Self::process), and tells `trace` what each block saw and decided
    /// of the packets it asked for. Compiled for itself, so that `process` pays
    /// nothing for it.
    #[inline(never)]
    pub fn process_traced<B, Q, X, R, const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], queues: &mut Q, slow_path: &mut X, trace: &mut R,
    ) -> usize
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
        Q: WdrrScheduler<Handle = Packet<B>> + ?Sized,
        X: SlowPath<B> + ?Sized,
        R: Trace + ?Sized,
    {
        self.run(now, vector, queues, slow_path, &mut NoPolice, trace)
    }

    /// [`process_traced`](Self::process_traced) of packets that links bring at most as fast as
    /// `police` lets them. Compiled for itself, too; [`NoTrace`] sees nothing of it.
    #[inline(never)]
    pub fn process_policed<B, Q, X, P, R, const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], queues: &mut Q, slow_path: &mut X, police: &mut P,
        trace: &mut R,
    ) -> usize
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
        Q: WdrrScheduler<Handle = Packet<B>> + ?Sized,
        X: SlowPath<B> + ?Sized,
        P: Police,
        R: Trace + ?Sized,
    {
        self.run(now, vector, queues, slow_path, police, trace)
    }

    #[inline(always)]
    fn run<B, Q, X, P, R, const N: usize>(
        &mut self, now: Nanos, vector: &mut [Slot<B>; N], queues: &mut Q, slow_path: &mut X, police: &mut P,
        trace: &mut R,
    ) -> usize
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
        Q: WdrrScheduler<Handle = Packet<B>> + ?Sized,
        X: SlowPath<B> + ?Sized,
        P: Police,
        R: Trace + ?Sized,
    {
        let Self { decap, options, table, egress, sram, stats } = self;
        let mut lanes = [Lane::default(); N];
        let mut keys = [TableKey::default(); N];
        let mut left = 0;

        // The receiver may not have touched the headers, or long ago.
        for packet in vector.iter().filter_map(|slot| slot.packet.as_ref()) {
            packet.prefetch();
        }

        // Substrate Decap and Parse: the header is in cache for both.
        let (mut next_lane, mut next_key) = (lanes.iter_mut(), keys.iter_mut());
        for (at, slot) in vector.iter_mut().enumerate() {
            let (Some(lane), Some(key)) = (next_lane.next(), next_key.next()) else { break };
            let Some(packet) = &slot.packet else {
                nothing();
                continue;
            };
            slot.exit = None;
            let frame = packet.bytes();
            let traced = trace.wants(at, frame);
            let mut admit = || -> Result<(), Exit> {
                let injected = slot.meta.layer == Layer::Injected;
                let inner = if injected {
                    // By field: a result that a call writes would stay in memory for all.
                    lane.injected = true;
                    injection(packet.octets(), slot.meta.admission).map(|inner| {
                        let Inner { admission, offset, len, source, traffic_class } = inner;
                        Inner { admission, offset, len, source, traffic_class }
                    })
                } else {
                    decap.decap(frame, &slot.meta)
                };
                if traced {
                    trace.step(Step::Decap(inner));
                }
                let Inner { admission, offset, len, source, traffic_class } = inner?;
                let (window, octets) = packet.whole().inner(frame, offset, len)?;
                // Written as soon as it is known: what is not kept for `parse` to end
                // need not be put aside.
                (lane.admission, lane.window) = (admission, window);
                (lane.source, lane.outer_class) = (source, traffic_class);
                if P::ACTIVE && !injected {
                    lane.precedence = police.police(now, admission, len.into())?.into();
                }
                let cx = context(lane, now, sram);
                let query = options.parse(admission.option, octets, &cx);
                if traced {
                    trace.step(Step::Parse(query));
                }
                let Query { key: asked, carry } = query?;
                *key = TableKey::new(admission.slice, asked);
                table.prefetch(*key);
                lane.carry = carry;
                Ok(())
            };
            if let Err(exit) = admit() {
                let admitted = core::mem::take(lane);
                let stays = leave(now, exit, &admitted, slot, slow_path, stats);
                left += usize::from(stays);
                if traced {
                    trace.step(Step::Exit(slot.exit.unwrap_or((admitted.admission.slice, exit))));
                }
            }
        }

        // The rest in groups: while the first is looked up and rewritten, the lines of the
        // last arrive.
        table.prefetch_deeper(&keys);
        let groups = keys.chunks(GROUP).zip(lanes.chunks(GROUP)).zip(vector.chunks_mut(GROUP));
        for (group, ((keys, lanes), slots)) in groups.enumerate() {
            // Lookup. Keys of empty lanes belong to the substrate, whose slice number no
            // filter has.
            let mut found = [None; GROUP];
            table.lookup_batch(keys, &mut found);
            if egress.count() > CACHED {
                for egress in found.iter().flatten().filter_map(|id| egress.egress(*id)) {
                    prefetch(egress);
                }
            }

            // Header Format and Queue Manager.
            let lanes = lanes.iter().zip(&found);
            for (at, (slot, (lane, found))) in (group * GROUP..).zip(slots.iter_mut().zip(lanes)) {
                let Admission { slice, option, .. } = lane.admission;
                if slice == SliceId::SUBSTRATE {
                    continue;
                }
                let Some(mut packet) = slot.packet.take() else { continue };
                let traced = trace.wants(at, packet.bytes());
                if traced {
                    trace.step(Step::Lookup(*found));
                }
                let formatted = packet.edit(lane.window, |packet| {
                    let Some(id) = *found else { return Err(DropReason::NoMatch.into()) };
                    let Some(record) = egress.egress(id) else { return Err(DropReason::NoMatch.into()) };
                    if let Some(exit) = record.exit() {
                        return Err(exit);
                    }
                    let answer = Answer { word: record.word(), carry: lane.carry, mtu: record.mtu() };
                    let cx = context(lane, now, sram);
                    let outgoing = options.format(option, packet, answer, &cx);
                    if traced {
                        trace.step(Step::Format(outgoing));
                    }
                    let outgoing = outgoing?;
                    record.encapsulate_flow(packet, &outgoing, egress, |inner| {
                        options.flow_hash(lane.admission.option, inner)
                    })?;
                    Ok::<(EgressId, &Egress, Outgoing), Exit>((id, record, outgoing))
                });
                let octets = packet.octets();
                let exit = match formatted {
                    Ok((id, record, outgoing)) => {
                        let ecn_capable = record.ecn_capable(&outgoing);
                        let precedence = if P::ACTIVE { lane.precedence as u8 } else { 0 };
                        let arrival = Arrival { octets, precedence, ecn_capable };
                        match queues.enqueue(now, record.queue(), packet, arrival) {
                            Ok(()) => {
                                stats.record(Event::Queued(id), octets);
                                if traced {
                                    trace.step(Step::Queued { queue: record.queue(), octets });
                                }
                                continue;
                            }
                            Err(rejected) => {
                                packet = rejected.handle;
                                rejected.reason.into()
                            }
                        }
                    }
                    Err(exit) => exit,
                };
                slot.packet = Some(packet);
                let stays = leave(now, exit, lane, slot, slow_path, stats);
                left += usize::from(stays);
                if traced {
                    trace.step(Step::Exit(slot.exit.unwrap_or((slice, exit))));
                }
            }
        }
        table.quiescent();
        left
    }
}

/// Keeps the loops over a vector in one piece: without a call the compiler goes over
/// empty slots in a loop of their own, and counts pointers anew for each that is not.
#[cold]
#[inline(never)]
fn nothing() {
    core::hint::black_box(());
}

/// What a code option sees besides the packet of `lane`.
#[inline(always)]
fn context<'a, M: SliceSram>(lane: &Lane, now: Nanos, sram: &'a M) -> Context<'a> {
    let Lane { admission, source, outer_class, injected, .. } = *lane;
    let Admission { slice, link, dscp, .. } = admission;
    Context { slice, link, now, source, outer_class, dscp, injected, sram: sram.region(slice) }
}

/// A packet of a slice manager needs no decapsulation.
#[cold]
fn injection(octets: u32, admission: Admission) -> Result<Inner, DropReason> {
    let len = u16::try_from(octets).map_err(|_| DropReason::TooLong)?;
    if admission.slice == SliceId::SUBSTRATE {
        return Err(DropReason::UnknownSlice);
    }
    // There was no tunnel whose DSCP could come in.
    let admission = Admission { dscp: crate::slot::DscpModel::Pipe, ..admission };
    Ok(Inner { admission, offset: 0, len, source: Endpoint::NONE, traffic_class: 0 })
}

/// Counts a packet that leaves early, and offers it to the slow path if it is an
/// exception. Whether it stays in its slot.
#[cold]
#[inline(never)]
fn leave<B, X, S>(
    now: Nanos, exit: Exit, lane: &Lane, slot: &mut Slot<B>, slow_path: &mut X, stats: &mut S,
) -> bool
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    X: SlowPath<B> + ?Sized,
    S: StatsBlock + ?Sized,
{
    let slice = lane.admission.slice;
    let octets = slot.packet.as_ref().map_or(0, Packet::octets);
    slot.exit = Some((slice, exit));
    let exit = match exit {
        Exit::Drop(_) => exit,
        Exit::SlowPath(exception) => {
            let exceptional = Exceptional {
                admission: lane.admission,
                exception,
                inner: lane.window,
                source: lane.source,
                outer_class: lane.outer_class,
                injected: lane.injected,
            };
            match slow_path.hand_over(now, &exceptional, slot) {
                Ok(()) => exit,
                Err(reason) => reason.into(),
            }
        }
    };
    stats.record(Event::Left(slice, exit), octets);
    if slot.packet.is_none() {
        slot.exit = None;
        return false;
    }
    slot.exit = Some((slice, exit));
    true
}

#[cfg(test)]
mod tests;
