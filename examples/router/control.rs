//! Commands, one a line, and what they do.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use fastpath::id::{InterfaceId, SliceId};
use fastpath::node::Account;
use fastpath::queue::Rate;
use fastpath::runtime::{Monotonic, PortReport, Report};
use serde::Serialize;
use serde_json::Value;

use super::Handle;
use super::config::{Plan, SlicePlan};
use super::queues::{self, Queues};
use super::slice::{Ask, Asked, Manager, request};

/// A slice that runs.
struct Running {
    number: SliceId,
    asks: Sender<Asked>,
    thread: JoinHandle<Manager>,
    queues: Queues,
}

/// All that can be asked of a router while it runs.
pub(crate) struct Control<'a> {
    plan: &'a Plan,
    handle: Handle,
    clock: Monotonic,
    running: BTreeMap<String, Running>,
}

type Said = Result<String, String>;

fn said(error: &dyn Display) -> String {
    error.to_string()
}

impl<'a> Control<'a> {
    pub(crate) const fn new(plan: &'a Plan, handle: Handle, clock: Monotonic) -> Self {
        Self { plan, handle, clock, running: BTreeMap::new() }
    }

    /// Admits all slices of the configuration.
    pub(crate) fn admit_all(&mut self) -> Result<(), String> {
        self.plan.slices.iter().try_for_each(|slice| self.admit(&slice.name).map(|_| ()))
    }

