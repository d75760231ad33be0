//! Postgres servers for tests, from Debian's package `postgresql`: in a temporary folder, as an unprivileged user, on a
//! free port, with fsync on. Used by the unit tests, by `tests/it` and by `tests/crash`.
//!
//! A server stops, and its folder goes, when its [`Cluster`] is dropped and also when the process of the tests ends in
//! any other way: a shell waits for the end of a pipe, whose other end only that process holds.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The superuser, to whom the database `postgres` belongs too.
pub(crate) const USER: &str = "postgres";
/// The superuser's password.
pub(crate) const PASSWORD: &str = "for-tests-only";
/// Not the folder for temporary files of the environment: the path of a Unix socket has at most 107 bytes, and an
/// unprivileged user must reach it.
const PLACE: &str = "/tmp";
/// The port is looked for before the server takes it; another process may be faster.
const STARTS: usize = 5;
/// Waits for the end of its input, then stops all servers below `$1` with the programs of `$0` and deletes the folder.
const AT_THE_END: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
for lock in "$1"/*/postmaster.pid; do
    [ ! -e "$lock" ] || "$0/pg_ctl" stop --silent --mode immediate --pgdata "${lock%/postmaster.pid}"
done
rm -rf "$1"
"#;

/// A server of its own, with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where it lives.
    pub files: Files,
    /// The server itself.
    pub server: Server,
    /// Stops the server when its input ends.
    end: Child,
}

impl Cluster {
    /// The server that all tests of this process share. Panics when there is none: a test that cannot run has failed.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("{error}")))
    }

    /// A server that is this test's alone, with further lines of `postgresql.conf`. Blocks until it takes connections,
    /// for about two seconds.
    pub(crate) fn start_with(settings: &[&str]) -> io::Result<Self> {
        let files = Files::new()?;
        let end = files.at_the_end()?;
        let data = files.folder.join("primary");
        let password = files.folder.join("password");
        std::fs::write(&password, PASSWORD)?;
        let mut initdb = files.command("initdb");
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password).args(["--username", USER]);
        // What is made here is not worth a sync; the server itself syncs.
        initdb.args(["--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        said(initdb.args(["--auth-local", "trust", "--auth-host", "scram-sha-256"]))?;
        let mut server = Server { data, port: 0 };
        server.configure(settings)?;
        server.take_a_port(&files)?;
        Ok(Self { files, server, end })
    }

    /// A server that is this test's alone.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Where it listens, at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    /// Its address as a setting of the gateway, without [`PASSWORD`].
    pub(crate) fn url(&self) -> String {
        url(self.port())
    }

    /// What `psql` prints for these statements, each a transaction of its own; columns stand apart by `|`.
    pub(crate) fn sql(&self, statements: &str) -> io::Result<String> {
        self.server.sql(&self.files, statements)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.end.stdin.take());
        // A failure leaves a folder behind; there is nobody to tell.
        let _ = self.end.wait();
    }
}

/// A name for a schema that no other test of this process uses.
pub(crate) fn new_schema() -> String {
    static SCHEMAS: AtomicUsize = AtomicUsize::new(1);
    format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

/// The address of a server at this port of 127.0.0.1, without [`PASSWORD`].
pub(crate) fn url(port: u16) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/postgres")
}

/// The folder of servers, and the programs that work in it.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Belongs to the user as whom the servers run. The sockets of the servers are here too.
    pub folder: PathBuf,
    /// Empty: those on PATH.
    programs: PathBuf,
    /// The user and group of the servers, when this is root, as whom Postgres does not run.
    user: Option<(u32, u32)>,
}

impl Files {
    fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("order-gateway-pg-").tempdir_in(PLACE)?.keep();
        let user = unprivileged()?;
        if let Some((user, group)) = user {
            chown(&folder, Some(user), Some(group))?;
        }
        Ok(Self { folder, programs: programs()?, user })
    }

    /// A program of Postgres, as the user of the servers.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.as_user(self.programs.join(program))
    }

    fn as_user(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env("PGHOST", &self.folder).env("PGUSER", USER).env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn at_the_end(&self) -> io::Result<Child> {
        let mut shell = self.as_user("/bin/sh");
        // A process group of its own: what is typed at the terminal is not for it.
        shell.arg("-c").arg(AT_THE_END).arg(&self.programs).arg(&self.folder).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

/// A server and its data.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its folder.
    pub data: PathBuf,
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
}

impl Server {
    fn configure(&self, settings: &[&str]) -> io::Result<()> {
        let own = [
            "listen_addresses = '127.0.0.1'",
            "fsync = on",
            "shared_buffers = 32MB",
            "max_connections = 1000",
            "wal_level = replica",
            "log_line_prefix = '%m %p %a '",
        ];
        let mut text = std::fs::read_to_string(self.data.join("postgresql.conf"))?;
        for line in own.iter().chain(settings) {
            text.push_str(line);
            text.push('\n');
        }
        std::fs::write(self.data.join("postgresql.conf"), text)
    }

    /// Starts it for the first time, at a port that nobody else has.
    pub(crate) fn take_a_port(&mut self, files: &Files) -> io::Result<()> {
        let mut tries = 1;
        loop {
            self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            match self.start(files) {
                Err(_) if tries < STARTS => tries += 1,
                started => return started,
            }
        }
    }

    /// Starts it and waits until it takes connections; for 60 seconds at most.
    pub(crate) fn start(&self, files: &Files) -> io::Result<()> {
        let options = format!("-p {} -k {}", self.port, files.folder.display());
        let log = self.data.with_extension("log");
        let mut start = files.command("pg_ctl");
        start.args(["start", "--silent", "--wait", "--pgdata"]).arg(&self.data).arg("--log").arg(&log);
        said(start.arg("--options").arg(options)).map(|_| ()).map_err(|error| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(format!("{error}\n{log}"))
        })
    }

    /// What `psql` prints for these statements.
    pub(crate) fn sql(&self, files: &Files, statements: &str) -> io::Result<String> {
        let mut psql = files.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--dbname", "postgres", "--port", &self.port.to_string()]);
        // Given to its input, each statement is a transaction of its own, and each result is printed.
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut input) = psql.stdin.take() {
            input.write_all(statements.as_bytes())?;
        }
        let output = psql.wait_with_output()?;
        Ok(printed("psql", output)?.trim_end().to_owned())
    }
}

/// What a program printed; what it said on stderr is the error.
pub(crate) fn said(command: &mut Command) -> io::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    printed(&program, command.stdin(Stdio::null()).output()?)
}

fn printed(program: &str, output: Output) -> io::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {text}", output.status)))
}

/// The folder of the newest version that Debian's package installed; else that of `initdb` on PATH.
fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .collect();
    versions.sort();
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let places = versions.into_iter().rev().map(|(_, programs)| programs).chain(std::env::split_paths(&path));
    places.into_iter().find(|place| place.join("initdb").is_file()).ok_or_else(|| {
        io::Error::other(
            "Postgres is not installed (no initdb in /usr/lib/postgresql/*/bin or on PATH); run ./scripts/test once, it \
             installs the tools",
        )
    })
}

/// For root: the user of Postgres, else nobody. For others: none, the servers are theirs.
fn unprivileged() -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let user = find("postgres").or_else(|| find("nobody"));
    user.map(Some).ok_or_else(|| io::Error::other("there is no user postgres or nobody to run Postgres as"))
}
