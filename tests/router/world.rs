//! Four machines in a row, `ha - ra - rb - hb`, of which the inner ones run the router, and
//! in each outer one a host of each slice, behind the kernel's VXLAN device.

use std::fmt::Write;
use std::time::Instant;

use crate::net::{End, Net, Unable};
use crate::oracle;
use crate::program::Router;
use crate::scratch::Scratch;

/// The slices. Their hosts have the same addresses.
pub(crate) const SLICES: [Slice; 2] =
    [Slice { name: "red", vni: 100, port: 20_001 }, Slice { name: "blue", vni: 200, port: 20_002 }];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) name: &'static str,
    pub(crate) vni: u32,
    /// Of the way between the routers; the spare way's is 10 more.
    pub(crate) port: u16,
}

impl Slice {
    /// The tunnel's device at a host.
    pub(crate) fn device(self) -> String {
        format!("vx{}", self.vni)
    }
}

/// What tests want to differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Octets of the longest packet of a slice between the routers.
    pub(crate) mtu: u32,
    /// Bits a second between the routers, each way.
    pub(crate) rate: u64,
    /// Packets that each queue holds.
    pub(crate) limit: u32,
    pub(crate) devices: Devices,
}

/// What the routers' ports are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Devices {
    /// Packet sockets and UDP sockets: both kinds meet hosts as well as a router.
    Mixed,
    /// UDP sockets, and the kernel does the rest.
    Udp,
    /// Between the routers, on side A, the TUN device `outer`, and the kernel routes.
    Tun,
}

/// The address of side A between the routers where it has a TUN device.
const BEHIND_TUN: &str = "10.0.9.1";

impl Default for Plan {
    fn default() -> Self {
        Self { mtu: HOST_MTU, rate: 1_000_000_000, limit: 256, devices: Devices::Mixed }
    }
}

const HOST_MTU: u32 = 1400;

/// The two routers and all around them.
pub(crate) struct World {
    // Dropped in this order.
    pub(crate) routers: [Router; 2],
    pub(crate) net: Net,
    _scratch: Scratch,
}

/// One of the two sides: everything differs by a digit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    fn letter(self) -> char {
        ["a", "b"][self as usize].parse().unwrap()
    }

    /// The third octet of what is the hosts'.
    fn net(self) -> u8 {
        [1, 2][self as usize]
    }

    /// The third octet of the cable to the hosts' machine.
    fn cable(self) -> u8 {
        [1, 3][self as usize]
    }

    fn other(self) -> Self {
        [Self::B, Self::A][self as usize]
    }

    /// Devices of the router: towards the hosts, and between the routers.
    fn kinds(self, devices: Devices) -> [&'static str; 2] {
        match (devices, self) {
            (Devices::Mixed, Self::A) => ["packet:hosts", "udp"],
            (Devices::Mixed, Self::B) => ["udp", "packet:middle"],
            (Devices::Tun, Self::A) => ["udp", "tun:outer"],
            (Devices::Udp, _) | (Devices::Tun, Self::B) => ["udp"; 2],
        }
    }

    /// The router's address between the routers.
    fn middle(self, devices: Devices) -> String {
        match (devices, self) {
            (Devices::Tun, Self::A) => BEHIND_TUN.into(),
            _ => format!("10.0.2.{}", self.net()),
        }
    }
}

/// Runs `test` in a world of its own, and ends both routers with exact accounts.
pub(crate) fn with_world(name: &str, plan: Plan, test: impl FnOnce(&mut World)) {
    let since = Instant::now();
    let net = match machines(name) {
        Ok(net) => net,
        Err(Unable(reason)) => return oracle::skip(&format!("{name}: {reason}")),
    };
    if plan.devices == Devices::Tun {
        tun(&net).unwrap();
    }
    let scratch = Scratch::new("router", name);
    let routers = Side::BOTH.map(|side| {
        let config = scratch.write(&format!("{}.toml", side.letter()), config(side, plan));
        let started = Router::start(&net, &format!("r{}", side.letter()), &["--config", &config]);
        started.unwrap_or_else(|(status, said)| panic!("the router ends with {status}: {said}"))
    });
    println!("{name}: set up in {:?}", since.elapsed());
    let mut world = World { routers, net, _scratch: scratch };
    test(&mut world);
    for router in world.routers {
        router.quit();
    }
}

/// The machines, cables and hosts, without routers.
///
/// # Errors
///
/// Why there can be none here.
pub(crate) fn machines(name: &str) -> Result<Net, Unable> {
    let mut net = Net::new(name)?;
    join(&mut net).unwrap_or_else(|fault| panic!("{name}: the machines cannot be set up: {fault}"));
    Ok(net)
}

