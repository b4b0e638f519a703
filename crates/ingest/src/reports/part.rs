//! A part of a report: a suite, a test case or a step of a build, as its tool tells it. Where
//! it lies in time is `layout.rs`; this knows names, durations and outcomes, all bounded.

use std::time::Duration;

use super::ReportError;

/// Longest name and message that are kept, in characters, and longest stack trace.
const NAME_CHARS: usize = 300;
const MESSAGE_CHARS: usize = 1_000;
const STACK_CHARS: usize = 8_000;
/// Parts nested deeper hang on their ancestor at this depth.
const DEPTH: usize = 24;
/// No test and no step takes longer; what says so is not believed.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Holds others.
    Suite,
    /// One test.
    Case,
    /// One step of a build.
    Step,
}

/// What is known of a part's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    Unknown,
    /// Nanoseconds after the beginning of what the report is about.
    Offset(i64),
    /// Nanoseconds since the Unix epoch.
    At(i64),
}

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failure {
    pub kind: String,
    pub message: String,
    pub stack: String,
}

impl Failure {
    /// Of what a tool says; an empty kind is looked for before the message's colon
    /// (`ValueError: no such order`).
    pub(super) fn new(kind: &str, message: &str, stack: &str) -> Self {
        let (kind, message, stack) = (kind.trim(), message.trim(), stack.trim());
        let message = if message.is_empty() { stack.lines().next().unwrap_or_default() } else { message };
        let is_type = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$'))
                && text.contains(|c: char| c.is_ascii_uppercase())
        };
        let (kind, message) = match message.split_once(": ") {
            Some((before, after)) if kind.is_empty() && is_type(before) => (before, after),
            _ => (kind, message),
        };
        Self {
            kind: cut(if kind.is_empty() { "test failure" } else { kind }, NAME_CHARS),
            message: cut(message, MESSAGE_CHARS),
            stack: cut(stack, STACK_CHARS),
        }
    }
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Skipped,
    Failed(Failure),
}

/// One part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The part that holds it: always an earlier one.
    pub parent: Option<usize>,
    pub name: String,
    pub role: Role,
    pub start: Start,
    /// None: as long as what it holds.
    pub duration_ns: Option<i64>,
    pub outcome: Outcome,
    /// Whether it becomes a span.
    pub kept: bool,
    depth: usize,
}

/// The parts of a report, those that hold others first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    pub list: Vec<Part>,
    /// What a reader passed over because there was too much.
    pub left_out: usize,
    limit: usize,
}

impl Parts {
    pub(super) fn new(limit: usize) -> Self {
        Self { list: Vec::new(), left_out: 0, limit }
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.list.len())
    }

    /// Adds a part and tells its place.
    pub(super) fn add(
        &mut self,
        parent: Option<usize>,
        role: Role,
        name: &str,
        start: Start,
        duration_ns: Option<i64>,
    ) -> Result<usize, ReportError> {
        if self.room() == 0 {
            return Err(ReportError::TooLarge { limit: self.limit as u64, what: "parts" });
        }
        let mut parent = parent.filter(|p| *p < self.list.len());
        while let Some(p) = parent.filter(|p| self.list[*p].depth + 1 >= DEPTH) {
            parent = self.list[p].parent;
        }
        let name = cut(name.trim(), NAME_CHARS);
        self.list.push(Part {
            depth: parent.map_or(0, |p| self.list[p].depth + 1),
            parent,
            name: if name.is_empty() { "unnamed".to_owned() } else { name },
            role,
            start,
            duration_ns,
            outcome: Outcome::Passed,
            kept: true,
        });
        Ok(self.list.len() - 1)
    }

    /// Marks a part as failed or skipped.
    pub(super) fn settle(&mut self, at: usize, outcome: Outcome) {
        if let Some(part) = self.list.get_mut(at) {
            part.outcome = outcome;
        }
    }

    /// Gives suites that say neither what their parts say: how long those took together, and
    /// when the first of them began.
    pub(super) fn complete(&mut self) {
        let mut sums = vec![0_i64; self.list.len()];
        let mut firsts: Vec<Option<i64>> = vec![None; self.list.len()];
        for at in (0..self.list.len()).rev() {
            let part = &mut self.list[at];
            let duration = *part.duration_ns.get_or_insert(sums[at]);
            if let (Start::Unknown, Some(first)) = (part.start, firsts[at]) {
                part.start = Start::At(first);
            }
            let Some(parent) = part.parent else { continue };
            sums[parent] = sums[parent].saturating_add(duration);
            if let Start::At(start) = part.start {
                firsts[parent] = Some(firsts[parent].map_or(start, |first| first.min(start)));
            }
        }
    }

    /// Keeps what holds a part that is kept.
    pub(super) fn keep_ancestors(&mut self) {
        for at in (0..self.list.len()).rev() {
            if let (true, Some(parent)) = (self.list[at].kept, self.list[at].parent) {
                self.list[parent].kept = true;
            }
        }
    }
}

/// Nanoseconds of a number of seconds; none for what is no length of time.
pub(super) fn nanoseconds(seconds: f64) -> Option<i64> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)?;
    i64::try_from(duration.as_nanos()).ok()
}

/// A point in time, in nanoseconds, of seconds since the Unix epoch.
pub(super) fn moment(seconds: f64) -> Option<i64> {
    i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_nanos()).ok()
}

/// A point in time as text; one that names no zone is taken as UTC (`layout` notices when that
/// is wrong).
pub(super) fn moment_of(text: &str) -> Option<i64> {
    let text = text.trim();
    chrono::DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt()).or_else(
        || {
            let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
            naive.and_utc().timestamp_nanos_opt()
        },
    )
}

/// At most so many characters.
pub(super) fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
