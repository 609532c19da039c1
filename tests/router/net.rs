//! Hosts and routers as network namespaces, joined by veth pairs. They go when the net is
//! dropped, with whatever runs in them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Why there can be no net here, so that tests are skipped. Whatever else goes wrong with a net is
/// a fault, and fails them.
#[derive(Debug)]
pub(crate) struct Unable(pub(crate) String);

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
    /// A net without machines.
    ///
    /// # Errors
    ///
    /// A program, a privilege or a kind of device is missing.
    ///
    /// # Panics
    ///
    /// If one cannot be made for any other reason.
    pub(crate) fn new(test: &str) -> Result<Self, Unable> {
        for program in PROGRAMS {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            if !found.is_ok_and(|output| output.status.success()) {
                return Err(Unable(format!("there is no program {program}")));
            }
        }
        let mut net = Self { prefix: format!("fp{}{test}", std::process::id()), spaces: Vec::new() };
        // What is allowed shows when it is done.
        let probed = net.space("probe").and_then(|()| {
            net.ip("probe", "link add probe type veth peer name other")?;
            net.ip("probe", "link add tunnel type vxlan id 1 dstport 4789 dev probe")
        });
        match probed {
            Ok(_) => Ok(net),
            Err(said) if is_unable(&said) => Err(Unable(said)),
            Err(said) => panic!("{said}"),
        }
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
        self.within(space, || succeed(Command::new("sh").args(["-c", &script]))).map(|_| ())
    }

    /// Runs ip(8) in a namespace.
    pub(crate) fn ip(&self, space: &str, arguments: &str) -> Result<String, String> {
        self.run(space, &format!("ip {arguments}"))
    }

    /// Joins two namespaces. What arrives is what was sent: no checksum is left to the
    /// device, and no frame is longer than the MTU.
    pub(crate) fn cable(&self, one: End<'_>, other: End<'_>) -> Result<(), String> {
        let (device, peer, space) = (one.device, other.device, self.name(other.space));
        self.ip(one.space, &format!("link add {device} type veth peer name {peer} netns {space}"))?;
        for End { space, device, address } in [one, other] {
            self.run(space, &format!("ethtool -K {device} {OFFLOADS}"))?;
            self.ip(space, &format!("address add {address} dev {device}"))?;
            self.ip(space, &format!("link set {device} up"))?;
        }
        Ok(())
    }

    /// Runs `body` in a thread of its own in a namespace. A program that it starts is there as well,
    /// and costs no mount, as it would with `ip netns exec`.
    pub(crate) fn inside<T: Send + 'static>(
        &self, space: &str, body: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = self.open(space);
        thread::spawn(move || {
            enter(&namespace);
            body()
        })
    }

    /// The same, and waits for what it returns.
    pub(crate) fn within<T: Send>(&self, space: &str, body: impl FnOnce() -> T + Send) -> T {
        let namespace = self.open(space);
        let body = move || {
            enter(&namespace);
            body()
        };
        thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    fn open(&self, space: &str) -> File {
        File::open(format!("/var/run/netns/{}", self.name(space))).unwrap()
    }

    /// Runs a program to its end, and returns what it printed.
    pub(crate) fn run(&self, space: &str, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        self.within(space, || succeed(&mut command))
    }

    /// Starts a program whose input and output are pipes.
    pub(crate) fn spawn(&self, space: &str, program: &str, arguments: &[&str]) -> Result<Child, String> {
        let mut command = Command::new(program);
        let piped =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.within(space, || piped.spawn()).map_err(|error| format!("{program}: {error}"))
    }
}

fn enter(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Whether a program says that it may not, or that the kernel cannot.
fn is_unable(said: &str) -> bool {
    let words = ["not permitted", "ermission denied", "Unknown device type", "not supported"];
    words.iter().any(|words| said.contains(words))
}

/// A veth pair's offloads, which would let unfinished checksums and frames of 64 KB be seen.
const OFFLOADS: &str = "tx off rx off tso off gso off gro off";

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

#[test]
fn what_is_not_allowed_here_is_told_apart_from_what_is_wrong() {
    let Ok(net) = Net::new("unable") else { return crate::oracle::skip("what is not allowed") };
    let without = "setpriv --bounding-set=-all --inh-caps=-all ip";
    for (command, unable) in [
        (format!("{without} netns add {}", net.name("never")), true),
        (format!("{without} link add x type veth peer name y"), true),
        ("ip link add x type flying_carpet".into(), true),
        (format!("ip netns add {}", net.name("probe")), false),
        ("ip link set nothere up".into(), false),
        ("ip address add 10.0.0.300/24 dev lo".into(), false),
        ("nothere".into(), false),
    ] {
        let said = net.run("probe", &command).expect_err(&command);
        assert_eq!(is_unable(&said), unable, "{said}");
    }
}
