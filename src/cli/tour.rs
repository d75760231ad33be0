//! A tour of the main job against a running gateway: prints calls and answers in grpcurl's form, for readers without
//! grpcurl.

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tower::Service as _;

use super::{Failure, grpcurl_form, print, trigger};
use crate::emulator::Emulator;
use crate::pb::cancel_intent_service_client::CancelIntentServiceClient;
use crate::pb::fulfillment_service_client::FulfillmentServiceClient;
use crate::pb::return_service_client::ReturnServiceClient;
use crate::pb::seller_order_service_client::SellerOrderServiceClient;
use crate::pb::watch_cancel_intents_response::Frame;
use crate::pb::{self, PromiseCache};

const FULFILLMENT: &str = "ordergateway.v1.FulfillmentService";
const INTENTS: &str = "ordergateway.v1.CancelIntentService";
const SELLER_ORDERS: &str = "ordergateway.v1.SellerOrderService";
const RETURNS: &str = "ordergateway.v1.ReturnService";

/// A call of the tour: its explanation, the RPC, and the request as JSON, with the file that holds the JSON, if any.
struct TourStep {
    tells: &'static str,
    service: &'static str,
    method: &'static str,
    json: &'static str,
    file: Option<&'static str>,
}

const PROMISE: TourStep = TourStep {
    tells: "Can SKU-1 be delivered to San Francisco, and when? The body is Walmart's own sample.",
    service: FULFILLMENT,
    method: "FetchDeliveryPromise",
    json: include_str!("../../examples/promise.json"),
    file: Some("examples/promise.json"),
};
const PROMISE_AGAIN: TourStep = TourStep {
    tells: "The same question again costs none of Walmart's 20 calls a minute: `cache` is a hit.",
    ..PROMISE
};
const CREATE: TourStep = TourStep {
    tells: "Order it.",
    service: FULFILLMENT,
    method: "CreateOrder",
    json: include_str!("../../examples/create.json"),
    file: Some("examples/create.json"),
};
const CREATE_AGAIN: TourStep = TourStep {
    tells: "The same call again, as after a lost answer: no second order, but the first one's answer, `replayed`.",
    ..CREATE
};
const STATUS: TourStep = TourStep {
    tells: "How is it doing?",
    service: FULFILLMENT,
    method: "GetOrderStatus",
    json: r#"{"orderNumber":"SO123"}"#,
    file: None,
};
const CANCEL: TourStep = TourStep {
    tells: "The customer has changed their mind.",
    service: FULFILLMENT,
    method: "CancelOrder",
    json: include_str!("../../examples/cancel.json"),
    file: Some("examples/cancel.json"),
};
/// The purchase order of the intent to cancel.
const PURCHASE_ORDER: &str = "1700000000001";
const WATCH: TourStep = TourStep {
    tells: "Other customers tell Walmart. Follow what they want: one event, then the stream ends.",
    service: INTENTS,
    method: "WatchCancelIntents",
    json: r#"{"start":{"latest":true},"filter":{"purchase_order_ids":["1700000000001"]},"limit":1}"#,
    file: None,
};
const CANCEL_LINES: TourStep = TourStep {
    tells: "Pause fulfillment in your own systems. Cancel the line, with the event's `intentKey` as `requestId`. Then tell \
            support.",
    service: SELLER_ORDERS,
    method: "CancelOrderLines",
    json: r#"{"requestId":"d2ed201dc974a398647bbf55124bcdd152647fce4f22bf6fe9ffdd9aa5750501","purchaseOrderId":"1700000000001","orderCancellation":{"orderLines":{"orderLine":[{"lineNumber":"1","orderLineStatuses":{"orderLineStatus":[{"cancellationReason":"CUSTOMER_REQUESTED_SELLER_TO_CANCEL","statusQuantity":{"amount":"1"}}]}}]}}}"#,
    file: None,
};
const CANCEL_LINES_AGAIN: TourStep = TourStep {
    tells: "The event may come again, in another form too: with the same key the line is cancelled once.",
    ..CANCEL_LINES
};
/// The return that the emulator opens: its purchase order was shipped before the start.
const CUSTOMER_RETURN: &str = r#"{"purchaseOrderId":"1700000000003","lineNumber":"1","qty":2}"#;
const LIST_RETURNS: TourStep = TourStep {
    tells: "Find the return by the customer's order.",
    service: RETURNS,
    method: "ListReturns",
    json: r#"{"customerOrderId":"5700000000003"}"#,
    file: None,
};
const REFUND_RETURN: TourStep = TourStep {
    tells: "Refund one of the two units. Walmart computes the amount.",
    service: RETURNS,
    method: "RefundReturn",
    json: r#"{"returnOrderId":"100000000000000002","customerOrderId":"5700000000003","refundLines":[{"returnOrderLineNumber":1,"quantity":{"measurementValue":1}}]}"#,
    file: None,
};
const REFUND_RETURN_AGAIN: TourStep =
    TourStep { tells: "The same refund again pays nothing: it is the first one's answer.", ..REFUND_RETURN };

