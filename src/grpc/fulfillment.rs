//! FulfillmentService: reads the call's context, calls the use case, builds the response.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::status;
use crate::pb;
use crate::pb::fulfillment_service_server::FulfillmentService;
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::{
    BatchOutcome, CacheSettings, CancelOrder, CancellationReply, CreateOrder, FetchDeliveryPromise, GetOrderStatus,
    Mutations, ServiceError,
};
use crate::telemetry::metrics::Metrics;

/// The RPCs of FulfillmentService, over any upstream and ledger.
pub(crate) struct FulfillmentRpcs<U, L> {
    promise: FetchDeliveryPromise<U>,
    create: CreateOrder<U, L>,
    cancel: CancelOrder<U, L>,
    status: GetOrderStatus<U>,
}

impl<U: WalmartApi, L: Ledger> FulfillmentRpcs<U, L> {
    /// Reads go to `upstream`, mutations through `mutations`. Mutations whose callers have left go on as `tasks`;
    /// promises are cached as `cache` says.
    pub(crate) fn new(
        upstream: U,
        mutations: Mutations<U, L>,
        tasks: TaskTracker,
        cache: CacheSettings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let directory = mutations.directory();
        Self {
            promise: FetchDeliveryPromise::new(directory.clone(), upstream.clone(), cache, metrics),
            status: GetOrderStatus::new(directory.clone(), upstream),
            create: CreateOrder::new(mutations.clone(), tasks.clone()),
            cancel: CancelOrder::new(mutations, tasks),
        }
    }
}

/// Returns the context set by the trace layer.
pub(super) fn context<T>(request: &Request<T>) -> Result<CallContext, Status> {
    request.extensions().get::<CallContext>().cloned().ok_or_else(status::internal)
}

#[tonic::async_trait]
impl<U: WalmartApi, L: Ledger> FulfillmentService for FulfillmentRpcs<U, L> {
    async fn fetch_delivery_promise(
        &self,
        request: Request<pb::FetchDeliveryPromiseRequest>,
    ) -> Result<Response<pb::FetchDeliveryPromiseResponse>, Status> {
        let call = context(&request)?;
        let answer = self.promise.answer(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    /// Not an async fn: an order is large, and an argument of an async fn lies in its future twice.
    fn create_order<'s, 'f>(
        &'s self,
        request: Request<pb::CreateOrderRequest>,
    ) -> BoxFuture<'f, Result<Response<pb::CreateOrderResponse>, Status>>
    where
        's: 'f,
    {
        let call = context(&request);
        let request = Arc::new(request.into_inner());
        Box::pin(async move {
            let call = call?;
            let answer = self.create.answer(request.clone(), &call).await;
            answer
                .map(|answer| respond(answer, &call))
                .map_err(|error| status::failure(error, &request.request_id, &call))
        })
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let call = context(&request)?;
        match self.cancel.answer(request.into_inner(), &call).await {
            Ok(cancelled) => Ok(respond(cancellation(cancelled, &call), &call)),
            Err(failed) => Err(status::failure(failed.error, &failed.request_id, &call)),
        }
    }

    async fn get_order_status(
        &self,
        request: Request<pb::GetOrderStatusRequest>,
    ) -> Result<Response<pb::GetOrderStatusResponse>, Status> {
        let call = context(&request)?;
        let answer = self.status.answer(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }
}

/// A response that names its upstream call, which may belong to an earlier call or to another caller.
pub(super) trait HasCorrelationId {
    fn correlation_id(&self) -> &str;
}

macro_rules! correlated {
    ($($message:ident),*) => {
        $(impl HasCorrelationId for pb::$message {
            fn correlation_id(&self) -> &str {
                &self.correlation_id
            }
        })*
    };
}
pub(super) use correlated;
correlated!(FetchDeliveryPromiseResponse, CreateOrderResponse, CancelOrderResponse, GetOrderStatusResponse);

/// Wraps the response, and notes its correlation id for the access log.
pub(super) fn respond<A: HasCorrelationId>(answer: A, call: &CallContext) -> Response<A> {
    if let Ok(id) = answer.correlation_id().parse() {
        call.facts.set_correlation_id(id);
    }
    Response::new(answer)
}

/// Builds the response of a cancellation: header and payload come from the first accepted batch, the remaining batches
/// are listed.
fn cancellation(cancelled: CancellationReply, call: &CallContext) -> pb::CancelOrderResponse {
    let CancellationReply { request_id, batches, replayed } = cancelled;
    let all = batches.iter().all(|batch| batch.result.is_ok());
    let mut response = pb::CancelOrderResponse {
        status: if all { "ACCEPTED" } else { "PARTIAL" }.into(),
        request_id,
        replayed,
        ..Default::default()
    };
    if let Some(first) = batches.iter().find_map(|batch| batch.result.as_ref().ok()) {
        response.header = first.answer.header.clone();
        response.payload = Some(first.answer.acceptance.clone());
        response.unmapped = first.answer.unmapped.clone();
        response.correlation_id = first.correlation_id.to_string();
    }
    let accepted = batches.iter().filter_map(|batch| batch.result.as_ref().ok());
    response.errors = accepted.flat_map(|reply| reply.answer.errors.iter().cloned()).collect();
    let request_id = response.request_id.clone();
    response.batches = batches.into_iter().map(|outcome| batch(outcome, &request_id, call)).collect();
    response
}

pub(super) fn batch(outcome: BatchOutcome, request_id: &str, call: &CallContext) -> pb::CancelBatch {
    let BatchOutcome { line_ids, result } = outcome;
    match result {
        Ok(reply) => pb::CancelBatch {
            line_ids,
            status: pb::BatchStatus::Accepted.into(),
            upstream_request_id: reply.answer.acceptance.request_id,
            error: None,
        },
        Err(error) => {
            let unknown = matches!(error, ServiceError::OutcomePending { .. });
            pb::CancelBatch {
                line_ids,
                status: if unknown { pb::BatchStatus::Unknown } else { pb::BatchStatus::Failed }.into(),
                upstream_request_id: String::new(),
                error: Some(status::batch_failure(error, request_id, call)),
            }
        }
    }
}

#[cfg(test)]
#[path = "fulfillment_tests.rs"]
mod tests;
