//! Plays a change: its object is made at Walmart's side, then all callers ask for it until there is a final answer.

use std::sync::Arc;

use order_gateway::pb;
use order_gateway::pb::return_service_client::ReturnServiceClient;
use order_gateway::pb::seller_order_service_client::SellerOrderServiceClient;
use order_gateway::pb::webhook_subscription_service_client::WebhookSubscriptionServiceClient;
use serde_json::json;
use tokio::time::sleep;

use super::plan::{ChangeKind, ChangeStory};
use super::requests::{self, Object, Request};
use crate::answer::{self, Answer};
use crate::callers::{Callers, Outcome, PATIENT, with_deadline};
use crate::emulator::Customers;
use crate::schedule::Caller;

/// Units of each line and return: enough for hundreds of repeats.
const UNITS: u32 = 1_000;

/// What all callers of a change came to.
#[derive(Clone, Debug)]
pub(crate) struct ChangeTold {
    pub story: Arc<ChangeStory>,
    /// The change that they asked for. Of a story that takes a return back, it is opened first.
    pub kind: ChangeKind,
    /// The object.
    pub object: Object,
    /// For each caller.
    pub outcomes: Vec<Outcome>,
}

impl Callers {
    /// Plays a story to its end.
    pub(crate) async fn play_change(self, customers: Customers, story: Arc<ChangeStory>) {
        sleep(story.begins).await;
        let object = match made(&customers, &story).await {
            Ok(object) => object,
            Err(why) => {
                let outcomes = vec![Outcome::Told(Answer::Bug(format!("nothing: {why}")))];
                return self.tell(ChangeTold { kind: story.kind, object: Object::default(), outcomes, story });
            }
        };
        let first = if story.kind == ChangeKind::CancelReturn { ChangeKind::OpenReturn } else { story.kind };
        let outcomes = self.ask_for(&story, first, &object).await;
        let is_there = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Told(Answer::Accepted(_))));
        self.tell(ChangeTold { kind: first, object: object.clone(), outcomes, story: story.clone() });
        if story.kind != first && is_there {
            let Some(number) = self.number_of_return(&story, &object).await else { return };
            let object = Object { number, ..Object::default() };
            let outcomes = self.ask_for(&story, story.kind, &object).await;
            self.tell(ChangeTold { kind: story.kind, object, outcomes, story });
        }
    }

    async fn ask_for(&self, story: &ChangeStory, kind: ChangeKind, object: &Object) -> Vec<Outcome> {
        self.all(&story.callers, |caller| self.change_once(story, kind, object, caller)).await
    }

    async fn change_once(&self, story: &ChangeStory, kind: ChangeKind, object: &Object, caller: &Caller) -> Answer {
        let channel = self.channel(&object.number);
        let mut orders = SellerOrderServiceClient::new(channel.clone());
        let mut returns = ReturnServiceClient::new(channel.clone());
        let mut webhooks = WebhookSubscriptionServiceClient::new(channel);
        let call = async {
            match requests::change(story, kind, object) {
                Request::CancelLines(request) => {
                    let answer = orders.cancel_order_lines(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::Ship(request) => {
                    let answer = orders.ship_order_lines(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::Refund(request) => {
                    let answer = orders.refund_order_lines(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::RefundReturn(request) => {
                    let answer = returns.refund_return(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::OpenReturn(request) => {
                    let answer = returns.create_mcs_return(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::CancelReturn(request) => {
                    let answer = returns.cancel_mcs_return(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
                Request::Subscribe(request) => {
                    let answer = webhooks.create_webhook_subscription(with_deadline(request, caller)).await;
                    answer::of_change(answer.map(|answer| known(answer.into_inner())))
                }
            }
        };
        self.bounded(caller, call).await
    }

    /// Walmart's number of the return that was opened. An answer that was found in the ledger need not tell it. `None`: the run
    /// ended before.
    async fn number_of_return(&self, story: &ChangeStory, object: &Object) -> Option<String> {
        let find = |caller| async move {
            let request = pb::ListMcsReturnsRequest {
                account: story.account.to_owned(),
                seller_order_id: object.number.clone(),
                ..Default::default()
            };
            let mut client = ReturnServiceClient::new(self.channel(&object.number));
            let page = client.list_mcs_returns(with_deadline(request, caller)).await.ok()?.into_inner();
            page.payload.into_iter().map(|row| row.return_order_id).find(|number| !number.is_empty())
        };
        loop {
            if let Some(number) = find(&PATIENT).await {
                return Some(number);
            }
            self.pause(&PATIENT).await?;
        }
    }
}

/// Asks once more for what the ledger has to remember; the answer joins those that the callers had. Tells answers that were
/// not replayed.
pub(crate) async fn repeat(callers: &Callers, told: &mut ChangeTold) -> Vec<String> {
    let story = told.story.clone();
    let lasts = |outcome: &Outcome| outcome.lasts(story.request_id.is_some() && !told.kind.frees_id());
    if !story.is_once(told.kind) || !told.outcomes.iter().any(lasts) {
        return Vec::new();
    }
    let answer = callers.change_once(&story, told.kind, &told.object, &PATIENT).await;
    let name = format!("{}/{} {}", story.account, told.object.number, told.kind.name());
    let wrong = match &answer {
        Answer::Accepted(accepted) if !accepted.replayed => {
            Some(format!("{name}: I3: a repeat was not answered from the ledger"))
        }
        Answer::Pending => Some(format!("{name}: I3: a repeat was not answered at all")),
        _ => None,
    };
    told.outcomes.push(Outcome::Told(answer));
    wrong.into_iter().collect()
}

/// Makes the object of a story.
async fn made(customers: &Customers, story: &ChangeStory) -> Result<Object, String> {
    let n = story.n;
    let order = |status: &'static str| async move {
        let number = format!("19{n:0>11}");
        let wish = json!({"purchaseOrderId": number, "lines": story.lines, "units": UNITS, "status": status});
        customers.simulate("orders", &wish).await.map(|_| number)
    };
    match story.kind {
        ChangeKind::CancelLines | ChangeKind::Ship => {
            Ok(Object { number: order("Acknowledged").await?, ..Object::default() })
        }
        ChangeKind::Refund => Ok(Object { number: order("Shipped").await?, ..Object::default() }),
        ChangeKind::RefundReturn => {
            let wish = json!({"purchaseOrderId": order("Shipped").await?, "qty": UNITS});
            let opened = customers.simulate("returns", &wish).await?;
            let text = |key: &str| opened[key].as_str().unwrap_or_default().to_owned();
            Ok(Object { number: text("returnOrderId"), customer_order: text("customerOrderId") })
        }
        // The order is there when a return of it is first opened.
        ChangeKind::OpenReturn | ChangeKind::CancelReturn => {
            Ok(Object { number: format!("MAGIC-DELIVERED-{n}"), ..Object::default() })
        }
        // Walmart's side knows every kind of event with such a name.
        ChangeKind::Subscribe => Ok(Object { number: format!("MAGIC-EVENT-{n}"), ..Object::default() }),
    }
}

/// The part of an answer that has to be the same on every repeat, and whether it came from the ledger.
trait Known {
    fn known(self) -> (String, bool);
}

fn known(answer: impl Known) -> (String, bool) {
    answer.known()
}

macro_rules! known {
    ($($answer:ident)*) => {
        $(impl Known for pb::$answer {
            fn known(self) -> (String, bool) {
                (self.correlation_id, self.replayed)
            }
        })*
    };
}
known! {
    CancelOrderLinesResponse
    ShipOrderLinesResponse
    RefundOrderLinesResponse
    RefundReturnResponse
    CreateMcsReturnResponse
    CancelMcsReturnResponse
    CreateWebhookSubscriptionResponse
}
