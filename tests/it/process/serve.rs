//! `order-gateway serve`: settings, stopping, the log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use order_gateway::pb;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::process::{Process, gateway};
use crate::support::tools::free_port;

/// For settings that only the sandbox accepts: windows shorter than those of production.
pub const SANDBOX: (&str, &str) = ("ORDER_GATEWAY__WALMART__PROFILE", "sandbox");

/// A gateway and an emulator, each a process.
pub struct Pair {
    pub emulator: Process,
    pub emulator_address: SocketAddr,
    pub gateway: Process,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    /// Keeps the settings.
    folder: tempfile::TempDir,
    /// The gateway's variables.
    environment: Vec<(String, String)>,
}

impl Pair {
    /// `settings` are added to those that point at the emulator; `environment` is the gateway's.
    pub fn start(settings: &str, faults: &str, environment: &[(&str, &str)]) -> Self {
        Self::before(&[], settings, faults, environment)
    }

    /// The same, before an emulator with more options.
    pub fn before(emulator: &[&str], settings: &str, faults: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults.toml");
        std::fs::write(&file, faults).unwrap();
        let mut emulate = gateway(["emulate", "--listen", "127.0.0.1:0", "--faults"]);
        emulate.arg(&file).args(emulator);
        let mut emulator = Process::start(emulate);
        let line = emulator.wait_for_line("Walmart emulator on http://");
        let address = line.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
        let emulator_address: SocketAddr = address.parse().unwrap();
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (grpc, http) = (loopback(free_port()), loopback(free_port()));
        let store = folder.path().join("ledger.db");
        let text = format!(
            "{settings}\n[store]\nurl = \"sqlite://{}\"\n[grpc]\nlisten = \"{grpc}\"\n[http]\nlisten = \"{http}\"\n\
             [walmart]\nbase_url = \"http://{emulator_address}\"\nwebhook_check_interval = \"0s\"\n[feed.backfill]\nenabled = false\n\
             [[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"acme-id\"\n\
             client_secret = \"canary-of-the-secret\"\n",
            store.display()
        );
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        let mut serve = gateway(["serve", "--config"]);
        serve.arg(&path).envs(environment.iter().copied());
        let mut gateway = Process::start(serve);
        gateway.wait_for_line("serving");
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { emulator, emulator_address, gateway, grpc, http, folder, environment }
    }

    /// Where its settings stand.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("settings.toml")
    }

    /// Where its ledger is kept.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// A command that starts the same gateway again.
    pub fn again(&self) -> Command {
        let mut serve = gateway(["serve", "--config"]);
        serve.arg(self.settings()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        serve
    }
}

/// Exit code and lines of stderr of `serve` with this file.
fn refused(text: &[u8]) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let output = gateway(["serve", "--config"]).arg(&path).output().unwrap();
    let lines = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    (output.status.code(), lines)
}

#[tokio::test]
async fn sigterm_lets_a_call_in_flight_finish() {
    let pair = Pair::start("", "[[fault]]\noperation = \"create\"\ndelay = \"1500ms\"", &[]);
    let client = Client::connect(pair.grpc).await;
    let call = tokio::spawn(async move { client.create(&bodies::create()).await });
    loop {
        let (_, journal) = get(pair.emulator_address, "/_emulator/v1/requests?operation=create").await;
        let journal: Value = serde_json::from_str(&journal).unwrap();
        if !journal["requests"].as_array().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(pair.http, "/readyz").await.0, 200);
    pair.gateway.terminate();
    let asked = Instant::now();
    while get(pair.http, "/readyz").await.0 == 200 {
        assert!(asked.elapsed() < Duration::from_secs(1), "still ready after SIGTERM");
    }
    assert!(!call.is_finished());
    assert_eq!(call.await.unwrap().unwrap().status, "ACCEPTED");
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().any(|line| line.contains("drained, bye")), "{lines:#?}");
}

