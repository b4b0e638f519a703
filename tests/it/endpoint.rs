//! A test endpoint for OTLP over HTTP. It accepts requests, answers with a status, or never
//! answers, and it records what it received.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers 200 and keeps the spans.
    Accepts,
    /// Answers this status, with `Retry-After: 0`.
    Answers(StatusCode),
    /// Never answers.
    Hangs,
}

#[derive(Clone)]
pub(crate) struct Endpoint {
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    accepted: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    url: String,
}

impl Endpoint {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let endpoint = Self {
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
            accepted: Arc::default(),
            url,
        };
        let app = Router::new().fallback(answer).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        endpoint
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic inside") = behaviour;
    }

    /// The number of requests so far, with any kind of answer.
    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().expect("no panic inside").len()
    }

    /// The headers of the first request.
    pub(crate) fn first_headers(&self) -> HeaderMap {
        self.requests.lock().expect("no panic inside")[0].0.clone()
    }

    /// Trace id and name of each accepted span.
    pub(crate) fn spans(&self) -> Vec<(String, String)> {
        let accepted = self.accepted.lock().expect("no panic inside");
        let scopes = accepted.iter().flat_map(|request| &request.resource_spans).flat_map(|r| &r.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| (hex::encode(&span.trace_id), span.name.clone()))
            .collect()
    }
}

async fn answer(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    endpoint.requests.lock().expect("no panic inside").push((headers, body.clone()));
    let behaviour = *endpoint.behaviour.lock().expect("no panic inside");
    match behaviour {
        Behaviour::Accepts => {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP protobuf");
            endpoint.accepted.lock().expect("no panic inside").push(request);
            StatusCode::OK.into_response()
        }
        Behaviour::Answers(status) => (status, [("retry-after", "0")]).into_response(),
        Behaviour::Hangs => std::future::pending().await,
    }
}
