//! `order-gateway trigger cancel-intent`: posts sample events to a gateway, as Walmart would.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use futures_util::StreamExt as _;
use http::HeaderName;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Failure, print};
use crate::emulator::intents::{IntentEnvelope, IntentFacts, WantedLine, event};
use crate::emulator::posting::{DeliveryProof, WEBHOOK_HEADER, WebhookTarget};
use crate::ports::clock::Clock;
use crate::ports::random::Random;

const AT_ONCE: usize = 64;
/// Largest number of events whose answers are printed one by one.
const LINES: usize = 20;

const EXAMPLE: &str = "\
Examples, with `order-gateway dev` in another terminal:
  order-gateway trigger cancel-intent
  order-gateway trigger cancel-intent --count 1000 --rate 200
  order-gateway trigger cancel-intent --event order-updates --purchase-order 1700000000001 --duplicate
  order-gateway trigger cancel-intent --bad-signature

Exit codes: 0 every answer was as it should be, 1 one was not (or there was none), 2 bad usage.";

/// Post sample events to a gateway, signed as Walmart signs them
#[derive(Debug, clap::Args)]
pub(super) struct TriggerArgs {
    #[command(subcommand)]
    what: TriggerCommand,
}

#[derive(Debug, Subcommand)]
enum TriggerCommand {
    CancelIntent(CancelIntent),
}

