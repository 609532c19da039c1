//! A slice's manager, in a thread of its own: its slow path, its hosts, its routes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use fastpath::code_option::ipv4::Ipv4Key;
use fastpath::exit::Exception;
use fastpath::io::tun::{TunConfig, TunPort};
use fastpath::io::{Buffers, Pool, Rx, Tx};
use fastpath::key::LookupKey;
use fastpath::lookup::Rank;
use fastpath::manager::{Config, Delivery, Driver, Fate, Link, Meaning, Rates, Results, Unreachable};
use fastpath::node::{Action, ExceptionPacket, Injection, SliceControl, SliceRequest};
use fastpath::packet::Packet;
use fastpath::runtime::{Clock, Monotonic};
use fastpath::slot::Slot;
use fastpath::time::Nanos;
use serde::Serialize;

use super::config::{REJECTED, SlicePlan};
use super::hosts::{Hosts, NewWay};
use super::{Buffer, HEADROOM, Handle, OCTETS};

/// A packet for a host on a link of frames.
const TO_NEIGHBOUR: Exception = Exception::Own4;
/// It waited for its host, who is found: it goes on.
const RESUMED: Exception = Exception::Own5;

/// Ways that commands may add to those of the configuration.
const WAYS: u32 = 256;
/// Filters that they may add.
const ROUTES: u32 = 4096;

/// Why a command was not carried out.
type Refused = String;

/// What is asked of a slice's manager.
pub(crate) enum Ask {
    /// A route to a link by a queue, or to nowhere.
    Route { prefix: (u32, u8), way: Option<(u16, u16)> },
    /// The same for many.
    Routes { prefixes: Vec<(u32, u8)>, way: (u16, u16) },
    /// No route any more.
    Remove { prefix: (u32, u8) },
    /// A queue is gone: what led there is dropped.
    Forget { queue: u16 },
    /// What it did.
    Report,
    /// Nothing more: the thread ends.
    End,
}

pub(crate) type Asked = (Ask, Sender<Result<String, Refused>>);

/// What a manager did.
#[derive(Debug, Serialize)]
pub(crate) struct Did {
    routes: usize,
    injected: u64,
    delivered: u64,
    lost: u64,
    hosts: usize,
    hosts_v6: usize,
    waiting: usize,
    fates: BTreeMap<String, u64>,
}

/// The request by which `plan`'s slice is admitted: with room for what commands add.
pub(crate) fn request(plan: &SlicePlan) -> SliceRequest {
    let request = plan.request.clone();
    SliceRequest { results: plan.results.len() as u32 + WAYS, filters: request.filters + ROUTES, ..request }
}

pub(crate) struct Manager {
    driver: Driver<Buffer>,
    pool: Pool,
    handle: Handle,
    clock: Monotonic,
    /// By link.
    hosts: Vec<Option<Hosts>>,
    tuns: Vec<Option<TunPort>>,
    networks: Vec<Option<(u32, u8)>>,
    /// Results by what they lead to.
    results: Vec<Action>,
    most_results: u32,
    ended: bool,
}

