//! Reads traces from the bytes of a file. The content decides the format, never the file's name.
//! Nothing here opens a file.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::bounded::check_values;
use super::{Decoded, IngestError, Limits, jaeger, otlp, zipkin};

/// Limit on the inflated size of a compressed file, bytes.
const INFLATED_BYTES: u64 = 512 * 1024 * 1024;

/// Listed in the errors about an empty file and a file of unknown format.
const FORMATS: &str = "OTLP JSON (one document, or one on each line), OTLP protobuf, Jaeger UI JSON \
                       and Zipkin JSON, v2 and v1, each also compressed with gzip";

/// Why no trace could be read from a file. Each text is meant to follow the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the error texts document the variants")]
pub enum FileError {
    /// No byte, or only white space.
    #[error("it is empty; {FORMATS} are read")]
    Empty,
    #[error("it is {format} and holds no span{}", .rejected.as_ref().map(|r| format!(" that can be used: {r}")).unwrap_or_default())]
    NoSpan {
        format: &'static str,
        /// Why the spans in it were rejected; `None` if there were none.
        rejected: Option<String>,
    },
    /// Begins like one of the formats, but breaks its rules.
    #[error("it is not {format}: {}{reason}", .line.map(|n| format!("line {n}: ")).unwrap_or_default())]
    Malformed {
        format: &'static str,
        /// The line, counted from 1, when each line is a document.
        line: Option<usize>,
        reason: String,
    },
    /// `reason` says why it is not the format that it resembles most.
    #[error("its format is unknown ({reason}); these can be read: {FORMATS}")]
    Unknown { reason: String },
    #[error("it begins like gzip but can't be inflated: {0}")]
    Gzip(String),
    #[error("it grows beyond {limit} bytes when it is inflated")]
    TooLarge { limit: u64 },
    #[error("it holds more than {limit} spans")]
    TooManySpans { limit: usize },
    #[error("it holds more than {limit} attributes, events and values")]
    TooManyValues { limit: usize },
}

impl From<IngestError> for FileError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Malformed { format, reason } => Self::Malformed { format, line: None, reason },
            IngestError::TooManySpans { limit } => Self::TooManySpans { limit },
            IngestError::TooManyValues { limit } => Self::TooManyValues { limit },
        }
    }
}

/// Reads every span of a file. The limits apply to the whole file.
///
/// # Errors
/// [`FileError`].
pub fn read(bytes: &[u8], limits: Limits) -> Result<Decoded, FileError> {
    read_within(bytes, limits, INFLATED_BYTES)
}

fn read_within(bytes: &[u8], limits: Limits, inflated_bytes: u64) -> Result<Decoded, FileError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return read_plain(bytes, limits);
    }
    let mut inflated = Vec::new();
    // Reads one byte more than allowed, so that an exceeded limit is noticed.
    let mut inflating = MultiGzDecoder::new(bytes).take(inflated_bytes.saturating_add(1));
    inflating.read_to_end(&mut inflated).map_err(|e| FileError::Gzip(e.to_string()))?;
    if inflating.limit() == 0 {
        return Err(FileError::TooLarge { limit: inflated_bytes });
    }
    read_plain(&inflated, limits)
}

