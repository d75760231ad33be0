//! Calls made by the real grpcio client, which has a deadline of its own and does not hear what comes after it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tonic::{Code, Status};

/// A call to be made.
pub struct Call {
    pub path: &'static str,
    pub timeout: Duration,
    /// The serialized message.
    pub body: Vec<u8>,
}

/// How a call ended for the client. Without details the gateway has not spoken, or was not heard.
#[derive(Debug)]
pub struct Ended {
    pub status: Status,
    pub took: Duration,
}

/// Makes all calls at once and waits for their ends. Panics when Python or grpcio is not there, or on a call that succeeds
/// without being asked to.
pub async fn calls(gateway: SocketAddr, calls: &[Call]) -> Vec<Ended> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python");
    assert!(python.is_file(), "no .tools/python; run ./scripts/test once, it installs grpcio");
    let mut child = Command::new(python)
        .args(["tests/it/support/grpcio_calls.py", &gateway.to_string()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = |call: &Call| {
        let hex: String = call.body.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {} {hex}\n", call.path, call.timeout.as_secs_f64())
    };
    let lines: String = calls.iter().map(line).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "the client failed");
    let ends: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(ended).collect();
    assert_eq!(ends.len(), calls.len());
    ends
}

fn ended(line: &str) -> Ended {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap();
    let code = Code::from(next().parse::<i32>().unwrap());
    let took = Duration::from_millis(next().parse().unwrap());
    let details = next();
    let bytes = (0..details.len() / 2).map(|i| u8::from_str_radix(&details[2 * i..2 * i + 2], 16).unwrap());
    let status = Status::with_details(code, next(), bytes.collect::<Vec<_>>().into());
    Ended { status, took }
}
