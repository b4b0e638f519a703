//! Reads Chrome's trace events, which Bazel's `--profile`, clang's `-ftime-trace` and many other tools
//! write. Events of one thread are nested by their times. Threads do not become parts, because the
//! assignment of work to threads is random.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Parts, Role, Start, nanoseconds, truncated, unix_ns};

pub(super) static READER: ReportReader = ReportReader {
    name: "Chrome's trace events",
    aliases: &["Bazel's profile", "clang's -ftime-trace"],
    extensions: &["json"],
    signatures: &[Signature::Text(|text| text.starts_with(b"[")), Signature::Keys(&["traceEvents"])],
    read,
};

/// Longest name that is kept while events are read, characters.
const NAME_CHARS: usize = 300;
/// Most events that began and did not end yet, in all lanes together.
const OPEN: usize = 100_000;

#[derive(Deserialize)]
struct TraceEvent {
    #[serde(default)]
    ph: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ts: Option<f64>,
    #[serde(default)]
    dur: Option<f64>,
    #[serde(default)]
    pid: Lane,
    #[serde(default)]
    tid: Lane,
}

/// The id of a process or thread: a number or a text.
#[derive(Deserialize, Default, Clone, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Lane {
    #[default]
    None,
    Number(i64),
    Text(String),
}

/// An event with its start and duration.
struct Complete {
    lane: u32,
    start_ns: i64,
    duration_ns: i64,
    name: String,
}

/// Collects events. If there are too many, the longest are kept.
#[derive(Default)]
struct Collector {
    limit: usize,
    lanes: HashMap<(Lane, Lane), u32>,
    open: HashMap<u32, Vec<(i64, String)>>,
    open_count: usize,
    complete: Vec<Complete>,
    left_out: usize,
    seen: usize,
    /// The time 0 of the events in nanoseconds since the Unix epoch, if the file has it.
    zero_ns: Option<i64>,
}

impl Collector {
    fn take(&mut self, event: TraceEvent) {
        self.seen += 1;
        // Timestamps are microseconds of a clock with an arbitrary zero.
        let Some(start_ns) = event.ts.and_then(|us| unix_ns(us / 1e6)) else { return };
        // Clang writes sums over all events as events.
        if event.name.starts_with("Total ") {
            return;
        }
        let next = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let lane = *self.lanes.entry((event.pid, event.tid)).or_insert(next);
        let name = truncated(&event.name, NAME_CHARS);
        match event.ph.as_str() {
            "X" => {
                if let Some(duration_ns) = event.dur.and_then(|us| nanoseconds(us / 1e6)) {
                    self.add(Complete { lane, start_ns, duration_ns, name });
                }
            }
            "B" if self.open_count < OPEN => {
                self.open_count += 1;
                self.open.entry(lane).or_default().push((start_ns, name));
            }
            "E" => {
                if let Some((began, name)) = self.open.get_mut(&lane).and_then(Vec::pop) {
                    self.open_count -= 1;
                    let duration_ns = start_ns.saturating_sub(began).max(0);
                    self.add(Complete { lane, start_ns: began, duration_ns, name });
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, event: Complete) {
        self.complete.push(event);
        if self.complete.len() >= self.limit.saturating_mul(2).max(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        if self.complete.len() > self.limit {
            self.complete.sort_by_key(|event| std::cmp::Reverse(event.duration_ns));
            self.left_out += self.complete.len() - self.limit;
            self.complete.truncate(self.limit);
        }
    }
}

/// Reads a list of events, or an object with such a list.
fn read(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let mut collector = Collector { limit: parts.remaining(), ..Collector::default() };
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = if text.first() == Some(&b'[') {
        Events(&mut collector).deserialize(&mut json)
    } else {
        Document(&mut collector).deserialize(&mut json)
    };
    match read {
        Ok(()) => {}
        // A process that was killed could not write the end of the list.
        Err(error) if error.is_eof() && collector.seen > 0 => {}
        Err(_) if collector.seen == 0 => return Err(ReportError::Unknown),
        Err(error) => return Err(READER.malformed(error)),
    }
    collector.shorten();
    parts.left_out += collector.left_out;
    nest(collector, parts)
}

/// Adds the events as parts. The parent is the shortest event of the same lane that contains it.
fn nest(collector: Collector, parts: &mut Parts) -> Result<(), ReportError> {
    let Collector { mut complete, zero_ns, .. } = collector;
    let first = complete.iter().map(|event| event.start_ns).min().unwrap_or(0);
    complete.sort_by_key(|event| (event.lane, event.start_ns, std::cmp::Reverse(event.duration_ns)));
    // The events of the lane that contain the current time: (lane, end, part).
    let mut around: Vec<(u32, i64, usize)> = Vec::new();
    for event in complete {
        let end_ns = event.start_ns.saturating_add(event.duration_ns);
        while around.last().is_some_and(|(lane, end, _)| *lane != event.lane || *end < end_ns) {
            around.pop();
        }
        let start = zero_ns.map_or(Start::Offset(event.start_ns.saturating_sub(first)), |zero| {
            Start::At(zero.saturating_add(event.start_ns))
        });
        let within = around.last().map(|(_, _, part)| *part);
        let part = parts.add(within, Role::Step, &event.name, start, Some(event.duration_ns))?;
        around.push((event.lane, end_ns, part));
    }
    Ok(())
}

struct Events<'a>(&'a mut Collector);

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of trace events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element()? {
            self.0.take(event);
        }
        Ok(())
    }
}

struct Document<'a>(&'a mut Collector);

/// Bazel's metadata of a profile.
#[derive(Deserialize)]
struct OtherData {
    /// Milliseconds since the epoch.
    #[serde(default)]
    profile_start_ts: Option<i64>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `traceEvents`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "traceEvents" => map.next_value_seed(Events(self.0))?,
                // Clang writes microseconds since the epoch.
                "beginningOfTime" => {
                    self.0.zero_ns = map.next_value::<Option<i64>>()?.map(|us| us.saturating_mul(1_000));
                }
                "otherData" => {
                    let zero = map.next_value::<OtherData>()?.profile_start_ts;
                    self.0.zero_ns = zero.map(|ms| ms.saturating_mul(1_000_000)).or(self.0.zero_ns);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
