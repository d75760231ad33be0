//! The Rust client of `docs/CLIENTS.md`, and that this page shows each client as it is run. `scripts/clients-test` runs the others.

use std::time::Duration;

use order_gateway::pb::fulfillment_service_client::FulfillmentServiceClient;
use order_gateway::pb::{CreateOrderRequest, CreateOrderResponse};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::dev::Dev;

fn order(number: &str, city: &str) -> CreateOrderRequest {
    let mut sample: serde_json::Value = serde_json::from_str(include_str!("../../examples/create.json")).unwrap();
    let mut payload = sample["payload"].take();
    payload["sellerOrderId"] = number.into();
    payload["customerOrderNo"] = number.into();
    payload["orderItems"][0]["shippingTo"]["address"]["city"] = city.into();
    CreateOrderRequest { payload: Some(serde_json::from_value(payload).unwrap()), ..Default::default() }
}

#[tokio::test]
async fn the_rust_client_makes_its_orders() {
    let dev = Dev::start();
    let address = format!("http://{}", dev.grpc);
    // snippet: begin
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut orders = FulfillmentServiceClient::new(channel);
    // snippet: end
    let patient = Duration::from_secs(10);

    let made = create(&mut orders, order("RUST-1", "San Francisco"), patient).await.unwrap();
    assert_eq!((made.status.as_str(), made.replayed), ("ACCEPTED", false));
    let again = create(&mut orders, order("RUST-1", "San Francisco"), patient).await.unwrap();
    assert!(again.replayed);
    // Finding out what became of this order takes longer than the deadline.
    let hurried = Duration::from_millis(600);
    let lost = create(&mut orders, order("MAGIC-DROP-AFTER-RUST", "San Francisco"), hurried).await.unwrap();
    assert_eq!(lost.status, "ACCEPTED");
    let other = create(&mut orders, order("RUST-1", "Oakland"), patient).await.unwrap_err();
    assert_eq!(other.get_error_details().error_info().unwrap().reason, "ORDER_NUMBER_USED");
}

// snippet: begin
async fn create(
    orders: &mut FulfillmentServiceClient<Channel>,
    request: CreateOrderRequest,
    limit: Duration,
) -> Result<CreateOrderResponse, Status> {
    loop {
        let mut call = Request::new(request.clone());
        call.set_timeout(limit); // the deadline
        let status = match orders.create_order(call).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let details = status.get_error_details(); // empty when the gateway was not reached
        println!("rust: {:?} {:?}", status.code(), details.error_info().map(|info| &info.reason));
        if !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) {
            return Err(status);
        }
        let wait = details.retry_info().and_then(|retry| retry.retry_delay);
        sleep(wait.unwrap_or(Duration::from_secs(1))).await; // then the same request: never a second order
    }
}
// snippet: end

/// What stands between the marks of a file, without its indentation and with one empty line between two pieces.
fn snippet(file: &str) -> String {
    let mut pieces: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in file.lines() {
        if line.trim_end().ends_with("snippet: begin") {
            inside = true;
            pieces.push(Vec::new());
        } else if line.trim_end().ends_with("snippet: end") {
            inside = false;
        } else if inside {
            pieces.last_mut().unwrap().push(line);
        }
    }
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let plain = |piece: Vec<&str>| {
        let least = piece.iter().filter(|line| !line.is_empty()).map(indent).min().unwrap_or(0);
        let lines: Vec<_> = piece.iter().map(|line| line.get(least..).unwrap_or("")).collect();
        lines.join("\n").trim().to_owned()
    };
    pieces.into_iter().map(plain).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn the_page_shows_the_clients_that_are_run() {
    let page = include_str!("../../docs/CLIENTS.md");
    for (language, file) in [
        ("python", include_str!("../../clients/python/order.py")),
        ("ts", include_str!("../../clients/node/order.ts")),
        ("go", include_str!("../../clients/go/order.go")),
        ("java", include_str!("../../clients/java/CreateOrders.java")),
        ("rust", include_str!("clients.rs")),
    ] {
        let block = format!("```{language}\n{}\n```\n", snippet(file));
        assert!(page.contains(&block), "docs/CLIENTS.md does not show\n{block}");
    }
}

#[test]
fn a_snippet_is_what_stands_between_the_marks() {
    let file = "a\n  // snippet: begin\n  b\n\n    c\n  // snippet: end\nd\n# snippet: begin\ne\n# snippet: end\n";
    assert_eq!(snippet(file), "b\n\n  c\n\ne");
}
