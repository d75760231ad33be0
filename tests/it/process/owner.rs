//! One process for each store file, whatever is done to the file or to its lock: of two never both serve.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use super::serve::Pair;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::process::{Process, gateway};
use crate::support::tools::free_port;

/// A command that starts another gateway like the first one, on a file by this name, in front of the same Walmart.
fn another(pair: &Pair, store: &Path) -> Command {
    let text = fs::read_to_string(pair.settings()).unwrap();
    let address = |port: u16| format!("127.0.0.1:{port}");
    let text = text
        .replace(&pair.grpc.to_string(), &address(free_port()))
        .replace(&pair.http.to_string(), &address(free_port()))
        .replace(&pair.store().display().to_string(), &store.display().to_string());
    let settings = pair.settings().with_file_name("another.toml");
    fs::write(&settings, text).unwrap();
    let mut command = gateway(["serve", "--config"]);
    command.arg(settings);
    command
}

/// It does not start: exit code 1 and one line.
fn refused(mut command: Command, says: &str) {
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains(says), "{told}");
}

/// It ends by itself: exit code 1, and a line says why.
fn ends(gateway: Process, says: &str) {
    let (status, lines) = gateway.wait_for_end();
    assert_eq!(status.code(), Some(1), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains(says)).count(), 1, "{lines:#?}");
}

#[tokio::test]
async fn a_second_gateway_is_refused_though_the_lock_file_is_gone() {
    let pair = Pair::start("", "", &[]);
    fs::remove_file(format!("{}-lock", pair.store().display())).unwrap();
    refused(another(&pair, &pair.store()), "in use by another order-gateway");
    Client::connect(pair.grpc).await.create(&bodies::create()).await.unwrap();
}

#[tokio::test]
async fn a_process_that_was_succeeded_ends_before_it_sends_anything() {
    let pair = Pair::start("", "", &[]);
    let client = Client::connect(pair.grpc).await;
    client.create(&bodies::create()).await.unwrap();
    // As a process does that has got round both locks.
    let next = Connection::open(pair.store()).unwrap();
    next.execute("UPDATE numbers SET value = value + 1 WHERE name = 'epoch'", []).unwrap();
    // The process ends in the middle of the call; the client hears no answer of the gateway's.
    let call = tokio::spawn(async move { client.create(&bodies::create_as("SO124")).await });
    ends(pair.gateway, "was taken by another order-gateway");
    let made: i64 = next.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(made, 1, "nothing of it was written, so nothing was sent");
    assert!(call.await.is_err(), "an answer was heard");
}

#[tokio::test]
async fn a_link_that_led_nowhere_and_its_target_are_one_store() {
    let first = Pair::start("", "", &[]);
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("link.db"), folder.path().join("target.db"));
    symlink(&target, &link).unwrap();
    let mut by_link = Process::start(another(&first, &link));
    by_link.wait_for_line("serving");
    refused(another(&first, &target), "in use by another order-gateway");
}

#[tokio::test]
async fn a_hard_link_ends_the_process_that_serves_and_refuses_the_next() {
    let pair = Pair::start("", "", &[]);
    let second = pair.store().with_file_name("second.db");
    fs::hard_link(pair.store(), &second).unwrap();
    // By the lock of the file, or by its two names when the first has ended by now.
    refused(another(&pair, &second), "second.db");
    let again = pair.again();
    ends(pair.gateway, "hard links");
    refused(again, "hard links");
}

#[tokio::test]
async fn a_file_that_takes_the_place_of_the_store_ends_the_process() {
    for takes in ["a backup", "nothing"] {
        let pair = Pair::start("", "", &[]);
        let backup = pair.store().with_file_name("backup.db");
        fs::write(&backup, b"").unwrap();
        if takes == "nothing" {
            fs::remove_file(pair.store()).unwrap();
        } else {
            fs::rename(&backup, pair.store()).unwrap();
        }
        ends(pair.gateway, "was replaced or removed while it was in use");
    }
}
