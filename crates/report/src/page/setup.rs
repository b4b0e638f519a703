//! The pages on which an operator makes the App: what will happen, what GitHub is asked for,
//! and what came of it. Plain forms without a script; every address is the caller's.

use askama::Template;

use super::Site;

/// The first page: what will happen, and three questions.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    /// Around it.
    pub site: Site,
    /// The one-time setup code, which the form sends back.
    pub code: String,
    /// The GitHub on which the App is made: `https://github.com`.
    pub github: String,
    /// Where this service seems to be reached.
    pub public_url: String,
    /// What was wrong with the answers given before.
    pub problem: Option<String>,
    /// Where the App's secrets will be kept.
    pub file: String,
}

/// A permission or an event, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `checks: write`.
    pub name: String,
    /// "to post its check".
    pub why: String,
}

/// The second page: what GitHub will be asked for, and the button that goes there.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup_manifest.html")]
pub struct SetupManifestPage {
    /// Around it.
    pub site: Site,
    /// Where the form goes: a page of GitHub's, with the state.
    pub action: String,
    /// The manifest, JSON.
    pub manifest: String,
    /// Whose App it will be: an organisation, or none for the operator's own account.
    pub organisation: Option<String>,
    /// Permissions.
    pub permissions: Vec<Asked>,
    /// Events, in one line.
    pub events: String,
    /// Where GitHub will deliver.
    pub webhook: String,
    /// Why GitHub may not reach that address.
    pub warning: Option<String>,
}

/// The last page: the App exists.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup_done.html")]
pub struct SetupDonePage {
    /// Around it.
    pub site: Site,
    /// The App that was made just now; none when the reader comes back from installing it.
    pub made: Option<MadeApp>,
}

/// An App that was made just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeApp {
    /// Its short name.
    pub slug: String,
    /// GitHub's number of it.
    pub id: u64,
    /// Where it is installed on repositories.
    pub install_href: String,
    /// Where its settings are.
    pub settings_href: String,
    /// The file that holds its secrets.
    pub file: String,
}
