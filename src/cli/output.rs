//! The two streams: results on stdout, everything else on stderr. A closed pipe is not an
//! error of ours.

use std::io::{IsTerminal, Write};

/// Writes a result to stdout.
pub(super) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // `pacegate compare … | head` closes the pipe: nobody wants the rest.
    let _closed = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
}

/// Writes a diagnostic to stderr.
pub(super) fn complain(text: &str) {
    // A file's name may hold what a terminal takes for a command.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let _closed = writeln!(std::io::stderr().lock(), "pacegate: {text}");
}

/// Writes a progress remark to stderr, when somebody is watching.
pub(super) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        let _closed = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Whether stdout takes colours: a terminal, and the reader did not ask for none
/// (no-color.org).
pub(super) fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
