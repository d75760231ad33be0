//! The operator's view of the ledger: reading, listing and resolving operations.

use std::time::Duration;

use super::error::pending_entry;
use super::ledger::{Mutations, answer, audits};
use super::{AccountDirectory, ServiceError, paging};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::{EntryEvent, OperatorVerdict, ResendPolicy};
use crate::domain::ledger::{AlertKind, Entry, EntryState, OperationId};
use crate::domain::mutations::settlement_of;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::domain::timestamp::Timestamp;
use crate::ports::call::CallContext;
use crate::ports::ledger::{EntryCount, EntryQuery, Ledger, SaveResult};
use crate::ports::upstream::WalmartApi;

/// Longest reason in characters.
const LONGEST_REASON: usize = 500;
/// Attempts at a decision while look-ups change the entry concurrently.
const DECISIONS: usize = 5;
/// Twice the longest duration of a call.
const OVERDUE: Duration = Duration::from_secs(120);

/// The use case of the operator's RPCs. Cheap to clone.
pub struct Operations<U, L> {
    mutations: Mutations<U, L>,
}

impl<U, L> Clone for Operations<U, L> {
    fn clone(&self) -> Self {
        Self { mutations: self.mutations.clone() }
    }
}

/// One entry with the findings of audits.
#[derive(Clone, Debug)]
pub struct OperationDetails {
    /// Entry of the ledger.
    pub entry: Entry,
    /// Findings of audits about the entry.
    pub alerts: Vec<(AlertKind, Timestamp)>,
    /// What Walmart showed before the request of an open entry was sent, one text for each line.
    pub snapshot: Vec<String>,
}

/// The conditions of a list.
#[derive(Clone, Debug, Default)]
pub struct ListOperations {
    /// Account of the entries; empty for all visible accounts.
    pub account: String,
    /// States of the entries; empty for any state.
    pub states: Vec<EntryState>,
    /// Smallest age of the entries.
    pub min_age: Option<Duration>,
    /// Largest number of entries; 0 for the default page.
    pub page_size: i32,
    /// Token from the previous page.
    pub page_token: String,
}

/// A page of entries.
#[derive(Clone, Debug)]
pub struct OperationPage {
    /// Entries of the page, oldest first.
    pub entries: Vec<Entry>,
    /// Token for the next page; empty for the last page.
    pub next_page_token: String,
}

impl<U: WalmartApi, L: Ledger> Operations<U, L> {
    /// Reads the ledger of `mutations`.
    pub fn new(mutations: Mutations<U, L>) -> Self {
        Self { mutations }
    }

    /// Reads one entry. An entry of an account invisible to the caller is reported as missing.
    pub async fn get(&self, name: &str, call: &CallContext) -> Result<OperationDetails, ServiceError> {
        let entry = self.visible(name, call).await?;
        let alerts = self.mutations.ledger().alerts(entry.id).await?;
        let snapshot = if entry.state.is_open() { settlement_of(entry.kind).figures(&entry) } else { Vec::new() };
        Ok(OperationDetails { entry: self.shown(entry), alerts, snapshot })
    }

    /// Lists entries by account, state and age, oldest first.
    pub async fn list(&self, request: ListOperations, call: &CallContext) -> Result<OperationPage, ServiceError> {
        // Callers allowed every account also see entries of sellers without an account.
        let everything = request.account.is_empty() && call.caller().sees_all();
        let accounts = self.directory().many(&request.account, call)?;
        let (after, limit) = place(request.page_size, &request.page_token).map_err(ServiceError::Invalid)?;
        let query = EntryQuery {
            accounts: (!everything).then(|| accounts.into_iter().map(|account| self.directory().id(account)).collect()),
            states: request.states,
            created_before: request.min_age.map(|age| Timestamp(self.mutations.now().minus(age).0 + 1)),
            after,
            // One additional entry shows whether a further page exists.
            limit: limit + 1,
        };
        if query.accounts.as_ref().is_some_and(Vec::is_empty) {
            return Ok(OperationPage { entries: Vec::new(), next_page_token: String::new() });
        }
        let mut entries = self.mutations.ledger().list(&query).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next_page_token = entries.last().filter(|_| more).map(|last| last.id.to_string()).unwrap_or_default();
        let entries = entries.into_iter().map(|entry| self.shown(entry)).collect();
        Ok(OperationPage { entries, next_page_token })
    }

    /// The entry as shown to operators: a planned time in the past is shown as now, because the look-up is waiting for
    /// its turn.
    fn shown(&self, entry: Entry) -> Entry {
        let now = self.mutations.moment();
        let next = entry.next.map(|next| if next.wall < now.wall { now } else { next });
        Entry { next, ..entry }
    }

    /// Unsettled entries of all accounts, at most `most`: first NEEDS_OPERATOR, then UNKNOWN, then RECORDED or SENDING
    /// older than the longest call; oldest first within a group. Fails when the store fails.
    pub(crate) async fn unresolved(&self, most: usize) -> Result<Vec<Entry>, ServiceError> {
        let accounts: Vec<_> = self.directory().all().into_iter().map(|account| self.directory().id(account)).collect();
        let overdue = self.mutations.now().minus(OVERDUE);
        let wanted: [(&[EntryState], Option<Timestamp>); 3] = [
            (&[EntryState::NeedsOperator], None),
            (&[EntryState::Unknown], None),
            (&[EntryState::Recorded, EntryState::Sending], Some(overdue)),
        ];
        let mut found = Vec::new();
        for (states, created_before) in wanted {
            let limit = most - found.len();
            if limit > 0 {
                let (accounts, states) = (Some(accounts.clone()), states.to_vec());
                let query = EntryQuery { accounts, states, created_before, after: OperationId(0), limit };
                found.extend(self.mutations.ledger().list(&query).await?);
            }
        }
        Ok(found.into_iter().map(|entry| self.shown(entry)).collect())
    }

