//! Receives what Walmart posts: `POST /webhooks/walmart/{account}`, and `…/token` where deliveries come with a token.
//!
//! Promises: 200 is said after the delivery is durable, and only then; what is refused is stored nowhere; what is proved to
//! be Walmart's is never refused for what it says, because Walmart tries three times and forgets. Our own trouble is always
//! 503 with `Retry-After`. Checks come in the order of [`receive`]; the body is not looked into before its origin is proved.

mod answer;
pub mod auth;
mod body;
pub mod read;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::post;
use foldhash::fast::RandomState;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::auth::{Gate, Refused, Unverified};
use self::body::NoBody;
use crate::config;
use crate::domain::account::AccountId;
use crate::ports::clock::Clock;
use crate::ports::intent_log::{Appended, IntentLog};
use crate::service::feed::Intake;
use crate::telemetry::complaints::Complaints;
use crate::telemetry::metrics::{AccountWebhooks, Delivered, Held, Metrics};

/// Bytes of a delivery's body.
pub const MAX_BODY: usize = 256 * 1024;
/// Bytes of a request for a token.
const MAX_FORM: usize = 16 * 1024;
/// Deliveries being read or stored at a time.
const MAX_DELIVERIES: usize = 1024;
/// Bytes of their bodies, all together.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// For the store. Walmart's patience is said to be 3 s; a disk that needs longer may still end in a 200 for it.
const STORE_TIME: Duration = Duration::from_secs(10);

/// The accounts that receive webhooks, and where deliveries go.
pub struct Webhooks<L> {
    accounts: HashMap<String, Account, RandomState>,
    intake: Intake<L>,
    clock: Clock,
    metrics: Arc<Metrics>,
    deliveries: Semaphore,
    bytes: Semaphore,
}

struct Account {
    id: AccountId,
    gate: Gate,
    counts: AccountWebhooks,
    complaints: Complaints,
}

impl<L: IntentLog> Webhooks<L> {
    /// For the accounts whose settings say how deliveries are proved.
    pub fn new(accounts: &[config::Account], intake: Intake<L>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let receiving = accounts.iter().filter_map(|account| {
            let (id, webhook) = (account.id.clone(), account.webhook.clone()?);
            let counts = metrics.webhooks.of(id.as_str());
            let gate = Gate::new(id.clone(), webhook);
            Some((id.to_string(), Account { id, gate, counts, complaints: Complaints::default() }))
        });
        Self {
            accounts: receiving.collect(),
            intake,
            clock,
            deliveries: Semaphore::new(MAX_DELIVERIES),
            bytes: Semaphore::new(MAX_BYTES),
            metrics,
        }
    }

    /// The routes, to be merged with others.
    pub fn router(self) -> Router {
        let only_post = || async { answer::refused(StatusCode::METHOD_NOT_ALLOWED, "only POST is served here") };
        Router::new()
            .route("/webhooks/walmart/{account}", post(receive::<L>).fallback(only_post))
            .route("/webhooks/walmart/{account}/token", post(grant::<L>).fallback(only_post))
            .with_state(Arc::new(self))
    }

    fn account(&self, path: Result<Path<String>, PathRejection>) -> Option<&Account> {
        self.accounts.get(&path.ok()?.0)
    }

