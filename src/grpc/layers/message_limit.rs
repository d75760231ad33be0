//! Gives the gRPC library's refusal of a large message gRPC's documented code.
//!
//! tonic 0.14.9 answers a message over the limit with OUT_OF_RANGE (`codec/decode.rs`); gRPC's code for it is
//! RESOURCE_EXHAUSTED. A compressed message that unpacks to more than the limit is cut by tonic at the limit and has that
//! code already.

use http::{HeaderValue, Response};
use tonic::Code;

/// How tonic's message begins, as it stands in the header.
const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";

/// Corrects the code of that one answer; leaves all others alone.
pub fn correct<B>(mut response: Response<B>) -> Response<B> {
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
