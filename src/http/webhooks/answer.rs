//! Responses to the sender of a webhook.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::auth::{TokenGrant, TokenRefusal};

/// Seconds until the sender should repeat a delivery that the gateway could not store.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The delivery is durable.
pub(super) fn stored(duplicate: bool) -> Response {
    let body = if duplicate { r#"{"stored":true,"duplicate":true}"# } else { r#"{"stored":true,"duplicate":false}"# };
    sent(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The delivery is refused, with the reason.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// The same for a request that was not read to its end: the connection must close, because the rest of the request is
/// still in it.
pub(super) fn unread(status: StatusCode, why: &str) -> Response {
    ([(CONNECTION, HeaderValue::from_static("close"))], refused(status, why)).into_response()
}

/// The gateway cannot store the delivery now; the sender should repeat it.
pub(super) fn again_later(why: &str) -> Response {
    ([(RETRY_AFTER, RETRY_SECONDS)], refused(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
}

/// An access token. Source of the form: RFC 6749, section 5.1.
pub(super) fn token(grant: &TokenGrant) -> Response {
    let TokenGrant { access_token, expires_in } = grant;
    let body = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": expires_in.as_secs() });
    let not_kept = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    (not_kept, Json(body)).into_response()
}

/// A refused token request. Source of the form: RFC 6749, section 5.2.
pub(super) fn no_token(why: TokenRefusal) -> Response {
    let (status, error) = match why {
        TokenRefusal::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
        TokenRefusal::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        TokenRefusal::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
    };
    let mut answer = (status, Json(json!({ "error": error }))).into_response();
    if why == TokenRefusal::InvalidClient {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"webhooks\""));
    }
    answer
}

#[cfg(not(feature = "crash-points"))]
fn sent(answer: Response) -> Response {
    answer
}

/// Reaches crash point W4 once the sender has the response. hyper drops the body just before writing its last bytes,
/// all in one write: two milliseconds later they are written.
#[cfg(feature = "crash-points")]
fn sent(answer: Response) -> Response {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use axum::body::Body;
    use http_body::{Frame, SizeHint};

    struct NotifyWhenSent(Body);

    impl http_body::Body for NotifyWhenSent {
        type Data = bytes::Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }
        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }

    impl Drop for NotifyWhenSent {
        fn drop(&mut self) {
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    crate::crash_point::reach(crate::crash_point::CrashPoint::W4);
                });
            }
        }
    }

    answer.map(|body| Body::new(NotifyWhenSent(body)))
}
