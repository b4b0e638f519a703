//! The verdict as JSON for scripts, exactly as docs/api.md describes it: schema 1, with every field
//! always present and `null` for unknown values. Names are not escaped: programs that show them have to
//! do it.

use serde::{Deserialize, Serialize};

use super::headline::error_reason;
use pacegate_engine::model::comparison::{
    ErrorComparison, Exclusion, Location, RunComparison, StageComparison, Workings,
};
use pacegate_engine::model::decision::Decision;
use pacegate_engine::model::policy::Alias;
use pacegate_engine::model::structure::{Change, Side, StructuralChange};
use pacegate_engine::model::time::Timestamp;

use super::note;
use super::sentence::{exclusion, rename_evidence, seen_before, stage_reason};
use super::structure::{Medium, sentence};

/// Version of the document. New fields may be added without a new version.
pub const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictJson {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `pass`, `suspect`, `regressed`, `improved` or `inconclusive`.
    pub verdict: String,
    /// `OWNER/NAME`.
    pub repo: String,
    /// The candidate's newest commit.
    pub head_sha: String,
    pub baseline: BaselineJson,
    /// Runner speed: how many times as long as usual everything took.
    pub runner_factor: Option<f64>,
    pub wall_clock: WallClockJson,
    /// All stages, in the gate's order.
    pub stages: Vec<StageJson>,
    /// All errors of the candidate.
    pub errors: Vec<ErrorJson>,
    pub structure: Vec<ChangeJson>,
    pub notes: Vec<String>,
}

/// `baseline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineJson {
    pub runs: usize,
    /// Commit of the oldest run.
    pub from_sha: Option<String>,
    /// Commit of the newest run.
    pub to_sha: Option<String>,
    /// Runs that were left out, by reason.
    pub excluded: Vec<ExclusionJson>,
}

/// One of `excluded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionJson {
    /// In words.
    pub reason: String,
    pub runs: usize,
}

impl From<&Exclusion> for ExclusionJson {
    fn from(excluded: &Exclusion) -> Self {
        Self { reason: exclusion(&excluded.reason), runs: excluded.runs }
    }
}

/// `wall_clock`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WallClockJson {
    /// `null` when it is not a finite number.
    pub candidate_s: Option<f64>,
    pub baseline_median_s: Option<f64>,
    /// Stage keys, outermost first.
    pub critical_path: Vec<String>,
}

/// One of `stages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageJson {
    pub key: String,
    /// Names, pipeline first.
    pub path: Vec<String>,
    /// One of the run's verdicts, or `new`, `removed`, `not_comparable`.
    pub verdict: String,
    /// `null` when removed.
    pub candidate_s: Option<f64>,
    /// `null` when new.
    pub baseline_median_s: Option<f64>,
    /// Corrected for runner speed.
    pub ratio: Option<f64>,
    pub increase_s: Option<f64>,
    /// A finding exceeds `threshold`.
    pub score: Option<f64>,
    pub threshold: Option<f64>,
    /// Probability that an unchanged pull request shows as large a slowdown on any of its stages.
    pub probability: Option<f64>,
    /// Inputs of the probability, for a stage that became slower or faster.
    #[serde(default)]
    pub workings: Option<Workings>,
    /// Samples of the candidate.
    pub samples: usize,
    /// Samples of the baseline.
    pub baseline_samples: usize,
    /// On the critical path.
    pub critical: bool,
    /// Key of the deeper stage that accounts for the change.
    pub explained_by: Option<String>,
    /// Set when a person accepted or muted the finding. Then it has no effect on the verdict.
    #[serde(default)]
    pub decision: Option<DecisionJson>,
    pub reason: String,
    /// The line a reader would change.
    pub location: Option<Location>,
}

