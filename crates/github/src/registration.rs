//! Registration of the App: its permissions and events, the manifest that GitHub creates it from, and
//! the exchange that returns its secrets. The code for the exchange comes from a browser, so its form
//! is checked before it becomes part of a route.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::client::Transport;
use pacegate_clock::Clock;

/// A permission that the App asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub name: &'static str,
    /// `read` or `write`.
    pub level: &'static str,
    /// Completes the sentence "needs it ...".
    pub why: &'static str,
    /// The App works without it, with fewer features.
    pub dispensable: bool,
}

const fn needed(name: &'static str, level: &'static str, why: &'static str) -> Permission {
    Permission { name, level, why, dispensable: false }
}

/// Permissions of every App.
pub const PERMISSIONS: [Permission; 5] = [
    needed("metadata", "read", "to know its repositories"),
    needed("checks", "write", "to post its check"),
    needed("pull_requests", "write", "to read heads and to comment"),
    needed("actions", "read", "to read workflow runs and their jobs"),
    Permission {
        name: "contents",
        level: "read",
        why: "to read the policy file and to point at lines of workflow files",
        dispensable: true,
    },
];

/// Events of every App. GitHub sends those about installations without a subscription.
pub const EVENTS: [&str; 7] =
    ["workflow_run", "workflow_job", "check_run", "check_suite", "pull_request", "push", "repository"];

/// Permission and event for merge queues, an opt-in.
pub const MERGE_QUEUES: (Permission, &str) =
    (needed("merge_queues", "read", "to check the groups of a merge queue"), "merge_group");
/// Permission for confirmation reruns, an opt-in.
pub const RERUNS: Permission = needed("actions", "write", "to run the job of a suspicion once more");

/// Options of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    /// Check the groups of merge queues.
    pub merge_queues: bool,
    /// Run the job of a suspicion once more, to confirm or dismiss it.
    pub reruns: bool,
}

impl Choices {
    /// The permissions to ask for, each name once.
    #[must_use]
    pub fn permissions(self) -> Vec<Permission> {
        let mut requested: Vec<Permission> = PERMISSIONS
            .iter()
            .map(
                |permission| if self.reruns && permission.name == RERUNS.name { RERUNS } else { *permission },
            )
            .collect();
        if self.merge_queues {
            requested.push(MERGE_QUEUES.0);
        }
        requested
    }

    #[must_use]
    pub fn events(self) -> Vec<&'static str> {
        let mut requested = EVENTS.to_vec();
        if self.merge_queues {
            requested.push(MERGE_QUEUES.1);
        }
        requested
    }
}

/// GitHub creates the App from this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    name: String,
    url: String,
    description: &'static str,
    hook_attributes: HookAttributes,
    redirect_url: String,
    setup_url: String,
    setup_on_update: bool,
    public: bool,
    default_permissions: std::collections::BTreeMap<&'static str, &'static str>,
    default_events: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct HookAttributes {
    url: String,
    active: bool,
}

/// GitHub's limit for an App's name.
const NAME_CHARS: usize = 34;

impl Manifest {
    /// `public_url` is the address of the service for people and for GitHub, without a slash at its end.
    #[must_use]
    pub fn new(name: &str, public_url: &str, choices: Choices) -> Self {
        Self {
            name: name.chars().take(NAME_CHARS).collect(),
            url: public_url.to_owned(),
            description: "Reports on the pull request which stage of its CI pipeline became slower.",
            hook_attributes: HookAttributes { url: webhook_url(public_url), active: true },
            redirect_url: format!("{public_url}/setup/callback"),
            setup_url: format!("{public_url}/setup/done"),
            setup_on_update: false,
            public: false,
            default_permissions: choices.permissions().iter().map(|p| (p.name, p.level)).collect(),
            default_events: choices.events(),
        }
    }
}

/// The address for deliveries to a service at `public_url`.
#[must_use]
pub fn webhook_url(public_url: &str) -> String {
    format!("{}/webhook", public_url.trim_end_matches('/'))
}

/// The address of GitHub's web pages for an API address: `https://github.com` for
/// `https://api.github.com`, `https://HOST` for `https://HOST/api/v3` of an Enterprise Server.
#[must_use]
pub fn web_url(api_url: &str) -> String {
    let api_url = api_url.trim_end_matches('/');
    if let Some(server) = api_url.strip_suffix("/api/v3") {
        return server.to_owned();
    }
    // github.com, and the tenants of ghe.com.
    match api_url.split_once("://api.") {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => api_url.to_owned(),
    }
}

/// A new App with its secrets. GitHub returns them only once.
#[derive(Debug, Clone, Deserialize)]
pub struct RegisteredApp {
    pub id: u64,
    pub slug: String,
    pub html_url: String,
    pub client_id: String,
    pub client_secret: SecretString,
    /// Key of the signatures of deliveries.
    pub webhook_secret: Option<SecretString>,
    /// RSA private key.
    pub pem: SecretString,
}

/// Whether a text has the form of an exchange's code.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Exchanges the code that GitHub gave the browser for the App and its secrets. A code works once,
/// within an hour.
///
/// # Errors
/// [`GitHubError::NotFound`] for a code that GitHub does not know or no longer accepts.
pub async fn exchange(
    code: &str,
    api_url: &str,
    timeout: Duration,
    clock: Clock,
) -> Result<RegisteredApp, GitHubError> {
    let call = "POST /app-manifests/{code}/conversions";
    if !is_code(code) {
        return Err(GitHubError::NotFound { call: call.into() });
    }
    let transport = Transport::new(api_url, timeout, clock)?;
    let answer = transport.post_empty(&format!("/app-manifests/{code}/conversions")).await;
    // The route contains the code, which is a secret until it is used.
    answer.map_err(|error| error.with_call(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_url_follows_from_api_url() {
        for (api, web) in [
            ("https://api.github.com", "https://github.com"),
            ("https://api.github.com/", "https://github.com"),
            ("https://github.example.com/api/v3", "https://github.example.com"),
            ("https://github.example.com:8443/api/v3/", "https://github.example.com:8443"),
            ("https://api.acme.ghe.com", "https://acme.ghe.com"),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
        ] {
            assert_eq!(web_url(api), web);
        }
    }

    #[test]
    fn only_chosen_options_are_requested() {
        let levels = |choices: Choices| {
            let requested = choices.permissions();
            requested.iter().map(|p| format!("{}:{}", p.name, p.level)).collect::<Vec<_>>().join(" ")
        };
        let usual = "metadata:read checks:write pull_requests:write actions:read contents:read";
        assert_eq!(levels(Choices::default()), usual);
        let all = Choices { merge_queues: true, reruns: true };
        assert_eq!(
            levels(all),
            format!("{} merge_queues:read", usual.replace("actions:read", "actions:write"))
        );
        assert!(
            all.events().contains(&"merge_group") && !Choices::default().events().contains(&"merge_group")
        );
    }

    #[test]
    fn is_code_refuses_paths() {
        assert!(is_code("a180b1a3d263c81bc6441d7b990bae27d4c10679"));
        for wrong in ["", "../../user", "a/b", "a?b", "a b", &"a".repeat(129)] {
            assert!(!is_code(wrong), "{wrong}");
        }
    }

    #[test]
    fn long_app_names_are_cut() {
        let manifest = Manifest::new(&"ü".repeat(50), "https://pacegate.example.com", Choices::default());
        assert_eq!(manifest.name.chars().count(), 34);
        assert_eq!(manifest.hook_attributes.url, "https://pacegate.example.com/webhook");
    }
}
