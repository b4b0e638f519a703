//! The endpoint that spans are forwarded to: an address and headers from the configuration. No
//! sender can change them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// An endpoint for OTLP over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct ForwardTarget {
    pub url: Url,
    /// Every value is marked as sensitive.
    pub headers: HeaderMap,
}

impl ForwardTarget {
    /// Reads an address and headers. An address without a path gets `/v1/traces`. Headers have the
    /// form of `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`. The error is a sentence
    /// without any header's value.
    pub(crate) fn new(url: &str, headers: Option<&SecretString>) -> Result<Self, String> {
        let mut url: Url =
            url.trim().parse().map_err(|e| format!("PACEGATE_FORWARD_URL is not an address: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("PACEGATE_FORWARD_URL has to begin with http:// or https:// and a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "PACEGATE_FORWARD_URL holds a user: write it into PACEGATE_FORWARD_HEADERS".to_owned()
            );
        }
        if matches!(url.path(), "" | "/") {
            url.set_path("/v1/traces");
        }
        Ok(Self { url, headers: read_headers(headers)? })
    }
}

fn read_headers(written: Option<&SecretString>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let pairs = written.map(ExposeSecret::expose_secret).unwrap_or_default().split(',');
    for (n, pair) in pairs.map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
        let wrong = |what: &str| format!("PACEGATE_FORWARD_HEADERS, header {}: {what}", n + 1);
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("write NAME=VALUE"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong("this is not a header's name"))?;
        let value = percent_decoded(value.trim())
            .ok_or_else(|| wrong("its value has a % without two hexadecimal digits"))?;
        let mut value =
            HeaderValue::from_bytes(&value).map_err(|_| wrong("a header's value can't hold this"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit()?, digit()?);
        decoded.push(high << 4 | low);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_headers_follow_otlp_exporters() {
        let headers = SecretString::from("authorization=Basic%20YTpi, x-scope-orgid=7 ,");
        let target = ForwardTarget::new("http://tempo:4318", Some(&headers)).expect("a target");
        assert_eq!(target.url.as_str(), "http://tempo:4318/v1/traces");
        assert_eq!(
            (&target.headers["authorization"], target.headers.len()),
            (&"Basic YTpi".parse().expect("a value"), 2)
        );
        assert!(!format!("{target:?}").contains("YTpi"));
        let path = ForwardTarget::new("https://otlp.example.com/otlp/v1/traces", None).expect("a target");
        assert_eq!(path.url.path(), "/otlp/v1/traces");
        for (url, headers, part) in [
            ("tempo:4318", "", "http://"),
            ("tempo", "", "not an address"),
            ("http://u:p@tempo", "", "holds a user"),
            ("http://tempo", "a=b,hunter2", "header 2: write NAME=VALUE"),
            ("http://tempo", "a b=c", "not a header's name"),
            ("http://tempo", "a=%4", "a % without"),
            ("http://tempo", "a=x%0ay", "can't hold this"),
        ] {
            let wrong = ForwardTarget::new(url, Some(&headers.into())).map(|_| ()).expect_err(url);
            assert!(wrong.contains(part) && !wrong.contains("hunter2"), "{wrong}");
        }
    }
}
