//! A router on real interfaces: IPv4 slices over UDP, VXLAN, Geneve and GRE, by UDP sockets, TUN devices and packet
//! sockets, over IPv4 and IPv6.
//!
//! ```text
//! cargo run --release --example router
//! cargo run --release --example router -- --config router.toml
//! ```

#[path = "../node/config/mod.rs"]
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod hosts;
#[path = "../node/label.rs"]
pub(crate) mod label;
pub(crate) mod ports;
#[path = "../support/program.rs"]
pub(crate) mod program;
pub(crate) mod queues;
pub(crate) mod slice;

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use fastpath::code_option::ipv4::Ipv4;
use fastpath::id::InterfaceId;
use fastpath::io::Pool;
use fastpath::node::Node;
use fastpath::runtime::{self, Monotonic, Running, Settings, Worker};
use fastpath::slot::Layer;
use fastpath::time::Nanos;
use serde_json::Value;

use config::{Kind, Plan};
use control::Control;
use ports::Ports;

/// A packet's buffer.
pub(crate) type Buffer = Box<[u8]>;
/// Octets in front of a packet as it arrives: it may leave with a longer outer header.
pub(crate) const HEADROOM: u32 = 128;
/// Octets of a buffer.
pub(crate) const OCTETS: usize = 2368;
/// Buffers of the worker's.
const BUFFERS: usize = 8192;

pub(crate) type RouterNode = Node<(Ipv4,), Buffer>;
pub(crate) type Handle = runtime::Handle<RouterNode, Pool>;

/// A router on real interfaces, with IPv4 slices and their slow paths.
///
/// Without arguments two routers and two hosts talk over UDP sockets of the loopback device, and
/// no privileges are needed: ping, traceroute, and a link that carries more than its rate.
///
/// With --config the ports that the file names are opened; when "ready" is printed, packets
/// flow. Commands are read from the standard input, one a line, and answered by "ok" or
/// "error:" and a reason; "help" names them. The router ends at "quit", at SIGINT or SIGTERM,
/// or after --for: it sends what waits, and says what became of every packet.
///
/// The exit status is 0 if every packet is accounted for, 1 if not, and 2 if the arguments or
/// the configuration are wrong or a port cannot be opened.
#[derive(Debug, Parser)]
#[command(name = "router", version)]
struct Arguments {
    /// The configuration, as docs/node_config.md describes it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Writes the figures of the end as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Ends by itself after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", requires = "config")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    program::exit("router", run(std::env::args_os(), &mut std::io::stdout()))
}

/// The program: what `main` does with its arguments and its output. Returns the exit
/// status.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = OsString>, out: &mut impl Write,
) -> Result<u8, Box<dyn Error>> {
    let arguments = match program::arguments::<Arguments>(arguments)? {
        Ok(arguments) => arguments,
        Err(status) => return Ok(status),
    };
    let Some(file) = &arguments.config else {
        let figures = demo::run(out)?;
        if let Some(file) = &arguments.json {
            program::write_json(file, &figures)?;
        }
        return Ok(0);
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let plan = Plan::read(&file.display().to_string(), &text)?;
    let router = Router::start(&plan)?;
    let mut control = router.control(&plan);
    if let Err(error) = control.admit_all() {
        control.end();
        return Err(error.into());
    }
    writeln!(out, "ready")?;
    out.flush()?;
    let until = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    serve(&mut control, until, out)?;
    let before = control.report().ok();
    control.end();
    let (exact, mut figures) = router.stop(&plan)?;
    if let (Value::Object(figures), Some(Value::Object(mut before))) = (&mut figures, before) {
        figures.insert("managers".into(), before.remove("managers").unwrap_or_default());
    }
    eprintln!("{figures:#}");
    if let Some(file) = &arguments.json {
        program::write_json(file, &figures)?;
    }
    Ok(u8::from(!exact))
}

/// A worker that runs, with its ports.
pub(crate) struct Router {
    running: Running<RouterNode, Pool>,
    clock: Monotonic,
    _reserved: Vec<std::os::fd::OwnedFd>,
}

impl Router {
    /// Opens ports, and starts the worker.
    pub(crate) fn start(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        if let Some(slice) = plan.slices.iter().find(|slice| slice.kind != Kind::Ipv4) {
            return Err(
                format!("slice {}: option `{}`: a router has `ipv4` only", slice.name, slice.kind).into()
            );
        }
        let clock = Monotonic::default();
        let mut node: RouterNode = Node::new((Ipv4::default(),), plan.limits);
        for interface in &plan.interfaces {
            node.add_interface(interface.config)
                .map_err(|error| format!("interface {}: {error}", interface.name))?;
        }
        let Ports { open, reserved } = Ports::open(plan, clock)?;
        let mut worker = Worker::new(node, Pool::new(BUFFERS, OCTETS), Settings::default())?;
        for (interface, port) in (0..).map(InterfaceId).zip(open) {
            worker.add_port(interface, Layer::Ip, port)?;
        }
        Ok(Self { running: worker.spawn("worker".into(), clock)?, clock, _reserved: reserved })
    }

    pub(crate) fn control<'a>(&self, plan: &'a Plan) -> Control<'a> {
        Control::new(plan, self.running.handle().clone(), self.clock)
    }

    /// Stops the worker; whether every packet is accounted for, and the figures.
    pub(crate) fn stop(self, plan: &Plan) -> Result<(bool, Value), Box<dyn Error>> {
        self.running.handle().stop(Nanos::from_millis(500))?;
        let (_, report) = self.running.join().ok_or("the worker panicked")?;
        let names = |id: fastpath::id::SliceId| format!("slice {}", id.0);
        Ok((report.is_exact(), control::figures(&report, plan, names)))
    }
}

/// Carries out commands until the end.
fn serve(
    control: &mut Control<'_>, until: Option<Instant>, out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let (lines, line) = channel();
    // It blocks in a read when the program ends, and goes with it.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let mut open = true;
    while !ended.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
        let next = match open {
            true => line.recv_timeout(Duration::from_millis(50)),
            false => {
                std::thread::sleep(Duration::from_millis(50));
                Err(RecvTimeoutError::Timeout)
            }
        };
        match next {
            Ok(line) if line.trim() == "quit" => {
                writeln!(out, "ok")?;
                break;
            }
            Ok(line) => match control.command(line.trim()) {
                Ok(said) => writeln!(out, "{}", format!("ok {said}").trim_end())?,
                Err(error) => writeln!(out, "error: {error}")?,
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
        out.flush()?;
    }
    Ok(())
}
