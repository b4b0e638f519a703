//! What a repository wants of the gate: `.github/pacegate.yml` as types. Unknown keys and
//! impossible values are errors with a place, never guesses. Reading the text is
//! [`GatePolicy::from_yaml`]; where the file comes from is not known here.

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

/// A policy that can't be used: everything that is wrong with it, in the order of its lines.
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
    /// It is told, the check stays neutral.
    #[default]
    Advisory,
    /// It fails the check.
    Gate,
}

/// When a comment is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CommentRule {
    /// Only when there is something to say.
    #[default]
    OnFindings,
    /// On every pull request.
    Always,
    /// Never.
    Never,
}

/// How much history a baseline may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineRule {
    /// At most so many runs, the newest.
    pub runs: u32,
    /// None older than this.
    pub days: u32,
}

impl BaselineRule {
    /// The oldest a baseline's run may be.
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

/// The two floors: a slowdown below either is never reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floors {
    /// Candidate over baseline, at least this.
    pub min_ratio: f64,
    /// Candidate minus baseline, at least this long.
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

/// What happens with new errors.
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

/// Most samples that can be asked for: of what is older, newer ones tell more.
pub const MAX_CONFIRM: u32 = 8;

/// How a suspicion is turned into a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmRule {
    /// So many samples of the change have to agree, at least 2.
    pub samples: u32,
    /// The App may rerun a suspicious job once to get one.
    pub rerun: bool,
    /// So many jobs of the repository may be run again within a day.
    pub reruns_a_day: u32,
}

impl Default for ConfirmRule {
    fn default() -> Self {
        Self { samples: 2, rerun: false, reruns_a_day: 20 }
    }
}

/// A policy whose values make sense and whose patterns compile.
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

/// What applies to the stages a pattern matches; the first match wins.
#[derive(Debug, Clone)]
struct StageRule {
    matcher: GlobMatcher,
    ignore: bool,
    min_ratio: Option<f64>,
    min_increase: Option<Duration>,
    budget: Option<Duration>,
}

/// What applies to one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StagePolicy {
    /// Never judged.
    pub ignore: bool,
    /// The two floors.
    pub floors: Floors,
    /// Longest allowed duration.
    pub budget: Option<Duration>,
}

impl GatePolicy {
    /// Reads the policy file's text.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and column of everything that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        read::read(text)
    }

    /// What applies to the stage with this path.
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

    /// Whether a confirmed regression fails the check.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How much history a baseline may hold.
    #[must_use]
    pub fn baseline(&self) -> BaselineRule {
        self.baseline
    }

    /// Stages that were renamed.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// What happens with new errors.
    #[must_use]
    pub fn errors(&self) -> &ErrorRule {
        &self.errors
    }

    /// How a suspicion is turned into a verdict.
    #[must_use]
    pub fn confirm(&self) -> ConfirmRule {
        self.confirm
    }

    /// When a comment is posted.
    #[must_use]
    pub fn comment(&self) -> CommentRule {
        self.comment
    }
}

/// A path for the glob matcher, in which `/` separates parts only: one inside a part becomes
/// `∕`, so that `*` stays within a part whatever the part is called.
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
    fn the_contract_s_example_is_read() {
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
    fn mistakes_are_named_with_their_place() {
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
    fn all_mistakes_are_named_at_once() {
        let text = "version: 3\ndefaults: {min_increase: soon}\nstages:\n  - {match: a, min_ratio: 0}\n";
        let error = GatePolicy::from_yaml(text).expect_err("three mistakes");
        let places: Vec<_> = error.mistakes.iter().map(|m| (m.line, m.column)).collect();
        assert_eq!(places, [(1, 10), (2, 26), (4, 27)], "{error}");
        let huge = format!("#{}", "x".repeat(1 << 20));
        assert!(GatePolicy::from_yaml(&huge).is_err_and(|e| e.to_string().contains("larger than 128 KiB")));
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(GatePolicy::from_yaml("\n").map(|p| p.mode()), Ok(Mode::Advisory));
    }
}
