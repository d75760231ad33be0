//! `order-gateway dev` as a process on ports of its own, and grpcurl against it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use super::process::{Process, gateway};
use super::tools::{find, grpcurl};

/// A running `dev`.
pub struct Dev {
    pub process: Process,
    /// Where it says that it listens.
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub emulator: SocketAddr,
    /// The lines that it tells to paste.
    pub lines: Vec<String>,
}

impl Dev {
    /// Starts it and waits until it is ready.
    pub fn start() -> Self {
        Self::started(gateway([
            "dev",
            "--grpc-listen=127.0.0.1:0",
            "--http-listen=127.0.0.1:0",
            "--emulator-listen=127.0.0.1:0",
        ]))
    }

    /// The same from a command of the caller's own.
    pub fn started(command: Command) -> Self {
        let mut process = Process::start(command);
        let mut address = |name: &str| -> SocketAddr {
            let line = process.wait_for_line(&format!("  {name} "));
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let (grpc, http, emulator) = (address("gRPC"), address("HTTP"), address("Emulator"));
        process.wait_for_line("Ready.");
        let lines = (0..5).map(|_| process.wait_for_line("grpcurl ").trim().to_owned()).collect();
        Self { process, grpc, http, emulator, lines }
    }

    /// Runs grpcurl against it; `args` stand before the address.
    pub fn grpcurl(&self, args: &[&str], method: &[&str], stdin: &str) -> Output {
        let mut command = grpcurl();
        command.arg("-plaintext").args(args).arg(self.grpc.to_string()).args(method);
        with_stdin(command, stdin)
    }

    /// Calls an RPC of FulfillmentService with a JSON body.
    pub fn call(&self, method: &str, body: &str) -> Output {
        self.grpcurl(&["-d", "@"], &[&format!("ordergateway.v1.FulfillmentService/{method}")], body)
    }
}

/// Runs a command with this text as its input.
pub fn with_stdin(mut command: Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input may have ended before.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a line as a shell does, in the folder of the repository, with our tools first on PATH.
pub fn shell(line: &str) -> Output {
    let tools = find("grpcurl").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path))).unwrap();
    Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

/// What a program wrote to stdout, once it has done so and succeeded.
#[track_caller]
pub fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
