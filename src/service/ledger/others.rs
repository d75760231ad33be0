//! What other calls may have changed of the object of a mutation in doubt, by the ledger.

use std::time::Duration;

use super::resolver::Resolver;
use super::{LONGEST_SNAPSHOT, answer};
use crate::domain::ledger::Entry;
use crate::domain::ledger::evidence::OtherChanges;
use crate::domain::mutations::SettlementPolicy;
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::ledger::Ledger;
use crate::ports::store_error::StoreError;
use crate::ports::upstream::WalmartApi;

/// Other calls that are compared. An object with more of them is not told by differences.
const MOST: usize = 64;

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Returns the changes of other calls that the snapshot of this entry may not show: open ones, those that began after
    /// this entry, and those that began or ended shortly before it, because Walmart may show a change late. A step of the wall
    /// clock between two calls must not hide one of them; ids rise whatever the clock does. The ledger is read after Walmart
    /// has answered: every change that the answer shows was in the ledger before it was sent.
    pub(super) async fn other_changes(
        &self,
        entry: &Entry,
        settlement: &dyn SettlementPolicy,
    ) -> Result<OtherChanges, StoreError> {
        let Some(own) = settlement.change(entry) else { return Ok(OtherChanges::default()) };
        if is_planted(PlantedBug::OtherCallsIgnored) {
            return Ok(OtherChanges::default());
        }
        let lag: Duration = self.mutations.rules().settle_window + LONGEST_SNAPSHOT;
        // Without a snapshot nothing tells an earlier change from this one.
        let since = if entry.snapshot.is_empty() { Timestamp(0) } else { entry.created.minus(lag) };
        let Entry { account, kind, order_number, .. } = entry;
        let found = self.mutations.ledger().changes_of(account, *kind, order_number, Timestamp(0), MOST).await?;
        let left_out = (found.len() >= MOST).then_some(None);
        let first = entry.id.0.saturating_sub(u64::from(entry.batch));
        let own_call = first..first + u64::from(entry.batches);
        let may_be_hidden = |other: &&Entry| {
            other.state.is_open() || other.id > entry.id || other.updated >= since || other.created >= since
        };
        let others = found.iter().filter(|other| !own_call.contains(&other.id.0)).filter(may_be_hidden);
        let others = others.map(|other| {
            let is_same = other.fingerprint == entry.fingerprint && other.batch == entry.batch;
            if other.state.is_open() {
                settlement.change(other)
            } else if is_same {
                Some(own.clone())
            } else {
                answer::kept_change(&other.answer)
            }
        });
        Ok(OtherChanges::new(others.chain(left_out)))
    }
}
