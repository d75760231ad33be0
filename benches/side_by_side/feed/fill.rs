//! A log with many events, made by the receiver's own code without the network.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use order_gateway::config::{StoreConfig, WebhookAuth};
use order_gateway::domain::account::{AccountId, SellerId};
use order_gateway::http::webhooks::auth::{ProofVerifier, UnverifiedDelivery};
use order_gateway::http::webhooks::read;
use order_gateway::ports::clock::Clock;
use order_gateway::ports::event_log::AppendOutcome;
use order_gateway::service::feed::{DeliveryRecipient, WebhookIntake};
use order_gateway::store::{Store, StoreSettings};
use order_gateway::telemetry::metrics::Metrics;
use tokio::task::JoinSet;

use super::ACCOUNT;
use super::posts::{self, Sample};
use crate::Result;

/// Deliveries at a time: as many as the store writes in one transaction are always waiting for the next.
const AT_ONCE: usize = 2048;

type Outcome = std::result::Result<(), String>;

/// Makes a log of these, numbered from 0.
pub(crate) fn fill(file: &Path, sample: Sample, events: u64) -> Result<()> {
    let settings = StoreSettings {
        clock: Clock::system(),
        metrics: Metrics::new([ACCOUNT]).store,
        accounts: Vec::new(),
        on_fatal: Arc::new(|why| {
            eprintln!("{why}");
            std::process::exit(1);
        }),
    };
    let store = Store::open(&StoreConfig::Sqlite(file.into()), settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let intake = WebhookIntake::new(store.clone(), Clock::system());
        let next = Arc::new(AtomicU64::new(0));
        let mut deliveries = JoinSet::new();
        for _ in 0..AT_ONCE {
            deliveries.spawn(deliver(intake.clone(), sample, next.clone(), events));
        }
        for outcome in deliveries.join_all().await {
            outcome?;
        }
        store.close().await;
        Ok(())
    })
}

async fn deliver(intake: WebhookIntake<Store>, sample: Sample, next: Arc<AtomicU64>, events: u64) -> Outcome {
    let account = AccountId::new(ACCOUNT).map_err(|_| "no account id")?;
    let gate = ProofVerifier::new(account.clone(), WebhookAuth::None);
    let recipient = DeliveryRecipient { account, seller: SellerId::new("10000000001") };
    let (head, ()) = Request::new(()).into_parts();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= events {
            return Ok(());
        }
        let body = Bytes::from(posts::body(sample, n));
        let verified =
            gate.check(UnverifiedDelivery { head: &head, body }, Duration::ZERO, None).map_err(|e| e.to_string())?;
        let (raw, read) = read::read(verified);
        match intake.take(&recipient, raw, read).await {
            Ok(AppendOutcome::Stored { seq: Some(_) }) => {}
            Ok(other) => return Err(format!("an event was not stored: {other:?}")),
            Err(error) => return Err(error.to_string()),
        }
    }
}
