//! `doctor` on GitHub: the App's credentials, permissions, events, webhook and installations. Each
//! finding suggests a fix.

use std::time::Duration;

use super::{DoctorArgs, Findings};
use crate::cli::credentials::{Credentials, app_file, credentials};
use crate::tasks::error_chain;
use pacegate_clock::Clock;
use pacegate_engine::model::ids::InstallationId;
use pacegate_github::GitHubError;
use pacegate_github::app_auth::{App, AppFacts};
use pacegate_github::inspection::{DELIVERIES, INSTALLATIONS};
use pacegate_github::registration::{EVENTS, MERGE_QUEUES, PERMISSIONS, RERUNS, web_url, webhook_url};
use pacegate_store::DatabaseUrl;

/// The largest tolerated clock offset, in seconds. A JWT is dated 60 s back, and GitHub refuses one
/// from its future. This keeps half of that in reserve.
const CLOCK_OFFSET_S: i64 = 30;
/// Installations that are checked. Each costs three calls.
const CHECKED_INSTALLATIONS: usize = 10;

/// The credentials, if they are usable; none in local mode.
pub(super) fn credentials_found(
    args: &DoctorArgs,
    database: &DatabaseUrl,
    findings: &mut Findings,
) -> Option<Credentials> {
    match credentials(&args.github, database, &Clock::system()) {
        Ok(Some(found)) => {
            if let Some(path) = &found.file {
                findings.good(&format!(
                    "the App's secrets are in {}, readable only by its owner",
                    path.display()
                ));
            }
            Some(found)
        }
        Ok(None) => {
            findings.note("no GitHub App is configured: local mode, nothing is posted");
            match app_file(&args.github, database) {
                Some(path) => findings.note(&format!(
                    "`serve` prints the address of a page that creates one, and saves it in {}. If a service \
                     made one already, restart it or use the same PACEGATE_APP_FILE",
                    path.display()
                )),
                None => findings.note("set PACEGATE_APP_FILE to let `serve` offer a page that creates one"),
            }
            None
        }
        Err(error) => {
            findings.problem(&error_chain(&error));
            None
        }
    }
}

pub(super) async fn github(
    args: &DoctorArgs,
    found: &Credentials,
    public_url: Option<&str>,
    findings: &mut Findings,
) {
    let url = &args.github.github_api_url;
    clock(&found.app, findings).await;
    let facts = match found.app.facts().await {
        Ok(facts) => facts,
        Err(error @ GitHubError::Unavailable { .. }) => {
            return findings.problem(&format!("GitHub at {url} can't be reached: {}", error_chain(&error)));
        }
        Err(error) => {
            return findings.problem(&format!(
                "GitHub at {url}: {}. Check that App id and private key belong together, and this machine's clock",
                error_chain(&error)
            ));
        }
    };
    findings.good(&format!("GitHub at {url} knows the App as {}", facts.name));
    let settings = format!("{}/permissions", settings_page(url, &facts));
    permissions(&facts, &settings, findings);
    webhook(&found.app, public_url, findings).await;
    installations(&found.app, url, &facts, findings).await;
}

/// The address of the App's settings.
fn settings_page(api_url: &str, facts: &AppFacts) -> String {
    let github = web_url(api_url);
    match &facts.owner {
        Some(owner) if owner.is_organisation() => {
            format!("{github}/organizations/{}/settings/apps/{}", owner.login, facts.slug)
        }
        _ => format!("{github}/settings/apps/{}", facts.slug),
    }
}

async fn clock(app: &App, findings: &mut Findings) {
    match app.clock_offset_s().await {
        Ok(Some(offset)) if offset.abs() > CLOCK_OFFSET_S => findings.problem(&format!(
            "this machine's clock is {} s {} GitHub's, which refuses tokens with a wrong time: synchronize it (NTP)",
            offset.abs(),
            if offset > 0 { "behind" } else { "ahead of" }
        )),
        Ok(Some(_)) => findings.good("this machine's clock agrees with GitHub's"),
        // The next call reports why GitHub does not answer.
        Ok(None) | Err(_) => {}
    }
}

