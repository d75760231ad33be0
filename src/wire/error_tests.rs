//! Bodies as Walmart sends them, and as nobody should.

use std::time::{Duration, Instant};

use super::*;

fn error(code: &str, field: &str, description: &str, info: &str) -> WalmartError {
    WalmartError {
        code: code.into(),
        field: field.into(),
        description: description.into(),
        info: info.into(),
        severity: "ERROR".into(),
        category: "DATA".into(),
    }
}

#[test]
fn every_envelope_of_the_fact_sheet_is_understood() {
    let object = r#"{"code":"C","field":"f","description":"d","info":"i","severity":"ERROR","category":"DATA","causes":[],"errorIdentifiers":{}}"#;
    let want = vec![error("C", "f", "d", "i")];
    for body in [
        format!(r#"{{"errors":{{"error":[{object}]}}}}"#),
        format!(r#"{{"errors":{{"error":{object}}}}}"#),
        format!(r#"{{"error":[{object}]}}"#),
        format!(r#"{{"error":{object}}}"#),
        format!(r#"{{"errors":[{object}]}}"#),
        format!(r#"{{"status":"FAIL","header":null,"payload":null,"errors":[{object}]}}"#),
        format!(r#"{{"errors":[],"error":[{object}]}}"#),
        format!("\u{feff}[{object}]"),
        object.to_owned(),
        r#"<ns4:errors xmlns:ns4="http://walmart.com/"><ns4:error><ns4:code>C</ns4:code><ns4:field>f</ns4:field><ns4:description>d</ns4:description><ns4:info>i</ns4:info><ns4:severity>ERROR</ns4:severity><ns4:category>DATA</ns4:category><ns4:causes/></ns4:error></ns4:errors>"#.to_owned(),
    ] {
        assert_eq!(read(body.as_bytes()).errors, want, "{body}");
    }
}

#[test]
fn the_newer_message_field_is_the_description() {
    let body = br#"{"errors":[{"code":500,"message":"limit must not exceed 200"}]}"#;
    let errors = read(body).errors;
    assert_eq!((errors[0].code.as_str(), errors[0].description.as_str()), ("500", "limit must not exceed 200"));
}

#[test]
fn problem_json_gives_title_and_detail() {
    let body = br#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"lineNumber is required"}"#;
    let errors = read(body).errors;
    let WalmartError { code, description, info, .. } = &errors[0];
    assert_eq!([code, description, info], ["", "lineNumber is required", "Bad Request"]);
}

#[test]
fn text_and_html_keep_their_words() {
    let html = b"<html><head><title>503</title></head><body>\n<h1>Service   Unavailable</h1></body>";
    assert_eq!(read(html).errors[0].description, "503 Service Unavailable");
    assert_eq!(read(b"no such client").errors[0].description, "no such client");
    assert_eq!(read(b"\"quoted\"").errors[0].description, "quoted");
}

#[test]
fn nothing_is_no_error() {
    for body in [&b""[..], b"  ", b"null", b"{}", b"[]", b"42", b"{\"errors\":[]}", b"<a/>"] {
        assert_eq!(read(body), ErrorBody::default(), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_flood_is_bounded_and_counted() {
    let body = format!("[{}]", vec![format!(r#"{{"code":"{}"}}"#, "é".repeat(3000)); 150].join(","));
    let read = read(body.as_bytes());
    assert_eq!((read.errors.len(), read.omitted), (100, 50));
    assert!(read.errors[0].code.len() <= MAX_TEXT);
}

#[test]
fn a_gateways_plain_message_is_an_error() {
    assert_eq!(read(br#"{"message":"Forbidden"}"#).errors[0].description, "Forbidden");
    assert!(!read(br#"{"message":"Forbidden"}"#).is_readable());
    let failed = read(br#"{"status":"FAIL","header":{},"payload":{"requestId":"1"}}"#);
    assert_eq!(failed, ErrorBody { form: ErrorForm::Envelope, ..ErrorBody::default() });
}

#[test]
fn only_whole_bodies_of_walmarts_forms_are_readable() {
    for body in [
        r#"{"errors":{"error":[{"code":"C"}]}}"#,
        r#"{"error":{"description":"d"}}"#,
        r#"{"errors":[{"message":"m"}]}"#,
        r#"{"status":"fail"}"#,
        r#"{"status":"FAIL","errors":[]}"#,
        r#"[{"code":"C"}]"#,
        "<errors><error><code>C</code></error></errors>",
    ] {
        assert_eq!(read(body.as_bytes()).form, ErrorForm::Envelope, "{body}");
    }
    let problem = r#"{"type":"about:blank","title":"Bad Request","status":400}"#;
    assert_eq!(read(problem.as_bytes()).form, ErrorForm::Problem);
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x2a];
    let unknown = [
        &br#"{"status": "FAIL", "errors": [{"code": "INV"#[..],
        &gzip,
        b"",
        b"null",
        b"{}",
        b"<html><h1>Bad Request</h1></html>",
        b"upstream connect error",
        br#""FAIL""#,
        br#"{"errors":["a text"]}"#,
        br#"{"error":"invalid_request"}"#,
        br#"{"errors":[{"field":"sku"}]}"#,
        br#"{"code":"C","message":"m"}"#,
        br#"{"title":"Bad Request"}"#,
        br#"[{"description":"d"}]"#,
        b"<errors><error/></errors>",
    ];
    for body in unknown {
        assert_eq!(read(body).form, ErrorForm::Unknown, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn words_behind_many_tags_are_found() {
    let page = format!("{}<p>Bad&nbsp;Gateway\u{7}\n 502</p>", "<div> ".repeat(5_000));
    assert_eq!(read(page.as_bytes()).errors[0].description, "Bad&nbsp;Gateway 502");
}

/// Reads `body`; it must be done well before a caller would notice, also in a debug build on a busy machine.
#[allow(clippy::disallowed_methods, reason = "measures the machine's time")]
fn read_quickly(name: &str, body: &[u8]) -> ErrorBody {
    let start = Instant::now();
    let errors = read(body);
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(2), "{name}: {taken:?}");
    assert!(errors.errors.len() <= MAX_ERRORS, "{name}");
    errors
}

#[test]
fn no_body_takes_long() {
    let kib_256 = |unit: &str| unit.repeat(256 * 1024 / unit.len());
    let attributes: String = (0..20_000).map(|i| format!(" a{i}=''")).collect();
    let namespaces: String = (0..8_000).map(|i| format!("<a xmlns:n{i}='u{i}'>")).collect();
    let closing = "</a>".repeat(8_000);
    let laughs: String =
        (1..20).map(|i| format!("<!ENTITY l{i} \"{}\">", format!("&l{};", i - 1).repeat(10))).collect();
    for (name, body) in [
        ("open elements", kib_256("<a>")),
        ("closed elements", format!("{}{}", "<a>".repeat(32 * 1024), "</a>".repeat(32 * 1024))),
        ("nested errors", format!("{}{}", "<error>".repeat(16 * 1024), "</error>".repeat(16 * 1024))),
        ("errors in a row", format!("<e>{}</e>", "<error><code>1</code></error>".repeat(8_000))),
        ("attributes", format!("<a{attributes}/>")),
        ("namespaces", format!("{namespaces}{closing}")),
        ("open tags", kib_256("<")),
        ("entities", kib_256("&amp;")),
        ("laughs", format!("<!DOCTYPE l [<!ENTITY l0 \"lol\">{laughs}]><error><code>&l19;</code></error>")),
        ("a large page", "<p>".repeat(2_700_000)),
        ("lists", "[".repeat(8 * 1024 * 1024)),
        ("closed lists", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("objects", r#"{"error":"#.repeat(200_000)),
        ("nested to the limit", format!("{}1{}", r#"{"error":["#.repeat(60), "]}".repeat(60))),
        ("many objects", format!("[{}1]", r#"{"code":1},"#.repeat(700_000))),
    ] {
        read_quickly(name, body.as_bytes());
    }
}

#[test]
fn more_xml_than_is_parsed_keeps_its_words() {
    let body = format!("<errors>{}</errors>", "<error><code>C</code></error>".repeat(10_000));
    let errors = read(body.as_bytes()).errors;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].description.starts_with("C C C"));
}

proptest::proptest! {
    #[test]
    fn no_body_is_too_odd(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        read(&body);
    }

    #[test]
    fn no_markup_is_too_odd(body in r#"[<>/"{}\[\]:,a-e!&;é -]{0,80}"#) {
        read(body.as_bytes());
    }
}
