//! The gateway's view of itself: GetStatus, health, reflection, probes.

use std::time::{Duration, SystemTime};

use order_gateway::pb::{CircuitState, TokenState};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

const SERVICES: [&str; 2] = ["ordergateway.v1.FulfillmentService", "ordergateway.v1.GatewayService"];

#[tokio::test]
async fn tells_token_buckets_and_circuits() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let before = client.gateway("").await.unwrap();
    assert_eq!(before.version, env!("CARGO_PKG_VERSION"));
    let account = &before.accounts[0];
    assert_eq!((account.account.as_str(), account.token.as_ref().unwrap().state()), ("demo", TokenState::None));
    let limits: Vec<_> = account.operations.iter().map(|o| (o.operation.as_str(), o.limit_per_minute)).collect();
    let of_fulfillment = [("promise", 20), ("status", 20), ("create", 600), ("cancel", 600)];
    let of_orders =
        [("orders", 5000), ("order", 5000), ("acknowledge", 60), ("cancel_lines", 60), ("ship", 60), ("refund", 60)];
    for expected in of_fulfillment.into_iter().chain(of_orders) {
        assert!(limits.contains(&expected), "{expected:?}: {limits:?}");
    }
    assert!(app.requests("token").await.is_empty(), "it costs no upstream call");

    client.promise(&bodies::promise()).await.unwrap();
    let hurried = app.client().await.with("grpc-timeout", "600m");
    let failing: Vec<_> = (0..5).map(|number| bodies::create_as(&format!("MAGIC-503-{number}"))).collect();
    for problem in futures_util::future::join_all(failing.iter().map(|body| hurried.create(body))).await {
        problem.unwrap_err();
    }
    let after = client.gateway("demo").await.unwrap();
    let account = &after.accounts[0];
    let token = account.token.as_ref().unwrap();
    assert_eq!(token.state(), TokenState::Valid);
    let expires: SystemTime = token.expire_time.unwrap().try_into().unwrap();
    let start: SystemTime = before.start_time.unwrap().try_into().unwrap();
    let life = expires.duration_since(start).unwrap();
    assert!(life >= Duration::from_secs(900) && life < Duration::from_secs(910), "{life:?}");
    let operation = |name: &str| account.operations.iter().find(|o| o.operation == name).unwrap();
    let promise = operation("promise");
    assert!(promise.tokens >= 19.0 && promise.tokens < 19.9, "{}", promise.tokens);
    assert_eq!(promise.circuit(), CircuitState::Closed);
    let create = operation("create");
    assert_eq!(create.circuit(), CircuitState::Open);
    assert!(create.probe_time.is_some() && promise.probe_time.is_none());
    app.finish().await;
}

#[tokio::test]
async fn health_is_told_for_each_service() {
    let mut app = Setup::new().faults("[[fault]]\ndelay = \"300ms\"\noperation = \"status\"").start().await;
    let client = app.client().await;
    let mut health = HealthClient::new(client.service());
    for service in ["", SERVICES[0], SERVICES[1]] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nobody".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    // Those who watch are told before the connection goes; a call in flight finishes meanwhile.
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let search = json!({"orderNumber": "sellername001ABC123"});
    let call = tokio::spawn(async move { client.status(&search).await });
    while app.requests("status").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopping = app.stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let end = watch.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    let (status, body) = app.get("/readyz").await;
    assert_eq!((status, body.contains("draining")), (503, true), "{body}");
    assert_eq!(app.get("/livez").await.0, 200);
    call.await.unwrap().unwrap();
    assert_eq!(stopping.await.unwrap(), order_gateway::shutdown::DrainOutcome::Clean);
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut_off() {
    let fault = "[[fault]]\ndelay = \"30s\"\noperation = \"status\"";
    let mut app = Setup::new().settings("shutdown.grace = \"300ms\"").faults(fault).start().await;
    let client = app.client().await;
    let call = tokio::spawn(async move { client.look_up("sellername001ABC123").await });
    while app.requests("status").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = tokio::time::Instant::now();
    assert_eq!(app.stop().await.unwrap(), order_gateway::shutdown::DrainOutcome::Aborted(1));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(call.await.unwrap().is_err());
}

macro_rules! reflected {
    ($version:ident, $client:expr) => {{
        use pb::server_reflection_request::MessageRequest;
        use pb::server_reflection_response::MessageResponse;
        use tonic_reflection::pb::$version as pb;
        let ask = |what| pb::ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        let asked = vec![
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(SERVICES[0].into())),
            ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into())),
        ];
        let mut client = pb::server_reflection_client::ServerReflectionClient::new($client);
        let mut answers = client.server_reflection_info(tokio_stream(asked)).await.unwrap().into_inner();
        let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
        let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        let MessageResponse::FileDescriptorResponse(file) = next().await else { panic!("no file") };
        let MessageResponse::FileDescriptorResponse(_) = next().await else { panic!("details are not described") };
        (names, file.file_descriptor_proto)
    }};
}

