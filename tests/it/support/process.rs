//! A real process under test: started, listened to, stopped, and never left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for a line or an end. Long because machines differ; tests that pass never wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program of this crate with these arguments, with no settings from the environment.
pub fn gateway<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-gateway"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("ORDER_GATEWAY")) {
        command.env_remove(key);
    }
    command.args(args);
    command
}

/// A running process whose stderr is kept. It is killed and reaped when this value is dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Every line of stderr that was waited past.
    seen: Vec<String>,
}

impl Process {
    /// Starts `command` with stdin closed and stdout thrown away.
    pub fn start(mut command: Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // Reads on until the end, so that the process is never blocked by a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Process { child, lines, seen: Vec::new() }
    }

    /// Waits until a line of stderr contains `text`, and returns it.
    ///
    /// Panics with all of stderr when the process ends before, or when it takes too long.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(end) => panic!("no line with {text:?} ({end}); stderr was:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Lines of stderr so far that contain `text`.
    pub fn seen(&mut self, text: &str) -> usize {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the process to stop, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill` is there on every system; the crate forbids unsafe code, so no libc.
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status().unwrap();
        assert!(status.success(), "could not send SIG{name}");
    }

    /// Ends the process as a power switch would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end and returns the exit status with all of stderr.
    pub fn wait_for_end(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        // stderr is closed at the end at the latest, and the end follows at once.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        assert!(Instant::now() < deadline, "still running; stderr was:\n{}", self.seen.join("\n"));
        (self.child.wait().unwrap(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    }

    #[test]
    fn waits_for_a_line_and_stops_on_request() {
        let mut process = shell("echo one >&2; echo ready to serve >&2; exec sleep 600");
        assert_eq!(process.wait_for_line("ready"), "ready to serve");
        process.terminate();
        let (status, lines) = process.wait_for_end();
        assert!(!status.success());
        assert_eq!(lines, ["one", "ready to serve"]);
    }

    #[test]
    #[should_panic(expected = "stderr was:\nport taken")]
    fn a_process_that_ends_too_early_is_told_with_what_it_said() {
        shell("echo port taken >&2; exit 1").wait_for_line("ready");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = shell("exec sleep 600");
        let id = process.child.id();
        drop(process);
        let alive = Command::new("sh").arg("-c").arg(format!("kill -0 {id}")).stderr(Stdio::null()).status().unwrap();
        assert!(!alive.success(), "process {id} is still there");
    }

    #[test]
    fn the_program_is_built_and_ends() {
        let (status, lines) = Process::start(gateway(["--version"])).wait_for_end();
        assert!(status.success(), "{lines:?}");
    }
}
