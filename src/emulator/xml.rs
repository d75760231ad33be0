//! Walmart's XML, for callers that do not ask for JSON. Complete enough to show a caller that its Accept header is
//! missing.

use std::fmt::Write;

use serde_json::Value;

/// Writes an answer: an error list, a token, or any other data as `ServiceResponse`.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::from(r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#);
    if let Some(errors) = value.get("error").or_else(|| value.get("errors")).filter(|e| e.is_array()) {
        out.push_str(r#"<ns4:errors xmlns:ns4="http://walmart.com/">"#);
        element(&mut out, "ns4:", "error", errors);
        out.push_str("</ns4:errors>");
    } else if let Some(token) = value.get("access_token") {
        out.push_str("<OAuthTokenDTO>");
        element(&mut out, "", "accessToken", token);
        element(&mut out, "", "tokenType", &value["token_type"]);
        element(&mut out, "", "expiresIn", &value["expires_in"]);
        out.push_str("</OAuthTokenDTO>");
    } else {
        element(&mut out, "", "ServiceResponse", value);
    }
    out
}

fn element(out: &mut String, prefix: &str, name: &str, value: &Value) {
    if let Value::Array(items) = value {
        items.iter().for_each(|item| element(out, prefix, name, item));
        return;
    }
    // Keys may come from the caller, whose header is echoed.
    let plain = |c: char| c.is_ascii_alphanumeric();
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("_{name}") };
    // Writing to a String does not fail.
    let _ = write!(out, "<{prefix}{name}>");
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| element(out, prefix, key, value)),
        Value::Null | Value::Array(_) => {}
        Value::String(text) => escape(out, text),
        Value::Bool(_) | Value::Number(_) => escape(out, &value.to_string()),
    }
    let _ = write!(out, "</{prefix}{name}>");
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() && !c.is_whitespace() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn errors_tokens_and_the_rest_have_their_roots() {
        for (value, root, child) in [
            (json!({"error": [{"code": "A<B&C", "causes": []}]}), "errors", "error"),
            (json!({"access_token": "t", "token_type": "Bearer", "expires_in": 900}), "OAuthTokenDTO", "accessToken"),
            (
                json!({"status": "ACCEPTED", "payload": {"requestId": "1", "1 <": 2, "": 3}}),
                "ServiceResponse",
                "payload",
            ),
        ] {
            let text = super::write(&value);
            let document = roxmltree::Document::parse(&text).unwrap();
            let element = document.root_element();
            assert_eq!(element.tag_name().name(), root);
            assert!(element.children().any(|c| c.tag_name().name() == child), "{text}");
        }
    }
}
