//! Sends a mutation to Walmart, and derives the event from the answer.

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use super::{Mutations, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::ledger::machine::{EntryEvent, ResendPolicy};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::mutations::{self, Mutation};
use crate::domain::operation::operations;
use crate::domain::personal::PersonalTexts;
use crate::pb::WalmartError;
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, ErrorKind, Reply, Upstream, UpstreamError, WalmartApi};

/// Waits between background attempts, doubled from the first to the longest.
const BACKGROUND_RETRY: Duration = Duration::from_secs(1);
const LONGEST_BACKGROUND_RETRY: Duration = Duration::from_secs(20);

/// The end of an attempt.
pub(in crate::service) struct SendAttempt {
    /// The event for the machine.
    pub(in crate::service) event: EntryEvent,
    /// Walmart's acceptance, equal to the stored answer.
    pub(in crate::service) reply: Option<Reply<AcceptedAnswer>>,
    /// The full error behind an unknown outcome.
    pub(in crate::service) lost: Option<Box<UpstreamError>>,
}

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Sends the entry's request. The state `Sending` is durable before. `reply_by` is the time until which a caller
    /// waits for a "not sent" answer; an unsent entry without a waiting caller is retried.
    pub(in crate::service) async fn attempt<M: Mutation>(
        &self,
        entry: &Entry,
        account: AccountIndex,
        request: &M::Request,
        call: &CallContext,
        reply_by: Option<Instant>,
    ) -> SendAttempt
    where
        U: Upstream<M>,
    {
        reach(CrashPoint::L3);
        let result = Upstream::<M>::call(&self.0.upstream, account, request, Some(entry.correlation_id), call).await;
        reach(CrashPoint::L6);
        let mut result = result;
        let accepted = result.is_ok();
        let errors = match &mut result {
            Ok(reply) => &mut reply.answer.errors,
            Err(error) => &mut error.errors,
        };
        if !errors.is_empty() {
            M::personal(request).and(PersonalTexts::kept_beside(&entry.snapshot)).redact(errors.iter_mut());
        }
        if accepted && !errors.is_empty() {
            let (codes, correlation_id) = (codes(errors), entry.correlation_id);
            tracing::warn!(operation = %entry.id, %correlation_id, codes, "Walmart accepted a mutation and sent errors with the acceptance");
        }
        self.judged::<M>(entry, account, result, reply_by).await
    }

    async fn judged<M: Mutation>(
        &self,
        entry: &Entry,
        account: AccountIndex,
        result: Result<Reply<AcceptedAnswer>, UpstreamError>,
        reply_by: Option<Instant>,
    ) -> SendAttempt {
        let error = match result {
            Ok(mut reply) => {
                let event = EntryEvent::Accepted { answer: answer::accepted(&mut reply) };
                return SendAttempt { event, reply: Some(reply), lost: None };
            }
            Err(error) => error,
        };
        let told = reply_by.is_some_and(|until| Instant::now() < until);
        let (text, kept) = (in_short(&error), answer::refused(&error));
        if error.effect != Effect::None {
            return SendAttempt { event: EntryEvent::Lost { error: text }, reply: None, lost: Some(Box::new(error)) };
        }
        let event = match error.kind {
            ErrorKind::NotFound if M::NEEDS_ORDER && self.is_young(account, entry).await => {
                EntryEvent::NotSent { answer: kept, error: text, again_in: Some(self.wait_after(entry, None)) }
            }
            ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => {
                let says_present = error.says_order_exists || error.kind == ErrorKind::Duplicate;
                EntryEvent::Refused { answer: kept, error: text, says_present }
            }
            ErrorKind::CredentialsRefused
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::CircuitOpen
            | ErrorKind::Unavailable
            | ErrorKind::DeadlineExceeded => {
                // Without a stored request nothing can be sent later.
                let may_wait = M::resend() != ResendPolicy::Impossible;
                let again_in = (!told && may_wait).then(|| self.wait_after(entry, error.retry_after));
                EntryEvent::NotSent { answer: kept, error: text, again_in }
            }
        };
        SendAttempt { event, reply: None, lost: None }
    }

    async fn attempt_kept<M: Mutation>(
        &self,
        entry: &Entry,
        account: AccountIndex,
        call: &CallContext,
    ) -> Option<SendAttempt>
    where
        U: Upstream<M>,
    {
        if M::resend() == ResendPolicy::Impossible {
            return None;
        }
        let request = M::Request::decode(entry.body.clone()).ok()?;
        Some(self.attempt::<M>(entry, account, &request, call, None).await)
    }

    /// Whether Walmart may not know this order yet, because this gateway has just created the order.
    async fn is_young(&self, account: AccountIndex, entry: &Entry) -> bool {
        let account = self.0.directory.id(account);
        match self.0.ledger.creation_of(&account, &entry.order_number).await {
            Ok(Some(creation)) => {
                creation.state.is_open() || self.now().since(creation.updated) < self.0.rules.settle_window
            }
            Ok(None) => false,
            // A retry is harmless; a permanent refusal could be wrong.
            Err(_) => true,
        }
    }

    fn wait_after(&self, entry: &Entry, asked: Option<Duration>) -> Duration {
        let doubled = BACKGROUND_RETRY * 2u32.saturating_pow(entry.attempts.saturating_sub(1).min(8));
        let wait = asked.unwrap_or_else(|| doubled.min(LONGEST_BACKGROUND_RETRY));
        wait + self.0.random.up_to((wait / 10).min(BACKGROUND_RETRY))
    }
}

macro_rules! attempts_again {
    (
        reads $reads:tt
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
            /// Sends the stored request of an entry of any kind. Returns `None` when the request cannot be decoded, or is
            /// not stored.
            pub(super) async fn attempt_again(
                &self,
                entry: &Entry,
                account: AccountIndex,
                call: &CallContext,
            ) -> Option<SendAttempt> {
                match entry.kind {
                    $(MutationKind::$mutation => self.attempt_kept::<mutations::$type>(entry, account, call).await,)*
                }
            }
        }
    };
}
operations!(attempts_again);

/// An error in short form for operators: Walmart's codes without texts.
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
