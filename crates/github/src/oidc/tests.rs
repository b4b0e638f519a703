//! Every claim of a token, with accepted and rejected values.

use serde_json::{Value, json};

use super::claims::Claims;
use super::{OidcError, issuer_of, key_id};
use pacegate_engine::model::ids::PrNumber;
use pacegate_engine::model::time::Timestamp;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const AUDIENCE: &str = "https://pacegate.example.com";

fn good() -> Value {
    json!({
        "jti": "6f4c1a52", "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/my-app:pull_request",
        "iat": NOW, "nbf": NOW - 600, "exp": NOW + 300, "repository": "acme/my-app",
        "repository_id": "1296269", "run_id": "5001", "run_attempt": "2", "check_run_id": "6001",
        "event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "change-7", "base_ref": "main",
        "sha": "e83c5163316f89bfbde7d9ab23ca2e25604af290",
    })
}

fn checked(claims: Value) -> Result<super::JobToken, OidcError> {
    let claims: Claims = serde_json::from_value(claims).map_err(|e| OidcError::Malformed(e.to_string()))?;
    claims.checked(ISSUER, AUDIENCE, Timestamp(NOW * 1_000_000))
}

fn with(changes: &Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

#[test]
fn good_claims_identify_the_job() {
    let token = checked(good()).expect("a good token");
    assert_eq!((token.repository_id, token.run_id, token.run_attempt), (1_296_269, 5_001, 2));
    assert_eq!((token.check_run_id, token.pull_request), (Some(6_001), Some(PrNumber(7))));
    assert_eq!(token.usable_until, Timestamp((NOW + 360) * 1_000_000));
    let of_branch =
        json!({ "event_name": "push", "ref": "refs/heads/main", "head_ref": "", "check_run_id": null });
    let token = checked(with(&of_branch)).expect("a good token");
    assert_eq!((token.event, token.check_run_id, token.pull_request), ("push", None, None));
    for fine in [
        json!({ "aud": format!("{AUDIENCE}/") }),
        json!({ "exp": NOW - 59, "iat": NOW - 900 }),
        json!({ "iat": NOW + 60, "nbf": NOW + 60 }),
        json!({ "run_id": 5001 }),
        // A repository may choose the form of its subject.
        json!({ "sub": "repository_owner_id:1:environment:production" }),
        json!({ "sub": null }),
    ] {
        assert!(checked(with(&fine)).is_ok(), "{fine}");
    }
}

#[test]
fn wrong_claims_are_rejected() {
    let push = |event: &str| json!({ "event_name": event, "ref": "refs/heads/main", "head_ref": "" });
    for (changes, said) in [
        (json!({ "iss": "https://token.actions.example.com" }), "is not from"),
        (json!({ "iss": format!("{ISSUER}/acme") }), "is not from"),
        (json!({ "aud": "https://github.com/acme" }), "another audience"),
        (json!({ "aud": "https://pacegate.example.com.evil.example" }), "another audience"),
        (json!({ "aud": "HTTPS://PACEGATE.EXAMPLE.COM" }), "another audience"),
        (json!({ "aud": "" }), "another audience"),
        (json!({ "aud": [AUDIENCE, "https://other.example"] }), "invalid type"),
        (json!({ "exp": NOW - 60, "iat": NOW - 900 }), "expired"),
        (json!({ "exp": i64::MIN }), "expired"),
        (json!({ "iat": NOW + 61 }), "not valid yet"),
        (json!({ "nbf": NOW + 61 }), "not valid yet"),
        (json!({ "exp": NOW + 7_200 }), "claim exp"),
        (json!({ "exp": i64::MAX }), "claim exp"),
        (json!({ "exp": null }), "missing field `exp`"),
        (json!({ "nbf": null }), "missing field `nbf`"),
        (json!({ "iat": null }), "missing field `iat`"),
        (json!({ "jti": null }), "missing field `jti`"),
        (json!({ "jti": "" }), "claim jti"),
        (json!({ "jti": "a".repeat(301) }), "claim jti"),
        (json!({ "jti": "a\nb" }), "claim jti"),
        (json!({ "repository_id": null }), "missing field `repository_id`"),
        (json!({ "repository_id": "-1" }), "claim repository_id"),
        (json!({ "repository_id": "0" }), "claim repository_id"),
        (json!({ "repository_id": "12e3" }), "claim repository_id"),
        (json!({ "repository_id": "99999999999999999999" }), "claim repository_id"),
        (json!({ "repository_id": ["1296269"] }), "claim repository_id"),
        (json!({ "repository": "acme/../evil" }), "claim repository "),
        (json!({ "run_id": "" }), "claim run_id"),
        (json!({ "run_attempt": "0" }), "claim run_attempt"),
        (json!({ "run_attempt": "4294967296" }), "claim run_attempt"),
        (json!({ "check_run_id": "x" }), "claim check_run_id"),
        (json!({ "sha": "main" }), "claim sha"),
        (json!({ "ref": "refs/heads/main" }), "claim ref"),
        (json!({ "ref": "refs/pull/7/head" }), "claim ref"),
        (json!({ "ref": "refs/pull/+7/merge" }), "claim ref"),
        (json!({ "head_ref": null }), "claim head_ref"),
        (json!({ "event_name": "push" }), "claim ref"),
        (json!({ "event_name": "push", "ref": "refs/heads/main" }), "claim head_ref"),
        (push("pull_request_target"), "the event pull_request_target get no grant"),
        (push("workflow_run"), "the event workflow_run get no grant"),
        (push("issue_comment"), "the event issue_comment get no grant"),
        (push("repository_dispatch"), "the event repository_dispatch get no grant"),
        (push("<b>\u{202e}"), "the event of an unknown name get no grant"),
        (push(""), "the event of an unknown name get no grant"),
    ] {
        let error = checked(with(&changes)).expect_err(&changes.to_string()).to_string();
        assert!(error.contains(said), "{changes}: {error}");
    }
}

#[test]
fn malformed_tokens_are_rejected_without_a_key() {
    let encoded = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let token = |header: &str| format!("{}.{}.c2ln", encoded(header), encoded("{}"));
    assert_eq!(key_id(&token(r#"{"alg":"RS256","kid":"a"}"#)).expect("a name"), "a");
    for (token, said) in [
        (String::new(), "header"),
        ("a.b".to_owned(), "header"),
        ("x".repeat(20_000), "longer than any"),
        (token(r#"{"alg":"none","kid":"a"}"#), "header"),
        (token(r#"{"alg":"HS256","kid":"a"}"#), "RS256"),
        (token(r#"{"alg":"RS512","kid":"a"}"#), "RS256"),
        (token(r#"{"alg":"RS256"}"#), "kid"),
        (token(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "a".repeat(201))), "kid"),
    ] {
        let error = key_id(&token).expect_err(&token).to_string();
        assert!(error.contains(said), "{token}: {error}");
    }
}

#[test]
fn issuer_follows_from_api_url() {
    for (api, issuer) in [
        ("https://api.github.com", ISSUER),
        ("https://github.example.com/api/v3/", "https://github.example.com/_services/token"),
        ("https://api.acme.ghe.com", "https://token.actions.acme.ghe.com"),
        ("http://127.0.0.1:4000", ISSUER),
    ] {
        assert_eq!(issuer_of(api), issuer);
    }
}
