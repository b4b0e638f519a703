//! Verification of job tokens against an issuer that listens on loopback: which signatures are
//! accepted, how often the keys are fetched, and what happens while the issuer is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pacegate_clock::Clock;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::oidc::{OidcError, Verifier};
use serde_json::json;

use crate::fake_github::keys;
use crate::fake_github::oidc::{Issuer, signed};
use crate::time::now_seconds;

const AUDIENCE: &str = "https://pacegate.example.com";

/// An issuer and a verifier of its tokens. Tests set the verifier's clock.
struct Fixture {
    issuer: Issuer,
    verifier: Arc<Verifier>,
    ahead_s: Arc<AtomicI64>,
}

impl Fixture {
    async fn new() -> Self {
        let issuer = Issuer::start().await;
        let ahead_s = Arc::new(AtomicI64::new(0));
        let (begin, ahead) = (now_seconds(), Arc::clone(&ahead_s));
        let clock = Clock::from_fn(move || Timestamp((begin + ahead.load(Ordering::SeqCst)) * 1_000_000));
        let verifier = Verifier::new(issuer.url(), Duration::from_secs(10), clock).expect("an address");
        Self { issuer, verifier: Arc::new(verifier), ahead_s }
    }

    fn pass(&self, seconds: i64) {
        self.ahead_s.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A token that is valid at the fixture's present time.
    fn token(&self) -> String {
        let now = now_seconds() + self.ahead_s.load(Ordering::SeqCst);
        self.issuer.mint(AUDIENCE, json!({ "iat": now, "nbf": now - 60, "exp": now + 300 }))
    }

    async fn verify(&self, token: &str) -> Result<(), OidcError> {
        self.verifier.verify(token, AUDIENCE).await.map(|_| ())
    }
}

#[tokio::test]
async fn only_issuer_signatures_are_accepted() {
    let fixture = Fixture::new().await;
    fixture.verify(&fixture.token()).await.expect("a good token");
    let claims = || fixture.issuer.good_claims(AUDIENCE);
    let stranger = signed("key-1", keys::stranger(), claims());
    assert!(matches!(fixture.verify(&stranger).await, Err(OidcError::Signature)));
    let unknown = signed("another key", keys::stranger(), claims());
    assert!(matches!(fixture.verify(&unknown).await, Err(OidcError::UnknownKey { .. })));
    // Key confusion: an HMAC that uses the public key as its secret.
    let header = Header { kid: Some("key-1".to_owned()), ..Header::new(Algorithm::HS256) };
    let secret = EncodingKey::from_secret(fixture.issuer.public_pem().as_bytes());
    let confused = jsonwebtoken::encode(&header, &claims(), &secret).expect("a JWT");
    assert!(matches!(fixture.verify(&confused).await, Err(OidcError::Malformed(_))));
    let good = fixture.token();
    let (start, signature) = good.rsplit_once('.').expect("a signature");
    let (header, _) = start.split_once('.').expect("a header");
    let other_claims = signed("key-1", keys::stranger(), claims());
    let other_claims = other_claims.split('.').nth(1).expect("claims");
    for forged in
        [format!("{header}.{other_claims}.{signature}"), format!("{start}."), start.to_owned() + ".AAAA"]
    {
        assert!(matches!(fixture.verify(&forged).await, Err(OidcError::Signature)), "{forged}");
    }
    assert_eq!(fixture.issuer.jwks_fetches(), 1);
}

#[tokio::test]
async fn unknown_key_names_refetch_keys_once_a_minute() {
    let fixture = Fixture::new().await;
    let made_up =
        |n: usize| signed(&format!("made up {n}"), keys::stranger(), fixture.issuer.good_claims(AUDIENCE));
    // No key is known yet, so all requests share one fetch.
    let all = (0..20).map(|n| {
        let (verifier, token) = (Arc::clone(&fixture.verifier), made_up(n));
        tokio::spawn(async move { verifier.verify(&token, AUDIENCE).await.map(|_| ()) })
    });
    for one in all.collect::<Vec<_>>() {
        assert!(one.await.expect("no panic").is_err());
    }
    assert_eq!(fixture.issuer.jwks_fetches(), 1);
    fixture.issuer.rotate();
    let old_and_new = (fixture.verify(&made_up(21)).await, fixture.verify(&fixture.token()).await);
    assert!(matches!(old_and_new, (Err(OidcError::UnknownKey { .. }), Err(OidcError::UnknownKey { .. }))));
    assert_eq!(fixture.issuer.jwks_fetches(), 1, "a minute has not passed");
    fixture.pass(60);
    fixture.verify(&fixture.token()).await.expect("the new key is known now");
    assert!(fixture.verify(&made_up(22)).await.is_err());
    assert_eq!(fixture.issuer.jwks_fetches(), 2);
}

#[tokio::test]
async fn requests_before_first_key_share_one_fetch() {
    let fixture = Fixture::new().await;
    let all = (0..20).map(|_| {
        let (verifier, token) = (Arc::clone(&fixture.verifier), fixture.token());
        tokio::spawn(async move { verifier.verify(&token, AUDIENCE).await.map(|_| ()) })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.expect("no panic").expect("a good token");
    }
    assert_eq!(fixture.issuer.jwks_fetches(), 1);
}

#[tokio::test]
async fn known_keys_outlive_issuer_outage_for_a_day() {
    let fixture = Fixture::new().await;
    fixture.issuer.set_down(true);
    assert!(matches!(fixture.verify(&fixture.token()).await, Err(OidcError::Unavailable { .. })));
    assert!(matches!(fixture.verify(&fixture.token()).await, Err(OidcError::Unavailable { .. })));
    assert_eq!(fixture.issuer.jwks_fetches(), 1, "an issuer that failed is not asked again at once");
    fixture.issuer.set_down(false);
    fixture.pass(5);
    fixture.verify(&fixture.token()).await.expect("the issuer answers again");
    fixture.issuer.set_down(true);
    for (hours, fetches) in [(2, 3), (20, 4)] {
        fixture.pass(hours * 3_600);
        fixture.verify(&fixture.token()).await.expect("the key that is known");
        assert_eq!(fixture.issuer.jwks_fetches(), fetches, "after {hours} hours");
    }
    fixture.pass(3 * 3_600);
    assert!(matches!(fixture.verify(&fixture.token()).await, Err(OidcError::Unavailable { .. })));
    fixture.issuer.set_down(false);
    fixture.pass(5);
    fixture.verify(&fixture.token()).await.expect("the issuer answers again");
}

#[test]
fn issuer_must_use_https_or_loopback() {
    let made = |issuer: &str| Verifier::new(issuer, Duration::from_secs(1), Clock::system()).map(|_| ());
    for good in [
        "https://token.actions.example.com/acme/",
        "http://127.0.0.1:4000",
        "http://[::1]:80",
        "http://localhost",
    ] {
        assert!(made(good).is_ok(), "{good}");
    }
    for wrong in [
        "http://example.com",
        "ftp://127.0.0.1",
        "example.com",
        "",
        "https://a:b@example.com",
        "https://x?y",
        "file:///etc",
    ] {
        assert!(matches!(made(wrong), Err(OidcError::Configuration(_))), "{wrong}");
    }
}
