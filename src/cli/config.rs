//! `order-gateway config`: checks settings files, and prints the effective settings.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, print};
use crate::config::{self, Config, PREFIX, PostgresTls, SettingsFiles, StoreConfig};
use crate::grpc::tls::TlsFiles;
use crate::ports::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::{self, OtlpSettings};

const CHECK_EXAMPLE: &str = "\
Example:
  order-gateway config check --config settings.toml

Several --config are laid over each other and variables ORDER_GATEWAY__SECTION__KEY over them, as with `serve`. Values of
OTEL_* variables that would be ignored are told on stderr, and are no fault; nor are permitted settings that are
probably not meant.
Exit codes: 0 the settings are good, 2 they are not: each fault on its own line on stderr, with its key.";

const DUMP_EXAMPLE: &str = "\
Examples:
  order-gateway config dump > settings.toml
  ORDER_GATEWAY__WALMART__PROFILE=sandbox order-gateway config dump --config settings.toml

Exit codes: 0 done, 2 the settings are not good.";

/// Check settings, or print the effective ones
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report all faults of the settings at once
    #[command(after_help = CHECK_EXAMPLE)]
    Check {
        /// TOML file with the settings; may be repeated: keys of a later file win
        #[arg(long, value_name = "FILE", required = true)]
        config: Vec<PathBuf>,
    },
    /// Print the effective settings as TOML, explained, secrets redacted
    ///
    /// Without a file and without ORDER_GATEWAY__ variables it prints the defaults: a file to start from.
    #[command(after_help = DUMP_EXAMPLE)]
    Dump {
        /// TOML file with the settings; may be repeated: keys of a later file win
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
    },
}

pub(super) fn run(args: ConfigArgs) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Check { config } => {
            let config = load(&config)?;
            certificates(&config)?;
            for warning in config.warnings().into_iter().chain(otlp::warnings(&otlp_settings(&config), &variable)) {
                // A failed write means a closed output, and leaves no place to report it.
                let _ = writeln!(io::stderr().lock(), "{warning}");
            }
            print(&summary(&config))
        }
        ConfigCommand::Dump { config } => {
            let untouched = config.is_empty() && environment()?.is_empty();
            print(&if untouched { config::defaults() } else { load(&config)?.dump() })
        }
    }
}

/// Loads the settings from these files, a later file over an earlier one, and from the process environment.
pub(super) fn load(files: &[PathBuf]) -> Result<Config, Failure> {
    let files = settings_files(files)?;
    files.load(&files.read()).map_err(Failure::Usage)
}

/// The settings files, and the process environment laid over them.
pub(super) fn settings_files(files: &[PathBuf]) -> Result<SettingsFiles, Failure> {
    Ok(SettingsFiles::new(files.to_vec(), environment()?))
}

/// The environment variables that are settings. A variable that is not text is a fault: a lossy conversion would change
/// its value.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if !name.starts_with(PREFIX) {
            continue;
        }
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) => faults.push(format!("{}: must be UTF-8 text", name.escape_debug())),
        }
    }
    if faults.is_empty() { Ok(variables) } else { Err(Failure::Usage(faults)) }
}

/// The settings of the export.
pub(super) fn otlp_settings(config: &Config) -> OtlpSettings {
    OtlpSettings {
        endpoint: config.telemetry.otlp_endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        sample_ratio: config.telemetry.trace_sample_ratio,
    }
}

/// A variable of the process environment.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Refuses certificates which `serve` would refuse.
fn certificates(config: &Config) -> Result<(), Failure> {
    let Some(files) = &config.grpc.tls else { return Ok(()) };
    let loaded = TlsFiles::load(files, Clock::system(), Metrics::new([]).callers);
    loaded.map(drop).map_err(|line| Failure::Usage(vec![line]))
}

fn summary(config: &Config) -> String {
    let Config { grpc, http, admin, store, walmart, accounts, clients, .. } = config;
    let ids: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
    let names: Vec<_> = clients.iter().map(|client| client.name.as_str()).collect();
    let store = match store {
        StoreConfig::Sqlite(path) => format!("sqlite, {}", path.display()),
        StoreConfig::Postgres(postgres) => {
            let tls = if postgres.tls == PostgresTls::Off { "no TLS" } else { "TLS" };
            format!("{}, {tls}, schema {}", postgres.url, postgres.schema)
        }
    };
    let operators = admin.listen.map_or_else(String::new, |listen| format!("  Admin     {listen}\n"));
    let callers = if names.is_empty() { "everyone on this machine".to_owned() } else { names.join(", ") };
    format!(
        "The settings are good.\n  gRPC      {}{}\n  HTTP      {}\n{operators}  Walmart   {}, {}\n  Store     {store}\n  \
         Accounts  {}\n  Callers   {callers}\n",
        grpc.listen,
        if grpc.tls.is_some() { ", TLS" } else { "" },
        http.listen,
        walmart.profile.name(),
        walmart.base_url,
        ids.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str =
        "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"k\"\nclient_secret = \"canary\"\n";

    fn with_file(text: &[u8]) -> Result<Config, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        fs::write(&file, text).unwrap();
        load(&[file])
    }

    #[test]
    fn a_good_file_is_summed_up_without_secrets() {
        let expected = "\
The settings are good.
  gRPC      127.0.0.1:50051
  HTTP      127.0.0.1:8080
  Walmart   production, https://marketplace.walmartapis.com/
  Store     sqlite, order-gateway.db
  Accounts  acme
  Callers   everyone on this machine
";
        assert_eq!(summary(&with_file(GOOD.as_bytes()).unwrap()), expected);
    }

    #[test]
    fn each_fault_has_its_line() {
        let bad = GOOD.replace("partner_id = \"1\"\n", "") + "mart = 1\n";
        let Err(Failure::Usage(lines)) = with_file(bad.as_bytes()) else { panic!("accepted") };
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("accounts.acme.partner_id: is required"), "{lines:?}");
        assert!(lines[1].starts_with("accounts.acme.mart: unknown key"), "{lines:?}");
    }

    #[test]
    fn what_cannot_be_read_is_one_line() {
        let missing = load(&["/not/there.toml".into()]);
        let line = "/not/there.toml: cannot be read: No such file or directory (os error 2)";
        assert_eq!(missing.map(|_| ()), Err(Failure::Usage(vec![line.into()])));
        for (text, start) in [(&b"a = \n"[..], "line 1, column "), (b"\xff", "/")] {
            let Err(Failure::Usage(lines)) = with_file(text) else { panic!("accepted") };
            assert!(lines.len() == 1 && lines[0].starts_with(start), "{lines:?}");
        }
    }
}
