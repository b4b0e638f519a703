//! Processes that a job left running. A runner knows them by a variable of their environment, kills
//! them at the job's end and says so in the log.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills every process with that variable, and gives their commands.
pub fn end_all(variable: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("a list of processes") {
        let path = entry.expect("an entry").path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        // A process of somebody else, or one that has just ended.
        let Ok(environment) = std::fs::read(path.join("environ")) else { continue };
        if environment.split(|&byte| byte == 0).any(|pair| pair == variable.as_bytes()) {
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned());
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    found
}
