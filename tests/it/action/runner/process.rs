//! A step's process. It has its own process group, its output is read while it runs, and it is cut
//! off as a runner does it. A test never waits longer than `DEADLINE`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A process that has not ended by now counts as hung.
const DEADLINE: Duration = Duration::from_mins(1);
/// The time between one signal and the next, harder one. A runner waits 7.5 seconds and 2.5.
const GRACE: Duration = Duration::from_secs(1);
/// How long the output may stay open after the process has ended. A runner waits 5 seconds.
const OPEN_OUTPUT: Duration = Duration::from_secs(2);

enum Event {
    Line(String),
    /// One of the two pipes ended.
    EndOfPipe,
    Exit(Option<i32>),
}

pub(super) struct Process {
    group: Pid,
    events: Receiver<Event>,
    open_pipes: u8,
    ended: bool,
    /// The exit code after the end, if it has one.
    code: Option<i32>,
}

/// How a step's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The exit code, `None` if a signal ended it.
    pub code: Option<i32>,
    /// Whether a process that it started still holds its output open. A runner waits for that.
    pub output_held: bool,
}

impl Process {
    /// Starts a command with exactly this environment.
    pub(super) fn start(command: &[&str], folder: &Path, environment: &BTreeMap<String, String>) -> Self {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .current_dir(folder)
            .env_clear()
            .envs(environment)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let group = Pid::from_raw(i32::try_from(child.id()).expect("a process's number"));
        let (sender, events) = channel();
        read(child.stdout.take().expect("a pipe"), sender.clone());
        read(child.stderr.take().expect("a pipe"), sender.clone());
        wait(child, sender);
        Self { group, events, open_pipes: 2, ended: false, code: None }
    }

    /// Passes on the lines until one contains `marker`. Returns `false` if the process ended
    /// before.
    pub(super) fn until(&mut self, marker: &str, mut line: impl FnMut(&str)) -> bool {
        loop {
            match self.events.recv_timeout(DEADLINE).expect("a step that prints or ends") {
                Event::Line(text) => {
                    line(&text);
                    if text.contains(marker) {
                        return true;
                    }
                }
                Event::EndOfPipe => self.open_pipes -= 1,
                Event::Exit(code) => {
                    (self.ended, self.code) = (true, code);
                    return false;
                }
            }
        }
    }

    /// Passes on the remaining lines and waits for the end.
    pub(super) fn end(mut self, mut line: impl FnMut(&str)) -> End {
        while !self.ended || self.open_pipes > 0 {
            let patience = if self.ended { OPEN_OUTPUT } else { DEADLINE };
            match self.events.recv_timeout(patience) {
                Ok(Event::Line(text)) => line(&text),
                Ok(Event::EndOfPipe) => self.open_pipes -= 1,
                Ok(Event::Exit(code)) => (self.ended, self.code) = (true, code),
                Err(RecvTimeoutError::Timeout) if self.ended => break,
                Err(error) => {
                    self.signal(Signal::SIGKILL);
                    panic!("a step did not end in {DEADLINE:?}: {error}");
                }
            }
        }
        End { code: self.code, output_held: self.open_pipes > 0 }
    }

    /// Cuts the step off, as a cancellation or a timeout does: SIGINT, SIGTERM, SIGKILL. The
    /// signals reach its whole process group.
    pub(super) fn cut_off(mut self, mut line: impl FnMut(&str)) -> End {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            self.signal(signal);
            while !self.ended {
                match self.events.recv_timeout(GRACE) {
                    Ok(Event::Line(text)) => line(&text),
                    Ok(Event::EndOfPipe) => self.open_pipes -= 1,
                    Ok(Event::Exit(code)) => (self.ended, self.code) = (true, code),
                    Err(_) => break,
                }
            }
        }
        self.signal(Signal::SIGKILL);
        self.end(line)
    }

    fn signal(&self, signal: Signal) {
        // Fails only if the group has ended already.
        let _ = killpg(self.group, signal);
    }
}

fn read(pipe: impl Read + Send + 'static, events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if events.send(Event::Line(text)).is_err() {
                return;
            }
            line.clear();
        }
        // Fails only if the receiver has seen the end already.
        let _ = events.send(Event::EndOfPipe);
    });
}

fn wait(mut child: Child, events: Sender<Event>) {
    std::thread::spawn(move || {
        let status = child.wait().expect("a child process");
        // As above.
        let _ = events.send(Event::Exit(status.code()));
    });
}
