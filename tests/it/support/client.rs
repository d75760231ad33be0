//! A caller of the gateway: requests from JSON as grpcurl reads them, answers typed, errors taken apart.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use order_gateway::pb;
use order_gateway::pb::fulfillment_service_client::FulfillmentServiceClient;
use order_gateway::pb::gateway_service_client::GatewayServiceClient;
use order_gateway::pb::return_service_client::ReturnServiceClient;
use order_gateway::pb::seller_order_service_client::SellerOrderServiceClient;
use order_gateway::pb::webhook_subscription_service_client::WebhookSubscriptionServiceClient;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::pb as rpc;

/// Reads JSON as protobuf's form of a request.
pub fn message<T: prost::Message + Default>(name: &str, json: &str) -> T {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap());
    let descriptor = POOL.get_message_by_name(&format!("ordergateway.v1.{name}")).unwrap();
    let mut reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor, &mut reader).unwrap();
    reader.end().unwrap();
    message.transcode_to().unwrap()
}

/// One caller, on a connection of its own.
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    headers: Headers,
}

/// A connection that the application under test can end: its tasks would count as left over.
pub type Connection = Arc<Mutex<Option<Channel>>>;

/// Metadata that every call of a client has.
#[derive(Clone, Default)]
pub struct Headers(MetadataMap);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for entry in self.0.iter() {
            if let tonic::metadata::KeyAndValueRef::Ascii(key, value) = entry {
                request.metadata_mut().insert(key, value.clone());
            }
        }
        Ok(request)
    }
}

pub type Intercepted = InterceptedService<Channel, Headers>;

