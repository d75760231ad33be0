//! Handing a mutation to Walmart, and what its answer means for the entry.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prost::Message;
use tokio::time::Instant;

use super::{Mutations, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::ledger::machine::Event;
use crate::domain::ledger::{Entry, Kind};
use crate::domain::mutations::{CancelOrder, CreateOrder, Mutation};
use crate::pb::WalmartError;
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{Accepted, ErrorKind, Reply, Upstream, UpstreamError};

/// Waits between tries that nobody waits for: doubled from the first to the longest.
const BACKGROUND_RETRY: Duration = Duration::from_secs(1);
const LONGEST_BACKGROUND_RETRY: Duration = Duration::from_secs(20);

/// A mutation that can be sent.
pub(in crate::service) trait Sendable: Mutation {
    /// Sends one upstream request.
    fn send<U: Upstream>(
        upstream: &U,
        account: AccountIndex,
        request: &Self::Request,
        entry: &Entry,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<Accepted>, UpstreamError>> + Send;
}

impl Sendable for CreateOrder {
    fn send<U: Upstream>(
        upstream: &U,
        account: AccountIndex,
        request: &Self::Request,
        entry: &Entry,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<Accepted>, UpstreamError>> + Send {
        upstream.create_order(account, request, entry.correlation_id, call)
    }
}

impl Sendable for CancelOrder {
    fn send<U: Upstream>(
        upstream: &U,
        account: AccountIndex,
        request: &Self::Request,
        entry: &Entry,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<Accepted>, UpstreamError>> + Send {
        upstream.cancel_order(account, request, entry.correlation_id, call)
    }
}

/// How an attempt ended.
pub(in crate::service) struct Attempt {
    /// What the machine is told.
    pub(in crate::service) event: Event,
    /// What Walmart said, if that was yes: the same as is kept of it.
    pub(in crate::service) reply: Option<Reply<Accepted>>,
    /// Why its outcome is not known, in full.
    pub(in crate::service) lost: Option<Box<UpstreamError>>,
}

impl<U: Upstream, L: Ledger> Mutations<U, L> {
    /// Sends what the entry is about. That it is being sent is durable before. `told_until`: for how long a caller waits to be
    /// told when it was not sent; what no caller is told of is tried again.
    pub(in crate::service) async fn attempt<M: Sendable>(
        &self,
        entry: &Entry,
        account: AccountIndex,
        request: &M::Request,
        call: &CallContext,
        told_until: Option<Instant>,
    ) -> Attempt {
        reach(CrashPoint::L3);
        let result = M::send(&self.0.upstream, account, request, entry, call).await;
        reach(CrashPoint::L6);
        let mut result = result;
        let accepted = result.is_ok();
        let errors = match &mut result {
            Ok(reply) => &mut reply.answer.errors,
            Err(error) => &mut error.errors,
        };
        if !errors.is_empty() {
            M::redact(request, errors);
        }
        if accepted && !errors.is_empty() {
            let codes = codes(errors);
            tracing::warn!(operation = %entry.id, codes, "Walmart accepted it and told errors with that");
        }
        self.judged(entry, account, result, told_until).await
    }

    async fn judged(
        &self,
        entry: &Entry,
        account: AccountIndex,
        result: Result<Reply<Accepted>, UpstreamError>,
        told_until: Option<Instant>,
    ) -> Attempt {
        let error = match result {
            Ok(mut reply) => {
                let event = Event::Accepted { answer: answer::accepted(&mut reply) };
                return Attempt { event, reply: Some(reply), lost: None };
            }
            Err(error) => error,
        };
        let told = told_until.is_some_and(|until| Instant::now() < until);
        let (text, kept) = (in_short(&error), answer::refused(&error));
        if error.effect != Effect::None {
            return Attempt { event: Event::Lost { error: text }, reply: None, lost: Some(Box::new(error)) };
        }
        let event = match error.kind {
            ErrorKind::NotFound if entry.kind == Kind::Cancel && self.is_young(account, entry).await => {
                Event::NotSent { answer: kept, error: text, again_in: Some(self.wait_after(entry, None)) }
            }
            ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => {
                let says_present = error.says_order_exists || error.kind == ErrorKind::Duplicate;
                Event::Refused { answer: kept, error: text, says_present }
            }
            ErrorKind::CredentialsRefused
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::CircuitOpen
            | ErrorKind::Unavailable
            | ErrorKind::DeadlineExceeded => {
                let again_in = (!told).then(|| self.wait_after(entry, error.retry_after));
                Event::NotSent { answer: kept, error: text, again_in }
            }
        };
        Attempt { event, reply: None, lost: None }
    }

    /// Whether Walmart may not show this order yet, because it has only just been created here.
    async fn is_young(&self, account: AccountIndex, entry: &Entry) -> bool {
        let account = self.0.directory.id(account);
        match self.0.ledger.creation_of(account, &entry.order_number).await {
            Ok(Some(creation)) => {
                creation.state.is_open() || self.now().since(creation.updated) < self.0.rules.settle_window
            }
            Ok(None) => false,
            // To try again later does no harm; to refuse for good might.
            Err(_) => true,
        }
    }

    fn wait_after(&self, entry: &Entry, asked: Option<Duration>) -> Duration {
        let doubled = BACKGROUND_RETRY * 2u32.saturating_pow(entry.attempts.saturating_sub(1).min(8));
        let wait = asked.unwrap_or_else(|| doubled.min(LONGEST_BACKGROUND_RETRY));
        wait + self.0.random.up_to((wait / 10).min(BACKGROUND_RETRY))
    }
}

/// Sends entries of one mutation again, whatever its type.
pub(super) trait Resending<U, L>: Send + Sync {
    /// Sends what the entry keeps. `None` when that cannot be read.
    fn attempt<'a>(
        &'a self,
        mutations: &'a Mutations<U, L>,
        entry: &'a Entry,
        account: AccountIndex,
        call: &'a CallContext,
    ) -> BoxFuture<'a, Option<Attempt>>;
}

struct Of<M>(std::marker::PhantomData<fn() -> M>);

impl<M: Sendable, U: Upstream, L: Ledger> Resending<U, L> for Of<M> {
    fn attempt<'a>(
        &'a self,
        mutations: &'a Mutations<U, L>,
        entry: &'a Entry,
        account: AccountIndex,
        call: &'a CallContext,
    ) -> BoxFuture<'a, Option<Attempt>> {
        Box::pin(async move {
            let request = M::Request::decode(entry.body.clone()).ok()?;
            Some(mutations.attempt::<M>(entry, account, &request, call, None).await)
        })
    }
}

/// All mutations that can be sent again, by their kind.
pub(super) fn resending<U: Upstream, L: Ledger>() -> Vec<(Kind, Arc<dyn Resending<U, L>>)> {
    fn one<M: Sendable, U: Upstream, L: Ledger>() -> (Kind, Arc<dyn Resending<U, L>>) {
        (M::KIND, Arc::new(Of::<M>(std::marker::PhantomData)))
    }
    vec![one::<CreateOrder, U, L>(), one::<CancelOrder, U, L>()]
}

/// An error for operators: no texts of Walmart's, only codes.
pub(in crate::service) fn in_short(error: &UpstreamError) -> String {
    let code = error.errors.first().map(|error| error.code.as_str()).filter(is_code).unwrap_or_default();
    match (error.http_status, code) {
        (0, _) => format!("{:?}", error.kind),
        (status, "") => format!("{:?}: HTTP {status}", error.kind),
        (status, code) => format!("{:?}: HTTP {status} {code}", error.kind),
    }
}

/// The codes of the first few errors.
fn codes(errors: &[WalmartError]) -> String {
    let codes: Vec<_> = errors.iter().take(5).map(|error| error.code.as_str()).filter(is_code).collect();
    codes.join(" ")
}

fn is_code(code: &&str) -> bool {
    code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
