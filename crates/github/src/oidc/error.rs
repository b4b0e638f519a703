//! Errors of OIDC tokens, written for the author of a workflow. No text here contains a token or a
//! part of one.

/// Why a token is rejected or can't be verified now.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("this is not an OIDC token of GitHub Actions: {0}")]
    Malformed(String),
    /// The issuer has no such key.
    #[error(
        "the issuer {issuer} has no key with the identifier in this token; a new key is known within a minute, so try again then"
    )]
    UnknownKey {
        /// The accepted issuer.
        issuer: String,
    },
    #[error("the token's signature does not match the key that the token names")]
    Signature,
    #[error(
        "the token is not from the issuer {expected}; PACEGATE_GITHUB_OIDC_ISSUER sets the accepted issuer"
    )]
    Issuer {
        /// The accepted issuer.
        expected: String,
    },
    /// The token is for another service.
    #[error(
        "the token is for another audience: request it with the audience {expected}, this service's PACEGATE_PUBLIC_URL"
    )]
    Audience {
        /// The accepted audience.
        expected: String,
    },
    #[error("the token has expired; request a new one just before it is used")]
    Expired,
    /// Too early by more than the allowed clock difference.
    #[error("the token is not valid yet: the clocks of GitHub and this service differ by more than a minute")]
    NotYetValid,
    #[error("the token's claim {claim} has a value that GitHub never writes")]
    Claim { claim: &'static str },
    /// In runs of this event, others than the commit's authors may choose the code.
    #[error(
        "jobs of the event {event} get no grant, because anyone can choose the code that they run; their artifact is still collected"
    )]
    Event {
        /// GitHub's name of the event, or `of an unknown name`.
        event: String,
    },
    /// The issuer's keys can't be fetched now.
    #[error("the keys of {issuer} can't be fetched ({reason}); try again in a moment")]
    Unavailable {
        issuer: String,
        /// Status or transport error.
        reason: String,
    },
    /// The configured address is not that of an issuer.
    #[error("PACEGATE_GITHUB_OIDC_ISSUER can't be used: {0}")]
    Configuration(String),
}
