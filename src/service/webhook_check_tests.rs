//! When checks are made, and what they show.

use std::time::Duration;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::operation::Operation::Webhooks;
use crate::telemetry::metrics::TextFormat;
use crate::testing::walmart::{ACME, LATENCY, Said, Walmart, error};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks of one account, at work until the test ends.
fn checking(walmart: &Walmart) -> (WebhookChecks, AccountDirectory, Arc<Metrics>) {
    let (checks, metrics) = (WebhookChecks::default(), Arc::new(Metrics::new([])));
    let directory = AccountDirectory::of_ids([AccountId::new("acme").unwrap()]);
    let check = WebhookCheck {
        upstream: walmart.clone(),
        directory: directory.clone(),
        interval: DAY,
        clock: Clock::following(std::time::UNIX_EPOCH),
        tracer: Tracer::off(),
        metrics: metrics.clone(),
    };
    tokio::spawn(check.run(checks.clone(), CancellationToken::new()));
    (checks, directory, metrics)
}

fn series(metrics: &Metrics) -> Vec<String> {
    let text = metrics.encode(TextFormat::Plain).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("order_gateway_webhook_subscription_missing{"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn failures_are_shown_and_repeated_and_successes_are_daily() {
    let down = || Err(error(Webhooks, ErrorKind::Unavailable, Effect::None));
    let walmart = Walmart::default().answering(Webhooks, [down(), down(), Ok(Said::default())]);
    let (checks, _, metrics) = checking(&walmart);
    assert_eq!(checks.of(ACME), None);
    tokio::time::sleep(LATENCY * 2).await;
    let failed = checks.of(ACME).unwrap();
    assert_eq!((failed.checked_time, failed.error.as_str()), (None, "Unavailable: HTTP 500"));
    assert_eq!(series(&metrics), [""; 0]);
    tokio::time::sleep(DAY).await;
    let second = |second: u64| Duration::from_secs(second);
    assert_eq!(walmart.times(Webhooks)[..3], [second(0), second(6), second(17)]);
    let checked = checks.of(ACME).unwrap();
    assert_eq!((checked.missing, checked.error.as_str()), (vec!["ORDER_UPDATES"], ""));
    assert_eq!(
        series(&metrics),
        [r#"order_gateway_webhook_subscription_missing{account="acme",event_type="ORDER_UPDATES"} 1"#]
    );
    tokio::time::sleep(DAY).await;
    assert_eq!(walmart.times(Webhooks).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_checked_at_once_also_one_during_a_check() {
    let walmart = Walmart::default();
    let (checks, ..) = checking(&walmart);
    tokio::time::sleep(LATENCY / 2).await;
    checks.changed(ACME);
    tokio::time::sleep(LATENCY * 10).await;
    assert_eq!(walmart.times(Webhooks).len(), 2, "the first check began before the change");
    checks.changed(ACME);
    tokio::time::sleep(LATENCY * 10).await;
    assert_eq!(walmart.times(Webhooks).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn accounts_come_and_go() {
    let walmart = Walmart::default();
    let (_checks, directory, metrics) = checking(&walmart);
    tokio::time::sleep(LATENCY * 2).await;
    let other = [(crate::domain::account::SellerId::new("other"), AccountId::new("other").unwrap())];
    directory.replace(&other);
    tokio::time::sleep(ACCOUNTS_EVERY * 2).await;
    assert_eq!(
        series(&metrics),
        [r#"order_gateway_webhook_subscription_missing{account="other",event_type="ORDER_UPDATES"} 1"#]
    );
}
