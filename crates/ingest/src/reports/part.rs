//! The parts of a report: suites, test cases and build steps with bounded names, durations and
//! outcomes. `layout.rs` decides when each part begins.

use std::time::Duration;

use super::ReportError;
use crate::Limits;

/// Characters kept of a name, a message and a stack trace.
const NAME_CHARS: usize = 300;
const MESSAGE_CHARS: usize = 1_000;
const STACK_CHARS: usize = 8_000;
/// A part that is nested deeper becomes a child of its ancestor at this depth.
const DEPTH: usize = 24;
/// Longer durations are ignored.
const LONGEST: Duration = Duration::from_hours(24 * 30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Contains other parts.
    Suite,
    /// One test.
    Case,
    /// One step of a build.
    Step,
}

/// A part's beginning, as far as the report has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Unknown,
    /// Nanoseconds after the beginning of the command.
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
    /// If `kind` is empty, it is taken from the message: `ValueError: no such order`.
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
            kind: truncated(if kind.is_empty() { "test failure" } else { kind }, NAME_CHARS),
            message: truncated(message, MESSAGE_CHARS),
            stack: truncated(stack, STACK_CHARS),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PartOutcome {
    Passed,
    Skipped,
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The index of its parent, which is always smaller than its own.
    pub parent: Option<usize>,
    pub name: String,
    pub role: Role,
    pub start: Start,
    /// `None`: the sum of its children's durations.
    pub duration_ns: Option<i64>,
    pub outcome: PartOutcome,
    /// `true` if it becomes a span.
    pub kept: bool,
    depth: usize,
}

/// The parts of a report, parents before children.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    pub list: Vec<Part>,
    /// Parts that the reader skipped because there were too many.
    pub left_out: usize,
    pub limits: Limits,
}

impl Parts {
    pub(super) fn new(limits: Limits) -> Self {
        Self { list: Vec::new(), left_out: 0, limits }
    }

    /// How many more parts are allowed.
    pub(super) fn remaining(&self) -> usize {
        self.limits.spans.saturating_sub(self.list.len())
    }

    /// Adds a part and returns its index.
    pub(super) fn add(
        &mut self,
        parent: Option<usize>,
        role: Role,
        name: &str,
        start: Start,
        duration_ns: Option<i64>,
    ) -> Result<usize, ReportError> {
        if self.remaining() == 0 {
            return Err(ReportError::TooLarge { limit: self.limits.spans as u64, unit: "parts" });
        }
        let mut parent = parent.filter(|p| *p < self.list.len());
        while let Some(p) = parent.filter(|p| self.list[*p].depth + 1 >= DEPTH) {
            parent = self.list[p].parent;
        }
        let name = truncated(name.trim(), NAME_CHARS);
        self.list.push(Part {
            depth: parent.map_or(0, |p| self.list[p].depth + 1),
            parent,
            name: if name.is_empty() { "unnamed".to_owned() } else { name },
            role,
            start,
            duration_ns,
            outcome: PartOutcome::Passed,
            kept: true,
        });
        Ok(self.list.len() - 1)
    }

    pub(super) fn set_outcome(&mut self, at: usize, outcome: PartOutcome) {
        if let Some(part) = self.list.get_mut(at) {
            part.outcome = outcome;
        }
    }

    /// Fills in missing durations and starts: the sum of the children's durations and the earliest of
    /// their starts.
    pub(super) fn fill_from_children(&mut self) {
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

    /// Keeps the ancestors of every kept part.
    pub(super) fn keep_ancestors(&mut self) {
        for at in (0..self.list.len()).rev() {
            if let (true, Some(parent)) = (self.list[at].kept, self.list[at].parent) {
                self.list[parent].kept = true;
            }
        }
    }
}

/// Converts a duration in seconds to nanoseconds. `None` if it is negative, not finite or too long.
pub(super) fn nanoseconds(seconds: f64) -> Option<i64> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)?;
    i64::try_from(duration.as_nanos()).ok()
}

/// Converts a time in seconds since the Unix epoch to nanoseconds.
pub(super) fn unix_ns(seconds: f64) -> Option<i64> {
    i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_nanos()).ok()
}

/// Parses a time, in nanoseconds since the Unix epoch. A time without a zone is taken as UTC; `layout`
/// corrects it if that is wrong.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    chrono::DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt()).or_else(
        || {
            let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
            naive.and_utc().timestamp_nanos_opt()
        },
    )
}

/// The first characters of a text.
pub(super) fn truncated(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