    /// Carries out a command.
    pub(crate) fn command(&mut self, line: &str) -> Said {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["route", "add", slice, prefix, link, queue] => {
                let (prefix, way) = (self::prefix(prefix)?, self.way(slice, link, queue)?);
                self.ask(slice, Ask::Route { prefix, way: Some(way) })
            }
            ["route", "reject", slice, prefix] => {
                let prefix = self::prefix(prefix)?;
                self.ask(slice, Ask::Route { prefix, way: None })
            }
            ["route", "del", slice, prefix] => {
                let prefix = self::prefix(prefix)?;
                self.ask(slice, Ask::Remove { prefix })
            }
            ["routes", slice, file, link, queue] => {
                let (prefixes, way) = (prefixes(file)?, self.way(slice, link, queue)?);
                self.ask(slice, Ask::Routes { prefixes, way })
            }
            ["slice", "admit", slice] => self.admit(slice),
            ["slice", "withdraw", slice] => self.withdraw(slice),
            ["peer", slice, link, peer] => self.peer(slice, link, peer),
            ["rate", interface, rate] => self.rate(interface, rate),
            ["queue", "add", slice, name, interface, ref words @ ..] => {
                let (at, rate) = self.interface(interface)?;
                self.queues(slice)?.add(name, at, rate, words)
            }
            ["queue", "set", slice, name, ref words @ ..] => {
                let (_, queue) = self.queues(slice)?.queues.get(name).copied().unzip();
                let rate = self.rate_of(queue.map_or(InterfaceId(0), |queue| queue.interface));
                self.queues(slice)?.set(name, rate, words)
            }
            ["queue", "remove", slice, name, remains] => {
                // Its number may be another queue's soon: what leads there is forgotten first.
                let queue = self.queues(slice)?.may_remove(name, remains)?;
                self.ask(slice, Ask::Forget { queue })?;
                self.queues(slice)?.remove(name, remains)
            }
            ["queue", "share", slice, interface, weight] => {
                let (at, _) = self.interface(interface)?;
                self.queues(slice)?.share(at, weight)
            }
            ["queue", "report", slice] => self.queues(slice)?.report(),
            ["police", slice, "off", ref link @ ..] if link.len() < 2 => {
                let link = self.link(slice, link)?;
                self.queues(slice)?.police(link, None)
            }
            ["police", slice, rate, burst, ref link @ ..] if link.len() < 2 => {
                let link = self.link(slice, link)?;
                self.queues(slice)?.police(link, Some((rate, burst)))
            }
            ["report"] => self.report().map(|report| report.to_string()),
            _ => Err(format!(
                "{line:?} is no command; there are: route add SLICE PREFIX LINK QUEUE, route reject SLICE PREFIX, \
                 route del SLICE PREFIX, routes SLICE FILE LINK QUEUE, slice admit SLICE, slice withdraw SLICE, \
                 peer SLICE LINK ADDRESS:PORT, rate INTERFACE BPS, queue add SLICE NAME INTERFACE KEY=VALUE..., \
                 queue set SLICE NAME KEY=VALUE..., queue remove SLICE NAME send|drop, \
                 queue share SLICE INTERFACE WEIGHT, queue report SLICE, police SLICE BPS OCTETS [LINK], \
                 police SLICE off [LINK], report, quit"
            )),
        }
    }

    fn slice_plan(&self, name: &str) -> Result<&'a SlicePlan, String> {
        let plan = self.plan.slices.iter().find(|slice| slice.name == name);
        plan.ok_or_else(|| format!("there is no slice {name} in the configuration"))
    }

    fn running(&self, name: &str) -> Result<&Running, String> {
        self.running.get(name).ok_or_else(|| format!("slice {name} does not run"))
    }

    fn way(&self, slice: &str, link: &str, queue: &str) -> Result<(u16, u16), String> {
        let queues = &self.running(slice)?.queues;
        let queue = queues.get(queue).ok_or_else(|| format!("slice {slice} has no queue {queue}"))?;
        let link = self.link(slice, &[link])?.ok_or("no link")?;
        Ok((link, queue.0))
    }

    /// The number of a link, if one is named.
    fn link(&self, slice: &str, name: &[&str]) -> Result<Option<u16>, String> {
        let Some(name) = name.first() else { return Ok(None) };
        let at = self.slice_plan(slice)?.links.iter().position(|other| other == name);
        let at = at.ok_or_else(|| format!("slice {slice} has no link {name}"))?;
        Ok(Some(at as u16))
    }

    fn interface(&self, name: &str) -> Result<(InterfaceId, Rate), String> {
        let at = self.plan.interfaces.iter().position(|other| other.name == name);
        let at = InterfaceId(at.ok_or_else(|| format!("there is no interface {name}"))? as u16);
        Ok((at, self.rate_of(at)))
    }

    /// The rate that an interface began with.
    fn rate_of(&self, at: InterfaceId) -> Rate {
        self.plan.interfaces.get(usize::from(at.0)).map_or(Rate::MAX, |at| at.config.rate)
    }

    fn queues(&mut self, slice: &str) -> Result<queues::Running<'_>, String> {
        let Self { running, handle, .. } = self;
        let running = running.get_mut(slice).ok_or_else(|| format!("slice {slice} does not run"))?;
        Ok(queues::Running { slice: running.number, handle, queues: &mut running.queues })
    }

    fn ask(&self, slice: &str, ask: Ask) -> Said {
        let (answer, answered) = channel();
        let gone = |_| format!("the manager of slice {slice} has ended");
        self.running(slice)?.asks.send((ask, answer)).map_err(|_| format!("slice {slice} has ended"))?;
        answered.recv().map_err(gone)?
    }

    fn admit(&mut self, name: &str) -> Said {
        if self.running.contains_key(name) {
            return Err(format!("slice {name} runs already"));
        }
        let plan = self.slice_plan(name)?;
        let admitted = self.handle.admit(request(plan)).map_err(|error| said(&error))?;
        let control = admitted.map_err(|error| format!("slice {name}: {error}"))?;
        let number = control.slice();
        let manager = match Manager::new(plan, control, self.handle.clone(), self.clock) {
            Ok(manager) => manager,
            Err(error) => {
                self.handle.withdraw(number).map_err(|error| said(&error))?;
                return Err(error);
            }
        };
        let (asks, asked) = channel();
        let thread = std::thread::Builder::new().name(format!("slice {name}"));
        let thread = thread.spawn(move || manager.run(&asked)).map_err(|error| said(&error))?;
        self.running.insert(name.into(), Running { number, asks, thread, queues: queues::of_plan(plan) });
        Ok(format!("number {}", number.0))
    }

    fn withdraw(&mut self, name: &str) -> Said {
        let number = self.running(name)?.number;
        self.handle.withdraw(number).map_err(|error| said(&error))?;
        self.ask(name, Ask::End)?;
        if let Some(running) = self.running.remove(name) {
            running.thread.join().map_err(|_| format!("the manager of slice {name} panicked"))?;
        }
        Ok(String::new())
    }

    fn peer(&self, slice: &str, link: &str, peer: &str) -> Said {
        let number = self.slice_plan(slice)?.links.iter().position(|other| other == link);
        let number = number.ok_or_else(|| format!("slice {slice} has no link {link}"))?;
        let peer: SocketAddr = peer.parse().map_err(|_| format!("{peer} is no address and port"))?;
        let id = self.running(slice)?.number;
        let set = self.handle.set_peer(id, number as u16, peer).map_err(|error| said(&error))?;
        set.map(|()| String::new()).map_err(|error| said(&error))
    }

    fn rate(&self, interface: &str, rate: &str) -> Said {
        let (at, _) = self.interface(interface)?;
        let rate: u64 = rate.parse().map_err(|_| format!("{rate} is no rate in bits a second"))?;
        let rate = Rate::bits_per_second(rate).map_err(|error| said(&error))?;
        let set = self.handle.set_rate(at, rate).map_err(|error| said(&error))?;
        set.map(|()| String::new()).map_err(|error| said(&error))
    }

    /// What the router and its slices have done, while they go on.
    pub(crate) fn report(&self) -> Result<Value, String> {
        let report = self.handle.report().map_err(|error| said(&error))?;
        let mut managers = BTreeMap::new();
        for name in self.running.keys() {
            let did = self.ask(name, Ask::Report)?;
            managers.insert(name.clone(), serde_json::from_str::<Value>(&did).map_err(|error| said(&error))?);
        }
        let names = |id: SliceId| {
            let running = self.running.iter().find(|(_, running)| running.number == id);
            running.map_or_else(|| format!("slice {}", id.0), |(name, _)| name.clone())
        };
        let mut value = figures(&report, self.plan, names);
        if let Value::Object(map) = &mut value {
            map.insert("managers".into(), serde_json::to_value(managers).map_err(|error| said(&error))?);
        }
        Ok(value)
    }

    /// Ends all managers.
    pub(crate) fn end(&mut self) {
        for (name, running) in std::mem::take(&mut self.running) {
            let (answer, _) = channel();
            let _ = running.asks.send((Ask::End, answer));
            if running.thread.join().is_err() {
                eprintln!("router: the manager of slice {name} panicked");
            }
        }
    }
}

