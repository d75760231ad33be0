//! Accounts and clients come, change and go while everybody works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use order_gateway::pb;
use serde_json::{Value, json};
use tonic::Code;

use crate::accounts::{ADMIN, OMS, SETTINGS};
use crate::support::app::{Setup, TestApp};
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::feed::{finish, watch};
use crate::support::webhooks::{Sender, intent, request};

const SHOP: &str = "token-of-shop-0123456789abcdef";

fn account(id: &str, partner_id: u32) -> String {
    format!(
        "[[accounts]]\nid = \"{id}\"\npartner_id = \"{partner_id}\"\nclient_id = \"{id}-id\"\nclient_secret = \"s\"\n\
         [accounts.webhook]\nauth = \"hmac\"\nheader = \"X-Walmart-Auth\"\nsecret = \"dev-secret\"\n"
    )
}

fn client(name: &str, token: &str, accounts: &str) -> String {
    format!("[[clients]]\nname = \"{name}\"\ntoken = \"{token}\"\naccounts = {accounts}\n")
}

fn admin() -> String {
    client("admin", ADMIN, "[\"*\"]")
}

fn order(account: &str, number: &str) -> Value {
    let mut body = bodies::create_as(number);
    body["account"] = account.into();
    body
}

fn search(account: &str) -> Value {
    json!({"account": account, "orderNumber": "sellername001ABC123"})
}

async fn start() -> (TestApp, Client, Client) {
    let app = Setup::new().settings(SETTINGS).in_file().start().await;
    let (oms, admin) = (app.client_with(OMS).await, app.client_with(ADMIN).await);
    (app, oms, admin)
}

/// What GetStatus shows of the accounts.
async fn accounts(client: &Client) -> Vec<String> {
    client.gateway("").await.unwrap().accounts.into_iter().map(|account| account.account).collect()
}

