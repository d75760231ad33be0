//! Programs that the tests call and that cargo does not build.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The grpcurl that `./scripts/test` installed, else the one on PATH.
///
/// Panics when there is none: a check that cannot run has failed.
pub fn grpcurl() -> Command {
    Command::new(find("grpcurl"))
}

/// A program that `./scripts/test` installed, else the one on PATH. Panics when there is none.
pub fn find(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(installed).chain(std::env::split_paths(&path));
    places.find_map(|dir| Some(dir.join(name)).filter(|file| file.is_file())).unwrap_or_else(|| {
        panic!("{name} is neither in .tools/bin nor on PATH; run ./scripts/test once, it installs the tools")
    })
}

/// A loopback port that nobody listens on. Another process may take it before the caller does: where a program can be
/// told port 0 and says what it got, use that.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn grpcurl_is_installed_and_runs() {
    let output = grpcurl().arg("-version").output().unwrap();
    assert!(output.status.success());
    // It says so on stderr.
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("grpcurl v"), "{output:?}");
}

#[test]
#[should_panic(expected = "run ./scripts/test once")]
fn a_missing_tool_is_a_failure_that_says_what_to_do() {
    find("no-such-tool");
}

#[test]
fn a_free_port_can_be_taken() {
    let port = free_port();
    assert!(port >= 1024, "{port}");
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}
