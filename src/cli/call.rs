//! `order-gateway call`: calls any RPC of a running gateway, with the descriptors that the gateway's reflection gives.

mod reflected;

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Extensions, Request, Status};

use super::connect::{GatewayConnection, TlsArgs, connect};
use super::{Failure, GatewayAddress, grpcurl_form, print, span};

/// Far above every answer of the gateway; tonic alone would refuse lists above 4 MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// A `--max-time` above a year is a slip.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const EXAMPLE: &str = r#"Examples:
  order-gateway call FulfillmentService/CreateOrder -d @examples/create.json
  order-gateway call GatewayService/GetStatus
  order-gateway call CancelIntentService/WatchCancelIntents -d '{"start":{"earliest":true}}' --max-time 10s
  echo '{"orderNumber":"SO123"}' | order-gateway call FulfillmentService/GetOrderStatus -d @-
  order-gateway call GatewayService/GetStatus --addr gateway:50051 --tls-ca ca.crt --token-file token
  order-gateway call GatewayService/GetStatus --addr unix:/run/order-gateway.sock

The gateway must serve reflection (`grpc.reflection`, on by default). Service names without a package are those of
ordergateway.v1.
Exit codes: 0 the call ended with OK, 1 it failed (the status is on stderr, with its details), 2 bad usage."#;

/// Call an RPC of a running gateway
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct CallArgs {
    /// Service and method, such as FulfillmentService/CreateOrder
    #[arg(value_name = "SERVICE/METHOD", value_parser = service_and_method)]
    method: MethodName,
    /// The request as JSON, or @FILE, or @- for stdin; by default an empty message
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
    /// Address of the gateway's gRPC listener: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", value_parser = GatewayAddress::parse)]
    addr: GatewayAddress,
    /// Token of a client; other users of this machine may see it in the list of processes
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// File with the token of a client
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Deadline of the call, such as 5s or 250ms; a number alone counts seconds. Without it a call has none
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    max_time: Option<Duration>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// The full name of a service, and the name of one of its methods.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MethodName {
    service: String,
    method: String,
}

pub(super) async fn run(args: CallArgs, stop: CancellationToken) -> Result<(), Failure> {
    let usage = |line: String| Failure::Usage(vec![line]);
    let tls = args.tls.read(&args.addr).map_err(usage)?;
    let token = token(args.token, args.token_file).map_err(usage)?;
    let data = request_text(args.data).map_err(usage)?;
    let limit = TimeLimit { span: args.max_time, end: args.max_time.map(|span| Instant::now() + span) };
    let call = async {
        let connected =
            limit.hold(connect(&args.addr, tls)).await.unwrap_or_else(|status| Err(status.message().into()));
        let connection =
            connected.map_err(|error| format!("{}: cannot connect: {error}", args.addr)).map_err(Failure::Failed)?;
        let client = GatewayClient { connection, token, limit };
        let method = client.method(&args.method).await?;
        let request = request(&method, &data).map_err(|error| Failure::Usage(vec![format!("--data: {error}")]))?;
        client.call(&method, request).await
    };
    tokio::select! {
        done = call => done,
        () = stop.cancelled() => Err(Failure::Failed("interrupted".into())),
    }
}

/// The time that the whole command may take.
#[derive(Clone, Copy)]
struct TimeLimit {
    span: Option<Duration>,
    end: Option<Instant>,
}

impl TimeLimit {
    /// Waits for `work`, or fails with DEADLINE_EXCEEDED.
    async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        match self.end {
            Some(end) => timeout_at(end, work).await.map_err(|_| Status::deadline_exceeded("--max-time is over")),
            None => Ok(work.await),
        }
    }
}

struct GatewayClient {
    connection: GatewayConnection,
    token: Option<MetadataValue<Ascii>>,
    limit: TimeLimit,
}

impl GatewayClient {
    /// The descriptor of the method.
    async fn method(&self, name: &MethodName) -> Result<MethodDescriptor, Failure> {
        let asked = self.limit.hold(reflected::service(self.channel(), &self.metadata(), &name.service)).await;
        let service = asked.and_then(|service| service).map_err(|status| self.failed(&status))?;
        let found = service.methods().find(|method| method.name() == name.method);
        found.ok_or_else(|| {
            let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
            Failure::Usage(vec![format!(
                "{} has no method {}; it has {}",
                name.service,
                name.method,
                methods.join(", ")
            )])
        })
    }