/// Plays the tour. `world` is the emulator behind the gateway, and listens at `emulator`.
///
/// # Errors A call failed, or an answer differs from the story.
pub(super) async fn play(
    grpc: SocketAddr,
    http: SocketAddr,
    emulator: SocketAddr,
    world: Emulator,
) -> Result<(), Failure> {
    let guide = TourGuide::new(grpc).await?;
    let mut client = FulfillmentServiceClient::new(guide.channel.clone());

    let answer = guide.show(&PROMISE, client.fetch_delivery_promise(guide.request(&PROMISE)?).await)?;
    expect(&PROMISE, answer.status == "SUCCESS" && answer.cache() == PromiseCache::Miss)?;
    let answer = guide.show(&PROMISE_AGAIN, client.fetch_delivery_promise(guide.request(&PROMISE_AGAIN)?).await)?;
    expect(&PROMISE_AGAIN, answer.cache() == PromiseCache::Hit)?;
    let answer = guide.show(&CREATE, client.create_order(guide.request(&CREATE)?).await)?;
    expect(&CREATE, answer.status == "ACCEPTED" && !answer.replayed)?;
    let first = answer.correlation_id;
    let answer = guide.show(&CREATE_AGAIN, client.create_order(guide.request(&CREATE_AGAIN)?).await)?;
    expect(&CREATE_AGAIN, answer.replayed && answer.correlation_id == first)?;
    let answer = guide.show(&STATUS, client.get_order_status(guide.request(&STATUS)?).await)?;
    expect(&STATUS, answer.payload.len() == 1)?;
    let answer = guide.show(&CANCEL, client.cancel_order(guide.request(&CANCEL)?).await)?;
    expect(&CANCEL, answer.status == "ACCEPTED")?;
    watch(&guide, http).await?;
    cancel_lines(&guide).await?;
    simulate_return(emulator, world).await?;
    refund_return(&guide).await?;
    print("\nThat was the tour.\n")
}

/// Does what the event of [`watch`] asks for.
async fn cancel_lines(guide: &TourGuide) -> Result<(), Failure> {
    let mut client = SellerOrderServiceClient::new(guide.channel.clone());
    let answer = guide.show(&CANCEL_LINES, client.cancel_order_lines(guide.request(&CANCEL_LINES)?).await)?;
    expect(&CANCEL_LINES, answer.status == "ACCEPTED" && !answer.replayed)?;
    let again = client.cancel_order_lines(guide.request(&CANCEL_LINES_AGAIN)?).await;
    let again = guide.show(&CANCEL_LINES_AGAIN, again)?;
    expect(&CANCEL_LINES_AGAIN, again.replayed && again.correlation_id == answer.correlation_id)
}

/// Opens a return as a customer does. The emulator is called in process, and the call is printed as curl would make it.
async fn simulate_return(address: SocketAddr, mut world: Emulator) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the return cannot be simulated: {error}"));
    let path = "/v1/simulations/returns";
    let request = http::Request::post(path).body(Bytes::from_static(CUSTOMER_RETURN.as_bytes()));
    let answer = world.call(request.map_err(|error| failed(&error))?).await.map_err(|error| failed(&error))?;
    let told = String::from_utf8_lossy(answer.body()).into_owned();
    if !answer.status().is_success() {
        return Err(failed(&told));
    }
    print(&format!(
        "\n# A customer sends two units of another order back; the emulator simulates it.\n$ curl -s -d \
         '{CUSTOMER_RETURN}' {address}{path}\n{told}\n"
    ))
}

/// Refunds a part of the return of [`simulate_return`], twice.
async fn refund_return(guide: &TourGuide) -> Result<(), Failure> {
    let mut client = ReturnServiceClient::new(guide.channel.clone());
    let answer = guide.show(&LIST_RETURNS, client.list_returns(guide.request(&LIST_RETURNS)?).await)?;
    expect(&LIST_RETURNS, answer.return_orders.len() == 1)?;
    let answer = guide.show(&REFUND_RETURN, client.refund_return(guide.request(&REFUND_RETURN)?).await)?;
    expect(&REFUND_RETURN, !answer.replayed)?;
    let again = guide.show(&REFUND_RETURN_AGAIN, client.refund_return(guide.request(&REFUND_RETURN_AGAIN)?).await)?;
    expect(&REFUND_RETURN_AGAIN, again.replayed && again.correlation_id == answer.correlation_id)
}