/// One of `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorJson {
    /// Stage key.
    pub stage: String,
    pub signature: String,
    #[serde(rename = "type")]
    pub error_type: String,
    pub message: String,
    /// `new`, `known`, `flaky` or `suspect`.
    pub verdict: String,
    /// `0 of 143 runs`.
    pub seen: String,
    /// Set when a person accepted or muted the finding. Then it has no effect on the verdict.
    #[serde(default)]
    pub decision: Option<DecisionJson>,
    pub reason: String,
    /// The line a reader would change.
    pub location: Option<Location>,
}

/// `decision` of a stage or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionJson {
    /// `accepted` or `muted`.
    pub kind: String,
    /// Login on GitHub.
    pub by: String,
    /// RFC 3339.
    pub at: String,
    /// RFC 3339; `null` for accepted findings.
    pub until: Option<String>,
    pub reason: String,
}

impl From<&Decision> for DecisionJson {
    fn from(decision: &Decision) -> Self {
        Self {
            kind: decision.kind.as_str().to_owned(),
            by: decision.by.clone(),
            at: decision.at.to_rfc3339(),
            until: decision.until.map(Timestamp::to_rfc3339),
            reason: decision.reason.clone(),
        }
    }
}

/// One of `structure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeJson {
    /// `added`, `removed`, `renamed`, `reordered` or `repeated`.
    pub change: String,
    pub key: String,
    /// Names, pipeline first.
    pub path: Vec<String>,
    /// The path a renamed stage had.
    pub from: Option<Vec<String>>,
    /// Reasons to regard it as renamed.
    pub evidence: Vec<String>,
    /// The policy entry that would keep its history.
    pub alias: Option<Alias>,
    /// The sibling that a reordered stage swapped places with.
    pub sibling: Option<Vec<String>>,
    /// `before` or `after`: its present place relative to that sibling.
    pub now: Option<String>,
    /// How often it ran, if that changed.
    pub count: Option<u32>,
    /// How often it usually ran.
    pub usual_count: Option<f64>,
    /// Seconds of each execution.
    pub each_s: Option<f64>,
    /// Usual seconds of each execution.
    pub usual_each_s: Option<f64>,
    /// Number of stages that were added or removed with it.
    pub within: Option<usize>,
    /// The change as a sentence.
    pub sentence: String,
}

impl VerdictJson {
    /// The document as indented text with a closing newline.
    ///
    /// # Errors
    /// None that a value of this type can cause; the serializer's signature has one.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl From<&RunComparison> for VerdictJson {
    fn from(comparison: &RunComparison) -> Self {
        let baseline = &comparison.baseline;
        let wall_clock = &comparison.wall_clock;
        Self {
            schema: SCHEMA,
            verdict: comparison.verdict.as_str().to_owned(),
            repo: comparison.repo.to_string(),
            head_sha: comparison.head_sha.to_string(),
            baseline: BaselineJson {
                runs: baseline.runs,
                from_sha: baseline.from_sha.as_ref().map(ToString::to_string),
                to_sha: baseline.to_sha.as_ref().map(ToString::to_string),
                excluded: baseline.excluded.iter().map(ExclusionJson::from).collect(),
            },
            runner_factor: comparison.runner_factor.and_then(tidy),
            wall_clock: WallClockJson {
                candidate_s: tidy(wall_clock.candidate_s),
                baseline_median_s: wall_clock.baseline_median_s.and_then(tidy),
                critical_path: wall_clock.critical_path.iter().map(ToString::to_string).collect(),
            },
            stages: comparison.stages.iter().map(StageJson::from).collect(),
            errors: comparison.errors.iter().map(ErrorJson::from).collect(),
            structure: comparison.structure.iter().map(ChangeJson::from).collect(),
            notes: comparison.notes.iter().map(note::sentence).collect(),
        }
    }
}

