//! Callers of a real process: probes by TLS, bad tokens without end, settings that would leave the door open.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tokio::time::Instant;
use tonic::Code;

use super::serve::Pair;
use crate::support::app::get;
use crate::support::authority::{Authority, NOW, PAST};
use crate::support::client::Client;
use crate::support::process::gateway;
use crate::support::tls::TlsFolder;
use crate::support::tools::free_port;

const CLIENTS: &str = "clients = [{ name = \"oms\", token = \"token-of-oms-0123456789abcdef\", accounts = [\"*\"] }]";

fn with_tls(folder: &TlsFolder, mtls: bool) -> Pair {
    let environment = folder.environment(mtls);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Pair::start(CLIENTS, "", &environment)
}

/// Exit code and the line on stderr.
fn health(address: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = gateway(["health", "--addr", address]).args(args).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.lines().count() == usize::from(output.status.code() != Some(0)) || told.contains("Usage:"), "{told}");
    (output.status.code(), told.trim().to_owned())
}

#[test]
fn health_speaks_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = TlsFolder::new(&authority);
    folder.write("other.crt", &other.pem());
    let [ca, other, missing] = ["ca.crt", "other.crt", "missing.crt"].map(|name| folder.path(name));
    let pair = with_tls(&folder, false);
    let address = pair.grpc.to_string();
    let by_name = format!("localhost:{}", pair.grpc.port());
    assert_eq!(health(&by_name, &["--tls-ca", &ca]), (Some(0), String::new()));
    assert_eq!(health(&address, &["--tls-ca", &ca, "--tls-server-name", "localhost"]), (Some(0), String::new()));
    for (args, code, told) in [
        (&["--tls-ca", &ca][..], 1, "not valid for name"),
        (&["--tls-ca", &ca, "--tls-server-name", "else.where"], 1, "not valid for name"),
        (&["--tls-ca", &other, "--tls-server-name", "localhost"], 1, "UnknownIssuer"),
        (&[], 1, "(does it speak TLS? then give --tls-ca)"),
        (&["--tls-ca", &missing], 2, "missing.crt: No such file"),
        (&["--tls-ca", &ca, "--tls-server-name", "no name"], 2, "--tls-server-name: must be a DNS name"),
        (&["--tls-ca", &folder.path("tls.key")], 2, "holds no certificate in PEM"),
        (&["--tls-server-name", "localhost"], 2, "--tls-ca"),
        (&["--tls-ca", &ca, "--tls-cert", &ca], 2, "--tls-key"),
    ] {
        let (exit, line) = health(&address, args);
        assert!(exit == Some(code) && line.contains(told), "{args:?}: {exit:?} {line}");
    }
    // The other way round.
    let plain = Pair::start("", "", &[]);
    let (exit, line) = health(&plain.grpc.to_string(), &["--tls-ca", &ca]);
    assert!(exit == Some(1) && line.contains("cannot connect"), "{line}");
}

#[test]
fn health_shows_a_certificate_where_callers_need_one() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    folder.add("probe", &authority.nameless());
    folder.add("old", &authority.client("spiffe://acme/probe", PAST));
    let pair = with_tls(&folder, true);
    let address = pair.grpc.to_string();
    let ca = folder.path("ca.crt");
    let with = |name: &str, key: &str| {
        let (cert, key) = (folder.path(&format!("{name}.crt")), folder.path(&format!("{key}.key")));
        health(&address, &["--tls-ca", &ca, "--tls-server-name", "localhost", "--tls-cert", &cert, "--tls-key", &key])
    };
    assert_eq!(with("probe", "probe"), (Some(0), String::new()));
    let (exit, line) = with("old", "old");
    assert!(exit == Some(1) && line.contains("CertificateExpired"), "{line}");
    let (exit, line) = with("probe", "old");
    assert!(exit == Some(2) && line.starts_with("--tls-key: "), "{line}");
    let (exit, line) = health(&address, &["--tls-ca", &ca, "--tls-server-name", "localhost"]);
    assert!(exit == Some(1) && line.contains("CertificateRequired"), "{line}");
}