impl Manager {
    /// The manager of an admitted slice, with all of its results, filters and devices.
    pub(crate) fn new(
        plan: &SlicePlan, control: SliceControl<Buffer>, handle: Handle, clock: Monotonic,
    ) -> Result<Self, Refused> {
        let named = |error: &dyn Display| format!("slice {}: {error}", plan.name);
        let link = |access: &super::config::Access| match access.address {
            Some((address, prefix)) => Link::new(address, prefix),
            None => Link { address: None, prefix: 32, result: None },
        };
        let (per_second, burst) = (plan.request.slow_path.per_second, plan.request.slow_path.burst);
        let mut config = Config {
            links: plan.access.iter().map(link).collect(),
            addresses: plan.address.into_iter().collect(),
            source_routes: plan.source_routes,
            rates: Rates { replies: (per_second, burst), ..Rates::default() },
            ..Config::default()
        };
        if plan.access.iter().any(|access| access.host.is_some()) {
            config.delivery = Delivery::Host;
            config.groups = Delivery::Host;
            config.router_alerts = Delivery::Host;
        }
        config.meanings.set(Exception::Filtered, Meaning::Host);
        config.meanings.set(REJECTED, Meaning::Unreachable(Unreachable::Net));
        config.meanings.set(RESUMED, Meaning::Forward);
        let results = Results::new(plan.request.links.iter().map(|link| link.mtu));
        let mut tuns = Vec::new();
        for access in &plan.access {
            let config = TunConfig { headroom: HEADROOM, ..TunConfig::default() };
            let tun = access.host.as_ref().map(|name| TunPort::new(name, config)).transpose();
            tuns.push(tun.map_err(|error| named(&error))?);
        }
        let mut manager = Self {
            driver: Driver::new(control, config, results, HEADROOM),
            pool: Pool::new(512, OCTETS),
            handle,
            clock,
            hosts: Vec::new(),
            tuns,
            networks: plan
                .access
                .iter()
                .map(|at| at.address.map(|(own, len)| (own.to_bits(), len)))
                .collect(),
            results: Vec::new(),
            most_results: plan.results.len() as u32 + WAYS,
            ended: false,
        };
        manager.furnish(plan).map_err(|error| named(&error))?;
        Ok(manager)
    }

    /// Sets results and loads filters as the configuration says.
    fn furnish(&mut self, plan: &SlicePlan) -> Result<(), Refused> {
        // By which queue hosts on a link are reached: that of the first route there.
        for (link, access) in (0u16..).zip(&plan.access) {
            let queue = plan.results.iter().find_map(|action| match action {
                Action::Forward { link: at, queue, .. } if *at == link => Some(*queue),
                _ => None,
            });
            let hosts = match (access.mac, access.address, queue) {
                (Some(mac), Some((address, _)), Some(queue)) => {
                    let frames = self.result(Action::Neighbour { link, queue, word: 0, mac: None })?;
                    Some(Hosts::new(mac, address, access.address_v6, frames, queue))
                }
                (Some(_), ..) => {
                    return Err(format!("link {link}: a link of frames needs `address` and a route"));
                }
                (None, ..) => None,
            };
            self.hosts.push(hosts);
        }
        let mut rows = Vec::new();
        for filter in &plan.filters {
            let action = plan.results.get(filter.result as usize).copied().unwrap_or(Action::Drop);
            rows.push((filter.rank, filter.value, filter.mask, self.way(action)?));
        }
        let local = self.result(Action::SlowPath(Exception::Local))?;
        let own = plan.access.iter().filter_map(|access| access.address.map(|(address, _)| address));
        for address in own.chain(plan.address) {
            let (value, mask) = Ipv4Key::route(address.to_bits(), 32);
            rows.push((LOCAL, value, mask, local));
        }
        let rejected = self.result(Action::SlowPath(REJECTED))?;
        let (value, mask) = Ipv4Key::route(0, 0);
        rows.push((Rank(u32::MAX), value, mask, rejected));
        self.driver.control().load(rows).map_err(|error| error.to_string())
    }

    /// The result for a way: of a link of frames, the one that finds the host first.
    fn way(&mut self, action: Action) -> Result<u32, Refused> {
        match action {
            Action::Forward { link, .. }
                if self.hosts.get(usize::from(link)).is_some_and(Option::is_some) =>
            {
                self.result(Action::SlowPath(TO_NEIGHBOUR))
            }
            action => self.result(action),
        }
    }

    /// The result that leads to `action`: set, and answered.
    fn result(&mut self, action: Action) -> Result<u32, Refused> {
        if let Some(at) = self.results.iter().position(|other| *other == action) {
            return Ok(at as u32);
        }
        let at = self.results.len() as u32;
        if at >= self.most_results {
            return Err(format!("no more than {} different ways", self.most_results));
        }
        self.set(at, action)?;
        self.results.push(action);
        Ok(at)
    }

