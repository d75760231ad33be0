use serde_json::json;

use super::*;
use crate::domain::ledger::evidence::{CancelSnapshot, SnapshotLine};
use crate::pb::{Contact, Customer, Name, Order};

fn error(description: &str) -> WalmartError {
    WalmartError { code: "INVALID_MCS_REQUEST".into(), description: description.into(), ..Default::default() }
}

fn order() -> Order {
    serde_json::from_value(json!({
        "customerOrderNo": "ORDER-7",
        "customer": {"contact": {
            "name": {"firstName": "Ana", "lastName": "Roe"},
            "phone": "555-111-2222",
            "email": "ana@example.org",
        }},
        "orderItems": [{"sellerLineId": "1", "shippingTo": {
            "contact": {"name": {"firstName": "Eve", "lastName": ""}, "phone": "+44 20 7946 0000"},
            "address": {"line1": "12 Oak Ave", "line2": "#5", "state": "OK", "zip": "74101-1234", "isPOBox": false},
        }}],
    }))
    .unwrap()
}

/// What is told of a text about a customer of this name.
fn told(names: &[&str], text: &str) -> String {
    let personal = PersonalTexts(names.iter().map(|name| (*name).to_owned()).collect());
    let mut errors = [error(text)];
    personal.redact(&mut errors);
    std::mem::take(&mut errors[0].description)
}

#[test]
fn what_the_request_said_is_not_repeated() {
    let mut errors =
        [error("ANA roe <ana@example.org> (555-111-2222), 12 Oak Ave #5, OK: bad zip 74101-1234 of ORDER-7")];
    PersonalTexts::of(&order()).redact(&mut errors);
    let clean = "[redacted] [redacted] <[redacted]> ([redacted]), [redacted] [redacted], [redacted]: bad zip [redacted] of ORDER-7";
    assert_eq!(errors[0].description, clean);
}

#[test]
fn cases() {
    let customer = |first: &str, last: &str, city: &str| {
        let name = Name { first_name: Some(first.into()), last_name: Some(last.into()) };
        let contact = Contact { name: Some(name), ..Default::default() };
        let shipping_to = json!({"address": {"city": city}});
        let mut order: Order = serde_json::from_value(json!({"orderItems": [{"shippingTo": shipping_to}]})).unwrap();
        order.customer = Some(Customer { contact: Some(contact) });
        order
    };
    for (first, last, city, says, field, told) in [
        (
            "Ali",
            "Lin",
            "Reno",
            "sellerLineId of line 2 is invalid",
            "orderItems[1].sellerLineId",
            "sellerLineId of line 2 is invalid",
        ),
        (
            "Jörg",
            "Müller",
            "Reno",
            "customer JÖRG MÜLLER is blocked",
            "customer",
            "customer [redacted] [redacted] is blocked",
        ),
        (
            "Kim",
            "Doe",
            "Reno",
            "no carrier serves Reno, ask kim.",
            "shippingTo",
            "no carrier serves [redacted], ask [redacted].",
        ),
    ] {
        let mut errors = [WalmartError { field: field.into(), ..error(says) }];
        PersonalTexts::of(&customer(first, last, city)).redact(&mut errors);
        assert_eq!(errors, [WalmartError { field: field.into(), ..error(told) }]);
    }
}

