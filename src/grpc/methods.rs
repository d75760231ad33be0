//! The RPCs of this process, read from the file descriptors.

use std::collections::HashSet;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::pb;

/// Path prefix of the health service. Probes send no credentials, and must pass when all else is refused.
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/";

/// Path of the streaming health RPC.
pub(crate) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

struct MethodTable {
    paths: Vec<&'static str>,
    /// The same, to be found quickly.
    known: HashSet<&'static str, RandomState>,
    /// A short list: comparing all entries is faster than hashing.
    streaming: Vec<&'static str>,
}

static METHODS: LazyLock<MethodTable> = LazyLock::new(|| {
    let mut methods = MethodTable { paths: Vec::new(), known: HashSet::default(), streaming: Vec::new() };
    let sets: [&[u8]; 3] = [
        pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    // The sets are compiled in, and a test decodes all of them.
    for set in sets.iter().filter_map(|set| FileDescriptorSet::decode(*set).ok()) {
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    // Leaked once per process: metrics and spans name methods by a static path.
                    let path: &'static str = Box::leak(path.into_boxed_str());
                    methods.paths.push(path);
                    methods.known.insert(path);
                    if method.server_streaming() || method.client_streaming() {
                        methods.streaming.push(path);
                    }
                }
            }
        }
    }
    methods
});

/// Paths of all RPCs, such as `/ordergateway.v1.FulfillmentService/CreateOrder`.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    METHODS.paths.iter().copied()
}

/// Whether there is an RPC at this path.
pub(crate) fn is_known(path: &str) -> bool {
    METHODS.known.contains(path)
}

/// Whether the RPC at this path streams.
pub(crate) fn is_streaming(path: &str) -> bool {
    METHODS.streaming.contains(&path)
}

/// Whether the RPC at this path belongs to a feed's service.
pub(crate) fn is_of_the_feed(path: &str) -> bool {
    let feeds = [pb::cancel_intent_service_server::SERVICE_NAME, pb::order_update_service_server::SERVICE_NAME];
    path.strip_prefix('/').and_then(|path| path.split('/').next()).is_some_and(|service| feeds.contains(&service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_ours_and_the_librarys() {
        let all: Vec<_> = paths().collect();
        for path in [
            "/ordergateway.v1.FulfillmentService/CreateOrder",
            "/ordergateway.v1.GatewayService/GetStatus",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/List",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(all.contains(&path), "{path}");
        }
        assert!(is_streaming("/grpc.health.v1.Health/Watch"));
        assert!(is_streaming("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
        assert!(!is_streaming("/grpc.health.v1.Health/Check"));
        assert!(!is_streaming("/ordergateway.v1.FulfillmentService/CreateOrder"));
        assert!(!is_streaming("/no/such"));
    }
}
