//! Who a certificate speaks for.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The URI and DNS names in a peer's verified certificate. The listener puts them into every request of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNames(Arc<[String]>);

impl PeerNames {
    /// Names in any order.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Of a certificate that was verified; one without names, or unreadable to us, speaks for nobody.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
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

    /// One of them, to be told to the log.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}
