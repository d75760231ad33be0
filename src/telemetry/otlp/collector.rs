//! A collector, spoken to by gRPC or by HTTP with protobuf bodies. Connects lazily and with timeouts; uses TLS for
//! https addresses.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use reqwest::redirect;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};

use super::plan::{ExportProtocol, ExportTarget};

/// Interval of keep-alive pings, which find a dead collector also between exports.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The collector of a signal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    connection: CollectorConnection,
    headers: HeaderMap,
    gzip: bool,
    /// Limit of an export; the channel's own does not include the connection.
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum CollectorConnection {
    Grpc(Channel),
    Http { client: reqwest::Client, url: String },
}

/// What became of an export that arrived: the number of items that the collector rejected.
pub(super) type Rejected = usize;

impl Collector {
    /// Prepares a connection. The first export connects, so an unreachable collector shows only then. Must run within
    /// the runtime.
    ///
    /// # Errors
    /// The address or a certificate cannot be used. One line.
    pub(super) fn connect(target: &ExportTarget) -> Result<Self, String> {
        let connection = match target.protocol {
            ExportProtocol::Grpc => CollectorConnection::Grpc(channel(target)?),
            ExportProtocol::HttpProtobuf => {
                CollectorConnection::Http { client: client(target)?, url: target.endpoint.clone() }
            }
        };
        Ok(Self { connection, headers: headers(target), gzip: target.gzip, timeout: target.timeout })
    }

    /// Exports spans.
    ///
    /// # Errors
    /// The reason in short, without the collector's own words, which may repeat what was exported.
    pub(super) async fn traces(&self, request: ExportTraceServiceRequest) -> Result<Rejected, String> {
        let answer: ExportTraceServiceResponse = match &self.connection {
            CollectorConnection::Grpc(channel) => {
                let client = TraceServiceClient::new(channel.clone());
                let mut client = if self.gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                self.called(client.export(self.request(request))).await?
            }
            CollectorConnection::Http { client, url } => self.posted(client, url, &request).await?,
        };
        Ok(answer.partial_success.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0)))
    }

    /// Exports metrics. Fails as [`Self::traces`].
    pub(super) async fn metrics(&self, request: ExportMetricsServiceRequest) -> Result<Rejected, String> {
        let answer: ExportMetricsServiceResponse = match &self.connection {
            CollectorConnection::Grpc(channel) => {
                let client = MetricsServiceClient::new(channel.clone());
                let mut client = if self.gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                self.called(client.export(self.request(request))).await?
            }
            CollectorConnection::Http { client, url } => self.posted(client, url, &request).await?,
        };
        Ok(answer.partial_success.map_or(0, |partial| usize::try_from(partial.rejected_data_points).unwrap_or(0)))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        request
    }

    async fn called<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
        match timeout(self.timeout, call).await {
            Err(_) => Err("no answer in time".into()),
            Ok(Err(status)) => Err(why(&status)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        }
    }

    async fn posted<T: Message + Default>(
        &self,
        client: &reqwest::Client,
        url: &str,
        message: &impl Message,
    ) -> Result<T, String> {
        let body = message.encode_to_vec();
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let body = if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            packed(&body).map_err(|error| error.to_string())?
        } else {
            body
        };
        let call = async {
            let mut answer = client.post(url).headers(headers).body(body).send().await.map_err(|error| {
                let error = error.without_url();
                if error.is_timeout() { "no answer in time".to_owned() } else { chain(&error) }
            })?;
            if !answer.status().is_success() {
                return Err(format!("HTTP {}", answer.status().as_u16()));
            }
            let mut read = Vec::new();
            while let Some(part) = answer.chunk().await.map_err(|error| chain(&error.without_url()))? {
                read.extend_from_slice(&part);
                if read.len() > MAX_ANSWER {
                    break;
                }
            }
            // What cannot be read is an answer of 2xx all the same.
            Ok(T::decode(Bytes::from(read)).unwrap_or_default())
        };
        timeout(self.timeout, call).await.unwrap_or_else(|_| Err("no answer in time".into()))
    }
}

fn channel(target: &ExportTarget) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(target.endpoint.clone()).map_err(|error| chain(&error))?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("https") => endpoint.tls_config(tls(target)).map_err(|error| chain(&error))?,
        _ => endpoint,
    };
    let endpoint = endpoint
        .timeout(target.timeout)
        .connect_timeout(target.timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(target.timeout)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

fn tls(target: &ExportTarget) -> ClientTlsConfig {
    let config = ClientTlsConfig::new();
    let config = match &target.certificate {
        Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
        None => config.with_enabled_roots(),
    };
    match &target.client {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

fn client(target: &ExportTarget) -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(target.timeout)
        .timeout(target.timeout);
    let client = match &target.certificate {
        Some(pem) => client.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?),
        None => client,
    };
    let client = match &target.client {
        Some((certificate, key)) => {
            let identity = [key.as_slice(), b"\n", certificate.as_slice()].concat();
            client.identity(reqwest::Identity::from_pem(&identity).map_err(|error| chain(&error))?)
        }
        None => client,
    };
    client.build().map_err(|error| chain(&error))
}

fn headers(target: &ExportTarget) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        // Names and values were validated when parsed.
        if let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    headers
}

fn packed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Explains a failed export. The collector's message is left out, because the message may repeat the exported data.
fn why(status: &Status) -> String {
    let code = crate::telemetry::trace::code_name(status.code());
    match std::error::Error::source(status) {
        Some(source) if status.code() != Code::Ok => format!("{code}: {}", chain(source)),
        _ => code.to_owned(),
    }
}

/// Formats an error with all causes in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