    /// Settles an open entry by the decision of an operator.
    pub async fn resolve(
        &self,
        name: &str,
        verdict: Option<OperatorVerdict>,
        reason: &str,
        call: &CallContext,
    ) -> Result<Entry, ServiceError> {
        let mut faults = FieldFaults::default();
        if verdict.is_none() {
            faults.add(&FieldPath::Top("outcome"), "must be SUCCEEDED, REJECTED or RESEND");
        }
        if reason.trim().is_empty() || reason.chars().count() > LONGEST_REASON {
            faults.add(&FieldPath::Top("reason"), "must be 1 to 500 characters");
        }
        faults.into_result().map_err(ServiceError::Invalid)?;
        let Some(verdict) = verdict else { return Err(ServiceError::Internal) };
        for _ in 0..DECISIONS {
            let entry = self.visible(name, call).await?;
            if let Some(decided) = self.decide(entry, verdict, reason, call).await? {
                return Ok(decided);
            }
        }
        Err(pending_entry(&self.visible(name, call).await?))
    }

    /// Writes an operator's decision. Returns `None` when the entry changed concurrently and the decision has to be
    /// applied again; the decision is the same for every open state.
    async fn decide(
        &self,
        entry: Entry,
        verdict: OperatorVerdict,
        reason: &str,
        call: &CallContext,
    ) -> Result<Option<Entry>, ServiceError> {
        match entry.state {
            EntryState::Recorded | EntryState::Unknown | EntryState::NeedsOperator => {}
            EntryState::Sending => return Err(pending_entry(&entry)),
            EntryState::Succeeded | EntryState::Rejected | EntryState::NotSent | EntryState::Expired => {
                return Err(ServiceError::OperationClosed);
            }
        }
        if verdict == OperatorVerdict::Resend && settlement_of(entry.kind).resend() == ResendPolicy::Impossible {
            let mut faults = FieldFaults::default();
            faults.add(
                &FieldPath::Top("outcome"),
                "cannot be RESEND: the ledger does not keep this request; repeat the call",
            );
            return Err(ServiceError::Invalid(faults));
        }
        let id = entry.id;
        let answer = answer::of_operator(&entry, verdict);
        let entry = self.mutations.after(entry, EntryEvent::Resolved { verdict, reason: reason.to_owned(), answer })?;
        let (mutations, caller) = (self.mutations.clone(), call.caller().clone());
        // Runs in a task of its own: dropping the caller's future between the write and `follow` would leave waiters
        // and the queue without the change.
        let decided = tokio::spawn(call.trace.ids().scope(async move {
            let audits = audits(&entry);
            let saved = mutations.ledger().save(vec![entry], audits).await?;
            if let SaveResult::Done(entries) = &saved {
                for entry in entries {
                    tracing::warn!(operation = %id, outcome = ?verdict, caller = caller.name, "an operator resolved an operation");
                    mutations.follow(entry);
                }
            }
            Ok::<_, ServiceError>(saved)
        }));
        match decided.await.map_err(|_| ServiceError::Internal)?? {
            SaveResult::Done(mut entries) => {
                entries.pop().map(|entry| Some(self.shown(entry))).ok_or(ServiceError::Internal)
            }
            SaveResult::Stale => Ok(None),
        }
    }

    /// Counts the entries of every account and state. Returns `None` while the store fails.
    pub async fn counts(&self) -> Option<Vec<EntryCount>> {
        self.mutations.ledger().counts().await.ok()
    }

    async fn visible(&self, name: &str, call: &CallContext) -> Result<Entry, ServiceError> {
        let id: OperationId = name.parse().map_err(|_| {
            let mut faults = FieldFaults::default();
            faults.add(&FieldPath::Top("name"), "must be of the form operations/42");
            ServiceError::Invalid(faults)
        })?;
        let entry = self.mutations.ledger().get(id).await?;
        let entry = entry.ok_or(ServiceError::OperationNotFound)?;
        let may_see = |account: AccountIndex| call.caller().may_see(account);
        // Operations of a removed account are visible only to callers allowed every account.
        let visible = self.directory().position(&entry.account).map_or(call.caller().sees_all(), may_see);
        if !visible {
            return Err(ServiceError::OperationNotFound);
        }
        call.facts.set_account(&entry.account);
        Ok(entry)
    }

    fn directory(&self) -> &AccountDirectory {
        self.mutations.directory()
    }
}

/// Checks the page parameters of a list.
pub(crate) fn check_page(page_size: i32, page_token: &str) -> Result<(), FieldFaults> {
    place(page_size, page_token).map(drop)
}

/// The first id and the length of a page.
fn place(page_size: i32, page_token: &str) -> Result<(OperationId, usize), FieldFaults> {
    let mut faults = FieldFaults::default();
    let limit = paging::size(page_size, &mut faults);
    let after = paging::token(page_token, OperationId(0), &mut faults);
    faults.into_result()?;
    Ok((after, limit))
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
