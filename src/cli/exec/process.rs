//! Runs the command: passes on the streams and the signals of this process, waits, and measures the
//! resources that were used. Knows no spans.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A shell's exit codes for a missing command, and for a command that can't be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;
/// Signals that are passed on to the command.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Exited(u8),
    /// The number of the signal.
    Killed(i32),
    NotStarted {
        code: u8,
        reason: String,
    },
}

impl End {
    /// The exit code that a shell would use.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Exited(code) | Self::NotStarted { code, .. } => *code,
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// `SIGTERM`, or the number of a signal without a name.
pub(super) fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.as_str().to_owned())
}

/// Resources of a command and of the processes that it waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ResourceUsage {
    /// The largest resident memory of one of the processes, in bytes.
    pub max_rss: i64,
    pub user_s: f64,
    pub system_s: f64,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub end: End,
    /// Whether this process received a signal to stop while the command ran.
    pub stop_requested: bool,
    pub used: Option<ResourceUsage>,
}

/// Runs a command to its end.
pub(super) async fn run(command: &[OsString], environment: &[(&str, String)]) -> Ended {
    let Some((program, arguments)) = command.split_first() else {
        let end = End::NotStarted { code: NOT_FOUND, reason: "no command was given".to_owned() };
        return Ended { end, stop_requested: false, used: None };
    };
    let before = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    // Before the command starts, so that no signal is missed.
    let mut signals = listen();
    let mut prepared = Command::new(program);
    prepared.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = match prepared.spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
            let end = End::NotStarted { code, reason: error.to_string() };
            return Ended { end, stop_requested: false, used: None };
        }
    };
    let pid = i32::try_from(child.id()).ok().map(Pid::from_raw);
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    let mut stop_requested = false;
    let status = loop {
        tokio::select! {
            biased;
            ended = &mut waiting => break ended,
            Some(signal) = signals.recv() => {
                stop_requested = true;
                // A terminal sends these to every foreground process, so the command has the signal
                // already. Many programs take a second one as "stop at once".
                let from_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT)
                    && std::io::stdin().is_terminal();
                if let Some(pid) = pid.filter(|_| !from_terminal) {
                    // Fails if the command has just ended.
                    let _ended = kill(pid, signal);
                }
            }
        }
    };
    let end = match status {
        Ok(Ok(status)) => end_of(status),
        Ok(Err(error)) => End::NotStarted { code: NOT_RUNNABLE, reason: error.to_string() },
        Err(error) => End::NotStarted { code: NOT_RUNNABLE, reason: error.to_string() },
    };
    Ended { end, stop_requested, used: usage_since(before) }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => End::Killed(signal.unwrap_or(0)),
    }
}

/// Receives the signals in `FORWARDED`, except those that `nohup` or the like set to ignored.
fn listen() -> mpsc::Receiver<Signal> {
    let (sender, signals) = mpsc::channel(16);
    let ignored = ignored_signals();
    for forwarded in FORWARDED {
        let number = forwarded as i32;
        if ignored >> (number - 1) & 1 == 1 {
            continue;
        }
        let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(forwarded).await.is_err() {
                    return;
                }
            }
        });
    }
    signals
}

/// The kernel's bit set of ignored signals; empty where the system has no such file.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

fn usage_since(before: Option<Usage>) -> Option<ResourceUsage> {
    let after = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let seconds = |usage: &Usage| {
        let of = |time: TimeVal| {
            Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0)).as_secs_f64()
        };
        (of(usage.user_time()), of(usage.system_time()))
    };
    let (user, system) = seconds(&after);
    let (user_before, system_before) = before.as_ref().map_or((0.0, 0.0), seconds);
    // Linux counts kibibytes, macOS bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1_024 };
    Some(ResourceUsage {
        max_rss: after.max_rss().saturating_mul(unit),
        user_s: user - user_before,
        system_s: system - system_before,
    })
}
