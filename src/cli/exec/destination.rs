//! Where spans go: a server that speaks OTLP over HTTP, a file of OTLP JSON lines, or both.
//! Short of patience, and never a reason for the command to fail.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};

use super::context::percent_decoded;
use crate::ingest::otlp::encode_json;
use crate::jobs::error_chain;
use crate::model::span::Span;

/// Written when nothing else is configured.
pub const DEFAULT_FILE: &str = "pacegate-traces.jsonl";
/// The variable that names the file, for us and for what runs below.
pub const FILE_VARIABLE: &str = "PACEGATE_EXEC_FILE";
/// Spans in one request.
const BATCH: usize = 5_000;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A server to send to.
pub struct Server {
    url: String,
    headers: Vec<(String, SecretString)>,
}

/// Where the spans of this command go.
pub struct Destination {
    pub server: Option<Server>,
    pub file: Option<PathBuf>,
    /// Nothing was configured, and the file is our own choice.
    pub by_default: bool,
}

impl Destination {
    /// From flags and the environment; sentences about what can't be used go to `warnings`.
    pub fn of(
        output: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let there = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let server = server(&there, warnings);
        let named = output.map(Path::to_owned).or_else(|| there(FILE_VARIABLE).map(PathBuf::from));
        let by_default = server.is_none() && named.is_none();
        let file = if by_default { Some(PathBuf::from(DEFAULT_FILE)) } else { named };
        // A command below may work in another folder.
        let file = file.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { server, file, by_default }
    }

    /// Records spans everywhere; what went wrong comes back as sentences.
    pub async fn record(&self, spans: &[Span], patience: Duration) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(file) = &self.file
            && let Err(error) = append(file, spans)
        {
            problems.push(format!("the trace could not be written to {}: {error}", file.display()));
        }
        if let Some(server) = &self.server {
            match tokio::time::timeout(patience, server.send(spans)).await {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => problems.push(problem),
                Err(_) => problems.push(format!(
                    "the trace was not sent: {} did not take it within {} seconds",
                    server.url,
                    patience.as_secs_f64()
                )),
            }
        }
        problems
    }
}

fn server(there: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Option<Server> {
    let below = |base: &str| format!("{}/v1/traces", base.trim().trim_end_matches('/'));
    let own = there("PACEGATE_URL").map(|base| below(&base));
    let is_own = own.is_some();
    let url = own
        .or_else(|| there("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(|url| url.trim().to_owned()))
        .or_else(|| there("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)))?;
    let speaks = there("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| there("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if !is_own && speaks.is_some_and(|protocol| protocol == "grpc") {
        warnings.push(
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but `pacegate exec` sends OTLP over HTTP: set PACEGATE_URL to \
             the address of Pacegate's main port or of an OTLP/HTTP port (4318)"
                .to_owned(),
        );
    }
    let mut headers: Vec<(String, SecretString)> = Vec::new();
    if is_own {
        let token = there("PACEGATE_TOKEN");
        headers.extend(
            token.map(|token| ("authorization".to_owned(), format!("Bearer {}", token.trim()).into())),
        );
    }
    if !is_own || headers.is_empty() {
        let listed =
            there("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| there("OTEL_EXPORTER_OTLP_HEADERS"));
        for entry in listed.as_deref().unwrap_or_default().split(',').filter(|e| !e.trim().is_empty()) {
            match entry.split_once('=') {
                Some((name, value)) => {
                    headers.push((name.trim().to_ascii_lowercase(), percent_decoded(value.trim()).into()));
                }
                None => warnings.push("OTEL_EXPORTER_OTLP_HEADERS: write NAME=VALUE,NAME=VALUE".to_owned()),
            }
        }
    }
    Some(Server { url, headers })
}

/// Why an attempt did not succeed.
enum Failed {
    /// Another attempt may, after this long if the server said so.
    ForNow(String, Option<Duration>),
    /// No further attempt will.
    ForGood(String),
}

impl Server {
    async fn send(&self, spans: &[Span]) -> Result<(), String> {
        let client = self.client()?;
        for batch in spans.chunks(BATCH) {
            let json = encode_json(batch).map_err(|e| format!("the trace could not be written: {e}"))?;
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let body = gzip.write_all(&json).and_then(|()| gzip.finish());
            let body = body.map_err(|e| format!("the trace could not be compressed: {e}"))?;
            self.send_until_taken(&client, body).await?;
        }
        Ok(())
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
            // A token is for the address it was given for.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pacegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the trace was not sent: {}", error_chain(&e)))
    }

    /// Tries until it is taken, refused for good, or the caller's patience ends.
    async fn send_until_taken(&self, client: &reqwest::Client, body: Vec<u8>) -> Result<(), String> {
        let mut pause = FIRST_PAUSE;
        let mut attempts_left = 5;
        loop {
            attempts_left -= 1;
            match self.try_once(client, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(Failed::ForNow(_, hint)) if attempts_left > 0 => {
                    tokio::time::sleep(hint.unwrap_or(pause)).await;
                    pause *= 2;
                }
                Err(Failed::ForNow(reason, _) | Failed::ForGood(reason)) => {
                    return Err(format!("the trace was not recorded by {}: {reason}", self.url));
                }
            }
        }
    }

    async fn try_once(&self, client: &reqwest::Client, body: Vec<u8>) -> Result<(), Failed> {
        let request = client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(body);
        let answer = request.send().await.map_err(|error| {
            let reason = error_chain(&error.without_url());
            Failed::ForNow(reason, None)
        })?;
        let status = answer.status();
        let hint = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let text = start_of(answer).await;
        if status.is_success() {
            let rejected = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|answer| answer["partialSuccess"]["errorMessage"].as_str().map(str::to_owned));
            return rejected.filter(|r| !r.is_empty()).map_or(Ok(()), |reason| Err(Failed::ForGood(reason)));
        }
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; check PACEGATE_TOKEN (`pacegate token create --repo OWNER/NAME` makes one)"
            }
            StatusCode::NOT_FOUND => "; check the address in PACEGATE_URL or OTEL_EXPORTER_OTLP_ENDPOINT",
            _ => "",
        };
        let text: String = text.chars().take(300).collect();
        let reason = format!("it answered {status}{advice} {text}").trim_end().to_owned();
        match status.as_u16() {
            429 | 502 | 503 | 504 => Err(Failed::ForNow(reason, hint)),
            _ => Err(Failed::ForGood(reason)),
        }
    }
}

/// The first part of an answer: a server's words are never more than a sentence.
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
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&line)
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
    fn our_own_variables_go_before_opentelemetry_s_and_a_file_is_the_last_resort() {
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
            assert_eq!((server.url.as_str(), written.join(", ").as_str()), (url, headers));
            assert!(destination.file.is_none() && warnings.is_empty());
        }
        let (destination, _) = of(&[("PACEGATE_URL", " ")], None);
        assert!(destination.by_default && destination.file.expect("a file").ends_with(DEFAULT_FILE));
        let (destination, _) = of(&[(FILE_VARIABLE, "a.jsonl")], Some("b.jsonl"));
        let file = destination.file.expect("a file");
        assert!(!destination.by_default && file.is_absolute() && file.ends_with("b.jsonl"));
    }

    #[test]
    fn a_protocol_that_is_not_spoken_is_said() {
        let (_, warnings) = of(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            None,
        );
        assert!(warnings[0].contains("PACEGATE_URL"), "{warnings:?}");
    }
}