#[derive(Serialize)]
struct Figures {
    exact: bool,
    received: u64,
    slices: BTreeMap<String, Packets>,
    departed: Packets,
    ports: BTreeMap<String, PortFigures>,
}

#[derive(Serialize)]
struct Packets {
    received: u64,
    injected: u64,
    queued: u64,
    sent: u64,
    dropped: u64,
    slow_path: u64,
    waiting: u64,
}

impl From<Account> for Packets {
    fn from(account: Account) -> Self {
        Self {
            received: account.received(),
            injected: account.injected.packets,
            queued: account.queued.packets,
            sent: account.sent.packets,
            dropped: account.dropped.packets,
            slow_path: account.slow_path.packets,
            waiting: account.waiting,
        }
    }
}

#[derive(Serialize)]
struct PortFigures {
    received: u64,
    missed: u64,
    handed: u64,
    sent: u64,
    refused: u64,
    waiting: u64,
    inside: u64,
    errors: u64,
}

impl From<&PortReport> for PortFigures {
    fn from(port: &PortReport) -> Self {
        let counters = port.counters;
        Self {
            received: counters.received,
            missed: counters.missed,
            handed: port.handed,
            sent: counters.sent,
            refused: counters.refused,
            waiting: port.waiting,
            inside: port.inside(),
            errors: counters.errors,
        }
    }
}

/// A worker's report for machines.
pub(crate) fn figures(report: &Report, plan: &Plan, names: impl Fn(SliceId) -> String) -> Value {
    let name = |id: SliceId| if id == SliceId::SUBSTRATE { "nobody's".into() } else { names(id) };
    let interface = |port: &PortReport| {
        let at = plan.interfaces.get(usize::from(port.interface.0));
        at.map_or_else(|| port.interface.0.to_string(), |at| at.name.clone())
    };
    let figures = Figures {
        exact: report.is_exact(),
        received: report.received,
        slices: report.slices.iter().map(|(id, account)| (name(*id), (*account).into())).collect(),
        departed: report.departed.into(),
        ports: report.ports.iter().map(|port| (interface(port), port.into())).collect(),
    };
    serde_json::to_value(figures).unwrap_or(Value::Null)
}

fn prefix(text: &str) -> Result<(u32, u8), String> {
    let parsed = text.split_once('/').and_then(|(address, len)| {
        let address: Ipv4Addr = address.parse().ok()?;
        let len: u8 = len.parse().ok().filter(|len| *len <= 32)?;
        let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
        (address.to_bits() & host == 0).then_some((address.to_bits(), len))
    });
    parsed.ok_or_else(|| {
        format!("{text} is no prefix: an address, `/` and a length, with no bit set behind it")
    })
}

fn prefixes(file: &str) -> Result<Vec<(u32, u8)>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    lines.map(|(at, line)| prefix(&first(line)).map_err(|error| format!("{file}:{at}: {error}"))).collect()
}
