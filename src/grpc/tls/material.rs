//! Parses PEM files into the settings of a TLS server, and reads the validity of their certificates.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{Error, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::ports::clock::Clock;

pub(super) const CERT: &str = "cert_file";
pub(super) const KEY: &str = "key_file";
pub(super) const CLIENT_CA: &str = "client_ca_file";

/// Seconds before the end of a certificate at which the log warns that no renewal has come. Shorter for short-lived
/// certificates: a tenth of their lifetime.
const SOON: i64 = 7 * 24 * 60 * 60;

/// A TLS file that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct TlsFileError {
    /// The file's key in `[grpc.tls]`.
    pub(super) file: &'static str,
    what: String,
}

impl TlsFileError {
    pub(super) fn new(file: &'static str, what: impl fmt::Display) -> Self {
        Self { file, what: what.to_string() }
    }
}

/// The TLS settings built from the files.
pub(super) struct TlsMaterial {
    pub(super) config: Arc<ServerConfig>,
    /// Validity of the gateway's own certificate. Callers judge the rest of the chain.
    pub(super) cert: CertificateLifetimes,
    /// Validity of the callers' authorities.
    pub(super) client_ca: Option<CertificateLifetimes>,
}

impl TlsMaterial {
    /// Parses PEM text: the certificate with its chain, the key, and the CA of clients (with which every client must
    /// present a certificate: mTLS). The validity of these certificates is not checked; callers' certificates are
    /// verified at the time of `clock`.
    pub(super) fn read(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>, clock: Clock) -> Result<Self, TlsFileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(CERT, cert)?;
        let lifetimes = CertificateLifetimes::of(CERT, chain.iter().take(1))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsFileError::new(KEY, pem_fault(&error, "private key")))?;
        let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(ClockTime(clock)))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFileError::new(CERT, error))?;
        let (builder, client_ca) = match client_ca {
            None => (builder.with_no_client_auth(), None),
            Some(ca) => {
                let authorities = certificates(CLIENT_CA, ca)?;
                let lifetimes = CertificateLifetimes::of(CLIENT_CA, &authorities)?;
                let mut roots = RootCertStore::empty();
                for certificate in authorities {
                    roots.add(certificate).map_err(|error| TlsFileError::new(CLIENT_CA, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build().map_err(|error| TlsFileError::new(CLIENT_CA, error))?;
                (builder.with_client_cert_verifier(verifier), Some(lifetimes))
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsFileError::new(KEY, "is not the key of the certificate"),
            Error::InvalidCertificate(_) => TlsFileError::new(CERT, error),
            other => TlsFileError::new(KEY, other),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if client_ca.is_some() {
            // A resumed session is not verified again, and would outlive the certificate of its first handshake.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), cert: lifetimes, client_ca })
    }

    /// The certificates with the key of their file.
    pub(super) fn lifetimes(self) -> Vec<(&'static str, CertificateLifetimes)> {
        let client_ca = self.client_ca.map(|lifetimes| (CLIENT_CA, lifetimes));
        std::iter::once((CERT, self.cert)).chain(client_ca).collect()
    }
}

#[derive(Debug)]
struct ClockTime(Clock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.epoch_millis())))
    }
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) });
    all.map_err(|error| TlsFileError::new(file, pem_fault(&error, "certificate")))
}

fn pem_fault(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM"),
        pem::Error::MissingSectionEnd { .. } => "ends in the middle of a PEM section".to_owned(),
        other => format!("is not PEM: {other}"),
    }
}

/// Validity periods of interchangeable certificates, in seconds since 1970.
#[derive(Debug)]
pub(super) struct CertificateLifetimes(Vec<(i64, i64)>);

/// Validity of certificates at a given time, ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CertificateValidity {
    Good,
    /// Valid, but near the end.
    EndsSoon,
    NotYet,
    Expired,
}

impl CertificateLifetimes {
    fn of<'c>(
        file: &'static str,
        certificates: impl IntoIterator<Item = &'c CertificateDer<'static>>,
    ) -> Result<Self, TlsFileError> {
        let lifetime = |certificate: &CertificateDer<'_>| match X509Certificate::from_der(certificate) {
            Ok((_, read)) => Ok((read.validity().not_before.timestamp(), read.validity().not_after.timestamp())),
            Err(_) => Err(TlsFileError::new(file, "holds a certificate that cannot be read")),
        };
        certificates.into_iter().map(lifetime).collect::<Result<_, _>>().map(Self)
    }

    /// The latest end of the certificates.
    pub(super) fn until(&self) -> i64 {
        self.0.iter().map(|(_, until)| *until).max().unwrap_or(i64::MIN)
    }

    /// The earliest beginning of the certificates.
    pub(super) fn from(&self) -> i64 {
        self.0.iter().map(|(from, _)| *from).min().unwrap_or(i64::MAX)
    }

    /// Returns the validity of the best certificate.
    pub(super) fn validity(&self, now: i64) -> CertificateValidity {
        let one = |(from, until): &(i64, i64)| {
            let soon = SOON.min(until.saturating_sub(*from) / 10);
            match now {
                _ if now > *until => CertificateValidity::Expired,
                _ if now < *from => CertificateValidity::NotYet,
                _ if until.saturating_sub(now) < soon => CertificateValidity::EndsSoon,
                _ => CertificateValidity::Good,
            }
        };
        self.0.iter().map(one).min().unwrap_or(CertificateValidity::Expired)
    }
}
