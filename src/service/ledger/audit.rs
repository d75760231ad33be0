//! Audits of final entries, because an attempt that was given up may still show at Walmart.
//!
//! Audits wait while look-ups of their account are running. After an outage with 600 unknown outcomes, the audits of
//! the entries settled first would take half of the status calls from the look-ups with waiting callers: the last
//! outcome was settled after 52 minutes instead of 35 (`scripts/simulate --outage lost`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::DeskId;
use super::look_up::LookupOutcome;
use super::resolver::Resolver;
use crate::domain::account::AccountIndex;
use crate::domain::ledger::evidence::{Evidence, ExpectedOrder, LookupAnswer, judge_create};
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, EntryState};
use crate::domain::mutations::LookupProbe;
use crate::ports::call::CallPurpose;
use crate::ports::ledger::{Ledger, PlannedAudit};
use crate::ports::store_error::StoreError;
use crate::ports::upstream::WalmartApi;

/// Audits read in one round, and audits made in one round. More are read than made, because audits that cannot be made
/// must not block the audits behind them.
const ROUND: usize = 256;
const AT_ONCE: usize = 8;
/// Audits that could not be made for this time are dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Makes the due audits.
    pub(super) async fn audit(&self) {
        // Audits stay due while the store fails.
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
            // An audit without an account, a permit or an answer stays due.
            let may_be_made = |account: &AccountIndex| {
                made < AT_ONCE
                    && !exhausted.contains(account)
                    && !self.mutations.desk(DeskId::of_orders(*account)).is_busy()
            };
            let Some(account) = account.filter(may_be_made) else {
                self.leave_out_if_old(audit).await;
                continue;
            };
            if mutations.desk(DeskId::of_orders(account)).spare.take().is_err() {
                exhausted.insert(account);
                continue;
            }
            made += 1;
            let probe = LookupProbe::OrderByNumber(entry.order_number.to_string());
            match self.ask(account, &probe, &entry, CallPurpose::Caller).await {
                LookupOutcome::Answer(answer) => {
                    let kind = self.judge(&entry, &answer).await?;
                    self.raise(audit, kind.map(|kind| AuditAlert { operation: entry.id, kind, time: now })).await;
                }
                LookupOutcome::NoPermit(_)
                | LookupOutcome::Limited(..)
                | LookupOutcome::Failed(_)
                | LookupOutcome::Stopping => self.leave_out_if_old(audit).await,
            }
        }
        Ok(())
    }

    /// Judges the answer by the order number alone, because the body of a final entry is erased.
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
        // The number was free for later creations; the order shown may belong to one of these.
        let holder = self.mutations.ledger().creation_of(&entry.account, &entry.order_number).await?;
        Ok(holder.is_none().then_some(AlertKind::LateEffect))
    }

    async fn leave_out_if_old(&self, audit: PlannedAudit) {
        if self.trim_time().is_some_and(|now| now.since(audit.time) > LONGEST_WAIT) {
            tracing::warn!(operation = %audit.operation, "an audit was left out: Walmart could not be asked");
            self.raise(audit, None).await;
        }
    }

    /// Ends an audit. A finding is counted, logged and stored as soon as the store works. An audit without a finding is
    /// repeated when its end could not be written.
    pub(super) async fn raise(&self, audit: PlannedAudit, found: Option<AuditAlert>) {
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
