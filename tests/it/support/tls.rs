//! The files of a gateway that speaks TLS.

use std::fs;

use super::authority::{Authority, NOW, Pair};

/// A folder with the gateway's certificate, its key, and the authority of its callers.
pub(crate) struct TlsFolder(tempfile::TempDir);

impl TlsFolder {
    /// All by one authority.
    pub(crate) fn new(authority: &Authority) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.fill(authority);
        folder
    }

    /// Replaces all of it.
    pub(crate) fn fill(&self, authority: &Authority) {
        let (cert, key) = authority.server(NOW);
        self.write("tls.crt", &cert);
        self.write("tls.key", &key);
        self.write("ca.crt", &authority.pem());
    }

    /// A certificate and its key, as `NAME.crt` and `NAME.key`.
    pub(crate) fn add(&self, name: &str, (cert, key): &Pair) {
        self.write(&format!("{name}.crt"), cert);
        self.write(&format!("{name}.key"), key);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// As settings.
    pub(crate) fn settings(&self, mtls: bool) -> String {
        let mut text = String::from("[grpc.tls]\n");
        for (key, file) in [("cert_file", "tls.crt"), ("key_file", "tls.key"), ("client_ca_file", "ca.crt")] {
            if mtls || key != "client_ca_file" {
                text.push_str(&format!("{key} = {:?}\n", self.path(file)));
            }
        }
        text
    }

    /// As environment variables.
    pub(crate) fn environment(&self, mtls: bool) -> Vec<(&'static str, String)> {
        let all = [("CERT_FILE", "tls.crt"), ("KEY_FILE", "tls.key"), ("CLIENT_CA_FILE", "ca.crt")];
        let variable = |key| match key {
            "CERT_FILE" => "ORDER_GATEWAY__GRPC__TLS__CERT_FILE",
            "KEY_FILE" => "ORDER_GATEWAY__GRPC__TLS__KEY_FILE",
            _ => "ORDER_GATEWAY__GRPC__TLS__CLIENT_CA_FILE",
        };
        let wanted = all.into_iter().filter(|(key, _)| mtls || *key != "CLIENT_CA_FILE");
        wanted.map(|(key, file)| (variable(key), self.path(file))).collect()
    }
}
