//! What a repository wants of the gate: `.github/pacegate.yml` as types. Unknown keys and
//! impossible values are errors with a place, never guesses. Reading the text is
//! [`GatePolicy::from_yaml`]; where the file comes from is not known here.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// A policy that can't be used, in words that name the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy can't be used: {0}")]
pub struct PolicyError(pub String);

/// Whether a confirmed regression fails the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is told, the check stays neutral.
    #[default]
    Advisory,
    /// It fails the check.
    Gate,
}

/// When a comment is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Floors {
    /// Candidate over baseline, at least this.
    pub min_ratio: f64,
    /// Candidate minus baseline, at least this long.
    #[serde(with = "crate::model::duration")]
    pub min_increase: Duration,
}

impl Default for Floors {
    fn default() -> Self {
        Self { min_ratio: 1.10, min_increase: Duration::from_secs(2) }
    }
}

/// What applies to the stages a pattern matches; the first match wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRule {
    /// Glob over the stage's path: `CI / test / **`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Never judged.
    #[serde(default)]
    pub ignore: bool,
    /// Instead of the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ratio: Option<f64>,
    /// Instead of the default.
    #[serde(default, with = "crate::model::duration::optional", skip_serializing_if = "Option::is_none")]
    pub min_increase: Option<Duration>,
    /// Longer than this is a finding by itself, whatever the baseline.
    #[serde(default, with = "crate::model::duration::optional", skip_serializing_if = "Option::is_none")]
    pub budget: Option<Duration>,
}

/// A stage that was renamed keeps its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// Old path.
    pub from: String,
    /// New path.
    pub to: String,
}

/// What happens with new errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfirmRule {
    /// So many samples of the change have to agree, at least 2.
    pub samples: u32,
    /// The App may rerun a suspicious job once to get one.
    pub rerun: bool,
}

impl Default for ConfirmRule {
    fn default() -> Self {
        Self { samples: 2, rerun: false }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyFile {
    version: u32,
    mode: Mode,
    baseline: BaselineRule,
    defaults: Floors,
    stages: Vec<StageRule>,
    aliases: Vec<Alias>,
    errors: ErrorRule,
    confirm: ConfirmRule,
    comment: CommentRule,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            version: 1,
            mode: Mode::default(),
            baseline: BaselineRule::default(),
            defaults: Floors::default(),
            stages: Vec::new(),
            aliases: Vec::new(),
            errors: ErrorRule::default(),
            confirm: ConfirmRule::default(),
            comment: CommentRule::default(),
        }
    }
}

/// A policy whose values make sense and whose patterns compile.
#[derive(Debug, Clone, Default)]
pub struct GatePolicy {
    file: PolicyFile,
    matchers: Vec<GlobMatcher>,
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
    /// [`PolicyError`] with the line and column of an unknown key or wrong type, or with the
    /// name of a value that makes no sense.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = if text.trim().is_empty() {
            PolicyFile::default()
        } else {
            serde_saphyr::from_str(text).map_err(|e| PolicyError(e.to_string()))?
        };
        Self::check(file)
    }

    fn check(file: PolicyFile) -> Result<Self, PolicyError> {
        let refuse = |what: String| Err(PolicyError(what));
        if file.version != 1 {
            return refuse(format!("version: this Pacegate knows version 1, not {}", file.version));
        }
        let ratio_is_good = |r: f64| r.is_finite() && r >= 1.0;
        if !ratio_is_good(file.defaults.min_ratio) {
            return refuse("defaults.min_ratio: a number of at least 1.0 is expected".into());
        }
        if file.confirm.samples < 2 {
            return refuse(
                "confirm.samples: one sample never proves a regression; 2 or more is expected".into(),
            );
        }
        if file.confirm.samples > MAX_CONFIRM {
            return refuse(format!(
                "confirm.samples: at most {MAX_CONFIRM} samples are judged together; 2 to {MAX_CONFIRM} is expected"
            ));
        }
        if file.baseline.runs == 0 || file.baseline.days == 0 {
            return refuse("baseline: runs and days have to be at least 1".into());
        }
        let mut matchers = Vec::with_capacity(file.stages.len());
        for rule in &file.stages {
            if rule.min_ratio.is_some_and(|r| !ratio_is_good(r)) {
                return refuse(format!(
                    "stages `{}`: min_ratio: a number of at least 1.0 is expected",
                    rule.pattern
                ));
            }
            let glob = GlobBuilder::new(&glob_text(rule.pattern.split(" / ")))
                .literal_separator(true)
                .build()
                .map_err(|e| PolicyError(format!("stages: match `{}`: {}", rule.pattern, e.kind())))?;
            matchers.push(glob.compile_matcher());
        }
        Ok(Self { file, matchers })
    }

    /// What applies to the stage with this path.
    #[must_use]
    pub fn stage(&self, path: &[String]) -> StagePolicy {
        let text = glob_text(path.iter().map(String::as_str));
        let rule = self.matchers.iter().position(|m| m.is_match(&text)).map(|i| &self.file.stages[i]);
        let defaults = self.file.defaults;
        StagePolicy {
            ignore: rule.is_some_and(|r| r.ignore),
            floors: Floors {
                min_ratio: rule.and_then(|r| r.min_ratio).unwrap_or(defaults.min_ratio),
                min_increase: rule.and_then(|r| r.min_increase).unwrap_or(defaults.min_increase),
            },
            budget: rule.and_then(|r| r.budget),
        }
    }

    /// Whether a confirmed regression fails the check.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.file.mode
    }

    /// How much history a baseline may hold.
    #[must_use]
    pub fn baseline(&self) -> BaselineRule {
        self.file.baseline
    }

    /// Stages that were renamed.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.file.aliases
    }

    /// What happens with new errors.
    #[must_use]
    pub fn errors(&self) -> &ErrorRule {
        &self.file.errors
    }

    /// How a suspicion is turned into a verdict.
    #[must_use]
    pub fn confirm(&self) -> ConfirmRule {
        self.file.confirm
    }

    /// When a comment is posted.
    #[must_use]
    pub fn comment(&self) -> CommentRule {
        self.file.comment
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
            ("version: 2", "version 1"),
            ("mode: strict", "mode"),
            ("baselines: {}", "baselines"),
            ("confirm: {samples: 1}", "2 or more"),
            ("confirm: {samples: 9}", "2 to 8"),
            ("defaults: {min_ratio: 0.5}", "min_ratio"),
            ("defaults: {min_ratio: .nan}", "min_ratio"),
            ("defaults: {min_increase: 2 weeks}", "2 weeks"),
            ("stages: [{match: \"[\"}]", "match"),
            ("stages: [{match: a, min_ratio: .inf}]", "min_ratio"),
        ] {
            let error = GatePolicy::from_yaml(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = GatePolicy::from_yaml("version: 1\nmoed: gate\n").expect_err("a typo").to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(GatePolicy::from_yaml("\n").map(|p| p.mode()), Ok(Mode::Advisory));
    }
}
