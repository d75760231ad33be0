//! A Walmart in trouble: reads are repeated, tokens renewed, and what remains is a code of the table.

use std::time::Duration;

use order_gateway::pb::Effect;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

#[tokio::test]
async fn reads_survive_what_happens_once() {
    let app = TestApp::start().await;
    let client = app.client().await;
    for name in ["HTML", "DROP-BEFORE", "DROP-AFTER", "OUTAGE", "UNREADABLE", "500-AFTER", "TOKEN-EXPIRED"] {
        client.promise(&bodies::promise_of(&format!("SKU-{name}"))).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    assert_eq!(app.requests("promise").await.len(), 14);
    app.finish().await;
}

#[tokio::test]
async fn reads_that_keep_failing_end_in_a_code() {
    for (name, http_status, attempts, code, reason) in [
        ("400", 400, 1, Code::InvalidArgument, "UPSTREAM_REJECTED"),
        ("403", 403, 1, Code::Unavailable, "UPSTREAM_CREDENTIALS_REFUSED"),
        ("500", 500, 3, Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
        ("503", 503, 3, Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
        ("520", 520, 3, Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
        ("FAIL", 200, 1, Code::InvalidArgument, "UPSTREAM_REJECTED"),
    ] {
        let app = TestApp::start().await;
        let problem = app.client().await.promise(&bodies::promise_of(&format!("SKU-{name}"))).await.unwrap_err();
        problem.is(code, reason);
        assert_eq!((problem.walmart().http_status, problem.walmart().effect()), (http_status, Effect::None), "{name}");
        assert_eq!(app.requests("promise").await.len(), attempts, "{name}");
        app.finish().await;
    }
}

#[tokio::test]
async fn reads_are_tried_as_often_as_the_settings_say() {
    let app = Setup::new().settings("walmart.retry.max_attempts = 1").start().await;
    app.client().await.promise(&bodies::promise_of("SKU-503")).await.unwrap_err();
    assert_eq!(app.requests("promise").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_asked_for_once_by_many_and_renewed_ahead_of_its_end() {
    let app = Setup::new().faults("[[fault]]\noperation = \"token\"\ndelay = \"100ms\"").start().await;
    let client = app.client().await;
    let calls = (0..10).map(|i| {
        let client = client.clone();
        tokio::spawn(async move { client.create(&bodies::create_as(&format!("ORDER-{i}"))).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(app.requests("token").await.len(), 1);
    // 900 s of life; at 800 the next call still goes with the old one, and a new one is fetched meanwhile.
    app.advance(Duration::from_secs(800)).await;
    client.create(&bodies::create_as("LATER")).await.unwrap();
    let renewed = async {
        while app.requests("token").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), renewed).await.unwrap();
    assert_eq!(app.tokens_sent().len(), 1, "nobody waited for it");
    // The new one is on its way for 100 ms.
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.create(&bodies::create_as("LAST")).await.unwrap();
    assert_eq!(app.tokens_sent().len(), 2);
    assert_eq!(app.requests("token").await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_token_that_dies_early_costs_the_caller_nothing() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    app.control("POST", "clock/advance", r#"{"seconds":901}"#).await;
    let calls = (0..5).map(|i| {
        let client = client.clone();
        tokio::spawn(async move { client.create(&bodies::create_as(&format!("ORDER-{i}"))).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(app.requests("token").await.len(), 2, "renewed once for all of them");
    app.finish().await;
}

#[tokio::test]
async fn dead_credentials_are_told_as_ours_and_not_tried_at_every_call() {
    let settings = r#"
        [[accounts]]
        id = "demo"
        partner_id = "1"
        client_id = "MAGIC-DEAD-1"
        client_secret = "s"
    "#;
    let app = Setup::new().settings(settings).start().await;
    let client = app.client().await;
    for _ in 0..3 {
        let problem = client.create(&bodies::create()).await.unwrap_err();
        problem.is(Code::Unavailable, "UPSTREAM_CREDENTIALS_REFUSED");
        assert!(problem.retry_after.is_some());
    }
    assert_eq!(app.requests("token").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_operation_ended_by_a_failing_token_call_was_never_sent() {
    let app = Setup::new().faults("[[fault]]\noperation = \"token\"\nstatus = 500").start().await;
    let problem = app.client().await.create(&bodies::create()).await.unwrap_err();
    problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(problem.walmart().effect(), Effect::None);
    assert!(app.requests("create").await.is_empty());
    app.finish().await;
}
