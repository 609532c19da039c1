//! A switch in a directory of its own: a database, a daemon, a bridge that is nowhere.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastpath::key::TableKey;
use fastpath::lookup::{Filter, Rank};
use serde_json::{Value, json};

/// The switch. Its processes and its directory are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Switch {
    dir: PathBuf,
    daemons: Vec<Child>,
    control: Option<UnixStream>,
}

const BRIDGE: &str = "br0";

/// The longest that a daemon may take to come up, or a tool to do its work.
const PATIENCE: u64 = 10;

impl Switch {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    pub(crate) fn start() -> Result<Self, String> {
        let daemons = ["ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"];
        if let Some(missing) = daemons.iter().find(|name| program(name).is_none()) {
            return Err(format!("{missing} is not installed (Debian: openvswitch-switch)"));
        }
        let schema =
            ["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];
        let schema = schema.into_iter().find(|file| Path::new(file).exists());
        let schema = schema.ok_or("vswitch.ovsschema is not where it should be")?;
        // A socket's path may have 107 octets.
        let dir = env::temp_dir().join(format!("fastpath-ovs-{}", process::id()));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut switch = Self { dir, daemons: Vec::new(), control: None };

        let database = switch.path("conf.db");
        switch.tool("ovsdb-tool", &["create", &database, schema], "")?;
        let socket = format!("punix:{}", switch.path("db.sock"));
        switch.daemon("ovsdb-server", &[&database, &format!("--remote={socket}")])?;
        switch.wait_for("db.sock")?;
        switch.vsctl(&["--no-wait", "init"])?;
        let database = format!("unix:{}", switch.path("db.sock"));
        switch.daemon("ovs-vswitchd", &[&database, "--enable-dummy=override", "--disable-system"])?;
        // This waits until the daemon has made the bridge.
        let bridge =
            ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath-type=dummy", "fail-mode=secure"];
        switch.vsctl(&bridge)?;
        switch.control = Some(switch.wait_for("ovs-vswitchd.ctl")?);
        Ok(switch)
    }

    /// Puts `filters` in the place of all flows; the flow's priority is 65,535 less the rank.
    pub(crate) fn replace_flows<'a>(&mut self, filters: impl IntoIterator<Item = &'a (Rank, Filter)>) {
        let mut flows = String::new();
        for (rank, filter) in filters {
            let [value, mask] = [filter.value(), filter.mask()].map(Ipv6Addr::from_bits);
            let priority = 65_535 - rank.0;
            writeln!(flows, "priority={priority},ipv6,ipv6_dst={value}/{mask},actions=drop").unwrap();
        }
        let bridge = format!("unix:{}", self.path(&format!("{BRIDGE}.mgmt")));
        self.tool("ovs-ofctl", &["replace-flows", &bridge, "-"], &flows).unwrap();
    }

    /// The rank of the flow that each key finds.
    pub(crate) fn lookup(&mut self, keys: &[TableKey]) -> Vec<Option<u32>> {
        let control = self.control.as_ref().unwrap();
        let mut replies = serde_json::Deserializer::from_reader(control).into_iter::<Value>();
        let mut ask = |(key, id): (&TableKey, usize)| {
            let packet = format!("in_port=LOCAL,ipv6,ipv6_dst={}", Ipv6Addr::from_bits(key.bits()));
            let request = json!({"method": "ofproto/trace", "params": [BRIDGE, packet], "id": id});
            (&*control).write_all(request.to_string().as_bytes()).unwrap();
            let reply = replies.next().unwrap().unwrap();
            assert!(reply["id"] == id && reply["error"].is_null(), "{request}: {reply}");
            found(reply["result"].as_str().unwrap())
        };
        keys.iter().zip(0..).map(&mut ask).collect()
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A program of theirs that knows this directory only.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name).unwrap_or_else(|| name.into()));
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.dir);
        }
        command.current_dir(&self.dir);
        command
    }

    /// Starts a daemon.
    fn daemon(&mut self, name: &str, arguments: &[&str]) -> Result<(), String> {
        let log = fs::File::create(self.path(&format!("{name}.log"))).map_err(|error| error.to_string())?;
        let mut command = self.command(name);
        let control = format!("--unixctl={}", self.path(&format!("{name}.ctl")));
        command.args(arguments).args([&*control, "-vconsole:warn", "-vsyslog:off"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().map_err(|error| format!("{name}: {error}"))?);
        Ok(())
    }

    fn vsctl(&self, arguments: &[&str]) -> Result<Output, String> {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let patience = format!("--timeout={PATIENCE}");
        self.tool("ovs-vsctl", &[&[&*database, &*patience], arguments].concat(), "")
    }

    /// Runs a tool to its end.
    fn tool(&self, name: &str, arguments: &[&str], input: &str) -> Result<Output, String> {
        let run = || {
            let mut command = self.command(name);
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            // All of it is read before anything is said.
            child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()))?;
            child.wait_with_output()
        };
        let output = run().map_err(|error| format!("{name}: {error}"))?;
        match output.status.success() {
            true => Ok(output),
            false => Err(format!("{name} {arguments:?}: {}{}", said(&output.stderr), self.logs())),
        }
    }

    /// Waits until somebody listens at a socket.
    fn wait_for(&self, name: &str) -> Result<UnixStream, String> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.path(name)) {
                Ok(stream) => return Ok(stream),
                Err(error) if start.elapsed() > Duration::from_secs(PATIENCE) => {
                    return Err(format!("{name}: {error}{}", self.logs()));
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What the daemons have to say.
    fn logs(&self) -> String {
        let logs = ["ovsdb-server.log", "ovs-vswitchd.log"];
        logs.iter().filter_map(|name| fs::read_to_string(self.path(name)).ok()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Where a program is; daemons may be outside a user's path.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The rank of the flow that a trace tells of: its first table says ` 0. MATCH, priority N`,
/// or ` 0. No match.`
fn found(trace: &str) -> Option<u32> {
    let line = trace.lines().map(str::trim_start).find(|line| line.starts_with("0. "));
    let line = line.unwrap_or_else(|| panic!("a trace of another form:\n{trace}"));
    if line.starts_with("0. No match") {
        return None;
    }
    let priority = line.split_once(", priority ").map_or("32768", |(_, priority)| priority);
    let priority = priority.split(',').next().and_then(|number| number.trim().parse::<u32>().ok());
    Some(65_535 - priority.unwrap_or_else(|| panic!("a trace of another form:\n{trace}")))
}

fn said(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
