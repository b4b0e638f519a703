//! `doctor`'s look at the fast path: can jobs of GitHub Actions prove to this service who they are. It
//! is a convenience, so nothing here is a problem: their artifacts are collected all the same.

use super::Findings;
use crate::cli::serve::verifier;
use crate::config::GitHubArgs;
use crate::tasks::error_chain;
use pacegate_clock::Clock;

pub(super) async fn jobs(args: &GitHubArgs, public_url: Option<&str>, findings: &mut Findings) {
    // Wrong settings are told whatever else is missing.
    let verifier = match verifier(args, Clock::system()) {
        Ok(verifier) => verifier,
        Err(error) => return findings.problem(&error_chain(&error)),
    };
    let Some(url) = public_url.map(|url| url.trim_end_matches('/')) else {
        return findings.note(
            "jobs can't upload at once: their tokens have to name this service, so PACEGATE_PUBLIC_URL is needed",
        );
    };
    let is_here =
        ["http://localhost", "http://127.", "http://[::1]"].iter().any(|here| url.starts_with(here));
    if !url.starts_with("https://") && !is_here {
        findings.note(&format!(
            "runners would send tokens and spans to {url} in clear text: put TLS in front of this service"
        ));
    }
    match verifier.fetch_keys().await {
        Ok(_) => findings.good(&format!(
            "jobs can prove who they are: tokens of {} for the audience {url}",
            verifier.issuer()
        )),
        Err(error) => findings.note(&format!(
            "jobs can't upload at once, only by artifact: {}; is it the right PACEGATE_GITHUB_OIDC_ISSUER?",
            error_chain(&error)
        )),
    }
}

/// The same where there is no App, so that none can.
pub(super) fn without_app(args: &GitHubArgs, findings: &mut Findings) {
    if let Err(error) = verifier(args, Clock::system()) {
        findings.problem(&error_chain(&error));
    }
    findings.note(
        "without an App jobs need an ingest token to upload (`pacegate token create --repo OWNER/NAME`)",
    );
}