    /// Since 1970.
    fn now(&self) -> Duration {
        self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    async fn store(&self, account: &Account, delivery: auth::Verified) -> Response {
        let (raw, read) = read::read(delivery);
        let unreadable = read.as_ref().err().map(|unreadable| unreadable.reason().to_owned());
        let stored = timeout(STORE_TIME, self.intake.take(&account.id, raw, read)).await;
        let (outcome, answer) = match stored {
            Ok(Ok(Appended::Stored { .. })) => match unreadable {
                None => (Delivered::Stored, answer::stored(false)),
                Some(reason) => {
                    account.complaints.note("quarantined", |times| {
                        tracing::warn!(account = %account.id, times, reason, "a webhook cannot be read; it is in quarantine");
                    });
                    (Delivered::Quarantined, answer::stored(false))
                }
            },
            Ok(Ok(Appended::Duplicate)) => (Delivered::Duplicate, answer::stored(true)),
            Ok(Ok(Appended::Conflict)) => {
                account.complaints.note("conflict", |times| {
                    tracing::warn!(account = %account.id, times, "a webhook has the id of another one; both are kept");
                });
                (Delivered::Conflict, answer::stored(true))
            }
            // The store has told the log. If it is only slow the delivery may be stored yet, and comes again as a duplicate.
            Ok(Err(_)) | Err(_) => (Delivered::NotStored, answer::not_stored()),
        };
        account.counts.count(outcome);
        answer
    }
}

async fn receive<L: IntentLog>(
    State(webhooks): State<Arc<Webhooks<L>>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let Some(account) = webhooks.account(path) else {
        webhooks.metrics.webhooks.unknown_account.inc();
        return answer::refused(StatusCode::NOT_FOUND, "no account of this name receives webhooks");
    };
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        account.counts.count(Delivered::NotJson);
        account.complaints.note("not_json", |times| {
            tracing::warn!(account = %account.id, times, "a webhook is refused: its content type is not JSON");
        });
        return answer::unread(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    let Ok(_place) = webhooks.deliveries.try_acquire() else { return overloaded(account) };
    let _in_flight = Held::new(&webhooks.metrics.webhooks.in_flight);
    let (body, _room) = match body::read(body, MAX_BODY, &webhooks.bytes).await {
        Ok(whole) => whole,
        Err(NoBody::NoRoom) => return overloaded(account),
        Err(why) => return no_body(account, why),
    };
    let delivery = Unverified { head: &head, body };
    match account.gate.check(delivery, webhooks.now()) {
        Ok(verified) => {
            let answer = webhooks.store(account, verified).await;
            webhooks.metrics.webhooks.duration.observe(began.elapsed().as_secs_f64());
            answer
        }
        Err(refused) => unauthenticated(account, refused),
    }
}

async fn grant<L: IntentLog>(
    State(webhooks): State<Arc<Webhooks<L>>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // Whether this account gives tokens out shows in an answer to nothing.
    let account = webhooks.account(path).filter(|a| a.gate.grants());
    let Some(account) = account else {
        return answer::refused(StatusCode::NOT_FOUND, "no account of this name gives out tokens");
    };
    let (form, _room) = match body::read(body, MAX_FORM, &webhooks.bytes).await {
        Ok(whole) => whole,
        Err(NoBody::NoRoom) => return overloaded(account),
        Err(why) => return no_body(account, why),
    };
    match account.gate.grant(&head.headers, &form, webhooks.now()) {
        Ok(grant) => {
            account.counts.tokens_issued.inc();
            answer::token(&grant)
        }
        Err(why) => {
            account.counts.tokens_refused.inc();
            account.complaints.note("token", |times| {
                tracing::warn!(account = %account.id, times, ?why, "a request for a webhook token is refused");
            });
            answer::no_token(why)
        }
    }
}

fn overloaded(account: &Account) -> Response {
    account.counts.count(Delivered::Overloaded);
    account.complaints.note("overloaded", |times| {
        tracing::warn!(account = %account.id, times, "webhooks are put off: too many at once");
    });
    answer::overloaded()
}

fn no_body(account: &Account, why: NoBody) -> Response {
    let (outcome, status, text) = match why {
        NoBody::TooLarge => (Delivered::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        NoBody::TooSlow => (Delivered::Incomplete, StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        NoBody::BrokenOff => (Delivered::Incomplete, StatusCode::BAD_REQUEST, "the body did not come to its end"),
        NoBody::NoRoom => return overloaded(account),
    };
    account.counts.count(outcome);
    account.complaints.note(outcome.name(), |times| {
        tracing::warn!(account = %account.id, times, "a webhook is refused: {text}");
    });
    answer::unread(status, text)
}

fn unauthenticated(account: &Account, refused: Refused) -> Response {
    account.counts.count(Delivered::Unauthenticated);
    account.complaints.note("unauthenticated", |times| {
        tracing::warn!(account = %account.id, times, "a webhook is refused: {refused}");
    });
    answer::refused(StatusCode::UNAUTHORIZED, &refused.to_string())
}

/// `application/json` or `…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.split_once('/').is_some_and(|(_, sub)| sub.ends_with("+json"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
