//! What GitHub keeps elsewhere and hands out by a signed address: fetched without any token, over
//! https alone, through few redirects, and no more bytes than are asked for.

use std::time::Duration;

use reqwest::Url;

use super::GitHubError;

/// Answers that lead elsewhere, one after the other.
const REDIRECTS: usize = 3;
/// For so many bytes as an artifact has, on a slow line.
const PATIENCE: u32 = 4;

/// Why an artifact's bytes are not there.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// GitHub could not, or has it no more.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// More than is taken.
    #[error("it is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// Not what GitHub says was uploaded.
    #[error("its SHA-256 is not the one that GitHub tells")]
    Altered,
    /// GitHub's answer leads where nothing is fetched from.
    #[error("it leads to an address that nothing is fetched from: {0}")]
    Elsewhere(&'static str),
}

/// Fetches from signed addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    client: reqwest::Client,
    /// The API itself is on this machine, without TLS: a test, or a tunnel.
    is_local: bool,
}

impl Blobs {
    pub(super) fn new(api_url: &str, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout * PATIENCE)
            .build()?;
        let is_local = Url::parse(api_url).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url));
        Ok(Self { client, is_local })
    }

    /// The bytes at an address, at most `limit`. `call` names them in errors, where the signed
    /// address never is.
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
                let next = next.ok_or(DownloadError::Elsewhere("a redirect names no address"))?;
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
        Err(DownloadError::Elsewhere("it is redirected again and again"))
    }

    fn allowed(&self, address: &str) -> Result<Url, DownloadError> {
        let url = Url::parse(address).map_err(|_| DownloadError::Elsewhere("it is no address"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.is_local && is_loopback(&url) => Ok(url),
            _ => Err(DownloadError::Elsewhere("it is not https")),
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
    fn https_is_asked_and_plain_http_on_this_machine_alone() {
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