/// A customer's intent to cancel: the sample on Walmart's page, with ids of its own
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
struct CancelIntent {
    /// Base URL of the gateway's HTTP listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Seller account of the event
    #[arg(long, value_name = "ID", default_value = "demo")]
    account: String,
    /// Proof that the account expects
    #[arg(long, value_enum, default_value_t = AuthArg::Hmac)]
    auth: AuthArg,
    /// Header of the proof (hmac, basic)
    #[arg(long, value_name = "HEADER", default_value = WEBHOOK_HEADER)]
    header: HeaderName,
    /// Secret or password of the account
    #[arg(long, value_name = "SECRET", default_value = "dev-secret")]
    secret: String,
    /// User name (basic)
    #[arg(long, value_name = "NAME", default_value = "walmart")]
    username: String,
    /// Walmart's envelope for the event
    #[arg(long, value_enum, default_value_t = EventArg::IntentToCancel)]
    event: EventArg,
    /// Purchase order of the event; by default a different one per event
    #[arg(long, value_name = "ID")]
    purchase_order: Option<String>,
    /// Number of events
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Events per second; by default as fast as the gateway answers
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Send every event twice: the second must be answered as a duplicate
    #[arg(long)]
    duplicate: bool,
    /// Sign with a wrong secret: every event must be refused with 401
    #[arg(long)]
    bad_signature: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum AuthArg {
    Hmac,
    HmacV2,
    Basic,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EventArg {
    IntentToCancel,
    OrderUpdates,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (1e-6..=1e6).contains(rate));
    rate.ok_or_else(|| "must be a number above 0".to_owned())
}

pub(super) async fn run(args: TriggerArgs, stop: CancellationToken) -> Result<(), Failure> {
    let TriggerCommand::CancelIntent(args) = args.what;
    let url = target(&args);
    let webhook =
        WebhookTarget::new(&url, proof(&args)).map_err(|why| Failure::Usage(vec![format!("--url: {why}")]))?;
    let told = stop.run_until_cancelled(send(&args, &webhook, Clock::system(), &Random::from_system())).await;
    let told = told.ok_or_else(|| Failure::Failed("interrupted".into()))?;
    print(&told.text)?;
    match told.wrong {
        0 => Ok(()),
        wrong => Err(Failure::Failed(format!("{url}: {wrong} of {} answers were not as they should be", told.answers))),
    }
}

/// Posts one event about a purchase order to a gateway started by `dev`. Returns the output of the command.
pub(super) async fn one(url: String, purchase_order: &str) -> Result<String, Failure> {
    let args = CancelIntent {
        url,
        account: "demo".into(),
        auth: AuthArg::Hmac,
        header: HeaderName::from_bytes(WEBHOOK_HEADER.as_bytes())
            .map_err(|error| Failure::Failed(error.to_string()))?,
        secret: "dev-secret".into(),
        username: String::new(),
        event: EventArg::IntentToCancel,
        purchase_order: Some(purchase_order.to_owned()),
        count: 1,
        rate: None,
        duplicate: false,
        bad_signature: false,
    };
    let webhook = WebhookTarget::new(&target(&args), proof(&args)).map_err(Failure::Failed)?;
    let told = send(&args, &webhook, Clock::system(), &Random::from_system()).await;
    if told.wrong == 0 { Ok(told.text) } else { Err(Failure::Failed(told.text)) }
}

/// The URL for the account's events.
fn target(args: &CancelIntent) -> String {
    format!("{}/webhooks/walmart/{}", args.url.trim_end_matches('/'), args.account)
}

fn proof(args: &CancelIntent) -> DeliveryProof {
    let (header, mut secret) = (args.header.clone(), args.secret.clone());
    if args.bad_signature {
        secret.push_str("-but-another");
    }
    match args.auth {
        AuthArg::Hmac => DeliveryProof::Hmac { header, secret },
        AuthArg::HmacV2 => DeliveryProof::HmacV2 { secret },
        AuthArg::Basic => DeliveryProof::Basic { header, username: args.username.clone(), password: secret },
        AuthArg::None => DeliveryProof::None,
    }
}

/// Summary of all answers.
#[derive(Debug)]
struct TriggerSummary {
    text: String,
    answers: usize,
    wrong: usize,
}

/// An answer to an event.
struct EventAnswer {
    line: String,
    /// Status and outcome, for the summary.
    kind: String,
    right: bool,
    took: Duration,
}

async fn send(args: &CancelIntent, webhook: &WebhookTarget, clock: Clock, random: &Random) -> TriggerSummary {
    let began = Instant::now();
    let due = |number: u32| args.rate.map(|rate| began + Duration::from_secs_f64(f64::from(number) / rate));
    let one = |number: u32| async move {
        if let Some(due) = due(number) {
            sleep_until(due).await;
        }
        let (event_id, body) = sample(args, clock, random);
        let mut answers = vec![post(args, webhook, clock, &event_id, &body, false).await];
        if args.duplicate {
            answers.push(post(args, webhook, clock, &event_id, &body, true).await);
        }
        answers
    };
    let answers = futures_util::stream::iter((0..args.count).map(one)).buffer_unordered(AT_ONCE);
    let answers: Vec<EventAnswer> = answers.flat_map(futures_util::stream::iter).collect().await;
    let wrong = answers.iter().filter(|answer| !answer.right).count();
    TriggerSummary { text: report(&answers, began.elapsed()), answers: answers.len(), wrong }
}

/// Builds an event and its id.
fn sample(args: &CancelIntent, clock: Clock, random: &Random) -> (String, Vec<u8>) {
    let envelope = match args.event {
        EventArg::IntentToCancel => IntentEnvelope::Intent,
        EventArg::OrderUpdates => IntentEnvelope::OrderUpdates,
    };
    let time = Timestamp::try_from(clock.now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let event_id = random.uuid().to_string();
    // Thirteen digits, as in Walmart's numbers.
    let number = random.next_u64() % 100_000_000_000;
    let purchase_order = args.purchase_order.clone().unwrap_or_else(|| format!("17{number:011}"));
    let facts = IntentFacts {
        event_id: event_id.clone(),
        time,
        ordered: time.saturating_sub(jiff::SignedDuration::from_mins(75)).unwrap_or(time),
        partner_id: "10000000001".to_owned(),
        purchase_order,
        customer_order: format!("57{number:011}"),
        ship_node_type: "SellerFulfilled".to_owned(),
        lines: vec![WantedLine {
            number: "1".to_owned(),
            sku: "MUG-RED-12".to_owned(),
            name: "Red mug".to_owned(),
            units: 1,
        }],
    };
    (event_id, event(envelope, &facts).to_string().into_bytes())
}

async fn post(
    args: &CancelIntent,
    webhook: &WebhookTarget,
    clock: Clock,
    event_id: &str,
    body: &[u8],
    again: bool,
) -> EventAnswer {
    let began = Instant::now();
    let now = Duration::from_millis(clock.epoch_millis());
    let (kind, right) = match webhook.post(body.to_vec(), now).await {
        Ok(answered) => {
            let said: Value = serde_json::from_str(&answered.body).unwrap_or_default();
            let stored = said["stored"] == true;
            let duplicate = said["duplicate"] == true;
            let right = match args.bad_signature && !matches!(args.auth, AuthArg::None) {
                true => answered.status == 401,
                false => answered.status == 200 && stored && duplicate == again,
            };
            let words = match (stored, duplicate) {
                (true, false) => "stored".to_owned(),
                (true, true) => "duplicate".to_owned(),
                _ => said["error"].as_str().unwrap_or("no JSON of a gateway's").escape_debug().to_string(),
            };
            (format!("{} {words}", answered.status), right)
        }
        Err(why) => (format!("no answer: {why}"), false),
    };
    let mark = if right { "" } else { "  (not as it should be)" };
    EventAnswer { line: format!("{event_id}  {kind}{mark}\n"), kind, right, took: began.elapsed() }
}

fn report(answers: &[EventAnswer], took: Duration) -> String {
    if answers.len() <= LINES {
        return answers.iter().map(|answer| answer.line.as_str()).collect();
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        *kinds.entry(&answer.kind).or_default() += 1;
    }
    let mut times: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    times.sort_unstable();
    // Not empty: more than `LINES` answers exist.
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1000.0;
    let rate = answers.len() as f64 / took.as_secs_f64();
    let mut text = format!(
        "{} answers in {:.1} s ({rate:.0}/s), p50 {:.1} ms, p99 {:.1} ms\n",
        answers.len(),
        took.as_secs_f64(),
        at(50),
        at(99)
    );
    for (kind, count) in kinds {
        text.push_str(&format!("{count:>9}  {kind}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::{Args as _, Command, FromArgMatches as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Config;
    use crate::domain::feed::LogId;
    use crate::http::webhooks::WebhookReceiver;
    use crate::store::memory_feed::MemoryFeed;
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::trace::Tracer;

    const SETTINGS: &str = r#"
[[accounts]]
id = "demo"
partner_id = "1"
client_id = "a"
client_secret = "b"
webhook = { auth = "hmac", secret = "dev-secret" }
[[accounts]]
id = "v2"
partner_id = "2"
client_id = "a"
client_secret = "b"
webhook = { auth = "hmac_v2", secret = "dev-secret" }
[[accounts]]
id = "basic"
partner_id = "3"
client_id = "a"
client_secret = "b"
webhook = { auth = "basic", header = "X-Proof", username = "walmart", password = "dev-secret" }
[[accounts]]
id = "none"
partner_id = "4"
client_id = "a"
client_secret = "b"
webhook = { auth = "none" }
"#;

    fn parse(args: &[&str]) -> Result<CancelIntent, clap::Error> {
        let command = CancelIntent::augment_args(Command::new("cancel-intent"));
        CancelIntent::from_arg_matches(&command.try_get_matches_from([&["cancel-intent"], args].concat())?)
    }

    /// The real receiver on a free port.
    async fn receiver() -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::load(SETTINGS, []).unwrap();
        let clock = Clock::system();
        let store = MemoryFeed::new(LogId(1));
        let metrics = Arc::new(Metrics::new([]));
        let router = WebhookReceiver::new(&config.accounts, store, clock, metrics, Tracer::off()).router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    async fn trigger(url: &str, args: &[&str]) -> TriggerSummary {
        let args = parse(&[&["--url", url], args].concat()).unwrap();
        let webhook =
            WebhookTarget::new(&format!("{}/webhooks/walmart/{}", args.url, args.account), proof(&args)).unwrap();
        send(&args, &webhook, Clock::system(), &Random::from_system()).await
    }

    #[tokio::test]
    async fn every_way_of_proof_is_accepted() {
        let url = receiver().await;
        for args in [
            &["--event", "intent-to-cancel"][..],
            &["--account", "v2", "--auth", "hmac_v2"],
            &["--account", "basic", "--auth", "basic", "--header", "x-proof"],
            &["--account", "none", "--auth", "none", "--event", "order-updates", "--purchase-order", "PO-1"],
        ] {
            let told = trigger(&url, args).await;
            assert_eq!((told.answers, told.wrong), (1, 0), "{}", told.text);
            assert!(told.text.ends_with("  200 stored\n"), "{}", told.text);
            if !args.contains(&"none") {
                let refused = trigger(&url, &[args, &["--bad-signature"]].concat()).await;
                assert_eq!(
                    (refused.wrong, refused.text.contains("  401 the proof is wrong\n")),
                    (0, true),
                    "{refused:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn duplicates_are_expected_and_told() {
        let told = trigger(&receiver().await, &["--duplicate", "--count", "3"]).await;
        assert_eq!((told.answers, told.wrong), (6, 0), "{}", told.text);
        assert_eq!(told.text.matches("  200 duplicate\n").count(), 3);
    }

    #[tokio::test]
    async fn many_are_summed_up_and_sent_at_their_rate() {
        let began = Instant::now();
        let told = trigger(&receiver().await, &["--count", "50", "--rate", "500"]).await;
        assert!(began.elapsed() >= Duration::from_millis(49 * 2), "{:?}", began.elapsed());
        assert_eq!((told.answers, told.wrong), (50, 0));
        assert!(
            told.text.starts_with("50 answers in ") && told.text.ends_with("       50  200 stored\n"),
            "{}",
            told.text
        );
    }

    #[tokio::test]
    async fn what_is_not_as_it_should_be_is_told() {
        let url = receiver().await;
        for (args, expected) in [
            (&["--secret", "another"][..], "401 the proof is wrong"),
            (&["--account", "nobody"], "404 no account of this name receives webhooks"),
            (&["--account", "none", "--auth", "hmac", "--bad-signature"], "200 stored"),
        ] {
            let told = trigger(&url, args).await;
            assert_eq!(told.wrong, 1, "{}", told.text);
            assert!(told.text.contains(expected) && told.text.ends_with("(not as it should be)\n"), "{}", told.text);
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let told = trigger(&format!("http://{free}"), &[]).await;
        assert!(told.wrong == 1 && told.text.contains("no answer: "), "{}", told.text);
    }

    #[tokio::test]
    async fn bad_usage_is_told() {
        for bad in [["--count", "0"], ["--rate", "0"], ["--rate", "nan"], ["--header", "a b"], ["--auth", "magic"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let args = TriggerArgs { what: TriggerCommand::CancelIntent(parse(&["--url", "gateway"]).unwrap()) };
        let failed = run(args, CancellationToken::new()).await;
        assert!(
            matches!(&failed, Err(Failure::Usage(lines)) if lines[0].starts_with("--url: is no URL")),
            "{failed:?}"
        );
    }
}
