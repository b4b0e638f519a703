//! What GitHub says became of the deliveries it sent us, and asking it to send one again. It
//! keeps them for some days and sends none again by itself.

use serde::Deserialize;

use super::GitHubError;
use super::app_auth::App;

/// One attempt of GitHub's at a delivery.
#[derive(Debug, Clone, Deserialize)]
pub struct SentDelivery {
    /// The attempt's number.
    pub id: i64,
    /// The delivery's identifier: a redelivery keeps it.
    pub guid: String,
    /// When, RFC 3339.
    pub delivered_at: String,
    /// The status we answered with; 0 or one of GitHub's own when it heard none.
    pub status_code: i64,
}

impl SentDelivery {
    /// Whether GitHub heard that it arrived.
    #[must_use]
    pub fn arrived(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// A page of them, newest first.
#[derive(Debug, Clone)]
pub struct SentDeliveries {
    /// The page.
    pub deliveries: Vec<SentDelivery>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

impl App {
    /// A page of GitHub's attempts to deliver to us, newest first; `cursor` is from the page
    /// before.
    pub async fn sent_deliveries(&self, cursor: Option<&str>) -> Result<SentDeliveries, GitHubError> {
        let mut route = "/app/hook/deliveries?per_page=100".to_owned();
        if let Some(cursor) = cursor {
            route = format!("{route}&cursor={cursor}");
        }
        let answer = self.as_itself()?.get_with_headers(&route).await?;
        let link = answer.headers.get(http::header::LINK).and_then(|link| link.to_str().ok());
        Ok(SentDeliveries { deliveries: answer.value, next: link.and_then(next_cursor) })
    }

    /// Asks GitHub to send a delivery again; it comes as any delivery does, with its own guid.
    pub async fn redeliver(&self, id: i64) -> Result<(), GitHubError> {
        self.as_itself()?.post_nothing(&format!("/app/hook/deliveries/{id}/attempts")).await
    }
}

/// The cursor of the next page. The link is an absolute address, maybe of another host behind a
/// proxy: only its one parameter is taken, and only if it can stand in a query as it is.
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
    fn the_next_page_s_cursor_is_all_that_is_taken_of_a_link() {
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
