//! The stages of one run as bars over time, as SVG. Draws at most [`ROWS`]: marked stages and the longest
//! ones, each with its ancestors. The number of stages that are not drawn is shown.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::stage::{StageKey, StageKind, StageSample};

use super::{escape, number_format};

/// Rows that are drawn at most.
pub const ROWS: usize = 80;

const WIDTH: f64 = 960.0;
const NAMES: f64 = 300.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 22.0;
const TOP: f64 = 28.0;
const INDENT: f64 = 12.0;
const DEEPEST_INDENT: usize = 10;
const TICKS: u32 = 4;

/// Stages to highlight.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks<'a> {
    pub critical: &'a [StageKey],
    pub slower: &'a [StageKey],
}

struct Row<'a> {
    stage: &'a StageSample,
    depth: usize,
}

/// The picture; empty if there are no stages.
#[must_use]
pub fn waterfall(stages: &[StageSample], marks: Marks<'_>) -> String {
    let rows = in_tree_order(stages);
    let (Some(begin), Some(end)) = (
        stages.iter().map(|s| s.start_offset_ns).min(),
        stages.iter().map(|s| s.end_offset_ns.max(s.start_offset_ns)).max(),
    ) else {
        return String::new();
    };
    let chosen = choose(stages, marks);
    let drawn: Vec<&Row<'_>> = rows.iter().filter(|row| chosen.contains(&row.stage.key)).collect();
    let left_out = rows.len() - drawn.len();

    let span = as_f64(end.saturating_sub(begin)).max(1.0);
    let x = |offset: i64| NAMES + as_f64(offset.saturating_sub(begin)) / span * (WIDTH - NAMES - RIGHT);
    let bottom = TOP + as_f64(drawn.len()) * ROW;
    let height = bottom + if left_out > 0 { ROW } else { 4.0 };

    let mut svg = format!(
        r#"<svg class="waterfall" viewBox="0 0 {WIDTH} {height}" role="img"><title>When each stage ran: {} over {}</title>"#,
        number_format::count(stages.len(), "stage", "stages"),
        number_format::duration(span / 1e9)
    );
    for tick in 0..=TICKS {
        let part = f64::from(tick) / f64::from(TICKS);
        let at = NAMES + part * (WIDTH - NAMES - RIGHT);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/><text class="tick" x="{at:.1}" y="16" text-anchor="middle">{}</text>"#,
            number_format::duration((part * span + as_f64(begin)) / 1e9)
        );
    }
    for (i, row) in drawn.iter().enumerate() {
        svg += &bar(row, TOP + as_f64(i) * ROW, marks, x);
    }
    if left_out > 0 {
        let _ = write!(
            svg,
            r#"<text class="tick" x="4" y="{:.1}">{} not drawn</text>"#,
            bottom + 16.0,
            number_format::count(left_out, "shorter stage", "shorter stages")
        );
    }
    svg + "</svg>"
}

fn bar(row: &Row<'_>, y: f64, marks: Marks<'_>, x: impl Fn(i64) -> f64) -> String {
    let stage = row.stage;
    let slower = marks.slower.contains(&stage.key);
    let critical = marks.critical.contains(&stage.key);
    let class = match (slower, critical, stage.result) {
        (true, _, _) => "bar slower",
        (_, _, RunResult::Failure | RunResult::Error | RunResult::Timeout) => "bar failed",
        _ if stage.kind == StageKind::Queue => "bar queue",
        (_, true, _) => "bar critical",
        _ => "bar",
    };
    let count = if stage.count > 1 { format!(" ({}x)", stage.count) } else { String::new() };
    let name = stage.path.last().map_or(stage.key.as_str(), String::as_str);
    let took = number_format::duration(stage.seconds());
    let about = [
        slower.then_some("slower than usual"),
        critical.then_some("on the critical path"),
        (stage.kind == StageKind::Queue).then_some("waiting for a runner"),
        stage.asynchronous.then_some("asynchronous"),
        (stage.result != RunResult::Success).then_some(stage.result.as_str()),
    ];
    let took_and_why =
        std::iter::once(took.as_str()).chain(about.into_iter().flatten()).collect::<Vec<_>>().join(", ");
    let (from, to) = (x(stage.start_offset_ns), x(stage.end_offset_ns.max(stage.start_offset_ns)));
    let indent = 4.0 + as_f64(row.depth.min(DEEPEST_INDENT)) * INDENT;
    let width = ((NAMES - indent) / 7.2).max(8.0);
    format!(
        r#"<g><title>{}{count}: {took_and_why}</title><text x="{indent:.0}" y="{:.1}">{}{count}</text><rect class="{class}" x="{from:.1}" y="{:.1}" width="{:.1}" height="14" rx="2"/><text class="took" x="{:.1}" y="{:.1}">{took}</text></g>"#,
        escape::html(&stage.path.join(" / ")),
        y + 15.0,
        escape::html(&shortened(name, width, count.len())),
        y + 4.0,
        (to - from).max(1.5),
        to.max(from + 1.5) + 5.0,
        y + 15.0,
    )
}

