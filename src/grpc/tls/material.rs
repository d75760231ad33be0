//! Parses PEM files into the settings of a TLS server, and reads the validity of their certificates.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{Error, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::ports::clock::Clock;

pub(super) const CERT: &str = "cert_file";
pub(super) const KEY: &str = "key_file";
pub(super) const CLIENT_CA: &str = "client_ca_file";

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private key";

/// Byte order marks, which editors put before a text.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Longest subject in a message, in characters.
const MAX_SUBJECT: usize = 100;

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
    /// Describes the first two certificates of the chain that are in the wrong order; `None` for a chain in order. Some
    /// clients refuse a chain in the wrong order.
    pub(super) order: Option<String>,
}

impl TlsMaterial {
    /// Parses PEM text: the certificate with its chain, the key, and the CA of clients (with which every client must
    /// present a certificate: mTLS). The validity of these certificates is not checked; callers' certificates are
    /// verified at the time of `clock`.
    pub(super) fn read(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>, clock: Clock) -> Result<Self, TlsFileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(CERT, cert)?;
        let lifetimes = CertificateLifetimes::of(CERT, chain.iter().take(1))?;
        let key = pem_of(KEY, key, PRIVATE_KEY, PrivateKeyDer::from_pem_slice)?;
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
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = verifier.build().map_err(|error| TlsFileError::new(CLIENT_CA, error))?;
                (builder.with_client_cert_verifier(verifier), Some(lifetimes))
            }
        };
        let order = out_of_order(&chain);
        let mut config = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(|error| match error {
            Error::InconsistentKeys(_) => not_a_pair(&chain, key, &provider),
            Error::InvalidCertificate(_) => TlsFileError::new(CERT, error),
            other => TlsFileError::new(KEY, other),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if client_ca.is_some() {
            // A resumed session is not verified again, and would outlive the certificate of its first handshake.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), cert: lifetimes, client_ca, order })
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
    pem_of(file, pem, CERTIFICATE, |pem| {
        let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) }
    })
}

/// Parses a file. The parser passes over what it does not know, also over a section whose first line begins with a byte
/// order mark.
fn pem_of<T>(
    file: &'static str,
    text: &[u8],
    wanted: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsFileError> {
    let fault = |what: String| TlsFileError::new(file, what);
    if text.windows(UTF8_MARK.len()).any(|bytes| bytes == UTF8_MARK) {
        return Err(fault("has a byte order mark: save it as UTF-8 without one".to_owned()));
    }
    if UTF16_MARKS.iter().any(|mark| text.starts_with(mark)) {
        return Err(fault("is UTF-16: save it as UTF-8 without a byte order mark".to_owned()));
    }
    parse(text).map_err(|error| {
        fault(match error {
            pem::Error::NoItemsFound => match found(text, wanted) {
                Some(found) => format!("holds no {wanted} in PEM, but {found}"),
                None => format!("holds no {wanted} in PEM"),
            },
            pem::Error::MissingSectionEnd { .. } => "ends in the middle of a PEM section".to_owned(),
            other => format!("is not PEM: {other}"),
        })
    })
}

/// What a file without the wanted sections holds, as people mix up files.
fn found(text: &[u8], wanted: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 4] = [
        ("BEGIN ENCRYPTED PRIVATE KEY", "a private key that is encrypted: the gateway has no passphrase"),
        ("PRIVATE KEY-----", "a private key"),
        ("BEGIN CERTIFICATE REQUEST", "a request for a certificate"),
        ("BEGIN CERTIFICATE-----", "a certificate"),
    ];
    let has = |part: &str| text.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    let kind = KINDS.into_iter().find(|(begin, _)| has(begin)).map(|(_, kind)| kind);
    // A sequence with a long length, as certificates and keys are in DER.
    let kind = kind.or_else(|| text.starts_with(b"\x30\x82").then_some("DER"));
    kind.filter(|kind| kind.strip_prefix("a ") != Some(wanted))
}

/// Tells which file is wrong when the key is not that of the first certificate.
fn not_a_pair(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> TlsFileError {
    let key = provider.key_provider.load_private_key(key);
    let is_of_key = |certificate: &CertificateDer<'static>| {
        key.as_ref().is_ok_and(|key| CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match().is_ok())
    };
    match chain.iter().position(is_of_key) {
        Some(at) => TlsFileError::new(
            CERT,
            format_args!(
                "has its certificates in the wrong order: the key is that of number {}, {}, which must be the first",
                at + 1,
                subject(&chain[at])
            ),
        ),
        None => TlsFileError::new(
            KEY,
            format_args!(
                "is not the key of the certificate in {CERT}, {}",
                chain.first().map(subject).unwrap_or_default()
            ),
        ),
    }
}

/// Describes the first two certificates that are in the wrong order. In a chain in order, each certificate is issued by
/// the certificate that follows.
fn out_of_order(chain: &[CertificateDer<'_>]) -> Option<String> {
    let names: Vec<_> = chain.iter().map(|one| X509Certificate::from_der(one).ok()).collect::<Option<_>>()?;
    let at = names.windows(2).position(|pair| pair[0].1.issuer() != pair[1].1.subject())?;
    let (one, next) = (subject(&chain[at]), subject(&chain[at + 1]));
    Some(format!(
        "has its certificates in the wrong order: number {}, {next}, is not the issuer of number {}, {one}; clients may \
         refuse the chain",
        at + 2,
        at + 1,
    ))
}

/// The subject of a certificate for a line of text.
fn subject(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return "unreadable".to_owned() };
    let text = read.subject().to_string();
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_SUBJECT).collect();
    format!("`{text}`")
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
