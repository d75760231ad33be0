use std::collections::BTreeSet;

use tonic::Code;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::operation::Operation;
use crate::domain::timestamp::Timestamp;

const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";

fn trace(sampled: bool) -> TraceContext {
    TraceContext { trace_id: 0xabc, span_id: 1, sampled, state: None }
}

fn filled() -> Metrics {
    let metrics = Metrics::new([CREATE]);
    let took = Duration::from_millis(30);
    metrics.method(CREATE).observe(Code::Ok, Some("oms"), took, &trace(true));
    metrics.method(CREATE).observe(Code::NotFound, Some("oms"), took, &trace(false));
    metrics.method("/made/up").observe(Code::Unimplemented, None, took, &trace(false));
    metrics.panics.inc();
    let upstream = &metrics.upstream;
    upstream.set_server("walmart", 443);
    let attempt = |operation, method, outcome, status| {
        upstream.attempt(operation, method, outcome, status, took, &trace(false));
    };
    upstream.attempt(Some(Operation::Create), "POST", AttemptOutcome::Success, Some(202), took, &trace(true));
    attempt(Some(Operation::Create), "POST", AttemptOutcome::Success, Some(200));
    attempt(Some(Operation::Create), "POST", AttemptOutcome::Success, Some(202));
    attempt(Some(Operation::Status), "GET", AttemptOutcome::ServerError, Some(503));
    attempt(Some(Operation::Status), "GET", AttemptOutcome::Unreadable, Some(200));
    attempt(None, "POST", AttemptOutcome::TimedOut, None);
    let request = HttpLabels { method: "POST", route: "/webhooks", status: Some(503) };
    metrics.http_server.observe(&request, took, &trace(false));
    upstream.retries_tried.of(Operation::Promise).inc();
    upstream.rate_limit_waits.of(Operation::Status).observe(0.2);
    upstream.token_refresh(TokenOutcome::Refused);
    upstream.circuit(&AccountId::new("acme").unwrap(), Operation::Cancel).set(CircuitState::Open as i64);
    metrics
}

