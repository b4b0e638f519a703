//! Changes in the structure of a pipeline, as sentences without a full stop. Callers pass how their
//! medium escapes names and texts; every untrusted part passes through that.

use pacegate_engine::model::structure::{Change, Side, StructuralChange};

use super::number_format;
use super::sentence::{rename_evidence, repetition};

/// Heading of this part in all media.
pub const HEADING: &str = "What changed in the pipeline";

/// Longest path that is shown, characters. Of a longer one, the end is shown.
const PATH_WIDTH: usize = 80;

/// A medium's escaping of untrusted text.
#[derive(Clone, Copy)]
pub struct Medium {
    pub name: fn(&str) -> String,
    /// For a sentence that may quote a name.
    pub text: fn(&str) -> String,
}

/// The sentence for one change.
#[must_use]
pub fn sentence(change: &StructuralChange, medium: Medium) -> String {
    let path = |path: &[String]| (medium.name)(&number_format::tail(&path.join(" / "), PATH_WIDTH));
    let stage = path(&change.path);
    match &change.change {
        Change::Added { seconds, within } => {
            format!("{stage} is new{}: it took {}", holding(*within), number_format::duration(*seconds))
        }
        Change::Removed { usual_s, within } => {
            let usually = usual_s
                .map_or_else(String::new, |s| format!(": it usually took {}", number_format::duration(s)));
            format!("{stage} is gone{}{usually}", holding(*within))
        }
        Change::Renamed { from, evidence, .. } => {
            let why = (medium.text)(&evidence.iter().map(rename_evidence).collect::<Vec<_>>().join("; "));
            format!("{stage} looks like {} under a new name: {why}", path(from))
        }
        Change::Reordered { sibling, now, runs, of } => {
            let (now, then) = match now {
                Side::Before => ("before", "after"),
                Side::After => ("after", "before"),
            };
            let sibling = (medium.name)(sibling.last().map_or("", String::as_str));
            let runs = number_format::number(*runs);
            format!(
                "{stage} now runs {now} {sibling}; it ran {then} it in {runs} of {} runs",
                number_format::number(*of)
            )
        }
        Change::Repeated(repetition) => {
            format!("{stage} {}", (medium.text)(&self::repetition(repetition)))
        }
    }
}

/// The policy line that keeps the history of a renamed stage.
#[must_use]
pub fn alias_line(change: &StructuralChange) -> Option<String> {
    let Change::Renamed { alias: Some(alias), .. } = &change.change else { return None };
    // Every JSON string is also a YAML string.
    let quoted = |text: &str| serde_json::to_string(text).ok();
    Some(format!("aliases: [{{from: {}, to: {}}}]", quoted(&alias.from)?, quoted(&alias.to)?))
}

fn holding(within: usize) -> String {
    match within {
        0 => String::new(),
        n => format!(" with {} in it", number_format::count(n, "stage", "stages")),
    }
}
