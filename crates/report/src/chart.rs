//! A sparkline, as SVG and as a line of characters: the durations of a stage over its history, with
//! the candidate's runs marked. Colours come from the page's classes and `currentColor`. The only
//! untrusted text is the label, which is escaped.

use std::fmt::Write as _;

use super::{escape, number_format};

const WIDTH: f64 = 160.0;
const HEIGHT: f64 = 32.0;
const MARGIN: f64 = 4.0;

/// `history_s`: seconds, oldest first. The last `candidates` values are the candidate's. Values that
/// are not finite leave a gap. Empty for fewer than two finite values.
#[must_use]
pub fn sparkline(history_s: &[f64], candidates: usize, label: &str) -> String {
    let finite = || history_s.iter().copied().filter(|v| v.is_finite());
    if finite().count() < 2 {
        return String::new();
    }
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    // The scale spans at least 15% up and down: noise of a few percent looks flat, and equal values
    // make a line in the middle.
    let middle = f64::midpoint(low, high);
    let reach = ((high - low) / 2.0).max(middle.abs() * 0.15).max(1e-9);
    let y = |v: f64| HEIGHT / 2.0 - (v - middle) / reach * (HEIGHT / 2.0 - MARGIN);
    let step = (WIDTH - 2.0 * MARGIN) / as_f64(history_s.len() - 1);
    let x = |i: usize| MARGIN + as_f64(i) * step;

    let mut path = String::new();
    let mut pen_down = false;
    for (i, v) in history_s.iter().enumerate() {
        if v.is_finite() {
            let _ = write!(path, "{}{:.1} {:.1}", if pen_down { 'L' } else { 'M' }, x(i), y(*v));
        }
        pen_down = v.is_finite();
    }
    let mut marks = String::new();
    for (i, v) in history_s.iter().enumerate().skip(history_s.len().saturating_sub(candidates)) {
        if v.is_finite() {
            let _ = write!(marks, r#"<circle class="spark-now" cx="{:.1}" cy="{:.1}" r="3"/>"#, x(i), y(*v));
        }
    }
    format!(
        r#"<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"><title>{}: {} to {}, {}</title><path class="spark-line" d="{path}"/>{marks}</svg>"#,
        escape::html(label),
        number_format::duration(low),
        number_format::duration(high),
        number_format::count(history_s.len(), "run", "runs"),
    )
}

/// A history as a line of characters, for mails and the mobile app, which show no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bars {
    /// A bar for each run, oldest first. The candidate's follow a `▸`.
    pub text: String,
    /// Shortest duration that is shown.
    pub low: String,
    /// Longest duration that is shown.
    pub high: String,
}

/// Bars that fit a line of a narrow window.
const BARS: usize = 30;
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// [`sparkline`] as text: the newest 30 runs. At most half of them are the candidate's. None for fewer
/// than two finite values.
#[must_use]
pub fn bars(history_s: &[f64], candidates: usize) -> Option<Bars> {
    let (before, now) = history_s.split_at(history_s.len().saturating_sub(candidates));
    let now = &now[now.len().saturating_sub(BARS / 2)..];
    let before = &before[before.len().saturating_sub(BARS - now.len())..];
    let finite = || before.iter().chain(now).copied().filter(|v| v.is_finite());
    if finite().count() < 2 {
        return None;
    }
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    // As in the picture, noise of a few percent looks flat.
    let reach = (high - low).max(low.abs() * 0.3).max(1e-9);
    let bar = |v: &f64| {
        if !v.is_finite() {
            return '·';
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 7")]
        let height = ((v - low) / reach * 7.0).round() as usize;
        HEIGHTS[height.min(7)]
    };
    let mut text: String = before.iter().map(bar).collect();
    if !now.is_empty() {
        text.push('▸');
        text.extend(now.iter().map(bar));
    }
    Some(Bars { text, low: number_format::duration(low), high: number_format::duration(high) })
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer than 2^52 points")]
fn as_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparkline_marks_the_candidate() {
        let svg = sparkline(&[10.0, 11.0, f64::NAN, 10.0, 20.0, 21.0], 2, "<script>");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches('M').count(), 2, "a gap lifts the pen: {svg}");
        assert!(svg.contains("<title>&lt;script&gt;: 10.0 s to 21.0 s, 6 runs</title>"), "{svg}");
    }

    #[test]
    fn bars_show_the_newest_runs() {
        let text = |history: &[f64], candidates| bars(history, candidates).map(|bars| bars.text);
        assert_eq!(text(&[10.0, 11.0, f64::NAN, 10.0, 20.0, 21.0], 2).as_deref(), Some("▁▂·▁▸▇█"));
        assert_eq!(text(&[10.0, 10.1, 10.2], 1).as_deref(), Some("▁▁▸▁"), "noise stays low");
        assert_eq!(text(&[5.0; 90], 40).map(|t| t.chars().count()), Some(31));
        assert_eq!(text(&[0.0, 0.0], 0).as_deref(), Some("▁▁"));
        for none in [&[1.0][..], &[], &[f64::INFINITY, 1.0]] {
            assert_eq!(bars(none, 1), None, "{none:?}");
        }
        let bars = bars(&[20.0, 20.7, 33.1], 1).expect("three values");
        assert_eq!((bars.low.as_str(), bars.high.as_str()), ("20.0 s", "33.1 s"));
    }

    #[test]
    fn sparkline_of_equal_or_few_values() {
        assert!(sparkline(&[3.0, 3.0, 3.0], 1, "x").contains("4.0 16.0"));
        assert!(!sparkline(&[0.0, 0.0], 0, "x").contains("NaN"));
        assert_eq!(sparkline(&[1.0, f64::NAN], 1, "x"), "");
        assert_eq!(sparkline(&[], 3, "x"), "");
    }
}
