//! Names from OpenTelemetry's semantic conventions 1.44, and the project's own attributes.
//! <https://github.com/open-telemetry/semantic-conventions/tree/v1.44.0/docs>
//!
//! No other file contains such names, because the RPC conventions are a release candidate and may still change.

// Attributes, docs/rpc/grpc.md and docs/http/http-spans.md.
pub(crate) const RPC_SYSTEM_NAME: &str = "rpc.system.name";
pub(crate) const RPC_METHOD: &str = "rpc.method";
pub(crate) const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(crate) const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
pub(crate) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const URL_FULL: &str = "url.full";
pub(crate) const URL_PATH: &str = "url.path";
pub(crate) const URL_SCHEME: &str = "url.scheme";
pub(crate) const URL_TEMPLATE: &str = "url.template";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";

/// The value of a method that is not known.
pub(crate) const OTHER: &str = "_OTHER";
/// The value of [`RPC_SYSTEM_NAME`].
pub(crate) const SYSTEM_GRPC: &str = "grpc";
/// The value of [`URL_SCHEME`]: the HTTP listener has no TLS.
pub(crate) const SCHEME_HTTP: &str = "http";

// Attributes of the process, docs/resource.
pub(crate) const SERVICE_NAME: &str = "service.name";
pub(crate) const SERVICE_VERSION: &str = "service.version";
pub(crate) const SERVICE_INSTANCE_ID: &str = "service.instance.id";

// Attributes of our own.
/// The `WM_QOS.CORRELATION_ID` that Walmart was sent.
pub(crate) const CORRELATION_ID: &str = "order_gateway.correlation_id";
/// The account of the call.
pub(crate) const ACCOUNT: &str = "order_gateway.account";
/// The calling client, by name in the settings.
pub(crate) const CALLER: &str = "order_gateway.caller";
/// `ErrorInfo.reason` of the answer.
pub(crate) const REASON: &str = "order_gateway.reason";
/// An operation of the ledger, `operations/42`.
pub(crate) const OPERATION: &str = "order_gateway.operation";

// Metrics, docs/rpc/rpc-metrics.md, docs/http/http-metrics.md and docs/system/process-metrics.md.
pub(crate) const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
pub(crate) const HTTP_CLIENT_REQUEST_DURATION: &str = "http.client.request.duration";
pub(crate) const HTTP_SERVER_REQUEST_DURATION: &str = "http.server.request.duration";

/// OpenTelemetry names of Prometheus metrics which do not follow from the underscores.
const OTHERWISE: [(&str, &str); 4] = [
    ("process_cpu", "process.cpu.time"),
    ("process_resident_memory", "process.memory.usage"),
    ("process_virtual_memory", "process.memory.virtual"),
    ("process_open_fds", "process.unix.file_descriptor.count"),
];

/// Converts a name to Prometheus's form.
pub(crate) fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// Converts a metric name of the registry, without unit and `_total`, to OpenTelemetry's name. A collector converting
/// back for Prometheus gets the same series.
pub(crate) fn metric(flat_name: &str) -> String {
    for known in [RPC_SERVER_CALL_DURATION, HTTP_CLIENT_REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION] {
        if flat(known) == flat_name {
            return known.to_owned();
        }
    }
    if let Some((_, name)) = OTHERWISE.iter().find(|(flat, _)| *flat == flat_name) {
        return (*name).to_owned();
    }
    for namespace in ["order_gateway", "process"] {
        if let Some(rest) = flat_name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('_')) {
            return format!("{namespace}.{rest}");
        }
    }
    flat_name.to_owned()
}

/// Converts a label name to OpenTelemetry's attribute name.
pub(crate) fn attribute(label: &str) -> String {
    let known = [
        RPC_SYSTEM_NAME,
        RPC_METHOD,
        RPC_RESPONSE_STATUS_CODE,
        ERROR_TYPE,
        HTTP_REQUEST_METHOD,
        HTTP_RESPONSE_STATUS_CODE,
        HTTP_ROUTE,
        SERVER_ADDRESS,
        SERVER_PORT,
        URL_SCHEME,
    ];
    known.into_iter().find(|known| flat(known) == label).unwrap_or(label).to_owned()
}

/// Whether the conventions define the attribute as a number. Labels are text.
pub(crate) fn is_number(attribute: &str) -> bool {
    [SERVER_PORT, HTTP_RESPONSE_STATUS_CODE].contains(&attribute)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn names_are_told_by_the_conventions_or_under_our_own() {
        for (flat, dotted) in [
            ("rpc_server_call_duration", "rpc.server.call.duration"),
            ("http_client_request_duration", "http.client.request.duration"),
            ("http_server_request_duration", "http.server.request.duration"),
            ("order_gateway_calls", "order_gateway.calls"),
            ("process_cpu", "process.cpu.time"),
            ("process_start_time", "process.start_time"),
        ] {
            assert_eq!(metric(flat), dotted);
        }
        assert_eq!(attribute("rpc_response_status_code"), "rpc.response.status_code");
        assert_eq!(attribute("error_type"), "error.type");
        assert_eq!(attribute("operation"), "operation");
    }

    /// Tests may say them again: they would not notice a wrong one otherwise.
    #[test]
    fn no_other_file_has_names_of_the_conventions() {
        let namespaces =
            ["\"rpc.", "\"http.request", "\"http.response", "\"http.route", "\"url.", "\"server.", "\"error.type\""];
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    if name != "tests" {
                        folders.push(path);
                    }
                } else if name.ends_with(".rs") && !name.contains("test") && name != "semconv.rs" {
                    files += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap();
                    let found: Vec<_> = namespaces.iter().filter(|begin| code.contains(**begin)).collect();
                    assert!(found.is_empty(), "{}: {found:?}", path.display());
                }
            }
        }
        assert!(files > 100, "{files}");
    }
}
