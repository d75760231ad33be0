//! Real proxies in front of the gateway: nginx and HAProxy as Debian ships them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use super::serve::Pair;
use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::process::Process;
use crate::support::tools::{find, free_port};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn accepts(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < deadline, "{address} does not accept connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A program of Debian's that is in sbin, which is not everybody's PATH.
fn program(name: &str) -> std::path::PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.is_file() { sbin } else { find(name) }
}

/// nginx with its defaults: header buffers of 4 KiB.
async fn nginx(gateway: SocketAddr, folder: &Path) -> (Process, SocketAddr) {
    let address = loopback(free_port());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()))
        .concat();
    let config = format!(
        "daemon off; pid {folder}/nginx.pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off; {temporary}\nserver {{ listen {address} http2; location / {{ grpc_pass grpc://{gateway}; }} }} }}\n",
        folder = folder.display(),
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program("nginx"));
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(&file);
    let process = Process::start(command);
    accepts(address).await;
    (process, address)
}

/// HAProxy, which does nothing but pass HTTP/2 on.
async fn haproxy(gateway: SocketAddr, folder: &Path) -> (Process, SocketAddr) {
    let address = loopback(free_port());
    let config = format!(
        "global\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         \x20 retries 3\n  option redispatch\n\
         frontend f\n  bind {address} proto h2\n  default_backend b\nbackend b\n  server s {gateway} proto h2\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program("haproxy"));
    command.arg("-db").arg("-f").arg(&file);
    let process = Process::start(command);
    accepts(address).await;
    (process, address)
}

/// A cancellation of as many lines as make the largest refusal.
fn with_faults(lines: usize) -> Value {
    let line =
        |n: usize| json!({"sellerLineId": "", "qty": {"unitOfMeasure": "EACH", "measurementValue": -(n as f64)}});
    json!({"payload": {"customerOrderNo": "SO-1", "orderItems": (0..lines).map(line).collect::<Vec<_>>()}})
}

#[tokio::test]
async fn nginx_with_its_defaults_passes_every_error() {
    let error = |n: usize| {
        let text = "words of Walmart with spaces ".repeat(30);
        json!({"code": format!("{n:03}.CODE"), "field": "sku", "description": text, "info": text, "severity": "ERROR"})
    };
    let errors = json!({"errors": (0..20).map(error).collect::<Vec<_>>()}).to_string();
    let faults = format!("[[fault]]\noperation = \"create\"\nstatus = 400\nbody = '{errors}'");
    let pair = Pair::start("", &faults, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, address) = nginx(pair.grpc, folder.path()).await;
    let client = Client::connect(address).await;
    client.promise(&bodies::promise()).await.unwrap();
    let refused = client.cancel(&with_faults(60)).await.unwrap_err();
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    let omitted: usize = refused.metadata["omitted"].parse().unwrap();
    assert!(refused.fields.len() > 10 && omitted > 0, "{refused:#?}");
    let refused = client.create(&bodies::create()).await.unwrap_err();
    refused.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    let told = refused.walmart().errors.len();
    assert_eq!(told + refused.metadata["omitted"].parse::<usize>().unwrap(), 20);
    assert!(told >= 1);
    drop(pair);
}

/// What is in flight when the gateway stops is answered, though HAProxy sends WINDOW_UPDATE after the last byte of an
/// answer. 2,000 calls over 20 restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_behind_haproxy_when_the_gateway_restarts() {
    const RESTARTS: usize = 20;
    const CALLS: usize = 100;
    let settings = "[walmart.limits]\npromise = 1000000\n[walmart.promise_cache]\nttl = \"0s\"";
    let faults = "[[fault]]\noperation = \"promise\"\ndelay = \"1500ms\"";
    let mut pair = Pair::before(&["--limit-scale", "10000"], settings, faults, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (_haproxy, address) = haproxy(pair.grpc, folder.path()).await;
    let mut answered = 0;
    for restart in 0..RESTARTS {
        let mut calls = JoinSet::new();
        // On several connections of the caller's, which HAProxy spreads over its own.
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(Client::connect(address).await);
        }
        for call in 0..CALLS {
            let (client, body) =
                (clients[call % clients.len()].clone(), bodies::promise_of(&format!("SKU-{restart}-{call}")));
            calls.spawn(async move { client.promise(&body).await.map(drop) });
        }
        // All of them have reached Walmart, and are answered after SIGTERM.
        let seen = (restart + 1) * CALLS;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (_, journal) = get(pair.emulator_address, "/_emulator/v1/requests?operation=promise").await;
            let journal: Value = serde_json::from_str(&journal).unwrap();
            if journal["requests"].as_array().unwrap().len() >= seen {
                break;
            }
            assert!(Instant::now() < deadline, "they did not arrive");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pair.gateway.terminate();
        while let Some(call) = calls.join_next().await {
            call.unwrap().unwrap_or_else(|problem| panic!("restart {restart}: {problem:#?}"));
            answered += 1;
        }
        let again = pair.again();
        let (status, lines) = std::mem::replace(&mut pair.gateway, Process::start(Command::new("true"))).wait_for_end();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        pair.gateway = Process::start(again);
        pair.gateway.wait_for_line("serving");
    }
    println!("{answered} calls were in flight over {RESTARTS} restarts, 0 were lost");
    assert_eq!(answered, RESTARTS * CALLS);
}

/// Connections that reach their age behind HAProxy lose nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_connections_behind_haproxy_lose_no_answer() {
    let pair = Pair::start("", "", &[("ORDER_GATEWAY__GRPC__MAX_CONNECTION_AGE", "300ms")]);
    let folder = tempfile::tempdir().unwrap();
    let (_haproxy, address) = haproxy(pair.grpc, folder.path()).await;
    let (ended, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = Client::connect(address).await;
        let (ended, made) = (ended.clone(), made.clone());
        callers.spawn(async move {
            while !ended.load(Ordering::Acquire) {
                client.gateway("").await.unwrap();
                made.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    // Ten lives of a connection.
    tokio::time::sleep(Duration::from_secs(3)).await;
    ended.store(true, Ordering::Release);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    println!("{} calls over ten lives of each connection", made.load(Ordering::Acquire));
    drop(pair);
}
