//! Why a job's token is not taken, in the words of whoever wrote the workflow. No text here holds a
//! token or a part of one.

/// Why a token is refused, or can't be verified now.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Not a token of a job at all.
    #[error("this is not an OIDC token of GitHub Actions: {0}")]
    Malformed(String),
    /// The issuer has no such key.
    #[error(
        "the issuer {issuer} has no key of the name this token was signed with; a key that is new is known within a minute"
    )]
    UnknownKey {
        /// Whose tokens are taken.
        issuer: String,
    },
    /// Signed by somebody else.
    #[error("the token's signature is not by the key it names")]
    Signature,
    /// By another issuer.
    #[error("the token is not by {expected}, which PACEGATE_GITHUB_OIDC_ISSUER names")]
    Issuer {
        /// Whose tokens are taken.
        expected: String,
    },
    /// For somebody else.
    #[error(
        "the token is for another audience: ask for it with the audience {expected}, this service's PACEGATE_PUBLIC_URL"
    )]
    Audience {
        /// Who it has to be for.
        expected: String,
    },
    /// Too late.
    #[error("the token has expired; ask for a new one just before it is used")]
    Expired,
    /// Too early, by more than clocks may differ.
    #[error("the token is not valid yet: the clocks of GitHub and this service differ by more than a minute")]
    NotYetValid,
    /// A claim that is not what GitHub writes there.
    #[error("the token's claim {claim} is not what GitHub writes there")]
    Claim {
        /// Its name.
        claim: &'static str,
    },
    /// Of an event in which others than the commit's authors may choose the code.
    #[error(
        "jobs of the event {event} get no grant, because strangers may choose what they run; their artifact is collected all the same"
    )]
    Event {
        /// GitHub's name of it, or `another event`.
        event: String,
    },
    /// The keys can't be had now.
    #[error("the keys of {issuer} can't be fetched ({reason}); try again in a moment")]
    Unavailable {
        /// Whose keys.
        issuer: String,
        /// Status or transport error.
        reason: String,
    },
    /// The issuer can't be one.
    #[error("PACEGATE_GITHUB_OIDC_ISSUER can't be used: {0}")]
    Configuration(String),
}
