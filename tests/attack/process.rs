//! Processes on a core of their own choosing, and what Linux tells about them.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks at a process or a port. The machine offers nothing to wait for instead.
const LOOK: Duration = Duration::from_millis(5);

/// A running process. It is killed and reaped when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it on one core, politely (`nice`) or not; what it writes to stderr goes to the end of `log`.
    pub(crate) fn start(core: usize, polite: bool, program: &Path, words: &[String], log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &core.to_string()]);
        if polite {
            command.args(["nice", "-n", "19"]);
        }
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("ORDER_GATEWAY")) {
            command.env_remove(key);
        }
        command.arg(program).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let missing = |error| io::Error::other(format!("taskset (package util-linux) cannot be started: {error}"));
        Ok(Self { child: command.spawn().map_err(missing)? })
    }

    /// Its number: taskset and nice become the program that they start.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as an orchestrator does.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.id())).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other("SIGTERM could not be sent")) }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end. An error when it takes longer.
    pub(crate) async fn end(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= until {
                return Err(io::Error::other(format!("a process has not ended after {limit:?}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until `url` answers 200.
    pub(crate) async fn answers(&mut self, http: &reqwest::Client, url: &str, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Err(io::Error::other(format!("ended at its start: {status}")));
            }
            let answer = http.get(url).timeout(Duration::from_secs(1)).send().await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(io::Error::other(format!("{url} does not answer 200 after {limit:?}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Files that it has open, sockets among them.
    pub(crate) fn files(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.proc("fd"))?.count())
    }

    /// MiB that it has had resident at most since [`Process::forget_peak`].
    pub(crate) fn peak_mib(&self) -> io::Result<f64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib: f64 = line.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default();
        Ok(kib / 1024.0)
    }

    /// The peak begins anew.
    pub(crate) fn forget_peak(&self) -> io::Result<()> {
        fs::write(self.proc("clear_refs"), "5")
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free just now.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
