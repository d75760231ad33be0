//! Receives what Walmart posts: `POST /webhooks/walmart/{account}`, and `…/token` where deliveries come with a token.
//!
//! - A delivery is answered 200 after it was synced to the store, never before. A refused delivery is not stored.
//! - A delivery whose proof is right is never refused for its content, because Walmart sends it three times and no more.
//! - When the gateway itself cannot store a delivery, the answer is 503 with `Retry-After`.
//! - The checks come in this order: account, size, proof, content. Before the proof is checked neither the body nor its content
//!   type is looked at.
//! - Every refusal is counted ([`refusal`]). A post whose proof is not checked yet never takes the place of a delivery whose
//!   proof is right ([`unproved`]).

mod answer;
pub mod auth;
mod body;
mod observe;
pub mod read;
mod refusal;
mod unpack;
mod unproved;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, any, post};
use foldhash::fast::RandomState;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use self::auth::{ProofVerifier, TokenGrant, TokenKey, TokenRefusal, UnverifiedDelivery, VerifiedDelivery};
use self::observe::RequestObserver;
use self::refusal::{PostRecorder, PostRefusal};
use self::unproved::{UnprovedLimits, UnprovedPost, UnprovedPosts};
use super::peer::PeerAddress;
use crate::config;
use crate::domain::account::SellerId;
use crate::limits::{
    DELIVERIES, DELIVERY_BYTES, STORING_BYTES, UNPROVED_BYTES, UNPROVED_POSTS, UNPROVED_POSTS_PER_ADDRESS,
};
use crate::ports::clock::Clock;
use crate::ports::event_log::{AppendOutcome, EventLog};
use crate::ports::token_keys::TokenKeys;
use crate::quota::Quota;
use crate::service::feed::{DeliveryRecipient, WebhookIntake};
use crate::telemetry::metrics::{DeliveryOutcome, GaugeGuard, Metrics};
use crate::telemetry::trace::Tracer;

/// Bytes of a token request.
const MAX_FORM: usize = 16 * 1024;
/// The limits of posts whose origin is not proved yet.
const UNPROVED: UnprovedLimits =
    UnprovedLimits { by_address: UNPROVED_POSTS_PER_ADDRESS, posts: UNPROVED_POSTS, bytes: UNPROVED_BYTES };
/// Time for the store. Walmart is said to wait 3 s; a slower disk may still store the delivery and answer 200.
const STORE_TIME: Duration = Duration::from_secs(10);

/// Headers with a proof, unless the settings name another.
const PROOF_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-walmart-auth"), HeaderName::from_static("wm_sec.signature")];

/// Receives the webhooks of all accounts, and stores them.
pub(crate) struct WebhookReceiver<L> {
    accounts: WebhookAccounts,
    /// Counts posts without a known account.
    unknown: PostRecorder,
    intake: WebhookIntake<L>,
    keys: L,
    /// The key of tokens, read at its first use.
    token_key: OnceCell<TokenKey>,
    clock: Clock,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    unproved: UnprovedPosts,
    deliveries: Quota,
    bytes: Quota,
}

/// The accounts that receive webhooks. Cheap to clone; all clones share the accounts.
#[derive(Clone)]
pub(crate) struct WebhookAccounts(Arc<AccountsInForce>);

struct AccountsInForce {
    known: ArcSwap<KnownAccounts>,
    metrics: Arc<Metrics>,
}

struct KnownAccounts {
    accounts: HashMap<String, Arc<WebhookAccount>, RandomState>,
    /// All headers that may carry a proof.
    proof_headers: Vec<HeaderName>,
}

impl WebhookAccounts {
    fn new(accounts: &[config::AccountConfig], metrics: Arc<Metrics>) -> Self {
        let known = ArcSwap::from_pointee(KnownAccounts::new(accounts, &metrics));
        Self(Arc::new(AccountsInForce { known, metrics }))
    }

    /// Replaces the accounts after a change of the settings. Posts that are under way go on.
    pub(crate) fn replace(&self, accounts: &[config::AccountConfig]) {
        self.0.known.store(Arc::new(KnownAccounts::new(accounts, &self.0.metrics)));
    }

    fn find(&self, id: &str) -> Option<Arc<WebhookAccount>> {
        self.0.known.load().accounts.get(id).cloned()
    }

    /// Whether a request without a known account carries a proof of any kind.
    fn is_signed(&self, headers: &HeaderMap) -> bool {
        self.0.known.load().proof_headers.iter().any(|name| carries(headers, name))
    }
}

impl KnownAccounts {
    fn new(accounts: &[config::AccountConfig], metrics: &Metrics) -> Self {
        let receiving = accounts.iter().filter_map(|account| {
            let (id, webhook) = (account.id.clone(), account.webhook.clone()?);
            let recorder = PostRecorder::new(id.as_str(), metrics.webhooks.of(id.as_str()));
            let gate = ProofVerifier::new(id.clone(), webhook);
            let recipient = DeliveryRecipient { account: id.clone(), seller: SellerId::new(&account.partner_id) };
            Some((id.to_string(), Arc::new(WebhookAccount { recipient, gate, recorder })))
        });
        let accounts: HashMap<_, _, _> = receiving.collect();
        let configured = accounts.values().filter_map(|account| account.gate.proof_header().cloned());
        Self { proof_headers: PROOF_HEADERS.into_iter().chain(configured).collect(), accounts }
    }
}