    /// Calls the method and prints each answer.
    async fn call(&self, method: &MethodDescriptor, message: DynamicMessage) -> Result<(), Failure> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = http::uri::PathAndQuery::try_from(path).map_err(|error| Failure::Failed(error.to_string()))?;
        let messages = futures_util::stream::once(std::future::ready(message));
        let mut request = Request::from_parts(self.metadata(), Extensions::default(), messages);
        if let Some(span) = self.limit.span {
            request.set_timeout(span);
        }
        let frames = async {
            let mut grpc = tonic::client::Grpc::new(self.channel()).max_decoding_message_size(LARGEST_ANSWER);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.streaming(request, path, DynamicCodec(method.output())).await
        };
        let opened = self.limit.hold(frames).await.and_then(|opened| opened);
        let mut frames = opened.map_err(|status| self.failed(&status))?.into_inner();
        loop {
            let next = self.limit.hold(frames.message()).await.and_then(|next| next);
            match next.map_err(|status| self.failed(&status))? {
                Some(message) => print(&(grpcurl_form::json(&message).map_err(Failure::Failed)? + "\n"))?,
                None => return Ok(()),
            }
        }
    }

    fn channel(&self) -> Channel {
        self.connection.channel.clone()
    }

    /// The metadata of every request.
    fn metadata(&self) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        metadata
    }

    fn failed(&self, status: &Status) -> Failure {
        let source = std::error::Error::source(status);
        let line = match (source, status.code()) {
            // tonic's client ends an expired call by itself, with CANCELLED.
            (Some(source), Code::Cancelled) if source.is::<tonic::TimeoutExpired>() => {
                grpcurl_form::error(&Status::deadline_exceeded("--max-time is over"))
            }
            (Some(_), _) => format!("the connection broke: {}", self.connection.why(status)),
            (None, _) => grpcurl_form::error(status),
        };
        Failure::Failed(line)
    }
}

/// Writes messages of any type, and reads those of one.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), buffer);
        message.map(Some).map_err(|error| Status::internal(format!("the answer cannot be decoded: {error}")))
    }
}

/// Parses the JSON of the request.
fn request(method: &MethodDescriptor, text: &str) -> Result<DynamicMessage, String> {
    if method.is_client_streaming() {
        return Err(format!("{} takes a stream of requests, which this command does not send", method.full_name()));
    }
    if text.trim().is_empty() {
        return Ok(DynamicMessage::new(method.input()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(method.input(), &mut json).map_err(|error| error.to_string())?;
    json.end().map_err(|error| error.to_string())?;
    Ok(message)
}

/// The JSON that `--data` gives or points to.
fn request_text(data: Option<String>) -> Result<String, String> {
    let data = data.unwrap_or_default();
    match data.strip_prefix('@') {
        None => Ok(data),
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| format!("--data: stdin: {error}"))?;
            Ok(text)
        }
        Some(file) => fs::read_to_string(file).map_err(|error| format!("--data: {file}: {error}")),
    }
}

/// The value of the header `authorization`. The token does not appear in the error.
fn token(token: Option<String>, file: Option<PathBuf>) -> Result<Option<MetadataValue<Ascii>>, String> {
    let (option, token) = match (token, file) {
        (Some(token), _) => ("--token", token),
        (None, Some(file)) => {
            let read = fs::read_to_string(&file);
            ("--token-file", read.map_err(|error| format!("--token-file: {}: {error}", file.display()))?)
        }
        (None, None) => return Ok(None),
    };
    let value = MetadataValue::try_from(format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| format!("{option}: a token has no control characters and no line breaks"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn service_and_method(text: &str) -> Result<MethodName, String> {
    let (service, method) = text.rsplit_once('/').ok_or("must be SERVICE/METHOD")?;
    let service = service.trim_start_matches('/');
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !service.split('.').all(is_name) || !is_name(method) {
        return Err("must be SERVICE/METHOD, such as FulfillmentService/CreateOrder".into());
    }
    let package = if service.contains('.') { "" } else { "ordergateway.v1." };
    Ok(MethodName { service: format!("{package}{service}"), method: method.to_owned() })
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let limit = seconds.map_or_else(|| span(text), Ok)?;
    if limit.is_zero() || limit > LONGEST {
        return Err("must be above zero, and at most a year".into());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_a_package_is_ours() {
        let name = |service: &str, method: &str| Ok(MethodName { service: service.into(), method: method.into() });
        for text in
            ["GatewayService/GetStatus", "ordergateway.v1.GatewayService/GetStatus", "/GatewayService/GetStatus"]
        {
            assert_eq!(service_and_method(text), name("ordergateway.v1.GatewayService", "GetStatus"), "{text}");
        }
        assert_eq!(service_and_method("grpc.health.v1.Health/Check"), name("grpc.health.v1.Health", "Check"));
        for bad in ["", "/", "GetStatus", "GatewayService/", "/GetStatus", "a..b/C", "a b/C", "A/B C", "A/B?"] {
            assert!(service_and_method(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_limit_has_a_unit_or_counts_seconds() {
        for (text, millis) in [("5", 5_000), ("0.25", 250), ("5s", 5_000), ("250ms", 250), ("2m", 120_000)] {
            assert_eq!(time_limit(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "0", "0s", "-1", "NaN", "inf", "1e300", "5 s", "1d", "40000000"] {
            assert!(time_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let value = token(Some(" abc\n".into()), None).unwrap().unwrap();
        assert_eq!(value, "Bearer abc");
        assert_eq!(format!("{value:?}"), "Sensitive");
        let error = token(Some("secret\nsecret".into()), None).unwrap_err();
        assert!(error.starts_with("--token: ") && !error.contains("secret"), "{error}");
        assert_eq!(token(None, None), Ok(None));
        let error = token(None, Some("/nowhere".into())).unwrap_err();
        assert!(error.starts_with("--token-file: /nowhere: "), "{error}");
    }
}
