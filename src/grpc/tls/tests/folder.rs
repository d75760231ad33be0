//! Files of certificates for tests, and handshakes with them.

use std::fs;
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

pub(super) use self::authority::*;
use super::*;
use crate::config;

#[path = "../../../../tests/it/support/authority.rs"]
mod authority;

/// The files of `[grpc.tls]`.
pub(super) struct TlsFolder(tempfile::TempDir);

impl TlsFolder {
    pub(super) fn new((cert, key): &Pair, client_ca: Option<&str>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("cert", cert);
        folder.write("key", key);
        folder.write("ca", client_ca.unwrap_or_default());
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn settings(&self, mtls: bool) -> config::TlsConfig {
        let client_ca_file = mtls.then(|| self.path("ca"));
        config::TlsConfig { cert_file: self.path("cert"), key_file: self.path("key"), client_ca_file }
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

/// Shakes hands. The connection as both sides have it, and the names that the server sees; or the failure of the server.
pub(super) async fn shake(tls: &ReloadableTls, connector: &TlsConnector) -> io::Result<(ConnectedPair, PeerNames)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = async {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    };
    let accept = async { tls.accept(PeerStream::Tcp(listener.accept().await.unwrap().0)).await };
    let (client, server) = tokio::join!(connect, accept);
    let (server, names) = server?;
    assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    Ok((ConnectedPair { client: client?, server }, names))
}

pub(super) struct ConnectedPair {
    pub(super) client: tokio_rustls::client::TlsStream<TcpStream>,
    pub(super) server: TlsStream<PeerStream>,
}