#[test]
fn both_forms_tell_the_same() {
    let metrics = filled();
    let open = metrics.encode(TextFormat::OpenMetrics).unwrap();
    let plain = metrics.encode(TextFormat::Plain).unwrap();
    let samples = |text: &str| -> BTreeSet<String> {
        // Those of the process change meanwhile.
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
        samples.map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    assert!(open.contains(r#"# {trace_id="00000000000000000000000000000abc"} 0.03"#), "{open}");
    assert!(open.ends_with("# EOF\n"));
    for absent in ["# UNIT", "# EOF", "trace_id"] {
        assert!(!plain.contains(absent), "{absent}");
    }
}

#[test]
fn every_plain_sample_has_help_and_type_by_its_own_name() {
    let plain = filled().encode(TextFormat::Plain).unwrap();
    let mut helped = BTreeSet::new();
    let mut typed = BTreeSet::new();
    for line in plain.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 5, "{line}");
            assert!(helped.insert(name), "{line} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(!name.ends_with("_total") || kind == "counter", "{line}");
            typed.insert(name);
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = |set: &BTreeSet<&str>| set.contains(name) || base.is_some_and(|base| set.contains(base));
            assert!(known(&helped) && known(&typed), "{line}");
        }
    }
}

#[test]
fn names_and_labels_are_the_conventions() {
    let plain = filled().encode(TextFormat::Plain).unwrap();
    for line in [
        "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"ordergateway.v1.FulfillmentService/CreateOrder\",rpc_response_status_code=\"OK\"} 1",
        "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"ordergateway.v1.FulfillmentService/CreateOrder\",rpc_response_status_code=\"NOT_FOUND\"} 1",
        "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"_OTHER\",rpc_response_status_code=\"UNIMPLEMENTED\",error_type=\"UNIMPLEMENTED\"} 1",
        "http_client_request_duration_seconds_count{operation=\"create\",outcome=\"success\",http_request_method=\"POST\",server_address=\"walmart\",server_port=\"443\",http_response_status_code=\"202\"} 2",
        "http_client_request_duration_seconds_count{operation=\"create\",outcome=\"success\",http_request_method=\"POST\",server_address=\"walmart\",server_port=\"443\",http_response_status_code=\"200\"} 1",
        "http_client_request_duration_seconds_count{operation=\"status\",outcome=\"server_error\",http_request_method=\"GET\",server_address=\"walmart\",server_port=\"443\",http_response_status_code=\"503\",error_type=\"503\"} 1",
        "http_client_request_duration_seconds_count{operation=\"status\",outcome=\"unreadable\",http_request_method=\"GET\",server_address=\"walmart\",server_port=\"443\",http_response_status_code=\"200\",error_type=\"unreadable\"} 1",
        "http_client_request_duration_seconds_count{operation=\"token\",outcome=\"timed_out\",http_request_method=\"POST\",server_address=\"walmart\",server_port=\"443\",error_type=\"timed_out\"} 1",
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",url_scheme=\"http\",http_route=\"/webhooks\",http_response_status_code=\"503\",error_type=\"503\"} 1",
        "order_gateway_calls_total{caller=\"oms\",rpc_method=\"ordergateway.v1.FulfillmentService/CreateOrder\",rpc_response_status_code=\"OK\"} 1",
        "order_gateway_calls_total{caller=\"none\",rpc_method=\"_OTHER\",rpc_response_status_code=\"UNIMPLEMENTED\"} 1",
        "order_gateway_panics_total 1",
        "order_gateway_retries_tried_total{operation=\"promise\"} 1",
        "order_gateway_retries_tried_total{operation=\"create\"} 0",
        "order_gateway_rate_limit_wait_seconds_count{operation=\"status\"} 1",
        "order_gateway_token_refreshes_total{outcome=\"refused\"} 1",
        "order_gateway_circuit_state{account=\"acme\",operation=\"cancel\"} 2",
    ] {
        assert!(plain.lines().any(|have| have == line), "{line} is not in\n{plain}");
    }
}

#[test]
fn what_accept_asks_for() {
    for plain in [None, Some("*/*"), Some("text/plain"), Some("application/openmetrics-text;q=0, text/plain")] {
        assert_eq!(TextFormat::asked_for(plain), TextFormat::Plain, "{plain:?}");
    }
    for open in ["application/openmetrics-text", "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.75"]
    {
        assert_eq!(TextFormat::asked_for(Some(open)), TextFormat::OpenMetrics, "{open}");
    }
}

/// The table of all metrics in the handbook.
fn documented() -> BTreeSet<(String, String)> {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let table = text.split("### All metrics").nth(1).unwrap().split("\n#").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`').to_owned();
        (name, cells.next().unwrap().replace('`', "").replace(", ", ",").trim().to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn the_handbook_has_every_metric_with_its_labels_and_no_other() {
    let metrics = filled();
    let account = AccountId::new("acme").unwrap();
    metrics.webhooks.of("acme");
    metrics.feed.settled("applied");
    metrics.callers.tls_expires("cert_file", 1_800_000_000);
    let lag = SubscriptionLag { name: "oms".into(), events: 1, parked: 0, oldest: Duration::ZERO };
    metrics.feed.subscriptions.show(vec![lag], None);
    metrics.upstream.token_came(&account, tokio::time::Instant::now());
    metrics.upstream.unmapped.note(Operation::Create, &BTreeSet::from(["payload.x".to_owned()]));
    metrics.backfill.begin(&account, Timestamp(0));
    let level = BucketLevel { account, operation: Operation::Create, tokens: 7.5 };
    metrics.upstream.watch_buckets(move || vec![level.clone()]);
    let families = metrics.families().unwrap();
    let told: BTreeSet<_> = families
        .iter()
        .map(|family| {
            // Some have a label only where something failed.
            let fullest = family.metric.iter().map(|metric| &metric.label).max_by_key(|labels| labels.len()).unwrap();
            let labels: Vec<_> = fullest.iter().map(|label| label.name.clone()).collect();
            (family.name.clone(), labels.join(","))
        })
        .collect();
    let documented = documented();
    let missing: Vec<_> = told.difference(&documented).collect();
    let too_many: Vec<_> = documented.difference(&told).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "missing {missing:#?}, too many {too_many:#?}");
}
