//! The lives of all processes: their duties, and the end of those that have run out.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::trouble::PgError;
use super::tx::Tx;
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::StoreError;

/// What goes with a life, besides its duties. $1 has the ids of lives.
const FORGET: &[&str] = &["UPDATE owners SET replica = 0 WHERE replica = ANY($1)"];

/// The runs-out of other lives, and when this process first saw each by its own clock: the clock of the server may step.
#[derive(Clone, Default)]
pub(super) struct Observed(Arc<Mutex<HashMap<i64, (i64, Instant)>>>);

impl Observed {
    /// Notes when lives run out, and returns those of which this process has seen no heartbeat for `span`.
    fn unchanged_for(&self, lives: &[(i64, i64)], span: Duration, now: Instant) -> Vec<i64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|life, _| lives.iter().any(|(alive, _)| alive == life));
        let mut unchanged = Vec::new();
        for (life, until) in lives {
            let first = seen.entry(*life).or_insert((*until, now));
            if first.0 != *until {
                *first = (*until, now);
            }
            if now.saturating_duration_since(first.1) >= span {
                unchanged.push(*life);
            }
        }
        unchanged
    }
}

impl Replicas for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn trusted_until(&self) -> Option<Instant> {
        Some(self.life().trusted_until())
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        let named: Vec<(String, Duty)> = duties.into_iter().map(|duty| (self.name_of_duty(&duty), duty)).collect();
        let lease = self.0.surroundings.connector.settings().lease.as_secs_f64();
        let named = Arc::new(named);
        let held = {
            let named = named.clone();
            self.changes().transaction(move |tx| claim(tx, named.clone(), lease)).await?
        };
        if held.iter().any(|at| matches!(named[*at].1, Duty::Counts)) {
            self.changes().transaction(fold).await?;
        }
        Ok(held.into_iter().map(|at| named[at].1.clone()).collect())
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        let settings = self.0.surroundings.connector.settings();
        let (lease, attempt) = (settings.lease, settings.attempt_timeout);
        let me = self.life().present();
        // After an outage all may renew first.
        let is_settled = self.life().reachable_since().is_some_and(|since| since.elapsed() >= lease);
        let Some(me) = me.filter(|_| is_settled) else { return Ok(0) };
        let rows = self.told(self.reads().query(OTHERS, &[(&me, Type::INT8)]).await)?;
        let until = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        let others = self.told(rows.iter().map(until).collect::<Result<Vec<(i64, i64)>, PgError>>())?;
        let silent = self.0.observed.unchanged_for(&others, lease + attempt, Instant::now());
        if silent.is_empty() {
            return Ok(0);
        }
        self.end_waiting_sessions(&silent).await?;
        let attempt = attempt.as_secs_f64();
        let ended = self.changes().transaction(move |tx| end_silent(tx, silent.clone(), attempt)).await?;
        if ended > 0 {
            tracing::warn!(
                lives = ended,
                "ended lives of replicas without heartbeats; their work goes on here and elsewhere"
            );
        }
        Ok(ended)
    }

    async fn resign(&self) -> Result<(), StoreError> {
        self.resign_life().await
    }
}

impl PostgresStore {
    /// Ends the own life; what it has in hand is an orphan from then on.
    pub(super) async fn resign_life(&self) -> Result<(), StoreError> {
        if self.life().present().is_none() {
            self.life().resigned();
            return Ok(());
        }
        let ended = self
            .changes()
            .transaction(|tx| async move {
                let life = tx.life();
                end(&tx, &vec![life]).await
            })
            .await;
        self.life().resigned();
        ended
    }

    /// Ends sessions of these lives that wait for their clients in mid-transaction, which may hold locks for ever.
    async fn end_waiting_sessions(&self, lives: &[i64]) -> Result<(), StoreError> {
        let lives: Vec<String> = lives.iter().map(i64::to_string).collect();
        let schema = &self.0.surroundings.connector.settings().schema;
        let params = [(&lives as _, Type::TEXT_ARRAY), (schema as _, Type::TEXT)];
        self.told(self.reads().query(END_WAITING, &params).await).map(drop)
    }

