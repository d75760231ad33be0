//! One caller makes as much noise as it can; the others must not notice.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use order_gateway::pb;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::frames::{self, CREATE, Frames, end, frame};

/// Half of the 1,024 calls that the gateway does at a time: no client has more, whatever its `max_concurrent`.
const NOISE: usize = 512;

const SETTINGS: &str = r#"
[[clients]]
name = "noisy"
token = "token-of-noisy-0123456789abcdef"
accounts = ["demo"]
max_concurrent = 1000

[[clients]]
name = "hasty"
token = "token-of-hasty-0123456789abcdef"
accounts = ["demo"]
per_second = 20

[[clients]]
name = "quiet"
token = "token-of-quiet-0123456789abcdef"
accounts = ["demo"]
"#;

async fn start() -> TestApp {
    let slow = "[[fault]]\noperation = \"promise\"\ndelay = \"60s\"";
    Setup::new().settings(SETTINGS).settings("walmart.attempt_timeout = \"60s\"").faults(slow).start().await
}

/// Calls of every kind, one after the other: how long the slowest took.
async fn all_is_well(quiet: &Client, from: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in from..from + 20 {
        let began = Instant::now();
        quiet.create(&bodies::create_as(&format!("SO{number}"))).await.unwrap();
        quiet.gateway("").await.unwrap();
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test]
async fn a_caller_that_waits_for_all_it_may_leaves_room_for_the_others() {
    let app = start().await;
    let quiet = app.client_with("token-of-quiet-0123456789abcdef").await;
    let alone = all_is_well(&quiet, 0).await;
    let mut waiting = JoinSet::new();
    let mut noisy = app.client_with("token-of-noisy-0123456789abcdef").await;
    for number in 0..NOISE {
        if number % 250 == 0 {
            noisy = app.client_with("token-of-noisy-0123456789abcdef").await;
        }
        let noisy = noisy.clone().with("grpc-timeout", "60S");
        waiting.spawn(async move { noisy.promise(&bodies::promise()).await.map(|_| ()) });
    }
    while app.metric("order_gateway_calls_in_flight").await < NOISE as f64 {
        tokio::task::yield_now().await;
    }
    let another = app.client_with("token-of-noisy-0123456789abcdef").await;
    for refused in join_all((0..100).map(|_| another.gateway(""))).await {
        refused.unwrap_err().is(Code::ResourceExhausted, "CALLER_RATE_LIMITED");
    }
    let beside = all_is_well(&quiet, 100).await;
    // And as many at once as there is room for.
    for fine in join_all((0..20).map(|_| quiet.gateway(""))).await {
        fine.unwrap();
    }
    println!("the quiet one's slowest: {alone:?} alone, {beside:?} beside {NOISE} calls that wait");
    assert!(beside < Duration::from_secs(2), "{beside:?}");
    assert_eq!(app.metric("order_gateway_calls_shed_total").await, 0.0);
    waiting.shutdown().await;
    while app.metric("order_gateway_calls_in_flight").await > 0.0 {
        tokio::task::yield_now().await;
    }
    // The one promise call that they shared goes on to its end.
    app.advance(Duration::from_secs(61)).await;
    app.finish().await;
}

#[tokio::test]
async fn a_caller_in_a_hurry_is_slowed_down_alone() {
    let app = start().await;
    let hasty = app.client_with("token-of-hasty-0123456789abcdef").await;
    let quiet = app.client_with("token-of-quiet-0123456789abcdef").await;
    let hurry = async {
        let mut refused = 0;
        for _ in 0..10 {
            let search = json!({"orderNumber": "sellername001ABC123"});
            let _ = hasty.status(&search).await;
            refused += join_all((0..50).map(|_| hasty.gateway(""))).await.iter().filter(|call| call.is_err()).count();
        }
        refused
    };
    let (refused, slowest) = tokio::join!(hurry, all_is_well(&quiet, 0));
    println!("{refused} of 500 calls in a hurry were refused; the quiet one's slowest took {slowest:?}");
    assert!(refused > 300, "{refused}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let counted = app.metric("order_gateway_callers_refused_total{reason=\"over_share\"}").await;
    assert!(counted >= refused as f64);
    app.finish().await;
}

/// A gateway that resets what it refuses would have h2 end the connection after 1,024 of them, with the calls of all who
/// share it: callers behind one proxy, threads of one process.
#[tokio::test]
async fn who_is_refused_is_heard_out_and_keeps_the_connection() {
    let app = start().await;
    let connection = Frames::connect(app.grpc).await;
    let mut late = VecDeque::new();
    for _ in 0..1500 {
        let (answer, body) = connection.begin_without_body(CREATE).await;
        assert_eq!(end(answer).await.status.code(), Code::Unauthenticated);
        late.push_back(body);
        if late.len() > 64 {
            let mut body = late.pop_front().unwrap();
            body.send_data(frame(&[]), true).expect("the call was reset");
        }
    }
    let token = [("authorization", "Bearer token-of-quiet-0123456789abcdef")];
    let create = frames::request::<pb::CreateOrderRequest>("CreateOrderRequest", &bodies::create());
    assert_eq!(connection.call(CREATE, &token, create).await.status.code(), Code::Ok);
    drop((late, connection));
    app.finish().await;
}
