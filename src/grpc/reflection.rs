//! Server reflection in versions 1 and 1alpha. A question about an unknown symbol or file is answered with an
//! `error_response`, and the stream goes on. The index is built at the first call: most processes never get a reflection call.

use std::pin::Pin;
use std::sync::LazyLock;

use futures_util::{Stream, StreamExt as _};
use prost_reflect::{DescriptorError, DescriptorPool, FileDescriptor, MessageDescriptor};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::{v1, v1alpha};

use super::status;
use crate::pb;

/// All files that this server knows.
static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| pool().inspect_err(|error| tracing::error!(%error, "reflection cannot be served")).ok());

fn pool() -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::new();
    for set in [pb::FILE_DESCRIPTOR_SET, v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET] {
        // Keeps the options of Google's that are in our files.
        pool.decode_file_descriptor_set(set)?;
    }
    Ok(pool)
}

/// The file that defines a symbol: a package's service, method, message, field, enum, value or extension.
fn file_of_symbol(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
    if let Some(message) = pool.get_message_by_name(symbol) {
        return Some(message.parent_file());
    }
    if let Some(service) = pool.get_service_by_name(symbol) {
        return Some(service.parent_file());
    }
    if let Some(found) = pool.get_enum_by_name(symbol) {
        return Some(found.parent_file());
    }
    if let Some(extension) = pool.get_extension_by_name(symbol) {
        return Some(extension.parent_file());
    }
    let (parent, name) = symbol.rsplit_once('.')?;
    if let Some(service) = pool.get_service_by_name(parent) {
        return service.methods().any(|method| method.name() == name).then(|| service.parent_file());
    }
    if let Some(message) = pool.get_message_by_name(parent) {
        let is_oneof = || message.oneofs().any(|oneof| oneof.name() == name);
        return (message.get_field_by_name(name).is_some() || is_oneof()).then(|| message.parent_file());
    }
    // A value of an enum stands beside the enum.
    let mut values = pool.all_enums().filter(|found| found.parent_file().package_name() == parent);
    values.find(|found| found.get_value_by_name(name).is_some()).map(|found| found.parent_file())
}

fn extendee(pool: &DescriptorPool, name: &str) -> Option<MessageDescriptor> {
    pool.get_message_by_name(name.strip_prefix('.').unwrap_or(name))
}

/// The numbers of a message's extensions.
fn extension_numbers(message: &MessageDescriptor) -> Vec<i32> {
    message.extensions().filter_map(|extension| i32::try_from(extension.number()).ok()).collect()
}

/// The file that defines an extension of a message.
fn file_of_extension(pool: &DescriptorPool, message: &str, number: i32) -> Option<FileDescriptor> {
    let extension = extendee(pool, message)?.get_extension(u32::try_from(number).ok()?)?;
    Some(extension.parent_file())
}

/// The service of one version: the messages are the same, their types are not.
macro_rules! reflection {
    ($version:ident, $service:ident) => {
        /// Reflection in this version. Cheap to clone.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct $service;

        #[tonic::async_trait]
        impl $version::server_reflection_server::ServerReflection for $service {
            type ServerReflectionInfoStream =
                Pin<Box<dyn Stream<Item = Result<$version::ServerReflectionResponse, Status>> + Send>>;

            async fn server_reflection_info(
                &self,
                request: Request<Streaming<$version::ServerReflectionRequest>>,
            ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                let Some(pool) = POOL.as_ref() else { return Err(status::internal()) };
                let answers = request.into_inner().map(|asked| asked.map(|asked| Self::answer(pool, asked)));
                Ok(Response::new(Box::pin(answers)))
            }
        }

        impl $service {
            fn answer(
                pool: &DescriptorPool,
                asked: $version::ServerReflectionRequest,
            ) -> $version::ServerReflectionResponse {
                use $version::server_reflection_request::MessageRequest;
                use $version::server_reflection_response::MessageResponse;

                let file = |file: Option<FileDescriptor>, missing: String| match file {
                    Some(file) => MessageResponse::FileDescriptorResponse($version::FileDescriptorResponse {
                        file_descriptor_proto: vec![file.encode_to_vec()],
                    }),
                    None => Self::error(Code::NotFound, missing),
                };
                let answer = match &asked.message_request {
                    Some(MessageRequest::FileByFilename(name)) => {
                        file(pool.get_file_by_name(name), "there is no such file".into())
                    }
                    Some(MessageRequest::FileContainingSymbol(symbol)) => {
                        file(file_of_symbol(pool, symbol), "there is no such symbol".into())
                    }
                    Some(MessageRequest::FileContainingExtension(asked)) => {
                        let found = file_of_extension(pool, &asked.containing_type, asked.extension_number);
                        file(found, "there is no such extension".into())
                    }
                    Some(MessageRequest::AllExtensionNumbersOfType(name)) => match extendee(pool, name) {
                        Some(message) => {
                            MessageResponse::AllExtensionNumbersResponse($version::ExtensionNumberResponse {
                                base_type_name: message.full_name().to_owned(),
                                extension_number: extension_numbers(&message),
                            })
                        }
                        None => Self::error(Code::NotFound, "there is no such message".into()),
                    },
                    Some(MessageRequest::ListServices(_)) => {
                        let name = |service: prost_reflect::ServiceDescriptor| $version::ServiceResponse {
                            name: service.full_name().to_owned(),
                        };
                        let service = pool.services().map(name).collect();
                        MessageResponse::ListServicesResponse($version::ListServiceResponse { service })
                    }
                    None => Self::error(Code::InvalidArgument, "message_request is required".into()),
                };
                $version::ServerReflectionResponse {
                    valid_host: asked.host.clone(),
                    original_request: Some(asked),
                    message_response: Some(answer),
                }
            }

            fn error(code: Code, message: String) -> $version::server_reflection_response::MessageResponse {
                $version::server_reflection_response::MessageResponse::ErrorResponse($version::ErrorResponse {
                    error_code: code as i32,
                    error_message: message,
                })
            }
        }
    };
}

