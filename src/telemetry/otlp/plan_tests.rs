use super::*;

/// The plan, and the warnings.
fn plan(endpoint: &str, variables: &[(&str, &str)]) -> (OtlpPlan, Vec<String>) {
    let settings = OtlpSettings { endpoint: endpoint.into(), sample_ratio: 0.01 };
    let read = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let variables = OtelVariables::new(&read);
    let plan = OtlpPlan::read(&settings, &variables);
    (plan, variables.into_warnings())
}

/// Where traces and metrics go.
fn targets(endpoint: &str, variables: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let (plan, _) = plan(endpoint, variables);
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
fn by_http_each_signal_has_its_path() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let to = |traces: &str, metrics: &str| (Some(traces.to_owned()), Some(metrics.to_owned()));
    let both = to("http://here:4318/v1/traces", "http://here:4318/v1/metrics");
    assert_eq!(targets("http://here:4318", &[http]), both);
    assert_eq!(targets("", &[http, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://here:4318/")]), both);
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://here/otel");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://there/spans");
    assert_eq!(targets("", &[http, base, own]), to("http://there/spans", "http://here/otel/v1/metrics"));
    // One signal by HTTP, the other by gRPC.
    let one = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf");
    assert_eq!(targets("http://here:1", &[one]), to("http://here:1", "http://here:1/v1/metrics"));
    // Who asks for the exporter and names no address gets that of the specification.
    let asked = ("OTEL_TRACES_EXPORTER", "otlp");
    assert_eq!(targets("", &[asked]), (Some("http://localhost:4317".into()), None));
    assert_eq!(targets("", &[asked, http]), (Some("http://localhost:4318/v1/traces".into()), None));
}

#[test]
fn values_that_mean_nothing_are_ignored_with_a_warning() {
    let usual = format!("{:?}", plan("http://here", &[]).0);
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "statsd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://there"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-value"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b%0d%0ac"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=%ff"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_SDK_DISABLED", "yes"),
    ] {
        let (plan, warnings) = plan("http://here", &[(name, value)]);
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("{name}: ignored, ")), "{warnings:?}");
        assert!(!warnings[0].contains(value), "{warnings:?}");
        assert_eq!(format!("{plan:?}"), usual, "{name}");
    }
}

#[test]
fn of_a_list_what_can_be_used_counts() {
    let (with, warnings) = plan("http://here", &[("OTEL_METRICS_EXPORTER", "prometheus, otlp")]);
    assert!(with.metrics.is_some());
    assert!(warnings[0].starts_with("OTEL_METRICS_EXPORTER: ignored, prometheus needs no exporter"), "{warnings:?}");
    let (with, warnings) = plan("http://here", &[("OTEL_TRACES_EXPORTER", "zipkin,none")]);
    assert_eq!((with.traces, warnings.len()), (None, 1));
    let (with, warnings) = plan("", &[("OTEL_PROPAGATORS", "b3,none,none")]);
    assert_eq!((with.propagate, warnings.len()), (false, 1));
    // Of two variables for the same, the one that can be read.
    let of_metrics = ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon");
    let (with, _) = plan("http://here", &[of_metrics, ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")]);
    assert_eq!(with.metrics.unwrap().timeout, Duration::from_millis(1_500));
}

#[test]
fn attributes_are_percent_decoded() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb, service.name = one,note=x=y");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (with, warnings) = plan("", &[attributes, ("OTEL_SERVICE_NAME", "two")]);
    let right = [pair("team", "a,b"), pair("service.name", "one"), pair("note", "x=y"), pair("service.name", "two")];
    assert_eq!((with.resource.as_slice(), warnings.len()), (right.as_slice(), 0));
}

#[test]
fn how_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["ca", "cert", "key"].map(|name| folder.path().join(name));
    files.iter().for_each(|file| std::fs::write(file, file.file_name().unwrap().as_encoded_bytes()).unwrap());
    let file = |name: &str| files.iter().find(|file| file.ends_with(name)).unwrap().to_str().unwrap();
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, X-Scope = one"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "700"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", file("ca")),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", file("cert")),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file("key")),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    ];
    let (plan, warnings) = plan("https://here", &variables);
    assert_eq!(warnings, Vec::<String>::new());
    let (traces, metrics) = (plan.traces.unwrap(), plan.metrics.unwrap());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(traces.headers, [pair("authorization", "Basic abc"), pair("x-scope", "one")]);
    assert_eq!(metrics.headers, [pair("x-key", "2")]);
    assert_eq!((traces.timeout.as_millis(), metrics.timeout.as_millis()), (1_500, 700));
    assert_eq!(traces.certificate, Some("ca".into()));
    assert_eq!(traces.client, Some(("cert".into(), "key".into())));
    assert!(traces.gzip && metrics.gzip);
    assert_eq!(plan.interval, Duration::from_secs(5));
}

#[test]
fn who_is_sampled_and_what_is_passed_on() {
    let read = |name: &str, arg: &str| {
        let plan = plan("", &[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        let (Sampling { parent_based, root }, warned) = (plan.0.sampling, plan.1.len());
        if warned > 0 {
            Some(format!("{parent_based} {root:?}, warned"))
        } else {
            Some(format!("{parent_based} {root:?}"))
        }
    };
    assert_eq!(read("", ""), Some("true TraceIdRatioBased(0.01)".into()));
    assert_eq!(read("always_on", "ignored"), Some("false AlwaysOn".into()));
    assert_eq!(read("parentbased_always_off", ""), Some("true AlwaysOff".into()));
    assert_eq!(read("traceidratio", "0.25"), Some("false TraceIdRatioBased(0.25)".into()));
    assert_eq!(read("parentbased_traceidratio", ""), Some("true TraceIdRatioBased(1.0)".into()));
    for bad in ["2", "x", "-0.1"] {
        assert_eq!(read("traceidratio", bad), Some("false TraceIdRatioBased(1.0), warned".into()));
    }
    assert_eq!(read("xray", ""), Some("true TraceIdRatioBased(0.01), warned".into()));

    let propagates = |value: &str| plan("", &[("OTEL_PROPAGATORS", value)]).0.propagate;
    assert!(propagates("") && propagates("baggage, tracecontext"));
    assert!(!propagates("none") && !propagates("baggage"));
}
