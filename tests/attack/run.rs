//! The attacks one after the other, with honest callers beside them, and what the gateway did meanwhile.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Options;
use crate::attacks::{ATTACKS, Attack};
use crate::gateway::{Emulator, Gateway, OTHER_CORE, Result, metric, text};
use crate::honest::{Honest, Notes};
use crate::process::Process;

/// Memory that the gateway may have resident, in MiB.
const MAX_MIB: f64 = 256.0;
/// Until the connections of an attack are gone after it.
const RECOVERY: Duration = Duration::from_secs(15);
/// Files that honest callers come and go with.
const OWN_FILES: usize = 40;
/// Lines that an attack may write into the log in each second: those of the access log, and a few.
const MAX_LINES: usize = 250;

/// What a run came to.
#[derive(Default)]
pub(crate) struct Report {
    /// What must not be.
    pub violations: Vec<String>,
    /// Lines of a table, or figures.
    pub lines: Vec<String>,
}

/// Plays the attacks that were chosen, in `folder`, which is empty.
pub(crate) async fn run(options: &Options, folder: &Path) -> Result<Report> {
    let chosen: Vec<&'static Attack> = ATTACKS
        .iter()
        .filter(|a| options.attack.is_empty() || options.attack.iter().any(|name| name == a.name))
        .collect();
    if let Some(unknown) = options.attack.iter().find(|name| !ATTACKS.iter().any(|a| a.name == name.as_str())) {
        let all: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        return Err(format!("there is no attack {unknown}; there are: {}", all.join(", ")));
    }
    // Nothing is kept that the gateway may be about to close.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().map_err(text)?;
    let emulator = Emulator::start(&options.gateway, folder, &client).await?;
    let mut gateway = Gateway::new(&options.gateway, folder, "gateway", &emulator, &client)?;
    gateway.start().await?;
    let honest = Honest::start(&gateway)?;
    // The first answers open connections and fill the cache.
    sleep(Duration::from_secs(1)).await;
    honest.notes();
    sleep(Duration::from_secs(options.seconds.max(3))).await;
    let quiet = honest.notes();
    let mut report = Report::default();
    report.lines.push(format!(
        "quiet: {} answers, p50 {:.1} ms, p99 {:.1} ms",
        quiet.answers(),
        quiet.quantile(0.5),
        quiet.quantile(0.99)
    ));
    report.violations.extend(quiet.errors.iter().map(|(error, times)| format!("quiet: {times} times {error}")));
    report.lines.push(
        "| attack | honest answers | errors | p50 ms | p99 ms | times quiet | peak MiB | back in s | cut |".into(),
    );
    report.lines.push("|---|---|---|---|---|---|---|---|---|".into());
    for attack in chosen {
        let line = one(attack, options, folder, &mut gateway, &honest, &quiet, &mut report.violations).await?;
        if !options.quiet {
            println!("{line}");
        }
        report.lines.push(line);
    }
    let stored = honest.end().await?;
    report.lines.push(format!("{stored} intents were stored and watched"));
    let panics = gateway.log_lines().into_iter().filter(|line| line.contains("panicked"));
    report.violations.extend(panics.map(|line| format!("the gateway panicked: {line}")));
    let drained = gateway.stop().await?;
    report.lines.push(format!("ended in {drained:.1?}"));
    Ok(report)
}

async fn one(
    attack: &'static Attack,
    options: &Options,
    folder: &Path,
    gateway: &mut Gateway,
    honest: &Honest,
    quiet: &Notes,
    violations: &mut Vec<String>,
) -> Result<String> {
    let name = attack.name;
    let before = look(gateway).await?;
    gateway.process()?.forget_peak().map_err(text)?;
    honest.notes();
    let words = ["attacker".into(), name.into(), gateway.grpc.to_string(), gateway.http.to_string()];
    let program = std::env::current_exe().map_err(text)?;
    let mut attacker =
        Process::start(OTHER_CORE, attack.is_greedy(), &program, &words, &folder.join("attacker.log")).map_err(text)?;
    sleep(Duration::from_secs(options.seconds)).await;
    let notes = honest.notes();
    if let Some(status) = attacker.ended().map_err(text)? {
        violations.push(format!("{name}: the attacker ended by itself: {status}"));
    }
    let during = look(gateway).await?;
    drop(attacker);
    let began = Instant::now();
    let after = loop {
        let now = look(gateway).await?;
        // Calls of honest callers open and close connections all the time.
        if now.connections <= before.connections + 3.0 && now.files <= before.files + OWN_FILES {
            break now;
        }
        if began.elapsed() > RECOVERY {
            violations.push(format!("{name}: {} connections and {} files are left", now.connections, now.files));
            break now;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let back = began.elapsed();
    let peak = gateway.process()?.peak_mib().map_err(text)?;
    violations.extend(notes.errors.iter().map(|(error, times)| format!("{name}: {times} times {error}")));
    if peak > MAX_MIB {
        violations.push(format!("{name}: {peak:.0} MiB were resident"));
    }
    if notes.answers() == 0 {
        violations.push(format!("{name}: nobody was answered"));
    }
    if after.lines > before.lines + MAX_LINES * (options.seconds as usize + 1) {
        violations.push(format!("{name}: {} lines of log", after.lines - before.lines));
    }
    let p99 = notes.quantile(0.99);
    Ok(format!(
        "| {name} | {} | {} | {:.1} | {p99:.1} | {:.1} | {peak:.0} | {:.1} | {} |",
        notes.answers(),
        notes.errors.values().sum::<usize>(),
        notes.quantile(0.5),
        p99 / quiet.quantile(0.99).max(0.001),
        back.as_secs_f64(),
        during.cut - before.cut,
    ))
}

/// The gateway at a moment.
struct Look {
    connections: f64,
    /// Refused and ended ones.
    cut: f64,
    files: usize,
    lines: usize,
}

async fn look(gateway: &mut Gateway) -> Result<Look> {
    let files = gateway.process()?.files().map_err(text)?;
    let text = gateway.metrics().await?;
    let of = |name| metric(&text, name);
    Ok(Look {
        connections: of("order_gateway_connections") + of("order_gateway_http_connections"),
        cut: of("order_gateway_connections_cut_total")
            + of("order_gateway_connections_refused_total")
            + of("order_gateway_http_connections_refused_total"),
        files,
        lines: gateway.log_lines().len(),
    })
}
