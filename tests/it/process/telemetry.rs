//! Traces and metrics of the real program, as a collector and Prometheus see them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::serve::{Pair, SANDBOX};
use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::Client;
use crate::support::collector::{Collector, Mood};
use crate::support::tools::find;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const CREATE: &str = "POST /v3/fulfillment/orders-fulfillments";
const RPC: &str = "ordergateway.v1.FulfillmentService/CreateOrder";

/// Everything is recorded, and sent as soon as it is there.
fn settings(collector: &Collector, more: &str) -> String {
    let endpoint = &collector.endpoint;
    let telemetry = format!("otlp_endpoint = \"{endpoint}\"\ntrace_sample_ratio = 1.0\naccess_log = \"all\"");
    format!("[telemetry]\n{telemetry}\n{more}")
}

const QUICK: [(&str, &str); 3] =
    [("OTEL_BSP_SCHEDULE_DELAY", "20"), ("OTEL_METRIC_EXPORT_INTERVAL", "50"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")];

async fn client(pair: &Pair) -> Client {
    Client::connect(pair.grpc).await.with("traceparent", &format!("00-{TRACE}-{CALLER}-01"))
}

/// What reached the emulator, by operation.
async fn requests(pair: &Pair, operation: &str) -> Vec<Value> {
    let path = format!("/_emulator/v1/requests?operation={operation}");
    let journal: Value = serde_json::from_str(&get(pair.emulator_address, &path).await.1).unwrap();
    journal["requests"].as_array().unwrap().clone()
}

fn traceparent(span: &Value) -> String {
    format!("00-{}-{}-01", span["trace"].as_str().unwrap(), span["span"].as_str().unwrap())
}

// The collector has to answer while a test waits for the end of the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_is_followed_from_its_answer_to_the_log_the_trace_and_walmart() {
    let collector = Collector::start(Mood::Taking).await;
    let faults = "[[fault]]\noperation = \"create\"\nstatus = 423\ncount = 1";
    let pair = Pair::start(&settings(&collector, ""), faults, &QUICK);
    let answer = client(&pair).await.create(&bodies::create()).await.unwrap();
    let correlation_id = answer.correlation_id.as_str();
    collector.until("the span of the call", |c| !c.named(RPC).is_empty()).await;

    let server = &collector.named(RPC)[0];
    assert_eq!((&server["kind"], &server["failed"]), (&json!("SERVER"), &json!(false)));
    assert_eq!((&server["trace"], &server["parent"]), (&json!(TRACE), &json!(CALLER)));
    let expected = json!({
        "rpc.system.name": "grpc",
        "rpc.method": RPC,
        "rpc.response.status_code": "OK",
        "order_gateway.account": "acme",
        "order_gateway.caller": "anonymous",
        "order_gateway.correlation_id": correlation_id,
    });
    assert_eq!(server["attributes"], expected);

    // The attempts are over before the call is.
    let attempts = collector.named(CREATE);
    assert_eq!(attempts.len(), 2);
    let port = pair.emulator_address.port();
    let common = json!({
        "http.request.method": "POST",
        "url.template": "/v3/fulfillment/orders-fulfillments",
        "url.full": format!("http://127.0.0.1:{port}/v3/fulfillment/orders-fulfillments"),
        "server.address": "127.0.0.1",
        "server.port": port,
        "order_gateway.correlation_id": correlation_id,
    });
    let own = [
        json!({"http.response.status_code": 423, "error.type": "423"}),
        json!({"http.response.status_code": 202, "http.request.resend_count": 1}),
    ];
    let seen = requests(&pair, "create").await;
    for ((attempt, own), request) in attempts.iter().zip(&own).zip(&seen) {
        assert_eq!((&attempt["kind"], &attempt["failed"]), (&json!("CLIENT"), &json!(own["error.type"].is_string())));
        assert_eq!((&attempt["trace"], &attempt["parent"]), (&json!(TRACE), &server["span"]));
        let mut expected = common.clone();
        expected.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        assert_eq!(attempt["attributes"], expected);
        // Walmart was told this very attempt.
        assert_eq!(request["headers"]["traceparent"], traceparent(attempt));
        assert_eq!(request["headers"]["wm_qos.correlation_id"], correlation_id);
    }

    // What the call waited for: nothing of it is an attempt.
    for name in ["ledger begin", "wait for access token", "ledger write"] {
        let waits = collector.named(name);
        assert_eq!(waits.len(), 1, "{name}: {waits:?}");
        assert_eq!((&waits[0]["kind"], &waits[0]["trace"]), (&json!("INTERNAL"), &json!(TRACE)), "{name}");
        assert_eq!(waits[0]["parent"], server["span"], "{name}");
    }

    // A token serves many calls: its own trace, not the caller's.
    let (whole, token) = (&collector.named("token refresh")[0], &collector.named("POST /v3/token")[0]);
    assert_eq!((&whole["kind"], &whole["parent"], &whole["failed"]), (&json!("INTERNAL"), &json!(""), &json!(false)));
    assert_eq!((&token["trace"], &token["parent"]), (&whole["trace"], &whole["span"]));
    assert_ne!(whole["trace"], TRACE);

    pair.gateway.terminate();
    let (_, lines) = pair.gateway.wait_for_end();
    let line = lines.iter().find(|line| line.contains(RPC)).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["trace_id"], &line["span_id"]), (&server["trace"], &server["span"]));
    assert_eq!((&line["trace_flags"], &line["correlation_id"]), (&json!("01"), &json!(correlation_id)));
    // With `--nocapture` this is what docs/OPERATIONS.md shows.
    println!("{line}");
    collector.spans().iter().filter(|span| span["trace"] == TRACE).for_each(|span| println!("{span}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_does_later_is_found_by_the_correlation_id() {
    let collector = Collector::start(Mood::Taking).await;
    // It is not known whether a 503 was carried out: Walmart is asked, then the order is sent again.
    let faults = "[[fault]]\noperation = \"create\"\nstatus = 503\ncount = 1";
    let ledger = "[ledger]\nsettle_window = \"1s\"\nlookup_delays = [\"200ms\", \"500ms\", \"1200ms\", \"1500ms\"]";
    let environment = [QUICK.as_slice(), &[SANDBOX]].concat();
    let pair = Pair::start(&settings(&collector, ledger), faults, &environment);
    let answer = client(&pair).await.create(&bodies::create()).await.unwrap();
    collector.until("the span of the call", |c| !c.named(RPC).is_empty()).await;

    let attempts = collector.named(CREATE);
    assert_eq!(attempts.len(), 2, "{attempts:#?}");
    assert_eq!(attempts[0]["trace"], TRACE);
    assert_eq!(attempts[0]["attributes"]["error.type"], "503");
    let resend = &collector.named("ledger resend")[0];
    let about = json!({
        "order_gateway.operation": "operations/1",
        "order_gateway.account": "acme",
        "order_gateway.correlation_id": answer.correlation_id,
    });
    assert_eq!(resend["attributes"], about);
    assert_eq!((&attempts[1]["trace"], &attempts[1]["parent"]), (&resend["trace"], &resend["span"]));
    let look_ups = collector.named("ledger look-up");
    assert!(look_ups.len() >= 3, "{look_ups:#?}");
    for look_up in &look_ups {
        assert_eq!(look_up["attributes"], about);
        let asked: Vec<_> = collector.spans().into_iter().filter(|s| s["parent"] == look_up["span"]).collect();
        assert_eq!(asked.len(), 1);
        assert!(asked[0]["name"].as_str().unwrap().starts_with("GET /v3/"), "{asked:#?}");
        // The order's number stands in the query alone.
        assert!(!asked[0].to_string().contains("SO123"), "{asked:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_is_told_the_metrics_that_prometheus_is() {
    let collector = Collector::start(Mood::Taking).await;
    let pair = Pair::start(&settings(&collector, ""), "", &QUICK);
    let client = client(&pair).await;
    for number in 0..3 {
        client.create(&bodies::create_as(&format!("ORDER-{number}"))).await.unwrap();
    }
    let calls = format!("{{caller=anonymous,rpc.method={RPC},rpc.response.status_code=OK}}");
    let durations = format!("{{rpc.method={RPC},rpc.response.status_code=OK,rpc.system.name=grpc}}");
    let port = pair.emulator_address.port();
    let attempts = format!(
        "{{http.request.method=POST,http.response.status_code=202,operation=create,outcome=success,\
         server.address=127.0.0.1,server.port={port}}}"
    );
    for (series, value) in [
        (format!("order_gateway.calls{calls}"), 3.0),
        (format!("rpc.server.call.duration{durations}"), 3.0),
        (format!("http.client.request.duration{attempts}"), 3.0),
        ("order_gateway.token_refreshes{outcome=success}".into(), 1.0),
    ] {
        collector.until(&series, |c| c.series(&series) == Some(value)).await;
    }
    let (_, text) = get(pair.http, "/metrics").await;
    let line = format!(
        "order_gateway_calls_total{{caller=\"anonymous\",rpc_method=\"{RPC}\",rpc_response_status_code=\"OK\"}} 3"
    );
    assert!(text.lines().any(|have| have == line), "{text}");
    // They are looked at when they are asked for.
    let tokens = "order_gateway_rate_limit_tokens{account=\"acme\",operation=\"create\"} ";
    let tokens: f64 = text.lines().find_map(|line| line.strip_prefix(tokens)).unwrap().parse().unwrap();
    // Three were taken, and come again within a second.
    assert!((597.0..=600.0).contains(&tokens), "{tokens}");
    assert!(text.contains("order_gateway_upstream_token_age_seconds{account=\"acme\"} "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_or_refuses_is_said_once_and_holds_up_nobody() {
    for mood in [Mood::Hanging, Mood::Refusing] {
        let collector = Collector::start(mood).await;
        let mut pair = Pair::start(&settings(&collector, ""), "", &QUICK);
        let client = client(&pair).await;
        let failed = async |signal: &str| -> f64 {
            let (_, text) = get(pair.http, "/metrics").await;
            let series = format!("order_gateway_otlp_exports_failed_total{{signal=\"{signal}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
        };
        // The cache answers all but the first, so no limit is met.
        let mut calls = 0;
        while failed("metrics").await < 3.0 || failed("traces").await < 2.0 {
            let began = tokio::time::Instant::now();
            client.promise(&bodies::promise()).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(2), "{mood:?}");
            calls += 1;
            assert!(calls < 50_000, "{mood:?}");
        }
        collector.turn(Mood::Taking);
        while pair.gateway.seen("takes metrics again") + pair.gateway.seen("takes traces again") < 2 {
            // A span that is taken shows that the next is.
            client.promise(&bodies::promise()).await.unwrap();
            calls += 1;
            assert!(calls < 100_000, "{mood:?}");
        }
        pair.gateway.terminate();
        let (status, lines) = pair.gateway.wait_for_end();
        assert_eq!(status.code(), Some(0));
        for (line, times) in [
            ("the collector does not take traces", 1),
            ("the collector does not take metrics", 1),
            ("the collector takes traces again", 1),
            ("the collector takes metrics again", 1),
            // Nor has the library lines of its own.
            ("\"target\":\"opentelemetry", 0),
        ] {
            let said: Vec<_> = lines.iter().filter(|have| have.contains(line)).collect();
            assert_eq!(said.len(), times, "{mood:?}: {said:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    let collector = Collector::start(Mood::Taking).await;
    let pair = Pair::start(&settings(&collector, ""), "", &QUICK);
    client(&pair).await.create(&bodies::create()).await.unwrap();
    let plain = get(pair.http, "/metrics").await.1;
    let open = scraped(&pair, "application/openmetrics-text;version=1.0.0").await;
    assert!(open.contains("# EOF") && open.contains(&format!("trace_id=\"{TRACE}\"")), "{open}");
    assert!(!plain.contains("# EOF"));
    // It reads the older form alone.
    let mut promtool = Command::new(find("promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// `/metrics` in the form that is asked for.
async fn scraped(pair: &Pair, accept: &str) -> String {
    let mut stream = TcpStream::connect(pair.http).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A value that means nothing costs a warning; `config check` says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_mean_nothing_keep_nobody_from_starting() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_PROPAGATORS", "xray"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
    ];
    let mut pair = Pair::start("", "", &variables);
    client(&pair).await.create(&bodies::create()).await.unwrap();
    let mut check = crate::support::process::gateway(["config", "check", "--config"]);
    let checked = check.arg(pair.settings()).envs(variables).output().unwrap();
    assert!(checked.status.success());
    let told = String::from_utf8(checked.stderr).unwrap();
    for (name, _) in variables {
        let line = told.lines().find(|line| line.starts_with(&format!("{name}: ignored, "))).unwrap();
        assert_eq!(pair.gateway.seen(line), 1, "{line}");
    }
    assert_eq!(told.lines().count(), variables.len(), "{told}");
}
