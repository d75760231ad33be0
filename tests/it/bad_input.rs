//! Callers who send what no client would, over a real socket: each gets its code, and nobody else notices.

use bytes::Bytes;
use order_gateway::pb;
use serde_json::json;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;
use crate::support::client::Problem;
use crate::support::frames::{self, CREATE, Frames, STATUS, end, frame};

fn create() -> Bytes {
    frames::request::<pb::CreateOrderRequest>("CreateOrderRequest", &bodies::create())
}

#[tokio::test]
async fn what_is_no_request_has_grpcs_own_codes() {
    let app = TestApp::start().await;
    let connection = Frames::connect(app.grpc).await;
    // Sends whole frames, cut ones, none.
    for (what, path, body, code) in [
        ("not protobuf", CREATE, frame(&[0xff; 64]), Code::Internal),
        ("a length beyond the end", CREATE, frame(&[0x12, 0x7f, 1]), Code::Internal),
        ("nested too deeply", CREATE, frame(&[0x0a; 4096]), Code::Internal),
        ("text that is not UTF-8", CREATE, frame(&[0x1a, 2, 0xff, 0xfe]), Code::Internal),
        ("over 1 MiB", CREATE, frame(&vec![0; 1024 * 1024 + 1]), Code::ResourceExhausted),
        ("a claim of 4 GiB", CREATE, Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]), Code::ResourceExhausted),
        ("no message", CREATE, Bytes::new(), Code::Unimplemented),
        ("two messages", CREATE, [create(), create()].concat().into(), Code::Unimplemented),
        ("an unknown method", "/ordergateway.v1.FulfillmentService/Nothing", create(), Code::Unimplemented),
        ("an unknown service", "/nothing.v1.Nothing/Nothing", create(), Code::Unimplemented),
        ("no path", "/", create(), Code::Unimplemented),
    ] {
        let ended = connection.call(path, &[], body).await;
        assert_eq!((ended.told, ended.status.code()), (true, code), "{what}: {:?}", ended.status);
    }
    assert!(app.requests("create").await.is_empty());
    let ended = connection.call(CREATE, &[], create()).await;
    assert_eq!(ended.status.code(), Code::Ok, "the connection lives on");
    app.finish().await;
}

#[tokio::test]
async fn compressed_requests_are_read_and_bombs_are_not() {
    use std::io::Write as _;
    let app = TestApp::start().await;
    let connection = Frames::connect(app.grpc).await;
    let packed = |message: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(message).unwrap();
        let packed = encoder.finish().unwrap();
        let mut framed = frame(&packed).to_vec();
        framed[0] = 1;
        Bytes::from(framed)
    };
    let gzip = [("grpc-encoding", "gzip")];
    let ended = connection.call(CREATE, &gzip, packed(&create()[5..])).await;
    assert_eq!(ended.status.code(), Code::Ok, "{:?}", ended.status);
    let accepts = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity,gzip")];
    let answer = connection.begin(CREATE, &accepts, packed(&create()[5..])).await.await.unwrap();
    assert_eq!(answer.headers()["grpc-encoding"], "gzip");
    drop(answer);
    let ended = connection.call(CREATE, &gzip, packed(&vec![0; 64 * 1024 * 1024])).await;
    assert_eq!(ended.status.code(), Code::ResourceExhausted, "{:?}", ended.status);
    let ended = connection.call(CREATE, &[("grpc-encoding", "rot13")], packed(&create()[5..])).await;
    assert_eq!(ended.status.code(), Code::Unimplemented, "{:?}", ended.status);
    app.finish().await;
}

#[tokio::test]
async fn a_flood_of_streams_costs_others_nothing() {
    let app = Setup::new().faults("[[fault]]\noperation = \"status\"\ndelay = \"30s\"").start().await;
    let flood = Frames::connect(app.grpc).await;
    let mut waiting = Vec::new();
    // As many as one connection may have open at a time.
    for i in 0..256 {
        let search = json!({"trackingNumber": format!("T{i}")});
        let body = frames::request::<pb::GetOrderStatusRequest>("GetOrderStatusRequest", &search);
        waiting.push(flood.begin(STATUS, &[("grpc-timeout", "2S")], body).await);
    }
    let began = tokio::time::Instant::now();
    app.client().await.create(&bodies::create()).await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    let mut codes = std::collections::BTreeSet::new();
    for answer in waiting {
        codes.insert(end(answer).await.status.code() as i32);
    }
    let allowed = [Code::DeadlineExceeded as i32, Code::ResourceExhausted as i32];
    assert!(codes.iter().all(|code| allowed.contains(code)), "{codes:?}");
    app.finish().await;
}

#[tokio::test]
async fn more_calls_than_fit_are_turned_away_with_a_word_when_to_return() {
    let app = Setup::new()
        .settings("walmart.limits.create = 6000")
        .emulator(|options| options.limit_scale = 10.0)
        .faults("[[fault]]\noperation = \"create\"\ndelay = \"2s\"")
        .start()
        .await;
    let mut waiting = Vec::new();
    for connection in 0..5 {
        let frames = Frames::connect(app.grpc).await;
        for i in 0..220 {
            let body = bodies::create_as(&format!("ORDER-{connection}-{i}"));
            let body = frames::request::<pb::CreateOrderRequest>("CreateOrderRequest", &body);
            waiting.push(frames.begin(CREATE, &[("grpc-timeout", "30S")], body).await);
        }
    }
    let mut turned_away = 0;
    for answer in waiting {
        let ended = end(answer).await;
        if ended.status.code() != Code::Ok {
            let problem = Problem::of(&ended.status);
            problem.is(Code::ResourceExhausted, "OVERLOADED");
            assert!(problem.retry_after.is_some());
            turned_away += 1;
        }
    }
    assert_eq!(turned_away, 5 * 220 - 1024);
    app.finish().await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection_not_the_server() {
    let app = TestApp::start().await;
    let flood = Frames::connect(app.grpc).await;
    for _ in 0..2_000 {
        // Dropped at once: the stream is reset.
        if !flood.try_begin(CREATE).await {
            break;
        }
    }
    app.client().await.create(&bodies::create()).await.unwrap();
    drop(flood);
    app.finish().await;
}