fn tokio_stream<T: Send + 'static>(items: Vec<T>) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::iter(items)
}

#[tokio::test]
async fn both_versions_of_reflection_describe_everything_with_comments() {
    let app = TestApp::start().await;
    let client = app.client().await;
    for (names, files) in [reflected!(v1, client.service()), reflected!(v1alpha, client.service())] {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(names.iter().any(|name| name == service), "{service} in {names:?}");
        }
        let file = FileDescriptorProto::decode(files[0].as_slice()).unwrap();
        assert_eq!(file.name(), "ordergateway/v1/fulfillment.proto");
        let places = file.source_code_info.unwrap().location;
        let comment = places.iter().find(|place| place.path == [6, 0, 2, 1]).unwrap().leading_comments();
        assert!(comment.contains("Creates an order"), "{comment}");
    }
    app.finish().await;
}

#[tokio::test]
async fn reflection_can_be_switched_off_and_sits_behind_authentication() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let asked = || tokio_stream(vec![tonic_reflection::pb::v1::ServerReflectionRequest::default()]);
    let app = Setup::new().settings("grpc.reflection = false").start().await;
    let refused = ServerReflectionClient::new(app.client().await.service()).server_reflection_info(asked()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    app.finish().await;

    let app = Setup::new().settings(crate::accounts::SETTINGS).start().await;
    let refused = ServerReflectionClient::new(app.client().await.service()).server_reflection_info(asked()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    app.finish().await;
}

#[tokio::test]
async fn probes_answer_and_calls_are_counted() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/livez").await.0, 200);
    assert_eq!(app.get("/readyz").await.0, 200);
    assert_eq!(app.get("/nothing").await.0, 404);
    app.client().await.create(&bodies::create()).await.unwrap();
    app.client().await.cancel(&bodies::cancel_lines("", [])).await.unwrap_err();
    let calls = async |method: &str, code: &str| {
        let labels = format!(
            "{{rpc_system_name=\"grpc\",rpc_method=\"ordergateway.v1.FulfillmentService/{method}\",\
             rpc_response_status_code=\"{code}\"}}"
        );
        app.metric(&format!("rpc_server_call_duration_seconds_count{labels}")).await
    };
    assert_eq!(calls("CreateOrder", "OK").await, 1.0);
    assert_eq!(calls("CancelOrder", "INVALID_ARGUMENT").await, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn the_page_shows_the_same_and_can_be_switched_off() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&json!({})).await.unwrap_err();
    let (status, body) = app.get("/status.json").await;
    let state: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &state["stage"]), (200, &json!("ready")));
    assert_eq!(state["grpc"], json!({"host": "127.0.0.1", "port": app.grpc.port(), "tls": false, "clients": false}));
    let error = &state["errors"][0];
    assert_eq!(
        (&error["reason"], &error["account"], &error["count"]),
        (&json!("INVALID_REQUEST"), &json!("demo"), &json!(1))
    );
    let told = client.gateway("").await.unwrap();
    let shown = state["accounts"]["rows"][0]["operations"].as_array().unwrap();
    let limits = told.accounts[0].operations.iter().map(|it| (json!(it.operation), json!(it.limit_per_minute)));
    assert_eq!(
        limits.collect::<Vec<_>>(),
        shown.iter().map(|it| (it["operation"].clone(), it["limit_per_minute"].clone())).collect::<Vec<_>>()
    );
    let (status, page) = app.get("/").await;
    assert!(status == 200 && page.starts_with("<!doctype html>"));
    app.finish().await;

    let app = Setup::new().settings("[http]\npage = false").start().await;
    for (path, expected) in [("/", 404), ("/status.json", 404), ("/metrics", 200)] {
        assert_eq!(app.get(path).await.0, expected, "{path}");
    }
    app.finish().await;
}
