use std::collections::BTreeSet;

use tonic::Code;
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::domain::account::AccountIndex;
use crate::grpc::layers::client_limits::ClientLimitSettings;
use crate::ports::call::{CallContext, VisibleAccounts};
use crate::testing::layers::*;

const GATEWAY: &str = "/ordergateway.v1.GatewayService/GetStatus";
const WATCH_INTENTS: &str = "/ordergateway.v1.CancelIntentService/WatchCancelIntents";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn client(name: &str, token: &str, services: Option<&[&str]>, limits: Arc<ClientLimits>) -> AllowedClient {
    let services = services.map(|some| some.iter().map(|s| (*s).to_owned()).collect());
    let accounts = VisibleAccounts::Only(BTreeSet::from([AccountIndex(1)]));
    let caller = Arc::new(Caller { name: name.into(), accounts, services });
    AllowedClient { caller, credential: ClientCredential::Tokens(vec![ClientTokens::inline(token)]), limits }
}

fn layer(clients: Vec<AllowedClient>) -> AuthnLayer {
    AuthnLayer::new(AllowedClients::new(clients), Arc::new(Metrics::new([])))
}

fn share(max_concurrent: Option<usize>, per_second: Option<f64>) -> Arc<ClientLimits> {
    let limits = ClientLimitSettings { calls: 9, streams: 9, max_concurrent, per_second };
    Arc::new(ClientLimits::new(limits, Instant::now()))
}

fn unlimited() -> Arc<ClientLimits> {
    share(None, None)
}

/// What one call gets: the caller that the handler sees, or the refusal.
async fn call(layer: &AuthnLayer, request: Request<Body>) -> Result<Arc<Caller>, Status> {
    match admitted(layer, request).await {
        Ok(caller) => Ok(caller),
        Err(refusal) => Err(status(refusal).await),
    }
}

async fn admitted(layer: &AuthnLayer, request: Request<Body>) -> Result<Arc<Caller>, Response<Body>> {
    let (mut service, mut handle) = above_mock(layer.clone());
    let answer = tokio::spawn(service.ready().await.unwrap().call(request));
    let seen = tokio::select! {
        seen = handle.next_request() => seen,
        () = async { while !answer.is_finished() { tokio::task::yield_now().await } } => None,
    };
    match seen {
        Some((request, respond)) => {
            respond.send_response(ok());
            Ok(request.extensions().get::<CallContext>().unwrap().caller().clone())
        }
        None => Err(answer.await.unwrap().unwrap()),
    }
}

fn reason(refused: &Status) -> String {
    refused.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn probes() {
    let (service, handle) = above_mock(layer(Vec::new()));
    survives_probes(service, handle, UNARY).await;
}

#[tokio::test]
async fn an_open_gateway_knows_everyone_as_anonymous() {
    let caller = call(&layer(Vec::new()), request(UNARY, &[])).await.unwrap();
    assert_eq!(caller.name, "anonymous");
    assert!(caller.sees_all());
}

#[tokio::test]
async fn only_a_right_token_is_let_in() {
    let layer =
        layer(vec![client("oms", "first-token", None, unlimited()), client("shop", "second-token", None, unlimited())]);
    for (value, name) in
        [("Bearer first-token", "oms"), ("bearer second-token", "shop"), ("Bearer  first-token", "oms")]
    {
        let caller = call(&layer, request(UNARY, &[("authorization", value)])).await.unwrap();
        assert_eq!(caller.name, name);
        assert!(caller.may_see(AccountIndex(1)) && !caller.may_see(AccountIndex(0)) && !caller.sees_all());
    }
    for value in
        ["", "Bearer", "Bearer ", "Bearer first-toke", "Bearer first-token2", "Basic first-token", "first-token"]
    {
        let refused = call(&layer, request(UNARY, &[("authorization", value)])).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
    }
    assert!(call(&layer, request(UNARY, &[])).await.is_err());
}

#[tokio::test]
async fn health_is_open_and_reflection_is_not() {
    let layer = layer(vec![client("oms", "t", Some(&["GatewayService"]), unlimited())]);
    let probe = call(&layer, request("/grpc.health.v1.Health/Check", &[])).await.unwrap();
    assert!(!probe.may_see(AccountIndex(1)));
    assert!(call(&layer, request(REFLECTION, &[])).await.is_err());
    assert!(call(&layer, request(REFLECTION, &[("authorization", "Bearer t")])).await.is_ok());
}

#[tokio::test]
async fn services_are_held_to_the_list() {
    let layer = layer(vec![client("oms", "t", Some(&["GatewayService"]), unlimited())]);
    assert!(call(&layer, request(GATEWAY, &[("authorization", "Bearer t")])).await.is_ok());
    let refused = call(&layer, request(UNARY, &[("authorization", "Bearer t")])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "SERVICE_NOT_ALLOWED"));
}

