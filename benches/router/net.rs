//! Two hosts and a router as network namespaces, gone when the net is dropped.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{self, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Which namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Space {
    HostA,
    Router,
    HostB,
}

impl Space {
    const ALL: [Self; 3] = [Self::HostA, Self::Router, Self::HostB];

    fn name(self) -> String {
        format!("fastpath-{}-{self:?}", process::id())
    }
}

/// The Ethernet address of an end of the cables of one way: 1 at host a, 2 and 3 at the router, 4
/// at host b.
pub(crate) fn ethernet(way: u8, end: u8) -> [u8; 6] {
    [2, 0, 0, 0, way, end]
}

fn text(address: [u8; 6]) -> String {
    address.map(|octet| format!("{octet:02x}")).join(":")
}

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Net(());

impl Net {
    /// Namespaces without cables; the router forwards.
    ///
    /// # Errors
    ///
    /// Why there can be none here.
    pub(crate) fn new() -> Result<Self, String> {
        run("ethtool", &["--version"])?;
        let net = Self(());
        for space in Space::ALL {
            run("ip", &["netns", "add", &space.name()])?;
            net.within(space, || {
                ip("link set lo up")?;
                for of in ["all", "default"] {
                    // Where there is no IPv6 there is no such file.
                    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6"), "1");
                    set(&format!("conf/{of}/rp_filter"), "0")?;
                }
                match space {
                    Space::Router => set("ip_forward", "1"),
                    Space::HostA | Space::HostB => Ok(()),
                }
            })??;
        }
        Ok(net)
    }

    /// Does `what` in a thread of a namespace: what sockets it opens stay in there.
    pub(crate) fn within<T: Send>(&self, space: Space, what: impl FnOnce() -> T + Send) -> Result<T, String> {
        let inside = || {
            let file = File::open(format!("/var/run/netns/{}", space.name())).map_err(|e| e.to_string())?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("no permission to enter a network namespace: {error}"))?;
            Ok(what())
        };
        thread::scope(|scope| scope.spawn(inside).join()).map_err(|_| "a thread panicked".to_owned())?
    }

    /// Cables from host a to the router and from there to host b: 10.`way`.1.0/24 and
    /// 10.`way`.2.0/24, the router's ends .1. With offloads, packets that were joined go over
    /// them as one.
    pub(crate) fn cables(&self, way: u8, offloads: bool) -> Result<(), String> {
        let router = Space::Router.name();
        let cable = |space, device: &str, ends: [u8; 2], network: u8| {
            let far = format!("r{device}");
            let [near_mac, far_mac] = ends.map(|end| text(ethernet(way, end)));
            self.within(space, || {
                ip(&format!(
                    "link add {device} address {near_mac} type veth peer name {far} address {far_mac} netns {router}"
                ))?;
                end(device, &format!("10.{way}.{network}.2"), &format!("10.{way}.{network}.1"), &far_mac, offloads)
            })??;
            self.within(Space::Router, || {
                end(
                    &far,
                    &format!("10.{way}.{network}.1"),
                    &format!("10.{way}.{network}.2"),
                    &near_mac,
                    offloads,
                )
            })?
        };
        cable(Space::HostA, &format!("a{way}"), [1, 2], 1)?;
        cable(Space::HostB, &format!("b{way}"), [4, 3], 2)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for space in Space::ALL {
            let _ = run("ip", &["netns", "delete", &space.name()]);
        }
    }
}

/// One end of a cable, in its namespace: its address, and the other end as a neighbour.
fn end(device: &str, address: &str, peer: &str, peer_mac: &str, offloads: bool) -> Result<(), String> {
    if !offloads {
        let off = ["-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];
        run("ethtool", &off)?;
    }
    ip(&format!(
        "address add {address}/24 dev {device}\nlink set {device} up\nneighbour replace {peer} lladdr {peer_mac} dev {device} nud permanent"
    ))
}

/// Writes a setting of IPv4.
fn set(setting: &str, value: &str) -> Result<(), String> {
    fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).map_err(|error| format!("{setting}: {error}"))
}

/// Runs ip(8) in the namespace of the calling thread: each line is one command.
pub(crate) fn ip(commands: &str) -> Result<(), String> {
    let failed = |error| format!("ip: {error}");
    let mut program = Command::new("ip");
    let piped = program.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    let written = child.stdin.take().map(|mut input| input.write_all(commands.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() && matches!(written, Some(Ok(()))) {
        true => Ok(()),
        false => Err(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("no program {program}: {error}")),
    }
}
