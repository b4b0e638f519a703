//! The issuer's public keys: fetched when they are needed, kept, and looked up by name. Whatever names
//! of keys a stranger makes up, the issuer is asked once a minute at most, and nobody whose key is
//! known waits for it.

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

/// Keys are asked for again when they are this old.
const FRESH: Duration = Duration::from_hours(1);
/// And no longer used when they are this old: an issuer that withdrew one has to be heard.
const USABLE: Duration = Duration::from_hours(24);
/// From a fetch to the next, whatever asks for it; sooner after one that failed.
const SPACING: Duration = Duration::from_mins(1);
const SPACING_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The largest set of keys that is read, and the most keys of it that are kept.
const SET_BYTES: usize = 256 << 10;
const KEYS: usize = 64;
/// The moduli that are taken, in bytes: 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// A name and a key.
type KeySet = HashMap<String, DecodingKey>;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    url: Url,
    client: reqwest::Client,
    clock: Clock,
    known: Mutex<Known>,
    /// Held by who fetches.
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

/// What is known of a key.
enum Found {
    Fresh(DecodingKey),
    Stale(DecodingKey),
    Nothing,
}

/// What an issuer publishes.
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

    /// The key of this name.
    pub(super) async fn key(&self, kid: &str) -> Result<DecodingKey, OidcError> {
        match self.find(kid) {
            Found::Fresh(key) => Ok(key),
            Found::Stale(key) => {
                // One asks again; the others use what they have meanwhile.
                if let Ok(_one) = self.fetching.try_lock()
                    && self.may_fetch()
                {
                    let _told_by_find = self.fetch().await;
                    return match self.find(kid) {
                        Found::Fresh(key) | Found::Stale(key) => Ok(key),
                        Found::Nothing => Err(self.absent()),
                    };
                }
                Ok(key)
            }
            Found::Nothing => {
                // They may be on their way for somebody else.
                if self.may_fetch() || self.fetching.try_lock().is_err() {
                    let _one = self.fetching.lock().await;
                    // Who waited finds what the one before it fetched.
                    if let Found::Nothing = self.find(kid)
                        && self.may_fetch()
                    {
                        let _told_by_find = self.fetch().await;
                    }
                }
                match self.find(kid) {
                    Found::Fresh(key) | Found::Stale(key) => Ok(key),
                    Found::Nothing => Err(self.absent()),
                }
            }
        }
    }

    fn find(&self, kid: &str) -> Found {
        let (known, now) = (self.known(), self.clock.now());
        let Some(fetched_at) = known.fetched_at else { return Found::Nothing };
        match (known.keys.get(kid), now.since(fetched_at)) {
            (Some(key), age) if age < FRESH => Found::Fresh(key.clone()),
            (Some(key), age) if age < USABLE => Found::Stale(key.clone()),
            _ => Found::Nothing,
        }
    }

    fn may_fetch(&self) -> bool {
        self.known().not_before.is_none_or(|not_before| self.clock.now() >= not_before)
    }

    /// Why there is no such key: it is unknown, or nothing is known.
    fn absent(&self) -> OidcError {
        let issuer = self.issuer.clone();
        match self.known().failure.clone() {
            Some(reason) => OidcError::Unavailable { issuer, reason },
            None => OidcError::UnknownKey { issuer },
        }
    }

    /// Fetches the keys; what was known stays when that fails. Returns how many there are.
    pub(super) async fn fetch(&self) -> Result<usize, OidcError> {
        {
            // Before it begins: who goes away in the middle of it lets nobody ask more often.
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
                tracing::warn!(issuer = %self.issuer, reason, "the keys of OIDC tokens could not be fetched");
                known.not_before = Some(now.after(SPACING_AFTER_FAILURE));
                known.failure = Some(reason.clone());
                Err(OidcError::Unavailable { issuer: self.issuer.clone(), reason })
            }
        }
    }

    async fn fetched(&self) -> Result<KeySet, String> {
        let told = |error: reqwest::Error| chain(&error.without_url());
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(told)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > SET_BYTES {
                return Err("the set of keys is larger than any issuer's".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let published: Published =
            serde_json::from_slice(&body).map_err(|e| format!("no set of keys was answered: {e}"))?;
        let keys: KeySet = published.keys.into_iter().filter_map(usable).take(KEYS).collect();
        if keys.is_empty() { Err("no key is for RS256".to_owned()) } else { Ok(keys) }
    }
}

/// Where an issuer publishes its keys: at https, or on this very machine.
fn address_of_keys(issuer: &str) -> Result<Url, OidcError> {
    let wrong = |reason: &str| OidcError::Configuration(reason.to_owned());
    let url: Url = format!("{issuer}/.well-known/jwks").parse().map_err(|_| wrong("it is not an address"))?;
    let is_here = match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => return Err(wrong("it is not an address")),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_here) {
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

/// A published key, if it is one for signatures with RS256.
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
