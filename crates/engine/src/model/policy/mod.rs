//! A repository's policy, `.github/pacegate.yml`, as types. Unknown keys and invalid values are errors
//! with line and column. [`GatePolicy::from_yaml`] reads the text. Fetching the file is not done here.

mod facts;
mod file;
mod placed;
mod read;

use std::time::Duration;

use globset::GlobMatcher;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use facts::{PolicyFacts, PolicySource, UnusablePolicy};
pub use file::schema;
pub use placed::Mistake;

/// A policy that can't be used, with all its mistakes in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy can't be used: {}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PolicyError {
    /// Never empty.
    pub mistakes: Vec<Mistake>,
}

/// Whether a confirmed regression fails the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Mode {
    /// A regression is reported and the check stays neutral.
    #[default]
    Advisory,
    /// A regression fails the check.
    Gate,
}

/// When a comment is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CommentRule {
    /// Only when there is a finding.
    #[default]
    OnFindings,
    /// On every pull request.
    Always,
    /// Never.
    Never,
}

/// Limits of the history in a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineRule {
    /// Largest number of runs. The newest are used.
    pub runs: u32,
    /// Largest age of a run.
    pub days: u32,
}

impl BaselineRule {
    /// Largest age of a baseline's run.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_hours(24) * self.days
    }
}

impl Default for BaselineRule {
    fn default() -> Self {
        Self { runs: 200, days: 90 }
    }
}

/// Two lower limits. A slowdown below either is never reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floors {
    /// Smallest candidate over baseline.
    pub min_ratio: f64,
    /// Smallest candidate minus baseline.
    pub min_increase: Duration,
}

impl Default for Floors {
    fn default() -> Self {
        Self { min_ratio: 1.10, min_increase: Duration::from_secs(2) }
    }
}

/// A stage that was renamed keeps its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Alias {
    /// Old path.
    pub from: String,
    /// New path.
    pub to: String,
}

/// Rules for new errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRule {
    /// A confirmed new error counts like a confirmed regression.
    pub gate: bool,
    /// Errors whose message contains one of these are not reported.
    pub ignore: Vec<String>,
}

impl Default for ErrorRule {
    fn default() -> Self {
        Self { gate: true, ignore: Vec::new() }
    }
}

/// Largest number of samples that a policy can require. With more, the newer samples would say more
/// about the change than the older ones.
pub const MAX_CONFIRM: u32 = 8;

/// How a suspected regression is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmRule {
    /// Number of samples of the change that must agree, at least 2.
    pub samples: u32,
    /// Whether the App may rerun a job with a suspected regression once to get a sample.
    pub rerun: bool,
    /// Largest number of jobs of the repository that are rerun within a day.
    pub reruns_a_day: u32,
}

impl Default for ConfirmRule {
    fn default() -> Self {
        Self { samples: 2, rerun: false, reruns_a_day: 20 }
    }
}

/// A policy with valid values and compiled patterns.
#[derive(Debug, Clone, Default)]
pub struct GatePolicy {
    mode: Mode,
    baseline: BaselineRule,
    floors: Floors,
    stages: Vec<StageRule>,
    aliases: Vec<Alias>,
    errors: ErrorRule,
    confirm: ConfirmRule,
    comment: CommentRule,
}

/// The rule for the stages that a pattern matches. The first match wins.
#[derive(Debug, Clone)]
struct StageRule {
    matcher: GlobMatcher,
    ignore: bool,
    min_ratio: Option<f64>,
    min_increase: Option<Duration>,
    budget: Option<Duration>,
}

/// The settings for one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StagePolicy {
    /// The stage never gets a verdict.
    pub ignore: bool,
    pub floors: Floors,
    /// Longest allowed duration.
    pub budget: Option<Duration>,
}

