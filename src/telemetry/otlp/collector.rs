//! Connects to a collector, lazily and with timeouts; uses TLS for https addresses.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::plan::{ExportTarget, OtlpError};

/// Interval of keep-alive pings, which find a dead collector also between exports.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Prepares a connection. The first export connects, so an unreachable collector shows only then. Must run within the
/// runtime.
pub(super) fn connect(target: &ExportTarget) -> Result<Channel, OtlpError> {
    let wrong = |error: &dyn std::error::Error| OtlpError::Endpoint(chain(error));
    let endpoint = Endpoint::from_shared(target.endpoint.clone()).map_err(|error| wrong(&error))?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") => endpoint,
        Some("https") => endpoint.tls_config(tls(target)?).map_err(|error| wrong(&error))?,
        _ => return Err(OtlpError::Endpoint("must begin with http:// or https://".into())),
    };
    let endpoint = endpoint
        .timeout(target.timeout)
        .connect_timeout(target.timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(target.timeout)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

fn tls(target: &ExportTarget) -> Result<ClientTlsConfig, OtlpError> {
    let config = ClientTlsConfig::new();
    let config = match &target.certificate {
        Some(file) => config.ca_certificate(Certificate::from_pem(read(file)?)),
        None => config.with_enabled_roots(),
    };
    Ok(match &target.client {
        Some((certificate, key)) => config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        None => config,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, OtlpError> {
    fs::read(file).map_err(|error| OtlpError::Endpoint(format!("{}: {error}", file.display())))
}

/// Formats an error with all causes in a line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
