//! Interprets a server's answer to spans: accepted, accepted with a remark, refused for now, or
//! refused for good. Sends nothing.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use pacegate_ingest::redact::redacted;

/// Why an attempt did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// A retry may succeed, after the delay that the server asked for, if any.
    Temporary(String, Option<Duration>),
    /// A retry can't succeed.
    Permanent(String),
}

/// The remark of a server that accepted everything, if it made one.
pub(super) fn outcome(
    status: StatusCode,
    headers: &HeaderMap,
    text: &str,
) -> Result<Option<String>, SendError> {
    let is_page = is_page(headers);
    if status.is_success() && !is_page {
        return partial_success(text);
    }
    let is_temporary = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; check PACEGATE_TOKEN (`pacegate token create --repo OWNER/NAME` creates one)"
        }
        StatusCode::NOT_FOUND => "; check the address in PACEGATE_URL or OTEL_EXPORTER_OTLP_ENDPOINT",
        _ => "",
    };
    let reason = if is_page {
        format!("it answered {status} with a web page: the address may be wrong{advice}")
    } else {
        // A server may repeat the request, and others read the log.
        let text = redacted(text.chars().take(300).collect());
        format!("it answered {status}{advice} {text}").trim_end().to_owned()
    };
    Err(if is_temporary {
        SendError::Temporary(reason, retry_after(headers))
    } else {
        SendError::Permanent(reason)
    })
}

/// A partial success without rejected spans is a remark.
fn partial_success(text: &str) -> Result<Option<String>, SendError> {
    let answer = serde_json::from_str::<Value>(text).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let Some(message) = partial["errorMessage"].as_str().filter(|message| !message.is_empty()) else {
        return Ok(None);
    };
    let message = redacted(message.chars().take(1_000).collect());
    let rejected = &partial["rejectedSpans"];
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0);
    if rejected == 0 { Ok(Some(remark(&message))) } else { Err(SendError::Permanent(message)) }
}

/// Shortens Pacegate's own remark about a run that can't be measured.
fn remark(message: &str) -> String {
    match message.strip_prefix("accepted, but ") {
        Some(why) => {
            let why = why.strip_suffix(": without it the run can't be measured").unwrap_or(why);
            format!("accepted, but can't be measured: {why}")
        }
        None => format!("accepted, with a remark: {message}"),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "text/html" | "application/xhtml+xml")
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "accepted, but no span names the commit (resource attribute vcs.ref.head.revision): \
                          without it the run can't be measured";

    #[test]
    fn answers_are_classified() {
        let partial = |rejected: &str, message: &str| {
            format!(r#"{{"partialSuccess":{{"rejectedSpans":{rejected},"errorMessage":"{message}"}}}}"#)
        };
        let good = |text: &str| Err(SendError::Permanent(text.to_owned()));
        let page = "<html>Sign in</html>";
        for (status, kind, text, expected) in [
            (200, "application/json", "{}".to_owned(), Ok(None)),
            (200, "application/x-protobuf", String::new(), Ok(None)),
            (
                200,
                "application/json",
                partial("\"0\"", COMMIT),
                Ok(Some(
                    "accepted, but can't be measured: no span names the commit (resource attribute \
                     vcs.ref.head.revision)"
                        .to_owned(),
                )),
            ),
            (200, "application/json", partial("0", "slow"), Ok(Some("accepted, with a remark: slow".into()))),
            (200, "application/json", partial("\"2\"", "bad ids"), good("bad ids")),
            (400, "text/plain", "no spans".to_owned(), good("it answered 400 Bad Request no spans")),
            (
                200,
                "text/html; charset=utf-8",
                page.to_owned(),
                good("it answered 200 OK with a web page: the address may be wrong"),
            ),
            (
                405,
                "Text/HTML",
                page.to_owned(),
                good("it answered 405 Method Not Allowed with a web page: the address may be wrong"),
            ),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().expect("a value"))]);
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(outcome(status, &headers, &text), expected, "{status} {kind} {text}");
        }
    }

    #[test]
    fn retry_follows_delay_of_busy_server() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "3".parse().expect("a value"))]);
        let reason = "it answered 503 Service Unavailable".to_owned();
        let expected = Err(SendError::Temporary(reason, Some(Duration::from_secs(3))));
        assert_eq!(outcome(StatusCode::SERVICE_UNAVAILABLE, &headers, ""), expected);
    }
}
