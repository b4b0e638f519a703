//! The public keys of an issuer: fetched when needed, kept, and looked up by identifier. A stranger can
//! invent identifiers; the issuer is still asked at most once a minute. Lookups of a known key never
//! wait for a fetch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use reqwest::{Url, redirect};
use serde::Deserialize;

use super::{KEY_ID_BYTES, OidcError};
use crate::answer::chain;
use pacegate_clock::Clock;
use pacegate_engine::model::time::Timestamp;

/// Keys of this age are fetched again.
const FRESH: Duration = Duration::from_hours(1);
/// Keys of this age are no longer used: the issuer may have withdrawn one.
const USABLE: Duration = Duration::from_hours(24);
/// Least time from a fetch to the next.
const SPACING: Duration = Duration::from_mins(1);
/// The same after a failed fetch.
const SPACING_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Largest set of keys that is read, bytes.
const SET_BYTES: usize = 256 << 10;
/// Keys that are kept at most.
const KEYS: usize = 64;
/// Accepted lengths of a modulus, bytes: 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys by identifier (`kid`).
type KeySet = HashMap<String, DecodingKey>;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    url: Url,
    client: reqwest::Client,
    clock: Clock,
    known: Mutex<Known>,
    /// Held during a fetch.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Arc<KeySet>,
    fetched_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    /// Why the last fetch failed.
    failure: Option<String>,
}

/// Result of a lookup.
enum Lookup {
    Fresh(DecodingKey),
    Stale(DecodingKey),
    Missing,
}

/// The document that an issuer publishes.
#[derive(Deserialize)]
struct Published {
    keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kty: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.url)
    }
}

impl Keys {
    pub(super) fn new(issuer: &str, timeout: Duration, clock: Clock) -> Result<Self, OidcError> {
        let url = address_of_keys(issuer)?;
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .user_agent("pacegate")
            .build()
            .map_err(|e| OidcError::Configuration(e.to_string()))?;
        let (known, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { issuer: issuer.to_owned(), url, client, clock, known, fetching })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key with this identifier.
    pub(super) async fn key(&self, kid: &str) -> Result<DecodingKey, OidcError> {
        match self.find(kid) {
            Lookup::Fresh(key) => Ok(key),
            Lookup::Stale(key) => {
                // One caller fetches; the others use the stale key meanwhile.
                if let Ok(_one) = self.fetching.try_lock()
                    && self.may_fetch()
                {
                    let _seen_by_find = self.fetch().await;
                    return match self.find(kid) {
                        Lookup::Fresh(key) | Lookup::Stale(key) => Ok(key),
                        Lookup::Missing => Err(self.absent()),
                    };
                }
                Ok(key)
            }
            Lookup::Missing => {
                // Another caller may be fetching them already.
                if self.may_fetch() || self.fetching.try_lock().is_err() {
                    let _one = self.fetching.lock().await;
                    // After waiting for the lock, the key may have been fetched.
                    if let Lookup::Missing = self.find(kid)
                        && self.may_fetch()
                    {
                        let _seen_by_find = self.fetch().await;
                    }
                }
                match self.find(kid) {
                    Lookup::Fresh(key) | Lookup::Stale(key) => Ok(key),
                    Lookup::Missing => Err(self.absent()),
                }
            }
        }
    }

    fn find(&self, kid: &str) -> Lookup {
        let (known, now) = (self.known(), self.clock.now());
        let Some(fetched_at) = known.fetched_at else { return Lookup::Missing };
        match (known.keys.get(kid), now.since(fetched_at)) {
            (Some(key), age) if age < FRESH => Lookup::Fresh(key.clone()),
            (Some(key), age) if age < USABLE => Lookup::Stale(key.clone()),
            _ => Lookup::Missing,
        }
    }

    fn may_fetch(&self) -> bool {
        self.known().not_before.is_none_or(|not_before| self.clock.now() >= not_before)
    }

    /// The error for a missing key: the last fetch failed, or the issuer has no such key.
    fn absent(&self) -> OidcError {
        let issuer = self.issuer.clone();
        match self.known().failure.clone() {
            Some(reason) => OidcError::Unavailable { issuer, reason },
            None => OidcError::UnknownKey { issuer },
        }
    }

    /// Fetches the keys and returns their number. After a failure the known keys stay.
    pub(super) async fn fetch(&self) -> Result<usize, OidcError> {
        {
            // Set before the fetch: a cancelled fetch must not allow the next one sooner.
            let mut known = self.known();
            known.not_before = Some(self.clock.now().after(SPACING_AFTER_FAILURE));
            known.failure = Some("they are being fetched".to_owned());
        }
        let fetched = self.fetched().await;
        let now = self.clock.now();
        let mut known = self.known();
        match fetched {
            Ok(keys) => {
                let count = keys.len();
                *known = Known {
                    keys: Arc::new(keys),
                    fetched_at: Some(now),
                    not_before: Some(now.after(SPACING)),
                    failure: None,
                };
                Ok(count)
            }
            Err(reason) => {
                tracing::warn!(issuer = %self.issuer, reason, "the keys of the OIDC issuer could not be fetched");
                known.not_before = Some(now.after(SPACING_AFTER_FAILURE));
                known.failure = Some(reason.clone());
                Err(OidcError::Unavailable { issuer: self.issuer.clone(), reason })
            }
        }
    }

    async fn fetched(&self) -> Result<KeySet, String> {
        let reason = |error: reqwest::Error| chain(&error.without_url());
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(reason)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reason)? {
            if body.len() + chunk.len() > SET_BYTES {
                return Err("the set of keys is larger than 256 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let published: Published =
            serde_json::from_slice(&body).map_err(|e| format!("the answer is not a set of keys: {e}"))?;
        let keys: KeySet = published.keys.into_iter().filter_map(usable).take(KEYS).collect();
        if keys.is_empty() { Err("the set has no key for RS256".to_owned()) } else { Ok(keys) }
    }
}

/// The address of an issuer's keys. It has to be https, or on this machine.
fn address_of_keys(issuer: &str) -> Result<Url, OidcError> {
    let wrong = |reason: &str| OidcError::Configuration(reason.to_owned());
    let url: Url = format!("{issuer}/.well-known/jwks").parse().map_err(|_| wrong("it is not an address"))?;
    let is_local = match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => return Err(wrong("it is not an address")),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Err(wrong("it has to begin with https://"));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong("it has to be a plain address, without user, query and fragment"));
    }
    Ok(url)
}

/// The identifier and key of a published key; none if it is not for RS256 signatures.
fn usable(key: PublishedKey) -> Option<(String, DecodingKey)> {
    let is_for_signatures = key.kty.as_deref() == Some("RSA")
        && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
        && key.usage.as_deref().is_none_or(|usage| usage == "sig");
    let (kid, n, e) = (key.kid?, key.n?, key.e?);
    let modulus = URL_SAFE_NO_PAD.decode(&n).ok()?;
    let is_bounded =
        (1..=KEY_ID_BYTES).contains(&kid.len()) && MODULUS.contains(&modulus.len()) && e.len() <= 16;
    let key = (is_for_signatures && is_bounded).then(|| DecodingKey::from_rsa_components(&n, &e).ok())??;
    Some((kid, key))
}
