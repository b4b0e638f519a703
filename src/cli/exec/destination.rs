//! Sends spans to a server by OTLP over HTTP, to a file of OTLP JSON lines, or to both. The time is
//! bounded, and a failure never fails the command.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::answer::{SendError, outcome};
use super::context::percent_decoded;
use super::endpoint::Endpoint;
use crate::cli::input::open_regular;
use crate::tasks::error_chain;
use pacegate_engine::model::span::Span;
use pacegate_ingest::otlp::encode_json;

/// Written when nothing else is configured.
pub(super) const DEFAULT_FILE: &str = "pacegate-traces.jsonl";
/// The variable that names the file, for this command and for commands below it.
pub(super) const FILE_VARIABLE: &str = "PACEGATE_EXEC_FILE";
/// Spans in one request.
const BATCH: usize = 5_000;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A server to send to.
pub(super) struct Server {
    endpoint: Endpoint,
    headers: Vec<(String, SecretString)>,
}

/// Where the spans of this command go.
pub(super) struct Destination {
    pub server: Option<Server>,
    pub file: Option<PathBuf>,
    /// Nothing was configured, so the file is the default one.
    pub by_default: bool,
}

impl Destination {
    /// From flags and the environment. Unusable values become sentences in `warnings`.
    pub(super) fn of(
        output: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let present = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let server = server(&present, warnings);
        let named = output.map(Path::to_owned).or_else(|| present(FILE_VARIABLE).map(PathBuf::from));
        let by_default = server.is_none() && named.is_none();
        let file = if by_default { Some(PathBuf::from(DEFAULT_FILE)) } else { named };
        // A command below may run in another folder.
        let file = file.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { server, file, by_default }
    }

    /// Writes and sends spans. Returns problems as sentences.
    pub(super) async fn record(&self, spans: &[Span], timeout: Duration) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(file) = &self.file
            && let Err(error) = append(file, spans)
        {
            problems.push(format!("the trace could not be written to {}: {error}", file.display()));
        }
        if let Some(server) = &self.server {
            match tokio::time::timeout(timeout, server.send(spans)).await {
                Ok(Ok(remark)) => problems.extend(remark),
                Ok(Err(problem)) => problems.push(problem),
                Err(_) => problems.push(format!(
                    "the trace was not sent: {} did not accept it within {} seconds",
                    server.endpoint,
                    timeout.as_secs_f64()
                )),
            }
        }
        problems
    }
}