    fn name_of_duty(&self, duty: &Duty) -> String {
        match duty {
            Duty::Resolver(account) => format!("resolver:{}", self.accounts().key_of(account)),
            Duty::Trim => "trim".into(),
            Duty::FeedTrim => "feed-trim".into(),
            Duty::Audits => "audits".into(),
            Duty::Counts => "counts".into(),
            Duty::Backfill(account) => format!("backfill:{}", self.accounts().key_of(account)),
            Duty::SubscriptionCheck(account) => format!("subscription-check:{}", self.accounts().key_of(account)),
        }
    }
}

/// Returns the positions of the duties that this life holds now.
async fn claim(tx: Tx, duties: Arc<Vec<(String, Duty)>>, lease: f64) -> Result<Vec<usize>, PgError> {
    let names: Vec<&str> = duties.iter().map(|(name, _)| name.as_str()).collect();
    let make = "INSERT INTO owners (what, replica, until) SELECT w, 0, '-infinity' FROM unnest($1::text[]) AS w ORDER BY w \
                ON CONFLICT DO NOTHING";
    tx.execute(make, &[(&names, Type::TEXT_ARRAY)]).await?;
    let rows = tx.query(OWNERS, &[(&names, Type::TEXT_ARRAY)]).await?;
    let mut owners = HashMap::new();
    for row in &rows {
        owners.insert(row.try_get::<_, String>(0)?, (row.try_get::<_, i64>(1)?, row.try_get::<_, bool>(2)?));
    }
    let lives: i64 = rows.first().map(|row| row.try_get(3)).transpose()?.unwrap_or(1);
    let lives = usize::try_from(lives).unwrap_or(1).max(1);
    let (mut kept, mut given) = (Vec::new(), Vec::new());
    for of_kind in by_kind(&duties) {
        let share = of_kind.len().div_ceil(lives);
        let owner = |at: &usize| owners.get(&duties[*at].0);
        let (mine, others): (Vec<usize>, Vec<usize>) =
            of_kind.into_iter().partition(|at| owner(at).is_some_and(|(life, _)| *life == tx.life()));
        // One too many stays, or duties would go back and forth.
        let most = if mine.len() > share + 1 { share } else { mine.len().max(share) };
        let free = others.into_iter().filter(|at| owner(at).is_some_and(|(_, is_free)| *is_free));
        let room = share.saturating_sub(mine.len());
        given.extend(mine.iter().skip(most).map(|at| duties[*at].0.as_str()));
        kept.extend(mine.iter().take(most).copied().chain(free.take(room)));
    }
    kept.sort_unstable();
    let keep: Vec<&str> = kept.iter().map(|at| duties[*at].0.as_str()).collect();
    let params = [(&keep as _, Type::TEXT_ARRAY), (&tx.life() as _, Type::INT8), (&lease as _, Type::FLOAT8)];
    tx.execute(KEEP, &params).await?;
    if !given.is_empty() {
        tx.execute("UPDATE owners SET replica = 0 WHERE what = ANY($1)", &[(&given, Type::TEXT_ARRAY)]).await?;
    }
    Ok(kept)
}

/// The positions of duties, by kind.
fn by_kind(duties: &[(String, Duty)]) -> Vec<Vec<usize>> {
    let mut kinds: Vec<(std::mem::Discriminant<Duty>, Vec<usize>)> = Vec::new();
    for (at, (_, duty)) in duties.iter().enumerate() {
        match kinds.iter_mut().find(|(kind, _)| *kind == discriminant(duty)) {
            Some((_, positions)) => positions.push(at),
            None => kinds.push((discriminant(duty), vec![at])),
        }
    }
    kinds.into_iter().map(|(_, positions)| positions).collect()
}

/// Ends those of these lives that have run out by the server's clock too.
async fn end_silent(tx: Tx, lives: Vec<i64>, attempt: f64) -> Result<usize, PgError> {
    let sql = "SELECT id FROM replicas WHERE id = ANY($1) AND NOT ended \
               AND until < clock_timestamp() - $2 * interval '1 second' ORDER BY id FOR UPDATE SKIP LOCKED";
    let rows = tx.query(sql, &[(&lives, Type::INT8_ARRAY), (&attempt, Type::FLOAT8)]).await?;
    let dead = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if !dead.is_empty() {
        end(&tx, &dead).await?;
    }
    Ok(dead.len())
}

