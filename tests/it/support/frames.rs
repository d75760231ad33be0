//! Calls as raw HTTP/2: what a well-behaved client would not send, and what a client hides of the answer.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{self, ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tonic::Status;

pub const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";
pub const STATUS: &str = "/ordergateway.v1.FulfillmentService/GetOrderStatus";

/// A connection; it ends when this value and its calls are dropped.
pub struct Frames {
    send: SendRequest<Bytes>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    /// gRPC's status, from the trailers or from the headers of an answer without a body.
    pub status: Status,
    /// Whether the server said so.
    pub told: bool,
}

impl Frames {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { send }
    }

    /// Sends a call and does not wait for its answer.
    pub async fn begin(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> ResponseFuture {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        // Refused calls may be answered before their body is read.
        let _ = stream.send_data(body, true);
        answer
    }

    /// Begins a call whose body is to come later.
    pub async fn begin_without_body(&self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc");
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Opens a call and lets go of it at once. False when the server has ended the connection.
    pub async fn try_begin(&self, path: &str) -> bool {
        let Ok(mut send) = self.send.clone().ready().await else { return false };
        let request = Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc");
        send.send_request(request.body(()).unwrap(), false).is_ok()
    }

    /// Sends a call and reads its answer to the end.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Ended {
        end(self.begin(path, headers, body).await).await
    }
}

pub async fn end(answer: ResponseFuture) -> Ended {
    let (head, mut body) = answer.await.unwrap().into_parts();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.ok().flatten();
    let told = |headers: &HeaderMap| Status::from_header_map(headers);
    let status = trailers.as_ref().and_then(told).or_else(|| told(&head.headers));
    let is_told = status.is_some();
    Ended { status: status.unwrap_or_else(|| Status::unknown("no status")), told: is_told }
}

/// A message with its prefix of five bytes.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// A request from its JSON.
pub fn request<T: prost::Message + Default>(name: &str, json: &serde_json::Value) -> Bytes {
    let message: T = super::client::message(name, &json.to_string());
    frame(&message.encode_to_vec())
}
