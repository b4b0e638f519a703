//! The address that spans are sent to. It is read from a variable and shown without its secrets.
//! Opens no connection.

use std::fmt;

use reqwest::Url;

const PATH: [&str; 2] = ["v1", "traces"];

/// An address with `http` or `https` and a host. Not `Debug`: it may hold a password.
pub(super) struct Endpoint(Url);

impl Endpoint {
    /// The address as written; none if it is invalid.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut url: Url = text.trim().parse().ok()?;
        url.set_fragment(None);
        (matches!(url.scheme(), "http" | "https") && url.host_str().is_some()).then_some(Self(url))
    }

    /// `v1/traces` below the address, before its query.
    pub(super) fn below(text: &str) -> Option<Self> {
        let Self(mut url) = Self::of(text)?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(PATH);
        Some(Self(url))
    }

    /// The same, unless the address ends with `/v1/traces` already.
    pub(super) fn at_or_below(text: &str) -> Option<Self> {
        let written = Self::of(text)?;
        let path = written.0.path().trim_end_matches('/');
        if path.ends_with(&format!("/{}", PATH.join("/"))) { Some(written) } else { Self::below(text) }
    }

    /// Whether it holds a user or a password, which are sent as Basic authentication.
    pub(super) fn has_user(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }

    /// The complete address, with its secrets.
    pub(super) fn url(&self) -> Url {
        self.0.clone()
    }
}

/// Scheme, host, port and path. User, password and query never reach a log.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_precedes_query_and_secrets_are_hidden() {
        for (text, sent_to, shown) in [
            (
                "http://ci:hunter2@h:9?token=ghp_0",
                "http://ci:hunter2@h:9/v1/traces?token=ghp_0",
                "http://h:9/v1/traces",
            ),
            (" https://h/base/#part ", "https://h/base/v1/traces", "https://h/base/v1/traces"),
            ("http://[::1]:80/v1/traces?a=b", "http://[::1]/v1/traces?a=b", "http://[::1]/v1/traces"),
            ("http://h/x/v1/traces/", "http://h/x/v1/traces/", "http://h/x/v1/traces/"),
            ("http://h/xv1/traces", "http://h/xv1/traces/v1/traces", "http://h/xv1/traces/v1/traces"),
        ] {
            let endpoint = Endpoint::at_or_below(text).expect("an address");
            assert_eq!((endpoint.url().as_str(), endpoint.to_string().as_str()), (sent_to, shown));
            assert_eq!(endpoint.has_user(), text.contains("hunter2"));
        }
        let of_standard_variable = Endpoint::below("http://h/v1/traces").expect("an address");
        assert_eq!(of_standard_variable.to_string(), "http://h/v1/traces/v1/traces");
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in ["127.0.0.1:28080", "localhost:8080", "no address", "ftp://h", "", "http://"] {
            assert!(Endpoint::at_or_below(text).is_none(), "{text}");
        }
    }
}
