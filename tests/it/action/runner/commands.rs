//! The interface between a step and the runner: commands in its output, files of names and values,
//! and masks on every line of the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A warning, an error or a notice of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub level: String,
    pub message: String,
}

/// Secrets to hide in the log. All steps of a job share them.
#[derive(Clone, Default)]
pub(super) struct Masks {
    secrets: Arc<Mutex<Vec<String>>>,
}

impl Masks {
    /// Hides a value and each of its lines from now on.
    pub(super) fn add(&self, value: &str) {
        let lines = value.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned);
        let mut secrets = self.secrets.lock().expect("no panic inside");
        secrets.extend(lines);
        // The longest first, so that a secret within another leaves no rest visible.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Replaces the secrets in a line.
    pub(super) fn cover(&self, line: &str) -> String {
        let secrets = self.secrets.lock().expect("no panic inside");
        secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "***"))
    }

    /// Whether exactly this value is hidden.
    pub(super) fn holds(&self, value: &str) -> bool {
        self.secrets.lock().expect("no panic inside").iter().any(|secret| secret == value)
    }
}

/// The log of a step, with masked secrets.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub lines: Vec<String>,
    pub annotations: Vec<Annotation>,
    /// The number of groups that are open.
    pub open_groups: usize,
}

impl Log {
    /// Reads a line of a step's output.
    pub(super) fn take(&mut self, line: &str, masks: &Masks) {
        let Some((name, message)) = command(line) else {
            self.lines.push(masks.cover(line));
            return;
        };
        match name {
            "add-mask" => {
                masks.add(&message);
                self.lines.push("::add-mask::***".to_owned());
            }
            // Shown only if debug logging is on, which it is not here.
            "debug" => {}
            "warning" | "error" | "notice" => {
                let message = masks.cover(&message);
                self.lines.push(format!("##[{name}]{message}"));
                self.annotations.push(Annotation { level: name.to_owned(), message });
            }
            "group" => {
                self.open_groups += 1;
                self.lines.push(format!("##[group]{}", masks.cover(&message)));
            }
            "endgroup" => {
                self.open_groups = self.open_groups.checked_sub(1).expect("a group to end");
                self.lines.push("##[endgroup]".to_owned());
            }
            // The runner refuses these since 2022 with an error.
            "set-env" | "add-path" | "set-output" | "save-state" => panic!("{name} is written to a file"),
            other => panic!("no command of the runner: {other}"),
        }
    }

    pub(super) fn warnings(&self) -> Vec<&str> {
        self.annotations.iter().filter(|a| a.level == "warning").map(|a| a.message.as_str()).collect()
    }
}

/// Splits `::name key=value,key=value::message` into its name and unescaped message.
fn command(line: &str) -> Option<(&str, String)> {
    let (head, message) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let name = head.split(' ').next().filter(|name| !name.is_empty())?;
    let message = message.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
    Some((name, message))
}

/// Parses a file of names and values. An entry is `name=value`, or `name<<delimiter`, the lines of
/// the value and the delimiter. Anything else panics, as it fails a step on a runner.
pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        match (equals, heredoc) {
            (_, None) if line.is_empty() => {}
            (equals, Some(at)) if equals.is_none_or(|equals| at < equals) => {
                let (name, delimiter) = (&line[..at], &line[at + 2..]);
                assert!(!name.is_empty() && !delimiter.is_empty(), "invalid format: {line:?}");
                let mut value: Vec<&str> = Vec::new();
                loop {
                    match lines.next() {
                        Some(end) if end == delimiter => break,
                        Some(line) => value.push(line),
                        None => panic!("{name}: its delimiter {delimiter:?} is missing"),
                    }
                }
                found.insert(name.to_owned(), value.join("\n"));
            }
            (Some(at), _) => {
                found.insert(line[..at].to_owned(), line[at + 1..].to_owned());
            }
            _ => panic!("invalid format: {line:?}"),
        }
    }
    found
}

#[test]
fn name_value_files_parse_like_a_runner() {
    let text = "A=1\nB<<end\ntwo\nlines=x\nend\n\nC=a<<b\nD=\nE<<end\nend\n";
    let wanted = [("A", "1"), ("B", "two\nlines=x"), ("C", "a<<b"), ("D", ""), ("E", "")];
    assert_eq!(pairs(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    for wrong in ["no pair", "A<<end\nvalue", "<<end\nend"] {
        assert!(std::panic::catch_unwind(|| pairs(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn log_shows_commands_and_hides_secrets() {
    let (masks, mut log) = (Masks::default(), Log::default());
    for line in [
        "::add-mask::s3cret",
        "::add-mask::s3cret%0Aand more",
        "plain s3cret",
        "::group::A s3cret",
        "::warning file=a.rs,line=3::50%25 of s3cret%0Aand more",
        "::endgroup::",
        "::debug::s3cret",
        "a :: b",
        "::",
    ] {
        log.take(line, &masks);
    }
    let shown = [
        "::add-mask::***",
        "::add-mask::***",
        "plain ***",
        "##[group]A ***",
        "##[warning]50% of ***\n***",
        "##[endgroup]",
        "a :: b",
        "::",
    ];
    assert_eq!(log.lines, shown);
    assert_eq!(log.warnings(), ["50% of ***\n***"]);
    assert_eq!((log.open_groups, masks.holds("s3cret")), (0, true));
}
