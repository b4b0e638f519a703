//! What the reader hands to a command: files of a bounded size, and the policy among them.

use std::io::Read;
use std::path::Path;

use super::CliError;
use crate::model::policy::GatePolicy;

/// A policy is read by people: no file of one is larger.
const POLICY_BYTES: u64 = 1 << 20;

/// A file's bytes, at most so many.
pub fn bytes_of(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let unreadable = |e: std::io::Error| CliError::Input(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    // What a device or a pipe holds, no length tells.
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(CliError::Input(format!("{}: larger than {} MiB", path.display(), limit >> 20)));
    }
    Ok(bytes)
}

/// The policy in a file, or the default one.
pub fn policy(path: Option<&Path>) -> Result<GatePolicy, CliError> {
    let Some(path) = path else { return Ok(GatePolicy::default()) };
    let text = String::from_utf8(bytes_of(path, POLICY_BYTES)?)
        .map_err(|_| CliError::Input(format!("{}: not UTF-8", path.display())))?;
    GatePolicy::from_yaml(&text).map_err(|e| CliError::Input(format!("{}: {e}", path.display())))
}
