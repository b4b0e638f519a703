//! GitHub's record of the deliveries it sent us, and requests to send one again. GitHub keeps this
//! record for some days and never retries a delivery on its own.

use serde::Deserialize;

use super::GitHubError;
use super::app_auth::App;

/// One attempt of GitHub to deliver an event.
#[derive(Debug, Clone, Deserialize)]
pub struct SentDelivery {
    /// Identifies this attempt.
    pub id: i64,
    /// Identifies the delivery. A redelivery keeps it.
    pub guid: String,
    /// RFC 3339.
    pub delivered_at: String,
    /// The status that we answered with. Without an answer: 0 or a status of GitHub's own.
    pub status_code: i64,
}

impl SentDelivery {
    /// Whether GitHub got a success from us.
    #[must_use]
    pub fn arrived(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// One page of delivery attempts.
#[derive(Debug, Clone)]
pub struct SentDeliveries {
    /// Newest first.
    pub deliveries: Vec<SentDelivery>,
    /// Cursor of the next page; none on the last.
    pub next: Option<String>,
}

impl App {
    /// One page of delivery attempts, newest first. `cursor` is from the page before.
    pub async fn sent_deliveries(&self, cursor: Option<&str>) -> Result<SentDeliveries, GitHubError> {
        let mut route = "/app/hook/deliveries?per_page=100".to_owned();
        if let Some(cursor) = cursor {
            route = format!("{route}&cursor={cursor}");
        }
        let answer = self.app_transport()?.get_with_headers(&route).await?;
        let link = answer.headers.get(http::header::LINK).and_then(|link| link.to_str().ok());
        Ok(SentDeliveries { deliveries: answer.value, next: link.and_then(next_cursor) })
    }

    /// Asks GitHub to send a delivery again. It arrives like any other, with its original guid.
    pub async fn redeliver(&self, id: i64) -> Result<(), GitHubError> {
        self.app_transport()?.post_nothing(&format!("/app/hook/deliveries/{id}/attempts")).await
    }
}

/// The cursor of the next page. The link is an absolute address, and behind a proxy it may have
/// another host. So only its cursor is used, and only if it needs no encoding in a query.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = next.split('<').nth(1)?.split('>').next()?;
    let cursor = address.split(['?', '&']).find_map(|pair| pair.strip_prefix("cursor="))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%=+".contains(&byte);
    (!cursor.is_empty() && cursor.len() <= 500 && cursor.bytes().all(is_plain)).then(|| cursor.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_cursor_takes_only_the_cursor() {
        let link =
            |parameters: &str, rel: &str| format!("<https://evil.example/x?{parameters}>; rel=\"{rel}\"");
        for (given, wanted) in [
            (link("per_page=100&cursor=v1_17323292984", "next"), Some("v1_17323292984")),
            (format!("{}, {}", link("cursor=a", "prev"), link("cursor=b&per_page=1", "next")), Some("b")),
            (link("cursor=a", "prev"), None),
            (link("cursor=", "next"), None),
            (link("page=2", "next"), None),
            (link("cursor=a b", "next"), None),
            ("nonsense".to_owned(), None),
        ] {
            assert_eq!(next_cursor(&given).as_deref(), wanted, "{given}");
        }
    }
}
