//! `doctor` on the fast path: whether CI jobs can authenticate with OIDC tokens. An unusable fast path
//! is a note, not a problem, because artifacts are still collected.

use super::Findings;
use crate::cli::serve::verifier;
use crate::config::GitHubArgs;
use crate::tasks::error_chain;
use pacegate_clock::Clock;

pub(super) async fn jobs(args: &GitHubArgs, public_url: Option<&str>, findings: &mut Findings) {
    // Wrong settings are reported even if the public address is missing.
    let verifier = match verifier(args, Clock::system()) {
        Ok(verifier) => verifier,
        Err(error) => return findings.problem(&error_chain(&error)),
    };
    let Some(url) = public_url.map(|url| url.trim_end_matches('/')) else {
        return findings.note(
            "jobs can upload only by artifact: the fast path needs PACEGATE_PUBLIC_URL, which their tokens name",
        );
    };
    let is_here =
        ["http://localhost", "http://127.", "http://[::1]"].iter().any(|here| url.starts_with(here));
    if !url.starts_with("https://") && !is_here {
        findings.note(&format!(
            "runners would send tokens and spans to {url} without encryption: put TLS in front of this service"
        ));
    }
    match verifier.fetch_keys().await {
        Ok(_) => findings
            .good(&format!("jobs can authenticate: tokens of {} for the audience {url}", verifier.issuer())),
        Err(error) => findings.note(&format!(
            "jobs can upload only by artifact: {}; check PACEGATE_GITHUB_OIDC_ISSUER",
            error_chain(&error)
        )),
    }
}

/// The same without an App: no job can authenticate.
pub(super) fn without_app(args: &GitHubArgs, findings: &mut Findings) {
    if let Err(error) = verifier(args, Clock::system()) {
        findings.problem(&error_chain(&error));
    }
    findings.note(
        "without an App jobs need an ingest token to upload (`pacegate token create --repo OWNER/NAME`)",
    );
}
