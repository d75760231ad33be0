//! `ledger.look_first_until`: after a restored backup, orders may exist at Walmart without entries in the ledger. Until
//! the configured time, a creation is looked up by its number before the first attempt.

use uuid::Uuid;

use super::look_up::{LookupOutcome, failed, worth};
use super::sending::in_short;
use super::{Mutations, answer};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::ledger::evidence::{Evidence, OtherChanges};
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{Entry, LookupRecord};
use crate::domain::mutations::settlement_of;
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{ErrorKind, UpstreamError, WalmartApi};
use crate::service::ServiceError;

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Whether new creations are looked up before the first attempt.
    pub(in crate::service) fn looks_first(&self) -> bool {
        self.0.look_first_until.is_some_and(|until| self.now() < until)
    }

    /// Looks up the entry where a look-up has to come first. Returns `Ok` for an entry that may be sent, and `Err` for
    /// an entry that ends here. One absence is enough, because this operation has sent nothing.
    pub(in crate::service) async fn looked_up_first(
        &self,
        mut entry: Entry,
        account: AccountIndex,
        call: &CallContext,
    ) -> Result<Result<Entry, Entry>, ServiceError> {
        let settlement = settlement_of(entry.kind);
        if !(settlement.is_looked_up_first() && entry.attempts == 0 && self.looks_first()) {
            return Ok(Ok(entry));
        }
        let (probe, at) = (settlement.probe(&entry), self.moment());
        self.0.metrics.ledger.look_ups.inc();
        let event = match self.read(account, &probe, call).await {
            Err(error) => not_looked_up(&entry, &error),
            Ok(reply) => {
                let evidence = settlement.judge(&entry, &OtherChanges::default(), &reply.answer);
                let (worth, detail) = worth(&evidence);
                let asked = probe.name().to_owned();
                entry.evidence = Some(LookupRecord { time: at.wall, asked, worth, detail: detail.clone() });
                match evidence {
                    Evidence::Absent(_) => return Ok(Ok(entry)),
                    Evidence::Present(_) => EntryEvent::Present { answer: answer::seen(entry.correlation_id) },
                    Evidence::Contradicted(_) => {
                        let error = not_sent(&entry, ErrorKind::Duplicate, reply.correlation_id);
                        EntryEvent::Refused { answer: answer::refused(&error), error: detail, says_present: true }
                    }
                    Evidence::Nothing(_) => {
                        let error = not_sent(&entry, ErrorKind::Unavailable, reply.correlation_id);
                        EntryEvent::NotSent { answer: answer::refused(&error), error: detail, again_in: None }
                    }
                }
            }
        };
        self.after(entry, event).map(Err)
    }
}

/// The event of a failed look-up: nothing is known, and nothing is sent.
fn not_looked_up(entry: &Entry, error: &UpstreamError) -> EntryEvent {
    let kind = match failed(error) {
        LookupOutcome::NoPermit(_) | LookupOutcome::Limited(..) => ErrorKind::RateLimited,
        LookupOutcome::Answer(_) | LookupOutcome::Failed(_) | LookupOutcome::Stopping => ErrorKind::Unavailable,
    };
    let told = not_sent(entry, kind, error.correlation_id);
    let told = UpstreamError { http_status: error.http_status, retry_after: error.retry_after, ..told };
    EntryEvent::NotSent { answer: answer::refused(&told), error: in_short(error), again_in: None }
}

/// The error of an entry that was not sent because of its look-up, with the correlation id of the look-up.
fn not_sent(entry: &Entry, kind: ErrorKind, correlation_id: Uuid) -> UpstreamError {
    UpstreamError::unanswered(entry.kind.operation(), kind, Effect::None, correlation_id)
}
