//! Reads the input files of commands, with a bounded size, and the policy among them.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CliError;
use pacegate_engine::model::policy::GatePolicy;

/// People write and read policies, so no policy file is larger.
const POLICY_BYTES: u64 = 1 << 20;

/// The content of a file, a device or a pipe, at most `limit` bytes. Waits for the writer of a pipe.
pub(super) fn bytes_of(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    bytes_in(File::open(path), path, limit)
}

/// The content of a regular file, without waiting. For commands that run unattended.
pub(super) fn bytes_of_regular(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    bytes_in(open_regular(OpenOptions::new().read(true), path), path, limit)
}

/// Opens a regular file and refuses anything else. A named pipe is refused without waiting for its
/// other end.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<File, Error> {
    let irregular = || Error::other("it is not a regular file");
    let is_pipe_without_reader = |e: &Error| e.raw_os_error() == Some(nix::libc::ENXIO);
    let opened = options.custom_flags(nix::libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| if is_pipe_without_reader(&e) { irregular() } else { e })?;
    // Asks the open file, because the name may mean another file by now.
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn bytes_in(opened: Result<File, Error>, path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let unreadable = |e: Error| CliError::Input(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    // A device or a pipe has no length that could be checked first.
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
    fn only_regular_files_open_and_pipes_never_block() {
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