#[test]
fn names_are_found_in_any_case_of_any_script() {
    for (name, text) in [
        ("Straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("Groß", "GROẞ"),
        ("Νίκος", "ΝΊΚΟΣ"),
        ("ΝΊΚΟΣ", "νίκοσ"),
        ("Ольга", "ОЛЬГА"),
        ("İbrahim", "İBRAHİM"),
        ("Işık", "IŞIK"),
        ("Élan", "E\u{301}LAN"),
        ("Jo\u{308}rg", "JÖRG"),
        ("ﬁn", "FIN"),
        ("Ann", "ＡＮＮ"),
        ("O'Brien", "O’BRIEN"),
        ("Anne-Marie", "anne marie"),
        ("Արամ", "ԱՐԱՄ"),
        ("王小明", "王小明"),
        ("タナカ", "タナカ"),
    ] {
        assert_eq!(told(&[name], &format!("of {text}: no")), "of [redacted]: no", "{name}");
    }
    assert_eq!(told(&["王小明"], "客户王小明被封"), "客户[redacted]被封");
    assert_eq!(told(&["タナカ"], "タナカさん"), "[redacted]さん");
}

#[test]
fn a_name_inside_a_word_is_no_name() {
    for (name, text) in [
        ("Ana", "banana, Ana1, Ana\u{301}, Élana"),
        ("É", "Élan"),
        ("OK", "OKAY, BOOK"),
        ("Jose", "José"),
        ("アリ", "アリバイ"),
        ("राम", "रामायण"),
        ("12 Oak", "12 or Oak, 12     Oak"),
        ("-", "a-b - c"),
        ("  ", "a  b"),
    ] {
        assert_eq!(told(&[name], text), text);
    }
}

#[test]
fn a_text_is_replaced_as_a_whole_with_what_it_contains() {
    assert_eq!(told(&["Oak", "12 Oak Ave.", "Ave"], "to 12 OAK AVE. now"), "to [redacted] now");
    assert_eq!(told(&["12 Oak Ave.", "Oak Ave Lane"], "to 12 Oak Ave Lane"), "to [redacted]");
    assert_eq!(told(&["Kim"], "name_Kim,Kim/Kim"), "name_[redacted],[redacted]/[redacted]");
}

#[test]
fn telephones_are_found_however_their_digits_are_written() {
    for (phone, text) in [
        ("555-111-2222", "call 5551112222"),
        ("5551112222", "call (555) 111-2222"),
        ("5551112222", "call +1 (555) 111.2222"),
        ("5551112222", "call +1-555-111-2222"),
        ("5551112222", "call 15551112222"),
        ("5551112222", "call 001 555 111 2222"),
        ("+1 555 111 2222", "call 555/111/2222"),
        ("555-111-2222 ext 7", "call 555 111 2222"),
        ("555-111-2222", "call 111-2222"),
        ("555-111-2222", "call ٥٥٥ ١١١ ٢٢٢٢"),
        ("555-111-2222", "call ５５５１１１２２２２"),
        ("555-111-2222", "call 555\u{a0}111\u{2011}2222"),
    ] {
        assert_eq!(told(&[phone], text), "call [redacted]", "{phone} in {text}");
    }
    assert_eq!(told(&["02079460000"], "call +44 20 7946 0000."), "call +44 [redacted].");
    assert_eq!(told(&["5551112222"], "order 12 555-111-2222 99"), "order 12 [redacted] 99");
    assert_eq!(told(&["5551112222"], "(555-111-2222)"), "([redacted])");
}

#[test]
fn other_numbers_stay() {
    for (phone, text) in [
        ("555-111-2222", "order 55511122223"),
        ("555-111-2222", "order 12345551112222"),
        ("555-111-2222", "sku A5551112222, 5551112222B"),
        ("555-111-2222", "2222"),
        ("12", "1 2"),
    ] {
        assert_eq!(told(&[phone], text), text, "{phone}");
    }
}

#[test]
fn codes_and_fields_stay_and_no_text_is_left_out() {
    let said = || "of Ana, 555-111-2222".to_owned();
    let (code, field, description, info, severity, category) = (said(), said(), said(), said(), said(), said());
    let mut errors = [
        WalmartError { code, field, description, info, severity, category },
        WalmartError { severity: "ANA".into(), category: "ROE".into(), ..error("") },
    ];
    PersonalTexts::of(&order()).redact(&mut errors);
    let clean = || "of [redacted], [redacted]".to_owned();
    let (description, info, severity, category) = (clean(), clean(), clean(), clean());
    assert_eq!(errors[0], WalmartError { code: said(), field: said(), description, info, severity, category });
    assert_eq!((errors[1].severity.as_str(), errors[1].category.as_str()), ("ANA", "ROE"));
}

#[test]
fn an_answer_shows_personal_data_wherever_it_stands() {
    let answer = json!({"payload": [{
        "sellerOrderId": "ORDER-7",
        "customerOrderNo": "ORDER-7",
        "buyerInfo": {"primaryContact": {"name": {"firstName": "Ana"}, "phone": {"completeNumber": 5_551_112_222_u64}}},
        "orderLines": [{"sellerLineId": "LINE", "shipToAddress": {"city": "Reno"}, "quantity": 2}],
        "customerEmailId": "ana@example.org",
    }]});
    let personal = PersonalTexts::of_answer(answer.to_string().as_bytes());
    let texts: Vec<&str> = personal.0.iter().map(String::as_str).collect();
    assert_eq!(texts, ["5551112222", "Ana", "Reno", "ana@example.org"]);
    for other in ["", "<html>Ana</html>", "[", "null", "7"] {
        assert_eq!(PersonalTexts::of_answer(other.as_bytes()), PersonalTexts::default());
    }
}

#[test]
fn texts_are_kept_beside_a_snapshot_and_do_not_change_it() {
    let texts = |texts: &[&str]| PersonalTexts(texts.iter().map(|text| (*text).to_owned()).collect());
    let lines = vec![SnapshotLine { seller_line_id: "1".into(), cancelled: 2.0 }];
    let snapshot = CancelSnapshot { lines };
    let kept = texts(&["Ana", "Reno"]).beside(snapshot.encode_to_vec());
    let more = texts(&["Ana", "Roe"]).beside(kept);
    assert_eq!(CancelSnapshot::decode(more.as_slice()).unwrap(), snapshot);
    assert_eq!(PersonalTexts::kept_beside(&more), texts(&["Ana", "Reno", "Roe"]));
    assert_eq!(texts(&["Ana"]).beside(more.clone()), more, "nothing is kept twice");
    assert_eq!(PersonalTexts::kept_beside(b"\xff\xff"), PersonalTexts::default());

    let many: Vec<String> = (0..1000).map(|n| n.to_string()).chain(["x".repeat(MAX_KEPT_TEXT + 1)]).collect();
    let kept = PersonalTexts(many.into_iter().collect()).beside(Vec::new());
    assert_eq!(PersonalTexts::kept_beside(&kept).0.len(), MAX_KEPT);
}
