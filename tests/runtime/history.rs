//! Whatever happens to one worker or to several, each packet and each buffer is accounted for.

use std::sync::Arc;

use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::node::{
    Action, ExceptionPacket, Injection, InterfaceConfig, Levels, Limits, LinkRequest, Node, Policing, Policy,
    PriorityClass, QueueRequest, Remains, Scheduling, SliceControl,
};
use fastpath::prelude::*;
use fastpath::queue::policy::{CoDelConfig, RedConfig, RedUnit};
use fastpath::runtime::{Fleet, Report, Settings};
use proptest::prelude::*;

use crate::wire::{Counted, Store, Wire, buffer};
use crate::world::{Label, frame, ipv4, peer, request, route};

type Options = (Ipv4, Label);
type Workers = Fleet<Options, Counted, Store>;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Packets come at a worker's port of an interface, for one of the slices or for none.
    Arrive {
        worker: usize,
        at: u8,
        port: u16,
        option: u8,
        count: u8,
        flow: u8,
        /// An octet of each that is another: where, and which.
        wrong: Option<(u8, u8)>,
    },
    /// Time passes, and a worker takes turns.
    Turns {
        worker: usize,
        micros: u16,
        count: u8,
    },
    /// A port takes more.
    Room {
        worker: usize,
        at: u16,
        room: u8,
    },
    Admit {
        option: u8,
    },
    Withdraw(usize),
    /// A manager lets go of its handle.
    Forget(usize),
    /// It takes exceptions, and keeps some.
    Exceptions {
        of: usize,
        keep: bool,
    },
    Inject {
        of: usize,
        direct: bool,
        flow: u8,
    },
    Command {
        of: usize,
        result: u32,
    },
    OpenLink {
        of: usize,
        port: u16,
    },
    CloseLink {
        of: usize,
        link: u16,
    },
    Peer {
        of: usize,
        link: u16,
        host: u8,
    },
    Rate {
        at: u16,
        kilo: u32,
    },
    /// A port is taken away and put back later.
    Port {
        worker: usize,
        at: u16,
    },
    /// An interface goes, or comes.
    Interface,
    AddQueue {
        of: usize,
        request: QueueRequest,
    },
    ChangeQueue {
        of: usize,
        queue: u16,
        request: QueueRequest,
    },
    RemoveQueue {
        of: usize,
        queue: u16,
        remains: Remains,
    },
    Police {
        of: usize,
        link: Option<u16>,
        kilo: u32,
    },
}

