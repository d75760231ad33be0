//! The answer to a unary call of the feeds' services.

/// A use case for which there is nothing more to say than its request and answer.
macro_rules! unary {
    ($self:ident, $request:ident, |$asked:ident, $call:ident| $answer:expr) => {{
        let $call = $crate::grpc::fulfillment::context(&$request)?;
        let $asked = $request.into_inner();
        let answer = $answer.await;
        answer.map(tonic::Response::new).map_err(|error| $crate::grpc::status::failure(error, "", &$call))
    }};
}

pub(super) use unary;
