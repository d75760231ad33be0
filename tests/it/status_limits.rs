//! What no error may be: too long, personal, or invalid on the wire.

use std::time::Duration;

use order_gateway::domain::effect::Effect;
use order_gateway::domain::operation::Operation;
use order_gateway::domain::personal::PersonalTexts;
use order_gateway::domain::rules::{FieldFaults, FieldPath};
use order_gateway::grpc::status;
use order_gateway::pb;
use order_gateway::ports::upstream::{ErrorKind, UpstreamError};
use order_gateway::service::ServiceError;
use order_gateway::wire::error;
use prost::Message;
use tonic::Status;
use tonic_types::pb as rpc;

use crate::status_table::{KINDS, Told, call, told, upstream_error};

fn omitted(told: &Told) -> usize {
    told.info.metadata.get("omitted").map_or(0, |text| text.parse().unwrap())
}

#[test]
fn a_thousand_faults_fit_and_are_counted() {
    let items = FieldPath::Top("payload");
    let (items, mut faults) = (items.field("order_items"), FieldFaults::default());
    for i in 0..1000 {
        faults.add(&items.index(i).field("seller_line_id"), "is required");
    }
    let status = status::failure(ServiceError::Invalid(faults), &"x".repeat(128), &call());
    let told = told(&status);
    let violations = told.faults.as_ref().unwrap().field_violations.len();
    assert_eq!(violations + omitted(&told), 1000);
    assert!(violations > 40, "{violations}");
    // What is left out is left out for want of room.
    assert!(rpc::Status::decode(status.details()).unwrap().encoded_len() > status::MAX_SIZE - 100);
}

#[test]
fn a_hundred_huge_errors_fit_and_no_letter_is_cut_in_two() {
    for unit in ["é", "€", "\u{1f600}", "x"] {
        let text = || unit.repeat(2048);
        let huge = pb::WalmartError {
            code: text(),
            field: text(),
            description: text(),
            info: text(),
            severity: text(),
            category: text(),
        };
        let error = UpstreamError {
            errors: vec![huge; 100],
            omitted: 50,
            retry_after: Some(Duration::from_secs(300)),
            ..upstream_error(Operation::Promise, ErrorKind::RateLimited, Effect::None)
        };
        let told = told(&status::failure(error.into(), &"x".repeat(128), &call()));
        let left = &told.upstream.as_ref().unwrap().errors;
        assert_eq!(left.len() + omitted(&told), 150);
        assert_eq!(left.len(), 1);
        assert!(left[0].info.trim_end_matches('…').chars().all(|c| c.to_string() == unit), "{}", left[0].info);
    }
}

#[test]
fn what_a_caller_chose_cannot_make_an_answer_too_long() {
    let megabyte = "x".repeat(1024 * 1024);
    assert!(
        !told(&status::failure(ServiceError::Internal, &megabyte, &call())).info.metadata.contains_key("requestId")
    );
    assert!(!told(&status::failure(ServiceError::Internal, "a b", &call())).info.metadata.contains_key("requestId"));
    assert_eq!(told(&status::service_not_allowed(&megabyte)).info.metadata["service"].len(), 128);
    let mine = told(&status::failure(ServiceError::Internal, "mine", &call()));
    assert_eq!(mine.info.metadata["requestId"], "mine");
}

#[test]
fn customers_stay_out_of_every_answer() {
    let body = include_str!("../../examples/create.json")
        .replace("\"A\"", "\"CANARYFIRST\"")
        .replace("\"B\"", "\"CanaryLast\"")
        .replace("555-111-2222", "555-CANARY")
        .replace("100 Main St", "1 Canary Rd")
        .replace("San Francisco", "Canaryville")
        .replace("94103", "CANARY-ZIP");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let order: pb::Order = serde_json::from_value(body["payload"].clone()).unwrap();
    let said = "for CanaryFirst canarylast (555-CANARY) at 1 CANARY RD, Canaryville CANARY-ZIP";
    let shapes = [
        serde_json::json!({ "errors": { "error": [{ "code": "C", "field": "f", "description": said }] } }).to_string(),
        serde_json::json!({ "error": [{ "info": said, "severity": said, "category": said }] }).to_string(),
        serde_json::json!({ "errors": [{ "code": 7, "message": said }] }).to_string(),
        serde_json::json!({ "title": said, "detail": said }).to_string(),
        format!("<errors><error><code>C</code><description>{said}</description></error></errors>"),
        format!("<html>{said}</html>"),
        said.to_owned(),
    ];
    for body in shapes {
        for kind in KINDS {
            let mut errors = error::read(body.as_bytes()).errors;
            PersonalTexts::of(&order).redact(&mut errors);
            let error = UpstreamError { errors, ..upstream_error(Operation::Create, kind, Effect::Unknown) };
            let status = status::failure(error.into(), "", &call());
            let all = format!("{}{}", status.message(), String::from_utf8_lossy(status.details())).to_lowercase();
            assert!(!all.contains("canary"), "{body}: {all}");
            assert!(all.contains("[redacted]"), "{body}");
        }
    }
}

#[test]
fn odd_letters_are_valid_on_the_wire() {
    let odd = "é\u{0}\r\n\u{7f}\u{1f600} \"x\"";
    let errors = vec![pb::WalmartError { code: odd.into(), description: odd.into(), ..Default::default() }];
    let error = UpstreamError { errors, ..upstream_error(Operation::Create, ErrorKind::Rejected, Effect::None) };
    for status in [status::failure(error.into(), odd, &call()), status::service_not_allowed(odd)] {
        let headers = status.clone().into_http::<()>().headers().clone();
        let read = Status::from_header_map(&headers).unwrap();
        assert_eq!((read.code(), read.message(), read.details()), (status.code(), status.message(), status.details()));
        for value in headers.values() {
            assert!(value.to_str().is_ok(), "{value:?}");
        }
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size < 8 * 1024, "{size}");
    }
}

#[test]
fn calls_that_are_turned_away_say_when_to_come_back() {
    for operation in Operation::ALL {
        for kind in [ErrorKind::RateLimited, ErrorKind::Overloaded] {
            let told = told(&status::failure(upstream_error(operation, kind, Effect::None).into(), "", &call()));
            assert!(told.retry.unwrap().retry_delay.unwrap().seconds > 0, "{operation} {kind:?}");
            assert_eq!(told.quota.is_some(), kind == ErrorKind::RateLimited);
        }
    }
}
