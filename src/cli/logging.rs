//! Sets up the log: structured, on stderr, one line for each event. Secret types keep secrets out.
//! Text from a sender is a field, never part of the message.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogArgs, LogFormat};

/// Starts logging. The error is a sentence about an unreadable filter.
pub(super) fn init(args: &LogArgs) -> Result<(), String> {
    let filter = EnvFilter::try_new(&args.log).map_err(|e| {
        format!("PACEGATE_LOG `{}` can't be used: {e}; write info or pacegate=debug", args.log)
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
