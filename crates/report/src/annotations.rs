//! Findings as annotations on the lines that a reader would change. A finding without a known line has
//! no annotation; it is only in the summary. Paths come from spans, so only relative ones are accepted.

use pacegate_engine::model::comparison::{
    ErrorComparison, ErrorVerdict, Location, StageComparison, StageVerdict,
};
use pacegate_engine::model::policy::Mode;

use super::headline::{Suspicion, certainty, error_reason, leaf, suspicion, unversioned};
use super::sentence::stage_reason;
use super::{Report, escape, number_format};

/// Annotations that are sent at most: four requests.
pub const LIMIT: usize = 200;

/// Severity of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Seen once.
    Notice,
    /// Confirmed, in advisory mode.
    Warning,
    /// Confirmed, in gate mode.
    Failure,
}

impl Level {
    /// Value in GitHub's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One finding at its line. Its texts are plain: GitHub reads no markup in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Relative to the repository's root.
    pub path: String,
    /// From 1.
    pub start_line: u32,
    /// The same as `start_line`.
    pub end_line: u32,
    pub level: Level,
    /// At most 255 characters.
    pub title: String,
    pub message: String,
}

/// All annotations: mistakes in the change's own policy, then the findings, most important first. There
/// may be more than [`LIMIT`].
#[must_use]
pub fn of(report: &Report) -> Vec<Annotation> {
    let confirmed = match report.context().mode {
        Mode::Gate => Level::Failure,
        Mode::Advisory => Level::Warning,
    };
    let stages = report.slower().filter_map(|stage| {
        let level = if stage.verdict == StageVerdict::Regressed { confirmed } else { Level::Notice };
        at(stage.location.as_ref()?, level, &stage_title(stage), stage_message(stage))
    });
    let errors = report.unfamiliar_errors().filter_map(|error| {
        let level = if error.verdict == ErrorVerdict::New { confirmed } else { Level::Notice };
        at(error.location.as_ref()?, level, &error_title(error), error_message(error))
    });
    super::policy::annotations(report).into_iter().chain(stages).chain(errors).collect()
}

fn at(location: &Location, level: Level, title: &str, message: String) -> Option<Annotation> {
    let path = location.path.as_str();
    let is_inside = !path.is_empty()
        && path.len() <= 1_000
        && !path.starts_with('/')
        && !path.contains('\\')
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| part != "..");
    is_inside.then(|| Annotation {
        path: path.to_owned(),
        start_line: location.line.max(1),
        end_line: location.line.max(1),
        level,
        title: title.chars().take(255).collect(),
        message,
    })
}

fn stage_title(stage: &StageComparison) -> String {
    let name = escape::plain(leaf(stage));
    match stage.ratio {
        Some(ratio) if ratio >= 1.005 => format!("{name}: {} slower", number_format::short_ratio(ratio)),
        _ => format!("{name}: slower"),
    }
}

fn stage_message(stage: &StageComparison) -> String {
    let numbers = match (stage.baseline_median_s, stage.candidate_s) {
        (Some(before), Some(now)) => {
            format!("{} before, {} now; ", number_format::duration(before), number_format::duration(now))
        }
        _ => String::new(),
    };
    // The reason contains the certainty.
    let reason = stage_reason(stage);
    if reason.is_empty() {
        format!("{numbers}{}.", certainty(stage))
    } else {
        format!("{numbers}{}", escape::plain_sentence(&reason))
    }
}

fn error_title(error: &ErrorComparison) -> String {
    let kind = match (error.verdict, suspicion(error)) {
        (ErrorVerdict::New, _) => "New error",
        (_, Suspicion::SeenOnce) => "Unknown error, seen once",
        (_, Suspicion::Unseen) => "Unknown error",
        (_, Suspicion::MoreOften) => "Known error, far more often than before",
    };
    format!("{kind}: {}", escape::plain(&error.error_type))
}

fn error_message(error: &ErrorComparison) -> String {
    let stage = error.path.last().map_or_else(|| unversioned(error.stage.as_str()), String::as_str);
    format!(
        "{} (in {}; {})",
        escape::plain_sentence(&error.message),
        escape::plain(stage),
        escape::plain_sentence(&error_reason(error))
    )
}
