//! The operator's template for the address of a trace in a trace viewer. Accepts plain http and https
//! addresses only.

use std::fmt;
use std::str::FromStr;

use super::ids::TraceId;

const PLACEHOLDER: &str = "{trace_id}";

/// A template such as `https://jaeger.example.com/trace/{trace_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLink(String);

impl TraceLink {
    #[must_use]
    pub fn of(&self, trace: TraceId) -> String {
        self.0.replace(PLACEHOLDER, &trace.to_string())
    }
}

impl fmt::Display for TraceLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TraceLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#@&=+%,".contains(&b);
        if host.is_empty() || host.contains(['{', '@']) {
            return Err(format!("`{text}` is not an http or https address without a user name"));
        }
        if !text.contains(PLACEHOLDER) {
            return Err(format!("`{text}` has no place for the trace id: write {PLACEHOLDER} there"));
        }
        if text.len() > 1_000 || !text.replace(PLACEHOLDER, "").bytes().all(is_plain) {
            return Err(format!("`{text}` is too long, or has characters that must be written as %XX"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_becomes_address_or_is_refused() {
        let link: TraceLink =
            "https://jaeger.example.com/trace/{trace_id}?uiFind=x".parse().expect("a template");
        let trace = TraceId::from_bytes(&[0xab; 16]).expect("an id");
        assert_eq!(link.of(trace), format!("https://jaeger.example.com/trace/{}?uiFind=x", "ab".repeat(16)));
        for wrong in [
            "",
            "https://jaeger.example.com/trace/",
            "ftp://x/{trace_id}",
            "javascript:alert({trace_id})",
            "https://{trace_id}/",
            "https://user:pw@x/{trace_id}",
            "https://x/{trace_id})[y",
            "https://x/{trace_id} y",
        ] {
            assert!(TraceLink::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
