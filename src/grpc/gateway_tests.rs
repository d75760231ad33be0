//! What GetStatus makes of each state.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::domain::account::AccountId;
use crate::ports::overview::OperationView;
use crate::service::testing::call;

/// Account n is in the n-th state.
struct States;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Overview for States {
    fn token(&self, account: AccountIndex) -> TokenView {
        [TokenView::None, TokenView::Valid(at(1)), TokenView::Expired(at(2)), TokenView::Failed(at(3))][account.0]
    }

    fn operation(&self, account: AccountIndex, _: Operation) -> OperationView {
        let circuit = [CircuitView::Closed, CircuitView::Open(at(4)), CircuitView::HalfOpen, CircuitView::Closed];
        let next_token = (account.0 == 1).then(|| at(5));
        OperationView { limit_per_minute: 20, tokens: 1.999, next_token, circuit: circuit[account.0] }
    }
}

async fn status(account: &str) -> Result<pb::GetStatusResponse, Status> {
    let ids = ["a", "b", "c", "d"].map(|id| AccountId::new(id).unwrap());
    let gateway = Gateway { directory: Directory::new(ids.into()), overview: Arc::new(States), start_time: at(0) };
    let mut request = Request::new(pb::GetStatusRequest { account: account.into() });
    request.extensions_mut().insert(call(Duration::ZERO));
    gateway.get_status(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn every_state_is_told() {
    let all = status("").await.unwrap();
    assert_eq!(Vec::from_iter(all.accounts.iter().map(|a| a.account.as_str())), ["a", "b", "c", "d"]);
    let tokens: Vec<_> = all.accounts.iter().map(|account| account.token.unwrap()).collect();
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    assert_eq!(
        Vec::from_iter(tokens.iter().map(|t| (t.state(), seconds(t.expire_time), seconds(t.retry_time)))),
        [
            (pb::TokenState::None, None, None),
            (pb::TokenState::Valid, Some(1), None),
            (pb::TokenState::Expired, Some(2), None),
            (pb::TokenState::Failed, None, Some(3)),
        ]
    );
    for account in &all.accounts {
        let names = Vec::from_iter(account.operations.iter().map(|o| o.operation.as_str()));
        assert_eq!(names, ["promise", "create", "cancel", "status"]);
    }
    let circuits = all.accounts.iter().map(|a| &a.operations[0]);
    assert_eq!(
        Vec::from_iter(circuits.map(|o| (o.circuit(), seconds(o.probe_time), seconds(o.next_token_time)))),
        [
            (pb::CircuitState::Closed, None, None),
            (pb::CircuitState::Open, Some(4), Some(5)),
            (pb::CircuitState::HalfOpen, None, None),
            (pb::CircuitState::Closed, None, None),
        ]
    );
    // Never more than there are.
    assert_eq!(all.accounts[0].operations[0].tokens, 1.99);
}

#[tokio::test]
async fn one_account_can_be_named() {
    let one = status("b").await.unwrap();
    assert_eq!((one.accounts.len(), one.accounts[0].account.as_str()), (1, "b"));
    assert_eq!(status("x").await.unwrap_err().code(), tonic::Code::NotFound);
}