fn join(net: &mut Net) -> Result<(), String> {
    for space in ["ha", "ra", "rb", "hb"] {
        net.space(space)?;
        net.set(space, "ipv4/ip_forward", "0")?;
    }
    net.cable(
        End { space: "ra", device: "middle", address: "10.0.2.1/24" },
        End { space: "rb", device: "middle", address: "10.0.2.2/24" },
    )?;
    Side::BOTH.into_iter().try_for_each(|side| hosts(net, side))
}

/// A TUN device on side A, to and from which the kernel routes outer packets.
fn tun(net: &Net) -> Result<(), String> {
    net.ip("ra", "tuntap add dev outer mode tun")?;
    net.ip("ra", "link set outer up")?;
    net.ip("ra", &format!("route add {BEHIND_TUN}/32 dev outer"))?;
    net.set("ra", "ipv4/ip_forward", "1")?;
    net.ip("rb", &format!("route add {BEHIND_TUN}/32 via 10.0.2.1")).map(|_| ())
}

/// The hosts of a side, and the machine that has their tunnels.
fn hosts(net: &mut Net, side: Side) -> Result<(), String> {
    let (letter, cable, number) = (side.letter(), side.cable(), side.net());
    let (router, machine) = (format!("10.0.{cable}.1"), format!("10.0.{cable}.2"));
    net.cable(
        End { space: &format!("r{letter}"), device: "hosts", address: &format!("{router}/24") },
        End { space: &format!("h{letter}"), device: "router", address: &format!("{machine}/24") },
    )?;
    for slice in SLICES {
        let Slice { name, vni, .. } = slice;
        let (space, device) = (format!("{name}{letter}"), slice.device());
        net.space(&space)?;
        let outer = format!("id {vni} local {machine} remote {router} dstport 4789");
        net.ip(&format!("h{letter}"), &format!("link add {device} type vxlan {outer}"))?;
        let moved = format!("link set {device} netns {}", net.name(&space));
        net.ip(&format!("h{letter}"), &moved)?;
        net.ip(&space, &format!("address add 192.168.{number}.2/24 dev {device}"))?;
        net.ip(&space, &format!("link set {device} mtu {HOST_MTU} up"))?;
        net.ip(&space, &format!("route add default via 192.168.{number}.1"))?;
    }
    Ok(())
}

/// The configuration of a side's router.
pub(crate) fn config(side: Side, plan: Plan) -> String {
    let Plan { mtu, rate, limit, devices } = plan;
    let (cable, here, there) = (side.cable(), side.net(), side.other().net());
    let [hosts, middle] = side.kinds(devices);
    let [address, peer] = [side, side.other()].map(|side| side.middle(devices));
    let mut text = format!(
        r#"
[[interface]]
name = "hosts"
device = "{hosts}"
address = "10.0.{cable}.1"
rate = 1_000_000_000

[[interface]]
name = "middle"
device = "{middle}"
address = "{address}"
rate = {rate}
"#
    );
    for Slice { name, vni, port } in SLICES {
        let spare = port + 10;
        write!(
            text,
            r#"
[[slice]]
name = "{name}"
option = "ipv4"
address = "192.168.{here}.1"

[[slice.link]]
name = "{name}-hosts"
interface = "hosts"
port = 4789
peer = "10.0.{cable}.2:4789"
mtu = {HOST_MTU}
address = "192.168.{here}.1/24"
vxlan = {{ vni = {vni}, mac = "02:00:00:00:0{here}:01" }}

[[slice.link]]
name = "{name}-middle"
interface = "middle"
port = {port}
peer = "{peer}:{port}"
mtu = {mtu}
address = "192.168.12.{here}/24"

[[slice.link]]
name = "{name}-spare"
interface = "middle"
port = {spare}
peer = "{peer}:{spare}"
mtu = {mtu}
address = "192.168.13.{here}/24"

[[slice.queue]]
name = "{name}-in"
interface = "hosts"
weight = 1
limit_packets = {limit}

[[slice.queue]]
name = "{name}-out"
interface = "middle"
weight = 1
limit_packets = {limit}

[[slice.route]]
prefix = "192.168.{here}.0/24"
link = "{name}-hosts"
queue = "{name}-in"

[[slice.route]]
prefix = "192.168.{there}.0/24"
link = "{name}-middle"
queue = "{name}-out"

[[slice.route]]
prefix = "192.168.12.0/24"
link = "{name}-middle"
queue = "{name}-out"
"#
        )
        .unwrap();
    }
    text
}
