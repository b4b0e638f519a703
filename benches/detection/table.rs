//! Aggregates the scores of many trials as Markdown: alarms with their interval, recall, and both at
//! the threshold at which a rule alarms on 2% of unchanged pull requests.

use pacegate_engine::stats::count;
use pacegate_engine::stats::proportion::wilson;

/// Factors by which a stage is slowed.
pub(crate) const FACTORS: [f64; 5] = [1.1, 1.2, 1.3, 1.5, 2.0];
/// The share of alarms at which rules are compared.
const MATCHED: f64 = 0.02;

/// The scores of a rule in one trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    /// On the unchanged pull request.
    pub alarm: f64,
    /// By factor, on the slowed stage; none when no stage is long enough.
    pub found: Option<[f64; FACTORS.len()]>,
}

/// One rule over all trials.
pub(crate) struct Tally {
    threshold: f64,
    scores: Vec<Score>,
}

impl Tally {
    /// The tally of a rule that alarms above a threshold.
    pub(crate) fn new(threshold: f64, scores: Vec<Score>) -> Self {
        Self { threshold, scores }
    }

    fn alarms(&self, threshold: f64) -> f64 {
        share(self.scores.iter().map(|score| score.alarm > threshold))
    }

    /// By factor: the share that is found at the rule's own threshold.
    pub(crate) fn recall(&self) -> [f64; FACTORS.len()] {
        self.recall_above(self.threshold)
    }

    fn recall_above(&self, threshold: f64) -> [f64; FACTORS.len()] {
        let found = || self.scores.iter().filter_map(|score| score.found);
        std::array::from_fn(|factor| share(found().map(|found| found[factor] > threshold)))
    }

    /// The lowest threshold above which no more than [`MATCHED`] of the trials are.
    fn matched_threshold(&self) -> f64 {
        let mut alarms: Vec<f64> = self.scores.iter().map(|score| score.alarm).collect();
        alarms.sort_by(|a, b| b.total_cmp(a));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let allowed = (MATCHED * count(alarms.len())) as usize;
        alarms.get(allowed).copied().unwrap_or(0.0)
    }

    /// Alarms with their interval, percent.
    pub(crate) fn alarms_cell(&self) -> String {
        interval(self.alarms(self.threshold), self.scores.len())
    }

    /// Recall at the rule's own threshold, percent.
    pub(crate) fn recall_cell(&self) -> String {
        recall_cell(&self.recall())
    }

    /// Alarms and recall at the matched threshold, percent.
    pub(crate) fn matched_cells(&self) -> [String; 2] {
        let threshold = self.matched_threshold();
        [percent(self.alarms(threshold)), recall_cell(&self.recall_above(threshold))]
    }

    /// The gate's nominal probability of a false alarm at the matched threshold, and recall there to a
    /// tenth of a percent.
    pub(crate) fn matched_level(&self) -> [String; 2] {
        let threshold = self.matched_threshold();
        let recall = self.recall_above(threshold).map(percent);
        [format!("{:.4}", (-threshold).exp()), recall.join(" / ")]
    }

    /// Alarms, recall, and recall at the matched threshold.
    pub(crate) fn cells(&self) -> [String; 3] {
        let [_, matched] = self.matched_cells();
        [self.alarms_cell(), self.recall_cell(), matched]
    }

    /// Whether at most [`MATCHED`] of the trials have an alarm.
    pub(crate) fn is_quiet(&self) -> bool {
        self.alarms(self.threshold) <= MATCHED
    }
}

fn share(hits: impl Iterator<Item = bool>) -> f64 {
    let (mut yes, mut all) = (0, 0);
    for hit in hits {
        yes += usize::from(hit);
        all += 1;
    }
    count(yes) / count(all.max(1))
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A share with Wilson's 95% interval, percent.
pub(crate) fn interval(share: f64, trials: usize) -> String {
    let (low, high) = wilson(share, count(trials));
    format!("{} ({}-{})", percent(share), percent(low), percent(high))
}

fn recall_cell(recall: &[f64]) -> String {
    recall.iter().map(|share| format!("{:.0}", 100.0 * share)).collect::<Vec<_>>().join(" / ")
}

/// Begins a Markdown table.
pub(crate) fn begin_table(title: &str, head: &[&str]) {
    say(&format!("\n{title}\n"));
    print_row(head.iter().copied());
    say(&format!("|{}", "---|".repeat(head.len())));
}

/// A row of the table that was begun last.
pub(crate) fn print_row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) {
    let mut line = "|".to_owned();
    for cell in cells {
        line.push(' ');
        line.push_str(cell.as_ref());
        line.push_str(" |");
    }
    say(&line);
}

#[expect(clippy::print_stdout, reason = "tables are what this prints")]
fn say(line: &str) {
    println!("{line}");
}
