//! Whoever stands in Walmart's place has to prove it: nothing is sent without a good certificate, and nobody is followed
//! elsewhere.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::Code;

use super::serve::Pair;
use crate::support::app::get;
use crate::support::authority::{Authority, NOW, PAST, Pair as Certified};
use crate::support::bodies;
use crate::support::client::Client;

/// TLS in front of an emulator.
struct Front {
    address: SocketAddr,
    behind: Arc<OnceLock<SocketAddr>>,
}

impl Front {
    async fn start((cert, key): &Certified) -> Self {
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(OnceLock::<SocketAddr>::new());
        let target = behind.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    let Ok(mut inside) = acceptor.accept(stream).await else { return };
                    let mut outside = TcpStream::connect(target.get().unwrap()).await.unwrap();
                    let _ = copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        Self { address, behind }
    }
}

/// A gateway that trusts `authority` and finds Walmart behind a server with this certificate.
async fn in_front_of(authority: &Authority, certified: &Certified) -> (Pair, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let front = Front::start(certified).await;
    let url = format!("https://localhost:{}", front.address.port());
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap()), ("ORDER_GATEWAY__WALMART__BASE_URL", &url)];
    let pair = tokio::task::block_in_place(|| Pair::start("", "", &environment));
    front.behind.set(pair.emulator_address).unwrap();
    (pair, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn walmarts_certificate_is_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (pair, _folder) = in_front_of(&authority, &authority.host("localhost", NOW)).await;
    Client::connect(pair.grpc).await.create(&bodies::create()).await.unwrap();
    drop(pair);
    for (what, certified, cause) in [
        ("another authority's", other.host("localhost", NOW), "UnknownIssuer"),
        ("expired", authority.host("localhost", PAST), "expired"),
        ("for another host", authority.host("walmart.example", NOW), "not valid for name"),
    ] {
        let (mut pair, _folder) = in_front_of(&authority, &certified).await;
        let client = Client::connect(pair.grpc).await;
        for _ in 0..2 {
            let problem = client.create(&bodies::create()).await.unwrap_err();
            problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        }
        let (_, journal) = get(pair.emulator_address, "/_emulator/v1/requests").await;
        let journal: Value = serde_json::from_str(&journal).unwrap();
        assert_eq!(journal["requests"].as_array().unwrap().len(), 0, "{what}: {journal}");
        let line = pair.gateway.wait_for_line("no connection to Walmart");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["message"].as_str().unwrap().contains(cause), "{what}: {line}");
        assert_eq!(line["host"], "localhost");
        pair.gateway.terminate();
        let (_, rest) = pair.gateway.wait_for_end();
        let told = rest.iter().filter(|line| line.contains("no connection to Walmart")).count();
        assert_eq!(told, 1, "{what}: once, not once an attempt: {rest:#?}");
    }
}
