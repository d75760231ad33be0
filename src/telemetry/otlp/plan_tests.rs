use super::*;

fn plan(endpoint: &str, variables: &[(&str, &str)]) -> Result<OtlpPlan, OtlpError> {
    let settings = OtlpSettings { endpoint: endpoint.into(), sample_ratio: 0.01 };
    let read = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    OtlpPlan::read(&settings, OtelVariables(&read))
}

/// Where traces and metrics go.
fn targets(endpoint: &str, variables: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let plan = plan(endpoint, variables).unwrap();
    let endpoint = |target: Option<ExportTarget>| target.map(|target| target.endpoint);
    (endpoint(plan.traces), endpoint(plan.metrics))
}

#[test]
fn what_is_exported_where() {
    let (here, there) = ("http://here:4317", "http://there:4317");
    let to = |traces: Option<&str>, metrics: Option<&str>| (traces.map(str::to_owned), metrics.map(str::to_owned));
    let none = to(None, None);
    assert_eq!(targets("", &[]), none);
    assert_eq!(targets(here, &[]), to(Some(here), Some(here)));
    assert_eq!(targets(here, &[("OTEL_EXPORTER_OTLP_ENDPOINT", there)]), to(Some(there), Some(there)));
    assert_eq!(targets("", &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", there)]), to(Some(there), None));
    assert_eq!(targets(here, &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", there)]), to(Some(here), Some(there)));
    assert_eq!(targets("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), none);
    assert_eq!(targets(here, &[("OTEL_SDK_DISABLED", "TRUE")]), none);
    assert_eq!(targets(here, &[("OTEL_TRACES_EXPORTER", "none")]), to(None, Some(here)));
    assert_eq!(targets(here, &[("OTEL_METRICS_EXPORTER", "none")]), to(Some(here), None));
    assert_eq!(targets(here, &[("OTEL_METRICS_EXPORTER", "prometheus")]), to(Some(here), None));
    assert_eq!(targets(here, &[("OTEL_METRICS_EXPORTER", "otlp,prometheus")]), to(Some(here), Some(here)));
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "there:4317");
    assert_eq!(targets("", &[bare]).0.unwrap(), "https://there:4317");
    assert_eq!(targets("", &[bare, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]).0.unwrap(), there);
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "statsd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-value"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b%0d%0ac"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
    ] {
        let error = plan("http://here", &[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: must be ")) && !error.contains(value), "{error}");
    }
    // Nobody is kept from serving by what would not be used.
    assert!(plan("", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).is_ok());
}

#[test]
fn how_it_is_sent() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, X-Scope = one"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "700"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    ];
    let plan = plan("https://here", &variables).unwrap();
    let (traces, metrics) = (plan.traces.unwrap(), plan.metrics.unwrap());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(traces.headers, [pair("authorization", "Basic abc"), pair("x-scope", "one")]);
    assert_eq!(metrics.headers, [pair("x-key", "2")]);
    assert_eq!((traces.timeout.as_millis(), metrics.timeout.as_millis()), (1_500, 700));
    assert_eq!(traces.certificate, Some("/ca.pem".into()));
    assert_eq!(traces.client, Some(("/cert.pem".into(), "/key.pem".into())));
    assert!(traces.gzip && metrics.gzip);
    assert_eq!(plan.interval, Duration::from_secs(5));
}

#[test]
fn who_is_sampled_and_what_is_passed_on() {
    let read = |name: &str, arg: &str| {
        let plan = plan("", &[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        plan.map(|plan| format!("{} {:?}", plan.sampling.parent_based, plan.sampling.root)).ok()
    };
    assert_eq!(read("", ""), Some("true TraceIdRatioBased(0.01)".into()));
    assert_eq!(read("always_on", "ignored"), Some("false AlwaysOn".into()));
    assert_eq!(read("parentbased_always_off", ""), Some("true AlwaysOff".into()));
    assert_eq!(read("traceidratio", "0.25"), Some("false TraceIdRatioBased(0.25)".into()));
    assert_eq!(read("parentbased_traceidratio", ""), Some("true TraceIdRatioBased(1.0)".into()));
    assert_eq!((read("traceidratio", "2"), read("traceidratio", "x"), read("xray", "")), (None, None, None));

    let propagates = |value: &str| plan("", &[("OTEL_PROPAGATORS", value)]).unwrap().propagate;
    assert!(propagates("") && propagates("baggage, tracecontext"));
    assert!(!propagates("none") && !propagates("b3"));
}
