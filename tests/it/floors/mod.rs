//! Holds the floors of `ARCHITECTURE.md`: a file imports only from floors below its own, the
//! pure floors know nothing of the world, SQL stays in `store`, error responses in `web/error.rs`.
//!
//! The rules are a function over paths and text, so that made-up sources prove it can fail.

mod source;

use std::path::{Path, PathBuf};

use source::{Token, mentions, tokens};

/// From the ground up: a module may import every one before it, but for [`BARRED`] pairs. A new
/// module is refused until it is here.
const FROM_THE_GROUND: &[&str] = &[
    "stats", "model", "gate", "clock", "metrics", "config", "store", "ingest", "github", "report", "jobs",
    "web", "cli", "main",
];

/// Siblings that never import one another, and `report`, which renders values and knows no
/// configuration, database or network.
const BARRED: &[(&str, &[&str])] = &[
    ("ingest", &["store"]),
    ("github", &["store", "ingest"]),
    ("report", &["clock", "metrics", "config", "store", "ingest", "github"]),
];

/// Macros live at the crate's root whatever file they are written in.
const MACROS: &[(&str, &str)] = &[("on_db", "store")];

/// Floors that decide: values in, values out.
const PURE: &[&str] = &["stats", "model", "gate", "report"];
const OUTSIDE_WORLD: &[&str] = &["tokio", "sqlx", "octocrab", "axum", "rand"];
const CLOCKS: &[&str] = &["SystemTime", "Instant", "Utc", "Local"];

/// Everything that is wrong in one file; `path` is relative to `src`.
fn check(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some(own) = module.first() else { return Vec::new() };
    let tokens = tokens(text);
    let mut wrong = imports(path, own, &tokens, &module);
    let word = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    for (at, token) in tokens.iter().enumerate() {
        let name = token.text.as_str();
        let said = |what: &str| format!("src/{path}:{}: {what}", token.line);
        if PURE.contains(&own.as_str()) {
            if OUTSIDE_WORLD.contains(&name) {
                wrong.push(said(&format!("`{own}` decides and knows no `{name}`")));
            }
            if CLOCKS.contains(&name) && word(at + 1) == "::" && word(at + 2) == "now" {
                wrong.push(said(&format!("`{own}` takes the time as a parameter, not from `{name}::now`")));
            }
        }
        if name == "sqlx" && word(at + 1) == "::" && own != "store" {
            wrong.push(said("all SQL is in `store`"));
        }
        if name == "IntoResponse" && word(at + 1) == "for" && path != "web/error.rs" {
            let target: Vec<_> = tokens[at + 2..]
                .iter()
                .map(|t| t.text.as_str())
                .take_while(|t| *t != "{" && *t != "where")
                .collect();
            if target
                .iter()
                .any(|t| t.ends_with("Error") || t.ends_with("Failure") || t.ends_with("Rejection"))
            {
                wrong.push(said("only `web/error.rs` turns an error into a response"));
            }
        }
    }
    wrong
}

fn imports(path: &str, own: &str, tokens: &[Token], module: &[String]) -> Vec<String> {
    let Some(height) = FROM_THE_GROUND.iter().position(|name| *name == own) else {
        return vec![format!("src/{path}: `{own}` stands on no floor: give it one in tests/it/floors")];
    };
    let below = &FROM_THE_GROUND[..height];
    let barred = BARRED.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, barred)| barred);
    let mut wrong = Vec::new();
    for mention in mentions(tokens, module) {
        let named = mention.path[0].as_str();
        let target = MACROS.iter().find(|(name, _)| *name == named).map_or(named, |(_, home)| home);
        if target != own && (!below.contains(&target) || barred.contains(&target)) {
            wrong.push(format!(
                "src/{path}:{}: `{own}` may not import `{}`",
                mention.line,
                mention.path.join("::")
            ));
        }
    }
    wrong
}

/// `store/mod.rs` is `["store"]`, `store/runs.rs` is `["store", "runs"]`; `lib.rs` is the map of
/// the crate and stands nowhere.
fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Every Rust file below a folder, sorted.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
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

