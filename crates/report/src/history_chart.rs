//! One stage's history as a standalone SVG: a dot for each run, the prediction, the band in which
//! its runs normally lie, and the verdict on the candidate's runs. It carries its own background and
//! colours for light and dark pages.

use std::fmt::Write as _;

use super::{escape, number_format};

/// The content of the picture. Durations are seconds.
#[derive(Debug, Clone, Copy)]
pub struct HistoryChart<'a> {
    pub title: &'a str,
    /// The baseline's runs, oldest first.
    pub baseline_s: &'a [f64],
    /// The change's runs, oldest first.
    pub candidate_s: &'a [f64],
    /// The same runs with the runner's speed left in. Each is a ring, joined to its dot if it has one.
    pub candidate_as_timed_s: &'a [f64],
    pub prediction: Option<Prediction>,
    /// The meaning of the marks, shown beside the title.
    pub legend: &'a str,
    /// A short text below the candidate's runs. May be empty.
    pub verdict: &'a str,
    /// Whether the verdict is a slowdown: colours the candidate's runs.
    pub is_slower: bool,
}

/// The expected duration and the band that holds most runs, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Prediction {
    pub expected_s: f64,
    pub low_s: f64,
    pub high_s: f64,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 40.0;
/// Free columns between the baseline and the candidate.
const GAP: usize = 2;
const TICKS: f64 = 5.0;
/// Of the candidate's dots and rings.
const RADIUS: f64 = 4.5;

const STYLE: &str = ".paper{fill:#fff;stroke:#e3e3de}text{font:13px system-ui,sans-serif;fill:#1c1d21}.soft{fill:#62656e}\
.title{font-size:15px;font-weight:600}.grid{stroke:#e3e3de}.band{fill:#4a7fc4;fill-opacity:.14}\
.expected{stroke:#4a7fc4;stroke-width:1.5;stroke-dasharray:6 4}.past{fill:#8b98ad}.now{fill:#1f7a3d}\
.slower{fill:#c4302b}text.slower{font-weight:600}text.now{font-weight:600}\
.timed{fill:none;stroke:#62656e;stroke-width:1.5}.removed{stroke:#62656e;stroke-dasharray:2 3}\
@media (prefers-color-scheme:dark){.paper{fill:#16181d;stroke:#2e3138}\
.timed,.removed{stroke:#9b9fa9}text{fill:#e7e7e4}.soft{fill:#9b9fa9}.grid{stroke:#2e3138}\
.past{fill:#6b778c}.now{fill:#6fcf8b}.slower{fill:#ff7a70}}";