fn permissions(facts: &AppFacts, settings: &str, findings: &mut Findings) {
    let granted = |name: &str, level: &str| {
        let given = facts.permissions.get(name).map_or("none", String::as_str);
        let enough = given == level || (level == "read" && given == "write") || given == "admin";
        (enough, given.to_owned())
    };
    let before = findings.problems;
    for needed in PERMISSIONS {
        let (enough, given) = granted(needed.name, needed.level);
        if enough {
            continue;
        }
        let text = format!(
            "the App has {}:{given} but needs {}:{} {}; change it at {settings}, and accept it in each installation",
            needed.name, needed.name, needed.level, needed.why
        );
        if needed.dispensable { findings.note(&text) } else { findings.problem(&text) }
    }
    for event in EVENTS {
        if !facts.events.iter().any(|e| e == event) {
            findings
                .problem(&format!("the App does not get the event {event}; subscribe to it at {settings}"));
        }
    }
    if findings.problems == before {
        findings.good("the App has the permissions and events it needs");
    }
    let (queues, event) = MERGE_QUEUES;
    let gets_event = facts.events.iter().any(|e| e == event);
    if gets_event != granted(queues.name, queues.level).0 {
        findings.note(&format!(
            "merge queues need both the permission {}:{} and the event {event}: {settings}",
            queues.name, queues.level
        ));
    } else if !gets_event {
        findings.note(&format!(
            "merge queues are not checked: that needs {}:{} and {event}",
            queues.name, queues.level
        ));
    }
    if !granted(RERUNS.name, RERUNS.level).0 {
        findings.note(&format!(
            "no confirmation reruns: they need {}:{} {}",
            RERUNS.name, RERUNS.level, RERUNS.why
        ));
    }
}

async fn webhook(app: &App, public_url: Option<&str>, findings: &mut Findings) {
    let config = match app.webhook_config().await {
        Ok(config) => config,
        Err(error) => return findings.problem(&format!("the webhook's settings: {}", error_chain(&error))),
    };
    let before = findings.problems;
    match (config.url.as_deref().filter(|url| !url.is_empty()), public_url.map(webhook_url)) {
        (None, _) => findings.problem(
            "the App has no webhook, so it gets no events of pull requests: activate it in the App's settings",
        ),
        (Some(url), Some(ours)) if url.trim_end_matches('/') != ours => findings.problem(&format!(
            "GitHub delivers to {url}, but this service's address is {ours}: change the webhook's address or PACEGATE_PUBLIC_URL"
        )),
        (Some(url), None) => findings.note(&format!("GitHub delivers to {url}; check that this is the service's address")),
        (Some(_), Some(_)) => {}
    }
    if config.content_type.as_deref() != Some("json") {
        findings.problem(
            "the webhook's content type has to be application/json: change it in the App's settings",
        );
    }
    if config.secret.as_deref().is_none_or(str::is_empty) {
        findings.problem(
            "the webhook has no secret, so its deliveries are refused: set it in the App's settings",
        );
    }
    if !config.verifies_certificates() {
        findings.problem(
            "GitHub does not verify the certificate of the webhook's address: turn SSL verification on",
        );
    }
    if findings.problems == before
        && let Some(url) = &config.url
    {
        findings.good(&format!("GitHub delivers signed JSON to {url}"));
    }
    match app.failed_deliveries(Duration::from_hours(24)).await {
        Ok(0) => findings.good("no delivery of the last day failed"),
        Ok(count) => findings.note(&format!(
            "{}{count} deliveries of the last day failed: check whether the service was down or a proxy blocks them; Recent Deliveries in the App's settings shows them",
            if count >= DELIVERIES { "at least " } else { "" }
        )),
        Err(error) => findings.note(&format!("failed deliveries can't be counted: {}", error_chain(&error))),
    }
}

async fn installations(app: &App, api_url: &str, facts: &AppFacts, findings: &mut Findings) {
    let found = match app.installations().await {
        Ok(found) => found,
        Err(error) => return findings.problem(&format!("installations: {}", error_chain(&error))),
    };
    if found.is_empty() {
        let page = format!("{}/apps/{}/installations/new", web_url(api_url), facts.slug);
        return findings.note(&format!("the App is not installed yet: {page}"));
    }
    let more = if found.len() >= INSTALLATIONS { " or more" } else { "" };
    findings.good(&format!("the App is installed on {}{more} account(s)", found.len()));
    for installation in found.iter().take(CHECKED_INSTALLATIONS) {
        let account = installation.account();
        if installation.is_suspended() {
            findings.note(&format!("{account}: suspended, its background tasks wait"));
            continue;
        }
        match app.installation_access(InstallationId(installation.id)).await {
            Ok(reach) => {
                let rate = match (reach.remaining, reach.limit) {
                    (Some(remaining), Some(limit)) => format!("{remaining} of {limit} calls left this hour"),
                    _ => "no rate limit".to_owned(),
                };
                let names = reach.names.join(", ");
                let names = if reach.repositories > reach.names.len() as u64 {
                    format!("{names}, ...")
                } else {
                    names
                };
                findings.good(&format!("{account}: {} repositories ({names}); {rate}", reach.repositories));
            }
            Err(error) => findings.problem(&format!("{account}: {}", error_chain(&error))),
        }
    }
}
