//! The files of `[grpc.tls]` and what is in force of them.
//!
//! New files are taken together or not at all: what does not fit together, is cut off, or is not of this time leaves those
//! before in force. New connections get the new ones; those that are open go on with what they began with.

use std::io;
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::ReloadableTls;
use super::material::{CERT, CLIENT_CA, CertificateLifetimes, CertificateValidity, KEY, TlsFileError, TlsMaterial};
use crate::config;
use crate::config::files::{self, FileChanges};
use crate::ports::clock::Clock;
use crate::telemetry::metrics::CallerMetrics;

/// Bytes of one file; a machine's whole bundle of authorities has 200 to 300 KB.
const LARGEST: usize = 1024 * 1024;

/// See the module.
pub struct TlsFiles {
    settings: config::TlsConfig,
    tls: ReloadableTls,
    changes: FileChanges,
    certificates: Vec<CertificateFile>,
    clock: Clock,
    metrics: CallerMetrics,
}

/// Those in force of one file.
struct CertificateFile {
    file: &'static str,
    lifetimes: CertificateLifetimes,
    /// What the log was told of them.
    told: CertificateValidity,
}

struct FileContent {
    file: &'static str,
    read: io::Result<Zeroizing<Vec<u8>>>,
}

impl TlsFiles {
    /// Reads them for the first time. Certificates that have expired, or are not good yet, are used all the same, with an
    /// error in the log: webhooks and the ledger go on without callers, and new ones are picked up when they come.
    ///
    /// # Errors
    /// One line that names the key at fault.
    pub fn load(settings: &config::TlsConfig, clock: Clock, metrics: CallerMetrics) -> Result<Self, String> {
        let settings = settings.clone();
        let content = read(&settings);
        let now = fingerprint(&content);
        let material = material(&content, clock).map_err(|unusable| line(&settings, &unusable))?;
        let tls = ReloadableTls::new(material.config.clone());
        let mut changes = FileChanges::default();
        changes.taken(now);
        let mut files = Self { settings, tls, changes, certificates: Vec::new(), clock, metrics };
        files.take(material);
        files.tell();
        Ok(files)
    }

    /// What encrypts with what is in force.
    pub fn tls(&self) -> ReloadableTls {
        self.tls.clone()
    }

    /// Reads them again, and looks whether it is still their time. To be asked again and again ([`files::poll`]).
    pub fn check(&mut self) {
        let content = read(&self.settings);
        let now = fingerprint(&content);
        if self.changes.settled(now) {
            match material(&content, self.clock).and_then(|material| self.timely(material)) {
                Ok(material) => {
                    self.changes.taken(now);
                    self.tls.current.store(material.config.clone());
                    self.take(material);
                    tracing::info!("the TLS files changed; new connections get the new certificates");
                }
                Err(unusable) => {
                    if self.changes.refused(now) {
                        self.metrics.tls_reloads_refused.inc();
                        let why = line(&self.settings, &unusable);
                        tracing::warn!("the changed TLS files are refused, those before stay: {why}");
                    }
                }
            }
        }
        self.tell();
    }

    /// What is in force must not be replaced by what nobody could use.
    fn timely(&self, material: TlsMaterial) -> Result<TlsMaterial, TlsFileError> {
        let now = self.now();
        let standing = |(file, lifetimes): (&'static str, &CertificateLifetimes)| match lifetimes.standing(now) {
            CertificateValidity::Good | CertificateValidity::EndsSoon => Ok(()),
            CertificateValidity::NotYet => {
                Err(TlsFileError::new(file, format_args!("is not good before {}", date(lifetimes.from()))))
            }
            CertificateValidity::Expired => {
                Err(TlsFileError::new(file, format_args!("has expired at {}", date(lifetimes.until()))))
            }
        };
        standing((CERT, &material.cert))?;
        material.client_ca.as_ref().map_or(Ok(()), |lifetimes| standing((CLIENT_CA, lifetimes)))?;
        Ok(material)
    }

    fn take(&mut self, material: TlsMaterial) {
        let certificates = material.lifetimes().into_iter();
        let new = |(file, lifetimes)| CertificateFile { file, lifetimes, told: CertificateValidity::Good };
        self.certificates = certificates.map(new).collect();
        for certificates in &self.certificates {
            self.metrics.tls_expires(certificates.file, certificates.lifetimes.until());
        }
    }

    /// Says once when the end is near, and once when it has come.
    fn tell(&mut self) {
        let now = self.now();
        for CertificateFile { file, lifetimes, told } in &mut self.certificates {
            let standing = lifetimes.standing(now);
            let before = std::mem::replace(told, standing);
            if standing <= before {
                continue;
            }
            let (from, until) = (date(lifetimes.from()), date(lifetimes.until()));
            match standing {
                CertificateValidity::Good => {}
                CertificateValidity::EndsSoon => {
                    tracing::warn!("grpc.tls.{file}: expires soon, at {until}; nothing has renewed it")
                }
                CertificateValidity::NotYet => {
                    tracing::error!("grpc.tls.{file}: is not good before {from}; callers are refused")
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

/// With the key and the file that it names.
fn line(settings: &config::TlsConfig, unusable: &TlsFileError) -> String {
    let path: &Path = match unusable.file {
        KEY => &settings.key_file,
        CLIENT_CA => settings.client_ca_file.as_deref().unwrap_or(Path::new("")),
        _ => &settings.cert_file,
    };
    format!("grpc.tls.{}: {} {unusable}", unusable.file, path.display())
}

/// For people.
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}
