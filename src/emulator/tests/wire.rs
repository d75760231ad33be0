//! HTTP/2, TLS, and connections that lie, on a real port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::emulator::{FaultRules, serve, serve_tls};

/// Longer than an answer takes, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_millis(300);

struct Served {
    address: SocketAddr,
    seller: Seller,
    _shutdown: tokio_util::sync::DropGuard,
}

async fn served(rules: &str, tls: Option<Arc<ServerConfig>>) -> Served {
    let seller = Seller::new(options()).await;
    seller.emulator.set_faults(FaultRules::parse(rules).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (emulator, stop) = (seller.emulator.clone(), shutdown.clone());
    match tls {
        Some(tls) => tokio::spawn(serve_tls(emulator, listener, tls, stop)),
        None => tokio::spawn(serve(emulator, listener, stop)),
    };
    Served { address, seller, _shutdown: shutdown.drop_guard() }
}

impl Served {
    async fn http2(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap(), &self.seller).await
    }
}

/// An HTTP/2 connection.
struct Client {
    send: SendRequest<Bytes>,
    ping: h2::PingPong,
    seller: Seller,
}

impl Client {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seller: &Seller) -> Self {
        let (send, mut connection) = h2::client::handshake(stream).await.unwrap();
        let ping = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        Self { send: send.ready().await.unwrap(), ping, seller: seller.clone() }
    }

    /// Sends at once; the answer is to be waited for.
    fn send(&mut self, request: Request<Bytes>) -> impl Future<Output = Result<u16, h2::Error>> + use<> {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("http://emulator{}", parts.uri).parse().unwrap();
        parts.version = http::Version::HTTP_2;
        let (answer, mut stream) = self.send.send_request(Request::from_parts(parts, ()), false).unwrap();
        stream.send_data(body, true).unwrap();
        async { Ok(answer.await?.status().as_u16()) }
    }

    fn create(&mut self, number: &str) -> impl Future<Output = Result<u16, h2::Error>> + use<> {
        let body = create_body(number, "SKU-1", 1).to_string();
        self.send(self.seller.post_request(CREATE).body(body.into()).unwrap())
    }

    fn status(&mut self, number: &str) -> impl Future<Output = Result<u16, h2::Error>> + use<> {
        self.send(self.seller.get_request(&format!("orderNumber={number}")))
    }
}

#[tokio::test]
async fn goaway_turns_away_one_call_and_leaves_the_earlier_one() {
    let rules = "[[fault]]\noperation = \"status\"\ndelay = \"100ms\"\n\
                 [[fault]]\noperation = \"create\"\nlie = \"goaway\"\ncount = 1";
    let served = served(rules, None).await;
    let mut client = served.http2().await;
    let status = client.status("sellername001ABC123");
    let turned_away = client.create("SO1");
    // Above the last stream too, so not executed either, though no rule speaks of it.
    let swept_along = client.create("sellername002");
    for call in [turned_away.await, swept_along.await] {
        let error = call.unwrap_err();
        assert!(error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR), "{error:?}");
    }
    assert_eq!(status.await.unwrap(), 200);
    assert_eq!(served.seller.emulator.order_counts().len(), 0);
    assert_eq!(served.http2().await.create("SO1").await.unwrap(), 202);
    assert_eq!(served.seller.emulator.orders_numbered("id", "SO1").len(), 1);
}

#[tokio::test]
async fn a_half_dead_connection_answers_nothing_more_and_others_work() {
    let served = served("[[fault]]\noperation = \"create\"\nlie = \"half-dead\"\ncount = 1", None).await;
    let mut client = served.http2().await;
    assert_eq!(client.status("sellername001ABC123").await.unwrap(), 200);
    assert!(client.ping.ping(h2::Ping::opaque()).await.is_ok());
    assert!(timeout(PATIENCE, client.create("SO1")).await.is_err());
    assert!(timeout(PATIENCE, client.status("sellername001ABC123")).await.is_err());
    assert!(timeout(PATIENCE, client.create("SO2")).await.is_err());
    assert!(timeout(PATIENCE, client.ping.ping(h2::Ping::opaque())).await.is_err());
    assert_eq!(served.seller.emulator.order_counts().len(), 0);
    assert_eq!(served.http2().await.create("SO1").await.unwrap(), 202);
}

/// One request over HTTP/1, and whatever comes back before the connection ends or patience does.
async fn http1(served: &Served) -> Result<String, tokio::time::error::Elapsed> {
    let request = served.seller.get_request("orderNumber=sellername001ABC123");
    let mut text = format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    text.push_str("\r\n");
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A reset ends the answer like an end does.
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.map(|_| answer)
}

#[tokio::test]
async fn on_http1_a_call_is_left_unanswered_or_its_connection_ends() {
    let rules = "[[fault]]\nlie = \"half-dead\"\ncount = 1\n[[fault]]\nlie = \"goaway\"\ncount = 1";
    let served = served(rules, None).await;
    assert!(http1(&served).await.is_err());
    assert_eq!(http1(&served).await.unwrap(), "");
    assert!(http1(&served).await.unwrap().starts_with("HTTP/1.1 200"));
}

fn tls() -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(server), Arc::new(client).into())
}

#[tokio::test]
async fn http2_by_tls_and_a_handshake_that_hangs() {
    let (server, connector) = tls();
    let served = served("[[fault]]\nlie = \"hang-connect\"\ncount = 1", Some(server)).await;
    let connect = async || {
        let stream = TcpStream::connect(served.address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };
    assert!(timeout(PATIENCE, connect()).await.is_err());
    let stream = connect().await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(Client::over(stream, &served.seller).await.create("SO1").await.unwrap(), 202);
}

#[tokio::test]
async fn without_tls_a_connection_that_hangs_executes_nothing() {
    let served = served("[[fault]]\nlie = \"hang-connect\"\ncount = 1", None).await;
    let calls = served.seller.emulator.calls_from(0).len();
    assert!(http1(&served).await.is_err());
    assert_eq!(served.seller.emulator.calls_from(0).len(), calls);
    assert!(http1(&served).await.unwrap().starts_with("HTTP/1.1 200"));
}