fn queue() -> impl Strategy<Value = QueueRequest> {
    let red = RedConfig { weight: 1, ..RedConfig::recommended(RedUnit::Packets, 3, Nanos(1000)) };
    let codel = CoDelConfig {
        target: Nanos::from_micros(20),
        interval: Nanos::from_micros(40),
        ..CoDelConfig::INTERNET
    };
    let policy = prop_oneof![Just(Policy::TailDrop), Just(Policy::Red(red)), Just(Policy::CoDel(codel))];
    (0..2u16, 1..9u32, 1..60u32, policy, any::<bool>()).prop_map(|(at, weight, limit, policy, priority)| {
        QueueRequest { limit_packets: limit, policy, priority, ..QueueRequest::new(InterfaceId(at), weight) }
    })
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let wrong = prop_oneof![99 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    let of = 0..3usize;
    let worker = 0..2usize;
    prop_oneof![
        8 => (worker.clone(), 0..2u8, 0..5u16, 0..2u8, 1..60u8, any::<u8>(), wrong).prop_map(
            |(worker, at, port, option, count, flow, wrong)|
                Op::Arrive { worker, at, port, option, count, flow, wrong }),
        10 => (worker.clone(), 0..500u16, 1..12u8).prop_map(|(worker, micros, count)| Op::Turns { worker, micros, count }),
        4 => (worker.clone(), 0..2u16, 0..60u8).prop_map(|(worker, at, room)| Op::Room { worker, at, room }),
        3 => (0..2u8).prop_map(|option| Op::Admit { option }),
        1 => of.clone().prop_map(Op::Withdraw),
        1 => of.clone().prop_map(Op::Forget),
        1 => (of.clone(), any::<bool>()).prop_map(|(of, keep)| Op::Exceptions { of, keep }),
        3 => (of.clone(), any::<bool>(), any::<u8>()).prop_map(|(of, direct, flow)| Op::Inject { of, direct, flow }),
        2 => (of.clone(), 0..6u32).prop_map(|(of, result)| Op::Command { of, result }),
        1 => (of.clone(), 0..6u16).prop_map(|(of, port)| Op::OpenLink { of, port }),
        1 => (of.clone(), 0..4u16).prop_map(|(of, link)| Op::CloseLink { of, link }),
        1 => (of, 0..4u16, any::<u8>()).prop_map(|(of, link, host)| Op::Peer { of, link, host }),
        1 => (0..2u16, 1..2_000_000u32).prop_map(|(at, kilo)| Op::Rate { at, kilo }),
        1 => (worker, 0..2u16).prop_map(|(worker, at)| Op::Port { worker, at }),
        1 => Just(Op::Interface),
        2 => (0..3usize, queue()).prop_map(|(of, request)| Op::AddQueue { of, request }),
        1 => (0..3usize, 0..4u16, queue())
            .prop_map(|(of, queue, request)| Op::ChangeQueue { of, queue, request }),
        1 => (0..3usize, 0..4u16, any::<bool>()).prop_map(|(of, queue, drops)| {
            Op::RemoveQueue { of, queue, remains: if drops { Remains::Drop } else { Remains::Send } }
        }),
        1 => (0..3usize, prop::option::of(0..3u16), 1..2_000_000u32)
            .prop_map(|(of, link, kilo)| Op::Police { of, link, kilo }),
    ]
}

pub(crate) struct World {
    fleet: Workers,
    wires: Vec<[Wire; 2]>,
    controls: Vec<SliceControl<Counted>>,
    kept: Vec<ExceptionPacket<Counted>>,
    all: Arc<()>,
    now: Nanos,
    arrived: u64,
    room: u64,
    scheduling: Scheduling,
}

/// Ports of the slices: 100 and up, 110 and up, ...
fn port_of(slice: SliceId, link: u16) -> u16 {
    90 + 10 * slice.0 + link
}

fn interface(at: u8, scheduling: Scheduling) -> InterfaceConfig {
    let rate = Rate::bits_per_second(200_000_000).unwrap();
    InterfaceConfig { scheduling, ..InterfaceConfig::ip([10, 0, at, 1].into(), rate) }
}

pub(crate) fn schedulings() -> [Scheduling; 4] {
    let class = PriorityClass { queues: 3, rate: Rate::bits_per_second(50_000_000).unwrap(), burst: 4096 };
    let with = |levels| Scheduling::Managed { levels, priority: Some(class) };
    [Scheduling::Plain, Scheduling::POLICIES, with(Levels::Queues), with(Levels::Slices)]
}

macro_rules! at_worker {
    ($world:ident, $worker:expr, |$it:ident| $body:expr) => {
        if $worker == 0 || $world.fleet.others.is_empty() {
            let $it = &mut $world.fleet.first;
            $body
        } else {
            let $it = &mut $world.fleet.others[0];
            $body
        }
    };
}

impl World {
    /// With a slice of each option.
    pub(crate) fn new(workers: usize, ring: usize, scheduling: Scheduling) -> Self {
        let limits = Limits {
            slices: 3,
            queues: 8,
            descriptors: 600,
            sram_words: 64,
            ports: 16,
            workers: 2,
            ..Limits::default()
        };
        let options = (Ipv4::default(), Label);
        let mut node = Node::new(options, limits);
        (0..2).for_each(|at| assert!(node.add_interface(interface(at, scheduling)).is_ok()));
        let all = Arc::new(());
        let settings = Settings { control_every: 2, ring, ..Settings::default() };
        let fleet = Fleet::new(node, &options, workers, |_| Store::of(&all, 64), settings).unwrap();
        let wires = (0..workers).map(|_| [Wire::new(20), Wire::new(20)]).collect();
        let mut world = Self {
            fleet,
            wires,
            controls: Vec::new(),
            kept: Vec::new(),
            all,
            now: Nanos::ZERO,
            arrived: 0,
            room: 0,
            scheduling,
        };
        for worker in 0..workers {
            (0..2).for_each(|at| world.bind(worker, at));
        }
        world.admit(0);
        world.admit(1);
        world
    }

    /// Forgets what was sent, and lets go of what slice managers keep.
    pub(crate) fn tidy(&mut self) {
        self.wires.iter().flatten().for_each(|wire| wire.with(|it| it.sent.clear()));
        self.kept.clear();
    }

    /// Buffers that are somewhere.
    pub(crate) fn buffers(&self) -> usize {
        // The world's own handle, and one in each store.
        Arc::strong_count(&self.all) - 1 - self.wires.len()
    }

    /// Packets that came.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    fn bind(&mut self, worker: usize, at: u16) {
        let port = Box::new(self.wires[worker][usize::from(at)].clone());
        at_worker!(self, worker, |it| drop(it.add_port(InterfaceId(at), Layer::Ip, port)));
    }

    fn turns(&mut self, worker: usize, count: u8) {
        for _ in 0..count {
            at_worker!(self, worker, |it| it.turn(self.now));
        }
    }

    fn packet(&self, flow: u8) -> Packet<Counted> {
        let inner = ipv4(64, [10 + flow % 5, 1, 2, flow], 53);
        Packet::with_headroom(buffer(&self.all), 128, &inner).unwrap()
    }

    fn admit(&mut self, option: u8) {
        let mut asked = request(option, 0);
        (asked.filters, asked.slow_path.waiting, asked.slow_path.burst) = (16, 8, 16);
        asked.queues.iter_mut().for_each(|queue| queue.limit_packets = 100);
        // The number that it will have.
        let taken: Vec<_> = self.fleet.first.forward().slices().collect();
        let Some(slice) = (1..4).map(SliceId).find(|slice| !taken.contains(slice)) else { return };
        for (link, number) in asked.links.iter_mut().zip(0..) {
            link.port = port_of(slice, number);
        }
        let Ok(mut control) = self.fleet.first.forward_mut().admit(asked) else { return };
        for (result, action) in
            [Action::forward(0, 0), Action::forward(1, 1), Action::SlowPath(Exception::Local), Action::Drop]
                .into_iter()
                .enumerate()
        {
            control.set_result(result as u32, action).unwrap();
        }
        for (network, result) in (10..14).zip(0..) {
            let (rank, value, mask) = route([network, 0, 0, 0], 8);
            control.insert(rank, value, mask, result).unwrap();
            let mask = LookupKey::new(0xff);
            control.insert(Rank(1), LookupKey::new(network.into()), mask, result).unwrap();
        }
        self.controls.push(control);
    }

    pub(crate) fn step(&mut self, op: Op) {
        let workers = self.wires.len();
        let slice = |of: usize, world: &Self| world.controls.get(of).map(SliceControl::slice);
        match op {
            Op::Arrive { worker, at, port, option, count, flow, wrong } => {
                let to = 100 + 10 * (port % 4) + u16::from(at);
                for n in 0..count {
                    let flow = flow.wrapping_add(n % 16);
                    let inner = match option {
                        0 => ipv4(64, [10 + flow % 6, 1, 2, flow], 53 + u16::from(n % 3)),
                        _ => vec![flow % 16, 2, 3, n, 5],
                    };
                    let mut octets = frame(at, to, &inner).bytes().to_vec();
                    if let Some((place, octet)) = wrong {
                        let place = usize::from(place) % octets.len();
                        octets[place] = octet;
                    }
                    self.wires[worker % workers][usize::from(at)].put(&octets);
                    self.arrived += 1;
                }
            }
            Op::Turns { worker, micros, count } => {
                self.now += Nanos::from_micros(micros.into());
                self.turns(worker, count);
            }
            Op::Room { worker, at, room } => {
                self.wires[worker % workers][usize::from(at)].with(|state| state.room += usize::from(room));
                self.room += u64::from(room);
            }
            Op::Admit { option } => self.admit(option),
            Op::Withdraw(of) => {
                if let Some(slice) = slice(of, self) {
                    self.fleet.first.forward_mut().withdraw(slice);
                }
            }
            Op::Forget(of) => {
                if of < self.controls.len() {
                    let control = self.controls.remove(of);
                    // Else its slice would stay for good.
                    self.fleet.first.forward_mut().withdraw(control.slice());
                }
            }
            Op::Exceptions { of, keep } => {
                let Some(control) = self.controls.get_mut(of) else { return };
                let taken = core::iter::from_fn(|| control.take_exception());
                self.kept.extend(taken.filter(|_| keep));
            }
            Op::Inject { of, direct, flow } => {
                let packet = self.packet(flow);
                let Some(control) = self.controls.get_mut(of) else { return };
                let _ = control.inject(if direct {
                    Injection::Direct { packet, result: u32::from(flow % 5), traffic_class: 0 }
                } else {
                    Injection::InBand { packet, link: 0 }
                });
            }
            Op::Command { of, result } => {
                let Some(control) = self.controls.get_mut(of) else { return };
                let _ = control.set_result(result, Action::forward((result % 3) as u16, (result % 2) as u16));
                control.replies().for_each(drop);
            }
            Op::OpenLink { of, port } => {
                let Some(slice) = slice(of, self) else { return };
                let link = LinkRequest::new(InterfaceId(port % 2), port_of(slice, port), peer().into());
                let _ = self.fleet.first.forward_mut().open_link(slice, link);
            }
            Op::CloseLink { of, link } => {
                let Some(slice) = slice(of, self) else { return };
                let _ = self.fleet.first.forward_mut().close_link(slice, link);
            }
            Op::Peer { of, link, host } => {
                let Some(slice) = slice(of, self) else { return };
                let to = std::net::SocketAddrV4::new([10, 7, 7, host].into(), 9);
                let _ = self.fleet.first.forward_mut().set_peer(slice, link, to);
            }
            Op::Rate { at, kilo } => {
                let rate = Rate::bits_per_second(u64::from(kilo) * 1000).unwrap();
                let _ = self.fleet.first.forward_mut().set_rate(self.now, InterfaceId(at), rate);
            }
            Op::Port { worker, at } => {
                let worker = worker % workers;
                let removed = at_worker!(self, worker, |it| it.remove_port(InterfaceId(at)).is_some());
                if !removed {
                    self.bind(worker, at);
                }
            }
            Op::Interface => {
                let node = self.fleet.first.forward_mut();
                if node.remove_interface(InterfaceId(1)).is_err() {
                    let _ = node.add_interface(interface(1, self.scheduling));
                }
            }
            Op::AddQueue { of, request } => {
                let Some(slice) = slice(of, self) else { return };
                let added = self.fleet.first.forward_mut().add_queue(slice, request);
                if let (Ok(number), Some(control)) = (added, self.controls.get_mut(of)) {
                    let result = u32::from(request.interface.0);
                    let _ = control.set_result(result, Action::forward(request.interface.0, number));
                    control.replies().for_each(drop);
                }
            }
            Op::ChangeQueue { of, queue, request } => {
                let Some(slice) = slice(of, self) else { return };
                let _ = self.fleet.first.forward_mut().change_queue(slice, queue, request);
            }
            Op::RemoveQueue { of, queue, remains } => {
                let Some(slice) = slice(of, self) else { return };
                let _ = self.fleet.first.forward_mut().remove_queue(slice, queue, remains);
            }
            Op::Police { of, link, kilo } => {
                let Some(slice) = slice(of, self) else { return };
                let rate = Rate::bits_per_second(u64::from(kilo) * 1000).unwrap();
                let policing = Some(Policing::limit(rate, 3000)).filter(|_| kilo % 5 > 0);
                let _ = self.fleet.first.forward_mut().set_policer(slice, link, policing);
            }
        }
    }

    /// What must hold between two turns, whatever happened.
    pub(crate) fn check(&self) -> Result<Vec<Report>, TestCaseError> {
        let others = self.fleet.others.iter().map(|worker| worker.report());
        let reports: Vec<_> = core::iter::once(self.fleet.first.report()).chain(others).collect();
        for report in &reports {
            prop_assert!(report.is_exact(), "{:#?}", report);
            for port in &report.ports {
                prop_assert_eq!(port.inside(), 0, "nothing waits inside of a wire");
            }
        }
        let sum = |of: fn(&Report) -> u64| -> u64 { reports.iter().map(of).sum() };
        let arriving: usize = self.wires.iter().flatten().map(|wire| wire.with(|it| it.arriving.len())).sum();
        prop_assert_eq!(sum(|it| it.received) + arriving as u64, self.arrived);
        prop_assert_eq!(sum(|it| it.handed), sum(|it| it.taken) + sum(|it| it.left_behind));
        // The node's account of a slice is what its workers counted.
        for slice in self.fleet.first.forward().slices() {
            // Who has let go of a slice has added it to those that are gone.
            if !reports.iter().all(|report| report.slices.iter().any(|(it, _)| *it == slice)) {
                continue;
            }
            let of = |report: &Report| report.slices.iter().find(|(it, _)| *it == slice).map(|it| it.1);
            let counted =
                reports.iter().filter_map(of).fold(Default::default(), fastpath::node::Account::plus);
            prop_assert_eq!(self.fleet.first.forward().account(slice), counted);
        }
        Ok(reports)
    }
}