impl GatePolicy {
    /// Reads the policy file's text.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and column of each mistake.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        read::read(text)
    }

    /// The settings for the stage with this path.
    #[must_use]
    pub fn stage(&self, path: &[String]) -> StagePolicy {
        let text = glob_text(path.iter().map(String::as_str));
        let rule = self.stages.iter().find(|rule| rule.matcher.is_match(&text));
        StagePolicy {
            ignore: rule.is_some_and(|r| r.ignore),
            floors: Floors {
                min_ratio: rule.and_then(|r| r.min_ratio).unwrap_or(self.floors.min_ratio),
                min_increase: rule.and_then(|r| r.min_increase).unwrap_or(self.floors.min_increase),
            },
            budget: rule.and_then(|r| r.budget),
        }
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    #[must_use]
    pub fn baseline(&self) -> BaselineRule {
        self.baseline
    }

    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    #[must_use]
    pub fn errors(&self) -> &ErrorRule {
        &self.errors
    }

    #[must_use]
    pub fn confirm(&self) -> ConfirmRule {
        self.confirm
    }

    #[must_use]
    pub fn comment(&self) -> CommentRule {
        self.comment
    }
}

/// A path for the glob matcher. A `/` inside a part becomes `∕`, so that `*` stays within one part.
fn glob_text<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.map(|part| part.trim().replace('/', "\u{2215}")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split(" / ").map(str::to_owned).collect()
    }

    #[test]
    fn documented_example_is_read() {
        let policy = GatePolicy::from_yaml(
            "version: 1\nmode: gate\nbaseline: {runs: 200, days: 90}\ndefaults: {min_ratio: 1.10, min_increase: 2s}\n\
             stages:\n  - {match: \"CI / deploy / **\", ignore: true}\n  - {match: \"CI / test / **\", min_ratio: 1.25, budget: 10m}\n\
             aliases: [{from: \"CI / unit\", to: \"CI / test\"}]\nerrors: {gate: true, ignore: [\"connection reset by peer\"]}\n\
             confirm: {samples: 2, rerun: false}\ncomment: on-findings\n",
        )
        .expect("the example is valid");
        assert_eq!(policy.mode(), Mode::Gate);
        assert!(policy.stage(&path("CI / deploy / apply")).ignore);
        let test = policy.stage(&path("CI / test / unit / a/b"));
        assert_eq!((test.floors.min_ratio, test.budget), (1.25, Some(Duration::from_mins(10))));
        assert_eq!(policy.stage(&path("CI / build")).floors, Floors::default());
    }

    #[test]
    fn mistakes_have_line_and_column() {
        for (text, part) in [
            ("version: 2", "line 1, column 10: version: this Pacegate knows version 1"),
            ("mode: strict", "line 1, column 7: unknown variant `strict`, expected one of advisory, gate"),
            ("baselines: {}", "baselines"),
            ("confirm: {samples: 1}", "line 1, column 20: confirm.samples: one sample"),
            ("confirm: {samples: 9}", "2 to 8"),
            ("defaults: {min_ratio: 0.5}", "min_ratio"),
            ("defaults: {min_ratio: .nan}", "min_ratio"),
            ("defaults: {min_increase: 2 weeks}", "2 weeks"),
            ("stages: [{match: \"[\"}]", "match"),
            ("stages: [{match: a, min_ratio: .inf}]", "line 1, column 32: stages[0].min_ratio: a number"),
            ("stages:\n  - match: a\n    budget: 1y", "line 3, column 13: stages[0].budget: `1y` is not"),
            ("baseline: {runs: 0}", "line 1, column 18: baseline.runs: "),
            ("stages: 7", "line 1, column 9: "),
            ("mode: [", "line 1, column "),
            ("mode: gate\nmode: gate", "line 2, column 1: "),
            ("a: &a [*a]", "line 1, column "),
        ] {
            let error = GatePolicy::from_yaml(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = GatePolicy::from_yaml("version: 1\nmoed: gate\n").expect_err("a typo").to_string();
        assert!(error.contains("line 2, column 1: unknown field `moed`"), "{error}");
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let text = "version: 3\ndefaults: {min_increase: soon}\nstages:\n  - {match: a, min_ratio: 0}\n";
        let error = GatePolicy::from_yaml(text).expect_err("three mistakes");
        let places: Vec<_> = error.mistakes.iter().map(|m| (m.line, m.column)).collect();
        assert_eq!(places, [(1, 10), (2, 26), (4, 27)], "{error}");
        let huge = format!("#{}", "x".repeat(1 << 20));
        assert!(GatePolicy::from_yaml(&huge).is_err_and(|e| e.to_string().contains("larger than 128 KiB")));
    }

    #[test]
    fn empty_file_is_default_policy() {
        assert_eq!(GatePolicy::from_yaml("\n").map(|p| p.mode()), Ok(Mode::Advisory));
    }
}
