//! Processes that a job left running. Like the real runner, it finds them by a variable in their
//! environment and kills them at the job's end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process with that variable: its number, command and environment.
fn with(variable: &str) -> Vec<(Pid, String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("a list of processes") {
        let path = entry.expect("an entry").path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        // Another user's process, or a process that has just ended.
        let Ok(environment) = std::fs::read(path.join("environ")) else { continue };
        if environment.split(|&byte| byte == 0).any(|pair| pair == variable.as_bytes()) {
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            found.push((Pid::from_raw(pid), text(command), text(environment)));
        }
    }
    found
}

/// Kills every process with that variable and returns the commands.
pub(super) fn end_all(variable: &str) -> Vec<String> {
    let found = with(variable);
    for (pid, ..) in &found {
        // Fails only if the process has ended meanwhile.
        let _ = kill(*pid, Signal::SIGKILL);
    }
    // A killed process stays visible for a moment.
    while !with(variable).is_empty() {
        std::thread::yield_now();
    }
    found.into_iter().map(|(_, command, _)| command).collect()
}

/// The environments of all processes with that variable.
pub(super) fn environments(variable: &str) -> String {
    with(variable).into_iter().map(|(.., environment)| environment).collect()
}
