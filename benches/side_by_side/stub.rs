//! A Walmart that says yes at once, so that a measurement is of the server in front of it. Sends no rate-limit headers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use order_gateway::domain::mutations::CreateOrder;
use order_gateway::domain::reads::FetchPromise;
use order_gateway::upstream::codec::OperationCodec as _;
use serde::Deserialize;

use crate::Result;

const TOKEN: &str = r#"{"access_token":"bench-token","token_type":"Bearer","expires_in":900}"#;
const PROMISE: &str = include_str!("../samples/promise_answer.json");

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to serve HTTP/1.1.
    #[arg(long, default_value = "127.0.0.1:8091")]
    listen: SocketAddr,
    /// How long a promise or a create takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

/// The one part of an order that its answer depends on.
#[derive(Deserialize)]
struct Create<'a> {
    #[serde(borrow)]
    payload: OrderNumber<'a>,
}

#[derive(Deserialize)]
struct OrderNumber<'a> {
    #[serde(borrow, rename = "sellerOrderId")]
    seller_order_id: Cow<'a, str>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    let delay = Duration::from_millis(options.delay_ms);
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let answers = service_fn(move |request| answer(request, delay));
            // A connection that breaks shows in the caller's figures.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answers).await;
        });
    }
}

async fn answer(request: Request<Incoming>, delay: Duration) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(json(StatusCode::BAD_REQUEST, Bytes::new())) };
    let (status, text) = decide(&head.method, head.uri.path(), &body.to_bytes());
    if !delay.is_zero() && head.uri.path() != "/v3/token" {
        tokio::time::sleep(delay).await;
    }
    Ok(json(status, text))
}

fn decide(method: &Method, path: &str, body: &[u8]) -> (StatusCode, Bytes) {
    if method != Method::POST {
        return (StatusCode::NOT_FOUND, Bytes::new());
    }
    if path == "/v3/token" {
        (StatusCode::OK, Bytes::from_static(TOKEN.as_bytes()))
    } else if path == FetchPromise::PATH {
        (StatusCode::OK, Bytes::from_static(PROMISE.as_bytes()))
    } else if path == CreateOrder::PATH {
        created(body)
    } else {
        (StatusCode::NOT_FOUND, Bytes::new())
    }
}

fn created(body: &[u8]) -> (StatusCode, Bytes) {
    let Ok(create) = serde_json::from_slice::<Create>(body) else { return (StatusCode::BAD_REQUEST, Bytes::new()) };
    let answer = serde_json::json!({
        "status": "ACCEPTED",
        "header": { "headerAttributes": { "martId": "202", "buId": "0" } },
        "payload": { "requestId": create.payload.seller_order_id },
    });
    (StatusCode::ACCEPTED, Bytes::from(answer.to_string()))
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
