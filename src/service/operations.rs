//! The operator's view of the ledger: look, list, decide.

use std::time::Duration;

use super::error::pending_entry;
use super::ledger::{Mutations, answer, audits};
use super::{Directory, ServiceError, paging};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::{EntryEvent, OperatorVerdict};
use crate::domain::ledger::{AlertKind, Entry, EntryState, OperationId};
use crate::domain::rules::{Faults, Path};
use crate::domain::timestamp::Timestamp;
use crate::ports::call::CallContext;
use crate::ports::ledger::{Count, Ledger, Query, Saved};
use crate::ports::upstream::WalmartApi;

/// Characters of a reason.
const LONGEST_REASON: usize = 500;
/// How often a decision is made again because a look-up has just changed the entry.
const DECISIONS: usize = 5;
/// Twice as long as a call can take.
const OVERDUE: Duration = Duration::from_secs(120);

/// The use case. Cheap to clone.
pub struct Operations<U, L> {
    mutations: Mutations<U, L>,
}

impl<U, L> Clone for Operations<U, L> {
    fn clone(&self) -> Self {
        Self { mutations: self.mutations.clone() }
    }
}

/// One entry with what was found about it later.
#[derive(Clone, Debug)]
pub struct OperationView {
    /// It.
    pub entry: Entry,
    /// What audits found.
    pub alerts: Vec<(AlertKind, Timestamp)>,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct ListOperations {
    /// Of this account; empty for all visible ones.
    pub account: String,
    /// In these states; empty for any.
    pub states: Vec<EntryState>,
    /// Made at least so long ago.
    pub min_age: Option<Duration>,
    /// At most so many; 0 for the usual page.
    pub page_size: i32,
    /// From the page before.
    pub page_token: String,
}

/// A page of entries.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// For the next page; empty when this is the last.
    pub next_page_token: String,
}

impl<U: WalmartApi, L: Ledger> Operations<U, L> {
    /// Looks into the ledger of `mutations`.
    pub fn new(mutations: Mutations<U, L>) -> Self {
        Self { mutations }
    }

    /// One entry. One of an account that the caller may not see does not exist for it.
    pub async fn get(&self, name: &str, call: &CallContext) -> Result<OperationView, ServiceError> {
        let entry = self.visible(name, call).await?;
        let alerts = self.mutations.ledger().alerts(entry.id).await?;
        Ok(OperationView { entry: self.shown(entry), alerts })
    }

