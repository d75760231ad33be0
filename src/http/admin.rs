//! The operators' endpoints: `/metrics`, and the status page with its `/status.json`.
//!
//! The endpoints need no credentials, and a foreign web page open in an operator's browser must not reach them. The
//! guard against DNS rebinding is the `Host` header: a browser sends the name in the page's URL, and a name not in
//! `admin.hosts` is refused. IP addresses pass, because no name was resolved; `localhost` passes, because no stranger
//! can point the name elsewhere.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use super::metrics_text::MetricsText;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::{Metrics, TextFormat};

const REFUSED: &str = "This is the operators' door of an order-gateway. It answers to localhost, to IP addresses and to the names in \
                       admin.hosts, and the Host of this request is none of them.\n";
/// Longest part of a `Host` in the log, in bytes.
const MAX_TOLD: usize = 100;

/// Host names of the operators' endpoints, besides localhost and any IP address. Clones share the names.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdminHosts(Arc<HostRules>);

#[derive(Debug, Default)]
struct HostRules {
    names: BTreeSet<String>,
    throttle: LogThrottle,
}

impl AdminHosts {
    /// Accepts names in any case.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self(Arc::new(HostRules { names, throttle: LogThrottle::default() }))
    }

    /// Whether requests for this host are served. A port may follow the name.
    fn allow(&self, host: &str) -> bool {
        let name = without_port(host);
        if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            // The zone names an interface of the caller's.
            let address = inner.split_once('%').map_or(inner, |(address, _)| address);
            return address.parse::<Ipv6Addr>().is_ok();
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.0.names.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The routes, to be merged with the listener's or served alone. `page` has the routes of the status page, if enabled.
pub(crate) fn router(metrics: Arc<Metrics>, page: Option<Router>, hosts: AdminHosts) -> Router {
    let metrics = Router::new().route("/metrics", get(scrape)).with_state(MetricsText::new(metrics));
    // The guard covers these routes alone: webhooks and probes arrive under any host name.
    metrics.merge(page.unwrap_or_default()).route_layer(from_fn_with_state(hosts, guard))
}

async fn scrape(State(metrics): State<MetricsText>, headers: HeaderMap) -> Response {
    let form = TextFormat::asked_for(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    match metrics.text(form) {
        Ok(text) => ([(CONTENT_TYPE, form.content_type())], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Refuses a request whose host is not allowed. Browsers always send a host, and a request without a host comes from
/// another client.
async fn guard(State(hosts): State<AdminHosts>, request: Request, next: Next) -> Response {
    let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let headers = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or("unreadable").to_owned());
    let refused = target.into_iter().chain(headers).find(|host| !host.is_empty() && !hosts.allow(host));
    let Some(host) = refused else { return next.run(request).await };
    hosts.0.throttle.note("host", |times| {
        let host = &host[..host.floor_char_boundary(MAX_TOLD)];
        tracing::warn!(host, times, "the page or the metrics are asked for under a name that is not in admin.hosts");
    });
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    (StatusCode::MISDIRECTED_REQUEST, headers, REFUSED).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    fn door(names: &[&str]) -> Router {
        let hosts = AdminHosts::new(names.iter().map(|name| (*name).to_owned()));
        let page = Router::new().route("/", get(async || "page"));
        let others = Router::new().route("/livez", get(async || "alive"));
        router(Arc::new(Metrics::new([])), Some(page), hosts).merge(others)
    }

    async fn ask(door: &Router, uri: &str, hosts: &[&str]) -> (u16, String) {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let answer = door.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn addresses_localhost_and_named_hosts_are_answered() {
        let door = door(&["Gateway.Internal", "ops"]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:8081",
            "[fe80::1%25eth0]:8081",
            "localhost",
            "LocalHost:8081",
            "localhost.",
            "gateway.internal",
            "GATEWAY.internal:8081",
            "gateway.internal.:8081",
            "ops",
            "",
        ] {
            for path in ["/", "/metrics"] {
                assert_eq!(ask(&door, path, &[host]).await.0, 200, "{host}");
            }
        }
        assert_eq!(ask(&door, "/", &[]).await.0, 200);
        assert_eq!(ask(&door, "http://10.1.2.3/", &["10.1.2.3"]).await.0, 200);
    }

    #[tokio::test]
    async fn other_names_are_refused_without_being_repeated() {
        let door = door(&["ops.internal"]);
        for host in [
            "evil.example",
            "evil.example:8081",
            "internal",
            "x.ops.internal",
            "ops.internal.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:8081:8081",
            "127.1",
            "2130706433",
            "0x7f000001",
            "user@localhost",
            "[evil.example]",
            "[127.0.0.1]",
            "localhost,evil.example",
            " localhost",
        ] {
            for path in ["/", "/metrics"] {
                let (status, body) = ask(&door, path, &[host]).await;
                assert_eq!((status, body.as_str()), (421, REFUSED), "{host}");
            }
            assert_eq!(ask(&door, "/livez", &[host]).await, (200, "alive".into()), "probes are for everybody");
        }
        assert_eq!(ask(&door, "/", &["localhost", "evil.example"]).await.0, 421);
        assert_eq!(ask(&door, "http://evil.example/", &["localhost"]).await.0, 421);
        assert_eq!(ask(&door, "/other", &["evil.example"]).await.0, 404);
    }

    #[tokio::test]
    async fn metrics_come_in_the_form_that_is_asked_for() {
        let door = door(&[]);
        let get = async |accept: &str| {
            let request = Request::builder().uri("/metrics").header(ACCEPT, accept).body(Body::empty()).unwrap();
            let answer = door.clone().oneshot(request).await.unwrap();
            let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            (kind, String::from_utf8(body.to_vec()).unwrap())
        };
        let (kind, text) = get("text/plain").await;
        assert_eq!(kind, TextFormat::Plain.content_type());
        assert!(!text.contains("# EOF"));
        let open = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let (kind, text) = get(open).await;
        assert_eq!(kind, TextFormat::OpenMetrics.content_type());
        assert!(text.ends_with("# EOF\n"));
    }
}
