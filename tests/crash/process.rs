//! Processes of the program under test: started, found ready, killed, never left behind.

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks at a process or a port. The machine offers nothing to wait for instead.
const LOOK: Duration = Duration::from_millis(10);

/// A running process. It is killed and reaped when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it writes to stderr goes to the end of `log`.
    pub(crate) fn start(program: &Path, words: &[&str], variables: &[(&str, String)], log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("ORDER_GATEWAY")) {
            command.env_remove(key);
        }
        command.args(words).envs(variables.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self { child: command.spawn()? })
    }

    /// kill -9, unless it has ended already.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end, at most so long.
    pub(crate) async fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + limit;
        loop {
            let ended = self.ended()?;
            if ended.is_some() || Instant::now() >= until {
                return Ok(ended);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until `url` answers 200; tells the status if the process ends before.
    pub(crate) async fn answers(&mut self, http: &reqwest::Client, url: &str, limit: Duration) -> io::Result<Ready> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Ready::Ended(status));
            }
            let answer = http.get(url).timeout(Duration::from_secs(1)).send().await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return Ok(Ready::Yes);
            }
            if Instant::now() >= until {
                return Err(io::Error::other(format!("{url} does not answer 200 after {limit:?}")));
            }
            sleep(LOOK).await;
        }
    }
}

/// What became of a start.
pub(crate) enum Ready {
    /// It answers.
    Yes,
    /// It ended before it did.
    Ended(ExitStatus),
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
