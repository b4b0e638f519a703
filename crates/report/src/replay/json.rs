//! The replay as JSON for scripts, as docs/replay.md describes it. Shares are 0 to 1, and `null` where
//! nothing was counted. Names are not escaped.

use serde::Serialize;

use super::stage_name;
use crate::sentence::history_change;
use pacegate_engine::gate::replay::SIZES;
use pacegate_engine::gate::replay::incumbents::Rule;
use pacegate_engine::gate::replay::summary::{Change, Matched, Performance, Rates, Replay};
use pacegate_engine::model::history::{ChangeKind, HistoryChange};

/// Version of the document. New fields may be added without a new version.
pub const SCHEMA: u32 = 1;

/// A map whose keys keep their order.
#[derive(Debug, Clone, PartialEq)]
struct Ordered<V>(Vec<(String, V)>);

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

/// One pipeline's replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayJson {
    schema: u32,
    pipeline: String,
    runs: usize,
    possible: usize,
    replayed: usize,
    skipped: usize,
    missing_runs: usize,
    slowed: usize,
    independent: usize,
    commits: usize,
    seed: u64,
    alarms: RatesJson,
    alarms_95: [Option<f64>; 2],
    recall: Ordered<RatesJson>,
    incumbents: Ordered<PerformanceJson>,
    matched: Ordered<MatchedJson>,
    changes: Vec<ChangeJson>,
    history: Vec<LastingChangeJson>,
    stages: Vec<StageJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_pipelines: Vec<ReplayJson>,
}

/// A change that lasted, between two commits.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct LastingChangeJson {
    stage: String,
    kind: ChangeKind,
    ratio: Option<f64>,
    before_s: Option<f64>,
    after_s: Option<f64>,
    from_sha: String,
    to_sha: String,
    since: String,
    runs: usize,
    sentence: String,
}

impl From<&HistoryChange> for LastingChangeJson {
    fn from(change: &HistoryChange) -> Self {
        Self {
            stage: stage_name(&change.path),
            kind: change.kind,
            ratio: tidy(change.ratio),
            before_s: tidy(change.before_s),
            after_s: tidy(change.after_s),
            from_sha: change.from_sha.to_string(),
            to_sha: change.to_sha.to_string(),
            since: change.since.to_rfc3339(),
            runs: change.runs,
            sentence: history_change(change),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct RatesJson {
    single: Option<f64>,
    confirmed: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct PerformanceJson {
    alarms: RatesJson,
    recall: Ordered<RatesJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct MatchedJson {
    limit_scale: Option<f64>,
    alarms: Option<f64>,
    recall: Ordered<Option<f64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ChangeJson {
    started_at: String,
    run: String,
    commit: String,
    stage: String,
    ratio: Option<f64>,
    increase_s: Option<f64>,
    pull_requests: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct StageJson {
    stage: String,
    median_s: Option<f64>,
    runs: usize,
    detectable_ratio: Option<f64>,
    detectable_increase_s: Option<f64>,
}

impl ReplayJson {
    /// One document for the replays of several pipelines: the first, with the others inside it. None if
    /// there are no replays.
    #[must_use]
    pub fn of(replays: &[(String, Replay)]) -> Option<Self> {
        let mut documents = replays.iter().map(|(pipeline, replay)| Self::one(pipeline, replay));
        let mut first = documents.next()?;
        first.other_pipelines = documents.collect();
        Some(first)
    }

    /// The document as indented text with a closing newline.
    ///
    /// # Errors
    /// None that a value of this type can cause; the serializer's signature has one.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    fn one(pipeline: &str, replay: &Replay) -> Self {
        let interval = (replay.replayed > 0).then_some(replay.alarm_interval);
        Self {
            schema: SCHEMA,
            pipeline: pipeline.to_owned(),
            runs: replay.runs,
            possible: replay.possible,
            replayed: replay.replayed,
            skipped: replay.skipped,
            missing_runs: replay.missing_runs,
            slowed: replay.slowed,
            independent: replay.independent,
            commits: replay.settings.commits,
            seed: replay.settings.seed,
            alarms: replay.ours.alarms.into(),
            alarms_95: [interval.and_then(|i| tidy(i.0)), interval.and_then(|i| tidy(i.1))],
            recall: by_size(replay.ours.recall.map(Into::into)),
            incumbents: by_rule(replay.incumbents.iter().map(|(rule, p)| (*rule, p.into()))),
            matched: by_rule(replay.matched.iter().map(|m| (m.rule, m.into()))),
            changes: replay.changes.iter().map(Into::into).collect(),
            history: replay.history.iter().map(Into::into).collect(),
            stages: replay
                .stages
                .iter()
                .map(|stage| StageJson {
                    stage: stage_name(&stage.path),
                    median_s: tidy(stage.median_s),
                    runs: stage.runs,
                    detectable_ratio: stage.detectable_ratio.and_then(tidy),
                    detectable_increase_s: stage.detectable_increase_s.and_then(tidy),
                })
                .collect(),
            other_pipelines: Vec::new(),
        }
    }
}

/// Keys `1.1`, `1.2`, ..., always with one decimal.
fn by_size<V>(values: [V; SIZES.len()]) -> Ordered<V> {
    Ordered(SIZES.iter().map(|size| format!("{size:.1}")).zip(values).collect())
}

fn by_rule<V>(values: impl Iterator<Item = (Rule, V)>) -> Ordered<V> {
    Ordered(values.map(|(rule, value)| (rule.as_str().to_owned(), value)).collect())
}

/// Rounds to six decimals. None for a value that is not finite.
fn tidy(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e6).round() / 1e6)
}

impl From<Rates> for RatesJson {
    fn from(rates: Rates) -> Self {
        Self { single: rates.single.and_then(tidy), confirmed: rates.confirmed.and_then(tidy) }
    }
}

impl From<&Performance> for PerformanceJson {
    fn from(performance: &Performance) -> Self {
        Self { alarms: performance.alarms.into(), recall: by_size(performance.recall.map(Into::into)) }
    }
}

impl From<&Matched> for MatchedJson {
    fn from(matched: &Matched) -> Self {
        Self {
            limit_scale: tidy(matched.scale),
            alarms: matched.alarms.and_then(tidy),
            recall: by_size(matched.recall.map(|share| share.and_then(tidy))),
        }
    }
}

impl From<&Change> for ChangeJson {
    fn from(change: &Change) -> Self {
        Self {
            started_at: change.at.to_rfc3339(),
            run: change.run.to_string(),
            commit: change.commit.to_string(),
            stage: stage_name(&change.finding.path),
            ratio: tidy(change.finding.ratio),
            increase_s: tidy(change.finding.increase_s),
            pull_requests: change.pull_requests,
        }
    }
}
