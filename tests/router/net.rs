//! Hosts and routers as network namespaces, joined by veth pairs. They go when the net is
//! dropped, with whatever runs in them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces of one test, whose names begin with its own.
#[derive(Debug)]
pub(crate) struct Net {
    prefix: String,
    spaces: Vec<String>,
}

/// One end of a cable: namespace, device, address with the length of its prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) space: &'a str,
    pub(crate) device: &'a str,
    pub(crate) address: &'a str,
}

/// Programs of Debian packages that tests run in namespaces.
const PROGRAMS: [&str; 7] = ["ip", "ethtool", "ping", "traceroute", "tracepath", "curl", "setpriv"];

impl Net {
    /// A net without namespaces.
    ///
    /// # Errors
    ///
    /// Why there can be none here.
    pub(crate) fn new(test: &str) -> Result<Self, String> {
        for program in PROGRAMS {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            if !found.is_ok_and(|output| output.status.success()) {
                return Err(format!("there is no program {program}"));
            }
        }
        let mut net = Self { prefix: format!("fp{}{test}", std::process::id()), spaces: Vec::new() };
        // What is allowed shows when it is done.
        net.space("probe")?;
        Ok(net)
    }

    /// Adds a namespace, in which the loopback device is up and IPv6 is off.
    pub(crate) fn space(&mut self, space: &str) -> Result<(), String> {
        let name = self.name(space);
        succeed(Command::new("ip").args(["netns", "add", &name]))?;
        self.spaces.push(name);
        self.ip(space, "link set lo up")?;
        for of in ["all", "default"] {
            self.set(space, &format!("ipv6/conf/{of}/disable_ipv6"), "1")?;
        }
        Ok(())
    }

    pub(crate) fn name(&self, space: &str) -> String {
        format!("{}{space}", self.prefix)
    }

    /// Writes a setting below `/proc/sys/net`.
    pub(crate) fn set(&self, space: &str, setting: &str, value: &str) -> Result<(), String> {
        let script = format!("[ ! -e /proc/sys/net/{setting} ] || echo {value} > /proc/sys/net/{setting}");
        succeed(self.command(space, "sh").args(["-c", &script])).map(|_| ())
    }

    /// Runs ip(8) in a namespace.
    pub(crate) fn ip(&self, space: &str, arguments: &str) -> Result<String, String> {
        let name = self.name(space);
        succeed(Command::new("ip").args(["-n", &name]).args(arguments.split_whitespace()))
    }

    /// Joins two namespaces. What arrives is what was sent: no checksum is left to the
    /// device, and no frame is longer than the MTU.
    pub(crate) fn cable(&self, one: End<'_>, other: End<'_>) -> Result<(), String> {
        let (device, peer, space) = (one.device, other.device, self.name(other.space));
        self.ip(one.space, &format!("link add {device} type veth peer name {peer} netns {space}"))?;
        for End { space, device, address } in [one, other] {
            succeed(self.command(space, "ethtool").args(["-K", device]).args(OFFLOADS))?;
            self.ip(space, &format!("address add {address} dev {device}"))?;
            self.ip(space, &format!("link set {device} up"))?;
        }
        Ok(())
    }

    /// A program to be run in a namespace.
    pub(crate) fn command(&self, space: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(space), program]);
        command
    }

    /// Runs `body` in a thread of its own in a namespace.
    pub(crate) fn inside<T: Send + 'static>(
        &self, space: &str, body: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = format!("/var/run/netns/{}", self.name(space));
        thread::spawn(move || {
            let namespace = File::open(path).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        })
    }

    /// Runs a program to its end, and returns what it printed.
    pub(crate) fn run(&self, space: &str, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        succeed(self.command(space, words.next().unwrap_or_default()).args(words))
    }

    /// Starts a program whose input and output are pipes.
    pub(crate) fn spawn(&self, space: &str, program: &str, arguments: &[&str]) -> Result<Child, String> {
        let mut command = self.command(space, program);
        let piped =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().map_err(|error| format!("{program}: {error}"))
    }
}

/// A veth pair's offloads, which would let unfinished checksums and frames of 64 KB be seen.
const OFFLOADS: [&str; 10] = ["tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.spaces {
            let pids = Command::new("ip").args(["netns", "pids", name]).output();
            let pids =
                pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for pid in pids.split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).output();
            }
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

/// The output of a program that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<String, String> {
    let said = |output: &Output| {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{}{}", out, err)
    };
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", said(&output).trim())),
    }
}
