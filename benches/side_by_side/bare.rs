//! The least that can stand between gRPC and REST: decode, one call with reqwest and the headers without which Walmart
//! refuses it, encode. No layers.
//!
//! The gateway is measured against it, so it uses the gateway's own messages, libraries and allocator. Like the gateway
//! it runs on the current thread when it has one core.

use std::net::SocketAddr;

use order_gateway::domain::mutations::CreateOrder;
use order_gateway::domain::reads::FetchPromise;
use order_gateway::pb;
use order_gateway::pb::fulfillment_service_server::{FulfillmentService, FulfillmentServiceServer};
use order_gateway::ports::random::Random;
use order_gateway::upstream::codec::OperationCodec as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status};

use crate::Result;
use crate::envelope::{Answer, Question};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to serve gRPC.
    #[arg(long, default_value = "127.0.0.1:50061")]
    listen: SocketAddr,
    /// Where the REST API is.
    #[arg(long, default_value = "http://127.0.0.1:8091")]
    upstream: String,
}

struct Bare {
    client: reqwest::Client,
    create: reqwest::Url,
    promise: reqwest::Url,
    random: Random,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut runtime = match std::thread::available_parallelism()?.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    // reqwest asks for a provider even where nothing is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let base = reqwest::Url::parse(&options.upstream)?;
    let bare = Bare {
        client: reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
        create: base.join(CreateOrder::PATH)?,
        promise: base.join(FetchPromise::PATH)?,
        random: Random::from_system(),
    };
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(FulfillmentServiceServer::new(bare))
        .serve(options.listen)
        .await?;
    Ok(())
}

impl Bare {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        url: &reqwest::Url,
        question: Question<'_, Q>,
    ) -> std::result::Result<Answer<A>, Status> {
        let body = serde_json::to_vec(&question).map_err(|e| Status::internal(e.to_string()))?;
        let answer = self
            .client
            .post(url.clone())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .header("wm_sec.access_token", "a-token")
            .header("wm_qos.correlation_id", self.random.uuid().to_string())
            .header("wm_svc.name", "Walmart Marketplace")
            .body(body)
            .send()
            .await
            .map_err(|e| Status::unavailable(e.to_string()))?;
        if !answer.status().is_success() {
            return Err(Status::unavailable(answer.status().to_string()));
        }
        let body = answer.bytes().await.map_err(|e| Status::unavailable(e.to_string()))?;
        serde_json::from_slice(&body).map_err(|e| Status::unavailable(e.to_string()))
    }
}

#[tonic::async_trait]
impl FulfillmentService for Bare {
    async fn fetch_delivery_promise(
        &self,
        request: Request<pb::FetchDeliveryPromiseRequest>,
    ) -> std::result::Result<Response<pb::FetchDeliveryPromiseResponse>, Status> {
        let request = request.into_inner();
        let question = Question { header: request.header.as_ref(), payload: request.payload.as_ref() };
        let answer = self.call(&self.promise, question).await?;
        Ok(Response::new(pb::FetchDeliveryPromiseResponse {
            status: answer.status,
            header: answer.header,
            payload: answer.payload,
            errors: answer.errors,
            ..Default::default()
        }))
    }

    async fn create_order(
        &self,
        request: Request<pb::CreateOrderRequest>,
    ) -> std::result::Result<Response<pb::CreateOrderResponse>, Status> {
        let request = request.into_inner();
        let question = Question { header: request.header.as_ref(), payload: request.payload.as_ref() };
        let answer = self.call(&self.create, question).await?;
        Ok(Response::new(pb::CreateOrderResponse {
            status: answer.status,
            header: answer.header,
            payload: answer.payload,
            ..Default::default()
        }))
    }

    async fn cancel_order(
        &self,
        _: Request<pb::CancelOrderRequest>,
    ) -> std::result::Result<Response<pb::CancelOrderResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_order_status(
        &self,
        _: Request<pb::GetOrderStatusRequest>,
    ) -> std::result::Result<Response<pb::GetOrderStatusResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
