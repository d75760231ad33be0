//! New webhook subscriptions.

use serde_json::{Value, json};

use super::super::*;
use crate::pb::CreateWebhookSubscriptionRequest;

const URL: &str = "https://gw.example/webhooks/walmart/acme";

/// The value of an answer where no other call makes subscriptions.
fn judge_created_subscriptions(snapshot: Option<&WebhookSnapshot>, answer: &LookupAnswer) -> Evidence {
    super::super::judge_created_subscriptions(snapshot, &OtherChanges::default(), answer)
}

fn answer(body: &Value) -> LookupAnswer {
    LookupAnswer { http_status: 200, body: body.to_string().into() }
}

fn row(id: &str, event_type: &str, url: &str) -> Value {
    json!({"subscriptionId": id, "eventType": event_type, "eventVersion": "V1", "resourceName": "ORDER",
        "eventUrl": url, "status": "ACTIVE"})
}

fn request(types: &[&str]) -> CreateWebhookSubscriptionRequest {
    let events = types.iter().map(|event_type| serde_json::from_value(row("", event_type, URL)).unwrap());
    CreateWebhookSubscriptionRequest { events: events.collect(), ..Default::default() }
}

fn present(copies: usize) -> Evidence {
    Evidence::Present(PresenceProof { copies })
}

const ABSENT: Evidence = Evidence::Absent(AbsenceProof::NoSubscription);

#[test]
fn new_subscriptions_of_type_and_url_prove_presence_in_each_form() {
    let before = json!({"events": [row("old", "ORDER_UPDATES", URL)]});
    let snapshot = WebhookSnapshot::read(&request(&["ORDER_UPDATES"]), &answer(&before));
    let judged = |now: &Value| judge_created_subscriptions(snapshot.as_ref(), &answer(now));
    let old = row("old", "ORDER_UPDATES", URL);
    let new = row("new", "ORDER_UPDATES", "https://GW.example:443/webhooks/walmart/acme");
    for body in
        [json!([old, new]), json!({"events": [new]}), json!({"event": [old, new]}), json!({"events": new}), new.clone()]
    {
        assert_eq!(judged(&body), present(1), "{body}");
    }
    assert_eq!(judged(&json!([old, new, row("too", "ORDER_UPDATES", URL)])), present(2));
    let others = json!([old, row("a", "PO_CREATED", URL), row("b", "ORDER_UPDATES", "https://gw.example/other")]);
    for body in [before, json!([]), json!({"events": []}), others] {
        assert_eq!(judged(&body), ABSENT, "{body}");
    }
    let gone = LookupAnswer {
        http_status: 404,
        ..answer(&json!({"errors": [{"code": "CONTENT_NOT_FOUND.GMP_NOTIFICATION_API"}]}))
    };
    assert_eq!(judge_created_subscriptions(snapshot.as_ref(), &gone), ABSENT);
    assert_eq!(judge_created_subscriptions(None, &answer(&json!([new]))), Evidence::Nothing(NoEvidence::NoSnapshot));
}

#[test]
fn a_subscription_that_another_call_may_have_made_proves_nothing() {
    let snapshot = WebhookSnapshot::read(&request(&["ORDER_UPDATES"]), &answer(&json!([]))).unwrap();
    let others = OtherChanges::new([Some(change_of_created_subscriptions(&snapshot))]);
    let judged = |now: &Value| super::super::judge_created_subscriptions(Some(&snapshot), &others, &answer(now));
    let one = row("1", "ORDER_UPDATES", URL);
    assert_eq!(judged(&json!([one])), Evidence::Nothing(NoEvidence::OtherCalls));
    assert_eq!(judged(&json!([one, row("2", "ORDER_UPDATES", URL)])), present(2));
    assert_eq!(judged(&json!([])), ABSENT);
}

