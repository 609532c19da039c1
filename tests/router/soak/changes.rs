//! What an operator does, and what happens to cables: drawn one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;
use std::time::Duration;

use fastpath::conformance::Rng;
use serde_json::Value;

use crate::scratch::Scratch;
use crate::world::{SLICES, World};

/// A cable's end that can be down.
const ENDS: [(&str, &str); 6] = [
    ("ra", "middle"),
    ("rb", "middle"),
    ("ra", "hosts"),
    ("rb", "hosts"),
    ("ha", "router"),
    ("hb", "router"),
];

/// Bits a second of an interface.
const RATES: [u64; 4] = [2_000_000, 20_000_000, 200_000_000, FULL];
const FULL: u64 = 1_000_000_000;

/// What the operator knows of a slice at a router.
#[derive(Clone, Debug, Default)]
struct Slice {
    withdrawn: bool,
    /// Numbers of networks that commands added.
    routes: BTreeSet<u8>,
}

pub(super) struct Changes {
    rng: Rng,
    /// By router and slice.
    slices: [[Slice; 2]; 2],
    /// What keeps hosts from each other, and is soon mended.
    down: BTreeSet<(&'static str, &'static str)>,
    astray: BTreeSet<(usize, usize, &'static str)>,
    done: BTreeMap<&'static str, u64>,
    files: Scratch,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.done)
    }
}

impl Changes {
    pub(super) fn new(rng: Rng) -> Self {
        let done = BTreeMap::new();
        Self {
            rng,
            slices: Default::default(),
            down: BTreeSet::new(),
            astray: BTreeSet::new(),
            done,
            files: Scratch::new("router", "soak-files"),
        }
    }

