//! Packets a second through the router on each kind of port, beside the kernel's own
//! forwarding: `cargo bench --features netlink,workloads --bench router`, as root.
//!
//! ```text
//! host a -- router -- host b      three network namespaces, a pair of veth each way
//! ```
//!
//! One thread sends prepared frames from host a as fast as its port takes them, or at a given
//! rate; one receives at host b; the router is a worker with one IPv4 slice, or the kernel. Each
//! way has cables of its own, so that none sees what goes another way. What arrives in a window
//! while the sender never rests is the rate; what was sent in it and did not arrive is the loss.
//! Rounds of all ways are interleaved. The time on the way is that between a packet's stamp, set
//! when it is handed to the sender's port, and when the receiver has it, with both threads' and
//! the worker's sleep and waking.
//!
//! The kernel forwards the inner packets as they are, without a tunnel: less work. On a path
//! through it the thread that sends a frame over veth also does what the other end does with it:
//! the kernel's forwarding is done by the sender's thread, which so never sends too much, and the
//! worker's own time has the receiver's half of the kernel in it. Three threads want three cores:
//! where there are fewer, rates and the rare long times are those of a crowded machine.
//!
//! After `--`: `--rounds`, `--seconds`, `--ports packet,udp`, `--csv FILE`. The namespaces are
//! called `fastpath-` and the process's number, and are deleted at the end,
//! also when it is interrupted.

#[cfg(target_os = "linux")]
mod ends;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod net;
#[cfg(target_os = "linux")]
mod ours;
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(target_os = "linux")]
mod traffic;
#[cfg(target_os = "linux")]
mod ways;

/// Why something cannot be measured.
#[cfg(target_os = "linux")]
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("these ports are those of Linux");
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Fault> {
    use clap::Parser;

    // Under `cargo test` there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let arguments = rounds::Arguments::parse();
    let net = match net::Net::new() {
        Ok(net) => net,
        Err(reason) => {
            println!("skipped: {reason}; this needs root, ip and ethtool");
            return Ok(());
        }
    };
    rounds::run(&arguments, &net)
}
