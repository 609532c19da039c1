//! A network namespace for a test, and ip(8) in it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

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
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip: {commands}");
}

/// A machine beside ours: a thread in a network namespace of its own, which does as it is told.
pub(crate) struct Host {
    orders: Sender<Order>,
    done: Receiver<()>,
    thread: i32,
}

type Order = Box<dyn FnOnce() + Send>;

impl Host {
    /// A machine without interfaces. Only for who is [`alone`], and so may have one.
    pub(crate) fn new() -> Self {
        let (orders, ordered) = mpsc::channel::<Order>();
        let (tell, told) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        thread::spawn(move || {
            enter().unwrap();
            tell.send(gettid().as_raw_pid()).unwrap();
            for order in ordered {
                order();
                if finished.send(()).is_err() {
                    break;
                }
            }
        });
        Self { orders, done, thread: told.recv().expect("a namespace") }
    }

    /// What `ip link set NAME netns` takes.
    pub(crate) fn namespace(&self) -> i32 {
        self.thread
    }

    /// Lets it do `order`, and waits for that.
    pub(crate) fn run(&self, order: impl FnOnce() + Send + 'static) {
        self.orders.send(Box::new(order)).unwrap();
        self.done.recv().expect("the order was carried out");
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
