//! TLS of the gRPC listener: the handshake, the names in client certificates, and certificates that change while the
//! process runs ([`TlsFiles`]).

mod files;
mod material;
mod names;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{CertificateError, Error, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use self::files::TlsFiles;
pub(crate) use self::names::PeerNames;
use crate::accept::PeerStream;
use crate::telemetry::log_throttle::LogThrottle;

/// Time for a refused peer to read the TLS alert.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Encrypts connections, each with the certificates in use at the time of its handshake. Clones share the certificates.
#[derive(Clone)]
pub(crate) struct ReloadableTls {
    current: Arc<ArcSwap<ServerConfig>>,
    throttle: Arc<LogThrottle>,
}

impl ReloadableTls {
    fn new(config: Arc<ServerConfig>) -> Self {
        Self { current: Arc::new(ArcSwap::new(config)), throttle: Arc::default() }
    }

    /// Runs the handshake, and returns the names in the peer's certificate; no names without a certificate.
    ///
    /// # Errors The handshake failed. The failure is logged, unless the peer just left.
    pub(super) async fn accept(&self, stream: PeerStream) -> io::Result<(TlsStream<PeerStream>, PeerNames)> {
        let peer = stream.peer();
        let handshake = TlsAcceptor::from(self.current.load_full()).accept(stream).into_fallible().await;
        let stream = match handshake {
            Ok(stream) => stream,
            Err((error, stream)) => {
                if let Some(problem) = problem(&error) {
                    self.throttle.note(problem, |times| {
                        let peer = peer.map(tracing::field::display);
                        tracing::warn!(problem, peer, times, "a TLS handshake failed: {error}");
                    });
                }
                drain_peer(stream).await;
                return Err(error);
            }
        };
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map_or_else(PeerNames::default, PeerNames::of);
        Ok((stream, names))
    }
}

/// Reads until the peer stops sending, then closes. Closing with unread bytes sends a TCP reset, and the peer would
/// lose the alert with the reason for the refusal.
async fn drain_peer(mut stream: PeerStream) {
    let mut words = [0; 1024];
    let to_the_end = async {
        stream.shutdown().await?;
        while stream.read(&mut words).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the peer reads the alert does not matter to us.
    let _ = timeout(DRAIN_TIMEOUT, to_the_end).await;
}

/// Returns the failure's name for the log. Peers that just leave are not logged: load balancers probe whether the port
/// is open.
fn problem(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidMessage(_) => "not_tls",
        Error::NoCertificatesPresented => "no_certificate",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => "expired",
        // BadSignature is reported when an authority was replaced by another of the same name.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => "unknown_issuer",
        Error::InvalidCertificate(_) => "bad_certificate",
        // The peer does not trust our certificate, or closed with an alert.
        Error::AlertReceived(_) => "refused_by_peer",
        _ => "other",
    })
}
