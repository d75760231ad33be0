//! Looking after what is final: an attempt that was given up may still show at Walmart.
//!
//! Audits wait while look-ups of their account do. After an outage with 600 doubts, the audits of those that are settled first
//! would take half of the status calls from those whose callers still wait: the last of them was answered after 52 minutes,
//! not 35 (`scripts/simulate --outage lost`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::look_up::Asked;
use super::resolver::Resolver;
use crate::domain::account::AccountIndex;
use crate::domain::ledger::evidence::{Evidence, ExpectedOrder, LookupAnswer, judge_create};
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, EntryState};
use crate::domain::mutations::LookupProbe;
use crate::ports::call::Purpose;
use crate::ports::ledger::{Audit, Ledger, StoreError};
use crate::ports::upstream::WalmartApi;

/// Audits read in one round, and how many of them are made. Those that cannot be made must not stand before the others.
const ROUND: usize = 256;
const AT_ONCE: usize = 8;
/// Audits that could not be made for so long are left out.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Makes the audits that are due.
    pub(super) async fn audit(&self) {
        // While the store fails they stay due.
        let _ = self.audit_due().await;
    }

    async fn audit_due(&self) -> Result<(), StoreError> {
        let (mutations, now) = (&self.mutations, self.mutations.now());
        let (mut made, mut exhausted) = (0, BTreeSet::new());
        for audit in mutations.ledger().due_audits(now, ROUND).await? {
            let Some(entry) = mutations.ledger().get(audit.operation).await? else {
                self.raise(audit, None).await;
                continue;
            };
            let account = mutations.directory().position(&entry.account);
            // Without an account, a call or an answer it stays due.
            let may_be_made = |account: &AccountIndex| {
                made < AT_ONCE && !exhausted.contains(account) && !self.desk(*account).is_busy()
            };
            let Some(account) = account.filter(may_be_made) else {
                self.leave_out_if_old(audit).await;
                continue;
            };
            if self.desk(account).spare.take().is_err() {
                exhausted.insert(account);
                continue;
            }
            made += 1;
            let probe = LookupProbe::OrderByNumber(entry.order_number.to_string());
            match self.ask(account, &probe, &entry, Purpose::Caller).await {
                Asked::Answer(answer) => {
                    let kind = self.judge(&entry, &answer).await?;
                    self.raise(audit, kind.map(|kind| AuditAlert { operation: entry.id, kind, time: now })).await;
                }
                Asked::NoPermit(_) | Asked::Limited(..) | Asked::Failed(_) | Asked::Stopping => {
                    self.leave_out_if_old(audit).await
                }
            }
        }
        Ok(())
    }

    /// The body of a final entry is erased, so all orders of its number count.
    async fn judge(&self, entry: &Entry, answer: &LookupAnswer) -> Result<Option<AlertKind>, StoreError> {
        let Evidence::Present(presence) = judge_create(&ExpectedOrder::of_number(&entry.order_number), answer) else {
            return Ok(None);
        };
        if presence.copies > 1 {
            return Ok(Some(AlertKind::Duplicate));
        }
        if entry.state == EntryState::Succeeded {
            return Ok(None);
        }
        // The number was free for others: what shows may be theirs.
        let holder = self.mutations.ledger().creation_of(&entry.account, &entry.order_number).await?;
        Ok(holder.is_none().then_some(AlertKind::LateEffect))
    }

    async fn leave_out_if_old(&self, audit: Audit) {
        if self.trim_time().is_some_and(|now| now.since(audit.time) > LONGEST_WAIT) {
            tracing::warn!(operation = %audit.operation, "an audit was left out: Walmart could not be asked");
            self.raise(audit, None).await;
        }
    }

    /// Ends an audit; what it found is counted, logged and kept, as soon as the store works. One that found nothing is
    /// made again when its end could not be written.
    pub(super) async fn raise(&self, audit: Audit, found: Option<AuditAlert>) {
        let ledger = self.mutations.ledger();
        let Some(alert) = found else {
            let _ = ledger.end_audit(audit, None).await;
            return;
        };
        if self.mutations.until_it_works(|| ledger.end_audit(audit, Some(alert.clone()))).await {
            self.mutations.0.metrics.ledger.alert(alert.kind);
            tracing::error!(operation = %alert.operation, alert = alert.kind.name(), "a mutation had an effect that it must not have");
        }
    }
}
