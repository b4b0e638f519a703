//! The rules for dependencies: licensed as listed here, from crates.io, and without the system's
//! TLS. Read offline from `cargo metadata` and `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences of code that a binary under MIT or Apache-2.0 may contain.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Other licences, each allowed only for the named crate. The comment gives the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Certificate data, not code; used unmodified.
    ("webpki-root-certs", "CDLA-Permissive-2.0"),
    ("webpki-roots", "CDLA-Permissive-2.0"),
];

/// TLS is rustls with aws-lc everywhere. A second TLS implementation would need security updates of
/// its own.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls"];

fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &target])
        .current_dir(root)
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("metadata is JSON")
}

/// Whether the allowed licences satisfy an SPDX expression. `OR` needs one side, `AND` needs all.
/// Old crates write `/` for `OR`.
fn is_met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&tokens, &mut at, allowed);
    met && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        // Not short-circuited, so that the tokens of every alternative are consumed.
        met |= all_of(tokens, at, allowed);
    }
    met
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let Some(&token) = tokens.get(*at) else { return false };
    *at += 1;
    if token == "(" {
        let met = any_of(tokens, at, allowed);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    if tokens.get(*at) == Some(&"WITH") {
        let whole = format!("{token} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
        return allowed(&whole) || allowed(token);
    }
    allowed(token)
}

fn refused(name: &str, licence: Option<&str>) -> Option<String> {
    let excepted = |token: &str| EXCEPTIONS.contains(&(name, token));
    match licence {
        Some(expression) if is_met(expression, &|token| ALLOWED.contains(&token) || excepted(token)) => None,
        Some(expression) => Some(format!("{name}: {expression}")),
        None => Some(format!("{name}: says no licence")),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let metadata = metadata();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|n| n["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let wrong: Vec<String> = packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .filter_map(|package| refused(package["name"].as_str().expect("a name"), package["license"].as_str()))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unlisted_licence_is_refused() {
    for (name, licence) in [
        ("a", Some("GPL-3.0-only")),
        ("a", Some("MIT AND GPL-3.0-only")),
        ("a", Some("(MIT OR Apache-2.0) AND LGPL-2.1")),
        ("a", Some("CDLA-Permissive-2.0")),
        ("a", None),
    ] {
        assert!(refused(name, licence).is_some(), "{licence:?}");
    }
    for (name, licence) in [
        ("a", "MIT/Apache-2.0"),
        ("a", "GPL-3.0-only OR MIT"),
        ("a", "Apache-2.0 WITH LLVM-exception OR Apache-2.0"),
        ("a", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        ("webpki-roots", "CDLA-Permissive-2.0"),
    ] {
        assert_eq!(refused(name, Some(licence)), None, "{licence}");
    }
}

/// Name, version and source of every locked package. Our own packages have no source.
fn locked() -> Vec<(String, String, Option<String>)> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("a lock");
    let field = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    text.split("[[package]]")
        .skip(1)
        .map(|block| {
            let required = |key| field(block, key).expect("a locked package has it");
            (required("name"), required("version"), field(block, "source"))
        })
        .collect()
}

#[test]
fn dependencies_come_from_crates_io_none_is_banned() {
    let locked = locked();
    assert!(locked.len() > 50, "the lock file is read");
    for (name, version, source) in &locked {
        assert!(!BANNED.contains(&name.as_str()), "{name} {version} is banned");
        match source.as_deref() {
            Some("registry+https://github.com/rust-lang/crates.io-index") => {}
            None => assert!(
                name == "pacegate" || name.starts_with("pacegate-"),
                "{name} is not of this workspace"
            ),
            Some(other) => panic!("{name} {version} comes from {other}"),
        }
    }
}

/// A report, not a check: the crates that are built in more than one version.
#[test]
fn duplicate_crates_are_reported() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version, _) in locked() {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, found| found.len() > 1);
    let report: Vec<_> =
        versions.iter().map(|(name, found)| format!("{name} {}", found.join(", "))).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duplicate-crates.txt");
    std::fs::write(path, report.join("\n") + "\n").expect("the report is written");
}
