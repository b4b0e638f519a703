//! How the App is registered: the permissions and events it asks for, the manifest from which
//! GitHub makes it, and the one exchange that hands over its secrets. The code of that exchange
//! comes from a browser: it is held against its form before it becomes part of a route.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::client::Transport;
use pacegate_clock::Clock;

/// A permission the App asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// GitHub's name of it.
    pub name: &'static str,
    /// `read` or `write`.
    pub level: &'static str,
    /// What it is for, as the end of "needs it ...".
    pub why: &'static str,
    /// Whether the App does its work without it, only less of it.
    pub dispensable: bool,
}

const fn needed(name: &'static str, level: &'static str, why: &'static str) -> Permission {
    Permission { name, level, why, dispensable: false }
}

/// What every App asks for.
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

/// Events every App acts on; those about its installation come by themselves.
pub const EVENTS: [&str; 7] =
    ["workflow_run", "workflow_job", "check_run", "check_suite", "pull_request", "push", "repository"];

/// The permission for an opt-in, and its event if it has one.
pub const MERGE_QUEUES: (Permission, &str) =
    (needed("merge_queues", "read", "to check what a merge queue is about to merge"), "merge_group");
/// The permission for running a suspect's job once more.
pub const RERUNS: Permission = needed("actions", "write", "to run a suspect's job once more");

/// What the operator of an App may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    /// Check what a merge queue is about to merge.
    pub merge_queues: bool,
    /// Run a suspect's job once more to turn it into a verdict.
    pub reruns: bool,
}

impl Choices {
    /// Names and levels of the permissions, each name once.
    #[must_use]
    pub fn permissions(self) -> Vec<Permission> {
        let mut asked: Vec<Permission> = PERMISSIONS
            .iter()
            .map(
                |permission| if self.reruns && permission.name == RERUNS.name { RERUNS } else { *permission },
            )
            .collect();
        if self.merge_queues {
            asked.push(MERGE_QUEUES.0);
        }
        asked
    }

    /// Names of the events.
    #[must_use]
    pub fn events(self) -> Vec<&'static str> {
        let mut asked = EVENTS.to_vec();
        if self.merge_queues {
            asked.push(MERGE_QUEUES.1);
        }
        asked
    }
}

/// What GitHub makes the App from.
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

/// GitHub's limit of an App's name.
const NAME_CHARS: usize = 34;

impl Manifest {
    /// The manifest of an App whose service people and GitHub reach at `public_url` (no slash
    /// at its end).
    #[must_use]
    pub fn new(name: &str, public_url: &str, choices: Choices) -> Self {
        Self {
            name: name.chars().take(NAME_CHARS).collect(),
            url: public_url.to_owned(),
            description: "Says on the pull request which stage of its CI pipeline got slower.",
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

/// Where GitHub has to deliver for a service at this address.
#[must_use]
pub fn webhook_url(public_url: &str) -> String {
    format!("{}/webhook", public_url.trim_end_matches('/'))
}

/// Where people use the GitHub whose API is at this address: `https://github.com` for
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

/// An App as GitHub hands it over, once.
#[derive(Debug, Clone, Deserialize)]
pub struct RegisteredApp {
    /// Its number.
    pub id: u64,
    /// Its short name.
    pub slug: String,
    /// Its page on GitHub.
    pub html_url: String,
    /// Its number as an OAuth client.
    pub client_id: String,
    /// Its secret as an OAuth client.
    pub client_secret: SecretString,
    /// Signs deliveries.
    pub webhook_secret: Option<SecretString>,
    /// Its RSA private key.
    pub pem: SecretString,
}

/// Whether a text can be the code of an exchange.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Exchanges the code that GitHub gave the browser for the App and its secrets. A code works
/// once and for an hour.
///
/// # Errors
/// [`GitHubError::NotFound`] for a code GitHub does not know any more.
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
    let answer = transport.post_for_answer(&format!("/app-manifests/{code}/conversions")).await;
    // The route holds the code, which is a secret until it was used.
    answer.map_err(|error| error.with_call(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_web_s_address_follows_from_the_api_s() {
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
    fn what_is_chosen_is_asked_for_and_nothing_else() {
        let levels = |choices: Choices| {
            let asked = choices.permissions();
            asked.iter().map(|p| format!("{}:{}", p.name, p.level)).collect::<Vec<_>>().join(" ")
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
    fn a_code_is_no_path() {
        assert!(is_code("a180b1a3d263c81bc6441d7b990bae27d4c10679"));
        for wrong in ["", "../../user", "a/b", "a?b", "a b", &"a".repeat(129)] {
            assert!(!is_code(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_cut_to_what_github_takes() {
        let manifest = Manifest::new(&"ü".repeat(50), "https://pacegate.example.com", Choices::default());
        assert_eq!(manifest.name.chars().count(), 34);
        assert_eq!(manifest.hook_attributes.url, "https://pacegate.example.com/webhook");
    }
}