    /// Has done what is done for the first time: queues fill, and slices come anew.
    pub(super) fn warm_up(&mut self, world: &mut World) {
        // First those towards the hosts: the others would leave them nothing to wait.
        for interface in ["hosts", "middle"] {
            for router in &mut world.routers {
                router.tell(&format!("rate {interface} {}", RATES[0]));
            }
            thread::sleep(Duration::from_secs(1));
        }
        for router in &mut world.routers {
            router.tell(&format!("rate middle {FULL}"));
            router.tell(&format!("rate hosts {FULL}"));
        }
        for (router, slice) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for _ in 0..2 {
                self.withdraw(world, router, slice);
                self.admit(world, router, slice);
            }
        }
        for _ in 0..40 {
            self.next(world);
        }
        self.mend(world);
        self.done.clear();
    }

    /// Draws a change, waits for its answer, and then a while.
    pub(super) fn next(&mut self, world: &mut World) {
        let (router, slice) = (self.rng.below(2) as usize, self.rng.below(2) as usize);
        match self.rng.below(100) {
            0..8 => self.report(world, router),
            8..14 => self.rate(world, router),
            14..17 => self.cable_down(world),
            _ if self.slices[router][slice].withdrawn => self.admit(world, router, slice),
            17..20 => self.withdraw(world, router, slice),
            20..30 => self.peer(world, router, slice),
            30..37 => self.file(world, router, slice),
            37..57 => self.replace(world, router, slice),
            _ => self.route(world, router, slice),
        }
        if self.rng.one_in(4) {
            self.cables_up(world);
            self.lead_back(world);
        }
        let most = if self.rng.one_in(16) { 300 } else { 40 };
        thread::sleep(Duration::from_millis(self.rng.below(most)));
    }

    /// Undoes whatever keeps hosts from each other.
    pub(super) fn mend(&mut self, world: &mut World) {
        self.cables_up(world);
        self.lead_back(world);
        for router in 0..2 {
            for interface in ["hosts", "middle"] {
                self.tell(world, router, "rate", &format!("rate {interface} {FULL}"));
            }
            for (slice, name) in SLICES.map(|slice| slice.name).into_iter().enumerate() {
                if self.slices[router][slice].withdrawn {
                    self.admit(world, router, slice);
                }
                self.lead_far(world, router, slice, "middle");
                for route in std::mem::take(&mut self.slices[router][slice].routes) {
                    let command = format!("route del {name} 10.100.{route}.0/24");
                    self.tell(world, router, "route del", &command);
                }
            }
        }
    }

    fn tell(&mut self, world: &mut World, router: usize, what: &'static str, command: &str) -> String {
        *self.done.entry(what).or_default() += 1;
        world.routers[router].tell(command)
    }

    fn report(&mut self, world: &mut World, router: usize) {
        let said = self.tell(world, router, "report", "report");
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["exact"], true, "{report}");
    }

    fn rate(&mut self, world: &mut World, router: usize) {
        let (interface, rate) = (self.rng.pick(&["hosts", "middle"]), self.rng.pick(&RATES));
        self.tell(world, router, "rate", &format!("rate {interface} {rate}"));
    }

    fn cable_down(&mut self, world: &World) {
        let end = self.rng.pick(&ENDS);
        *self.done.entry("cable down and up").or_default() += 1;
        self.down.insert(end);
        world.net.ip(end.0, &format!("link set {} down", end.1)).unwrap();
    }

    fn cables_up(&mut self, world: &World) {
        for (space, device) in std::mem::take(&mut self.down) {
            world.net.ip(space, &format!("link set {device} up")).unwrap();
        }
    }

    /// Leads links back that lead to nobody.
    fn lead_back(&mut self, world: &mut World) {
        for (router, slice, link) in std::mem::take(&mut self.astray) {
            self.lead(world, router, (slice, link), true);
        }
    }

    fn withdraw(&mut self, world: &mut World, router: usize, slice: usize) {
        self.tell(world, router, "withdraw", &format!("slice withdraw {}", SLICES[slice].name));
        self.slices[router][slice] = Slice { withdrawn: true, ..Slice::default() };
        // It comes back as the configuration has it.
        self.astray.retain(|&(at, of, _)| (at, of) != (router, slice));
    }

    fn admit(&mut self, world: &mut World, router: usize, slice: usize) {
        self.tell(world, router, "admit", &format!("slice admit {}", SLICES[slice].name));
        self.slices[router][slice].withdrawn = false;
    }

    /// A link is led to nobody, or to whom it leads.
    fn peer(&mut self, world: &mut World, router: usize, slice: usize) {
        let (link, right) = (self.rng.pick(&LINKS), !self.rng.one_in(3));
        if !right {
            self.astray.insert((router, slice, link));
        }
        self.lead(world, router, (slice, link), right);
    }

    fn lead(&mut self, world: &mut World, router: usize, (slice, link): (usize, &str), right: bool) {
        let port = SLICES[slice].port;
        let (net, host, port) = match link {
            "hosts" => ([1, 3][router], 2, 4789),
            "spare" => (2, 2 - router, port + 10),
            _ => (2, 2 - router, port),
        };
        let host = if right { host } else { 99 };
        let name = SLICES[slice].name;
        self.tell(world, router, "peer", &format!("peer {name} {name}-{link} 10.0.{net}.{host}:{port}"));
    }

    /// Another way to the other side's hosts.
    fn replace(&mut self, world: &mut World, router: usize, slice: usize) {
        let way = self.rng.pick(&["middle", "spare"]);
        self.lead_far(world, router, slice, way);
    }

    fn lead_far(&mut self, world: &mut World, router: usize, slice: usize, way: &str) {
        let name = SLICES[slice].name;
        let command = format!("route add {name} 192.168.{}.0/24 {name}-{way} {name}-out", 2 - router);
        self.tell(world, router, "route replace", &command);
    }

    /// A route to one of the networks that packets are sent to, or none any more.
    fn route(&mut self, world: &mut World, router: usize, slice: usize) {
        let (name, net) = (SLICES[slice].name, self.rng.below(16) as u8);
        let routes = &mut self.slices[router][slice].routes;
        let (what, command) = match self.rng.below(4) {
            0 if routes.remove(&net) => ("route del", format!("route del {name} 10.100.{net}.0/24")),
            1 => {
                routes.insert(net);
                ("route reject", format!("route reject {name} 10.100.{net}.0/24"))
            }
            _ => {
                routes.insert(net);
                let (link, queue) = self.rng.pick(&[("hosts", "in"), ("middle", "out"), ("spare", "out")]);
                ("route add", format!("route add {name} 10.100.{net}.0/24 {name}-{link} {name}-{queue}"))
            }
        };
        self.tell(world, router, what, &command);
    }

    /// Routes for a whole file.
    fn file(&mut self, world: &mut World, router: usize, slice: usize) {
        let nets: BTreeSet<u8> = (0..16).filter(|_| self.rng.one_in(2)).collect();
        let text: String = nets.iter().map(|net| format!("10.100.{net}.0/24\n")).collect();
        let (name, file) = (SLICES[slice].name, self.files.write("routes.txt", text));
        self.slices[router][slice].routes.extend(nets);
        self.tell(world, router, "routes", &format!("routes {name} {file} {name}-middle {name}-out"));
    }
}

const LINKS: [&str; 3] = ["hosts", "middle", "spare"];
