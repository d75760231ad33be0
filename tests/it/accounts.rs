//! Several accounts, and callers who may use some of them.

use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

pub const SETTINGS: &str = r#"
[[accounts]]
id = "acme"
partner_id = "1"
client_id = "acme-id"
client_secret = "acme-secret"

[[accounts]]
id = "bolt"
partner_id = "2"
client_id = "bolt-id"
client_secret = "bolt-secret"

[[clients]]
name = "oms"
token = "token-of-oms-0123456789abcdef"
accounts = ["acme"]

[[clients]]
name = "admin"
token = "token-of-admin-0123456789abcdef"
accounts = ["*"]
"#;

pub const OMS: &str = "token-of-oms-0123456789abcdef";
pub const ADMIN: &str = "token-of-admin-0123456789abcdef";

async fn start() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

fn search(account: &str) -> Value {
    json!({"account": account, "orderNumber": "sellername001ABC123"})
}

#[tokio::test]
async fn a_caller_reaches_its_accounts_and_learns_nothing_of_others() {
    let app = start().await;
    let oms = app.client_with(OMS).await;
    let admin = app.client_with(ADMIN).await;
    oms.status(&search("")).await.unwrap();
    oms.status(&search("acme")).await.unwrap();
    let forbidden = oms.status(&search("bolt")).await.unwrap_err();
    let unknown = oms.status(&search("nobody")).await.unwrap_err();
    forbidden.is(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED");
    assert_eq!(unknown.text, forbidden.text, "known or not is not told");
    admin.status(&search("bolt")).await.unwrap();
    admin.status(&search("nobody")).await.unwrap_err().is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    let which = admin.status(&search("")).await.unwrap_err();
    which.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(which.fields, ["account"]);
    let used: Vec<_> = app.requests("status").await.iter().map(|request| request["account"].clone()).collect();
    assert_eq!(used, ["acme-id", "acme-id", "bolt-id"]);
    app.finish().await;
}

#[tokio::test]
async fn accounts_have_their_own_orders_tokens_and_answers() {
    let app = start().await;
    let admin = app.client_with(ADMIN).await;
    for account in ["acme", "bolt"] {
        let mut body = bodies::create();
        body["account"] = json!(account);
        admin.create(&body).await.unwrap();
        let mut body = bodies::promise();
        body["account"] = json!(account);
        assert_eq!(admin.promise(&body).await.unwrap().cache(), order_gateway::pb::PromiseCache::Miss);
    }
    assert_eq!((app.orders("SO123").await, app.requests("token").await.len()), (2, 2));
    app.finish().await;
}

#[tokio::test]
async fn the_overview_shows_what_the_caller_may_see() {
    let app = start().await;
    let accounts = async |client: &crate::support::client::Client, account: &str| {
        let status = client.gateway(account).await?;
        Ok::<_, Box<crate::support::client::Problem>>(
            status.accounts.into_iter().map(|one| one.account).collect::<Vec<_>>(),
        )
    };
    let (oms, admin) = (app.client_with(OMS).await, app.client_with(ADMIN).await);
    assert_eq!(accounts(&oms, "").await.unwrap(), ["acme"]);
    assert_eq!(accounts(&admin, "").await.unwrap(), ["acme", "bolt"]);
    assert_eq!(accounts(&admin, "bolt").await.unwrap(), ["bolt"]);
    accounts(&oms, "bolt").await.unwrap_err().is(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED");
    accounts(&admin, "nobody").await.unwrap_err().is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    app.finish().await;
}

/// A solution provider has one client id at Walmart and a refresh token of each seller.
#[tokio::test]
async fn a_provider_acts_for_each_seller_by_its_refresh_token() {
    let account = |id: &str, partner_id: u32, token: &str| {
        format!(
            "[[accounts]]\nid = \"{id}\"\npartner_id = \"{partner_id}\"\nclient_id = \"provider\"\nclient_secret = \"s\"\n\
             refresh_token = \"{token}\"\nchannel_type = \"channel-{id}\"\n"
        )
    };
    let settings =
        [account("acme", 1, "RT-1"), account("bolt", 2, "RT-2"), account("gone", 3, "MAGIC-DEAD-1")].concat();
    let app = Setup::new().settings(&settings).start().await;
    let client = app.client().await;
    for id in ["acme", "bolt"] {
        let mut order = bodies::create_as("SO-1");
        order["account"] = id.into();
        client.create(&order).await.unwrap();
    }
    let refused = client.status(&search("gone")).await.unwrap_err();
    refused.is(Code::Unavailable, "UPSTREAM_CREDENTIALS_REFUSED");
    let made = app.requests("create").await;
    let sellers: Vec<_> = made.iter().map(|request| request["account"].as_str().unwrap()).collect();
    assert_eq!(sellers, ["1", "2"], "the seller of the refresh token, not the provider");
    for request in [app.requests("token").await, made].iter().flatten().take(2) {
        assert_eq!(request["headers"]["wm_consumer.channel.type"].as_str().unwrap()[..8], *"channel-");
    }
    app.finish().await;
}