fn read_plain(bytes: &[u8], limits: Limits) -> Result<Decoded, FileError> {
    // Some Windows editors and shells write a byte order mark before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = bytes.trim_ascii_start();
    // The first byte of protobuf is tag 10, which is also a line feed, and the length after it
    // can look like any letter. But the message has tags that are forbidden in JSON text.
    let may_be_text =
        bytes.first() != Some(&b'\n') || !bytes.iter().any(|b| *b < b' ' && !b.is_ascii_whitespace());
    let (format, decoded) = match text.first() {
        None => return Err(FileError::Empty),
        Some(b'{') if may_be_text => read_object(bytes, limits)?,
        // Only the older format has this key.
        Some(b'[') if may_be_text && holds(text, b"\"binaryAnnotations\"") => {
            ("Zipkin v1 JSON", zipkin::decode_v1_json(bytes, limits)?)
        }
        Some(b'[') if may_be_text => ("Zipkin v2 JSON", zipkin::decode_v2_json(bytes, limits)?),
        Some(_) => match otlp::decode_protobuf(bytes, limits) {
            Err(IngestError::Malformed { format, reason }) => {
                return Err(FileError::Unknown { reason: format!("as {format}: {reason}") });
            }
            // A short text of another format can be valid protobuf by chance, with unknown fields.
            Ok(decoded) if decoded == Decoded::default() && bytes.first() != Some(&b'\n') => {
                return Err(FileError::Unknown { reason: "as OTLP protobuf it holds no span".to_owned() });
            }
            decoded => ("OTLP protobuf", decoded?),
        },
    };
    if decoded.spans.is_empty() {
        return Err(FileError::NoSpan { format, rejected: decoded.rejected.message() });
    }
    Ok(decoded)
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Which of the keys that identify a format are present.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    #[serde(default, deserialize_with = "present")]
    resource_spans: bool,
    #[serde(default, deserialize_with = "present")]
    data: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn read_object(text: &[u8], limits: Limits) -> Result<(&'static str, Decoded), FileError> {
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<Keys>();
    let first = documents.next();
    let rest = text.get(documents.byte_offset()..).unwrap_or_default();
    match first {
        Some(Ok(_)) if !rest.trim_ascii().is_empty() => Ok(("OTLP JSON", read_lines(text, limits)?)),
        Some(Ok(keys)) if keys.data && !keys.resource_spans => {
            Ok(("Jaeger UI JSON", jaeger::decode_ui(text, limits)?))
        }
        Some(Ok(keys)) if !keys.resource_spans => Err(FileError::Unknown {
            reason: "it is JSON with neither `resourceSpans` nor `data`".to_owned(),
        }),
        // A broken document gets the error of the most common format.
        _ => Ok(("OTLP JSON", otlp::decode_json(text, limits)?)),
    }
}

/// Reads one request on each line, as the Collector's file exporter writes them. Lines with
/// metrics or logs contain no span and are skipped.
fn read_lines(text: &[u8], limits: Limits) -> Result<Decoded, FileError> {
    check_values(text, limits)?;
    let mut all = Decoded::default();
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let spans_left = limits.spans - all.spans.len();
        let decoded = match otlp::decode_json(line, Limits { spans: spans_left, ..limits }) {
            Ok(decoded) => decoded,
            Err(IngestError::TooManySpans { .. }) => {
                return Err(FileError::TooManySpans { limit: limits.spans });
            }
            Err(IngestError::Malformed { format, reason }) => {
                // The decoder saw only this line and calls it line 1.
                let reason = reason.replace(" at line 1 column ", " at column ");
                return Err(FileError::Malformed { format, line: Some(at + 1), reason });
            }
            Err(error) => return Err(error.into()),
        };
        all.spans.extend(decoded.spans);
        let rejected = decoded.rejected;
        all.rejected.add_many(rejected.count, || rejected.first_reason.unwrap_or_default());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#;

    fn fails(bytes: &[u8]) -> String {
        read(bytes, Limits::default()).expect_err("unreadable").to_string()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut inflated = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
        encoder.read_to_end(&mut inflated).expect("memory");
        inflated
    }

    #[test]
    fn file_without_spans_is_refused_with_its_format() {
        for empty in ["", " \n\n", "\u{feff}"] {
            assert!(fails(empty.as_bytes()).starts_with("it is empty"), "{empty:?}");
        }
        assert_eq!(fails(b"[]"), "it is Zipkin v2 JSON and holds no span");
        assert_eq!(fails(br#"{"data":[]}"#), "it is Jaeger UI JSON and holds no span");
        assert_eq!(fails(br#"{"resourceSpans":null}"#), "it is OTLP JSON and holds no span");
        assert_eq!(fails(b"\x0a\x00"), "it is OTLP protobuf and holds no span");
        let error = fails(br#"[{"traceId":"1","id":"1"}]"#);
        assert!(error.contains("holds no span that can be used: 1 span was rejected"), "{error}");
        assert_eq!(read(&gzip(b""), Limits::default()), Err(FileError::Empty));
    }

    #[test]
    fn unknown_format_error_lists_readable_formats() {
        for other in [&b"run,stage,duration\n"[..], br#"{"a":1}"#, b"\x89PNG", b"\"text\"", &[0xff; 64]] {
            let error = fails(other);
            assert!(error.contains("OTLP protobuf, Jaeger UI JSON and Zipkin JSON, v2 and v1"), "{error}");
        }
    }

    #[test]
    fn json_lines_are_read_and_bad_line_named() {
        let lines = format!("\u{feff}\r\n{SPAN}\r\n\r\n{{\"resourceMetrics\":[]}}\n{SPAN}");
        assert_eq!(read(lines.as_bytes(), Limits::default()).expect("lines").spans.len(), 2);
        let error = fails(format!("{SPAN}\n\n{SPAN}\n{{\"resourceSpans\":7}}\n").as_bytes());
        assert_eq!(
            error,
            "it is not OTLP JSON: line 4: invalid type: integer `7`, expected a list at column 18"
        );
        assert!(fails(format!("{SPAN}\n{{\"resourceSpans\":[").as_bytes()).contains("line 2: EOF"));
        assert!(fails(b"{\n\"resourceSpans\":\n7}").contains("at line 3"));
        let one = Limits { spans: 1, ..Limits::default() };
        let two = format!("{SPAN}\n{SPAN}");
        assert_eq!(read(two.as_bytes(), one), Err(FileError::TooManySpans { limit: 1 }));
        let few = Limits { values: 10, ..Limits::default() };
        assert_eq!(read(two.as_bytes(), few), Err(FileError::TooManyValues { limit: 10 }));
    }

    #[test]
    fn gzip_bomb_and_cut_gzip_are_refused() {
        let error = read_within(&gzip(&vec![b' '; 100_000]), Limits::default(), 10_000);
        assert_eq!(error, Err(FileError::TooLarge { limit: 10_000 }));
        let whole = gzip(SPAN.as_bytes());
        let bound = SPAN.len() as u64;
        assert!(read_within(&whole, Limits::default(), bound).is_ok(), "the bound itself is allowed");
        assert!(fails(&whole[..whole.len() - 9]).starts_with("it begins like gzip"));
    }
}