    fn set(&mut self, result: u32, action: Action) -> Result<(), Refused> {
        let ticket = self.driver.set_result(result, action, None).map_err(|busy| busy.to_string())?;
        self.handle.wake();
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            if let Some(reply) = self.driver.control().replies().find(|reply| reply.ticket == ticket) {
                return reply.outcome.map(|_| ()).map_err(|error| error.to_string());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Err("the node does not answer".into())
    }

    /// Serves until it is told to end.
    pub(crate) fn run(mut self, asked: &Receiver<Asked>) -> Self {
        while !self.ended {
            let worked = self.turn();
            let wait = if worked { Duration::ZERO } else { Duration::from_micros(500) };
            match asked.recv_timeout(wait) {
                Ok((ask, answer)) => {
                    let said = self.answer(ask);
                    let _ = answer.send(said);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
        self
    }

    /// One look at exceptions and at what the host sends; whether there were any.
    fn turn(&mut self) -> bool {
        let now = self.clock.now();
        let before = self.driver.injected();
        let mut served = 0;
        while served < 64
            && let Some(exception) = self.driver.control().take_exception()
        {
            served += 1;
            self.exception(now, exception);
        }
        let from_host = self.take_from_host(now);
        self.meet();
        let late: Vec<_> = self.hosts.iter_mut().flatten().flat_map(|hosts| hosts.unanswered(now)).collect();
        for mut packet in late {
            packet.what.exception = Config::HOST_UNREACHABLE;
            self.serve(now, packet);
        }
        self.pool.refill(256);
        if self.driver.injected() != before {
            self.handle.wake();
        }
        served > 0 || from_host
    }

    fn exception(&mut self, now: Nanos, exception: ExceptionPacket<Buffer>) {
        let link = exception.what.admission.link.0;
        match exception.what.exception {
            Exception::Frame => {
                let reply = match self.hosts.get_mut(usize::from(link)) {
                    Some(Some(hosts)) => hosts.receive(now, exception.packet.part(exception.what.inner)),
                    _ => None,
                };
                if let Some(frame) = reply {
                    self.send_frame(usize::from(link), &frame);
                }
                self.pool.give(exception.packet.into_buf());
            }
            TO_NEIGHBOUR => self.ask_for_host(now, exception),
            // It goes on, but its way begins with a question.
            Exception::Options | Exception::TooBig if self.is_unmet(&exception) => {
                self.ask_for_host(now, exception);
            }
            _ => self.serve(now, exception),
        }
    }

    /// Asks for a packet's host and lets it wait.
    fn ask_for_host(&mut self, now: Nanos, exception: ExceptionPacket<Buffer>) {
        let to = destination(&exception);
        let link = self.link_of(to);
        let hosts = link.and_then(|link| Some((link, self.hosts.get_mut(link)?.as_mut()?)));
        let Some((link, hosts)) = hosts else {
            // On no link: nobody could be asked.
            let mut exception = exception;
            exception.what.exception = Config::HOST_UNREACHABLE;
            return self.serve(now, exception);
        };
        let (question, back) = hosts.wait(now, to, exception);
        if let Some(frame) = question {
            self.send_frame(link, &frame);
        }
        if let Some(back) = back {
            self.pool.give(back.packet.into_buf());
        }
    }

    /// The link in whose network an address is.
    fn link_of(&self, address: u32) -> Option<usize> {
        let on = |network: &Option<(u32, u8)>| {
            network
                .is_some_and(|(own, len)| (own ^ address).checked_shr(32 - u32::from(len)).unwrap_or(0) == 0)
        };
        self.networks.iter().position(on)
    }

    /// Whether a packet is for a host on a link of frames that is not known yet.
    fn is_unmet(&self, exception: &ExceptionPacket<Buffer>) -> bool {
        let to = destination(exception);
        let own = self.networks.iter().flatten().any(|(own, _)| *own == to);
        let hosts = self.link_of(to).and_then(|link| self.hosts.get(link)?.as_ref());
        !own && hosts.is_some_and(|hosts| !hosts.knows(to))
    }

    /// Gives an exception to the slow path.
    fn serve(&mut self, now: Nanos, exception: ExceptionPacket<Buffer>) {
        let Self { driver, pool, tuns, .. } = self;
        driver.exception(now, exception, pool, &mut |link, packet| to_host(tuns, link, packet));
    }

    fn send_frame(&mut self, link: usize, frame: &[u8]) {
        let Some(Some(hosts)) = self.hosts.get(link) else { return };
        let result = hosts.frames;
        let Some(buffer) = self.pool.take() else { return };
        let Ok(packet) = Packet::with_headroom(buffer, HEADROOM, frame) else { return };
        let sent = self.driver.control().inject(Injection::Direct { packet, result, traffic_class: 0 });
        if sent.is_ok() {
            self.handle.wake();
        }
    }

    /// Gives ways to hosts that have told who they are, and sends on what waited for them.
    fn meet(&mut self) {
        for link in 0..self.hosts.len() {
            let news = self.hosts.get(link).and_then(Option::as_ref).map(Hosts::news).unwrap_or_default();
            for way in news {
                if let Err(error) = self.meet_one(link, &way) {
                    eprintln!("router: {}: {error}", Ipv4Addr::from_bits(way.address));
                }
            }
        }
    }

    fn meet_one(&mut self, link: usize, way: &NewWay) -> Result<(), Refused> {
        let Some(Some(Hosts { queue, .. })) = self.hosts.get(link) else { return Ok(()) };
        let (number, mac) = (link as u16, Some(way.mac));
        let action = Action::Neighbour { link: number, queue: *queue, word: 0, mac };
        let result = match way.result {
            Some(result) => {
                self.set(result, action)?;
                if let Some(place) = self.results.get_mut(result as usize) {
                    *place = action;
                }
                result
            }
            None => self.result(action)?,
        };
        let (value, mask) = Ipv4Key::route(way.address, 32);
        let inserted = self.driver.control().insert(HOST, value, mask, result);
        inserted.map_err(|error| error.to_string())?;
        let ready = match self.hosts.get_mut(link) {
            Some(Some(hosts)) => hosts.learnt(way, result),
            _ => Vec::new(),
        };
        let now = self.clock.now();
        for mut packet in ready {
            packet.what.exception = RESUMED;
            self.serve(now, packet);
        }
        Ok(())
    }

    /// Takes what the host sends; whether there was any.
    fn take_from_host(&mut self, now: Nanos) -> bool {
        let mut any = false;
        for link in 0..self.tuns.len() {
            let mut vector = [const { Slot::EMPTY }; 16];
            let Self { driver, pool, tuns, .. } = self;
            let Some(Some(tun)) = tuns.get_mut(link) else { continue };
            if tun.receive(&mut vector, pool) == 0 {
                continue;
            }
            any = true;
            for packet in vector.iter_mut().filter_map(|slot| slot.packet.take()) {
                let mut host = |link, packet| to_host(tuns, link, packet);
                driver.from_host(now, link as u16, packet.bytes(), pool, &mut host);
                pool.give(packet.into_buf());
            }
        }
        any
    }

    fn answer(&mut self, ask: Ask) -> Result<String, Refused> {
        let refused = |error: &dyn Display| error.to_string();
        match ask {
            Ask::Route { prefix, way } => {
                let action = match way {
                    Some((link, queue)) => Action::forward(link, queue),
                    None => Action::SlowPath(REJECTED),
                };
                let result = self.way(action)?;
                let (value, mask) = Ipv4Key::route(prefix.0, prefix.1);
                let rank = Rank::longest_prefix(32, prefix.1);
                let old = self.driver.control().insert(rank, value, mask, result);
                old.map_err(|error| refused(&error))?;
                Ok(String::new())
            }
            Ask::Routes { prefixes, way } => {
                let result = self.way(Action::forward(way.0, way.1))?;
                let row = |(rank, filter, result): (Rank, fastpath::lookup::RangedFilter, u32)| {
                    let pattern = filter.filter();
                    (rank, LookupKey::new(pattern.value()), LookupKey::new(pattern.mask()), result)
                };
                let mut rows: BTreeMap<_, u32> = self
                    .driver
                    .control()
                    .filters()
                    .map(row)
                    .map(|(rank, value, mask, result)| ((rank, value, mask), result))
                    .collect();
                for (address, len) in prefixes {
                    let (value, mask) = Ipv4Key::route(address, len);
                    rows.insert((Rank::longest_prefix(32, len), value, mask), result);
                }
                let (count, start) = (rows.len(), Instant::now());
                let rows = rows.into_iter().map(|((rank, value, mask), result)| (rank, value, mask, result));
                self.driver.control().load(rows).map_err(|error| refused(&error))?;
                Ok(format!("{count} filters in {} ms", start.elapsed().as_millis()))
            }
            Ask::Remove { prefix } => {
                let (value, mask) = Ipv4Key::route(prefix.0, prefix.1);
                let rank = Rank::longest_prefix(32, prefix.1);
                match self.driver.control().remove(rank, value, mask) {
                    Some(_) => Ok(String::new()),
                    None => Err("there is no such route".into()),
                }
            }
            Ask::Forget { queue: gone } => {
                if self.hosts.iter().flatten().any(|hosts| hosts.queue == gone) {
                    return Err("hosts of a link are reached by this queue".into());
                }
                for at in 0..self.results.len() {
                    let leads = |action: &Action| match action {
                        Action::Forward { queue, .. } | Action::Neighbour { queue, .. } => *queue == gone,
                        _ => false,
                    };
                    if self.results.get(at).is_some_and(leads) {
                        self.set(at as u32, Action::Drop)?;
                        if let Some(place) = self.results.get_mut(at) {
                            *place = Action::Drop;
                        }
                    }
                }
                Ok(String::new())
            }
            Ask::Report => serde_json::to_string(&self.did()).map_err(|error| refused(&error)),
            Ask::End => {
                self.ended = true;
                Ok(String::new())
            }
        }
    }

    /// What it did so far.
    pub(crate) fn did(&self) -> Did {
        let lost = self.driver.lost();
        let tally = self.driver.manager().tally();
        let fates = Fate::ALL.iter().map(|fate| (fate.name(), tally.count(*fate)));
        Did {
            routes: self.driver.slice().filters().count(),
            injected: self.driver.injected(),
            delivered: self.driver.delivered(),
            lost: lost.no_buffer + lost.node + lost.host,
            hosts: self.hosts.iter().flatten().map(|hosts| hosts.arp.neighbours().len()).sum(),
            hosts_v6: self.hosts.iter().flatten().map(Hosts::neighbours).sum(),
            waiting: self.hosts.iter().flatten().map(Hosts::waiting).sum(),
            fates: fates
                .filter(|(_, count)| *count > 0)
                .map(|(fate, count)| (fate.to_string(), count))
                .collect(),
        }
    }
}

/// Above all policies: what is for this router.
const LOCAL: Rank = Rank(0);
/// A host on a link, before whatever prefix it is in.
const HOST: Rank = Rank::longest_prefix(32, 32);

/// Where an IPv4 packet is sent.
fn destination(exception: &ExceptionPacket<Buffer>) -> u32 {
    let octets = exception.packet.part(exception.what.inner);
    octets.get(16..20).and_then(|to| to.first_chunk()).map_or(0, |to| u32::from_be_bytes(*to))
}

/// Gives a packet to the host by its link's device, or by the slice's first if the link has none.
fn to_host(tuns: &mut [Option<TunPort>], link: u16, packet: Packet<Buffer>) -> Result<(), Packet<Buffer>> {
    let own = tuns.get(usize::from(link)).is_some_and(Option::is_some);
    let at = if own { Some(usize::from(link)) } else { tuns.iter().position(Option::is_some) };
    let Some(Some(tun)) = at.and_then(|at| tuns.get_mut(at)) else { return Err(packet) };
    let mut vector = [Slot::new(packet, fastpath::slot::RxMeta::IP)];
    tun.send(&mut vector, &mut fastpath::io::NoBuffers);
    match vector {
        [Slot { packet: Some(packet), .. }] => Err(packet),
        _ => Ok(()),
    }
}
