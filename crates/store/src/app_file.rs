//! The file of the App that `/setup` created: its number, key and secrets. It is written once, as a
//! whole, with mode 0600, and never over another file. It is refused if other users of the machine
//! can read it. The calls block, and the file is small.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::DatabaseUrl;

/// The file's name beside an SQLite database.
const NAME: &str = "pacegate-app.json";
/// The largest file in bytes. A key and a few lines need a tenth of it.
const LIMIT: u64 = 64 << 10;

/// Why the file of the App can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AppFileError {
    /// Other users of the machine can read the file.
    #[error("{path} holds the App's private key and others can read it: run `chmod 600 {path}`")]
    Exposed { path: String },
    /// The file can't be read or written.
    #[error("{path}, the App's file (PACEGATE_APP_FILE), can't be {what}")]
    Io {
        path: String,
        /// "read" or "written".
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// The content does not have the form that `/setup` writes.
    #[error("{path} is not an App's file as /setup writes it: {reason}")]
    Unreadable {
        path: String,
        /// Never quotes the content.
        reason: String,
    },
}

/// The App's number, addresses and secrets.
#[derive(Debug, Clone, Deserialize)]
pub struct AppFile {
    pub id: u64,
    /// The short name in URLs.
    pub slug: String,
    /// The App's page on GitHub.
    pub html_url: String,
    /// The API of the GitHub server that has the App.
    pub api_url: String,
    /// The address at which people and GitHub reach this service, as of the App's creation.
    pub public_url: String,
    /// RSA, as PEM.
    pub private_key: SecretString,
    /// GitHub signs deliveries with it.
    pub webhook_secret: SecretString,
    /// For OAuth.
    pub client_id: String,
    /// For OAuth.
    pub client_secret: SecretString,
}

#[derive(Serialize)]
struct Written<'a> {
    id: u64,
    slug: &'a str,
    html_url: &'a str,
    api_url: &'a str,
    public_url: &'a str,
    private_key: &'a str,
    webhook_secret: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
}

/// The default path: beside the file of an SQLite database. None for PostgreSQL, whose processes
/// may be on many machines.
#[must_use]
pub fn default_path(database: &DatabaseUrl) -> Option<PathBuf> {
    match database {
        DatabaseUrl::Sqlite(options) => Some(options.get_filename().with_file_name(NAME)),
        DatabaseUrl::Postgres(_) => None,
    }
}

impl AppFile {
    /// Reads the file; none if it does not exist.
    ///
    /// # Errors
    /// [`AppFileError`].
    pub fn load(path: &Path) -> Result<Option<Self>, AppFileError> {
        let failed = |source| io(path, "read", source);
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let facts = file.metadata().map_err(failed)?;
        let unreadable =
            |reason: String| AppFileError::Unreadable { path: path.display().to_string(), reason };
        if !facts.is_file() || facts.len() > LIMIT {
            return Err(unreadable("it is too large, or not a file".into()));
        }
        if others_may_read(&facts) {
            return Err(AppFileError::Exposed { path: path.display().to_string() });
        }
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text).map_err(failed)?;
        // Only the position: an error of serde may quote the content.
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| unreadable(format!("see line {}, column {}", e.line(), e.column())))
    }

    /// Writes the file as a whole or not at all. Only its owner can read it. An existing file is an
    /// error.
    ///
    /// # Errors
    /// [`AppFileError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), AppFileError> {
        let failed = |source| io(path, "written", source);
        let written = Written {
            id: self.id,
            slug: &self.slug,
            html_url: &self.html_url,
            api_url: &self.api_url,
            public_url: &self.public_url,
            private_key: self.private_key.expose_secret(),
            webhook_secret: self.webhook_secret.expose_secret(),
            client_id: &self.client_id,
            client_secret: self.client_secret.expose_secret(),
        };
        let folder = folder_of(path);
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?; // mode 0600
        serde_json::to_writer_pretty(&mut file, &written).map_err(|e| failed(e.into()))?;
        file.write_all(b"\n").map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(path).map_err(|e| failed(e.error))?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Checks that the file could be written. GitHub gives the App's key only once, so this is checked
/// before the App is created.
///
/// # Errors
/// [`AppFileError::Io`].
pub fn probe(path: &Path) -> Result<(), AppFileError> {
    tempfile::NamedTempFile::new_in(folder_of(path)).map(drop).map_err(|source| io(path, "written", source))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io(path: &Path, what: &'static str, source: std::io::Error) -> AppFileError {
    AppFileError::Io { path: path.display().to_string(), what, source }
}

#[cfg(unix)]
fn others_may_read(facts: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn app() -> AppFile {
        AppFile {
            id: 7,
            slug: "pacegate-acme".into(),
            html_url: "https://github.com/apps/pacegate-acme".into(),
            api_url: "https://api.github.com".into(),
            public_url: "https://pacegate.example.com".into(),
            private_key: "a key\nof lines".to_owned().into(),
            webhook_secret: "a \"secret\"".to_owned().into(),
            client_id: "Iv1".into(),
            client_secret: "another".to_owned().into(),
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn saved_file_is_readable_by_owner_only() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("app.json");
        assert!(AppFile::load(&path).expect("no file is no error").is_none());
        probe(&path).expect("a writable folder");
        app().save(&path).expect("written");
        assert_eq!(mode(&path), 0o600);
        let read = AppFile::load(&path).expect("readable").expect("a file");
        assert_eq!(read.private_key.expose_secret(), "a key\nof lines");
        assert_eq!(read.webhook_secret.expose_secret(), "a \"secret\"");
        assert_eq!((read.id, read.slug.as_str()), (7, "pacegate-acme"));
        let second = app().save(&path).expect_err("never over another");
        assert!(second.to_string().contains("can't be written"), "{second}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn exposed_or_malformed_file_is_refused() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("app.json");
        app().save(&path).expect("written");
        for exposed in [0o640, 0o604, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(exposed)).expect("our own file");
            let error = AppFile::load(&path).expect_err("exposed");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for content in ["{\"private_key\": hunter2}", "", "{}"] {
            std::fs::write(&path, content).expect("our own file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
            let error = AppFile::load(&path).expect_err("not an App's file").to_string();
            assert!(error.contains("see line") && !error.contains("hunter2"), "{error}");
        }
        let nowhere = folder.path().join("missing/app.json");
        assert!(probe(&nowhere).is_err() && app().save(&nowhere).is_err());
    }

    #[test]
    fn default_path_is_beside_sqlite_database() {
        let path = |url: &str| default_path(&url.parse().expect("a URL"));
        assert_eq!(path("sqlite:///data/pacegate.db"), Some("/data/pacegate-app.json".into()));
        assert_eq!(path("sqlite://pacegate.db"), Some("pacegate-app.json".into()));
        assert_eq!(path("postgres://db/pacegate"), None);
    }
}
