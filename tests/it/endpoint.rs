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
pub(crate) enum Mood {
    /// Answers 200 and keeps the spans.
    Takes,
    /// Answers this status, with `Retry-After: 0`.
    Says(StatusCode),
    /// Never answers.
    Hangs,
}

#[derive(Clone)]
pub(crate) struct Endpoint {
    mood: Arc<Mutex<Mood>>,
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    url: String,
}

impl Endpoint {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let endpoint =
            Self { mood: Arc::new(Mutex::new(mood)), requests: Arc::default(), taken: Arc::default(), url };
        let app = Router::new().fallback(answer).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        endpoint
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic inside") = mood;
    }

    /// The number of requests so far, with any kind of answer.
    pub(crate) fn asked(&self) -> usize {
        self.requests.lock().expect("no panic inside").len()
    }

    /// The headers of the first request.
    pub(crate) fn first_headers(&self) -> HeaderMap {
        self.requests.lock().expect("no panic inside")[0].0.clone()
    }

    /// Trace id and name of each accepted span.
    pub(crate) fn spans(&self) -> Vec<(String, String)> {
        let taken = self.taken.lock().expect("no panic inside");
        let scopes = taken.iter().flat_map(|request| &request.resource_spans).flat_map(|r| &r.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| (hex::encode(&span.trace_id), span.name.clone()))
            .collect()
    }
}

async fn answer(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    endpoint.requests.lock().expect("no panic inside").push((headers, body.clone()));
    let mood = *endpoint.mood.lock().expect("no panic inside");
    match mood {
        Mood::Takes => {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP protobuf");
            endpoint.taken.lock().expect("no panic inside").push(request);
            StatusCode::OK.into_response()
        }
        Mood::Says(status) => (status, [("retry-after", "0")]).into_response(),
        Mood::Hangs => std::future::pending().await,
    }
}