#[tokio::test]
async fn every_line_of_the_log_is_an_object_and_tells_of_failed_calls() {
    let pair = Pair::start("", "", &[]);
    let client = Client::connect(pair.grpc).await;
    client.create(&bodies::create()).await.unwrap();
    client.status(&json!({"orderNumber": "NOBODY"})).await.unwrap_err();
    pair.gateway.terminate();
    let (_, lines) = pair.gateway.wait_for_end();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls: Vec<&Value> = lines.iter().filter(|line| line["target"] == "order_gateway::access").collect();
    assert_eq!(calls.len(), 1, "only the failed one: {calls:#?}");
    let call = calls[0];
    assert_eq!(call["method"], "ordergateway.v1.FulfillmentService/GetOrderStatus");
    assert_eq!((&call["code"], &call["reason"]), (&json!("NOT_FOUND"), &json!("UPSTREAM_NOT_FOUND")));
    assert_eq!((&call["account"], &call["attempts"]), (&json!("acme"), &json!(1)));
    assert!(call["duration_ms"].is_number() && call["correlation_id"].is_string() && call["trace_id"].is_string());
}

#[test]
fn bad_settings_are_told_each_on_its_line() {
    let (code, lines) = refused(b"[grpc]\nlisten = \"nowhere\"\ncolour = 1\n[walmart]\nattempt_timeout = \"soon\"\n");
    assert_eq!(code, Some(2));
    for key in ["grpc.listen", "grpc.colour", "walmart.attempt_timeout", "accounts"] {
        assert_eq!(lines.iter().filter(|line| line.contains(key)).count(), 1, "{key} in {lines:#?}");
    }
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

/// By `serve` and by `config check` alike, all at once.
#[test]
fn settings_that_cannot_hold_the_promise_are_refused_with_their_keys() {
    let account = |id: &str| {
        format!("[[accounts]]\nid = \"{id}\"\npartner_id = \"1\"\nclient_id = \"k\"\nclient_secret = \"s\"\n")
    };
    let ledger = "[ledger]\nsettle_window = \"1ms\"\nlookup_delays = [\"1s\"]\n";
    let text = format!("[store]\nurl = \"memory:\"\n{ledger}{}{}", account("acme"), account("beta"));
    let keys = ["store.url", "ledger.settle_window", "ledger.lookup_delays", "accounts.beta.partner_id"];
    let (code, told) = refused(text.as_bytes());
    assert_eq!((code, told.len()), (Some(2), keys.len()), "{told:#?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, &text).unwrap();
    let output = gateway(["config", "check", "--config"]).arg(&file).output().unwrap();
    let checked = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{checked}");
    assert_eq!(Vec::from_iter(checked.lines()), told);
    for key in keys {
        assert_eq!(told.iter().filter(|line| line.starts_with(&format!("{key}: "))).count(), 1, "{key} in {told:#?}");
    }
    // What the sandbox may have, production may not.
    let sandbox = format!("[walmart]\nprofile = \"sandbox\"\n{text}");
    assert_eq!(refused(sandbox.as_bytes()).1.len(), 2);
}

#[test]
fn a_file_that_is_no_settings_is_one_line() {
    for bad in [b"[grpc\n".as_slice(), b"\xff\xfe", b"= 1"] {
        let (code, lines) = refused(bad);
        assert_eq!((code, lines.len()), (Some(2), 1), "{lines:#?}");
    }
    let output = gateway(["serve", "--config", "/no/such/file.toml"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("/no/such/file.toml") && text.contains("cannot be read"), "{text}");
}

#[test]
fn a_taken_port_is_one_line_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = Pair::start("", "", &[]);
    let text = std::fs::read_to_string(pair.settings()).unwrap();
    let text = text.replace(&pair.grpc.to_string(), &taken.local_addr().unwrap().to_string());
    let (code, lines) = refused(text.as_bytes());
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:#?}");
    assert!(lines[0].contains("grpc.listen"), "{lines:#?}");
}

/// A caller on the same machine, over a file that only its owner reaches.
#[tokio::test]
async fn grpc_is_served_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let listen = format!("unix:{}", path.display());
    let pair = Pair::start("", "", &[("ORDER_GATEWAY__GRPC__LISTEN", &listen)]);
    let connect = tower::service_fn(move |_: tonic::codegen::http::Uri| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(path).await?)) }
    });
    let channel =
        tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap();
    let mut client = pb::gateway_service_client::GatewayServiceClient::new(channel);
    let status = client.get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.accounts[0].account, "acme");
    drop(client);
    let file = std::path::PathBuf::from(&listen["unix:".len()..]);
    assert!(file.exists());
    pair.gateway.terminate();
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(!file.exists(), "removed at the end");
}
