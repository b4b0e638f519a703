//! Where spans are forwarded to, as the operator writes it: an address and headers. Nothing a sender
//! says gets here.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// An endpoint that takes OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct ForwardTarget {
    /// Where to.
    pub url: Url,
    /// With these; every value is marked as a secret.
    pub headers: HeaderMap,
}

impl ForwardTarget {
    /// Reads the address, to which `/v1/traces` is added when it has no path, and the headers, written
    /// `name=value,name=value` as in `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without any header's value.
    pub fn new(url: &str, headers: Option<&SecretString>) -> Result<Self, String> {
        let mut url: Url =
            url.trim().parse().map_err(|e| format!("PACEGATE_FORWARD_URL is not an address: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("PACEGATE_FORWARD_URL has to begin with http:// or https:// and a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("PACEGATE_FORWARD_URL holds a user: say it in PACEGATE_FORWARD_HEADERS".to_owned());
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
        let value = percent_decoded(value.trim()).ok_or_else(|| wrong("a %XX of its value is not one"))?;
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
    fn an_address_and_headers_are_read_as_exporters_do() {
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
            ("http://tempo", "a=%4", "%XX"),
            ("http://tempo", "a=x%0ay", "can't hold this"),
        ] {
            let wrong = ForwardTarget::new(url, Some(&headers.into())).map(|_| ()).expect_err(url);
            assert!(wrong.contains(part) && !wrong.contains("hunter2"), "{wrong}");
        }
    }
}
