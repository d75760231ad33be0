//! Certificates for tests, and clients that trust them. Used by the tests of the crate's parts, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// From the first day of one year to that of another.
pub(crate) type Years = (i32, i32);

/// Good today and for the life of this code.
pub(crate) const NOW: Years = (2020, 2090);
pub(crate) const PAST: Years = (2020, 2021);
pub(crate) const FUTURE: Years = (2089, 2090);

/// Certificate and key, PEM.
pub(crate) type Pair = (String, String);

/// Issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::of(NOW)
    }

    /// Each has a name of its own.
    pub(crate) fn of(years: Years) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut params = params(years);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For the gateway.
    pub(crate) fn server(&self, years: Years) -> Pair {
        self.host("localhost", years)
    }

    /// For a server of this name.
    pub(crate) fn host(&self, name: &str, years: Years) -> Pair {
        self.issue(vec![SanType::DnsName(name.try_into().unwrap())], years)
    }

    /// For a caller.
    pub(crate) fn client(&self, name: &str, years: Years) -> Pair {
        self.issue(vec![SanType::URI(name.try_into().unwrap())], years)
    }

    /// For a caller whose certificate says nothing of who it is.
    pub(crate) fn nameless(&self) -> Pair {
        self.issue(Vec::new(), NOW)
    }

    fn issue(&self, names: Vec<SanType>, years: Years) -> Pair {
        let mut params = params(years);
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A client that trusts this authority.
    pub(crate) fn connector(&self, client: Option<&Pair>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn params((from, until): Years) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    params
}