struct WebhookAccount {
    recipient: DeliveryRecipient,
    gate: ProofVerifier,
    recorder: PostRecorder,
}

impl WebhookAccount {
    /// Whether a request carries a proof, right or wrong.
    fn is_signed(&self, headers: &HeaderMap) -> bool {
        self.gate.proof_header().is_none_or(|name| carries(headers, name))
    }
}

impl<L: EventLog + TokenKeys> WebhookReceiver<L> {
    /// Serves the accounts whose settings have a webhook scheme. `store` keeps the deliveries and the key of tokens.
    pub(crate) fn new(
        accounts: &[config::AccountConfig],
        store: L,
        clock: Clock,
        metrics: Arc<Metrics>,
        tracer: Tracer,
    ) -> Self {
        Self {
            accounts: WebhookAccounts::new(accounts, metrics.clone()),
            unknown: PostRecorder::new("unknown", metrics.webhooks.of_unknown_account()),
            intake: WebhookIntake::new(store.clone(), clock),
            keys: store,
            token_key: OnceCell::new(),
            clock,
            tracer,
            unproved: UnprovedPosts::new(UNPROVED),
            deliveries: Quota::new(DELIVERIES),
            bytes: Quota::new(STORING_BYTES),
            metrics,
        }
    }

    /// The accounts, to be replaced when the settings change.
    pub(crate) fn accounts(&self) -> WebhookAccounts {
        self.accounts.clone()
    }

    /// The routes, to be merged with the listener's. A trailing slash makes no difference.
    pub(crate) fn router(self) -> Router {
        let receive = || post(receive::<L>).fallback(only_post::<L>);
        let grant = || post(grant::<L>).fallback(only_post::<L>);
        let nowhere = || -> MethodRouter<Arc<Self>> { any(nowhere::<L>) };
        let observer = RequestObserver::new(self.tracer.clone(), self.metrics.clone(), self.clock);
        Router::new()
            .route("/webhooks/walmart/{account}", receive())
            .route("/webhooks/walmart/{account}/", receive())
            .route("/webhooks/walmart/{account}/token", grant())
            .route("/webhooks/walmart/{account}/token/", grant())
            .route("/webhooks", nowhere())
            .route("/webhooks/", nowhere())
            .route("/webhooks/{*rest}", nowhere())
            .route_layer(from_fn_with_state(observer, observe::observe))
            .with_state(Arc::new(self))
    }

    fn account(&self, path: Result<Path<String>, PathRejection>) -> Option<Arc<WebhookAccount>> {
        self.accounts.find(&path.ok()?.0)
    }

