//! Fetches delivery promises, from the cache where it has one. The work is shared by all reads ([`CoalescedRead`]).

use std::sync::Arc;

use super::read::{CacheSettings, CoalescedRead};
use super::{AccountDirectory, ServiceError};
use crate::domain::reads::FetchPromise;
use crate::domain::rules::check_promise;
use crate::pb::{FetchDeliveryPromiseRequest, FetchDeliveryPromiseResponse};
use crate::ports::call::CallContext;
use crate::ports::upstream::Upstream;
use crate::telemetry::metrics::Metrics;

/// The use case FetchDeliveryPromise.
pub struct FetchDeliveryPromise<U> {
    directory: AccountDirectory,
    read: CoalescedRead<FetchPromise, U>,
}

impl<U: Upstream<FetchPromise>> FetchDeliveryPromise<U> {
    /// Sends calls to `upstream`, and keeps answers as `cache` says.
    pub fn new(directory: AccountDirectory, upstream: U, cache: CacheSettings, metrics: Arc<Metrics>) -> Self {
        Self { directory, read: CoalescedRead::new(upstream).keeping(cache, metrics) }
    }

    /// Answers a caller, for the account that the request names.
    pub async fn answer(
        &self,
        request: FetchDeliveryPromiseRequest,
        call: &CallContext,
    ) -> Result<FetchDeliveryPromiseResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || check_promise(&request))?;
        self.read.call(account, request, call).await
    }
}
