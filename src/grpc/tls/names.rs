//! The names in a client certificate.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::config::SubjectAltName;

/// The URI and DNS names in a peer's verified certificate. The listener adds them to every request of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames(Arc<CertificateNames>);

#[derive(Debug, Default, PartialEq, Eq)]
struct CertificateNames {
    uris: Vec<String>,
    /// DNS names, for the log only.
    dns: Vec<String>,
    /// The certificate, for matching DNS names; `None` without DNS names.
    certificate: Option<CertificateDer<'static>>,
}

impl PeerNames {
    /// Reads the names of a verified certificate. A certificate without names, or one that cannot be parsed, has none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Self::default() };
        let Ok(Some(names)) = parsed.subject_alternative_name() else { return Self::default() };
        let (mut uris, mut dns) = (Vec::new(), Vec::new());
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(name) => uris.push((*name).to_owned()),
                GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                _ => {}
            }
        }
        let certificate = (!dns.is_empty()).then(|| certificate.clone().into_owned());
        Self(Arc::new(CertificateNames { uris, dns, certificate }))
    }

    /// Whether the certificate holds this name, as a name of the same kind. A URI matches byte by byte. A DNS name
    /// matches as in RFC 6125: in any case, and a `*` that is the whole left-most label of the certificate's name
    /// stands for one label.
    pub(crate) fn contains(&self, name: &SubjectAltName) -> bool {
        match name {
            SubjectAltName::Uri(uri) => self.0.uris.contains(uri),
            SubjectAltName::Dns(name) => self.0.certificate.as_ref().is_some_and(|certificate| {
                let name = ServerName::DnsName(name.borrow());
                EndEntityCert::try_from(certificate)
                    .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
            }),
        }
    }

    /// One of the names, for the log.
    pub(crate) fn first(&self) -> Option<&str> {
        self.0.uris.iter().chain(&self.0.dns).map(String::as_str).next()
    }

    /// Names of a certificate issued for them.
    #[cfg(test)]
    pub(crate) fn of_names(uris: &[&str], dns: &[&str]) -> Self {
        use rcgen::{CertificateParams, KeyPair, SanType};

        let mut params = CertificateParams::new([]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names =
            uris.chain(dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()))).collect();
        Self::of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(dns: &[&str], name: &str) -> bool {
        PeerNames::of_names(&[], dns).contains(&SubjectAltName::parse(name).unwrap())
    }

    #[test]
    fn dns_names_match_in_any_case_and_whole() {
        for (presented, name, matches) in [
            ("oms.acme.com", "oms.acme.com", true),
            ("OMS.Acme.COM", "oms.acme.com", true),
            ("oms.acme.com", "OMS.acme.com", true),
            ("oms.acme.com", "oms.acme.com.", true),
            ("oms.acme.com", "acme.com", false),
            ("acme.com", "oms.acme.com", false),
            ("oms.acme.com.evil.org", "oms.acme.com", false),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", true),
        ] {
            assert_eq!(holds(&[presented], name), matches, "{presented} for {name}");
        }
    }

    #[test]
    fn a_wildcard_is_one_whole_label_at_the_left() {
        for (presented, name, matches) in [
            ("*.acme.com", "oms.acme.com", true),
            ("*.ACME.com", "OMS.acme.com", true),
            ("*.acme.com", "acme.com", false),
            ("*.acme.com", "a.oms.acme.com", false),
            ("o*.acme.com", "oms.acme.com", false),
            ("*s.acme.com", "oms.acme.com", false),
            ("oms.*.com", "oms.acme.com", false),
            ("*.*.com", "oms.acme.com", false),
            ("*.com", "oms.acme.com", false),
            ("*", "oms", false),
        ] {
            assert_eq!(holds(&[presented], name), matches, "{presented} for {name}");
        }
        assert!(holds(&["not a name", "oms.acme.com"], "oms.acme.com"), "others that are malformed do not matter");
    }

    #[test]
    fn names_of_one_kind_do_not_stand_for_another() {
        let uri = SubjectAltName::parse("spiffe://x/one").unwrap();
        assert!(!PeerNames::of_names(&[], &["spiffe://x/one"]).contains(&uri));
        assert!(PeerNames::of_names(&["spiffe://x/one"], &[]).contains(&uri));
        assert!(!PeerNames::of_names(&["spiffe://X/one"], &[]).contains(&uri));
        assert!(!PeerNames::of_names(&["spiffe://*/one"], &[]).contains(&uri));
        let dns = SubjectAltName::parse("oms.acme.com").unwrap();
        assert!(!PeerNames::of_names(&["oms.acme.com", "dns:oms.acme.com"], &[]).contains(&dns));
    }
}
