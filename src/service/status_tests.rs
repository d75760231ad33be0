//! What the board shows, and what it shows while the store fails or hangs.

use std::time::UNIX_EPOCH;

use super::*;
use crate::ports::overview::CircuitView;
use crate::testing::feed::{TestFeed, feed, plain};
use crate::testing::feed_store::FaultyFeed;
use crate::testing::ledger::{Faulty, creation, put};
use crate::testing::walmart::{Walmart, over};

struct Idle;

impl UpstreamOverview for Idle {
    fn token(&self, _: AccountIndex) -> TokenView {
        TokenView::None
    }

    fn token_failure(&self, _: AccountIndex) -> Option<TokenFailure> {
        None
    }

    fn operation(&self, _: AccountIndex, _: Operation) -> OperationView {
        OperationView { limit_per_minute: 20, tokens: 20.0, next_token: None, circuit: CircuitView::Closed }
    }
}

fn status(ledger: &Faulty, feed: &TestFeed) -> GatewayStatus<Walmart, Faulty, FaultyFeed> {
    GatewayStatus {
        directory: AccountDirectory::of_ids(["acme", "other"].map(|id| AccountId::new(id).unwrap())),
        overview: Arc::new(Idle),
        operations: Operations::new(over(&Walmart::default(), ledger.clone(), 20)),
        feed: feed.feed.clone(),
        webhooks: WebhookChecks::default(),
        backfill: BackfillState::default(),
        clock_watch: feed.clock_watch.clone(),
        settings: SettingsState::new(UNIX_EPOCH),
        start_time: UNIX_EPOCH,
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_tell_is_left_out_and_the_rest_stays() {
    let (ledger, feed) = (Faulty::default(), feed());
    let status = status(&ledger, &feed);
    let long_ago = crate::domain::timestamp::Timestamp(1);
    put(&ledger, vec![creation("other", "SO1", long_ago)]).await;
    feed.create(plain("oms")).await;
    feed.post_many(3).await;
    let mut intents = VecDeque::new();
    let board = status.board(&mut intents).await;
    assert_eq!(board.accounts.iter().map(|account| account.count(EntryState::Sending)).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(board.unresolved.unwrap()[0].order_number, "SO1".into());
    assert_eq!(board.feed.as_ref().unwrap().subscriptions[0].shown.backlog, 3);
    assert!(board.feed.unwrap().subscriptions[0].oldest.is_some());
    assert_eq!(board.intents.unwrap().len(), 3);

    ledger.fail(false, true);
    let board = status.board(&mut intents).await;
    assert!(board.accounts.iter().all(|account| account.ledger.is_none()) && board.unresolved.is_none());
    assert!(board.feed.is_some() && board.intents.is_some());

    ledger.fail(false, false);
    feed.store.fail(true, true);
    let board = status.board(&mut intents).await;
    assert!(board.feed.is_none() && board.intents.is_none());
    assert!(board.unresolved.is_some() && board.accounts[1].ledger.is_some());
}

/// A store that does not answer at all costs the board a part and two seconds, not the whole.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_a_while() {
    let (ledger, feed) = (Faulty::default(), feed());
    let status = status(&ledger, &feed);
    feed.post_many(1).await;
    feed.store.open(false);
    let asked = Instant::now();
    let board = status.board(&mut VecDeque::new()).await;
    assert!(board.intents.is_none() && board.unresolved.is_some());
    assert_eq!(asked.elapsed(), PATIENCE);
}