    /// The time since 1970.
    fn now(&self) -> Duration {
        self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn admit(&self, head: &Parts) -> UnprovedPost {
        self.unproved.admit(PeerAddress::of(&head.extensions))
    }

    /// Refuses a post without a known account.
    fn refuse_unknown(&self, refusal: PostRefusal, headers: &HeaderMap) -> Response {
        self.unknown.refuse(refusal, self.accounts.is_signed(headers))
    }

    /// Returns the key of tokens. The first call reads the key from the store, or creates it.
    async fn token_key(&self) -> Result<&TokenKey, PostRefusal> {
        let read = async || {
            let fresh = TokenKey::random_bytes().ok_or(PostRefusal::NotStored)?;
            let kept = timeout(STORE_TIME, self.keys.token_key(fresh)).await;
            // The store has logged the failure.
            kept.ok().and_then(Result::ok).map(|bytes| TokenKey::new(&bytes)).ok_or(PostRefusal::NotStored)
        };
        self.token_key.get_or_try_init(read).await
    }

    async fn receive(&self, account: &WebhookAccount, head: &Parts, body: Body) -> Result<Response, PostRefusal> {
        let began = Instant::now();
        let _in_flight = GaugeGuard::new(&self.metrics.webhooks.in_flight);
        let mut post = self.admit(head);
        let body = body::read(body, DELIVERY_BYTES, &mut post).await?;
        let key = if account.gate.grants() { Some(self.token_key().await?) } else { None };
        let delivery = UnverifiedDelivery { head, body };
        let verified = account.gate.check(delivery, self.now(), key).map_err(PostRefusal::Unproved)?;
        // Proved: from here on the post counts among deliveries.
        drop(post);
        let _place = self.deliveries.try_acquire(1).ok_or(PostRefusal::Overloaded)?;
        let stored = self.store(account, verified).await;
        self.metrics.webhooks.duration.observe(began.elapsed().as_secs_f64());
        stored
    }

    async fn store(&self, account: &WebhookAccount, delivery: VerifiedDelivery) -> Result<Response, PostRefusal> {
        let (raw, read) = read::read(delivery);
        let _room = self.bytes.try_acquire(raw.len()).ok_or(PostRefusal::Overloaded)?;
        let unreadable = read.as_ref().err().map(|unreadable| unreadable.reason().to_owned());
        let unclear = read.as_ref().ok().and_then(|notification| notification.unclear);
        let is_fraud_cancel = read.as_ref().is_ok_and(read::is_fraud_cancel);
        let WebhookAccount { recipient, recorder, .. } = account;
        let id = &recipient.account;
        let wait = self.tracer.wait_span("feed append");
        let stored = timeout(STORE_TIME, self.intake.take(recipient, raw, read)).await;
        drop(wait);
        let (outcome, answer) = match stored {
            Ok(Ok(AppendOutcome::Stored { .. })) => match unreadable {
                None => {
                    if let Some(cause) = unclear {
                        recorder.note_unclear(cause);
                    }
                    if is_fraud_cancel {
                        recorder.note_fraud_cancel();
                    }
                    (DeliveryOutcome::Stored, answer::stored(false))
                }
                Some(reason) => {
                    recorder.throttle.note("quarantined", |times| {
                        tracing::warn!(account = %id, times, reason, "a webhook cannot be read; it is in quarantine");
                    });
                    (DeliveryOutcome::Quarantined, answer::stored(false))
                }
            },
            Ok(Ok(AppendOutcome::Duplicate)) => (DeliveryOutcome::Duplicate, answer::stored(true)),
            Ok(Ok(AppendOutcome::Conflict)) => {
                recorder.throttle.note("conflict", |times| {
                    tracing::warn!(account = %id, times, "a webhook has the id of another delivery; both are kept");
                });
                (DeliveryOutcome::Conflict, answer::stored(true))
            }
            // The store has logged the failure. After a timeout the delivery may still be stored, and the repeated
            // delivery is a duplicate.
            Ok(Err(_)) | Err(_) => return Err(PostRefusal::NotStored),
        };
        recorder.counts.count(outcome);
        Ok(answer)
    }

    async fn grant(
        &self,
        account: &WebhookAccount,
        head: &Parts,
        body: Body,
    ) -> Result<Result<TokenGrant, TokenRefusal>, PostRefusal> {
        let mut post = self.admit(head);
        let form = body::read(body, MAX_FORM, &mut post).await?;
        let key = self.token_key().await?;
        Ok(account.gate.grant(&head.headers, &form, self.now(), key))
    }
}

/// Whether a header is present and not empty.
fn carries(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| !value.as_bytes().trim_ascii().is_empty())
}

async fn receive<L: EventLog + TokenKeys>(
    State(webhooks): State<Arc<WebhookReceiver<L>>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Some(account) = webhooks.account(path) else {
        return webhooks.refuse_unknown(PostRefusal::UnknownAccount, &head.headers);
    };
    match webhooks.receive(&account, &head, body).await {
        Ok(answer) => answer,
        Err(refusal) => account.recorder.refuse(refusal, account.is_signed(&head.headers)),
    }
}

async fn grant<L: EventLog + TokenKeys>(
    State(webhooks): State<Arc<WebhookReceiver<L>>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Some(account) = webhooks.account(path) else {
        return webhooks.refuse_unknown(PostRefusal::UnknownAccount, &head.headers);
    };
    let PostRecorder { counts, throttle, .. } = &account.recorder;
    // An account without tokens gets the answer of an unknown account, which reveals nothing about its settings.
    if !account.gate.grants() {
        counts.tokens_refused.inc();
        return PostRefusal::UnknownAccount.answer();
    }
    match webhooks.grant(&account, &head, body).await {
        Ok(Ok(grant)) => {
            counts.tokens_issued.inc();
            answer::token(&grant)
        }
        Ok(Err(why)) => {
            counts.tokens_refused.inc();
            throttle.note("token", |times| {
                tracing::warn!(account = %account.recipient.account, times, ?why, "a request for a webhook token is refused");
            });
            answer::no_token(why)
        }
        Err(refusal) => {
            counts.tokens_refused.inc();
            account.recorder.refuse(refusal, false)
        }
    }
}

async fn only_post<L: EventLog + TokenKeys>(
    State(webhooks): State<Arc<WebhookReceiver<L>>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    match webhooks.account(path) {
        Some(account) => account.recorder.refuse(PostRefusal::WrongMethod, account.is_signed(&headers)),
        None => webhooks.refuse_unknown(PostRefusal::WrongMethod, &headers),
    }
}

/// Any other path below `/webhooks`.
async fn nowhere<L: EventLog + TokenKeys>(
    State(webhooks): State<Arc<WebhookReceiver<L>>>,
    headers: HeaderMap,
) -> Response {
    webhooks.refuse_unknown(PostRefusal::UnknownAccount, &headers)
}

#[cfg(test)]
mod tests;
