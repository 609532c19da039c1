//! The program `router` as a process, spoken to by its input and output.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::net::{Net, succeed};

/// The longest that an answer, or an end, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running router.
#[derive(Debug)]
pub(crate) struct Router {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Router {
    /// Starts it in a namespace and waits until packets flow.
    ///
    /// # Errors
    ///
    /// The exit status and what the program said, if it ended instead.
    pub(crate) fn start(net: &Net, space: &str, arguments: &[&str]) -> Result<Self, (i32, String)> {
        Self::start_by(net, space, &[], arguments)
    }

    /// The same, by way of the program and arguments `by`.
    pub(crate) fn start_by(
        net: &Net, space: &str, by: &[&str], arguments: &[&str],
    ) -> Result<Self, (i32, String)> {
        let program = binary().to_str().unwrap();
        let words: Vec<_> = by.iter().chain(&[program]).chain(arguments).copied().collect();
        let mut child = net.spawn(space, words[0], &words[1..]).unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut said = String::new();
            let _ = err.read_to_string(&mut said);
            said
        });
        let input = child.stdin.take();
        let mut router = Self { child, input, lines, errors: Some(errors) };
        loop {
            match router.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "ready" => return Ok(router),
                Ok(_) => (),
                Err(_) => return Err(router.end()),
            }
        }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command and returns what follows `ok` or, as an error, `error:`.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String, String> {
        let written =
            self.input.as_mut().map(|input| writeln!(input, "{command}").and_then(|()| input.flush()));
        assert!(matches!(written, Some(Ok(()))), "`{command}`: the router does not listen: {:?}", self.end());
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("`{command}` was not answered: {:?}", self.end());
            };
            if let Some(answer) = line.strip_prefix("ok") {
                return Ok(answer.trim().to_owned());
            }
            if let Some(reason) = line.strip_prefix("error:") {
                return Err(reason.trim().to_owned());
            }
        }
    }

    /// Gives a command that must be carried out.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) -> String {
        self.ask(command).unwrap_or_else(|reason| panic!("`{command}`: {reason}"))
    }

    /// Ends it by its own command: every packet must be accounted for.
    pub(crate) fn quit(mut self) {
        self.tell("quit");
        let rest: Vec<_> = self.lines.iter().collect();
        let (status, said) = self.end();
        assert_eq!(status, 0, "exit status of `quit`: {said}\n{}", rest.join("\n"));
    }

    /// The exit status and what was said on standard error, of one that has ended or will.
    fn end(&mut self) -> (i32, String) {
        drop(self.input.take());
        let asked = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code().unwrap_or(-1),
                None if asked.elapsed() > PATIENCE => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break -2;
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        (status, self.errors.take().map(|thread| thread.join().unwrap()).unwrap_or_default())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if thread::panicking() && self.input.as_mut().is_some_and(|input| writeln!(input, "report").is_ok()) {
            let said = self.lines.recv_timeout(Duration::from_secs(1));
            eprintln!("the router's accounts: {}", said.unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (true, Some(errors)) = (thread::panicking(), self.errors.take()) {
            eprintln!("the router said: {}", errors.join().unwrap_or_default());
        }
    }
}

/// The program, built as this test is, if it is not yet.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
        let target = profile.parent().unwrap();
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        build.args(["build", "--locked", "--quiet", "--example", "router", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        succeed(build.current_dir(env!("CARGO_MANIFEST_DIR"))).unwrap();
        profile.join("examples/router")
    })
}
