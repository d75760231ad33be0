//! Answers before their HTTP encoding: a status and a body, in every form of Walmart's errors.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// An answer of the emulated Walmart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WalmartAnswer {
    pub(crate) status: u16,
    body: AnswerBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Debug, PartialEq)]
enum AnswerBody {
    Json(Value),
    /// Sent unchanged, in any format that the caller accepts.
    Fixed {
        content_type: &'static str,
        bytes: Bytes,
    },
    Empty,
}

/// A fault of a request: the field and the reason.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldFault {
    pub(crate) field: String,
    pub(crate) text: String,
}

impl WalmartAnswer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: AnswerBody::Json(body), headers: Vec::new() }
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::fixed(status, Bytes::copy_from_slice(text.as_bytes()))
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: AnswerBody::Empty, headers: Vec::new() }
    }

    /// Fixed bytes, with a content type derived from their content.
    pub(crate) fn fixed(status: u16, bytes: Bytes) -> Self {
        let content_type = match bytes.trim_ascii_start().first() {
            Some(b'{' | b'[') => "application/json",
            Some(b'<') => "text/html",
            _ => "text/plain",
        };
        Self { status, body: AnswerBody::Fixed { content_type, bytes }, headers: Vec::new() }
    }

    /// An error of the API gateway: a bare list under `error`.
    pub(crate) fn gateway(status: u16, name: &str, field: &str, description: &str, info: &str) -> Self {
        let category = match status {
            429 => "REQUEST",
            500.. => "SYSTEM",
            _ => "DATA",
        };
        let error = json!({"code": format!("{name}.GMP_GATEWAY_API"), "field": field, "description": description,
            "info": info, "severity": "ERROR", "category": category, "causes": [], "errorIdentifiers": {}});
        Self::json(status, json!({"error": [error]}))
    }

    pub(crate) fn unauthorized(info: &str) -> Self {
        Self::gateway(401, "UNAUTHORIZED", "UNAUTHORIZED", "Unauthorized", info)
    }

    /// An error of the fulfillment service: `status: FAIL` and a list under `errors`, one entry per fault.
    pub(crate) fn fail(status: u16, code: &str, complaints: &[FieldFault]) -> Self {
        let errors: Vec<Value> = complaints
            .iter()
            .map(|c| json!({"code": code, "field": c.field, "description": c.text, "severity": "ERROR", "category": "DATA"}))
            .collect();
        Self::json(status, json!({"status": "FAIL", "errors": errors}))
    }

    /// Walmart's answer with a status when nothing else is known.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::fail(400, "INVALID_MCS_REQUEST", &[complaint("payload", "Request is not valid")]),
            401 => Self::unauthorized("token missing, expired or malformed"),
            403 => Self::gateway(403, "FORBIDDEN", "FORBIDDEN", "Forbidden", "scope missing"),
            404 => Self::not_in_wsaas(),
            429 => Self::gateway(
                429,
                "REQUEST_THRESHOLD_VIOLATED",
                "REQUEST_THRESHOLD_VIOLATED",
                "Request threshold exceeded",
                "Too many requests for this API",
            ),
            500 => Self::fail(500, "WFS_INTERNAL_SERVER_ERROR", &[complaint("", "Internal server error")]),
            504 => Self::gateway(504, "DOWNSTREAM_SYSTEM_TIME_OUT", "", "Downstream system timed out", ""),
            520 | 521 => Self::gateway(status, "SYSTEM_ERROR", "SYSTEM_ERROR", "System error", "internal error"),
            _ => Self::empty(status),
        }
    }

    /// The cancellation of an unknown order. Source: seed 000.
    pub(crate) fn not_in_wsaas() -> Self {
        let error = json!({"code": "404.WSAAS.100", "description": "Data not found in WSAAS",
            "info": "requested order not found", "severity": "ERROR", "category": "REQUEST"});
        Self::json(404, json!({"status": "FAIL", "errors": [error]}))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Changes the data; an answer without data stays unchanged.
    pub(crate) fn with_value(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let AnswerBody::Json(value) = &mut self.body {
            change(value);
        }
        self
    }

    /// Changes the bytes of the body, and keeps the content type.
    pub(crate) fn with_bytes(mut self, change: impl FnOnce(Bytes) -> Bytes) -> Self {
        self.body = match self.body {
            AnswerBody::Json(value) => {
                AnswerBody::Fixed { content_type: "application/json", bytes: change(value.to_string().into()) }
            }
            AnswerBody::Fixed { content_type, bytes } => AnswerBody::Fixed { content_type, bytes: change(bytes) },
            AnswerBody::Empty => AnswerBody::Empty,
        };
        self
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The body, if it is data.
    pub(crate) fn value(&self) -> Option<&Value> {
        match &self.body {
            AnswerBody::Json(value) => Some(value),
            _ => None,
        }
    }

    /// Converts the answer to HTTP. Data becomes XML for a caller that does not ask for JSON.
    pub(crate) fn into_http(self, xml: bool) -> http::Response<Bytes> {
        let (content_type, bytes) = match self.body {
            AnswerBody::Json(value) if xml => ("application/xml", super::xml::write(&value).into()),
            AnswerBody::Json(value) => ("application/json", value.to_string().into()),
            AnswerBody::Fixed { content_type, bytes } => (content_type, bytes),
            AnswerBody::Empty => ("", Bytes::new()),
        };
        let mut response = http::Response::new(bytes);
        // Every status comes from a table or was checked to be 200 to 599.
        *response.status_mut() =
            http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        if !content_type.is_empty() {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Shorthand for a single fault.
pub(crate) fn complaint(field: impl Into<String>, text: impl Into<String>) -> FieldFault {
    FieldFault { field: field.into(), text: text.into() }
}
