//! Open vSwitch in a directory of its own: a database, a daemon, bridges that are nowhere.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The switch. Its processes and its directory are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenVSwitch {
    dir: PathBuf,
    daemons: Vec<Child>,
    control: Option<UnixStream>,
    asked: u64,
}

/// The longest that a daemon may take to come up, or a tool to do its work.
const PATIENCE: u64 = 10;

impl OpenVSwitch {
    /// Starts it; `dummies` is `--enable-dummy` or `--enable-dummy=override`, which makes
    /// dummies of all ports, tunnels too.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    pub(crate) fn start(dummies: &str) -> Result<Self, String> {
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
        let mut switch = Self { dir, daemons: Vec::new(), control: None, asked: 0 };

        let database = switch.path("conf.db");
        switch.tool("ovsdb-tool", &["create", &database, schema], "")?;
        let socket = format!("punix:{}", switch.path("db.sock"));
        switch.daemon("ovsdb-server", &[&database, &format!("--remote={socket}")])?;
        switch.wait_for("db.sock")?;
        switch.vsctl(&["--no-wait", "init"])?;
        let database = format!("unix:{}", switch.path("db.sock"));
        let none_of_ours = ["--disable-system", "--disable-system-route"];
        switch.daemon("ovs-vswitchd", &[&[&*database, dummies], &none_of_ours[..]].concat())?;
        switch.control = Some(switch.wait_for("ovs-vswitchd.ctl")?);
        Ok(switch)
    }

    /// Adds a bridge that does what flows say, and waits until it is there.
    pub(crate) fn add_bridge(&self, name: &str) -> Result<Output, String> {
        self.vsctl(&["add-br", name, "--", "set", "bridge", name, "datapath-type=dummy", "fail-mode=secure"])
    }

    /// Has the daemon carry out a command, as `ovs-appctl` does.
    ///
    /// # Errors
    ///
    /// What it says of a command that it refuses.
    pub(crate) fn appctl(&mut self, command: &str, arguments: &[&str]) -> Result<String, String> {
        let control = self.control.as_ref().ok_or("it has not started")?;
        self.asked += 1;
        let request = json!({"method": command, "params": arguments, "id": self.asked}).to_string();
        (&*control).write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        // Nothing follows a reply before the next request, so nothing is read too far.
        let mut replies = serde_json::Deserializer::from_reader(control).into_iter::<Value>();
        let reply = replies.next().ok_or("it is gone")?.map_err(|error| error.to_string())?;
        match (&reply["id"], &reply["result"], &reply["error"]) {
            (id, Value::String(result), Value::Null) if *id == self.asked => Ok(result.clone()),
            (_, _, error) => Err(format!("{request}: {error}")),
        }
    }

    /// Has `ovs-ofctl` talk to a bridge.
    pub(crate) fn ofctl(
        &self, command: &str, bridge: &str, arguments: &[&str], input: &str,
    ) -> Result<Output, String> {
        let bridge = format!("unix:{}", self.path(&format!("{bridge}.mgmt")));
        self.tool("ovs-ofctl", &[&["-OOpenFlow10,OpenFlow15", command, &*bridge], arguments].concat(), input)
    }

    /// A file in its directory.
    pub(crate) fn path(&self, name: &str) -> String {
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

    /// Changes the database, and waits until the daemon has followed.
    pub(crate) fn vsctl(&self, arguments: &[&str]) -> Result<Output, String> {
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

impl Drop for OpenVSwitch {
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

fn said(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