#[test]
fn every_file_imports_from_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(files.len() > 5, "the sources are found");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let relative = file.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
            check(&relative, &std::fs::read_to_string(file).expect("source text"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_stands_too_high_is_caught() {
    for (path, text) in [
        ("stats/level.rs", "use crate::model::ids::RepoId;"),
        ("model/run.rs", "use crate::gate::compare;"),
        ("gate/mod.rs", "fn f() { crate::store::connect(); }"),
        ("report/mod.rs", "use crate::{model::run, github::checks};"),
        ("report/mod.rs", "use crate::config::Config;"),
        ("store/runs.rs", "use crate::ingest::Limits;"),
        ("ingest/mod.rs", "use crate::{\n    model::{span::Span, trace},\n    github,\n};"),
        ("github/checks.rs", "use crate::report::Report;"),
        ("jobs/mod.rs", "use crate::web::AppState;"),
        ("web/mod.rs", "use crate::cli::serve;"),
        ("model/run.rs", "use super::super::store::Db;"),
        ("model/run.rs", "mod tests { use super::super::super::store::Db; }"),
        ("model/mod.rs", "use super::store;"),
        ("model/run.rs", "use super::super::{gate, stats};"),
        ("model/run.rs", "pub(in crate::store) struct X;"),
        ("gate/fit.rs", "fn f() { on(); crate::on_db!(tx); }"),
        ("gate/fit.rs", "fn f<'a>(x: &'a str) { let c = '\"'; use crate::store; }"),
        ("utils/mod.rs", ""),
    ] {
        assert_eq!(check(path, text).len(), 1, "{path}: {text}: {:?}", check(path, text));
    }
}

#[test]
fn what_stands_below_is_allowed() {
    for (path, text) in [
        ("model/run.rs", "use super::ids::RepoId; use crate::stats::robust;"),
        ("model/run.rs", "mod tests { use super::super::span::Span; use super::*; }"),
        ("model/run.rs", "// use crate::store\n/* crate::web /* crate::jobs */ crate::cli */"),
        ("model/run.rs", "const S: &str = \"crate::store\"; const R: &str = r#\"\" crate::web\"#;"),
        ("gate/compare.rs", "use crate::{model::{run::Run, stage}, stats};"),
        ("store/runs.rs", "use crate::clock::Clock; crate::on_db!(tx); crate::store::x();"),
        ("report/mod.rs", "use crate::model::comparison::Verdict; use crate::gate::history;"),
        ("web/mod.rs", "use crate::jobs::Job; use crate::store::Db; use crate::report::Report;"),
        ("main.rs", "fn main() { pacegate::cli::run() }"),
        ("cli/serve.rs", "use crate::{web, jobs, config::Config};"),
        ("lib.rs", "pub mod cli;"),
    ] {
        assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn the_pure_floors_know_no_world() {
    for (path, text) in [
        ("gate/fit.rs", "async fn f() { tokio::spawn(g()); }"),
        ("stats/robust.rs", "use rand::Rng;"),
        ("report/mod.rs", "use axum::response::Html;"),
        ("model/time.rs", "fn f() { std::time::SystemTime::now(); }"),
        ("model/time.rs", "fn f() { Utc::now(); }"),
        ("jobs/retain.rs", "fn f() { sqlx::query(\"\"); }"),
        ("web/pages/run.rs", "impl IntoResponse for PageError { }"),
        ("ingest/mod.rs", "impl axum::response::IntoResponse for crate::ingest::IngestError { }"),
    ] {
        assert_eq!(check(path, text).len(), 1, "{path}: {text}: {:?}", check(path, text));
    }
    for (path, text) in [
        ("store/runs.rs", "fn f() { sqlx::query(\"\"); }"),
        ("web/error.rs", "impl IntoResponse for WebError { }"),
        ("web/pages/mod.rs", "impl IntoResponse for Page { }"),
        ("model/time.rs", "//! Not `SystemTime::now`.\nuse std::time::SystemTime;"),
    ] {
        assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