fn server(present: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Option<Server> {
    // The first variable that is set counts, even if it is unusable: a trace must not go to another
    // server than the configured one.
    let (name, endpoint) = [
        ("PACEGATE_URL", Endpoint::at_or_below as fn(&str) -> Option<Endpoint>),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Endpoint::of),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", Endpoint::below),
    ]
    .into_iter()
    .find_map(|(name, read)| Some((name, read(&present(name)?))))?;
    let Some(endpoint) = endpoint else {
        // The value may hold a password, so the warning does not repeat it.
        warnings.push(format!("{name} is not the address of a server: write http://HOST:PORT"));
        return None;
    };
    let is_own = name == "PACEGATE_URL";
    let protocol =
        present("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| present("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if !is_own && protocol.is_some_and(|protocol| protocol == "grpc") {
        warnings.push(
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but `pacegate exec` sends OTLP over HTTP: set PACEGATE_URL to \
             the address of Pacegate's main port or of an OTLP/HTTP port (4318)"
                .to_owned(),
        );
    }
    let mut headers: Vec<(String, SecretString)> = Vec::new();
    if is_own {
        let token = present("PACEGATE_TOKEN");
        headers.extend(
            token.map(|token| ("authorization".to_owned(), format!("Bearer {}", token.trim()).into())),
        );
    }
    if !is_own || headers.is_empty() {
        let listed =
            present("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| present("OTEL_EXPORTER_OTLP_HEADERS"));
        for entry in listed.as_deref().unwrap_or_default().split(',').filter(|e| !e.trim().is_empty()) {
            match entry.split_once('=') {
                Some((name, value)) => {
                    headers.push((name.trim().to_ascii_lowercase(), percent_decoded(value.trim()).into()));
                }
                None => warnings.push("OTEL_EXPORTER_OTLP_HEADERS: write NAME=VALUE,NAME=VALUE".to_owned()),
            }
        }
    }
    if endpoint.has_user() && headers.iter().any(|(name, _)| name == "authorization") {
        let instead =
            if is_own && present("PACEGATE_TOKEN").is_some() { "PACEGATE_TOKEN" } else { "the header" };
        warnings
            .push(format!("{name} holds a user: it is sent as Basic authentication instead of {instead}"));
    }
    Some(Server { endpoint, headers })
}

impl Server {
    /// Sends everything. Returns a remark of the server if it made one, or why it failed.
    async fn send(&self, spans: &[Span]) -> Result<Option<String>, String> {
        let client = self.client()?;
        let mut remark = None;
        for batch in spans.chunks(BATCH) {
            let json = encode_json(batch).map_err(|e| format!("the trace could not be written: {e}"))?;
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let body = gzip.write_all(&json).and_then(|()| gzip.finish());
            let body = body.map_err(|e| format!("the trace could not be compressed: {e}"))?;
            let of_batch = self.send_with_retries(&client, body).await?;
            remark = remark.or(of_batch);
        }
        Ok(remark.map(|remark| format!("the trace was sent to {}: {remark}", self.endpoint)))
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let unusable = || format!("the header `{name}` for the trace can't be used: check its value");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| unusable())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        reqwest::Client::builder()
            .default_headers(headers)
            // A redirect would send the token to another address.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pacegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the trace was not sent: {}", error_chain(&e)))
    }

    /// Sends until the server accepts or refuses, at most five times.
    async fn send_with_retries(
        &self,
        client: &reqwest::Client,
        body: Vec<u8>,
    ) -> Result<Option<String>, String> {
        let mut pause = FIRST_PAUSE;
        let mut attempts_left = 5;
        loop {
            attempts_left -= 1;
            match self.try_once(client, body.clone()).await {
                Ok(remark) => return Ok(remark),
                Err(SendError::Temporary(_, hint)) if attempts_left > 0 => {
                    tokio::time::sleep(hint.unwrap_or(pause)).await;
                    pause *= 2;
                }
                Err(SendError::Temporary(reason, _) | SendError::Permanent(reason)) => {
                    return Err(format!("the trace was not recorded by {}: {reason}", self.endpoint));
                }
            }
        }
    }

    async fn try_once(&self, client: &reqwest::Client, body: Vec<u8>) -> Result<Option<String>, SendError> {
        let request = client
            .post(self.endpoint.url())
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(body);
        let answer = request.send().await.map_err(|error| {
            let reason = error_chain(&error.without_url());
            SendError::Temporary(reason, None)
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        outcome(status, &headers, &start_of(answer).await)
    }
}

/// The first 16 KiB of an answer: a server's message is never longer.
async fn start_of(mut answer: reqwest::Response) -> String {
    let mut start = Vec::new();
    while start.len() < 16 << 10 {
        match answer.chunk().await {
            Ok(Some(chunk)) => start.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

/// Appends one line with one write, so that several commands can share a file.
fn append(path: &Path, spans: &[Span]) -> std::io::Result<()> {
    let mut line = encode_json(spans)?;
    line.push(b'\n');
    open_regular(OpenOptions::new().create(true).append(true), path)?.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], output: Option<&str>) -> (Destination, Vec<String>) {
        let found = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let mut warnings = Vec::new();
        let destination = Destination::of(output.map(Path::new), found, &mut warnings);
        (destination, warnings)
    }

    #[test]
    fn own_variables_precede_opentelemetry_and_file() {
        for (variables, url, headers) in [
            (
                &[
                    ("PACEGATE_URL", "http://p:8080/"),
                    ("PACEGATE_TOKEN", "t"),
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other"),
                ][..],
                "http://p:8080/v1/traces",
                "authorization: Bearer t",
            ),
            (
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                    ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x, a=b"),
                ],
                "http://c:4318/v1/traces",
                "authorization: Bearer x, a: b",
            ),
            (
                &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/as/it/is"), ("PACEGATE_TOKEN", "t")],
                "http://c/as/it/is",
                "",
            ),
        ] {
            let (destination, warnings) = of(variables, None);
            let server = destination.server.expect("a server");
            let written: Vec<String> =
                server.headers.iter().map(|(n, v)| format!("{n}: {}", v.expose_secret())).collect();
            assert_eq!((server.endpoint.url().as_str(), written.join(", ").as_str()), (url, headers));
            assert!(destination.file.is_none() && warnings.is_empty());
        }
        let (destination, _) = of(&[("PACEGATE_URL", " ")], None);
        assert!(destination.by_default && destination.file.expect("a file").ends_with(DEFAULT_FILE));
        let (destination, _) = of(&[(FILE_VARIABLE, "a.jsonl")], Some("b.jsonl"));
        let file = destination.file.expect("a file");
        assert!(!destination.by_default && file.is_absolute() && file.ends_with("b.jsonl"));
    }

    #[test]
    fn grpc_protocol_is_a_warning() {
        let (_, warnings) = of(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            None,
        );
        assert!(warnings[0].contains("PACEGATE_URL"), "{warnings:?}");
    }

    #[test]
    fn invalid_address_warns_and_sends_nothing_elsewhere() {
        let (destination, warnings) =
            of(&[("PACEGATE_URL", "me:hunter2@h:80"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other")], None);
        assert!(destination.server.is_none() && destination.by_default);
        assert_eq!(warnings, ["PACEGATE_URL is not the address of a server: write http://HOST:PORT"]);
    }

    #[test]
    fn user_in_address_replaces_token_with_warning() {
        let (destination, warnings) =
            of(&[("PACEGATE_URL", "http://ci:hunter2@h"), ("PACEGATE_TOKEN", "hunter3")], None);
        assert!(destination.server.is_some());
        assert!(warnings[0].contains("instead of PACEGATE_TOKEN"), "{warnings:?}");
        assert!(!warnings[0].contains("hunter"), "{warnings:?}");
    }

    #[tokio::test]
    async fn unreachable_server_is_named_without_secrets() {
        let url = "http://ci:hunter2@127.0.0.1:9?token=hunter3";
        let (destination, _) = of(&[("PACEGATE_URL", url)], None);
        let spans = [super::super::span::tests::span(None, "")];
        let problems = destination.record(&spans, Duration::ZERO).await;
        let server = destination.server.expect("a server");
        let reason = server.try_once(&server.client().expect("a client"), Vec::new()).await;
        let said = format!("{problems:?} {reason:?}");
        assert!(said.contains("http://127.0.0.1:9/v1/traces did not accept it"), "{said}");
        assert!(!said.contains("hunter") && !said.contains("ci:"), "{said}");
    }
}
