//! Metrics of RPCs, by method, code and caller.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tonic::Code;

use super::{Durations, observe};
use crate::telemetry::semconv;
use crate::telemetry::trace::{TraceContext, code_name, is_server_fault};

/// Label value for unrecognised callers: refused calls, and health checks without credentials.
const NOBODY: &str = "none";

/// RPCs by caller. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct CallMetrics(Family<CallLabels, Counter>);

impl CallMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let calls = Family::default();
        let help = "RPCs that ended, by the client that made them; streams count at their end";
        r.register("order_gateway_calls", help, Family::clone(&calls));
        Self(calls)
    }
}

type ByCode<M> = [OnceLock<M>; 17];
type ByCaller = HashMap<Box<str>, Arc<ByCode<Counter>>, RandomState>;

/// The metric handles of an RPC.
#[derive(Debug)]
pub struct MethodMetrics {
    name: &'static str,
    family: Family<RpcLabels, Durations, fn() -> Durations>,
    by_code: ByCode<Durations>,
    calls: CallMetrics,
    /// Grows by an entry for each new caller, up to the number of clients in the settings.
    by_caller: ArcSwap<ByCaller>,
}

impl MethodMetrics {
    pub(super) fn new(
        name: &'static str,
        family: &Family<RpcLabels, Durations, fn() -> Durations>,
        calls: &CallMetrics,
    ) -> Self {
        let (family, calls) = (family.clone(), calls.clone());
        Self { name, family, by_code: Default::default(), calls, by_caller: ArcSwap::default() }
    }

    /// Full method name, `package.Service/Method`, or `_OTHER`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Records a finished call. `caller` is a client name or `anonymous`, and `None` if unrecognised. A recorded
    /// trace becomes the exemplar of the bucket.
    pub fn observe(&self, code: Code, caller: Option<&str>, took: Duration, trace: &TraceContext) {
        let durations = self.by_code[code as usize]
            .get_or_init(|| self.family.get_or_create_owned(&RpcLabels { rpc_method: self.name, code }));
        observe(durations, took, trace);
        self.count(code, caller.unwrap_or(NOBODY));
    }

    fn count(&self, code: Code, caller: &str) {
        if let Some(handles) = self.by_caller.load().get(caller) {
            self.handle(handles, code, caller).inc();
            return;
        }
        let handles = Arc::<ByCode<Counter>>::default();
        self.by_caller.rcu(|all| {
            let mut all = ByCaller::clone(all);
            all.entry(caller.into()).or_insert_with(|| handles.clone());
            all
        });
        // If another thread inserted first, these handles are not in the map, but count into the same counters.
        self.handle(&handles, code, caller).inc();
    }

    fn handle<'h>(&self, handles: &'h ByCode<Counter>, code: Code, caller: &str) -> &'h Counter {
        handles[code as usize].get_or_init(|| {
            self.calls.0.get_or_create_owned(&CallLabels {
                caller: caller.to_owned(),
                rpc_method: self.name,
                rpc_response_status_code: code_name(code),
            })
        })
    }
}

/// The attributes of `rpc.server.call.duration`. Only a server's fault has an `error.type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RpcLabels {
    rpc_method: &'static str,
    code: Code,
}

impl EncodeLabelSet for RpcLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let code = code_name(self.code);
        ("rpc_system_name", semconv::SYSTEM_GRPC).encode(encoder.encode_label())?;
        ("rpc_method", self.rpc_method).encode(encoder.encode_label())?;
        ("rpc_response_status_code", code).encode(encoder.encode_label())?;
        match is_server_fault(self.code) {
            true => ("error_type", code).encode(encoder.encode_label()),
            false => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    caller: String,
    rpc_method: &'static str,
    rpc_response_status_code: &'static str,
}