type Result<T, E = Box<Problem>> = std::result::Result<T, E>;

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let connection = Arc::new(Mutex::new(Some(endpoint.connect().await.unwrap())));
        Self { connection, headers: Headers::default() }
    }

    /// By TLS, to a gateway that calls itself localhost. A certificate that the gateway does not like shows in the first
    /// call only.
    pub async fn connect_tls(address: SocketAddr, connector: TlsConnector) -> Result<Self, tonic::transport::Error> {
        let dial = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(dial).await?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(channel))), headers: Headers::default() })
    }

    /// The same with one header more.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        let value: MetadataValue<Ascii> = value.parse().unwrap();
        self.headers.0.insert(MetadataKey::from_static(key), value);
        self
    }

    /// What [`Client::service`] goes over.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// The connection, for clients that have no method here.
    pub fn service(&self) -> Intercepted {
        let channel = self.connection.lock().unwrap().clone().unwrap();
        InterceptedService::new(channel, self.headers.clone())
    }

    fn fulfillment(&self) -> FulfillmentServiceClient<Intercepted> {
        FulfillmentServiceClient::new(self.service())
    }

    pub async fn promise(&self, body: &Value) -> Result<pb::FetchDeliveryPromiseResponse> {
        let request: pb::FetchDeliveryPromiseRequest = message("FetchDeliveryPromiseRequest", &body.to_string());
        answer(self.fulfillment().fetch_delivery_promise(request).await)
    }

    pub async fn create(&self, body: &Value) -> Result<pb::CreateOrderResponse> {
        let request: pb::CreateOrderRequest = message("CreateOrderRequest", &body.to_string());
        answer(self.fulfillment().create_order(request).await)
    }

    pub async fn cancel(&self, body: &Value) -> Result<pb::CancelOrderResponse> {
        let request: pb::CancelOrderRequest = message("CancelOrderRequest", &body.to_string());
        answer(self.fulfillment().cancel_order(request).await)
    }

    pub async fn status(&self, body: &Value) -> Result<pb::GetOrderStatusResponse> {
        let request: pb::GetOrderStatusRequest = message("GetOrderStatusRequest", &body.to_string());
        answer(self.fulfillment().get_order_status(request).await)
    }

    /// Looks up an order; the status as it is, for ends that are not the gateway's own word.
    pub async fn look_up(&self, number: &str) -> Result<pb::GetOrderStatusResponse, Status> {
        let request = pb::GetOrderStatusRequest { order_number: number.to_owned(), ..Default::default() };
        self.fulfillment().get_order_status(request).await.map(tonic::Response::into_inner)
    }

    /// Lists orders of the seller's own fulfillment.
    pub async fn list_orders(&self, body: &Value) -> Result<pb::ListOrdersResponse> {
        let request: pb::ListOrdersRequest = message("ListOrdersRequest", &body.to_string());
        answer(SellerOrderServiceClient::new(self.service()).list_orders(request).await)
    }

    pub async fn get_order(&self, purchase_order: &str) -> Result<pb::GetOrderResponse> {
        let request = pb::GetOrderRequest { purchase_order_id: purchase_order.to_owned(), ..Default::default() };
        answer(SellerOrderServiceClient::new(self.service()).get_order(request).await)
    }

    pub async fn acknowledge(&self, purchase_order: &str) -> Result<pb::AcknowledgeOrderResponse> {
        let (account, purchase_order_id) = (String::new(), purchase_order.to_owned());
        let request = pb::AcknowledgeOrderRequest { account, purchase_order_id };
        answer(SellerOrderServiceClient::new(self.service()).acknowledge_order(request).await)
    }

    pub async fn cancel_order_lines(&self, body: &Value) -> Result<pb::CancelOrderLinesResponse> {
        let request: pb::CancelOrderLinesRequest = message("CancelOrderLinesRequest", &body.to_string());
        answer(SellerOrderServiceClient::new(self.service()).cancel_order_lines(request).await)
    }

    pub async fn ship(&self, body: &Value) -> Result<pb::ShipOrderLinesResponse> {
        let request: pb::ShipOrderLinesRequest = message("ShipOrderLinesRequest", &body.to_string());
        answer(SellerOrderServiceClient::new(self.service()).ship_order_lines(request).await)
    }

    pub async fn refund(&self, body: &Value) -> Result<pb::RefundOrderLinesResponse> {
        let request: pb::RefundOrderLinesRequest = message("RefundOrderLinesRequest", &body.to_string());
        answer(SellerOrderServiceClient::new(self.service()).refund_order_lines(request).await)
    }

    /// Lists returns of marketplace orders.
    pub async fn list_returns(&self, body: &Value) -> Result<pb::ListReturnsResponse> {
        let request: pb::ListReturnsRequest = message("ListReturnsRequest", &body.to_string());
        answer(ReturnServiceClient::new(self.service()).list_returns(request).await)
    }

    pub async fn refund_return(&self, body: &Value) -> Result<pb::RefundReturnResponse> {
        let request: pb::RefundReturnRequest = message("RefundReturnRequest", &body.to_string());
        answer(ReturnServiceClient::new(self.service()).refund_return(request).await)
    }

    pub async fn create_mcs_return(&self, body: &Value) -> Result<pb::CreateMcsReturnResponse> {
        let request: pb::CreateMcsReturnRequest = message("CreateMcsReturnRequest", &body.to_string());
        answer(ReturnServiceClient::new(self.service()).create_mcs_return(request).await)
    }

    pub async fn list_mcs_returns(&self, body: &Value) -> Result<pb::ListMcsReturnsResponse> {
        let request: pb::ListMcsReturnsRequest = message("ListMcsReturnsRequest", &body.to_string());
        answer(ReturnServiceClient::new(self.service()).list_mcs_returns(request).await)
    }

    pub async fn cancel_mcs_return(&self, body: &Value) -> Result<pb::CancelMcsReturnResponse> {
        let request: pb::CancelMcsReturnRequest = message("CancelMcsReturnRequest", &body.to_string());
        answer(ReturnServiceClient::new(self.service()).cancel_mcs_return(request).await)
    }

    pub async fn event_types(&self, body: &Value) -> Result<pb::ListEventTypesResponse> {
        let request: pb::ListEventTypesRequest = message("ListEventTypesRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).list_event_types(request).await)
    }

    pub async fn webhooks(&self, body: &Value) -> Result<pb::ListWebhookSubscriptionsResponse> {
        let request: pb::ListWebhookSubscriptionsRequest =
            message("ListWebhookSubscriptionsRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).list_webhook_subscriptions(request).await)
    }

    pub async fn create_webhook(&self, body: &Value) -> Result<pb::CreateWebhookSubscriptionResponse> {
        let request: pb::CreateWebhookSubscriptionRequest =
            message("CreateWebhookSubscriptionRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).create_webhook_subscription(request).await)
    }

    pub async fn update_webhook(&self, body: &Value) -> Result<pb::UpdateWebhookSubscriptionResponse> {
        let request: pb::UpdateWebhookSubscriptionRequest =
            message("UpdateWebhookSubscriptionRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).update_webhook_subscription(request).await)
    }

    pub async fn delete_webhook(&self, body: &Value) -> Result<pb::DeleteWebhookSubscriptionResponse> {
        let request: pb::DeleteWebhookSubscriptionRequest =
            message("DeleteWebhookSubscriptionRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).delete_webhook_subscription(request).await)
    }

    pub async fn test_webhook(&self, body: &Value) -> Result<pb::TestWebhookSubscriptionResponse> {
        let request: pb::TestWebhookSubscriptionRequest = message("TestWebhookSubscriptionRequest", &body.to_string());
        answer(WebhookSubscriptionServiceClient::new(self.service()).test_webhook_subscription(request).await)
    }

    /// The gateway's view of itself.
    pub async fn gateway(&self, account: &str) -> Result<pb::GetStatusResponse> {
        let request = pb::GetStatusRequest { account: account.to_owned(), ..Default::default() };
        answer(GatewayServiceClient::new(self.service()).get_status(request).await)
    }

    /// One operation of the ledger.
    pub async fn operation(&self, name: &str) -> Result<pb::Operation> {
        let request = pb::GetOperationRequest { name: name.to_owned() };
        let found = answer(GatewayServiceClient::new(self.service()).get_operation(request).await)?;
        Ok(found.operation.unwrap())
    }

    /// A page of operations.
    pub async fn operations(&self, body: &Value) -> Result<pb::ListOperationsResponse> {
        let request: pb::ListOperationsRequest = message("ListOperationsRequest", &body.to_string());
        answer(GatewayServiceClient::new(self.service()).list_operations(request).await)
    }

    /// Decides about an operation.
    pub async fn resolve(&self, name: &str, outcome: pb::ResolveOutcome, reason: &str) -> Result<pb::Operation> {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let request = pb::ResolveOperationRequest { name, outcome: outcome.into(), reason };
        let resolved = answer(GatewayServiceClient::new(self.service()).resolve_operation(request).await)?;
        Ok(resolved.operation.unwrap())
    }
}

fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Result<T> {
    result.map(tonic::Response::into_inner).map_err(|status| Box::new(Problem::of(&status)))
}

/// An error of the gateway's, taken apart. What every error promises is checked on the way.
#[derive(Debug, Default)]
pub struct Problem {
    pub code: Option<Code>,
    pub reason: String,
    pub metadata: std::collections::HashMap<String, String>,
    /// Field paths of `BadRequest`, in their order.
    pub fields: Vec<String>,
    pub retry_after: Option<Duration>,
    /// Subject of `QuotaFailure`.
    pub quota: Option<String>,
    pub upstream: Option<pb::UpstreamError>,
    /// All of it as text, to look for what must not be there; without the trace id, which no two errors share.
    pub text: String,
}

fn untraced(mut status: rpc::Status) -> rpc::Status {
    for any in status.details.iter_mut().filter(|any| any.type_url.ends_with("/google.rpc.ErrorInfo")) {
        let mut info = rpc::ErrorInfo::decode(&*any.value).unwrap();
        info.metadata.remove("traceId").unwrap();
        any.value = info.encode_to_vec();
    }
    status
}

impl Problem {
    pub fn of(status: &Status) -> Self {
        assert!(status.details().len() <= 4096, "{} bytes of details", status.details().len());
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!((details.code, details.message.as_str()), (status.code() as i32, status.message()));
        let untraced = untraced(details.clone());
        let text = format!("{untraced:?} {}", String::from_utf8_lossy(&untraced.encode_to_vec()));
        let mut problem = Self { code: Some(status.code()), text, ..Self::default() };
        let mut seen = Vec::new();
        for any in details.details {
            assert!(!seen.contains(&any.type_url), "{} twice", any.type_url);
            problem.detail(&any.type_url, &any.value);
            seen.push(any.type_url);
        }
        assert!(!problem.reason.is_empty(), "no ErrorInfo: {status:?}");
        problem
    }

    fn detail(&mut self, type_url: &str, value: &[u8]) {
        match type_url.strip_prefix("type.googleapis.com/").unwrap() {
            "google.rpc.ErrorInfo" => {
                let info = rpc::ErrorInfo::decode(value).unwrap();
                assert_eq!(info.domain, "ordergateway.v1");
                assert!(info.metadata.keys().all(|key| key.chars().all(|c| c.is_ascii_alphanumeric())), "{info:?}");
                let trace = &info.metadata["traceId"];
                assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()), "{info:?}");
                (self.reason, self.metadata) = (info.reason, info.metadata);
            }
            "google.rpc.BadRequest" => {
                let faults = rpc::BadRequest::decode(value).unwrap().field_violations;
                self.fields = faults.into_iter().map(|fault| fault.field).collect();
            }
            "google.rpc.RetryInfo" => {
                let delay = rpc::RetryInfo::decode(value).unwrap().retry_delay.unwrap();
                self.retry_after = Some(delay.try_into().unwrap());
            }
            "google.rpc.QuotaFailure" => {
                let violations = rpc::QuotaFailure::decode(value).unwrap().violations;
                self.quota = violations.into_iter().next().map(|one| one.subject);
            }
            "ordergateway.v1.UpstreamError" => self.upstream = Some(pb::UpstreamError::decode(value).unwrap()),
            other => panic!("unknown detail {other}"),
        }
    }

    /// Code and reason, which callers act on.
    #[track_caller]
    pub fn is(&self, code: Code, reason: &str) -> &Self {
        assert_eq!((self.code, self.reason.as_str()), (Some(code), reason), "{self:#?}");
        self
    }

    /// What Walmart said.
    #[track_caller]
    pub fn walmart(&self) -> &pb::UpstreamError {
        self.upstream.as_ref().unwrap_or_else(|| panic!("no UpstreamError: {self:#?}"))
    }
}
