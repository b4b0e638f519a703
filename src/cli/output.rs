//! Writes results to stdout and everything else to stderr. A closed pipe is not an error.

use std::io::{IsTerminal, Write};

/// Writes a result to stdout.
pub(super) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // `pacegate compare … | head` closes the pipe early.
    let _closed = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
}

/// Writes a diagnostic to stderr.
pub(super) fn print_diagnostic(text: &str) {
    // A file's name may hold control sequences of a terminal.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let _closed = writeln!(std::io::stderr().lock(), "pacegate: {text}");
}

/// Writes a line about progress to stderr, if stderr is a terminal.
pub(super) fn print_progress(text: &str) {
    if std::io::stderr().is_terminal() {
        let _closed = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Whether stdout is a terminal and `NO_COLOR` is not set (no-color.org).
pub(super) fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
