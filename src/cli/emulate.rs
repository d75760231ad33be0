//! `order-gateway emulate`: the Walmart emulator alone, for other teams' tests too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::HeaderName;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::config::listen_address;
use crate::emulator::posting::{self, DeliveryProof, WebhookTarget};
use crate::emulator::{self, DuplicatePolicy, Emulator, EmulatorOptions, FaultRules};

const EXAMPLE: &str = "\
Example, the curl line in a second terminal:
  order-gateway emulate --seed 7 --limit-scale 100
  curl -s -u id:secret -H 'Accept: application/json' -H 'WM_SVC.NAME: x' -H 'WM_QOS.CORRELATION_ID: 1' \\
    -d grant_type=client_credentials http://127.0.0.1:8090/v3/token

Exit codes: 0 stopped, 1 failed (a port taken too), 2 bad usage or bad faults.";

/// Run the stateful Walmart emulator alone, to test any client against it
///
/// It answers token, promise, create, cancel and status. Any client id and secret get a token. It knows SKU-1, any
/// sales channel and the order sellername001ABC123. State lives in memory and ends with the process;
/// docs/EMULATOR.md describes the control API under /_emulator/v1.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = format!("{EXAMPLE}\n\n{}", emulator::magic::help()))]
pub(super) struct EmulateArgs {
    /// Listening address; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090", value_parser = listen_address)]
    listen: SocketAddr,

    /// Seed of all values that look random
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// TOML file with faults: a seed and any number of [[fault]]
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,

    /// Answer to a create with a used order number: a second order, or 409
    #[arg(long, value_enum, default_value_t = DuplicatesArg::Accept)]
    duplicates: DuplicatesArg,

    /// Factor on Walmart's published rate limits; above 0
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = limit_scale)]
    limit_scale: f64,

    /// PEM file with the certificate chain: serve TLS, with HTTP/2
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Target of intents to cancel, such as http://127.0.0.1:8080/webhooks/walmart/demo
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<String>,

    /// Secret of the deliveries' signature (HMAC-SHA256 of the body)
    #[arg(long, value_name = "SECRET", env = "ORDER_GATEWAY_EMULATOR_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,

    /// Header of the signature
    #[arg(long, value_name = "HEADER", default_value = posting::WEBHOOK_HEADER)]
    webhook_header: HeaderName,

    /// Interval at which an intent about an open order is posted; 0s: only on request of the control API
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = super::span)]
    intent_every: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DuplicatesArg {
    /// Create a second order
    Accept,
    /// Answer 409 and create nothing
    Refuse,
}

fn limit_scale(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
    factor.ok_or_else(|| "must be a number above 0".to_owned())
}

