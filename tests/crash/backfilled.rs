//! Intents to cancel that the gateway finds in Walmart's orders: each once, whatever is killed, and without the customer.

use order_gateway::pb::seller_order_service_client::SellerOrderServiceClient;
use order_gateway::pb::{Event, EventOrigin, Feed, GetOrderRequest, SellerOrder};
use tonic::transport::Channel;

use crate::feed::kept_events;
use crate::schedule::ACCOUNTS;

/// The settings of the gateway for the feed.
pub(crate) const SETTINGS: &str = "[feed.backfill]\ninterval = \"5s\"\n";
/// The emulator's order whose customer wants line 1 cancelled. No story is about it.
const ORDER: &str = "1700000000002";
/// Shorter texts of a customer may stand anywhere.
const SHORTEST_TEXT: usize = 5;

/// Everything that must not be, one line each. `finds_all`: whether the intent has to be there.
pub(crate) async fn violations(channel: &Channel, finds_all: bool) -> Result<Vec<String>, String> {
    let request =
        GetOrderRequest { account: ACCOUNTS[0].to_owned(), purchase_order_id: ORDER.to_owned(), ..Default::default() };
    let order = SellerOrderServiceClient::new(channel.clone()).get_order(request).await;
    let order = order.map_err(|status| format!("GetOrder: {status}"))?.into_inner().order.unwrap_or_default();
    let customer = texts_of_customer(&order);
    if customer.is_empty() {
        return Err(format!("{ORDER} shows no customer"));
    }
    let events = kept_events(channel.clone(), Feed::CancelIntents).await?;
    Ok(ACCOUNTS.iter().flat_map(|account| wrong(account, &events, &customer, finds_all)).collect())
}

/// What is known of the customer.
fn texts_of_customer(order: &SellerOrder) -> Vec<String> {
    let mut texts = vec![order.customer_email_id.clone()];
    if let Some(shipping) = &order.shipping_info {
        texts.push(shipping.phone.clone());
        if let Some(address) = &shipping.postal_address {
            texts.extend([address.name.clone(), address.address1.clone(), address.postal_code.clone()]);
        }
    }
    texts.retain(|text| text.len() >= SHORTEST_TEXT);
    texts
}

fn wrong(account: &str, events: &[Event], customer: &[String], finds_all: bool) -> Vec<String> {
    let of_order = |event: &&Event| {
        event.account == account && event.origin() == EventOrigin::Backfill && event.ordering_key == ORDER
    };
    let found: Vec<&Event> = events.iter().filter(of_order).collect();
    let mut wrong = Vec::new();
    match found.len() {
        0 if finds_all => wrong.push(format!("{account}: I14: the intent of {ORDER} was not found in the orders")),
        0 | 1 => {}
        times => wrong.push(format!("{account}: I14: the intent of {ORDER} was found {times} times")),
    }
    for event in found {
        // The event has what is stored apart from the body, too.
        let stored = format!("{event:?} {}", String::from_utf8_lossy(&event.raw_body));
        // The text itself stays out of the report.
        let kept = customer.iter().position(|text| stored.contains(text.as_str()));
        let told = kept.map(|at| format!("{account}: I14: event {} keeps text {at} of the customer", event.seq));
        wrong.extend(told);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use order_gateway::pb::{PostalAddress, ShippingInfo};

    use super::*;

    fn event(account: &str, body: &str) -> Event {
        Event {
            account: account.into(),
            origin: EventOrigin::Backfill.into(),
            ordering_key: ORDER.into(),
            raw_body: body.as_bytes().to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn an_intent_is_found_once_and_without_the_customer() {
        let address = PostalAddress { name: "Ana Roe".into(), city: "Tulsa".into(), ..Default::default() };
        let shipping = ShippingInfo { phone: "1".into(), postal_address: Some(address), ..Default::default() };
        let order = SellerOrder { shipping_info: Some(shipping), ..Default::default() };
        let customer = texts_of_customer(&order);
        assert_eq!(customer, ["Ana Roe"]);
        let found = |events: &[Event], finds_all| wrong("acme", events, &customer, finds_all);
        let good = event("acme", "{}");
        assert_eq!(found(std::slice::from_ref(&good), true), Vec::<String>::new());
        assert_eq!(found(&[], false), Vec::<String>::new());
        for (events, what) in [
            (vec![], "was not found in the orders"),
            (vec![event("other", "{}")], "was not found in the orders"),
            (vec![good.clone(), good.clone()], "was found 2 times"),
            (vec![event("acme", r#"{"name":"Ana Roe"}"#)], "keeps text 0 of the customer"),
        ] {
            let found = found(&events, true);
            assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
        }
    }
}