/// Opens a watch, posts an intent, and prints the event that the watch receives.
async fn watch(guide: &TourGuide, http: SocketAddr) -> Result<(), Failure> {
    let mut client = CancelIntentServiceClient::new(guide.channel.clone());
    guide.ask(&WATCH)?;
    let mut frames = client.watch_cancel_intents(guide.request(&WATCH)?).await.map_err(|status| failed(&status))?;
    let frames = frames.get_mut();
    let mut next = async || frames.message().await.map_err(|status| failed(&status));
    let opened = next().await?.and_then(|frame| frame.frame);
    expect(&WATCH, matches!(opened, Some(Frame::Opened(_))))?;
    guide.answered(WATCH.method, &pb::WatchCancelIntentsResponse { frame: opened })?;
    let url = format!("http://{http}");
    let posted = trigger::one(url.clone(), PURCHASE_ORDER).await?;
    let command = "order-gateway trigger cancel-intent --purchase-order";
    print(&format!(
        "\n# Meanwhile Walmart posts it to the gateway.\n$ {command} {PURCHASE_ORDER} --url {url}\n{posted}\n"
    ))?;
    let event = next().await?.and_then(|frame| frame.frame);
    expect(&WATCH, matches!(event, Some(Frame::Event(_))))?;
    print("# It is durable, and on the watch.\n")?;
    guide.answered(WATCH.method, &pb::WatchCancelIntentsResponse { frame: event })?;
    expect(&WATCH, next().await?.is_none())
}

fn failed(status: &Status) -> Failure {
    Failure::Failed(grpcurl_form::error(status))
}

fn expect(step: &TourStep, as_told: bool) -> Result<(), Failure> {
    if as_told {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the tour did not go as told at {}: is there a ledger from before in --data-dir?",
        step.method
    )))
}

struct TourGuide {
    grpc: SocketAddr,
    channel: Channel,
    pool: DescriptorPool,
}

impl TourGuide {
    async fn new(grpc: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the tour cannot begin: {error}"));
        let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).map_err(|error| failed(&error))?;
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).map_err(|error| failed(&error))?;
        let channel = endpoint.connect().await.map_err(|error| failed(&error))?;
        Ok(Self { grpc, channel, pool })
    }

    /// Parses the step's request from its JSON, as grpcurl does.
    fn request<M: Message + Default>(&self, step: &TourStep) -> Result<Request<M>, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", step.method));
        let mut json = serde_json::Deserializer::from_str(step.json);
        let name = format!("ordergateway.v1.{}Request", step.method);
        let kind = self.pool.get_message_by_name(&name).ok_or_else(|| failed(&"unknown message"))?;
        let message = DynamicMessage::deserialize(kind, &mut json).map_err(|error| failed(&error))?;
        message.transcode_to().map(Request::new).map_err(|error| failed(&error))
    }

    /// Prints the call and its answer.
    fn show<M: Message>(&self, step: &TourStep, answer: Result<Response<M>, Status>) -> Result<M, Failure> {
        self.ask(step)?;
        let answer = answer.map_err(|status| failed(&status))?.into_inner();
        self.answered(step.method, &answer)?;
        Ok(answer)
    }

    /// Prints the call in grpcurl's form.
    fn ask(&self, step: &TourStep) -> Result<(), Failure> {
        let TourStep { tells, service, method, json, file } = step;
        let (data, from) = match file {
            Some(file) => ("@".to_owned(), format!(" < {file}")),
            None => (format!("'{json}'"), String::new()),
        };
        print(&format!("\n# {tells}\n$ grpcurl -plaintext -d {data} {} {service}/{method}{from}\n", self.grpc))
    }

    /// Prints an answer in grpcurl's form.
    fn answered(&self, method: &str, answer: &impl Message) -> Result<(), Failure> {
        print(&self.json(method, answer).map_err(|error| Failure::Failed(format!("{method}: {error}")))?)
    }

    fn json(&self, method: &str, answer: &impl Message) -> Result<String, String> {
        let name = format!("ordergateway.v1.{method}Response");
        let kind = self.pool.get_message_by_name(&name).ok_or("unknown message")?;
        let message = DynamicMessage::decode(kind, answer.encode_to_vec().as_slice()).map_err(|e| e.to_string())?;
        Ok(grpcurl_form::json(&message)? + "\n")
    }
}