impl HistoryChart<'_> {
    /// The picture, or empty text for fewer than two finite durations.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let runs = || {
            let candidate = self.candidate_s.iter().chain(self.candidate_as_timed_s);
            self.baseline_s.iter().chain(candidate).copied().filter(|s| s.is_finite())
        };
        if runs().count() < 2 {
            return String::new();
        }
        let bounds = self.prediction.map(|p| [p.low_s, p.high_s]).unwrap_or_default();
        let shown = || runs().chain(bounds.into_iter().filter(|s| *s > 0.0));
        let (low, high) = (shown().fold(f64::INFINITY, f64::min), shown().fold(0.0, f64::max));
        let step = tick_step((high - low).max(high * 0.1) / TICKS);
        let (floor, ceiling) =
            ((low / step - 0.25).floor().max(0.0) * step, (high / step + 0.25).ceil() * step);
        let y = |s: f64| TOP + (ceiling - s) / (ceiling - floor) * (HEIGHT - TOP - BOTTOM);
        let candidates = self.candidate_s.len().max(self.candidate_as_timed_s.len());
        let columns = as_f64(self.baseline_s.len() + GAP + candidates);
        let x = |i: usize| LEFT + (as_f64(i) + 0.5) / columns * (WIDTH - LEFT - RIGHT);

        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{title}</title><style>{STYLE}</style><rect class="paper" x=".5" y=".5" width="{}" height="{}" rx="8"/><text class="title" x="{LEFT}" y="26">{title}</text><text class="soft" x="{}" y="26" text-anchor="end">{legend}</text>"#,
            WIDTH - 1.0,
            HEIGHT - 1.0,
            WIDTH - RIGHT,
            title = escape::html(self.title),
            legend = escape::html(self.legend),
        );
        let mut tick = floor;
        while tick <= ceiling + step / 2.0 {
            let at = y(tick);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/><text class="soft" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                number_format::duration(tick),
            );
            tick += step;
        }
        if let Some(Prediction { expected_s, low_s, high_s }) = self.prediction {
            let _ = write!(
                svg,
                r#"<rect class="band" x="{LEFT}" y="{:.1}" width="{:.1}" height="{:.1}"/><line class="expected" x1="{LEFT}" x2="{:.1}" y1="{:.1}" y2="{:.1}"/>"#,
                y(high_s),
                WIDTH - LEFT - RIGHT,
                y(low_s) - y(high_s),
                WIDTH - RIGHT,
                y(expected_s),
                y(expected_s),
            );
        }
        let first = self.baseline_s.len() + GAP;
        for (i, (timed, s)) in self.candidate_as_timed_s.iter().zip(self.candidate_s).enumerate() {
            let (x, from, to) = (x(first + i), y(*timed), y(*s));
            let from = from + (to - from).signum() * RADIUS;
            if (to - from).is_finite() {
                let _ = write!(
                    svg,
                    r#"<line class="removed" x1="{x:.1}" x2="{x:.1}" y1="{from:.1}" y2="{to:.1}"/>"#
                );
            }
        }
        let mut dots = |values: &[f64], from: usize, class: &str, radius: f64| {
            for (i, s) in values.iter().enumerate().filter(|(_, s)| s.is_finite()) {
                let (x, y) = (x(from + i), y(*s));
                let _ = write!(svg, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
            }
        };
        let class = if self.is_slower { "slower" } else { "now" };
        dots(self.baseline_s, 0, "past", 3.0);
        dots(self.candidate_as_timed_s, first, "timed", RADIUS);
        dots(self.candidate_s, first, class, RADIUS);
        let foot = HEIGHT - 14.0;
        let runs = number_format::count(self.baseline_s.len(), "baseline run", "baseline runs");
        let _ = write!(svg, r#"<text class="soft" x="{LEFT}" y="{foot}">{runs}, oldest first</text>"#);
        if !self.verdict.is_empty() {
            let (right, verdict) = (WIDTH - RIGHT, escape::html(self.verdict));
            let _ = write!(
                svg,
                r#"<text class="{class}" x="{right}" y="{foot}" text-anchor="end">{verdict}</text>"#
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `least`.
fn tick_step(least: f64) -> f64 {
    let unit = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * unit).find(|step| *step >= least).unwrap_or(10.0 * unit)
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer than 2^52 points")]
fn as_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(baseline_s: &'a [f64], candidate_s: &'a [f64]) -> HistoryChart<'a> {
        HistoryChart {
            title: "<b>tests</b>",
            baseline_s,
            candidate_s,
            candidate_as_timed_s: &[],
            prediction: Some(Prediction { expected_s: 10.0, low_s: 8.0, high_s: 12.0 }),
            legend: "band: 95%",
            verdict: "1.5x slower",
            is_slower: true,
        }
    }

    #[test]
    fn every_finite_run_is_one_dot() {
        let svg = chart(&[10.0, f64::NAN, 11.0], &[15.0, 15.5]).to_svg();
        assert_eq!(svg.matches(r#"class="past""#).count(), 2);
        assert_eq!(svg.matches(r#"<circle class="slower""#).count(), 2);
        assert!(svg.contains("&lt;b&gt;tests") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("3 baseline runs, oldest first") && svg.contains("1.5x slower"));
        assert!(svg.contains("band: 95%") && !svg.contains(r#"class="timed""#));
    }

    #[test]
    fn runs_as_timed_are_rings_beside_their_dots() {
        let mut slow_runner = chart(&[10.0, 11.0], &[10.0, 10.5]);
        slow_runner.candidate_as_timed_s = &[15.0, f64::NAN];
        let svg = slow_runner.to_svg();
        assert_eq!(svg.matches(r#"<circle class="timed""#).count(), 1);
        assert_eq!(svg.matches(r#"<line class="removed""#).count(), 1);
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn too_few_runs_draw_nothing() {
        assert_eq!(chart(&[1.0], &[]).to_svg(), "");
        assert_eq!(chart(&[f64::NAN, 1.0], &[f64::INFINITY]).to_svg(), "");
    }

    #[test]
    fn equal_runs_still_have_an_axis() {
        let mut equal = chart(&[10.0, 10.0], &[10.0]);
        equal.prediction = None;
        let svg = equal.to_svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("10.0 s"), "{svg}");
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (least, step) in [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (4.0, 5.0), (51.0, 100.0)] {
            assert!((tick_step(least) - step).abs() < 1e-9, "{least}: {}", tick_step(least));
        }
    }
}
