//! Rules for the whole repository: text that no file may contain, the maximal length of a file, and
//! equal migrations for both databases.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::layers::rust_files;

const LONGEST_FILE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that git tracks or would add. Generated files are left out.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git lists the files");
    let text = String::from_utf8(listed.stdout).expect("names are text");
    text.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

/// The first path in a line that belongs to one particular machine.
fn machine_path(line: &str) -> Option<&'static str> {
    // Split in two, so that this file does not contain the paths.
    const HOMES: [(&str, &str); 4] = [("/ro", "ot/"), ("/wo", "rk/"), ("/ho", "me/"), ("/Us", "ers/")];
    HOMES.iter().find_map(|(start, end)| {
        line.match_indices(&format!("{start}{end}"))
            // A match in the middle of a longer path, such as a URL's path, does not count.
            .any(|(at, _)| {
                line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"./}_-".contains(c))
            })
            .then_some(*start)
    })
}

#[test]
fn no_file_contains_a_machine_path() {
    let mut found = Vec::new();
    for name in files() {
        // Binary files are skipped: their content is not written by hand.
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if machine_path(line).is_some() {
                found.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn machine_path_is_detected() {
    let built = |parts: [&str; 2]| machine_path(&format!("see {}", parts.concat())).is_some();
    assert!(built(["/ro", "ot/x"]) && built(["/ho", "me/someone/x"]));
    assert!(!built(["https://example.com/ho", "me/page"]) && !built(["", "/usr/lib"]));
}

#[test]
fn lock_files_name_no_registry_host() {
    for name in files().iter().filter(|name| name.ends_with("package-lock.json")) {
        let text = std::fs::read_to_string(root().join(name)).expect("a lock file");
        assert!(
            !text.contains("\"resolved\": \"http"),
            "{name}: install with omit-lockfile-registry-resolved=true"
        );
    }
}

#[test]
fn source_files_open_with_comment_and_are_short() {
    let mut wrong = Vec::new();
    for folder in ["src", "crates", "tests/it"] {
        for path in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&path).expect("source text");
            let lines = text.lines().count();
            if !text.starts_with("//!") {
                wrong.push(format!("{}: opens with no `//!`", path.display()));
            }
            if lines > LONGEST_FILE {
                wrong.push(format!("{}: {lines} lines, more than {LONGEST_FILE}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The version stamps of a migrations folder, empty when the folder does not exist.
fn stamps(database: &str) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(root().join("migrations").join(database)) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .filter_map(|path| path.file_name()?.to_string_lossy().split('_').next().map(str::to_owned))
        .collect()
}

#[test]
fn both_databases_have_same_migrations() {
    assert_eq!(stamps("sqlite"), stamps("postgres"));
}
