//! The layers of `ARCHITECTURE.md`. Crate borders enforce most of them: a crate can only use
//! what its `Cargo.toml` lists. These tests check the lists, and the few rules inside a crate.

use std::path::{Path, PathBuf};

/// Each crate and the crates of this workspace it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("clock", &["engine"]),
    ("ingest", &["engine"]),
    ("report", &["engine"]),
    ("store", &["clock", "engine"]),
    ("github", &["clock", "engine"]),
];

/// Crates that compute: they get values and return values.
const PURE: &[&str] = &["engine", "ingest", "report"];
const OUTSIDE_WORLD: &[&str] =
    &["axum", "hyper", "object_store", "octocrab", "rand", "reqwest", "sqlx", "tokio"];

/// A folder, and the text that no Rust file in it may contain, with the reason.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("crates/engine/src/stats", "crate::model", "stats knows numbers, not stages"),
    ("crates/engine/src/stats", "crate::gate", "stats knows numbers, not stages"),
    ("crates/engine/src/model", "crate::gate", "model is plain data"),
    ("src/tasks", "crate::web", "tasks run without a web server"),
    ("src/tasks", "crate::cli", "only commands wire things together"),
    ("src/web", "crate::cli", "only commands wire things together"),
    ("src", "sqlx::", "all SQL is in crates/store"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, sorted.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<&str> {
    let Some((_, rest)) = manifest.split_once("[dependencies]\n") else { return Vec::new() };
    let section = rest.split("\n[").next().unwrap_or(rest);
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty()).collect()
}

/// The names on `forbidden` that a manifest depends on.
fn used<'a>(manifest: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let listed = dependencies(manifest);
    forbidden.iter().filter(|name| listed.contains(name)).copied().collect()
}

/// Whether code outside comments contains the text.
fn contains(source: &str, text: &str) -> bool {
    source.lines().filter_map(|line| line.split("//").next()).any(|code| code.contains(text))
}

#[test]
fn crates_depend_only_on_lower_layers() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("crates"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut listed: Vec<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(names, listed, "each crate has a row in MAY_USE");
    for (name, allowed) in MAY_USE {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        let own: Vec<&str> =
            dependencies(&manifest).iter().filter_map(|name| name.strip_prefix("pacegate-")).collect();
        assert_eq!(own, *allowed, "crates/{name}/Cargo.toml");
        if PURE.contains(name) {
            assert_eq!(used(&manifest, OUTSIDE_WORLD), Vec::<&str>::new(), "crates/{name} only computes");
        }
        if *name != "store" {
            assert_eq!(used(&manifest, &["sqlx"]), Vec::<&str>::new(), "all SQL is in crates/store");
        }
    }
    assert_eq!(used(&read("Cargo.toml"), &["sqlx", "octocrab"]), Vec::<&str>::new(), "the application");
}

#[test]
fn folders_contain_no_forbidden_import() {
    let mut wrong = Vec::new();
    for (folder, text, reason) in FORBIDDEN {
        let files = rust_files(&root().join(folder));
        assert!(!files.is_empty(), "{folder} has sources");
        for file in files.iter().filter(|file| contains(&read(file), text)) {
            wrong.push(format!("{}: `{text}`: {reason}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_one_file_answers_with_errors() {
    let is_error = |source: &str| {
        source.lines().any(|line| {
            line.split_once("IntoResponse for ").is_some_and(|(_, of)| {
                of.split([' ', '{']).next().is_some_and(|name| name.ends_with("Error"))
            })
        })
    };
    assert!(is_error("impl IntoResponse for WebError {") && !is_error("impl IntoResponse for Page {"));
    let with: Vec<_> =
        rust_files(&root().join("src")).into_iter().filter(|file| is_error(&read(file))).collect();
    assert_eq!(with, [root().join("src/web/error.rs")]);
}

#[test]
fn forbidden_names_are_found() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\npacegate-engine.workspace = true\ntokio = \"1\"\n\n[lints]\nrand = 1\n";
    assert_eq!(dependencies(manifest), ["pacegate-engine", "tokio"]);
    assert_eq!(used(manifest, OUTSIDE_WORLD), ["tokio"]);
    assert!(contains("use crate::model::ids;", "crate::model"));
    assert!(!contains("// use crate::model", "crate::model"));
}