#[tokio::test]
async fn any_of_a_clients_tokens_is_good() {
    let credential = ClientCredential::Tokens(vec![ClientTokens::inline("old"), ClientTokens::inline("new")]);
    let layer = layer(vec![AllowedClient { caller: Caller::anonymous(), credential, limits: unlimited() }]);
    let with = |token: &str| request(UNARY, &[("authorization", format!("Bearer {token}").as_str())]);
    assert!(call(&layer, with("old")).await.is_ok() && call(&layer, with("new")).await.is_ok());
    assert!(call(&layer, with("oldnew")).await.is_err());
}

#[tokio::test]
async fn every_refusal_is_counted_by_its_reason() {
    let metrics = Arc::new(Metrics::new([]));
    let clients = vec![client("oms", "t", Some(&["FulfillmentService"]), share(None, Some(1.0)))];
    let layer = AuthnLayer::new(AllowedClients::new(clients), metrics.clone());
    let certified = |names: &[&str]| {
        let mut request = request(UNARY, &[]);
        request.extensions_mut().insert(PeerNames::of_names(names, &[]));
        request
    };
    for (reason, times, request) in [
        ("no_credentials", 1, request(UNARY, &[])),
        ("no_credentials", 2, certified(&[])),
        ("unknown_certificate", 1, certified(&["spiffe://acme/other"])),
        ("not_bearer", 1, request(UNARY, &[("authorization", "t")])),
        ("not_bearer", 2, request(UNARY, &[("authorization", "Basic dDp0")])),
        ("unknown_token", 1, request(UNARY, &[("authorization", "Bearer T")])),
        ("service_not_allowed", 1, request(GATEWAY, &[("authorization", "Bearer t")])),
        ("over_share", 0, request(UNARY, &[("authorization", "Bearer t")])),
        ("over_share", 1, request(UNARY, &[("authorization", "Bearer t")])),
    ] {
        let refusal = admitted(&layer, request).await.err();
        let in_summary =
            refusal.as_ref().is_some_and(|response| response.extensions().get::<LoggedInSummary>().is_some());
        assert_eq!((refusal.is_some(), in_summary), (times > 0, times > 0), "{reason}");
        let line = format!("order_gateway_callers_refused_total{{reason=\"{reason}\"}} {times}");
        let text = metrics.encode(crate::telemetry::metrics::TextFormat::Plain).unwrap();
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_certificate_speaks_for_its_name() {
    let known = |san: &str| {
        let credential = ClientCredential::San(SubjectAltName::parse(san).unwrap());
        layer(vec![AllowedClient { caller: Caller::anonymous(), credential, limits: unlimited() }])
    };
    let with = |uris: &[&str], dns: &[&str]| {
        let mut request = request(UNARY, &[]);
        request.extensions_mut().insert(PeerNames::of_names(uris, dns));
        request
    };
    let by_uri = known("spiffe://x/one");
    assert!(call(&by_uri, with(&["spiffe://x/one"], &[])).await.is_ok());
    assert!(call(&by_uri, with(&["spiffe://x/other"], &[])).await.is_err());
    assert!(call(&by_uri, request(UNARY, &[])).await.is_err());
    let refused = call(&by_uri, with(&[], &["spiffe://x/one"])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
    let by_dns = known("oms.acme.com");
    assert!(call(&by_dns, with(&[], &["other.org", "*.ACME.com"])).await.is_ok());
    assert!(call(&by_dns, with(&[], &["acme.com"])).await.is_err());
}

#[tokio::test]
async fn over_its_share_a_client_is_told_when_to_come_back() {
    let layer = layer(vec![client("oms", "t", None, share(None, Some(1.0)))]);
    let again = || request(UNARY, &[("authorization", "Bearer t")]);
    assert!(call(&layer, again()).await.is_ok());
    let refused = call(&layer, again()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "CALLER_RATE_LIMITED"));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
}

#[tokio::test]
async fn a_stream_holds_its_place_to_its_end() {
    use http_body_util::StreamBody;

    let layer = layer(vec![client("oms", "t", None, share(Some(1), None))]);
    let (mut service, mut handle) = above_mock(layer.clone());
    let again = || request(REFLECTION, &[("authorization", "Bearer t")]);
    let open = tokio::spawn(service.ready().await.unwrap().call(again()));
    let endless = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Status>>());
    handle.next_request().await.unwrap().1.send_response(Response::new(Body::new(endless)));
    let open = open.await.unwrap().unwrap();
    assert_eq!(reason(&call(&layer, again()).await.unwrap_err()), "CALLER_RATE_LIMITED");
    drop(open);
    assert!(call(&layer, again()).await.is_ok());
}

#[tokio::test]
async fn clients_change_and_streams_of_those_who_lose_access_end() {
    let clients = AllowedClients::new(vec![
        client("oms", "t-oms", None, share(Some(1), None)),
        client("shop", "t-shop", None, unlimited()),
        client("gone", "t-gone", None, unlimited()),
    ]);
    let layer = AuthnLayer::new(clients.clone(), Arc::new(Metrics::new([])));
    let with = |path, token: &str| request(path, &[("authorization", format!("Bearer {token}").as_str())]);
    /// What a stream of this client watches.
    async fn access(layer: &AuthnLayer, request: Request<Body>) -> AccessEnd {
        let (mut service, mut handle) = above_mock(layer.clone());
        let answer = tokio::spawn(service.ready().await.unwrap().call(request));
        let (request, _respond) = handle.next_request().await.unwrap();
        answer.abort();
        assert!(answer.await.unwrap_err().is_cancelled());
        request.extensions().get::<AccessEnd>().unwrap().clone()
    }
    let mut ends = Vec::new();
    for token in ["t-oms", "t-shop", "t-gone"] {
        ends.push(access(&layer, with(WATCH_INTENTS, token)).await);
    }
    // A call of oms that is in flight keeps its place over the change.
    let (mut service, mut handle) = above_mock(layer.clone());
    let in_flight = tokio::spawn(service.ready().await.unwrap().call(with(UNARY, "t-oms")));
    let (_request, _respond) = handle.next_request().await.unwrap();
    clients.replace(
        vec![
            client("oms", "t-oms", None, share(Some(1), None)),
            client("shop", "t-new", Some(&["GatewayService"]), unlimited()),
        ],
        |_| true,
    );
    let status = |nth: usize| ends[nth].has_come().map(|status| status.code());
    assert_eq!((status(0), status(1), status(2)), (None, Some(Code::PermissionDenied), Some(Code::Unauthenticated)));
    let refused = async |request| call(&layer, request).await.unwrap_err().code();
    assert_eq!(refused(with(UNARY, "t-oms")).await, Code::ResourceExhausted);
    assert_eq!(refused(with(UNARY, "t-gone")).await, Code::Unauthenticated);
    in_flight.abort();
}
