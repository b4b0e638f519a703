//! The pages for creating the GitHub App: the questions, the requested permissions, and the result. Plain
//! forms without a script. Callers pass all addresses.

use askama::Template;

use super::Site;

/// The first page: an overview and three questions.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    pub site: Site,
    /// The one-time setup code, which the form sends back.
    pub code: String,
    /// Address of the GitHub that gets the App: `https://github.com`.
    pub github: String,
    /// Suggestion for the service's public address.
    pub public_url: String,
    /// The mistake in the previous answers.
    pub problem: Option<String>,
    /// The file for the App's secrets.
    pub file: String,
}

/// A permission of the App and its purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppGrant {
    /// `checks: write`.
    pub name: String,
    /// `to post its check`.
    pub why: String,
}

/// The second page: the requested permissions, and the button that leads to GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup_manifest.html")]
pub struct SetupManifestPage {
    pub site: Site,
    /// Target of the form: a page of GitHub, with the state.
    pub action: String,
    /// JSON.
    pub manifest: String,
    /// The owner of the App. None: the operator's own account.
    pub organisation: Option<String>,
    pub permissions: Vec<AppGrant>,
    /// In one line.
    pub events: String,
    /// Address for GitHub's deliveries.
    pub webhook: String,
    /// A reason why GitHub may not reach that address.
    pub warning: Option<String>,
}

/// The last page: the App exists.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup_done.html")]
pub struct SetupDonePage {
    pub site: Site,
    /// The new App. None when the reader returns after installing it.
    pub created: Option<CreatedApp>,
}

/// The new App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedApp {
    pub slug: String,
    pub id: u64,
    /// Page for installing it on repositories.
    pub install_href: String,
    /// Page of its settings.
    pub settings_href: String,
    /// The file with its secrets.
    pub file: String,
}