/// Runs until `shutdown`.
///
/// # Errors Faults that cannot be read are bad usage; a port that cannot be listened on is a failure.
pub(super) async fn run(args: EmulateArgs, shutdown: CancellationToken) -> Result<(), Failure> {
    let options = options(&args)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(tls(cert, key)?),
        _ => None,
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| Failure::Failed(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(|error| Failure::Failed(format!("cannot listen: {error}")))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    eprintln!("Walmart emulator on {scheme}://{address}  (control API: {scheme}://{address}/_emulator/v1/orders)");
    let emulator = Emulator::new(options);
    let posting = super::post_intents(&emulator, args.intent_every, &shutdown);
    let serving = async {
        match tls {
            Some(tls) => emulator::serve_tls(emulator.clone(), listener, tls, shutdown.clone()).await,
            None => emulator::serve(emulator.clone(), listener, shutdown.clone()).await,
        }
    };
    let served = tokio::join!(serving, posting).0;
    served.map_err(|error| Failure::Failed(format!("serving on {address} failed: {error}")))
}

fn options(args: &EmulateArgs) -> Result<EmulatorOptions, Failure> {
    let faults = match &args.faults {
        None => FaultRules::default(),
        Some(path) => {
            let usage = |why: String| Failure::Usage(vec![format!("--faults {}: {why}", path.display())]);
            let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
            FaultRules::parse(&text).map_err(usage)?
        }
    };
    let duplicates = match args.duplicates {
        DuplicatesArg::Accept => DuplicatePolicy::Accept,
        DuplicatesArg::Refuse => DuplicatePolicy::Refuse,
    };
    let webhook = match (&args.webhook_url, &args.webhook_secret) {
        (Some(url), Some(secret)) => {
            let proof = DeliveryProof::Hmac { header: args.webhook_header.clone(), secret: secret.clone() };
            let webhook = WebhookTarget::new(url, proof);
            Some(webhook.map_err(|why| Failure::Usage(vec![format!("--webhook-url: {why}")]))?)
        }
        _ => None,
    };
    Ok(EmulatorOptions {
        webhook,
        seed: args.seed,
        faults,
        duplicates,
        limit_scale: args.limit_scale,
        ..EmulatorOptions::default()
    })
}

/// Serves TLS with this certificate, and HTTP/2 to clients that offer it.
fn tls(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let usage =
        |option: &str, path: &Path, why: String| Failure::Usage(vec![format!("{option} {}: {why}", path.display())]);
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| usage("--tls-cert", cert, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| usage("--tls-key", key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(|error| usage("--tls-cert", cert, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> Result<EmulateArgs, clap::Error> {
        let command = EmulateArgs::augment_args(Command::new("emulate"));
        EmulateArgs::from_arg_matches(&command.try_get_matches_from([&["emulate"], args].concat())?)
    }

    fn usage(args: &[&str]) -> Vec<String> {
        match options(&parse(args).unwrap()) {
            Err(Failure::Usage(faults)) => faults,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_and_bad_values() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.listen.to_string().as_str(), args.seed, args.limit_scale), ("127.0.0.1:8090", 0, 1.0));
        let options =
            options(&parse(&["--duplicates", "refuse", "--seed", "7", "--limit-scale", "0.5"]).unwrap()).unwrap();
        assert_eq!((options.duplicates, options.seed, options.limit_scale), (DuplicatePolicy::Refuse, 7, 0.5));
        for bad in [
            ["--limit-scale", "0"],
            ["--limit-scale", "nan"],
            ["--listen", "nowhere"],
            ["--duplicates", "x"],
            ["--webhook-url", "http://x/"],
            ["--intent-every", "10"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_help_shows_an_example_and_the_magic_values() {
        let help = EmulateArgs::augment_args(Command::new("emulate")).render_long_help().to_string();
        assert!(help.contains("order-gateway emulate --seed 7") && help.contains("MAGIC-DROP-AFTER-"), "{help}");
    }

    #[test]
    fn bad_faults_are_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faults.toml");
        let name = path.to_str().unwrap();
        assert!(usage(&["--faults", name])[0].contains("faults.toml: No such file"));
        std::fs::write(&path, "seed = 1\n[[fault]\n").unwrap();
        let faults = usage(&["--faults", name]);
        assert!(faults.len() == 1 && faults[0].contains("line 2") && !faults[0].contains('\n'), "{faults:?}");
    }

    #[test]
    fn certificates_are_read_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        assert!(tls(&cert, &key).is_ok());
        for (cert, key, option) in [(&cert, &cert, "--tls-key"), (&key, &key, "--tls-cert"), (&key, &cert, "--tls-key")]
        {
            match tls(cert, key) {
                Err(Failure::Usage(lines)) => assert!(lines.len() == 1 && lines[0].starts_with(option), "{lines:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(parse(&["--tls-cert", "x"]).is_err());
    }

    #[tokio::test]
    async fn a_taken_port_is_one_clear_line() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let failed = run(parse(&["--listen", &address]).unwrap(), CancellationToken::new()).await;
        match failed {
            Err(Failure::Failed(line)) => assert!(line.starts_with(&format!("cannot listen on {address}: "))),
            other => panic!("{other:?}"),
        }
    }
}
