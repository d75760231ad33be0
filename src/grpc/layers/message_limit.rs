//! Corrects the code with which tonic refuses a message over the limit.
//!
//! tonic 0.14.9 answers OUT_OF_RANGE (`codec/decode.rs`); gRPC documents RESOURCE_EXHAUSTED. tonic cuts a compressed
//! message at the limit while decompressing, and answers RESOURCE_EXHAUSTED already.

use http::{HeaderValue, Response};
use tonic::Code;

/// The start of tonic's message, percent-encoded as in the header.
const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";

/// Corrects the code of this refusal; any other response passes unchanged.
pub(crate) fn correct<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let out_of_range = headers.get("grpc-status").is_some_and(|code| code == "11");
    if out_of_range && headers.get("grpc-message").is_some_and(|m| m.as_bytes().starts_with(TOO_LARGE)) {
        headers.insert("grpc-status", HeaderValue::from(Code::ResourceExhausted as i32));
    }
    response
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn only_the_librarys_own_refusal_is_corrected() {
        let code =
            |status: Status| Status::from_header_map(correct(status.into_http::<()>()).headers()).unwrap().code();
        let too_large = "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes";
        assert_eq!(code(Status::out_of_range(too_large)), Code::ResourceExhausted);
        assert_eq!(code(Status::out_of_range("the cursor is too old")), Code::OutOfRange);
        assert_eq!(code(Status::internal(too_large)), Code::Internal);
    }
}
