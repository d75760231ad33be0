//! Reads a service's descriptors from the gateway's reflection.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::{DescriptorPool, ServiceDescriptor};
use prost_types::FileDescriptorProto;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Extensions, Request, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Reads the file that declares the service, and all files that it imports.
///
/// # Errors
/// The gateway does not know the service, serves no reflection, or answers with descriptors that do not fit together.
pub(super) async fn service(channel: Channel, metadata: &MetadataMap, name: &str) -> Result<ServiceDescriptor, Status> {
    let mut client = ServerReflectionClient::new(channel);
    let mut files = BTreeMap::new();
    let mut wanted = vec![MessageRequest::FileContainingSymbol(name.to_owned())];
    while let Some(next) = wanted.pop() {
        if matches!(&next, MessageRequest::FileByFilename(name) if files.contains_key(name)) {
            continue;
        }
        for file in ask(&mut client, metadata, next).await? {
            wanted.extend(file.dependency.iter().cloned().map(MessageRequest::FileByFilename));
            files.insert(file.name().to_owned(), file);
        }
    }
    let broken = |why: &str| Status::internal(format!("the gateway's descriptors are broken: {why}"));
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files.into_values()).map_err(|error| broken(&error.to_string()))?;
    pool.get_service_by_name(name).ok_or_else(|| broken(&format!("{name} is not in its file")))
}

/// Asks one question, in a stream of its own.
async fn ask(
    client: &mut ServerReflectionClient<Channel>,
    metadata: &MetadataMap,
    question: MessageRequest,
) -> Result<Vec<FileDescriptorProto>, Status> {
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let questions = futures_util::stream::once(std::future::ready(question));
    let request = Request::from_parts(metadata.clone(), Extensions::default(), questions);
    let mut answers = client.server_reflection_info(request).await.map_err(explained)?.into_inner();
    match answers.message().await.map_err(explained)?.and_then(|answer| answer.message_response) {
        Some(MessageResponse::FileDescriptorResponse(files)) => {
            let files = files.file_descriptor_proto.iter().map(|file| FileDescriptorProto::decode(file.as_slice()));
            files.collect::<Result<_, _>>().map_err(|error| Status::internal(error.to_string()))
        }
        Some(MessageResponse::ErrorResponse(error)) => {
            Err(Status::new(Code::from_i32(error.error_code), error.error_message))
        }
        _ => Err(Status::internal("the gateway's reflection ended without an answer")),
    }
}

/// A gateway without reflection answers UNIMPLEMENTED, which alone would not explain itself.
fn explained(status: Status) -> Status {
    match status.code() {
        Code::Unimplemented => Status::unimplemented("the gateway serves no reflection (setting grpc.reflection)"),
        _ => status,
    }
}
