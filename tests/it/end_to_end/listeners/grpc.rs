//! A gRPC client on bare HTTP/2. It can send requests that no gRPC library would send.

use axum::body::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(super) const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub http: u16,
    /// The gRPC status code; 0 is success.
    pub code: Option<u32>,
    /// The status message, as encoded on the wire.
    pub text: String,
    /// Whether the answer says when to retry.
    pub retry_info: bool,
    /// The message without its prefix.
    pub message: Vec<u8>,
}

/// A connection.
#[derive(Clone)]
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    address: String,
}

/// A message with its prefix.
pub(super) fn frame(compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(compressed)];
    frame.extend(u32::try_from(message.len()).expect("a short message").to_be_bytes());
    frame.extend(message);
    frame
}

impl Client {
    pub(super) async fn connect(address: &str) -> Self {
        Self::try_connect(address).await.expect("a connection")
    }

    /// `None` when nothing listens.
    pub(super) async fn try_connect(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = h2::client::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        Some(Self { sender, address: address.to_owned() })
    }

    /// Calls a method with a raw body. Returns `None` when the connection broke.
    pub(super) async fn call(
        &self,
        path: &str,
        token: Option<&str>,
        encoding: Option<&str>,
        body: Vec<u8>,
    ) -> Option<Answer> {
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let mut sender = self.sender.clone().ready().await.ok()?;
        let (answer, mut stream) = sender.send_request(request.body(()).expect("a request"), false).ok()?;
        // After an early refusal the server may stop reading. Only the answer counts.
        let _refused = send(&mut stream, body.into()).await;
        let (head, mut body) = answer.await.ok()?.into_parts();
        let mut read = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            let _closed = body.flow_control().release_capacity(data.len());
            read.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.ok()?.unwrap_or_default();
        let text = |name: &str| {
            let value = trailers.get(name).or_else(|| head.headers.get(name));
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Some(Answer {
            http: head.status.as_u16(),
            code: text("grpc-status").and_then(|code| code.parse().ok()),
            text: text("grpc-message").unwrap_or_default(),
            retry_info: details(&trailers, &head.headers).contains("google.rpc.RetryInfo"),
            message: read.split_off(read.len().min(5)),
        })
    }

    /// Calls a method with a message.
    pub(super) async fn send(&self, path: &str, token: &str, message: &[u8]) -> Answer {
        self.call(path, Some(token), None, frame(false, message)).await.expect("an answer")
    }
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(capacity) = capacity else { return Ok(()) };
        stream.send_data(body.split_to(capacity?.min(body.len())), false)?;
    }
    stream.send_data(Bytes::new(), true)
}

fn details(trailers: &HeaderMap, headers: &HeaderMap) -> String {
    use base64::Engine;
    let name = "grpc-status-details-bin";
    let value = trailers.get(name).or_else(|| headers.get(name)).map_or(&b""[..], |value| value.as_bytes());
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(value.iter().copied().filter(|byte| *byte != b'=').collect::<Vec<_>>());
    String::from_utf8_lossy(&decoded.expect("base64")).into_owned()
}
