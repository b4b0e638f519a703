//! A sparkline as SVG: what a stage took over its history, the candidate's runs marked. Colour
//! comes from the page's classes and `currentColor`; nothing untrusted but the label, escaped.

use std::fmt::Write as _;

use super::{escape, format};

const WIDTH: f64 = 160.0;
const HEIGHT: f64 = 32.0;
const MARGIN: f64 = 4.0;

/// Seconds, oldest first, of which the last `candidates` are the candidate's. Values that are
/// not finite leave a gap. Empty text for fewer than two values.
#[must_use]
pub fn sparkline(history_s: &[f64], candidates: usize, label: &str) -> String {
    let finite = || history_s.iter().copied().filter(|v| v.is_finite());
    if finite().count() < 2 {
        return String::new();
    }
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    // Equal values make a line in the middle; a few percent of noise are not drawn as mountains.
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
        format::duration(low),
        format::duration(high),
        format::count(history_s.len(), "run", "runs"),
    )
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer than 2^52 points")]
fn as_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidates_are_marked_and_the_rest_is_a_line() {
        let svg = sparkline(&[10.0, 11.0, f64::NAN, 10.0, 20.0, 21.0], 2, "<script>");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches('M').count(), 2, "a gap lifts the pen: {svg}");
        assert!(svg.contains("<title>&lt;script&gt;: 10.0 s to 21.0 s, 6 runs</title>"), "{svg}");
    }

    #[test]
    fn equal_values_and_too_few_are_no_trouble() {
        assert!(sparkline(&[3.0, 3.0, 3.0], 1, "x").contains("4.0 16.0"));
        assert!(!sparkline(&[0.0, 0.0], 0, "x").contains("NaN"));
        assert_eq!(sparkline(&[1.0, f64::NAN], 1, "x"), "");
        assert_eq!(sparkline(&[], 3, "x"), "");
    }
}