/// How many times a wrong token is sent. A million is for an afternoon:
/// `ORDER_GATEWAY_TEST_BAD_TOKENS=1000000 cargo test --test it a_bad_token_again_and_again -- --nocapture`.
fn times() -> usize {
    std::env::var("ORDER_GATEWAY_TEST_BAD_TOKENS").map_or(2000, |times| times.parse().unwrap())
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_bad_token_again_and_again_is_told_once() {
    let times = times();
    let pair = Pair::start(CLIENTS, "", &[]);
    let good = Client::connect(pair.grpc).await.with("authorization", "Bearer token-of-oms-0123456789abcdef");
    let bad = Client::connect(pair.grpc).await.with("authorization", "Bearer token-of-oms-0123456789abcdee");
    bad.gateway("").await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    good.gateway("").await.unwrap();
    let before = resident_kib(pair.gateway.id());
    let began = Instant::now();
    let mut done = 1;
    let mut slowest = Duration::ZERO;
    while done < times {
        let batch = (times - done).min(10_000);
        let calls = stream::iter(0..batch).map(|_| bad.gateway(""));
        let refused = calls.buffer_unordered(64).filter(|answer| std::future::ready(answer.is_err())).count().await;
        assert_eq!(refused, batch);
        done += batch;
        let asked = Instant::now();
        good.gateway("").await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    let took = began.elapsed();
    let after = resident_kib(pair.gateway.id());
    let (_, metrics) = get(pair.http, "/metrics").await;
    let counted = format!("order_gateway_callers_refused_total{{reason=\"unknown_token\"}} {times}");
    assert!(metrics.lines().any(|line| line == counted), "{counted} is not in\n{metrics}");
    pair.gateway.terminate();
    let (_, lines) = pair.gateway.wait_for_end();
    let about: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = about.iter().filter(|line| line["reason"] == "unknown_token").count();
    println!(
        "{times} bad tokens in {took:?}; {before} KiB resident before, {after} after; {told} of {} log lines tell of them; \
         a good call took {slowest:?} at most",
        lines.len()
    );
    // One a minute.
    assert!(told >= 1 && told as u64 <= 1 + took.as_secs() / 60, "{lines:#?}");
    assert!(lines.len() < told + 10, "{lines:#?}");
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
}

#[test]
fn an_open_door_is_no_settings() {
    let pair = Pair::start("", "", &[]);
    for open in ["0.0.0.0", "[::]"] {
        let mut again = pair.again();
        let output = again.env("ORDER_GATEWAY__GRPC__LISTEN", format!("{open}:{}", free_port())).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
        assert!(told.starts_with("grpc.listen: must be a loopback address"), "{told}");
    }
}

#[test]
fn a_bad_certificate_is_a_line_and_exit_code_2() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    folder.write("tls.key", &authority.server(NOW).1);
    let pair = Pair::start("", "", &[]);
    let settings = pair.settings();
    drop(pair.gateway);
    let why = "is not the key of the certificate in cert_file, `CN=rcgen self signed cert`";
    let line = format!("grpc.tls.key_file: {} {why}\n", folder.path("tls.key"));
    for command_line in [&["serve"][..], &["config", "check"]] {
        let mut command = gateway([]);
        command.args(command_line).arg("--config").arg(&settings).envs(folder.environment(false));
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.as_ref()), (Some(2), line.as_str()));
    }
}

#[test]
fn an_expired_certificate_is_told_and_used() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    let (cert, key) = authority.server(PAST);
    folder.write("tls.crt", &cert);
    folder.write("tls.key", &key);
    let pair = with_tls(&folder, false);
    let address = pair.grpc.to_string();
    let (exit, line) = health(&address, &["--tls-ca", &folder.path("ca.crt"), "--tls-server-name", "localhost"]);
    assert!(exit == Some(1) && line.contains("expired"), "{line}");
    pair.gateway.terminate();
    let (_, lines) = pair.gateway.wait_for_end();
    let told = lines.iter().filter(|line| line.contains("grpc.tls.cert_file: has expired at 2021-01-01T00:00:00Z"));
    assert_eq!(told.count(), 1, "{lines:#?}");
}
