//! The unary RPCs of the feeds' services.

/// Calls a use case that needs nothing but request and context, and converts the result.
macro_rules! unary {
    ($self:ident, $request:ident, |$asked:ident, $call:ident| $answer:expr) => {{
        let $call = $crate::grpc::fulfillment::context(&$request)?;
        let $asked = $request.into_inner();
        let answer = $answer.await;
        answer.map(tonic::Response::new).map_err(|error| $crate::grpc::status::failure(error, "", &$call))
    }};
}

pub(super) use unary;
