//! Signals: SIGHUP reads the settings again, SIGQUIT drains, and what has no meaning here does no harm.

use std::fs;

use tonic::Code;

use super::serve::Pair;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::process::Process;

const OPERATOR: &str = "[[clients]]\nname = \"admin\"\ntoken = \"token-of-admin-0123456789\"\naccounts = [\"*\"]\n";

#[tokio::test]
async fn sighup_reads_accounts_and_clients_again() {
    let mut pair = Pair::start("", "", &[]);
    let client = Client::connect(pair.grpc).await;
    let text = fs::read_to_string(pair.settings()).unwrap();
    let beta = "[[accounts]]\nid = \"beta\"\npartner_id = \"2\"\nclient_id = \"b\"\nclient_secret = \"s\"\n";
    fs::write(pair.settings(), format!("{text}{beta}{OPERATOR}")).unwrap();
    pair.gateway.signal("HUP");
    let line = pair.gateway.wait_for_line("the settings changed and are in force");
    assert!(line.contains("\"accounts_added\":\"beta\"") && line.contains("\"clients_added\":\"admin\""), "{line}");
    let mut order = bodies::create();
    order["account"] = "beta".into();
    client.create(&order).await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let admin = client.with("authorization", "Bearer token-of-admin-0123456789");
    admin.create(&order).await.unwrap();
    // A fault: what was in force stays, and every line says so.
    fs::write(pair.settings(), format!("{text}{beta}{OPERATOR}partner = 1\n[grpc]\n")).unwrap();
    pair.gateway.signal("HUP");
    pair.gateway.wait_for_line("the changed settings are refused, the old ones stay in force");
    admin.gateway("beta").await.unwrap();
    // Without a signal a changed file counts too.
    fs::write(pair.settings(), format!("{text}{OPERATOR}")).unwrap();
    let line = pair.gateway.wait_for_line("the settings changed and are in force");
    assert!(line.contains("\"accounts_removed\":\"beta\""), "{line}");
    let status = pair.gateway;
    status.terminate();
    assert_eq!(status.wait_for_end().0.code(), Some(0));
}

#[tokio::test]
async fn sigquit_drains_and_signals_without_a_meaning_do_nothing() {
    let pair = Pair::start("", "", &[]);
    let client = Client::connect(pair.grpc).await;
    for name in ["USR1", "USR2", "XFSZ", "HUP", "PIPE"] {
        pair.gateway.signal(name);
        client.create(&bodies::create()).await.unwrap();
    }
    pair.gateway.signal("QUIT");
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("drained, bye")), "{lines:#?}");
}

/// A limit of file sizes is met like a full disk: the store fails, the process lives.
#[tokio::test]
async fn a_limit_of_file_sizes_does_not_kill() {
    let pair = Pair::start("", "", &[]);
    let serve = pair.again();
    let Pair { gateway, grpc, emulator, .. } = pair;
    gateway.terminate();
    gateway.wait_for_end();
    let mut limited = std::process::Command::new("sh");
    // In blocks of 512 bytes; the file of an empty store is a little smaller.
    limited.args(["-c", "ulimit -f 512; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    let mut limited = Process::start(limited);
    limited.wait_for_line("serving");
    let client = Client::connect(grpc).await;
    let mut refused = None;
    for number in 0..5_000 {
        if let Err(problem) = client.create(&bodies::create_as(&format!("SO-{number}"))).await {
            refused = Some(problem);
            break;
        }
    }
    let refused = refused.expect("the limit was never met");
    assert_eq!(refused.code, Some(Code::Unavailable), "{refused:?}");
    client.gateway("").await.unwrap();
    limited.terminate();
    let (status, lines) = limited.wait_for_end();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    drop(emulator);
}
