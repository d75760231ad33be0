//! Accounts whose ids change: what was kept of their sellers.

use order_gateway::pb::OperationState;
use serde_json::json;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

/// A gateway whose store is this file, with an account of a seller.
async fn app(file: &std::path::Path, account: &str, partner: &str) -> TestApp {
    let store = format!("[store]\nurl = \"sqlite://{}\"\n", file.display());
    let account = format!(
        "[[accounts]]\nid = \"{account}\"\npartner_id = \"{partner}\"\nclient_id = \"same\"\nclient_secret = \"s\"\n"
    );
    Setup::new().settings(&store).settings(&account).start().await
}

#[tokio::test]
async fn an_order_is_replayed_when_its_account_has_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let first = app(&file, "acme", "10000680931").await;
    let made = first.client().await.create(&bodies::create()).await.unwrap();
    assert!(!made.replayed);
    first.finish().await;

    let renamed = app(&file, "shop", "10000680931").await;
    let client = renamed.client().await;
    let again = client.create(&bodies::create()).await.unwrap();
    assert!(again.replayed, "{again:?}");
    assert_eq!(again.correlation_id, made.correlation_id);
    assert_eq!(renamed.requests("create").await.len(), 0);
    let listed = client.operations(&json!({"account": "shop"})).await.unwrap();
    let shown: Vec<_> = listed.operations.iter().map(|one| (one.account.as_str(), one.state())).collect();
    assert_eq!(shown, [("shop", OperationState::Succeeded)]);
    client.operations(&json!({"account": "acme"})).await.unwrap_err().is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    renamed.finish().await;

    // The name goes to another seller: it has made nothing yet, and what the first made is there for those who see all.
    let other = app(&file, "shop", "10000680932").await;
    let client = other.client().await;
    let own = client.create(&bodies::create()).await.unwrap();
    assert!(!own.replayed, "{own:?}");
    let all = client.operations(&json!({})).await.unwrap();
    let shown: Vec<_> = all.operations.iter().map(|one| one.account.as_str()).collect();
    assert_eq!(shown, ["partner:10000680931", "shop"]);
    let operation = client.operation(&all.operations[0].name).await.unwrap();
    assert_eq!(operation.account, "partner:10000680931");
    let of_shop = client.operations(&json!({"account": "shop"})).await.unwrap();
    assert_eq!(of_shop.operations.len(), 1);
    other.finish().await;
}
