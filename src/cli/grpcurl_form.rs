//! Messages and errors as grpcurl prints them.

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::prost_types::Any;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Serialize as _;
use serde_json::json;
use serde_json::ser::{Formatter, PrettyFormatter};
use tonic::Status;

/// A message as JSON.
///
/// # Errors
/// The message holds an `Any` of a type that its descriptors do not have.
pub(super) fn json(message: &DynamicMessage) -> Result<String, String> {
    written(|json| message.serialize_with_options(json, &SerializeOptions::new()))
}

/// A status with its code, its message and its decoded details.
pub(super) fn error(status: &Status) -> String {
    let mut text = format!("ERROR:\n  Code: {:?}\n  Message: {}", status.code(), status.message());
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
    if !details.is_empty() {
        text.push_str("\n  Details:");
    }
    for (number, any) in (1..).zip(details) {
        let mark = format!("  {number})");
        let indent = format!("\n{}\t", " ".repeat(mark.len()));
        // Writing to a string does not fail.
        let _ = write!(text, "\n{mark}\t{}", detail(any).replace('\n', &indent));
    }
    text
}

/// A detail as JSON. A detail of a type that is not Google's stays as its bytes in base64.
fn detail(any: Any) -> String {
    let decoded = decoded(&any).and_then(|message| json(&message).ok());
    let unknown = || json!({"@type": any.type_url, "@value": STANDARD.encode(&any.value)});
    decoded.or_else(|| written(|json| unknown().serialize(json)).ok()).unwrap_or_default()
}

fn decoded(any: &Any) -> Option<DynamicMessage> {
    let pool = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok()?;
    let kind = pool.get_message_by_name("google.protobuf.Any")?;
    DynamicMessage::decode(kind, any.encode_to_vec().as_slice()).ok()
}

type JsonSerializer = serde_json::Serializer<Vec<u8>, AsGrpcurl>;

fn written(write: impl FnOnce(&mut JsonSerializer) -> Result<(), serde_json::Error>) -> Result<String, String> {
    let mut json = serde_json::Serializer::with_formatter(Vec::new(), AsGrpcurl::default());
    write(&mut json).map_err(|error| error.to_string())?;
    String::from_utf8(json.into_inner()).map_err(|error| error.to_string())
}

/// JSON in grpcurl's form: indented by two, whole numbers without a fraction.
#[derive(Default)]
struct AsGrpcurl(PrettyFormatter<'static>);

impl Formatter for AsGrpcurl {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Rust's form of a double is the shortest one, without a fraction for whole numbers.
        write!(writer, "{value}")
    }
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn an_error_shows_its_details() {
        let mut details = ErrorDetails::with_error_info(
            "ORDER_NOT_FOUND",
            "order-gateway",
            [("account".to_owned(), "acme".to_owned())],
        );
        details.set_request_info("c-1", "");
        let status = Status::with_error_details(Code::NotFound, "unknown", details);
        let expected = "ERROR:\n  Code: NotFound\n  Message: unknown\n  Details:\n\
            \x20 1)\t{\n    \t  \"@type\": \"type.googleapis.com/google.rpc.ErrorInfo\",\n    \t  \"reason\": \"ORDER_NOT_FOUND\",\n\
            \x20   \t  \"domain\": \"order-gateway\",\n    \t  \"metadata\": {\n    \t    \"account\": \"acme\"\n    \t  }\n    \t}\n\
            \x20 2)\t{\n    \t  \"@type\": \"type.googleapis.com/google.rpc.RequestInfo\",\n    \t  \"requestId\": \"c-1\"\n    \t}";
        assert_eq!(error(&status), expected);
    }

    #[test]
    fn details_of_unknown_types_and_rubbish_break_nothing() {
        let any = Any { type_url: "type.googleapis.com/acme.Other".into(), value: b"\xff".to_vec() };
        let details = tonic_types::pb::Status { details: vec![any], ..Default::default() }.encode_to_vec();
        let text = error(&Status::with_details(Code::Internal, "", details.into()));
        assert!(
            text.ends_with(
                "{\n    \t  \"@type\": \"type.googleapis.com/acme.Other\",\n    \t  \"@value\": \"/w==\"\n    \t}"
            ),
            "{text}"
        );
        let text = error(&Status::with_details(Code::Internal, "no", b"\xff\xff".to_vec().into()));
        assert_eq!(text, "ERROR:\n  Code: Internal\n  Message: no");
    }
}
