//! Compiles `proto/` without a system `protoc`, and makes the mirror rule mechanical.
//!
//! Messages that are Walmart's own (whatever can be reached from the `header`, `payload` and `errors` of an RPC, and what
//! Walmart posts) get
//! serde attributes drawn from their descriptors: the JSON names of the protos, strict writing, lenient reading
//! (`src/wire/lenient.rs`). One type therefore serves gRPC and REST, and a field added to a proto needs no other line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, error, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Fields of a request or response that hold Walmart's messages.
const ENVELOPE: [&str; 8] =
    ["header", "payload", "errors", "list", "order", "order_cancellation", "order_shipment", "order_refund"];
/// Requests and responses that are Walmart's messages themselves, without an envelope.
const FLAT: [&str; 5] = [
    ".ordergateway.v1.ListReturnsResponse",
    ".ordergateway.v1.RefundReturnRequest",
    ".ordergateway.v1.RefundReturnResponse",
    ".ordergateway.v1.UpdateWebhookSubscriptionRequest",
    ".ordergateway.v1.TestWebhookSubscriptionRequest",
];
/// The gateway's own fields in them: ids that go into the path, and what stands beside Walmart's message.
const OWN: [&str; 7] =
    ["account", "request_id", "correlation_id", "replayed", "return_order_id", "subscription_id", "unmapped"];
/// Walmart's messages that come in other ways.
const POSTED: [&str; 7] = [
    ".ordergateway.v1.EventType",
    ".ordergateway.v1.WebhookSubscription",
    ".ordergateway.v1.CancelIntent",
    ".ordergateway.v1.McsOrderStatus",
    ".ordergateway.v1.McsShipment",
    ".ordergateway.v1.McsReturnStatus",
    ".ordergateway.v1.SellerOrderUpdate",
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party");

    println!("cargo:rustc-env=ORDER_GATEWAY_VERSION={} ({})", env::var("CARGO_PKG_VERSION")?, commit());

    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(proto_files(Path::new("proto"))?)?;
    // Served, or shown by reflection, beside ours.
    compiler.open_files(["google/rpc/error_details.proto", "grpc/health/v1/health.proto"])?;
    // The shorter calls of protox drop custom options.
    let encoded = compiler.encode_file_descriptor_set();
    let set = FileDescriptorSet::decode(encoded.as_slice())?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), &encoded)?;

    let mut config = tonic_prost_build::configure()
        .build_transport(false)
        // Maps in the order of their keys: the ledger compares encoded messages.
        .btree_map(".ordergateway.v1")
        .codec_path("crate::pb::codec::Buffered")
        .extern_path(".google.rpc", "::tonic_types::pb");
    for (name, message) in mirrored(&set) {
        config = config
            .message_attribute(&name, "#[derive(serde::Serialize, serde::Deserialize)]")
            .message_attribute(&name, "#[serde(default)]");
        for field in &message.field {
            let options = if is_own(&name, field) { "skip".to_owned() } else { serde_options(message, field) };
            config = config.field_attribute(format!("{name}.{}", field.name()), format!("#[serde({options})]"));
        }
    }
    config.compile_fds(set)?;
    Ok(())
}

/// The commit that `--version` names: as the builder says, or as git does. Builds for development do not ask git, because
/// every commit would then compile the crate anew.
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=ORDER_GATEWAY_REVISION");
    let given = env::var("ORDER_GATEWAY_REVISION").ok().filter(|given| !given.trim().is_empty());
    if given.is_none() && env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return "a build for development".into();
    }
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    // Written by git with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = given.or_else(|| git(&["rev-parse", "HEAD"]));
    commit.map_or_else(|| "commit unknown".into(), |commit| format!("commit {}", commit.trim()))
}

fn proto_files(dir: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Walmart's messages by full name (with its leading dot).
fn mirrored(set: &FileDescriptorSet) -> BTreeMap<String, &DescriptorProto> {
    let mut all = BTreeMap::new();
    let mut endpoints = BTreeSet::new();
    for file in &set.file {
        for message in &file.message_type {
            all.insert(format!(".{}.{}", file.package(), message.name()), message);
        }
        for method in file.service.iter().flat_map(|s| &s.method) {
            endpoints.extend([method.input_type().to_owned(), method.output_type().to_owned()]);
        }
    }
    let mut open: Vec<String> = endpoints
        .iter()
        .filter_map(|name| all.get(name))
        .flat_map(|message| &message.field)
        .filter(|field| ENVELOPE.contains(&field.name()))
        .map(|field| field.type_name().to_owned())
        .chain(POSTED.into_iter().chain(FLAT).map(str::to_owned))
        .collect();
    let mut found = BTreeMap::new();
    while let Some(name) = open.pop() {
        let Some(message) = all.get(&name) else { continue };
        if found.insert(name, *message).is_none() {
            open.extend(message.field.iter().filter(|f| f.r#type() == Type::Message).map(|f| f.type_name().to_owned()));
        }
    }
    found
}

/// Whether a field of a flat message is the gateway's. An answer may repeat an id of the path.
fn is_own(message: &str, field: &FieldDescriptorProto) -> bool {
    let is_answered_id = message.ends_with("Response") && field.name().ends_with("_order_id");
    FLAT.contains(&message) && OWN.contains(&field.name()) && !is_answered_id
}

/// How one field is named, written and read. The readers stand in `src/wire/lenient.rs`.
fn serde_options(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let repeated = field.label() == Label::Repeated;
    let optional = field.proto3_optional();
    let is_entry = |nested: &DescriptorProto| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && field.type_name().ends_with(&format!(".{}.{}", message.name(), nested.name()))
    };
    let is_map = message.nested_type.iter().any(is_entry);
    let reader = match (field.r#type(), repeated) {
        (Type::Message, true) if is_map => "text_map",
        (Type::Message, true) if field.type_name().ends_with(".WalmartError") => "errors",
        (Type::Message, true) => "list",
        (Type::Message, false) if field.type_name().ends_with(".Quantity") => "quantity",
        (Type::Message, false) if field.type_name().ends_with(".Name") => "name",
        (Type::Message, false) => "object",
        (Type::String, true) => "texts",
        (Type::String, false) if optional => "optional_text",
        (Type::String, false) => "text",
        (Type::Double, false) if optional => "optional_number",
        (Type::Int32, false) if optional => "optional_integer",
        (Type::Bool, false) if optional => "optional_flag",
        (other, _) => panic!("no reader for {other:?} of field {}", field.name()),
    };
    let mut options = vec![
        format!("rename = {:?}", field.json_name()),
        format!("deserialize_with = \"crate::wire::lenient::{reader}\""),
    ];
    if is_map {
        options.push("skip_serializing_if = \"std::collections::BTreeMap::is_empty\"".into());
    } else if repeated {
        options.push("skip_serializing_if = \"Vec::is_empty\"".into());
    } else if optional || field.r#type() == Type::Message {
        options.push("skip_serializing_if = \"Option::is_none\"".into());
    } else {
        options.push("skip_serializing_if = \"String::is_empty\"".into());
    }
    if reader == "optional_number" {
        options.push("serialize_with = \"crate::wire::number::serialize\"".into());
    }
    options.join(", ")
}