reflection!(v1, ReflectionV1);
reflection!(v1alpha, ReflectionV1Alpha);

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorProto;
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;

    use super::*;

    fn ask(request: MessageRequest) -> MessageResponse {
        let asked = v1::ServerReflectionRequest { host: "h".into(), message_request: Some(request) };
        let answer = ReflectionV1::answer(POOL.as_ref().unwrap(), asked.clone());
        assert_eq!((answer.valid_host.as_str(), answer.original_request), ("h", Some(asked)));
        answer.message_response.unwrap()
    }

    /// The name of the file that is told, or the code of the error.
    fn file(request: MessageRequest) -> Result<String, i32> {
        match ask(request) {
            MessageResponse::FileDescriptorResponse(told) => {
                let file = FileDescriptorProto::decode(told.file_descriptor_proto[0].as_slice()).unwrap();
                Ok(file.name().to_owned())
            }
            MessageResponse::ErrorResponse(error) => {
                assert!(!error.error_message.is_empty());
                Err(error.error_code)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_service_is_listed() {
        let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())) else {
            panic!("no list")
        };
        let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
        for name in [
            "ordergateway.v1.FulfillmentService",
            "ordergateway.v1.GatewayService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            assert_eq!(names.iter().filter(|listed| **listed == name).count(), 1, "{name}: {names:?}");
        }
    }

    #[test]
    fn symbols_of_every_kind_are_found_and_others_are_an_error_of_their_own() {
        let of = |symbol: &str| file(MessageRequest::FileContainingSymbol(symbol.into()));
        for (symbol, name) in [
            ("ordergateway.v1.FulfillmentService", "ordergateway/v1/fulfillment.proto"),
            (".ordergateway.v1.FulfillmentService", "ordergateway/v1/fulfillment.proto"),
            ("ordergateway.v1.FulfillmentService.CreateOrder", "ordergateway/v1/fulfillment.proto"),
            ("ordergateway.v1.UpstreamError", "ordergateway/v1/errors.proto"),
            ("ordergateway.v1.UpstreamError.http_status", "ordergateway/v1/errors.proto"),
            ("ordergateway.v1.CircuitState", "ordergateway/v1/gateway.proto"),
            ("ordergateway.v1.CIRCUIT_STATE_OPEN", "ordergateway/v1/gateway.proto"),
            ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
            ("google.rpc.Status", "google/rpc/status.proto"),
            ("google.api.field_behavior", "google/api/field_behavior.proto"),
            ("grpc.health.v1.Health.List", "grpc/health/v1/health.proto"),
        ] {
            assert_eq!(of(symbol).as_deref(), Ok(name), "{symbol}");
        }
        for unknown in ["", ".", "ordergateway.v1", "ordergateway.v1.FulfillmentService.No", "no.such.Thing", "a..b"] {
            assert_eq!(of(unknown), Err(Code::NotFound as i32), "{unknown}");
        }
        let by_name = |name: &str| file(MessageRequest::FileByFilename(name.into()));
        let details = "google/rpc/error_details.proto";
        assert_eq!(by_name(details).as_deref(), Ok(details));
        assert_eq!(by_name("google/rpc/no.proto"), Err(Code::NotFound as i32));
    }

    #[test]
    fn extensions_are_found() {
        let asked = |number: i32| {
            let containing_type = "google.protobuf.FieldOptions".to_owned();
            file(MessageRequest::FileContainingExtension(v1::ExtensionRequest {
                containing_type,
                extension_number: number,
            }))
        };
        assert_eq!(asked(1052).as_deref(), Ok("google/api/field_behavior.proto"));
        assert_eq!((asked(1), asked(-1)), (Err(Code::NotFound as i32), Err(Code::NotFound as i32)));
        let all = ask(MessageRequest::AllExtensionNumbersOfType("google.protobuf.FieldOptions".into()));
        let MessageResponse::AllExtensionNumbersResponse(all) = all else { panic!("{all:?}") };
        assert_eq!((all.base_type_name.as_str(), all.extension_number), ("google.protobuf.FieldOptions", vec![1052]));
        let none = ask(MessageRequest::AllExtensionNumbersOfType("no.Such".into()));
        assert!(matches!(none, MessageResponse::ErrorResponse(_)));
        let nothing = ReflectionV1::answer(POOL.as_ref().unwrap(), v1::ServerReflectionRequest::default());
        assert!(matches!(nothing.message_response, Some(MessageResponse::ErrorResponse(_))));
    }

    #[test]
    fn options_of_fields_are_kept() {
        let found = ask(MessageRequest::FileByFilename("ordergateway/v1/order.proto".into()));
        let MessageResponse::FileDescriptorResponse(told) = found else { panic!("{found:?}") };
        let ours = POOL.as_ref().unwrap().get_file_by_name("ordergateway/v1/order.proto").unwrap();
        let plain = ours.file_descriptor_proto().encode_to_vec();
        assert!(told.file_descriptor_proto[0].len() > plain.len(), "without the options it is shorter");
    }
}