fn run(
    workers: usize, ring: usize, kind: usize, history: Vec<Op>, patience: u64,
) -> Result<(), TestCaseError> {
    let mut world = World::new(workers, ring, schedulings()[kind]);
    for op in history {
        world.step(op);
        world.check()?;
    }
    end(world, patience)
}

/// Stops, and counts buffers.
pub(crate) fn end(mut world: World, patience: u64) -> Result<(), TestCaseError> {
    let workers = world.wires.len();
    // Stopped at any time: those who hand over, first; then nothing comes any more.
    let deadline = world.now + Nanos::from_micros(patience);
    let mut clock = Simulated(world.now);
    world.fleet.others.iter_mut().for_each(|worker| worker.stop(deadline));
    world.fleet.first.stop(deadline);
    for _ in 0..40 {
        world.turns(1, 1);
        world.turns(0, 1);
    }
    world.check()?;
    // Each ends by itself when its time is up.
    let first = world.fleet.first.run(&mut clock);
    let others: Vec<_> = world.fleet.others.iter_mut().map(|worker| worker.run(&mut clock)).collect();
    prop_assert_eq!(core::iter::once(first).chain(others).collect::<Vec<_>>(), world.check()?);
    // Buffers: those that are free, and one for each packet that waits. What waits with slice
    // managers goes with them.
    world.kept.clear();
    for control in core::mem::take(&mut world.controls) {
        world.fleet.first.forward_mut().withdraw(control.slice());
    }
    (0..40).for_each(|turn| world.turns(turn % workers, 1));
    let reports = world.check()?;
    let waiting: u64 = reports.iter().map(|it| it.total().waiting + it.left_behind).sum();
    let others = world.fleet.others.iter().flat_map(|worker| worker.ports());
    let bound: u64 = world.fleet.first.ports().chain(others).map(|port| port.waiting).sum();
    let others = world.fleet.others.iter().map(|worker| worker.buffers().free.len());
    let free = world.fleet.first.buffers().free.len() + others.sum::<usize>();
    let alive = world.buffers();
    let between = world.fleet.first.buffers_between()
        + world.fleet.others.iter().map(|worker| worker.buffers_between()).sum::<usize>();
    prop_assert_eq!(alive as u64, free as u64 + waiting + bound + between as u64);
    Ok(())
}

/// Time that passes when somebody waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simulated(pub(crate) Nanos);

impl fastpath::runtime::Clock for Simulated {
    fn now(&mut self) -> Nanos {
        self.0
    }
    fn wait(&mut self, _: &[std::os::fd::BorrowedFd<'_>], most: Nanos) {
        self.0 += most.max(Nanos(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_worker_accounts_for_everything(
        history in prop::collection::vec(op(), 1..120), patience in 0..2000u64, kind in 0..4usize,
    ) {
        run(1, 1, kind, history, patience)?;
    }

    #[test]
    fn two_workers_account_for_everything(
        history in prop::collection::vec(op(), 1..120), patience in 0..2000u64,
        ring in prop_oneof![Just(3), Just(64)], kind in 0..4usize,
    ) {
        run(2, ring, kind, history, patience)?;
    }
}
