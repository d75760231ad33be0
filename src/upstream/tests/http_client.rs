//! The real client against real sockets.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::limits::WALMART_ANSWER_BYTES;
use crate::upstream::http_client::HttpClient;
use crate::upstream::transport::HttpError;

fn client() -> HttpClient {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpClient::new().unwrap()
}

/// Asks a server that hears one request on each connection and then does `serve` with it.
async fn ask<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<Response<Bytes>, HttpError>
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            hear(&mut connection).await;
            serve(connection).await;
        }
    });
    let mut request = Request::new(Bytes::from_static(b"{\"a\":1}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://{address}/x").parse().unwrap();
    let result = client().oneshot(request.into()).await;
    server.abort();
    result
}

/// Reads the whole request.
async fn hear(connection: &mut TcpStream) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"{\"a\":1}") {
        assert_ne!(connection.read_buf(&mut heard).await.unwrap(), 0);
    }
}

async fn say(mut connection: TcpStream, text: impl AsRef<[u8]>) {
    // A client that does not read on closes the connection.
    let _ = connection.write_all(text.as_ref()).await;
    let _ = connection.shutdown().await;
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let got = ask(|c| say(c, "HTTP/1.1 202 Accepted\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello")).await.unwrap();
    assert_eq!(
        (got.status().as_u16(), &got.headers()["x-a"], &got.body()[..]),
        (202, &"b".parse().unwrap(), &b"hello"[..])
    );
    let pieces = |mut c: TcpStream| async move {
        c.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for piece in ["aa", "bb", "cc", "dd"] {
            c.write_all(format!("2\r\n{piece}\r\n").as_bytes()).await.unwrap();
            c.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        say(c, "0\r\n\r\n").await;
    };
    assert_eq!(ask(pieces).await.unwrap().body(), "aabbccdd");
}

#[tokio::test]
async fn an_empty_body_is_an_answer() {
    for text in ["HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
        assert!(ask(move |c| say(c, text)).await.unwrap().body().is_empty());
    }
}

#[tokio::test]
async fn no_connection_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for uri in [format!("http://{address}/"), "http://name.invalid/".to_owned()] {
        let request = Request::get(uri).body(Bytes::new()).unwrap();
        assert_eq!(client().oneshot(request.into()).await.unwrap_err(), HttpError::NotSent);
    }
}

#[tokio::test]
async fn a_failed_handshake_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        say(connection, "this is no TLS\r\n\r\n").await;
    });
    let request = Request::get(format!("https://{address}/")).body(Bytes::new()).unwrap();
    assert_eq!(client().oneshot(request.into()).await.unwrap_err(), HttpError::NotSent);
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_cut_after_the_request_was_read_is_an_interruption() {
    for text in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\ncontent-le", "rubbish\r\n\r\n"] {
        assert_eq!(ask(move |c| say(c, text)).await.unwrap_err(), HttpError::Interrupted, "{text:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_its_status() {
    for (text, status) in [
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 50\r\n\r\n{\"status\":\"ACC", 202),
        ("HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", 503),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n", 200),
    ] {
        assert_eq!(ask(move |c| say(c, text)).await.unwrap_err(), HttpError::BadBody(status), "{text:?}");
    }
}

#[tokio::test]
async fn a_huge_body_is_refused_unread_when_it_says_so() {
    let huge = |mut c: TcpStream| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", WALMART_ANSWER_BYTES + 1);
        c.write_all(head.as_bytes()).await.unwrap();
        // Nothing of the body is ever sent: whoever waits for it hangs.
        let mut rest = Vec::new();
        let _ = c.read_to_end(&mut rest).await;
    };
    let result = tokio::time::timeout(Duration::from_secs(20), ask(huge)).await.unwrap();
    assert_eq!(result.unwrap_err(), HttpError::BadBody(200));
}

#[tokio::test]
async fn a_huge_body_is_refused_on_the_way_when_it_does_not() {
    let endless = |mut c: TcpStream| async move {
        c.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend_from_slice(&[b'x'; 0x10000]);
        chunk.extend_from_slice(b"\r\n");
        // Never ends by itself.
        while c.write_all(&chunk).await.is_ok() {}
    };
    let result = tokio::time::timeout(Duration::from_secs(20), ask(endless)).await.unwrap();
    assert_eq!(result.unwrap_err(), HttpError::BadBody(200));
}

#[tokio::test]
async fn the_largest_body_is_read() {
    let largest = |c: TcpStream| async move {
        let mut text = format!("HTTP/1.1 200 OK\r\ncontent-length: {WALMART_ANSWER_BYTES}\r\n\r\n").into_bytes();
        text.resize(text.len() + WALMART_ANSWER_BYTES, b'x');
        say(c, text).await;
    };
    assert_eq!(ask(largest).await.unwrap().body().len(), WALMART_ANSWER_BYTES);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let text = "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(move |c| say(c, text)).await.unwrap().status(), 307);
}

/// The environment of a test cannot be changed while others run, so another process plays a test again in another one.
#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let name = "upstream::tests::http_client::an_answer_comes_whole";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env_remove("NO_PROXY").env_remove("no_proxy");
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    let output = command.output().unwrap();
    std::io::stderr().write_all(&output.stdout).unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