/// Ends lives: nothing that they have in flight is committed any more, and what they hold is free.
async fn end(tx: &Tx, lives: &Vec<i64>) -> Result<(), PgError> {
    let params = [(lives as _, Type::INT8_ARRAY)];
    let lanes = "UPDATE lanes SET epoch = epoch + 1, ended = true WHERE replica = ANY($1) AND NOT ended";
    tx.execute(lanes, &params).await?;
    tx.execute("UPDATE replicas SET ended = true WHERE id = ANY($1)", &params).await?;
    for forget in FORGET {
        tx.execute(forget, &params).await?;
    }
    Ok(())
}

/// Adds the counts of ended lives to replica 0, and forgets lives that ended a day ago and left nothing.
async fn fold(tx: Tx) -> Result<(), PgError> {
    tx.execute(FOLD, &[]).await?;
    tx.execute(FORGOTTEN, &[]).await.map(drop)
}

const OTHERS: &str =
    "SELECT id, (extract(epoch FROM until) * 1000000)::bigint FROM replicas WHERE NOT ended AND id <> $1";

const OWNERS: &str = "SELECT o.what, o.replica, o.replica = 0 OR o.until < clock_timestamp() \
     OR o.replica IN (SELECT id FROM replicas WHERE ended), (SELECT count(*) FROM replicas WHERE NOT ended) \
     FROM owners o WHERE o.what = ANY($1) ORDER BY o.what FOR UPDATE OF o";

const KEEP: &str = "UPDATE owners SET epoch = CASE WHEN replica = $2 THEN epoch ELSE epoch + 1 END, replica = $2, \
     until = clock_timestamp() + $3 * interval '1 second' WHERE what = ANY($1)";

const END_WAITING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
     AND split_part(application_name, '/', 1) = 'og' AND split_part(application_name, '/', 2) = ANY($1) \
     AND split_part(application_name, '/', 4) = $2 AND wait_event = 'ClientRead' AND state <> 'idle'";

const FOLD: &str = "WITH gone AS (DELETE FROM counts c USING replicas r WHERE r.id = c.replica AND r.ended \
     RETURNING c.account, c.entries) \
     INSERT INTO counts (account, replica, entries) SELECT account, 0, sum(entries)::bigint FROM gone GROUP BY account \
     ORDER BY account ON CONFLICT (account, replica) DO UPDATE SET entries = counts.entries + excluded.entries";

const FORGOTTEN: &str = "WITH gone AS (DELETE FROM replicas r WHERE r.ended AND r.until < clock_timestamp() - interval '1 day' \
     AND NOT EXISTS (SELECT 1 FROM unfinished u WHERE u.owner = r.id) \
     AND NOT EXISTS (SELECT 1 FROM counts c WHERE c.replica = r.id) RETURNING r.id) \
     DELETE FROM lanes l USING gone g WHERE l.replica = g.id";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_life_is_silent_when_no_heartbeat_was_seen_for_the_span() {
        let (observed, span, now) = (Observed::default(), Duration::from_secs(25), Instant::now());
        assert_eq!(observed.unchanged_for(&[(1, 10), (2, 10)], span, now), [0_i64; 0]);
        // The server's clock steps; that is no heartbeat that was missed, and none that came.
        assert_eq!(observed.unchanged_for(&[(1, 10), (2, 11)], span, now + span), [1]);
        assert_eq!(observed.unchanged_for(&[(1, 10), (2, 11)], span, now + span * 2 - Duration::from_secs(1)), [1]);
        assert_eq!(observed.unchanged_for(&[(2, 11)], span, now + span * 2), [2]);
        // One that was away and is back is new.
        assert_eq!(observed.unchanged_for(&[(1, 10)], span, now + span * 2), [0_i64; 0]);
    }
}
