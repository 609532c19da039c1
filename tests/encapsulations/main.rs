//! Encapsulations that others speak, too: octets by field, there and back, and against
//! implementations that nobody here wrote: etherparse, tshark, the kernel's VXLAN device,
//! the tunnels of Open vSwitch.
//!
//! The kernel needs root, ip(8) and `/dev/net/tun`, Open vSwitch its programs only; who is
//! missing is skipped, unless `FASTPATH_REQUIRE_ORACLES` is 1.

mod golden;
#[cfg(target_os = "linux")]
mod kernel;
#[path = "../support/oracle.rs"]
mod oracle;
#[cfg(target_os = "linux")]
#[path = "../support/ovs.rs"]
mod ovs;
mod refusals;
mod round_trip;
#[cfg(target_os = "linux")]
mod switch;
mod tshark;
#[cfg(target_os = "linux")]
#[path = "../kernel_ipv4/tun.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod tun;
mod world;
