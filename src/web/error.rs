//! The only place that turns an error into an answer: a status and one sentence for the client, the
//! whole chain of causes for the log. Internal texts stay in the log.

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

/// `Retry-After` of an overloaded service.
const SOON: Duration = Duration::from_secs(2);

/// Why a request failed. The text of each variant is the answer to the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// Absent, or hidden from this reader.
    #[error("there is nothing here; a private repository's data needs a token of that repository")]
    NotFound,
    /// A malformed parameter or body.
    #[error("{0}")]
    BadRequest(String),
    /// No valid token.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Redirects to this path.
    #[error("this page has moved")]
    Moved(String),
    /// Refused for a valid token too.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Existed earlier.
    #[error("{0}")]
    Gone(&'static str),
    #[error("the body is larger than {limit_mib} MiB, which is the limit after decompression too")]
    TooLarge { limit_mib: usize },
    /// Names the supported types.
    #[error("the content type has to be {0}")]
    UnsupportedMediaType(&'static str),
    #[error("a body may be compressed once, with gzip, deflate or zstd")]
    UnsupportedEncoding,
    #[error("an upload of a job has to be compressed with gzip: send it with `Content-Encoding: gzip`")]
    NotGzip,
    #[error("this address does not support that method; docs/api.md lists the supported ones")]
    WrongMethod,
    /// The purpose of the port.
    #[error("there is nothing here: {0}")]
    WrongPort(&'static str),
    #[error("the service is overloaded; send this again in a moment")]
    Busy,
    #[error(
        "too many traces of this repository wait for their root span; a trace with its root span is still accepted. \
         Does a sender other than a pipeline use this token?"
    )]
    TooManyOpenTraces,
    #[error("the service is near its memory limit (PACEGATE_MEMORY_LIMIT); send this again in a moment")]
    OutOfMemory,
    /// The sender paused too long in the middle of a body.
    #[error("the body stopped arriving; send it again")]
    Stalled,
    #[error("this token pushes faster than PACEGATE_TOKEN_RATE allows; send this again after the wait")]
    TooFast { wait: Duration },
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    #[error(transparent)]
    Oidc(#[from] OidcError),
    #[error("the upload is refused: {0}")]
    Archive(#[from] ArchiveError),
    /// A call to GitHub failed while a client waits for it.
    #[error("{0}")]
    GitHub(#[from] GitHubError),
    /// The file for the App can't be written.
    #[error("{0}")]
    AppFile(#[from] AppFileError),
    #[error("the service can't reach its data right now; try again in a moment")]
    Store(#[from] StoreError),
    /// A defect of Pacegate.
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

    /// How long to wait before a retry; none when a retry can't help.
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

/// The same error as an HTML page.
#[derive(Debug)]
pub(super) struct PageError {
    pub error: WebError,
    pub site: Site,
    /// Makes the browser ask for a token: any user name, the token as password.
    pub ask: bool,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.error.log();
        // A page that is hidden without a token and an absent page have the same answer.
        let ask = self.ask && matches!(self.error, WebError::NotFound);
        let status = if ask { StatusCode::UNAUTHORIZED } else { self.error.status() };
        let page = ErrorPage { site: self.site, status: status.as_u16(), sentence: self.error.to_string() };
        let html = page.render().unwrap_or_else(|_| "Something went wrong.".to_owned());
        let mut response = self.error.finish((status, axum::response::Html(html)).into_response());
        if ask {
            let challenge = HeaderValue::from_static("Basic realm=\"a token of the repository as password\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        // A page can be hidden from one reader and visible to another.
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Authorization"));
        response
    }
}

/// The same error as OTLP's `Status` message, in the request's own encoding.
#[derive(Debug)]
pub(super) struct OtlpError {
    pub error: WebError,
    /// Whether the answer is JSON instead of protobuf.
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
            let body = super::ingest::otlp::protobuf_text_field(2, &message);
            (status, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
        };
        self.error.finish(response)
    }
}

/// The same error as a gRPC status. An error that a retry can't fix has a code after which senders
/// of spans do not retry. `RESOURCE_EXHAUSTED` always comes with a delay.
#[derive(Debug)]
pub(super) struct GrpcError(pub WebError);

impl GrpcError {
    fn code(&self) -> Code {
        match &self.0 {
            WebError::TooFast { .. } => Code::ResourceExhausted,
            // gRPC's code for an unknown method or compression.
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

/// Why a body could not be read: too large, cut off, or wrongly compressed.
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

/// The answer after a panic in a handler. The text of the panic goes to the log only.
#[expect(clippy::needless_pass_by_value, reason = "the signature that tower-http needs")]
pub(super) fn panicked(cause: Box<dyn Any + Send>) -> axum::http::Response<Body> {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    WebError::Internal(format!("panic: {text}").into()).into_response()
}
