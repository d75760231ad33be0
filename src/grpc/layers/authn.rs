//! Recognises the caller and holds it to what it may use: services, calls at a time, calls a second.
//!
//! Tokens are compared as SHA-256 hashes, each in constant time and always all of them, so time tells nothing. Which
//! accounts a caller may see is decided where the account is known, by `ports::call::Caller`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::share::Share;
use super::{Answer, Held, Place};
use crate::grpc::tls::PeerNames;
use crate::grpc::{methods, status};
use crate::ports::call::Caller;

/// Paths of our own services begin with it; only those can be forbidden to a client.
const OURS: &str = "/ordergateway.v1.";

/// The hash of a bearer token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token as it is sent after `Bearer `.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// Gives the hashes that are good now (two while a token rotates). Called for each call: keep them ready.
pub type CurrentTokens = Box<dyn Fn() -> Vec<TokenHash> + Send + Sync>;

/// One of those who may call.
pub struct Client {
    /// Who it is and what it may see.
    pub caller: Arc<Caller>,
    /// How it is recognised.
    pub credential: Credential,
    /// Its share.
    pub share: Share,
}

/// How a client shows who it is.
pub enum Credential {
    /// By `authorization: Bearer`.
    Token(CurrentTokens),
    /// By a name (URI or DNS) in its verified certificate.
    San(String),
}

/// Admits callers.
#[derive(Clone)]
pub struct AuthnLayer {
    clients: Arc<[Client]>,
}

impl AuthnLayer {
    /// No clients: the gateway is open and everyone is anonymous.
    pub fn new(clients: Vec<Client>) -> Self {
        Self { clients: clients.into() }
    }

    fn admit(&self, path: &str, headers: &HeaderMap, peer: Option<&PeerNames>) -> Result<Admitted, Box<Status>> {
        if self.clients.is_empty() {
            return Ok((Caller::anonymous(), None));
        }
        if path.starts_with(methods::HEALTH) {
            return Ok((Caller::nobody(), None));
        }
        let client = self.recognise(headers, peer).ok_or_else(|| Box::new(status::caller_unauthenticated()))?;
        let service = path.strip_prefix(OURS).and_then(|path| path.split('/').next());
        if let Some(service) = service.filter(|service| !client.caller.may_call(service)) {
            return Err(Box::new(status::service_not_allowed(service)));
        }
        match client.share.take(Instant::now()) {
            Ok(place) => Ok((client.caller.clone(), place)),
            Err(retry_after) => Err(Box::new(status::caller_rate_limited(retry_after))),
        }
    }

    fn recognise(&self, headers: &HeaderMap, peer: Option<&PeerNames>) -> Option<&Client> {
        // A token that is sent decides; a certificate speaks for those who send none.
        let Some(value) = headers.get(AUTHORIZATION) else {
            let names = peer?;
            return self
                .clients
                .iter()
                .find(|client| matches!(&client.credential, Credential::San(san) if names.contains(san)));
        };
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let sent = TokenHash::of(token.trim_ascii());
        let mut found = None;
        for client in self.clients.iter() {
            let Credential::Token(current) = &client.credential else { continue };
            for good in current() {
                if bool::from(sent.0.ct_eq(&good.0)) {
                    found = Some(client);
                }
            }
        }
        found
    }
}

type Admitted = (Arc<Caller>, Option<Place>);

impl<S> Layer<S> for AuthnLayer {
    type Service = Authn<S>;

    fn layer(&self, inner: S) -> Authn<S> {
        Authn { inner, layer: self.clone() }
    }
}

/// See [`AuthnLayer`].
#[derive(Clone)]
pub struct Authn<S> {
    inner: S,
    layer: AuthnLayer,
}

impl<S, B> Service<Request<B>> for Authn<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Future, ShareHeld>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<PeerNames>();
        match self.layer.admit(request.uri().path(), request.headers(), peer) {
            Ok((caller, place)) => {
                if let Some(context) = super::context(&mut request) {
                    context.facts.set_caller(&caller);
                    context.caller = caller;
                }
                Answer::forwarded(self.inner.call(request), ShareHeld(place))
            }
            Err(refusal) => Answer::refused(*refusal),
        }
    }
}

/// A client's place; streams hold theirs to their end.
#[derive(Debug)]
pub struct ShareHeld(Option<Place>);

impl Held for ShareHeld {
    fn follow(self, response: Response<Body>) -> Response<Body> {
        match self.0 {
            Some(place) => response.map(|inner| Body::new(HeldBody { inner, _place: place })),
            None => response,
        }
    }
}

struct HeldBody {
    inner: Body,
    _place: Place,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "authn_tests.rs"]
mod tests;
