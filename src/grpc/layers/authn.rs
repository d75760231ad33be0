//! Authenticates the caller and enforces its limits: services, calls at a time, calls per second.
//!
//! Tokens are compared by SHA-256 hash, in constant time, and always against all clients: the time of an answer reveals
//! nothing. `ports::call::Caller` decides which accounts a caller may see, once the account is known.
//!
//! Refusals are counted, and logged at most once a minute per reason and client: anyone who reaches the listener can
//! cause a million of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::access_end::{AccessEnd, AccessLoss};
use super::client_limits::{ClientLimits, ClientPermits};
use super::{AdmissionFuture, HeldPermit, LoggedInSummary};
use crate::config::{ClientTokens, SubjectAltName, TokenHash};
use crate::domain::account::AccountIndex;
use crate::grpc::tls::PeerNames;
use crate::grpc::{methods, status};
use crate::ports::call::Caller;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::{CallerRefused, Metrics};

/// Path prefix of our own services; only these can be forbidden to a client.
const OURS: &str = "/ordergateway.v1.";

/// A client of the settings.
pub(crate) struct AllowedClient {
    /// The client's name, and the accounts and services open to the client.
    pub(crate) caller: Arc<Caller>,
    /// The credential that identifies the client.
    pub(crate) credential: ClientCredential,
    /// The client's permits and rate.
    pub(crate) limits: Arc<ClientLimits>,
}

pub(crate) enum ClientCredential {
    /// `authorization: Bearer` with any of these tokens.
    Tokens(Vec<ClientTokens>),
    /// A name (URI or DNS) in the verified certificate.
    San(SubjectAltName),
}

/// The clients of the settings; empty for an open gateway. Cheap to clone; all clones share the clients.
#[derive(Clone)]
pub(crate) struct AllowedClients(Arc<ArcSwap<Vec<Arc<ClientEntry>>>>);

impl AllowedClients {
    /// Without clients the gateway is open and every caller is anonymous.
    pub(crate) fn new(clients: Vec<AllowedClient>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(clients.into_iter().map(ClientEntry::new).map(Arc::new).collect())))
    }

    /// Replaces the clients after a change of the settings. A client that stays keeps what its calls have taken of
    /// unchanged limits; streams of a client that may do less than before are ended. `is_present` tells whether an
    /// account is still in the settings.
    pub(crate) fn replace(&self, clients: Vec<AllowedClient>, is_present: impl Fn(AccountIndex) -> bool) {
        let old = self.0.load_full();
        let after = |client| Arc::new(ClientEntry::after(client, &old, &is_present));
        let new: Vec<_> = clients.into_iter().map(after).collect();
        self.0.store(Arc::new(new.clone()));
        for known in old.iter() {
            let name = &known.client.caller.name;
            let loss = match new.iter().find(|entry| entry.client.caller.name == *name) {
                None => Some(AccessLoss::Removed),
                Some(entry) => {
                    let is_less = known.client.caller.lost_access(&entry.client.caller, &is_present);
                    is_less.then_some(AccessLoss::Narrowed)
                }
            };
            if let Some(loss) = loss {
                known.access.lost(loss);
            }
        }
    }
}

/// Admits authenticated callers within their limits.
#[derive(Clone)]
pub(crate) struct AuthnLayer(Arc<CallerAdmission>);

struct CallerAdmission {
    clients: AllowedClients,
    metrics: Arc<Metrics>,
    /// Limits log lines about callers without valid credentials.
    throttle: LogThrottle,
}

struct ClientEntry {
    client: AllowedClient,
    throttle: Arc<LogThrottle>,
    access: AccessEnd,
}

impl ClientEntry {
    fn new(client: AllowedClient) -> Self {
        Self { client, throttle: Arc::default(), access: AccessEnd::default() }
    }

    /// The entry of a client after a change of the settings.
    fn after(mut client: AllowedClient, old: &[Arc<Self>], is_present: impl Fn(AccountIndex) -> bool) -> Self {
        let Some(known) = old.iter().find(|known| known.client.caller.name == client.caller.name) else {
            return Self::new(client);
        };
        if known.client.limits.settings() == client.limits.settings() {
            client.limits = known.client.limits.clone();
        }
        let is_less = known.client.caller.lost_access(&client.caller, is_present);
        let access = if is_less { AccessEnd::default() } else { known.access.clone() };
        Self { client, throttle: known.throttle.clone(), access }
    }
}

impl AuthnLayer {
    pub(crate) fn new(clients: AllowedClients, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(CallerAdmission { clients, metrics, throttle: LogThrottle::default() }))
    }
}

