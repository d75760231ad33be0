//! The files of `[grpc.tls]`, and the certificates in use.
//!
//! Changed files replace the current ones together or not at all: files that do not belong together, are truncated, or
//! are expired or not yet valid leave the current certificates in use. New connections get the new certificates; open
//! connections keep theirs.

use std::io;
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::ReloadableTls;
use super::material::{CERT, CLIENT_CA, CertificateLifetimes, CertificateValidity, KEY, TlsFileError, TlsMaterial};
use crate::config;
use crate::config::files::{self, FileChanges};
use crate::ports::clock::Clock;
use crate::telemetry::metrics::CallerMetrics;

/// Largest file, in bytes; a machine's bundle of authorities has 200 to 300 KB.
const LARGEST: usize = 1024 * 1024;

/// Loads the TLS files and reloads them when they change.
pub(crate) struct TlsFiles {
    settings: config::TlsConfig,
    tls: ReloadableTls,
    changes: FileChanges,
    certificates: Vec<CertificateFile>,
    clock: Clock,
    metrics: CallerMetrics,
}

/// The certificates in use from one file.
struct CertificateFile {
    file: &'static str,
    lifetimes: CertificateLifetimes,
    /// The validity that was last logged.
    logged: CertificateValidity,
}

struct FileContent {
    file: &'static str,
    read: io::Result<Zeroizing<Vec<u8>>>,
}

impl TlsFiles {
    /// Loads the files for the first time. Certificates that have expired, or are not valid yet, are used all the same,
    /// with an error in the log: webhooks and the ledger go on without callers, and renewed files are picked up later.
    ///
    /// # Errors One line that names the key at fault.
    pub(crate) fn load(settings: &config::TlsConfig, clock: Clock, metrics: CallerMetrics) -> Result<Self, String> {
        let settings = settings.clone();
        let content = read(&settings);
        let now = fingerprint(&content);
        let material = material(&content, clock).map_err(|unusable| describe(&settings, &unusable))?;
        let tls = ReloadableTls::new(material.config.clone());
        let mut changes = FileChanges::default();
        changes.taken(now);
        let mut files = Self { settings, tls, changes, certificates: Vec::new(), clock, metrics };
        files.take(material);
        files.log_expiry();
        Ok(files)
    }

    /// The acceptor, which always uses the current certificates.
    pub(crate) fn tls(&self) -> ReloadableTls {
        self.tls.clone()
    }

    /// Reloads the files if they changed, and logs certificates near their end. To be called at intervals
    /// ([`files::poll`]).
    pub(crate) fn check(&mut self) {
        let content = read(&self.settings);
        let now = fingerprint(&content);
        if self.changes.settled(now) {
            match material(&content, self.clock).and_then(|material| self.check_validity(material)) {
                Ok(material) => {
                    self.changes.taken(now);
                    self.tls.current.store(material.config.clone());
                    self.take(material);
                    tracing::info!("the TLS files changed; new connections get the new certificates");
                }
                Err(unusable) => {
                    if self.changes.refused(now) {
                        self.metrics.tls_reloads_refused.inc();
                        let why = describe(&self.settings, &unusable);
                        tracing::warn!("the changed TLS files are refused, the current ones stay in use: {why}");
                    }
                }
            }
        }
        self.log_expiry();
    }

    /// Keep the current certificate if the new one does not validate.
    fn check_validity(&self, material: TlsMaterial) -> Result<TlsMaterial, TlsFileError> {
        let now = self.now();
        let validity = |(file, lifetimes): (&'static str, &CertificateLifetimes)| match lifetimes.validity(now) {
            CertificateValidity::Good | CertificateValidity::EndsSoon => Ok(()),
            CertificateValidity::NotYet => {
                Err(TlsFileError::new(file, format_args!("is not valid before {}", date(lifetimes.from()))))
            }
            CertificateValidity::Expired => {
                Err(TlsFileError::new(file, format_args!("has expired at {}", date(lifetimes.until()))))
            }
        };
        validity((CERT, &material.cert))?;
        material.client_ca.as_ref().map_or(Ok(()), |lifetimes| validity((CLIENT_CA, lifetimes)))?;
        Ok(material)
    }

    fn take(&mut self, material: TlsMaterial) {
        if let Some(order) = &material.order {
            tracing::warn!("grpc.tls.{CERT}: {} {order}", self.settings.cert_file.display());
        }
        let certificates = material.lifetimes().into_iter();
        let new = |(file, lifetimes)| CertificateFile { file, lifetimes, logged: CertificateValidity::Good };
        self.certificates = certificates.map(new).collect();
        for certificates in &self.certificates {
            self.metrics.tls_expires(certificates.file, certificates.lifetimes.until());
        }
    }

    /// Logs every certificate once when its end is near, and once when it has expired.
    fn log_expiry(&mut self) {
        let now = self.now();
        for CertificateFile { file, lifetimes, logged } in &mut self.certificates {
            let validity = lifetimes.validity(now);
            let before = std::mem::replace(logged, validity);
            if validity <= before {
                continue;
            }
            let (from, until) = (date(lifetimes.from()), date(lifetimes.until()));
            match validity {
                CertificateValidity::Good => {}
                CertificateValidity::EndsSoon => {
                    tracing::warn!("grpc.tls.{file}: expires soon, at {until}, and has not been renewed")
                }
                CertificateValidity::NotYet => {
                    tracing::error!("grpc.tls.{file}: is not valid before {from}; callers are refused")
                }
                CertificateValidity::Expired => {
                    tracing::error!("grpc.tls.{file}: has expired at {until}; callers are refused")
                }
            }
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.epoch_millis() / 1000).unwrap_or(i64::MAX)
    }
}

fn read(settings: &config::TlsConfig) -> Vec<FileContent> {
    let paths = [
        (CERT, Some(&settings.cert_file)),
        (KEY, Some(&settings.key_file)),
        (CLIENT_CA, settings.client_ca_file.as_ref()),
    ];
    let read = |(file, path): (&'static str, Option<&std::path::PathBuf>)| {
        Some(FileContent { file, read: files::read(path?, LARGEST) })
    };
    paths.into_iter().filter_map(read).collect()
}

fn fingerprint(content: &[FileContent]) -> u64 {
    files::fingerprint(content.iter().map(|content| &content.read))
}

fn material(content: &[FileContent], clock: Clock) -> Result<TlsMaterial, TlsFileError> {
    let mut texts = Vec::new();
    for FileContent { file, read } in content {
        match read {
            Ok(text) if text.len() > LARGEST => return Err(TlsFileError::new(file, "is larger than 1 MiB")),
            Ok(text) => texts.push(text.as_slice()),
            Err(error) => return Err(TlsFileError::new(file, format_args!("cannot be read: {error}"))),
        }
    }
    match texts.as_slice() {
        [cert, key] => TlsMaterial::read(cert, key, None, clock),
        [cert, key, client_ca] => TlsMaterial::read(cert, key, Some(client_ca), clock),
        _ => Err(TlsFileError::new(CERT, "is missing")),
    }
}

/// The error with its setting and file, for the log.
fn describe(settings: &config::TlsConfig, unusable: &TlsFileError) -> String {
    let path: &Path = match unusable.file {
        KEY => &settings.key_file,
        CLIENT_CA => settings.client_ca_file.as_deref().unwrap_or(Path::new("")),
        _ => &settings.cert_file,
    };
    format!("grpc.tls.{}: {} {unusable}", unusable.file, path.display())
}

/// Formats a time for people.
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}
