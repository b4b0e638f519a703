//! Parses durations of policy files and flags: `500ms`, `2s`, `10m`, `1h`.

use std::time::Duration;

/// Reads `500ms`, `2s`, `10m`, `1h`, or a bare number of seconds.
///
/// # Errors
/// An error text with the expected notation.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{text}` is not a duration: write 500ms, 2s, 10m or 1h")),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|n| Duration::try_from_secs_f64(n * scale).ok())
        .ok_or_else(|| format!("`{text}` is not a duration: write 500ms, 2s, 10m or 1h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_or_explain_the_notation() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1.5 h", 5_400_000), ("7", 7_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "2 weeks", "-1s", "1e999h", "1.2.3s"] {
            assert!(parse(wrong).is_err_and(|e| e.contains("not a duration")), "{wrong}");
        }
    }
}
