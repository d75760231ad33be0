use std::collections::BTreeSet;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::operation::Operation;

const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";

fn trace(sampled: bool) -> TraceContext {
    TraceContext { trace_id: 0xabc, span_id: 1, sampled, state: None }
}

fn filled() -> Metrics {
    let metrics = Metrics::new([CREATE]);
    let took = Duration::from_millis(30);
    metrics.method(CREATE).observe(Code::Ok, took, &trace(true));
    metrics.method("/made/up").observe(Code::Unimplemented, took, &trace(false));
    metrics.panics.inc();
    let upstream = &metrics.upstream;
    upstream.attempt(Some(Operation::Create), AttemptOutcome::Success, took, &trace(true));
    upstream.attempt(None, AttemptOutcome::TimedOut, took, &trace(false));
    upstream.retries_tried.of(Operation::Promise).inc();
    upstream.rate_limit_waits.of(Operation::Status).observe(0.2);
    upstream.token_refresh(TokenOutcome::Refused);
    upstream.circuit(&AccountId::new("acme").unwrap(), Operation::Cancel).set(CircuitState::Open as i64);
    metrics
}

#[test]
fn both_forms_tell_the_same() {
    let metrics = filled();
    let open = metrics.encode(Form::OpenMetrics).unwrap();
    let plain = metrics.encode(Form::Plain).unwrap();
    let samples = |text: &str| -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
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
    let plain = filled().encode(Form::Plain).unwrap();
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
    let plain = filled().encode(Form::Plain).unwrap();
    for line in [
        "rpc_server_call_duration_seconds_count{rpc_method=\"ordergateway.v1.FulfillmentService/CreateOrder\",rpc_response_status_code=\"OK\"} 1",
        "rpc_server_call_duration_seconds_count{rpc_method=\"_OTHER\",rpc_response_status_code=\"UNIMPLEMENTED\"} 1",
        "http_client_request_duration_seconds_count{operation=\"create\",outcome=\"success\"} 1",
        "http_client_request_duration_seconds_count{operation=\"token\",outcome=\"timed_out\"} 1",
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
        assert_eq!(Form::asked_for(plain), Form::Plain, "{plain:?}");
    }
    for open in ["application/openmetrics-text", "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.75"]
    {
        assert_eq!(Form::asked_for(Some(open)), Form::OpenMetrics, "{open}");
    }
}
