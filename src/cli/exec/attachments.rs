//! Report files of a command: found by name, folder or pattern, read within bounds, and turned into
//! spans below the command. Files older than the command belong to another run and are not read.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use globset::{GlobBuilder, GlobMatcher};

use crate::cli::input::bytes_of_regular;
use pacegate_engine::model::span::Span;
use pacegate_engine::model::time::Timestamp;
use pacegate_ingest::reports::{Reports, extensions};
use pacegate_report::number_format::counted;

const FILE_BYTES: u64 = 128 << 20;
/// Files of one command.
const FILES: usize = 1_000;
/// Folder entries that are examined.
const ENTRIES: usize = 100_000;
const DEPTH: usize = 16;
/// A file system's clock may be behind the machine's clock by this.
const SLACK: Duration = Duration::from_secs(1);

/// The content of all reports.
#[derive(Default)]
pub(super) struct Attached {
    pub spans: Vec<Span>,
    /// Whether a report has a failed part.
    pub failures: bool,
    pub warnings: Vec<String>,
}

/// Reads the reports of a command that began at `started_at`.
pub(super) fn read(patterns: &[PathBuf], parent: &Span, started_at: Timestamp) -> Attached {
    let mut attached = Attached::default();
    let mut reports = Reports::default();
    for pattern in patterns {
        let files = files(pattern);
        if files.is_empty() {
            attached.warnings.push(format!("--attach {}: there is no such file", pattern.display()));
        }
        for file in files {
            if is_older(&file, started_at) {
                attached.warnings.push(format!(
                    "--attach {}: not read, because it is older than the command",
                    file.display()
                ));
                continue;
            }
            let name = file.display().to_string();
            let read = bytes_of_regular(&file, FILE_BYTES).map_err(|e| e.to_string());
            let added = read.and_then(|bytes| reports.add(&name, &bytes).map_err(|e| format!("{name}: {e}")));
            if let Err(problem) = added {
                attached.warnings.push(format!("--attach {problem}"));
            }
        }
    }
    attached.failures = reports.has_failures();
    let (spans, left_out) = reports.into_spans(|_, report, seed| report.spans(parent, seed));
    attached.spans = spans;
    if left_out > 0 {
        attached.warnings.push(format!(
            "--attach: {} left out; the suites, what failed and the slowest were kept",
            counted(left_out, "part")
        ));
    }
    attached
}

fn is_older(file: &Path, started_at: Timestamp) -> bool {
    let changed = std::fs::metadata(file).and_then(|data| data.modified()).ok();
    let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    changed.is_some_and(|since| Timestamp(0).after(since) < started_at.before(SLACK))
}

/// The files that match a pattern, sorted by name.
fn files(pattern: &Path) -> Vec<PathBuf> {
    if pattern.is_dir() {
        let is_report = |path: &Path| {
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            ending == "gz" || extensions().any(|extension| extension == ending)
        };
        return found(pattern, 1, |path| is_report(path));
    }
    let text = pattern.to_string_lossy();
    if pattern.exists() || !text.contains(['*', '?', '[', '{']) {
        return if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    // The parts before the first part with a wildcard are a plain folder.
    let plain: PathBuf = pattern
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
        .collect();
    let Some(matcher) = matcher(&text) else { return Vec::new() };
    let base = if plain.as_os_str().is_empty() { Path::new(".") } else { plain.as_path() };
    found(base, DEPTH, |path| matcher.is_match(path.strip_prefix("./").unwrap_or(path)))
}

fn matcher(text: &str) -> Option<GlobMatcher> {
    let text = text.strip_prefix("./").unwrap_or(text);
    GlobBuilder::new(text).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
}

/// Files below a folder; links to folders are not followed.
fn found(base: &Path, depth: usize, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(base.to_owned(), 1)];
    let mut looked_at = 0;
    while let Some((folder, level)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > ENTRIES || files.len() >= FILES {
                break;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let skipped = matches!(entry.file_name().to_str(), Some(".git" | "node_modules"));
            if kind.is_dir() && level < depth && !skipped {
                folders.push((entry.path(), level + 1));
            } else if kind.is_file() && wanted(&entry.path()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_folders_and_files_are_found() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for name in ["a/build/one.xml", "b/build/two.xml", "b/build/note.txt", "node_modules/three.xml"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
            std::fs::write(path, "").expect("a writable folder");
        }
        for (pattern, expected) in [
            ("**/*.xml", "a/build/one.xml b/build/two.xml"),
            ("*/build/t*.xml", "b/build/two.xml"),
            ("b/build", "b/build/two.xml"),
            ("b/build/note.txt", "b/build/note.txt"),
            ("*.xml", ""),
            ("missing.xml", ""),
            ("[", ""),
        ] {
            let found: Vec<String> = files(&folder.path().join(pattern))
                .iter()
                .filter_map(|path| Some(path.strip_prefix(folder.path()).ok()?.to_str()?.to_owned()))
                .collect();
            assert_eq!(found.join(" "), expected, "{pattern}");
        }
    }
}
