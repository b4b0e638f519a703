//! Downloads from signed addresses outside GitHub's API. Sends no token, uses https, follows few
//! redirects, and reads no more bytes than the caller allows.

use std::time::Duration;

use reqwest::Url;

use super::GitHubError;

/// Redirects that are followed at most.
const REDIRECTS: usize = 3;
/// A download may take this many times as long as an API call: artifacts are large, and lines may be
/// slow.
const TIMEOUT_FACTOR: u32 = 4;

/// Why an artifact could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error("it is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    #[error("its SHA-256 differs from the digest that GitHub reports")]
    Altered,
    /// The address or a redirect is not allowed.
    #[error("its download address is refused: {0}")]
    RefusedAddress(&'static str),
}

/// Downloads from signed addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    client: reqwest::Client,
    /// The API is on this machine, without TLS: a test or a tunnel. Then downloads may be, too.
    is_local: bool,
}

impl Blobs {
    pub(super) fn new(api_url: &str, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout * TIMEOUT_FACTOR)
            .build()?;
        let is_local = Url::parse(api_url).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url));
        Ok(Self { client, is_local })
    }

    /// Downloads at most `limit` bytes. Errors name the download by `call` and never contain the
    /// signed address.
    pub(super) async fn fetch(
        &self,
        call: &str,
        address: String,
        limit: usize,
    ) -> Result<Vec<u8>, DownloadError> {
        let unavailable = |reason: String| {
            DownloadError::GitHub(GitHubError::Unavailable { call: call.to_owned(), reason })
        };
        let broken = |error: reqwest::Error| unavailable(error.without_url().to_string());
        let mut url = self.allowed(&address)?;
        for _ in 0..=REDIRECTS {
            let mut answer = self.client.get(url.clone()).send().await.map_err(broken)?;
            let status = answer.status();
            if status.is_redirection() {
                let next = answer.headers().get(http::header::LOCATION).and_then(|next| next.to_str().ok());
                let next = next.and_then(|next| url.join(next).ok());
                let next = next.ok_or(DownloadError::RefusedAddress("a redirect has no valid address"))?;
                url = self.allowed(next.as_str())?;
                continue;
            }
            match status.as_u16() {
                200 => {}
                404 | 410 => return Err(GitHubError::NotFound { call: call.to_owned() }.into()),
                _ => return Err(unavailable(status.to_string())),
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(broken)? {
                if bytes.len() + chunk.len() > limit {
                    return Err(DownloadError::TooLarge { limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            return Ok(bytes);
        }
        Err(DownloadError::RefusedAddress("it has too many redirects"))
    }

    fn allowed(&self, address: &str) -> Result<Url, DownloadError> {
        let url =
            Url::parse(address).map_err(|_| DownloadError::RefusedAddress("it is not an absolute URL"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.is_local && is_loopback(&url) => Ok(url),
            _ => Err(DownloadError::RefusedAddress("it is not https")),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_local_http_are_allowed() {
        let of = |api: &str| Blobs::new(api, Duration::from_secs(1)).expect("a client");
        let (github, local) = (of("https://api.github.com"), of("http://127.0.0.1:7"));
        for (address, of_github, of_local) in [
            ("https://blobs.example/1?sig=x", true, true),
            ("http://127.0.0.1:8/1", false, true),
            ("http://[::1]:8/1", false, true),
            ("http://localhost.evil.example/1", false, false),
            ("http://169.254.169.254/latest", false, false),
            ("file:///etc/passwd", false, false),
            ("/relative", false, false),
        ] {
            let allowed = (github.allowed(address).is_ok(), local.allowed(address).is_ok());
            assert_eq!(allowed, (of_github, of_local), "{address}");
        }
    }
}
