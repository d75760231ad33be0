//! TLS of the gRPC listener, and the names of those who show a certificate.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Encrypts connections. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>);

impl Tls {
    /// Asks `current` for each connection, so that certificates can change without a restart.
    pub fn new(current: impl Fn() -> Arc<ServerConfig> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    /// The handshake. Tells the names of the peer too; none without a certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, PeerNames)> {
        let stream = TlsAcceptor::from((self.0)()).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map_or_else(|| PeerNames::new([]), PeerNames::of);
        Ok((stream, names))
    }
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing of the kind in it.
    #[error("{what}: {source}")]
    Pem {
        /// Which of the files.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// They do not fit together, or are of an unknown kind.
    #[error("the certificate, its key or the client CA cannot be used: {0}")]
    Unusable(String),
}

/// Settings from PEM text: the certificate with its chain, its key, and the CA of clients (then each must show a
/// certificate: mTLS).
pub fn server_config(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("cert_file", cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "key_file", source })?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca_file", ca)? {
                roots.add(certificate).map_err(|e| unusable(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(&e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| unusable(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(TlsError::Pem { what, source: rustls::pki_types::pem::Error::NoItemsFound }),
        Ok(all) => Ok(all),
        Err(source) => Err(TlsError::Pem { what, source }),
    }
}

/// The URI and DNS names in a peer's verified certificate. The listener puts them into every request of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNames(Arc<[String]>);

impl PeerNames {
    /// Names in any order.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Of a certificate that was verified; one without names, or unreadable to us, speaks for nobody.
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Self::new([]) };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Self::new([]) };
        Self::new(names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }))
    }

    /// Whether the certificate holds this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        /// Certificate and key as PEM.
        fn issue(&self, name: SanType) -> (String, String) {
            let mut params = CertificateParams::new([]).unwrap();
            params.subject_alt_names = vec![name];
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
        }
    }

    /// The names that the server sees, or the failure of either side.
    async fn handshake(authority: &Authority, client: Option<(String, String)>) -> io::Result<PeerNames> {
        let (cert, key) = authority.issue(SanType::DnsName("localhost".try_into().unwrap()));
        let ca = authority.0.pem();
        let config = server_config(cert.as_bytes(), key.as_bytes(), Some(ca.as_bytes())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config_of_client = match client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates("cert", cert.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config_of_client.alpn_protocols = vec![b"h2".to_vec()];
        let connect = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(Arc::new(config_of_client)).connect(name, stream).await
        };
        let accept = async { Tls::new(move || config.clone()).accept(listener.accept().await.unwrap().0).await };
        let (client, server) = tokio::join!(connect, accept);
        let (server, names) = server?;
        assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        drop(client);
        Ok(names)
    }

    #[tokio::test]
    async fn a_client_is_known_by_the_names_of_its_certificate() {
        let authority = Authority::new();
        let spiffe = || SanType::URI("spiffe://acme/oms".try_into().unwrap());
        let names = handshake(&authority, Some(authority.issue(spiffe()))).await.unwrap();
        assert!(names.contains("spiffe://acme/oms") && !names.contains("spiffe://acme/other"));
        assert!(handshake(&authority, None).await.is_err(), "mTLS asks for a certificate");
        assert!(handshake(&authority, Some(Authority::new().issue(spiffe()))).await.is_err(), "another CA's");
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let (cert, key) = Authority::new().issue(SanType::DnsName("localhost".try_into().unwrap()));
        let (_, other) = Authority::new().issue(SanType::DnsName("localhost".try_into().unwrap()));
        let error = |cert: &str, key: &str, ca: Option<&[u8]>| {
            server_config(cert.as_bytes(), key.as_bytes(), ca).unwrap_err().to_string()
        };
        assert!(error("x", &key, None).starts_with("cert_file: "));
        assert!(error(&cert, "x", None).starts_with("key_file: "));
        assert!(error(&cert, &key, Some(b"x")).starts_with("client_ca_file: "));
        assert!(error(&cert, &other, None).contains("cannot be used"));
    }
}
