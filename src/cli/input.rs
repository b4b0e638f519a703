//! What the reader hands to a command: files of a bounded size, and the policy among them.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CliError;
use pacegate_engine::model::policy::GatePolicy;

/// A policy is read by people: no file of one is larger.
const POLICY_BYTES: u64 = 1 << 20;

/// What a file, a device or a pipe holds, at most so many bytes. Waits for whoever writes a pipe.
pub(super) fn bytes_of(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    bytes_in(File::open(path), path, limit)
}

/// The same of a regular file alone, without waiting: where nobody sits to interrupt it.
pub(super) fn bytes_of_regular(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    bytes_in(open_regular(OpenOptions::new().read(true), path), path, limit)
}

/// Opens a regular file; anything else is refused, and a named pipe without waiting for its other
/// end.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<File, Error> {
    let irregular = || Error::other("it is not a regular file");
    let is_nobody_there = |e: &Error| e.raw_os_error() == Some(nix::libc::ENXIO);
    let opened = options.custom_flags(nix::libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| if is_nobody_there(&e) { irregular() } else { e })?;
    // Of what was opened: the name may mean something else by now.
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn bytes_in(opened: Result<File, Error>, path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let unreadable = |e: Error| CliError::Input(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    // What a device or a pipe holds, no length tells.
    opened.map_err(unreadable)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(CliError::Input(format!("{}: larger than {} MiB", path.display(), limit >> 20)));
    }
    Ok(bytes)
}

/// The policy in a file, or the default one.
pub(super) fn policy(path: Option<&Path>) -> Result<GatePolicy, CliError> {
    let Some(path) = path else { return Ok(GatePolicy::default()) };
    let text = String::from_utf8(bytes_of(path, POLICY_BYTES)?)
        .map_err(|_| CliError::Input(format!("{}: not UTF-8", path.display())))?;
    GatePolicy::from_yaml(&text).map_err(|e| CliError::Input(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_a_pipe_is_not_waited_for() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "abc").expect("a writable folder");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        assert_eq!(bytes_of_regular(&file, 3).expect("a regular file"), b"abc");
        assert!(bytes_of_regular(&file, 2).is_err());
        for path in [Path::new("/dev/null"), folder.path(), &pipe] {
            let read = bytes_of_regular(path, 3).expect_err("refused").to_string();
            assert!(read.ends_with("it is not a regular file"), "{read}");
        }
        for path in [Path::new("/dev/null"), &pipe] {
            let appended = open_regular(OpenOptions::new().create(true).append(true), path);
            assert_eq!(appended.expect_err("refused").to_string(), "it is not a regular file");
        }
        let new = folder.path().join("new");
        assert!(open_regular(OpenOptions::new().create(true).append(true), &new).is_ok());
    }
}