/// Rounds all numbers to six decimals.
fn rounded(workings: &Workings) -> Workings {
    let round = |value: f64| tidy(value).unwrap_or(0.0);
    Workings {
        predicted_s: round(workings.predicted_s),
        seconds: workings.seconds.iter().copied().map(round).collect(),
        deviations: workings.deviations.iter().copied().map(round).collect(),
        runner_factors: workings.runner_factors.iter().copied().map(round).collect(),
        scale: round(workings.scale),
        ln_scale_deviation: round(workings.ln_scale_deviation),
        level_deviation: round(workings.level_deviation),
        slow_shift: workings.slow_shift.map(round),
        slow_scale: workings.slow_scale.map(round),
        slow_share: workings.slow_share.map(round),
        tail_start: round(workings.tail_start),
        tail_slope: round(workings.tail_slope),
        tail_rate: round(workings.tail_rate),
        share: round(workings.share),
        ..workings.clone()
    }
}

/// Rounds to three significant digits.
fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

impl From<&StageComparison> for StageJson {
    fn from(stage: &StageComparison) -> Self {
        Self {
            key: stage.key.to_string(),
            path: stage.path.clone(),
            verdict: stage.verdict.as_str().to_owned(),
            candidate_s: stage.candidate_s.and_then(tidy),
            baseline_median_s: stage.baseline_median_s.and_then(tidy),
            ratio: stage.ratio.and_then(tidy),
            increase_s: stage.increase_s.and_then(tidy),
            score: stage.score.and_then(tidy),
            threshold: stage.threshold.and_then(tidy),
            workings: stage.workings.as_deref().map(rounded),
            probability: stage.probability.filter(|p| p.is_finite()).map(three_digits),
            samples: stage.samples,
            baseline_samples: stage.baseline_samples,
            critical: stage.critical,
            explained_by: stage.explained_by.as_ref().map(ToString::to_string),
            decision: stage.decision.as_ref().map(DecisionJson::from),
            reason: stage_reason(stage),
            location: stage.location.clone(),
        }
    }
}

impl From<&ErrorComparison> for ErrorJson {
    fn from(error: &ErrorComparison) -> Self {
        Self {
            stage: error.stage.to_string(),
            signature: error.signature.clone(),
            error_type: error.error_type.clone(),
            message: error.message.clone(),
            verdict: error.verdict.as_str().to_owned(),
            seen: seen_before(error),
            decision: error.decision.as_ref().map(DecisionJson::from),
            reason: error_reason(error),
            location: error.location.clone(),
        }
    }
}

impl From<&StructuralChange> for ChangeJson {
    fn from(change: &StructuralChange) -> Self {
        let mut json = Self {
            change: String::new(),
            key: change.key.to_string(),
            path: change.path.clone(),
            from: None,
            evidence: Vec::new(),
            alias: None,
            sibling: None,
            now: None,
            count: None,
            usual_count: None,
            each_s: None,
            usual_each_s: None,
            within: None,
            sentence: sentence(change, Medium { name: str::to_owned, text: str::to_owned }),
        };
        let kind = match &change.change {
            Change::Added { seconds, within } => {
                (json.each_s, json.within) = (tidy(*seconds), Some(*within));
                "added"
            }
            Change::Removed { usual_s, within } => {
                (json.usual_each_s, json.within) = (usual_s.and_then(tidy), Some(*within));
                "removed"
            }
            Change::Renamed { from, evidence, alias } => {
                json.from = Some(from.clone());
                (json.evidence, json.alias) = (evidence.iter().map(rename_evidence).collect(), alias.clone());
                "renamed"
            }
            Change::Reordered { sibling, now, .. } => {
                let now = if *now == Side::Before { "before" } else { "after" };
                (json.sibling, json.now) = (Some(sibling.clone()), Some(now.to_owned()));
                "reordered"
            }
            Change::Repeated(r) => {
                (json.count, json.usual_count) = (Some(r.count), tidy(r.usual_count));
                (json.each_s, json.usual_each_s) = (tidy(r.each_s), tidy(r.usual_each_s));
                "repeated"
            }
        };
        kind.clone_into(&mut json.change);
        json
    }
}

/// Rounds to six decimals, so that no binary fractions show. JSON has no infinities.
fn tidy(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e6).round() / 1e6)
}
