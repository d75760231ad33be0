//! Connects commands to a gateway, in plaintext or with TLS.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{fs, io};

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::GatewayAddress;

/// TLS options; plaintext without any of them.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TlsArgs {
    /// Use TLS, and trust the authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Name in the gateway's certificate; by default the host of the address
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
    /// Client certificate for a gateway that requires one (mTLS), PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// TLS settings built from the files.
pub(super) struct ClientTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsArgs {
    /// Reads the files; `None` for plaintext.
    ///
    /// # Errors One line that names the option and the file.
    pub(super) fn read(&self, addr: &GatewayAddress) -> Result<Option<ClientTls>, String> {
        let Some(ca) = &self.tls_ca else { return Ok(None) };
        let name = match (&self.tls_server_name, addr) {
            (Some(name), _) => name.clone(),
            (None, GatewayAddress::Tcp(addr)) => {
                addr.rsplit_once(':').map_or(addr.as_str(), |(host, _)| host).trim_matches(['[', ']']).to_owned()
            }
            (None, GatewayAddress::Unix(_)) => {
                return Err("--tls-server-name: must be given where --addr is a Unix socket, which has no name".into());
            }
        };
        let name = ServerName::try_from(name).map_err(|_| "--tls-server-name: must be a DNS name or an IP address")?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--tls-ca", ca)? {
            roots.add(certificate).map_err(|error| format!("--tls-ca: {}: {error}", ca.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS: {error}"))?.with_root_certificates(roots);
        let mut config = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let fault = |error: &dyn std::fmt::Display| format!("--tls-key: {}: {error}", key.display());
                let chain = certificates("--tls-cert", cert)?;
                let text = fs::read(key).map_err(|error| fault(&error))?;
                let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| fault(&"holds no private key in PEM"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| fault(&error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(ClientTls { connector: TlsConnector::from(Arc::new(config)), name }))
    }
}

fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{option}: {}: {error}", file.display());
    let text = fs::read(file).map_err(|error| fault(&error))?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(fault(&"holds no certificate in PEM, or is cut off")),
    }
}

/// A connection to a gateway.
pub(super) struct GatewayConnection {
    pub(super) channel: Channel,
    broke: BrokenCause,
}

/// The error that broke the connection. The HTTP/2 client above often knows only that the connection is closed: a
/// certificate is refused after the handshake, when the first call is on its way.
type BrokenCause = Arc<OnceLock<String>>;

impl GatewayConnection {
    /// Explains in one line why a call failed because its connection broke.
    pub(super) fn why(&self, error: &dyn Error) -> String {
        self.broke.get().cloned().unwrap_or_else(|| innermost(error))
    }
}

/// Connects to a gateway.
///
/// # Errors The cause, in one line.
pub(super) async fn connect(addr: &GatewayAddress, tls: Option<ClientTls>) -> Result<GatewayConnection, String> {
    let authority = match addr {
        GatewayAddress::Tcp(addr) => addr.as_str(),
        GatewayAddress::Unix(_) => "localhost",
    };
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|error| error.to_string())?;
    let broke = BrokenCause::default();
    let connected = match (addr, tls) {
        (GatewayAddress::Tcp(_), None) => endpoint.connect().await,
        (addr, tls) => {
            let (addr, tls, broke) = (addr.clone(), tls.map(Arc::new), broke.clone());
            let connector = tower::service_fn(move |_| {
                let (addr, tls, broke) = (addr.clone(), tls.clone(), broke.clone());
                async move {
                    let io: Box<dyn AnyStream> = match tls {
                        None => dial(&addr).await?,
                        Some(tls) => Box::new(tls.connector.connect(tls.name.clone(), dial(&addr).await?).await?),
                    };
                    Ok::<_, io::Error>(TokioIo::new(NotedStream { io, broke }))
                }
            });
            endpoint.connect_with_connector(connector).await
        }
    };
    let channel = connected.map_err(|error| broke.get().cloned().unwrap_or_else(|| innermost(&error)))?;
    Ok(GatewayConnection { channel, broke })
}

/// A connection of any kind.
trait AnyStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<I: AsyncRead + AsyncWrite + Send + Unpin> AnyStream for I {}

async fn dial(addr: &GatewayAddress) -> io::Result<Box<dyn AnyStream>> {
    Ok(match addr {
        GatewayAddress::Tcp(addr) => Box::new(TcpStream::connect(addr).await?),
        GatewayAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// A stream that notes the first read error.
struct NotedStream<I> {
    io: I,
    broke: BrokenCause,
}

impl<I: AsyncRead + Unpin> AsyncRead for NotedStream<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.broke.get_or_init(|| error.to_string());
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for NotedStream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The innermost cause: outer errors say only that something went wrong.
fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
