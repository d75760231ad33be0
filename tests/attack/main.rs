//! The attack tests: the gateway as a real process, attacked in every way that is known to us, with honest callers beside it;
//! and restarted again and again under load. `scripts/attack-test` builds what it needs and starts it; `docs/TESTING.md` says
//! what it checks.
//!
//! | file | |
//! |---|---|
//! | `process`, `gateway` | the processes and what Linux and they themselves tell |
//! | `honest` | callers who must notice nothing |
//! | `frames`, `attacks` | what is done to the gateway, by processes of their own |
//! | `run` | one attack after the other |
//! | `rolling`, `balancer` | restarts under load |

mod attacks;
mod balancer;
mod frames;
mod gateway;
mod honest;
mod process;
mod rogue;
mod rolling;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Attacks the gateway and looks whether honest callers notice
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long each attack lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// This attack alone; may be given several times
    #[arg(long)]
    attack: Vec<String>,
    /// No attacks: so many restarts under load
    #[arg(long)]
    restarts: Option<usize>,
    /// The gateway to attack
    #[arg(long, default_value = "order-gateway")]
    gateway: PathBuf,
    /// Print nothing but what is wrong
    #[arg(long)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Part {
    /// One attack, without end; started by the tests
    #[command(hide = true)]
    Attacker { name: String, grpc: SocketAddr, http: SocketAddr },
    /// Lists the attacks
    List,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    // The HTTP client wants one, though it speaks no TLS here. An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match &options.part {
        Some(Part::List) => {
            attacks::ATTACKS
                .iter()
                .for_each(|a| println!("{:<16} {:>6} connections: {}", a.name, a.connections, a.what));
            ExitCode::SUCCESS
        }
        Some(Part::Attacker { name, grpc, http }) => match attacks::ATTACKS.iter().find(|a| a.name == *name) {
            Some(attack) => {
                attacks::play(attack, *grpc, *http).await;
                ExitCode::SUCCESS
            }
            None => ExitCode::from(2),
        },
        None => tests(&options).await,
    }
}

async fn tests(options: &Options) -> ExitCode {
    let folder = match tempfile::Builder::new().prefix("order-gateway-attack-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return failed(&[format!("no temporary folder: {error}")]),
    };
    let played = match options.restarts {
        Some(restarts) => rolling::run(options, restarts, folder.path()).await,
        None => run::run(options, folder.path()).await,
    };
    let report = played.unwrap_or_else(|error| run::Report { violations: vec![error], ..run::Report::default() });
    if !options.quiet {
        println!();
        report.lines.iter().for_each(|line| println!("{line}"));
    }
    if report.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("settings, store and logs: {}", folder.keep().display());
    failed(&report.violations)
}

fn failed(violations: &[String]) -> ExitCode {
    violations.iter().for_each(|violation| println!("VIOLATED: {violation}"));
    ExitCode::FAILURE
}