impl CallerAdmission {
    fn admit(&self, path: &str, headers: &HeaderMap, peer: Option<&PeerNames>) -> Result<AdmittedCaller, Box<Status>> {
        let clients = self.clients.0.load();
        if clients.is_empty() {
            return Ok(AdmittedCaller { caller: Caller::anonymous(), permits: None, access: None });
        }
        if path.starts_with(methods::HEALTH) {
            return Ok(AdmittedCaller { caller: Caller::nobody().clone(), permits: None, access: None });
        }
        let known = recognise(&clients, headers, peer).map_err(|why| self.unknown(why, peer))?;
        let ClientEntry { client, throttle, access } = &**known;
        let name = &client.caller.name;
        let service = path.strip_prefix(OURS).and_then(|path| path.split('/').next());
        if let Some(service) = service.filter(|service| !client.caller.may_call(service)) {
            self.metrics.callers.count(CallerRefused::ServiceNotAllowed);
            throttle.note(CallerRefused::ServiceNotAllowed.name(), |times| {
                tracing::warn!(caller = name, times, "a client calls a service that it may not use");
            });
            return Err(Box::new(status::service_not_allowed(service)));
        }
        let streaming = methods::is_streaming(path);
        let taken = client.limits.take(streaming, Instant::now());
        let admitted = |permits| AdmittedCaller {
            caller: client.caller.clone(),
            permits: Some(permits),
            access: streaming.then(|| access.clone()),
        };
        taken.map(admitted).map_err(|retry_after| {
            self.metrics.callers.count(CallerRefused::OverShare);
            throttle.note(CallerRefused::OverShare.name(), |times| {
                tracing::warn!(caller = name, times, "a client is over its limits");
            });
            Box::new(status::caller_rate_limited(retry_after))
        })
    }

    fn unknown(&self, why: CallerRefused, peer: Option<&PeerNames>) -> Box<Status> {
        self.metrics.callers.count(why);
        self.throttle.note(why.name(), |times| {
            let name = peer.and_then(PeerNames::first);
            tracing::warn!(reason = why.name(), times, name, "callers without valid credentials are refused");
        });
        Box::new(status::caller_unauthenticated())
    }
}

fn recognise<'a>(
    clients: &'a [Arc<ClientEntry>],
    headers: &HeaderMap,
    peer: Option<&PeerNames>,
) -> Result<&'a Arc<ClientEntry>, CallerRefused> {
    // A token wins over a certificate: a certificate identifies only callers that send no token.
    let Some(value) = headers.get(AUTHORIZATION) else {
        let names = peer.filter(|peer| peer.first().is_some()).ok_or(CallerRefused::NoCredentials)?;
        let shown = |known: &&Arc<ClientEntry>| matches!(&known.client.credential, ClientCredential::San(san) if names.contains(san));
        return clients.iter().find(shown).ok_or(CallerRefused::UnknownCertificate);
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len()).ok_or(CallerRefused::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(CallerRefused::NotBearer);
    }
    let sent = TokenHash::of(token.trim_ascii());
    let mut found = Err(CallerRefused::UnknownToken);
    for known in clients {
        let ClientCredential::Tokens(all) = &known.client.credential else { continue };
        for tokens in all {
            if tokens.accept(&sent) {
                found = Ok(known);
            }
        }
    }
    found
}

struct AdmittedCaller {
    caller: Arc<Caller>,
    permits: Option<ClientPermits>,
    /// The end of the caller's access, for a stream.
    access: Option<AccessEnd>,
}

impl<S> Layer<S> for AuthnLayer {
    type Service = Authn<S>;

    fn layer(&self, inner: S) -> Authn<S> {
        Authn { inner, layer: self.clone() }
    }
}

/// The service of [`AuthnLayer`].
#[derive(Clone)]
pub(crate) struct Authn<S> {
    inner: S,
    layer: AuthnLayer,
}

impl<S, B> Service<Request<B>> for Authn<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future, ClientPermit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<PeerNames>();
        match self.layer.0.admit(request.uri().path(), request.headers(), peer) {
            Ok(AdmittedCaller { caller, permits, access }) => {
                let streaming = methods::is_streaming(request.uri().path());
                if let Some(access) = access {
                    request.extensions_mut().insert(access);
                }
                if let Some(context) = super::context(&mut request) {
                    context.facts.set_caller(caller);
                }
                AdmissionFuture::forwarded(self.inner.call(request), ClientPermit { permits, streaming })
            }
            Err(refusal) => {
                let mut response = refusal.into_http();
                response.extensions_mut().insert(LoggedInSummary);
                AdmissionFuture::answered(response)
            }
        }
    }
}

/// The permits of a call. A stream keeps its permits until its body ends.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    permits: Option<ClientPermits>,
    streaming: bool,
}

impl HeldPermit for ClientPermit {
    fn follow(self, response: Response<Body>) -> Response<Body> {
        match self.permits {
            Some(permits) if self.streaming => response.map(|inner| Body::new(PermitBody::new(inner, permits))),
            // The body of a unary response is one buffered message: the work is done.
            _ => response,
        }
    }
}

/// A body which holds a permit until it ends.
pub(super) struct PermitBody<G> {
    inner: Body,
    _held: G,
}

impl<G> PermitBody<G> {
    pub(super) fn new(inner: Body, held: G) -> Self {
        Self { inner, _held: held }
    }
}

impl<G: Unpin> http_body::Body for PermitBody<G> {
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