    /// Entries by account, state and age, oldest first.
    pub async fn list(&self, request: ListOperations, call: &CallContext) -> Result<Page, ServiceError> {
        // Callers who may see every account see those of sellers that no account names, too.
        let everything = request.account.is_empty() && call.caller().sees_all();
        let accounts = self.directory().many(&request.account, call)?;
        let (after, limit) = place(request.page_size, &request.page_token).map_err(ServiceError::Invalid)?;
        let query = Query {
            accounts: (!everything)
                .then(|| accounts.into_iter().map(|account| self.directory().id(account).clone()).collect()),
            states: request.states,
            created_before: request.min_age.map(|age| Timestamp(self.mutations.now().minus(age).0 + 1)),
            after,
            // One more tells whether there is another page.
            limit: limit + 1,
        };
        if query.accounts.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Page { entries: Vec::new(), next_page_token: String::new() });
        }
        let mut entries = self.mutations.ledger().list(&query).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next_page_token = entries.last().filter(|_| more).map(|last| last.id.to_string()).unwrap_or_default();
        let entries = entries.into_iter().map(|entry| self.shown(entry)).collect();
        Ok(Page { entries, next_page_token })
    }

    /// The entry as people see it: a look-up that waits for its turn is due now, whatever time it was planned for.
    fn shown(&self, entry: Entry) -> Entry {
        let now = self.mutations.moment();
        let next = entry.next.map(|next| if next.wall < now.wall { now } else { next });
        Entry { next, ..entry }
    }

    /// Entries of all accounts whose outcome is not final, at most `most`: first those in NEEDS_OPERATOR, then those in
    /// UNKNOWN, then those in RECORDED or SENDING that are older than a call can take. Within each group the oldest come first.
    /// Fails when the store does.
    pub async fn unresolved(&self, most: usize) -> Result<Vec<Entry>, ServiceError> {
        let accounts: Vec<_> =
            (0..self.directory().len()).map(|i| self.directory().id(AccountIndex(i)).clone()).collect();
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
                let query = Query { accounts, states, created_before, after: OperationId(0), limit };
                found.extend(self.mutations.ledger().list(&query).await?);
            }
        }
        Ok(found.into_iter().map(|entry| self.shown(entry)).collect())
    }

    /// Ends the doubt about an open entry by a person's word.
    pub async fn resolve(
        &self,
        name: &str,
        verdict: Option<OperatorVerdict>,
        reason: &str,
        call: &CallContext,
    ) -> Result<Entry, ServiceError> {
        let mut faults = Faults::default();
        if verdict.is_none() {
            faults.add(&Path::Top("outcome"), "must be SUCCEEDED, REJECTED or RESEND");
        }
        if reason.trim().is_empty() || reason.chars().count() > LONGEST_REASON {
            faults.add(&Path::Top("reason"), "must be 1 to 500 characters");
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

    /// Writes a person's decision. `None` when the entry moved just now, so that the decision has to be made again: it is the
    /// same for every state of a doubt.
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
        let id = entry.id;
        let answer = answer::of_operator(&entry, verdict);
        let entry = self.mutations.after(entry, EntryEvent::Resolved { verdict, reason: reason.to_owned(), answer })?;
        let (mutations, caller) = (self.mutations.clone(), call.caller().clone());
        // In a task of its own: a caller who leaves must not keep away what follows from what was written.
        let decided = tokio::spawn(async move {
            let audits = audits(&entry);
            let saved = mutations.ledger().save(vec![entry], audits).await?;
            if let Saved::Done(entries) = &saved {
                for entry in entries {
                    tracing::warn!(operation = %id, outcome = ?verdict, caller = caller.name, "an operator resolved an operation");
                    mutations.follow(entry);
                }
            }
            Ok::<_, ServiceError>(saved)
        });
        match decided.await.map_err(|_| ServiceError::Internal)?? {
            Saved::Done(mut entries) => {
                entries.pop().map(|entry| Some(self.shown(entry))).ok_or(ServiceError::Internal)
            }
            Saved::Stale => Ok(None),
        }
    }

    /// How many entries of an account are in each state. `None` while the store fails.
    pub async fn counts(&self) -> Option<Vec<Count>> {
        self.mutations.ledger().counts().await.ok()
    }

    async fn visible(&self, name: &str, call: &CallContext) -> Result<Entry, ServiceError> {
        let id: OperationId = name.parse().map_err(|_| {
            let mut faults = Faults::default();
            faults.add(&Path::Top("name"), "must be of the form operations/42");
            ServiceError::Invalid(faults)
        })?;
        let entry = self.mutations.ledger().get(id).await?;
        let entry = entry.ok_or(ServiceError::OperationNotFound)?;
        let may_see = |account: AccountIndex| call.caller().may_see(account);
        // Operations of a seller that no account names are visible only to callers who may see every account.
        let visible = self.directory().position(&entry.account).map_or(call.caller().sees_all(), may_see);
        if !visible {
            return Err(ServiceError::OperationNotFound);
        }
        call.facts.set_account(&entry.account);
        Ok(entry)
    }

    fn directory(&self) -> &Directory {
        self.mutations.directory()
    }
}

/// What is wrong with the page that is asked for.
pub fn check_page(page_size: i32, page_token: &str) -> Result<(), Faults> {
    place(page_size, page_token).map(drop)
}

/// Where a page begins, and how long it is.
fn place(page_size: i32, page_token: &str) -> Result<(OperationId, usize), Faults> {
    let mut faults = Faults::default();
    let limit = paging::size(page_size, &mut faults);
    let after = paging::token(page_token, OperationId(0), &mut faults);
    faults.into_result()?;
    Ok((after, limit))
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
