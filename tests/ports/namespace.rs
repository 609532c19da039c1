//! A network namespace for a test, and ip(8) in it.

use std::fs::File;
use std::os::fd::AsFd;
use std::panic;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::oracle;

/// Runs `test` in a thread of its own in a new network namespace, which is gone with it, or
/// skips it where none can be made.
pub(crate) fn alone(name: &str, test: impl FnOnce() + Send + 'static) {
    let body = || enter().map(|()| test());
    match thread::spawn(body).join() {
        Ok(Ok(())) => (),
        Ok(Err(reason)) => oracle::skip(&format!("{name}: {reason}")),
        Err(fault) => panic::resume_unwind(fault),
    }
}

/// Moves the calling thread, and no other, into a new network namespace.
fn enter() -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("fastpath-ports-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let refused = |why: String| format!("no permission to create a network namespace: {why}");
    run("ip", &["netns", "add", &name]).map_err(refused)?;
    let entered = File::open(format!("/var/run/netns/{name}")).and_then(|namespace| {
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    });
    // The thread keeps it: even a killed test leaves none behind.
    let deleted = run("ip", &["netns", "delete", &name]);
    entered.map_err(|error| refused(error.to_string())).and(deleted)
}

/// Runs ip(8) in the namespace of the calling thread: each line is one command.
pub(crate) fn ip(commands: &str) {
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let arguments: Vec<_> = line.split_whitespace().collect();
        if let Err(fault) = run("ip", &arguments) {
            panic!("ip {line}: {fault}");
        }
    }
}

/// A pair of veth whose ends leave frames as they are; both ends are in this namespace.
pub(crate) fn veth(near: &str, far: &str) {
    ip(&format!("link add {near} type veth peer name {far}\nlink set {near} up\nlink set {far} up"));
    for end in [near, far] {
        let off = ["-K", end, "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
        if let Err(fault) = run("ethtool", &off) {
            println!("offloads of {end} stay on: {fault}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("no program `{program}`: {error}")),
    }
}