#[test]
fn several_show_all_or_none() {
    let snapshot = WebhookSnapshot::read(&request(&["ORDER_UPDATES", "PO_CREATED"]), &answer(&json!([])));
    let judged = |now: &Value| judge_created_subscriptions(snapshot.as_ref(), &answer(now));
    let (one, other) = (row("1", "ORDER_UPDATES", URL), row("2", "PO_CREATED", URL));
    assert_eq!(judged(&json!([one, other])), present(1));
    assert_eq!(judged(&json!([])), ABSENT);
    assert_eq!(judged(&json!([one])), Evidence::Nothing(NoEvidence::SubscriptionsUnclear));
    let mut without_url = one.clone();
    without_url.as_object_mut().unwrap().remove("eventUrl");
    assert_eq!(judged(&json!([without_url])), Evidence::Nothing(NoEvidence::SubscriptionsUnclear));
}

#[test]
fn odd_lists_prove_nothing_and_are_no_snapshot() {
    let asked = request(&["ORDER_UPDATES"]);
    let snapshot = WebhookSnapshot::read(&asked, &answer(&json!([])));
    let error = json!([{"code": "SYSTEM_ERROR.GMP_GATEWAY_API"}]);
    for (body, why) in [
        (json!({}), NoEvidence::PayloadMissing),
        (json!({"status": "OK", "payload": []}), NoEvidence::PayloadMissing),
        (json!({"events": null}), NoEvidence::PayloadNull),
        (json!({"events": "none"}), NoEvidence::PayloadNotList),
        (json!({"events": [null]}), NoEvidence::RowsNotOrders),
        (json!([null, "", []]), NoEvidence::RowsNotOrders),
        (json!({"status": "PARTIAL_SUCCESS", "events": []}), NoEvidence::PartialSuccess),
        (json!({"status": "FAIL", "events": []}), NoEvidence::StatusFailed),
        (json!({"status": "WELL", "events": []}), NoEvidence::StatusUnknown),
        (json!({"events": [], "errors": error}), NoEvidence::Errors),
        (json!({"events": [], "totalCount": 1}), NoEvidence::ListNotComplete),
        (json!("none"), NoEvidence::Unreadable),
    ] {
        assert_eq!(judge_created_subscriptions(snapshot.as_ref(), &answer(&body)), Evidence::Nothing(why), "{body}");
        assert_eq!(WebhookSnapshot::read(&asked, &answer(&body)), None, "{body}");
        assert!(standing_subscriptions(&asked, &answer(&body)).is_empty());
    }
    let nameless = json!([{"eventType": "ORDER_UPDATES", "eventUrl": URL}]);
    assert_eq!(
        judge_created_subscriptions(snapshot.as_ref(), &answer(&nameless)),
        Evidence::Nothing(NoEvidence::NumberMissing)
    );
    assert_eq!(WebhookSnapshot::read(&asked, &answer(&nameless)), None);
    for (http_status, why) in
        [(404, NoEvidence::GatewayNotFound), (206, NoEvidence::HttpStatus), (202, NoEvidence::HttpStatus)]
    {
        let odd = LookupAnswer { http_status, ..answer(&json!([])) };
        assert_eq!(judge_created_subscriptions(snapshot.as_ref(), &odd), Evidence::Nothing(why));
    }
}

#[test]
fn one_that_is_active_and_the_same_stands() {
    let asked = request(&["ORDER_UPDATES"]);
    let standing = |change: fn(&mut Value)| {
        let mut row = row("s-1", "ORDER_UPDATES", URL);
        change(&mut row);
        standing_subscriptions(&asked, &answer(&json!({"events": [row]}))).len()
    };
    assert_eq!(standing(|_| {}), 1);
    assert_eq!(standing(|row| row["eventUrl"] = json!("HTTPS://gw.EXAMPLE/webhooks/walmart/acme")), 1);
    // What is not shown may be the same: events would come twice.
    assert_eq!(standing(|row| row["eventVersion"] = json!(null)), 1);
    for change in [
        (|row| row["status"] = json!("INACTIVE")) as fn(&mut Value),
        |row| row["eventType"] = json!("PO_CREATED"),
        |row| row["eventVersion"] = json!("V2"),
        |row| row["resourceName"] = json!("ITEM"),
        |row| row["eventUrl"] = json!("https://gw.example/"),
    ] {
        assert_eq!(standing(change), 0);
    }
}