/// Cuts a name to the width of its column, by the width of a typical letter.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 8 and 42")]
fn shortened(name: &str, width: f64, taken: usize) -> String {
    let limit = (width as usize).saturating_sub(taken).max(4);
    let name = escape::readable(name);
    if name.chars().count() <= limit {
        return name;
    }
    name.chars().take(limit - 1).chain(['…']).collect()
}

/// Parents before children, siblings by start. A stage whose parent is missing is a root. In a cycle of
/// parents, the first stage that is found counts as the root.
fn in_tree_order(stages: &[StageSample]) -> Vec<Row<'_>> {
    let known: HashSet<&StageKey> = stages.iter().map(|s| &s.key).collect();
    let mut children: HashMap<Option<&StageKey>, Vec<&StageSample>> = HashMap::new();
    for stage in stages {
        let parent = stage.parent.as_ref().filter(|p| known.contains(p) && **p != stage.key);
        children.entry(parent).or_default().push(stage);
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| (b.start_offset_ns, &b.key).cmp(&(a.start_offset_ns, &a.key)));
    }
    let mut seen: HashSet<&StageKey> = HashSet::new();
    let mut rows = Vec::with_capacity(stages.len());
    let roots = children.get(&None).cloned().unwrap_or_default();
    // All stages are at the bottom of the stack, so those that are only in a cycle come last.
    let mut stack: Vec<(&StageSample, usize)> = stages.iter().rev().map(|s| (s, 0)).collect();
    stack.extend(roots.into_iter().map(|s| (s, 0)));
    while let Some((stage, depth)) = stack.pop() {
        if seen.insert(&stage.key) {
            rows.push(Row { stage, depth });
            let below = children.get(&Some(&stage.key)).into_iter().flatten();
            stack.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    rows
}

/// The keys that get a row.
fn choose<'a>(stages: &'a [StageSample], marks: Marks<'_>) -> HashSet<&'a StageKey> {
    let by_key: HashMap<&StageKey, &StageSample> = stages.iter().map(|s| (&s.key, s)).collect();
    let weight =
        |s: &StageSample| (marks.slower.contains(&s.key), marks.critical.contains(&s.key), s.duration_ns);
    let mut wanted: Vec<&StageSample> = by_key.values().copied().collect();
    wanted.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.key.cmp(&b.key)));
    let mut chosen: HashSet<&StageKey> = HashSet::new();
    for stage in wanted {
        // A longer line of ancestors does not fit. The bound also ends a cycle.
        let mut line = Vec::new();
        let mut at = Some(stage);
        while let Some(s) = at.filter(|s| !chosen.contains(&s.key) && line.len() <= ROWS) {
            line.push(&s.key);
            at = s.parent.as_ref().and_then(|p| by_key.get(p)).copied();
        }
        if chosen.len() + line.len() <= ROWS {
            chosen.extend(line);
        }
    }
    chosen
}

#[expect(clippy::cast_precision_loss, reason = "a picture of nanoseconds and rows")]
fn as_f64(n: impl TryInto<i64>) -> f64 {
    n.try_into().unwrap_or(i64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, parent: Option<&str>, from: i64, to: i64) -> StageSample {
        let key = |n: &str| StageKey::from_path(&[n.to_owned()]);
        StageSample {
            key: key(name),
            parent: parent.map(key),
            path: vec![name.to_owned()],
            duration_ns: (to - from) * 1_000_000_000,
            count: 1,
            start_offset_ns: from * 1_000_000_000,
            end_offset_ns: to * 1_000_000_000,
            result: RunResult::Success,
            asynchronous: false,
            kind: StageKind::Work,
            cache: None,
        }
    }

    #[test]
    fn rows_follow_the_tree_despite_cycles() {
        let stages = [
            stage("late", Some("ci"), 5, 9),
            stage("ci", None, 0, 9),
            stage("early", Some("ci"), 0, 4),
            stage("a", Some("b"), 1, 2),
            stage("b", Some("a"), 1, 2),
        ];
        let rows: Vec<(&str, usize)> =
            in_tree_order(&stages).iter().map(|r| (r.stage.path[0].as_str(), r.depth)).collect();
        assert_eq!(rows, [("ci", 0), ("early", 1), ("late", 1), ("a", 0), ("b", 1)]);
    }

    #[test]
    fn shortest_unmarked_stages_are_left_out() {
        let mut stages = vec![stage("ci", None, 0, 1_000)];
        stages.extend((1..=200).map(|i| stage(&format!("s{i}"), Some("ci"), 0, i)));
        let slower = [StageKey::from_path(&["s1".to_owned()])];
        let svg = waterfall(&stages, Marks { slower: &slower, critical: &[] });
        assert_eq!(svg.matches("<rect").count(), ROWS);
        assert!(svg.contains(">s1<") && svg.contains(">s200<") && !svg.contains(">s2<"));
        assert!(svg.contains("121 shorter stages not drawn"));
        assert_eq!(waterfall(&[], Marks::default()), "");
    }

    #[test]
    fn adversarial_names_are_escaped() {
        let mut adversarial = stage("</text><script>alert(1)</script>", None, -3, -5);
        adversarial.count = 12;
        let svg = waterfall(&[adversarial], Marks::default());
        assert!(!svg.contains("<script>") && svg.contains("(12x)"), "{svg}");
    }
}
