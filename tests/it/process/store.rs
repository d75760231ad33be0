//! The ledger's file: what outlives the process, and what happens when the file cannot be used.

use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use super::serve::{Pair, SANDBOX};
use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::process::Process;

/// Looked up soon, settled after two seconds.
const SOON: &str = "[ledger]\nsettle_window = \"2s\"\nlookup_delays = [\"100ms\", \"500ms\", \"1s\", \"2s\"]";

async fn journal(pair: &Pair, query: &str) -> Vec<Value> {
    let (_, text) = get(pair.emulator_address, &format!("/_emulator/v1/requests?{query}")).await;
    let journal: Value = serde_json::from_str(&text).unwrap();
    journal["requests"].as_array().unwrap().clone()
}

/// How a command ends that cannot start: exit code and stderr.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_one_order_after_kill_9() {
    let mut pair = Pair::start(
        SOON,
        "[[fault]]\noperation = \"create\"\ndrop = \"after\"\n[[fault]]\noperation = \"status\"\ndelay = \"1500ms\"",
        &[SANDBOX],
    );
    let client = Client::connect(pair.grpc).await.with("grpc-timeout", "900m");
    client.create(&bodies::create()).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    pair.gateway.kill();
    let mut gateway = Process::start(pair.again());
    gateway.wait_for_line("serving");
    let client = Client::connect(pair.grpc).await;
    let answer = client.create(&bodies::create()).await.unwrap();
    assert!(answer.replayed && answer.status == "ACCEPTED", "{answer:?}");
    let created = journal(&pair, "operation=create").await;
    assert_eq!(created.len(), 1, "{created:#?}");
    assert_eq!(created[0]["correlation_id"], answer.correlation_id);
}

#[tokio::test]
async fn an_answer_is_the_same_after_a_restart() {
    let pair = Pair::start("", "", &[]);
    let first = Client::connect(pair.grpc).await.create(&bodies::create()).await.unwrap();
    pair.gateway.terminate();
    wait_until_gone(pair.grpc).await;
    let mut gateway = Process::start(pair.again());
    gateway.wait_for_line("serving");
    let replay = Client::connect(pair.grpc).await.create(&bodies::create()).await.unwrap();
    assert_eq!(order_gateway::pb::CreateOrderResponse { replayed: true, ..first }, replay);
    assert_eq!(journal(&pair, "operation=create").await.len(), 1);
}

async fn wait_until_gone(address: std::net::SocketAddr) {
    let patience = Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < patience, "the first gateway does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_store_that_another_process_holds_stops_mutations_and_nothing_else() {
    let pair = Pair::start("", "", &[]);
    let client = Client::connect(pair.grpc).await;
    client.create(&bodies::create()).await.unwrap();
    let other = Connection::open(pair.store()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let problem = client.create(&bodies::create_as("SO124")).await.unwrap_err();
    problem.is(Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(problem.retry_after.is_some());
    client.cancel(&bodies::cancel()).await.unwrap_err().is(Code::Unavailable, "STORE_UNAVAILABLE");
    client.status(&json!({"orderNumber": "SO123"})).await.unwrap();
    client.promise(&bodies::promise()).await.unwrap();
    let (code, ready) = get(pair.http, "/readyz").await;
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((code, &ready["checks"]["store"]), (200, &json!("failing")), "{ready}");
    assert!(ready["reasons"]["store"].as_str().unwrap().contains("locked"), "{ready}");
    assert_eq!(journal(&pair, "operation=create").await.len(), 1, "nothing is sent without its entry");
    assert!(journal(&pair, "operation=cancel").await.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    client.create(&bodies::create_as("SO124")).await.unwrap();
    let (_, ready) = get(pair.http, "/readyz").await;
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["checks"]["store"], "ok");
}

#[tokio::test]
async fn a_second_gateway_on_the_file_does_not_start() {
    let pair = Pair::start("", "", &[]);
    let text = std::fs::read_to_string(pair.settings()).unwrap();
    let other = pair.settings().with_file_name("other.toml");
    let text = text.replace(&pair.grpc.to_string(), "127.0.0.1:0").replace(&pair.http.to_string(), "127.0.0.1:0");
    std::fs::write(&other, text).unwrap();
    let mut command = crate::support::process::gateway(["serve", "--config"]);
    command.arg(&other);
    let (code, told) = refused(command);
    assert_eq!((code, told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("ledger.db") && told.contains("in use by another order-gateway"), "{told}");
}

#[tokio::test]
async fn a_file_that_cannot_be_the_ledger_is_one_line() {
    let mut pair = Pair::start("", "", &[]);
    pair.gateway.kill();
    let path = pair.store();
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 1_000).unwrap();
    drop(newer);
    let (code, told) = refused(pair.again());
    assert_eq!((code, told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("ledger.db") && told.contains("newer order-gateway"), "{told}");
}

#[tokio::test]
async fn a_damaged_file_stops_mutations_and_nothing_else() {
    let mut pair = Pair::start("", "", &[]);
    pair.gateway.kill();
    let _ = std::fs::remove_file(format!("{}-wal", pair.store().display()));
    std::fs::write(pair.store(), "this is no database, but long enough to be taken for one; ".repeat(500)).unwrap();
    let mut gateway = Process::start(pair.again());
    gateway.wait_for_line("serving");
    let client = Client::connect(pair.grpc).await;
    client.create(&bodies::create()).await.unwrap_err().is(Code::Unavailable, "STORE_UNAVAILABLE");
    client.promise(&bodies::promise()).await.unwrap();
    let (code, ready) = get(pair.http, "/readyz").await;
    assert!(code == 200 && ready.contains("damaged"), "{ready}");
    assert!(journal(&pair, "operation=create").await.is_empty());
}

/// The store cannot be read at the start, so what was left open is not known: nothing is begun before it is taken over.
#[tokio::test]
async fn what_was_left_open_is_taken_over_as_soon_as_the_store_works() {
    let mut pair = Pair::start(SOON, "[[fault]]\noperation = \"create\"\ncount = 1\ndrop = \"before\"", &[SANDBOX]);
    let client = Client::connect(pair.grpc).await.with("grpc-timeout", "900m");
    client.create(&bodies::create()).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    pair.gateway.kill();
    let other = Connection::open(pair.store()).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let mut gateway = Process::start(pair.again());
    gateway.wait_for_line("serving");
    let client = Client::connect(pair.grpc).await;
    client.create(&bodies::create_as("SO124")).await.unwrap_err().is(Code::Unavailable, "STORE_UNAVAILABLE");
    assert_eq!(journal(&pair, "operation=create").await.len(), 1);
    drop(other);
    let patience = Instant::now() + Duration::from_secs(20);
    while client.create(&bodies::create()).await.is_err() {
        assert!(Instant::now() < patience, "the order is not sent again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(journal(&pair, "operation=create").await.len(), 2);
}
