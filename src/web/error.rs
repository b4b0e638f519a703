//! The one place that turns an error into an answer: a status and a sentence for whoever
//! asked, the whole chain for the log. No internal text leaves.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::tasks::error_chain;
use pacegate_github::GitHubError;
use pacegate_github::oidc::OidcError;
use pacegate_github::webhook::WebhookError;
use pacegate_ingest::ci_job::archive::ArchiveError;
use pacegate_report::page::{ErrorPage, Site};
use pacegate_store::StoreError;
use pacegate_store::app_file::AppFileError;

/// When to send again what a service that is busy refused.
const SOON: Duration = Duration::from_secs(2);

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// There is nothing there, or nothing for this reader.
    #[error("there is nothing here; a private repository's data needs a token of that repository")]
    NotFound,
    /// A parameter is not of its form.
    #[error("{0}")]
    BadRequest(String),
    /// The sender did not prove who it is.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The page is at this path now.
    #[error("this page has another address now")]
    Moved(String),
    /// The sender may not do this, whoever it is.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It was there and is no more.
    #[error("{0}")]
    Gone(&'static str),
    /// Larger than a body may be.
    #[error("the body is larger than {limit_mib} MiB, which is the limit after decompression too")]
    TooLarge {
        /// The limit.
        limit_mib: usize,
    },
    /// None of the types that are read; they are named.
    #[error("the content type has to be {0}")]
    UnsupportedMediaType(&'static str),
    /// Compressed in a way that is not read.
    #[error("a body may be compressed once, with gzip, deflate or zstd")]
    UnsupportedEncoding,
    /// An upload of a job that is not compressed as those are.
    #[error("an upload of a job is compressed with gzip: send it with `Content-Encoding: gzip`")]
    NotGzip,
    /// There is something here, but not for this method.
    #[error("this address does not take that method; docs/api.md lists which it takes")]
    WrongMethod,
    /// A port for something else; what for is said.
    #[error("there is nothing here: {0}")]
    WrongPort(&'static str),
    /// Too much at once: later, please.
    #[error("the service has its hands full; send this again in a moment")]
    Busy,
    /// A repository has too many traces that are no run yet.
    #[error(
        "too many traces of this repository wait for their root span; a trace that brings its root is taken all the \
         same. Does something else than a pipeline send here?"
    )]
    TooManyOpenTraces,
    /// The process has no memory for it now.
    #[error("the service is near its memory limit (PACEGATE_MEMORY_LIMIT); send this again in a moment")]
    OutOfMemory,
    /// The sender stopped in the middle of a body.
    #[error("the body stopped coming; send it again")]
    Stalled,
    /// One token pushes more than it may.
    #[error("this token pushes faster than PACEGATE_TOKEN_RATE allows; send this again after the wait")]
    TooFast {
        /// How long to wait.
        wait: Duration,
    },
    /// A delivery is refused.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A job did not prove who it is.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// What a job uploaded can't be used.
    #[error("the upload is refused: {0}")]
    Archive(#[from] ArchiveError),
    /// GitHub could not, while somebody waits for it.
    #[error("{0}")]
    GitHub(#[from] GitHubError),
    /// The App can't be kept.
    #[error("{0}")]
    AppFile(#[from] AppFileError),
    /// The store could not.
    #[error("the service can't reach its data right now; try again in a moment")]
    Store(#[from] StoreError),
    /// A defect of ours.
    #[error("this failed because of a defect in Pacegate; the log has the details")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WebError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::WrongPort(_) => StatusCode::NOT_FOUND,
            Self::TooLarge { .. }
            | Self::Archive(ArchiveError::TooLarge { .. } | ArchiveError::LargeManifest) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) | Self::Archive(_) | Self::Webhook(WebhookError::Payload { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::Moved(_) => StatusCode::MOVED_PERMANENTLY,
            Self::Forbidden(_) | Self::Oidc(OidcError::Event { .. }) => StatusCode::FORBIDDEN,
            Self::Gone(_) => StatusCode::GONE,
            Self::GitHub(_) => StatusCode::BAD_GATEWAY,
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding | Self::NotGzip => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy
            | Self::TooManyOpenTraces
            | Self::OutOfMemory
            | Self::Stalled
            | Self::Store(_)
            | Self::Oidc(OidcError::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) | Self::AppFile(_) | Self::Oidc(OidcError::Configuration(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Unauthorized(_) | Self::Oidc(_) | Self::Webhook(WebhookError::Signature) => {
                StatusCode::UNAUTHORIZED
            }
        }
    }

    fn log(&self) {
        match self {
            Self::Store(_) | Self::Internal(_) | Self::GitHub(_) | Self::AppFile(_) => {
                tracing::error!(error = %error_chain(self), "a request could not be answered");
            }
            other => tracing::debug!(error = %error_chain(other), "a request was refused"),
        }
    }

    fn finish(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Self::Moved(path) = self
            && let Ok(path) = HeaderValue::from_str(path)
        {
            headers.insert(header::LOCATION, path);
        }
        if let Some(wait) = self.wait() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// How long to wait before sending again; none when that can't help.
    fn wait(&self) -> Option<Duration> {
        match (self, self.status()) {
            (Self::TooFast { wait }, _) => Some(*wait),
            (_, StatusCode::SERVICE_UNAVAILABLE) => Some(SOON),
            _ => None,
        }
    }
}

/// RFC 9457, "Problem Details for HTTP APIs".
#[derive(Serialize)]
struct Problem {
    status: u16,
    title: String,
    detail: String,
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let problem = Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: self.to_string(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        self.finish((status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response())
    }
}

/// The same error as a page for people.
#[derive(Debug)]
pub(super) struct PageError {
    /// What happened.
    pub error: WebError,
    /// Shown in the page's head.
    pub site: Site,
    /// Ask the browser's user for a token: any user name, the token as password.
    pub ask: bool,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.error.log();
        // What is not there without a token may be there with one, and nobody learns which.
        let ask = self.ask && matches!(self.error, WebError::NotFound);
        let status = if ask { StatusCode::UNAUTHORIZED } else { self.error.status() };
        let page = ErrorPage { site: self.site, status: status.as_u16(), sentence: self.error.to_string() };
        let html = page.render().unwrap_or_else(|_| "Something went wrong.".to_owned());
        let mut response = self.error.finish((status, axum::response::Html(html)).into_response());
        if ask {
            let challenge = HeaderValue::from_static("Basic realm=\"a token of the repository as password\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        // What is not there for one reader may be there for another.
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Authorization"));
        response
    }
}

/// The same error as OTLP's `Status` message, in the request's own encoding.
#[derive(Debug)]
pub(super) struct OtlpError {
    /// What happened.
    pub error: WebError,
    /// Whether the request was JSON.
    pub json: bool,
}

impl IntoResponse for OtlpError {
    fn into_response(self) -> Response {
        self.error.log();
        let (status, message) = (self.error.status(), self.error.to_string());
        let response = if self.json {
            let body = serde_json::json!({ "message": message }).to_string();
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        } else {
            let body = super::ingest::otlp_http::protobuf_text_field(2, &message);
            (status, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
        };
        self.error.finish(response)
    }
}

/// The same error as a status of gRPC. What sending again can't mend has no code that senders of
/// spans try again; `RESOURCE_EXHAUSTED` always says when.
#[derive(Debug)]
pub(super) struct GrpcError(pub WebError);

impl GrpcError {
    fn code(&self) -> Code {
        match &self.0 {
            WebError::TooFast { .. } => Code::ResourceExhausted,
            // What gRPC answers to a method or a compression it does not know.
            WebError::WrongPort(_) | WebError::UnsupportedEncoding => Code::Unimplemented,
            error => match error.status() {
                StatusCode::UNAUTHORIZED => Code::Unauthenticated,
                StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
                StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
                _ => Code::InvalidArgument,
            },
        }
    }
}

impl IntoResponse for GrpcError {
    fn into_response(self) -> Response {
        self.0.log();
        let details = ErrorDetails::with_retry_info(self.0.wait());
        let mut status = Status::new(self.code(), self.0.to_string());
        if self.0.wait().is_some() {
            status = Status::with_error_details(self.code(), self.0.to_string(), details);
        }
        let response = status.into_http::<Body>();
        if self.code() == Code::Unimplemented {
            super::ingest::grpc::with_encodings(response)
        } else {
            response
        }
    }
}

/// Why a body could not be read: too large, cut off, or not compressed as it says.
pub(super) fn body_error(error: &axum::Error, limit: usize) -> WebError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return WebError::TooLarge { limit_mib: limit >> 20 };
        }
        cause = error.source();
    }
    WebError::BadRequest(format!("the body could not be read: {error}"))
}

/// A handler panicked: the sender gets a status, the log the text.
#[expect(clippy::needless_pass_by_value, reason = "the signature tower-http asks for")]
pub(super) fn panicked(cause: Box<dyn Any + Send>) -> axum::http::Response<Body> {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    WebError::Internal(format!("panic: {text}").into()).into_response()
}