#[tokio::test]
async fn accounts_and_clients_come_change_and_go() {
    let (app, oms, admin_client) = start().await;
    oms.create(&order("acme", "SO-1")).await.unwrap();
    app.client_with(SHOP)
        .await
        .status(&search(""))
        .await
        .unwrap_err()
        .is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    // `bolt` and `oms` go, `coyote` and `shop` come, `acme` gets another key.
    let acme = account("acme", 1).replace("acme-id", "MAGIC-DEAD-1");
    let shop = client("shop", SHOP, "[\"coyote\"]");
    let text = [acme.clone(), account("coyote", 3), admin(), shop.clone()].concat();
    let settings = app.reload(&text, &admin_client).await;
    assert_eq!((settings.refused_time, settings.refused_faults), (None, Vec::new()));
    assert_eq!(accounts(&admin_client).await, ["acme", "coyote"]);
    let shop_client = app.client_with(SHOP).await;
    shop_client.create(&order("", "SO-1")).await.unwrap();
    shop_client.status(&search("acme")).await.unwrap_err().is(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED");
    oms.status(&search("")).await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    admin_client.status(&search("bolt")).await.unwrap_err().is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    // Its token was good for the old key, and is used until it ends.
    admin_client.create(&order("acme", "SO-1")).await.unwrap();
    app.advance(Duration::from_secs(901)).await;
    let refused = admin_client.status(&search("acme")).await.unwrap_err();
    refused.is(Code::Unavailable, "UPSTREAM_CREDENTIALS_REFUSED");
    assert_eq!(app.metric("order_gateway_rate_limit_tokens{account=\"bolt\",operation=\"create\"}").await, 0.0);
    let made: Vec<_> = app.requests("create").await.iter().map(|it| it["account"].clone()).collect();
    assert_eq!(made, ["acme-id", "coyote-id"], "the second create of acme was a replay");

    // Webhooks of the new account are taken, those of the one that went are not.
    let mut walmart = Sender::connect(app.http).await;
    let body = intent("e-1", "PO-1").to_string();
    let post = |id: &str| {
        let text = String::from_utf8(request(body.as_bytes())).unwrap();
        text.replace("/webhooks/walmart/demo", &format!("/webhooks/walmart/{id}")).into_bytes()
    };
    assert_eq!(walmart.send(&post("coyote")).await.0, 200);
    assert_eq!(walmart.send(&post("bolt")).await.0, 404);
    drop(walmart);
    finish(app).await;
}

#[tokio::test]
async fn settings_with_a_fault_change_nothing() {
    let (app, oms, admin_client) = start().await;
    let refused = |settings: pb::SettingsStatus| {
        assert!(settings.refused_time.is_some());
        settings.refused_faults
    };
    let acme = || account("acme", 1);
    // A good account beside a fault does not come either.
    let text = [acme(), account("coyote", 3), client("oms", OMS, "[\"nobody\"]"), admin()].concat();
    let faults = refused(app.reload(&text, &admin_client).await);
    assert!(faults[0].starts_with("clients.oms.accounts: names the account \"nobody\""), "{faults:?}");
    assert_eq!(accounts(&admin_client).await, ["acme", "bolt"]);
    oms.status(&search("")).await.unwrap();
    assert_eq!(app.metric("order_gateway_settings_refused_total").await, 1.0);
    let shown = oms.gateway("").await.unwrap().settings.unwrap();
    assert_eq!((shown.refused_faults.len(), shown.omitted_faults), (0, 1), "names of others are not for everybody");
    // Names that the store has for other sellers.
    let text = [account("acme-2", 1), account("bolt", 2), admin()].concat();
    let faults = refused(app.reload(&text, &admin_client).await);
    assert!(faults[0].starts_with("accounts.acme-2.id: the seller's account was called acme"), "{faults:?}");
    let text = [account("acme", 9), account("bolt", 2), admin()].concat();
    let faults = refused(app.reload(&text, &admin_client).await);
    assert!(faults[0].starts_with("accounts.acme.partner_id: the account was another seller's"), "{faults:?}");
    assert_eq!(accounts(&admin_client).await, ["acme", "bolt"]);
    oms.create(&order("acme", "SO-1")).await.unwrap();
    let settings = app.reload(SETTINGS, &admin_client).await;
    assert_eq!(settings.refused_time, None);
    app.finish().await;
}

#[tokio::test]
async fn doubts_of_a_removed_account_wait_for_its_seller() {
    let (app, _, admin_client) = start().await;
    // The answer is lost, and nothing is found while the faults last.
    app.set_faults(
        "[[fault]]\noperation = \"create\"\ndrop = \"after\"\n[[fault]]\noperation = \"status\"\nstatus = 503\n",
    )
    .await;
    let hurried = admin_client.clone().with("grpc-timeout", "2S");
    let told = hurried.create(&order("bolt", "SO-1")).await.unwrap_err();
    told.is(Code::Unavailable, "OUTCOME_PENDING");
    let without = [account("acme", 1), admin()].concat();
    app.reload(&without, &admin_client).await;
    app.set_faults("").await;
    let listed = admin_client.operations(&json!({})).await.unwrap().operations;
    assert_eq!((listed.len(), listed[0].account.as_str()), (1, "bolt"), "it is listed");
    let asked = app.requests("status").await.len();
    for _ in 0..20 {
        app.advance(Duration::from_secs(60)).await;
        // A round of the resolver.
        admin_client.status(&search("acme")).await.unwrap();
    }
    let by_number = |requests: Vec<Value>| requests.iter().filter(|it| it["order_number"] == "SO-1").count();
    let searched = app.requests("status").await;
    assert!(searched.len() > asked);
    let before = by_number(searched);
    // It comes back: the doubt is settled.
    app.reload(&[account("acme", 1), account("bolt", 2), admin()].concat(), &admin_client).await;
    let name = &listed[0].name;
    loop {
        app.advance(Duration::from_secs(30)).await;
        let now = admin_client.operation(name).await.unwrap();
        if now.state() == pb::OperationState::Succeeded {
            break;
        }
    }
    assert!(by_number(app.requests("status").await) > before);
    assert_eq!(app.orders("SO-1").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn streams_end_only_where_their_client_may_do_less() {
    let (app, oms, admin_client) = start().await;
    let shop = client("shop", SHOP, "[\"acme\", \"bolt\"]");
    let both = [account("acme", 1), account("bolt", 2)].concat();
    app.reload(&[both.clone(), admin(), shop, client("oms", OMS, "[\"acme\"]")].concat(), &admin_client).await;
    let shop = app.client_with(SHOP).await;
    let from_now = json!({"start": {"latest": true}, "heartbeatInterval": "1s"});
    let mut streams = Vec::new();
    for client in [&admin_client, &oms, &shop] {
        let mut stream = watch(client, &from_now).await.unwrap();
        stream.opened().await;
        streams.push(stream);
    }
    let [mut of_admin, mut of_oms, of_shop] = streams.try_into().ok().unwrap();
    // `shop` loses bolt, which others keep.
    let text = [both, admin(), client("shop", SHOP, "[\"acme\"]"), client("oms", OMS, "[\"acme\"]")].concat();
    app.reload(&text, &admin_client).await;
    of_shop.end().await.is(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED");
    let mut of_shop = watch(&shop, &from_now).await.unwrap();
    of_shop.opened().await;
    // bolt goes altogether, and oms too.
    let text = [account("acme", 1), admin(), client("shop", SHOP, "[\"acme\"]")].concat();
    app.reload(&text, &admin_client).await;
    app.advance(Duration::from_secs(1)).await;
    for stream in [&mut of_admin, &mut of_shop] {
        stream.frame().await;
    }
    let ended = async {
        loop {
            if let Err(problem) = of_oms.next().await {
                return problem;
            }
        }
    };
    ended.await.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    drop((of_admin, of_oms, of_shop));
    finish(app).await;
}

/// 100 accounts come and 50 go in steps while 64 callers and 100 streams of others work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_do_not_notice_that_a_hundred_accounts_come_and_fifty_go() {
    const CALLERS: usize = 64;
    const STREAMS: usize = 100;
    let (first, gone) = (account("acme", 1), |n: u32| account(&format!("gone-{n}"), 100 + n));
    let leaving: Vec<String> = (0..50).map(gone).collect();
    let fixed = [first, admin(), client("oms", OMS, "[\"acme\"]")].concat();
    let limits = "[walmart.limits]\npromise = 1000000\ncreate = 1000000\ncancel = 1000000\nstatus = 1000000\n";
    let text = [limits, &fixed, &leaving.concat()].concat();
    let app = Setup::new().settings(&text).emulator(|options| options.limit_scale = 10_000.0).in_file().start().await;
    let admin_client = app.client_with(ADMIN).await;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let token = if number % 2 == 0 { OMS } else { ADMIN };
        let reader = app.client_with(token).await;
        let asked = json!({"start": {"latest": true}, "heartbeatInterval": "1s"});
        let mut stream = watch(&reader, &asked).await.unwrap();
        stream.opened().await;
        streams.push(tokio::spawn(async move {
            let mut frames = 0;
            loop {
                match stream.next().await {
                    Ok(Some(frame)) => {
                        frames += 1;
                        if matches!(frame.frame, Some(pb::watch_cancel_intents_response::Frame::Event(_))) {
                            return Ok(frames);
                        }
                    }
                    Ok(None) => return Err("it ended".to_owned()),
                    Err(problem) => return Err(problem.text),
                }
            }
        }));
    }
    let (ended, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let client = app.client_with(OMS).await;
        let (ended, made) = (ended.clone(), made.clone());
        callers.push(tokio::spawn(async move {
            for call in 0.. {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                client.create(&order("acme", &format!("SO-{caller}-{call}"))).await.unwrap();
                client.gateway("").await.unwrap();
                made.fetch_add(1, Ordering::AcqRel);
            }
        }));
    }
    let before = |least: usize| {
        let made = made.clone();
        async move {
            while made.load(Ordering::Acquire) < least {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    before(CALLERS).await;
    let mut come = Vec::new();
    let mut staying = leaving.clone();
    for step in 0..10 {
        come.extend((0..10).map(|n| account(&format!("come-{step}-{n}"), 1000 + step * 10 + n)));
        staying.truncate(staying.len() - 5);
        let text = [fixed.clone(), staying.concat(), come.concat()].concat();
        let settings = app.reload(&text, &admin_client).await;
        assert_eq!(settings.refused_faults, Vec::<String>::new());
        // The newest account works at once.
        let newest = order(&format!("come-{step}-9"), "SO-1");
        admin_client.create(&newest).await.unwrap();
        before(made.load(Ordering::Acquire) + CALLERS).await;
    }
    assert_eq!(accounts(&admin_client).await.len(), 101);
    ended.store(true, Ordering::Release);
    for caller in callers {
        caller.await.unwrap();
    }
    // An intent of acme ends the readers' wait: all of them hear it.
    let mut walmart = Sender::connect(app.http).await;
    let text = String::from_utf8(request(intent("e-1", "PO-1").to_string().as_bytes())).unwrap();
    let post = text.replace("/webhooks/walmart/demo", "/webhooks/walmart/acme");
    assert_eq!(walmart.send(post.as_bytes()).await.0, 200);
    for stream in streams {
        stream.await.unwrap().unwrap();
    }
    println!("{} creates beside 100 accounts that came and 50 that went", made.load(Ordering::Acquire));
    drop(walmart);
    finish(app).await;
}
